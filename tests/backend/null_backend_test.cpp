// The recording backend keeps its promises, since the runtime's tests rest on it.
#include "support/step_block.hpp"

#include <cstring>
#include <gtest/gtest.h>
#include <string>
#include <vector>

extern "C" {
#include "backend/null_backend.h"
#include "graph/graph.h"
}

namespace
{

const tn_backend &kNull = tn_null_backend_table;

// embed -> norm (layer 0) -> copy -> matmul: two segments with one hop.
class NullBackend : public testing::Test
{
  protected:
    void SetUp() override
    {
        state.n_devices = 2;
        state.memory_bytes = 1000;
        host.log = tn_null_log(&state);
        ASSERT_EQ(tn_graph_create(&graph), TN_OK);
        graph->n_vocab = 50;
        graph->n_layers = 1;
        tn_weight_source weight = {};
        weight.name = "w";
        uint32_t w;
        ASSERT_EQ(tn_graph_add_weight(graph, &weight, &w), TN_OK);
        add(TN_OP_EMBED, TN_LAYER_EMBED, TN_NONE, 8);
        add(TN_OP_NORM, 0, 0, 8);
        add(TN_OP_COPY, TN_LAYER_HEAD, 1, 8);
        add(TN_OP_MATMUL_DENSE, TN_LAYER_HEAD, 2, 50);
        ASSERT_EQ(kNull.device_open(&host, 0, &device), TN_OK);
    }
    void TearDown() override
    {
        kNull.device_close(device);
        EXPECT_EQ(tn_null_n_alive(&state), 0u);
        tn_null_deinit(&state);
        tn_graph_destroy(graph);
    }
    void add(tn_op op, int32_t layer, uint32_t in, uint32_t width)
    {
        tn_node node = {};
        node.op = op;
        node.layer = layer;
        node.in[0] = in;
        node.in[1] = TN_NONE;
        node.weight = op == TN_OP_COPY ? TN_NONE : 0;
        ASSERT_EQ(tn_graph_add_node(graph, &node, TN_VALUE_F32, width, nullptr), TN_OK);
    }
    tn_program *program(uint32_t first, uint32_t n, uint32_t in, uint32_t out)
    {
        tn_program_desc desc = {};
        desc.graph = graph;
        desc.first_node = first;
        desc.n_nodes = n;
        desc.in_value = in;
        desc.out_value = out;
        desc.limits = step_limits;
        tn_program *made = nullptr;
        EXPECT_EQ(kNull.program_create(device, &desc, &made), TN_OK);
        return made;
    }
    tn_buffer *buffer(uint64_t bytes)
    {
        tn_buffer *made = nullptr;
        EXPECT_EQ(kNull.buffer_create(device, bytes, &made), TN_OK);
        return made;
    }

