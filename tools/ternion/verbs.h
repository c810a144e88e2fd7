// The verbs as data (verbs.inc) and their functions.
#ifndef TERNION_TOOL_VERBS_H
#define TERNION_TOOL_VERBS_H

#include "options.h"

typedef struct tn_cli tn_cli;

typedef struct tn_cli_verb {
    const char *name;
    int (*run)(tn_cli *cli); // returns the exit status
    const char *positionals;
    size_t positionals_min, positionals_max;
    const char *summary, *notes, *examples;
} tn_cli_verb;

#define TN_VERB(id, name, function, ...) int function(tn_cli *cli);
#include "verbs.inc"
#undef TN_VERB

extern const tn_cli_verb tn_cli_verb_table[TN_VERB_COUNT_];

#endif
