// The sampler looks at as few tokens as decide. Here it is compared with its definition on rows that are large, tied, screened or made to
// deceive: the same token, always.
#include "sampler/sampler_oracle.h"

#include <gtest/gtest.h>
#include <limits>
#include <memory>
#include <random>
#include <string>

extern "C" {
#include "runtime/sampler_scratch.h"
}

namespace
{

using tn_test::SamplerOracle;
constexpr float minus_infinity = -std::numeric_limits<float>::infinity();

struct Destroy {
    void operator()(tn_sampler *s) const { tn_sampler_destroy(s); }
    void operator()(tn_sampler_scratch *s) const { tn_sampler_scratch_destroy(s); }
};
using Sampler = std::unique_ptr<tn_sampler, Destroy>;
using Scratch = std::unique_ptr<tn_sampler_scratch, Destroy>;

Scratch make_scratch()
{
    tn_sampler_scratch *s = nullptr;
    EXPECT_EQ(tn_sampler_scratch_create(&s), TN_OK);
    return Scratch(s);
}

Sampler make(const tn_sampler_params &params, uint32_t n_vocab, tn_sampler_scratch *scratch)
{
    tn_sampler *s = nullptr;
    EXPECT_EQ(tn_sampler_create_with(&params, n_vocab, scratch, &s), TN_OK) << tn_error_last()->message;
    return Sampler(s);
}

class Random
{
  public:
    explicit Random(uint64_t seed) : engine(seed) {}
    uint32_t below(uint32_t n) { return static_cast<uint32_t>(engine() % n); }
    bool chance(uint32_t n) { return below(n) == 0; }
    float uniform(float a, float b) { return std::uniform_real_distribution<float>(a, b)(engine); }
    float normal(float deviation) { return std::normal_distribution<float>(0, deviation)(engine); }
    uint64_t word() { return engine(); }

  private:
    std::mt19937_64 engine;
};

enum Shape { NORMAL, PEAKED, FLAT, FEW_VALUES, ALL_EQUAL, SCREENED, ONE_FINITE, TIED_TAIL, ZEROS, DESCENDING, N_SHAPES };

std::vector<float> make_row(Random &random, Shape shape, uint32_t n)
{
    std::vector<float> row(n);
    for (uint32_t id = 0; id < n; id++) {
        switch (shape) {
        case NORMAL: row[id] = random.normal(3); break;
        case PEAKED: row[id] = random.chance(n) ? random.uniform(10, 12) : random.normal(1); break;
        case FLAT: row[id] = random.normal(0.01f); break;
        case FEW_VALUES: row[id] = 0.5f * static_cast<float>(static_cast<int>(random.below(12)) - 7); break;
        case ALL_EQUAL: row[id] = -2.5f; break;
        case SCREENED: row[id] = random.chance(1 + n / 45) ? random.normal(3) : minus_infinity; break;
        case ONE_FINITE: row[id] = minus_infinity; break;
        case TIED_TAIL: row[id] = random.chance(1 + n / 30) ? random.uniform(1, 2) : 1.0f; break;
        case ZEROS: row[id] = random.chance(2) ? 0.0f : -0.0f; break;
        default: row[id] = -0.001f * static_cast<float>(id); break;
        }
    }
    if (shape == ONE_FINITE) row[random.below(n)] = -3;
    return row;
}

tn_sampler_params make_params(Random &random, uint32_t n_vocab, std::vector<tn_logit_bias> &bias)
{
    tn_sampler_params p = tn_sampler_params_default();
    p.seed = random.word();
    p.sequence = random.word();
    p.temperature = random.chance(4) ? 0.0f : random.chance(3) ? 1.0f : random.uniform(0.05f, 2.5f);
    const uint32_t k = random.below(4);
    p.top_k = k == 0 ? 0 : k == 1 ? 40 : static_cast<int32_t>(1 + random.below(k == 2 ? 5 : n_vocab + 10));
    p.top_p = random.chance(2) ? 1.0f : random.chance(8) ? 0.0f : random.uniform(0, 1);
    p.min_p = random.chance(2) ? 0.0f : random.chance(8) ? 1.0f : random.uniform(0, 0.3f);
    if (random.chance(2)) {
        p.repeat_last_n = random.chance(4) ? -1 : static_cast<int32_t>(random.below(70));
        p.repeat_penalty = random.chance(2) ? 1.0f : random.uniform(0.7f, 1.5f);
        p.presence_penalty = random.chance(2) ? 0.0f : random.uniform(-1, 1);
        p.frequency_penalty = random.chance(2) ? 0.0f : random.uniform(-0.5f, 0.5f);
    }
    for (uint32_t i = random.chance(2) ? random.below(12) : 0; i > 0; i--) // some of them name a token again
        bias.push_back({static_cast<int32_t>(random.below(random.chance(2) ? std::min(n_vocab, 4u) : n_vocab)),
                        random.chance(4) ? minus_infinity : random.uniform(-4, 4)});
    p.logit_bias = bias.data();
    p.n_logit_bias = bias.size();
    return p;
}

// One sampler over some positions of one row after another, and its oracle beside it. Returns the tokens that were compared.
size_t compare(Random &random, uint32_t n_vocab, uint32_t n_positions, tn_sampler_scratch *scratch)
{
    std::vector<tn_logit_bias> bias;
    SamplerOracle oracle{make_params(random, n_vocab, bias), {}};
    const Sampler sampler = make(oracle.p, n_vocab, scratch);
    const Shape shape = static_cast<Shape>(random.below(N_SHAPES));
    for (uint32_t position = 0; position < n_positions; position++) {
        const std::vector<float> row = make_row(random, shape, n_vocab);
        int32_t got = -2;
        const tn_status status = tn_sampler_sample(sampler.get(), row.data(), position, &got);
        const int32_t want = oracle.sample(row, position);
        EXPECT_EQ(status, want == SamplerOracle::all_forbidden ? TN_INVALID_ARGUMENT : TN_OK);
        if (want != SamplerOracle::all_forbidden) {
            EXPECT_EQ(got, want) << "shape " << shape << " n_vocab " << n_vocab << " position " << position << " temperature "
                                 << oracle.p.temperature << " top_k " << oracle.p.top_k << " top_p " << oracle.p.top_p << " min_p "
                                 << oracle.p.min_p;
        }
        const int32_t next = want >= 0 && random.chance(2) ? want : static_cast<int32_t>(random.below(n_vocab));
        EXPECT_EQ(tn_sampler_accept(sampler.get(), next), TN_OK);
        oracle.history.push_back(next);
        if (testing::Test::HasFailure()) break;
    }
    return n_positions;
}

} // namespace

