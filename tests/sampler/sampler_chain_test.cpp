// The chain from logits to a token against a restatement in long double, worked examples, and the distribution it must have.
#include <algorithm>
#include <cmath>
#include <deque>
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <random>
#include <vector>

extern "C" {
#include "runtime/philox.h"
#include "ternion/sampler.h"
}

namespace
{

struct Destroy {
    void operator()(tn_sampler *s) const { tn_sampler_destroy(s); }
};
using Sampler = std::unique_ptr<tn_sampler, Destroy>;

Sampler make(const tn_sampler_params &params, uint32_t n_vocab)
{
    tn_sampler *s = nullptr;
    EXPECT_EQ(tn_sampler_create(&params, n_vocab, &s), TN_OK) << tn_error_last()->message;
    return Sampler(s);
}

int32_t sample(const Sampler &s, const std::vector<float> &logits, uint32_t position = 0)
{
    int32_t token = -1;
    EXPECT_EQ(tn_sampler_sample(s.get(), logits.data(), position, &token), TN_OK) << tn_error_last()->message;
    return token;
}

void accept(const Sampler &s, int32_t token) { ASSERT_EQ(tn_sampler_accept(s.get(), token), TN_OK) << tn_error_last()->message; }

// Everything off, temperature 1.
tn_sampler_params plain()
{
    tn_sampler_params p = tn_sampler_params_default();
    p.temperature = 1;
    p.top_k = 0;
    p.top_p = 1;
    p.min_p = 0;
    return p;
}

tn_sampler_params greedy()
{
    tn_sampler_params p = plain();
    p.temperature = 0;
    return p;
}

// The sampler said again, slowly, with the C library in long double. Differences of rounding could only show where a draw falls
// within about 1e-15 of a boundary.
struct Restatement {
    tn_sampler_params p;
    std::vector<tn_logit_bias> bias;
    std::vector<int32_t> history;

