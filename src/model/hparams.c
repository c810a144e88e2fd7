// Hyperparameters from a GGUF file's keys, each checked before anything is built on it.
#include "model/loader.h"

#include <stdio.h>

static const uint32_t n_layers_limit = 1024;
static const uint32_t dimension_limit = 1u << 24;

// `key` without the architecture before it.
static tn_status bad_value(const tn_loader *loader, const char *key, const char *why)
{
    return tn_fail(TN_BAD_FILE, "%s: key '%s.%s' %s: the file is damaged or was written by a faulty converter", tn_gguf_path(loader->gguf),
                   loader->arch, key, why);
}

static void full_key(const tn_loader *loader, const char *key, char out[128]) { snprintf(out, 128, "%s.%s", loader->arch, key); }

static tn_status get_u32(const tn_loader *loader, const char *key, uint32_t min, uint32_t max, uint32_t *out)
{
    char name[128];
    full_key(loader, key, name);
    tn_status status = tn_gguf_get_u32(loader->gguf, name, out);
    if (status == TN_NOT_FOUND) return bad_value(loader, key, "is missing");
    TN_TRY(status);
    if (*out < min || *out > max) return bad_value(loader, key, "is out of range");
    return TN_OK;
}

// As get_u32, `fallback` where the key is absent.
static tn_status get_u32_or(const tn_loader *loader, const char *key, uint32_t min, uint32_t max, uint32_t fallback, uint32_t *out)
{
    char name[128];
    full_key(loader, key, name);
    *out = fallback;
    return tn_gguf_find(loader->gguf, name) ? get_u32(loader, key, min, max, out) : TN_OK;
}

static tn_status get_f32_or(const tn_loader *loader, const char *key, float fallback, float *out)
{
    char name[128];
    full_key(loader, key, name);
    tn_status status = tn_gguf_get_f32(loader->gguf, name, out);
    if (status != TN_NOT_FOUND) return status;
    *out = fallback;
    return TN_OK;
}

// Head counts may be one number or one for each layer; layers that differ are another architecture.
static tn_status get_heads(const tn_loader *loader, const char *key, uint32_t fallback, uint32_t *out)
{
    char name[128];
    full_key(loader, key, name);
    const tn_gguf_kv *kv = tn_gguf_find(loader->gguf, name);
    if (!kv || kv->type != TN_GGUF_ARRAY) {
        return fallback ? get_u32_or(loader, key, 1, dimension_limit, fallback, out) : get_u32(loader, key, 1, dimension_limit, out);
    }
    const tn_gguf_array *array = &kv->value.array;
    if ((array->type != TN_GGUF_U32 && array->type != TN_GGUF_I32) || array->n == 0)
        return bad_value(loader, key, "is not an array of 32-bit integers");
    uint32_t first;
    memcpy(&first, array->data, sizeof first);
    for (uint64_t i = 1; i < array->n; i++) {
        if (memcmp(array->data + i * sizeof first, &first, sizeof first) != 0)
            return tn_fail(TN_UNSUPPORTED, "%s: '%s' differs between layers, which this version does not run", tn_gguf_path(loader->gguf),
                           name);
    }
    if (first < 1 || first > dimension_limit) return bad_value(loader, key, "is out of range");
    *out = first;
    return TN_OK;
}

static tn_status read_activation(tn_loader *loader, const tn_arch *arch)
{
    char name[128];
    full_key(loader, "hidden_activation", name);
    tn_str value;
    tn_status status = tn_gguf_get_str(loader->gguf, name, &value);
    loader->hparams.glu = arch->default_glu;
    if (status == TN_NOT_FOUND) return TN_OK;
    TN_TRY(status);
    if (tn_str_is(value, "relu2") || tn_str_is(value, "relu_sqr")) {
        loader->hparams.glu = TN_GLU_RELU2;
    } else if (tn_str_is(value, "silu")) {
        loader->hparams.glu = TN_GLU_SILU;
    } else {
        return tn_fail(TN_UNSUPPORTED, "%s: activation '%.*s' is not supported; relu2 and silu are", tn_gguf_path(loader->gguf),
                       TN_STR_ARGS(value));
    }
    return TN_OK;
}

