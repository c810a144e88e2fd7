// Log-probabilities of tokens: the softmax of a row of logits as the model gave it.
#ifndef TN_RUNTIME_LOGPROBS_H
#define TN_RUNTIME_LOGPROBS_H

#include "ternion/batch.h"

// The natural logarithm of `token`'s probability, and the n_top most probable tokens (logit descending, id ascending) with theirs. logits:
// [n_vocab], finite or -INFINITY; out_top: [n_top], may be NULL where that is 0; n_top <= TN_REQUEST_LOGPROBS_MAX. All arithmetic is f64
// in a fixed order: the same bits on every machine.   Threads: any.  Errors: INVALID_ARGUMENT (a logit that is none).
tn_status tn_logprobs_row(const float *logits, uint32_t n_vocab, int32_t token, uint32_t n_top, float *out_logprob,
                          tn_token_logprob *out_top);

#endif
