// The parts of a batcher: requests with their samples, flows that queue, and the sessions that compute, each with its lanes.
//
// Flow: submit puts a request into the inbox -> a turn (batcher_turn.c) takes it into its flow's queue (batcher_queue.c) -> its samples
// start in some lane of some member, one sequence of its session each (batcher_place.c) -> every step of the lane feeds them tokens
// (batcher_step.c, batcher_lane.c) and turns rows of logits into text (batcher_sample.c) -> the last sample's end makes the result
// (batcher_request.c).
#ifndef TN_RUNTIME_BATCHER_INTERNAL_H
#define TN_RUNTIME_BATCHER_INTERNAL_H

#include "base/str.h"
#include "runtime/sampler_scratch.h"
#include "runtime/session_internal.h"
#include "ternion/batch.h"
#include "ternion/tokenizer.h"

#include <pthread.h>

typedef struct tn_batch_request tn_batch_request;
typedef struct tn_batch_sample tn_batch_sample;
typedef struct tn_batch_lane tn_batch_lane;
typedef struct tn_batch_member tn_batch_member;

// One answer in the making. What it knows are the prompt's tokens and its own; its sequence holds a beginning of them.
struct tn_batch_sample {
    tn_batch_request *request;
    uint32_t index;
    bool started, ended;
    tn_batch_lane *lane; // that it runs in; NULL: it does not run
    uint32_t seq;        // of the lane's session, where there is one
    bool in_step;        // it has a part in the lane's step, which is composed or in flight: its sequence belongs to that
    uint32_t step_first; // where that part begins
    uint32_t n_paid;     // tokens to come that its flow has paid for
    uint64_t order;      // by which samples started: who is older goes first
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

// Pages of a prompt that are held in a member for samples that have yet to start, up to its last token.
typedef struct tn_batch_prompt {
    uint32_t *pages; // NULL: none
    uint32_t n_pages;
} tn_batch_prompt;

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
    uint32_t n_scored;                               // prompt tokens whose log-probability is known
    tn_batch_prompt *prompts;                        // [n_members]
    uint32_t n_pages_longest;                        // that one of its sequences may come to
    bool is_queued;                                  // no sample has started
    bool is_ending;                                  // cancelled: what is in a step ends behind it
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

// Steps that follow each other. Those of different lanes may be in flight at the same time.
struct tn_batch_lane {
    tn_batch_member *member;
    uint32_t index;            // of the session's
    tn_batch_sample **running; // [n_running] by order
    uint32_t n_running;
    // The step in hand.
    tn_batch_entry *entries; // [limits.n_seqs_max]
    uint32_t n_entries, n_tokens, n_rows;
    uint32_t budget;        // tokens that it still takes, while it is composed
    int32_t *tokens;        // [n_ubatch]
    uint32_t *seqs, *n_top; // [n_ubatch]
    uint8_t *logits;        // [n_ubatch]
    bool in_flight;
    uint64_t begun_ns; // tn_clock_ns
    // Under the batcher's lock while it is in flight.
    bool is_done; // it can be finished without waiting
    uint64_t done_ns;
};

// A session that computes for the batcher: a copy of the model on devices of its own.
struct tn_batch_member {
    tn_batcher *batcher;
    uint32_t index;
    tn_session *session;
    tn_kv_cache *kv;
    tn_session_info limits; // n_seqs_max: sequences that a step has room for
    uint32_t n_seqs;        // that run in it at a time
    double share;           // of the samples, as a weight beside those of the other members
    uint32_t n_seqs_tuned;  // what tn_batcher_tune found, until all members are measured
    double rate;
    uint32_t *free_seqs; // stack
    uint32_t n_free_seqs, n_running;
    uint32_t n_prompts_held;  // requests with pages here
    uint64_t n_copied_before; // kv->n_copied when the batcher was created
    tn_batch_lane *lanes;
    uint32_t n_lanes, n_in_flight;
    uint64_t busy_from_ns;              // when its first lane in flight began
    tn_batcher_member_info info;        // of the step's thread; `shared_info` is what others see
    tn_batcher_member_info shared_info; // under the batcher's lock
};

struct tn_batcher {
    tn_batch_member *members; // [n_members]
    uint32_t n_members;
    bool in_line;                  // one member of one lane: its steps need no other thread
    const tn_tokenizer *tokenizer; // NULL: the model has none
    uint32_t n_ctx, n_seqs_max;    // of every member; of all together
    uint32_t n_pages_most;         // of the member that has the most
    uint32_t n_vocab;              // ids that may be sampled
    tn_batcher_params params;
    tn_sampler_scratch *scratch; // of all samplers

