// Draws from whole rows, which the sampler finds without ranking them, against sums in ranking order: the same token, always; also where a
// draw falls beside a boundary between tokens, or on it. How often bounds do not tell is counted: seldom, except in rows made for that.
#include "sampler/sampler_oracle.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

extern "C" {
#include "runtime/sampler_scratch.h"
}

namespace
{

constexpr float minus_infinity = -std::numeric_limits<float>::infinity();
constexpr uint32_t n_large = 128256;

struct Destroy {
    void operator()(tn_sampler *s) const { tn_sampler_destroy(s); }
    void operator()(tn_sampler_scratch *s) const { tn_sampler_scratch_destroy(s); }
};
using Sampler = std::unique_ptr<tn_sampler, Destroy>;
using Scratch = std::unique_ptr<tn_sampler_scratch, Destroy>;

tn_sampler_params params(float temperature, float top_p, float min_p)
{
    tn_sampler_params p = tn_sampler_params_default();
    p.temperature = temperature;
    p.top_p = top_p;
    p.min_p = min_p;
    p.top_k = 0;
    p.repeat_penalty = 1;
    return p;
}

// What the definition comes to for a row, once for all draws: the tokens that are left, ranked, and the running sums of their weights.
class Definition
{
  public:
    Definition(const std::vector<float> &row, const tn_sampler_params &p)
    {
        for (size_t id = 0; id < row.size(); id++)
            if (row[id] != minus_infinity) ids.push_back(static_cast<int32_t>(id));
        const auto z = [&row](int32_t id) { return static_cast<double>(row[static_cast<size_t>(id)]); };
        std::stable_sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) { return z(a) > z(b); });
        const double best = z(ids[0]);
        if (p.top_p < 1) {
            running_sums([&](int32_t id) { return tn_f64_exp(z(id) - best); });
            const double wanted = static_cast<double>(p.top_p) * running.back();
            ids.resize(static_cast<size_t>(std::lower_bound(running.begin(), running.end(), wanted) - running.begin()) + 1);
        }
        const double least = p.min_p > 0 ? best + tn_f64_log(static_cast<double>(p.min_p)) : -HUGE_VAL;
        while (z(ids.back()) < least) ids.pop_back();
        running_sums([&](int32_t id) { return tn_f64_exp((z(id) - best) / static_cast<double>(p.temperature)); });
    }

    int32_t draw(double u) const
    {
        const auto at = std::upper_bound(running.begin(), running.end(), u * running.back());
        return ids[static_cast<size_t>(at - running.begin())];
    }
    const std::vector<double> &sums() const { return running; }

  private:
    template <class Weight> void running_sums(Weight weight)
    {
        running.clear();
        double sum = 0;
        for (int32_t id : ids) running.push_back(sum += weight(id));
    }

    std::vector<int32_t> ids;
    std::vector<double> running;
};

// Positions by the uniform number that they give with seed 0 and sequence 0.
class Positions
{
  public:
    Positions()
    {
        for (uint32_t position = 0; position < 1u << 21; position++) all.emplace_back(tn_philox_uniform(0, 0, position), position);
        std::sort(all.begin(), all.end());
    }
    // One of the two whose number is next to u.
    uint32_t beside(double u, bool above) const
    {
        const auto at = std::lower_bound(all.begin(), all.end(), std::make_pair(u, uint32_t{0}));
        const size_t i = static_cast<size_t>(at - all.begin());
        return all[above || i == 0 ? std::min(i, all.size() - 1) : i - 1].second;
    }
    std::vector<uint32_t> multiples_of(double unit) const // but for 0
    {
        std::vector<uint32_t> found;
        for (const auto &[u, position] : all)
            if (u > 0 && u / unit == std::floor(u / unit)) found.push_back(position);
        return found;
    }

  private:
    std::vector<std::pair<double, uint32_t>> all;
};

