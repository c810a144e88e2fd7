// The option table as data, and the parser on top of getopt_long_only.
#include "options.h"

#include "numbers.h"
#include "report.h"
#include "suggest.h"
#include "verbs.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    R = 1 << TN_VERB_RUN,
    H = 1 << TN_VERB_CHAT,
    S = 1 << TN_VERB_SHOW,
    T = 1 << TN_VERB_TOKENIZE,
    D = 1 << TN_VERB_DEVICES,
    C = 1 << TN_VERB_CONVERT,
    Y = 1 << TN_VERB_SYNTH,
    B = 1 << TN_VERB_BENCH,
    L = 1 << TN_VERB_LOGITS,
    A = 1 << TN_VERB_BATCH,
    P = 1 << TN_VERB_PLAN,
    M = 1 << TN_VERB_COMPARE,
    E = 1 << TN_VERB_EVAL,
    ALL = R | H | S | T | D | C | Y | B | L | A | P | M | E,
};

#define TN_NAMES(...)                                                                                                                      \
    {                                                                                                                                      \
        __VA_ARGS__                                                                                                                        \
    }
const tn_cli_option tn_cli_option_table[TN_OPT_COUNT_] = {
#define TN_OPTION(id, verbs, names, argument, kind, low, high, initial, group, help)                                                       \
    [TN_OPT_##id] = {verbs, names, argument, kind, low, high, initial, group, help},
#include "options.inc"
#undef TN_OPTION
};

// What getopt wants, made from the rows of one verb.
typedef struct getopt_table {
    char shorts[2 + 3 * TN_OPT_COUNT_];
    struct option longs[TN_CLI_NAMES_MAX * TN_OPT_COUNT_ + 1];
    int short_to_row[128];
} getopt_table;

void tn_cli_option_name(const tn_cli_option *option, size_t index, char *name, size_t capacity)
{
    // llama.cpp writes its abbreviations with one dash: two letters, or three where the option has a longer name too.
    size_t n = strlen(option->names[index]);
    bool has_longer = false;
    for (size_t i = 0; i < TN_CLI_NAMES_MAX && option->names[i]; i++) has_longer |= strlen(option->names[i]) > n;
    snprintf(name, capacity, "%s%s", n <= 2 || (n == 3 && has_longer) ? "-" : "--", option->names[index]);
}

const char *tn_cli_option_default(const tn_cli_option *option, tn_cli_verb_id verb)
{
    const bool of_lines = strcmp(option->group, "Sampling") == 0 || strcmp(option->group, "Reply") == 0;
    return verb == TN_VERB_BATCH && of_lines ? NULL : option->initial;
}

static void make_getopt_table(getopt_table *table, tn_cli_verb_id verb)
{
    char *s = table->shorts;
    struct option *o = table->longs;
    memset(table, 0, sizeof *table);
    *s++ = '-'; // arguments that are no flags are returned in their place
    *s++ = ':'; // a missing argument is told from an unknown flag
    for (int row = 0; row < TN_OPT_COUNT_; row++) {
        const tn_cli_option *option = &tn_cli_option_table[row];
        if (!(option->verbs & 1u << verb)) continue;
        bool takes = option->argument[0] != '\0';
        for (int i = 0; i < TN_CLI_NAMES_MAX && option->names[i]; i++) {
            if (option->names[i][1] == '\0') {
                table->short_to_row[(unsigned char)option->names[i][0]] = row;
                *s++ = option->names[i][0];
                if (takes) *s++ = ':';
            } else {
                *o++ = (struct option){option->names[i], takes ? required_argument : no_argument, NULL, 256 + row};
            }
        }
    }
}

// The flag as it was typed: without "=value", and one letter where letters stand together.
static void typed_name(const char *argument, int short_letter, char *name, size_t capacity)
{
    if (short_letter > 0 && short_letter < 256) {
        snprintf(name, capacity, "-%c", short_letter);
    } else {
        snprintf(name, capacity, "%.*s", (int)strcspn(argument, "="), argument);
    }
}

// getopt accepts abbreviations of long names, which would break scripts when a flag is added; llama.cpp does not have them either.
static bool is_exact(const char *argument, const char *name)
{
    argument += strspn(argument, "-");
    size_t n = strcspn(argument, "=");
    return n == strlen(name) && memcmp(argument, name, n) == 0;
}

static int append(tn_cli_value *value, const char *text)
{
    if (value->n == TN_CLI_LIST_MAX) return tn_cli_usage("too many values: at most %d", TN_CLI_LIST_MAX);
    if (!value->list && !(value->list = calloc(TN_CLI_LIST_MAX, sizeof *value->list))) return tn_cli_out_of_memory();
    value->list[value->n++] = text;
    return 0;
}

// Finds a word of "a|b|c", in capitals or not, and sets the value to it. N stands for a number and is no word.
static bool choose(const char *choices, tn_cli_value *value, const char *word)
{
    size_t n = strlen(word);
    for (const char *c = choices; n > 0 && *c; c += strcspn(c, "|"), c += *c == '|') {
        if (strcspn(c, "|") != n || strncasecmp(c, word, n) != 0 || (n == 1 && *c == 'N')) continue;
        snprintf(value->word, sizeof value->word, "%.*s", (int)n, c);
        value->text = value->word;
        return true;
    }
    return false;
}

// Sets the value of a row from its text; `name` is the flag as typed, for the message.
static int set_value(const tn_cli_option *option, tn_cli_value *value, const char *name, const char *text)
{
    char why[200];
    value->text = text;
    switch (option->kind) {
    case TN_CLI_FLAG:
    case TN_CLI_TEXT: return 0;
    case TN_CLI_LIST: return append(value, text);
    case TN_CLI_INT:
        if (tn_cli_parse_int(text, option->low, option->high, &value->integer, why, sizeof why)) return 0;
        return tn_cli_usage("%s: %s", name, why);
    case TN_CLI_REAL:
        if (tn_cli_parse_real(text, (double)option->low, (double)option->high, &value->real, why, sizeof why)) return 0;
        return tn_cli_usage("%s: %s", name, why);
    case TN_CLI_CHOICE:
        if (choose(option->argument, value, text)) return 0;
        return tn_cli_usage("%s: '%s' is not one of %s", name, text, option->argument);
    case TN_CLI_INT_OR_CHOICE:
        if (choose(option->argument, value, text)) return 0;
        value->text = NULL;
        if (tn_cli_parse_int(text, option->low, option->high, &value->integer, why, sizeof why)) return 0;
        return tn_cli_usage("%s: %s (words are %s)", name, why, strchr(option->argument, '|') + 1);
    case TN_CLI_NUMBERS:
        if (tn_cli_parse_numbers(text, option->low, option->high, &value->numbers, &value->n, why, sizeof why)) return 0;
        if (!why[0]) return tn_cli_out_of_memory();
        return tn_cli_usage("%s: %s", name, why);
    case TN_CLI_REFUSED: return tn_cli_usage("%s: %s", name, option->help);
    }
    return 0;
}

// The option of `verb` that has exactly this name, without dashes; NULL: none.
static const tn_cli_option *own_flag(tn_cli_verb_id verb, const char *name)
{
    for (int row = 0; row < TN_OPT_COUNT_; row++) {
        const tn_cli_option *option = &tn_cli_option_table[row];
        for (size_t i = 0; (option->verbs & 1u << verb) && i < TN_CLI_NAMES_MAX && option->names[i]; i++) {
            if (strcmp(option->names[i], name) == 0) return option;
        }
    }
    return NULL;
}

// "-n=5": a flag of one letter takes its value without "=".
static int separate_value(const char *argument)
{
    return tn_cli_usage("%s: a flag of one letter takes no '=': write %.2s %s", argument, argument, argument + 3);
}

// getopt reports an unknown flag and a value where none belongs ("--json=1") in the same way.
static int unknown_flag(tn_cli_verb_id verb, const char *argument)
{
    char name[64], other[64];
    typed_name(argument, 0, name, sizeof name);
    const tn_cli_option *own = own_flag(verb, name + strspn(name, "-"));
    bool one_letter = own && strlen(name + strspn(name, "-")) == 1, has_value = argument[strcspn(argument, "=")] == '=';
    if (one_letter && strncmp(name, "--", 2) == 0) return tn_cli_usage("unknown flag %s: did you mean %s?", name, name + 1);
    if (one_letter && own->argument[0] && has_value) return separate_value(argument);
    if (own && !own->argument[0] && has_value) return tn_cli_usage("%s takes no value", name);
    if (own) return tn_cli_usage("unknown flag %s", argument);
    const char *owner = tn_cli_verb_of_flag(name, verb);
    if (owner) return tn_cli_usage("%s is a flag of 'ternion %s', not of '%s'", name, owner, tn_cli_verb_table[verb].name);
    if (tn_cli_suggest_flag(name, verb, other, sizeof other)) return tn_cli_usage("unknown flag %s: did you mean %s?", name, other);
    return tn_cli_usage("unknown flag %s", name);
}

static int set_defaults(tn_cli_options *options, tn_cli_verb_id verb)
{
    for (int row = 0; row < TN_OPT_COUNT_; row++) {
        const tn_cli_option *option = &tn_cli_option_table[row];
        tn_cli_value *value = &options->values[row];
        if (!(option->verbs & 1u << verb) || value->count > 0 || !option->initial) continue;
        int rc = set_value(option, value, option->names[0], option->initial);
        if (rc) return rc;
    }
    return 0;
}

static int parse_one(tn_cli_options *options, const getopt_table *table, tn_cli_verb_id verb, int code, const char *argument, int index)
{
    char name[64];
    if (code == 1) {
        options->positionals[options->n_positionals++] = optarg;
        return 0;
    }
    if (code == '?') return unknown_flag(verb, argument);
    if (code >= 256 && !is_exact(argument, table->longs[index].name)) return unknown_flag(verb, argument);
    if (code == ':') {
        typed_name(argument, optopt, name, sizeof name);
        return tn_cli_usage("%s needs a value", name);
    }
    if (code < 256 && argument[0] == '-' && argument[1] == code && argument[2] == '=' &&
        tn_cli_option_table[table->short_to_row[code]].argument[0]) {
        return separate_value(argument);
    }
    int row = code >= 256 ? code - 256 : table->short_to_row[code];
    typed_name(argument, code, name, sizeof name);
    options->values[row].count++;
    return set_value(&tn_cli_option_table[row], &options->values[row], name, optarg);
}

int tn_cli_options_parse(tn_cli_options *options, tn_cli_verb_id verb, int argc, char **argv)
{
    memset(options, 0, sizeof *options);
    options->positionals = calloc((size_t)argc + 1, sizeof *options->positionals);
    if (!options->positionals) return tn_cli_out_of_memory();
    getopt_table table;
    make_getopt_table(&table, verb);
    opterr = 0;
    optind = 0; // glibc: start afresh, with the order of `shorts`
    for (;;) {
        int index = -1, at = optind > 0 ? optind : 1;
        int code = getopt_long_only(argc, argv, table.shorts, table.longs, &index);
        if (code == -1) break;
        int rc = parse_one(options, &table, verb, code, argv[at], index);
        if (rc) return rc;
    }
    for (int i = optind; i < argc; i++) options->positionals[options->n_positionals++] = argv[i]; // after "--"
    if (tn_cli_given(options, TN_OPT_HELP)) return 0;
    const tn_cli_verb *v = &tn_cli_verb_table[verb];
    if (options->n_positionals > v->positionals_max)
        return tn_cli_usage("unexpected argument '%s'", options->positionals[v->positionals_max]);
    if (options->n_positionals < v->positionals_min) return tn_cli_usage("an argument is missing: %s", v->positionals);
    return set_defaults(options, verb);
}

int tn_cli_options_set_number(tn_cli_options *options, tn_cli_verb_id verb, const char *name, const char *text)
{
    const tn_cli_option *option = own_flag(verb, name);
    tn_cli_value value = {.count = 1};
    if (!option || (option->kind != TN_CLI_INT && option->kind != TN_CLI_REAL)) return tn_cli_usage("there is no number '%s'", name);
    int rc = set_value(option, &value, name, text);
    value.text = NULL;
    if (rc == 0) options->values[option - tn_cli_option_table] = value;
    return rc;
}

void tn_cli_options_deinit(tn_cli_options *options)
{
    for (int row = 0; row < TN_OPT_COUNT_; row++) {
        free(options->values[row].list);
        free(options->values[row].numbers);
    }
    free(options->positionals);
    memset(options, 0, sizeof *options);
}
