// What GPU backends refuse of single ops, alone and before any group is made of them.
#include "support/small_graph.hpp"

#include <string>

extern "C" {
#include "backend/op_check.h"
}

using namespace tn_test;

namespace
{

class OpCheck : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        device.name = "gpu0";
        graph = small_graph(1);
    }
    void TearDown() override { tn_graph_destroy(graph); }
    static tn_node of_heads(tn_op op, uint32_t head_dim, uint32_t n_heads = 4)
    {
        tn_node node = small_node(op, 0, 0, 0, TN_NONE, nullptr);
        if (op == TN_OP_ROPE) {
            node.p.rope.head_dim = head_dim;
            node.p.rope.n_heads = n_heads;
        } else {
            node.p.attention.head_dim = head_dim;
            node.p.attention.n_heads = n_heads;
            node.p.attention.n_kv_heads = 1;
        }
        return node;
    }
    tn_status check(const tn_node &node) const { return tn_op_check(&device, graph, &node); }
    tn_device device = {};
    tn_graph *graph = nullptr;
};

} // namespace

TEST_F(OpCheck, HeadsAreOfAnEvenNumberOfDimensionsUpTo256)
{
    for (tn_op op : {TN_OP_ROPE, TN_OP_KV_APPEND, TN_OP_ATTENTION}) {
        for (uint32_t head_dim : {2u, 64u, 80u, 254u, 256u}) EXPECT_EQ(check(of_heads(op, head_dim)), TN_OK) << tn_op_name(op) << head_dim;
        for (uint32_t head_dim : {0u, 1u, 3u, 127u, 255u, 257u, 258u, 512u, UINT32_MAX, UINT32_MAX - 1}) {
            EXPECT_EQ(check(of_heads(op, head_dim)), TN_UNSUPPORTED) << tn_op_name(op) << head_dim;
            EXPECT_EQ(std::string(tn_error_last()->message), std::string(tn_op_name(op)) + ": heads of " + std::to_string(head_dim) +
                                                                 " dimensions; gpu0 needs an even number up to 256");
        }
    }
}

TEST_F(OpCheck, AtMost16QueryHeadsShareAKvHead)
{
    EXPECT_EQ(check(of_heads(TN_OP_ATTENTION, 64, 16)), TN_OK);
    EXPECT_EQ(check(of_heads(TN_OP_ATTENTION, 64, 17)), TN_UNSUPPORTED);
    EXPECT_STREQ(tn_error_last()->message, "attention: 17 query heads share a KV head; gpu0 takes up to 16");
    EXPECT_EQ(check(of_heads(TN_OP_KV_APPEND, 64, 17)), TN_OK);
    EXPECT_EQ(check(of_heads(TN_OP_ROPE, 64, 17)), TN_OK);
}

TEST_F(OpCheck, GainsAreFloats)
{
    for (tn_op op : {TN_OP_NORM, TN_OP_NORM_QUANT}) {
        const tn_node node = small_node(op, 0, 0, TN_NONE, 1, nullptr);
        for (tn_dtype dtype : {TN_DTYPE_F32, TN_DTYPE_F16, TN_DTYPE_BF16}) {
            graph->weights[1].dtype = dtype;
            EXPECT_EQ(check(node), TN_OK);
        }
        graph->weights[1].dtype = TN_DTYPE_Q8_0;
        EXPECT_EQ(check(node), TN_UNSUPPORTED);
        EXPECT_STREQ(tn_error_last()->message, "output_norm: gpu0 takes gains as F32, F16 or BF16, not as Q8_0");
    }
}

TEST_F(OpCheck, OpsThatDoNotExistAreRefused)
{
    tn_node node = small_node(TN_OP_ADD, 0, 0, 0, TN_NONE, nullptr);
    EXPECT_EQ(check(node), TN_OK);
    node.op = TN_OP_COUNT_;
    EXPECT_EQ(check(node), TN_UNSUPPORTED);
}
