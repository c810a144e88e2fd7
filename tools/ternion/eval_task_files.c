// Readers of the three formats.
#include "eval_task_files.h"

#include "json_out.h"
#include "numbers.h"
#include "plain.h"
#include "prompt.h"
#include "report.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

typedef struct task_file {
    const char *flag, *path;
    const char *rest; // of the text
    size_t rest_len;
    size_t line; // of the line that was read last, from 1
    tn_cli_eval_questions *questions;
} task_file;

typedef struct piece {
    const char *text;
    size_t len;
} piece;

static int wrong(const task_file *file, size_t line, const char *fmt, ...) TN_PRINTF(3, 4);
static int wrong(const task_file *file, size_t line, const char *fmt, ...)
{
    char why[300], command[600], word[400];
    va_list arguments;
    va_start(arguments, fmt);
    vsnprintf(why, sizeof why, fmt, arguments);
    va_end(arguments);
    snprintf(command, sizeof command, "sed -n %zup %s", line,
             strcmp(file->path, "-") == 0 ? "FILE" : tn_cli_shell_word(file->path, word, sizeof word));
    return tn_cli_fail(command, "%s %s, line %zu: %s", file->flag, file->path, line, why);
}

// False at the end. Lines may end with \r\n.
static bool next_line(task_file *file, piece *out)
{
    if (file->rest_len == 0) return false;
    const char *end = memchr(file->rest, '\n', file->rest_len);
    const size_t len = end ? (size_t)(end - file->rest) : file->rest_len, used = end ? len + 1 : len;
    *out = (piece){file->rest, len > 0 && file->rest[len - 1] == '\r' ? len - 1 : len};
    file->rest += used;
    file->rest_len -= used;
    file->line++;
    return true;
}

// NULL, after a message, where there is no memory.
static tn_cli_eval_question *add_question(task_file *file, size_t line, uint32_t n_choices, uint32_t answer)
{
    tn_cli_eval_questions *all = file->questions;
    if (all->n == all->capacity) {
        const size_t capacity = all->capacity ? 2 * all->capacity : 256;
        tn_cli_eval_question *grown = realloc(all->list, capacity * sizeof *grown);
        if (!grown) {
            (void)tn_cli_out_of_memory();
            return NULL;
        }
        all->list = grown;
        all->capacity = capacity;
    }
    tn_cli_eval_question *q = &all->list[all->n];
    *q = (tn_cli_eval_question){.line = line, .n_choices = n_choices, .answer = answer, .choices = calloc(n_choices, sizeof *q->choices)};
    if (!q->choices) {
        (void)tn_cli_out_of_memory();
        return NULL;
    }
    all->n++;
    return q;
}

static int join(tn_cli_eval_text_span *out, piece a, piece b, piece c)
{
    out->text = malloc(a.len + b.len + c.len + 1);
    if (!out->text) return tn_cli_out_of_memory();
    memcpy(out->text, a.text, a.len);
    memcpy(out->text + a.len, b.text, b.len);
    memcpy(out->text + a.len + b.len, c.text, c.len);
    out->len = a.len + b.len + c.len;
    out->text[out->len] = '\0';
    return 0;
}

static const piece space = {" ", 1};

// A whole number without sign and blanks that is below `limit`.
static bool small_number(piece text, uint32_t limit, uint32_t *out)
{
    char digits[16], why[100];
    int64_t value;
    if (text.len == 0 || text.len >= sizeof digits) return false;
    memcpy(digits, text.text, text.len);
    digits[text.len] = '\0';
    if (!tn_cli_parse_int(digits, 0, (int64_t)limit - 1, &value, why, sizeof why)) return false;
    *out = (uint32_t)value;
    return true;
}

// Context, number of the right ending from 0 on, four endings.
static int read_hellaswag(task_file *file)
{
    piece lines[6];
    while (file->rest_len > 0) {
        const size_t first = file->line + 1;
        uint32_t answer, n = 0;
        while (n < 6 && next_line(file, &lines[n])) n++;
        if (n < 6)
            return wrong(file, file->line, "a task has 6 lines (context, number of the right ending, 4 endings), but the last has %u", n);
        if (!small_number(lines[1], 4, &answer)) return wrong(file, first + 1, "the right ending is a number from 0 to 3");
        int rc = 0;
        tn_cli_eval_question *q = add_question(file, first, 4, answer);
        if (!q) return TN_CLI_FAILED;
        for (uint32_t i = 0; i < 4 && rc == 0; i++) {
            if (lines[2 + i].len == 0) return wrong(file, first + 2 + i, "the ending is empty");
            rc = join(&q->choices[i], lines[0], space, lines[2 + i]);
        }
        if (rc) return rc;
    }
    return 0;
}

// The next field of a line of CSV, unquoted in place where it is quoted. False: a quote that does not end, or something behind it.
static bool next_field(char **at, char *end, piece *out)
{
    char *from = *at, *to;
    if (from == end || *from != '"') {
        char *comma = memchr(from, ',', (size_t)(end - from));
        *out = (piece){from, (size_t)((comma ? comma : end) - from)};
        *at = comma ? comma + 1 : NULL;
        return true;
    }
    out->text = from++;
    to = (char *)out->text;
    while (from < end) {
        if (*from == '"' && (from + 1 == end || from[1] != '"')) break;
        if (*from == '"') from++; // two of them stand for one
        *to++ = *from++;
    }
    if (from == end || (from + 1 < end && from[1] != ',')) return false;
    out->len = (size_t)(to - out->text);
    *at = from + 1 < end ? from + 2 : NULL;
    return true;
}

