// What the best n_top logits decide: with all others taken away a sampler chooses the same token, whatever its settings and its history;
// and where it is told which they are.
#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

extern "C" {
#include "runtime/sampler_scratch.h"
}

namespace
{

constexpr uint32_t n_vocab = 300;
constexpr float minus_infinity = -std::numeric_limits<float>::infinity();

struct Destroy {
    void operator()(tn_sampler *s) const { tn_sampler_destroy(s); }
};
using Sampler = std::unique_ptr<tn_sampler, Destroy>;

Sampler make(const tn_sampler_params &params)
{
    tn_sampler *s = nullptr;
    EXPECT_EQ(tn_sampler_create(&params, n_vocab, &s), TN_OK) << tn_error_last()->message;
    return Sampler(s);
}

tn_sampler_params top_k(int32_t k)
{
    tn_sampler_params p = tn_sampler_params_default();
    p.top_k = k;
    return p;
}

tn_sampler_params greedy()
{
    tn_sampler_params p = tn_sampler_params_default();
    p.temperature = 0;
    return p;
}

// Ids of the best n of a row.
std::vector<uint32_t> best_ids(const std::vector<float> &logits, uint32_t n)
{
    std::vector<uint32_t> ids(logits.size());
    std::iota(ids.begin(), ids.end(), 0u);
    std::stable_sort(ids.begin(), ids.end(), [&](uint32_t a, uint32_t b) { return logits[a] > logits[b]; });
    ids.resize(n);
    return ids;
}
// The best n of a row; the others are -INFINITY.
std::vector<float> best_of(const std::vector<float> &logits, uint32_t n)
{
    std::vector<float> kept(logits.size(), minus_infinity);
    for (uint32_t id : best_ids(logits, n)) kept[id] = logits[id];
    return kept;
}

} // namespace

TEST(SamplerNTop, IsTheNumberThatTheChainLooksAt)
{
    EXPECT_EQ(tn_sampler_n_top(make(greedy()).get()), 1u);
    EXPECT_EQ(tn_sampler_n_top(make(top_k(40)).get()), 40u);
    EXPECT_EQ(tn_sampler_n_top(make(tn_sampler_params_default()).get()), 40u);
    EXPECT_EQ(tn_sampler_n_top(make(top_k(0)).get()), 0u) << "top-p of the whole";
    EXPECT_EQ(tn_sampler_n_top(make(top_k(n_vocab)).get()), 0u);
    EXPECT_EQ(tn_sampler_n_top(make(top_k(INT32_MAX)).get()), 0u);
    EXPECT_EQ(tn_sampler_n_top(nullptr), 0u);
}

TEST(SamplerNTop, CountsTokensWhoseLogitsAreLowered)
{
    const tn_logit_bias lowering[] = {{3, minus_infinity}, {7, -1.0f}, {9, 0.0f}}, raising[] = {{3, -1.0f}, {7, 0.5f}};
    tn_sampler_params p = greedy();
    p.logit_bias = lowering;
    p.n_logit_bias = 3;
    EXPECT_EQ(tn_sampler_n_top(make(p).get()), 1u + 3);
    p.logit_bias = raising;
    p.n_logit_bias = 2;
    EXPECT_EQ(tn_sampler_n_top(make(p).get()), 0u);

    p = top_k(5);
    p.repeat_penalty = 1.1f;
    p.repeat_last_n = 3;
    const Sampler s = make(p);
    const struct {
        int32_t token;
        uint32_t n_top;
    } steps[] = {{4, 6}, {4, 6}, {8, 7}, {9, 8}, {9, 7}, {9, 6}}; // the window: 4; 4 4; 4 4 8; 4 8 9; 8 9 9; 9 9 9
    EXPECT_EQ(tn_sampler_n_top(s.get()), 5u);
    for (const auto &step : steps) {
        ASSERT_EQ(tn_sampler_accept(s.get(), step.token), TN_OK);
        EXPECT_EQ(tn_sampler_n_top(s.get()), step.n_top) << step.token;
    }
    for (auto field : {&tn_sampler_params::presence_penalty, &tn_sampler_params::frequency_penalty}) {
        p = top_k(5);
        p.*field = 0.1f;
        EXPECT_EQ(tn_sampler_n_top(make(p).get()), 5u);
        p.*field = -0.1f; // a reward
        EXPECT_EQ(tn_sampler_n_top(make(p).get()), 0u);
    }
    p = top_k(5);
    p.repeat_penalty = 0.9f;
    EXPECT_EQ(tn_sampler_n_top(make(p).get()), 0u);
}

