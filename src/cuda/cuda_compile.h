// The compiler's state, shared by its two files: places (cuda_compile.c) and launches of each kind of group (cuda_emit.c).
#ifndef TN_CUDA_CUDA_COMPILE_H
#define TN_CUDA_CUDA_COMPILE_H

#include "backend/arena.h"
#include "backend/desc_check.h"
#include "cuda/cuda_launch.h"
#include "cuda/cuda_pack.h"

typedef enum tn_cuda_place_kind { TN_CUDA_NOWHERE, TN_CUDA_IN_ARENA, TN_CUDA_OUTSIDE } tn_cuda_place_kind;

// Where a value lies. F32: `rows`, whose address is 0 for OUTSIDE, the caller's output. Q8: `codes`.
typedef struct tn_cuda_value {
    tn_cuda_place_kind place;
    uint32_t span;
    struct tn_cuda_rows rows;
    struct tn_cuda_codes codes;
} tn_cuda_value;

typedef struct tn_cuda_compiler {
    tn_cuda_device *device;
    const tn_program_desc *desc;
    const tn_graph *graph;
    const tn_cuda_places *places;
    bool sizes_only; // weights have no addresses
    struct tn_cuda_step step;
    tn_cuda_list *list;
    tn_group *groups;
    uint32_t n_groups;
    tn_cuda_value *values; // [graph->n_values]
    tn_arena arena;
    uint32_t *scratch; // [n_groups + 2]: span that a group has for itself
} tn_cuda_compiler;

uint32_t tn_cuda_rows_max(const tn_cuda_list *list, tn_rows rows);
// Appends a launch with a copy of its kernel's struct.
tn_status tn_cuda_emit(tn_cuda_compiler *c, const tn_cuda_launch *launch, const void *params, size_t n_bytes);

// Bytes of the arena that a group needs for itself: codes of a quantised head, partial results of attention.
tn_status tn_cuda_group_scratch(const tn_cuda_compiler *c, const tn_group *group, uint64_t *out_bytes);
// Appends the group's launches. `time`: its index in `scratch`.
tn_status tn_cuda_emit_group(tn_cuda_compiler *c, const tn_group *group, uint32_t time);

#endif
