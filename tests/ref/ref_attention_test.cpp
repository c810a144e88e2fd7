// Attention of src/ref against real-number attention in double, and its corner cases.
#include "ref/values.h"

#include <cmath>
#include <gtest/gtest.h>

extern "C" {
#include "ref/ref.h"
}

namespace
{

using tn_test::values;

struct Head {
    uint32_t n_pos, head_dim;
    std::vector<int16_t> q, k, v;
    std::vector<float> k_scale, v_scale;
    float q_scale;

    Head(uint32_t n_pos_, uint32_t head_dim_, const std::vector<float> &qx, const std::vector<float> &kx, const std::vector<float> &vx)
        : n_pos(n_pos_), head_dim(head_dim_), q(head_dim_), k(kx.size()), v(vx.size()), k_scale(n_pos_), v_scale(n_pos_)
    {
        int32_t A = tn_kv_a_qk(head_dim);
        tn_ref_quant_head(qx.data(), head_dim, A, q.data(), &q_scale);
        for (size_t i = 0; i < n_pos; i++) {
            tn_ref_quant_head(kx.data() + i * head_dim, head_dim, A, k.data() + i * head_dim, &k_scale[i]);
            tn_ref_quant_head(vx.data() + i * head_dim, head_dim, TN_KV_A_V, v.data() + i * head_dim, &v_scale[i]);
        }
    }
    std::vector<float> attend() const
    {
        std::vector<float> y(head_dim);
        uint32_t bits = tn_ref_attention(q.data(), tn_ref_query_scale(q_scale, head_dim), k.data(), k_scale.data(), v.data(),
                                         v_scale.data(), n_pos, head_dim, y.data());
        EXPECT_EQ(bits, tn_ref_absmax_bits(y.data(), head_dim));
        return y;
    }
};

std::vector<double> real_attention(uint32_t n_pos, uint32_t head_dim, const std::vector<float> &q, const std::vector<float> &k,
                                   const std::vector<float> &v)
{
    std::vector<double> score(n_pos, 0.0), y(head_dim, 0.0);
    double largest = -1e300, total = 0;
    for (size_t i = 0; i < n_pos; i++) {
        for (size_t d = 0; d < head_dim; d++) score[i] += static_cast<double>(q[d]) * k[i * head_dim + d];
        score[i] /= std::sqrt(static_cast<double>(head_dim));
        largest = std::max(largest, score[i]);
    }
    for (size_t i = 0; i < n_pos; i++) {
        double p = std::exp(score[i] - largest);
        total += p;
        for (size_t d = 0; d < head_dim; d++) y[d] += p * v[i * head_dim + d];
    }
    for (double &value : y) value /= total;
    return y;
}

TEST(RefAttention, IsCloseToRealAttention)
{
    for (uint32_t head_dim : {64u, 96u, 128u}) {
        for (uint32_t n_pos : {1u, 2u, 127u, 128u, 129u, 400u}) {
            for (float scale : {0.5f, 4.0f}) {
                std::vector<float> q = values(n_pos, head_dim, scale), k = values(n_pos + 1000, n_pos * head_dim),
                                   v = values(n_pos + 2000, n_pos * head_dim);
                std::vector<float> y = Head(n_pos, head_dim, q, k, v).attend();
                std::vector<double> exact = real_attention(n_pos, head_dim, q, k, v);
                // 12-bit codes of q, k, v and of the weights: an error of some 2^-12 of the values.
                for (uint32_t d = 0; d < head_dim; d++) ASSERT_NEAR(y[d], exact[d], 1e-3) << head_dim << " " << n_pos << " " << d;
            }
        }
    }
}

TEST(RefAttention, LargeScoresPickOneKeyAcrossChunks)
{
    const uint32_t head_dim = 64, n_pos = 300;
    std::vector<float> q(head_dim, 1000.0f), k = values(1, n_pos * head_dim), v = values(2, n_pos * head_dim);
    for (uint32_t winner : {5u, 200u, 299u}) {
        std::vector<float> keys = k;
        for (uint32_t d = 0; d < head_dim; d++) keys[winner * head_dim + d] = 1.0f;
        std::vector<float> y = Head(n_pos, head_dim, q, keys, v).attend();
        for (uint32_t d = 0; d < head_dim; d++) EXPECT_NEAR(y[d], v[winner * head_dim + d], 4e-4) << winner;
    }
}

TEST(RefAttention, ScoresOfAnySizeAreClampedNotOverflowed)
{
    const uint32_t head_dim = 64, n_pos = 200;
    std::vector<float> q(head_dim, 0x1p50f), k(n_pos * head_dim, 0x1p50f), v = values(2, n_pos * head_dim);
    for (uint32_t d = 0; d < 100 * head_dim; d++) k[d] = -k[d];
    std::vector<float> y = Head(n_pos, head_dim, q, k, v).attend();
    for (uint32_t d = 0; d < head_dim; d++) {
        double mean = 0;
        for (uint32_t i = 100; i < n_pos; i++) mean += v[i * head_dim + d] / 100.0;
        EXPECT_NEAR(y[d], mean, 1e-3);
    }
}

TEST(RefAttention, ValuesBelowTheSmallestScaleGiveZero)
{
    const uint32_t head_dim = 64, n_pos = 140;
    std::vector<float> q = values(1, head_dim), k = values(2, n_pos * head_dim), v(n_pos * head_dim, 0x1p-31f);
    for (float y : Head(n_pos, head_dim, q, k, v).attend()) EXPECT_EQ(tn_bits(y), 0u);
}

TEST(RefAttention, WeightsOfEqualScoresAreCountedExactly)
{
    // Equal keys and values: every weight is 1, l is the number of keys, and its reciprocal gives the value back.
    const uint32_t head_dim = 64;
    for (uint32_t n_pos : {1u, 128u, 129u, 384u}) {
        std::vector<float> q(head_dim, 0.0f), k(n_pos * head_dim, 1.0f), v(n_pos * head_dim, 1.0f);
        for (float y : Head(n_pos, head_dim, q, k, v).attend()) EXPECT_NEAR(y, 1.0f, 1e-6f) << n_pos;
    }
}

TEST(RefAttention, PoisonedScalesAreDefinedAndReported)
{
    const uint32_t head_dim = 64, n_pos = 130;
    Head head(n_pos, head_dim, values(1, head_dim), values(2, n_pos * head_dim), values(3, n_pos * head_dim));
    head.k_scale[3] = NAN; // a score without meaning must not reach an integer unclamped
    head.k_scale[4] = -INFINITY;
    head.attend();
    head.v_scale[7] = INFINITY;
    std::vector<float> y = head.attend();
    EXPECT_GE(tn_ref_absmax_bits(y.data(), head_dim), TN_ABS_BITS_2P56);
}

} // namespace
