// Statistics over logits against NumPy's textbook formulas: tests/data/eval/stats.txt, made by make_eval_fixture.py; and what must be
// exact.
#include "ref/values.h"
#include "support/fail_alloc.hpp"

#include <cmath>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <gtest/gtest.h>
#include <limits>
#include <map>
#include <memory>
#include <sstream>
#include <string>

extern "C" {
#include "ternion/eval.h"
}

namespace
{

using tn_test::FailAlloc;
using tn_test::random_bits;
using tn_test::values;
using Stats = std::unique_ptr<tn_eval_stats, decltype(&tn_eval_stats_destroy)>;

struct Rows {
    std::string name;
    size_t n_rows = 0, n_vocab = 0;
    std::vector<float> logits, base;
    std::vector<int32_t> targets;
    const float *row(const std::vector<float> &of, size_t i) const { return of.data() + (i * n_vocab); }
};

Rows make_rows(const std::string &name, uint64_t seed, size_t n_rows, size_t n_vocab, unsigned spread, float noise)
{
    Rows r{name, n_rows, n_vocab, {}, values(seed, n_rows * n_vocab, 4.0f, spread), {}};
    const std::vector<float> off = values(seed + 100, n_rows * n_vocab, noise);
    for (size_t i = 0; i < off.size(); i++) r.logits.push_back(r.base[i] + off[i]);
    for (size_t i = 0; i < n_rows; i++) r.targets.push_back(static_cast<int32_t>(random_bits(seed + 200, i) % n_vocab));
    return r;
}

Stats make_stats(size_t n_vocab)
{
    tn_eval_stats *stats = nullptr;
    EXPECT_EQ(tn_eval_stats_create(static_cast<uint32_t>(n_vocab), &stats), TN_OK) << tn_error_last()->message;
    return {stats, tn_eval_stats_destroy};
}

tn_eval_summary summarise(const tn_eval_stats *stats)
{
    tn_eval_summary summary = TN_EVAL_SUMMARY_INIT;
    tn_eval_stats_summarise(stats, &summary);
    return summary;
}

tn_eval_summary summary_of(const Rows &r, bool with_base = true)
{
    Stats stats = make_stats(r.n_vocab);
    for (size_t i = 0; i < r.n_rows; i++) {
        EXPECT_EQ(tn_eval_stats_add(stats.get(), r.row(r.logits, i), with_base ? r.row(r.base, i) : nullptr, r.targets[i]), TN_OK)
            << tn_error_last()->message;
    }
    return summarise(stats.get());
}

#define FIELD(name)                                                                                                                        \
    {                                                                                                                                      \
#name, offsetof(tn_eval_summary, name)                                                                                             \
    }
// clang-format off
const std::map<std::string, size_t> fields = {
    FIELD(nll), FIELD(nll_error), FIELD(ppl), FIELD(ppl_error), FIELD(ppl_base), FIELD(ppl_base_error), FIELD(cor_ln_ppl),
    FIELD(ln_ppl_ratio), FIELD(ln_ppl_ratio_error), FIELD(ppl_ratio), FIELD(ppl_ratio_error), FIELD(ppl_diff), FIELD(ppl_diff_error),
    FIELD(mean_kld), FIELD(mean_kld_error), FIELD(max_kld), FIELD(kld_p999), FIELD(kld_p99), FIELD(kld_p95), FIELD(kld_p90),
    FIELD(kld_median), FIELD(kld_p10), FIELD(kld_p05), FIELD(kld_p01), FIELD(kld_p001), FIELD(min_kld),
    FIELD(mean_dp), FIELD(mean_dp_error), FIELD(max_dp), FIELD(dp_p999), FIELD(dp_p99), FIELD(dp_p95), FIELD(dp_p90), FIELD(dp_p75),
    FIELD(dp_median), FIELD(dp_p25), FIELD(dp_p10), FIELD(dp_p05), FIELD(dp_p01), FIELD(dp_p001), FIELD(min_dp),
    FIELD(rms_dp), FIELD(rms_dp_error), FIELD(same_top), FIELD(same_top_error)};
// clang-format on

double field(const tn_eval_summary &summary, const std::string &name)
{
    double value;
    std::memcpy(&value, reinterpret_cast<const char *>(&summary) + fields.at(name), sizeof value);
    return value;
}

TEST(EvalStats, FiguresAreThoseOfNumPy)
{
    std::ifstream file(TN_SOURCE_DIR "/tests/data/eval/stats.txt");
    std::string line;
    Rows rows;
    tn_eval_summary got{};
    size_t n_fields = 0, n_cases = 0;
    while (std::getline(file, line)) {
        std::istringstream words(line);
        std::string name;
        words >> name;
        if (name == "case") {
            uint64_t seed;
            size_t n_rows, n_vocab;
            unsigned spread;
            float noise;
            words >> name >> seed >> n_rows >> n_vocab >> spread >> noise;
            rows = make_rows(name, seed, n_rows, n_vocab, spread, noise);
            got = summary_of(rows);
            EXPECT_EQ(got.n_scored, n_rows);
            EXPECT_TRUE(got.has_base);
            n_cases++;
            continue;
        }
        double wanted;
        words >> wanted;
        EXPECT_NEAR(field(got, name), wanted, (1e-10 * std::abs(wanted)) + 1e-14) << rows.name << ": " << name;
        n_fields++;
    }
    EXPECT_EQ(n_cases, 4u);
    EXPECT_EQ(n_fields, n_cases * fields.size());
}

TEST(EvalStats, EqualLogitsGiveExactlyNoDifference)
{
    Rows rows = make_rows("equal", 5, 120, 333, 3, 0.0f);
    const tn_eval_summary s = summary_of(rows);
    for (const char *name :
         {"ln_ppl_ratio", "ln_ppl_ratio_error", "ppl_ratio_error", "ppl_diff", "ppl_diff_error", "mean_kld", "mean_kld_error", "max_kld",
          "min_kld", "mean_dp", "max_dp", "min_dp", "rms_dp", "rms_dp_error", "same_top_error"})
        EXPECT_EQ(field(s, name), 0.0) << name;
    EXPECT_EQ(s.ppl, s.ppl_base);
    EXPECT_EQ(s.ppl_ratio, 1.0);
    EXPECT_EQ(s.same_top, 1.0);
    EXPECT_NEAR(s.cor_ln_ppl, 1.0, 1e-15);
}

TEST(EvalStats, PerplexityDoesNotDependOnHavingABase)
{
    const Rows rows = make_rows("alone", 6, 30, 100, 4, 0.5f);
    const tn_eval_summary with = summary_of(rows), without = summary_of(rows, false);
    EXPECT_EQ(with.ppl, without.ppl);
    EXPECT_EQ(with.ppl_error, without.ppl_error);
    EXPECT_FALSE(without.has_base);
    EXPECT_EQ(without.n_scored, 30u);
    EXPECT_EQ(without.ppl_base, 0.0);
    EXPECT_EQ(without.same_top, 0.0);
}

TEST(EvalStats, SummariesBetweenRowsChangeNothing)
{
    const Rows rows = make_rows("between", 7, 25, 64, 4, 0.5f);
    Stats stats = make_stats(rows.n_vocab);
    for (size_t i = 0; i < rows.n_rows; i++) {
        ASSERT_EQ(tn_eval_stats_add(stats.get(), rows.row(rows.logits, i), rows.row(rows.base, i), rows.targets[i]), TN_OK);
        EXPECT_EQ(summarise(stats.get()).n_scored, i + 1);
    }
    const tn_eval_summary a = summarise(stats.get()), b = summary_of(rows);
    for (const auto &f : fields) EXPECT_EQ(field(a, f.first), field(b, f.first)) << f.first;
}

TEST(EvalStats, MeansAreThoseOfTheWholeSummary)
{
    const Rows rows = make_rows("means", 8, 40, 64, 4, 0.5f);
    Stats stats = make_stats(rows.n_vocab);
    tn_eval_summary means = TN_EVAL_SUMMARY_INIT;
    tn_eval_stats_summarise_means(stats.get(), &means);
    EXPECT_EQ(means.n_scored, 0u);
    EXPECT_EQ(means.same_top, 0.0);
    for (size_t i = 0; i < rows.n_rows; i++)
        ASSERT_EQ(tn_eval_stats_add(stats.get(), rows.row(rows.logits, i), rows.row(rows.base, i), rows.targets[i]), TN_OK);
    tn_eval_stats_summarise_means(stats.get(), &means);
    const tn_eval_summary whole = summarise(stats.get());
    EXPECT_TRUE(means.has_base);
    EXPECT_EQ(means.n_scored, rows.n_rows);
    for (const auto &f : fields) {
        const bool of_all = f.first.find("_p") == 3 || f.first.find("_p") == 2 || f.first.rfind("max_", 0) == 0 ||
                            f.first.rfind("min_", 0) == 0 || f.first == "kld_median" || f.first == "dp_median";
        EXPECT_EQ(field(means, f.first),
                  of_all && f.first != "ln_ppl_ratio" && f.first != "ln_ppl_ratio_error" ? 0.0 : field(whole, f.first))
            << f.first;
    }
}

TEST(EvalStats, OfEqualLogitsTheLowestIdIsTheTop)
{
    const float flat[] = {1, 3, 3, 0}, first[] = {0, 2, 1, 0}, second[] = {0, 1, 2, 0};
    Stats stats = make_stats(4);
    ASSERT_EQ(tn_eval_stats_add(stats.get(), flat, first, 0), TN_OK);
    EXPECT_EQ(summarise(stats.get()).same_top, 1.0);
    ASSERT_EQ(tn_eval_stats_add(stats.get(), flat, second, 0), TN_OK);
    EXPECT_EQ(summarise(stats.get()).same_top, 0.5);
}

TEST(EvalStats, NothingAndOneRowHaveNoErrors)
{
    const float row[] = {0, 0};
    Stats stats = make_stats(2);
    EXPECT_EQ(summarise(stats.get()).n_scored, 0u);
    EXPECT_EQ(summarise(stats.get()).ppl, 0.0);
    ASSERT_EQ(tn_eval_stats_add(stats.get(), row, row, 1), TN_OK);
    const tn_eval_summary s = summarise(stats.get());
    EXPECT_NEAR(s.ppl, 2.0, 1e-15);
    EXPECT_EQ(s.ppl_error, 0.0);
    EXPECT_EQ(s.same_top, 1.0);
    EXPECT_EQ(s.cor_ln_ppl, 0.0);
}

TEST(EvalStats, RefusesWhatCannotBeScored)
{
    const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
    const float good[] = {0, 1, 2};
    Stats stats = make_stats(3);
    for (float wrong : {nan, infinity, -infinity}) {
        for (size_t at = 0; at < 3; at++) {
            float bad[] = {0, 1, 2};
            bad[at] = wrong;
            EXPECT_EQ(tn_eval_stats_add(stats.get(), bad, good, 0), TN_INVALID_ARGUMENT);
            EXPECT_EQ(tn_eval_stats_add(stats.get(), good, bad, 0), TN_INVALID_ARGUMENT);
            double logprob;
            EXPECT_EQ(tn_eval_logprob(bad, 3, 0, &logprob), TN_INVALID_ARGUMENT);
        }
    }
    EXPECT_EQ(tn_eval_stats_add(stats.get(), good, good, 3), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_eval_stats_add(stats.get(), good, good, -1), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_eval_stats_add(stats.get(), nullptr, good, 0), TN_INVALID_ARGUMENT);
    EXPECT_EQ(summarise(stats.get()).n_scored, 0u);
    ASSERT_EQ(tn_eval_stats_add(stats.get(), good, good, 0), TN_OK);
    EXPECT_EQ(tn_eval_stats_add(stats.get(), good, nullptr, 0), TN_INVALID_ARGUMENT);
    EXPECT_NE(std::string(tn_error_last()->message).find("mixed"), std::string::npos);
    EXPECT_EQ(summarise(stats.get()).n_scored, 1u);
}

TEST(EvalStats, RefusesVocabulariesOfNoSize)
{
    tn_eval_stats *stats = nullptr;
    EXPECT_EQ(tn_eval_stats_create(0, &stats), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_eval_stats_create(UINT32_C(1) << 31, &stats), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_eval_stats_create(5, nullptr), TN_INVALID_ARGUMENT);
    const float row[] = {0};
    double logprob;
    EXPECT_EQ(tn_eval_logprob(row, 0, 0, &logprob), TN_INVALID_ARGUMENT);
    tn_eval_stats_destroy(nullptr);
}

TEST(EvalStats, WritesAsMuchAsTheCallersStructHas)
{
    const float row[] = {0, 1};
    Stats stats = make_stats(2);
    ASSERT_EQ(tn_eval_stats_add(stats.get(), row, nullptr, 1), TN_OK);
    tn_eval_summary none{};
    none.ppl = -1;
    tn_eval_stats_summarise(stats.get(), &none); // struct_size 0: none of a version
    EXPECT_EQ(none.ppl, -1);
}

TEST(EvalStats, LogprobIsThatOfTheStatistics)
{
    const Rows rows = make_rows("logprob", 8, 1, 300, 4, 1.0f);
    double logprob = 1;
    ASSERT_EQ(tn_eval_logprob(rows.logits.data(), 300, rows.targets[0], &logprob), TN_OK);
    EXPECT_EQ(-logprob, summary_of(rows, false).nll);
}

TEST(EvalStats, AFailedAllocationAddsNothing)
{
    const Rows rows = make_rows("oom", 9, 40, 20, 4, 1.0f);
    for (long nth = 1;; nth++) {
        Stats stats = make_stats(rows.n_vocab);
        size_t n_failed = 0;
        long n_seen;
        {
            FailAlloc failing(nth);
            for (size_t i = 0; i < rows.n_rows; i++) {
                const auto add = [&] {
                    return tn_eval_stats_add(stats.get(), rows.row(rows.logits, i), rows.row(rows.base, i), rows.targets[i]);
                };
                if (add() == TN_OK) continue;
                n_failed++;
                ASSERT_EQ(tn_error_last()->status, TN_OUT_OF_MEMORY);
                ASSERT_EQ(summarise(stats.get()).n_scored, i);
                ASSERT_EQ(add(), TN_OK);
            }
            n_seen = failing.seen();
        }
        EXPECT_EQ(summarise(stats.get()).mean_kld, summary_of(rows).mean_kld);
        if (nth > n_seen) break;
        EXPECT_LE(n_failed, 1u);
    }
}

} // namespace
