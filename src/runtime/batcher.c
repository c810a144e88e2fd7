// The public face of batchers: creating, submitting, cancelling, polling, and a step from its choice to its results.
#include "base/alloc.h"
#include "base/clock.h"
#include "base/params.h"
#include "graph/op.h"
#include "runtime/batcher_internal.h"
#include "runtime/kv_prefix.h"
#include "ternion/model.h"

#include <string.h>

static tn_status empty_sequences(tn_batcher *batcher)
{
    // All of the session's, those too that no step of the batcher has room for: they would keep their pages.
    for (uint32_t i = 0; i < batcher->kv->n_seqs; i++) TN_TRY(tn_session_seq_truncate(batcher->session, i, 0));
    return TN_OK;
}

static tn_status read_params(tn_batcher *batcher)
{
    tn_batcher_params *p = &batcher->params;
    const tn_session_info *limits = &batcher->limits;
    uint32_t n_max = limits->n_seqs_max < limits->n_logits_max ? limits->n_seqs_max : limits->n_logits_max;
    if (n_max > limits->n_ubatch) n_max = limits->n_ubatch;
    if (p->n_seqs > n_max)
        return tn_fail(TN_INVALID_ARGUMENT, "%u sequences at a time are more than the session takes in one step, %u", (unsigned)p->n_seqs,
                       (unsigned)n_max);
    batcher->limits.n_seqs_max = n_max;
    if (p->n_seqs == 0) p->n_seqs = n_max;
    if (p->n_queue_max == 0) p->n_queue_max = 4 * n_max;
    return TN_OK;
}

// Pages that the index may keep when nobody holds them.
static tn_status kept_pages(const tn_batcher *batcher, uint32_t *out_n)
{
    uint64_t page_bytes;
    *out_n = batcher->kv->n_pages;
    if (batcher->params.prefix_bytes == 0) return TN_OK;
    TN_TRY(tn_session_kv_bytes(tn_session_model(batcher->session), 1, 1, &page_bytes));
    if (batcher->params.prefix_bytes / page_bytes < *out_n) *out_n = (uint32_t)(batcher->params.prefix_bytes / page_bytes);
    return TN_OK;
}

static tn_status reserve(tn_batcher *batcher)
{
    const uint32_t n_seqs = batcher->limits.n_seqs_max, n_ubatch = batcher->limits.n_ubatch;
    uint32_t n_kept;
    TN_TRY(kept_pages(batcher, &n_kept));
    if (!batcher->params.no_prefix_reuse) TN_TRY(tn_kv_prefix_init(batcher->kv, n_kept));
    TN_TRY(tn_sampler_scratch_create(&batcher->scratch));
    TN_TRY(tn_sampler_scratch_reserve(batcher->scratch, batcher->n_vocab));
    TN_TRY(tn_alloc(n_seqs, sizeof *batcher->running, &batcher->running));
    TN_TRY(tn_alloc(n_seqs, sizeof *batcher->free_seqs, &batcher->free_seqs));
    TN_TRY(tn_alloc(n_seqs, sizeof *batcher->entries, &batcher->entries));
    TN_TRY(tn_alloc(n_ubatch, sizeof *batcher->tokens, &batcher->tokens));
    TN_TRY(tn_alloc(n_ubatch, sizeof *batcher->seqs, &batcher->seqs));
    TN_TRY(tn_alloc(n_ubatch, sizeof *batcher->n_top, &batcher->n_top));
    TN_TRY(tn_alloc(n_ubatch, sizeof *batcher->logits, &batcher->logits));
    for (uint32_t i = n_seqs; i-- > 0;) batcher->free_seqs[batcher->n_free_seqs++] = i;
    return TN_OK;
}

static void publish(tn_batcher *batcher);

