// Graphs of made-up models. Their weights are put together from a few random rows, so that none of them lies in memory but as it is packed.
#include "runtime/calibrate_net.h"

#include "base/alloc.h"

#include <string.h>

enum { DENSE_ROWS = 16, CODES_BYTES = 1 << 18 }; // rows of which dense weights consist; codes of which ternary ones do

struct tn_calibration_net {
    tn_graph *graph;
    tn_calibration_shape shape;
    int8_t *codes;  // [CODES_BYTES + the longest row]
    uint8_t *dense; // [DENSE_ROWS] rows of the embedding
    float *gains;   // of the widest norm
    uint64_t random;
    // Of the layer that is being built.
    int32_t layer;
    uint32_t rope, gains_embd, gains_ff, gains_heads;
};

static const float scale = 0.03f;

static uint32_t next_random(tn_calibration_net *net)
{
    net->random = net->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(net->random >> 33);
}

// ---- weights ----

static tn_status read_codes(const tn_weight_source *self, uint32_t row, uint32_t n, void *dst)
{
    const tn_calibration_net *net = self->ctx;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t at = (uint32_t)((row + i) * 2654435761u) % CODES_BYTES;
        memcpy((int8_t *)dst + (size_t)i * self->n_cols, net->codes + at, self->n_cols);
    }
    return TN_OK;
}

static tn_status read_dense(const tn_weight_source *self, uint32_t row, uint32_t n, void *dst)
{
    const tn_calibration_net *net = self->ctx;
    const size_t row_bytes = tn_dtype_row_bytes(self->dtype, self->n_cols);
    for (uint32_t i = 0; i < n; i++) memcpy((uint8_t *)dst + i * row_bytes, net->dense + (row + i) % DENSE_ROWS * row_bytes, row_bytes);
    return TN_OK;
}

static tn_status read_gains(const tn_weight_source *self, uint32_t row, uint32_t n, void *dst)
{
    const tn_calibration_net *net = self->ctx;
    (void)row;
    for (uint32_t i = 0; i < n; i++) memcpy((float *)dst + (size_t)i * self->n_cols, net->gains, self->n_cols * sizeof(float));
    return TN_OK;
}

// Cosines and sines of one angle.
static tn_status read_table(const tn_weight_source *self, uint32_t row, uint32_t n, void *dst)
{
    (void)row;
    for (size_t i = 0; i < (size_t)n * self->n_cols; i++) ((float *)dst)[i] = i % self->n_cols < self->n_cols / 2 ? 0.8f : 0.6f;
    return TN_OK;
}

static tn_status add_weight(tn_calibration_net *net, tn_weight_source source, uint32_t *out)
{
    const tn_calibration_shape *s = &net->shape;
    const uint64_t n_embd = s->n_embd, q_width = (uint64_t)s->n_heads * s->head_dim, kv_width = (uint64_t)s->n_kv_heads * s->head_dim;
    source.name = "calibration";
    source.ctx = net;
    source.n_model_ternary = s->n_layers * n_embd * (2 * q_width + 2 * kv_width + 3 * (uint64_t)s->n_ff);
    return tn_graph_add_weight(net->graph, &source, out);
}

static tn_status add_gains(tn_calibration_net *net, uint32_t n, uint32_t *out)
{
    return add_weight(
        net, (tn_weight_source){.kind = TN_WEIGHT_DENSE, .dtype = TN_DTYPE_F32, .n_rows = 1, .n_cols = n, .read_rows = read_gains}, out);
}

