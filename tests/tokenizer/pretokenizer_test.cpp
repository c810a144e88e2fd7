// The scanners against the regular expressions that they replace, run by PCRE2.
#include "tokenizer/pcre_oracle.hpp"
#include "tokenizer/tokenizer_support.hpp"

#include <cstring>
#include <map>
#include <set>

extern "C" {
#include "model/pretokenizer.h"
}

using namespace tokenizer_support;

namespace
{

class PretokenizerTest : public testing::TestWithParam<const char *>
{
  protected:
    PretokenizerTest() : pre_(tn_pretokenizer_find(GetParam(), strlen(GetParam()))), oracle_(GetParam()) {}
    void check(const std::string &text)
    {
        std::vector<std::string> expected = oracle_.pieces(mended(text)), got = scan(pre_, text);
        std::string whole;
        for (auto &p : got) {
            whole += p;
            p = mended(p);
        }
        ASSERT_EQ(whole, text);
        ASSERT_EQ(got, expected) << testing::PrintToString(text.substr(0, 200));
    }
    const tn_pretokenizer *pre_;
    PreOracle oracle_;
};

TEST_P(PretokenizerTest, CutsTheVocabularyCasesAsTheExpressionDoes)
{
    auto cases = split(read_file(own_data("vocab-cases.inp")), "\n__ggml_vocab_test__\n");
    ASSERT_GE(cases.size(), 47u);
    for (const auto &text : cases) check(text);
}

TEST_P(PretokenizerTest, CutsEveryShortTextOfTrickyCharactersAsTheExpressionDoes)
{
    const std::string alphabet[] = {"'", "s", "L", "l",        "re",       " ",        "\n",   "\r", "\t",
                                    "7", "!", "$", "\xC5\xBF", "\xC2\xA0", "\xC3\xA9", "\xFF", "`",  "\xD9\xA3"};
    const size_t n = sizeof alphabet / sizeof alphabet[0];
    for (size_t i = 0; i < n * n * n * n; i++) {
        check(alphabet[i % n] + alphabet[i / n % n] + alphabet[i / n / n % n] + alphabet[i / n / n / n]);
        if (HasFatalFailure()) return;
    }
}

TEST_P(PretokenizerTest, CutsRandomTextsAsTheExpressionDoes)
{
    const std::vector<uint32_t> spaces = {9,      10,     11,     12,     13,     32,     32,     32,     0x85,   0xA0,   0x1680,
                                          0x180E, 0x2000, 0x200A, 0x200B, 0x2028, 0x2029, 0x202F, 0x205F, 0x2060, 0x3000, 0xFEFF};
    const std::vector<uint32_t> ascii = {'\'', '\'', 's', 'S', 't', 'r', 'e', 'v', 'm', 'l', 'L', 'd', 'D', 'a', 'Z', '0', '1',
                                         '9',  '.',  '!', '$', '+', '<', '=', '>', '^', '~', '|', '`', '-', '_', '(', 0,   0x7F};
    const std::vector<uint32_t> letters = {0xE9,   0xDF,   0x17F,  0x1C5,  0x2B0,  0x3B1,  0x416,  0x5D0,   0x628,   0x905,   0xE01,
                                           0x10D0, 0x1E9E, 0x2C00, 0x3042, 0x4E2D, 0xAC00, 0xFB01, 0x10380, 0x1D400, 0x20000, 0x212A};
    const std::vector<uint32_t> numbers = {0xB2,   0xBC,   0x660,  0x663,  0x967,   0xE51,  0x2160,
                                           0x2460, 0x3007, 0x3021, 0xFF10, 0x10107, 0x1D7D8};
    const std::vector<uint32_t> others = {0x300,   0x301,   0x903,  0x94D,  0x20DD, 0x200D, 0xFE0F,  0x2014,
                                          0x201C,  0x2026,  0x3001, 0xFF01, 0x20AC, 0x2192, 0x2764,  0x1F600,
                                          0x1F468, 0x1F1E9, 0xE000, 0x378,  0xFFFD, 0xFFFF, 0x10FFFF};
    const std::vector<const std::vector<uint32_t> *> pools = {&spaces, &spaces, &ascii, &ascii, &ascii, &letters, &numbers, &others};
    const std::vector<bool> &newer = newer_than_pcre();
    std::mt19937 random(7);
    for (int i = 0; i < 100000; i++) {
        std::string text;
        size_t n = 1 + random() % 24;
        for (size_t k = 0; k < n; k++) {
            uint32_t kind = random() % 20;
            if (kind == 0) {
                text.push_back(static_cast<char>(0x80 + random() % 0x80)); // most often no UTF-8
            } else if (kind == 1) {
                uint32_t c = random() % 0x110000;
                if ((c < 0xD800 || c > 0xDFFF) && !newer[c]) append_utf8(text, c);
            } else {
                const auto &pool = *pools[random() % pools.size()];
                uint32_t c = pool[random() % pool.size()];
                for (uint32_t repeat = random() % 4 ? 1 : 1 + random() % 4; repeat > 0; repeat--) append_utf8(text, c);
            }
        }
        // Two strays may have met and formed a character that PCRE2 does not know.
        bool known = true;
        for (size_t at = 0; at < text.size();) {
            size_t len = well_formed(text, at);
            utf8proc_int32_t c = 0;
            if (len > 0)
                utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t *>(text.data()) + at, static_cast<utf8proc_ssize_t>(len), &c);
            known = known && !newer[static_cast<size_t>(c)];
            at += len ? len : 1;
        }
        if (known) check(text);
        if (HasFatalFailure()) return;
    }
}

