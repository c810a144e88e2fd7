// config.json of a Hugging Face BitNet checkpoint: what the converter needs of it, everything else refused by name.
#ifndef TN_MODEL_HF_CONFIG_H
#define TN_MODEL_HF_CONFIG_H

#include "base/status.h"

typedef enum tn_hf_act { TN_HF_RELU2, TN_HF_SILU } tn_hf_act;
typedef enum tn_hf_tie { TN_HF_TIE_UNSAID, TN_HF_TIED, TN_HF_UNTIED } tn_hf_tie;

#define TN_HF_ID_NONE (-1)

typedef struct tn_hf_config {
    uint32_t n_layers, n_embd, n_ff, n_heads, n_kv_heads, head_dim, n_vocab, n_context;
    float eps, theta;
    tn_hf_act act;
    tn_hf_tie tie; // of the output head to the embedding
    int32_t bos, eos;
    char name[128]; // for people: the model's own name, or the folder's
} tn_hf_config;

// Reads `dir`/config.json.  Errors: NOT_FOUND, IO, BAD_FILE (missing or impossible values), UNSUPPORTED (another architecture, scaled RoPE,
// norms inside linear layers, biases, ...; the message names what and why).
tn_status tn_hf_config_read(const char *dir, tn_hf_config *out);

#endif
