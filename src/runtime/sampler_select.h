// Finds where in the ranking the running sum of weights passes a bound, without ranking what comes before or after.
#ifndef TN_RUNTIME_SAMPLER_SELECT_H
#define TN_RUNTIME_SAMPLER_SELECT_H

#include "runtime/sampler_mass.h"
#include "runtime/sampler_rank.h"

#include <stdbool.h>

// Of n candidates in ascending order of id, with their weights: the index of the first in ranking order whose running sum of weights, added
// in f64 in that order, passes or reaches a bound of which no more is known than an interval. False where that cannot be told, or none
// does.  spare: [2 * n].   Threads: any, on disjoint arrays.
bool tn_sampler_select(const tn_candidate *candidates, const double *weights, size_t n, tn_sampler_interval bound, tn_candidate *spare,
                       size_t *out_index);

#endif
