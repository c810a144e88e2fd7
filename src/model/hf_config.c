// Reads and judges config.json of a checkpoint with ternary weights.
#include "model/hf_config.h"

#include "format/json.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    MAX_JSON_BYTES = 1 << 24,
    MAX_LAYERS = 1024,
    MAX_DIM = 1 << 24,
    FACTOR_MAX = 1000000, // of RoPE's frequencies
};

typedef struct reader {
    const char *path;
    const tn_json *root;
} reader;

static tn_status fail_unsupported(const reader *r, const char *what)
{
    return tn_fail(TN_UNSUPPORTED, "'%s': %s; checkpoints with ternary weights and int8 activations are converted by this version", r->path,
                   what);
}

// ---- values ----

// An integer in [1, max]. Where it is absent, `fallback`, unless that is 0.
static tn_status get_count(const reader *r, const char *key, uint32_t max, uint32_t fallback, uint32_t *out)
{
    const tn_json *value = tn_json_get(r->root, key);
    uint64_t v = 0;
    if (tn_json_absent(value) && fallback != 0) {
        *out = fallback;
        return TN_OK;
    }
    if (tn_json_absent(value)) return tn_fail(TN_BAD_FILE, "'%s' has no %s; get another copy of the checkpoint", r->path, key);
    if (!tn_json_u64(value, &v) || v == 0 || v > max) {
        return tn_fail(TN_BAD_FILE, "'%s': %s is not a number from 1 to %u; get another copy of the checkpoint", r->path, key,
                       (unsigned)max);
    }
    *out = (uint32_t)v;
    return TN_OK;
}

static tn_status get_positive(const reader *r, const tn_json *value, const char *key, float *out)
{
    double v = 0;
    if (!tn_json_f64(value, &v) || !(v > 0) || !(v < 1e30) || !((float)v > 0)) {
        return tn_fail(TN_BAD_FILE, "'%s': %s is missing or not a positive number; get another copy of the checkpoint", r->path, key);
    }
    *out = (float)v;
    return TN_OK;
}

// A token id, or the first of a list; none where absent.
static tn_status get_token_id(const reader *r, const char *key, uint32_t n_vocab, int32_t *out)
{
    const tn_json *value = tn_json_get(r->root, key);
    uint64_t id = 0;
    *out = TN_HF_ID_NONE;
    if (tn_json_is_array(value)) value = tn_json_at(value, 0);
    if (tn_json_absent(value)) return TN_OK;
    if (!tn_json_u64(value, &id) || id >= n_vocab) {
        return tn_fail(TN_BAD_FILE, "'%s': %s is not the id of one of the %u tokens; get another copy of the checkpoint", r->path, key,
                       (unsigned)n_vocab);
    }
    *out = (int32_t)id;
    return TN_OK;
}

// ---- what is refused ----

// 1bitLLM's first checkpoints say model_type llama with their own architecture name. A Llama is one by its model_type too, whatever name
// its makers gave the architecture.
static tn_status read_family(const reader *r, tn_hf_config *c)
{
    tn_str arch = {"", 0}, type = {"", 0};
    const bool has_arch = tn_json_str(tn_json_at(tn_json_get(r->root, "architectures"), 0), &arch);
    const bool has_type = tn_json_str(tn_json_get(r->root, "model_type"), &type);
    const bool is_bitnet = tn_str_is(arch, "BitNetForCausalLM") || tn_str_is(arch, "BitnetForCausalLM");
    const bool is_llama = tn_str_is(arch, "LlamaForCausalLM") || tn_str_is(arch, "FalconForCausalLM");
    c->family = TN_HF_BITNET;
    if (is_bitnet && (!has_type || tn_str_is(type, "bitnet") || tn_str_is(type, "llama"))) return TN_OK;
    if (!has_arch && tn_str_is(type, "bitnet")) return TN_OK;
    c->family = TN_HF_LLAMA;
    if ((is_llama || !has_arch) && tn_str_is(type, "llama")) return TN_OK;
    if (tn_str_is(arch, "LlamaForCausalLM") && !has_type) return TN_OK;
    return tn_fail(TN_UNSUPPORTED,
                   "'%s': architecture '%.*s' with model_type '%.*s' is not converted by this version; BitNetForCausalLM and "
                   "LlamaForCausalLM are",
                   r->path, TN_STR_ARGS(arch), TN_STR_ARGS(type));
}

