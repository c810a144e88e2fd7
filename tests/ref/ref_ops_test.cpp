// Row ops and matrices of src/ref: worked examples, second statements of their formulas, canaries, poison.
#include "ref/values.h"

#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <limits>

extern "C" {
#include "format/dense.h"
#include "ref/ref.h"
}

namespace
{

using tn_test::random_bits;
using tn_test::values;

const float kCanary = 1.0f + 0x1p-12f; // its square is 1 + 2^-11 + 2^-24: the last bit exists only inside a fused operation

TEST(RefQuant, WorkedExample)
{
    // 63.5 -> 64 and 31.75 -> 32 and 16.002 -> 16.
    const float x[5] = {0.5f, -1.0f, 0.25f, 0.0f, 0.126f};
    const int8_t expected[5] = {64, -127, 32, 0, 16};
    int8_t q[5];
    float scale;
    int32_t sum;
    tn_ref_quant(x, 5, q, &scale, &sum);
    EXPECT_EQ(std::memcmp(q, expected, 5), 0);
    EXPECT_EQ(sum, -15);
    EXPECT_EQ(scale, static_cast<float>(1.0 / 127.0));
    const int8_t w[5] = {1, -1, 0, 1, 1};
    const float w_scale = 1.21875f;
    float y;
    tn_ref_matmul_ternary(q, scale, w, TN_SCALE_TENSOR, &w_scale, 1, 5, &y);
    EXPECT_NEAR(y, 207.0 / 127.0 * 1.21875, 1e-6);
}

TEST(RefQuant, ProductIsRoundedBeforeItBecomesACode)
{
    // With an absmax of 1 every x below times 127 is a rounded tie: fused, about half of the codes change.
    std::vector<float> x = {1.0f};
    for (int k = 0; k < 127; k++) x.push_back(static_cast<float>((k + 0.5) / 127.0));
    std::vector<int8_t> q(x.size());
    float scale;
    int32_t sum;
    tn_ref_quant(x.data(), static_cast<uint32_t>(x.size()), q.data(), &scale, &sum);
    for (size_t i = 0; i < x.size(); i++) {
        auto product = static_cast<float>(static_cast<double>(x[i]) * 127.0); // exact in double, then one rounding
        EXPECT_EQ(q[i], static_cast<int>(std::nearbyint(product))) << i;
    }
}

TEST(RefQuant, SmallRowsUseTheLeastScale)
{
    const float x[3] = {0.0f, 2e-6f, -1e-5f};
    int8_t q[3];
    float scale;
    int32_t sum;
    tn_ref_quant(x, 3, q, &scale, &sum);
    EXPECT_EQ(scale, 1e-5f * static_cast<float>(1.0 / 127.0));
    EXPECT_EQ(q[0], 0);
    EXPECT_EQ(q[1], 25);
    EXPECT_EQ(q[2], -127);
    const float zeros[3] = {0.0f, -0.0f, 0.0f};
    tn_ref_quant(zeros, 3, q, &scale, &sum);
    EXPECT_EQ(q[0] | q[1] | q[2] | sum, 0);
}

TEST(RefQuant, CodesNeverPassTheRange)
{
    for (uint64_t seed = 0; seed < 2000; seed++) {
        std::vector<float> x = values(seed, 40, std::ldexp(1.0f, static_cast<int>(seed % 70) - 20), 3);
        int8_t q[40];
        int16_t h[40];
        float scale;
        int32_t sum, largest = 0, largest_h = 0;
        tn_ref_quant(x.data(), 40, q, &scale, &sum);
        tn_ref_quant_head(x.data(), 40, 4095, h, &scale);
        for (int i = 0; i < 40; i++) {
            largest = std::max(largest, std::abs(static_cast<int32_t>(q[i])));
            largest_h = std::max(largest_h, std::abs(static_cast<int32_t>(h[i])));
        }
        ASSERT_LE(largest, 127) << seed;
        ASSERT_EQ(largest_h, 4095) << seed;
    }
}

TEST(RefQuant, GroupsAreRowsOfTheirOwn)
{
    std::vector<float> x = values(3, 192, 1.0f, 9);
    int8_t q[192], row[64];
    float scales[3], scale;
    int32_t sums[3], sum;
    tn_ref_quant_group(x.data(), 192, 64, q, scales, sums);
    for (uint32_t g = 0; g < 3; g++) {
        tn_ref_quant(x.data() + g * 64, 64, row, &scale, &sum);
        EXPECT_EQ(std::memcmp(row, q + g * 64, 64), 0);
        EXPECT_EQ(scale, scales[g]);
        EXPECT_EQ(sum, sums[g]);
    }
}

TEST(RefQuant, HeadsBelowTwoToMinusThirtyAreZero)
{
    float x[2] = {std::nextafterf(0x1p-30f, 0.0f), 0.0f}, scale = 1.0f;
    int16_t codes[2] = {1, 1};
    tn_ref_quant_head(x, 2, 4095, codes, &scale);
    EXPECT_EQ(codes[0] | codes[1], 0);
    EXPECT_EQ(scale, 0.0f);
    x[0] = -0x1p-30f;
    tn_ref_quant_head(x, 2, 4095, codes, &scale);
    EXPECT_EQ(codes[0], -4095);
    EXPECT_EQ(scale, 0x1p-30f * static_cast<float>(1.0 / 4095.0));
}

TEST(RefNorm, QuantisedAndPlainFormsAgreeWithTheRealNorm)
{
    const uint32_t n = 700;
    std::vector<float> x = values(1, n, 8.0f), gamma = values(2, n, 2.0f);
    double squares = 0;
    for (float v : x) squares += static_cast<double>(v) * v;
    double r = 1.0 / std::sqrt(squares / n + 1e-5);
    std::vector<float> y(n);
    std::vector<int8_t> q(n);
    float scale;
    int32_t sum, total = 0;
    uint32_t bits = tn_ref_norm(x.data(), gamma.data(), n, 1e-5f, y.data());
    tn_ref_norm_quant(x.data(), gamma.data(), n, 1e-5f, q.data(), &scale, &sum);
    for (uint32_t i = 0; i < n; i++) {
        double exact = static_cast<double>(x[i]) * gamma[i] * r;
        EXPECT_NEAR(y[i], exact, std::fabs(exact) * 1e-6 + 1e-12);
        EXPECT_NEAR(static_cast<double>(q[i]) * scale, exact, scale * 0.5001);
        total += q[i];
    }
    EXPECT_EQ(total, sum);
    EXPECT_EQ(bits, tn_ref_absmax_bits(y.data(), n));
}

TEST(RefNorm, TinyGainsUseTheLeastScale)
{
    std::vector<float> x = values(5, 64), gamma(64, 0x1p-20f);
    std::vector<int8_t> q(64);
    float scale;
    int32_t sum;
    tn_ref_norm_quant(x.data(), gamma.data(), 64, 0.0f, q.data(), &scale, &sum);
    EXPECT_EQ(scale, static_cast<float>(1e-5 / 127.0));
    std::vector<float> y(64);
    tn_ref_norm(x.data(), gamma.data(), 64, 0.0f, y.data());
    for (int i = 0; i < 64; i++) EXPECT_NEAR(q[static_cast<size_t>(i)], y[static_cast<size_t>(i)] * 12700000.0, 0.501);
}

TEST(RefNorm, CanaryOfFusedMultiplyAdd)
{
    // The mean of three ones is 3 * RN(1/3), which rounds to 1; fused with eps = -1 it would be 2^-25.
    const float x[3] = {1.0f, 1.0f, 1.0f}, gamma[3] = {1.0f, 1.0f, 1.0f};
    float y[3];
    tn_ref_norm(x, gamma, 3, -1.0f, y);
    EXPECT_NEAR(y[0], 0x1p50, 0x1p28);
}

TEST(RefNorm, RowsOfZerosStayZero)
{
    const float x[4] = {0}, gamma[4] = {1, 1, 1, 1};
    float y[4], scale;
    int8_t q[4];
    int32_t sum;
    EXPECT_EQ(tn_ref_norm(x, gamma, 4, 0.0f, y), 0u);
    tn_ref_norm_quant(x, gamma, 4, 0.0f, q, &scale, &sum);
    EXPECT_EQ(sum, 0);
    EXPECT_EQ(q[0] | q[1] | q[2] | q[3], 0);
}

TEST(RefRope, RotatesPairsByTheTable)
{
    const uint32_t head_dim = 8;
    std::vector<float> x = values(1, 2 * head_dim), table, y(2 * head_dim);
    for (int i = 0; i < 4; i++) table.push_back(static_cast<float>(std::cos(0.3 * i)));
    for (int i = 0; i < 4; i++) table.push_back(static_cast<float>(std::sin(0.3 * i)));
    for (tn_rope_pairs pairs : {TN_ROPE_HALVES, TN_ROPE_ADJACENT}) {
        uint32_t bits = tn_ref_rope(x.data(), table.data(), 2, head_dim, pairs, y.data());
        EXPECT_EQ(bits, tn_ref_absmax_bits(y.data(), 2 * head_dim));
        for (uint32_t h = 0; h < 2; h++) {
            for (uint32_t i = 0; i < 4; i++) {
                uint32_t ia = h * head_dim + (pairs == TN_ROPE_HALVES ? i : 2 * i), ib = ia + (pairs == TN_ROPE_HALVES ? 4 : 1);
                double c = std::cos(0.3 * i), s = std::sin(0.3 * i);
                EXPECT_NEAR(y[ia], x[ia] * c - x[ib] * s, 1e-6);
                EXPECT_NEAR(y[ib], x[ia] * s + x[ib] * c, 1e-6);
            }
        }
    }
    std::vector<float> in_place = x;
    tn_ref_rope(x.data(), table.data(), 2, head_dim, TN_ROPE_HALVES, y.data());
    tn_ref_rope(in_place.data(), table.data(), 2, head_dim, TN_ROPE_HALVES, in_place.data());
    EXPECT_EQ(in_place, y);
}

TEST(RefRope, CanaryOfFusedMultiplyAdd)
{
    const float table[2] = {kCanary, kCanary}, x[2] = {kCanary, kCanary}, x2[2] = {kCanary, -kCanary};
    float y[2];
    tn_ref_rope(x, table, 1, 2, TN_ROPE_HALVES, y);
    EXPECT_EQ(y[0], 0.0f);
    tn_ref_rope(x2, table, 1, 2, TN_ROPE_ADJACENT, y);
    EXPECT_EQ(y[1], 0.0f);
}

TEST(RefGlu, FollowsItsFormula)
{
    const float gate[5] = {3.0f, -2.0f, 0x1p-26f, 0.5f, 0x1p-20f}, up[5] = {2.0f, 5.0f, 1e6f, -0x1p-40f, -1.0f};
    float y[5];
    uint32_t bits = tn_ref_glu(TN_GLU_RELU2, gate, up, 5, y);
    const float expected[5] = {18.0f, 0.0f, 0.0f, -0x1p-42f, -0x1p-40f}; // 2^-52 is flushed before it meets up
    for (int i = 0; i < 5; i++) EXPECT_EQ(tn_bits(y[i]), tn_bits(expected[i])) << i;
    EXPECT_EQ(bits, tn_bits(18.0f));
    tn_ref_glu(TN_GLU_SILU, gate, up, 5, y);
    for (int i = 0; i < 5; i++) {
        double exact = gate[i] / (1.0 + std::exp(-static_cast<double>(gate[i]))) * up[i];
        EXPECT_NEAR(y[i], exact, std::fabs(exact) * 1e-6) << i;
    }
}

TEST(RefPoison, StoredValuesOfTwoTo56AndNotANumberAreReported)
{
    const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
    const float below = std::nextafterf(0x1p56f, 0.0f), zero[2] = {0.0f, 0.0f};
    float y[2];
    for (float bad : {0x1p56f, -0x1p56f, inf, -inf, nan, -nan}) {
        const float x[2] = {1.0f, bad};
        EXPECT_GE(tn_ref_add(x, zero, 2, y), TN_ABS_BITS_2P56) << bad;
    }
    const float fine[2] = {1.0f, below};
    EXPECT_EQ(tn_ref_add(fine, zero, 2, y), tn_bits(below));
    EXPECT_LT(tn_ref_add(fine, zero, 2, y), TN_ABS_BITS_2P56);
    const float x[2] = {nan, inf}, one[2] = {1.0f, 1.0f};
    EXPECT_GE(tn_ref_norm(x, one, 2, 1e-5f, y), TN_ABS_BITS_2P56);
    EXPECT_GE(tn_ref_glu(TN_GLU_SILU, x, one, 2, y), TN_ABS_BITS_2P56);
    EXPECT_GE(tn_ref_rope(x, one, 1, 2, TN_ROPE_HALVES, y), TN_ABS_BITS_2P56);
    int8_t q[2];
    int16_t codes[2];
    int32_t sum;
    float scale;
    tn_ref_quant(x, 2, q, &scale, &sum); // codes without meaning, but no undefined behaviour
    tn_ref_norm_quant(x, one, 2, 1e-5f, q, &scale, &sum);
    tn_ref_quant_head(x, 2, 4095, codes, &scale);
}

TEST(RefAdd, FlushesCancelledSums)
{
    const float a[2] = {1.0f, 0x1p-28f + 0x1p-51f}, b[2] = {-1.0f, -0x1p-28f};
    float y[2];
    EXPECT_EQ(tn_ref_add(a, b, 2, y), 0u);
    EXPECT_EQ(tn_bits(y[0]) | tn_bits(y[1]), 0u);
}

TEST(RefMatmulTernary, UsesTheScaleOfTheTensorOrOfTheRow)
{
    const uint32_t N = 3, K = 70;
    int8_t q[K], w[N * K];
    int32_t acc[N] = {0};
    for (uint32_t i = 0; i < K; i++) q[i] = static_cast<int8_t>(static_cast<int>(random_bits(1, i) % 255) - 127);
    for (uint32_t i = 0; i < N * K; i++) {
        w[i] = static_cast<int8_t>(static_cast<int>(random_bits(2, i) % 3) - 1);
        acc[i / K] += q[i % K] * w[i];
    }
    const float x_scale = 0.013f, scales[N] = {0.5f, 0.31f, 0x1p-50f};
    float y[N];
    tn_ref_matmul_ternary(q, x_scale, w, TN_SCALE_TENSOR, scales, N, K, y);
    for (uint32_t n = 0; n < N; n++) EXPECT_EQ(y[n], static_cast<float>(acc[n]) * (x_scale * scales[0]));
    tn_ref_matmul_ternary(q, x_scale, w, TN_SCALE_ROW, scales, N, K, y);
    EXPECT_EQ(y[1], static_cast<float>(acc[1]) * (x_scale * scales[1]));
    EXPECT_EQ(y[2], 0.0f); // the product of the scales is flushed
}

TEST(RefMatmulDense, FloatRowsAreDotRowsOfTheirValues)
{
    const uint32_t N = 3, K = 77;
    std::vector<float> x = values(1, K), w = values(2, N * K, 1.0f, 6);
    float y[N];
    for (tn_dtype dtype : {TN_DTYPE_F32, TN_DTYPE_F16, TN_DTYPE_BF16}) {
        std::vector<uint16_t> halves;
        std::vector<float> exact = w;
        for (float &v : exact) {
            uint16_t h = dtype == TN_DTYPE_F16 ? tn_f32_to_f16(v) : static_cast<uint16_t>(tn_bits(v) >> 16);
            halves.push_back(h);
            if (dtype != TN_DTYPE_F32) v = dtype == TN_DTYPE_F16 ? tn_f16_to_f32(h) : tn_float(static_cast<uint32_t>(h) << 16);
        }
        const void *rows = dtype == TN_DTYPE_F32 ? static_cast<const void *>(w.data()) : halves.data();
        tn_ref_matmul_dense(x.data(), dtype, rows, N, K, y);
        for (uint32_t n = 0; n < N; n++) {
            EXPECT_EQ(tn_bits(y[n]), tn_bits(tn_ref_dot_row(x.data(), exact.data() + n * K, K))) << dtype << " " << n;
        }
        std::vector<float> row(K);
        tn_ref_embed(dtype, rows, K, row.data());
        EXPECT_EQ(row, std::vector<float>(exact.begin(), exact.begin() + K));
    }
}

TEST(RefMatmulDense, TermsOfAGroupAreRoundedBeforeTheyAreAdded)
{
    // Two groups of 32 whose terms are the same inexact product with opposite signs: their sum is 0 unless one product is fused.
    std::vector<float> x(64, 0.7f);
    uint8_t row[2 * 34];
    for (int g = 0; g < 2; g++) {
        row[34 * g] = 0x31; // an f16 with a full mantissa
        row[34 * g + 1] = 0x2d;
        std::memset(row + 34 * g + 2, g == 0 ? 101 : -101, 32);
    }
    float y;
    EXPECT_EQ(tn_ref_matmul_dense(x.data(), TN_DTYPE_Q8_0, row, 1, 64, &y), 0u);
}

} // namespace