TEST(SamplerOracle, ChoosesTheSameTokenOfSmallRows)
{
    Random random(1);
    const Scratch shared = make_scratch();
    size_t n = 0;
    for (int round = 0; round < 4000 && !HasFailure(); round++)
        n += compare(random, 1 + random.below(round % 2 == 0 ? 70 : 700), 12, shared.get());
    EXPECT_EQ(n, 48000u);
}

TEST(SamplerOracle, ChoosesTheSameTokenOfLargeRows)
{
    Random random(2);
    const Scratch shared = make_scratch();
    for (int round = 0; round < 150 && !HasFailure(); round++) compare(random, 20000 + random.below(3000), 2, shared.get());
}

TEST(SamplerOracle, ChoosesTheSameTokenWhereADrawFallsOnABoundary)
{
    // Equal weights and u = m / 2^24: with 2^k tokens u * sum is a running sum of weights whenever the last 24 - k bits of m are 0. The
    // definition takes the token behind the boundary; what lies a rounding beside it must not decide.
    const Scratch scratch = make_scratch();
    for (const uint32_t n : {2u, 4u, 256u, 4096u}) {
        const std::vector<float> row(n, 1.5f);
        SamplerOracle oracle{tn_sampler_params_default(), {}};
        oracle.p.top_k = 0;
        oracle.p.min_p = 0;
        for (const float top_p : {1.0f, 0.5f, 0.25f}) {
            oracle.p.top_p = top_p;
            oracle.p.temperature = 1;
            const Sampler sampler = make(oracle.p, n, scratch.get());
            uint32_t n_on_boundary = 0;
            for (uint32_t position = 0; position < 3000; position++) {
                const double u = tn_philox_uniform(0, 0, position);
                n_on_boundary += u * n == std::floor(u * n);
                int32_t got = -2;
                ASSERT_EQ(tn_sampler_sample(sampler.get(), row.data(), position, &got), TN_OK);
                ASSERT_EQ(got, oracle.sample(row, position)) << n << " tokens, position " << position << ", top_p " << top_p;
            }
            EXPECT_TRUE(n_on_boundary > 0 || n < 4096) << "a test that could not fail";
        }
    }
}

TEST(SamplerOracle, SharesOneScratchBetweenSamplersOfDifferentVocabularies)
{
    const Scratch scratch = make_scratch();
    tn_sampler_params p = tn_sampler_params_default();
    p.top_k = 0;
    const Sampler small = make(p, 10, scratch.get()), large = make(p, 3000, scratch.get()), own = make(p, 10, nullptr);
    Random random(3);
    for (uint32_t position = 0; position < 50; position++) {
        const std::vector<float> few = make_row(random, NORMAL, 10), many = make_row(random, NORMAL, 3000);
        int32_t token = -2, token_of_own = -2, other = -2;
        ASSERT_EQ(tn_sampler_sample(large.get(), many.data(), position, &other), TN_OK);
        ASSERT_EQ(tn_sampler_sample(small.get(), few.data(), position, &token), TN_OK);
        ASSERT_EQ(tn_sampler_sample(own.get(), few.data(), position, &token_of_own), TN_OK);
        const SamplerOracle oracle{p, {}};
        EXPECT_EQ(other, oracle.sample(many, position));
        EXPECT_EQ(token, oracle.sample(few, position));
        EXPECT_EQ(token, token_of_own);
    }
}

TEST(SamplerOracle, NamesTheFirstBadLogitWhereverItStands)
{
    const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
    for (const float temperature : {0.0f, 0.8f}) {
        for (const int32_t k : {0, 1, 40}) {
            tn_sampler_params p = tn_sampler_params_default();
            p.temperature = temperature;
            p.top_k = k;
            const Sampler sampler = make(p, 333, nullptr);
            for (const float bad : {infinity, nan, -nan}) {
                for (uint32_t id = 0; id < 333; id++) {
                    std::vector<float> row(333, minus_infinity);
                    row[id] = bad;
                    row[332] = id == 332 ? bad : infinity;
                    int32_t token = -2;
                    ASSERT_EQ(tn_sampler_sample(sampler.get(), row.data(), 0, &token), TN_INVALID_ARGUMENT) << id;
                    ASSERT_NE(std::string(tn_error_last()->message).find("the logit of token " + std::to_string(id) + " is "),
                              std::string::npos);
                    ASSERT_EQ(token, 0);
                }
            }
        }
    }
}