// Linear scaling, which is also meant by a factor without a type.
static tn_status read_rope_scaling(tn_loader *loader)
{
    char name[128];
    tn_str type = {"linear", 6};
    float factor, other;
    full_key(loader, "rope.scaling.type", name);
    loader->hparams.rope_scale = 1.0;
    if (tn_gguf_find(loader->gguf, name)) TN_TRY(tn_gguf_get_str(loader->gguf, name, &type));
    if (tn_str_is(type, "none")) return TN_OK;
    if (!tn_str_is(type, "linear"))
        return tn_fail(TN_UNSUPPORTED, "%s: RoPE scaling '%.*s' is not supported; none and linear are", tn_gguf_path(loader->gguf),
                       TN_STR_ARGS(type));
    TN_TRY(get_f32_or(loader, "rope.scale_linear", 1.0f, &factor)); // the key's first name
    TN_TRY(get_f32_or(loader, "rope.scaling.factor", factor, &factor));
    if (factor == 0.0f) factor = 1.0f; // "not scaled" in some files
    if (!(factor >= 1e-3f && factor <= 1e6f)) return bad_value(loader, "rope.scaling.factor", "is out of range");
    TN_TRY(get_f32_or(loader, "rope.scaling.attn_factor", 1.0f, &other));
    if (other != 1.0f)
        return tn_fail(TN_UNSUPPORTED, "%s: '%s.rope.scaling.attn_factor' is %g, which this version does not run",
                       tn_gguf_path(loader->gguf), loader->arch, (double)other);
    loader->hparams.rope_scale = (double)factor;
    return TN_OK;
}

static tn_status read_rope(tn_loader *loader)
{
    tn_hparams *h = &loader->hparams;
    uint32_t n_rot;
    TN_TRY(get_u32_or(loader, "rope.dimension_count", 1, dimension_limit, h->head_dim, &n_rot));
    if (n_rot != h->head_dim)
        return tn_fail(TN_UNSUPPORTED, "%s: RoPE over %u of %u head dimensions is not supported; only whole heads are",
                       tn_gguf_path(loader->gguf), (unsigned)n_rot, (unsigned)h->head_dim);
    TN_TRY(get_f32_or(loader, "rope.freq_base", 10000.0f, &h->rope_theta));
    if (!(h->rope_theta >= 1.0f && h->rope_theta < 1e30f)) return bad_value(loader, "rope.freq_base", "is out of range");

    return read_rope_scaling(loader);
}

static tn_status read_vocabulary(tn_loader *loader)
{
    const tn_gguf_tensor *embd = tn_gguf_find_tensor(loader->gguf, "token_embd.weight");
    if (!embd || embd->n_dims != 2)
        return tn_fail(TN_BAD_FILE, "%s: there is no two-dimensional tensor 'token_embd.weight': a vocabulary-only or damaged file",
                       tn_gguf_path(loader->gguf));
    if (embd->ne[1] > dimension_limit) return tn_fail(TN_BAD_FILE, "%s: the vocabulary is too large", tn_gguf_path(loader->gguf));
    loader->hparams.n_vocab = (uint32_t)embd->ne[1];
    return TN_OK;
}

tn_status tn_loader_read_hparams(tn_loader *loader, const tn_arch *arch)
{
    tn_hparams *h = &loader->hparams;
    TN_TRY(get_u32(loader, "block_count", 1, n_layers_limit, &h->n_layers));
    TN_TRY(get_u32(loader, "embedding_length", 1, dimension_limit, &h->n_embd));
    TN_TRY(get_u32(loader, "feed_forward_length", 1, dimension_limit, &h->n_ff));
    TN_TRY(get_u32(loader, "context_length", 1, dimension_limit, &h->n_ctx));
    TN_TRY(get_heads(loader, "attention.head_count", 0, &h->n_heads));
    TN_TRY(get_heads(loader, "attention.head_count_kv", h->n_heads, &h->n_kv_heads));
    if (h->n_heads % h->n_kv_heads != 0) return bad_value(loader, "attention.head_count_kv", "does not divide the head count");
    uint32_t v_dim;
    TN_TRY(get_u32_or(loader, "attention.key_length", 1, 65536, h->n_embd / h->n_heads, &h->head_dim));
    TN_TRY(get_u32_or(loader, "attention.value_length", 1, 65536, h->head_dim, &v_dim));
    if (v_dim != h->head_dim)
        return tn_fail(TN_UNSUPPORTED, "%s: keys and values of different length are not supported", tn_gguf_path(loader->gguf));
    if (h->head_dim == 0 || h->head_dim % 2 != 0) return bad_value(loader, "attention.key_length", "is not an even number");
    TN_TRY(get_f32_or(loader, "attention.layer_norm_rms_epsilon", -1.0f, &h->norm_eps));
    if (!(h->norm_eps >= 0.0f && h->norm_eps < 1.0f))
        return bad_value(loader, "attention.layer_norm_rms_epsilon", "is missing or out of range");
    TN_TRY(read_rope(loader));
    TN_TRY(read_activation(loader, arch));
    return read_vocabulary(loader);
}
