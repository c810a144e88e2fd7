// The orders of SUM, DOT_ROW and GSUM against a second statement of them, and the canaries for fused multiply-add and reordering.
#include "ref/values.h"

#include <algorithm>
#include <gtest/gtest.h>

extern "C" {
#include "ref/ref.h"
}

namespace
{

using tn_test::values;

// The sum of a power of two of terms, upper half added to lower half until one is left.
float fold(std::vector<float> terms)
{
    while (terms.size() > 1) {
        size_t half = terms.size() / 2;
        for (size_t i = 0; i < half; i++) terms[i] += terms[half + i];
        terms.resize(half);
    }
    return terms[0];
}

// Every lane is the sum of each 32nd element.
float lanes_then_fold(const std::vector<float> &x)
{
    std::vector<float> lanes;
    for (size_t lane = 0; lane < 32; lane++) {
        float sum = 0;
        for (size_t i = lane; i < x.size(); i += 32) sum += x[i];
        lanes.push_back(sum);
    }
    return fold(lanes);
}

float sum_by_blocks(const std::vector<float> &x)
{
    float sum = 0;
    for (size_t at = 0; at < x.size(); at += 256) {
        auto first = x.begin() + static_cast<std::ptrdiff_t>(at);
        auto last = x.begin() + static_cast<std::ptrdiff_t>(std::min(at + 256, x.size()));
        sum += lanes_then_fold(std::vector<float>(first, last));
    }
    return sum;
}

std::vector<float> products(const std::vector<float> &a, const std::vector<float> &b)
{
    std::vector<float> p;
    for (size_t i = 0; i < a.size(); i++) p.push_back(a[i] * b[i]);
    return p;
}

TEST(RefSums, SumAddsLanesThenTheTreeThenBlocks)
{
    for (uint32_t n = 1; n <= 1100; n++) {
        std::vector<float> x = values(n, n, 1.0f, 20);
        ASSERT_EQ(tn_bits(tn_ref_sum(x.data(), n)), tn_bits(sum_by_blocks(x))) << n;
        ASSERT_EQ(tn_bits(tn_ref_sum_squares(x.data(), n)), tn_bits(sum_by_blocks(products(x, x)))) << n;
    }
}

TEST(RefSums, DotRowHasOneTreeForTheWholeRow)
{
    for (uint32_t n = 1; n <= 700; n += 3) {
        std::vector<float> x = values(n, n, 1.0f, 10), w = values(n + 10000, n, 1.0f, 10);
        ASSERT_EQ(tn_bits(tn_ref_dot_row(x.data(), w.data(), n)), tn_bits(lanes_then_fold(products(x, w)))) << n;
    }
}

TEST(RefSums, GsumFoldsTheTermsOfABlockAndAddsBlocks)
{
    for (uint32_t group : {32u, 64u, 128u, 256u}) {
        for (uint32_t n = 1; n <= 50; n++) {
            std::vector<float> terms = values(group * 100 + n, n, 1.0f, 12);
            float sum = 0;
            for (size_t at = 0; at < n; at += 256 / group) {
                std::vector<float> block(256 / group, 0.0f);
                std::copy_n(terms.begin() + static_cast<std::ptrdiff_t>(at), std::min<size_t>(block.size(), n - at), block.begin());
                sum += fold(block);
            }
            ASSERT_EQ(tn_bits(tn_ref_gsum(terms.data(), n, group)), tn_bits(sum)) << group << " " << n;
        }
    }
}

TEST(RefSums, OrderIsVisible)
{
    // 1 is lost when it meets 2^24 first: lane 0 has 2^24 and, 256 later, -2^24; the 1 of lane 16 meets lane 0 in the tree of its block.
    std::vector<float> x(512, 0.0f);
    x[0] = 0x1p24f;
    x[16] = 1.0f;
    x[256] = -0x1p24f;
    EXPECT_EQ(tn_ref_sum(x.data(), 512), 0.0f);
    std::vector<float> ones(512, 1.0f);
    EXPECT_EQ(tn_ref_dot_row(x.data(), ones.data(), 512), 1.0f);
}

TEST(RefSums, CanaryOfFusedMultiplyAdd)
{
    const float a = 1.0f + 0x1p-12f;
    std::vector<float> x(33, 0.0f), w(33, 0.0f);
    x[0] = -(1.0f + 0x1p-11f);
    w[0] = 1.0f;
    x[32] = w[32] = a;
    EXPECT_EQ(tn_ref_dot_row(x.data(), w.data(), 33), 0.0f); // fused: 2^-24
    std::vector<float> squares(33, 0.0f);
    squares[0] = 0x1p-12f;
    squares[32] = a;
    EXPECT_EQ(tn_ref_sum_squares(squares.data(), 33), 1.0f + 0x1p-11f); // fused: 2^-23 more
}

TEST(RefSums, AbsmaxIsAnIntegerMaximumOfBits)
{
    std::vector<float> x = {1.0f, -3.0f, 2.0f, -0.0f};
    EXPECT_EQ(tn_ref_absmax_bits(x.data(), 4), tn_bits(3.0f));
    x[3] = -std::nanf("");
    EXPECT_EQ(tn_ref_absmax_bits(x.data(), 4), tn_abs_bits(std::nanf("")));
    EXPECT_EQ(tn_ref_absmax_bits(x.data(), 0), 0u);
}

} // namespace
