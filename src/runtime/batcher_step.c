// What the next step computes: one token for each answer, then prompts in the order of their age, then samples that start, as long as
// there are tokens, sequences and pages. The oldest sample is never interrupted for a younger one, so that every one comes to its end.
#include "base/alloc.h"
#include "graph/op.h"
#include "runtime/batcher_internal.h"
#include "runtime/kv_prefix.h"

#include <string.h>

static uint32_t length_of(const tn_batcher *batcher, const tn_batch_sample *sample) { return batcher->kv->lengths[sample->seq]; }
static uint32_t left_of(const tn_batcher *batcher, const tn_batch_sample *sample)
{
    return tn_batch_known(sample) - length_of(batcher, sample);
}

// Whether the sample still has to give log-probabilities of the prompt.
static bool scores(const tn_batch_sample *sample)
{
    const tn_batch_request *request = sample->request;
    return request->params.prompt_logprobs && sample->index == 0 && request->n_scored < request->result.n_prompt;
}

void tn_batch_drop_prompt(tn_batcher *batcher, tn_batch_request *request)
{
    if (!request->prompt_pages) return;
    for (uint32_t i = request->n_prompt_pages; i-- > 0;) tn_kv_cache_release(batcher->kv, request->prompt_pages[i]);
    tn_free(request->prompt_pages);
    request->prompt_pages = NULL;
    batcher->n_prompts_held--;
}

// Gives back the pages that are held for some request's samples; false where there are none.
static bool drop_any_prompt(tn_batcher *batcher)
{
    for (tn_batch_flow *flow = batcher->n_prompts_held ? batcher->flows : NULL; flow; flow = flow->next) {
        for (tn_batch_request *request = flow->first; request; request = request->next_in_flow) {
            if (!request->prompt_pages) continue;
            tn_batch_drop_prompt(batcher, request);
            return true;
        }
    }
    return false;
}

void tn_batch_stop_running(tn_batcher *batcher, tn_batch_sample *sample)
{
    uint32_t i = 0;
    while (batcher->running[i] != sample) i++;
    batcher->n_running--;
    memmove(batcher->running + i, batcher->running + i + 1, (batcher->n_running - i) * sizeof *batcher->running);
    const tn_status status = tn_session_seq_truncate(batcher->session, sample->seq, 0);
    (void)status; // the sequence exists
    batcher->free_seqs[batcher->n_free_seqs++] = sample->seq;
    sample->seq = TN_NO_SEQ;
}

static void interrupt(tn_batcher *batcher, tn_batch_sample *sample)
{
    tn_batch_stop_running(batcher, sample);
    tn_batch_queue_interrupt(batcher, sample);
    sample->request->result.n_preempted++;
    batcher->info.n_preempted++;
}

// Makes sure that the pages for `length` positions of the sample are available, by interrupting the youngest ones; false where it was the
// youngest itself.
static bool make_room(tn_batcher *batcher, tn_batch_sample *sample, uint32_t length)
{
    while (tn_kv_cache_needed(batcher->kv, sample->seq, length) > tn_kv_cache_available(batcher->kv)) {
        if (drop_any_prompt(batcher)) continue;
        tn_batch_sample *youngest = batcher->running[batcher->n_running - 1];
        interrupt(batcher, youngest);
        if (youngest == sample) return false;
    }
    return true;
}

// Adds the sample's next `n` tokens to the step; their pages are available.
static tn_status add_entry(tn_batcher *batcher, tn_batch_sample *sample, uint32_t n)
{
    const tn_batch_request *request = sample->request;
    const uint32_t first = length_of(batcher, sample), end = first + n, n_prompt = request->result.n_prompt;
    TN_TRY(tn_kv_cache_reserve(batcher->kv, sample->seq, end));
    tn_batch_entry *entry = &batcher->entries[batcher->n_entries++];
    *entry = (tn_batch_entry){.sample = sample, .first = first, .n_tokens = n};
    const bool answers = end == tn_batch_known(sample) && !request->params.prompt_only, is_scoring = scores(sample);
    for (uint32_t position = first; position < end; position++) {
        const bool is_score = is_scoring && position + 1 >= request->n_scored && position + 1 < n_prompt;
        const bool wanted = is_score || (answers && position + 1 == end);
        const uint32_t i = batcher->n_tokens++;
        batcher->tokens[i] = tn_batch_token_at(sample, position);
        batcher->seqs[i] = sample->seq;
        batcher->logits[i] = wanted;
        batcher->n_top[i] =
            wanted && !is_score && !request->params.logprobs && !request->params.n_best ? tn_sampler_n_top(sample->sampler) : 0;
        entry->n_rows += wanted;
    }
    batcher->n_rows += entry->n_rows;
    request->flow->n_served += n;
    return TN_OK;
}

