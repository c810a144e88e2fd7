// The model of costs against made-up devices whose times are known.
#include "cost_rig.hpp"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <gtest/gtest.h>
#include <string>
#include <vector>

extern "C" {
#include "graph/graph.h"
}

namespace
{

using tn_test::head;
using tn_test::kCache;
using tn_test::layer;
using tn_test::made_up;

constexpr uint32_t kLayerParts = 1u << TN_COST_SUBMIT | 1u << TN_COST_LAYER | 1u << TN_COST_TERNARY_NEAR | 1u << TN_COST_TERNARY_FAR |
                                 1u << TN_COST_VALUES | 1u << TN_COST_ATTENTION_MANY | 1u << TN_COST_ATTENTION_ONE;
// Submits of shapes as a calibration has them, timed on `device`; noise of the given share, the same every time.
std::vector<tn_cost_sample> samples_of(const tn_cost_table &device, double noise)
{
    std::vector<tn_cost_sample> samples;
    uint32_t random = 12345;
    struct shape {
        uint64_t d, ff, n_layers, resident;
        uint32_t n_positions;
        bool one;
    };
    const shape shapes[] = {
        {640, 1728, 1, 1u << 20, 1, false},      {640, 1728, 4, 4u << 20, 1, false},    {1536, 4096, 2, 10u << 20, 1, false},
        {2560, 6912, 5, 100u << 20, 1, false},   {2560, 6912, 1, 17u << 20, 1, false},  {1536, 4096, 2, 10u << 20, 512, false},
        {1536, 4096, 2, 10u << 20, 2048, false}, {1536, 4096, 2, 10u << 20, 512, true}, {640, 1728, 8, 8u << 20, 64, false}};
    for (const shape &s : shapes) {
        for (uint32_t k = 0; k < TN_COST_STEPS; k++) {
            const uint32_t n = tn_cost_step_sizes[k];
            const tn_cost_step step = {n, 0, s.one ? 1 : n, s.n_positions};
            tn_cost_sample sample = {};
            const tn_cost_work work = layer(s.d, s.ff, s.resident);
            sample.amounts[TN_COST_SUBMIT] = 1;
            for (uint64_t l = 0; l < s.n_layers; l++) tn_cost_add_amounts(&work, &step, kCache, sample.amounts);
            sample.step = k;
            for (uint32_t p = 0; p < TN_COST_PARTS; p++) sample.ns += device.ns[p][k] * sample.amounts[p];
            random = random * 1664525 + 1013904223;
            sample.ns *= 1.0 + noise * (static_cast<double>(random >> 8) / (1 << 23) - 1.0);
            samples.push_back(sample);
        }
    }
    return samples;
}

tn_cost_table fitted(const std::vector<tn_cost_sample> &samples)
{
    tn_cost_table table;
    tn_cost_table_init(&table);
    table.cache_bytes = kCache;
    tn_cost_fit(&table, kLayerParts, samples.data(), static_cast<uint32_t>(samples.size()));
    tn_cost_complete(&table, kLayerParts);
    return table;
}

TEST(CostFit, MadeUpTablesAreFoundAgain)
{
    const tn_cost_table device = made_up(), table = fitted(samples_of(device, 0.0));
    for (uint32_t p = TN_COST_SUBMIT; p <= TN_COST_VALUES; p++) {
        for (uint32_t k = 0; k < TN_COST_STEPS; k++) EXPECT_NEAR(table.ns[p][k] / device.ns[p][k], 1.0, 1e-4) << p << " " << k;
    }
    for (uint32_t k = 1; k < TN_COST_STEPS; k++) {
        EXPECT_NEAR(table.ns[TN_COST_ATTENTION_MANY][k] / device.ns[TN_COST_ATTENTION_MANY][k], 1.0, 1e-4) << k;
        EXPECT_NEAR(table.ns[TN_COST_ATTENTION_ONE][k] / device.ns[TN_COST_ATTENTION_ONE][k], 1.0, 1e-4) << k;
    }
}

TEST(CostFit, NoiseMovesPredictionsLittle)
{
    const tn_cost_table device = made_up(), table = fitted(samples_of(device, 0.03));
    for (uint64_t resident : {4u << 20, 300u << 20}) {
        const tn_cost_work work = layer(2048, 5632, resident); // a shape that was not measured
        for (uint32_t n : {1u, 4u, 16u, 64u, 256u}) {
            const tn_cost_step step = {n, 0, n, 200};
            EXPECT_NEAR(tn_cost_unit_ns(&table, &work, &step) / tn_cost_unit_ns(&device, &work, &step), 1.0, 0.05) << resident << " " << n;
        }
    }
}

TEST(CostFit, DisturbedSamplesDoLittle)
{
    const tn_cost_table device = made_up();
    const std::vector<tn_cost_sample> clean = samples_of(device, 0.0);
    for (size_t disturbed = 0; disturbed < 5 * TN_COST_STEPS; disturbed++) { // of layers at short contexts: others there say the same
        std::vector<tn_cost_sample> samples = clean, again = samples_of(device, 0.0);
        samples.insert(samples.end(), again.begin(), again.end());
        samples[disturbed].ns *= 20;
        const tn_cost_table table = fitted(samples);
        const tn_cost_work work = layer(2048, 5632, 300u << 20);
        const uint32_t n = tn_cost_step_sizes[samples[disturbed].step];
        const tn_cost_step step = {n, 0, n, 200};
        EXPECT_NEAR(tn_cost_unit_ns(&table, &work, &step) / tn_cost_unit_ns(&device, &work, &step), 1.0, 0.02) << disturbed;
    }
}

TEST(CostFit, NoTimeIsNegative)
{
    // The large program takes more than twice the time of the small one: a straight line would begin below zero.
    std::vector<tn_cost_sample> samples(2);
    samples[0].amounts[TN_COST_LAYER] = samples[1].amounts[TN_COST_LAYER] = 1;
    samples[0].amounts[TN_COST_TERNARY_FAR] = 100;
    samples[0].ns = 100;
    samples[1].amounts[TN_COST_TERNARY_FAR] = 200;
    samples[1].ns = 400;
    const tn_cost_table table = fitted(samples);
    EXPECT_EQ(table.ns[TN_COST_LAYER][0], 0.0);
    // Least absolute relative errors, by hand: |x - 1| + |x / 2 - 1| is least at 1.
    EXPECT_NEAR(table.ns[TN_COST_TERNARY_FAR][0], 1.0, 0.02);
}

TEST(CostFit, WhatWasNotMeasuredIsFilledIn)
{
    std::vector<tn_cost_sample> samples(1);
    samples[0].amounts[TN_COST_TERNARY_NEAR] = 1000;
    samples[0].ns = 500;
    samples[0].step = 1;
    const tn_cost_table table = fitted(samples);
    EXPECT_DOUBLE_EQ(table.ns[TN_COST_TERNARY_FAR][1], 0.5);
    EXPECT_DOUBLE_EQ(table.ns[TN_COST_TERNARY_NEAR][2], 2.0); // four times the tokens
    EXPECT_DOUBLE_EQ(table.ns[TN_COST_TERNARY_FAR][4], 32.0);
}

TEST(CostFit, OtherPartsAreTakenAsTheyAre)
{
    tn_cost_table table = made_up();
    std::vector<tn_cost_sample> samples(2);
    for (uint32_t i = 0; i < 2; i++) {
        samples[i].amounts[TN_COST_SUBMIT] = 1;
        samples[i].amounts[TN_COST_HEADS_FIRST + 3] = 1; // q6_k
        samples[i].amounts[TN_COST_HEADS_FIRST + 5] = i ? 9e6 : 1e6;
        samples[i].ns = table.ns[TN_COST_SUBMIT][0] + 700 + samples[i].amounts[TN_COST_HEADS_FIRST + 5] * 0.125;
    }
    tn_cost_fit(&table, 7u << (TN_COST_HEADS_FIRST + 3), samples.data(), 2);
    EXPECT_NEAR(table.ns[TN_COST_HEADS_FIRST + 3][0], 700, 0.1);
    EXPECT_NEAR(table.ns[TN_COST_HEADS_FIRST + 5][0], 0.125, 1e-6);
    EXPECT_EQ(table.ns[TN_COST_SUBMIT][0], made_up().ns[TN_COST_SUBMIT][0]);
}

TEST(CostFit, LinksHaveLatencyAndSpeed)
{
    const uint64_t bytes[] = {4096, 65536, 1u << 20, 4u << 20};
    double ns[4];
    for (uint32_t i = 0; i < 4; i++) ns[i] = 2500 + static_cast<double>(bytes[i]) / 8e9 * 1e9;
    const tn_cost_link link = tn_cost_fit_link(bytes, ns, 4);
    EXPECT_NEAR(link.latency_ns, 2500, 0.1);
    EXPECT_NEAR(link.bytes_per_s, 8e9, 1e4);
}

TEST(CostFit, TheLargestErrorIsKept)
{
    tn_cost_table table = made_up();
    tn_cost_sample sample = {};
    sample.amounts[TN_COST_SUBMIT] = 1;
    sample.step = 2;
    const double ns = table.ns[TN_COST_SUBMIT][2];
    for (double factor : {1.1, 0.8, 1.05}) {
        sample.ns = ns * factor;
        tn_cost_note_error(&table, TN_COST_GROUP_LAYER, &sample);
    }
    EXPECT_NEAR(table.error[TN_COST_GROUP_LAYER][2], 0.25, 1e-9);
    EXPECT_EQ(table.error[TN_COST_GROUP_LAYER][1], -1.0);
}

TEST(CostPrediction, StraightLinesBetweenSizesAndAbove)
{
    const tn_cost_table device = made_up(); // which is one straight line
    const tn_cost_work work = layer(1024, 4096, 1u << 20);
    auto at = [&](uint32_t n) {
        const tn_cost_step step = {n, 0, n, 0};
        return tn_cost_unit_ns(&device, &work, &step);
    };
    for (uint32_t n : {2u, 3u, 5u, 10u, 40u, 100u, 300u, 5000u}) EXPECT_NEAR(at(n) / (at(1) * (0.8 + 0.2 * n)), 1.0, 1e-9) << n;
    EXPECT_EQ(at(0), 0.0);
}

TEST(CostPrediction, LargerStepsNeverCostLess)
{
    tn_cost_table device = made_up();
    for (uint32_t p = 0; p < TN_COST_PARTS; p++) device.ns[p][3] = device.ns[p][2] * 0.5; // as noise might have it
    const tn_cost_work works[] = {layer(1024, 4096, 1u << 20), head(1024, 32000, TN_DTYPE_Q6_K, 1u << 20)};
    for (const tn_cost_work &work : works) {
        double before = 0.0;
        for (uint32_t n = 1; n < 400; n++) {
            const tn_cost_step step = {n, n, n, 100};
            const double ns = tn_cost_unit_ns(&device, &work, &step);
            EXPECT_GE(ns, before) << n;
            before = ns;
        }
    }
}

TEST(CostPrediction, HeadsCountRowsOfLogits)
{
    tn_cost_table device = made_up();
    device.cache_bytes = 0;
    const tn_cost_work work = head(2560, 128256, TN_DTYPE_F16, 1u << 30);
    const tn_cost_step prompt = {256, 1, 1, 100}, reply = {1, 1, 1, 100}, none = {256, 0, 1, 100};
    EXPECT_EQ(tn_cost_unit_ns(&device, &work, &prompt), tn_cost_unit_ns(&device, &work, &reply));
    EXPECT_EQ(tn_cost_unit_ns(&device, &work, &none), 0.0);
    const double *rates = &device.ns[TN_COST_HEADS_FIRST + 3 * TN_COST_HEAD_FLOAT][0];
    EXPECT_DOUBLE_EQ(tn_cost_unit_ns(&device, &work, &reply), rates[0] + 2560.0 * 128256 * device.ns[TN_COST_HEADS_FIRST + 11][0]);
}

TEST(CostPrediction, WeightsLeaveTheCacheGradually)
{
    tn_cost_table device = made_up();
    device.ns[TN_COST_TERNARY_FAR][0] = 3 * device.ns[TN_COST_TERNARY_NEAR][0];
    const tn_cost_step step = {1, 1, 1, 0};
    auto at = [&](double caches) {
        const tn_cost_work work = layer(2560, 6912, static_cast<uint64_t>(caches * kCache));
        return tn_cost_unit_ns(&device, &work, &step);
    };
    EXPECT_EQ(at(0.1), at(0.7));
    EXPECT_GT(at(1.0), at(0.7));
    EXPECT_GT(at(1.5), at(1.0));
    EXPECT_NEAR(at(1.5) / at(0.5), 2.0, 0.2); // half of them
    EXPECT_GT(at(50), at(1.5));
    device.cache_bytes = 0; // not known: far
    EXPECT_EQ(at(0.1), at(50));
}

TEST(CostPrediction, SegmentsAreSumsAndHopsGoByTheHost)
{
    const tn_cost_table a = made_up();
    tn_cost_table b = made_up();
    b.to_device = {10000, 1e9};
    const tn_cost_work works[] = {layer(640, 1728, 1u << 20), layer(640, 1728, 1u << 20)};
    const tn_cost_step step = {16, 0, 16, 10};
    EXPECT_DOUBLE_EQ(tn_cost_segment_ns(&a, works, 2, &step), tn_cost_submit_ns(&a, &step) + 2 * tn_cost_unit_ns(&a, works, &step));
    EXPECT_DOUBLE_EQ(tn_cost_hop_ns(&a, &b, 18000), 2500 + 18000 / 9.0 + 10000 + 18000);
}

// One layer of width 32 with an embedding and a head of 10 rows, by hand.
class HandMade
{
  public:
    HandMade()
    {
        EXPECT_EQ(tn_graph_create(&graph), TN_OK);
        graph->n_layers = 1;
        const uint32_t embedding = weight(TN_WEIGHT_DENSE, TN_DTYPE_Q8_0, 10, 32), gains = weight(TN_WEIGHT_DENSE, TN_DTYPE_F32, 1, 32);
        const uint32_t square = weight(TN_WEIGHT_TERNARY, TN_DTYPE_NONE, 32, 32), up = weight(TN_WEIGHT_TERNARY, TN_DTYPE_NONE, 48, 32);
        const uint32_t down = weight(TN_WEIGHT_TERNARY, TN_DTYPE_NONE, 32, 48), head = weight(TN_WEIGHT_DENSE, TN_DTYPE_F16, 10, 32);
        uint32_t x = node(TN_OP_EMBED, TN_LAYER_EMBED, TN_NONE, TN_NONE, embedding, 32);
        const uint32_t q8 = node(TN_OP_NORM_QUANT, 0, x, TN_NONE, gains, 32), q = node(TN_OP_MATMUL_TERNARY, 0, q8, TN_NONE, square, 32);
        node(TN_OP_KV_APPEND, 0, q, q, TN_NONE, 0);
        const uint32_t seen = node(TN_OP_ATTENTION, 0, q, TN_NONE, TN_NONE, 32);
        const uint32_t gate = node(TN_OP_MATMUL_TERNARY, 0, node(TN_OP_QUANT, 0, seen, TN_NONE, TN_NONE, 32), TN_NONE, up, 48);
        const uint32_t gated = node(TN_OP_GLU, 0, gate, gate, TN_NONE, 48);
        const uint32_t out = node(TN_OP_MATMUL_TERNARY, 0, node(TN_OP_QUANT, 0, gated, TN_NONE, TN_NONE, 48), TN_NONE, down, 32);
        x = node(TN_OP_ADD, 0, x, out, TN_NONE, 32);
        x = node(TN_OP_COPY, TN_LAYER_HEAD, x, TN_NONE, TN_NONE, 32);
        node(TN_OP_MATMUL_DENSE, TN_LAYER_HEAD, x, TN_NONE, head, 10);
    }
    ~HandMade() { tn_graph_destroy(graph); }
    HandMade(const HandMade &) = delete;
    HandMade &operator=(const HandMade &) = delete;

