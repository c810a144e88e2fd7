// Where ternion compare writes its results.
#ifndef TERNION_TOOL_COMPARE_OUTPUT_H
#define TERNION_TOOL_COMPARE_OUTPUT_H

#include "compare.h"

// Refuses files that cannot be written, or that would replace what is read or one another, before anything is opened. The engine's path
// must be known.
int tn_cli_compare_check_outputs(const tn_cli_compare *job);
// The file, the page, and the table or the object on standard output: each of them whatever became of the others.
int tn_cli_compare_write_outputs(const tn_cli_compare *job, json_t *comparison);

#endif
