// The best logits of rows against a sort of them all.
#include "cuda_host/rows_rig.hpp"

#include <numeric>

using namespace cuda_host;

namespace
{

constexpr uint32_t kUntouched = 0xcdcdcdcdu;

struct Ranking {
    uint32_t n;             // logits of a row
    uint32_t top_max = 128; // of the kernel
    uint32_t n_ids = UINT32_MAX;
    bool has_top = true;
    bool is_output = false; // rows of n elements in the submit's output, else rows that begin at whole units
};

// Ranks `rows`, of which n_top are wanted, and compares.
class Ranks
{
  public:
    Ranks(const Ranking &ranking, const std::vector<std::vector<float>> &rows, const std::vector<uint32_t> &n_top)
        : ranking_(ranking), n_top_(n_top), n_rows_((uint32_t)rows.size()),
          stride_(ranking.is_output ? ranking.n : (ranking.n + 3) / 4 * 4), x_((size_t)n_rows_ * stride_), words_(256),
          counts_(n_rows_ + 2), ids_((size_t)(n_rows_ + 2) * ranking.top_max), groups_((size_t)(n_rows_ + 2) * TN_CUDA_RANK_GROUPS),
          logits_((size_t)(n_rows_ + 2) * ranking.top_max)
    {
        for (uint32_t r = 0; r < n_rows_; r++) std::copy(rows[r].begin(), rows[r].end(), &x_[(size_t)r * stride_]);
    }
    void run()
    {
        const uint64_t output = (uint64_t)(uintptr_t)x_.data();
        words_[1] = n_rows_;
        words_[4] = ranking_.has_top;
        words_[5] = std::min(ranking_.n_ids, ranking_.n);
        std::copy(n_top_.begin(), n_top_.end(), &words_[32]);
        words_[202] = (uint32_t)output, words_[203] = (uint32_t)(output >> 32);
        tn_cuda_rank_params p = {};
        p.step.words = words_.data();
        p.step.n_top = 32;
        p.step.addresses = 200;
        p.x = {ranking_.is_output ? nullptr : x_.data(), stride_};
        p.n = ranking_.n;
        p.top_max = ranking_.top_max;
        p.counts = counts_.data(), p.ids = ids_.data(), p.logits = logits_.data();
        p.groups = groups_.data();
        launch("rank_groups", p, n_rows_ + 2, tn_cuda_rank_blocks(p.n));
        launch("rank", p, n_rows_ + 2);
    }
    void expect_all()
    {
        for (uint32_t r = 0; r < n_rows_; r++) expect_row(r);
        for (uint32_t r = n_rows_; r < n_rows_ + 2; r++) EXPECT_EQ(counts_[r], kUntouched);
    }
    uint32_t count(uint32_t r) { return counts_[r]; }
    uint32_t id(uint32_t r, uint32_t i) { return ids_[(size_t)r * ranking_.top_max + i]; }

  private:
    void expect_row(uint32_t r)
    {
        const float *row = &x_[(size_t)r * stride_];
        const bool is_ranked = ranking_.has_top && n_top_[r] <= ranking_.top_max;
        const uint32_t k = is_ranked ? n_top_[r] : 0;
        ASSERT_EQ(counts_[r], k);
        std::vector<uint32_t> order(words_[5]);
        std::iota(order.begin(), order.end(), 0u);
        std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return row[a] != row[b] ? row[a] > row[b] : a < b; });
        for (uint32_t i = 0; i < k; i++) {
            ASSERT_EQ(id(r, i), order[i]) << "place " << i << " of row " << r << " of " << ranking_.n;
            ASSERT_PRED2(same_bits, logits_[(size_t)r * ranking_.top_max + i], row[order[i]]);
        }
        for (uint32_t i = k; i < ranking_.top_max; i++) ASSERT_EQ(id(r, i), kUntouched);
    }
    Ranking ranking_;
    std::vector<uint32_t> n_top_;
    uint32_t n_rows_, stride_;
    Memory<float> x_;
    Memory<uint32_t> words_, counts_, ids_, groups_;
    Memory<float> logits_;
};

