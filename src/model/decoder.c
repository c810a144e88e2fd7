// The graph of a decoder, from the tensors that GGUF names.
#include "model/decoder.h"

#include <stdio.h>

// One layer under construction.
typedef struct builder {
    tn_loader *loader;
    const tn_decoder_style *style;
    int32_t layer;
    uint32_t rope; // weight index of the table
} builder;

static tn_status add(builder *b, tn_node node, tn_value_type type, uint32_t width, uint32_t *out_value)
{
    node.layer = b->layer;
    return tn_graph_add_node(b->loader->graph, &node, type, width, out_value);
}

static void tensor_name(const builder *b, const char *what, char name[64]) { snprintf(name, 64, "blk.%d.%s", (int)b->layer, what); }

// x -> codes of norm(x) * gains, or of x itself where there are no gains (NULL).
static tn_status norm_quant(builder *b, const char *gains, uint32_t x, uint32_t width, uint32_t *out)
{
    char name[64];
    uint32_t weight;
    if (!gains) {
        tn_node quant = {.op = TN_OP_QUANT, .in = {x, TN_NONE}, .weight = TN_NONE};
        return add(b, quant, TN_VALUE_Q8, width, out);
    }
    tensor_name(b, gains, name);
    TN_TRY(tn_loader_gains(b->loader, name, width, &weight));
    tn_node node = {.op = TN_OP_NORM_QUANT, .in = {x, TN_NONE}, .weight = weight, .p.norm.eps = b->loader->hparams.norm_eps};
    return add(b, node, TN_VALUE_Q8, width, out);
}

static tn_status linear(builder *b, const char *matrix, const char *trace, uint32_t x, uint32_t n_out, uint32_t n_in, uint32_t *out)
{
    char name[64];
    uint32_t weight;
    tensor_name(b, matrix, name);
    TN_TRY(tn_loader_ternary(b->loader, name, n_out, n_in, &weight));
    tn_node node = {.op = TN_OP_MATMUL_TERNARY, .in = {x, TN_NONE}, .weight = weight, .trace = trace};
    return add(b, node, TN_VALUE_F32, n_out, out);
}

static tn_status rope(builder *b, const char *trace, uint32_t x, uint32_t n_heads, uint32_t *out)
{
    uint32_t head_dim = b->loader->hparams.head_dim;
    tn_node node = {
        .op = TN_OP_ROPE, .in = {x, TN_NONE}, .weight = b->rope, .trace = trace, .p.rope = {n_heads, head_dim, b->style->rope_pairs}};
    return add(b, node, TN_VALUE_F32, n_heads * head_dim, out);
}

static tn_status residual(builder *b, const char *trace, uint32_t x, uint32_t y, uint32_t *out)
{
    tn_node node = {.op = TN_OP_ADD, .in = {x, y}, .weight = TN_NONE, .trace = trace};
    return add(b, node, TN_VALUE_F32, b->loader->hparams.n_embd, out);
}

static tn_status attention_block(builder *b, uint32_t x, uint32_t *out)
{
    const tn_hparams *h = &b->loader->hparams;
    uint32_t q_width = h->n_heads * h->head_dim, kv_width = h->n_kv_heads * h->head_dim;
    uint32_t n, q, k, v, o;
    TN_TRY(norm_quant(b, "attn_norm", x, h->n_embd, &n));
    TN_TRY(linear(b, "attn_q", NULL, n, q_width, h->n_embd, &q));
    TN_TRY(rope(b, "q", q, h->n_heads, &q));
    TN_TRY(linear(b, "attn_k", NULL, n, kv_width, h->n_embd, &k));
    TN_TRY(rope(b, "k", k, h->n_kv_heads, &k));
    TN_TRY(linear(b, "attn_v", "v", n, kv_width, h->n_embd, &v));
    tn_node append = {.op = TN_OP_KV_APPEND, .in = {k, v}, .weight = TN_NONE, .p.attention = {h->n_heads, h->n_kv_heads, h->head_dim}};
    TN_TRY(add(b, append, TN_VALUE_F32, 0, NULL));
    tn_node attention = {.op = TN_OP_ATTENTION,
                         .in = {q, TN_NONE},
                         .weight = TN_NONE,
                         .trace = "attn",
                         .p.attention = {h->n_heads, h->n_kv_heads, h->head_dim}};
    TN_TRY(add(b, attention, TN_VALUE_F32, q_width, &o));
    TN_TRY(norm_quant(b, b->style->sub_norms ? "attn_sub_norm" : NULL, o, q_width, &n));
    TN_TRY(linear(b, "attn_output", NULL, n, h->n_embd, q_width, &o));
    return residual(b, "mid", x, o, out);
}

