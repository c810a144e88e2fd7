// Where a model's units should run: the best of single devices, replicas and pipelines. Exact and pure: what units take and hold comes in
// as functions, and nothing is measured or remembered here.
//
// A unit is what is placed: the embedding, each layer, the head. A pipeline is a partition of the units, in their order, over devices, each
// of which has one run of them; its sequences are cut into lanes of which each waits for its own step alone, so that all devices work at
// the same time. Replicas are devices with a copy of the model each and a share of the sequences: all sequences of a batch have as many
// tokens, so that it is over when the slowest replica's share is, and its throughput is n_seqs in each step of that one.
#ifndef TN_SCHEDULER_SEARCH_H
#define TN_SCHEDULER_SEARCH_H

#include "base/status.h"

#include <stdbool.h>

typedef enum tn_search_goal {
    TN_SEARCH_LATENCY,    // the shortest step as a sequence sees it
    TN_SEARCH_THROUGHPUT, // the most tokens a second over all sequences
    TN_SEARCH_MEMORY,     // the least memory on all devices together
} tn_search_goal;

// Steps have one token a sequence: what prompts take is in proportion, as far as devices differ in it.
typedef struct tn_search_problem {
    uint32_t n_units, n_devices;
    uint32_t n_seqs; // that decode at a time
    tn_search_goal goal;
    double margin;                // share of the goal that more devices must gain over fewer: 0.02
    const uint64_t *memory_bytes; // [n_devices] that may be used
    const char *const *names;     // [n_devices] for messages; NULL: they have numbers

    const void *ctx; // of the functions, which answer the same for the same question
    // Time of a unit in a step of `n_tokens`, never less for more of them; INFINITY: the device cannot run it.
    double (*unit_ns)(const void *ctx, uint32_t device, uint32_t unit, uint32_t n_tokens);
    double (*segment_ns)(const void *ctx, uint32_t device); // what handing a run of units to the device adds to a step
    double (*hop_ns)(const void *ctx, uint32_t from, uint32_t to, uint32_t n_tokens);
    uint64_t (*unit_bytes)(const void *ctx, uint32_t device, uint32_t unit,
                           uint32_t n_seqs); // weights, and KV cache of the sequences: never less for more
    uint64_t (*segment_bytes)(const void *ctx, uint32_t device, uint32_t n_seqs); // scratch of a run of units

    // Devices that slow each other down where several of them work at the same time, as CPU devices do that read the same memory: in
    // replicas, and in pipelines with several lanes. NULL: there are none.
    const bool *shares_memory; // [n_devices]
    // The time of a unit then; at least unit_ns, which counts where it is more.
    double (*shared_unit_ns)(const void *ctx, uint32_t device, uint32_t unit, uint32_t n_tokens);
} tn_search_problem;

typedef enum tn_search_kind { TN_SEARCH_ONE, TN_SEARCH_REPLICAS, TN_SEARCH_PIPELINE } tn_search_kind;

typedef struct tn_search_plan {
    tn_search_kind kind;
    uint32_t n_replicas;    // 1 but for REPLICAS
    uint32_t n_lanes;       // steps in flight at a time; 1 but for PIPELINE
    uint32_t *devices;      // [n_replicas][n_units]
    uint32_t *shares;       // [n_replicas] sequences of each
    double step_ns;         // from a sequence's token to its next; of replicas the slowest one's
    double tokens_per_s;    // n_seqs in each step_ns
    double bubble;          // share of their time that a pipeline's devices wait, on the mean
    bool is_shared;         // devices that share memory work at the same time: their times are shared_unit_ns
    uint64_t *device_bytes; // [n_devices]
    uint64_t bytes;         // of all devices
    uint64_t missing_bytes; // of ONE: what the device lacks to hold it; the plan cannot be used
    bool cannot_run;        // of ONE: the device lacks an op
} tn_search_plan;

// What a search for pipelines took.
typedef struct tn_search_effort {
    uint64_t n_cells;    // of all dynamic programs
    uint32_t n_left_out; // devices that were not looked at, since they are of more kinds than can be searched soon
} tn_search_effort;

typedef struct tn_search_result {
    uint32_t n_plans; // at least 1
    // The chosen plan first, then the best others of each kind: each device alone, replicas, a pipeline. Those that can be used stand
    // before those that cannot; within them the better ones first.
    tn_search_plan *plans;
    tn_search_effort effort;
    void *memory; // owned: of the plans' arrays
} tn_search_result;

// Returns owned; tn_search_result_deinit.  Errors: OUT_OF_MEMORY (of this process; and where no plan can be used, with what each device
// lacks), UNSUPPORTED (no device runs some unit).
tn_status tn_search(const tn_search_problem *problem, tn_search_result *out_result);
void tn_search_result_deinit(tn_search_result *result);

#endif