// Tokens of one page of what the sample knows; `space` where they do not lie together.
static const int32_t *page_tokens(const tn_batch_sample *sample, uint32_t page, int32_t space[TN_KV_PAGE_POSITIONS])
{
    const uint32_t first = page * TN_KV_PAGE_POSITIONS, n_prompt = sample->request->result.n_prompt;
    if (first + TN_KV_PAGE_POSITIONS <= n_prompt) return sample->request->prompt + first;
    if (first >= n_prompt) return sample->tokens + (first - n_prompt);
    for (uint32_t i = 0; i < TN_KV_PAGE_POSITIONS; i++) space[i] = tn_batch_token_at(sample, first + i);
    return space;
}

static uint32_t smaller(uint32_t a, uint32_t b) { return a < b ? a : b; }

// Lets the sample go on with pages that others have computed, up to the token whose logits it needs next.
static void attach(tn_batcher *batcher, tn_batch_sample *sample)
{
    tn_kv_cache *kv = batcher->kv;
    tn_batch_request *request = sample->request;
    const uint32_t before = length_of(batcher, sample), known = tn_batch_known(sample), seq = sample->seq;
    const uint32_t limit = scores(sample) ? request->n_scored - 1 : known - 1;
    if (request->prompt_pages && kv->n_held[seq] == 0 && limit >= request->result.n_prompt - 1)
        tn_kv_cache_attach(kv, seq, request->prompt_pages, request->n_prompt_pages, request->result.n_prompt - 1);
    while (kv->lengths[seq] < limit) {
        const uint32_t length = kv->lengths[seq], page = length / TN_KV_PAGE_POSITIONS;
        int32_t space[TN_KV_PAGE_POSITIONS];
        if (length % TN_KV_PAGE_POSITIONS || kv->n_held[seq] != page || length + TN_KV_PAGE_POSITIONS > known) break;
        const uint64_t parent = page ? kv->pages[kv->page_table[(size_t)seq * kv->n_seq_pages + page - 1]].serial : 0;
        if (page && !parent) break;
        const uint32_t found = tn_kv_prefix_find(kv, parent, page_tokens(sample, page, space));
        if (found == TN_KV_NO_PAGE) break;
        tn_kv_cache_attach(kv, seq, &found, 1, smaller(length + TN_KV_PAGE_POSITIONS, limit));
    }
    const uint32_t n_reused = kv->lengths[seq] - before, n_prompt = request->result.n_prompt;
    const uint32_t n_of_prompt = before < n_prompt ? smaller(n_reused, n_prompt - before) : 0;
    batcher->info.n_prompt_reused += n_of_prompt;
    if (sample->index || sample->n_tokens) return;
    // A sample that was interrupted in its prompt begins anew.
    request->result.n_prompt_reused = before ? request->result.n_prompt_reused + n_of_prompt : n_of_prompt;
}

// Whether another sample's part of this step computes the very page that this one needs next: then it waits and shares it.
static bool is_being_computed(const tn_batcher *batcher, const tn_batch_sample *sample)
{
    const uint32_t length = length_of(batcher, sample), end = length + TN_KV_PAGE_POSITIONS;
    if (batcher->params.no_prefix_reuse || length % TN_KV_PAGE_POSITIONS || end > tn_batch_known(sample) || scores(sample)) return false;
    for (uint32_t e = 0; e < batcher->n_entries; e++) {
        const tn_batch_entry *entry = &batcher->entries[e];
        if (entry->first > length || entry->first + entry->n_tokens < end) continue;
        uint32_t i = 0;
        while (i < end && tn_batch_token_at(entry->sample, i) == tn_batch_token_at(sample, i)) i++;
        if (i == end) return true;
    }
    return false;
}

// How many tokens of the sample the pages that are available hold, at most `n`.
static uint32_t that_fit(const tn_batcher *batcher, const tn_batch_sample *sample, uint32_t n)
{
    const uint32_t length = length_of(batcher, sample), available = tn_kv_cache_available(batcher->kv);
    while (n) {
        const uint32_t needed = tn_kv_cache_needed(batcher->kv, sample->seq, length + n);
        if (needed <= available) break;
        // Back to the end of the page before.
        const uint32_t pages = tn_kv_pages_for(length + n) - 1;
        n = pages * TN_KV_PAGE_POSITIONS > length ? pages * TN_KV_PAGE_POSITIONS - length : 0;
    }
    return n;
}