class SamplerWhole : public testing::Test
{
  protected:
    void SetUp() override
    {
        tn_sampler_scratch *s = nullptr;
        ASSERT_EQ(tn_sampler_scratch_create(&s), TN_OK);
        scratch.reset(s);
        ASSERT_EQ(tn_sampler_scratch_reserve(s, n_large), TN_OK);
    }

    Sampler make(const tn_sampler_params &p, size_t n_vocab)
    {
        tn_sampler *s = nullptr;
        EXPECT_EQ(tn_sampler_create_with(&p, static_cast<uint32_t>(n_vocab), scratch.get(), &s), TN_OK) << tn_error_last()->message;
        return Sampler(s);
    }

    void compare(const Sampler &sampler, const Definition &definition, const std::vector<float> &row, uint32_t position)
    {
        int32_t got = -2;
        ASSERT_EQ(tn_sampler_sample(sampler.get(), row.data(), position, &got), TN_OK);
        ASSERT_EQ(got, definition.draw(tn_philox_uniform(0, 0, position))) << row.size() << " tokens, position " << position;
        n_draws++;
    }

    static const Positions &positions()
    {
        static const Positions all;
        return all;
    }

    Scratch scratch;
    size_t n_draws = 0;
    std::mt19937_64 random{7};
};

enum Shape { NORMAL, PEAKED, FLAT, FEW_VALUES, ALL_EQUAL, SCREENED, TIED_TAIL, DESCENDING, WIDE, N_SHAPES };

std::vector<float> make_row(std::mt19937_64 &random, Shape shape, size_t n)
{
    std::normal_distribution<float> normal(0, 1);
    std::vector<float> row(n);
    for (size_t id = 0; id < n; id++) {
        switch (shape) {
        case NORMAL: row[id] = 3 * normal(random); break;
        case PEAKED: row[id] = random() % (1 + n / 6) == 0 ? 14 + normal(random) : 2 * normal(random); break;
        case FLAT: row[id] = 0.01f * normal(random); break;
        case FEW_VALUES: row[id] = 0.5f * static_cast<float>(random() % 12); break;
        case ALL_EQUAL: row[id] = -2.5f; break;
        case SCREENED: row[id] = random() % (1 + n / 45) == 0 ? normal(random) : minus_infinity; break;
        case TIED_TAIL: row[id] = random() % (1 + n / 30) == 0 ? 2 : 1; break;
        case DESCENDING: row[id] = -0.001f * static_cast<float>(id); break;
        default: row[id] = 200 * normal(random); break;
        }
    }
    row[random() % n] = std::max(0.0f, row[random() % n]); // one is finite
    return row;
}

tn_sampler_params random_params(std::mt19937_64 &random)
{
    const auto uniform = [&random](float a, float b) { return std::uniform_real_distribution<float>(a, b)(random); };
    tn_sampler_params p = params(1, 1, 0);
    if (random() % 2 == 0) p.temperature = uniform(0.05f, 2.5f);
    if (random() % 3 == 0) p.top_p = uniform(0, 1);
    if (random() % 4 == 0) p.min_p = uniform(0, 0.3f);
    return p;
}

} // namespace

TEST_F(SamplerWhole, DrawsTheDefinitionsTokenOfRowsOfAllShapes)
{
    for (int round = 0; round < 1800 && !HasFailure(); round++) {
        const size_t n = 1 + random() % (random() % 6 == 0 ? 5000 : 300);
        const std::vector<float> row = make_row(random, static_cast<Shape>(round % N_SHAPES), n);
        const tn_sampler_params p = random_params(random);
        const Definition definition(row, p);
        const Sampler sampler = make(p, n);
        for (int i = 0; i < 60 && !HasFailure(); i++) compare(sampler, definition, row, static_cast<uint32_t>(random()));
    }
    EXPECT_GE(n_draws, 100000u);
    EXPECT_LT(scratch->n_exact, n_draws / 200) << "cheap weights tell too seldom";
    EXPECT_LT(scratch->n_ranked, n_draws / 2000) << "exact weights tell too seldom";
}

