// The sizes of a synthetic model: named shapes, overrides, and the tensors that follow from them.
#include "model/synth_shape.h"

#include "base/checked.h"
#include "base/str.h"
#include "format/ternary.h"

#include <stdio.h>

// The limits of the loader (hparams.c).
#define LAYERS_MAX    1024u
#define DIMENSION_MAX (1u << 24)
#define HEAD_DIM_MAX  65536u
#define VOCAB_MIN     260u // every byte, and the special tokens

// Sizes from the configurations of the published models. The 100b shape is that of dense models of this size, as a BitNet b1.58.
static const tn_synth_shape shapes[] = {
    {"2b-4t", "bitnet-b1.58", 30, 2560, 6912, 20, 5, 128, 128256, 4096, 500000, 1e-5f, true, TN_SYNTH_LLAMA3, 0, 0, 0, 0},
    {"large", "bitnet", 24, 1536, 4096, 16, 16, 96, 32002, 2048, 10000, 1e-5f, true, TN_SYNTH_LLAMA2, 0, 0, 0, 0},
    {"0.7b", "bitnet", 24, 1536, 4096, 16, 16, 96, 32002, 2048, 10000, 1e-5f, true, TN_SYNTH_LLAMA2, 0, 0, 0, 0},
    {"3b", "bitnet", 26, 3200, 8640, 32, 32, 100, 32002, 2048, 10000, 1e-5f, true, TN_SYNTH_LLAMA2, 0, 0, 0, 0},
    {"llama3-8b", "llama", 32, 4096, 14336, 32, 8, 128, 128256, 8192, 500000, 1e-5f, false, TN_SYNTH_LLAMA3, 0, 0, 0, 0},
    {"falcon3-1b", "llama", 18, 2048, 8192, 8, 4, 256, 131072, 8192, 1000042, 1e-6f, false, TN_SYNTH_FALCON3, 0, 0, 0, 0},
    {"falcon3-3b", "llama", 22, 3072, 9216, 12, 4, 256, 131072, 4096, 1000042, 1e-6f, false, TN_SYNTH_FALCON3, 0, 0, 0, 0},
    {"falcon3-7b", "llama", 28, 3072, 23040, 12, 4, 256, 131072, 8192, 1000042, 1e-6f, false, TN_SYNTH_FALCON3, 0, 0, 0, 0},
    {"falcon3-10b", "llama", 40, 3072, 23040, 12, 4, 256, 131072, 32768, 1000042, 1e-6f, false, TN_SYNTH_FALCON3, 0, 0, 0, 0},
    {"100b", "bitnet-b1.58", 88, 10240, 28672, 80, 10, 128, 128256, 4096, 500000, 1e-5f, true, TN_SYNTH_LLAMA3, 0, 0, 0, 0},
    {"custom", "bitnet-b1.58", 0, 0, 0, 0, 0, 0, 32000, 4096, 10000, 1e-5f, true, TN_SYNTH_PLAIN, 0, 0, 0, 0},
};

enum { MATRICES_A_LAYER = 7 };

const char *tn_synth_shape_name(size_t index) { return index < sizeof shapes / sizeof shapes[0] ? shapes[index].name : NULL; }

// ---- sizes ----

static tn_status find_shape(const char *name, tn_synth_shape *out)
{
    tn_text known = {0};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        if (strcmp(shapes[i].name, name) == 0) {
            *out = shapes[i];
            tn_text_deinit(&known);
            return TN_OK;
        }
        const tn_status status = tn_text_printf(&known, "%s%s", i ? ", " : "", shapes[i].name);
        if (status != TN_OK) {
            tn_text_deinit(&known);
            return status;
        }
    }
    const tn_status status = tn_fail(TN_INVALID_ARGUMENT, "there is no shape '%.100s'; there are %s", name, known.data);
    tn_text_deinit(&known);
    return status;
}

static void override(uint32_t *size, uint32_t wanted)
{
    if (wanted) *size = wanted;
}

