// Converts a Hugging Face checkpoint to a GGUF file: master weights ternarised, packed ones unpacked, one tensor in memory at a time.
#include "ternion/convert.h"

#include "base/alloc.h"
#include "base/float_mode.h"
#include "base/log.h"
#include "base/params.h"
#include "format/dense.h"
#include "format/gguf_write.h"
#include "format/ternary.h"
#include "model/hf_tokenizer.h"
#include "model/hf_weights.h"
#include "model/hparams_write.h"
#include "model/rope_table.h"

#include <stdio.h>
#include <strings.h>

// Weights handled at a time: 1 MiB of f32. A multiple of every block, so that chunks of dense types begin at blocks.
enum { CHUNK = 1 << 18 };

typedef struct target_type {
    const char *name;
    tn_dtype dtype;
    uint32_t file_type; // general.file_type
} target_type;

// The first is the default; an empty row ends a list.
static const target_type TERNARY_TYPES[] = {{"i2_s", TN_DTYPE_I2_S, 40},      {"tq1_0", TN_DTYPE_TQ1_0, 36},
                                            {"tq2_0", TN_DTYPE_TQ2_0, 37},    {"iq1_bn", TN_DTYPE_IQ1_BN, 136},
                                            {"iq2_bn", TN_DTYPE_IQ2_BN, 137}, {NULL, TN_DTYPE_NONE, 0}};
static const target_type DENSE_TYPES[] = {
    {"f16", TN_DTYPE_F16, 0},   {"f32", TN_DTYPE_F32, 0},   {"bf16", TN_DTYPE_BF16, 0}, {"q8_0", TN_DTYPE_Q8_0, 0},
    {"q6_k", TN_DTYPE_Q6_K, 0}, {"q5_k", TN_DTYPE_Q5_K, 0}, {"q4_k", TN_DTYPE_Q4_K, 0}, {"q5_1", TN_DTYPE_Q5_1, 0},
    {"q5_0", TN_DTYPE_Q5_0, 0}, {"q4_1", TN_DTYPE_Q4_1, 0}, {"q4_0", TN_DTYPE_Q4_0, 0}, {NULL, TN_DTYPE_NONE, 0},
};

typedef struct converter {
    const tn_convert_params *params;
    target_type ternary, dense;
    tn_hf_config config;
    tn_hf_tokenizer tokenizer;
    tn_safetensors *st;
    tn_hf_weight *weights;
    size_t n_weights;
    tn_gguf_writer *writer;
    float *chunk;    // [CHUNK]
    int8_t *codes;   // of the largest ternary tensor
    uint8_t *packed; // its file form, or a chunk of a dense type
    uint64_t done_bytes, total_bytes;
} converter;

// ---- choices ----

static tn_status choose_type(const target_type *list, const char *name, const char *what, target_type *out)
{
    char known[128] = "";
    for (size_t i = 0; list[i].name; i++) {
        const size_t at = strlen(known);
        snprintf(known + at, sizeof known - at, "%s%s", i ? ", " : "", list[i].name);
        if (name && strcasecmp(name, list[i].name) != 0) continue;
        *out = list[i];
        return TN_OK;
    }
    return tn_fail(TN_INVALID_ARGUMENT, "%s type '%.100s' is not known; %s are", what, name, known);
}

static tn_dtype dtype_of(const converter *c, tn_hf_role role)
{
    return role == TN_HF_NORM ? TN_DTYPE_F32 : role == TN_HF_DENSE ? c->dense.dtype : c->ternary.dtype;
}

static tn_status check_blocks(const converter *c)
{
    for (size_t i = 0; i < c->n_weights; i++) {
        const tn_hf_weight *w = &c->weights[i];
        const tn_dtype_info *info = tn_dtype_get(dtype_of(c, w->role));
        const uint32_t block = info->class_ == TN_CLASS_TERNARY ? tn_ternary_block(info->dtype, NULL) : info->block_elements;
        if (w->ne[0] % block == 0) continue;
        return tn_fail(TN_UNSUPPORTED, "tensor '%s' has rows of %llu values, and %s needs a multiple of %u; choose another type (%s)",
                       w->name, (unsigned long long)w->ne[0], info->name, (unsigned)block,
                       w->role == TN_HF_DENSE ? "f16 takes any length" : "i2_s takes multiples of 128, iq1_bn and iq2_bn of 64");
    }
    return TN_OK;
}

// ---- metadata ----

static const char *arch_of(const tn_hf_config *h)
{
    return h->family == TN_HF_LLAMA ? "llama" : h->act == TN_HF_RELU2 ? "bitnet-b1.58" : "bitnet";
}

