// Merging against the definition done the slow way, and the work it takes.
#include "tokenizer/tokenizer_support.hpp"

#include <map>
#include <set>

extern "C" {
#include "base/alloc.h"
#include "model/bpe.h"
}

using namespace tokenizer_support;

namespace
{

// A vocabulary of bytes strings with merges by id, and both ways to encode with it.
class Merger
{
  public:
    explicit Merger(std::vector<std::string> tokens) : tokens_(std::move(tokens)), usable_(new bool[tokens_.size()])
    {
        for (size_t i = 0; i < tokens_.size(); i++) {
            texts_.push_back({tokens_[i].data(), tokens_[i].size()});
            ids_[tokens_[i]] = static_cast<int32_t>(i);
            usable_[i] = true;
        }
        EXPECT_EQ(tn_bpe_init(&bpe_, texts_.data(), usable_.get(), static_cast<int32_t>(texts_.size())), TN_OK);
    }
    Merger(const Merger &) = delete;
    Merger &operator=(const Merger &) = delete;
    ~Merger()
    {
        tn_bpe_scratch_deinit(&scratch_);
        tn_bpe_deinit(&bpe_);
    }
    void add_merge(const std::string &left, const std::string &right)
    {
        uint32_t rank = n_merges_++;
        EXPECT_EQ(tn_bpe_add_merge(&bpe_, ids_.at(left), ids_.at(right), rank, ids_.at(left + right)), TN_OK);
        ranks_.emplace(std::make_pair(left, right), rank); // of two the first stays
    }
    void rank_by_id()
    {
        EXPECT_EQ(tn_bpe_add_merges_by_id(&bpe_, usable_.get()), TN_OK);
        by_id_ = true;
    }
    Ids fast(const std::string &word)
    {
        tn_id_list list{};
        EXPECT_EQ(tn_bpe_encode_word(&bpe_, &scratch_, reinterpret_cast<const uint8_t *>(word.data()), word.size(), &list), TN_OK);
        Ids ids(list.ids, list.ids + list.n);
        tn_free(list.ids);
        return ids;
    }
    Ids slow(const std::string &word) const
    {
        std::vector<std::string> parts;
        for (char b : word) parts.emplace_back(1, b);
        for (;;) {
            uint32_t best = UINT32_MAX;
            size_t where = 0;
            for (size_t i = 0; i + 1 < parts.size(); i++) {
                uint32_t rank = rank_of(parts[i], parts[i + 1]);
                if (rank < best) best = rank, where = i;
            }
            if (best == UINT32_MAX) break;
            parts[where] += parts[where + 1];
            parts.erase(parts.begin() + static_cast<ptrdiff_t>(where) + 1);
        }
        Ids ids;
        for (const auto &p : parts) {
            if (ids_.count(p)) ids.push_back(ids_.at(p));
        }
        return ids;
    }
    uint64_t n_pops() const { return scratch_.heap.n_pops; }

