// Which lines of the input have results, and what these lines were.
#ifndef TERNION_TOOL_BATCH_DONE_H
#define TERNION_TOOL_BATCH_DONE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Lines first..last, all done. `sum`: of tn_cli_batch_done_mix of each, modulo 2^64.
typedef struct tn_cli_batch_range {
    uint64_t first, last, sum;
} tn_cli_batch_range;

// Results come nearly in the order of their lines, so a few ranges hold them. Zero-initialise.
typedef struct tn_cli_batch_done {
    tn_cli_batch_range *ranges; // [n] ascending, with lines between them
    size_t n, capacity;
    uint64_t n_lines;
} tn_cli_batch_done;

typedef enum tn_cli_batch_added { TN_CLI_BATCH_ADDED, TN_CLI_BATCH_ADDED_BEFORE, TN_CLI_BATCH_NO_MEMORY } tn_cli_batch_added;

// A line's part of the sum of its range: another line or another text gives another one.
uint64_t tn_cli_batch_done_mix(uint64_t line, uint64_t hash);
tn_cli_batch_added tn_cli_batch_done_add(tn_cli_batch_done *done, uint64_t line, uint64_t hash);
// The range that holds `line`, else NULL.
const tn_cli_batch_range *tn_cli_batch_done_find(const tn_cli_batch_done *done, uint64_t line);
static inline uint64_t tn_cli_batch_done_last(const tn_cli_batch_done *done) { return done->n ? done->ranges[done->n - 1].last : 0; }
void tn_cli_batch_done_deinit(tn_cli_batch_done *done);

#endif
