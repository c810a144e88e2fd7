// The tensors of a BitNet checkpoint: names, shapes and types as the converter expects them.
#include "model/hf_weights.h"

#include "base/alloc.h"

#include <stdio.h>

// Widths that shapes are made of.
typedef enum width { W_NONE, W_EMBD, W_HEADS, W_KV, W_FF } width;

typedef struct layer_tensor {
    const char *gguf, *hf, *hf_other; // hf_other: 1bitLLM's name of the same tensor, or NULL
    tn_hf_role role;
    width cols, rows;
} layer_tensor;

static const layer_tensor LAYER[] = {
    {"attn_norm", "input_layernorm", NULL, TN_HF_NORM, W_EMBD, W_NONE},
    {"ffn_norm", "post_attention_layernorm", NULL, TN_HF_NORM, W_EMBD, W_NONE},
    {"attn_sub_norm", "self_attn.attn_sub_norm", "self_attn.inner_attn_ln", TN_HF_NORM, W_HEADS, W_NONE},
    {"ffn_sub_norm", "mlp.ffn_sub_norm", "mlp.ffn_layernorm", TN_HF_NORM, W_FF, W_NONE},
    {"attn_q", "self_attn.q_proj", NULL, TN_HF_TERNARY, W_EMBD, W_HEADS},
    {"attn_k", "self_attn.k_proj", NULL, TN_HF_TERNARY, W_EMBD, W_KV},
    {"attn_v", "self_attn.v_proj", NULL, TN_HF_TERNARY, W_EMBD, W_KV},
    {"attn_output", "self_attn.o_proj", NULL, TN_HF_TERNARY, W_HEADS, W_EMBD},
    {"ffn_gate", "mlp.gate_proj", NULL, TN_HF_TERNARY, W_EMBD, W_FF},
    {"ffn_up", "mlp.up_proj", NULL, TN_HF_TERNARY, W_EMBD, W_FF},
    {"ffn_down", "mlp.down_proj", NULL, TN_HF_TERNARY, W_FF, W_EMBD},
};
enum { N_LAYER = sizeof(LAYER) / sizeof(LAYER[0]) };

typedef struct lister {
    const tn_safetensors *st;
    const tn_hf_config *config;
    tn_hf_weight *weights;
    size_t n;
} lister;

static uint64_t size_of(const tn_hf_config *c, width w)
{
    switch (w) {
    case W_EMBD: return c->n_embd;
    case W_HEADS: return (uint64_t)c->n_heads * c->head_dim;
    case W_KV: return (uint64_t)c->n_kv_heads * c->head_dim;
    case W_FF: return c->n_ff;
    default: return 0;
    }
}

static tn_status fail_packed(const char *name)
{
    return tn_fail(
        TN_UNSUPPORTED,
        "tensor '%.200s' belongs to packed U8 weights, which a later version will convert; use the checkpoint with bf16 master weights",
        name);
}

// Adds `hf` (a whole name) as `gguf`; rows 0: a vector.
static tn_status add(lister *l, const char *hf, const char *gguf, tn_hf_role role, uint64_t cols, uint64_t rows)
{
    const tn_safetensor *source = tn_safetensors_find(l->st, hf);
    if (!source) return tn_fail(TN_BAD_FILE, "tensor '%s' is missing from the checkpoint; get another copy of it", hf);
    if (strcmp(source->dtype_name, "U8") == 0) return fail_packed(hf);
    if (source->dtype == TN_DTYPE_OTHER) {
        return tn_fail(TN_UNSUPPORTED, "tensor '%s' has type %s; master weights of type BF16, F16 or F32 are converted", hf,
                       source->dtype_name);
    }
    const bool fits = rows == 0 ? source->n_dims == 1 && source->shape[0] == cols
                                : source->n_dims == 2 && source->shape[0] == rows && source->shape[1] == cols;
    if (!fits) {
        char shape[96] = "";
        size_t at = 0;
        for (uint32_t i = 0; i < source->n_dims; i++) {
            at += (size_t)snprintf(shape + at, sizeof(shape) - at, "%s%llu", i ? ", " : "", (unsigned long long)source->shape[i]);
        }
        char wanted[48];
        if (rows == 0) {
            snprintf(wanted, sizeof(wanted), "%llu", (unsigned long long)cols);
        } else {
            snprintf(wanted, sizeof(wanted), "%llu, %llu", (unsigned long long)rows, (unsigned long long)cols);
        }
        return tn_fail(TN_BAD_FILE, "tensor '%s' has shape [%s] where config.json makes it [%s]; get another copy of the checkpoint", hf,
                       shape, wanted);
    }
    tn_hf_weight *w = &l->weights[l->n++];
    memset(w, 0, sizeof(*w));
    snprintf(w->name, sizeof(w->name), "%s", gguf);
    w->role = role;
    w->n_dims = rows == 0 ? 1 : 2;
    w->ne[0] = cols;
    w->ne[1] = rows == 0 ? 1 : rows;
    w->source = source;
    return TN_OK;
}

