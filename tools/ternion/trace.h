// A line "token op XXH64" for every row that an op stores, grouped by token, ops in the order of the graph.
#ifndef TERNION_TOOL_TRACE_H
#define TERNION_TOOL_TRACE_H

#include "output.h"
#include "trace_rows.h"

// Writes the chunk and forgets it. Returns 0 or the exit status after a message.
int tn_cli_trace_write(tn_cli_trace *trace, tn_cli_output *output);

#endif