static tn_status write_hyperparameters(const converter *c)
{
    const tn_hf_config *h = &c->config;
    const char *arch = arch_of(h);
    const tn_hparams hparams = {.n_layers = h->n_layers,
                                .n_embd = h->n_embd,
                                .n_ff = h->n_ff,
                                .n_heads = h->n_heads,
                                .n_kv_heads = h->n_kv_heads,
                                .head_dim = h->head_dim,
                                .n_ctx = h->n_context,
                                .n_vocab = h->n_vocab,
                                .norm_eps = h->eps,
                                .rope_theta = h->theta,
                                .glu = h->act == TN_HF_RELU2 ? TN_GLU_RELU2 : TN_GLU_SILU};
    TN_TRY(tn_gguf_writer_str(c->writer, "general.architecture", arch));
    TN_TRY(tn_gguf_writer_str(c->writer, "general.name", h->name));
    TN_TRY(tn_gguf_writer_u32(c->writer, "general.file_type", c->ternary.file_type));
    TN_TRY(tn_hparams_write(c->writer, arch, &hparams));
    if (h->rope.kind != TN_HF_ROPE_LINEAR) return TN_OK; // llama3's scaling is a tensor, see write_rope_factors
    TN_TRY(tn_gguf_writer_str(c->writer, tn_arch_key_of(arch, "rope.scaling.type").text, "linear"));
    return tn_gguf_writer_f32(c->writer, tn_arch_key_of(arch, "rope.scaling.factor").text, h->rope.factor);
}

static tn_status write_token_id(const converter *c, const char *key, int32_t id)
{
    return id == TN_HF_ID_NONE ? TN_OK : tn_gguf_writer_u32(c->writer, key, (uint32_t)id);
}

static tn_status write_tokenizer(const converter *c)
{
    const tn_hf_tokenizer *t = &c->tokenizer;
    TN_TRY(tn_gguf_writer_str(c->writer, "tokenizer.ggml.model", t->model));
    TN_TRY(tn_gguf_writer_str(c->writer, "tokenizer.ggml.pre", t->pre));
    TN_TRY(tn_gguf_writer_str_array(c->writer, "tokenizer.ggml.tokens", t->tokens, t->n_tokens));
    if (t->scores) TN_TRY(tn_gguf_writer_f32_array(c->writer, "tokenizer.ggml.scores", t->scores, t->n_tokens));
    TN_TRY(tn_gguf_writer_i32_array(c->writer, "tokenizer.ggml.token_type", t->kinds, t->n_tokens));
    if (!t->scores) TN_TRY(tn_gguf_writer_str_array(c->writer, "tokenizer.ggml.merges", t->merges, t->n_merges));
    TN_TRY(write_token_id(c, "tokenizer.ggml.bos_token_id", t->bos));
    TN_TRY(write_token_id(c, "tokenizer.ggml.eos_token_id", t->eos));
    TN_TRY(write_token_id(c, "tokenizer.ggml.unknown_token_id", t->unk));
    TN_TRY(write_token_id(c, "tokenizer.ggml.padding_token_id", t->pad));
    TN_TRY(tn_gguf_writer_bool(c->writer, "tokenizer.ggml.add_bos_token", t->add_bos));
    TN_TRY(tn_gguf_writer_bool(c->writer, "tokenizer.ggml.add_eos_token", t->add_eos));
    if (t->scores) TN_TRY(tn_gguf_writer_bool(c->writer, "tokenizer.ggml.add_space_prefix", t->add_space_prefix));
    return t->chat_template ? tn_gguf_writer_str(c->writer, "tokenizer.chat_template", t->chat_template) : TN_OK;
}

// ---- weights ----

static tn_status report(const converter *c, uint64_t done_bytes)
{
    return tn_progress_report(&c->params->progress, "convert", done_bytes, c->total_bytes);
}

// Widens elements [at, at + n) of a weight into the chunk and refuses what is not finite.
static tn_status load_chunk(const converter *c, const tn_hf_weight *w, uint64_t at, size_t n)
{
    const tn_safetensor *s = w->source;
    tn_dense_to_f32(s->dtype, s->data + at * (s->size_bytes / s->n_elements), n, c->chunk);
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &c->chunk[i], sizeof(bits));
        if ((bits & 0x7f800000u) != 0x7f800000u) continue;
        return tn_fail(TN_BAD_FILE, "tensor '%.200s': row %llu column %llu is %g; get another copy of the checkpoint", s->name,
                       (unsigned long long)((at + i) / w->ne[0]), (unsigned long long)((at + i) % w->ne[0]), (double)c->chunk[i]);
    }
    return TN_OK;
}

