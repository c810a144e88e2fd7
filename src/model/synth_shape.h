// The sizes of a synthetic model: named shapes, overrides, and the tensors that follow from them.
#ifndef TN_MODEL_SYNTH_SHAPE_H
#define TN_MODEL_SYNTH_SHAPE_H

#include "format/dtype.h"
#include "ternion/synth.h"

// Whose special tokens the made-up vocabulary has, at the ids that the real one gives them.
typedef enum tn_synth_family { TN_SYNTH_PLAIN, TN_SYNTH_LLAMA2, TN_SYNTH_LLAMA3, TN_SYNTH_FALCON3 } tn_synth_family;

typedef struct tn_synth_shape {
    const char *name, *arch;
    uint32_t n_layers, n_embd, n_ff, n_heads, n_kv_heads, head_dim, n_vocab, n_ctx;
    float rope_theta, norm_eps;
    bool tied;
    tn_synth_family family;
    bool sub_norms; // norms before the output and down projections
    bool relu2;     // squared ReLU gates; else SiLU
    tn_dtype type, embd;
} tn_synth_shape;

// What a tensor is in the flow of activations; its scale or magnitude follows from that.
typedef enum tn_synth_role {
    TN_SYNTH_EMBEDDING,
    TN_SYNTH_OWN_HEAD,
    TN_SYNTH_GAINS,      // of the norms inside layers
    TN_SYNTH_HEAD_GAINS, // of the last norm
    TN_SYNTH_QUERY_KEY,
    TN_SYNTH_INNER, // values, gate and up
    TN_SYNTH_ATTENTION_OUT,
    TN_SYNTH_DOWN,
} tn_synth_role;

typedef struct tn_synth_tensor {
    char name[64];
    tn_synth_role role;
    tn_dtype dtype;
    uint32_t n_rows, n_cols; // n_rows 1: a vector
} tn_synth_tensor;

// The shape that `params` ask for, with every size and type checked.  Errors: INVALID_ARGUMENT, UNSUPPORTED.
tn_status tn_synth_shape_resolve(const tn_synth_params *params, tn_synth_shape *out_shape);
uint32_t tn_synth_n_tensors(const tn_synth_shape *shape);
// Tensor `index` in the order of the file.
tn_synth_tensor tn_synth_tensor_at(const tn_synth_shape *shape, uint32_t index);

#endif
