// What the tests of ternion bench let a session compute: prompts and replies of made-up tokens, in one sequence or more.
#ifndef TERNION_TOOL_BENCH_FEED_H
#define TERNION_TOOL_BENCH_FEED_H

#include "engine.h"

// Zero-initialise.
typedef struct tn_cli_bench_feed {
    const tn_cli_engine *engine; // borrowed
    uint32_t copy;               // of the model, whose session computes
    tn_cli_progress silent;      // only cancels after Ctrl-C: bars would disturb what is measured
    int32_t *tokens;             // [n_ctx_train]: the token of each position, in every sequence
    int32_t *batch_tokens;       // [capacity], of the call in hand
    uint32_t *batch_seqs;        // the same
    uint32_t *batch_top;         // [n_seqs_max], 1 each: replies in two stages want the best token
} tn_cli_bench_feed;

// Each returns 0 or the exit status after a message.

// Room for calls of `n_batch` tokens, and of one token for each of `n_seqs_max` sequences.
int tn_cli_bench_feed_init(tn_cli_bench_feed *feed, const tn_cli_engine *engine, uint32_t n_batch, uint32_t n_seqs_max);
void tn_cli_bench_feed_deinit(tn_cli_bench_feed *feed);

// Appends `n` tokens from position `at` on to each of `n_seqs` sequences, one sequence after another, in calls of `n_batch` tokens.
int tn_cli_bench_feed_prompts(tn_cli_bench_feed *feed, uint32_t first_seq, uint32_t n_seqs, uint32_t at, uint32_t n, uint32_t n_batch);
// Appends `n` tokens from position `at` on to each of the first `n_seqs` sequences, one at a time, as answers do.
int tn_cli_bench_feed_replies(tn_cli_bench_feed *feed, uint32_t n_seqs, uint32_t at, uint32_t n);
// Brings each of the first `n_seqs` sequences to this length. Positions that are there stay.
int tn_cli_bench_feed_depth(tn_cli_bench_feed *feed, uint32_t n_seqs, uint32_t depth, uint32_t n_batch);

#endif
