// Reads texts, resolves escapes, makes tokens, checks that they fit.
#include "prompt.h"

#include "plain.h"
#include "report.h"
#include "units.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STANDARD_INPUT "standard input"

static int cannot_read(const tn_cli *cli, const char *path, int number)
{
    char command[600], word[500];
    if (strcmp(path, STANDARD_INPUT) == 0) {
        snprintf(command, sizeof command, "ternion %s -p TEXT", tn_cli_verb_name(cli));
        return tn_cli_fail(command, "cannot read standard input: %s", number == EBADF ? "it is closed" : strerror(number));
    }
    snprintf(command, sizeof command, "ls -l %s", tn_cli_shell_word(path, word, sizeof word));
    return tn_cli_fail(command, "cannot read %s: %s; check the name and your rights", path, strerror(number));
}

static int too_long(const tn_cli *cli, const char *path, size_t max, const char *flag)
{
    char size[24], word[300], command[600];
    tn_cli_format_bytes(max, size, sizeof size);
    snprintf(command, sizeof command, "head -c %zu %s | ternion %s", max,
             strcmp(path, STANDARD_INPUT) == 0 ? "FILE" : tn_cli_shell_word(path, word, sizeof word), tn_cli_verb_name(cli));
    return tn_cli_fail(command, "%s holds more than %s, the most that %s can use", path, size, flag);
}

static int read_stream(const tn_cli *cli, FILE *stream, const char *path, size_t max, const char *flag, char **text, size_t *len)
{
    size_t capacity = 4096;
    *len = 0;
    *text = malloc(capacity);
    while (*text) {
        errno = 0;
        *len += fread(*text + *len, 1, capacity - *len, stream);
        if (ferror(stream)) return cannot_read(cli, path, errno);
        if (*len > max) return too_long(cli, path, max, flag);
        if (*len < capacity) return 0;
        capacity *= 2;
        char *grown = realloc(*text, capacity);
        if (!grown) break;
        *text = grown;
    }
    return tn_cli_out_of_memory();
}

