// What makes a file another model than its architecture's plain one: refused by name.
#include "model/loader.h"

#include <stdio.h>

// Tensors: a name that contains `part`, or ends with it where `at_end`.
static const struct {
    const char *part;
    bool at_end;
    const char *what;
} foreign_tensors[] = {
    {".bias", true, "layers with biases are not supported"},
    {"_exps.", false, "mixtures of experts are not supported"},
    {".ffn_gate_inp", false, "mixtures of experts are not supported"},
    {"_shexp.", false, "mixtures of experts are not supported"},
    {".attn_q_norm", false, "norms of queries and keys are not supported"},
    {".attn_k_norm", false, "norms of queries and keys are not supported"},
    {".attn_qkv", false, "queries, keys and values in one matrix are not supported"},
    {".post_attention_norm", false, "norms behind attention are not supported"},
    {".post_ffw_norm", false, "norms behind the feed-forward are not supported"},
    {".attn_sinks", false, "attention sinks are not supported"},
    {"rope_factors_long", false, "RoPE factors that depend on the context's length are not supported"},
    {"rope_factors_short", false, "RoPE factors that depend on the context's length are not supported"},
};

// Keys behind "<architecture>.": a number that is neither `plain` nor 0, which files write for "not set".
static const struct {
    const char *key;
    double plain;
    const char *what;
} foreign_keys[] = {
    {"expert_count", 0, "mixtures of experts are not supported"},
    {"attention.sliding_window", 0, "windows of attention are not supported"},
    {"attention.clamp_kqv", 0, "clamped queries, keys and values are not supported"},
    {"attention.max_alibi_bias", 0, "ALiBi is not supported"},
    {"attention.scale", 0, "attention with a scale of its own is not supported"},
    {"attn_logit_softcapping", 0, "capped attention scores are not supported"},
    {"final_logit_softcapping", 0, "capped logits are not supported"},
    {"logit_scale", 1, "scaled logits are not supported"},
    {"residual_scale", 1, "scaled residuals are not supported"},
    {"embedding_scale", 1, "scaled embeddings are not supported"},
};

static bool contains(tn_str text, const char *part, bool at_end)
{
    const size_t n = strlen(part);
    if (text.len < n) return false;
    for (size_t at = at_end ? text.len - n : 0; at <= text.len - n; at++) {
        if (memcmp(text.data + at, part, n) == 0) return true;
    }
    return false;
}

static tn_status check_tensor(const tn_loader *loader, tn_str name)
{
    for (size_t i = 0; i < sizeof foreign_tensors / sizeof foreign_tensors[0]; i++) {
        if (contains(name, foreign_tensors[i].part, foreign_tensors[i].at_end))
            return tn_fail(TN_UNSUPPORTED, "%s: the file has a tensor '%.*s': %s", tn_gguf_path(loader->gguf), TN_STR_ARGS(name),
                           foreign_tensors[i].what);
    }
    return TN_OK;
}

// A number of any type; false where the value is none.
static bool number_of(const tn_gguf_kv *kv, double *out)
{
    switch (kv->type) {
    case TN_GGUF_U8:
    case TN_GGUF_U16:
    case TN_GGUF_U32:
    case TN_GGUF_U64:
    case TN_GGUF_BOOL: *out = (double)kv->value.u; return true;
    case TN_GGUF_I8:
    case TN_GGUF_I16:
    case TN_GGUF_I32:
    case TN_GGUF_I64: *out = (double)kv->value.i; return true;
    case TN_GGUF_F32:
    case TN_GGUF_F64: *out = kv->value.f; return true;
    default: return false;
    }
}

tn_status tn_loader_refuse_variants(const tn_loader *loader)
{
    for (size_t i = 0; i < sizeof foreign_keys / sizeof foreign_keys[0]; i++) {
        char name[128];
        double value;
        snprintf(name, sizeof name, "%s.%s", loader->arch, foreign_keys[i].key);
        const tn_gguf_kv *kv = tn_gguf_find(loader->gguf, name);
        if (!kv || (number_of(kv, &value) && (value == foreign_keys[i].plain || value == 0))) continue;
        return tn_fail(TN_UNSUPPORTED, "%s: '%s' is set: %s", tn_gguf_path(loader->gguf), name, foreign_keys[i].what);
    }
    for (size_t i = 0; i < tn_gguf_n_tensors(loader->gguf); i++) TN_TRY(check_tensor(loader, tn_gguf_tensor_at(loader->gguf, i)->name));
    return TN_OK;
}