// Any codes; where a block has numbers of 16 bits, ordinary ones.
static void fill_dense(tn_calibration_net *net, tn_dtype dtype, size_t n_bytes)
{
    const uint32_t block_bytes = tn_dtype_get(dtype)->block_bytes;
    const uint16_t half = dtype == TN_DTYPE_BF16 ? 0x3c00 : 0x2400; // about 1/64
    for (size_t i = 0; i < n_bytes; i++) net->dense[i] = (uint8_t)next_random(net);
    for (size_t at = 0; at + block_bytes <= n_bytes; at += block_bytes) {
        uint8_t *block = net->dense + at;
        const uint16_t value = half | (uint16_t)(block_bytes == 2 ? (next_random(net) & 0x83ffu) : 0);
        const float single = (float)(int32_t)(next_random(net) & 0xff) * 0x1p-8f - 0.5f;
        if (dtype == TN_DTYPE_F32)
            memcpy(block, &single, sizeof single);
        else if (dtype == TN_DTYPE_Q6_K)
            memcpy(block + block_bytes - sizeof value, &value, sizeof value);
        else
            memcpy(block, &value, sizeof value);
        if (dtype == TN_DTYPE_Q4_K) memcpy(block + sizeof value, &value, sizeof value); // of its minima
    }
}

static tn_status make_rows(tn_calibration_net *net)
{
    const tn_calibration_shape *s = &net->shape;
    const uint32_t q_width = s->n_heads * s->head_dim;
    uint32_t widest = s->n_embd > s->n_ff ? s->n_embd : s->n_ff;
    if (q_width > widest) widest = q_width;
    const size_t n_dense = DENSE_ROWS * tn_dtype_row_bytes(s->dense, s->n_embd);
    TN_TRY(tn_alloc((size_t)CODES_BYTES + widest, 1, &net->codes));
    TN_TRY(tn_alloc(n_dense, 1, &net->dense));
    TN_TRY(tn_alloc(widest, sizeof *net->gains, &net->gains));
    for (size_t i = 0; i < (size_t)CODES_BYTES + widest; i++) net->codes[i] = (int8_t)((int32_t)(next_random(net) % 3) - 1);
    for (uint32_t i = 0; i < widest; i++) net->gains[i] = 1.0f;
    fill_dense(net, s->dense, n_dense);
    return TN_OK;
}

// ---- nodes ----

static tn_status add(tn_calibration_net *net, tn_node node, tn_value_type type, uint32_t width, uint32_t *out)
{
    node.layer = net->layer;
    return tn_graph_add_node(net->graph, &node, type, width, out);
}

static tn_status norm_quant(tn_calibration_net *net, uint32_t x, uint32_t gains, uint32_t *out)
{
    return add(net, (tn_node){.op = TN_OP_NORM_QUANT, .in = {x, TN_NONE}, .weight = gains, .p.norm.eps = 1e-5f}, TN_VALUE_Q8,
               net->graph->values[x].width, out);
}

static tn_status linear(tn_calibration_net *net, uint32_t x, uint32_t n_out, uint32_t *out)
{
    uint32_t weight;
    const tn_weight_source source = {.kind = TN_WEIGHT_TERNARY,
                                     .n_rows = n_out,
                                     .n_cols = net->graph->values[x].width,
                                     .scale_kind = TN_SCALE_TENSOR,
                                     .scales = &scale,
                                     .read_rows = read_codes};
    TN_TRY(add_weight(net, source, &weight));
    return add(net, (tn_node){.op = TN_OP_MATMUL_TERNARY, .in = {x, TN_NONE}, .weight = weight}, TN_VALUE_F32, n_out, out);
}

static tn_status rope(tn_calibration_net *net, uint32_t x, uint32_t n_heads, uint32_t *out)
{
    const tn_node node = {
        .op = TN_OP_ROPE, .in = {x, TN_NONE}, .weight = net->rope, .p.rope = {n_heads, net->shape.head_dim, TN_ROPE_HALVES}};
    return add(net, node, TN_VALUE_F32, net->graph->values[x].width, out);
}

static tn_status sum(tn_calibration_net *net, uint32_t x, uint32_t y, uint32_t *out)
{
    return add(net, (tn_node){.op = TN_OP_ADD, .in = {x, y}, .weight = TN_NONE}, TN_VALUE_F32, net->graph->values[x].width, out);
}