static tn_status check_size(const char *what, uint32_t size, uint32_t low, uint32_t high)
{
    if (size >= low && size <= high) return TN_OK;
    if (size == 0) return tn_fail(TN_INVALID_ARGUMENT, "a custom shape needs %s: give it", what);
    return tn_fail(TN_INVALID_ARGUMENT, "%s is %u; %u to %u are possible", what, (unsigned)size, (unsigned)low, (unsigned)high);
}

static tn_status check_sizes(const tn_synth_shape *s)
{
    TN_TRY(check_size("the number of layers", s->n_layers, 1, LAYERS_MAX));
    TN_TRY(check_size("the embedding length", s->n_embd, 2, DIMENSION_MAX));
    TN_TRY(check_size("the feed-forward length", s->n_ff, 1, DIMENSION_MAX));
    TN_TRY(check_size("the number of heads", s->n_heads, 1, DIMENSION_MAX));
    TN_TRY(check_size("the number of key and value heads", s->n_kv_heads, 1, s->n_heads));
    TN_TRY(check_size("the head dimension", s->head_dim, 2, HEAD_DIM_MAX));
    TN_TRY(check_size("the vocabulary", s->n_vocab, VOCAB_MIN, DIMENSION_MAX));
    TN_TRY(check_size("the context length", s->n_ctx, 1, DIMENSION_MAX));
    if (s->head_dim % 2 != 0)
        return tn_fail(TN_INVALID_ARGUMENT, "the head dimension %u is odd; rotary positions need an even one", (unsigned)s->head_dim);
    if (s->n_heads % s->n_kv_heads != 0) {
        return tn_fail(TN_INVALID_ARGUMENT, "%u heads cannot share %u key and value heads evenly; choose a divisor", (unsigned)s->n_heads,
                       (unsigned)s->n_kv_heads);
    }
    uint64_t width = 0;
    if (!tn_ckd_mul(s->n_heads, s->head_dim, &width) || width > DIMENSION_MAX)
        return tn_fail(TN_INVALID_ARGUMENT, "%u heads of %u are wider than any model; choose fewer", (unsigned)s->n_heads,
                       (unsigned)s->head_dim);
    return TN_OK;
}

static tn_status resolve_sizes(const tn_synth_params *p, tn_synth_shape *s)
{
    const bool other_heads = p->n_heads || p->n_embd;
    if (p->n_vocab && p->n_vocab != s->n_vocab) s->family = TN_SYNTH_PLAIN; // the ids of special tokens are those of one vocabulary
    override(&s->n_layers, p->n_layers);
    override(&s->n_embd, p->n_embd);
    override(&s->n_ff, p->n_ff);
    override(&s->n_heads, p->n_heads);
    override(&s->n_vocab, p->n_vocab);
    override(&s->n_ctx, p->n_ctx);
    override(&s->n_kv_heads, p->n_kv_heads);
    override(&s->head_dim, p->head_dim);
    if (!p->n_kv_heads && (s->n_kv_heads == 0 || p->n_heads)) s->n_kv_heads = s->n_heads;
    if (!p->head_dim && other_heads && s->n_heads > 0) {
        if (s->n_embd % s->n_heads != 0) {
            return tn_fail(TN_INVALID_ARGUMENT, "%u heads do not divide the embedding length %u; give the head dimension too",
                           (unsigned)s->n_heads, (unsigned)s->n_embd);
        }
        s->head_dim = s->n_embd / s->n_heads;
    }
    if (p->head != TN_SYNTH_HEAD_OF_SHAPE) s->tied = p->head == TN_SYNTH_HEAD_TIED;
    return check_sizes(s);
}

static tn_status resolve_arch(const tn_synth_params *p, tn_synth_shape *s)
{
    static const char *const names[] = {"bitnet-b1.58", "bitnet", "llama"};
    const char *wanted = p->arch ? p->arch : s->arch;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i], wanted) != 0) continue;
        s->arch = names[i];
        s->relu2 = i == 0;
        s->sub_norms = i < 2;
        return TN_OK;
    }
    return tn_fail(TN_INVALID_ARGUMENT, "there is no architecture '%.100s' to make; there are bitnet-b1.58, bitnet and llama", wanted);
}

