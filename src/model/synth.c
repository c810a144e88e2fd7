// Writes random models of real shapes.
#include "ternion/synth.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/float_mode.h"
#include "base/log.h"
#include "base/params.h"
#include "format/gguf_write.h"
#include "model/hparams_write.h"
#include "model/synth_vocab.h"
#include "model/synth_weights.h"
#include "ternion/tokenizer.h"

#include <stdio.h>

enum { CHUNK = 4 << 20 }; // bytes handed to the writer at a time

typedef struct synthesis {
    const tn_synth_params *params;
    tn_synth_shape shape;
    tn_synth_vocab vocab;
    tn_synth_weights weights;
    tn_gguf_writer *writer;
    uint8_t *chunk; // owned
    size_t chunk_bytes;
    uint64_t done_bytes, total_bytes;
} synthesis;

// ---- metadata ----

static tn_status write_identity(const synthesis *s)
{
    static const struct {
        tn_dtype dtype;
        uint32_t file_type;
    } file_types[] = {{TN_DTYPE_I2_S, 40}, {TN_DTYPE_TQ1_0, 36}, {TN_DTYPE_TQ2_0, 37}};
    char name[160];
    snprintf(name, sizeof name, "synthetic %s, seed %llu", s->shape.name, (unsigned long long)s->params->seed);
    TN_TRY(tn_gguf_writer_str(s->writer, "general.architecture", s->shape.arch));
    TN_TRY(tn_gguf_writer_str(s->writer, "general.name", name));
    TN_TRY(tn_gguf_writer_str(s->writer, "general.description", "Random weights, made to measure speed: its text means nothing."));
    for (size_t i = 0; i < sizeof file_types / sizeof file_types[0]; i++) {
        if (file_types[i].dtype == s->shape.type) TN_TRY(tn_gguf_writer_u32(s->writer, "general.file_type", file_types[i].file_type));
    }
    return tn_gguf_writer_u64(s->writer, "ternion.synthetic.seed", s->params->seed);
}

static tn_status write_hyperparameters(const synthesis *s)
{
    const tn_synth_shape *h = &s->shape;
    const tn_hparams hparams = {.n_layers = h->n_layers,
                                .n_embd = h->n_embd,
                                .n_ff = h->n_ff,
                                .n_heads = h->n_heads,
                                .n_kv_heads = h->n_kv_heads,
                                .head_dim = h->head_dim,
                                .n_ctx = h->n_ctx,
                                .n_vocab = h->n_vocab,
                                .norm_eps = h->norm_eps,
                                .rope_theta = h->rope_theta,
                                .glu = h->relu2 ? TN_GLU_RELU2 : TN_GLU_SILU};
    return tn_hparams_write(s->writer, h->arch, &hparams);
}

static tn_status write_tokenizer(const synthesis *s)
{
    const tn_synth_vocab *v = &s->vocab;
    TN_TRY(tn_gguf_writer_str(s->writer, "tokenizer.ggml.model", "gpt2"));
    TN_TRY(tn_gguf_writer_str(s->writer, "tokenizer.ggml.pre", "llama-bpe"));
    TN_TRY(tn_gguf_writer_str_array(s->writer, "tokenizer.ggml.tokens", v->tokens, v->n_tokens));
    TN_TRY(tn_gguf_writer_i32_array(s->writer, "tokenizer.ggml.token_type", v->kinds, v->n_tokens));
    TN_TRY(tn_gguf_writer_str_array(s->writer, "tokenizer.ggml.merges", v->merges, v->n_merges));
    TN_TRY(tn_gguf_writer_u32(s->writer, "tokenizer.ggml.bos_token_id", (uint32_t)v->bos));
    TN_TRY(tn_gguf_writer_u32(s->writer, "tokenizer.ggml.eos_token_id", (uint32_t)v->eos));
    if (v->eot != TN_TOKEN_NONE) TN_TRY(tn_gguf_writer_u32(s->writer, "tokenizer.ggml.eot_token_id", (uint32_t)v->eot));
    TN_TRY(tn_gguf_writer_bool(s->writer, "tokenizer.ggml.add_bos_token", v->add_bos));
    return tn_gguf_writer_bool(s->writer, "tokenizer.ggml.add_eos_token", false);
}

