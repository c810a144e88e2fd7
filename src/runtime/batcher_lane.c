// A lane's step, once it is composed: it is handed to the session, and what the session computed becomes pages, counts, tokens and text.
#include "base/alloc.h"
#include "base/clock.h"
#include "graph/op.h"
#include "runtime/batcher_internal.h"
#include "runtime/kv_prefix.h"

#include <string.h>

tn_status tn_batch_lane_init(tn_batch_lane *lane, tn_batch_member *member, uint32_t index)
{
    const uint32_t n_seqs = member->limits.n_seqs_max, n_ubatch = member->limits.n_ubatch;
    *lane = (tn_batch_lane){.member = member, .index = index};
    TN_TRY(tn_alloc(n_seqs, sizeof *lane->running, &lane->running));
    TN_TRY(tn_alloc(n_seqs, sizeof *lane->entries, &lane->entries));
    TN_TRY(tn_alloc(n_ubatch, sizeof *lane->tokens, &lane->tokens));
    TN_TRY(tn_alloc(n_ubatch, sizeof *lane->seqs, &lane->seqs));
    TN_TRY(tn_alloc(n_ubatch, sizeof *lane->n_top, &lane->n_top));
    return tn_alloc(n_ubatch, sizeof *lane->logits, &lane->logits);
}

void tn_batch_lane_deinit(tn_batch_lane *lane)
{
    tn_free(lane->running);
    tn_free(lane->entries);
    tn_free(lane->tokens);
    tn_free(lane->seqs);
    tn_free(lane->n_top);
    tn_free(lane->logits);
}

const float *tn_batch_lane_logits(const tn_batch_lane *lane, uint32_t row)
{
    return tn_session_lane_logits(lane->member->session, lane->index, row);
}

const uint32_t *tn_batch_lane_candidates(const tn_batch_lane *lane, uint32_t row, uint32_t *out_n)
{
    return tn_session_lane_candidates(lane->member->session, lane->index, row, out_n);
}

void tn_batch_lane_clear(tn_batch_lane *lane)
{
    for (uint32_t e = 0; e < lane->n_entries; e++) lane->entries[e].sample->in_step = false;
    lane->n_entries = lane->n_tokens = lane->n_rows = 0;
}

// The step failed, or did not begin: its samples run on as they were before it. A request that was to end behind it ends in the next turn.
static void give_up(tn_batch_lane *lane)
{
    tn_batcher *batcher = lane->member->batcher;
    bool any_ends = false;
    for (uint32_t e = 0; e < lane->n_entries; e++) any_ends = any_ends || lane->entries[e].sample->request->is_ending;
    tn_batch_lane_clear(lane);
    pthread_mutex_lock(&batcher->lock);
    batcher->shared.any_cancelled = batcher->shared.any_cancelled || any_ends;
    pthread_mutex_unlock(&batcher->lock);
}

static tn_batch batch_of(const tn_batch_lane *lane)
{
    tn_batch batch = TN_BATCH_INIT;
    batch.n_tokens = lane->n_tokens;
    batch.tokens = lane->tokens;
    batch.seqs = lane->seqs;
    batch.logits = lane->logits;
    batch.n_top = lane->n_top;
    batch.n_top_ids = lane->member->batcher->n_vocab;
    return batch;
}

// Told by the session, in any thread. The lock is released last: whoever sees `is_done` under it may destroy the batcher.
static void on_done(void *user)
{
    tn_batch_lane *lane = user;
    tn_batcher *batcher = lane->member->batcher;
    pthread_mutex_lock(&batcher->lock);
    lane->done_ns = tn_clock_ns();
    lane->is_done = true;
    pthread_cond_signal(&batcher->lane_done);
    pthread_mutex_unlock(&batcher->lock);
}

tn_status tn_batch_lane_start(tn_batch_lane *lane)
{
    tn_batch_member *member = lane->member;
    const tn_batch batch = batch_of(lane);
    lane->is_done = false;
    lane->begun_ns = tn_clock_ns();
    if (!member->batcher->in_line) { // else it runs when it is finished
        const tn_status status = tn_session_start(member->session, lane->index, &batch, on_done, lane);
        if (status != TN_OK) {
            give_up(lane);
            return status;
        }
    }
    lane->in_flight = true;
    if (member->n_in_flight++ == 0) member->busy_from_ns = lane->begun_ns;
    return TN_OK;
}

// Ends the step in the session, whose status it returns.
static tn_status end_step(tn_batch_lane *lane)
{
    tn_batch_member *member = lane->member;
    tn_status status;
    if (member->batcher->in_line) {
        const tn_batch batch = batch_of(lane);
        status = tn_session_decode(member->session, &batch);
        lane->done_ns = tn_clock_ns();
    } else {
        status = tn_session_finish(member->session, lane->index);
    }
    lane->in_flight = false;
    if (--member->n_in_flight == 0) member->info.busy_ns += lane->done_ns - member->busy_from_ns;
    member->batcher->info.step_ns += lane->done_ns - lane->begun_ns;
    member->batcher->info.n_steps++;
    member->info.n_steps++;
    return status;
}