static tn_status attention_block(tn_calibration_net *net, uint32_t x, uint32_t *out)
{
    const tn_calibration_shape *s = &net->shape;
    const uint32_t q_width = s->n_heads * s->head_dim, kv_width = s->n_kv_heads * s->head_dim;
    uint32_t n, q, k, v, o;
    TN_TRY(norm_quant(net, x, net->gains_embd, &n));
    TN_TRY(linear(net, n, q_width, &q));
    TN_TRY(rope(net, q, s->n_heads, &q));
    TN_TRY(linear(net, n, kv_width, &k));
    TN_TRY(rope(net, k, s->n_kv_heads, &k));
    TN_TRY(linear(net, n, kv_width, &v));
    tn_node node = {.op = TN_OP_KV_APPEND, .in = {k, v}, .weight = TN_NONE, .p.attention = {s->n_heads, s->n_kv_heads, s->head_dim}};
    TN_TRY(add(net, node, TN_VALUE_F32, 0, NULL));
    node.op = TN_OP_ATTENTION;
    node.in[0] = q;
    node.in[1] = TN_NONE;
    TN_TRY(add(net, node, TN_VALUE_F32, q_width, &o));
    TN_TRY(norm_quant(net, o, net->gains_heads, &n));
    TN_TRY(linear(net, n, s->n_embd, &o));
    return sum(net, x, o, out);
}

// The gate is one of SiLU: whether a device leaves products out of steps depends on the model, and it would count zeros here.
static tn_status feed_forward(tn_calibration_net *net, uint32_t x, uint32_t *out)
{
    const tn_calibration_shape *s = &net->shape;
    uint32_t n, gate, up, y;
    TN_TRY(norm_quant(net, x, net->gains_embd, &n));
    TN_TRY(linear(net, n, s->n_ff, &gate));
    TN_TRY(linear(net, n, s->n_ff, &up));
    TN_TRY(add(net, (tn_node){.op = TN_OP_GLU, .in = {gate, up}, .weight = TN_NONE, .p.glu.kind = TN_GLU_SILU}, TN_VALUE_F32, s->n_ff, &y));
    TN_TRY(norm_quant(net, y, net->gains_ff, &n));
    TN_TRY(linear(net, n, s->n_embd, &y));
    return sum(net, x, y, out);
}

static tn_status build(tn_calibration_net *net)
{
    const tn_calibration_shape *s = &net->shape;
    uint32_t embedding, x;
    TN_TRY(add_weight(net,
                      (tn_weight_source){.kind = TN_WEIGHT_TABLE,
                                         .dtype = TN_DTYPE_F32,
                                         .n_rows = TN_CALIBRATION_POSITIONS,
                                         .n_cols = s->head_dim,
                                         .read_rows = read_table},
                      &net->rope));
    TN_TRY(add_gains(net, s->n_embd, &net->gains_embd));
    TN_TRY(add_gains(net, s->n_ff, &net->gains_ff));
    TN_TRY(add_gains(net, s->n_heads * s->head_dim, &net->gains_heads));
    TN_TRY(add_weight(
        net,
        (tn_weight_source){.kind = TN_WEIGHT_DENSE, .dtype = s->dense, .n_rows = s->n_vocab, .n_cols = s->n_embd, .read_rows = read_dense},
        &embedding));
    net->layer = TN_LAYER_EMBED;
    TN_TRY(add(net, (tn_node){.op = TN_OP_EMBED, .in = {TN_NONE, TN_NONE}, .weight = embedding}, TN_VALUE_F32, s->n_embd, &x));
    for (net->layer = 0; net->layer < (int32_t)s->n_layers; net->layer++) {
        TN_TRY(attention_block(net, x, &x));
        TN_TRY(feed_forward(net, x, &x));
    }
    net->layer = TN_LAYER_HEAD;
    TN_TRY(add(net, (tn_node){.op = TN_OP_COPY, .in = {x, TN_NONE}, .weight = TN_NONE}, TN_VALUE_F32, s->n_embd, &x));
    TN_TRY(add(net, (tn_node){.op = TN_OP_NORM, .in = {x, TN_NONE}, .weight = net->gains_embd, .p.norm.eps = 1e-5f}, TN_VALUE_F32,
               s->n_embd, &x));
    TN_TRY(add(net, (tn_node){.op = TN_OP_MATMUL_DENSE, .in = {x, TN_NONE}, .weight = embedding}, TN_VALUE_F32, s->n_vocab, NULL));
    return tn_graph_check(net->graph);
}

