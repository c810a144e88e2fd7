// The ranking of candidates: logit descending, id ascending.
#ifndef TN_RUNTIME_SAMPLER_RANK_H
#define TN_RUNTIME_SAMPLER_RANK_H

#include <stddef.h>
#include <stdint.h>

typedef struct tn_candidate {
    double logit; // after bias and penalties; never NaN
    int32_t id;
} tn_candidate;

// Puts the min(k, n) best of items [n], which come in ascending order of id, to the front in ranking order and returns their number.
// What lies behind them is left unspecified.  scratch: [n], used where k is not small against n.   Threads: any, on disjoint arrays.
size_t tn_sampler_rank(tn_candidate *items, size_t n, size_t k, tn_candidate *scratch);

#endif
