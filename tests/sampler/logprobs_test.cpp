// Log-probabilities against a softmax in long double, and to the bit against the definition's primitives of src/ref.
#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

extern "C" {
#include "base/exact_math.h"
#include "base/f64_math.h"
#include "ref/ref.h"
#include "runtime/logprobs.h"
#include "ternion/tokenizer.h"
}

namespace
{

constexpr float minus_infinity = -std::numeric_limits<float>::infinity();

float logprob(const std::vector<float> &row, int32_t token)
{
    float got = 1;
    EXPECT_EQ(tn_logprobs_row(row.data(), static_cast<uint32_t>(row.size()), token, 0, &got, nullptr), TN_OK) << tn_error_last()->message;
    return got;
}

std::vector<tn_token_logprob> top(const std::vector<float> &row, uint32_t n)
{
    std::vector<tn_token_logprob> out(n, {-7, 7});
    float got = 1;
    EXPECT_EQ(tn_logprobs_row(row.data(), static_cast<uint32_t>(row.size()), TN_TOKEN_NONE, n, &got, out.data()), TN_OK);
    EXPECT_EQ(got, 0.0f);
    return out;
}

std::vector<long double> softmax_logs(const std::vector<float> &row)
{
    const long double max = static_cast<long double>(*std::max_element(row.begin(), row.end()));
    long double sum = 0;
    for (float z : row) sum += std::exp(static_cast<long double>(z) - max);
    std::vector<long double> logs;
    for (float z : row) logs.push_back(static_cast<long double>(z) - max - std::log(sum));
    return logs;
}

// docs/design/0001-numerics.md, section 7.
float defined(const std::vector<float> &row, size_t token)
{
    const float max = *std::max_element(row.begin(), row.end());
    std::vector<float> terms;
    for (float z : row) {
        const float t = (z - max) * 0x1.715476p+0f;
        terms.push_back(t < -60 ? 0.0f : tn_exp2(t));
    }
    const float sum = tn_ref_sum(terms.data(), static_cast<uint32_t>(terms.size()));
    return static_cast<float>((static_cast<double>(row[token]) - static_cast<double>(max)) - tn_f64_log(static_cast<double>(sum)));
}

std::vector<float> normal_row(uint32_t n, float deviation, uint32_t seed)
{
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0, deviation);
    std::vector<float> row(n);
    for (float &z : row) z = normal(random);
    return row;
}

} // namespace

TEST(Logprobs, AreThoseOfASoftmaxInLongDouble)
{
    for (const uint32_t n : {1u, 2u, 31u, 255u, 256u, 257u, 1000u, 32002u, 128256u}) {
        for (const float deviation : {0.0f, 0.1f, 3.0f, 30.0f}) {
            const std::vector<float> row = normal_row(n, deviation, n);
            const std::vector<long double> want = softmax_logs(row);
            for (uint32_t i = 0; i < 20; i++) {
                const size_t token = i < 5 ? std::min(i, n - 1) : (i * size_t{104729}) % n;
                // Half a unit of f32 at the result, and 1e-6 for the definition's sum in f32.
                const long double tolerance = 1e-6L + std::fabs(want[token]) * 6e-8L;
                const float got = logprob(row, static_cast<int32_t>(token));
                ASSERT_NEAR(static_cast<double>(got), static_cast<double>(want[token]), static_cast<double>(tolerance))
                    << n << " " << deviation;
                ASSERT_EQ(tn_bits(got), tn_bits(defined(row, token))) << n << " " << deviation;
            }
        }
    }
}

TEST(Logprobs, AddUpToOne)
{
    std::vector<float> row = normal_row(2500, 4, 5);
    for (size_t i = 0; i < row.size(); i += 3) row[i] = minus_infinity;
    double sum = 0;
    for (size_t i = 0; i < row.size(); i++) sum += std::exp(static_cast<double>(logprob(row, static_cast<int32_t>(i))));
    EXPECT_NEAR(sum, 1, 1e-6);
    EXPECT_EQ(logprob(row, 3), minus_infinity);
}

TEST(Logprobs, TopIsTheBeginningOfTheRanking)
{
    std::mt19937 random(6);
    for (int round = 0; round < 300; round++) {
        const uint32_t n = 1 + random() % 1500, n_top = random() % 21;
        std::vector<float> row = normal_row(n, 2, static_cast<uint32_t>(round));
        if (round % 3 == 0)
            for (float &z : row) z = std::round(z); // many are equal
        if (round % 3 == 1)
            for (float &z : row) z = random() % 40 == 0 ? z : minus_infinity;
        if (round % 30 == 2) std::sort(row.begin(), row.end()); // every token is better than all before it
        row[random() % n] = 1;                                  // one at least is finite
        std::vector<int32_t> ids(n);
        std::iota(ids.begin(), ids.end(), 0);
        std::stable_sort(ids.begin(), ids.end(),
                         [&](int32_t a, int32_t b) { return row[static_cast<size_t>(a)] > row[static_cast<size_t>(b)]; });
        const std::vector<tn_token_logprob> got = top(row, n_top);
        for (uint32_t i = 0; i < n_top; i++) {
            ASSERT_EQ(got[i].token, i < n ? ids[i] : TN_TOKEN_NONE) << "round " << round << " rank " << i;
            ASSERT_EQ(got[i].logprob, i < n ? logprob(row, ids[i]) : minus_infinity);
        }
    }
}

TEST(Logprobs, KnownNumbers)
{
    const std::vector<float> row = {0.0f, 0.0f, 0.0f, 0.0f}; // ln(1/4)
    for (int32_t token = 0; token < 4; token++) EXPECT_EQ(logprob(row, token), -1.38629436f);
    EXPECT_EQ(logprob({5.0f}, 0), 0.0f);
    EXPECT_EQ(logprob({100.0f, 0.0f}, 0), 0.0f);    // e^-100 is nothing beside 1
    EXPECT_EQ(logprob({100.0f, 0.0f}, 1), -100.0f); // but has its own logarithm
}

TEST(Logprobs, RefusesWhatItCannotRead)
{
    const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
    float out = 1;
    tn_token_logprob best[21];
    for (const float bad : {nan, -nan, infinity}) {
        for (const size_t at : {size_t{0}, size_t{255}, size_t{256}, size_t{299}}) {
            std::vector<float> row(300, 0.5f);
            row[at] = bad;
            EXPECT_EQ(tn_logprobs_row(row.data(), 300, 0, 3, &out, best), TN_INVALID_ARGUMENT);
            EXPECT_EQ(out, 0.0f);
            EXPECT_NE(std::string(tn_error_last()->message).find("poisoned"), std::string::npos);
        }
    }
    const std::vector<float> nothing(300, minus_infinity), row(300, 0.5f);
    EXPECT_EQ(tn_logprobs_row(nothing.data(), 300, 0, 3, &out, best), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_logprobs_row(row.data(), 300, 300, 3, &out, best), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_logprobs_row(row.data(), 300, -2, 3, &out, best), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_logprobs_row(row.data(), 300, 0, 21, &out, best), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_logprobs_row(row.data(), 0, 0, 3, &out, best), TN_INVALID_ARGUMENT);
}
