// Help texts, made from the tables of verbs and options.
#ifndef TERNION_TOOL_HELP_H
#define TERNION_TOOL_HELP_H

#include "options.h"

void tn_cli_print_top_help(void);
void tn_cli_print_verb_help(tn_cli_verb_id verb);

#endif