// ---- types ----

static uint32_t block_of(tn_dtype dtype)
{
    const tn_dtype_info *info = tn_dtype_get(dtype);
    return info->class_ == TN_CLASS_TERNARY ? tn_ternary_block(dtype, NULL) : info->block_elements;
}

// Whether this version writes weights of a type: asked of the writer itself, with a few rows of zeros.
static bool is_written(tn_dtype dtype)
{
    static const int8_t zeros[4 * 1024];
    uint8_t out[8 * 1024];
    uint64_t bytes = 0;
    const uint32_t block = block_of(dtype);
    if (tn_dtype_get(dtype)->class_ != TN_CLASS_TERNARY || block > 1024) return false;
    if (tn_dtype_size(dtype, block, 4 * (uint64_t)block, &bytes) != TN_OK || bytes > sizeof out) return false;
    return tn_ternary_write(dtype, zeros, 4, block, 1.0f, out) == TN_OK;
}

static bool fits_all(const tn_synth_shape *shape, tn_dtype dtype, bool ternary)
{
    const uint32_t block = block_of(dtype);
    if (!ternary) return shape->n_embd % block == 0;
    return shape->n_embd % block == 0 && shape->n_ff % block == 0 && shape->n_heads * shape->head_dim % block == 0;
}

// Writes the names of the types that every row of the shape can have.
static tn_status list_fitting(const tn_synth_shape *shape, bool ternary, tn_text *out)
{
    for (tn_dtype d = TN_DTYPE_NONE; d < TN_DTYPE_OTHER; d++) {
        const tn_dtype_info *info = tn_dtype_get(d);
        if (ternary ? !is_written(d) : info->class_ != TN_CLASS_DENSE) continue;
        if (fits_all(shape, d, ternary)) TN_TRY(tn_text_printf(out, "%s%s", out->len ? ", " : "", info->name));
    }
    return TN_OK;
}

static tn_status fail_fit(const tn_synth_shape *shape, const tn_synth_tensor *tensor)
{
    const tn_dtype_info *info = tn_dtype_get(tensor->dtype);
    const bool ternary = info->class_ == TN_CLASS_TERNARY;
    tn_text fitting = {0};
    tn_status status = list_fitting(shape, ternary, &fitting);
    if (status == TN_OK) {
        status =
            tn_fail(TN_UNSUPPORTED, "tensor '%s' has rows of %u values, and %s needs a multiple of %u; %s%s", tensor->name,
                    (unsigned)tensor->n_cols, info->name, (unsigned)block_of(tensor->dtype),
                    fitting.len ? "types that fit this shape: " : "this version writes no type that fits this shape: choose other sizes",
                    fitting.len ? fitting.data : "");
    }
    tn_text_deinit(&fitting);
    return status;
}

static tn_status resolve_type(const tn_synth_shape *shape, const char *name, bool ternary, tn_dtype *out)
{
    TN_TRY(tn_dtype_parse(name, out));
    const tn_dtype_info *info = tn_dtype_get(*out);
    if (ternary ? is_written(*out) : info->class_ == TN_CLASS_DENSE) return TN_OK;
    tn_text fitting = {0};
    tn_status status = list_fitting(shape, ternary, &fitting);
    if (status == TN_OK) {
        status = tn_fail(TN_INVALID_ARGUMENT, "%s cannot be the type of the %s; types that fit this shape: %s", info->name,
                         ternary ? "weights" : "embedding and head", fitting.len ? fitting.data : "none");
    }
    tn_text_deinit(&fitting);
    return status;
}

