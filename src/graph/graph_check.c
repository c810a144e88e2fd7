// The shapes and orders that every backend's programs rely on, checked once so that kernels need not.
#include "graph/graph.h"

// What an op takes and gives.
typedef struct op_shape {
    uint8_t n_in;
    bool has_out, has_weight;
    tn_value_type in_type, out_type;
    tn_weight_kind weight_kind;
} op_shape;

static const op_shape op_shapes[TN_OP_COUNT_] = {
    [TN_OP_EMBED] = {0, true, true, TN_VALUE_F32, TN_VALUE_F32, TN_WEIGHT_DENSE},
    [TN_OP_NORM_QUANT] = {1, true, true, TN_VALUE_F32, TN_VALUE_Q8, TN_WEIGHT_DENSE},
    [TN_OP_QUANT] = {1, true, false, TN_VALUE_F32, TN_VALUE_Q8, TN_WEIGHT_DENSE},
    [TN_OP_NORM] = {1, true, true, TN_VALUE_F32, TN_VALUE_F32, TN_WEIGHT_DENSE},
    [TN_OP_MATMUL_TERNARY] = {1, true, true, TN_VALUE_Q8, TN_VALUE_F32, TN_WEIGHT_TERNARY},
    [TN_OP_MATMUL_DENSE] = {1, true, true, TN_VALUE_F32, TN_VALUE_F32, TN_WEIGHT_DENSE},
    [TN_OP_ROPE] = {1, true, true, TN_VALUE_F32, TN_VALUE_F32, TN_WEIGHT_TABLE},
    [TN_OP_KV_APPEND] = {2, false, false, TN_VALUE_F32, TN_VALUE_F32, TN_WEIGHT_DENSE},
    [TN_OP_ATTENTION] = {1, true, false, TN_VALUE_F32, TN_VALUE_F32, TN_WEIGHT_DENSE},
    [TN_OP_GLU] = {2, true, false, TN_VALUE_F32, TN_VALUE_F32, TN_WEIGHT_DENSE},
    [TN_OP_ADD] = {2, true, false, TN_VALUE_F32, TN_VALUE_F32, TN_WEIGHT_DENSE},
    [TN_OP_COPY] = {1, true, false, TN_VALUE_F32, TN_VALUE_F32, TN_WEIGHT_DENSE},
};

static tn_status bad(const tn_graph *graph, uint32_t index, const char *what)
{
    const tn_node *node = &graph->nodes[index];
    return tn_fail(TN_INVALID_ARGUMENT, "graph node %u (%s, layer %d): %s", (unsigned)index, tn_op_name(node->op), (int)node->layer, what);
}

static tn_status check_links(const tn_graph *graph, uint32_t index)
{
    const tn_node *node = &graph->nodes[index];
    const op_shape *shape = &op_shapes[node->op];
    uint32_t first_unborn = node->out; // values are numbered in the order of the nodes that make them
    for (uint32_t i = index + 1; first_unborn == TN_NONE && i < graph->n_nodes; i++) first_unborn = graph->nodes[i].out;
    if (first_unborn == TN_NONE) first_unborn = graph->n_values;

    for (uint32_t i = 0; i < 2; i++) {
        if (i >= shape->n_in) {
            if (node->in[i] != TN_NONE) return bad(graph, index, "has an input too many");
            continue;
        }
        if (node->in[i] >= first_unborn) return bad(graph, index, "an input is not computed before it");
        if (graph->values[node->in[i]].type != shape->in_type) return bad(graph, index, "an input is of the wrong type");
        if (graph->values[node->in[i]].rows != graph->values[node->in[0]].rows) return bad(graph, index, "its inputs differ in rows");
    }
    if (shape->has_out != (node->out != TN_NONE)) return bad(graph, index, "its output is missing or too many");
    if (shape->has_out && (node->out >= graph->n_values || graph->values[node->out].type != shape->out_type))
        return bad(graph, index, "its output is of the wrong type");
    if (shape->has_out && graph->values[node->out].width == 0) return bad(graph, index, "its output has no columns");
    if (shape->has_weight != (node->weight != TN_NONE)) return bad(graph, index, "its weight is missing or too many");
    if (shape->has_weight && node->weight >= graph->n_weights) return bad(graph, index, "its weight does not exist");
    if (shape->has_weight && graph->weights[node->weight].kind != shape->weight_kind)
        return bad(graph, index, "its weight is of the wrong kind");
    return TN_OK;
}

