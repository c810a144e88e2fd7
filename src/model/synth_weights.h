// Random weights in their file form, at the speed of memory.
#ifndef TN_MODEL_SYNTH_WEIGHTS_H
#define TN_MODEL_SYNTH_WEIGHTS_H

#include "model/synth_shape.h"

// A set of packed rows that all tensors of one kind are put together from. Opaque to others.
typedef struct tn_synth_pool {
    tn_synth_role role;
    tn_dtype dtype;
    uint32_t n_cols;
    size_t n_together, n_units; // rows of a unit; units in the pool
    size_t unit_bytes, grain_bytes, tail_bytes;
    uint8_t *units; // [n_units][unit_bytes], then the tail; owned
} tn_synth_pool;

#define TN_SYNTH_POOLS_MAX 16

// One thread at a time. Zero-initialise, then set the first two.
typedef struct tn_synth_weights {
    const tn_synth_shape *shape;
    uint64_t seed;
    tn_synth_pool pools[TN_SYNTH_POOLS_MAX];
    size_t n_pools;
} tn_synth_weights;

// The tensor being read: bytes come in order, in pieces of any size.
typedef struct tn_synth_source {
    const tn_synth_pool *pool;
    uint64_t key;         // of this tensor's random numbers
    uint64_t unit, units; // next one, and how many there are
    bool tail_done;
} tn_synth_source;

// Prepares tensor `index`.  Errors: OUT_OF_MEMORY, and those of the packing.
tn_status tn_synth_weights_open(tn_synth_weights *weights, const tn_synth_tensor *tensor, uint32_t index, tn_synth_source *out_source);
// Writes the next bytes into `out`, whole units only, and returns how many; 0: the tensor is complete. `capacity` must hold a unit
// (tn_synth_unit_bytes).
size_t tn_synth_source_read(tn_synth_source *source, uint8_t *out, size_t capacity);
// Room for one unit with the tail of the tensor.
size_t tn_synth_unit_bytes(const tn_synth_source *source);
void tn_synth_weights_deinit(tn_synth_weights *weights);

#endif
