// The public face of batchers: creating, submitting, cancelling, polling, stepping.
#include "base/alloc.h"
#include "base/params.h"
#include "graph/op.h"
#include "runtime/batcher_internal.h"
#include "ternion/model.h"

static tn_status read_params(tn_batcher *batcher)
{
    tn_batcher_params *p = &batcher->params;
    for (uint32_t i = 0; i < batcher->n_members; i++) {
        const tn_batch_member *member = &batcher->members[i];
        batcher->n_seqs_max += member->n_seqs;
        if (member->kv->n_pages > batcher->n_pages_most) batcher->n_pages_most = member->kv->n_pages;
    }
    if (p->n_seqs > batcher->n_seqs_max)
        return tn_fail(TN_INVALID_ARGUMENT, "%u sequences at a time are more than the session takes in one step, %u", (unsigned)p->n_seqs,
                       (unsigned)batcher->n_seqs_max);
    if (p->n_seqs == 0) p->n_seqs = batcher->n_seqs_max;
    if (p->n_queue_max == 0) p->n_queue_max = 4 * batcher->n_seqs_max;
    return TN_OK;
}

static tn_status read_shares(tn_batcher *batcher)
{
    for (uint32_t i = 0; batcher->params.shares && i < batcher->n_members; i++) {
        const double share = batcher->params.shares[i];
        if (!(share > 0 && share <= 1e9)) // neither NaN
            return tn_fail(TN_INVALID_ARGUMENT, "session %u of the batcher has a share of %g: give it a weight above 0", (unsigned)i,
                           share);
        batcher->members[i].share = share;
    }
    return TN_OK;
}

static tn_status init_members(tn_batcher *batcher, tn_session *session)
{
    const tn_batcher_params *p = &batcher->params;
    const uint32_t n = p->n_more_sessions + 1;
    uint32_t n_lanes = 0;
    if (p->n_more_sessions) TN_REQUIRE(p->more_sessions);
    if (n == 0) return tn_fail(TN_INVALID_ARGUMENT, "too many sessions");
    TN_TRY(tn_alloc_zero(n, sizeof *batcher->members, &batcher->members));
    TN_TRY(tn_alloc_zero(n, sizeof *batcher->is_open, &batcher->is_open));
    for (uint32_t i = 0; i < n; i++, batcher->n_members++) {
        tn_session *its = i ? p->more_sessions[i - 1] : session;
        if (!its) return tn_fail(TN_INVALID_ARGUMENT, "session %u of the batcher is NULL: correct the call", (unsigned)i);
        TN_TRY(tn_batch_member_init(batcher, i, its));
        n_lanes += batcher->members[i].n_lanes;
    }
    TN_TRY(tn_alloc(n_lanes, sizeof *batcher->idle, &batcher->idle));
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < batcher->members[i].n_lanes; k++) batcher->idle[batcher->n_idle++] = &batcher->members[i].lanes[k];
    }
    batcher->in_line = n_lanes == 1;
    return TN_OK;
}

static tn_status reserve(tn_batcher *batcher)
{
    for (uint32_t i = 0; i < batcher->n_members; i++) TN_TRY(tn_batch_member_keep(&batcher->members[i]));
    TN_TRY(tn_sampler_scratch_create(&batcher->scratch));
    return tn_sampler_scratch_reserve(batcher->scratch, batcher->n_vocab);
}

tn_status tn_batcher_create(tn_session *session, const tn_batcher_params *params, tn_batcher **out_batcher)
{
    TN_REQUIRE(out_batcher);
    *out_batcher = NULL;
    TN_REQUIRE(session);
    tn_batcher_params known = TN_BATCHER_PARAMS_INIT;
    TN_TRY(TN_PARAMS_READ(tn_batcher_params, prefix_bytes, params, &known));
    tn_batcher *batcher;
    tn_session_info limits;
    tn_status status;
    TN_TRY(tn_alloc_zero(1, sizeof *batcher, &batcher));
    pthread_mutex_init(&batcher->lock, NULL);
    pthread_cond_init(&batcher->lane_done, NULL);
    batcher->tokenizer = tn_model_tokenizer(tn_session_model(session));
    batcher->params = known;
    tn_session_get_info(session, &limits);
    batcher->n_ctx = limits.n_ctx;
    batcher->n_vocab = batcher->tokenizer ? (uint32_t)tn_tokenizer_n_vocab(batcher->tokenizer) : limits.n_vocab;
    TN_TRY_GOTO(init_members(batcher, session));
    TN_TRY_GOTO(read_params(batcher));
    TN_TRY_GOTO(read_shares(batcher));
    TN_TRY_GOTO(reserve(batcher));
    batcher->params.more_sessions = NULL; // the caller's arrays are not looked at again
    batcher->params.shares = NULL;
    tn_batch_publish(batcher);
    *out_batcher = batcher;
    return TN_OK;
fail:
    tn_batcher_destroy(batcher);
    return status;
}