int tn_cli_read_file(const tn_cli *cli, const char *path, size_t max, const char *flag, char **text, size_t *len)
{
    bool standard = strcmp(path, "-") == 0;
    FILE *stream = standard ? stdin : fopen(path, "rb");
    *text = NULL;
    *len = 0;
    if (!stream) return cannot_read(cli, path, errno);
    int rc = read_stream(cli, stream, standard ? STANDARD_INPUT : path, max, flag, text, len);
    if (!standard) fclose(stream);
    return rc;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// The escape that begins behind a backslash at `in`. Returns its length, 0 where there is none.
static size_t resolve_escape(const char *in, char *out)
{
    static const char from[] = "nrt'\"\\", to[] = "\n\r\t'\"\\";
    const char *at = *in ? strchr(from, *in) : NULL;
    if (at) {
        *out = to[at - from];
        return 1;
    }
    if (in[0] != 'x' || hex_digit(in[1]) < 0 || hex_digit(in[2]) < 0) return 0;
    *out = (char)(hex_digit(in[1]) * 16 + hex_digit(in[2]));
    return 3;
}

int tn_cli_unescape(const tn_cli *cli, const char *text, char **out, size_t *len)
{
    bool literal = tn_cli_given(&cli->options, TN_OPT_NO_ESCAPE);
    char *copy = malloc(strlen(text) + 1);
    if (!copy) return tn_cli_out_of_memory();
    size_t n = 0;
    while (*text) {
        size_t used = !literal && *text == '\\' ? resolve_escape(text + 1, &copy[n]) : 0;
        if (!used) copy[n] = *text;
        text += used + 1;
        n++;
    }
    copy[n] = '\0';
    *out = copy;
    *len = n;
    return 0;
}

int tn_cli_prompt_read(tn_cli *cli, tn_cli_prompt *prompt, size_t max)
{
    const char *text = tn_cli_text(&cli->options, TN_OPT_PROMPT), *file = tn_cli_text(&cli->options, TN_OPT_FILE);
    if (text && file) return tn_cli_usage("two texts: -p and -f");
    if (text) return tn_cli_unescape(cli, text, &prompt->text, &prompt->len);
    if (!file && isatty(STDIN_FILENO)) {
        prompt->from_terminal = true;
        return 0;
    }
    prompt->from_file = true;
    bool bounded_by_context = max < TN_CLI_INPUT_MAX;
    return tn_cli_read_file(cli, file ? file : "-", max, bounded_by_context ? "the context (-c)" : "-f", &prompt->text, &prompt->len);
}

int tn_cli_prompt_encode(const tn_cli *cli, const tn_cli_engine *engine, tn_cli_prompt *prompt, unsigned flags)
{
    if (!engine->tokenizer) return tn_cli_fail(NULL, "%s has no tokenizer: use another file", engine->path);
    if (tn_cli_given(&cli->options, TN_OPT_PARSE_SPECIAL)) flags |= TN_ENCODE_PARSE_SPECIAL;
    size_t n = 0;
    tn_status status = tn_tokenizer_encode(engine->tokenizer, prompt->text, prompt->len, flags, NULL, 0, &n);
    if (status != TN_OK) return tn_cli_fail_status(NULL);
    prompt->tokens = malloc((n + 1) * sizeof *prompt->tokens);
    if (!prompt->tokens) return tn_cli_out_of_memory();
    status = tn_tokenizer_encode(engine->tokenizer, prompt->text, prompt->len, flags, prompt->tokens, n, &prompt->n_tokens);
    return status == TN_OK ? 0 : tn_cli_fail_status(NULL);
}

void tn_cli_prompt_deinit(tn_cli_prompt *prompt)
{
    free(prompt->text);
    free(prompt->tokens);
    memset(prompt, 0, sizeof *prompt);
}

uint32_t tn_cli_context(const tn_cli *cli, const tn_cli_engine *engine)
{
    int64_t n_ctx = tn_cli_int(&cli->options, TN_OPT_CTX);
    return n_ctx > 0 ? (uint32_t)n_ctx : engine->info.n_ctx_train;
}

// The command that makes a text short enough: a part of the file, a larger context, or a text of the user's own.
static void shorten_command(const tn_cli *cli, const tn_cli_prompt *prompt, bool can_grow, uint32_t n_ctx, char *command, size_t capacity)
{
    char word[300];
    const char *verb = tn_cli_verb_name(cli), *file = tn_cli_text(&cli->options, TN_OPT_FILE);
    if (file) file = tn_cli_shell_word(strcmp(file, "-") == 0 ? "FILE" : file, word, sizeof word);
    if (can_grow) {
        snprintf(command, capacity, "ternion %s %s", verb, file ? "-f " : "-p TEXT");
        if (file) snprintf(command + strlen(command), capacity - strlen(command), "%s", file);
    } else if (prompt->from_file) {
        double part = (double)prompt->len * (double)n_ctx * 0.75 / (double)prompt->n_tokens;
        snprintf(command, capacity, "head -c %.0f %s | ternion %s", part, file ? file : "FILE", verb);
    } else {
        snprintf(command, capacity, "ternion %s -p TEXT", verb);
    }
}

int tn_cli_prompt_check(const tn_cli *cli, const tn_cli_engine *engine, const tn_cli_prompt *prompt, uint32_t n_ctx)
{
    char command[600];
    uint32_t n_model = engine->info.n_ctx_train;
    if (n_ctx > n_model) {
        snprintf(command, sizeof command, "ternion %s -c %u", tn_cli_verb_name(cli), n_model);
        return tn_cli_fail(command, "-c %u is more than the model's context of %u", n_ctx, n_model);
    }
    if (prompt->n_tokens <= n_ctx) return 0;
    bool can_grow = prompt->n_tokens <= n_model;
    shorten_command(cli, prompt, can_grow, n_ctx, command, sizeof command);
    return tn_cli_fail(command, "the prompt has %zu tokens, but the context (-c) holds %u and the model at most %u: shorten the prompt%s",
                       prompt->n_tokens, n_ctx, n_model, can_grow ? ", or leave -c out" : "");
}
