// Hashes of the rows that ops store for a chunk of tokens.
#ifndef TERNION_TOOL_TRACE_ROWS_H
#define TERNION_TOOL_TRACE_ROWS_H

#include "ternion/session.h"

#define TN_CLI_TRACE_NAME 32

// Hashes of one chunk of tokens. Zero-initialise, then set `first` and `n` before each chunk.
typedef struct tn_cli_trace {
    uint32_t first, n;                   // positions of the chunk: first .. first + n - 1
    char (*names)[TN_CLI_TRACE_NAME];    // of the ops, in the order in which they came
    uint64_t **hashes;                   // [op][capacity]
    uint8_t **present;                   // [op][capacity]
    size_t n_ops, ops_capacity, last_op; // `last_op`: where the next row's op probably is
    size_t capacity;                     // tokens a chunk; set once
    bool failed;                         // out of memory
} tn_cli_trace;

// The hook for the session. Borrows `trace`.
tn_trace tn_cli_trace_hook(tn_cli_trace *trace);
void tn_cli_trace_deinit(tn_cli_trace *trace);

#endif
