// A program's kernels for steps of up to so many tokens, as data: what is compiled (cuda_compile.c), then made a graph of (cuda_graph.c).
#ifndef TN_CUDA_CUDA_LAUNCH_H
#define TN_CUDA_CUDA_LAUNCH_H

#include "backend/fuse.h"
#include "cuda/cuda_memory.h"
#include "cuda/kernels/kernel_params.h"

enum { TN_CUDA_PARAM_WORDS = 64 };

typedef struct tn_cuda_launch {
    tn_cuda_kernel kernel;
    uint32_t grid[3];
    uint32_t shared_bytes;                // dynamic
    uint64_t params[TN_CUDA_PARAM_WORDS]; // the kernel's struct
    // Whose time it is: nodes of the graph and how they share it; TN_NONE: nobody's.
    uint32_t nodes[3], parts[3];
} tn_cuda_launch;

typedef struct tn_cuda_list {
    uint32_t n_tokens_max, n_logits_max;
    tn_cuda_launch *launches; // owned
    uint32_t n_launches;
    size_t capacity;
    uint64_t arena_bytes; // of values and what kernels need for themselves
    uint64_t n_counters;  // words, 0 between steps
    CUgraphExec exec;     // NULL: not made yet
} tn_cuda_list;

// Where what all lists of a program share lies in device memory; addresses are baked into launches.
typedef struct tn_cuda_places {
    CUdeviceptr step, arena, poison, counters;
    CUdeviceptr step_host, poison_host;             // pinned, as the device sees them
    CUdeviceptr rank_counts, rank_ids, rank_logits; // the same; 0: nothing is ranked
} tn_cuda_places;

typedef struct tn_cuda_compile_params {
    tn_cuda_device *device;
    const tn_program_desc *desc;
    tn_step_layout step_layout;
    uint32_t addresses; // word of the step behind which the submit's addresses lie
    uint32_t n_tokens_max;
    tn_cuda_places places; // a first pass with all of them 0 tells arena_bytes and n_counters
    bool sizes_only;       // of such a pass: buffers of weights may not exist yet
} tn_cuda_compile_params;

// Fills `list` (launches, arena_bytes, n_counters).  Errors: OUT_OF_MEMORY, UNSUPPORTED (with the reason), INVALID_ARGUMENT.
tn_status tn_cuda_compile(const tn_cuda_compile_params *params, tn_cuda_list *list);
// Makes the list's launches a graph, one after another.
tn_status tn_cuda_graph_create(tn_cuda_device *device, tn_cuda_list *list);
void tn_cuda_graph_destroy(tn_cuda_device *device, tn_cuda_list *list);
// Gives a launch to the device's stream.
tn_status tn_cuda_launch_one(tn_cuda_device *device, const tn_cuda_launch *launch);

// Events around the launches of a list, for programs that keep statistics: of those there is one before the first and one behind each.
typedef struct tn_cuda_times {
    CUevent *events; // owned
    uint32_t n;      // that were made
} tn_cuda_times;
// What it made, failed or not, is given back, and the array freed.
tn_status tn_cuda_times_create(tn_cuda_device *device, uint32_t n_events, tn_cuda_times *out_times);
void tn_cuda_times_give_back(tn_cuda_device *device, tn_cuda_times *times);
// Gives all launches to the stream, with the events between them.
tn_status tn_cuda_launch_timed(tn_cuda_device *device, const tn_cuda_list *list, const tn_cuda_times *times);
// Adds what the launches took, once they have ended, to the times of their nodes.
tn_status tn_cuda_times_add(tn_cuda_device *device, const tn_cuda_list *list, const tn_cuda_times *times, uint64_t *node_ns);

#endif