static void destroy_requests(tn_batcher *batcher)
{
    for (tn_batch_request *request = batcher->shared.first, *next; request; request = next) {
        next = request->after;
        tn_batch_drop_prompt(batcher, request);
        tn_batch_request_destroy(request);
    }
    for (tn_batch_flow *flow = batcher->flows, *next; flow; flow = next) {
        next = flow->next;
        tn_free(flow);
    }
    for (tn_result *result; (result = tn_batcher_poll(batcher));) tn_result_destroy(result);
}

void tn_batcher_destroy(tn_batcher *batcher)
{
    if (!batcher) return;
    tn_batch_settle(batcher);
    destroy_requests(batcher);
    for (uint32_t i = 0; batcher->members && i < batcher->params.n_more_sessions + 1; i++) tn_batch_member_deinit(&batcher->members[i]);
    tn_sampler_scratch_destroy(batcher->scratch);
    tn_free(batcher->members);
    tn_free(batcher->is_open);
    tn_free(batcher->idle);
    pthread_cond_destroy(&batcher->lane_done);
    pthread_mutex_destroy(&batcher->lock);
    tn_free(batcher);
}

static tn_status fail_full(const tn_batcher *batcher)
{
    return tn_fail_native(TN_LIMIT, TN_BATCHER_FULL, "%u requests wait already: run a step, then try again",
                          (unsigned)batcher->params.n_queue_max);
}

static bool is_full(tn_batcher *batcher)
{
    pthread_mutex_lock(&batcher->lock);
    const bool full = batcher->shared.n_queued >= batcher->params.n_queue_max;
    pthread_mutex_unlock(&batcher->lock);
    return full;
}

// Puts the request behind all others; false where the queue has become full.
static bool enqueue(tn_batcher *batcher, tn_batch_request *request, uint64_t *out_number)
{
    pthread_mutex_lock(&batcher->lock);
    const bool fits = batcher->shared.n_queued < batcher->params.n_queue_max;
    if (fits) {
        request->result.request = *out_number = ++batcher->shared.n_requests;
        request->is_queued = true;
        request->before = batcher->shared.last;
        *(request->before ? &request->before->after : &batcher->shared.first) = request;
        batcher->shared.last = request;
        *(batcher->shared.inbox_last ? &batcher->shared.inbox_last->next_in_inbox : &batcher->shared.inbox_first) = request;
        batcher->shared.inbox_last = request;
        batcher->shared.n_queued++;
        batcher->shared.n_left++;
    }
    pthread_mutex_unlock(&batcher->lock);
    return fits;
}

tn_status tn_batcher_submit(tn_batcher *batcher, const tn_request_params *params, uint64_t *out_request)
{
    if (out_request) *out_request = 0;
    TN_REQUIRE(batcher);
    tn_batch_request *request;
    if (is_full(batcher)) return fail_full(batcher);
    TN_TRY(tn_batch_request_create(batcher, params, &request));
    uint64_t number;
    if (!enqueue(batcher, request, &number)) {
        tn_batch_request_destroy(request);
        return fail_full(batcher);
    }
    if (out_request) *out_request = number;
    return TN_OK;
}

tn_status tn_batcher_cancel(tn_batcher *batcher, uint64_t request)
{
    TN_REQUIRE(batcher);
    pthread_mutex_lock(&batcher->lock);
    tn_batch_request *found = batcher->shared.first;
    while (found && found->result.request != request) found = found->after;
    if (found) found->is_cancelled = batcher->shared.any_cancelled = true;
    pthread_mutex_unlock(&batcher->lock);
    return found ? TN_OK : tn_fail(TN_NOT_FOUND, "request %llu has ended or never was", (unsigned long long)request);
}