static tn_status feed_forward(builder *b, uint32_t x, uint32_t *out)
{
    const tn_hparams *h = &b->loader->hparams;
    uint32_t n, gate, up, y;
    TN_TRY(norm_quant(b, "ffn_norm", x, h->n_embd, &n));
    TN_TRY(linear(b, "ffn_gate", NULL, n, h->n_ff, h->n_embd, &gate));
    TN_TRY(linear(b, "ffn_up", NULL, n, h->n_ff, h->n_embd, &up));
    tn_node glu = {.op = TN_OP_GLU, .in = {gate, up}, .weight = TN_NONE, .trace = "glu", .p.glu.kind = h->glu};
    TN_TRY(add(b, glu, TN_VALUE_F32, h->n_ff, &y));
    TN_TRY(norm_quant(b, b->style->sub_norms ? "ffn_sub_norm" : NULL, y, h->n_ff, &n));
    TN_TRY(linear(b, "ffn_down", NULL, n, h->n_embd, h->n_ff, &y));
    return residual(b, "out", x, y, out);
}

static tn_status head(builder *b, uint32_t x, uint32_t embedding)
{
    const tn_hparams *h = &b->loader->hparams;
    b->layer = TN_LAYER_HEAD;
    uint32_t gains, matrix = embedding;
    tn_node rows = {.op = TN_OP_COPY, .in = {x, TN_NONE}, .weight = TN_NONE};
    TN_TRY(add(b, rows, TN_VALUE_F32, h->n_embd, &x));
    TN_TRY(tn_loader_gains(b->loader, "output_norm", h->n_embd, &gains));
    tn_node norm = {.op = TN_OP_NORM, .in = {x, TN_NONE}, .weight = gains, .trace = "norm", .p.norm.eps = h->norm_eps};
    TN_TRY(add(b, norm, TN_VALUE_F32, h->n_embd, &x));
    if (tn_loader_has(b->loader, "output")) TN_TRY(tn_loader_dense(b->loader, "output", h->n_vocab, h->n_embd, &matrix));
    tn_node logits = {.op = TN_OP_MATMUL_DENSE, .in = {x, TN_NONE}, .weight = matrix, .trace = "logits"};
    return add(b, logits, TN_VALUE_F32, h->n_vocab, NULL);
}

tn_status tn_decoder_build(tn_loader *loader, const tn_decoder_style *style)
{
    const tn_hparams *h = &loader->hparams;
    builder b = {.loader = loader, .style = style, .layer = TN_LAYER_EMBED};
    uint32_t x, embedding;
    TN_TRY(tn_loader_rope(loader, &b.rope));
    TN_TRY(tn_loader_dense(loader, "token_embd", h->n_vocab, h->n_embd, &embedding));
    tn_node embed = {.op = TN_OP_EMBED, .in = {TN_NONE, TN_NONE}, .weight = embedding, .trace = "embed"};
    TN_TRY(add(&b, embed, TN_VALUE_F32, h->n_embd, &x));
    for (b.layer = 0; b.layer < (int32_t)h->n_layers; b.layer++) {
        TN_TRY(attention_block(&b, x, &x));
        TN_TRY(feed_forward(&b, x, &x));
    }
    return head(&b, x, embedding);
}
