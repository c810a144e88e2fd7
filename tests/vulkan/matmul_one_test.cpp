// The ternary matmul of one token, with the norm and the quantisation in front of it, against src/ref, bit by bit.
#include "support/quick.hpp"
#include "vulkan/ternary_matrix.hpp"

#include <gtest/gtest.h>

extern "C" {
#include "ref/ref.h"
}
#include "vulkan/shaders/shader_params.h"

namespace vulkan_test
{
namespace
{

constexpr float kEps = 1e-5f;
enum RowOp : uint32_t { kCodes, kNormQuant, kQuant };

struct Shape {
    uint32_t n_cols, invocations, tiles, keeps_row;
};
// Rows of one round of the shader's reduction, of two, and of more than are asked for at once, which shared memory keeps and does not;
// whole blocks, and not; tiles that the last workgroup does not fill.
const Shape kShapes[] = {{2, 128, 1, 1},   {64, 16, 1, 0},    {100, 32, 2, 1},   {515, 160, 3, 1},
                         {1300, 32, 1, 1}, {1280, 160, 1, 0}, {2560, 320, 1, 1}, {3001, 128, 2, 0}};

struct Codes {
    std::vector<int8_t> q;
    float scale;
    int32_t sum;
};

class TernaryOne : public testing::Test
{
  protected:
    void SetUp() override
    {
        if (!rig_.has_dot()) GTEST_SKIP() << "the device has no integer dot product";
    }
    // A row and its gains. What lies behind them is NaN: it must not count.
    void place_row(const Shape &shape, RowOp op, float scale)
    {
        std::vector<float> x(shape.n_cols), gains(shape.n_cols);
        for (float &v : x) v = scale * (float(random_() % 2001) / 1000 - 1);
        for (float &v : gains) v = 0.5f + float(random_() % 1000) / 999;
        codes_ = {std::vector<int8_t>(shape.n_cols), 0, 0};
        if (op == kNormQuant)
            tn_ref_norm_quant(x.data(), gains.data(), shape.n_cols, kEps, codes_.q.data(), &codes_.scale, &codes_.sum);
        else
            tn_ref_quant(x.data(), shape.n_cols, codes_.q.data(), &codes_.scale, &codes_.sum);
        b_ = {};
        p_ = {};
        p_.n_chunks = ceil_div(shape.n_cols, 64);
        p_.codes = 8;
        b_.arena.assign(p_.codes, 0xffffffff);
        if (op == kCodes) {
            for (uint32_t c = 0; c < p_.n_chunks * 64; c++) {
                if (c % 4 == 0) b_.arena.push_back(0);
                if (c < shape.n_cols) b_.arena.back() |= uint32_t(uint8_t(codes_.q[c])) << (8 * (c % 4));
            }
            p_.scales = uint32_t(b_.arena.size());
            b_.arena.push_back(bits_of(codes_.scale));
            p_.sums = uint32_t(b_.arena.size());
            b_.arena.push_back(uint32_t(codes_.sum));
        } else {
            for (float v : x) b_.arena.push_back(bits_of(v));
            for (float v : gains) b_.kv.push_back(bits_of(v));
            b_.kv.resize((shape.n_cols + 3) / 4 * 4, 0xffffffff);
        }
        b_.arena.resize((b_.arena.size() + 3) / 4 * 4, 0xffffffff);
        b_.step = {1, 1};
        b_.state = {0xffffffff};
    }
    std::vector<float> product(const Matrix &m) const
    {
        std::vector<float> y(m.n_rows);
        tn_ref_matmul_ternary(codes_.q.data(), codes_.scale, m.values.data(), m.per_row ? TN_SCALE_ROW : TN_SCALE_TENSOR, m.scales.data(),
                              m.n_rows, m.n_cols, y.data());
        return y;
    }
    void run(const Shape &shape, RowOp op, uint32_t epilogue, uint32_t n_groups)
    {
        const std::vector<uint32_t> constants = {
            shape.invocations, 1, epilogue, shape.n_cols, op, bits_of(kEps), bits_of(float(1.0 / shape.n_cols)), 0, shape.tiles,
            shape.keeps_row};
        rig_.run("matmul_ternary_one_dot", constants, p_, ceil_div(n_groups, shape.tiles), 1, 1, &b_);
    }
    ShaderRig rig_;
    std::mt19937 random_{7};
    Bindings b_;
    tn_vk_ternary_params p_;
    Codes codes_;
};

// Three matrices over one row, as q, k and v.
TEST_F(TernaryOne, MatricesSideBySide)
{
    for (size_t n = 0; n < std::size(kShapes); n++) {
        const Shape &shape = kShapes[n];
        for (const RowOp op : {kCodes, kNormQuant, kQuant}) {
            if (tn_test::is_quick() && n % 3 != op) continue;
            const Matrix m[3] = {random_matrix(50, shape.n_cols, false, false, &random_),
                                 random_matrix(1, shape.n_cols, true, false, &random_),
                                 random_matrix(33, shape.n_cols, true, false, &random_)};
            place_row(shape, op, 3);
            p_.w_0 = append_packed(m[0], &b_.weights, &p_.s_0);
            p_.w_1 = append_packed(m[1], &b_.weights, &p_.s_1);
            p_.w_2 = append_packed(m[2], &b_.weights, &p_.s_2);
            p_.n_rows_0 = 50, p_.n_rows_1 = 1, p_.n_rows_2 = 33;
            p_.per_row = 6;
            p_.y_1 = 52, p_.y_2 = 56;
            p_.node_0 = 1, p_.node_1 = 2, p_.node_2 = 3;
            b_.out.assign(92, 0xdddddddd);
            run(shape, op, 0, 4 + 1 + 3);
            std::vector<uint32_t> want(92, 0xdddddddd);
            const uint32_t at[3] = {0, 52, 56};
            for (uint32_t i = 0; i < 3; i++) {
                const std::vector<float> y = product(m[i]);
                memcpy(&want[at[i]], y.data(), y.size() * sizeof(float));
            }
            EXPECT_EQ(b_.out, want) << shape.n_cols << " columns, " << shape.invocations << " invocations, op " << op;
            EXPECT_EQ(b_.state[0], 0xffffffff);
        }
    }
}

// The residual and the gate behind the product, with poison in each of the fused nodes.
TEST_F(TernaryOne, FusedOps)
{
    const uint32_t n_rows = 70;
    for (const Shape &shape : {kShapes[2], kShapes[4]}) {
        for (const uint32_t epilogue : {1u, 2u, 3u}) {
            for (const uint32_t poisoned : {0u, 1u, 2u}) { // nothing; the product; what is behind it alone
                Matrix m[2] = {random_matrix(n_rows, shape.n_cols, true, false, &random_),
                               random_matrix(n_rows, shape.n_cols, false, false, &random_)};
                if (poisoned == 1) m[0].scales[69] = 0x1p70f;
                if (poisoned == 2 && epilogue > 1) std::fill(m[0].scales.begin() + 50, m[0].scales.end(), m[1].scales[0] = 0x1p40f);
                place_row(shape, kNormQuant, 3);
                p_.w_0 = append_packed(m[0], &b_.weights, &p_.s_0);
                p_.w_1 = append_packed(m[1], &b_.weights, &p_.s_1);
                p_.per_row = 1;
                p_.n_rows_0 = n_rows;
                p_.n_rows_1 = epilogue == 1 ? 0 : n_rows;
                p_.node_0 = 1, p_.node_1 = 2, p_.glu_node = 3, p_.add_node = 4;
                p_.add_at = uint32_t(b_.arena.size());
                std::vector<float> residual(n_rows), want(n_rows);
                for (float &v : residual) v = float(random_() % 1000) / 100 - 5;
                if (poisoned == 2) residual[5] = 0x1p57f;
                for (float v : residual) b_.arena.push_back(bits_of(v));
                b_.out.assign(n_rows, 0);
                run(shape, kNormQuant, epilogue, 5);
                const std::vector<float> a = product(m[0]), u = product(m[1]);
                if (epilogue == 1)
                    tn_ref_add(residual.data(), a.data(), n_rows, want.data());
                else
                    tn_ref_glu(epilogue == 2 ? TN_GLU_RELU2 : TN_GLU_SILU, a.data(), u.data(), n_rows, want.data());
                EXPECT_EQ(memcmp(b_.out.data(), want.data(), n_rows * sizeof(float)), 0)
                    << shape.n_cols << " columns, epilogue " << epilogue << ", poisoned " << poisoned;
                const uint32_t behind = epilogue == 1 ? 4 : 3;
                EXPECT_EQ(b_.state[0], poisoned == 0 ? 0xffffffff : poisoned == 1 ? 1u : behind) << epilogue;
            }
        }
    }
}

// Rows whose codes are those of the least absmax, of zeros and of infinities.
TEST_F(TernaryOne, RowsThatAreSmallOrTooLarge)
{
    const Shape shape = kShapes[3];
    const Matrix m = random_matrix(20, shape.n_cols, false, false, &random_);
    for (const RowOp op : {kNormQuant, kQuant}) {
        for (const float scale : {0.0f, 1e-20f, 1e-6f, 0x1p60f}) {
            place_row(shape, op, scale);
            p_.w_0 = append_packed(m, &b_.weights, &p_.s_0);
            p_.n_rows_0 = 20;
            p_.node_0 = 1;
            b_.out.assign(20, 0);
            run(shape, op, 0, 2);
            const std::vector<float> want = product(m);
            EXPECT_EQ(memcmp(b_.out.data(), want.data(), want.size() * sizeof(float)), 0) << op << ", " << scale;
        }
    }
}

// A step that wants no row of logits has the workgroups all the same, which leave everything as it is.
TEST_F(TernaryOne, OverRowsOfLogitsThatNobodyWants)
{
    const Shape shape = kShapes[2];
    const Matrix m = random_matrix(20, shape.n_cols, false, false, &random_);
    for (const uint32_t n_wanted : {0u, 1u}) {
        place_row(shape, kNormQuant, 3);
        p_.w_0 = append_packed(m, &b_.weights, &p_.s_0);
        p_.n_rows_0 = 20;
        p_.node_0 = 1;
        p_.logit_rows = 2;
        b_.step = {1, n_wanted, 1};
        b_.state = {0xffffffff, 0xffffffff};
        b_.weights[p_.s_0] = bits_of(0x1p80f);
        b_.out.assign(20, 0xdddddddd);
        run(shape, kNormQuant, 0, 2);
        EXPECT_EQ(b_.out[0] == 0xdddddddd, n_wanted == 0);
        EXPECT_EQ(b_.state, (std::vector<uint32_t>{0xffffffff, n_wanted ? 1u : 0xffffffff})) << "of the token that wants it";
    }
}

} // namespace
} // namespace vulkan_test