TEST_F(SamplerWhole, DrawsTheDefinitionsTokenBesideBoundaries)
{
    for (int round = 0; round < 900 && !HasFailure(); round++) {
        const size_t n = 1 + random() % (random() % 6 == 0 ? 5000 : 300);
        const std::vector<float> row = make_row(random, static_cast<Shape>(round % N_SHAPES), n);
        const tn_sampler_params p = random_params(random);
        const Definition definition(row, p);
        const std::vector<double> &sums = definition.sums();
        const Sampler sampler = make(p, n);
        for (int i = 0; i < 60 && !HasFailure(); i++) {
            const double boundary = sums[random() % sums.size()] / sums.back();
            compare(sampler, definition, row, positions().beside(boundary, i % 2 == 0));
        }
    }
    EXPECT_GE(n_draws, 50000u);
    EXPECT_GT(scratch->n_exact, n_draws / 100) << "a test of draws that are told easily";
}

TEST_F(SamplerWhole, RanksAllWhereADrawFallsOnABoundary)
{
    // n = 2^k equal weights: u * n is a running sum for every u that is a multiple of 1 / n.
    for (const size_t n : {size_t{4096}, size_t{32768}}) {
        const std::vector<float> row(n, 1.5f);
        const tn_sampler_params p = params(0.7f, 1, 0);
        const Definition definition(row, p);
        const Sampler sampler = make(p, n);
        const std::vector<uint32_t> on = positions().multiples_of(1.0 / static_cast<double>(n));
        ASSERT_GT(on.size(), 100u);
        for (size_t i = 0; i < std::min(on.size(), size_t{200}) && !HasFailure(); i++) {
            const uint64_t before = scratch->n_ranked;
            compare(sampler, definition, row, on[i * 7919 % on.size()]);
            EXPECT_EQ(scratch->n_ranked, before + 1) << "position " << on[i * 7919 % on.size()];
        }
    }
}

TEST_F(SamplerWhole, RanksAllWhereTopPFallsOnABoundary)
{
    const size_t n = 4096;
    const std::vector<float> row(n, -3.0f);
    for (const float top_p : {0.5f, 0.25f, 1.0f / 1024}) {
        const tn_sampler_params p = params(1.3f, top_p, 0);
        const Definition definition(row, p);
        ASSERT_EQ(definition.sums().size(), static_cast<size_t>(top_p * static_cast<float>(n))) << "the one that reaches it is the last";
        const Sampler sampler = make(p, n);
        const uint64_t before = scratch->n_ranked;
        for (uint32_t position = 0; position < 200 && !HasFailure(); position++) compare(sampler, definition, row, position);
        EXPECT_EQ(scratch->n_ranked, before + 200);
    }
}

TEST_F(SamplerWhole, TellsTokensOfLargeRowsWithoutRankingThem)
{
    struct Case {
        Shape shape;
        float deviation; // of NORMAL
        uint32_t n_draws;
        double most_exact; // share of draws
    };
    for (const Case &c :
         {Case{NORMAL, 3, 200, 0.06}, Case{NORMAL, 0.5f, 25, 0.2}, Case{PEAKED, 0, 300, 0.02}, Case{FEW_VALUES, 0, 25, 0.2}}) {
        std::vector<float> row = make_row(random, c.shape, n_large);
        if (c.shape == NORMAL)
            for (float &z : row) z *= c.deviation / 3;
        for (const tn_sampler_params &p : {params(1, 1, 0), params(0.7f, 1, 0), params(1, 0.9f, 0), params(0.8f, 0.95f, 0.02f)}) {
            const Definition definition(row, p);
            const Sampler sampler = make(p, n_large);
            scratch->n_exact = scratch->n_ranked = 0;
            for (uint32_t position = 0; position < c.n_draws && !HasFailure(); position++) compare(sampler, definition, row, position);
            EXPECT_LE(static_cast<double>(scratch->n_exact), c.most_exact * c.n_draws) << "shape " << c.shape << ", top_p " << p.top_p;
            EXPECT_EQ(scratch->n_ranked, 0u);
        }
    }
}