TEST(SamplerNTop, DecidesTheSample)
{
    std::mt19937_64 random(20261125);
    const auto below = [&](uint32_t n) { return static_cast<uint32_t>(random() % n); };
    const auto chance = [&](uint32_t n) { return below(n) == 0; };
    uint32_t n_masked = 0, n_lost_with_fewer = 0;
    for (int round = 0; round < 400; round++) {
        std::vector<tn_logit_bias> bias;
        for (uint32_t i = chance(2) ? below(20) : 0; i > 0; i--)
            bias.push_back({static_cast<int32_t>(below(n_vocab)), chance(3) ? minus_infinity : -0.1f * static_cast<float>(below(50))});
        tn_sampler_params p = tn_sampler_params_default();
        p.seed = random();
        p.temperature = chance(3) ? 0.0f : 0.3f + 0.2f * static_cast<float>(below(6));
        p.top_k = static_cast<int32_t>(1 + below(chance(2) ? 3 : 60));
        p.top_p = chance(2) ? 1.0f : 0.9f;
        p.min_p = chance(2) ? 0.0f : 0.02f;
        p.repeat_last_n = chance(4) ? -1 : static_cast<int32_t>(below(30));
        p.repeat_penalty = chance(2) ? 1.0f : 1.3f;
        p.presence_penalty = chance(2) ? 0.0f : 0.7f;
        p.frequency_penalty = chance(2) ? 0.0f : 0.4f;
        p.logit_bias = bias.data();
        p.n_logit_bias = bias.size();
        const Sampler s = make(p);
        for (uint32_t position = 0; position < 60; position++) {
            std::vector<float> logits(n_vocab);
            // Few values, so that many are equal, of both signs.
            for (float &z : logits) z = 0.5f * static_cast<float>(static_cast<int>(below(12)) - 7);
            const uint32_t n_top = tn_sampler_n_top(s.get());
            int32_t whole, best, fewer;
            ASSERT_EQ(tn_sampler_sample(s.get(), logits.data(), position, &whole), TN_OK);
            if (n_top > 0) {
                n_masked++;
                ASSERT_EQ(tn_sampler_sample(s.get(), best_of(logits, n_top).data(), position, &best), TN_OK);
                ASSERT_EQ(best, whole) << "round " << round << " position " << position << " n_top " << n_top;
                const std::vector<uint32_t> ids = best_ids(logits, n_top);
                ASSERT_EQ(tn_sampler_sample_among(s.get(), best_of(logits, n_top).data(), ids.data(), n_top, position, &best), TN_OK);
                ASSERT_EQ(best, whole) << "round " << round << " position " << position << " n_top " << n_top;
                // More than the best do no harm: a device keeps what it is not sure of.
                std::vector<float> more = best_of(logits, n_top);
                for (uint32_t i = 0; i < n_vocab; i++) more[i] = chance(3) ? logits[i] : more[i];
                ASSERT_EQ(tn_sampler_sample(s.get(), more.data(), position, &best), TN_OK);
                ASSERT_EQ(best, whole);
                if (tn_sampler_sample(s.get(), best_of(logits, std::min(n_top, 1u)).data(), position, &fewer) != TN_OK || fewer != whole)
                    n_lost_with_fewer++;
            }
            ASSERT_EQ(tn_sampler_accept(s.get(), chance(2) ? whole : static_cast<int32_t>(below(n_vocab))), TN_OK);
        }
    }
    EXPECT_GT(n_masked, 10000u);
    EXPECT_GT(n_lost_with_fewer, 1000u) << "a test that could not fail";
}
