// A sample's life: from rows of logits to tokens, log-probabilities and text, and to its end.
#include "base/alloc.h"
#include "base/clock.h"
#include "model/text_stream.h"
#include "runtime/batcher_internal.h"
#include "runtime/logprobs.h"

#include <string.h>

tn_status tn_batch_sample_start(tn_batcher *batcher, tn_batch_sample *sample)
{
    const tn_batch_request *request = sample->request;
    sample->started = true;
    sample->order = ++batcher->n_orders;
    if (request->params.prompt_only) return TN_OK;
    tn_sampler_params sampler = request->sampler;
    sampler.sequence += sample->index;
    TN_TRY(tn_sampler_create_with(&sampler, batcher->n_vocab, batcher->scratch, &sample->sampler));
    for (uint32_t i = 0; i < request->result.n_prompt; i++) TN_TRY(tn_sampler_accept(sample->sampler, request->prompt[i]));
    if (!batcher->tokenizer) return TN_OK;
    tn_text_stream_params stream = TN_TEXT_STREAM_PARAMS_INIT;
    stream.stops = request->params.stops;
    stream.n_stops = request->params.n_stops;
    stream.special = request->params.special;
    return tn_text_stream_create(batcher->tokenizer, &stream, &sample->stream);
}

static void keep_message(tn_batch_request *request)
{
    if (!request->message[0]) memcpy(request->message, tn_error_last()->message, sizeof request->message);
}

void tn_batch_sample_end(tn_batcher *batcher, tn_batch_sample *sample, tn_finish finish, tn_status status)
{
    tn_batch_request *request = sample->request;
    if (status != TN_OK) keep_message(request);
    if (sample->lane) tn_batch_stop_running(sample);
    tn_sampler_destroy(sample->sampler);
    tn_text_stream_destroy(sample->stream);
    sample->sampler = NULL;
    sample->stream = NULL;
    sample->ended = true;
    sample->finish = finish;
    sample->status = status;
    if (++request->n_ended == request->n_samples) tn_batch_request_end(batcher, request);
}

void tn_batch_sample_cancel(tn_batcher *batcher, tn_batch_sample *sample)
{
    tn_batch_sample_end(batcher, sample, TN_FINISH_NONE, tn_fail(TN_CANCELLED, "the request was cancelled"));
}

// Why the sample ends with the token that it has just been given, but for stop strings.
static tn_finish finish_of(const tn_batcher *batcher, const tn_batch_sample *sample)
{
    const tn_request_params *params = &sample->request->params;
    if (params->n_tokens_max && sample->n_tokens >= params->n_tokens_max) return TN_FINISH_LENGTH;
    // The token itself needs a position before one can follow it.
    return tn_batch_known(sample) > batcher->n_ctx ? TN_FINISH_CONTEXT : TN_FINISH_NONE;
}

static tn_status keep_token(tn_batch_sample *sample, int32_t token)
{
    TN_TRY(tn_grow(&sample->tokens, &sample->tokens_capacity, (size_t)sample->n_tokens + 1, sizeof *sample->tokens));
    sample->tokens[sample->n_tokens++] = token;
    return TN_OK;
}

// Beside the token that keep_token kept.
static tn_status keep_logprobs(tn_batch_sample *sample, const tn_token_event *event)
{
    const size_t n = sample->n_tokens, n_top = event->n_top;
    TN_TRY(tn_grow(&sample->logprobs, &sample->logprobs_capacity, n, sizeof *sample->logprobs));
    TN_TRY(tn_grow(&sample->text_ends, &sample->text_ends_capacity, n, sizeof *sample->text_ends));
    TN_TRY(tn_grow(&sample->top, &sample->top_capacity, n * n_top, sizeof *sample->top));
    sample->logprobs[n - 1] = (tn_token_logprob){event->token, event->logprob};
    sample->text_ends[n - 1] = sample->text.len + (sample->stream ? tn_text_stream_held(sample->stream) : 0);
    if (n_top) memcpy(sample->top + (n - 1) * n_top, event->top, n_top * sizeof *sample->top);
    return TN_OK;
}

// Adds the token's text, and at the end what the stream held back. Sets the event's finish where a stop string is complete.
static tn_status add_text(tn_batch_sample *sample, tn_token_event *event, bool ends_answer)
{
    const char *text;
    size_t len;
    bool stopped = false;
    if (!sample->stream) return TN_OK;
    if (!ends_answer) {
        TN_TRY(tn_text_stream_push(sample->stream, event->token, &text, &len, &stopped));
        TN_TRY(tn_text_append(&sample->text, text, len));
    }
    if (stopped) event->finish = TN_FINISH_STOP;
    if (event->finish == TN_FINISH_NONE || stopped) return TN_OK;
    TN_TRY(tn_text_stream_finish(sample->stream, &text, &len));
    return tn_text_append(&sample->text, text, len);
}

