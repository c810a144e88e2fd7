// The tensors of a checkpoint: names, shapes and types as the converter expects them.
#include "model/hf_weights.h"

#include "base/alloc.h"
#include "format/dense.h"

#include <stdio.h>

// Widths that shapes are made of.
typedef enum width { W_NONE, W_EMBD, W_HEADS, W_KV, W_FF } width;

typedef struct layer_tensor {
    const char *gguf, *hf, *hf_other; // hf_other: 1bitLLM's name of the same tensor, or NULL
    tn_hf_role role;
    width cols, rows;
    bool sub_norm; // BitNet's alone
    bool turned;   // q and k: RoPE looks at the order of their rows
} layer_tensor;

static const layer_tensor LAYER[] = {
    {"attn_norm", "input_layernorm", NULL, TN_HF_NORM, W_EMBD, W_NONE, false, false},
    {"ffn_norm", "post_attention_layernorm", NULL, TN_HF_NORM, W_EMBD, W_NONE, false, false},
    {"attn_sub_norm", "self_attn.attn_sub_norm", "self_attn.inner_attn_ln", TN_HF_NORM, W_HEADS, W_NONE, true, false},
    {"ffn_sub_norm", "mlp.ffn_sub_norm", "mlp.ffn_layernorm", TN_HF_NORM, W_FF, W_NONE, true, false},
    {"attn_q", "self_attn.q_proj", NULL, TN_HF_TERNARY, W_EMBD, W_HEADS, false, true},
    {"attn_k", "self_attn.k_proj", NULL, TN_HF_TERNARY, W_EMBD, W_KV, false, true},
    {"attn_v", "self_attn.v_proj", NULL, TN_HF_TERNARY, W_EMBD, W_KV, false, false},
    {"attn_output", "self_attn.o_proj", NULL, TN_HF_TERNARY, W_HEADS, W_EMBD, false, false},
    {"ffn_gate", "mlp.gate_proj", NULL, TN_HF_TERNARY, W_EMBD, W_FF, false, false},
    {"ffn_up", "mlp.up_proj", NULL, TN_HF_TERNARY, W_EMBD, W_FF, false, false},
    {"ffn_down", "mlp.down_proj", NULL, TN_HF_TERNARY, W_FF, W_EMBD, false, false},
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

// A shape as people read it.
static void print_shape(char out[96], uint32_t n_dims, const uint64_t *shape)
{
    size_t at = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < n_dims && at < 96; i++)
        at += (size_t)snprintf(out + at, 96 - at, "%s%llu", i ? ", " : "", (unsigned long long)shape[i]);
}

static tn_status check_shape(const tn_safetensor *source, uint32_t n_dims, const uint64_t *shape)
{
    bool fits = source->n_dims == n_dims;
    for (uint32_t i = 0; fits && i < n_dims; i++) fits = source->shape[i] == shape[i];
    if (fits) return TN_OK;
    char there[96], wanted[96];
    print_shape(there, source->n_dims, source->shape);
    print_shape(wanted, n_dims, shape);
    return tn_fail(TN_BAD_FILE, "tensor '%.200s' has shape [%s] where config.json makes it [%s]; get another copy of the checkpoint",
                   source->name, there, wanted);
}

// The number beside packed weights: "X.weight" has it as "X.weight_scale".
static tn_status find_scale(const lister *l, const char *hf, tn_hf_weight *w)
{
    if (l->config->scaling == TN_HF_SCALING_UNSAID) {
        return tn_fail(TN_UNSUPPORTED,
                       "tensor '%s' is packed, but config.json has no quantization_config: whether weight_scale multiplies or divides is "
                       "unknown; use the checkpoint with its own config.json",
                       hf);
    }
    char name[128];
    snprintf(name, sizeof(name), "%s_scale", hf);
    w->scale = tn_safetensors_find(l->st, name);
    if (!w->scale) return tn_fail(TN_BAD_FILE, "tensor '%s' is missing from the checkpoint; get another copy of it", name);
    if (w->scale->n_elements == 1 && w->scale->dtype != TN_DTYPE_OTHER) return TN_OK;
    return tn_fail(TN_UNSUPPORTED, "tensor '%s' is not a single number of type BF16, F16 or F32, and other scales are not converted", name);
}

// Packed rows: four of the matrix in the two-bit fields of one.
static tn_status check_packed(const lister *l, const char *hf, tn_hf_weight *w)
{
    if (w->ne[1] % 4 != 0) {
        return tn_fail(TN_BAD_FILE, "tensor '%s' is packed, but %llu rows do not fill bytes of four; get another copy of the checkpoint",
                       hf, (unsigned long long)w->ne[1]);
    }
    TN_TRY(check_shape(w->source, 2, (const uint64_t[]){w->ne[1] / 4, w->ne[0]}));
    return find_scale(l, hf, w);
}

