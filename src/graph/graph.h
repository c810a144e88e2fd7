// Builds graphs and checks their shapes. An architecture is a short file of calls to these.
#ifndef TN_GRAPH_GRAPH_H
#define TN_GRAPH_GRAPH_H

#include "graph/op.h"

tn_status tn_graph_create(tn_graph **out_graph);
void tn_graph_destroy(tn_graph *graph);

// Adds things and returns their index in `*out`.  Errors: OUT_OF_MEMORY.
tn_status tn_graph_add_weight(tn_graph *graph, const tn_weight_source *source, uint32_t *out);
// Adds `node` and its output value of the given type and width (rows: as the first input's; COPY makes LOGITS rows).
// node->out is set by the call; `out_value` may be NULL for KV_APPEND.
tn_status tn_graph_add_node(tn_graph *graph, const tn_node *node, tn_value_type type, uint32_t width, uint32_t *out_value);
// Checks everything that programs rely on: indexes, order of nodes and layers, shapes, K limits (127*K < 2^24), head_dim even.
// Errors: INVALID_ARGUMENT, with the node's name.
tn_status tn_graph_check(const tn_graph *graph);

#endif
