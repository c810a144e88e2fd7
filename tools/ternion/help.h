// Help texts, made from the tables of verbs and options.
#ifndef TERNION_TOOL_HELP_H
#define TERNION_TOOL_HELP_H

#include "options.h"

// A name and one line about it; lists end with a NULL name.
typedef struct tn_cli_variable {
    const char *name, *meaning;
} tn_cli_variable;

extern const char *const tn_cli_groups[]; // of options, in the order of the help; ends with NULL
extern const tn_cli_variable tn_cli_environment[], tn_cli_top_options[];
extern const char tn_cli_top_examples[]; // lines

void tn_cli_print_top_help(void);
void tn_cli_print_verb_help(tn_cli_verb_id verb);

#endif
