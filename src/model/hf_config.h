// config.json of a Hugging Face checkpoint with ternary weights: what the converter needs of it, everything else refused by name.
#ifndef TN_MODEL_HF_CONFIG_H
#define TN_MODEL_HF_CONFIG_H

#include "base/status.h"

typedef enum tn_hf_act { TN_HF_RELU2, TN_HF_SILU } tn_hf_act;
typedef enum tn_hf_tie { TN_HF_TIE_UNSAID, TN_HF_TIED, TN_HF_UNTIED } tn_hf_tie;

typedef enum tn_hf_family { TN_HF_BITNET, TN_HF_LLAMA } tn_hf_family;
// What quantization_config says of packed weights: how the number beside a matrix becomes its scale.
typedef enum tn_hf_scaling {
    TN_HF_SCALING_UNSAID,   // no quantization_config: packed weights have no meaning
    TN_HF_SCALING_DIVIDE,   // linear_class "bitlinear", and where it is absent: the scale is 1 / weight_scale
    TN_HF_SCALING_MULTIPLY, // "autobitlinear": the scale is weight_scale
} tn_hf_scaling;
typedef enum tn_hf_rope { TN_HF_ROPE_PLAIN, TN_HF_ROPE_LINEAR, TN_HF_ROPE_LLAMA3 } tn_hf_rope;

// factor: LINEAR and LLAMA3; the rest: LLAMA3.
typedef struct tn_hf_rope_scaling {
    tn_hf_rope kind;
    float factor, low, high, old_context;
} tn_hf_rope_scaling;

#define TN_HF_ID_NONE (-1)

typedef struct tn_hf_config {
    tn_hf_family family;
    tn_hf_scaling scaling;
    tn_hf_rope_scaling rope;
    uint32_t n_layers, n_embd, n_ff, n_heads, n_kv_heads, head_dim, n_vocab, n_context;
    float eps, theta;
    tn_hf_act act;
    tn_hf_tie tie; // of the output head to the embedding
    int32_t bos, eos, pad;
    char name[128]; // for people: the model's own name, or the folder's
} tn_hf_config;

// Reads `dir`/config.json.  Errors: NOT_FOUND, IO, BAD_FILE (missing or impossible values), UNSUPPORTED (another architecture, RoPE of
// other kinds, norms inside linear layers, biases, ...; the message names what and why).
tn_status tn_hf_config_read(const char *dir, tn_hf_config *out);

#endif
