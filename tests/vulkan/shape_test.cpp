// What a token costs a device, by the dispatches of a compiled list, without a device: how many there are a layer, and that every packed
// byte is read once.
#include "conformance/cases.h"

extern "C" {
#include "backend/builtin.h"
#include "vulkan/vk_compile.h"
#include "vulkan/vk_record.h"
}

#include <algorithm>
#include <gtest/gtest.h>

namespace
{

using conformance::Model;
using conformance::Net;

// A device that is never called: compiling looks at its limits and traits alone.
tn_vk_device device_of(bool use_dot, uint64_t range_bytes)
{
    tn_vk_device device = {};
    device.base.backend = &tn_vulkan_backend_table;
    device.limits.range_bytes = range_bytes;
    device.limits.offset_alignment = 256;
    device.limits.n_invocations = 1024;
    device.limits.n_groups = 65535;
    device.limits.shared_bytes = 32768;
    device.traits.use_dot = use_dot;
    device.traits.use_texels = !use_dot;
    device.traits.n_row_threads = use_dot ? 256 : 8;
    device.job_work = uint64_t(1) << 34;
    return device;
}

struct Compiled {
    Compiled(const Net &net, uint32_t out_value, uint32_t n_layers, uint32_t n_tokens, bool use_dot, uint64_t job_work = 0,
             uint64_t range_bytes = 128u << 20)
        : device(device_of(use_dot, range_bytes))
    {
        if (job_work) device.job_work = job_work;
        uint64_t at = 0;
        std::vector<tn_packed_weight> packed(net.graph->n_weights);
        buffer.base.device = kv.base.device = &device.base;
        for (uint32_t i = 0; i < net.graph->n_weights; i++) {
            EXPECT_EQ(tn_vk_weight_layout(&device.base, &net.graph->weights[i], &packed[i].layout), TN_OK);
            packed[i].buffer = &buffer.base;
            packed[i].offset_bytes = at = (at + 255) / 256 * 256;
            at += packed[i].layout.size_bytes;
        }
        buffer.base.size_bytes = at;
        kv.base.size_bytes = UINT64_MAX;
        tn_program_desc desc = {};
        desc.graph = net.graph;
        desc.n_nodes = net.graph->n_nodes;
        desc.in_value = TN_NONE;
        desc.out_value = out_value;
        desc.weights = packed.data();
        desc.kv = &kv.base;
        desc.n_layers = n_layers;
        const uint32_t n_most = std::max(n_tokens, 64u);
        desc.limits = {n_most, n_most, 2, 3, 6};
        tn_vk_compile_params params = {&device, &desc, {}, n_tokens};
        EXPECT_EQ(tn_step_layout_of(&desc.limits, &params.step_layout), TN_OK);
        EXPECT_EQ(tn_vk_compile(&params, &list), TN_OK) << tn_error_last()->message;
    }
    ~Compiled() { tn_vk_list_deinit(&device, &list); }
    Compiled(const Compiled &) = delete;
    Compiled &operator=(const Compiled &) = delete;
    tn_vk_device device;
    tn_vk_buffer buffer = {}, kv = {};
    tn_vk_list list = {};
};

// Dispatches whose first node is of a layer.
uint32_t n_of_layer(const Net &net, const tn_vk_list &list, int32_t layer)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < list.n_dispatches; i++) {
        const uint32_t node = list.dispatches[i].nodes[0];
        n += node != TN_NONE && net.graph->nodes[node].layer == layer;
    }
    return n;
}

TEST(VulkanShape, ALayerOfATokenIsFewDispatches)
{
    const Model model(3);
    for (const bool use_dot : {false, true}) {
        const Compiled one(model.net, model.logits, conformance::kLayers, 1, use_dot),
            many(model.net, model.logits, conformance::kLayers, 64, use_dot);
        // GPUs: norm, q, k and v; rope, append and attention; norm, output and residual; norm, gate, up and GLU; norm, down and residual.
        // Software: qkv; rope and append; attention; its norm; output and residual with the next norm; gate, up and GLU with their norm;
        // down and residual with the next layer's norm. The first layer's own norm comes on top.
        const uint32_t first = use_dot ? 5 : 8, next = use_dot ? 5 : 7;
        EXPECT_EQ(n_of_layer(model.net, one.list, 0), first);
        EXPECT_EQ(n_of_layer(model.net, one.list, 1), next);
        EXPECT_EQ(n_of_layer(model.net, many.list, 1), 10u);
        EXPECT_EQ(one.list.n_dispatches, 1u + first + next + 4u) << "embedding; layers; wanted rows, norm, codes, head";
    }
}