    int32_t sample(const std::vector<float> &logits, uint32_t position) const
    {
        std::map<int32_t, int> counts;
        size_t first = 0;
        if (p.repeat_last_n >= 0 && history.size() > static_cast<size_t>(p.repeat_last_n))
            first = history.size() - static_cast<size_t>(p.repeat_last_n);
        for (size_t i = first; i < history.size(); i++) counts[history[i]]++;

        using Item = std::pair<long double, int32_t>; // probability or logit, id
        std::vector<Item> items;
        for (size_t id = 0; id < logits.size(); id++) {
            long double z = static_cast<long double>(logits[id]);
            for (const tn_logit_bias &b : bias)
                if (b.token == static_cast<int32_t>(id)) z += static_cast<long double>(b.bias);
            const auto found = counts.find(static_cast<int32_t>(id));
            if (found != counts.end()) {
                z = z > 0 ? z / static_cast<long double>(p.repeat_penalty) : z * static_cast<long double>(p.repeat_penalty);
                z -= static_cast<long double>(found->second) * static_cast<long double>(p.frequency_penalty) +
                     static_cast<long double>(p.presence_penalty);
            }
            if (z != -INFINITY) items.push_back({z, static_cast<int32_t>(id)});
        }
        std::stable_sort(items.begin(), items.end(), [](const Item &a, const Item &b) { return a.first > b.first; });
        if (p.temperature <= 0) return items[0].second;

        if (p.top_k > 0 && items.size() > static_cast<size_t>(p.top_k)) items.resize(static_cast<size_t>(p.top_k));
        const auto probabilities = [&items](long double temperature) {
            std::vector<long double> w;
            long double sum = 0;
            for (const Item &i : items) w.push_back(std::exp((i.first - items[0].first) / temperature)), sum += w.back();
            for (long double &x : w) x /= sum;
            return w;
        };
        if (p.top_p < 1) {
            const std::vector<long double> w = probabilities(1);
            long double reached = 0;
            size_t kept = 0;
            do reached += w[kept++];
            while (kept < w.size() && reached < static_cast<long double>(p.top_p));
            items.resize(kept);
        }
        if (p.min_p > 0) {
            const std::vector<long double> w = probabilities(1);
            size_t kept = 1;
            while (kept < w.size() && w[kept] >= static_cast<long double>(p.min_p) * w[0]) kept++;
            items.resize(kept);
        }
        const std::vector<long double> w = probabilities(static_cast<long double>(p.temperature));
        const long double u = static_cast<long double>(tn_philox_uniform(p.seed, p.sequence, position));
        long double reached = 0;
        for (size_t i = 0; i < w.size(); i++)
            if ((reached += w[i]) > u) return items[i].second;
        return items.back().second;
    }
};

TEST(SamplerChain, EqualsItsRestatementOnRandomSettingsAndLogits)
{
    std::mt19937 random(4);
    const auto uniform = [&random](float a, float b) { return std::uniform_real_distribution<float>(a, b)(random); };
    const auto coin = [&random]() { return random() % 2 == 0; };
    for (int round = 0; round < 1500; round++) {
        Restatement want;
        tn_sampler_params &p = want.p;
        p = plain();
        const uint32_t n_vocab = 1 + random() % 120;
        p.seed = random() * uint64_t{0x100000001};
        p.sequence = random() * uint64_t{0x300000007};
        p.temperature = coin() ? 1.0f : uniform(0.0f, 2.0f);
        if (coin()) p.top_k = static_cast<int32_t>(random() % 20);
        if (coin()) p.top_p = uniform(0, 1);
        if (coin()) p.min_p = uniform(0, 0.5f);
        if (coin()) {
            p.repeat_last_n = static_cast<int32_t>(random() % 12) - 1;
            p.repeat_penalty = uniform(0.5f, 2);
            p.presence_penalty = uniform(-1, 1);
            p.frequency_penalty = uniform(-1, 1);
        }
        for (unsigned i = random() % 4; i > 0; i--) {
            const float bias = random() % 3 == 0 && n_vocab > 8 ? -INFINITY : uniform(-5, 5);
            want.bias.push_back({static_cast<int32_t>(random() % n_vocab), bias});
        }
        p.logit_bias = want.bias.data();
        p.n_logit_bias = want.bias.size();
        const Sampler s = make(p, n_vocab);
        std::vector<float> logits(n_vocab);
        for (uint32_t position = 0; position < 20; position++) {
            for (float &z : logits) z = coin() ? std::round(uniform(-4, 4)) : uniform(-8, 8); // ties among them
            const int32_t got = sample(s, logits, position);
            ASSERT_EQ(got, want.sample(logits, position)) << "round " << round << ", position " << position;
            accept(s, got);
            want.history.push_back(got);
        }
    }
}

TEST(SamplerChain, DrawsEveryTokenAsOftenAsItsProbabilitySays)
{
    const std::vector<float> logits = {1.0f, 0.0f, -1.0f, 2.0f, 0.5f, -0.5f, 1.5f, -2.0f};
    for (float temperature : {0.7f, 1.0f, 1.6f}) {
        tn_sampler_params p = plain();
        p.temperature = temperature;
        p.seed = 2024;
        const Sampler s = make(p, 8);
        std::vector<double> expected;
        double sum = 0;
        for (float z : logits) expected.push_back(std::exp(static_cast<double>(z / temperature))), sum += expected.back();
        const int n = 100000;
        std::vector<int> seen(8);
        for (int i = 0; i < n; i++) seen[static_cast<size_t>(sample(s, logits, static_cast<uint32_t>(i)))]++;
        double chi_square = 0;
        for (size_t i = 0; i < 8; i++) {
            const double e = expected[i] / sum * n;
            chi_square += (seen[i] - e) * (seen[i] - e) / e;
        }
        EXPECT_LT(chi_square, 29.88) << "7 degrees of freedom, p = 1e-4, temperature " << temperature;
        EXPECT_GT(chi_square, 0.3) << "too even to be random";
    }
}

TEST(SamplerChain, GivesTheSameTokensAgainAndOthersForAnotherSeedOrSequence)
{
    std::vector<float> logits(500);
    for (size_t i = 0; i < logits.size(); i++) logits[i] = static_cast<float>(i % 37) * 0.1f;
    const auto run = [&logits](uint64_t seed, uint64_t sequence) {
        tn_sampler_params p = plain();
        p.seed = seed;
        p.sequence = sequence;
        const Sampler s = make(p, 500);
        std::vector<int32_t> tokens;
        for (uint32_t i = 0; i < 50; i++) tokens.push_back(sample(s, logits, i));
        return tokens;
    };
    EXPECT_EQ(run(1, 0), run(1, 0));
    EXPECT_NE(run(1, 0), run(2, 0));
    EXPECT_NE(run(1, 0), run(1, 1));
    EXPECT_NE(run(1, 0), run(uint64_t{1} << 32 | 1, 0));
}

TEST(SamplerChain, ADrawDependsOnItsPositionAndNotOnEarlierDraws)
{
    const std::vector<float> logits(100, 0.0f);
    const Sampler a = make(plain(), 100), b = make(plain(), 100);
    for (uint32_t i = 0; i < 30; i++) (void)sample(a, logits, i);
    EXPECT_EQ(sample(a, logits, 77), sample(b, logits, 77));
}

TEST(SamplerChain, GreedyTakesTheHighestLogitAndTheLowestIdOfEquals)
{
    EXPECT_EQ(sample(make(greedy(), 5), {1, 3, 2, 3, 0}), 1);
    tn_sampler_params p = greedy();
    p.temperature = -1;
    EXPECT_EQ(sample(make(p, 5), {-5, -3, -2, -2, -9}), 2);
}

TEST(SamplerChain, BiasIsAddedBeforeEverythingAndMinusInfinityForbids)
{
    const tn_logit_bias bias[] = {{1, -INFINITY}, {4, 2.5f}, {4, 1.0f}};
    tn_sampler_params p = greedy();
    p.logit_bias = bias;
    p.n_logit_bias = 3;
    EXPECT_EQ(sample(make(p, 5), {1, 3, 2, 3, 0}), 4) << "0 + 2.5 + 1 beats 3";
    p.n_logit_bias = 1;
    EXPECT_EQ(sample(make(p, 5), {1, 3, 2, 3, 0}), 3) << "1 is forbidden";
    p.temperature = 5;
    const Sampler s = make(p, 5);
    for (uint32_t i = 0; i < 500; i++) EXPECT_NE(sample(s, {1, 3, 2, 3, 0}, i), 1);
}

TEST(SamplerChain, RepeatPenaltyDividesPositiveAndMultipliesNegativeLogits)
{
    tn_sampler_params p = greedy();
    p.repeat_penalty = 2;
    const Sampler s = make(p, 3);
    accept(s, 0);
    EXPECT_EQ(sample(s, {3.9f, 2.0f, -9}), 1) << "3.9 / 2 < 2";
    EXPECT_EQ(sample(s, {4.1f, 2.0f, -9}), 0) << "4.1 / 2 > 2";
    EXPECT_EQ(sample(s, {-1.1f, -2.0f, -9}), 1) << "-1.1 * 2 < -2";
    EXPECT_EQ(sample(s, {-0.9f, -2.0f, -9}), 0) << "-0.9 * 2 > -2";
    accept(s, 0); // once or twice is the same to this penalty
    EXPECT_EQ(sample(s, {4.1f, 2.0f, -9}), 0);
}

TEST(SamplerChain, PresenceIsSubtractedOnceAndFrequencyPerOccurrence)
{
    tn_sampler_params p = greedy();
    p.presence_penalty = 1;
    p.frequency_penalty = 0.25f;
    const Sampler s = make(p, 2);
    for (int i = 0; i < 3; i++) accept(s, 0);
    EXPECT_EQ(sample(s, {1.74f, 0}), 1) << "1.74 - 1 - 3 * 0.25 < 0";
    EXPECT_EQ(sample(s, {1.76f, 0}), 0) << "1.76 - 1 - 3 * 0.25 > 0";
}

TEST(SamplerChain, PenaltiesLookAtTheLastTokensOnly)
{
    tn_sampler_params p = greedy();
    p.presence_penalty = 10;
    p.repeat_last_n = 3;
    const Sampler s = make(p, 6);
    const std::vector<float> logits = {1, 0, 0, 0, 0, 0};
    accept(s, 0);
    accept(s, 2);
    accept(s, 3);
    EXPECT_EQ(sample(s, logits), 1) << "0 is one of the last three";
    accept(s, 4);
    EXPECT_EQ(sample(s, logits), 0) << "0 left the window";
    accept(s, 0);
    accept(s, 0);
    accept(s, 5);
    accept(s, 5);
    EXPECT_NE(sample(s, logits), 0) << "one 0 is still inside";
    accept(s, 5);
    EXPECT_EQ(sample(s, logits), 0);

    p.repeat_last_n = -1;
    const Sampler whole = make(p, 6);
    accept(whole, 0);
    for (int i = 0; i < 1000; i++) accept(whole, 5);
    EXPECT_EQ(sample(whole, logits), 1) << "the whole sequence counts";

    p.repeat_last_n = 0;
    const Sampler off = make(p, 6);
    accept(off, 0);
    EXPECT_EQ(sample(off, logits), 0);
}

TEST(SamplerChain, TopKKeepsTheKBest)
{
    tn_sampler_params p = plain();
    p.temperature = 100;
    p.top_k = 2;
    const Sampler s = make(p, 4);
    std::map<int32_t, int> seen;
    for (uint32_t i = 0; i < 400; i++) seen[sample(s, {0, 1, 1, 0.5f}, i)]++;
    EXPECT_EQ(seen.size(), 2u);
    EXPECT_EQ(seen.count(1) + seen.count(2), 2u);
}

TEST(SamplerChain, TopPKeepsTheShortestPrefixThatReachesItAndAtLeastOne)
{
    const std::vector<float> logits = {std::log(0.1f), std::log(0.5f), std::log(0.3f), std::log(0.1f)};
    const auto support = [&logits](float top_p) {
        tn_sampler_params p = plain();
        p.temperature = 50; // applied after the cut, so that the kept ones are drawn about equally often
        p.top_p = top_p;
        const Sampler s = make(p, 4);
        std::vector<int> seen(4);
        for (uint32_t i = 0; i < 400; i++) seen[static_cast<size_t>(sample(s, logits, i))] = 1;
        return seen;
    };
    EXPECT_EQ(support(0.0f), (std::vector<int>{0, 1, 0, 0}));
    EXPECT_EQ(support(0.49f), (std::vector<int>{0, 1, 0, 0}));
    EXPECT_EQ(support(0.51f), (std::vector<int>{0, 1, 1, 0}));
    EXPECT_EQ(support(0.85f), (std::vector<int>{1, 1, 1, 0})) << "of two equals the lower id comes first";
    EXPECT_EQ(support(0.95f), (std::vector<int>{1, 1, 1, 1}));
}

TEST(SamplerChain, MinPKeepsWhatIsNearTheBestBeforeTheTemperature)
{
    const std::vector<float> logits = {std::log(0.6f), std::log(0.3f), std::log(0.07f), std::log(0.03f)};
    const auto support = [&logits](float min_p) {
        tn_sampler_params p = plain();
        p.temperature = 50;
        p.min_p = min_p;
        const Sampler s = make(p, 4);
        std::vector<int> seen(4);
        for (uint32_t i = 0; i < 400; i++) seen[static_cast<size_t>(sample(s, logits, i))] = 1;
        return seen;
    };
    EXPECT_EQ(support(0.04f), (std::vector<int>{1, 1, 1, 1}));
    EXPECT_EQ(support(0.06f), (std::vector<int>{1, 1, 1, 0}));
    EXPECT_EQ(support(0.45f), (std::vector<int>{1, 1, 0, 0}));
    EXPECT_EQ(support(1.0f), (std::vector<int>{1, 0, 0, 0}));
}

TEST(SamplerChain, AVanishingTemperatureIsGreedy)
{
    tn_sampler_params p = plain();
    p.temperature = 1e-38f;
    const Sampler s = make(p, 4);
    for (uint32_t i = 0; i < 50; i++) EXPECT_EQ(sample(s, {1, 2, 1.9999f, -3e38f}, i), 1);
}

TEST(SamplerChain, ALargeVocabularyGivesTheSameForSmallTopKAndForAFullSort)
{
    const uint32_t n_vocab = 128256;
    std::mt19937 random(5);
    std::vector<float> logits(n_vocab);
    for (float &z : logits) z = std::normal_distribution<float>(0, 3)(random);
    Restatement want;
    want.p = tn_sampler_params_default();
    for (int32_t top_k : {1, 40, 5000, 20000, 0}) {
        want.p.top_k = top_k;
        const Sampler s = make(want.p, n_vocab);
        for (uint32_t position = 0; position < 3; position++) EXPECT_EQ(sample(s, logits, position), want.sample(logits, position));
    }
}

} // namespace
