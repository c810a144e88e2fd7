// Prompts and replies for the tests of ternion bench.
#include "bench_feed.h"

#include "report.h"

#include <stdlib.h>

// Ordinary tokens in an order that is the same in every run; the first one begins a text where the model has such a token.
static int make_tokens(tn_cli_bench_feed *feed)
{
    const tn_cli_engine *engine = feed->engine;
    uint32_t n = engine->info.n_ctx_train, n_vocab = engine->info.n_vocab;
    uint64_t state = 88172645463325252u; // any number but 0
    feed->tokens = malloc(((size_t)n + 1) * sizeof *feed->tokens);
    if (!feed->tokens) return tn_cli_out_of_memory();
    for (uint32_t i = 0; i < n; i++) {
        state ^= state << 13; // xorshift64
        state ^= state >> 7;
        state ^= state << 17;
        feed->tokens[i] = (int32_t)(state % n_vocab);
    }
    if (engine->tokenizer && tn_tokenizer_adds_bos(engine->tokenizer)) feed->tokens[0] = tn_tokenizer_bos(engine->tokenizer);
    return 0;
}

int tn_cli_bench_feed_init(tn_cli_bench_feed *feed, const tn_cli_engine *engine, uint32_t n_batch, uint32_t n_seqs_max)
{
    const size_t capacity = n_batch > n_seqs_max ? n_batch : n_seqs_max;
    feed->engine = engine;
    feed->silent.quiet = true;
    feed->batch_tokens = calloc(capacity, sizeof *feed->batch_tokens);
    feed->batch_seqs = calloc(capacity, sizeof *feed->batch_seqs);
    feed->batch_top = calloc(n_seqs_max, sizeof *feed->batch_top);
    if (!feed->batch_tokens || !feed->batch_seqs || !feed->batch_top) return tn_cli_out_of_memory();
    for (uint32_t i = 0; i < n_seqs_max; i++) feed->batch_top[i] = 1;
    return make_tokens(feed);
}

void tn_cli_bench_feed_deinit(tn_cli_bench_feed *feed)
{
    free(feed->tokens);
    free(feed->batch_tokens);
    free(feed->batch_seqs);
    free(feed->batch_top);
}

// Decodes the first `n` tokens of the batch's arrays. n_top: as in tn_batch.
static int decode(tn_cli_bench_feed *feed, uint32_t n, const uint32_t *n_top)
{
    tn_batch batch = TN_BATCH_INIT;
    batch.n_tokens = n;
    batch.tokens = feed->batch_tokens;
    batch.seqs = feed->batch_seqs;
    batch.n_top = n_top;
    batch.progress = tn_cli_progress_hook(&feed->silent);
    return tn_session_decode(tn_cli_engine_session(feed->engine, feed->copy), &batch) == TN_OK ? 0 : tn_cli_fail_status(NULL);
}

int tn_cli_bench_feed_prompts(tn_cli_bench_feed *feed, uint32_t first_seq, uint32_t n_seqs, uint32_t at, uint32_t n, uint32_t n_batch)
{
    int rc = 0;
    const uint64_t all = (uint64_t)n_seqs * n;
    for (uint64_t done = 0; done < all && rc == 0; done += n_batch) {
        const uint32_t n_call = (uint32_t)(all - done < n_batch ? all - done : n_batch);
        for (uint32_t i = 0; i < n_call; i++) {
            feed->batch_seqs[i] = first_seq + (uint32_t)((done + i) / n);
            feed->batch_tokens[i] = feed->tokens[at + (done + i) % n];
        }
        rc = decode(feed, n_call, NULL);
    }
    return rc;
}

int tn_cli_bench_feed_replies(tn_cli_bench_feed *feed, uint32_t n_seqs, uint32_t at, uint32_t n)
{
    int rc = 0;
    for (uint32_t i = 0; i < n && rc == 0; i++) {
        for (uint32_t seq = 0; seq < n_seqs; seq++) {
            feed->batch_seqs[seq] = seq;
            feed->batch_tokens[seq] = feed->tokens[at + i];
        }
        rc = decode(feed, n_seqs, feed->batch_top);
    }
    return rc;
}

int tn_cli_bench_feed_depth(tn_cli_bench_feed *feed, uint32_t n_seqs, uint32_t depth, uint32_t n_batch)
{
    int rc = 0;
    tn_session *session = tn_cli_engine_session(feed->engine, feed->copy);
    for (uint32_t seq = 0; seq < n_seqs && rc == 0; seq++) {
        const uint32_t length = tn_session_seq_length(session, seq);
        if (length < depth) {
            rc = tn_cli_bench_feed_prompts(feed, seq, 1, length, depth - length, n_batch);
        } else if (tn_session_seq_truncate(session, seq, depth) != TN_OK) {
            rc = tn_cli_fail_status(NULL);
        }
    }
    return rc;
}