tn_status tn_synth_shape_resolve(const tn_synth_params *p, tn_synth_shape *out)
{
    tn_synth_shape s;
    TN_TRY(find_shape(p->shape, &s));
    TN_TRY(resolve_arch(p, &s));
    TN_TRY(resolve_sizes(p, &s));
    TN_TRY(resolve_type(&s, p->type ? p->type : "i2_s", true, &s.type));
    TN_TRY(resolve_type(&s, p->embd ? p->embd : "f16", false, &s.embd));
    const uint32_t n = tn_synth_n_tensors(&s);
    for (uint32_t i = 0; i < n; i++) {
        const tn_synth_tensor t = tn_synth_tensor_at(&s, i);
        if (t.n_cols % block_of(t.dtype) != 0) return fail_fit(&s, &t);
    }
    *out = s;
    return TN_OK;
}

// ---- tensors ----

static uint32_t n_norms(const tn_synth_shape *s) { return s->sub_norms ? 4 : 2; }
static uint32_t n_layer_tensors(const tn_synth_shape *s) { return n_norms(s) + MATRICES_A_LAYER; }

uint32_t tn_synth_n_tensors(const tn_synth_shape *s) { return 2 + s->n_layers * n_layer_tensors(s) + (s->tied ? 0 : 1); }

static tn_synth_tensor layer_tensor(const tn_synth_shape *s, uint32_t layer, uint32_t index)
{
    const uint32_t q = s->n_heads * s->head_dim, kv = s->n_kv_heads * s->head_dim;
    const struct {
        const char *name;
        uint32_t n;
    } norms[] = {{"attn_norm", s->n_embd}, {"ffn_norm", s->n_embd}, {"attn_sub_norm", q}, {"ffn_sub_norm", s->n_ff}};
    const struct {
        const char *name;
        tn_synth_role role;
        uint32_t n_rows, n_cols;
    } matrices[MATRICES_A_LAYER] = {
        {"attn_q", TN_SYNTH_QUERY_KEY, q, s->n_embd},     {"attn_k", TN_SYNTH_QUERY_KEY, kv, s->n_embd},
        {"attn_v", TN_SYNTH_INNER, kv, s->n_embd},        {"attn_output", TN_SYNTH_ATTENTION_OUT, s->n_embd, q},
        {"ffn_gate", TN_SYNTH_INNER, s->n_ff, s->n_embd}, {"ffn_up", TN_SYNTH_INNER, s->n_ff, s->n_embd},
        {"ffn_down", TN_SYNTH_DOWN, s->n_embd, s->n_ff},
    };
    tn_synth_tensor t = {.role = TN_SYNTH_GAINS, .dtype = TN_DTYPE_F32, .n_rows = 1};
    const char *name = NULL;
    if (index < n_norms(s)) {
        name = norms[index].name;
        t.n_cols = norms[index].n;
    } else {
        const uint32_t m = index - n_norms(s);
        name = matrices[m].name;
        t.role = matrices[m].role;
        t.dtype = s->type;
        t.n_rows = matrices[m].n_rows;
        t.n_cols = matrices[m].n_cols;
    }
    snprintf(t.name, sizeof t.name, "blk.%u.%s.weight", (unsigned)layer, name);
    return t;
}

tn_synth_tensor tn_synth_tensor_at(const tn_synth_shape *s, uint32_t index)
{
    if (index == 0) return (tn_synth_tensor){"token_embd.weight", TN_SYNTH_EMBEDDING, s->embd, s->n_vocab, s->n_embd};
    const uint32_t in_layers = index - 1, layer = in_layers / n_layer_tensors(s);
    if (layer < s->n_layers) return layer_tensor(s, layer, in_layers % n_layer_tensors(s));
    if (in_layers == s->n_layers * n_layer_tensors(s))
        return (tn_synth_tensor){"output_norm.weight", TN_SYNTH_HEAD_GAINS, TN_DTYPE_F32, 1, s->n_embd};
    return (tn_synth_tensor){"output.weight", TN_SYNTH_OWN_HEAD, s->embd, s->n_vocab, s->n_embd};
}
