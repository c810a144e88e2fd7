// Graphs made by hand, for tests of what handles graphs: embedding, n layers that each add, head.
#pragma once

#include <gtest/gtest.h>
#include <vector>

extern "C" {
#include "graph/graph.h"
#include "graph/plan.h"
}

namespace tn_test
{

constexpr uint32_t small_width = 8, small_vocab = 16;

inline tn_status read_zero_rows(const tn_weight_source *self, uint32_t, uint32_t n, void *dst)
{
    memset(dst, 0, size_t(n) * self->n_cols * sizeof(float));
    return TN_OK;
}

inline tn_weight_source small_weight(const char *name, uint32_t n_rows, uint32_t n_cols)
{
    tn_weight_source source = {};
    source.name = name;
    source.kind = TN_WEIGHT_DENSE;
    source.dtype = TN_DTYPE_F32;
    source.n_rows = n_rows;
    source.n_cols = n_cols;
    source.read_rows = read_zero_rows;
    return source;
}

inline tn_node small_node(tn_op op, int32_t layer, uint32_t a, uint32_t b, uint32_t weight, const char *trace)
{
    tn_node node = {};
    node.op = op;
    node.layer = layer;
    node.in[0] = a, node.in[1] = b;
    node.weight = weight;
    node.trace = trace;
    return node;
}

// embed; layer i: out = x + x; head: copy, norm, logits.
inline tn_graph *small_graph(uint32_t n_layers)
{
    tn_graph *graph = nullptr;
    EXPECT_EQ(tn_graph_create(&graph), TN_OK);
    graph->n_layers = n_layers;
    graph->n_vocab = small_vocab;
    graph->n_ctx = 1024;
    graph->n_kv_heads = 1;
    graph->head_dim = 4;
    uint32_t embd, gains, x;
    const tn_weight_source embd_source = small_weight("token_embd", small_vocab, small_width),
                           gains_source = small_weight("output_norm", 1, small_width);
    EXPECT_EQ(tn_graph_add_weight(graph, &embd_source, &embd), TN_OK);
    EXPECT_EQ(tn_graph_add_weight(graph, &gains_source, &gains), TN_OK);
    auto add = [&](tn_node node, uint32_t width) { EXPECT_EQ(tn_graph_add_node(graph, &node, TN_VALUE_F32, width, &x), TN_OK); };
    add(small_node(TN_OP_EMBED, TN_LAYER_EMBED, TN_NONE, TN_NONE, embd, "embed"), small_width);
    for (uint32_t i = 0; i < n_layers; i++) add(small_node(TN_OP_ADD, static_cast<int32_t>(i), x, x, TN_NONE, "out"), small_width);
    add(small_node(TN_OP_COPY, TN_LAYER_HEAD, x, TN_NONE, TN_NONE, nullptr), small_width);
    add(small_node(TN_OP_NORM, TN_LAYER_HEAD, x, TN_NONE, gains, "norm"), small_width);
    add(small_node(TN_OP_MATMUL_DENSE, TN_LAYER_HEAD, x, TN_NONE, embd, "logits"), small_vocab);
    return graph;
}

} // namespace tn_test
