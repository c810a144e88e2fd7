// Memory that samplers work in while they choose a token, and keep nothing in between: the samplers of one thread can share one.
#ifndef TN_RUNTIME_SAMPLER_SCRATCH_H
#define TN_RUNTIME_SAMPLER_SCRATCH_H

#include "runtime/sampler_rank.h"
#include "ternion/sampler.h"

// A row of logits is taken in blocks of this many lines of this many columns (sampler_row.c).
#define TN_SAMPLER_LINES   64u
#define TN_SAMPLER_COLUMNS 64u
static inline size_t tn_sampler_n_columns(uint32_t n_vocab)
{
    const uint32_t block = TN_SAMPLER_LINES * TN_SAMPLER_COLUMNS;
    return ((size_t)(n_vocab / block) + (n_vocab % block > 0)) * TN_SAMPLER_COLUMNS;
}

// For one thread at a time. Where the best logits decide, little of it is ever touched.
typedef struct tn_sampler_scratch {
    uint32_t n_vocab_max;
    float *column_max;        // [tn_sampler_n_columns(n_vocab_max)]
    int32_t *ids;             // [n_vocab_max]
    float *row;               // [n_vocab_max] logits without those that bias and penalties name
    double *weights;          // [n_vocab_max] of candidates
    tn_candidate *candidates; // [n_vocab_max]
    tn_candidate *spare;      // [2 * n_vocab_max]
    uint64_t n_exact;         // tokens for which a sum of exact weights was needed,
    uint64_t n_ranked;        // and that could not be told without ranking all
} tn_sampler_scratch;

// Returns owned; it is empty until a sampler is made with it.  Errors: OUT_OF_MEMORY.
tn_status tn_sampler_scratch_create(tn_sampler_scratch **out_scratch);
void tn_sampler_scratch_destroy(tn_sampler_scratch *scratch);
// Room for rows of n_vocab logits; what it held is lost.  Errors: OUT_OF_MEMORY, and it is as it was.
tn_status tn_sampler_scratch_reserve(tn_sampler_scratch *scratch, uint32_t n_vocab);

// As tn_sampler_create. Borrows `scratch` until the sampler is destroyed; NULL: the sampler has its own.
tn_status tn_sampler_create_with(const tn_sampler_params *params, uint32_t n_vocab, tn_sampler_scratch *scratch, tn_sampler **out_sampler);
// As tn_sampler_sample, of a row whose candidates, ids [n] in any order, are the best of its logits, n being tn_sampler_n_top, and the only
// ones that are not -INFINITY: the row is not passed over.
tn_status tn_sampler_sample_among(tn_sampler *sampler, const float *logits, const uint32_t *ids, uint32_t n, uint32_t position,
                                  int32_t *out_token);
// What tn_sampler_create refuses of settings.   Threads: any.  Errors: INVALID_ARGUMENT.
tn_status tn_sampler_check(const tn_sampler_params *params, uint32_t n_vocab);

#endif