// Where shared memory has no room for a row's codes, norms stay behind the products before them.
TEST(VulkanShape, NormsAreInFrontOfProductsWhereTheirCodesHaveRoom)
{
    const auto n_of_shader = [](const tn_vk_list &list, const std::string &shader) {
        return std::count_if(list.dispatches, list.dispatches + list.n_dispatches,
                             [&](const tn_vk_dispatch &d) { return d.shader == shader; });
    };
    Net net(5);
    net.layer = 0;
    net.graph->n_layers = 1;
    const uint32_t x = net.embed(net.dense_weight(TN_DTYPE_F32, 3, 17000)), y = net.ternary(net.norm_quant(x), 40);
    const uint32_t out = net.ternary(net.norm_quant(y), 5);
    const Compiled roomy(net, out, 0, 1, true), few(net, out, 0, 2, true);
    EXPECT_EQ(n_of_shader(roomy.list, "matmul_ternary_one_dot"), 2);
    EXPECT_EQ(n_of_shader(roomy.list, "row_quant"), 0);
    EXPECT_EQ(n_of_shader(few.list, "matmul_ternary_one_dot"), 0);
    Net wide(6);
    wide.layer = 0;
    wide.graph->n_layers = 1;
    const uint32_t from = wide.embed(wide.dense_weight(TN_DTYPE_F32, 3, 32768));
    const Compiled narrow(wide, wide.ternary(wide.norm_quant(from), 5), 0, 1, true);
    EXPECT_EQ(n_of_shader(narrow.list, "matmul_ternary_dot"), 1);
    EXPECT_EQ(n_of_shader(narrow.list, "row_quant"), 1);
}

// Rows of a layer's attention that each of its dispatches is over, and their products.
std::vector<std::pair<uint32_t, uint64_t>> attention_of_layer(const Net &net, const tn_vk_list &list, int32_t layer)
{
    std::vector<std::pair<uint32_t, uint64_t>> found;
    uint32_t first = 0;
    for (uint32_t i = 0; i < list.n_dispatches; i++) {
        const tn_vk_dispatch &d = list.dispatches[i];
        const tn_node *node = d.nodes[0] == TN_NONE ? nullptr : &net.graph->nodes[d.nodes[0]];
        if (!node || node->op != TN_OP_ATTENTION || node->layer != layer) continue;
        const tn_vk_axis &rows = d.grid.axes[2];
        if (std::string(d.shader) == "attention_one") { // the only row
            found.emplace_back(first = 1, d.work);
            continue;
        }
        EXPECT_EQ(rows.by, TN_VK_PER_TOKENS);
        EXPECT_EQ(rows.first, first) << "rows are done once";
        first += rows.n_max;
        found.emplace_back(rows.n_max, d.work);
    }
    EXPECT_EQ(first, list.n_tokens_max) << "all rows are done";
    return found;
}

// No dispatch has more products than a job, where the rows can be parted.
TEST(VulkanShape, AttentionOverALongContextIsCutToTheWorkOfAJob)
{
    const Model model(3);
    for (const bool use_dot : {false, true}) {
        const Compiled whole(model.net, model.logits, conformance::kLayers, 64, use_dot);
        const auto one = attention_of_layer(model.net, whole.list, 1);
        ASSERT_EQ(one.size(), 1u);
        const uint64_t of_row = one[0].second / 64;
        for (const uint32_t n : {1u, 10u, 63u}) {
            const Compiled cut(model.net, model.logits, conformance::kLayers, 64, use_dot, of_row * n + of_row / 2);
            const auto parts = attention_of_layer(model.net, cut.list, 1);
            ASSERT_EQ(parts.size(), (64 + n - 1) / n);
            for (const auto &[rows, work] : parts) {
                EXPECT_LE(rows, n);
                EXPECT_EQ(work, rows * of_row);
            }
        }
        const Compiled least(model.net, model.logits, conformance::kLayers, 1, use_dot, 1);
        EXPECT_EQ(attention_of_layer(model.net, least.list, 1).size(), 1u) << "a row is a dispatch";
    }
}

// 64 rows at the least, so that offsets of bindings are aligned.
TEST(VulkanShape, AHeadOverManyRowsIsCutToTheWorkOfAJob)
{
    const Model model(3);
    const Compiled cut(model.net, model.logits, conformance::kLayers, 200, true, 1);
    uint32_t first = 0, n = 0;
    for (uint32_t i = 0; i < cut.list.n_dispatches; i++) {
        const tn_vk_dispatch &d = cut.list.dispatches[i];
        if (std::string(d.shader).rfind("matmul_dense", 0) != 0) continue;
        const tn_vk_axis &rows = d.grid.axes[1];
        EXPECT_EQ(rows.first, first);
        EXPECT_EQ(rows.n_max, std::min(64u, 200 - first));
        EXPECT_EQ(d.to_outer, TN_VK_OUTER_OUT);
        EXPECT_EQ(d.to.offset_bytes, uint64_t(first) * (d.to.n_bytes / rows.n_max));
        EXPECT_EQ(d.to.offset_bytes % cut.device.limits.offset_alignment, 0u);
        first += rows.n_max;
        n++;
    }
    EXPECT_EQ(first, 200u) << "all rows are done";
    EXPECT_EQ(n, 4u);
}