static size_t chunk_size(uint64_t n, uint64_t at) { return n - at < CHUNK ? (size_t)(n - at) : CHUNK; }

// Ternarises elements [at, at + n) of the chunk, row by row into the rows that they have in the file.
static void ternarise_chunk(const converter *c, const tn_hf_weight *w, uint64_t at, size_t n, float scale)
{
    for (size_t done = 0; done < n;) {
        const uint64_t row = (at + done) / w->ne[0], col = (at + done) % w->ne[0];
        const size_t part = n - done < w->ne[0] - col ? n - done : (size_t)(w->ne[0] - col);
        tn_ternarise(c->chunk + done, part, scale, c->codes + tn_hf_file_row(w, row) * w->ne[0] + col);
        done += part;
    }
}

// Two passes over the weights, each half of the progress: the scale, then the codes.
static tn_status read_master(const converter *c, const tn_hf_weight *w, float *out_scale)
{
    const uint64_t n = w->source->n_elements, element_bytes = w->source->size_bytes / n;
    tn_absmean mean = {0, 0};
    for (uint64_t at = 0; at < n; at += CHUNK) {
        const size_t part = chunk_size(n, at);
        TN_TRY(report(c, c->done_bytes + at * element_bytes / 2));
        TN_TRY(load_chunk(c, w, at, part));
        tn_absmean_add(&mean, c->chunk, part);
    }
    *out_scale = tn_absmean_scale(&mean);
    for (uint64_t at = 0; at < n; at += CHUNK) {
        const size_t part = chunk_size(n, at);
        TN_TRY(report(c, c->done_bytes + (n + at) * element_bytes / 2));
        TN_TRY(load_chunk(c, w, at, part));
        ternarise_chunk(c, w, at, part, *out_scale);
    }
    return TN_OK;
}

static tn_status read_packed(const converter *c, const tn_hf_weight *w, float *out_scale)
{
    const uint64_t n_rows = w->ne[1] / 4, rows_a_report = CHUNK / w->ne[0] + 1;
    TN_TRY(tn_hf_packed_scale(w, c->config.scaling, out_scale));
    for (uint64_t row = 0; row < n_rows; row++) {
        if (row % rows_a_report == 0) TN_TRY(report(c, c->done_bytes + row * w->ne[0]));
        TN_TRY(tn_hf_unpack_row(w, row, c->codes));
    }
    return TN_OK;
}

static tn_status convert_ternary(const converter *c, const tn_hf_weight *w)
{
    float scale = 0;
    uint64_t bytes = 0;
    TN_TRY(w->scale ? read_packed(c, w, &scale) : read_master(c, w, &scale));
    TN_TRY(tn_dtype_size(c->ternary.dtype, w->ne[0], w->ne[0] * w->ne[1], &bytes));
    TN_TRY(tn_ternary_write(c->ternary.dtype, c->codes, (uint32_t)w->ne[1], (uint32_t)w->ne[0], scale, c->packed));
    return tn_gguf_writer_data(c->writer, c->packed, bytes);
}

static tn_status convert_dense(const converter *c, const tn_hf_weight *w)
{
    const uint64_t n = w->source->n_elements, element_bytes = w->source->size_bytes / n;
    const tn_dtype dtype = dtype_of(c, w->role);
    for (uint64_t at = 0; at < n; at += CHUNK) {
        const size_t part = chunk_size(n, at);
        TN_TRY(report(c, c->done_bytes + at * element_bytes));
        TN_TRY(load_chunk(c, w, at, part));
        TN_TRY(tn_dense_from_f32(dtype, c->chunk, part, c->packed));
        TN_TRY(tn_gguf_writer_data(c->writer, c->packed, tn_dtype_row_bytes(dtype, part)));
    }
    return TN_OK;
}

// rope_freqs.weight: what rope_type llama3 divides the frequencies by.
static tn_status announce_rope_factors(const converter *c)
{
    if (c->config.rope.kind != TN_HF_ROPE_LLAMA3) return TN_OK;
    return tn_gguf_writer_tensor(c->writer, "rope_freqs.weight", TN_DTYPE_F32, 1, (const uint64_t[]){c->config.head_dim / 2});
}