static bool has_text(const tn_json *object, const char *key, const char *text)
{
    tn_str v;
    return tn_json_str(tn_json_get(object, key), &v) && tn_str_is(v, text);
}

// A number of a RoPE object that must be there. Factors have the range that files may have.
static tn_status get_rope_number(const reader *r, const char *object, const tn_json *rope, const char *key, double max, float *out)
{
    double v = 0;
    if (tn_json_f64(tn_json_get(rope, key), &v) && v >= 1e-3 && v <= max) {
        *out = (float)v;
        return TN_OK;
    }
    return tn_fail(TN_BAD_FILE, "'%s': %s has no %s that is a number from 0.001 to %.0f; get another copy of the checkpoint", r->path,
                   object, key, max);
}

static tn_status read_llama3(const reader *r, const char *object, const tn_json *rope, tn_hf_rope_scaling *out)
{
    TN_TRY(get_rope_number(r, object, rope, "low_freq_factor", FACTOR_MAX, &out->low));
    TN_TRY(get_rope_number(r, object, rope, "high_freq_factor", FACTOR_MAX, &out->high));
    TN_TRY(get_rope_number(r, object, rope, "original_max_position_embeddings", INT32_MAX, &out->old_context));
    if (out->high > out->low) return TN_OK;
    return tn_fail(TN_BAD_FILE, "'%s': %s.high_freq_factor is not above low_freq_factor; get another copy of the checkpoint", r->path,
                   object);
}

// Scaled RoPE, from the object `key` of the root.
static tn_status read_rope(const reader *r, const char *key, tn_hf_config *c)
{
    const tn_json *rope = tn_json_get(r->root, key);
    if (tn_json_absent(rope)) return TN_OK;
    tn_str type = {"default", 7};
    if (!tn_json_str(tn_json_get(rope, "rope_type"), &type)) tn_json_str(tn_json_get(rope, "type"), &type);
    if (tn_str_is(type, "default") || tn_str_is(type, "none")) return TN_OK;
    if (tn_str_is(type, "linear")) {
        c->rope.kind = TN_HF_ROPE_LINEAR;
        return get_rope_number(r, key, rope, "factor", FACTOR_MAX, &c->rope.factor);
    }
    if (tn_str_is(type, "llama3") && c->family == TN_HF_LLAMA) {
        c->rope.kind = TN_HF_ROPE_LLAMA3;
        TN_TRY(get_rope_number(r, key, rope, "factor", FACTOR_MAX, &c->rope.factor));
        return read_llama3(r, key, rope, &c->rope);
    }
    return tn_fail(TN_UNSUPPORTED, "'%s': %s asks for RoPE of type '%.*s', which this version does not convert; default, linear%s are",
                   r->path, key, TN_STR_ARGS(type), c->family == TN_HF_LLAMA ? " and llama3" : "");
}

// Entries that name no linear layer, as they are spelt.
static bool is_never_ternary(tn_str module)
{
    static const char *const names[] = {"lm_head", "model.embed_tokens", "embed_tokens", "model.norm", "norm"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (tn_str_is(module, names[i])) return true;
    }
    return false;
}

// transformers takes a missing linear_class for bitlinear.
static tn_status read_linear_class(const reader *r, const tn_json *q, tn_hf_config *c)
{
    tn_str name = {"bitlinear", 9};
    tn_json_str(tn_json_get(q, "linear_class"), &name);
    c->scaling = tn_str_is(name, "autobitlinear") ? TN_HF_SCALING_MULTIPLY : TN_HF_SCALING_DIVIDE;
    if (c->scaling == TN_HF_SCALING_MULTIPLY || tn_str_is(name, "bitlinear")) return TN_OK;
    return tn_fail(TN_UNSUPPORTED, "'%s': quantization_config.linear_class '%.*s' is not known here; bitlinear and autobitlinear are",
                   r->path, TN_STR_ARGS(name));
}