// Workgroups that the product's shader needs for its rows, each once: what it says of how many a workgroup has.
uint32_t blocks_of(const tn_graph &graph, const tn_vk_dispatch &d)
{
    const std::string shader = d.shader;
    const uint32_t invocations = d.constants[0], shares = invocations < 16 ? 1 : invocations / 16; // of 16 lanes, a row group each
    const bool is_dense = shader.rfind("matmul_dense", 0) == 0, is_dot = shader == "matmul_ternary_dot";
    const bool is_one = shader == "matmul_ternary_one_dot";
    const uint32_t rows = is_one ? 16u : is_dense ? invocations * d.constants[1] : is_dot ? 16u : 16u * shares * d.constants[3];
    const bool is_glu = !is_dense && d.constants[2] >= 2; // two matrices, whose rows go together
    uint32_t n = 0;
    for (uint32_t k = 0; k < (is_glu ? 1u : 3u) && d.nodes[k] != TN_NONE; k++) {
        const uint32_t n_rows = graph.values[graph.nodes[d.nodes[k]].out].width;
        n += (n_rows + rows - 1) / rows;
    }
    return is_one ? (n + d.constants[8] - 1) / d.constants[8] : n;
}

// Bytes that the matrices' dispatches of one token are bound to, and those of the packed matrices; and that no row is computed twice.
void expect_bytes_once(bool use_dot)
{
    const Model model(4);
    const Compiled one(model.net, model.logits, conformance::kLayers, 1, use_dot);
    const tn_graph *graph = model.net.graph;
    uint64_t bound = 0, packed = 0, gaps = 0;
    for (uint32_t i = 0; i < one.list.n_dispatches; i++) {
        const tn_vk_dispatch &d = one.list.dispatches[i];
        if (d.nodes[0] == TN_NONE) continue;
        const tn_op op = graph->nodes[d.nodes[0]].op;
        if ((op != TN_OP_MATMUL_TERNARY && op != TN_OP_MATMUL_DENSE) || std::string(d.shader).find("matmul") != 0) continue;
        bound += d.weights.n_bytes;
        EXPECT_NE(d.grid.axes[1].by, TN_VK_FIXED) << "as many passes as the step has tokens for";
        EXPECT_EQ(d.grid.axes[1].first, 0u) << "the token is one of them";
        EXPECT_EQ(d.grid.axes[2].by == TN_VK_FIXED ? d.grid.axes[2].n : 0u, 1u);
        EXPECT_EQ(d.grid.axes[0].by == TN_VK_FIXED ? d.grid.axes[0].n : 0u, blocks_of(*graph, d)) << d.shader << ": its rows, once";
        for (uint32_t k = 1; k < 3 && d.nodes[k] != TN_NONE; k++) gaps += 255; // between matrices that are bound together
    }
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        const tn_node &node = graph->nodes[i];
        tn_weight_layout layout;
        if (node.op != TN_OP_MATMUL_TERNARY && node.op != TN_OP_MATMUL_DENSE) continue;
        ASSERT_EQ(tn_vk_weight_layout(nullptr, &graph->weights[node.weight], &layout), TN_OK);
        packed += layout.size_bytes;
    }
    EXPECT_GE(bound, packed);
    EXPECT_LE(bound, packed + gaps);
}

TEST(VulkanShape, EveryPackedByteIsReadOnce)
{
    expect_bytes_once(true);
    expect_bytes_once(false);
}

// Words of a slice's parameters, as the shader reads them.
tn_vk_ternary_params ternary_params_of(const tn_vk_dispatch &d)
{
    tn_vk_ternary_params p;
    memcpy(&p, d.params, sizeof p);
    return p;
}