// Adds what fits of the sample's tokens, of `*budget` for the step.
static tn_status add_prompt(tn_batcher *batcher, tn_batch_sample *sample, uint32_t *budget)
{
    attach(batcher, sample);
    if (is_being_computed(batcher, sample)) return TN_OK;
    const uint32_t left = left_of(batcher, sample);
    uint32_t n = smaller(left, *budget);
    if (scores(sample)) {
        // Each sequence without a part in this step has a row of its own; what is left is for the prompt's rows.
        const uint32_t n_reserved = batcher->limits.n_seqs_max - batcher->n_entries - 1;
        n = smaller(n, batcher->limits.n_logits_max - batcher->n_rows - n_reserved);
    }
    uint32_t fitting = that_fit(batcher, sample, n);
    if (fitting == 0 && batcher->n_entries == 0 && n) {
        // Nothing else runs in this step, so nobody will give pages back by itself.
        if (!make_room(batcher, sample, length_of(batcher, sample) + 1)) return TN_OK;
        fitting = that_fit(batcher, sample, n);
    }
    if (fitting == 0) return TN_OK;
    *budget -= fitting;
    return add_entry(batcher, sample, fitting);
}

// Whether the pages for all that the sample knows are available, and some for those that run.
static bool may_start(tn_batcher *batcher, const tn_batch_sample *sample)
{
    const tn_kv_cache *kv = batcher->kv;
    // Where every sequence has pages for its whole context, nobody is short of them for long.
    if (kv->n_pages / kv->n_seq_pages >= batcher->limits.n_seqs_max) return true;
    const uint32_t reserve = smaller(batcher->n_running, kv->n_pages / 8);
    uint32_t need = tn_kv_pages_for(tn_batch_known(sample)) + 1;
    if (sample->request->prompt_pages) need = 2; // the copy of the page that it goes on in, and the next
    if (need > kv->n_pages) need = kv->n_pages;
    while (need + reserve > tn_kv_cache_available(kv)) {
        if (batcher->n_running) return false;
        if (!drop_any_prompt(batcher)) return true; // it is alone, and fits (tn_batch_request_create)
    }
    return true;
}

// Gives the sample a sequence. Where it cannot start, it ends.
static bool start(tn_batcher *batcher, tn_batch_sample *sample)
{
    tn_batch_queue_remove(batcher, sample);
    if (!sample->started) {
        const tn_status status = tn_batch_sample_start(batcher, sample);
        if (status != TN_OK) {
            tn_batch_request *request = sample->request;
            if (request->n_started == request->n_samples) tn_batch_drop_prompt(batcher, request); // nobody waits for its pages
            tn_batch_sample_end(batcher, sample, TN_FINISH_NONE, status);
            return false;
        }
    }
    sample->seq = batcher->free_seqs[--batcher->n_free_seqs];
    uint32_t i = batcher->n_running++;
    for (; i > 0 && batcher->running[i - 1]->order > sample->order; i--) batcher->running[i] = batcher->running[i - 1];
    batcher->running[i] = sample;
    return true;
}

static tn_status add_starts(tn_batcher *batcher, uint32_t *budget)
{
    while (*budget && batcher->n_free_seqs && batcher->n_running < batcher->params.n_seqs) {
        tn_batch_sample *sample = tn_batch_queue_first(batcher);
        if (!sample || !may_start(batcher, sample)) return TN_OK;
        if (!start(batcher, sample)) continue;
        tn_batch_request *request = sample->request;
        const bool all_started = request->n_started == request->n_samples;
        TN_TRY(add_prompt(batcher, sample, budget));
        if (all_started) tn_batch_drop_prompt(batcher, request);
    }
    return TN_OK;
}

tn_status tn_batch_compose(tn_batcher *batcher)
{
    batcher->n_entries = batcher->n_tokens = batcher->n_rows = 0;
    for (uint32_t i = 0; i < batcher->n_running; i++) {
        tn_batch_sample *sample = batcher->running[i];
        if (left_of(batcher, sample) != 1 || batcher->n_tokens == batcher->limits.n_ubatch) continue;
        if (!make_room(batcher, sample, length_of(batcher, sample) + 1)) break; // it was the last one
        TN_TRY(add_entry(batcher, sample, 1));
    }
    uint32_t budget = batcher->limits.n_ubatch - batcher->n_tokens;
    if (batcher->n_entries && batcher->params.n_prompt_chunk) budget = smaller(budget, batcher->params.n_prompt_chunk);
    for (uint32_t i = 0; i < batcher->n_running && budget; i++) {
        tn_batch_sample *sample = batcher->running[i];
        if (left_of(batcher, sample) > 1) TN_TRY(add_prompt(batcher, sample, &budget));
    }
    TN_TRY(add_starts(batcher, &budget));
    if (batcher->n_entries || batcher->n_running == 0) return TN_OK;
    return tn_fail(TN_INTERNAL, "%u samples run, but none of them can go on", (unsigned)batcher->n_running);
}
