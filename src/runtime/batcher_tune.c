// How many sequences at a time are worth it, by measuring steps.
#include "base/clock.h"
#include "base/log.h"
#include "runtime/batcher_internal.h"

enum { N_ROUNDS = 4 }; // the first one warms up

static void on_done(void *user) { (void)user; } // whoever waits does so in tn_session_finish

static tn_batch batch_of(const tn_batch_lane *lane)
{
    tn_batch batch = TN_BATCH_INIT;
    batch.n_tokens = lane->n_tokens;
    batch.tokens = lane->tokens;
    batch.seqs = lane->seqs;
    return batch;
}

// One lane's steps run when they are ended.
static tn_status begin_step(tn_batch_lane *lane, uint32_t n_lanes)
{
    const tn_batch batch = batch_of(lane);
    if (n_lanes > 1) TN_TRY(tn_session_start(lane->member->session, lane->index, &batch, on_done, NULL));
    lane->in_flight = true;
    return TN_OK;
}

static tn_status end_step(tn_batch_lane *lane, uint32_t n_lanes)
{
    const tn_batch batch = batch_of(lane);
    lane->in_flight = false;
    return n_lanes > 1 ? tn_session_finish(lane->member->session, lane->index) : tn_session_decode(lane->member->session, &batch);
}

// A token for each of n sequences, which the lanes share.
static void fill_lanes(tn_batch_member *member, uint32_t n, uint32_t n_lanes)
{
    for (uint32_t k = 0; k < n_lanes; k++) member->lanes[k].n_tokens = 0;
    for (uint32_t i = 0; i < n; i++) {
        tn_batch_lane *lane = &member->lanes[i % n_lanes];
        lane->tokens[lane->n_tokens] = (int32_t)((i * 7919u + 1) % member->batcher->n_vocab); // any tokens, unlike each other
        lane->seqs[lane->n_tokens++] = i;
    }
}

// Steps of all lanes again and again, each as soon as the one before it has ended. Stops with the first status that is not TN_OK.
static tn_status run_rounds(tn_batch_member *member, uint32_t n_lanes, uint32_t n_rounds, uint64_t *out_ns)
{
    for (uint32_t k = 0; k < n_lanes; k++) TN_TRY(begin_step(&member->lanes[k], n_lanes));
    for (uint32_t round = 0; round < n_rounds; round++) {
        const uint64_t begun_ns = tn_clock_ns();
        for (uint32_t k = 0; k < n_lanes; k++) {
            const tn_status status = end_step(&member->lanes[k], n_lanes);
            if (status == TN_POISON && *out_ns == UINT64_MAX) *out_ns = tn_clock_ns() - begun_ns; // the time is right all the same
            TN_TRY(status);
            if (round + 1 < n_rounds) TN_TRY(begin_step(&member->lanes[k], n_lanes));
        }
        const uint64_t ns = tn_clock_ns() - begun_ns;
        if (round > 0 && ns < *out_ns) *out_ns = ns;
    }
    return TN_OK;
}

// Best time in which n sequences each get one token, at whatever positions they are. They keep their tokens.
static tn_status time_round(tn_batch_member *member, uint32_t n, uint64_t *out_ns)
{
    const uint32_t n_lanes = n < member->n_lanes ? n : member->n_lanes;
    const uint32_t n_rounds = member->limits.n_ctx < N_ROUNDS ? member->limits.n_ctx : N_ROUNDS;
    *out_ns = UINT64_MAX;
    fill_lanes(member, n, n_lanes);
    tn_status status = run_rounds(member, n_lanes, n_rounds, out_ns);
    const tn_error error = *tn_error_last();
    for (uint32_t k = 0; k < n_lanes; k++) {
        tn_batch_lane *lane = &member->lanes[k];
        const tn_status dropped = lane->in_flight ? end_step(lane, n_lanes) : TN_OK;
        (void)dropped; // another one has failed
        lane->n_tokens = 0;
    }
    if (status == TN_POISON) return TN_OK;
    if (status != TN_OK) tn_error_set(&error);
    return status;
}

// Measures into rates[] (tokens a nanosecond) for 1, 2, 4, ... sequences, the last one n_max.
static tn_status measure(tn_batch_member *member, const tn_progress *progress, uint32_t n_max, uint32_t sizes[32], double rates[32],
                         uint32_t *out_n)
{
    const uint64_t n_before = 32 * (uint64_t)member->index, n_all = 32 * (uint64_t)member->batcher->n_members;
    for (uint32_t n = 1;; n *= 2) {
        uint64_t ns;
        if (n > n_max) n = n_max;
        TN_TRY(tn_progress_report(progress, "measuring", n_before + *out_n, n_all));
        const tn_status status = time_round(member, n, &ns);
        for (uint32_t i = 0; i < n; i++) TN_TRY(tn_session_seq_truncate(member->session, i, 0)); // after a failed step too
        TN_TRY(status);
        sizes[*out_n] = n;
        rates[(*out_n)++] = (double)n / (double)(ns ? ns : 1);
        if (n == n_max) return TN_OK;
    }
}

// The smallest number of sequences with at least 95 % of the best rate, and that rate.
static tn_status tune_member(tn_batch_member *member, const tn_progress *progress, uint32_t *out_n_seqs, double *out_rate)
{
    // Each sequence takes a page.
    const uint32_t n_pages = member->kv->n_pages;
    const uint32_t n_max = n_pages < member->limits.n_seqs_max ? n_pages : member->limits.n_seqs_max;
    uint32_t sizes[32] = {1}, n = 0, chosen = 0;
    double rates[32] = {0}, best = 0;
    TN_TRY(measure(member, progress, n_max, sizes, rates, &n));
    for (uint32_t i = 0; i < n; i++) best = rates[i] > best ? rates[i] : best;
    while (rates[chosen] < 0.95 * best) chosen++;
    *out_n_seqs = sizes[chosen];
    *out_rate = rates[chosen];
    return TN_OK;
}

tn_status tn_batcher_tune(tn_batcher *batcher, const tn_progress *progress, uint32_t *out_n_seqs)
{
    TN_REQUIRE(batcher);
    TN_REQUIRE(out_n_seqs);
    *out_n_seqs = 0;
    tn_batcher_info info = TN_BATCHER_INFO_INIT;
    TN_TRY(tn_batcher_get_info(batcher, &info));
    if (info.n_requests) return tn_fail(TN_INVALID_ARGUMENT, "a batcher is tuned before the first request: make another one");
    const tn_progress nobody = {0};
    uint32_t n_all = 0;
    for (uint32_t i = 0; i < batcher->n_members; i++) {
        tn_batch_member *member = &batcher->members[i];
        while (member->limits.n_seqs_max) { // it is closed otherwise
            const tn_status status = tune_member(member, progress ? progress : &nobody, &member->n_seqs_tuned, &member->rate);
            if (status == TN_OK) break;
            TN_TRY(tn_batch_member_recover(member, status)); // what was measured before does not count
        }
        if (!member->limits.n_seqs_max) member->n_seqs_tuned = 0;
        n_all += member->n_seqs_tuned;
    }
    for (uint32_t i = 0; i < batcher->n_members; i++) {
        tn_batch_member *member = &batcher->members[i];
        member->n_seqs = member->n_seqs_tuned;
        if (member->n_seqs) member->share = member->rate;
    }
    batcher->params.n_seqs = n_all;
    tn_batch_publish(batcher);
    *out_n_seqs = n_all;
    return TN_OK;
}