// The token that follows, by row `row` of its lane: by its candidates where the device ranked them.
static tn_status sample_row(tn_batch_sample *sample, uint32_t row, int32_t *out_token)
{
    const float *logits = tn_batch_lane_logits(sample->lane, row);
    const uint32_t position = tn_batch_length(sample) - 1;
    uint32_t n;
    const uint32_t *ids = tn_batch_lane_candidates(sample->lane, row, &n);
    return ids ? tn_sampler_sample_among(sample->sampler, logits, ids, n, position, out_token)
               : tn_sampler_sample(sample->sampler, logits, position, out_token);
}

// Chooses the next token and does with it all that can fail.
static tn_status choose(tn_batcher *batcher, tn_batch_sample *sample, uint32_t row, tn_token_event *event)
{
    const tn_request_params *params = &sample->request->params;
    const uint32_t n_top = params->logprobs ? params->n_top_logprobs : 0;
    TN_TRY(sample_row(sample, row, &event->token));
    if (params->logprobs || params->n_best) { // their rows are whole
        const float *logits = tn_batch_lane_logits(sample->lane, row);
        TN_TRY(tn_logprobs_row(logits, batcher->n_vocab, event->token, n_top, &event->logprob, batcher->top));
        event->top = n_top ? batcher->top : NULL;
        event->n_top = n_top;
    }
    const bool ends_answer = batcher->tokenizer && !params->ignore_eog && tn_tokenizer_is_eog(batcher->tokenizer, event->token);
    if (ends_answer) {
        event->finish = TN_FINISH_END;
        sample->end_logprob = (double)event->logprob;
        return add_text(sample, event, true);
    }
    TN_TRY(tn_sampler_accept(sample->sampler, event->token));
    TN_TRY(keep_token(sample, event->token));
    sample->logprob_sum += (double)event->logprob;
    batcher->info.n_generated++;
    event->finish = finish_of(batcher, sample);
    TN_TRY(add_text(sample, event, false));
    return params->logprobs ? keep_logprobs(sample, event) : TN_OK;
}

static void next_token(tn_batcher *batcher, tn_batch_sample *sample, uint32_t row)
{
    tn_batch_request *request = sample->request;
    const size_t shown = sample->text.len;
    const uint32_t n_tokens = sample->n_tokens;
    const double logprob_sum = sample->logprob_sum;
    tn_token_event event = {.request = request->result.request, .sample = sample->index};
    const tn_status status = choose(batcher, sample, row, &event);
    if (status != TN_OK) {
        sample->n_tokens = n_tokens; // without memory the token may have no log-probabilities: it does not count
        sample->logprob_sum = logprob_sum;
        tn_batch_sample_end(batcher, sample, TN_FINISH_NONE, status);
        return;
    }
    if (!request->result.first_token_ns) request->result.first_token_ns = tn_clock_ns() - request->submit_ns;
    event.text = sample->text.data ? sample->text.data + shown : "";
    event.text_len = sample->text.len - shown;
    if (request->params.on_token) request->params.on_token(request->params.user, &event);
    if (event.finish != TN_FINISH_NONE) tn_batch_sample_end(batcher, sample, event.finish, TN_OK);
}

// The row behind position p says how probable the prompt's token p + 1 is.
static tn_status score_prompt(const tn_batcher *batcher, tn_batch_request *request, const float *logits)
{
    const uint32_t at = request->n_scored, n_top = request->result.n_top;
    tn_token_logprob *top = request->prompt_top ? request->prompt_top + (size_t)at * n_top : NULL;
    tn_token_logprob *out = &request->prompt_logprobs[at];
    out->token = request->prompt[at];
    TN_TRY(tn_logprobs_row(logits, batcher->n_vocab, out->token, n_top, &out->logprob, top));
    request->n_scored++;
    return TN_OK;
}

void tn_batch_sample_rows(tn_batcher *batcher, const tn_batch_entry *entry, uint32_t row)
{
    tn_batch_sample *sample = entry->sample;
    tn_batch_request *request = sample->request;
    const uint32_t n_prompt = request->result.n_prompt, length = entry->first + entry->n_tokens;
    const bool scores = request->params.prompt_logprobs && sample->index == 0;
    uint32_t left = entry->n_rows;
    for (; left && scores && request->n_scored < n_prompt && request->n_scored < length + 1; left--, row++) {
        const tn_status status = score_prompt(batcher, request, tn_batch_lane_logits(sample->lane, row));
        if (status != TN_OK) {
            tn_batch_sample_end(batcher, sample, TN_FINISH_NONE, status);
            return;
        }
    }
    if (request->params.prompt_only) {
        if (request->n_scored == n_prompt) tn_batch_sample_end(batcher, sample, TN_FINISH_LENGTH, TN_OK);
        return;
    }
    if (left) next_token(batcher, sample, row);
}
