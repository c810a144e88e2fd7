// What statistics of a text look like: llama-perplexity's lines, and JSON.
#ifndef TERNION_TOOL_EVAL_PRINT_H
#define TERNION_TOOL_EVAL_PRINT_H

#include "engine.h"
#include "json_out.h"

// A row of the table that grows with every window, with the table's head before the first. Returns 0 or the exit status after a message.
int tn_cli_eval_print_window(const tn_eval_summary *summary, uint64_t number);
// The three blocks behind the table.
int tn_cli_eval_print_blocks(const tn_eval_summary *summary);
// All fields by their names in tn_eval_summary; those of a base only where there is one. NULL without memory.
json_t *tn_cli_eval_json_summary(const tn_eval_summary *summary);

#endif