    tn_null_state state = {};
    tn_backend_host host = {};
    tn_graph *graph = nullptr;
    tn_device *device = nullptr;
    const tn_step_limits step_limits = {4, 2, 1, 1, 3};
    tn_test::StepBlock step() const
    {
        tn_test::StepArrays s;
        s.tokens = {7, 8, 9};
        s.positions = {3, 4, 5};
        s.seqs = {0, 0, 0};
        s.logit_rows = {0, 2};
        s.copies = {2, 1};
        return {s, step_limits};
    }
};

TEST_F(NullBackend, IsInNoListAndHasNoDevicesForOtherHosts)
{
    uint32_t n;
    const tn_backend *const *list = tn_backend_list(&n);
    for (uint32_t i = 0; i < n; i++) EXPECT_STRNE(list[i]->name, "null");
    tn_backend_host other = {};
    ASSERT_EQ(kNull.device_count(&other, &n), TN_OK);
    EXPECT_EQ(n, 0u);
    ASSERT_EQ(kNull.device_count(&host, &n), TN_OK);
    EXPECT_EQ(n, 2u);
    tn_device_desc desc;
    ASSERT_EQ(kNull.device_describe(&host, 1, &desc), TN_OK);
    EXPECT_STREQ(desc.name, "null1");
    EXPECT_EQ(desc.memory_bytes, 1000u);
    EXPECT_EQ(kNull.device_describe(&host, 2, &desc), TN_INVALID_ARGUMENT);
}

TEST_F(NullBackend, LogitsComeThroughAHopAndNameTokenAndPosition)
{
    tn_program *first = program(0, 2, TN_NONE, 1), *second = program(2, 2, 1, 3);
    tn_buffer *hidden = buffer(3 * 8 * 4), *hop = buffer(3 * 8 * 4), *logits = buffer(2 * 50 * 4);
    tn_test::StepBlock s = step();
    std::vector<uint32_t> poison(3, 77);
    tn_submit submit = {s.get(), nullptr, hidden, poison.data(), nullptr};
    tn_fence fence;
    ASSERT_EQ(kNull.program_submit(first, &submit, &fence), TN_OK);
    std::vector<float> rows(3 * 8, 1.0f);
    ASSERT_EQ(kNull.buffer_read(hidden, 0, rows.data(), rows.size() * 4), TN_OK);
    EXPECT_EQ(rows[0], 0.0f) << "nothing may be there before the fence";
    ASSERT_EQ(kNull.fence_wait(device, fence), TN_OK);
    EXPECT_EQ(poison, (std::vector<uint32_t>{0, 0, 0}));
    ASSERT_EQ(kNull.buffer_read(hidden, 0, rows.data(), rows.size() * 4), TN_OK);
    ASSERT_EQ(kNull.buffer_write(hop, 0, rows.data(), rows.size() * 4), TN_OK);
    submit = {s.get(), hop, logits, poison.data(), nullptr};
    ASSERT_EQ(kNull.program_submit(second, &submit, &fence), TN_OK);
    ASSERT_EQ(kNull.fence_wait(device, fence), TN_OK);
    std::vector<float> got(2 * 50);
    ASSERT_EQ(kNull.buffer_read(logits, 0, got.data(), got.size() * 4), TN_OK);
    for (uint32_t id = 0; id < 50; id++) {
        EXPECT_EQ(got[id], tn_null_logit(7, 3, 1, id));
        EXPECT_EQ(got[50 + id], tn_null_logit(9, 5, 1, id));
    }
    EXPECT_NE(got[0], got[50]);
    for (tn_program *p : {first, second}) kNull.program_destroy(p);
    for (tn_buffer *b : {hidden, hop, logits}) kNull.buffer_destroy(b);
}

TEST_F(NullBackend, RecordsEveryCallAsALine)
{
    tn_null_clear(&state);
    tn_program *p = program(0, 4, TN_NONE, 3);
    tn_buffer *logits = buffer(2 * 50 * 4);
    tn_test::StepBlock s = step();
    uint32_t poison[3];
    tn_submit submit = {s.get(), nullptr, logits, poison, nullptr};
    tn_fence fence;
    ASSERT_EQ(kNull.program_submit(p, &submit, &fence), TN_OK);
    ASSERT_EQ(kNull.fence_wait(device, fence), TN_OK);
    host.log.write(host.log.user, TN_LOG_WARN, "hello");
    kNull.program_destroy(p);
    kNull.buffer_destroy(logits);
    EXPECT_STREQ(tn_null_text(&state), "null0 program 0 create nodes 0..3 layers 0+0 kv_pages 3 tokens 4 logits 2 seqs 1 taps 0\n"
                                       "null0 buffer 1 create 400\n"
                                       "null0 program 0 submit tokens 3 logits 2 seqs 1 copies 1 positions 3..5\n"
                                       "null0 program 0 wait\n"
                                       "log 2 hello\n"
                                       "null0 program 0 destroy\n"
                                       "null0 buffer 1 destroy\n");
}

TEST_F(NullBackend, FailsTheCallThatItWasToldToFail)
{
    tn_null_clear(&state);
    state.fail_call = TN_NULL_BUFFER_CREATE;
    state.fail_nth = 2;
    state.fail_status = TN_OUT_OF_MEMORY;
    tn_buffer *first = buffer(10), *second = first;
    EXPECT_EQ(kNull.buffer_create(device, 10, &second), TN_OUT_OF_MEMORY);
    EXPECT_EQ(second, nullptr);
    tn_null_clear(&state);
    state.fail_call = TN_NULL_ANY;
    state.fail_nth = 1;
    state.fail_status = TN_DEVICE_LOST;
    float x = 0;
    EXPECT_EQ(kNull.buffer_read(first, 0, &x, 4), TN_DEVICE_LOST);
    EXPECT_EQ(kNull.buffer_read(first, 0, &x, 4), TN_OK);
    EXPECT_EQ(kNull.buffer_read(first, 8, &x, 4), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_null_n_alive(&state), 2u) << "the device and one buffer";
    kNull.buffer_destroy(first);
}

TEST_F(NullBackend, RefusesMisuseOfSubmitsAndFences)
{
    tn_program *p = program(0, 4, TN_NONE, 3);
    tn_buffer *logits = buffer(2 * 50 * 4);
    tn_test::StepBlock s = step();
    uint32_t poison[3];
    tn_submit submit = {s.get(), nullptr, logits, poison, nullptr};
    tn_fence fence, again;
    ASSERT_EQ(kNull.program_submit(p, &submit, &fence), TN_OK);
    EXPECT_EQ(kNull.program_submit(p, &submit, &again), TN_INVALID_ARGUMENT) << "one in flight";
    EXPECT_EQ(kNull.fence_wait(device, tn_fence{fence.value + 1}), TN_INVALID_ARGUMENT);
    EXPECT_EQ(kNull.fence_wait(device, fence), TN_OK);
    for (uint32_t tn_step::*count : {&tn_step::n_tokens, &tn_step::n_logits, &tn_step::n_seqs, &tn_step::n_copies}) {
        const uint32_t good = s.get()->*count;
        s.get()->*count = 1u << 30;
        EXPECT_EQ(kNull.program_submit(p, &submit, &fence), TN_INVALID_ARGUMENT) << "beyond the bounds";
        s.get()->*count = good;
    }
    ASSERT_EQ(kNull.program_submit(p, &submit, &fence), TN_OK);
    EXPECT_EQ(kNull.fence_wait(device, fence), TN_OK);
    kNull.program_destroy(p);
    kNull.buffer_destroy(logits);
}

TEST_F(NullBackend, PoisonsTheTokensThatItWasToldTo)
{
    state.has_poison_token = true;
    state.poison_token = 8;
    state.poison_node = 2;
    tn_program *p = program(0, 4, TN_NONE, 3);
    tn_buffer *logits = buffer(2 * 50 * 4);
    tn_test::StepBlock s = step();
    std::vector<uint32_t> poison(3, 5);
    tn_submit submit = {s.get(), nullptr, logits, poison.data(), nullptr};
    tn_fence fence;
    ASSERT_EQ(kNull.program_submit(p, &submit, &fence), TN_OK);
    ASSERT_EQ(kNull.fence_wait(device, fence), TN_OK);
    EXPECT_EQ(poison, (std::vector<uint32_t>{0, 3, 0}));
    kNull.program_destroy(p);
    kNull.buffer_destroy(logits);
}

TEST_F(NullBackend, MeasuresTheSameOnEveryMachine)
{
    std::vector<tn_measured_limit> limits;
    tn_measured_fn *keep = [](void *user, const tn_measured_limit *limit) {
        static_cast<std::vector<tn_measured_limit> *>(user)->push_back(*limit);
        return true;
    };
    ASSERT_EQ(kNull.device_measure(device, 3, 1000, keep, &limits), TN_OK);
    ASSERT_EQ(limits.size(), 2u);
    EXPECT_EQ(limits[0].kind, TN_MEASURED_MEMORY_READ);
    EXPECT_EQ(limits[0].best, 30e9);
    EXPECT_EQ(limits[0].theoretical, 0);
    EXPECT_EQ(limits[1].kind, TN_MEASURED_INT8_DOT);
    EXPECT_EQ(limits[1].median, 270e9);
    EXPECT_EQ(limits[1].theoretical, 600e9);
    EXPECT_NE(std::string(tn_null_text(&state)).find("null0 measure 3 threads 1000 ns"), std::string::npos);
    tn_measured_fn *stop = [](void *, const tn_measured_limit *) { return false; };
    EXPECT_EQ(kNull.device_measure(device, 1, 1, stop, nullptr), TN_CANCELLED);
}

TEST_F(NullBackend, AnswersOpsAsTold)
{
    EXPECT_EQ(kNull.op_supported(device, graph, &graph->nodes[0]), TN_OK);
    state.op_status = TN_UNSUPPORTED;
    EXPECT_EQ(kNull.op_supported(device, graph, &graph->nodes[0]), TN_UNSUPPORTED);
}

} // namespace