static tn_status write_rope_factors(const converter *c)
{
    const tn_hf_config *h = &c->config;
    if (h->rope.kind != TN_HF_ROPE_LLAMA3) return TN_OK;
    float *factors = NULL;
    TN_TRY(tn_alloc(h->head_dim / 2, sizeof(*factors), &factors));
    const tn_rope_llama3 scaling = {(double)h->rope.factor, (double)h->rope.low, (double)h->rope.high, (double)h->rope.old_context};
    tn_rope_llama3_factors((double)h->theta, h->head_dim, &scaling, factors);
    const tn_status status = tn_gguf_writer_data(c->writer, factors, h->head_dim / 2 * sizeof(*factors));
    tn_free(factors);
    return status;
}

static tn_status convert_weights(converter *c)
{
    TN_TRY(write_rope_factors(c));
    for (size_t i = 0; i < c->n_weights; i++) {
        const tn_hf_weight *w = &c->weights[i];
        const tn_status status = w->role == TN_HF_TERNARY ? convert_ternary(c, w) : convert_dense(c, w);
        // A file that shrank reads as zeros: that is the reason to tell, whatever they led to.
        TN_TRY(tn_safetensors_check_intact(c->st));
        if (status == TN_INVALID_ARGUMENT) return tn_fail_prefix("tensor '%s': ", w->name);
        TN_TRY(status);
        c->done_bytes += w->source->size_bytes;
    }
    return report(c, c->total_bytes);
}

// ---- all ----

static tn_status announce(converter *c)
{
    uint64_t codes = 1, packed = (uint64_t)CHUNK * 4;
    TN_TRY(announce_rope_factors(c));
    for (size_t i = 0; i < c->n_weights; i++) {
        const tn_hf_weight *w = &c->weights[i];
        TN_TRY(tn_gguf_writer_tensor(c->writer, w->name, dtype_of(c, w->role), w->n_dims, w->ne));
        c->total_bytes += w->source->size_bytes;
        if (w->role != TN_HF_TERNARY) continue;
        const uint64_t n = w->ne[0] * w->ne[1]; // both below 2^32
        uint64_t bytes = 0;
        TN_TRY(tn_dtype_size(c->ternary.dtype, w->ne[0], n, &bytes));
        if (n > codes) codes = n;
        if (bytes > packed) packed = bytes;
    }
    TN_TRY(tn_alloc(CHUNK, sizeof(*c->chunk), &c->chunk));
    TN_TRY(tn_alloc(codes, sizeof(*c->codes), &c->codes));
    return tn_alloc(packed, 1, &c->packed);
}

static tn_status run(converter *c)
{
    const tn_convert_params *p = c->params;
    TN_TRY(tn_hf_config_read(p->input_dir, &c->config));
    TN_TRY(tn_safetensors_open(p->input_dir, &c->st));
    // Before the tokenizer: the embedding's real size bounds what vocab_size may ask for.
    TN_TRY(tn_hf_weights_list(c->st, &c->config, &c->weights, &c->n_weights));
    TN_TRY(check_blocks(c));
    TN_TRY(tn_hf_tokenizer_read(p->input_dir, &c->config, &p->log, &c->tokenizer));
    TN_TRY(tn_gguf_writer_create(p->output_path, p->overwrite, &c->writer));
    TN_TRY(write_hyperparameters(c));
    TN_TRY(write_tokenizer(c));
    TN_TRY(announce(c));
    TN_TRY(convert_weights(c));
    return tn_gguf_writer_finish(c->writer);
}

static tn_status convert(const tn_convert_params *params)
{
    tn_convert_params p = TN_CONVERT_PARAMS_INIT;
    TN_REQUIRE(params);
    TN_TRY(TN_PARAMS_READ(tn_convert_params, progress, params, &p));
    if (!p.input_dir || !p.output_path) return tn_fail(TN_INVALID_ARGUMENT, "a conversion needs an input folder and an output path");
    converter c = {.params = &p};
    TN_TRY(choose_type(TERNARY_TYPES, p.type, "ternary", &c.ternary));
    TN_TRY(choose_type(DENSE_TYPES, p.embd, "embedding", &c.dense));
    const tn_status status = run(&c);
    tn_gguf_writer_destroy(c.writer);
    tn_hf_tokenizer_deinit(&c.tokenizer);
    tn_free(c.weights);
    tn_safetensors_destroy(c.st);
    tn_free(c.chunk);
    tn_free(c.codes);
    tn_free(c.packed);
    return status;
}

tn_status tn_convert(const tn_convert_params *params)
{
    tn_float_mode mode = tn_float_mode_enter();
    tn_status status = convert(params);
    tn_float_mode_leave(mode);
    return status;
}