  private:
    uint32_t rank_of(const std::string &a, const std::string &b) const
    {
        if (by_id_) return ids_.count(a + b) ? static_cast<uint32_t>(ids_.at(a + b)) : UINT32_MAX;
        auto found = ranks_.find({a, b});
        return found == ranks_.end() ? UINT32_MAX : found->second;
    }
    std::vector<std::string> tokens_;
    std::unique_ptr<bool[]> usable_;
    std::vector<tn_str> texts_;
    std::map<std::string, int32_t> ids_;
    std::map<std::pair<std::string, std::string>, uint32_t> ranks_;
    uint32_t n_merges_ = 0;
    bool by_id_ = false;
    tn_bpe bpe_{};
    tn_bpe_scratch scratch_{};
};

std::string random_word(std::mt19937 &random, const std::string &letters, size_t n_max)
{
    std::string word(1 + random() % n_max, '\0');
    for (char &c : word) c = letters[random() % letters.size()];
    return word;
}

// Tokens over few letters, so that merges overlap and compete; the first are the letters.
std::vector<std::string> random_tokens(std::mt19937 &random, const std::string &letters, size_t n)
{
    std::vector<std::string> tokens;
    std::set<std::string> seen;
    for (char c : letters) tokens.emplace_back(1, c);
    seen.insert(tokens.begin(), tokens.end());
    for (size_t i = 0; i < n; i++) {
        std::string joined = tokens[random() % tokens.size()] + tokens[random() % tokens.size()];
        if (joined.size() <= 12 && seen.insert(joined).second) tokens.push_back(joined);
    }
    return tokens;
}

TEST(Bpe, MergesAsTheDefinitionDoes)
{
    std::mt19937 random(3);
    for (int round = 0; round < 200; round++) {
        const std::string letters = std::string("abcd").substr(0, 1 + random() % 4);
        std::vector<std::string> tokens = random_tokens(random, letters, 30);
        Merger merger(tokens);
        for (int i = 0; i < 60; i++) {
            const std::string &joined = tokens[random() % tokens.size()];
            if (joined.size() < 2) continue;
            size_t cut = 1 + random() % (joined.size() - 1);
            std::string left = joined.substr(0, cut), right = joined.substr(cut);
            if (std::count(tokens.begin(), tokens.end(), left) && std::count(tokens.begin(), tokens.end(), right))
                merger.add_merge(left, right);
        }
        for (int i = 0; i < 50; i++) {
            std::string word = random_word(random, letters, i < 40 ? 20 : 200);
            ASSERT_EQ(merger.fast(word), merger.slow(word)) << word;
        }
    }
}

TEST(Bpe, RanksByIdMergeAsTheDefinitionDoes)
{
    std::mt19937 random(4);
    for (int round = 0; round < 200; round++) {
        const std::string letters = std::string("abc").substr(0, 1 + random() % 3);
        Merger merger(random_tokens(random, letters, 40));
        merger.rank_by_id();
        for (int i = 0; i < 50; i++) {
            std::string word = random_word(random, letters, i < 40 ? 20 : 200);
            ASSERT_EQ(merger.fast(word), merger.slow(word)) << word;
        }
    }
}

TEST(Bpe, EqualRanksMergeLeftmostFirst)
{
    Merger merger({"a", "aa", "aaaa"});
    merger.add_merge("a", "a");
    merger.add_merge("aa", "aa");
    EXPECT_EQ(merger.fast("aaaaaaa"), (Ids{2, 1, 0}));
}

TEST(Bpe, TheFirstOfTwoMergesOfOnePairCounts)
{
    Merger merger({"a", "b", "ab", "c", "bc"});
    merger.add_merge("a", "b");
    merger.add_merge("b", "c");
    merger.add_merge("a", "b");
    EXPECT_EQ(merger.fast("abc"), (Ids{2, 3}));
}

TEST(Bpe, BytesWithoutATokenGiveNothingButStillMerge)
{
    Merger merger({"a", "ab", "c"});
    merger.rank_by_id();
    EXPECT_EQ(merger.fast("abxcb"), (Ids{1, 2}));
}

TEST(Bpe, AMillionEqualBytesTakeAtMostThreeHeapStepsEach)
{
    std::vector<std::string> tokens = {"a"};
    for (int i = 0; i < 16; i++) tokens.push_back(tokens.back() + tokens.back());
    Merger merger(tokens);
    for (int i = 0; i < 16; i++) merger.add_merge(tokens[i], tokens[i]);
    std::string word(1000003, 'a');
    Ids ids = merger.fast(word);
    EXPECT_LE(merger.n_pops(), 3 * word.size());
    size_t total = 0;
    for (int32_t id : ids) total += tokens[static_cast<size_t>(id)].size();
    EXPECT_EQ(total, word.size());
    EXPECT_EQ(ids[0], 16);
    EXPECT_EQ(ids.size(), 1000003u / 65536 + 5); // and the binary digits of what is left: 16963 = 0b100001001000011
}

} // namespace
