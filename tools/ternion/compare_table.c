// The comparison for people: one row for each subject, and below the table what does not fit into a row.
#include "compare.h"
#include "output.h"
#include "plain.h"
#include "report.h"
#include "units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CELL 64

typedef struct column {
    char title[CELL];
    const char *test; // whose speed it shows; NULL: `kind`
    enum { NAME, PERPLEXITY, MEAN_KLD, MAX_KLD, SAME_TOP, GREEDY, HASH, SPEED, JOULE, ROOFLINE, RSS } kind;
} column;

#define COLUMNS_MAX 32u
#define TESTS_LAST  (COLUMNS_MAX - 3) // room for what stands behind the speeds

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

// ---- cells ----

// The name of a subject in at most `n_max` bytes, of which a longer one ends in "...". Control characters are written out here, so that
// widths are those of what is printed.
static void put_name(char cell[CELL], const char *name, size_t n_max)
{
    char plain[4 * CELL];
    const size_t len = strlen(name), kept = len < n_max ? len : n_max;
    size_t n = strlen(tn_cli_plain(name, kept, plain, sizeof plain));
    const bool cut = len > kept || n > n_max;
    if (cut) n = n < n_max - 3 ? n : n_max - 3;
    while (cut && n > 0 && ((unsigned char)plain[n] & 0xc0) == 0x80) n--; // not within a character
    snprintf(cell, CELL, "%.*s%s", (int)n, plain, cut ? "..." : "");
}

static void put_number(char cell[CELL], const char *format, const json_t *value)
{
    if (json_is_number(value))
        snprintf(cell, CELL, format, json_number_value(value));
    else
        snprintf(cell, CELL, "n/a");
}

static const json_t *test_of(const json_t *subject, const char *name)
{
    size_t i;
    const json_t *test;
    json_array_foreach(json_object_get(subject, "speed"), i, test)
    {
        if (strcmp(text_of(test, "test"), name) == 0) return test;
    }
    return NULL;
}

// The first test of replies: what a reader of one answer waits for, and what most of its energy goes into.
static const json_t *reply_of(const json_t *subject)
{
    size_t i;
    const json_t *test;
    json_array_foreach(json_object_get(subject, "speed"), i, test)
    {
        if (strncmp(text_of(test, "test"), "tg", 2) == 0) return test;
    }
    return NULL;
}

// Rows of other programs may have a mean and no samples, so no median.
static void put_speed(char cell[CELL], const json_t *test)
{
    const json_t *median = json_object_get(test, "median"), *mean = json_object_get(test, "mean");
    const json_t *shown = json_is_number(median) ? median : mean, *deviation = json_object_get(test, "deviation");
    if (!json_is_number(shown)) {
        snprintf(cell, CELL, "n/a");
        return;
    }
    const double speed = json_number_value(shown);
    const int digits = speed < 100 ? 2 : 0;
    size_t n = (size_t)snprintf(cell, CELL, "%.*f", digits, speed);
    if (json_is_number(deviation)) n += (size_t)snprintf(cell + n, CELL - n, " ± %.*f", digits, json_number_value(deviation));
    if (shown == mean && n < CELL) snprintf(cell + n, CELL - n, " (mean)");
}

static void put_greedy(char cell[CELL], const json_t *greedy)
{
    if (!json_is_object(greedy))
        snprintf(cell, CELL, "n/a");
    else
        snprintf(cell, CELL, "%lld/%lld", (long long)json_integer_value(json_object_get(greedy, "n_agree")),
                 (long long)json_integer_value(json_object_get(greedy, "n_prompts")));
}

static void put_percent(char cell[CELL], const json_t *share, const char *format)
{
    if (json_is_number(share))
        snprintf(cell, CELL, format, 100 * json_number_value(share));
    else
        snprintf(cell, CELL, "n/a");
}

static void put_bytes(char cell[CELL], const json_t *bytes)
{
    if (json_is_integer(bytes))
        tn_cli_format_bytes((uint64_t)json_integer_value(bytes), cell, CELL);
    else
        snprintf(cell, CELL, "n/a");
}

