// The sampler's exp and log against the C library in long double, and against bits that a second implementation computed.
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <gtest/gtest.h>
#include <random>
#include <vector>

extern "C" {
#include "base/f64_math.h"
}

namespace
{

uint64_t bits_of(double x)
{
    uint64_t u;
    std::memcpy(&u, &x, sizeof u);
    return u;
}

// Distance from the true value in units of the last place of the true value.
double error_in_ulp(double got, long double want)
{
    int exponent;
    std::frexp(static_cast<double>(want), &exponent);
    return static_cast<double>(std::fabs((static_cast<long double>(got) - want) / std::ldexp(1.0L, exponent - 53)));
}

class SamplerMathOracle : public testing::Test
{
  protected:
    void SetUp() override
    {
        if (LDBL_MANT_DIG < 64) GTEST_SKIP() << "long double is no wider than double here, so there is no oracle";
    }
};

TEST_F(SamplerMathOracle, ExpIsWithinOneUlpForEveryNormalResult)
{
    std::mt19937_64 random(1);
    double worst = 0;
    for (double limit : {1e-9, 1e-3, 0.3466, 0.7, 8.0, 100.0, 708.0}) {
        std::uniform_real_distribution<double> range(-limit, 0.0);
        for (int i = 0; i < 100000; i++) {
            const double x = range(random);
            worst = std::max(worst, error_in_ulp(tn_f64_exp(x), std::exp(static_cast<long double>(x))));
        }
    }
    RecordProperty("worst_ulp", std::to_string(worst));
    EXPECT_LT(worst, 1.0);
}

TEST_F(SamplerMathOracle, LogIsWithinOneUlp)
{
    std::mt19937_64 random(2);
    double worst = 0;
    std::uniform_real_distribution<double> exponent(-1020.0, 1020.0), near_one(0.5, 2.0), tiny(-1e-6, 1e-6);
    for (int i = 0; i < 300000; i++) {
        for (double x : {std::exp2(exponent(random)), near_one(random), 1.0 + tiny(random)})
            worst = std::max(worst, error_in_ulp(tn_f64_log(x), std::log(static_cast<long double>(x))));
    }
    RecordProperty("worst_ulp", std::to_string(worst));
    EXPECT_LT(worst, 1.0);
}

TEST(SamplerMath, KnownPointsAreExact)
{
    EXPECT_EQ(tn_f64_exp(0.0), 1.0);
    EXPECT_EQ(tn_f64_exp(-0.0), 1.0);
    EXPECT_EQ(tn_f64_exp(-INFINITY), 0.0);
    EXPECT_EQ(tn_f64_exp(-708.5), 0.0);
    EXPECT_GE(tn_f64_exp(-708.0), DBL_MIN);
    EXPECT_EQ(tn_f64_log(1.0), 0.0);
    EXPECT_EQ(tn_f64_exp(-1.0), 0x1.78b56362cef38p-2); // 1/e
    EXPECT_EQ(tn_f64_log(2.0), 0x1.62e42fefa39efp-1);  // ln 2
    EXPECT_EQ(tn_f64_log(0.5), -0x1.62e42fefa39efp-1); // -ln 2
    EXPECT_EQ(tn_f64_log(10.0), 0x1.26bb1bbb55516p+1); // ln 10
}

TEST(SamplerMath, ExpNeverRises)
{
    double last = 1.0;
    for (int i = 0; i < 700000; i++) {
        const double now = tn_f64_exp(-0.001 * i);
        ASSERT_LE(now, last) << "at " << -0.001 * i;
        last = now;
    }
}

TEST(SamplerMath, WeightsOfManyAreThoseOfEach)
{
    std::mt19937_64 random(3);
    for (const double spread : {0.0, 1.0, 40.0, 900.0, 1e30}) {
        for (const double temperature : {1.0, 0.7, 1e-20, 1e20}) {
            for (const size_t n : {size_t{1}, size_t{31}, size_t{32}, size_t{1000}}) {
                std::uniform_real_distribution<double> range(-spread, 0);
                std::vector<double> z(n), weights(n);
                for (double &x : z) x = random() % 7 == 0 ? -INFINITY : random() % 5 == 0 ? -708 * temperature : range(random);
                tn_f64_weights(z.data(), n, 0.25, temperature, weights.data());
                for (size_t i = 0; i < n; i++)
                    ASSERT_EQ(bits_of(weights[i]), bits_of(tn_f64_exp((z[i] - 0.25) / temperature))) << z[i] << " / " << temperature;
            }
        }
    }
}

// The same operations in another language (Python's floats are f64 and never fused): sampler_math_bits.py prints this number.
// It pins the order of every operation: a compiler that fuses or reorders one changes it.
TEST(SamplerMath, EveryBitEqualsTheSecondImplementation)
{
    uint64_t hash = 0xcbf29ce484222325u; // FNV-1a over the results' bits
    const auto add = [&hash](double x) {
        const uint64_t u = bits_of(x);
        for (int byte = 0; byte < 8; byte++) hash = (hash ^ ((u >> (8 * byte)) & 0xff)) * 0x100000001b3u;
    };
    for (int i = 1; i <= 20000; i++) {
        const double x = static_cast<double>(i) / 64.0;
        add(tn_f64_exp(-x));
        add(tn_f64_exp(-x / 977.0));
        add(tn_f64_log(x / 3.0));
    }
    EXPECT_EQ(hash, 0xb67988be9f635174u);
}

} // namespace
