// Who starts next: interrupted samples by age, then the flow that was served least, and of it the request that came first.
// Source: the virtual token counter of Sheng et al., "Fairness in Serving Large Language Models", OSDI 2024.
#include "base/alloc.h"
#include "runtime/batcher_internal.h"

// Where a flow that comes begins: with what the next of those that wait will have been served. So it gets its share from now on, not for
// the past, and however many come, those that wait have their turn.
static uint64_t level_of(const tn_batcher *batcher)
{
    uint64_t level = UINT64_MAX;
    for (const tn_batch_flow *flow = batcher->flows; flow; flow = flow->next) {
        if (flow->first && flow->n_served + flow->first->result.n_prompt < level) level = flow->n_served + flow->first->result.n_prompt;
    }
    return level < UINT64_MAX ? level : batcher->n_served_now;
}

// The request's flow, made where it is new.
static tn_status join_flow(tn_batcher *batcher, tn_batch_request *request, uint64_t level)
{
    tn_batch_flow **link = &batcher->flows, *flow;
    while (*link && (*link)->id != request->params.flow) link = &(*link)->next;
    if (!*link) { // behind all others: of those that were served alike the oldest is first
        TN_TRY(tn_alloc_zero(1, sizeof *flow, &flow));
        flow->id = request->params.flow;
        *link = flow;
    }
    flow = *link;
    if (!flow->first && flow->n_served < level) flow->n_served = level;
    request->before_in_flow = flow->last;
    *(flow->last ? &flow->last->next_in_flow : &flow->first) = request;
    flow->last = request;
    flow->n_requests++;
    request->flow = flow;
    return TN_OK;
}

tn_status tn_batch_queue_take_inbox(tn_batcher *batcher)
{
    tn_status status = TN_OK;
    const uint64_t level = level_of(batcher);
    pthread_mutex_lock(&batcher->lock);
    while (batcher->shared.inbox_first && status == TN_OK) {
        tn_batch_request *request = batcher->shared.inbox_first;
        if ((status = join_flow(batcher, request, level)) != TN_OK) break;
        batcher->shared.inbox_first = request->next_in_inbox;
        if (!batcher->shared.inbox_first) batcher->shared.inbox_last = NULL;
    }
    pthread_mutex_unlock(&batcher->lock);
    return status;
}

// Whether a sample of the request computes the prompt in the member.
static bool is_computing(const tn_batch_member *member, const tn_batch_request *request)
{
    for (uint32_t i = 0; i < request->n_started; i++) {
        const tn_batch_sample *sample = &request->samples[i];
        if (sample->lane && sample->lane->member == member && tn_batch_computed(sample) < request->result.n_prompt) return true;
    }
    return false;
}

// Where no member has the prompt, whoever computes it is waited for everywhere: pages are worth more than an early start.
bool tn_batch_queue_waits(const tn_batch_member *member, const tn_batch_request *request)
{
    const tn_batcher *batcher = member->batcher;
    if (request->prompts[member->index].pages || request->n_started == 0 || !tn_batch_shares_prompt(batcher, request)) return false;
    if (is_computing(member, request)) return true;
    bool any_computes = false;
    for (uint32_t i = 0; i < batcher->n_members; i++) {
        if (request->prompts[i].pages) return false;
        any_computes = any_computes || is_computing(&batcher->members[i], request);
    }
    return any_computes;
}

// The first request of the flow that may start in the member. Behind one that waits for its own prompt others start meanwhile, with pages
// that its samples will not want: each of them takes one at least.
static tn_batch_request *first_in(const tn_batch_member *member, const tn_batch_flow *flow)
{
    uint32_t n_pages = tn_kv_cache_available(member->kv);
    tn_batch_request *request = flow->first;
    for (; request && tn_batch_queue_waits(member, request); request = request->next_in_flow) {
        const uint32_t n_wanted = request->n_samples - request->n_started;
        if (n_wanted >= n_pages) return NULL;
        n_pages -= n_wanted;
    }
    return request;
}

// The first request of the flow that may start in any member that takes samples.
static tn_batch_request *first_of(const tn_batcher *batcher, const tn_batch_flow *flow, const bool *is_open)
{
    tn_batch_request *first = NULL;
    for (uint32_t i = 0; i < batcher->n_members && first != flow->first; i++) {
        tn_batch_request *request = is_open[i] ? first_in(&batcher->members[i], flow) : NULL;
        if (request && (!first || request->result.request < first->result.request)) first = request;
    }
    return first;
}

tn_batch_sample *tn_batch_queue_first(tn_batcher *batcher, const bool *is_open)
{
    if (batcher->interrupted) return batcher->interrupted;
    const tn_batch_flow *best = NULL;
    tn_batch_request *first = NULL;
    for (const tn_batch_flow *flow = batcher->flows; flow; flow = flow->next) {
        if (best && flow->n_served >= best->n_served) continue;
        tn_batch_request *request = first_of(batcher, flow, is_open);
        if (!request) continue;
        best = flow;
        first = request;
    }
    if (!best) return NULL;
    batcher->n_served_now = best->n_served;
    return &first->samples[first->n_started];
}

// Takes a request out of its flow's queue.
static void unlink_request(tn_batch_request *request)
{
    tn_batch_request *before = request->before_in_flow, *next = request->next_in_flow;
    *(before ? &before->next_in_flow : &request->flow->first) = next;
    *(next ? &next->before_in_flow : &request->flow->last) = before;
    request->before_in_flow = request->next_in_flow = NULL;
}

static void leave_waiting(tn_batcher *batcher, tn_batch_request *request)
{
    if (!request->is_queued) return;
    request->is_queued = false;
    pthread_mutex_lock(&batcher->lock);
    batcher->shared.n_queued--;
    pthread_mutex_unlock(&batcher->lock);
}

void tn_batch_queue_remove(tn_batcher *batcher, tn_batch_sample *sample)
{
    tn_batch_request *request = sample->request;
    if (sample == batcher->interrupted) {
        batcher->interrupted = sample->next_interrupted;
        sample->next_interrupted = NULL;
        return;
    }
    leave_waiting(batcher, request);
    if (++request->n_started == request->n_samples) unlink_request(request);
}

void tn_batch_queue_interrupt(tn_batcher *batcher, tn_batch_sample *sample)
{
    tn_batch_sample **link = &batcher->interrupted;
    while (*link && (*link)->order < sample->order) link = &(*link)->next_interrupted;
    sample->next_interrupted = *link;
    *link = sample;
}

void tn_batch_queue_drop(tn_batcher *batcher, tn_batch_request *request)
{
    tn_batch_sample **link = &batcher->interrupted;
    while (*link) {
        if ((*link)->request == request)
            *link = (*link)->next_interrupted;
        else
            link = &(*link)->next_interrupted;
    }
    leave_waiting(batcher, request);
    if (request->n_started < request->n_samples) unlink_request(request);
    request->n_started = request->n_samples;
}

void tn_batch_queue_leave(tn_batcher *batcher, tn_batch_request *request)
{
    tn_batch_flow **link = &batcher->flows, *flow = request->flow;
    request->flow = NULL;
    if (--flow->n_requests) return;
    while (*link != flow) link = &(*link)->next;
    *link = flow->next;
    tn_free(flow);
}
