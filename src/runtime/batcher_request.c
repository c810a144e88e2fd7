// Requests from parameters to results.
#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/params.h"
#include "graph/op.h"
#include "runtime/batcher_internal.h"

#include <string.h>

static tn_status check_counts(const tn_batcher *batcher, const tn_request_params *p)
{
    const uint32_t n_ctx = batcher->n_ctx, n_vocab = batcher->n_vocab;
    const uint32_t n_samples = p->n_samples ? p->n_samples : 1;
    if (p->n_tokens == 0) return tn_fail(TN_INVALID_ARGUMENT, "the request has no tokens: a prompt has at least one");
    if (p->n_tokens >= n_ctx && !(p->prompt_only && p->n_tokens == n_ctx))
        return tn_fail(TN_LIMIT, "the prompt has %zu tokens, which leaves no room for an answer in the context of %u: shorten it",
                       p->n_tokens, (unsigned)n_ctx);
    for (size_t i = 0; i < p->n_tokens; i++) {
        if (p->tokens[i] < 0 || (uint32_t)p->tokens[i] >= n_vocab)
            return tn_fail(TN_INVALID_ARGUMENT, "token %d of the prompt is not in the vocabulary of %u", (int)p->tokens[i],
                           (unsigned)n_vocab);
    }
    if (n_samples > TN_REQUEST_SAMPLES_MAX)
        return tn_fail(TN_INVALID_ARGUMENT, "%u samples are wanted, at most %u are made", (unsigned)n_samples, TN_REQUEST_SAMPLES_MAX);
    if (p->n_best > n_samples)
        return tn_fail(TN_INVALID_ARGUMENT, "the best %u of %u samples are wanted", (unsigned)p->n_best, (unsigned)n_samples);
    if (p->n_stops > TN_REQUEST_STOPS_MAX)
        return tn_fail(TN_INVALID_ARGUMENT, "%zu stop strings are given, at most %u are looked for", p->n_stops, TN_REQUEST_STOPS_MAX);
    if (p->n_stops && !batcher->tokenizer)
        return tn_fail(TN_UNSUPPORTED, "the model has no tokenizer, so there is no text to stop at: leave the stop strings out");
    if (p->n_top_logprobs > TN_REQUEST_LOGPROBS_MAX)
        return tn_fail(TN_INVALID_ARGUMENT, "%u log-probabilities a token are wanted, at most %u are given", (unsigned)p->n_top_logprobs,
                       TN_REQUEST_LOGPROBS_MAX);
    if (p->n_top_logprobs && !p->logprobs && !p->prompt_logprobs)
        return tn_fail(TN_INVALID_ARGUMENT, "n_top_logprobs says how many alternatives, but neither logprobs nor prompt_logprobs is set");
    if (p->prompt_only && (!p->prompt_logprobs || n_samples > 1))
        return tn_fail(TN_INVALID_ARGUMENT, "prompt_only is for the prompt's log-probabilities: set prompt_logprobs, and one sample");
    return TN_OK;
}

// The longest that one sequence of the request can become must fit into some KV cache when it is alone there.
static tn_status check_room(const tn_batcher *batcher, const tn_request_params *p, uint32_t *out_n_pages)
{
    uint64_t longest = p->n_tokens + (uint64_t)p->n_tokens_max;
    if (p->prompt_only) longest = p->n_tokens;
    if (longest > batcher->n_ctx || (!p->prompt_only && p->n_tokens_max == 0)) longest = batcher->n_ctx;
    *out_n_pages = tn_kv_pages_for((uint32_t)longest);
    if (*out_n_pages <= batcher->n_pages_most) return TN_OK;
    return tn_fail(
        TN_LIMIT,
        "the request may come to %llu positions, but the KV cache holds %llu: ask for fewer tokens, or give the cache more memory",
        (unsigned long long)longest, (unsigned long long)batcher->n_pages_most * TN_KV_PAGE_POSITIONS);
}

static tn_status copy_stops(tn_batch_request *request, const tn_request_params *p)
{
    TN_TRY(tn_alloc_zero(p->n_stops, sizeof *request->stops, &request->stops));
    for (size_t i = 0; i < p->n_stops; i++) {
        TN_REQUIRE(p->stops[i]);
        if (!p->stops[i][0]) return tn_fail(TN_INVALID_ARGUMENT, "stop string %zu is empty: leave it out", i);
        TN_TRY(tn_strdup(p->stops[i], strlen(p->stops[i]), &request->stops[i]));
    }
    request->params.stops = (const char *const *)request->stops;
    return TN_OK;
}