std::vector<float> random_row(uint32_t n, uint32_t seed)
{
    std::mt19937 random(seed);
    return random_floats(random, n, 4.0f);
}

void check(const Ranking &ranking, const std::vector<std::vector<float>> &rows, const std::vector<uint32_t> &n_top)
{
    Ranks ranks(ranking, rows, n_top);
    ranks.run();
    ranks.expect_all();
}

TEST(Rank, EveryWidth)
{
    for (uint32_t n : {1u, 2u, 3u, 5u, 40u, 127u, 255u, 1023u, 1024u, 1025u, 4095u, 4100u, 32003u, 128256u, 131072u, 131073u, 262400u}) {
        const uint32_t k = std::min(n, 40u);
        check({n}, {random_row(n, n), random_row(n, n + 1)}, {k, 1});
        check({n, 128, UINT32_MAX, true, true}, {random_row(n, n), random_row(n, n + 1)}, {1, k});
    }
}

TEST(Rank, EveryNumberOfCandidates)
{
    std::vector<std::vector<float>> rows;
    std::vector<uint32_t> n_top;
    for (uint32_t k : {1u, 2u, 31u, 32u, 33u, 64u, 100u, 127u, 128u}) {
        rows.push_back(random_row(20000, k));
        n_top.push_back(k);
    }
    check({20000}, rows, n_top);
    check({130}, {random_row(130, 1)}, {128});
    check({128}, {random_row(128, 1)}, {128});
}

TEST(Rank, EqualLogitsByTheirIds)
{
    const uint32_t n = 9001;
    std::vector<float> equal(n, -1.5f), two(n), few = random_row(n, 3), forbidden(n, -INFINITY);
    for (uint32_t i = 0; i < n; i++) two[i] = i % 7 == 3 ? 1.0f : 0.0f;
    for (float &x : few) x = (float)(int)x;
    forbidden[77] = 0.25f, forbidden[8999] = -3.0f;
    check({n}, {equal, two, few, forbidden}, {128, 100, 64, 40});
    check({n}, {equal, two, few, forbidden}, {1, 1, 128, 1});
}

// The largest lie where few threads look, so that the first bound lets too many through.
TEST(Rank, TheBestInFewPlaces)
{
    const uint32_t n = 40000;
    std::vector<float> ascending(n), descending(n), one_thread = random_row(n, 4);
    for (uint32_t i = 0; i < n; i++) ascending[i] = (float)i, descending[i] = -(float)i;
    for (uint32_t i = 0; i < n; i++)
        if (i / 4 % 256 == 9) one_thread[i] += 100.0f;
    check({n}, {ascending, descending, one_thread}, {128, 128, 100});
}

TEST(Rank, IdsThatDoNotCount)
{
    std::vector<float> row = random_row(5000, 8);
    for (uint32_t i = 3001; i < 5000; i++) row[i] += 1000.0f;
    check({5000, 128, 3001}, {row}, {40});
    check({5000, 128, 40}, {row}, {40});
}

TEST(Rank, RowsThatAreNotRanked)
{
    const std::vector<float> row = random_row(700, 2);
    check({700, 20}, {row, row, row, row}, {0, 20, 21, 1});
    check({700, 128}, {row, row}, {129, 128});
    check({700, 128, UINT32_MAX, false}, {row, row}, {5, 5});
    check({700}, {}, {});
}

// Rows of poisoned sequences: no order is promised, but nothing else breaks.
TEST(Rank, NoNumbers)
{
    std::vector<float> row = random_row(3000, 6);
    for (uint32_t i = 0; i < 3000; i += 2) row[i] = i % 4 ? NAN : -NAN;
    Ranks ranks({3000}, {row, std::vector<float>(3000, -NAN)}, {100, 100});
    ranks.run();
    for (uint32_t r = 0; r < 2; r++) {
        EXPECT_EQ(ranks.count(r), 100u);
        for (uint32_t i = 0; i < 100; i++) EXPECT_LT(ranks.id(r, i), 3000u);
    }
}

} // namespace
