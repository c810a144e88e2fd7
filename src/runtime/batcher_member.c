// Members of a batcher: sessions with their sequences, their lanes, and the pages that they hold for others.
#include "base/alloc.h"
#include "runtime/batcher_internal.h"
#include "runtime/kv_prefix.h"

#include <string.h>

static uint32_t smaller(uint32_t a, uint32_t b) { return a < b ? a : b; }

// A session that computes beside others has what they have: a request's answer does not depend on where it runs.
static tn_status check_beside(const tn_batcher *batcher, uint32_t index, const tn_session_info *limits)
{
    const tn_batch_member *member = &batcher->members[index], *first = &batcher->members[0];
    if (tn_session_model(member->session) != tn_session_model(first->session))
        return tn_fail(TN_INVALID_ARGUMENT, "session %u of the batcher has another model than the first: share one tn_model",
                       (unsigned)index);
    if (limits->n_ctx != first->limits.n_ctx)
        return tn_fail(TN_INVALID_ARGUMENT, "session %u of the batcher has a context of %u positions, the first one of %u: make them alike",
                       (unsigned)index, (unsigned)limits->n_ctx, (unsigned)first->limits.n_ctx);
    for (uint32_t i = 0; i < index; i++) {
        if (batcher->members[i].session == member->session)
            return tn_fail(TN_INVALID_ARGUMENT, "session %u of the batcher is its session %u too: name each once", (unsigned)index,
                           (unsigned)i);
    }
    return TN_OK;
}

static tn_status empty_sequences(tn_batch_member *member)
{
    // All of the session's, those too that no step of the batcher has room for: they would keep their pages.
    for (uint32_t i = 0; i < member->kv->n_seqs; i++) TN_TRY(tn_session_seq_truncate(member->session, i, 0));
    return TN_OK;
}

static tn_status init_lanes(tn_batch_member *member)
{
    const uint32_t n = tn_session_n_lanes(member->session);
    TN_TRY(tn_alloc_zero(n, sizeof *member->lanes, &member->lanes));
    for (uint32_t i = 0; i < n; i++, member->n_lanes++) TN_TRY(tn_batch_lane_init(&member->lanes[i], member, i));
    return TN_OK;
}

tn_status tn_batch_member_init(tn_batcher *batcher, uint32_t index, tn_session *session)
{
    tn_batch_member *member = &batcher->members[index];
    *member = (tn_batch_member){.batcher = batcher, .index = index, .session = session, .kv = tn_session_kv(session), .share = 1};
    tn_session_get_info(session, &member->limits);
    const tn_status status = check_beside(batcher, index, &member->limits);
    if (status != TN_OK) {
        member->session = NULL; // it is left as it is
        return status;
    }
    tn_session_own(session, true);
    // Each of them has a token and a row of logits in a step; and steps may have become smaller since the session was created.
    member->limits.n_ubatch = tn_session_n_step_tokens(session);
    member->limits.n_seqs_max = smaller(smaller(member->limits.n_seqs_max, member->limits.n_logits_max), member->limits.n_ubatch);
    member->n_seqs = member->limits.n_seqs_max;
    member->n_copied_before = member->kv->n_copied;
    TN_TRY(empty_sequences(member));
    TN_TRY(tn_alloc(member->n_seqs, sizeof *member->free_seqs, &member->free_seqs));
    for (uint32_t i = member->n_seqs; i-- > 0;) member->free_seqs[member->n_free_seqs++] = i;
    return init_lanes(member);
}

tn_status tn_batch_member_keep(tn_batch_member *member)
{
    const tn_batcher_params *params = &member->batcher->params;
    uint32_t n_kept = member->kv->n_pages;
    uint64_t page_bytes;
    if (params->no_prefix_reuse) return TN_OK;
    if (params->prefix_bytes) {
        TN_TRY(tn_session_kv_bytes(tn_session_model(member->session), 1, 1, &page_bytes));
        const uint64_t n_each = params->prefix_bytes / page_bytes / member->batcher->n_members;
        if (n_each < n_kept) n_kept = (uint32_t)n_each;
    }
    return tn_kv_prefix_init(member->kv, n_kept);
}

void tn_batch_member_deinit(tn_batch_member *member)
{
    if (!member->session) return; // it was not reached
    const tn_status status = empty_sequences(member);
    (void)status; // they exist
    tn_session_own(member->session, false);
    tn_kv_prefix_deinit(member->kv);
    tn_free(member->free_seqs);
    for (uint32_t i = 0; member->lanes && i < tn_session_n_lanes(member->session); i++) tn_batch_lane_deinit(&member->lanes[i]);
    tn_free(member->lanes);
}

static void drop_prompt(tn_batch_member *member, tn_batch_request *request)
{
    tn_batch_prompt *prompt = &request->prompts[member->index];
    if (!prompt->pages) return;
    for (uint32_t i = prompt->n_pages; i-- > 0;) tn_kv_cache_release(member->kv, prompt->pages[i]);
    tn_free(prompt->pages);
    prompt->pages = NULL;
    member->n_prompts_held--;
}

void tn_batch_drop_prompt(tn_batcher *batcher, tn_batch_request *request)
{
    for (uint32_t i = 0; i < batcher->n_members; i++) drop_prompt(&batcher->members[i], request);
}

bool tn_batch_drop_any_prompt(tn_batch_member *member)
{
    const tn_batch_flow *flow = member->n_prompts_held ? member->batcher->flows : NULL;
    for (; flow; flow = flow->next) {
        for (tn_batch_request *request = flow->first; request; request = request->next_in_flow) {
            if (!request->prompts[member->index].pages) continue;
            drop_prompt(member, request);
            return true;
        }
    }
    return false;
}

// Puts the sample among the lane's by its age.
static void join_lane(tn_batch_lane *lane, tn_batch_sample *sample)
{
    uint32_t i = lane->n_running++;
    for (; i > 0 && lane->running[i - 1]->order > sample->order; i--) lane->running[i] = lane->running[i - 1];
    lane->running[i] = sample;
    sample->lane = lane;
}

static void leave_lane(tn_batch_sample *sample)
{
    tn_batch_lane *lane = sample->lane;
    uint32_t i = 0;
    while (lane->running[i] != sample) i++;
    lane->n_running--;
    memmove(lane->running + i, lane->running + i + 1, (lane->n_running - i) * sizeof *lane->running);
    sample->lane = NULL;
}

void tn_batch_begin_running(tn_batch_lane *lane, tn_batch_sample *sample)
{
    tn_batch_member *member = lane->member;
    sample->seq = member->free_seqs[--member->n_free_seqs];
    join_lane(lane, sample);
    member->n_running++;
    member->batcher->n_running++;
}

void tn_batch_stop_running(tn_batch_sample *sample)
{
    tn_batch_member *member = sample->lane->member;
    leave_lane(sample);
    const tn_status status = tn_session_seq_truncate(member->session, sample->seq, 0);
    (void)status; // the sequence exists
    member->free_seqs[member->n_free_seqs++] = sample->seq;
    member->n_running--;
    member->batcher->n_running--;
}

void tn_batch_move(tn_batch_sample *sample, tn_batch_lane *to)
{
    leave_lane(sample);
    join_lane(to, sample);
}
