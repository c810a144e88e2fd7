// Passes over a whole row of logits, and what they find: few tokens that are sure to contain the best.
#ifndef TN_RUNTIME_SAMPLER_ROW_H
#define TN_RUNTIME_SAMPLER_ROW_H

#include "runtime/sampler_scratch.h"

// Fills scratch->column_max and *out_max.  Errors: INVALID_ARGUMENT (NaN or +infinity: the row of a poisoned sequence).
tn_status tn_sampler_row_max(const float *logits, uint32_t n_vocab, tn_sampler_scratch *scratch, float *out_max);
// The first token with the logit `max`, finite, that tn_sampler_row_max found.
int32_t tn_sampler_row_first(const float *logits, uint32_t n_vocab, tn_sampler_scratch *scratch, float max);
// Puts tokens that contain the n best in ranking order, all that equal the last of them too, into scratch->ids, ascending, and returns
// their number. Those of minus infinity are left out. After tn_sampler_row_max; n > 0.
size_t tn_sampler_row_gather(const float *logits, uint32_t n_vocab, size_t n, tn_sampler_scratch *scratch);
// Puts the tokens of `least` or more, finite, into scratch->ids, ascending, and returns their number. After tn_sampler_row_max.
size_t tn_sampler_row_from(const float *logits, uint32_t n_vocab, float least, tn_sampler_scratch *scratch);

#endif