// Copies the sampler's settings. A sampler that cannot be made is refused here rather than when its turn comes.
static tn_status copy_sampler(const tn_batcher *batcher, tn_batch_request *request, const tn_sampler_params *given)
{
    request->sampler = tn_sampler_params_default();
    TN_TRY(TN_PARAMS_READ(tn_sampler_params, n_logit_bias, given, &request->sampler));
    TN_TRY(tn_sampler_check(&request->sampler, batcher->n_vocab));
    TN_TRY(tn_alloc(request->sampler.n_logit_bias, sizeof *request->bias, &request->bias));
    if (request->sampler.n_logit_bias)
        memcpy(request->bias, request->sampler.logit_bias, request->sampler.n_logit_bias * sizeof *request->bias);
    request->sampler.logit_bias = request->bias;
    request->params.sampler = &request->sampler;
    return TN_OK;
}

static tn_status copy_prompt(tn_batch_request *request, const tn_request_params *p)
{
    const uint32_t n_top = p->n_top_logprobs;
    TN_TRY(tn_alloc(p->n_tokens, sizeof *request->prompt, &request->prompt));
    memcpy(request->prompt, p->tokens, p->n_tokens * sizeof *request->prompt);
    request->params.tokens = request->prompt;
    request->result.n_prompt = (uint32_t)p->n_tokens;
    if (!p->prompt_logprobs) return TN_OK;
    uint64_t n_all;
    if (!tn_ckd_mul(p->n_tokens, n_top, &n_all)) return tn_fail(TN_INVALID_ARGUMENT, "too many log-probabilities");
    TN_TRY(tn_alloc_zero(p->n_tokens, sizeof *request->prompt_logprobs, &request->prompt_logprobs));
    request->prompt_logprobs[0].token = request->prompt[0];
    request->n_scored = 1; // nothing comes before the first
    request->result.prompt_logprobs = request->prompt_logprobs;
    if (n_top == 0) return TN_OK;
    TN_TRY(tn_alloc_zero((size_t)n_all, sizeof *request->prompt_top, &request->prompt_top));
    for (uint32_t i = 0; i < n_top; i++) request->prompt_top[i].token = TN_TOKEN_NONE;
    request->result.prompt_top = request->prompt_top;
    return TN_OK;
}

static tn_status fill(const tn_batcher *batcher, tn_batch_request *request, const tn_request_params *params)
{
    request->params = *params;
    request->params.stops = NULL;
    request->n_samples = params->n_samples ? params->n_samples : 1;
    request->result.user = params->user;
    request->result.n_top = params->n_top_logprobs;
    request->submit_ns = tn_clock_ns();
    TN_TRY(tn_alloc_zero(request->n_samples, sizeof *request->samples, &request->samples));
    TN_TRY(tn_alloc_zero(request->n_samples, sizeof *request->sample_results, &request->sample_results));
    TN_TRY(tn_alloc_zero(batcher->n_members, sizeof *request->prompts, &request->prompts));
    for (uint32_t i = 0; i < request->n_samples; i++) request->samples[i] = (tn_batch_sample){.request = request, .index = i};
    TN_TRY(copy_prompt(request, params));
    TN_TRY(copy_stops(request, params));
    return copy_sampler(batcher, request, params->sampler);
}

tn_status tn_batch_request_create(const tn_batcher *batcher, const tn_request_params *params, tn_batch_request **out_request)
{
    tn_request_params known = TN_REQUEST_PARAMS_INIT;
    tn_batch_request *request;
    *out_request = NULL;
    TN_REQUIRE(params);
    TN_TRY(TN_PARAMS_READ(tn_request_params, user, params, &known));
    TN_REQUIRE(known.tokens);
    if (known.n_stops) TN_REQUIRE(known.stops);
    TN_TRY(check_counts(batcher, &known));
    uint32_t n_pages;
    TN_TRY(check_room(batcher, &known, &n_pages));
    TN_TRY(tn_alloc_zero(1, sizeof *request, &request));
    request->n_pages_longest = n_pages;
    tn_status status = fill(batcher, request, &known);
    if (status == TN_OK)
        *out_request = request;
    else
        tn_batch_request_destroy(request);
    return status;
}

