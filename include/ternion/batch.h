// Many requests at once: sequences join and leave a running batch at every step, prompts in chunks beside running answers.
//
// Flow: tn_session_create -> tn_batcher_create -> tn_batcher_submit, as often as the queue takes more -> tn_batcher_step until nothing is
// left, with tn_batcher_poll (or callbacks) in between. A request's tokens and text depend on itself alone: not on what else runs, on
// its order, on the session that computes it, on pages that are reused, or on being interrupted and taken up again.
#ifndef TERNION_BATCH_H
#define TERNION_BATCH_H

#include "ternion/sampler.h"
#include "ternion/session.h"

#ifdef __cplusplus
extern "C" {
#endif

// Submit, cancel, poll and info: any thread. Step, set_n_seqs, tune and destroy: one thread at a time.
typedef struct tn_batcher tn_batcher;

typedef struct tn_batcher_params {
    uint32_t struct_size;
    uint32_t n_seqs;         // that run at a time, at most the n_seqs_max of all sessions together; 0: that
    uint32_t n_queue_max;    // requests that wait at most, beside those that run; 0: 4 times that n_seqs_max
    uint32_t n_prompt_chunk; // tokens of prompts in one step, while answers run; 0: what n_ubatch leaves
    bool no_prefix_reuse;    // every prompt is computed from its first token
    uint64_t prefix_bytes;   // of the KV cache at most, for pages that no request holds and later ones may begin with; 0: no other limit
    // Sessions beside the first, each with the model on devices of its own: all take their requests from the one queue and compute at the
    // same time. They have the same tn_model, n_ctx and head. The array is not looked at after tn_batcher_create.
    tn_session *const *more_sessions; // [n_more_sessions], borrowed like the first
    uint32_t n_more_sessions;
    // How fast each session is beside the others: a sample goes where it finds the fewest for that. NULL: alike.
    const double *shares; // [1 + n_more_sessions], above 0; copied
} tn_batcher_params;
#define TN_BATCHER_PARAMS_INIT TN_PARAMS_INIT(tn_batcher_params)

#define TN_REQUEST_SAMPLES_MAX  128u
#define TN_REQUEST_STOPS_MAX    64u
#define TN_REQUEST_LOGPROBS_MAX 20u

typedef enum tn_finish {
    TN_FINISH_NONE,    // it failed or was cancelled: see the result's status
    TN_FINISH_END,     // the model ended its answer
    TN_FINISH_STOP,    // a stop string
    TN_FINISH_LENGTH,  // n_tokens_max
    TN_FINISH_CONTEXT, // no position is left
} tn_finish;

// A token with the natural logarithm of its probability: softmax of the model's logits, before temperature, bias and penalties.
typedef struct tn_token_logprob {
    int32_t token;
    float logprob;
} tn_token_logprob;

// One token of an answer, as soon as it is chosen. Borrowed during the call.
typedef struct tn_token_event {
    uint64_t request;
    uint32_t sample;
    int32_t token;
    const char *text; // that may be shown now: never half a character or part of a stop string
    size_t text_len;
    tn_finish finish;            // what this token ended; TN_FINISH_NONE: the sample goes on
    float logprob;               // 0 without params.logprobs
    const tn_token_logprob *top; // [n_top] the most probable tokens, descending
    uint32_t n_top;
} tn_token_event;

// One answer of a request.
typedef struct tn_sample {
    uint32_t index; // of the sample: best_of chooses among more than it returns
    tn_finish finish;
    tn_status status; // TN_OK, or why this sample alone failed: POISON, INVALID_ARGUMENT (every token is forbidden), OUT_OF_MEMORY
    const char *text; // UTF-8, terminated; without the stop string
    size_t text_len;
    const int32_t *tokens; // [n_tokens] as sampled, without the one that ended the answer
    uint32_t n_tokens;
    double logprob_sum;               // of `tokens`; 0 unless log-probabilities were asked for or needed by n_best
    const tn_token_logprob *logprobs; // [n_tokens] of the tokens themselves; NULL without params.logprobs
    const tn_token_logprob *top;      // [n_tokens][n_top] descending; NULL where n_top is 0
    const size_t *text_ends; // [n_tokens] where each token's part of `text` ends, in whole characters; NULL without params.logprobs
} tn_sample;

// What became of a request. Immutable.
typedef struct tn_result {
    uint64_t request;
    void *user;
    tn_status status;         // TN_OK: see the samples. CANCELLED, or the first failure where every sample failed
    const char *message;      // one line, "" where the status is TN_OK
    uint32_t n_prompt;        // tokens
    uint32_t n_prompt_reused; // of the first sample's prompt: positions that were not computed for it
    uint32_t n_top;           // of params.n_top_logprobs
    const tn_sample *samples; // [n_samples], best first where n_best chose
    uint32_t n_samples;
    uint32_t n_generated;                       // tokens of all samples, those that n_best dropped too
    const tn_token_logprob *prompt_logprobs;    // [n_prompt], the first is 0; NULL without params.prompt_logprobs
    const tn_token_logprob *prompt_top;         // [n_prompt][n_top], token TN_TOKEN_NONE for the first; NULL where n_top is 0
    uint32_t n_preempted;                       // times that it was interrupted because the KV cache was full
    uint64_t queued_ns, first_token_ns, end_ns; // from submit to the first step, to the first token, to the end
} tn_result;

typedef struct tn_request_params {
    uint32_t struct_size;
    const int32_t *tokens; // [n_tokens] the prompt, at least one; copied
    size_t n_tokens;
    const tn_sampler_params *sampler; // copied; NULL: the defaults. Sample i draws as sequence `sampler->sequence` + i
    uint32_t n_samples;               // answers; 0: 1, at most TN_REQUEST_SAMPLES_MAX
    uint32_t n_best;                  // only the best of them are returned, by their mean log-probability a token, the end's too; 0: all
    uint32_t n_tokens_max;            // of each answer; 0: up to the end of the context
    bool prompt_only;                 // no answer: prompt_logprobs alone
    bool ignore_eog;                  // the answer goes on behind tokens that would end it
    bool special;                     // control tokens are written out
    const char *const *stops;         // [n_stops] texts that end an answer and are not part of it; copied
    size_t n_stops;
    bool logprobs, prompt_logprobs; // of the answers' tokens, of the prompt's tokens
    uint32_t n_top_logprobs;        // alternatives beside them, at most TN_REQUEST_LOGPROBS_MAX
    // Who asks: flows get equal shares of what is computed, whatever each of them queues; within a flow requests start in order.
    uint64_t flow;
    // Both are called by tn_batcher_step, and may submit and cancel.
    void (*on_token)(void *user, const tn_token_event *event); // NULL: nobody is told
    void (*on_end)(void *user, const tn_result *result);       // borrowed during the call; NULL: the result waits for tn_batcher_poll
    void *user;
} tn_request_params;
#define TN_REQUEST_PARAMS_INIT TN_PARAMS_INIT(tn_request_params)

typedef struct tn_batcher_info {
    uint32_t struct_size;
    // Now.
    uint32_t n_seqs;                                              // that may run at a time
    uint32_t n_running, n_waiting;                                // samples that run; requests that wait: none of their samples has started
    uint32_t n_pages, n_pages_used, n_pages_kept, page_positions; // of the KV caches; kept: held by no request, for reuse
    // Since it was created.
    uint64_t n_requests, n_finished; // submitted, ended
    uint64_t n_steps, n_preempted, n_pages_copied, n_pages_used_max;
    uint64_t n_prompt_tokens, n_prompt_reused, n_generated; // computed, not computed because of reuse, sampled
    uint64_t step_ns, schedule_ns, sample_ns; // in steps, added up where they run side by side; choosing what runs; logits to text
} tn_batcher_info;
#define TN_BATCHER_INFO_INIT TN_PARAMS_INIT(tn_batcher_info)

// What one of the batcher's sessions does and did.
typedef struct tn_batcher_member_info {
    uint32_t struct_size;
    uint32_t n_seqs, n_running; // samples that may run in it at a time, and that do
    uint32_t n_lanes;           // steps that may be in flight at a time
    uint64_t n_steps, n_tokens; // computed, of prompts and of answers
    uint64_t busy_ns;           // while any of its steps was in flight
} tn_batcher_member_info;
#define TN_BATCHER_MEMBER_INFO_INIT TN_PARAMS_INIT(tn_batcher_member_info)

// Borrows `session` until destroyed: nobody else may decode with it. Its sequences are emptied. Memory for steps is reserved here and in
// the session; a request takes what its tokens and texts take, while it waits or runs.  `params` NULL: defaults. Returns owned.
// Errors: INVALID_ARGUMENT, OUT_OF_MEMORY.
TN_NODISCARD TN_API tn_status tn_batcher_create(tn_session *session, const tn_batcher_params *params, tn_batcher **out_batcher);
// Requests that are not finished are forgotten: no callback is made. Waits for steps in flight.
TN_API void tn_batcher_destroy(tn_batcher *batcher);

// Puts a request into the queue; *out_request (may be NULL) is its number, from 1 on.  Errors: INVALID_ARGUMENT (named), LIMIT with native
// code TN_BATCHER_FULL (the queue is full: step, and try again) or 0 (the prompt is too long for the context or the KV cache),
// OUT_OF_MEMORY.
#define TN_BATCHER_FULL 1
TN_NODISCARD TN_API tn_status tn_batcher_submit(tn_batcher *batcher, const tn_request_params *params, uint64_t *out_request);
// The request ends before the next step, with status CANCELLED and what it has so far; one that the step in hand ends keeps its result.
// Errors: NOT_FOUND (it has ended, or never was).
TN_NODISCARD TN_API tn_status tn_batcher_cancel(tn_batcher *batcher, uint64_t request);
// Runs one step of everything that can run. *out_left: requests that wait or run after it; 0: there is nothing to step for.
// Where steps run side by side (more sessions, or one with lanes), it begins those that can begin, waits for the one that is done first and
// returns with what that gave; the others run on between calls, so call again soon.
// Errors: DEVICE_LOST, IO, INTERNAL, OUT_OF_MEMORY: no request is lost, the step can be tried again. Other steps are not disturbed.
TN_NODISCARD TN_API tn_status tn_batcher_step(tn_batcher *batcher, uint32_t *out_left);
// The next finished request without on_end; NULL where there is none. Owned by the caller: tn_result_destroy.
TN_API tn_result *tn_batcher_poll(tn_batcher *batcher);
TN_API void tn_result_destroy(tn_result *result);
// Fills the fields that the caller's version of the struct has.  Errors: INVALID_ARGUMENT.
TN_NODISCARD TN_API tn_status tn_batcher_get_info(tn_batcher *batcher, tn_batcher_info *out_info);
// The same of one session: 0 is the first, 1 the first of params.more_sessions.
TN_NODISCARD TN_API tn_status tn_batcher_get_member_info(tn_batcher *batcher, uint32_t index, tn_batcher_member_info *out_info);

// Sequences at a time from now on, in all sessions together, 1 to their n_seqs_max; what tn_batcher_tune found for each of them is
// forgotten.  Errors: INVALID_ARGUMENT.
TN_NODISCARD TN_API tn_status tn_batcher_set_n_seqs(tn_batcher *batcher, uint32_t n_seqs);
// Measures steps of 1, 2, 4, ... sequences, up to the session's n_seqs_max, and sets the smallest number that computes at least 95 % of the
// most tokens a second: more would only make each answer slower. Of more sessions each is measured, one after the other, and gets a number
// and a share of its own; *out_n_seqs is the sum. Before the first request alone; takes some steps' time.
// Errors: INVALID_ARGUMENT (requests were submitted), CANCELLED, as tn_batcher_step.
TN_NODISCARD TN_API tn_status tn_batcher_tune(tn_batcher *batcher, const tn_progress *progress, uint32_t *out_n_seqs);

#ifdef __cplusplus
}
#endif
#endif
