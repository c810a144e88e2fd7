// The net of the self-test: every op for itself over every type of weight, two layers as models have them, attention over other heads.
#include "selftest/selftest_net.h"

#include "base/alloc.h"

#include <assert.h>
#include <string.h>

enum {
    MEMORY_BYTES = 9 << 20, // nine tenths are used
    ALIGNMENT = 64,
    WIDTH_FLOAT = 300, // of rows of types without blocks
    WIDTH_32 = 288,    // with blocks of 32
    WIDTH_256 = 512,
    N_OUTPUTS = 37, // of dense weights
    WIDTH = 200,    // of the layers
    WIDTH_FF = 256, // whole blocks of what sums and codes are made of, which WIDTH is not
};

// ---- numbers ----

static uint32_t next_random(tn_selftest_net *net)
{
    net->random = net->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(net->random >> 32);
}

float tn_selftest_random(tn_selftest_net *net, float range) { return ((float)(int32_t)next_random(net) * 0x1p-31f) * range; }

// Bits of a number of either sign with a random fraction and one of eight exponents from `exponent` on.
static uint16_t random_bits(tn_selftest_net *net, uint32_t fraction_bits, uint32_t exponent_bits, uint32_t exponent)
{
    const uint32_t r = next_random(net), sign = r >> 31 << (fraction_bits + exponent_bits);
    return (uint16_t)(sign | (exponent + (r >> 28 & 7)) << fraction_bits | (r & ((1u << fraction_bits) - 1)));
}

