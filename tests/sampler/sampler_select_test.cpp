// The parts of a draw from a whole row: bounds of sums of weights, and the search for where the running sum passes a bound, against sums in
// ranking order.
#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

extern "C" {
#include "base/f64_math.h"
#include "runtime/sampler_mass.h"
#include "runtime/sampler_select.h"
}

namespace
{

constexpr float minus_infinity = -std::numeric_limits<float>::infinity();

// Candidates with their weights, and the running sums that ranking order gives.
struct Ranked {
    std::vector<tn_candidate> candidates;
    std::vector<double> weights, running;
    std::vector<size_t> order; // indices

    explicit Ranked(const std::vector<double> &logits)
    {
        const double best = *std::max_element(logits.begin(), logits.end());
        for (size_t i = 0; i < logits.size(); i++) {
            candidates.push_back({logits[i], static_cast<int32_t>(3 * i)}); // ids ascend, and are no indices
            weights.push_back(tn_f64_exp(logits[i] - best));
        }
        order.resize(logits.size());
        std::iota(order.begin(), order.end(), size_t{0});
        std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return logits[a] > logits[b]; });
        double sum = 0;
        for (size_t i : order) running.push_back(sum += weights[i]);
    }

    bool select(tn_sampler_interval bound, size_t &index) const
    {
        std::vector<tn_candidate> spare(2 * candidates.size());
        return tn_sampler_select(candidates.data(), weights.data(), candidates.size(), bound, spare.data(), &index);
    }
};

std::vector<double> make_logits(std::mt19937_64 &random, size_t n, int kind)
{
    std::vector<double> z(n);
    std::normal_distribution<double> normal(0, kind == 1 ? 0.01 : 3);
    for (double &x : z) x = kind == 0 ? -4.5 : kind == 2 ? static_cast<double>(random() % 5) : normal(random);
    if (kind == 4) z[random() % n] = 500; // all others share a bucket and weigh nothing
    if (kind == 5) z[random() % n] = -500;
    return z;
}

// In units of what is beside it that cannot be told from it.
double slack(size_t n) { return static_cast<double>(n) * 0x1p-51; }

TEST(SamplerSelect, FindsWhereTheRunningSumPassesABound)
{
    std::mt19937_64 random(1);
    size_t n_found = 0;
    for (int round = 0; round < 1200; round++) {
        const size_t n = 1 + random() % (round % 10 == 0 ? 3000 : 60);
        const Ranked ranked(make_logits(random, n, round % 6));
        for (int i = 0; i < 40; i++) {
            const double bound = std::uniform_real_distribution<double>(0, 1)(random) * ranked.running.back();
            const auto at = std::upper_bound(ranked.running.begin(), ranked.running.end(), bound);
            const size_t rank = static_cast<size_t>(at - ranked.running.begin());
            const double before = rank == 0 ? -1 : ranked.running[rank - 1];
            size_t got = n;
            const bool found = ranked.select({bound, bound}, got);
            if (found) {
                ASSERT_EQ(got, ranked.order[rank]) << n << " candidates, kind " << round % 6;
            } else {
                EXPECT_TRUE(bound - before < 4 * slack(n) * bound || *at - bound < 4 * slack(n) * bound) << n << " " << bound;
            }
            n_found += found;
        }
    }
    EXPECT_GT(n_found, 1200u * 40 - 10) << "it gives up where it need not";
}

TEST(SamplerSelect, DoesNotTellWhereARunningSumIsWithinTheBounds)
{
    std::mt19937_64 random(2);
    for (int round = 0; round < 600; round++) {
        const size_t n = 2 + random() % 300;
        const Ranked ranked(make_logits(random, n, round % 3 == 0 ? 0 : round % 3 == 1 ? 2 : 3));
        for (int i = 0; i < 20; i++) {
            const double at = ranked.running[random() % (n - 1)];
            const double wide = i % 2 == 0 ? 0 : std::ldexp(1.0, -static_cast<int>(random() % 50));
            size_t got = n;
            EXPECT_FALSE(ranked.select({at * (1 - wide), at * (1 + wide)}, got)) << n << " candidates, " << wide << " wide";
        }
    }
}