static tn_status add_layer(lister *l, uint32_t layer)
{
    for (size_t i = 0; i < N_LAYER; i++) {
        const layer_tensor *t = &LAYER[i];
        char hf[96], gguf[64];
        snprintf(hf, sizeof(hf), "model.layers.%u.%s.weight", (unsigned)layer, t->hf);
        if (t->hf_other && !tn_safetensors_find(l->st, hf)) {
            char other[96];
            snprintf(other, sizeof(other), "model.layers.%u.%s.weight", (unsigned)layer, t->hf_other);
            if (tn_safetensors_find(l->st, other)) memcpy(hf, other, sizeof(hf));
        }
        snprintf(gguf, sizeof(gguf), "blk.%u.%s.weight", (unsigned)layer, t->gguf);
        TN_TRY(add(l, hf, gguf, t->role, size_of(l->config, t->cols), size_of(l->config, t->rows)));
    }
    return TN_OK;
}

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

// What the converter does not understand would be missing from its result: say so rather than drop it.
static tn_status check_rest(const lister *l, bool tied)
{
    for (size_t i = 0; i < tn_safetensors_count(l->st); i++) {
        const tn_safetensor *t = tn_safetensors_at(l->st, i);
        bool used = (tied && strcmp(t->name, "lm_head.weight") == 0) || ends_with(t->name, ".rotary_emb.inv_freq");
        for (size_t k = 0; !used && k < l->n; k++) used = l->weights[k].source == t;
        if (used) continue;
        if (ends_with(t->name, ".weight_scale")) return fail_packed(t->name);
        return tn_fail(TN_UNSUPPORTED,
                       "tensor '%.200s' is not part of a BitNet b1.58 as this version converts it (biases and extra layers are not)",
                       t->name);
    }
    return TN_OK;
}

static tn_status list_all(lister *l)
{
    const tn_hf_config *c = l->config;
    // Where config.json does not say, a head in the checkpoint is there to be used.
    const bool tied = c->tie == TN_HF_TIED || (c->tie == TN_HF_TIE_UNSAID && !tn_safetensors_find(l->st, "lm_head.weight"));
    TN_TRY(add(l, "model.embed_tokens.weight", "token_embd.weight", TN_HF_DENSE, c->n_embd, c->n_vocab));
    for (uint32_t i = 0; i < c->n_layers; i++) TN_TRY(add_layer(l, i));
    TN_TRY(add(l, "model.norm.weight", "output_norm.weight", TN_HF_NORM, c->n_embd, 0));
    if (!tied) TN_TRY(add(l, "lm_head.weight", "output.weight", TN_HF_DENSE, c->n_embd, c->n_vocab));
    return check_rest(l, tied);
}

tn_status tn_hf_weights_list(const tn_safetensors *st, const tn_hf_config *config, tn_hf_weight **out_weights, size_t *out_n)
{
    *out_weights = NULL;
    *out_n = 0;
    lister l = {.st = st, .config = config};
    TN_TRY(tn_alloc((size_t)config->n_layers * N_LAYER + 3, sizeof(*l.weights), &l.weights));
    const tn_status status = list_all(&l);
    if (status != TN_OK) {
        tn_free(l.weights);
        return status;
    }
    *out_weights = l.weights;
    *out_n = l.n;
    return TN_OK;
}