static tn_status check_heads(const tn_graph *graph, uint32_t index, uint32_t q_width, uint32_t kv_width)
{
    const tn_node *node = &graph->nodes[index];
    uint32_t heads = node->p.attention.n_heads, kv_heads = node->p.attention.n_kv_heads, head_dim = node->p.attention.head_dim;
    if (heads == 0 || kv_heads == 0 || heads % kv_heads != 0) return bad(graph, index, "heads are not a multiple of the KV heads");
    if (head_dim == 0 || head_dim % 2 != 0) return bad(graph, index, "the head dimension is not an even number");
    if (kv_heads != graph->n_kv_heads || head_dim != graph->head_dim) return bad(graph, index, "its KV shape differs from the graph's");
    if (q_width && q_width != (uint64_t)heads * head_dim) return bad(graph, index, "q is not heads x head dimension wide");
    if (kv_width && kv_width != (uint64_t)kv_heads * head_dim) return bad(graph, index, "k or v is not KV heads x head dimension wide");
    if (node->layer < 0 || (uint32_t)node->layer >= graph->n_layers) return bad(graph, index, "attention outside the layers");
    return TN_OK;
}

static tn_status check_shapes(const tn_graph *graph, uint32_t index)
{
    const tn_node *node = &graph->nodes[index];
    uint32_t in0 = node->in[0] == TN_NONE ? 0 : graph->values[node->in[0]].width;
    uint32_t in1 = node->in[1] == TN_NONE ? 0 : graph->values[node->in[1]].width;
    uint32_t out = node->out == TN_NONE ? 0 : graph->values[node->out].width;
    uint32_t rows = node->weight == TN_NONE ? 0 : graph->weights[node->weight].n_rows;
    uint32_t cols = node->weight == TN_NONE ? 0 : graph->weights[node->weight].n_cols;
    switch (node->op) {
    case TN_OP_EMBED:
        if (cols != out || rows != graph->n_vocab) return bad(graph, index, "the embedding is not vocabulary x width");
        break;
    case TN_OP_NORM_QUANT:
    case TN_OP_NORM:
        if (rows != 1 || cols != in0 || out != in0) return bad(graph, index, "gains and width differ");
        if (!(node->p.norm.eps >= 0 && node->p.norm.eps < 1)) return bad(graph, index, "epsilon is not in [0, 1)");
        break;
    case TN_OP_MATMUL_TERNARY:
        if ((uint64_t)in0 * 127 >= 1u << 24) return bad(graph, index, "the inputs are too many for exact sums (127 K >= 2^24)");
        if (cols != in0 || rows != out) return bad(graph, index, "the matrix is not outputs x inputs");
        break;
    case TN_OP_MATMUL_DENSE:
        if (cols != in0 || rows != out) return bad(graph, index, "the matrix is not outputs x inputs");
        break;
    case TN_OP_ROPE:
        if (node->p.rope.head_dim != cols || node->p.rope.head_dim % 2 != 0 || rows != graph->n_ctx)
            return bad(graph, index, "the table is not context x head dimension");
        if (out != in0 || in0 != (uint64_t)node->p.rope.n_heads * node->p.rope.head_dim)
            return bad(graph, index, "width is not heads x head dimension");
        break;
    case TN_OP_KV_APPEND:
        if (in0 != in1) return bad(graph, index, "k and v differ in width");
        return check_heads(graph, index, 0, in0);
    case TN_OP_ATTENTION:
        if (out != in0) return bad(graph, index, "output and q differ in width");
        return check_heads(graph, index, in0, 0);
    case TN_OP_GLU:
    case TN_OP_ADD:
        if (in0 != in1 || out != in0) return bad(graph, index, "widths differ");
        break;
    case TN_OP_QUANT:
    case TN_OP_COPY:
        if (out != in0) return bad(graph, index, "widths differ");
        break;
    case TN_OP_COUNT_: break;
    }
    return TN_OK;
}

tn_status tn_graph_check(const tn_graph *graph)
{
    int32_t layer = TN_LAYER_EMBED;
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        const tn_node *node = &graph->nodes[i];
        if ((unsigned)node->op >= TN_OP_COUNT_) return bad(graph, i, "no such op");
        if (node->layer < layer) return bad(graph, i, "layers are not in ascending order");
        if (node->layer != TN_LAYER_HEAD && node->layer >= (int32_t)graph->n_layers) return bad(graph, i, "a layer too many");
        layer = node->layer;
        TN_TRY(check_links(graph, i));
        TN_TRY(check_shapes(graph, i));
    }
    if (graph->n_nodes == 0) return tn_fail(TN_INVALID_ARGUMENT, "the graph has no nodes");
    return TN_OK;
}
