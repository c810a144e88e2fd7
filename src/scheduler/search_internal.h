// The parts of the search.
#ifndef TN_SCHEDULER_SEARCH_INTERNAL_H
#define TN_SCHEDULER_SEARCH_INTERNAL_H

#include "scheduler/search.h"

#include <math.h>

static inline bool tn_search_can_use(const tn_search_plan *plan) { return plan->missing_bytes == 0 && !plan->cannot_run; }

// Whether `plan` serves the goal better than `other` by more than `margin` of it.
bool tn_search_is_better(const tn_search_problem *problem, const tn_search_plan *plan, const tn_search_plan *other, double margin);

// Which plans a pass looks at. A plan with several devices that share memory has their shared times, every other plan has its devices' own:
// a pass with own times that allows one such device, and one with shared times that allows all, find the best of either kind, since the
// second promises no plan more than it has.
typedef enum tn_search_pass { TN_SEARCH_PASS_OWN, TN_SEARCH_PASS_SHARED, TN_SEARCH_PASSES } tn_search_pass;

static inline bool tn_search_shares_memory(const tn_search_problem *problem, uint32_t device)
{
    return problem->shares_memory && problem->shares_memory[device];
}

// Whether two devices can work at the same time in the pass's plans.
bool tn_search_has_pass(const tn_search_problem *problem, tn_search_pass pass);
double tn_search_unit_ns(const tn_search_problem *problem, tn_search_pass pass, uint32_t device, uint32_t unit, uint32_t n_tokens);
// A step of the whole model on one device; INFINITY where it cannot run it.
double tn_search_whole_ns(const tn_search_problem *problem, tn_search_pass pass, uint32_t device, uint32_t n_tokens);
// Memory of the whole model on one device, UINT64_MAX where no memory is that large.
uint64_t tn_search_whole_bytes(const tn_search_problem *problem, uint32_t device, uint32_t n_seqs);

// The best shares over two devices or more; `plan` has its arrays. *out_found: false where there are none.
tn_status tn_search_replicas(const tn_search_problem *problem, tn_search_plan *plan, bool *out_found);
// Shares n_seqs by rate: as near to it as whole sequences come (the least sum of shares squared times ns_each), at most `most` each (NULL:
// any), and one at least where there are as many as sharers. ns_each: what a sequence's part of a step takes.
void tn_search_share(const double *ns_each, const uint32_t *most, uint32_t n, uint32_t n_seqs, uint32_t *shares);

enum { TN_SEARCH_KINDS_MAX = 10, TN_SEARCH_STATES_MAX = 1024 };

typedef struct tn_search_device_kind {
    uint32_t first, n; // device, devices
    uint32_t radix;    // of the kind's digit in the number of a state: devices of it that are in use
    bool shares_memory;
    double segment_ns, hop_ns[TN_SEARCH_KINDS_MAX]; // to each kind
} tn_search_device_kind;

typedef struct tn_search_kinds {
    uint32_t n, n_states; // n_states: product over the kinds of 1 + devices of the kind
    uint32_t n_left_out;  // devices
    tn_search_device_kind kinds[TN_SEARCH_KINDS_MAX];
    uint32_t *kind_of; // [n_devices], the caller's; TN_SEARCH_KINDS_MAX: left out
} tn_search_kinds;

// The kinds that a pipeline is searched over for steps of n_tokens: all, or the fastest ones with which n_states x n^2 x units^2, about the
// stages that are weighed, is at most work_max; two in any case.
tn_status tn_search_find_kinds(const tn_search_problem *problem, uint32_t n_tokens, uint64_t work_max, tn_search_kinds *kinds);
// The best pipeline over two devices or more.
tn_status tn_search_pipeline(const tn_search_problem *problem, tn_search_plan *plan, bool *out_found, tn_search_effort *out_effort);

#endif