tn_status tn_calibration_net_create(const tn_calibration_shape *shape, tn_calibration_net **out_net)
{
    *out_net = NULL;
    tn_status status;
    tn_calibration_net *net;
    TN_TRY(tn_alloc_zero(1, sizeof *net, &net));
    net->shape = *shape;
    net->random = 0x63616c6962726174u;
    TN_TRY_GOTO(tn_graph_create(&net->graph));
    net->graph->n_layers = shape->n_layers;
    net->graph->n_vocab = shape->n_vocab;
    net->graph->n_ctx = TN_CALIBRATION_POSITIONS;
    net->graph->n_kv_heads = shape->n_kv_heads;
    net->graph->head_dim = shape->head_dim;
    TN_TRY_GOTO(make_rows(net));
    TN_TRY_GOTO(build(net));
    *out_net = net;
    return TN_OK;
fail:
    tn_calibration_net_destroy(net);
    return status;
}

void tn_calibration_net_destroy(tn_calibration_net *net)
{
    if (!net) return;
    tn_graph_destroy(net->graph);
    tn_free(net->codes);
    tn_free(net->dense);
    tn_free(net->gains);
    tn_free(net);
}

const tn_graph *tn_calibration_net_graph(const tn_calibration_net *net) { return net->graph; }

// ---- sizes ----

enum {
    FAR_CACHES = 4,   // weights of so many caches are found in none
    LAYERS_KNOWN = 4, // of shapes that need not leave a cache
    LAYERS_MAX = 24,
    ROWS_MIN = 1024,
    ROWS_MAX = 262144,
};
static const uint64_t head_bytes_known = (uint64_t)64 << 20; // the same of heads

static uint64_t layer_bytes(const tn_calibration_shape *shape)
{
    const uint64_t q_width = (uint64_t)shape->n_heads * shape->head_dim, kv_width = (uint64_t)shape->n_kv_heads * shape->head_dim;
    return shape->n_embd * (2 * q_width + 2 * kv_width + 3 * (uint64_t)shape->n_ff) / 4;
}

uint32_t tn_calibration_far_layers(const tn_calibration_shape *shape, uint64_t cache_bytes, uint64_t memory_bytes)
{
    const uint64_t bytes = layer_bytes(shape), wanted = cache_bytes / 1024 * FAR_CACHES / (bytes / 1024 + 1) + 1,
                   most = memory_bytes / 4 / bytes;
    uint64_t n = cache_bytes == 0 ? LAYERS_KNOWN : wanted;
    if (n > LAYERS_MAX) n = LAYERS_MAX;
    if (n > most) n = most;
    return n < 2 ? 2 : (uint32_t)n;
}

uint32_t tn_calibration_far_rows(const tn_calibration_shape *shape, uint64_t cache_bytes, uint64_t memory_bytes)
{
    uint64_t bytes = cache_bytes ? cache_bytes * FAR_CACHES : head_bytes_known;
    if (bytes > memory_bytes / 4) bytes = memory_bytes / 4;
    const uint64_t n = bytes / tn_dtype_row_bytes(shape->dense, shape->n_embd);
    return n < ROWS_MIN ? ROWS_MIN : n > ROWS_MAX ? ROWS_MAX : (uint32_t)n;
}