// Zeroed. The net is always the same, and so is what it takes.
static void *take(tn_selftest_net *net, size_t n_bytes)
{
    uint8_t *at = net->memory + net->used;
    net->used += (n_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    assert(net->used <= MEMORY_BYTES);
    return at;
}

// ---- weights ----

static tn_status read_rows(const tn_weight_source *self, uint32_t row, uint32_t n, void *dst)
{
    const size_t row_bytes = self->kind == TN_WEIGHT_TERNARY ? self->n_cols : tn_dtype_row_bytes(self->dtype, self->n_cols);
    memcpy(dst, (const uint8_t *)self->ctx + row_bytes * row, row_bytes * n);
    return TN_OK;
}

static uint32_t add_weight(tn_selftest_net *net, const tn_weight_source *source)
{
    assert(net->graph.n_weights < TN_SELFTEST_WEIGHTS);
    net->weights[net->graph.n_weights] = *source;
    net->weights[net->graph.n_weights].name = "self-test";
    net->weights[net->graph.n_weights].read_rows = read_rows;
    return net->graph.n_weights++;
}

static uint32_t ternary(tn_selftest_net *net, uint32_t n_rows, uint32_t n_cols, tn_scale_kind scale_kind)
{
    int8_t *codes = take(net, (size_t)n_rows * n_cols);
    for (size_t i = 0; i < (size_t)n_rows * n_cols; i++) codes[i] = (int8_t)((int32_t)(next_random(net) % 3) - 1);
    const uint32_t n_scales = scale_kind == TN_SCALE_ROW ? n_rows : 1;
    float *scales = take(net, n_scales * sizeof *scales);
    for (uint32_t i = 0; i < n_scales; i++) scales[i] = 0.02f + (float)(next_random(net) >> 16) * 0x1p-18f;
    return add_weight(
        net, &(tn_weight_source){
                 .kind = TN_WEIGHT_TERNARY, .n_rows = n_rows, .n_cols = n_cols, .scale_kind = scale_kind, .scales = scales, .ctx = codes});
}

// Rows in file form: any codes; scales and numbers of ordinary size.
static uint32_t dense(tn_selftest_net *net, tn_dtype dtype, uint32_t n_rows, uint32_t n_cols)
{
    const size_t n_bytes = n_rows * tn_dtype_row_bytes(dtype, n_cols), block_bytes = tn_dtype_get(dtype)->block_bytes;
    uint8_t *bytes = take(net, n_bytes);
    for (size_t i = 0; i < n_bytes; i++) bytes[i] = (uint8_t)(next_random(net) >> 24);
    for (size_t at = 0; at + block_bytes <= n_bytes; at += block_bytes) {
        const float x = tn_selftest_random(net, 1.0f);
        const uint16_t half = dtype == TN_DTYPE_BF16 ? random_bits(net, 7, 8, 120) : random_bits(net, 10, 5, 6);
        if (dtype == TN_DTYPE_F32)
            memcpy(bytes + at, &x, sizeof x);
        else
            memcpy(bytes + at + (dtype == TN_DTYPE_Q6_K ? block_bytes - sizeof half : 0), &half, sizeof half);
    }
    return add_weight(net, &(tn_weight_source){.kind = TN_WEIGHT_DENSE, .dtype = dtype, .n_rows = n_rows, .n_cols = n_cols, .ctx = bytes});
}

static uint32_t rope_table(tn_selftest_net *net, uint32_t head_dim)
{
    const size_t n = (size_t)TN_SELFTEST_POSITIONS * head_dim;
    float *table = take(net, n * sizeof *table);
    for (size_t i = 0; i < n; i++) table[i] = tn_selftest_random(net, 1.0f);
    return add_weight(
        net, &(tn_weight_source){
                 .kind = TN_WEIGHT_TABLE, .dtype = TN_DTYPE_F32, .n_rows = TN_SELFTEST_POSITIONS, .n_cols = head_dim, .ctx = table});
}

// ---- nodes ----

static uint32_t add_value(tn_selftest_net *net, tn_value_type type, tn_rows rows, uint32_t width)
{
    assert(net->graph.n_values < TN_SELFTEST_VALUES);
    const uint32_t index = net->graph.n_values++;
    net->values[index] = (tn_value){.type = type, .rows = rows, .width = width};
    if (type == TN_VALUE_F32)
        net->rows[index].f32 = take(net, (size_t)TN_SELFTEST_WIDE * width * sizeof(float));
    else
        net->rows[index].codes = take(net, (size_t)TN_SELFTEST_WIDE * width);
    return index;
}

// The node's output, of the first input's rows.
static uint32_t add_node(tn_selftest_net *net, tn_node node, uint32_t width)
{
    assert(net->graph.n_nodes < TN_SELFTEST_NODES);
    const bool is_quant = node.op == TN_OP_NORM_QUANT || node.op == TN_OP_QUANT;
    const tn_rows rows = node.op == TN_OP_COPY ? TN_ROWS_LOGITS : node.in[0] == TN_NONE ? TN_ROWS_TOKENS : net->values[node.in[0]].rows;
    node.out = width == 0 ? TN_NONE : add_value(net, is_quant ? TN_VALUE_Q8 : TN_VALUE_F32, rows, width);
    net->nodes[net->graph.n_nodes++] = node;
    return node.out;
}

static uint32_t embed(tn_selftest_net *net, tn_dtype dtype, uint32_t width)
{
    const uint32_t weight = dense(net, dtype, TN_SELFTEST_VOCAB, width);
    return add_node(net, (tn_node){.op = TN_OP_EMBED, .layer = TN_LAYER_EMBED, .in = {TN_NONE, TN_NONE}, .weight = weight}, width);
}

static uint32_t plain(tn_selftest_net *net, tn_op op, uint32_t a, uint32_t b, int32_t layer)
{
    return add_node(net, (tn_node){.op = op, .layer = layer, .in = {a, b}, .weight = TN_NONE}, net->values[a].width);
}

static uint32_t glu(tn_selftest_net *net, tn_glu_kind kind, uint32_t gate, uint32_t up, int32_t layer)
{
    return add_node(net, (tn_node){.op = TN_OP_GLU, .layer = layer, .in = {gate, up}, .weight = TN_NONE, .p.glu.kind = kind},
                    net->values[gate].width);
}

static uint32_t norm(tn_selftest_net *net, tn_op op, uint32_t x, int32_t layer)
{
    const uint32_t width = net->values[x].width, gains = dense(net, TN_DTYPE_F32, 1, width);
    return add_node(net, (tn_node){.op = op, .layer = layer, .in = {x, TN_NONE}, .weight = gains, .p.norm.eps = 1e-5f}, width);
}

static uint32_t product(tn_selftest_net *net, tn_op op, uint32_t x, uint32_t weight, int32_t layer)
{
    return add_node(net, (tn_node){.op = op, .layer = layer, .in = {x, TN_NONE}, .weight = weight}, net->weights[weight].n_rows);
}

static uint32_t ternary_of(tn_selftest_net *net, uint32_t x, uint32_t n, tn_scale_kind scale_kind, int32_t layer)
{
    return product(net, TN_OP_MATMUL_TERNARY, x, ternary(net, n, net->values[x].width, scale_kind), layer);
}

static uint32_t dense_of(tn_selftest_net *net, uint32_t x, tn_dtype dtype)
{
    return product(net, TN_OP_MATMUL_DENSE, x, dense(net, dtype, N_OUTPUTS, net->values[x].width), TN_LAYER_EMBED);
}

static void add_singles(tn_selftest_net *net)
{
    const uint32_t f32 = embed(net, TN_DTYPE_F32, WIDTH_FLOAT), f16 = embed(net, TN_DTYPE_F16, WIDTH_FLOAT);
    const uint32_t bf16 = embed(net, TN_DTYPE_BF16, WIDTH_FLOAT), q8_0 = embed(net, TN_DTYPE_Q8_0, WIDTH_32);
    const uint32_t q4_0 = embed(net, TN_DTYPE_Q4_0, WIDTH_32), q6_k = embed(net, TN_DTYPE_Q6_K, WIDTH_256);
    const uint32_t normed = norm(net, TN_OP_NORM, f32, TN_LAYER_EMBED), sum = plain(net, TN_OP_ADD, f32, normed, TN_LAYER_EMBED);
    glu(net, TN_GLU_RELU2, f16, sum, TN_LAYER_EMBED);
    glu(net, TN_GLU_SILU, sum, bf16, TN_LAYER_EMBED);
    dense_of(net, sum, TN_DTYPE_F32);
    dense_of(net, bf16, TN_DTYPE_BF16);
    dense_of(net, q8_0, TN_DTYPE_Q8_0);
    dense_of(net, q4_0, TN_DTYPE_Q4_0);
    dense_of(net, q6_k, TN_DTYPE_Q6_K);
    const uint32_t wanted = plain(net, TN_OP_COPY, f16, TN_NONE, TN_LAYER_EMBED), out = dense_of(net, wanted, TN_DTYPE_F16);
    for (uint32_t i = 0; i < out; i++) net->is_tapped[i] = true;
    net->singles = (tn_selftest_part){.n_nodes = net->graph.n_nodes, .in_value = TN_NONE, .out_value = out};
}

static uint32_t rope(tn_selftest_net *net, uint32_t x, uint32_t table, uint32_t n_heads, tn_rope_pairs pairs, int32_t layer)
{
    const tn_node node = {.op = TN_OP_ROPE,
                          .layer = layer,
                          .in = {x, TN_NONE},
                          .weight = table,
                          .p.rope = {.n_heads = n_heads, .head_dim = net->weights[table].n_cols, .pairs = pairs}};
    return add_node(net, node, net->values[x].width);
}

static void add_kv(tn_selftest_net *net, int32_t layer, uint32_t n_kv_heads, uint32_t head_dim)
{
    const size_t n_bytes = (size_t)TN_SELFTEST_POSITIONS * head_dim * sizeof(int16_t);
    for (uint32_t h = 0; h < n_kv_heads; h++) {
        for (uint32_t seq = 0; seq < TN_SELFTEST_SEQS; seq++) {
            net->kv[layer][h].k[seq] = take(net, n_bytes);
            net->kv[layer][h].v[seq] = take(net, n_bytes);
        }
    }
}

// Append and attention of turned queries and keys.
static uint32_t attention(tn_selftest_net *net, uint32_t q, uint32_t k, uint32_t v, uint32_t head_dim, int32_t layer)
{
    tn_node node = {.op = TN_OP_KV_APPEND, .layer = layer, .in = {k, v}, .weight = TN_NONE};
    node.p.attention.n_heads = net->values[q].width / head_dim;
    node.p.attention.n_kv_heads = net->values[k].width / head_dim;
    node.p.attention.head_dim = head_dim;
    add_kv(net, layer, node.p.attention.n_kv_heads, head_dim);
    add_node(net, node, 0);
    node.op = TN_OP_ATTENTION;
    node.in[0] = q;
    node.in[1] = TN_NONE;
    return add_node(net, node, net->values[q].width);
}

// What differs between models alternates. Values are tapped where that keeps nodes from no fusion.
static uint32_t add_layer(tn_selftest_net *net, uint32_t x, uint32_t table, int32_t layer)
{
    const bool is_even = layer % 2 == 0;
    const tn_rope_pairs pairs = is_even ? TN_ROPE_HALVES : TN_ROPE_ADJACENT;
    const uint32_t width_q = TN_SELFTEST_HEADS * TN_SELFTEST_HEAD_DIM, width_kv = TN_SELFTEST_KV_HEADS * TN_SELFTEST_HEAD_DIM;
    const uint32_t normed = norm(net, TN_OP_NORM_QUANT, x, layer), q = ternary_of(net, normed, width_q, TN_SCALE_TENSOR, layer);
    const uint32_t k = ternary_of(net, normed, width_kv, TN_SCALE_ROW, layer),
                   v = ternary_of(net, normed, width_kv, TN_SCALE_TENSOR, layer);
    const uint32_t turned_q = rope(net, q, table, TN_SELFTEST_HEADS, pairs, layer);
    const uint32_t turned_k = rope(net, k, table, TN_SELFTEST_KV_HEADS, pairs, layer);
    const uint32_t seen = attention(net, turned_q, turned_k, v, TN_SELFTEST_HEAD_DIM, layer);
    const uint32_t seen_q8 = is_even ? plain(net, TN_OP_QUANT, seen, TN_NONE, layer) : norm(net, TN_OP_NORM_QUANT, seen, layer);
    const uint32_t sum = plain(net, TN_OP_ADD, x, ternary_of(net, seen_q8, WIDTH, TN_SCALE_TENSOR, layer), layer);
    const uint32_t sum_q8 = norm(net, TN_OP_NORM_QUANT, sum, layer);
    const uint32_t gate = ternary_of(net, sum_q8, WIDTH_FF, TN_SCALE_TENSOR, layer),
                   up = ternary_of(net, sum_q8, WIDTH_FF, TN_SCALE_ROW, layer);
    const uint32_t gated = glu(net, is_even ? TN_GLU_RELU2 : TN_GLU_SILU, gate, up, layer);
    const uint32_t gated_q8 = is_even ? norm(net, TN_OP_NORM_QUANT, gated, layer) : plain(net, TN_OP_QUANT, gated, TN_NONE, layer);
    const uint32_t out = plain(net, TN_OP_ADD, sum, ternary_of(net, gated_q8, WIDTH, TN_SCALE_ROW, layer), layer);
    const uint32_t seen_by_others[] = {q, k, v, turned_q, seen, sum, gated, out};
    for (size_t i = 0; i < sizeof seen_by_others / sizeof *seen_by_others; i++) net->is_tapped[seen_by_others[i]] = true;
    return out;
}

static void add_layers(tn_selftest_net *net)
{
    const uint32_t first = net->graph.n_nodes, x = add_value(net, TN_VALUE_F32, TN_ROWS_TOKENS, WIDTH);
    const uint32_t table = rope_table(net, TN_SELFTEST_HEAD_DIM);
    uint32_t out = x;
    for (uint32_t layer = 0; layer < TN_SELFTEST_LAYERS; layer++) {
        out = add_layer(net, out, table, (int32_t)layer);
        net->layers[layer] = (tn_selftest_part){.first_node = first,
                                                .n_nodes = net->graph.n_nodes - first,
                                                .in_value = x,
                                                .out_value = out,
                                                .n_layers = layer + 1,
                                                .n_kv_heads = TN_SELFTEST_KV_HEADS,
                                                .head_dim = TN_SELFTEST_HEAD_DIM};
    }
}

// Of bitnet 3b and Falcon3: no multiple of 8, and more than 128, for which a device may have other kernels. Nothing in them is tapped.
static void add_heads(tn_selftest_net *net)
{
    enum { N_HEADS = 2 };
    static const uint32_t head_dims[TN_SELFTEST_HEAD_PARTS] = {100, 256};
    for (uint32_t i = 0; i < TN_SELFTEST_HEAD_PARTS; i++) {
        const uint32_t first = net->graph.n_nodes, head_dim = head_dims[i], table = rope_table(net, head_dim);
        const int32_t layer = (int32_t)(TN_SELFTEST_LAYERS + i);
        const uint32_t q = embed(net, TN_DTYPE_F32, N_HEADS * head_dim), k = embed(net, TN_DTYPE_F32, head_dim);
        const uint32_t v = embed(net, TN_DTYPE_F32, head_dim);
        const uint32_t turned_q = rope(net, q, table, N_HEADS, TN_ROPE_HALVES, layer);
        const uint32_t turned_k = rope(net, k, table, 1, TN_ROPE_HALVES, layer);
        const uint32_t out = attention(net, turned_q, turned_k, v, head_dim, layer);
        net->heads[i] = (tn_selftest_part){.first_node = first,
                                           .n_nodes = net->graph.n_nodes - first,
                                           .in_value = TN_NONE,
                                           .out_value = out,
                                           .first_layer = TN_SELFTEST_LAYERS + i,
                                           .n_layers = 1,
                                           .n_kv_heads = 1,
                                           .head_dim = head_dim};
    }
}

tn_status tn_selftest_net_create(tn_selftest_net **out_net)
{
    *out_net = NULL;
    tn_status status;
    tn_selftest_net *net;
    TN_TRY(tn_alloc_zero(1, sizeof *net, &net));
    TN_TRY_GOTO(tn_alloc_aligned(MEMORY_BYTES, ALIGNMENT, &net->memory));
    net->random = 0x7465726e696f6eu;
    net->graph = (tn_graph){.values = net->values,
                            .nodes = net->nodes,
                            .weights = net->weights,
                            .n_layers = TN_SELFTEST_LAYERS + TN_SELFTEST_HEAD_PARTS,
                            .n_vocab = TN_SELFTEST_VOCAB,
                            .n_ctx = TN_SELFTEST_POSITIONS};
    add_singles(net);
    add_layers(net);
    add_heads(net);
    *out_net = net;
    return TN_OK;
fail:
    tn_selftest_net_destroy(net);
    return status;
}

void tn_selftest_net_destroy(tn_selftest_net *net)
{
    if (!net) return;
    tn_free(net->memory);
    tn_free(net);
}
