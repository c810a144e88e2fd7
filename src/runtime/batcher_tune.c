// How many sequences at a time are worth it, by measuring steps.
#include "base/clock.h"
#include "base/log.h"
#include "runtime/batcher_internal.h"

enum { N_STEPS = 4 }; // the first one warms up

// Best time of a step of n sequences that each get one token, at whatever positions they are. They keep their tokens.
static tn_status time_step(tn_batcher *batcher, uint32_t n, uint64_t *out_ns)
{
    tn_batch batch = TN_BATCH_INIT;
    batch.n_tokens = n;
    batch.tokens = batcher->tokens;
    batch.seqs = batcher->seqs;
    *out_ns = UINT64_MAX;
    for (uint32_t i = 0; i < n; i++) {
        batcher->tokens[i] = (int32_t)((i * 7919u + 1) % batcher->n_vocab); // any tokens, unlike each other
        batcher->seqs[i] = i;
    }
    for (uint32_t step = 0; step < N_STEPS && step < batcher->limits.n_ctx; step++) {
        const uint64_t begun_ns = tn_clock_ns();
        const tn_status status = tn_session_decode(batcher->session, &batch);
        if (status != TN_OK && status != TN_POISON) return status;
        const uint64_t ns = tn_clock_ns() - begun_ns;
        if (step > 0 && ns < *out_ns) *out_ns = ns;
        if (status == TN_POISON) break; // the time is right all the same
    }
    return TN_OK;
}

// Measures into rates[] (tokens a nanosecond) for 1, 2, 4, ... sequences, the last one n_max.
static tn_status measure(tn_batcher *batcher, const tn_progress *progress, uint32_t n_max, uint32_t sizes[32], double rates[32],
                         uint32_t *out_n)
{
    for (uint32_t n = 1;; n *= 2) {
        uint64_t ns;
        if (n > n_max) n = n_max;
        TN_TRY(tn_progress_report(progress, "measuring", *out_n, 32));
        const tn_status status = time_step(batcher, n, &ns);
        for (uint32_t i = 0; i < n; i++) TN_TRY(tn_session_seq_truncate(batcher->session, i, 0)); // after a failed step too
        TN_TRY(status);
        sizes[*out_n] = n;
        rates[(*out_n)++] = (double)n / (double)(ns ? ns : 1);
        if (n == n_max) return TN_OK;
    }
}

tn_status tn_batcher_tune(tn_batcher *batcher, const tn_progress *progress, uint32_t *out_n_seqs)
{
    TN_REQUIRE(batcher);
    TN_REQUIRE(out_n_seqs);
    *out_n_seqs = 0;
    tn_batcher_info info = TN_BATCHER_INFO_INIT;
    TN_TRY(tn_batcher_get_info(batcher, &info));
    if (info.n_requests) return tn_fail(TN_INVALID_ARGUMENT, "a batcher is tuned before the first request: make another one");
    // Each sequence takes a page.
    const uint32_t n_pages = batcher->kv->n_pages;
    const uint32_t n_max = n_pages < batcher->limits.n_seqs_max ? n_pages : batcher->limits.n_seqs_max;
    const tn_progress nobody = {0};
    uint32_t sizes[32] = {1}, n = 0;
    double rates[32] = {0}, best = 0;
    TN_TRY(measure(batcher, progress ? progress : &nobody, n_max, sizes, rates, &n));
    for (uint32_t i = 0; i < n; i++) best = rates[i] > best ? rates[i] : best;
    uint32_t chosen = 0;
    while (rates[chosen] < 0.95 * best) chosen++;
    *out_n_seqs = sizes[chosen];
    return tn_batcher_set_n_seqs(batcher, sizes[chosen]);
}
