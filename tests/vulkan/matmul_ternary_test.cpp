// The ternary matmul in all its forms against src/ref, bit by bit.
#include "vulkan/ternary_matrix.hpp"

#include <algorithm>
#include <cstdlib>
#include <gtest/gtest.h>
#include <random>

extern "C" {
#include "ref/ref.h"
}
#include "vulkan/shaders/shader_params.h"

namespace vulkan_test
{
namespace
{

// How a workgroup is cut: its invocations, its input rows, and of forms that have them its row groups.
struct Tile {
    uint32_t invocations, cols, groups;
};

struct Form {
    const char *shader;
    bool is_dot, is_gemm;
    std::vector<Tile> tiles;
    std::vector<uint32_t> n_input; // rows of the input
};

const Form kForms[] = {
    {"matmul_ternary_dot", true, false, {{16, 1, 1}, {64, 4, 1}, {256, 1, 1}, {16, 4, 1}, {256, 2, 1}}, {1, 5}},
    {"matmul_ternary_mul", false, false, {{8, 1, 1}, {16, 4, 4}, {64, 1, 2}, {8, 4, 3}, {64, 2, 2}}, {1, 5}},
    {"matmul_ternary_mul_texel", false, false, {{8, 1, 4}, {32, 4, 2}, {8, 4, 1}, {32, 1, 3}, {32, 2, 2}}, {1, 5}},
    {"matmul_ternary_mul_shuffle", false, false, {{8, 1, 8}, {32, 4, 2}, {8, 4, 4}, {64, 1, 1}, {16, 2, 2}}, {1, 5}},
    {"matmul_ternary_gemm_dot", true, true, {{64, 16, 2}, {16, 2, 2}, {128, 64, 4}, {32, 8, 6}, {256, 64, 4}}, {1, 5, 63, 64, 65, 130}},
    {"matmul_ternary_gemm_mul",
     false,
     true,
     {{64, 8, 2}, {64, 32, 4}, {16, 2, 2}, {256, 32, 8}, {32, 8, 6}, {128, 32, 4}},
     {1, 5, 31, 32, 33, 65}},
};

struct Input {
    uint32_t n_rows, n_cols;
    std::vector<int8_t> codes;
    std::vector<float> scales;
    std::vector<int32_t> sums;
};

Input random_input(uint32_t n_rows, uint32_t n_cols, bool is_extreme, std::mt19937 *random)
{
    Input in = {n_rows, n_cols, {}, {}, {}};
    for (uint32_t r = 0; r < n_rows; r++) {
        int32_t sum = 0;
        for (uint32_t c = 0; c < n_cols; c++) {
            in.codes.push_back(int8_t(is_extreme ? (r % 2 ? 127 : -127) : int((*random)() % 255) - 127));
            sum += in.codes.back();
        }
        in.sums.push_back(sum);
        in.scales.push_back(0.01f + float((*random)() % 1000) / 99999.0f);
    }
    return in;
}

// Words of the arena: codes, scales, sums from word 0, `residual` behind them.
void place_input(const Input &in, bool is_dot, Bindings *b, tn_vk_ternary_params *p)
{
    const uint32_t n_padded = (in.n_cols + 63) / 64 * 64, stride = is_dot ? n_padded / 4 : n_padded / 2;
    p->n_chunks = n_padded / 64;
    p->codes_stride = stride;
    p->scales = stride * in.n_rows;
    p->sums = p->scales + in.n_rows;
    b->arena.assign(p->sums + in.n_rows, 0);
    for (uint32_t r = 0; r < in.n_rows; r++) {
        auto x = [&](uint32_t c) { return uint32_t(c < in.n_cols ? in.codes[r * in.n_cols + c] : 0); };
        for (uint32_t c = 0; c < n_padded; c += 4) {
            if (is_dot) {
                for (uint32_t i = 0; i < 4; i++) b->arena[r * stride + c / 4] |= (x(c + i) & 0xff) << (8 * i);
            } else {
                b->arena[r * stride + c / 2] = (x(c) << 16) + x(c + 2);
                b->arena[r * stride + c / 2 + 1] = (x(c + 1) << 16) + x(c + 3);
            }
        }
        b->arena[p->scales + r] = bits_of(in.scales[r]);
        b->arena[p->sums + r] = uint32_t(in.sums[r]);
    }
}

std::vector<uint32_t> constants(const Form &form, const Tile &tile, uint32_t epilogue)
{
    std::vector<uint32_t> list = {tile.invocations, tile.cols, epilogue};
    if (!form.is_dot || form.is_gemm) list.push_back(tile.groups);
    return list;
}

// Of gate and up together where a workgroup computes both.
uint32_t rows_of_workgroup(const Form &form, const Tile &tile, uint32_t epilogue)
{
    if (form.is_gemm) return 16 * tile.groups / (epilogue < 2 ? 1 : 2);
    return form.is_dot ? 16 : 16 * tile.groups * std::max(1u, tile.invocations / 16);
}

std::vector<float> reference(const Matrix &m, const Input &in, uint32_t row)
{
    std::vector<float> y(m.n_rows);
    tn_ref_matmul_ternary(&in.codes[row * in.n_cols], in.scales[row], m.values.data(), m.per_row ? TN_SCALE_ROW : TN_SCALE_TENSOR,
                          m.scales.data(), m.n_rows, m.n_cols, y.data());
    return y;
}

class TernaryForms : public testing::TestWithParam<Form>
{
  protected:
    void SetUp() override
    {
        const std::string name = GetParam().shader;
        if (GetParam().is_dot && !rig_.has_dot()) GTEST_SKIP() << "the device has no integer dot product";
        if (name.find("_shuffle") != name.npos && !rig_.has_shuffle())
            GTEST_SKIP() << "the device has no subgroups of 8 lanes with shuffles";
    }
    ShaderRig rig_;
};

// Three matrices over one input, as q, k and v, each shape with two of the tiles in turn.
TEST_P(TernaryForms, MatricesSideBySide)
{
    std::mt19937 random(7);
    const Form &form = GetParam();
    size_t n_runs = 0;
    for (uint32_t n_cols : {2u, 64u, 100u, 515u, 1300u}) {
        for (uint32_t n_input : form.n_input) {
            for (uint32_t with = 0; with < 2; with++) {
                const Tile &tile = form.tiles[n_runs++ % form.tiles.size()];
                const bool is_extreme = n_cols == 1300;
                const Matrix m[3] = {random_matrix(50, n_cols, false, is_extreme, &random),
                                     random_matrix(1, n_cols, true, is_extreme, &random),
                                     random_matrix(n_cols == 100 ? 33 : 16, n_cols, true, is_extreme, &random)};
                const Input in = random_input(n_input, n_cols, is_extreme, &random);
                Bindings b;
                tn_vk_ternary_params p = {};
                place_input(in, form.is_dot, &b, &p);
                p.w_0 = append_packed(m[0], &b.weights, &p.s_0);
                p.w_1 = append_packed(m[1], &b.weights, &p.s_1);
                p.w_2 = append_packed(m[2], &b.weights, &p.s_2);
                p.n_rows_0 = m[0].n_rows, p.n_rows_1 = m[1].n_rows, p.n_rows_2 = m[2].n_rows;
                p.per_row = 6;
                const uint32_t strides[3] = {(m[0].n_rows + 3) / 4 * 4, 4, (m[2].n_rows + 3) / 4 * 4};
                p.y_1 = strides[0] * n_input, p.y_2 = p.y_1 + strides[1] * n_input;
                const uint32_t at[3] = {0, p.y_1, p.y_2};
                p.node_0 = 1, p.node_1 = 2, p.node_2 = 3;
                b.step = {n_input, 0};
                b.state.assign(n_input, 0xffffffff);
                b.out.assign(p.y_2 + strides[2] * n_input, 0xdddddddd);
                uint32_t blocks = 0;
                for (const Matrix &each : m) blocks += ceil_div(each.n_rows, rows_of_workgroup(form, tile, 0));
                rig_.run(form.shader, constants(form, tile, 0), p, blocks, ceil_div(n_input, tile.cols), 1, &b);
                for (uint32_t r = 0; r < n_input; r++) {
                    for (uint32_t i = 0; i < 3; i++) {
                        const std::vector<float> want = reference(m[i], in, r);
                        ASSERT_EQ(memcmp(&b.out[at[i] + r * strides[i]], want.data(), want.size() * sizeof(float)), 0)
                            << n_cols << " columns, matrix " << i << ", row " << r << " of " << n_input << ", tile " << tile.invocations
                            << ", " << tile.cols << ", " << tile.groups;
                        if (want.size() < strides[i]) {
                            EXPECT_EQ(b.out[at[i] + r * strides[i] + want.size()], 0xdddddddd) << "past the row";
                        }
                    }
                    EXPECT_EQ(b.state[r], 0xffffffff);
                }
            }
        }
    }
}

// The residual and the gate behind the matmul, with poison in each of the fused nodes.
TEST_P(TernaryForms, FusedOps)
{
    std::mt19937 random(8);
    const Form &form = GetParam();
    const Tile &tile = form.tiles.back();
    const uint32_t n_cols = 200, n_rows = 70, n_input = form.is_gemm ? 67 : 3;
    for (uint32_t epilogue : {1u, 2u, 3u}) {
        const Matrix m[2] = {random_matrix(n_rows, n_cols, true, false, &random), random_matrix(n_rows, n_cols, false, false, &random)};
        Input in = random_input(n_input, n_cols, false, &random);
        in.scales[1] = epilogue == 1 ? 0x1p60f : 0x1p40f; // the matmul of row 1 is poison; or its gate alone, squared
        Bindings b;
        tn_vk_ternary_params p = {};
        place_input(in, form.is_dot, &b, &p);
        p.w_0 = append_packed(m[0], &b.weights, &p.s_0);
        p.w_1 = append_packed(m[1], &b.weights, &p.s_1);
        p.per_row = 1;
        p.n_rows_0 = n_rows;
        p.n_rows_1 = epilogue == 1 ? 0 : n_rows;
        p.y_stride = p.add_stride = n_rows;
        p.node_0 = 1, p.node_1 = 2, p.glu_node = 3, p.add_node = 4;
        p.add_at = uint32_t(b.arena.size());
        std::vector<float> residual(n_rows * n_input);
        for (float &x : residual) x = float(random() % 1000) / 100 - 5;
        residual[2 * n_rows + 5] = 0x1p57f; // poison of the sum alone, in row 2
        for (float x : residual) b.arena.push_back(bits_of(x));
        b.step = {n_input, 0};
        b.state.assign(n_input, 0xffffffff);
        b.out.assign(n_rows * n_input, 0);
        rig_.run(form.shader, constants(form, tile, epilogue), p, ceil_div(n_rows, rows_of_workgroup(form, tile, epilogue)),
                 ceil_div(n_input, tile.cols), 1, &b);
        for (uint32_t r = 0; r < n_input; r++) {
            if (r == 1) continue;
            const std::vector<float> a = reference(m[0], in, r), u = reference(m[1], in, r);
            std::vector<float> want(n_rows);
            if (epilogue == 1)
                tn_ref_add(&residual[r * n_rows], a.data(), n_rows, want.data());
            else
                tn_ref_glu(epilogue == 2 ? TN_GLU_RELU2 : TN_GLU_SILU, a.data(), u.data(), n_rows, want.data());
            EXPECT_EQ(memcmp(&b.out[r * n_rows], want.data(), n_rows * sizeof(float)), 0) << "epilogue " << epilogue << ", row " << r;
        }
        EXPECT_EQ(b.state[0], 0xffffffff);
        EXPECT_EQ(b.state[1], epilogue == 1 ? 1u : 3u) << epilogue;
        EXPECT_EQ(b.state[2], epilogue == 1 ? 4u : 0xffffffff);
    }
}

INSTANTIATE_TEST_SUITE_P(Vulkan, TernaryForms, testing::ValuesIn(kForms),
                         [](const testing::TestParamInfo<Form> &form) { return std::string(form.param.shader); });

} // namespace
} // namespace vulkan_test
