// Single ops against src/ref: embed makes the graph's first value, the program takes it as its input.
#include "conformance/cases.h"

namespace conformance
{
namespace
{

using Build = std::function<uint32_t(Net &net, uint32_t x)>;

// Signs of a few kinds of rows: all alike, alternating, changing in every second place, by chance.
float sign_at(uint32_t row, uint32_t column)
{
    switch (row % 5) {
    case 0: return 1.0f;
    case 1: return -1.0f;
    case 2: return column % 2 ? -1.0f : 1.0f;
    case 3: return column % 4 < 2 ? -1.0f : 1.0f;
    default: return ((row * 2654435761u) ^ (column * 2246822519u)) >> 31 ? -1.0f : 1.0f;
    }
}

constexpr float kExtremes = 3.0f; // in place of a range: the inputs are this value, with the signs of sign_at

Result check_op(const Target &target, const std::string &what, uint32_t width, uint32_t n_tokens, const Build &build, float range = 4.0f,
                float extreme = 0)
{
    Device device(target);
    Net net(width * 1000 + n_tokens);
    const uint32_t x = net.embed(3, width);
    net.layer = 0;
    net.graph->n_layers = 1;
    const uint32_t out = build(net, x);
    MUST(tn_graph_check(net.graph));
    Bounds bounds;
    bounds.n_tokens_max = bounds.n_logits_max = n_tokens + 3; // not the step's size
    bounds.n_seq_pages_max = (n_tokens + 3) / TN_KV_PAGE_POSITIONS + 1;
    Packed packed(device, net);
    Program program(device, net, packed, bounds, 1, net.graph->n_nodes - 1, x, out);

    RefNet reference(net);
    std::vector<Token> tokens;
    std::vector<float> in;
    std::vector<std::vector<float>> want;
    Step step;
    for (uint32_t i = 0; i < n_tokens; i++) {
        tokens.push_back({0, 0, i});
        std::vector<float> row(width);
        for (uint32_t k = 0; k < width; k++) row[k] = extreme != 0 ? extreme * sign_at(i, k) : net.random.value(range);
        in.insert(in.end(), row.begin(), row.end());
        RefRow expected = reference.run(tokens[i], row);
        if (expected.poison) return what + ": the test's own values are out of range";
        const bool wanted = net.graph->values[out].rows == TN_ROWS_TOKENS || i % 3 == 0;
        if (wanted) want.push_back(expected.f32.at(out));
    }
    step = make_step(tokens, bounds, shuffled_pages(bounds, &net.random));
    for (uint32_t i = 0; i < n_tokens; i += 3) step.logit_rows.push_back(i);
    std::ostringstream name;
    name << what << " of " << width << " columns, " << n_tokens << " tokens";
    for (int again = 0; again < 2; again++) { // twice: nothing may be left from the first run
        CHECK_RESULT(same_rows(name.str(), program.run(step, in), want));
        for (uint32_t p : program.poison) {
            if (p != 0) return name.str() + ": poisoned";
        }
    }
    return "";
}

// One token, a few, more than one block of tokens; the border of what Vulkan takes for few.
Shapes tokens_for(const Target &target) { return is_cpu(target) ? Shapes{1, 7, 70} : shapes_for(target, {1, 7, 8, 9, 70}, {1, 8, 19}); }
Shapes widths_for(const Target &target) { return shapes_for(target, {2, 64, 100, 256, 300, 515}, {2, 256, 515}); }

Result embed_of(const Target &target, tn_dtype dtype, uint32_t width)
{
    Device device(target);
    Net net(width);
    net.weight_range = 3.0f;
    const uint32_t out = net.embed(net.dense_weight(dtype, 37, width));
    Packed packed(device, net);
    Bounds bounds;
    Program program(device, net, packed, bounds, 0, 1, TN_NONE, out);
    RefNet reference(net);
    std::vector<Token> tokens;
    std::vector<std::vector<float>> want;
    for (uint32_t i = 0; i < 8; i++) {
        tokens.push_back({static_cast<int32_t>(i == 0 ? 36 : i == 1 ? 0 : net.random.below(37)), 0, i});
        want.push_back(reference.run(tokens[i]).f32.at(out));
    }
    Step step = make_step(tokens, bounds, {0});
    return same_rows(std::string("embed ") + tn_dtype_get(dtype)->name, program.run(step), want);
}

constexpr tn_dtype kDenseTypes[] = {TN_DTYPE_F32,  TN_DTYPE_F16,  TN_DTYPE_BF16, TN_DTYPE_Q8_0, TN_DTYPE_Q6_K, TN_DTYPE_Q5_K,
                                    TN_DTYPE_Q4_K, TN_DTYPE_Q5_1, TN_DTYPE_Q5_0, TN_DTYPE_Q4_1, TN_DTYPE_Q4_0};

Result embed_every_type(const Target &target)
{
    for (uint32_t width : {32u, 96u, 256u, 512u}) {
        for (tn_dtype dtype : kDenseTypes) {
            if (width % tn_dtype_get(dtype)->block_elements != 0) continue;
            CHECK_RESULT(embed_of(target, dtype, width));
        }
    }
    CHECK_RESULT(embed_of(target, TN_DTYPE_F32, 7));
    return embed_of(target, TN_DTYPE_F16, 101);
}

Result norm(const Target &target)
{
    for (uint32_t width : widths_for(target)) {
        for (tn_dtype gains : {TN_DTYPE_F32, TN_DTYPE_F16, TN_DTYPE_BF16})
            CHECK_RESULT(check_op(target, "norm", width, 7, [=](Net &net, uint32_t x) { return net.norm(x, gains); }));
    }
    return "";
}

Result quantised_ternary(const Target &target)
{
    for (uint32_t width : shapes_for(target, {2, 64, 100, 256, 300, 515}, {100, 515})) {
        for (uint32_t n_tokens : tokens_for(target)) {
            for (uint32_t n : shapes_for(target, {1, 16, 50, 131}, {1, 50})) {
                const tn_scale_kind scales = n % 16 != 0 && n != 1 ? TN_SCALE_ROW : TN_SCALE_TENSOR;
                CHECK_RESULT(check_op(target, "norm_quant, matmul_ternary", width, n_tokens,
                                      [=](Net &net, uint32_t x) { return net.ternary(net.norm_quant(x), n, scales); }));
                CHECK_RESULT(check_op(target, "quant, matmul_ternary", width, n_tokens,
                                      [=](Net &net, uint32_t x) { return net.ternary(net.quant(x), n, scales); }));
            }
        }
    }
    return "";
}

// Matrices that are more than the device binds at a time, in each of their places: alone, with the residual, with quantisation behind them
// (which the last workgroup of a whole matrix does), as gate and up, and beside a small one over the same input.
Result ternary_in_slices(const Target &target)
{
    const Target small = with_small_bindings(target);
    const uint32_t width = 515, n = 2500, n_many = 6000; // row groups of 9 * 256 bytes, 113 of them to a binding
    for (uint32_t n_tokens : shapes_for(target, {1, 7, 8, 9, 19}, {1, 8, 19})) {
        for (tn_scale_kind scales : {TN_SCALE_TENSOR, TN_SCALE_ROW}) {
            CHECK_RESULT(check_op(small, "matmul_ternary in two slices", width, n_tokens,
                                  [=](Net &net, uint32_t x) { return net.ternary(net.norm_quant(x), n, scales); }));
            if (n_tokens > 1) continue;
            CHECK_RESULT(check_op(small, "matmul_ternary in four slices", width, n_tokens,
                                  [=](Net &net, uint32_t x) { return net.ternary(net.norm_quant(x), n_many, scales); }));
            CHECK_RESULT(check_op(small, "matmul_ternary in four slices, norm_quant", width, n_tokens, [=](Net &net, uint32_t x) {
                return net.ternary(net.norm_quant(net.ternary(net.norm_quant(x), n_many, scales)), 20, scales);
            }));
        }
        if (n_tokens > 9) continue; // the values of a step are bound whole
        CHECK_RESULT(check_op(small, "matmul_ternary in slices beside a small one", width, n_tokens, [=](Net &net, uint32_t x) {
            const uint32_t codes = net.quant(x), large = net.ternary(codes, n, TN_SCALE_ROW), one = net.ternary(codes, 40);
            return net.sum(net.ternary(net.quant(large), 40), one);
        }));
        CHECK_RESULT(check_op(small, "gate, up and down with the residual in slices", 1030, n_tokens, [=](Net &net, uint32_t x) {
            const uint32_t codes = net.norm_quant(x);
            const uint32_t h = net.glu(net.ternary(codes, 1000, TN_SCALE_ROW), net.ternary(codes, 1000), TN_GLU_SILU);
            return net.sum(x, net.ternary(net.norm_quant(h), 1030, TN_SCALE_ROW));
        }));
    }
    return "";
}

// Sums as far from zero as they can be: every code of the activations is 127 or -127, every weight 1 or -1, in signs that add up, that
// cancel, and that add up in every other place alone.
Result extreme_ternary(const Target &target)
{
    for (uint32_t width : shapes_for(target, {64, 300, 4096 + 36}, {4096 + 36})) {
        for (uint32_t n_tokens : {1u, 9u}) {
            CHECK_RESULT(check_op(
                target, "matmul_ternary of extremes", width, n_tokens,
                [=](Net &net, uint32_t x) {
                    const uint32_t y = net.ternary(net.quant(x), 40);
                    Weight &w = net.weights[net.graph->nodes[net.graph->n_nodes - 1].weight];
                    for (uint32_t r = 0; r < 40; r++) {
                        for (uint32_t c = 0; c < width; c++)
                            w.file[size_t{r} * width + c] = static_cast<uint8_t>(sign_at(r, c) > 0 ? 1 : -1);
                    }
                    return y;
                },
                0, kExtremes));
        }
    }
    return "";
}

Result extreme_dense(const Target &target)
{
    for (tn_dtype dtype : {TN_DTYPE_Q8_0, TN_DTYPE_Q6_K, TN_DTYPE_Q4_0}) {
        const uint32_t width = 2048;
        for (uint32_t n_tokens : {1u, 9u}) {
            CHECK_RESULT(check_op(
                target, std::string("matmul_dense of extremes in ") + tn_dtype_get(dtype)->name, width, n_tokens,
                [=](Net &net, uint32_t x) {
                    std::vector<float> values;
                    for (uint32_t r = 0; r < 18; r++) {
                        for (uint32_t c = 0; c < width; c++) values.push_back(sign_at(r, c) * 2.0f);
                    }
                    return net.dense_of(x, dtype, values);
                },
                0, kExtremes));
        }
    }
    return "";
}

Result tiny_inputs(const Target &target)
{
    // Rows below quantisation's floor, where codes and scale come from other formulas.
    return check_op(
        target, "norm_quant of tiny rows", 100, 7, [](Net &net, uint32_t x) { return net.ternary(net.norm_quant(x), 20); }, 1e-9f);
}

Result dense(const Target &target)
{
    for (tn_dtype dtype : kDenseTypes) {
        const uint32_t block = tn_dtype_get(dtype)->block_elements;
        for (uint32_t width : {5u, 96u, 256u, 301u, 512u, 800u}) {
            if (width % block != 0) continue;
            if (!target.is_thorough && width != 256 && width != 301) continue;
            for (uint32_t n_tokens : shapes_for(target, tokens_for(target), {1, 9})) {
                for (uint32_t n : shapes_for(target, {1, 16, 37}, {37}))
                    CHECK_RESULT(check_op(target, std::string("matmul_dense ") + tn_dtype_get(dtype)->name, width, n_tokens,
                                          [=](Net &net, uint32_t x) { return net.dense(x, n, dtype); }));
            }
        }
    }
    return "";
}

Result tiny_dense_weights(const Target &target)
{
    // Weights below 2^-50, subnormal ones too, are zeros after load.
    return check_op(target, "matmul_dense of tiny weights", 40, 3, [](Net &net, uint32_t x) {
        std::vector<float> values(10 * 40);
        const float tiny[] = {0x1p-51f, -0x1.8p-60f, 0x1p-149f, 0x1p-130f, -0.0f, 0x1p-50f, 1.0f, -0x1p-20f};
        for (float &v : values) v = tiny[net.random.below(8)];
        const uint32_t weight = net.dense_weight_of(TN_DTYPE_F32, 10, 40, values);
        const uint32_t out = net.dense(x, 10, TN_DTYPE_F32);
        net.graph->nodes[net.graph->n_nodes - 1].weight = weight;
        return out;
    });
}

Result rope(const Target &target)
{
    for (uint32_t head_dim : {2u, 24u, 64u, 80u, 128u}) {
        for (tn_rope_pairs pairs : {TN_ROPE_HALVES, TN_ROPE_ADJACENT}) {
            for (uint32_t heads : {1u, 3u})
                CHECK_RESULT(check_op(target, "rope", heads * head_dim, 70,
                                      [=](Net &net, uint32_t x) { return net.rope(x, net.table_weight(100, head_dim), pairs); }));
        }
    }
    return "";
}

Result elementwise(const Target &target)
{
    for (uint32_t width : widths_for(target)) {
        for (tn_glu_kind kind : {TN_GLU_RELU2, TN_GLU_SILU})
            CHECK_RESULT(check_op(target, "glu", width, 7, [=](Net &net, uint32_t x) { return net.glu(x, net.norm(x), kind); }));
        CHECK_RESULT(check_op(target, "add", width, 7, [=](Net &net, uint32_t x) { return net.sum(net.norm(x), x); }));
    }
    // silu far from zero, where the exponential is clamped.
    return check_op(
        target, "silu of large values", 300, 7, [](Net &net, uint32_t x) { return net.glu(x, net.norm(x), TN_GLU_SILU); }, 1e4f);
}

Result copies_wanted_rows(const Target &target)
{
    for (uint32_t n_tokens : {1u, 7u, 70u}) {
        CHECK_RESULT(check_op(target, "copy", 33, n_tokens, [](Net &net, uint32_t x) {
            uint32_t y = net.norm(x);
            net.layer = TN_LAYER_HEAD;
            return net.copy(y);
        }));
        CHECK_RESULT(check_op(target, "head", 64, n_tokens, [](Net &net, uint32_t x) {
            net.layer = TN_LAYER_HEAD;
            return net.dense(net.norm(net.copy(x)), 50, TN_DTYPE_Q8_0);
        }));
    }
    return "";
}

struct AttentionShape {
    uint32_t n_heads, n_kv_heads, head_dim, n_tokens;
};

Result attention(const Target &target)
{
    for (const AttentionShape &s : {AttentionShape{1, 1, 2, 5}, AttentionShape{4, 2, 24, 130}, AttentionShape{5, 1, 64, 40},
                                    AttentionShape{6, 2, 80, 129}, AttentionShape{4, 4, 128, 20}, AttentionShape{2, 1, 64, 390}}) {
        if (!target.is_thorough && s.head_dim != 24 && s.head_dim != 80) continue;
        std::ostringstream what;
        what << "attention " << s.n_heads << "/" << s.n_kv_heads << " heads of " << s.head_dim;
        CHECK_RESULT(check_op(target, what.str(), 32, s.n_tokens, [=](Net &net, uint32_t x) {
            net.graph->n_kv_heads = s.n_kv_heads;
            net.graph->head_dim = s.head_dim;
            const uint32_t q = net.dense(x, s.n_heads * s.head_dim, TN_DTYPE_F32);
            net.kv_append(net.dense(x, s.n_kv_heads * s.head_dim, TN_DTYPE_F32), net.dense(x, s.n_kv_heads * s.head_dim, TN_DTYPE_F32),
                          s.n_heads);
            return net.attention(q, s.n_heads);
        }));
    }
    return "";
}

Result poison_of_single_ops(const Target &target)
{
    struct Case {
        const char *what;
        float value;
        Build build;
    };
    const Case cases[] = {
        {"glu", 1e12f, [](Net &net, uint32_t x) { return net.glu(x, x, TN_GLU_RELU2); }},
        {"add", 0x1.8p55f, [](Net &net, uint32_t x) { return net.sum(x, x); }},
        {"matmul_dense", 0x1p55f, [](Net &net, uint32_t x) { return net.dense(net.sum(x, net.norm(x)), 300, TN_DTYPE_F32); }},
        {"matmul_dense q8_0", 0x1p55f, [](Net &net, uint32_t x) { return net.dense(net.sum(x, net.norm(x)), 300, TN_DTYPE_Q8_0); }},
    };
    for (const Case &c : cases) {
        Device device(target);
        Net net(11);
        net.weight_range = 30.0f;
        const uint32_t x = net.embed(3, 64);
        net.layer = 0;
        net.graph->n_layers = 1;
        const uint32_t out = c.build(net, x);
        Packed packed(device, net);
        Bounds bounds;
        Program program(device, net, packed, bounds, 1, net.graph->n_nodes - 1, x, out);
        RefNet reference(net);
        std::vector<Token> tokens;
        std::vector<float> in;
        std::vector<std::vector<float>> want;
        std::vector<uint32_t> want_poison;
        for (uint32_t i = 0; i < 6; i++) {
            tokens.push_back({0, 0, i});
            std::vector<float> row(64);
            for (float &v : row) v = net.random.value(1.0f);
            if (i == 2 || i == 5) row[63] = c.value;
            in.insert(in.end(), row.begin(), row.end());
            RefRow expected = reference.run(tokens[i], row);
            want.push_back(expected.f32.at(out));
            want_poison.push_back(expected.poison);
        }
        std::vector<float> got = program.run(make_step(tokens, bounds, {0}), in);
        if (want_poison[2] == 0) return std::string(c.what) + ": the reference is not poisoned: a test without a point";
        if (program.poison != want_poison) return std::string(c.what) + ": other tokens or nodes are poisoned than in the reference";
        for (uint32_t i : {0u, 1u, 3u, 4u}) {
            const size_t width = net.width(out);
            std::vector<float> row(got.begin() + static_cast<long>(i * width), got.begin() + static_cast<long>((i + 1) * width));
            CHECK_RESULT(same_rows(std::string(c.what) + " beside a poisoned row", row, {want[i]}));
        }
    }
    return "";
}

} // namespace

std::vector<Case> op_cases()
{
    return {
        {"EmbedEqualsTheReferenceForEveryType", embed_every_type},
        {"NormEqualsTheReference", norm},
        {"TernaryMatmulOfQuantisedRowsEqualsTheReference", quantised_ternary},
        {"TernaryMatricesLargerThanABindingEqualTheReference", ternary_in_slices, is_vulkan},
        {"TernaryMatmulOfExtremesEqualsTheReference", extreme_ternary},
        {"RowsBelowTheQuantisersFloorEqualTheReference", tiny_inputs},
        {"DenseMatmulEqualsTheReferenceForEveryType", dense},
        {"DenseMatmulOfExtremesEqualsTheReference", extreme_dense},
        {"WeightsBelowTheFloorAreZeros", tiny_dense_weights},
        {"RopeEqualsTheReference", rope},
        {"ElementwiseOpsEqualTheReference", elementwise},
        {"CopyGathersTheWantedRows", copies_wanted_rows},
        {"AttentionEqualsTheReferenceOverShuffledPages", attention},
        {"PoisonNamesTokenAndNode", poison_of_single_ops},
    };
}

} // namespace conformance
