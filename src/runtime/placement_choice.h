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
    uint32_t *devices;       // [n_devices] of the host: the candidates, which the search knows by their place here
    tn_cost_table *tables;   // [n_devices]
    double *speeds;          // [n_devices] factors that are assumed
    uint64_t *memory_bytes;  // [n_devices] that may be used
    tn_cost_work *works;     // [n_layers + 2]
    tn_search_result result; // its devices are candidates
} tn_placement_choice;

// Chooses among devices[n_devices] of the host. Copies what it needs. Returns owned.  Errors: OUT_OF_MEMORY (also where nothing fits),
// UNSUPPORTED, LIMIT, INVALID_ARGUMENT, those of measuring.
tn_status tn_placement_choose(const tn_graph *graph, tn_host *host, const tn_placement_params *params, const uint32_t *devices,
                              uint32_t n_devices, tn_placement_choice **out_choice);
// Steps of a reply: a token and a row of logits for each sequence, which is half through its context on the mean.
tn_cost_step tn_placement_step(const tn_placement_choice *choice, uint32_t n_tokens);
void tn_placement_choice_destroy(tn_placement_choice *choice); // NULL is fine

#endif
