// The primitives of the exact mode against long double arithmetic and against their own definition.
#include "ref/values.h"

#include <cfenv>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>

extern "C" {
#include "ref/ref.h"
}

namespace
{

// Distance of `got` from `exact` in units of the last place of an f32 of that size.
long double ulps(float got, long double exact)
{
    int exponent;
    std::frexp(exact, &exponent);
    return std::fabs((static_cast<long double>(got) - exact) / std::ldexp(1.0L, exponent - 24));
}

float float_with(uint32_t mantissa, int exponent) { return std::ldexp(1.0f + static_cast<float>(mantissa) * 0x1p-23f, exponent); }

TEST(ExactMath, RecipErrsByAtMostOneAndAQuarterUlp)
{
    long double worst = 0;
    for (uint32_t mantissa = 0; mantissa < 1u << 23; mantissa += 7) {
        float a = float_with(mantissa, static_cast<int>(mantissa % 101) - 50);
        worst = std::max(worst, ulps(tn_recip(a), 1.0L / a));
    }
    EXPECT_LE(worst, 1.25L);
    EXPECT_GT(worst, 0.5L); // the bound is of this iteration, not of a division
}

TEST(ExactMath, RecipOfPowersOfTwoIsExact)
{
    EXPECT_EQ(tn_recip(1.0f), 1.0f);
    for (int e = -100; e <= 100; e++) EXPECT_EQ(tn_recip(std::ldexp(1.0f, e)), std::ldexp(1.0f, -e)) << "2^" << e;
}

TEST(ExactMath, RsqrtErrsByAtMostOneAndAQuarterUlp)
{
    long double worst = 0;
    for (uint32_t mantissa = 0; mantissa < 1u << 23; mantissa += 7) {
        float a = float_with(mantissa, static_cast<int>(mantissa % 201) - 100);
        worst = std::max(worst, ulps(tn_rsqrt(a), 1.0L / std::sqrt(static_cast<long double>(a))));
    }
    EXPECT_LE(worst, 1.25L);
}

TEST(ExactMath, Exp2ErrsByAtMostOneAndAQuarterUlp)
{
    long double worst = 0;
    for (int i = -600000; i <= 600000; i++) {
        float t = static_cast<float>(i) * 1.0000321e-4f;
        worst = std::max(worst, ulps(tn_exp2(t), std::exp2(static_cast<long double>(t))));
    }
    EXPECT_LE(worst, 1.25L);
    for (int n = -60; n <= 60; n++) EXPECT_EQ(tn_exp2(static_cast<float>(n)), std::ldexp(1.0f, n));
}

TEST(ExactMath, SiluIsCloseToTheRealFunction)
{
    for (int i = -4000; i <= 4000; i++) {
        float x = static_cast<float>(i) * 0.01f;
        long double exact = x / (1.0L + std::exp(-static_cast<long double>(x)));
        EXPECT_NEAR(tn_silu(x), exact, std::fabs(exact) * 2e-6L + 1e-30L) << x;
    }
    EXPECT_EQ(tn_silu(0.0f), 0.0f);
    EXPECT_EQ(tn_silu(1000.0f), 1000.0f);
    EXPECT_LT(std::fabs(tn_silu(-1000.0f)), 1e-14f);
    EXPECT_GE(tn_abs_bits(tn_silu(std::numeric_limits<float>::quiet_NaN())), TN_ABS_BITS_2P56);
    EXPECT_GE(tn_abs_bits(tn_silu(-std::numeric_limits<float>::infinity())), TN_ABS_BITS_2P56);
}

TEST(ExactMath, RoundingIsToNearestEvenOverItsRange)
{
    ASSERT_EQ(std::fegetround(), FE_TONEAREST);
    for (int i = -20; i <= 20; i++) {
        float half = static_cast<float>(i) + 0.5f;
        EXPECT_EQ(tn_round_even(half), std::nearbyint(half)) << half;
        EXPECT_EQ(tn_round_int(half), static_cast<int32_t>(std::nearbyint(half))) << half;
    }
    for (float x : tn_test::values(1, 100000, 0x1p22f, 24)) {
        ASSERT_EQ(tn_round_even(x), std::nearbyint(x)) << x;
        ASSERT_EQ(tn_round_int(x), static_cast<int32_t>(std::nearbyint(x))) << x;
    }
    EXPECT_EQ(tn_round_int(0x1p22f), 1 << 22);
    EXPECT_EQ(tn_round_int(-0x1p22f), -(1 << 22));
}

TEST(ExactMath, UnsignedRoundingReachesTwiceAsFar)
{
    for (float x : tn_test::values(2, 100000, 0x1p23f, 24)) {
        ASSERT_EQ(tn_round_int_u(std::fabs(x)), static_cast<int32_t>(std::nearbyint(std::fabs(x)))) << x;
    }
    EXPECT_EQ(tn_round_int_u(5931641.5f), 5931642); // sqrt(2) * 2^22: the largest weight of a chunk
    EXPECT_EQ(tn_round_int_u(0x1p23f), 1 << 23);
}

TEST(ExactMath, FlushKeepsTwoToMinusFiftyAndDropsItsLowerNeighbour)
{
    for (float sign : {1.0f, -1.0f}) {
        EXPECT_EQ(tn_fl(sign * 0x1p-50f), sign * 0x1p-50f);
        EXPECT_EQ(tn_bits(tn_fl(sign * std::nextafterf(0x1p-50f, 0.0f))), 0u);
        EXPECT_EQ(tn_bits(tn_fl(sign * std::numeric_limits<float>::denorm_min())), 0u);
        EXPECT_EQ(tn_bits(tn_fl(sign * 0.0f)), 0u);
        EXPECT_EQ(tn_f100(sign * 0x1p-100f), sign * 0x1p-100f);
        EXPECT_EQ(tn_bits(tn_f100(sign * std::nextafterf(0x1p-100f, 0.0f))), 0u);
    }
    EXPECT_TRUE(std::isnan(tn_fl(std::numeric_limits<float>::quiet_NaN())));
    EXPECT_EQ(tn_abs_bits(0x1p56f), TN_ABS_BITS_2P56);
    EXPECT_EQ(tn_abs_bits(0x1p-50f), TN_ABS_BITS_2M50);
    EXPECT_EQ(tn_abs_bits(0x1p-100f), TN_ABS_BITS_2M100);
}

TEST(ExactMath, ShiftScalesByPowersOfTwoAndDropsBelowMinusSixty)
{
    EXPECT_EQ(tn_shift(1.5f, 0), 1.5f);
    EXPECT_EQ(tn_shift(1.5f, -60), std::ldexp(1.5f, -60));
    EXPECT_EQ(tn_shift(1.5f, -61), 0.0f);
    EXPECT_EQ(tn_shift(1.5f, -2000000), 0.0f);
}

TEST(ExactMath, CodeRangeOfKeysIsTheLargestWhoseDotProductFits)
{
    for (uint64_t head_dim = 1; head_dim <= 4096; head_dim++) {
        auto a = static_cast<uint64_t>(tn_kv_a_qk(static_cast<uint32_t>(head_dim)));
        ASSERT_LE(a * a * head_dim, static_cast<uint64_t>(INT32_MAX)) << head_dim;
        ASSERT_TRUE(a == 4095 || (a + 1) * (a + 1) * head_dim > static_cast<uint64_t>(INT32_MAX)) << head_dim;
    }
    EXPECT_EQ(tn_kv_a_qk(128), 4095);
    EXPECT_EQ(tn_kv_a_qk(129), 4080);
}

TEST(ExactMath, QueryScaleIsTheRoundedQuotientForEveryHeadSize)
{
    for (uint32_t head_dim = 1; head_dim <= 4096; head_dim++) {
        auto factor = static_cast<float>(1.4426950408889634 / std::sqrt(static_cast<double>(head_dim)));
        ASSERT_EQ(tn_ref_query_scale(1.0f, head_dim), factor) << head_dim;
        ASSERT_EQ(tn_ref_query_scale(0.3f, head_dim), 0.3f * factor) << head_dim;
    }
}

} // namespace
