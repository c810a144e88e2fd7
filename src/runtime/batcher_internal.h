// The parts of a batcher: requests with their samples, flows that queue, and the step in hand.
//
// Flow: submit puts a request into the inbox -> step takes it into its flow's queue -> its samples start, one sequence of the session
// each -> every step feeds them tokens (batcher_step.c) and turns rows of logits into text (batcher_sample.c) -> the last sample's end
// makes the result (batcher_request.c).
#ifndef TN_RUNTIME_BATCHER_INTERNAL_H
#define TN_RUNTIME_BATCHER_INTERNAL_H

#include "base/str.h"
#include "runtime/sampler_scratch.h"
#include "runtime/session_internal.h"
#include "ternion/batch.h"
#include "ternion/tokenizer.h"

#include <pthread.h>

#define TN_NO_SEQ UINT32_MAX

typedef struct tn_batch_request tn_batch_request;
typedef struct tn_batch_sample tn_batch_sample;

// One answer in the making. What it knows are the prompt's tokens and its own; its sequence holds a beginning of them.
struct tn_batch_sample {
    tn_batch_request *request;
    uint32_t index;
    bool started, ended;
    uint32_t seq;   // of the session; TN_NO_SEQ: it does not run
    uint64_t order; // by which samples started: who is older goes first
    tn_batch_sample *next_interrupted;
    int32_t *tokens; // [n_tokens]
    uint32_t n_tokens;
    size_t tokens_capacity;
    tn_sampler *sampler;
    tn_text_stream *stream; // NULL: the model has no tokenizer
    tn_text text;
    tn_token_logprob *logprobs, *top; // [n_tokens], [n_tokens][n_top]
    size_t *text_ends;                // [n_tokens]
    size_t logprobs_capacity, top_capacity, text_ends_capacity;
    double logprob_sum, end_logprob; // of the tokens; of the one that ended the answer
    tn_finish finish;
    tn_status status;
};

struct tn_batch_request {
    tn_result result; // the public part: what tn_batcher_poll hands out
    tn_sample *sample_results;
    tn_batch_sample *samples; // [n_samples]
    uint32_t n_samples, n_started, n_ended;
    int32_t *prompt; // [result.n_prompt]
    tn_logit_bias *bias;
    char **stops;
    tn_request_params params; // its pointers lead to the copies above
    tn_sampler_params sampler;
    tn_token_logprob *prompt_logprobs, *prompt_top;
    uint32_t n_scored; // prompt tokens whose log-probability is known
    // Pages of the prompt that are held for samples that have yet to start, up to its last token.
    uint32_t *prompt_pages;
    uint32_t n_prompt_pages;
    bool is_queued;                                  // no sample has started
    bool is_cancelled;                               // under the batcher's lock
    uint64_t submit_ns;                              // tn_clock_ns
    struct tn_batch_flow *flow;                      // NULL: it is in the inbox
    tn_batch_request *before_in_flow, *next_in_flow; // while it has samples to start
    tn_batch_request *before, *after;                // in the list of all that have not ended; under the lock
    tn_batch_request *next_in_inbox, *next_done;
    char message[1024];
};

// Who asks. It is known as long as it has requests.
typedef struct tn_batch_flow {
    uint64_t id;
    uint64_t n_served; // tokens that were computed for it, on top of where it began
    uint32_t n_requests;
    tn_batch_request *first, *last; // whose samples have not all started
    struct tn_batch_flow *next;
} tn_batch_flow;

// A sample's part of a step: tokens from `first` on, `n_rows` rows of logits.
typedef struct tn_batch_entry {
    tn_batch_sample *sample;
    uint32_t first, n_tokens, n_rows;
} tn_batch_entry;

struct tn_batcher {
    tn_session *session;
    tn_kv_cache *kv;
    const tn_tokenizer *tokenizer; // NULL: the model has none
    tn_session_info limits;
    uint32_t n_vocab; // ids that may be sampled
    tn_batcher_params params;
    tn_sampler_scratch *scratch; // of all samplers

    tn_batch_flow *flows;
    uint64_t n_served_now;        // of the flow that was served last: where a flow begins that comes when none waits
    tn_batch_sample *interrupted; // by order
    tn_batch_sample **running;    // [n_running] by order
    uint32_t n_running;
    uint32_t *free_seqs; // stack
    uint32_t n_free_seqs;
    uint64_t n_orders;
    uint32_t n_prompts_held; // requests with prompt_pages