    tn_batch_flow *flows;
    uint64_t n_served_now;        // of the flow that was served last: where a flow begins that comes when none waits
    tn_batch_sample *interrupted; // by order
    uint32_t n_running;           // in all members
    uint64_t n_orders;
    tn_batch_lane **idle; // [n_idle] lanes that are not in flight, who waits longest first
    uint32_t n_idle, n_in_flight;
    bool *is_open; // [n_members] scratch: who takes samples
    tn_token_logprob top[TN_REQUEST_LOGPROBS_MAX];

    tn_batcher_info info; // of the step's thread; `shared.info` is what others see

    pthread_mutex_t lock;
    pthread_cond_t lane_done;
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

// batcher.c
void tn_batch_publish(tn_batcher *batcher); // what others see of it

// batcher_request.c
// Copies the parameters. Returns owned.  Errors: INVALID_ARGUMENT, LIMIT, OUT_OF_MEMORY.
tn_status tn_batch_request_create(const tn_batcher *batcher, const tn_request_params *params, tn_batch_request **out_request);
void tn_batch_request_destroy(tn_batch_request *request);
// All samples have ended: fills the result and hands it out.
void tn_batch_request_end(tn_batcher *batcher, tn_batch_request *request);

// batcher_queue.c
// Takes what was submitted into the flows' queues.  Errors: OUT_OF_MEMORY (some stay in the inbox).
tn_status tn_batch_queue_take_inbox(tn_batcher *batcher);
// The sample that should start or go on next in one of the members of which `is_open` [n_members] says that they take any; NULL where none
// can. It stays where it is until tn_batch_queue_remove.
tn_batch_sample *tn_batch_queue_first(tn_batcher *batcher, const bool *is_open);
// Whether the request's next sample should not start in this member now: another one is computing the prompt that they will share.
bool tn_batch_queue_waits(const tn_batch_member *member, const tn_batch_request *request);
// The sample that tn_batch_queue_first gave starts or goes on.
void tn_batch_queue_remove(tn_batcher *batcher, tn_batch_sample *sample);
// An interrupted sample waits, before all that have not started.
void tn_batch_queue_interrupt(tn_batcher *batcher, tn_batch_sample *sample);
// Takes out all samples of a request that wait.
void tn_batch_queue_drop(tn_batcher *batcher, tn_batch_request *request);
void tn_batch_queue_leave(tn_batcher *batcher, tn_batch_request *request); // it has ended

// batcher_member.c
// Borrows the session.  Errors: INVALID_ARGUMENT (it cannot compute beside the first), OUT_OF_MEMORY. The caller deinits after a failure
// too.
tn_status tn_batch_member_init(tn_batcher *batcher, uint32_t index, tn_session *session);
// Pages that the index of prefixes may keep when nobody holds them, and the index itself.  Errors: OUT_OF_MEMORY.
tn_status tn_batch_member_keep(tn_batch_member *member);
// No lane is in flight, and nobody holds pages.
void tn_batch_member_deinit(tn_batch_member *member);
// The sample gets a sequence, and runs in the lane.
void tn_batch_begin_running(tn_batch_lane *lane, tn_batch_sample *sample);
// The sample's sequence is given back. It has no part in a step.
void tn_batch_stop_running(tn_batch_sample *sample);
// The sample goes on in another lane of its member.
void tn_batch_move(tn_batch_sample *sample, tn_batch_lane *to);
// Gives back the pages that are held for a request's samples.
void tn_batch_drop_prompt(tn_batcher *batcher, tn_batch_request *request);
// Gives back the pages that are held in the member for some request's samples; false where there are none.
bool tn_batch_drop_any_prompt(tn_batch_member *member);

// batcher_recover.c
// A call of the member's session has failed with `status`: where that was a device's failure, the member goes on on others, or is closed,
// and its samples queue again. Else returns `status`.  Errors: those of what was tried.
tn_status tn_batch_member_recover(tn_batch_member *member, tn_status status);

// batcher_place.c
// Starts samples in lanes that wait or have room in their steps, as long as there are sequences and pages.  Errors: as tn_batch_add_prompt.
tn_status tn_batch_place_samples(tn_batcher *batcher);
// Shares the member's samples evenly over its lanes, where some lanes that are not in flight have more than others.
void tn_batch_level_lanes(tn_batch_member *member);

// batcher_step.c
// Begins the lane's next step with the samples that run in it: chooses their entries and reserves their pages.  Errors: LIMIT.
tn_status tn_batch_compose(tn_batch_lane *lane);
// Adds what fits of the sample's tokens to the lane's step.  Errors: LIMIT.
tn_status tn_batch_add_prompt(tn_batch_sample *sample);
// Gives the sample's sequence back and lets it queue again. It has no part in a step.
void tn_batch_interrupt(tn_batch_sample *sample);
// Lets the sample go on with pages that others have computed.
void tn_batch_attach(tn_batch_sample *sample);
// Positions of what the sample knows that are computed in the member already.
uint32_t tn_batch_find_known(const tn_batch_member *member, const tn_batch_sample *sample);

// batcher_lane.c
// Errors: OUT_OF_MEMORY; the caller deinits then too.
tn_status tn_batch_lane_init(tn_batch_lane *lane, tn_batch_member *member, uint32_t index);
void tn_batch_lane_deinit(tn_batch_lane *lane);
// Forgets the step that was composed.
void tn_batch_lane_clear(tn_batch_lane *lane);
// Begins the step that was composed.  Errors: as tn_batcher_step; the samples run on.
tn_status tn_batch_lane_start(tn_batch_lane *lane);
// Waits for the step in flight and makes what it computed tokens and text.  Errors: the same.
tn_status tn_batch_lane_finish(tn_batch_lane *lane);
// Waits for the step in flight and forgets it.
void tn_batch_lane_drop(tn_batch_lane *lane);
// A row of the lane's last step, or NULL where its sequence is poisoned; and its candidates where the device ranked it.
const float *tn_batch_lane_logits(const tn_batch_lane *lane, uint32_t row);
const uint32_t *tn_batch_lane_candidates(const tn_batch_lane *lane, uint32_t row, uint32_t *out_n);

// batcher_turn.c
// Starts steps in all lanes that wait, and finishes one, where any is in flight.  Errors: as tn_batcher_step; the first of them.
tn_status tn_batch_turn(tn_batcher *batcher);
// The lane's step is about to be finished: the lane waits for its next one.
void tn_batch_rest(tn_batch_lane *lane);
// Waits until no lane is in flight; what they compute is forgotten.
void tn_batch_settle(tn_batcher *batcher);

// batcher_sample.c
// Makes the sampler and the text stream, and tells the sampler of the prompt.
tn_status tn_batch_sample_start(tn_batcher *batcher, tn_batch_sample *sample);
// Turns the entry's rows of logits, from `row` on, into log-probabilities and the next token.
void tn_batch_sample_rows(tn_batcher *batcher, const tn_batch_entry *entry, uint32_t row);
// Ends a sample with a status from tn_error_last, or with TN_OK and a reason; ends its request with the last one.
void tn_batch_sample_end(tn_batcher *batcher, tn_batch_sample *sample, tn_finish finish, tn_status status);
// Ends a sample of a request that was cancelled.
void tn_batch_sample_cancel(tn_batcher *batcher, tn_batch_sample *sample);

// Whether the pages of the prompt are held for further samples: those with all tokens but the last one, which each computes itself.
static inline bool tn_batch_shares_prompt(const tn_batcher *batcher, const tn_batch_request *request)
{
    return request->result.n_prompt > 1 && !batcher->params.no_prefix_reuse;
}
static inline uint32_t tn_batch_known(const tn_batch_sample *sample) { return sample->request->result.n_prompt + sample->n_tokens; }
static inline uint32_t tn_batch_length(const tn_batch_sample *sample) { return sample->lane->member->kv->lengths[sample->seq]; }
// Positions of the sample's sequence that are computed: without those of a step in flight.
static inline uint32_t tn_batch_computed(const tn_batch_sample *sample)
{
    return sample->in_step ? sample->step_first : tn_batch_length(sample);
}
static inline int32_t tn_batch_token_at(const tn_batch_sample *sample, uint32_t position)
{
    const uint32_t n_prompt = sample->request->result.n_prompt;
    return position < n_prompt ? sample->request->prompt[position] : sample->tokens[position - n_prompt];
}

#endif