TEST_F(SamplerWhole, CutsByMinPExactlyWhereItsBoundIsBetweenTwoF32)
{
    size_t n_below = 0;
    for (int i = 1; i < 300 && !HasFailure(); i++) {
        const float min_p = static_cast<float>(i) / 300;
        const double least = tn_f64_log(static_cast<double>(min_p));
        const std::vector<float> row = {static_cast<float>(least), 0, std::nextafter(static_cast<float>(least), -1.0f)};
        n_below += static_cast<double>(row[0]) < least;
        const tn_sampler_params p = params(100, 1, min_p); // what is left is drawn about equally often
        const Definition definition(row, p);
        const Sampler sampler = make(p, row.size());
        for (uint32_t position = 0; position < 20 && !HasFailure(); position++) compare(sampler, definition, row, position);
    }
    EXPECT_TRUE(n_below > 100 && n_below < 200) << n_below;
}

TEST_F(SamplerWhole, DrawsTheDefinitionsTokenWhereBiasAndPenaltiesMoveItFar)
{
    for (int round = 0; round < 1500 && !HasFailure(); round++) {
        const size_t n = 2 + random() % 400;
        std::vector<tn_logit_bias> bias;
        for (uint64_t i = random() % 8; i > 0; i--)
            bias.push_back({static_cast<int32_t>(random() % n),
                            random() % 5 == 0 ? minus_infinity : std::uniform_real_distribution<float>(-40, 40)(random)});
        tn_test::SamplerOracle oracle{random_params(random), {}};
        oracle.p.logit_bias = bias.data();
        oracle.p.n_logit_bias = bias.size();
        oracle.p.repeat_last_n = -1;
        oracle.p.repeat_penalty = random() % 2 == 0 ? 1e-3f : 1e3f;
        oracle.p.presence_penalty = round % 2 == 0 ? 20.0f : -20.0f;
        const Sampler sampler = make(oracle.p, n);
        for (uint32_t position = 0; position < 8 && !HasFailure(); position++) {
            const std::vector<float> row = make_row(random, static_cast<Shape>(round % N_SHAPES), n);
            int32_t got = -2;
            const int32_t want = oracle.sample(row, position);
            const tn_status status = tn_sampler_sample(sampler.get(), row.data(), position, &got);
            ASSERT_EQ(status, want == oracle.all_forbidden ? TN_INVALID_ARGUMENT : TN_OK);
            if (status == TN_OK) {
                ASSERT_EQ(got, want) << "round " << round << " position " << position;
            }
            const int32_t next = static_cast<int32_t>(random() % n);
            ASSERT_EQ(tn_sampler_accept(sampler.get(), next), TN_OK);
            oracle.history.push_back(next);
        }
    }
}

TEST_F(SamplerWhole, BearsNumbersAtTheEndsOfTheirRange)
{
    const float most = std::numeric_limits<float>::max();
    const tn_logit_bias raised = {2, most}, lowered = {0, -most};
    for (const float temperature : {1e-45f, 1e-3f, 1.0f, 3e38f}) {
        for (const float top_p : {1.0f, 0.6f}) {
            for (const std::vector<tn_logit_bias> &bias : {std::vector<tn_logit_bias>{}, {raised}, {lowered}, {lowered, raised}}) {
                tn_test::SamplerOracle oracle{params(temperature, top_p, 0), {}};
                oracle.p.logit_bias = bias.data();
                oracle.p.n_logit_bias = bias.size();
                std::vector<float> row(130, -most);
                row[0] = row[2] = row[77] = most;
                row[100] = 1e-45f;
                row[129] = minus_infinity;
                const Sampler sampler = make(oracle.p, row.size());
                for (uint32_t position = 0; position < 200 && !HasFailure(); position++) {
                    int32_t got = -2;
                    ASSERT_EQ(tn_sampler_sample(sampler.get(), row.data(), position, &got), TN_OK);
                    ASSERT_EQ(got, oracle.sample(row, position)) << temperature << " " << top_p << " " << bias.size();
                }
            }
        }
    }
}
