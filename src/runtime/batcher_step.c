// What a lane's next step computes: one token for each answer, then prompts in the order of their age, as long as there are tokens and
// pages. The oldest sample of a member is never interrupted for a younger one, so that every one comes to its end.
#include "graph/op.h"
#include "runtime/batcher_internal.h"
#include "runtime/kv_prefix.h"

static uint32_t smaller(uint32_t a, uint32_t b) { return a < b ? a : b; }
static uint32_t left_of(const tn_batch_sample *sample) { return tn_batch_known(sample) - tn_batch_length(sample); }

// Whether the sample still has to give log-probabilities of the prompt.
static bool scores(const tn_batch_sample *sample)
{
    const tn_batch_request *request = sample->request;
    return request->params.prompt_logprobs && sample->index == 0 && request->n_scored < request->result.n_prompt;
}

void tn_batch_interrupt(tn_batch_sample *sample)
{
    tn_batch_member *member = sample->lane->member;
    tn_batch_stop_running(sample);
    tn_batch_queue_interrupt(member->batcher, sample);
    sample->request->result.n_preempted++;
    member->batcher->info.n_preempted++;
}

static tn_batch_sample *youngest_of(const tn_batch_member *member)
{
    tn_batch_sample *youngest = NULL;
    for (uint32_t i = 0; i < member->n_lanes; i++) {
        const tn_batch_lane *lane = &member->lanes[i];
        tn_batch_sample *last = lane->n_running ? lane->running[lane->n_running - 1] : NULL;
        if (last && (!youngest || last->order > youngest->order)) youngest = last;
    }
    return youngest;
}

// Makes sure that the pages for `length` positions of the sample are available, by interrupting the youngest ones. False where it was the
// youngest itself, and where a younger one has a part in a step: the sample waits for that rather than that an older one is interrupted.
static bool make_room(tn_batch_sample *sample, uint32_t length)
{
    tn_batch_member *member = sample->lane->member;
    while (tn_kv_cache_needed(member->kv, sample->seq, length) > tn_kv_cache_available(member->kv)) {
        if (tn_batch_drop_any_prompt(member)) continue;
        tn_batch_sample *youngest = youngest_of(member);
        if (youngest->in_step) return false;
        tn_batch_interrupt(youngest);
        if (youngest == sample) return false;
    }
    return true;
}