TEST_P(PretokenizerTest, CutsTheStoryCorpusAsTheExpressionDoes)
{
    std::string corpus = story_corpus();
    if (corpus.empty()) GTEST_SKIP() << "corpus/valid.txt.xz is not in the folder that TN_TEST_DATA names, or xz is missing";
    check(corpus);
}

TEST_P(PretokenizerTest, CutsAMegabyteOfOneCharacter)
{
    for (const std::string one : {"a", " ", "\n", "\t", "0", "!", "'", "$", "\xC3\xA9", "\xE3\x80\x80", "\xFF", "\xF0\x9F", "\n "}) {
        std::string text;
        while (text.size() < (1 << 20)) text += one;
        std::string whole;
        for (const auto &p : scan(pre_, text)) whole += p;
        EXPECT_EQ(whole, text);
    }
}

INSTANTIATE_TEST_SUITE_P(Families, PretokenizerTest, testing::Values("llama-bpe", "qwen2", "gpt-2", "falcon", "falcon_e", "default"),
                         [](const auto &test) {
                             std::string name = test.param;
                             name.erase(std::remove(name.begin(), name.end(), '-'), name.end());
                             return name;
                         });

TEST(Pretokenizer, NamesOfOneFamilyScanAlike)
{
    struct Family {
        std::vector<std::string> names;
        bool ignore_merges, add_bos;
    };
    const std::vector<Family> expected = {
        {{"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "lfm2", "midm-2.0"}, true, true},
        {{"llama-bpe", "smaug-bpe"}, true, true},
        {{"qwen2", "deepseek-r1-qwen", "kormo"}, false, false},
        {{"gpt-2", "mpt", "olmo", "jais"}, false, false},
        {{"falcon"}, false, false},
        {{"falcon_e"}, false, false},
        {{"default"}, false, false},
    };
    std::set<std::string> listed;
    for (const auto &family : expected) {
        const tn_pretokenizer *first = tn_pretokenizer_find(family.names[0].data(), family.names[0].size());
        ASSERT_NE(first, nullptr);
        for (const auto &name : family.names) {
            const tn_pretokenizer *pre = tn_pretokenizer_find(name.data(), name.size());
            ASSERT_NE(pre, nullptr) << name;
            EXPECT_EQ(pre->n_stages, first->n_stages) << name;
            for (size_t i = 0; i < first->n_stages; i++) EXPECT_EQ(pre->stages[i], first->stages[i]) << name;
            bool smaug = name == "smaug-bpe"; // the expression of Llama 3 without its other habits
            EXPECT_EQ(pre->ignore_merges, family.ignore_merges && !smaug) << name;
            EXPECT_EQ(pre->add_bos, family.add_bos && !smaug) << name;
            listed.insert(name);
        }
    }
    for (size_t i = 0; tn_pretokenizer_at(i); i++) EXPECT_EQ(listed.count(tn_pretokenizer_at(i)->name), 1u) << tn_pretokenizer_at(i)->name;
}

TEST(Pretokenizer, NamesAreUniqueAndUnknownOnesAreNotFound)
{
    for (size_t i = 0; tn_pretokenizer_at(i); i++) {
        const char *name = tn_pretokenizer_at(i)->name;
        EXPECT_EQ(tn_pretokenizer_find(name, strlen(name)), tn_pretokenizer_at(i));
    }
    EXPECT_EQ(tn_pretokenizer_find("llama-bp", 8), nullptr);
    EXPECT_EQ(tn_pretokenizer_find("", 0), nullptr);
}

} // namespace
