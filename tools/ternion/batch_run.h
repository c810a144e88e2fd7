// The loop of a batch: lines in, requests to the batcher, results out as they finish.
#ifndef TERNION_TOOL_BATCH_RUN_H
#define TERNION_TOOL_BATCH_RUN_H

#include "batch_progress.h"
#include "batch_request.h"
#include "batch_resume.h"

// What a run borrows.
typedef struct tn_cli_batch_run_params {
    tn_cli *cli;
    tn_cli_batch_context *context;
    tn_batcher *batcher;
    tn_cli_batch_reader *reader;
    tn_cli_batch_journal *journal;   // begun
    const char *input;               // its name
    const char *model, *fingerprint; // for the results
    tn_cli_batch_counts *counts;
} tn_cli_batch_run_params;

// Answers what is left of the input. Memory is bounded by the longest lines and the batcher's queue. Returns 0 where every line has its
// result, else the exit status, after a message unless it is TN_CLI_INTERRUPTED; the journal's lines are whole then too. After it the
// batcher can only be destroyed.
int tn_cli_batch_run(const tn_cli_batch_run_params *params);

#endif
