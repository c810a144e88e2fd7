// Ranking of candidates against a full sort.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <random>
#include <vector>

extern "C" {
#include "runtime/sampler_rank.h"
}

namespace
{

std::vector<tn_candidate> sorted(std::vector<tn_candidate> items)
{
    std::sort(items.begin(), items.end(),
              [](const tn_candidate &a, const tn_candidate &b) { return a.logit != b.logit ? a.logit > b.logit : a.id < b.id; });
    return items;
}

void expect_ranked(const std::vector<tn_candidate> &items, size_t k)
{
    const std::vector<tn_candidate> want = sorted(items);
    std::vector<tn_candidate> got = items, scratch(items.size());
    const size_t n = tn_sampler_rank(got.data(), got.size(), k, scratch.data());
    ASSERT_EQ(n, std::min(k, items.size()));
    for (size_t i = 0; i < n; i++) {
        ASSERT_EQ(got[i].id, want[i].id) << "rank " << i << " of " << items.size() << ", k " << k;
        ASSERT_EQ(got[i].logit, want[i].logit);
    }
}

TEST(SamplerRank, EqualsAFullSortForAllSizesAndCounts)
{
    std::mt19937 random(3);
    for (size_t n : {size_t{1}, size_t{2}, size_t{3}, size_t{17}, size_t{63}, size_t{64}, size_t{65}, size_t{1000}, size_t{5000}}) {
        for (int kind = 0; kind < 4; kind++) {
            std::vector<tn_candidate> items(n);
            for (size_t i = 0; i < n; i++) {
                double z = 0;                                                               // kind 0: all equal
                if (kind == 1) z = static_cast<double>(static_cast<int>(random() % 7)) - 3; // many ties
                if (kind == 2) z = static_cast<double>(std::normal_distribution<float>(0, 4)(random));
                if (kind == 3) z = std::ldexp(std::normal_distribution<double>(0, 1)(random), static_cast<int>(random() % 100) - 50);
                items[i] = {z, static_cast<int32_t>(i)};
            }
            for (size_t k : {size_t{1}, size_t{2}, n / 40, n / 32, n / 32 + 1, n / 2, n, n + 5}) expect_ranked(items, k);
        }
    }
}

TEST(SamplerRank, TakesBothZerosAsEqual)
{
    std::vector<tn_candidate> items;
    for (int32_t id = 0; id < 100; id++) items.push_back({id % 2 == 0 ? -0.0 : 0.0, id});
    for (size_t k : {size_t{3}, size_t{100}}) {
        std::vector<tn_candidate> got = items, scratch(items.size());
        ASSERT_EQ(tn_sampler_rank(got.data(), got.size(), k, scratch.data()), k);
        for (size_t i = 0; i < k; i++) ASSERT_EQ(got[i].id, static_cast<int32_t>(i));
    }
}

TEST(SamplerRank, ReturnsNothingForNothing)
{
    tn_candidate item = {1.0, 0}, scratch;
    EXPECT_EQ(tn_sampler_rank(&item, 1, 0, &scratch), 0u);
    EXPECT_EQ(tn_sampler_rank(&item, 0, 5, &scratch), 0u);
}

} // namespace
