// Graphs: what graph_check accepts and refuses, names, and how plans cut them.
#include "support/small_graph.hpp"

#include <functional>
#include <string>

using namespace tn_test;

TEST(Graph, AWellFormedGraphPasses)
{
    tn_graph *graph = small_graph(3);
    EXPECT_EQ(tn_graph_check(graph), TN_OK) << tn_error_last()->message;
    EXPECT_EQ(graph->values[graph->nodes[4].out].rows, TN_ROWS_LOGITS);
    EXPECT_EQ(graph->values[graph->nodes[6].out].width, small_vocab);
    tn_graph_destroy(graph);
}

TEST(Graph, EachBrokenGraphIsRefusedWithTheNodesName)
{
    struct breakage {
        const char *why;
        std::function<void(tn_graph *)> make;
    };
    const std::vector<breakage> breakages = {
        {"no such op", [](tn_graph *g) { g->nodes[1].op = TN_OP_COUNT_; }},
        {"ascending", [](tn_graph *g) { g->nodes[2].layer = 0, g->nodes[1].layer = 1; }},
        {"a layer too many", [](tn_graph *g) { g->nodes[3].layer = 3; }},
        {"not computed before", [](tn_graph *g) { g->nodes[1].in[1] = g->nodes[1].out; }},
        {"not computed before", [](tn_graph *g) { g->nodes[1].in[0] = TN_NONE; }},
        {"too many", [](tn_graph *g) { g->nodes[4].in[1] = 0; }},
        {"wrong type", [](tn_graph *g) { g->values[0].type = TN_VALUE_Q8; }},
        {"no columns", [](tn_graph *g) { g->values[0].width = 0; }},
        {"weight is missing", [](tn_graph *g) { g->nodes[0].weight = TN_NONE; }},
        {"weight does not exist", [](tn_graph *g) { g->nodes[0].weight = 9; }},
        {"wrong kind", [](tn_graph *g) { g->weights[0].kind = TN_WEIGHT_TERNARY; }},
        {"vocabulary x width", [](tn_graph *g) { g->weights[0].n_rows = 15; }},
        {"gains and width", [](tn_graph *g) { g->weights[1].n_cols = 7; }},
        {"epsilon", [](tn_graph *g) { g->nodes[5].p.norm.eps = 1.5f; }},
        {"outputs x inputs", [](tn_graph *g) { g->values[g->nodes[6].out].width = 17; }},
        {"widths differ", [](tn_graph *g) { g->values[g->nodes[2].out].width = 9; }},
        {"differ in rows",
         [](tn_graph *g) { g->values[g->nodes[3].out].rows = TN_ROWS_LOGITS, g->nodes[4].op = TN_OP_ADD, g->nodes[4].in[1] = 0; }},
        {"no nodes", [](tn_graph *g) { g->n_nodes = 0; }},
    };
    for (const auto &b : breakages) {
        SCOPED_TRACE(b.why);
        tn_graph *graph = small_graph(3);
        b.make(graph);
        EXPECT_EQ(tn_graph_check(graph), TN_INVALID_ARGUMENT);
        EXPECT_NE(std::string(tn_error_last()->message).find(b.why), std::string::npos) << tn_error_last()->message;
        tn_graph_destroy(graph);
    }
}

TEST(Graph, SumsThatCouldPassTwoToThe24AreRefused)
{
    tn_graph *graph = nullptr;
    ASSERT_EQ(tn_graph_create(&graph), TN_OK);
    graph->n_layers = 1;
    graph->n_vocab = small_vocab;
    for (const uint32_t k : {132104u, 132105u}) { // 127 * 132104 is just below 2^24
        graph->n_nodes = graph->n_values = graph->n_weights = 0;
        uint32_t embd, matrix, x;
        const tn_weight_source embd_source = small_weight("token_embd", small_vocab, k);
        tn_weight_source matrix_source = small_weight("matrix", 4, k);
        matrix_source.kind = TN_WEIGHT_TERNARY;
        ASSERT_EQ(tn_graph_add_weight(graph, &embd_source, &embd), TN_OK);
        ASSERT_EQ(tn_graph_add_weight(graph, &matrix_source, &matrix), TN_OK);
        tn_node node = small_node(TN_OP_EMBED, TN_LAYER_EMBED, TN_NONE, TN_NONE, embd, nullptr);
        ASSERT_EQ(tn_graph_add_node(graph, &node, TN_VALUE_F32, k, &x), TN_OK);
        node = small_node(TN_OP_QUANT, 0, x, TN_NONE, TN_NONE, nullptr);
        ASSERT_EQ(tn_graph_add_node(graph, &node, TN_VALUE_Q8, k, &x), TN_OK);
        node = small_node(TN_OP_MATMUL_TERNARY, 0, x, TN_NONE, matrix, nullptr);
        ASSERT_EQ(tn_graph_add_node(graph, &node, TN_VALUE_F32, 4, &x), TN_OK);
        EXPECT_EQ(tn_graph_check(graph), k == 132104u ? TN_OK : TN_INVALID_ARGUMENT) << tn_error_last()->message;
    }
    tn_graph_destroy(graph);
}