    // The step in hand.
    tn_batch_entry *entries; // [limits.n_seqs_max]
    uint32_t n_entries, n_tokens, n_rows;
    int32_t *tokens;        // [n_ubatch]
    uint32_t *seqs, *n_top; // [n_ubatch]
    uint8_t *logits;        // [n_ubatch]
    tn_token_logprob top[TN_REQUEST_LOGPROBS_MAX];

    tn_batcher_info info; // of the step's thread; `shared.info` is what others see

    pthread_mutex_t lock;
    struct {
        tn_batch_request *first, *last; // all that have not ended
        tn_batch_request *inbox_first, *inbox_last;
        tn_batch_request *done_first, *done_last;
        uint32_t n_left, n_queued; // requests that have not ended; of them those without a started sample
        uint64_t n_requests;
        bool any_cancelled;
        tn_batcher_info info;
    } shared; // under the lock
};

// batcher_request.c
// Copies the parameters. Returns owned.  Errors: INVALID_ARGUMENT, LIMIT, OUT_OF_MEMORY.
tn_status tn_batch_request_create(const tn_batcher *batcher, const tn_request_params *params, tn_batch_request **out_request);
void tn_batch_request_destroy(tn_batch_request *request);
// All samples have ended: fills the result and hands it out.
void tn_batch_request_end(tn_batcher *batcher, tn_batch_request *request);

// batcher_queue.c
// Takes what was submitted into the flows' queues.  Errors: OUT_OF_MEMORY (some stay in the inbox).
tn_status tn_batch_queue_take_inbox(tn_batcher *batcher);
// The sample that should start or go on next; NULL where none can. It stays where it is until tn_batch_queue_remove.
tn_batch_sample *tn_batch_queue_first(tn_batcher *batcher);
// The sample that tn_batch_queue_first gave starts or goes on.
void tn_batch_queue_remove(tn_batcher *batcher, tn_batch_sample *sample);
// An interrupted sample waits, before all that have not started.
void tn_batch_queue_interrupt(tn_batcher *batcher, tn_batch_sample *sample);
// Takes out all samples of a request that wait.
void tn_batch_queue_drop(tn_batcher *batcher, tn_batch_request *request);
void tn_batch_queue_leave(tn_batcher *batcher, tn_batch_request *request); // it has ended

// batcher_step.c
// Chooses the entries of the next step and reserves their pages.  Errors: OUT_OF_MEMORY, INTERNAL.
tn_status tn_batch_compose(tn_batcher *batcher);
// The sample's sequence is given back.
void tn_batch_stop_running(tn_batcher *batcher, tn_batch_sample *sample);
// Gives back the pages that are held for a request's samples.
void tn_batch_drop_prompt(tn_batcher *batcher, tn_batch_request *request);

// batcher_sample.c
// Makes the sampler and the text stream, and tells the sampler of the prompt.
tn_status tn_batch_sample_start(tn_batcher *batcher, tn_batch_sample *sample);
// Turns the entry's rows of logits, from `row` on, into log-probabilities and the next token.
void tn_batch_sample_rows(tn_batcher *batcher, const tn_batch_entry *entry, uint32_t row);
// Ends a sample with a status from tn_error_last, or with TN_OK and a reason; ends its request with the last one.
void tn_batch_sample_end(tn_batcher *batcher, tn_batch_sample *sample, tn_finish finish, tn_status status);

// Whether the pages of the prompt are held for further samples: those with all tokens but the last one, which each computes itself.
static inline bool tn_batch_shares_prompt(const tn_batcher *batcher, const tn_batch_request *request)
{
    return request->result.n_prompt > 1 && !batcher->params.no_prefix_reuse;
}
static inline uint32_t tn_batch_known(const tn_batch_sample *sample) { return sample->request->result.n_prompt + sample->n_tokens; }
static inline int32_t tn_batch_token_at(const tn_batch_sample *sample, uint32_t position)
{
    const uint32_t n_prompt = sample->request->result.n_prompt;
    return position < n_prompt ? sample->request->prompt[position] : sample->tokens[position - n_prompt];
}

#endif