    tn_graph *graph = nullptr;

  private:
    uint32_t weight(tn_weight_kind kind, tn_dtype dtype, uint32_t n_rows, uint32_t n_cols)
    {
        uint32_t index = 0;
        tn_weight_source source = {};
        source.kind = kind;
        source.dtype = dtype;
        source.n_rows = n_rows;
        source.n_cols = n_cols;
        EXPECT_EQ(tn_graph_add_weight(graph, &source, &index), TN_OK);
        return index;
    }
    uint32_t node(tn_op op, int32_t layer, uint32_t a, uint32_t b, uint32_t weight, uint32_t width)
    {
        uint32_t out = 0;
        tn_node node = {};
        node.op = op;
        node.layer = layer;
        node.in[0] = a;
        node.in[1] = b;
        node.weight = weight;
        if (op == TN_OP_ATTENTION) node.p.attention = {2, 2, 16};
        if (op == TN_OP_GLU) node.p.glu.kind = TN_GLU_RELU2;
        const bool is_q8 = op == TN_OP_QUANT || op == TN_OP_NORM_QUANT;
        EXPECT_EQ(tn_graph_add_node(graph, &node, is_q8 ? TN_VALUE_Q8 : TN_VALUE_F32, width, width ? &out : nullptr), TN_OK);
        return out;
    }
};

TEST(CostPrediction, WorksOfAGraph)
{
    HandMade made;
    tn_cost_work works[3];
    ASSERT_EQ(tn_cost_works(made.graph, works), TN_OK);
    EXPECT_EQ(works[0].unit, TN_COST_UNIT_EMBED);
    EXPECT_EQ(works[0].head_type, TN_DTYPE_Q8_0);
    EXPECT_EQ(works[0].n_values, 32u);
    EXPECT_EQ(works[1].unit, TN_COST_UNIT_LAYER);
    EXPECT_TRUE(works[1].has_relu2);
    EXPECT_EQ(works[1].n_ternary, 32u * 32 + 2 * 32 * 48);
    EXPECT_EQ(works[1].n_attention, 32u);
    EXPECT_EQ(works[1].n_values, 32u + 2 * 32 + 32 + 48 + 48 + 32); // norm, keys and values, codes, gates, codes, sum
    EXPECT_EQ(works[2].unit, TN_COST_UNIT_HEAD);
    EXPECT_EQ(works[2].head_type, TN_DTYPE_F16);
    EXPECT_EQ(works[2].n_dense, 320u);
    EXPECT_EQ(works[2].weight_bytes, 640u);
    EXPECT_EQ(works[0].resident_bytes, works[1].weight_bytes + works[2].weight_bytes);
    EXPECT_EQ(works[2].resident_bytes, works[0].resident_bytes);
}

TEST(CostObserve, CorrectionsConvergeAndStayBounded)
{
    tn_cost_table table = made_up();
    const tn_cost_table device = made_up();
    const tn_cost_work works[] = {layer(2560, 6912, 1u << 30), layer(2560, 6912, 1u << 30), head(2560, 128256, TN_DTYPE_Q6_K, 1u << 30)};
    for (double slowness : {1.6, 0.7}) {
        for (uint32_t i = 0; i < 200; i++) {
            for (uint32_t n : {1u, 8u}) {
                const tn_cost_step step = {n, n, n, 100};
                tn_cost_observe(&table, works, 3, &step, slowness * tn_cost_segment_ns(&device, works, 3, &step));
            }
        }
        for (uint32_t n : {1u, 8u}) {
            const tn_cost_step step = {n, n, n, 100};
            EXPECT_NEAR(tn_cost_segment_ns(&table, works, 3, &step) / tn_cost_segment_ns(&device, works, 3, &step), slowness, 0.01) << n;
        }
    }
    EXPECT_EQ(table.n_observed, 800u);
    EXPECT_EQ(table.correction[TN_COST_GROUP_LAYER][4], 1.0); // of steps of 256 nothing was seen
    EXPECT_EQ(table.correction[TN_COST_GROUP_HEADS_FIRST + TN_COST_HEAD_Q8_0][0], 1.0);
    const tn_cost_step step = {1, 1, 1, 100};
    for (double wrong : {0.0, -5.0, std::nan("")}) tn_cost_observe(&table, works, 3, &step, wrong);
    EXPECT_EQ(table.n_observed, 800u);
    for (uint32_t i = 0; i < 1000; i++) tn_cost_observe(&table, works, 3, &step, 1e18);
    EXPECT_EQ(table.correction[TN_COST_GROUP_LAYER][0], 4.0);
}

std::string text_of(const tn_cost_table &table, const char *key)
{
    tn_text text = {};
    EXPECT_EQ(tn_cost_write(&table, key, &text), TN_OK);
    std::string out(text.data, text.len);
    tn_text_deinit(&text);
    return out;
}

tn_status read(const std::string &text, const char *key, tn_cost_table *out) { return tn_cost_read({text.data(), text.size()}, key, out); }

TEST(CostText, RoundTripKeepsEveryBit)
{
    tn_cost_table table = made_up(), back;
    table.ns[0][0] = 1.0 / 3.0;
    table.ns[0][1] = 5e-324;
    table.ns[0][2] = 999999999999.9999;
    table.ns[0][3] = 0.0;
    table.correction[1][1] = 0.3;
    table.error[2][2] = 0.07;
    table.n_observed = 12;
    table.together[TN_COST_READER_TERNARY][0] = 5.0 / 3.0;
    table.together[TN_COST_READERS - 1][TN_COST_STEPS - 1] = 1.25;
    table.n_together = 2;
    const std::string text = text_of(table, "this machine, cpu0");
    ASSERT_EQ(read(text, "this machine, cpu0", &back), TN_OK) << tn_error_last()->message;
    EXPECT_EQ(memcmp(&back, &table, sizeof table), 0);
    EXPECT_EQ(text.find("ternion costs 2\nkey this machine, cpu0\nmeasured 1700000000\nobserved 12\n"), 0u);
}

TEST(CostText, FactorsOfDevicesThatShareMemoryMakeNothingFaster)
{
    tn_cost_table table = made_up(), back;
    table.together[1][1] = 0.5;
    EXPECT_EQ(read(text_of(table, "one"), "one", &back), TN_BAD_FILE);
    EXPECT_EQ(back.together[1][1], 1.0);
}

// Such a file is whole: its checksum is right.
TEST(CostText, FiguresOfNoDeviceAreNotTaken)
{
    const std::vector<void (*)(tn_cost_table &)> bends = {
        [](tn_cost_table &t) { t.ns[TN_COST_PARTS - 1][0] = 2e12; },
        [](tn_cost_table &t) { t.memory_bytes_per_s = 2e15; },
        [](tn_cost_table &t) { t.to_device.latency_ns = 2e12; },
        [](tn_cost_table &t) { t.to_host.bytes_per_s = 2e15; },
        [](tn_cost_table &t) { t.error[0][0] = 2e9; },
        [](tn_cost_table &t) { std::memset(t.ns, 0, sizeof t.ns); },
    };
    tn_cost_table back;
    for (size_t i = 0; i < bends.size(); i++) {
        tn_cost_table table = made_up();
        ASSERT_EQ(read(text_of(table, "k"), "k", &back), TN_OK) << tn_error_last()->message;
        bends[i](table);
        EXPECT_EQ(read(text_of(table, "k"), "k", &back), TN_BAD_FILE) << i;
        EXPECT_EQ(back.ns[0][0], 0.0);
    }
}

TEST(CostText, OtherKeysAndVersionsAreNotTaken)
{
    tn_cost_table back;
    const std::string text = text_of(made_up(), "one");
    EXPECT_EQ(read(text, "two", &back), TN_NOT_FOUND);
    EXPECT_EQ(read(text, "on", &back), TN_NOT_FOUND);
    EXPECT_EQ(read(text, "one more", &back), TN_NOT_FOUND);
    EXPECT_EQ(read("ternion costs 1\n" + text.substr(16), "one", &back), TN_BAD_FILE);
    tn_text out = {};
    const tn_cost_table table = made_up();
    EXPECT_EQ(tn_cost_write(&table, "two\nlines", &out), TN_INVALID_ARGUMENT);
    tn_text_deinit(&out);
}

TEST(CostText, DamageAtEachByteIsFound)
{
    tn_cost_table back;
    const std::string text = text_of(made_up(), "one");
    for (size_t i = 0; i < text.size(); i++) {
        std::string damaged = text;
        damaged[i] = static_cast<char>(damaged[i] ^ 1);
        EXPECT_NE(read(damaged, "one", &back), TN_OK) << i;
        EXPECT_NE(read(text.substr(0, i), "one", &back), TN_OK) << i;
    }
    EXPECT_NE(read(text + "\n", "one", &back), TN_OK);
}

} // namespace