// Where nobody measured the device's int8 products, that of its memory alone, which is said.
static void put_limit(char cell[CELL], const json_t *test)
{
    const json_t *roofline = json_object_get(test, "share_roofline");
    if (json_is_number(roofline))
        put_percent(cell, roofline, "%.1f");
    else
        put_percent(cell, json_object_get(test, "share_memory"), "%.1f (memory)");
}

static void put_cell(char cell[CELL], const column *c, const json_t *subject)
{
    const json_t *accuracy = json_object_get(subject, "accuracy"), *reply = reply_of(subject);
    const char *hash = text_of(accuracy, "logits_hash");
    switch (c->kind) {
    case NAME:
        put_name(cell, text_of(subject, "name"), 40);
        if (strcmp(text_of(subject, "kind"), "external") == 0) strncat(cell, " (not ours)", CELL - strlen(cell) - 1);
        break;
    case PERPLEXITY: put_number(cell, "%.4f", json_object_get(accuracy, "perplexity")); break;
    case MEAN_KLD: put_number(cell, "%.3g", json_object_get(accuracy, "mean_kld")); break;
    case MAX_KLD: put_number(cell, "%.3g", json_object_get(accuracy, "max_kld")); break;
    case SAME_TOP: put_percent(cell, json_object_get(accuracy, "same_top"), "%.3f %%"); break;
    case GREEDY: put_greedy(cell, json_object_get(accuracy, "greedy")); break;
    case HASH: snprintf(cell, CELL, "%s", hash[0] ? hash : "n/a"); break;
    case SPEED: put_speed(cell, test_of(subject, c->test)); break;
    case JOULE: put_number(cell, "%.3g", json_object_get(json_object_get(reply, "energy"), "joule_per_token")); break;
    case ROOFLINE: put_limit(cell, reply); break;
    case RSS: put_bytes(cell, json_object_get(json_object_get(subject, "memory"), "peak_rss_bytes")); break;
    }
}

// ---- columns ----

static void add_column(column *columns, size_t *n, int kind, const char *title, const char *test)
{
    column *c = &columns[(*n)++];
    snprintf(c->title, sizeof c->title, "%s", title);
    c->kind = kind;
    c->test = test;
}

// Speeds of every test that any subject has, in the order in which they are first seen.
static void add_tests(column *columns, size_t *n, const json_t *subjects)
{
    size_t i, k;
    const json_t *subject, *test;
    json_array_foreach(subjects, i, subject) json_array_foreach(json_object_get(subject, "speed"), k, test)
    {
        char title[CELL];
        bool known = false;
        const char *name = text_of(test, "test");
        for (size_t c = 0; c < *n; c++) known = known || (columns[c].test && strcmp(columns[c].test, name) == 0);
        snprintf(title, sizeof title, "%.30s t/s", name);
        if (!known && *n < TESTS_LAST) add_column(columns, n, SPEED, title, name);
    }
}

// Whether all tests have their columns.
static bool shows_all(const column *columns, size_t n_columns, const json_t *subjects)
{
    size_t n_shown = 0, n_most = 0, i;
    const json_t *subject;
    for (size_t c = 0; c < n_columns; c++) n_shown += columns[c].kind == SPEED;
    json_array_foreach(subjects, i, subject)
    {
        const size_t n = json_array_size(json_object_get(subject, "speed"));
        if (n > n_most) n_most = n;
    }
    return n_shown >= n_most;
}

static size_t make_columns(column *columns, const json_t *subjects)
{
    char title[CELL], reference[CELL];
    size_t n = 0;
    add_column(columns, &n, NAME, "backend", NULL);
    add_column(columns, &n, PERPLEXITY, "PPL", NULL);
    put_name(reference, text_of(json_array_get(subjects, 0), "name"), 20);
    snprintf(title, sizeof title, "KLD vs %.40s", reference);
    add_column(columns, &n, MEAN_KLD, title, NULL);
    add_column(columns, &n, MAX_KLD, "max KLD", NULL);
    add_column(columns, &n, SAME_TOP, "same top", NULL);
    add_column(columns, &n, GREEDY, "greedy", NULL);
    add_column(columns, &n, HASH, "logits hash", NULL);
    add_tests(columns, &n, subjects);
    add_column(columns, &n, JOULE, "J/tok", NULL);
    add_column(columns, &n, ROOFLINE, "% of limit", NULL);
    add_column(columns, &n, RSS, "peak RSS", NULL);
    return n;
}