static tn_status read_quantization(const reader *r, tn_hf_config *c)
{
    const tn_json *q = tn_json_get(r->root, "quantization_config");
    if (tn_json_absent(q)) {
        if (c->family == TN_HF_BITNET) return TN_OK; // master weights, whose rule is the family's
        return fail_unsupported(r, "a Llama without quantization_config has ordinary weights, which ternary ones would not stand for");
    }
    if (!has_text(q, "quant_method", "bitnet")) return fail_unsupported(r, "quantization_config.quant_method is not bitnet");
    if (tn_json_is_true(tn_json_get(q, "use_rms_norm"))) {
        return fail_unsupported(r, "quantization_config.use_rms_norm puts a norm before every linear layer, which is not converted yet");
    }
    const tn_json *kept = tn_json_get(q, "modules_to_not_convert");
    for (size_t i = 0; i < tn_json_size(kept); i++) {
        tn_str module = {"", 0};
        if (tn_json_str(tn_json_at(kept, i), &module) && is_never_ternary(module)) continue;
        return tn_fail(TN_UNSUPPORTED, "'%s': modules_to_not_convert names '%.*s': linear layers that are not ternary are not converted",
                       r->path, TN_STR_ARGS(module));
    }
    return read_linear_class(r, q, c);
}

static tn_status read_features(const reader *r, tn_hf_config *c)
{
    static const char *const flags[] = {"attention_bias", "mlp_bias", "use_bias", "attention_out_bias"};
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        if (tn_json_is_true(tn_json_get(r->root, flags[i]))) {
            return tn_fail(TN_UNSUPPORTED, "'%s': %s is true; layers with biases are not converted by this version", r->path, flags[i]);
        }
    }
    uint64_t bits = 1;
    if (tn_json_u64(tn_json_get(r->root, "weight_bits"), &bits) && bits != 1) {
        return fail_unsupported(r, "weight_bits is not 1, so its weights are not ternary");
    }
    bits = 8;
    if (tn_json_u64(tn_json_get(r->root, "input_bits"), &bits) && bits != 8) {
        return fail_unsupported(r, "input_bits is not 8, so its activations are not int8");
    }
    TN_TRY(read_rope(r, "rope_scaling", c));
    TN_TRY(read_rope(r, "rope_parameters", c));
    return read_quantization(r, c);
}

// ---- reading ----

static tn_status read_shape(const reader *r, tn_hf_config *c)
{
    TN_TRY(get_count(r, "num_hidden_layers", MAX_LAYERS, 0, &c->n_layers));
    TN_TRY(get_count(r, "hidden_size", MAX_DIM, 0, &c->n_embd));
    TN_TRY(get_count(r, "intermediate_size", MAX_DIM, 0, &c->n_ff));
    TN_TRY(get_count(r, "num_attention_heads", MAX_DIM, 0, &c->n_heads));
    TN_TRY(get_count(r, "num_key_value_heads", MAX_DIM, c->n_heads, &c->n_kv_heads));
    TN_TRY(get_count(r, "vocab_size", INT32_MAX, 0, &c->n_vocab));
    TN_TRY(get_count(r, "max_position_embeddings", INT32_MAX, 0, &c->n_context));
    const uint32_t per_head = c->n_embd % c->n_heads == 0 ? c->n_embd / c->n_heads : 0;
    TN_TRY(get_count(r, "head_dim", MAX_DIM, per_head, &c->head_dim));
    if (c->n_heads % c->n_kv_heads != 0) {
        return tn_fail(TN_BAD_FILE, "'%s': %u attention heads cannot share %u key-value heads; get another copy of the checkpoint", r->path,
                       (unsigned)c->n_heads, (unsigned)c->n_kv_heads);
    }
    if (c->head_dim % 2 != 0 || (uint64_t)c->n_heads * c->head_dim > MAX_DIM) {
        return tn_fail(TN_BAD_FILE, "'%s': %u heads of %u values are not possible; get another copy of the checkpoint", r->path,
                       (unsigned)c->n_heads, (unsigned)c->head_dim);
    }
    return TN_OK;
}

