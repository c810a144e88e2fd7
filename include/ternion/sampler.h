// Logits to a token. The same seed gives the same token on any device and any number of threads.
#ifndef TERNION_SAMPLER_H
#define TERNION_SAMPLER_H

#include "ternion/base.h"

#ifdef __cplusplus
extern "C" {
#endif

// One sequence's sampler: settings and the last tokens that penalties look at. One thread at a time.
typedef struct tn_sampler tn_sampler;

typedef struct tn_logit_bias {
    int32_t token;
    float bias; // added to the logit; -INFINITY forbids the token
} tn_logit_bias;

// Fields are meant literally: start from tn_sampler_params_default().
typedef struct tn_sampler_params {
    uint32_t struct_size;
    uint64_t seed;
    uint64_t sequence;               // tells sequences of one seed apart
    float temperature;               // 0 or less: greedy
    int32_t top_k;                   // 0 or less: off
    float top_p;                     // 1: off
    float min_p;                     // 0: off
    int32_t repeat_last_n;           // tokens that penalties look at; 0: off, -1: the whole sequence
    float repeat_penalty;            // 1: off
    float presence_penalty;          // 0: off
    float frequency_penalty;         // 0: off
    const tn_logit_bias *logit_bias; // borrowed during create
    size_t n_logit_bias;
} tn_sampler_params;
// The defaults of llama.cpp.
static inline tn_sampler_params tn_sampler_params_default(void)
{
    tn_sampler_params params;
    params.struct_size = sizeof params;
    params.seed = 0;
    params.sequence = 0;
    params.temperature = 0.8f;
    params.top_k = 40;
    params.top_p = 0.95f;
    params.min_p = 0.05f;
    params.repeat_last_n = 64;
    params.repeat_penalty = 1.0f;
    params.presence_penalty = 0;
    params.frequency_penalty = 0;
    params.logit_bias = NULL;
    params.n_logit_bias = 0;
    return params;
}

// `params` NULL: the defaults. Returns owned.  Errors: INVALID_ARGUMENT (a value out of its range, named), OUT_OF_MEMORY.
TN_NODISCARD TN_API tn_status tn_sampler_create(const tn_sampler_params *params, uint32_t n_vocab, tn_sampler **out_sampler);
TN_API void tn_sampler_destroy(tn_sampler *sampler);
// Tells the sampler of a token of the sequence (prompt or generated), for the penalties.  Errors: INVALID_ARGUMENT, OUT_OF_MEMORY.
TN_NODISCARD TN_API tn_status tn_sampler_accept(tn_sampler *sampler, int32_t token);
// Chooses the token that follows `position` from logits [n_vocab]; does not accept it.  Errors: INVALID_ARGUMENT (every token is
// forbidden).
TN_NODISCARD TN_API tn_status tn_sampler_sample(tn_sampler *sampler, const float *logits, uint32_t position, int32_t *out_token);
// How many of the best logits decide the next sample, for tn_batch.n_top; 0: all of them. It changes with accepted tokens where penalties
// are on.
TN_API uint32_t tn_sampler_n_top(const tn_sampler *sampler);

#ifdef __cplusplus
}
#endif
#endif
