// What the files that emit dispatches share: how shaders are cut to a device, and what is bound.
#ifndef TN_VULKAN_VK_EMIT_H
#define TN_VULKAN_VK_EMIT_H

#include "vulkan/vk_compile.h"

enum {
    LANE_INVOCATIONS = 64, // of shaders in which a lane computes a whole row
    COLS_FEW = 4,
    COLS_MANY = 8,
};

static inline bool tn_vk_by_texels(const tn_vk_compiler *c) { return c->device->traits.use_texels; }

// A workgroup is then made of whole subgroups.
static inline bool tn_vk_by_shuffle(const tn_vk_compiler *c) { return c->device->traits.use_shuffle; }

static inline uint32_t tn_vk_at_most(uint32_t a, uint32_t b) { return a < b ? a : b; }
static inline uint32_t tn_vk_row_invocations(const tn_vk_compiler *c) { return tn_vk_at_most(tn_vk_invocations(c), LANE_INVOCATIONS); }

static inline uint32_t tn_vk_cols_of(const tn_vk_compiler *c)
{
    const uint32_t n = c->list->n_tokens_max;
    return n == 1 ? 1 : n <= COLS_MANY || tn_vk_by_texels(c) ? COLS_FEW : COLS_MANY;
}

static inline const tn_node *tn_vk_node_of(const tn_vk_compiler *c, uint32_t index)
{
    return index == TN_NONE ? NULL : &c->graph->nodes[index];
}
static inline tn_rows tn_vk_rows_of(const tn_vk_compiler *c, uint32_t value) { return c->graph->values[value].rows; }
// Nodes are numbered from 1 in the poison.
static inline uint32_t tn_vk_poison_of(uint32_t node) { return node == TN_NONE ? 0 : node + 1; }

static inline tn_vk_grid tn_vk_grid_of(tn_vk_axis x, tn_vk_axis y, tn_vk_axis z) { return (tn_vk_grid){{x, y, z}}; }

// Products of `n_rows` outputs over every row of an input.
static inline uint64_t tn_vk_work_of(const tn_vk_compiler *c, uint32_t input, uint32_t n_rows)
{
    return (uint64_t)n_rows * c->graph->values[input].width * tn_vk_rows_max(c->list, tn_vk_rows_of(c, input));
}

// Binds what the op stores: the arena, or the caller's output.
tn_status tn_vk_bind_out(const tn_vk_compiler *c, uint32_t value, tn_vk_dispatch *d);

typedef struct tn_vk_weight {
    const tn_weight_source *source;
    const tn_packed_weight *packed;
    tn_vk_weight_shape shape;
} tn_vk_weight;

tn_status tn_vk_find_weight(const tn_vk_compiler *c, uint32_t index, tn_vk_weight *out);
// Binds `n_bytes` from byte `begin` of the weight on.
tn_status tn_vk_bind_weight(const tn_vk_compiler *c, const tn_vk_weight *w, uint64_t begin, uint64_t n_bytes, tn_vk_range *out);
// The same as texels, of which there are whole ones only.
void tn_vk_bind_texels(tn_vk_dispatch *d);
// Rows that one binding holds, in whole row groups.
tn_status tn_vk_rows_bound(const tn_vk_compiler *c, const tn_vk_weight_shape *shape, uint32_t *out_rows);
// Of a norm or quantisation: its numbers, and its gains where it has some.
tn_status tn_vk_fill_row_params(const tn_vk_compiler *c, uint32_t index, struct tn_vk_row_params *out, uint32_t *out_op,
                                tn_vk_range *gains);

tn_status tn_vk_emit_ternary(tn_vk_compiler *c, const tn_group *group);

#endif