static tn_status read_rest(const reader *r, tn_hf_config *c)
{
    tn_str act = {"", 0};
    tn_json_str(tn_json_get(r->root, "hidden_act"), &act);
    if (tn_str_is(act, "relu2") && c->family == TN_HF_LLAMA) {
        return fail_unsupported(r, "hidden_act is relu2, but GGUF files of architecture llama mean silu");
    } else if (tn_str_is(act, "relu2")) {
        c->act = TN_HF_RELU2;
    } else if (tn_str_is(act, "silu")) {
        c->act = TN_HF_SILU;
    } else {
        return tn_fail(TN_UNSUPPORTED, "'%s': hidden_act '%.*s' is not known here; relu2 and silu are", r->path, TN_STR_ARGS(act));
    }
    const tn_json *theta = tn_json_get(r->root, "rope_theta");
    if (tn_json_absent(theta)) theta = tn_json_get(tn_json_get(r->root, "rope_parameters"), "rope_theta");
    c->theta = 10000.0f; // transformers' own default for a Llama
    if (!tn_json_absent(theta) || c->family != TN_HF_LLAMA) TN_TRY(get_positive(r, theta, "rope_theta", &c->theta));
    TN_TRY(get_positive(r, tn_json_get(r->root, "rms_norm_eps"), "rms_norm_eps", &c->eps));
    TN_TRY(get_token_id(r, "bos_token_id", c->n_vocab, &c->bos));
    TN_TRY(get_token_id(r, "eos_token_id", c->n_vocab, &c->eos));
    uint64_t pad = 0; // no model depends on it, and some files say -1
    c->pad = tn_json_u64(tn_json_get(r->root, "pad_token_id"), &pad) && pad < c->n_vocab ? (int32_t)pad : TN_HF_ID_NONE;
    const tn_json *tie = tn_json_get(r->root, "tie_word_embeddings");
    c->tie = !tn_json_is_bool(tie) ? TN_HF_TIE_UNSAID : tn_json_is_true(tie) ? TN_HF_TIED : TN_HF_UNTIED;
    return TN_OK;
}

// The last part of a path or hub id, without trailing slashes.
static void set_name(const char *text, size_t len, tn_hf_config *c)
{
    while (len > 0 && text[len - 1] == '/') len--;
    size_t start = len;
    while (start > 0 && text[start - 1] != '/') start--;
    snprintf(c->name, sizeof(c->name), "%.*s", (int)(len - start < sizeof(c->name) ? len - start : sizeof(c->name) - 1), text + start);
}

static void read_name(const reader *r, const char *dir, tn_hf_config *c)
{
    tn_str text = {"", 0};
    if (tn_json_str(tn_json_get(r->root, "_name_or_path"), &text)) set_name(text.data, text.len, c);
    if (c->name[0] != '\0') return;
    char *real = realpath(dir, NULL); // so that "." gives the folder's own name
    const char *path = real ? real : dir;
    set_name(path, strlen(path), c);
    free(real);
    if (c->name[0] == '\0') snprintf(c->name, sizeof(c->name), "model");
}

tn_status tn_hf_config_read(const char *dir, tn_hf_config *out)
{
    memset(out, 0, sizeof(*out));
    tn_text path = {0};
    tn_json *root = NULL;
    tn_status status = TN_OK;
    TN_TRY_GOTO(tn_text_printf(&path, "%s/config.json", dir));
    TN_TRY_GOTO(tn_json_open(path.data, MAX_JSON_BYTES, &root));
    const reader r = {path.data, root};
    TN_TRY_GOTO(read_family(&r, out));
    TN_TRY_GOTO(read_shape(&r, out));
    TN_TRY_GOTO(read_features(&r, out));
    TN_TRY_GOTO(read_rest(&r, out));
    read_name(&r, dir, out);
fail:
    tn_json_destroy(root);
    tn_text_deinit(&path);
    return status;
}
