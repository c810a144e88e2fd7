// Models that a device is measured with: layers of a family's form, weights random.
#ifndef TN_RUNTIME_CALIBRATE_NET_H
#define TN_RUNTIME_CALIBRATE_NET_H

#include "graph/graph.h"

typedef struct tn_calibration_shape {
    uint32_t n_layers, n_embd, n_ff, n_heads, n_kv_heads, head_dim;
    uint32_t n_vocab; // rows of the embedding, which is the head too
    tn_dtype dense;   // its type
} tn_calibration_shape;

// Positions of a sequence at most.
#define TN_CALIBRATION_POSITIONS 2048u

typedef struct tn_calibration_net tn_calibration_net;

// Returns owned.  Errors: OUT_OF_MEMORY, INVALID_ARGUMENT (a shape that no graph has).
tn_status tn_calibration_net_create(const tn_calibration_shape *shape, tn_calibration_net **out_net);
void tn_calibration_net_destroy(tn_calibration_net *net); // NULL is fine
const tn_graph *tn_calibration_net_graph(const tn_calibration_net *net);

// So many layers of the shape, or rows of its head, that a step finds none of their weights in a cache of `cache_bytes` (0: not known),
// within a quarter of `memory_bytes`.
uint32_t tn_calibration_far_layers(const tn_calibration_shape *shape, uint64_t cache_bytes, uint64_t memory_bytes);
uint32_t tn_calibration_far_rows(const tn_calibration_shape *shape, uint64_t cache_bytes, uint64_t memory_bytes);

#endif