void tn_batch_request_destroy(tn_batch_request *request)
{
    if (!request) return;
    for (uint32_t i = 0; request->samples && i < request->n_samples; i++) {
        tn_batch_sample *sample = &request->samples[i];
        tn_sampler_destroy(sample->sampler);
        tn_text_stream_destroy(sample->stream);
        tn_text_deinit(&sample->text);
        tn_free(sample->tokens);
        tn_free(sample->logprobs);
        tn_free(sample->top);
        tn_free(sample->text_ends);
    }
    for (size_t i = 0; request->stops && i < request->params.n_stops; i++) tn_free(request->stops[i]);
    tn_free(request->samples);
    tn_free(request->sample_results);
    tn_free(request->prompt);
    tn_free(request->bias);
    tn_free(request->stops);
    tn_free(request->prompt_logprobs);
    tn_free(request->prompt_top);
    tn_free(request->prompts);
    tn_free(request);
}

void tn_result_destroy(tn_result *result) { tn_batch_request_destroy((tn_batch_request *)result); } // its first member

static void fill_sample(const tn_batch_sample *sample, tn_sample *out)
{
    const bool logprobs = sample->request->params.logprobs;
    // Tokens wrote what a stop string cut off, and what was held back when the request was cancelled.
    for (uint32_t i = 0; logprobs && i < sample->n_tokens; i++) {
        if (sample->text_ends[i] > sample->text.len) sample->text_ends[i] = sample->text.len;
    }
    *out = (tn_sample){.index = sample->index,
                       .finish = sample->finish,
                       .status = sample->status,
                       .text = sample->text.data ? sample->text.data : "",
                       .text_len = sample->text.len,
                       .tokens = sample->tokens,
                       .n_tokens = sample->n_tokens,
                       .logprob_sum = sample->logprob_sum,
                       .logprobs = logprobs ? sample->logprobs : NULL,
                       .top = logprobs ? sample->top : NULL,
                       .text_ends = logprobs ? sample->text_ends : NULL};
}

// The mean log-probability of a token, that which ended the answer too: an answer without others is as probable as its end. Samples that
// failed come last.
static double score(const tn_batch_sample *sample)
{
    const uint32_t n = sample->n_tokens + (sample->finish == TN_FINISH_END);
    if (sample->status != TN_OK) return -1e300;
    return n ? (sample->logprob_sum + sample->end_logprob) / n : 0;
}

// Puts the results into the order of their scores, equal ones as they were.
static void rank_samples(tn_batch_request *request)
{
    tn_sample *results = request->sample_results;
    for (uint32_t i = 1; i < request->n_samples; i++) {
        const tn_sample sample = results[i];
        const double its_score = score(&request->samples[sample.index]);
        uint32_t at = i;
        for (; at > 0 && score(&request->samples[results[at - 1].index]) < its_score; at--) results[at] = results[at - 1];
        results[at] = sample;
    }
}

static void fill_result(tn_batch_request *request)
{
    tn_result *result = &request->result;
    bool any_good = false, is_cancelled = false;
    for (uint32_t i = 0; i < request->n_samples; i++) {
        const tn_batch_sample *sample = &request->samples[i];
        fill_sample(sample, &request->sample_results[i]);
        result->n_generated += sample->n_tokens;
        any_good = any_good || sample->status == TN_OK;
        is_cancelled = is_cancelled || sample->status == TN_CANCELLED;
        if (result->status == TN_OK) result->status = sample->status;
    }
    if (is_cancelled || any_good) result->status = is_cancelled ? TN_CANCELLED : TN_OK;
    if (result->status == TN_OK) request->message[0] = '\0';
    result->message = request->message;
    result->samples = request->sample_results;
    result->n_samples = request->n_samples;
    result->end_ns = tn_clock_ns() - request->submit_ns;
    if (request->params.n_best == 0) return;
    rank_samples(request);
    result->n_samples = request->params.n_best;
}

void tn_batch_request_end(tn_batcher *batcher, tn_batch_request *request)
{
    tn_batch_drop_prompt(batcher, request);
    if (request->flow) tn_batch_queue_leave(batcher, request);
    fill_result(request);
    batcher->info.n_finished++;
    const bool is_polled = !request->params.on_end;
    pthread_mutex_lock(&batcher->lock);
    *(request->before ? &request->before->after : &batcher->shared.first) = request->after;
    *(request->after ? &request->after->before : &batcher->shared.last) = request->before;
    batcher->shared.n_left--;
    if (is_polled) {
        *(batcher->shared.done_last ? &batcher->shared.done_last->next_done : &batcher->shared.done_first) = request;
        batcher->shared.done_last = request;
    }
    pthread_mutex_unlock(&batcher->lock);
    if (is_polled) return; // it may be another thread's already, or gone
    request->params.on_end(request->params.user, &request->result);
    tn_batch_request_destroy(request);
}