TEST(Graph, TraceNamesAreThoseOfTheContract)
{
    char name[32];
    tn_node node = small_node(TN_OP_ROPE, 11, 0, TN_NONE, 0, "q");
    tn_node_trace_name(&node, name);
    EXPECT_STREQ(name, "L11.q");
    node.layer = TN_LAYER_EMBED, node.trace = "embed";
    tn_node_trace_name(&node, name);
    EXPECT_STREQ(name, "embed");
    node.layer = TN_LAYER_HEAD, node.trace = "logits";
    tn_node_trace_name(&node, name);
    EXPECT_STREQ(name, "logits");
    node.trace = nullptr;
    tn_node_trace_name(&node, name);
    EXPECT_STREQ(name, "");
    EXPECT_STREQ(tn_op_name(TN_OP_KV_APPEND), "kv_append");
}

TEST(Plan, OneDeviceIsOneSegment)
{
    tn_graph *graph = small_graph(3);
    const uint32_t devices[] = {0, 0, 0, 0, 0};
    tn_plan *plan = nullptr;
    ASSERT_EQ(tn_plan_create(graph, devices, &plan), TN_OK);
    ASSERT_EQ(plan->n_segments, 1u);
    EXPECT_EQ(plan->segments[0].n_nodes, graph->n_nodes);
    EXPECT_EQ(plan->segments[0].in_value, TN_NONE);
    EXPECT_EQ(plan->segments[0].out_value, graph->nodes[graph->n_nodes - 1].out);
    EXPECT_EQ(plan->segments[0].n_layers, 3u);
    tn_plan_destroy(plan);
    tn_graph_destroy(graph);
}

TEST(Plan, EveryWayToShareTheUnitsCoversEveryNodeOnceAndChainsTheHops)
{
    const uint32_t n_layers = 4, n_units = n_layers + 2;
    tn_graph *graph = small_graph(n_layers);
    for (uint32_t mask = 0; mask < 1u << n_units; mask++) {
        uint32_t devices[n_units], n_changes = 0;
        for (uint32_t u = 0; u < n_units; u++) {
            devices[u] = mask >> u & 1;
            n_changes += u > 0 && devices[u] != devices[u - 1];
        }
        tn_plan *plan = nullptr;
        ASSERT_EQ(tn_plan_create(graph, devices, &plan), TN_OK);
        ASSERT_EQ(plan->n_segments, n_changes + 1);
        uint32_t node = 0, layers = 0;
        for (uint32_t s = 0; s < plan->n_segments; s++) {
            const tn_segment *segment = &plan->segments[s];
            EXPECT_EQ(segment->first_node, node);
            EXPECT_EQ(segment->in_value, s == 0 ? TN_NONE : plan->segments[s - 1].out_value);
            if (s > 0) {
                EXPECT_EQ(segment->in_value, graph->nodes[node - 1].out);
            }
            if (segment->n_layers) {
                EXPECT_EQ(segment->first_layer, static_cast<int32_t>(layers));
            }
            layers += segment->n_layers;
            node += segment->n_nodes;
        }
        EXPECT_EQ(node, graph->n_nodes);
        EXPECT_EQ(layers, n_layers);
        tn_plan_destroy(plan);
    }
    tn_graph_destroy(graph);
}

TEST(Plan, ACutThroughTwoLiveValuesIsRefused)
{
    tn_graph *graph = small_graph(2);
    graph->nodes[2].in[1] = 0; // layer 1 adds the embedding again
    const uint32_t devices[] = {0, 0, 1, 1};
    tn_plan *plan = nullptr;
    EXPECT_EQ(tn_plan_create(graph, devices, &plan), TN_INTERNAL);
    EXPECT_EQ(plan, nullptr);
    tn_graph_destroy(graph);
}
