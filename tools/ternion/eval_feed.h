// Gives sequences of a session their tokens, many in a call, and hands out the rows of logits that are wanted.
#ifndef TERNION_TOOL_EVAL_FEED_H
#define TERNION_TOOL_EVAL_FEED_H

#include "engine.h"

// What one sequence gets: positions [begin, end) of its text. It has those before already.
typedef struct tn_cli_eval_span {
    uint32_t seq;
    const int32_t *tokens; // [end]
    uint32_t begin, end;
    uint32_t first_row; // rows are wanted of positions from here on; `end`: of none
} tn_cli_eval_span;

// Zero-initialise, then tn_cli_eval_feed_init.
typedef struct tn_cli_eval_feed {
    tn_cli *cli;
    const tn_cli_engine *engine;
    uint32_t n_batch; // tokens of a call at most
    int32_t *tokens;  // of the call that is being filled: [n_batch], owned like the others
    uint32_t *seqs, *spans, *positions;
    uint8_t *wanted;
    uint32_t n_tokens, n_rows;
    const char *stage; // of the progress bar
    uint64_t n_done, n_all;
    // Rows come by span, then by position. Returns 0 or the exit status after a message.
    int (*row)(void *user, uint32_t span, uint32_t position, const float *logits);
    void *user;
} tn_cli_eval_feed;

// Rows of a call, so that their memory is bounded.
uint32_t tn_cli_eval_rows_max(uint32_t n_vocab, uint32_t n_batch);

// Each returns 0 or the exit status after a message. The engine's session is there.
int tn_cli_eval_feed_init(tn_cli_eval_feed *feed, tn_cli *cli, const tn_cli_engine *engine, uint32_t n_batch);
int tn_cli_eval_feed_spans(tn_cli_eval_feed *feed, const tn_cli_eval_span *spans, uint32_t n_spans);
// Empties the session's first `n_seqs` sequences.
int tn_cli_eval_feed_clear(tn_cli_eval_feed *feed, uint32_t n_seqs);
void tn_cli_eval_feed_deinit(tn_cli_eval_feed *feed);

#endif