// Slices follow one another without a gap, from the first row to the last: codes, scales, residual and outputs. No row is quantised by the
// last workgroup of one of them.
TEST(VulkanShape, SlicesOfALargeMatrixCoverItOnce)
{
    const uint32_t width = 512, n = 1000, group_bytes = 8 * 256, range = 100000; // 48 of 63 row groups
    for (const bool use_dot : {false, true}) {
        for (const tn_scale_kind scales : {TN_SCALE_TENSOR, TN_SCALE_ROW}) {
            Net net(5);
            net.layer = 0;
            net.graph->n_layers = 1;
            const uint32_t x = net.embed(net.dense_weight(TN_DTYPE_F32, 3, n)), y = net.ternary(net.norm_quant(x), width);
            const uint32_t product = net.ternary(net.norm_quant(y), n, scales), out = net.ternary(net.norm_quant(net.sum(x, product)), 5);
            const Compiled one(net, out, 0, 1, use_dot, 0, range);
            const uint32_t node = static_cast<uint32_t>(net.graph->n_nodes - 4);
            ASSERT_EQ(net.graph->nodes[node].out, product);
            std::vector<const tn_vk_dispatch *> slices;
            uint32_t n_rows_ops = 0;
            for (uint32_t i = 0; i < one.list.n_dispatches; i++) {
                const tn_vk_dispatch &d = one.list.dispatches[i];
                if (d.nodes[0] == node) slices.push_back(&d);
                n_rows_ops += std::string(d.shader).find("row_quant") == 0;
            }
            ASSERT_EQ(slices.size(), 2u);
            EXPECT_EQ(n_rows_ops, 3u) << "all norms: y's product is bound in slices too";
            const tn_vk_ternary_params a = ternary_params_of(*slices[0]), b = ternary_params_of(*slices[1]);
            EXPECT_EQ(a.n_rows_0, 48u * 16u);
            EXPECT_EQ(a.n_rows_0 + b.n_rows_0, n);
            EXPECT_EQ(b.y_0, a.y_0 + a.n_rows_0);
            EXPECT_EQ(b.add_at, a.add_at + a.n_rows_0);
            EXPECT_EQ(slices[0]->weights.n_bytes, 48u * group_bytes);
            EXPECT_EQ(slices[1]->weights.n_bytes, 15u * group_bytes);
            EXPECT_EQ(slices[1]->weights.offset_bytes, slices[0]->weights.offset_bytes + slices[0]->weights.n_bytes);
            const uint64_t end = slices[1]->weights.offset_bytes + slices[1]->weights.n_bytes; // where the scales begin
            EXPECT_EQ(slices[0]->kv.offset_bytes + 4u * a.s_0, end);
            EXPECT_EQ(slices[1]->kv.offset_bytes + 4u * b.s_0, end + (scales == TN_SCALE_ROW ? 48u * 16u * 4u : 0u));
            for (const tn_vk_dispatch *slice : slices) {
                EXPECT_EQ(slice->kv.offset_bytes % 256, 0u);
                EXPECT_EQ(slice->n_constants, 8u);
                EXPECT_EQ(slice->constants[7], 1u) << "scales at the KV binding";
                EXPECT_EQ(slice->constants[4], 0u) << "no row behind a slice";
                EXPECT_EQ(slice->weights_texels.n_bytes, slice->weights.n_bytes);
            }
        }
    }
}

// Partial results of attention grow with tokens and context, beyond what a device binds: then rows walk through their chunks.
TEST(VulkanShape, AttentionIsSplitWhereItsPartialResultsHaveRoom)
{
    const uint32_t n_heads = 16, head_dim = 2;
    Net net(6);
    net.graph->n_layers = 1;
    net.graph->n_kv_heads = 1;
    net.graph->head_dim = head_dim;
    const uint32_t x = net.embed(3, n_heads * head_dim);
    net.layer = 0;
    net.kv_append(net.dense(x, head_dim, TN_DTYPE_F32), net.dense(x, head_dim, TN_DTYPE_F32), n_heads);
    const uint32_t out = net.norm(net.attention(x, n_heads));
    const auto shader_of = [&](uint32_t n_tokens, uint64_t range_bytes) {
        const Compiled compiled(net, out, 1, n_tokens, true, 0, range_bytes);
        std::string found;
        for (uint32_t i = 0; i < compiled.list.n_dispatches; i++) {
            const std::string shader = compiled.list.dispatches[i].shader;
            if (shader.find("attention") == 0) found = shader;
        }
        return found;
    };
    const uint64_t partial_bytes = uint64_t{8} * n_heads * 3 * (head_dim + 4) * 4; // of 8 tokens over 3 chunks
    EXPECT_EQ(shader_of(8, 4 * partial_bytes), "attention_split");
    EXPECT_EQ(shader_of(8, 4 * partial_bytes - 4), "attention_walk");
    EXPECT_EQ(shader_of(1, 4 * partial_bytes - 4), "attention_split");
    EXPECT_EQ(shader_of(9, 128u << 20), "attention_walk");
}

} // namespace