tn_status tn_batcher_create(tn_session *session, const tn_batcher_params *params, tn_batcher **out_batcher)
{
    TN_REQUIRE(out_batcher);
    *out_batcher = NULL;
    TN_REQUIRE(session);
    tn_batcher_params known = TN_BATCHER_PARAMS_INIT;
    TN_TRY(TN_PARAMS_READ(tn_batcher_params, prefix_bytes, params, &known));
    tn_batcher *batcher;
    tn_status status;
    TN_TRY(tn_alloc_zero(1, sizeof *batcher, &batcher));
    pthread_mutex_init(&batcher->lock, NULL);
    batcher->session = session;
    batcher->kv = tn_session_kv(session);
    batcher->tokenizer = tn_model_tokenizer(tn_session_model(session));
    batcher->params = known;
    tn_session_get_info(session, &batcher->limits);
    batcher->n_vocab = batcher->tokenizer ? (uint32_t)tn_tokenizer_n_vocab(batcher->tokenizer) : batcher->limits.n_vocab;
    TN_TRY_GOTO(read_params(batcher));
    TN_TRY_GOTO(empty_sequences(batcher));
    TN_TRY_GOTO(reserve(batcher));
    publish(batcher);
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
    destroy_requests(batcher);
    const tn_status status = empty_sequences(batcher);
    (void)status; // they exist
    tn_kv_prefix_deinit(batcher->kv);
    tn_sampler_scratch_destroy(batcher->scratch);
    tn_free(batcher->running);
    tn_free(batcher->free_seqs);
    tn_free(batcher->entries);
    tn_free(batcher->tokens);
    tn_free(batcher->seqs);
    tn_free(batcher->n_top);
    tn_free(batcher->logits);
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

// The first request from `request` on that was cancelled. *next: the one behind it, for the request itself goes. Those that came
// after the inbox was taken wait for the next step: they are in no flow yet.
static tn_batch_request *find_cancelled(tn_batcher *batcher, tn_batch_request *request, tn_batch_request **next)
{
    pthread_mutex_lock(&batcher->lock);
    for (; request && !(request->is_cancelled && request->flow); request = request->after)
        batcher->shared.any_cancelled = batcher->shared.any_cancelled || request->is_cancelled;
    *next = request ? request->after : NULL;
    pthread_mutex_unlock(&batcher->lock);
    return request;
}

static void end_request(tn_batcher *batcher, tn_batch_request *request)
{
    tn_batch_queue_drop(batcher, request);
    request->message[0] = '\0'; // whatever became of samples before, it says that
    const tn_status status = tn_fail(TN_CANCELLED, "the request was cancelled");
    for (uint32_t i = 0, n_left = request->n_samples - request->n_ended; n_left; i++) {
        if (request->samples[i].ended) continue;
        n_left--; // the request goes with its last sample
        tn_batch_sample_end(batcher, &request->samples[i], TN_FINISH_NONE, status);
    }
}

// One pass over all requests; what callbacks cancel meanwhile may wait for the next step. Only this thread takes requests out of the list.
static void end_cancelled(tn_batcher *batcher)
{
    pthread_mutex_lock(&batcher->lock);
    tn_batch_request *next = batcher->shared.any_cancelled ? batcher->shared.first : NULL;
    batcher->shared.any_cancelled = false;
    pthread_mutex_unlock(&batcher->lock);
    for (tn_batch_request *request; (request = find_cancelled(batcher, next, &next));) end_request(batcher, request);
}

// What others see of the batcher.
static void publish(tn_batcher *batcher)
{
    tn_batcher_info *info = &batcher->info;
    const tn_kv_cache *kv = batcher->kv;
    info->n_seqs = batcher->params.n_seqs;
    info->n_running = batcher->n_running;
    info->n_pages = kv->n_pages;
    info->n_pages_kept = kv->n_kept;
    info->n_pages_used = kv->n_pages - kv->n_free - kv->n_kept;
    info->page_positions = TN_KV_PAGE_POSITIONS;
    if (info->n_pages_used > info->n_pages_used_max) info->n_pages_used_max = info->n_pages_used;
    pthread_mutex_lock(&batcher->lock);
    batcher->shared.info = *info;
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

// Makes the pages that the entry filled known to later requests.
static void seal_pages(tn_batcher *batcher, const tn_batch_entry *entry)
{
    const uint32_t end = entry->first + entry->n_tokens;
    int32_t tokens[TN_KV_PAGE_POSITIONS];
    for (uint32_t page = entry->first / TN_KV_PAGE_POSITIONS; (page + 1) * TN_KV_PAGE_POSITIONS <= end; page++) {
        for (uint32_t i = 0; i < TN_KV_PAGE_POSITIONS; i++) tokens[i] = tn_batch_token_at(entry->sample, page * TN_KV_PAGE_POSITIONS + i);
        tn_kv_prefix_seal(batcher->kv, entry->sample->seq, page, tokens);
    }
}

// Holds the prompt's pages for samples of the request that have yet to start: they then compute its last token alone. Without memory for
// the list they compute more.
static void hold_prompt(tn_batcher *batcher, const tn_batch_entry *entry)
{
    tn_batch_request *request = entry->sample->request;
    const uint32_t n_prompt = request->result.n_prompt, n = tn_kv_pages_for(n_prompt - 1);
    const tn_kv_cache *kv = batcher->kv;
    if (request->n_started == request->n_samples || request->prompt_pages) return;
    if (!tn_batch_shares_prompt(batcher, request) || entry->first + entry->n_tokens < n_prompt) return;
    if (tn_alloc(n, sizeof *request->prompt_pages, &request->prompt_pages) != TN_OK) return;
    memcpy(request->prompt_pages, kv->page_table + (size_t)entry->sample->seq * kv->n_seq_pages, n * sizeof *request->prompt_pages);
    for (uint32_t i = 0; i < n; i++) tn_kv_cache_retain(batcher->kv, request->prompt_pages[i]);
    request->n_prompt_pages = n;
    batcher->n_prompts_held++;
}

static tn_status run_session(tn_batcher *batcher)
{
    tn_batch batch = TN_BATCH_INIT;
    batch.n_tokens = batcher->n_tokens;
    batch.tokens = batcher->tokens;
    batch.seqs = batcher->seqs;
    batch.logits = batcher->logits;
    batch.n_top = batcher->n_top;
    batch.n_top_ids = batcher->n_vocab;
    const uint32_t n_copies = batcher->kv->n_copies;
    const uint64_t begun_ns = tn_clock_ns();
    const tn_status status = tn_session_decode(batcher->session, &batch);
    batcher->info.step_ns += tn_clock_ns() - begun_ns;
    batcher->info.n_steps++;
    batcher->info.n_pages_copied += n_copies - batcher->kv->n_copies; // none where the step failed
    return status;
}

// What the session has computed is kept: pages, counts, and when each request began.
static void account(tn_batcher *batcher)
{
    const uint64_t now_ns = tn_clock_ns();
    for (uint32_t e = 0; e < batcher->n_entries; e++) {
        const tn_batch_entry *entry = &batcher->entries[e];
        tn_batch_request *request = entry->sample->request;
        const uint32_t n_prompt = request->result.n_prompt, end = entry->first + entry->n_tokens;
        if (!request->result.queued_ns) request->result.queued_ns = now_ns - request->submit_ns;
        if (entry->first < n_prompt) batcher->info.n_prompt_tokens += (end < n_prompt ? end : n_prompt) - entry->first;
        if (tn_session_seq_status(batcher->session, entry->sample->seq) != TN_OK) continue;
        seal_pages(batcher, entry);
        hold_prompt(batcher, entry);
    }
}

// Rows to tokens; samples that were poisoned end alone.
static void use_rows(tn_batcher *batcher)
{
    uint32_t row = 0;
    for (uint32_t e = 0; e < batcher->n_entries; e++) {
        const tn_batch_entry *entry = &batcher->entries[e];
        const uint32_t n_rows = entry->n_rows;
        const tn_status status = tn_session_seq_status(batcher->session, entry->sample->seq);
        if (status != TN_OK)
            tn_batch_sample_end(batcher, entry->sample, TN_FINISH_NONE, status);
        else if (n_rows || entry->sample->request->params.prompt_only)
            tn_batch_sample_rows(batcher, entry, row);
        row += n_rows;
    }
}

static tn_status step(tn_batcher *batcher)
{
    const uint64_t begun_ns = tn_clock_ns();
    TN_TRY(tn_batch_queue_take_inbox(batcher));
    end_cancelled(batcher);
    TN_TRY(tn_batch_compose(batcher));
    batcher->info.schedule_ns += tn_clock_ns() - begun_ns;
    if (batcher->n_entries == 0) return TN_OK;
    const tn_status status = run_session(batcher);
    if (status != TN_OK && status != TN_POISON) return status;
    const uint64_t computed_ns = tn_clock_ns();
    account(batcher);
    const uint64_t accounted_ns = tn_clock_ns();
    use_rows(batcher);
    batcher->info.schedule_ns += accounted_ns - computed_ns;
    batcher->info.sample_ns += tn_clock_ns() - accounted_ns;
    return TN_OK;
}

tn_status tn_batcher_step(tn_batcher *batcher, uint32_t *out_left)
{
    if (out_left) *out_left = 0;
    TN_REQUIRE(batcher);
    const tn_status status = step(batcher);
    publish(batcher);
    pthread_mutex_lock(&batcher->lock);
    if (out_left) *out_left = batcher->shared.n_left;
    pthread_mutex_unlock(&batcher->lock);
    return status;
}

tn_status tn_batcher_set_n_seqs(tn_batcher *batcher, uint32_t n_seqs)
{
    TN_REQUIRE(batcher);
    if (n_seqs == 0 || n_seqs > batcher->limits.n_seqs_max)
        return tn_fail(TN_INVALID_ARGUMENT, "%u sequences at a time: it must be from 1 to %u", (unsigned)n_seqs,
                       (unsigned)batcher->limits.n_seqs_max);
    batcher->params.n_seqs = n_seqs;
    publish(batcher);
    return TN_OK;
}
