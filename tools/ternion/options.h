// Command line flags: the table of options.inc as data, and the parser that fills values from it.
#ifndef TERNION_TOOL_OPTIONS_H
#define TERNION_TOOL_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TN_CLI_NAMES_MAX 4
#define TN_CLI_LIST_MAX  256

typedef enum tn_cli_kind {
    TN_CLI_FLAG,          // no argument; counted
    TN_CLI_TEXT,          // the last one wins
    TN_CLI_LIST,          // texts, repeatable
    TN_CLI_INT,           // whole number in [low, high]
    TN_CLI_REAL,          // finite number in [low, high]
    TN_CLI_CHOICE,        // one of the words of `argument`, "a|b|c"
    TN_CLI_INT_OR_CHOICE, // "N|a|b": a number or one of the words
    TN_CLI_NUMBERS,       // comma list with ranges; repeats append
    TN_CLI_REFUSED,       // known to users of llama.cpp, not to ternion: `help` says what to do
} tn_cli_kind;

typedef struct tn_cli_option {
    unsigned verbs; // bit 1 << tn_cli_verb_id
    const char *names[TN_CLI_NAMES_MAX];
    const char *argument; // "" for flags
    tn_cli_kind kind;
    int64_t low, high;
    const char *initial; // NULL: none
    const char *group, *help;
} tn_cli_option;

typedef enum tn_cli_option_id {
#define TN_OPTION(id, ...) TN_OPT_##id,
#include "options.inc"
#undef TN_OPTION
    TN_OPT_COUNT_,
} tn_cli_option_id;

typedef enum tn_cli_verb_id {
#define TN_VERB(id, ...) TN_VERB_##id,
#include "verbs.inc"
#undef TN_VERB
    TN_VERB_COUNT_,
} tn_cli_verb_id;

typedef struct tn_cli_value {
    unsigned count;    // times given; 0: the default stands
    const char *text;  // as given; NULL where neither given nor defaulted. For INT_OR_CHOICE the word, NULL where a number was given
    int64_t integer;   // INT and INT_OR_CHOICE
    double real;       // REAL
    char word[16];     // CHOICE and INT_OR_CHOICE: the word as the table writes it
    const char **list; // LIST: `n` texts
    int64_t *numbers;  // NUMBERS: `n` numbers
    size_t n;
} tn_cli_value;

typedef struct tn_cli_options {
    tn_cli_value values[TN_OPT_COUNT_];
    const char **positionals;
    size_t n_positionals;
} tn_cli_options;

extern const tn_cli_option tn_cli_option_table[TN_OPT_COUNT_];

// Parses the arguments after the verb. Values borrow from `argv`. Returns 0, or the exit status after printing what is wrong.
// `options` is to be deinitialised in both cases.
int tn_cli_options_parse(tn_cli_options *options, tn_cli_verb_id verb, int argc, char **argv);
void tn_cli_options_deinit(tn_cli_options *options);
// Gives a number of `verb` another value, by a name without dashes. `text` is not kept. Returns 0 or the exit status after a message.
int tn_cli_options_set_number(tn_cli_options *options, tn_cli_verb_id verb, const char *name, const char *text);

static inline bool tn_cli_given(const tn_cli_options *options, tn_cli_option_id id) { return options->values[id].count > 0; }
static inline const char *tn_cli_text(const tn_cli_options *options, tn_cli_option_id id) { return options->values[id].text; }
static inline int64_t tn_cli_int(const tn_cli_options *options, tn_cli_option_id id) { return options->values[id].integer; }
static inline double tn_cli_real(const tn_cli_options *options, tn_cli_option_id id) { return options->values[id].real; }

// Writes the name of an option as a user types it ("-n", "-ub", "--top-k").
void tn_cli_option_name(const tn_cli_option *option, size_t index, char *name, size_t capacity);
// What the help of `verb` shows as default; NULL: nothing. Lines of a batch have their own, which its notes say.
const char *tn_cli_option_default(const tn_cli_option *option, tn_cli_verb_id verb);

#endif