void tn_batch_lane_drop(tn_batch_lane *lane)
{
    const tn_status status = end_step(lane);
    (void)status; // nobody wants what it computed
    tn_batch_lane_clear(lane);
}

// Makes the pages that the entry filled known to later requests.
static void seal_pages(const tn_batch_entry *entry)
{
    const uint32_t end = entry->first + entry->n_tokens;
    int32_t tokens[TN_KV_PAGE_POSITIONS];
    for (uint32_t page = entry->first / TN_KV_PAGE_POSITIONS; (page + 1) * TN_KV_PAGE_POSITIONS <= end; page++) {
        for (uint32_t i = 0; i < TN_KV_PAGE_POSITIONS; i++) tokens[i] = tn_batch_token_at(entry->sample, page * TN_KV_PAGE_POSITIONS + i);
        tn_kv_prefix_seal(entry->sample->lane->member->kv, entry->sample->seq, page, tokens);
    }
}

// Holds the prompt's pages for samples of the request that have yet to start: they then compute its last token alone. Without memory for
// the list they compute more.
static void hold_prompt(const tn_batch_entry *entry)
{
    tn_batch_member *member = entry->sample->lane->member;
    tn_batch_request *request = entry->sample->request;
    tn_batch_prompt *prompt = &request->prompts[member->index];
    const uint32_t n_prompt = request->result.n_prompt, n = tn_kv_pages_for(n_prompt - 1);
    tn_kv_cache *kv = member->kv;
    if (request->n_started == request->n_samples || prompt->pages) return;
    if (!tn_batch_shares_prompt(member->batcher, request) || entry->first + entry->n_tokens < n_prompt) return;
    if (tn_alloc(n, sizeof *prompt->pages, &prompt->pages) != TN_OK) return;
    memcpy(prompt->pages, kv->page_table + (size_t)entry->sample->seq * kv->n_seq_pages, n * sizeof *prompt->pages);
    for (uint32_t i = 0; i < n; i++) tn_kv_cache_retain(kv, prompt->pages[i]);
    prompt->n_pages = n;
    member->n_prompts_held++;
}

// What the session has computed is kept: pages, counts, and when each request began.
static void account(tn_batch_lane *lane)
{
    const tn_batch_member *member = lane->member;
    tn_batcher_info *info = &member->batcher->info;
    const uint64_t now_ns = tn_clock_ns();
    lane->member->info.n_tokens += lane->n_tokens;
    for (uint32_t e = 0; e < lane->n_entries; e++) {
        const tn_batch_entry *entry = &lane->entries[e];
        tn_batch_request *request = entry->sample->request;
        const uint32_t n_prompt = request->result.n_prompt, end = entry->first + entry->n_tokens;
        entry->sample->in_step = false;
        if (!request->result.queued_ns) request->result.queued_ns = now_ns - request->submit_ns;
        if (entry->first < n_prompt) info->n_prompt_tokens += (end < n_prompt ? end : n_prompt) - entry->first;
        if (tn_session_seq_status(member->session, entry->sample->seq) != TN_OK) continue;
        seal_pages(entry);
        hold_prompt(entry);
    }
}

// Rows to tokens; samples that were poisoned end alone, and those of requests that were cancelled before this turn.
static void use_rows(tn_batch_lane *lane)
{
    tn_batcher *batcher = lane->member->batcher;
    uint32_t row = 0;
    for (uint32_t e = 0; e < lane->n_entries; e++) {
        const tn_batch_entry *entry = &lane->entries[e];
        tn_batch_sample *sample = entry->sample;
        const uint32_t n_rows = entry->n_rows;
        const tn_status status = tn_session_seq_status(lane->member->session, sample->seq);
        if (sample->request->is_ending)
            tn_batch_sample_cancel(batcher, sample);
        else if (status != TN_OK)
            tn_batch_sample_end(batcher, sample, TN_FINISH_NONE, status);
        else if (n_rows || sample->request->params.prompt_only)
            tn_batch_sample_rows(batcher, entry, row);
        row += n_rows;
    }
}

tn_status tn_batch_lane_finish(tn_batch_lane *lane)
{
    tn_batcher_info *info = &lane->member->batcher->info;
    const tn_status status = end_step(lane);
    if (status != TN_OK && status != TN_POISON) {
        give_up(lane);
        return status;
    }
    const uint64_t computed_ns = tn_clock_ns();
    account(lane);
    const uint64_t accounted_ns = tn_clock_ns();
    use_rows(lane);
    lane->n_entries = lane->n_tokens = lane->n_rows = 0; // what entries lead to may be gone
    info->schedule_ns += accounted_ns - computed_ns;
    info->sample_ns += tn_clock_ns() - accounted_ns;
    return TN_OK;
}