// ---- weights ----

static tn_status announce(synthesis *s)
{
    const uint32_t n = tn_synth_n_tensors(&s->shape);
    for (uint32_t i = 0; i < n; i++) {
        const tn_synth_tensor t = tn_synth_tensor_at(&s->shape, i);
        const uint64_t ne[2] = {t.n_cols, t.n_rows};
        uint64_t bytes = 0, elements = 0;
        if (!tn_ckd_mul(ne[0], ne[1], &elements))
            return tn_fail(TN_INVALID_ARGUMENT, "tensor '%s' is too large; choose smaller sizes", t.name);
        TN_TRY(tn_gguf_writer_tensor(s->writer, t.name, t.dtype, t.n_rows > 1 ? 2 : 1, ne));
        TN_TRY(tn_dtype_size(t.dtype, ne[0], elements, &bytes));
        s->total_bytes += bytes; // the writer has checked the sum
    }
    return TN_OK;
}

static tn_status ensure_chunk(synthesis *s, size_t unit_bytes)
{
    const size_t wanted = unit_bytes > CHUNK ? unit_bytes : CHUNK;
    if (wanted <= s->chunk_bytes) return TN_OK;
    tn_free(s->chunk);
    s->chunk = NULL;
    s->chunk_bytes = 0;
    TN_TRY(tn_alloc(wanted, 1, &s->chunk));
    s->chunk_bytes = wanted;
    return TN_OK;
}

static tn_status write_tensor(synthesis *s, uint32_t index)
{
    const tn_synth_tensor t = tn_synth_tensor_at(&s->shape, index);
    tn_synth_source source;
    TN_TRY(tn_synth_weights_open(&s->weights, &t, index, &source));
    TN_TRY(ensure_chunk(s, tn_synth_unit_bytes(&source)));
    for (size_t n; (n = tn_synth_source_read(&source, s->chunk, s->chunk_bytes)) > 0; s->done_bytes += n) {
        TN_TRY(tn_progress_report(&s->params->progress, "synth", s->done_bytes, s->total_bytes));
        TN_TRY(tn_gguf_writer_data(s->writer, s->chunk, n));
    }
    return TN_OK;
}

static tn_status run(synthesis *s)
{
    const tn_synth_params *p = s->params;
    TN_TRY(tn_synth_shape_resolve(p, &s->shape));
    TN_TRY(tn_gguf_writer_create(p->output_path, p->overwrite, &s->writer));
    TN_TRY(tn_synth_vocab_build(&s->shape, &s->vocab));
    TN_TRY(write_identity(s));
    TN_TRY(write_hyperparameters(s));
    TN_TRY(write_tokenizer(s));
    TN_TRY(announce(s));
    s->weights.shape = &s->shape;
    s->weights.seed = p->seed;
    const uint32_t n = tn_synth_n_tensors(&s->shape);
    for (uint32_t i = 0; i < n; i++) TN_TRY(write_tensor(s, i));
    TN_TRY(tn_progress_report(&p->progress, "synth", s->done_bytes, s->total_bytes));
    return tn_gguf_writer_finish(s->writer);
}

static tn_status synth(const tn_synth_params *params)
{
    tn_synth_params p = TN_SYNTH_PARAMS_INIT;
    TN_REQUIRE(params);
    TN_TRY(TN_PARAMS_READ(tn_synth_params, progress, params, &p));
    if (!p.shape || !p.output_path) return tn_fail(TN_INVALID_ARGUMENT, "a synthetic model needs a shape and an output path");
    if ((unsigned)p.head > TN_SYNTH_HEAD_OWN) return tn_fail(TN_INVALID_ARGUMENT, "head is no value of tn_synth_head");
    synthesis s = {.params = &p};
    const tn_status status = run(&s);
    tn_gguf_writer_destroy(s.writer);
    tn_synth_vocab_deinit(&s.vocab);
    tn_synth_weights_deinit(&s.weights);
    tn_free(s.chunk);
    return status;
}

tn_status tn_synth(const tn_synth_params *params)
{
    tn_float_mode mode = tn_float_mode_enter();
    tn_status status = synth(params);
    tn_float_mode_leave(mode);
    return status;
}