tn_result *tn_batcher_poll(tn_batcher *batcher)
{
    pthread_mutex_lock(&batcher->lock);
    tn_batch_request *request = batcher->shared.done_first;
    if (request) batcher->shared.done_first = request->next_done;
    if (!batcher->shared.done_first) batcher->shared.done_last = NULL;
    pthread_mutex_unlock(&batcher->lock);
    return request ? &request->result : NULL;
}

void tn_batch_publish(tn_batcher *batcher)
{
    tn_batcher_info *info = &batcher->info;
    info->n_seqs = batcher->params.n_seqs;
    info->n_running = batcher->n_running;
    info->page_positions = TN_KV_PAGE_POSITIONS;
    info->n_pages = info->n_pages_kept = info->n_pages_used = 0;
    info->n_pages_copied = 0;
    for (uint32_t i = 0; i < batcher->n_members; i++) {
        tn_batch_member *member = &batcher->members[i];
        const tn_kv_cache *kv = member->kv;
        info->n_pages += kv->n_pages;
        info->n_pages_kept += kv->n_kept;
        info->n_pages_used += kv->n_pages - kv->n_free - kv->n_kept;
        info->n_pages_copied += kv->n_copied - member->n_copied_before;
        member->info.n_seqs = member->n_seqs;
        member->info.n_running = member->n_running;
        member->info.n_lanes = member->n_lanes;
    }
    if (info->n_pages_used > info->n_pages_used_max) info->n_pages_used_max = info->n_pages_used;
    pthread_mutex_lock(&batcher->lock);
    batcher->shared.info = *info;
    for (uint32_t i = 0; i < batcher->n_members; i++) batcher->members[i].shared_info = batcher->members[i].info;
    pthread_mutex_unlock(&batcher->lock);
}

tn_status tn_batcher_get_info(tn_batcher *batcher, tn_batcher_info *out_info)
{
    TN_REQUIRE(batcher);
    TN_REQUIRE(out_info);
    pthread_mutex_lock(&batcher->lock);
    tn_batcher_info info = batcher->shared.info;
    info.n_requests = batcher->shared.n_requests;
    info.n_waiting = batcher->shared.n_queued;
    pthread_mutex_unlock(&batcher->lock);
    return TN_PARAMS_WRITE(tn_batcher_info, sample_ns, &info, out_info);
}

tn_status tn_batcher_get_member_info(tn_batcher *batcher, uint32_t index, tn_batcher_member_info *out_info)
{
    TN_REQUIRE(batcher);
    TN_REQUIRE(out_info);
    if (index >= batcher->n_members)
        return tn_fail(TN_INVALID_ARGUMENT, "the batcher has no session %u: it has %u", (unsigned)index, (unsigned)batcher->n_members);
    pthread_mutex_lock(&batcher->lock);
    const tn_batcher_member_info info = batcher->members[index].shared_info;
    pthread_mutex_unlock(&batcher->lock);
    return TN_PARAMS_WRITE(tn_batcher_member_info, busy_ns, &info, out_info);
}

tn_status tn_batcher_step(tn_batcher *batcher, uint32_t *out_left)
{
    if (out_left) *out_left = 0;
    TN_REQUIRE(batcher);
    const tn_status status = tn_batch_turn(batcher);
    tn_batch_publish(batcher);
    pthread_mutex_lock(&batcher->lock);
    if (out_left) *out_left = batcher->shared.n_left;
    pthread_mutex_unlock(&batcher->lock);
    return status;
}

tn_status tn_batcher_set_n_seqs(tn_batcher *batcher, uint32_t n_seqs)
{
    TN_REQUIRE(batcher);
    if (n_seqs == 0 || n_seqs > batcher->n_seqs_max)
        return tn_fail(TN_INVALID_ARGUMENT, "%u sequences at a time: it must be from 1 to %u", (unsigned)n_seqs,
                       (unsigned)batcher->n_seqs_max);
    for (uint32_t i = 0; i < batcher->n_members; i++) batcher->members[i].n_seqs = batcher->members[i].limits.n_seqs_max;
    batcher->params.n_seqs = n_seqs;
    tn_batch_publish(batcher);
    return TN_OK;
}
