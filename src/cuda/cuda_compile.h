// The compiler's state, shared by its files: places and borders (cuda_compile.c) and launches of each kind of group (cuda_emit.h).
#ifndef TN_CUDA_CUDA_COMPILE_H
#define TN_CUDA_CUDA_COMPILE_H

#include "backend/desc_check.h"
#include "backend/group_compiler.h"
#include "cuda/cuda_launch.h"
#include "cuda/cuda_pack.h"

// A value as kernels see it. F32: `rows`, whose address is 0 where it is the caller's output. Q8: `codes`.
typedef struct tn_cuda_value {
    struct tn_cuda_rows rows;
    struct tn_cuda_codes codes;
    uint64_t largest; // where its largest |x * gain| is left (tn_cuda_largest); 0: nowhere
} tn_cuda_value;

typedef struct tn_cuda_compiler {
    tn_cuda_device *device;
    const tn_program_desc *desc;
    const tn_graph *graph;
    const tn_cuda_places *places;
    bool sizes_only; // weights have no addresses
    bool is_one;     // steps of one token, whose products make their input's codes for themselves (ternary_one)
    bool is_few_mma; // steps of few tokens on tensor cores (ternary_few*_mma)
    bool is_wide;    // steps of so many that all ternary products are ternary_many_wgmma, and codes permuted for them
    struct tn_cuda_step step;
    tn_cuda_list *list;
    tn_cuda_value *values; // [graph->n_values]
    uint64_t largest;      // where words of largest values begin, behind all else in the arena, and of how many rows there are some
    uint32_t n_largest;
    tn_group_compiler groups;
} tn_cuda_compiler;

uint32_t tn_cuda_rows_max(const tn_cuda_list *list, tn_rows rows);
// Appends a launch with a copy of its kernel's struct.
tn_status tn_cuda_emit(tn_cuda_compiler *c, const tn_cuda_launch *launch, const void *params, size_t n_bytes);

// Bytes of the arena that a group needs for itself: codes of a quantised head, partial results of attention.
tn_status tn_cuda_group_scratch(const tn_cuda_compiler *c, const tn_group *group, uint64_t *out_bytes);
// Appends the group's launches. `time`: for tn_group_scratch_at.
tn_status tn_cuda_emit_group(tn_cuda_compiler *c, const tn_group *group, uint32_t time);

#endif
