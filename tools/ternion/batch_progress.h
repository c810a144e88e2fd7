// How far a batch is, while it runs and at its end.
#ifndef TERNION_TOOL_BATCH_PROGRESS_H
#define TERNION_TOOL_BATCH_PROGRESS_H

#include "engine.h"
#include "ternion/batch.h"

// What is counted of lines. Zero-initialise.
typedef struct tn_cli_batch_counts {
    uint64_t n_ok, n_failed, n_before;  // answered and failed in this run; done by an earlier one
    uint64_t bytes_read, bytes_in_work; // of the input: behind the last line read; of lines that have no result yet
    uint64_t bytes_before, bytes;       // of lines done before; of the whole input, 0: unknown
    uint64_t begun_ns, end_ns, shown_ns;
    bool is_refused; // the input is not the one whose results are there: the same command meets that again
} tn_cli_batch_counts;

// Draws a bar on a terminal, else prints a line every 5 seconds. Cheap where it is not yet time.
void tn_cli_batch_show(tn_cli *cli, tn_batcher *batcher, tn_cli_batch_counts *counts);

typedef struct tn_cli_batch_summary {
    const tn_cli_engine *engine;
    const char *input, *output;
    const tn_cli_batch_counts *counts;
    tn_batcher_info info; // zeros where there was nothing to do
    bool complete;        // the whole input has results
} tn_cli_batch_summary;

// "1200 lines done, 3 failed, 8 running, 24 waiting, 512 tokens/s, ETA 20.1 s", or for a bar the same in fewer letters.
void tn_cli_batch_describe(const tn_cli_batch_counts *counts, const tn_batcher_info *info, uint64_t now_ns, bool brief, char *text,
                           size_t capacity);
void tn_cli_batch_note_summary(const tn_cli_batch_summary *summary);
// The same as a JSON object, on standard output or, where results go there, on standard error. Returns 0 or the exit status.
int tn_cli_batch_print_json(const tn_cli_batch_summary *summary, bool on_stderr);

#endif
