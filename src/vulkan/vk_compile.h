// The compiler's state, shared by its files: places and borders (vk_compile.c) and dispatches of each kind of group (vk_emit*.c).
#ifndef TN_VULKAN_VK_COMPILE_H
#define TN_VULKAN_VK_COMPILE_H

#include "backend/group_compiler.h"
#include "vulkan/vk_list.h"
#include "vulkan/vk_pack.h"

// A value as shaders see it. F32: rows of `stride` words from `at`. Q8: code rows of `stride` words; `scales` and `sums` have a word a row.
typedef struct tn_vk_value {
    uint32_t at, stride, scales, sums;
} tn_vk_value;

typedef struct tn_vk_compiler {
    tn_vk_device *device;
    const tn_program_desc *desc;
    const tn_graph *graph;
    tn_step_layout step;
    tn_vk_list *list;
    bool rows_before;    // norms are computed by the products behind them (of one token)
    tn_vk_value *values; // [graph->n_values]
    tn_group_compiler groups;
} tn_vk_compiler;

static inline bool tn_vk_is_outside(const tn_vk_compiler *c, uint32_t value) { return c->groups.places[value].kind == TN_PLACE_OUTSIDE; }

uint32_t tn_vk_rows_max(const tn_vk_list *list, tn_rows rows);
// Bytes of a value's rows, one after another, as buffers outside have them.  Errors: UNSUPPORTED (more than one binding holds).
tn_status tn_vk_rows_bytes(const tn_vk_compiler *c, uint32_t value, uint64_t *out_bytes);
tn_vk_axis tn_vk_fixed(uint32_t n);
tn_vk_axis tn_vk_per_row(tn_rows rows, uint32_t divisor);
tn_status tn_vk_emit(tn_vk_compiler *c, const tn_vk_dispatch *dispatch, const void *params, size_t n_bytes);
// Invocations of workgroups that do simple things element by element.
uint32_t tn_vk_invocations(const tn_vk_compiler *c);

// Whether the ternary products of one token can all compute the norms in front of them.
bool tn_vk_rows_fit_before(const tn_vk_compiler *c);
// Whether attention of one token can compute RoPE and append in front of it.
bool tn_vk_rope_fits_before(const tn_vk_compiler *c);
// Arena words that a group needs for itself: codes of a quantised head, partial results of attention.
tn_status tn_vk_group_scratch(const tn_vk_compiler *c, const tn_group *group, uint64_t *out_words);
// Appends the group's dispatches. `time`: for tn_group_scratch_at.
tn_status tn_vk_emit_group(tn_vk_compiler *c, const tn_group *group, uint32_t time);

#endif
