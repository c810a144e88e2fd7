// Manual pages, made from the tables of verbs and options.
#ifndef TERNION_TOOL_MAN_H
#define TERNION_TOOL_MAN_H

#include "options.h"

// Print roff (man macros) on standard output: ternion(1), and ternion-VERB(1).
void tn_cli_print_top_man(void);
void tn_cli_print_verb_man(tn_cli_verb_id verb);

#endif
