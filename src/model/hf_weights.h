// Which tensor of a BitNet checkpoint becomes which tensor of the GGUF file, in the file's order.
#ifndef TN_MODEL_HF_WEIGHTS_H
#define TN_MODEL_HF_WEIGHTS_H

#include "format/safetensors.h"
#include "model/hf_config.h"

typedef enum tn_hf_role {
    TN_HF_NORM,    // written as F32
    TN_HF_DENSE,   // embedding and head: in the type that the caller chose
    TN_HF_TERNARY, // a linear layer
} tn_hf_role;

typedef struct tn_hf_weight {
    char name[64]; // "blk.0.attn_q.weight"
    tn_hf_role role;
    uint32_t n_dims;
    uint64_t ne[2];              // innermost first
    const tn_safetensor *source; // borrowed
} tn_hf_weight;

// Lists the weights and checks that each is there with its shape and a float type, and that the checkpoint has no others. Returns owned
// (tn_free).  Errors: BAD_FILE (missing, wrong shape), UNSUPPORTED (packed weights, biases and other tensors, by name), OUT_OF_MEMORY.
tn_status tn_hf_weights_list(const tn_safetensors *st, const tn_hf_config *config, tn_hf_weight **out_weights, size_t *out_n);

#endif