// Adds the sample's next `n` tokens to its lane's step; their pages are available.
static tn_status add_entry(tn_batch_sample *sample, uint32_t n)
{
    tn_batch_lane *lane = sample->lane;
    const tn_batch_request *request = sample->request;
    const uint32_t first = tn_batch_length(sample), end = first + n, n_prompt = request->result.n_prompt;
    TN_TRY(tn_kv_cache_reserve(lane->member->kv, sample->seq, end));
    sample->in_step = true;
    sample->step_first = first;
    tn_batch_entry *entry = &lane->entries[lane->n_entries++];
    *entry = (tn_batch_entry){.sample = sample, .first = first, .n_tokens = n};
    const bool answers = end == tn_batch_known(sample) && !request->params.prompt_only, is_scoring = scores(sample);
    for (uint32_t position = first; position < end; position++) {
        const bool is_score = is_scoring && position + 1 >= request->n_scored && position + 1 < n_prompt;
        const bool wanted = is_score || (answers && position + 1 == end);
        const uint32_t i = lane->n_tokens++;
        lane->tokens[i] = tn_batch_token_at(sample, position);
        lane->seqs[i] = sample->seq;
        lane->logits[i] = wanted;
        lane->n_top[i] =
            wanted && !is_score && !request->params.logprobs && !request->params.n_best ? tn_sampler_n_top(sample->sampler) : 0;
        entry->n_rows += wanted;
    }
    lane->n_rows += entry->n_rows;
    const uint32_t n_paid = smaller(n, sample->n_paid);
    sample->n_paid -= n_paid;
    request->flow->n_served += n - n_paid;
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

// The page that holds what the sample knows behind the page with serial `parent`; TN_KV_NO_PAGE.
static uint32_t find_page(const tn_kv_cache *kv, const tn_batch_sample *sample, uint32_t page, uint64_t parent)
{
    int32_t space[TN_KV_PAGE_POSITIONS];
    return tn_kv_prefix_find(kv, parent, page_tokens(sample, page, space));
}

uint32_t tn_batch_find_known(const tn_batch_member *member, const tn_batch_sample *sample)
{
    const uint32_t n_pages = tn_batch_known(sample) / TN_KV_PAGE_POSITIONS;
    uint64_t parent = 0;
    if (sample->request->prompts[member->index].pages) return sample->request->result.n_prompt - 1;
    for (uint32_t page = 0; page < n_pages; page++) {
        const uint32_t found = find_page(member->kv, sample, page, parent);
        if (found == TN_KV_NO_PAGE) return page * TN_KV_PAGE_POSITIONS;
        parent = member->kv->pages[found].serial;
    }
    return n_pages * TN_KV_PAGE_POSITIONS;
}

// Goes on with pages of the index, up to `limit` positions.
static void attach_known(tn_kv_cache *kv, const tn_batch_sample *sample, uint32_t limit)
{
    const uint32_t seq = sample->seq;
    while (kv->lengths[seq] < limit) {
        const uint32_t length = kv->lengths[seq], page = length / TN_KV_PAGE_POSITIONS;
        if (length % TN_KV_PAGE_POSITIONS || kv->n_held[seq] != page || length + TN_KV_PAGE_POSITIONS > tn_batch_known(sample)) return;
        const uint64_t parent = page ? kv->pages[kv->page_table[(size_t)seq * kv->n_seq_pages + page - 1]].serial : 0;
        if (page && !parent) return;
        const uint32_t found = find_page(kv, sample, page, parent);
        if (found == TN_KV_NO_PAGE) return;
        tn_kv_cache_attach(kv, seq, &found, 1, smaller(length + TN_KV_PAGE_POSITIONS, limit));
    }
}

// Up to the token whose logits it needs next.
void tn_batch_attach(tn_batch_sample *sample)
{
    tn_batch_member *member = sample->lane->member;
    tn_kv_cache *kv = member->kv;
    tn_batch_request *request = sample->request;
    const tn_batch_prompt *prompt = &request->prompts[member->index];
    const uint32_t before = tn_batch_length(sample), n_prompt = request->result.n_prompt, seq = sample->seq;
    const uint32_t limit = scores(sample) ? request->n_scored - 1 : tn_batch_known(sample) - 1;
    if (prompt->pages && kv->n_held[seq] == 0 && limit >= n_prompt - 1)
        tn_kv_cache_attach(kv, seq, prompt->pages, prompt->n_pages, n_prompt - 1);
    attach_known(kv, sample, limit);
    const uint32_t n_reused = kv->lengths[seq] - before;
    const uint32_t n_of_prompt = before < n_prompt ? smaller(n_reused, n_prompt - before) : 0;
    member->batcher->info.n_prompt_reused += n_of_prompt;
    if (sample->index || sample->n_tokens) return;
    // A sample that was interrupted in its prompt begins anew.
    request->result.n_prompt_reused = before ? request->result.n_prompt_reused + n_of_prompt : n_of_prompt;
}

// Whether the lane's step computes the page of the sample's positions from `end - TN_KV_PAGE_POSITIONS` on.
static bool computes_page(const tn_batch_lane *lane, const tn_batch_sample *sample, uint32_t end)
{
    for (uint32_t e = 0; e < lane->n_entries; e++) {
        const tn_batch_entry *entry = &lane->entries[e];
        if (entry->first > end - TN_KV_PAGE_POSITIONS || entry->first + entry->n_tokens < end) continue;
        uint32_t i = 0;
        while (i < end && tn_batch_token_at(entry->sample, i) == tn_batch_token_at(sample, i)) i++;
        if (i == end) return true;
    }
    return false;
}

// Whether another sample's part of a step computes the very page that this one needs next: then it waits and shares it.
static bool is_being_computed(const tn_batch_sample *sample)
{
    const tn_batch_member *member = sample->lane->member;
    const uint32_t length = tn_batch_length(sample), end = length + TN_KV_PAGE_POSITIONS;
    if (member->batcher->params.no_prefix_reuse || length % TN_KV_PAGE_POSITIONS) return false;
    if (end > tn_batch_known(sample) || scores(sample)) return false;
    for (uint32_t i = 0; i < member->n_lanes; i++) {
        if (computes_page(&member->lanes[i], sample, end)) return true;
    }
    return false;
}

// How many tokens of the sample the pages that are available hold, at most `n`.
static uint32_t that_fit(const tn_batch_sample *sample, uint32_t n)
{
    const tn_kv_cache *kv = sample->lane->member->kv;
    const uint32_t length = tn_batch_length(sample), available = tn_kv_cache_available(kv);
    while (n) {
        const uint32_t needed = tn_kv_cache_needed(kv, sample->seq, length + n);
        if (needed <= available) break;
        // Back to the end of the page before.
        const uint32_t pages = tn_kv_pages_for(length + n) - 1;
        n = pages * TN_KV_PAGE_POSITIONS > length ? pages * TN_KV_PAGE_POSITIONS - length : 0;
    }
    return n;
}

tn_status tn_batch_add_prompt(tn_batch_sample *sample)
{
    tn_batch_lane *lane = sample->lane;
    const tn_session_info *limits = &lane->member->limits;
    tn_batch_attach(sample);
    if (is_being_computed(sample)) return TN_OK;
    uint32_t n = smaller(left_of(sample), lane->budget);
    if (scores(sample)) {
        // Each sequence without a part in this step has a row of its own; what is left is for the prompt's rows.
        const uint32_t n_reserved = limits->n_seqs_max - lane->n_entries - 1;
        n = smaller(n, limits->n_logits_max - lane->n_rows - n_reserved);
    }
    uint32_t fitting = that_fit(sample, n);
    if (fitting == 0 && lane->n_entries == 0 && n) {
        // Nothing else runs in this step, so nobody in it will give pages back by itself.
        if (!make_room(sample, tn_batch_length(sample) + 1)) return TN_OK;
        fitting = that_fit(sample, n);
    }
    if (fitting == 0) return TN_OK;
    lane->budget -= fitting;
    return add_entry(sample, fitting);
}

tn_status tn_batch_compose(tn_batch_lane *lane)
{
    const tn_batcher *batcher = lane->member->batcher;
    const uint32_t n_ubatch = lane->member->limits.n_ubatch;
    lane->budget = 0;
    for (uint32_t i = 0; i < lane->n_running; i++) {
        tn_batch_sample *sample = lane->running[i];
        if (left_of(sample) != 1 || lane->n_tokens == n_ubatch) continue;
        if (make_room(sample, tn_batch_length(sample) + 1)) TN_TRY(add_entry(sample, 1));
    }
    lane->budget = n_ubatch - lane->n_tokens;
    if (lane->n_entries && batcher->params.n_prompt_chunk) lane->budget = smaller(lane->budget, batcher->params.n_prompt_chunk);
    for (uint32_t i = 0; i < lane->n_running && lane->budget; i++) {
        tn_batch_sample *sample = lane->running[i];
        if (left_of(sample) > 1) TN_TRY(tn_batch_add_prompt(sample));
    }
    return TN_OK;
}
