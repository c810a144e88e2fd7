// A sampler's state, for the files that make it and that choose with it.
#ifndef TN_RUNTIME_SAMPLER_INTERNAL_H
#define TN_RUNTIME_SAMPLER_INTERNAL_H

#include "runtime/sampler_scratch.h"
#include "runtime/sampler_window.h"

typedef struct tn_ordered_bias {
    int32_t token;
    float bias;
    size_t order; // in the caller's list
} tn_ordered_bias;

struct tn_sampler {
    tn_sampler_params params; // logit_bias is NULL: see `bias`
    uint32_t n_vocab;
    tn_ordered_bias *bias; // [n_logit_bias] ascending by token, a token's own in the caller's order

    bool penalises;         // some penalty is on: accepted tokens are counted
    bool only_lowers;       // bias and penalties raise no logit
    tn_token_window window; // of accepted tokens

    tn_sampler_scratch *scratch; // borrowed where it is not `own`
    tn_sampler_scratch *own;
};

// Chooses from logits [n_vocab] in the float mode of the caller.  Errors: INVALID_ARGUMENT (a row of a poisoned sequence; every token is
// forbidden).
tn_status tn_sampler_choose(const tn_sampler *sampler, const float *logits, uint32_t position, int32_t *out_token);
// The same of logits that are -INFINITY but for the candidates, ids [n], which are tn_sampler_n_top of the best.  Errors: INVALID_ARGUMENT
// (every token is forbidden).
tn_status tn_sampler_choose_among(const tn_sampler *sampler, const float *logits, const uint32_t *ids, uint32_t n, uint32_t position,
                                  int32_t *out_token);

// Of n >= 1 candidates, scratch->candidates, in ascending order of id, that contain the best: the token that the chain, as it is defined,
// comes to with the uniform number u.
int32_t tn_sampler_choose_ranked(const tn_sampler *sampler, size_t n, double u);
// The same for a whole row whose largest logit is max, without top-k, temperature above 0.  Errors: INVALID_ARGUMENT (every token is
// forbidden).
tn_status tn_sampler_choose_from_all(const tn_sampler *sampler, const float *logits, float max, double u, int32_t *out_token);

// Bias and penalties on the n tokens of scratch->ids and on every token that they name: scratch->candidates, without forbidden ones. The
// three lists are sorted by token. Returns the number of candidates.
size_t tn_sampler_adjust(const tn_sampler *sampler, const float *logits, size_t n);
// The least logit that min-p keeps, beside the best itself: of tokens at least min_p times as probable as the best.
double tn_sampler_least_of_min_p(double best, float min_p);
tn_status tn_sampler_fail_all_forbidden(void);

#endif
