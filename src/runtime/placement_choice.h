// Choosing devices by measured costs.
#ifndef TN_RUNTIME_PLACEMENT_CHOICE_H
#define TN_RUNTIME_PLACEMENT_CHOICE_H

#include "graph/op.h"
#include "scheduler/cost.h"
#include "scheduler/search.h"
#include "ternion/placement.h"

typedef struct tn_placement_choice {
    const tn_graph *graph; // borrowed
    tn_search_goal goal;
    uint32_t n_seqs, n_ctx;
    uint32_t n_devices;
    const char **names;     // [n_devices]; strings are the host's
    uint32_t *devices;      // [n_devices] of the host: the candidates, which the search knows by their place here
    tn_cost_table *tables;  // [n_devices]
    tn_cost_table *shared;  // [n_devices] the same while all devices that share memory read
    bool *shares_memory;    // [n_devices] with others of the host
    double *speeds;         // [n_devices] factors that are assumed
    uint64_t *memory_bytes; // [n_devices] that may be used
    uint32_t n_unknown;
    uint32_t *unknown;        // [n_unknown] of the host: devices that were not measured, since they may not be (known_only) or cannot
    uint64_t *unknown_memory; // the same of their memory
    tn_cost_work *works;      // [n_layers + 2]
    tn_search_result result;  // its devices are candidates; no plans where none was measured
} tn_placement_choice;

// Chooses among devices[n_devices] of the host, by whether they have the memory only where `by_memory`. Copies what it needs. Returns
// owned.  Errors: OUT_OF_MEMORY (also where nothing fits),
// UNSUPPORTED, LIMIT, INVALID_ARGUMENT, those of measuring.
tn_status tn_placement_choose(const tn_graph *graph, tn_host *host, const tn_placement_params *params, const uint32_t *devices,
                              uint32_t n_devices, bool by_memory, tn_placement_choice **out_choice);
// Refuses units [n_layers + 2] that are forced on devices of the host and take more than the memory limits of the params.  Errors:
// OUT_OF_MEMORY, those of limits.
tn_status tn_placement_check_limits(const tn_graph *graph, tn_host *host, const tn_placement_params *params, const uint32_t *devices);
// Steps of a reply: a token and a row of logits for each sequence, which is half through its context on the mean.
tn_cost_step tn_placement_step(const tn_placement_choice *choice, uint32_t n_tokens);
// What a sequence's part of a step takes of the whole model on each candidate, where all of them have as many sequences at the same time:
// out [n_devices].
void tn_placement_ns_each(const tn_placement_choice *choice, double *out);
// The tables by which a plan's times are: [n_devices].
static inline const tn_cost_table *tn_placement_tables(const tn_placement_choice *choice, const tn_search_plan *plan)
{
    return plan->is_shared ? choice->shared : choice->tables;
}
void tn_placement_choice_destroy(tn_placement_choice *choice); // NULL is fine

#endif
