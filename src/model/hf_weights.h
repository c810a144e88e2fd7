// Which tensor of a checkpoint becomes which tensor of the GGUF file, in the file's order.
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
    const tn_safetensor *scale;  // weight_scale beside packed weights; NULL: `source` holds master weights. Borrowed
    uint32_t n_turned_heads;     // heads whose rows go to GGUF's order of architecture llama (q and k); 0: rows stay where they are
} tn_hf_weight;

// The row of the file that row `row` of the checkpoint's matrix becomes. Inside a head the rows (half c, pair i) go to 2i + c, so that the
// elements that RoPE turns together are neighbours.
uint64_t tn_hf_file_row(const tn_hf_weight *weight, uint64_t row);
// The scale of packed weights: weight_scale, or RN(1 / weight_scale), as `scaling` says (docs/design/0001-numerics.md, section 3).
// Errors: BAD_FILE where it is not a positive number.
tn_status tn_hf_packed_scale(const tn_hf_weight *weight, tn_hf_scaling scaling, float *out_scale);
// Unpacks row `row` of the packed form, [ne[1]/4][ne[0]]: four rows of the matrix, each put into its place of codes [ne[1]][ne[0]].
// Errors: BAD_FILE for a code 3, with its place.
tn_status tn_hf_unpack_row(const tn_hf_weight *weight, uint64_t row, int8_t *codes);

// Lists the weights and checks that each is there with its shape and a float type, or packed with its scale, and that the checkpoint has no
// others. Returns owned (tn_free).  Errors: BAD_FILE (missing, wrong shape), UNSUPPORTED (packed weights without quantization_config,
// biases and other tensors, by name), OUT_OF_MEMORY.
tn_status tn_hf_weights_list(const tn_safetensors *st, const tn_hf_config *config, tn_hf_weight **out_weights, size_t *out_n);

#endif
