// What the files that emit launches share: values, nodes and weights as kernels' structs name them.
#ifndef TN_CUDA_CUDA_EMIT_H
#define TN_CUDA_CUDA_EMIT_H

#include "cuda/cuda_compile.h"
#include "cuda/cuda_cut.h"

static inline const tn_node *tn_cuda_node_of(const tn_cuda_compiler *c, uint32_t index)
{
    return index == TN_NONE ? NULL : &c->graph->nodes[index];
}
static inline tn_rows tn_cuda_rows_of(const tn_cuda_compiler *c, uint32_t value) { return c->graph->values[value].rows; }
static inline uint32_t tn_cuda_rows_max_of(const tn_cuda_compiler *c, uint32_t value)
{
    return tn_cuda_rows_max(c->list, tn_cuda_rows_of(c, value));
}

static inline struct tn_cuda_poison tn_cuda_poison_of(const tn_cuda_compiler *c, uint32_t value)
{
    return (struct tn_cuda_poison){.of_tokens = c->places->poison, .is_logits = tn_cuda_rows_of(c, value) == TN_ROWS_LOGITS};
}
// Nodes are numbered from 1 in the poison.
static inline uint32_t tn_cuda_number_of(uint32_t node) { return node == TN_NONE ? 0 : node + 1; }

static inline tn_cuda_launch tn_cuda_launch_of(tn_cuda_kernel kernel, uint32_t x, uint32_t y, uint32_t z, uint32_t node)
{
    return (tn_cuda_launch){.kernel = kernel, .grid = {x, y, z}, .nodes = {node, TN_NONE, TN_NONE}, .parts = {1}};
}

// Words that kernels find at 0 and leave at 0, so that all of them share the same.
static inline void tn_cuda_need_counters(tn_cuda_compiler *c, uint64_t n)
{
    if (c->list->n_counters < n) c->list->n_counters = n;
}

typedef struct tn_cuda_weight {
    uint64_t at;
    tn_cuda_weight_shape shape;
} tn_cuda_weight;

tn_status tn_cuda_find_weight(const tn_cuda_compiler *c, uint32_t index, tn_cuda_weight *out);

// For whoever stores a value of one row: where its largest |x * gain| is left, if a kernel behind makes codes of it.
tn_status tn_cuda_largest_of(tn_cuda_compiler *c, uint32_t value, struct tn_cuda_largest *out);

tn_status tn_cuda_emit_rope(tn_cuda_compiler *c, const tn_group *group);
tn_status tn_cuda_emit_attention(tn_cuda_compiler *c, const tn_group *group, uint32_t time);
// Bytes that blocks of a node of attention leave for one another.
uint64_t tn_cuda_attention_scratch(const tn_cuda_compiler *c, const tn_node *node);

#endif
