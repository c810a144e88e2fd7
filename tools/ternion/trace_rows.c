// Rows come op by op, of one chunk of tokens after another.
#include "trace_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static bool add_op(tn_cli_trace *trace, const char *name)
{
    if (trace->n_ops == trace->ops_capacity) {
        size_t wanted = trace->ops_capacity * 2 + 64;
        void *names = realloc(trace->names, wanted * sizeof *trace->names);
        if (names) trace->names = names;
        void *hashes = realloc(trace->hashes, wanted * sizeof *trace->hashes);
        if (hashes) trace->hashes = hashes;
        void *present = realloc(trace->present, wanted * sizeof *trace->present);
        if (present) trace->present = present;
        if (!names || !hashes || !present) return false;
        trace->ops_capacity = wanted;
    }
    size_t op = trace->n_ops;
    uint64_t *hashes = calloc(trace->capacity, sizeof *hashes);
    uint8_t *present = calloc(trace->capacity, 1);
    if (!hashes || !present) {
        free(hashes);
        free(present);
        return false;
    }
    trace->hashes[op] = hashes;
    trace->present[op] = present;
    snprintf(trace->names[op], TN_CLI_TRACE_NAME, "%s", name);
    trace->n_ops++;
    return true;
}

// Index of an op; SIZE_MAX without memory.
static size_t find_op(tn_cli_trace *trace, const char *name)
{
    for (size_t i = 0; i < trace->n_ops; i++) {
        size_t op = (trace->last_op + i) % trace->n_ops;
        if (strncmp(trace->names[op], name, TN_CLI_TRACE_NAME - 1) == 0) return trace->last_op = op;
    }
    return add_op(trace, name) ? trace->last_op = trace->n_ops - 1 : SIZE_MAX;
}

static void on_row(void *user, uint32_t seq, uint32_t position, const char *op, const float *row, size_t n)
{
    tn_cli_trace *trace = user;
    (void)seq; // there is one
    size_t index = trace->failed ? SIZE_MAX : find_op(trace, op);
    if (index == SIZE_MAX || position < trace->first || position - trace->first >= trace->capacity) {
        trace->failed = true;
        return;
    }
    trace->hashes[index][position - trace->first] = XXH64(row, n * sizeof *row, 0);
    trace->present[index][position - trace->first] = 1;
}

tn_trace tn_cli_trace_hook(tn_cli_trace *trace) { return (tn_trace){on_row, trace}; }

void tn_cli_trace_deinit(tn_cli_trace *trace)
{
    for (size_t op = 0; op < trace->n_ops; op++) {
        free(trace->hashes[op]);
        free(trace->present[op]);
    }
    free(trace->hashes);
    free(trace->present);
    free(trace->names);
    memset(trace, 0, sizeof *trace);
}
