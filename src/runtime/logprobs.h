// Log-probabilities of a row of logits: softmax of what the model gives, before temperature, bias and penalties.
#ifndef TN_RUNTIME_LOGPROBS_H
#define TN_RUNTIME_LOGPROBS_H

#include "ternion/batch.h"

// The natural logarithm of the probability of `token` (TN_TOKEN_NONE: of none, 0), and the n_top <= TN_REQUEST_LOGPROBS_MAX most probable
// tokens, descending, equal ones by ascending id: out_top [n_top] (may be NULL with n_top 0). Where the vocabulary has fewer, the rest are
// TN_TOKEN_NONE with minus infinity. Of all logits, not of a row that a two-stage head screened.   Threads: any. Allocates nothing.
// Errors: INVALID_ARGUMENT (NaN or +infinity, no finite logit; a token outside the vocabulary).
tn_status tn_logprobs_row(const float *logits, uint32_t n_vocab, int32_t token, uint32_t n_top, float *out_logprob,
                          tn_token_logprob *out_top);

#endif
