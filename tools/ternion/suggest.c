// Edit distance over the tables of flags and verbs.
#include "suggest.h"

#include "verbs.h"

#include <string.h>

#define WORD_MAX 40u

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;
    return m < c ? m : c;
}

// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`; WORD_MAX where either is too long.
static size_t distance(const char *a, const char *b)
{
    size_t na = strlen(a), nb = strlen(b);
    size_t rows[3][WORD_MAX + 1];
    if (na >= WORD_MAX || nb >= WORD_MAX) return WORD_MAX;
    size_t *before = rows[0], *last = rows[1], *row = rows[2];
    for (size_t j = 0; j <= nb; j++) last[j] = before[j] = j;
    for (size_t i = 1; i <= na; i++) {
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            row[j] = min3(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && before[j - 2] + 1 < row[j]) row[j] = before[j - 2] + 1;
        }
        size_t *spare = before;
        before = last;
        last = row;
        row = spare;
    }
    return last[nb];
}

static size_t allowed_distance(const char *word)
{
    size_t n = strlen(word);
    return n < 3 ? 0 : n < 6 ? 1 : n < 9 ? 2 : 3;
}

bool tn_cli_suggest_flag(const char *name, tn_cli_verb_id verb, char *flag, size_t capacity)
{
    name += strspn(name, "-");
    size_t best = allowed_distance(name) + 1;
    for (int row = 0; row < TN_OPT_COUNT_; row++) {
        const tn_cli_option *option = &tn_cli_option_table[row];
        if (!(option->verbs & 1u << verb) || option->kind == TN_CLI_REFUSED) continue;
        for (size_t i = 0; i < TN_CLI_NAMES_MAX && option->names[i]; i++) {
            size_t d = distance(name, option->names[i]);
            bool begins = strlen(name) >= 3 && strncmp(option->names[i], name, strlen(name)) == 0;
            if (begins && d > 1) d = 1; // an abbreviation
            if (d >= best) continue;
            best = d;
            tn_cli_option_name(option, i, flag, capacity);
        }
    }
    return best <= allowed_distance(name);
}

const char *tn_cli_verb_of_flag(const char *name, tn_cli_verb_id verb)
{
    unsigned verbs = 0;
    name += strspn(name, "-");
    for (int row = 0; row < TN_OPT_COUNT_; row++) {
        const tn_cli_option *option = &tn_cli_option_table[row];
        for (size_t i = 0; i < TN_CLI_NAMES_MAX && option->names[i]; i++) {
            if (strcmp(name, option->names[i]) == 0 && option->kind != TN_CLI_REFUSED) verbs |= option->verbs;
        }
    }
    if (verbs & 1u << verb) return tn_cli_verb_table[verb].name;
    for (unsigned v = 0; v < TN_VERB_COUNT_; v++) {
        if (verbs & 1u << v) return tn_cli_verb_table[v].name;
    }
    return NULL;
}

const char *tn_cli_suggest_verb(const char *name)
{
    const char *nearest = NULL;
    size_t best = allowed_distance(name) + 1;
    for (int v = 0; v < TN_VERB_COUNT_; v++) {
        size_t d = distance(name, tn_cli_verb_table[v].name);
        if (d >= best) continue;
        best = d;
        nearest = tn_cli_verb_table[v].name;
    }
    return nearest;
}