TEST(SamplerSelect, TakesTheFirstForABoundOfZeroAndNoneBehindTheLast)
{
    for (const size_t n : {size_t{1}, size_t{2}, size_t{700}}) {
        std::vector<double> z(n, 1.0);
        z[n / 2] = 1.5;
        const Ranked ranked(z);
        size_t got = n;
        EXPECT_TRUE(ranked.select({0, 0}, got));
        EXPECT_EQ(got, n / 2);
        EXPECT_FALSE(ranked.select({ranked.running.back(), ranked.running.back()}, got));
        EXPECT_FALSE(ranked.select({2 * ranked.running.back(), 2 * ranked.running.back()}, got));
    }
    const Ranked one({1.0});
    size_t got = 0;
    EXPECT_FALSE(tn_sampler_select(one.candidates.data(), one.weights.data(), 0, {0, 0}, nullptr, &got));
}

TEST(SamplerSelect, TakesBothZerosAsEqualAndBearsAnyRange)
{
    for (const double low : {-0.0, -1e-300, -1e84, -5e-324}) {
        std::vector<double> z(100, 0.0);
        for (size_t i = 0; i < z.size(); i += 2) z[i] = low;
        const Ranked ranked(z);
        for (const double part : {0.005, 0.405, 0.705, 0.985}) {
            const double bound = part * ranked.running.back();
            const size_t rank =
                static_cast<size_t>(std::upper_bound(ranked.running.begin(), ranked.running.end(), bound) - ranked.running.begin());
            size_t got = 100;
            ASSERT_TRUE(ranked.select({bound, bound}, got)) << low << " " << part;
            EXPECT_EQ(got, ranked.order[rank]) << low << " " << part;
        }
    }
}

// A row of one number has 64 times its weight: what one weight is off by.
TEST(SamplerMass, NearWeightsAreWithinTheirBoundAndTheBoundIsClose)
{
    double worst = 0;
    std::mt19937_64 random(3);
    for (const double limit : {0.4, 3.0, 40.0, 690.0}) {
        std::uniform_real_distribution<float> range(-static_cast<float>(limit), 0);
        for (int i = 0; i < 150000; i++) {
            const float z = range(random);
            const double temperature = i % 2 == 0 ? 1 : 0.3 + static_cast<double>(i % 97);
            const std::vector<float> row(64, z);
            const double near = tn_sampler_mass_near(row.data(), row.size(), 0, temperature);
            const double want = tn_f64_exp(static_cast<double>(z) / temperature) * 64;
            if (want > 0x1p-900) worst = std::max(worst, std::fabs(near - want) / want);
        }
    }
    RecordProperty("worst", std::to_string(worst / TN_SAMPLER_NEAR_ERROR));
    EXPECT_LT(worst, TN_SAMPLER_NEAR_ERROR);
    EXPECT_GT(worst, 0.7 * TN_SAMPLER_NEAR_ERROR) << "a bound that is far off makes draws slow";
}

TEST(SamplerMass, BothSumsBoundTheSumInRankingOrder)
{
    std::mt19937_64 random(4);
    for (int round = 0; round < 800; round++) {
        const size_t n = 1 + random() % (round % 50 == 0 ? 130000 : 1000);
        std::normal_distribution<float> normal(0, round % 3 == 0 ? 0.1f : round % 3 == 1 ? 3.0f : 300.0f);
        std::vector<float> z(n);
        for (float &x : z) x = round % 5 == 0 && random() % 3 == 0 ? minus_infinity : normal(random);
        z[random() % n] = 5;
        const double best = static_cast<double>(*std::max_element(z.begin(), z.end()));
        const double temperature = round % 4 == 0 ? 1 : std::exp2(std::uniform_real_distribution<double>(-60, 60)(random));
        std::vector<float> sorted = z;
        std::sort(sorted.begin(), sorted.end(), std::greater<>());
        double sum = 0;
        for (float x : sorted) sum += tn_f64_exp((static_cast<double>(x) - best) / temperature);
        const tn_sampler_interval exact = tn_sampler_sum_within(tn_sampler_mass(z.data(), n, best, temperature), n, 0);
        const tn_sampler_interval near =
            tn_sampler_sum_within(tn_sampler_mass_near(z.data(), n, best, temperature), n, TN_SAMPLER_NEAR_ERROR);
        EXPECT_TRUE(exact.low < sum && sum < exact.high) << n << " " << temperature;
        EXPECT_TRUE(near.low < sum && sum < near.high) << n << " " << temperature;
        EXPECT_LT(exact.high - exact.low, 4 * slack(n) * sum);
        EXPECT_LT(near.high - near.low, 3 * TN_SAMPLER_NEAR_ERROR * sum);
    }
}

} // namespace