// ---- lines ----

// Columns that a text takes on a terminal: bytes of UTF-8 that go on a character take none.
static int width_of(const char *text)
{
    int n = 0;
    for (; *text; text++) n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void print_cell(FILE *out, const char *cell, int width, bool left)
{
    const int pad = width - width_of(cell);
    if (left)
        fprintf(out, "| %s%*s ", cell, pad > 0 ? pad : 0, "");
    else
        fprintf(out, "| %*s%s ", pad > 0 ? pad : 0, "", cell);
}

static bool has_figures(const json_t *subject) { return strcmp(text_of(subject, "status"), "failed") != 0; }

static void print_rows(FILE *out, const json_t *subjects, const column *columns, size_t n)
{
    int widths[COLUMNS_MAX] = {0};
    char cell[CELL];
    size_t i;
    const json_t *subject;
    for (size_t c = 0; c < n; c++) {
        widths[c] = width_of(columns[c].title);
        json_array_foreach(subjects, i, subject)
        {
            put_cell(cell, &columns[c], subject);
            if ((c == 0 || has_figures(subject)) && width_of(cell) > widths[c]) widths[c] = width_of(cell);
        }
    }
    for (size_t c = 0; c < n; c++) print_cell(out, columns[c].title, widths[c], c == 0);
    fprintf(out, "|\n");
    for (size_t c = 0; c < n; c++) {
        fprintf(out, "| ");
        for (int k = 0; k < widths[c] - (c > 0); k++) fputc('-', out);
        fprintf(out, c ? ": " : " ");
    }
    fprintf(out, "|\n");
    json_array_foreach(subjects, i, subject)
    {
        for (size_t c = 0; c < n; c++) {
            put_cell(cell, &columns[c], subject);
            if (c && !has_figures(subject)) snprintf(cell, sizeof cell, "%s", c == 1 ? "failed" : "-");
            print_cell(out, cell, widths[c], c == 0);
        }
        fprintf(out, "|\n");
    }
}

static void print_plain(FILE *out, const char *text)
{
    char *plain = malloc(4 * strlen(text) + 4);
    if (plain) fputs(tn_cli_plain(text, strlen(text), plain, 4 * strlen(text) + 4), out);
    free(plain);
}

// Failures and differences, and why there is no energy: each once, with those it is true of.
static void print_reasons(FILE *out, const json_t *subjects)
{
    size_t i, k;
    const json_t *subject, *earlier;
    json_array_foreach(subjects, i, subject)
    {
        const char *status = text_of(subject, "status");
        if (strcmp(status, "ok") == 0) continue;
        fprintf(out, "%s %s: ", text_of(subject, "name"), status);
        print_plain(out, text_of(subject, "reason"));
        fputc('\n', out);
    }
    json_array_foreach(subjects, i, subject)
    {
        const json_t *energy = json_object_get(subject, "energy");
        const char *why = text_of(energy, "why");
        bool said = false;
        json_array_foreach(subjects, k, earlier)
        {
            if (k < i) said = said || strcmp(text_of(json_object_get(earlier, "energy"), "why"), why) == 0;
        }
        if (why[0] && !said) fprintf(out, "J/tok %s%s%s\n", why, text_of(energy, "enable")[0] ? "; try: " : "", text_of(energy, "enable"));
    }
}

// Who else computed meanwhile: ternion's own threads count too, so only what they cannot have been is said.
static void print_load(FILE *out, const json_t *machine)
{
    const double before = json_number_value(json_object_get(machine, "load_before"));
    const double n_cores = json_number_value(json_object_get(machine, "n_cores"));
    if (n_cores > 0 && before > n_cores / 2)
        fprintf(out, "caution  a load of %.2f on %.0f cores before the first measurement: something else ran, and speeds say little\n",
                before, n_cores);
}

// Where the system has sensors.
static void print_heat(FILE *out, const json_t *machine)
{
    const json_t *before = json_object_get(machine, "celsius_before"), *after = json_object_get(machine, "celsius_after");
    const json_int_t n_times =
        json_integer_value(json_object_get(machine, "throttles_after")) - json_integer_value(json_object_get(machine, "throttles_before"));
    if (json_is_number(before) && json_is_number(after))
        fprintf(out, "heat     %.0f °C before, %.0f °C after\n", json_number_value(before), json_number_value(after));
    if (json_is_integer(json_object_get(machine, "throttles_before")) && n_times > 0)
        fprintf(out, "caution  heat slowed the processors down %lld time%s under way\n", (long long)n_times, n_times == 1 ? "" : "s");
}

// What the figures are of, so that the block can be pasted whole.
static void print_surroundings(FILE *out, const json_t *o)
{
    const json_t *machine = json_object_get(o, "machine"), *model = json_object_get(o, "model"), *text = json_object_get(o, "text");
    const json_t *settings = json_object_get(o, "settings"), *program = json_object_get(o, "ternion");
    char before[CELL], after[CELL], size[CELL], mhz[CELL];
    put_number(before, "%.2f", json_object_get(machine, "load_before"));
    put_number(after, "%.2f", json_object_get(machine, "load_after"));
    put_number(mhz, "%.0f", json_object_get(machine, "clock_mhz_after"));
    put_bytes(size, json_object_get(model, "size"));
    fprintf(out, "model    %s, %s, %s\n", text_of(model, "name"), text_of(model, "type"), size);
    fprintf(out, "text     %s, %lld tokens in parts of %lld, %lld scored; numerics %s\n", text_of(text, "source"),
            (long long)json_integer_value(json_object_get(text, "n_tokens")),
            (long long)json_integer_value(json_object_get(text, "context")),
            (long long)json_integer_value(json_object_get(text, "n_scored")), text_of(settings, "numerics"));
    fprintf(out, "speed    median ± deviation of %lld, after %lld to warm up; %s; %% of limit and J/tok are of replies\n",
            (long long)json_integer_value(json_object_get(settings, "repetitions")),
            (long long)json_integer_value(json_object_get(settings, "warmup_runs")),
            json_is_true(json_object_get(settings, "interleaved")) ? "subjects in turn" : "one subject after another");
    fprintf(out, "machine  %s, %lld cores%s, governor %s, %s MHz, load %s before, %s after\n", text_of(machine, "cpu"),
            (long long)json_integer_value(json_object_get(machine, "n_cores")),
            json_is_true(json_object_get(machine, "virtual")) ? " (virtual machine)" : "",
            text_of(machine, "governor")[0] ? text_of(machine, "governor") : "n/a", mhz, before, after);
    print_load(out, machine);
    print_heat(out, machine);
    fprintf(out, "build    %s %s %s, %s\ncommand  %s\n", text_of(program, "version"), text_of(program, "commit"),
            text_of(program, "build_type"), text_of(o, "time"), text_of(o, "command"));
}

int tn_cli_compare_print_table(const json_t *comparison)
{
    char *text = NULL;
    size_t len = 0;
    column columns[COLUMNS_MAX];
    const json_t *subjects = json_object_get(comparison, "subjects");
    FILE *out = open_memstream(&text, &len);
    if (!out) return tn_cli_out_of_memory();
    const size_t n = make_columns(columns, subjects);
    print_rows(out, subjects, columns, n);
    fputc('\n', out);
    if (!shows_all(columns, n, subjects)) fprintf(out, "there are more tests than the table has room for: --json has all of them\n");
    print_reasons(out, subjects);
    print_surroundings(out, comparison);
    const bool written = fclose(out) == 0;
    const int rc = written ? tn_cli_print_plain(text, len) : tn_cli_out_of_memory();
    free(text);
    return rc;
}
