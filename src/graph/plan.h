// A plan: the graph cut into segments, each a run of nodes on one device; a hop carries the one live value between neighbours.
#ifndef TN_GRAPH_PLAN_H
#define TN_GRAPH_PLAN_H

#include "graph/op.h"

typedef struct tn_segment {
    uint32_t device; // index of the host's device
    uint32_t first_node, n_nodes;
    int32_t first_layer; // of the transformer layers inside; their KV cache belongs to the segment
    uint32_t n_layers;
    uint32_t in_value, out_value; // f32; TN_NONE: the step's tokens; the last segment's out is the logits
} tn_segment;

typedef struct tn_plan {
    uint32_t n_segments;
    tn_segment *segments;
} tn_plan;

// Cuts `graph` by unit: devices[0] runs the embedding, devices[1 + i] layer i, devices[1 + n_layers] the head. Neighbouring units on one
// device become one segment.  Errors: OUT_OF_MEMORY, INTERNAL (more than one value is live at a cut).
tn_status tn_plan_create(const tn_graph *graph, const uint32_t *devices, tn_plan **out_plan);
void tn_plan_destroy(tn_plan *plan);

#endif
