// Special tokens in text: the leftmost, the longest of those, in linear time.
#include "tokenizer/tokenizer_support.hpp"

extern "C" {
#include "base/alloc.h"
#include "model/tokenizer_special.h"
}

using namespace tokenizer_support;

namespace
{

struct Match {
    size_t at;
    int32_t id;
    bool operator==(const Match &o) const { return at == o.at && id == o.id; }
};
void PrintTo(const Match &m, std::ostream *out) { *out << "(" << m.at << ", " << m.id << ")"; }

class SpecialSet
{
  public:
    explicit SpecialSet(const std::vector<std::string> &texts)
    {
        std::vector<tn_str> strs;
        std::unique_ptr<bool[]> wanted(new bool[texts.size()]);
        for (size_t i = 0; i < texts.size(); i++) {
            strs.push_back({texts[i].data(), texts[i].size()});
            wanted[i] = true;
        }
        EXPECT_EQ(tn_special_init(&set_, strs.data(), wanted.get(), static_cast<int32_t>(texts.size())), TN_OK);
    }
    SpecialSet(const SpecialSet &) = delete;
    SpecialSet &operator=(const SpecialSet &) = delete;
    ~SpecialSet() { tn_special_deinit(&set_); }
    std::vector<Match> find(const std::string &text) const
    {
        tn_special_matches found{};
        EXPECT_EQ(tn_special_find(&set_, reinterpret_cast<const uint8_t *>(text.data()), text.size(), &found), TN_OK);
        std::vector<Match> out;
        for (size_t i = found.n; i-- > 0;) out.push_back({found.items[i].at, found.items[i].id});
        tn_free(found.items);
        return out;
    }

  private:
    tn_special_set set_{};
};

TEST(SpecialTokens, AreFoundLeftmostAndLongestAsByTryingEachAtEachPlace)
{
    std::mt19937 random(5);
    for (int round = 0; round < 2000; round++) {
        std::vector<std::string> texts;
        for (size_t i = 1 + random() % 6; i > 0; i--) {
            std::string t(random() % 6, 'a');
            for (char &c : t) c = static_cast<char>('a' + random() % 2);
            texts.push_back(t); // now and then empty, or twice the same
        }
        std::string text(random() % 40, 'a');
        for (char &c : text) c = static_cast<char>('a' + random() % 3);
        std::vector<Match> expected;
        for (size_t at = 0; at < text.size();) {
            size_t longest = 0, id = 0;
            for (size_t i = 0; i < texts.size(); i++) {
                if (!texts[i].empty() && texts[i].size() >= longest && text.compare(at, texts[i].size(), texts[i]) == 0)
                    longest = texts[i].size(), id = i;
            }
            if (longest > 0) expected.push_back({at, static_cast<int32_t>(id)});
            at += longest ? longest : 1;
        }
        ASSERT_EQ(SpecialSet(texts).find(text), expected) << testing::PrintToString(texts) << " in " << text;
    }
}

TEST(SpecialTokens, AnEmptySetFindsNothing) { EXPECT_TRUE(SpecialSet({}).find("abc").empty()); }

TEST(SpecialTokens, ALongTokenThatAlmostMatchesEverywhereCostsNoMoreThanTheText)
{
    SpecialSet set({"a", std::string(60000, 'a') + "b"});
    EXPECT_EQ(set.find(std::string(1 << 20, 'a')).size(), 1u << 20);
}

} // namespace