// Adds `hf` (a whole name) as `gguf`; rows 0: a vector.
static tn_status add(lister *l, const char *hf, const char *gguf, tn_hf_role role, uint64_t cols, uint64_t rows)
{
    const tn_safetensor *source = tn_safetensors_find(l->st, hf);
    if (!source) return tn_fail(TN_BAD_FILE, "tensor '%s' is missing from the checkpoint; get another copy of it", hf);
    tn_hf_weight w = {.role = role, .n_dims = rows == 0 ? 1 : 2, .ne = {cols, rows == 0 ? 1 : rows}, .source = source};
    snprintf(w.name, sizeof(w.name), "%s", gguf);
    if (role == TN_HF_TERNARY && strcmp(source->dtype_name, "U8") == 0) {
        TN_TRY(check_packed(l, hf, &w));
    } else if (source->dtype == TN_DTYPE_OTHER) {
        return tn_fail(TN_UNSUPPORTED,
                       "tensor '%s' has type %s; weights of type BF16, F16 or F32, and packed U8 in linear layers, are converted", hf,
                       source->dtype_name);
    } else {
        TN_TRY(rows == 0 ? check_shape(source, 1, (const uint64_t[]){cols}) : check_shape(source, 2, (const uint64_t[]){rows, cols}));
    }
    l->weights[l->n++] = w;
    return TN_OK;
}

uint64_t tn_hf_file_row(const tn_hf_weight *weight, uint64_t row)
{
    if (weight->n_turned_heads == 0) return row;
    const uint64_t head_dim = weight->ne[1] / weight->n_turned_heads, half = head_dim / 2;
    const uint64_t head = row / head_dim, at = row % head_dim;
    return head * head_dim + 2 * (at % half) + at / half;
}

tn_status tn_hf_packed_scale(const tn_hf_weight *weight, tn_hf_scaling scaling, float *out_scale)
{
    float number = 0;
    tn_dense_to_f32(weight->scale->dtype, weight->scale->data, 1, &number);
    const float scale = scaling == TN_HF_SCALING_MULTIPLY ? number : 1.0f / number;
    if (!(number > 0) || !(scale > 0) || !(scale < 0x1p56f)) {
        return tn_fail(TN_BAD_FILE, "tensor '%.200s' is %g, which cannot be the scale of a matrix; get another copy of the checkpoint",
                       weight->scale->name, (double)number);
    }
    *out_scale = scale;
    return TN_OK;
}

tn_status tn_hf_unpack_row(const tn_hf_weight *weight, uint64_t row, int8_t *codes)
{
    const uint64_t n_cols = weight->ne[0], quarter = weight->ne[1] / 4;
    const uint8_t *bytes = weight->source->data + row * n_cols;
    for (unsigned field = 0; field < 4; field++) {
        const uint64_t matrix_row = field * quarter + row;
        int8_t *to = codes + tn_hf_file_row(weight, matrix_row) * n_cols;
        for (uint64_t i = 0; i < n_cols; i++) {
            const int code = bytes[i] >> (2 * field) & 3;
            if (code == 3) {
                return tn_fail(TN_BAD_FILE,
                               "tensor '%.200s': row %llu column %llu has code 3, which no ternary weight has; get another copy of "
                               "the checkpoint",
                               weight->source->name, (unsigned long long)matrix_row, (unsigned long long)i);
            }
            to[i] = (int8_t)(code - 1);
        }
    }
    return TN_OK;
}

static tn_status add_layer(lister *l, uint32_t layer)
{
    for (size_t i = 0; i < N_LAYER; i++) {
        const layer_tensor *t = &LAYER[i];
        const bool llama = l->config->family == TN_HF_LLAMA;
        if (t->sub_norm && llama) continue;
        char hf[96], gguf[64];
        snprintf(hf, sizeof(hf), "model.layers.%u.%s.weight", (unsigned)layer, t->hf);
        if (t->hf_other && !tn_safetensors_find(l->st, hf)) {
            char other[96];
            snprintf(other, sizeof(other), "model.layers.%u.%s.weight", (unsigned)layer, t->hf_other);
            if (tn_safetensors_find(l->st, other)) memcpy(hf, other, sizeof(hf));
        }
        snprintf(gguf, sizeof(gguf), "blk.%u.%s.weight", (unsigned)layer, t->gguf);
        TN_TRY(add(l, hf, gguf, t->role, size_of(l->config, t->cols), size_of(l->config, t->rows)));
        if (t->turned && llama) l->weights[l->n - 1].n_turned_heads = t->rows == W_HEADS ? l->config->n_heads : l->config->n_kv_heads;
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
        for (size_t k = 0; !used && k < l->n; k++) used = l->weights[k].source == t || l->weights[k].scale == t;
        if (used) continue;
        return tn_fail(TN_UNSUPPORTED, "tensor '%.200s' is not part of a %s as this version converts it (biases and extra layers are not)",
                       t->name, l->config->family == TN_HF_LLAMA ? "Llama" : "BitNet b1.58");
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