static int read_csv_line(task_file *file, char *line, size_t len)
{
    piece fields[5];
    char *at = line;
    uint32_t n = 0, answer;
    for (; n < 5 && at; n++) {
        if (!next_field(&at, line + len, &fields[n]))
            return wrong(file, file->line, "field %u is quoted and its quote does not end", n + 1);
    }
    if (n < 5 || at) return wrong(file, file->line, "5 fields are wanted: index, sentence, choice 1, choice 2, answer");
    const char *gap = memchr(fields[1].text, '_', fields[1].len);
    if (!gap) return wrong(file, file->line, "the sentence has no _ where a choice goes");
    if (!small_number(fields[4], 3, &answer) || answer == 0) return wrong(file, file->line, "the answer is 1 or 2");
    const piece before = {fields[1].text, (size_t)(gap - fields[1].text)}, behind = {gap + 1, fields[1].len - before.len - 1};
    tn_cli_eval_question *q = add_question(file, file->line, 2, answer - 1);
    if (!q) return TN_CLI_FAILED;
    int rc = 0;
    for (uint32_t i = 0; i < 2 && rc == 0; i++) {
        if (fields[2 + i].len == 0) return wrong(file, file->line, "choice %u is empty", i + 1);
        rc = join(&q->choices[i], before, fields[2 + i], behind);
        q->choices[i].base_len = before.len + fields[2 + i].len;
    }
    return rc;
}

static int read_winogrande(task_file *file)
{
    piece line;
    while (next_line(file, &line)) {
        if (line.len == 0) continue;
        char *copy = malloc(line.len + 1);
        if (!copy) return tn_cli_out_of_memory();
        memcpy(copy, line.text, line.len);
        copy[line.len] = '\0';
        const int rc = read_csv_line(file, copy, line.len);
        free(copy);
        if (rc) return rc;
    }
    return 0;
}

// A number from 0 on, or a letter.
static bool answer_of(const json_t *value, size_t n_choices, uint32_t *out)
{
    json_int_t number = -1;
    if (json_is_integer(value)) number = json_integer_value(value);
    if (json_is_string(value) && json_string_length(value) == 1) {
        const char letter = json_string_value(value)[0];
        if (letter >= 'A' && letter <= 'Z') number = letter - 'A';
        if (letter >= 'a' && letter <= 'z') number = letter - 'a';
    }
    *out = (uint32_t)number;
    return number >= 0 && number < (json_int_t)n_choices;
}

static piece piece_of(const json_t *text) { return (piece){json_string_value(text), json_string_length(text)}; }

static int read_object(task_file *file, const json_t *object)
{
    const json_t *question = json_object_get(object, "question"), *choices = json_object_get(object, "choices");
    const size_t n = json_array_size(choices);
    uint32_t answer;
    if (!json_is_string(question) || json_string_length(question) == 0) return wrong(file, file->line, "\"question\" is a text");
    if (n < 2 || n > TN_CLI_EVAL_CHOICES_MAX)
        return wrong(file, file->line, "\"choices\" is an array of 2 to %u texts", TN_CLI_EVAL_CHOICES_MAX);
    for (size_t i = 0; i < n; i++) {
        const json_t *choice = json_array_get(choices, i);
        if (!json_is_string(choice) || json_string_length(choice) == 0)
            return wrong(file, file->line, "choice %zu is not a text, or an empty one", i);
    }
    if (!answer_of(json_object_get(object, "answer"), n, &answer))
        return wrong(file, file->line, "\"answer\" is the number of a choice, from 0 to %zu, or its letter, from \"A\" on", n - 1);
    tn_cli_eval_question *q = add_question(file, file->line, (uint32_t)n, answer);
    if (!q) return TN_CLI_FAILED;
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) rc = join(&q->choices[i], piece_of(question), space, piece_of(json_array_get(choices, i)));
    return rc;
}

static bool is_blank(piece line)
{
    for (size_t i = 0; i < line.len; i++) {
        if (!strchr(" \t\r", line.text[i]) || line.text[i] == '\0') return false;
    }
    return true;
}

static int read_multiple_choice(task_file *file)
{
    piece line;
    while (next_line(file, &line)) {
        json_error_t error;
        if (is_blank(line)) continue;
        json_t *object = json_loadb(line.text, line.len, JSON_REJECT_DUPLICATES, &error);
        char why[sizeof error.text * 4];
        int rc;
        if (!object) {
            rc = wrong(file, file->line, "is not JSON: %s", tn_cli_plain(error.text, strlen(error.text), why, sizeof why));
        } else if (!json_is_object(object)) {
            rc = wrong(file, file->line, "is not a JSON object");
        } else {
            rc = read_object(file, object);
        }
        json_decref(object);
        if (rc) return rc;
    }
    return 0;
}

int tn_cli_eval_read_questions(tn_cli *cli, tn_cli_eval_kind kind, const char *path, tn_cli_eval_questions *questions)
{
    static const char *const flags[] = {"--hellaswag", "--winogrande", "--multiple-choice"};
    static int (*const readers[])(task_file *) = {read_hellaswag, read_winogrande, read_multiple_choice};
    task_file file = {.flag = flags[kind], .path = path, .questions = questions};
    char *text;
    int rc = tn_cli_read_file(cli, path, TN_CLI_INPUT_MAX, file.flag, &text, &file.rest_len);
    file.rest = text;
    if (rc == 0) rc = readers[kind](&file);
    free(text);
    return rc || questions->n ? rc : tn_cli_fail(NULL, "%s %s holds no tasks", file.flag, path);
}

void tn_cli_eval_questions_deinit(tn_cli_eval_questions *questions)
{
    for (size_t i = 0; i < questions->n; i++) {
        for (uint32_t c = 0; c < questions->list[i].n_choices; c++) free(questions->list[i].choices[c].text);
        free(questions->list[i].choices);
    }
    free(questions->list);
    memset(questions, 0, sizeof *questions);
}
