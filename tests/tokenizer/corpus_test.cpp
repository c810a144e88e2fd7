// Fifty megabytes of stories: to tokens and back, with every vocabulary at hand, and cut into words by every family.
#include "tokenizer/pcre_oracle.hpp"
#include "tokenizer/tokenizer_support.hpp"

#include <cstring>
#include <ternion/model.h>

using namespace tokenizer_support;

namespace
{

const size_t n_bytes_wanted = 50000000;

const std::string &stories()
{
    static const std::string text = [] {
        std::string part = unpacked("corpus/train.txt.xz"), all;
        while (!part.empty() && all.size() < n_bytes_wanted) all.append(part, 0, n_bytes_wanted - all.size());
        return all;
    }();
    return text;
}

void check_round_trip(const tn_tokenizer *t)
{
    const std::string &text = stories();
    ASSERT_EQ(text.size(), n_bytes_wanted);
    std::vector<int32_t> tokens(text.size() + 16);
    size_t n = 0, len = 0;
    ASSERT_EQ(tn_tokenizer_encode(t, text.data(), text.size(), 0, tokens.data(), tokens.size(), &n), TN_OK);
    EXPECT_GT(n, text.size() / 8);
    EXPECT_LT(n, text.size() / 2);
    std::string back(text.size(), '\0');
    ASSERT_EQ(tn_tokenizer_decode(t, tokens.data(), n, false, back.data(), back.size(), &len), TN_OK);
    ASSERT_EQ(len, text.size());
    EXPECT_TRUE(back == text);
}

class CorpusRoundTrip : public testing::TestWithParam<const char *>
{
};

TEST_P(CorpusRoundTrip, GivesIdenticalBytes)
{
    std::string path = shared_data(std::string("llama.cpp-vocab/ggml-vocab-") + GetParam() + ".gguf");
    if (!exists(path)) GTEST_SKIP() << path << " is absent";
    if (stories().empty()) GTEST_SKIP() << "corpus/train.txt.xz is not in the folder that TN_TEST_DATA names, or xz is missing";
    tn_model_params params = TN_MODEL_PARAMS_INIT;
    params.load = TN_MODEL_LOAD_TOKENIZER;
    tn_model *model = nullptr;
    ASSERT_EQ(tn_model_open(path.c_str(), &params, &model), TN_OK) << tn_error_last()->message;
    check_round_trip(tn_model_tokenizer(model));
    tn_model_close(model);
}

INSTANTIATE_TEST_SUITE_P(LlamaCpp, CorpusRoundTrip, testing::Values("gpt-2", "falcon", "phi-3", "llama-spm"), [](const auto &test) {
    std::string name = test.param;
    name.erase(std::remove(name.begin(), name.end(), '-'), name.end());
    return name;
});

TEST(CorpusRoundTripOf, LlamaBpeGivesIdenticalBytes)
{
    std::string path = shared_data("tiktoken/llama3.tiktoken");
    if (!exists(path)) GTEST_SKIP() << path << " is absent";
    if (stories().empty()) GTEST_SKIP() << "corpus/train.txt.xz is not in the folder that TN_TEST_DATA names, or xz is missing";
    check_round_trip(tiktoken_vocab(path).make().get());
}

TEST(CorpusRoundTripOf, TheDefaultModelGivesIdenticalBytes)
{
    if (stories().empty()) GTEST_SKIP() << "corpus/train.txt.xz is not in the folder that TN_TEST_DATA names, or xz is missing";
    check_round_trip(story_vocab().make().get());
}

class CorpusWords : public testing::TestWithParam<const char *>
{
};

TEST_P(CorpusWords, AreThoseOfTheExpression)
{
    if (stories().empty()) GTEST_SKIP() << "corpus/train.txt.xz is not in the folder that TN_TEST_DATA names, or xz is missing";
    const tn_pretokenizer *pre = tn_pretokenizer_find(GetParam(), strlen(GetParam()));
    PreOracle oracle(GetParam());
    for (size_t at = 0, end; at < stories().size(); at = end) {
        end = stories().find('\n', std::min(at + (1 << 20), stories().size() - 1));
        end = end == std::string::npos ? stories().size() : end + 1;
        std::string text = mended(stories().substr(at, end - at)); // the cut at 50 MB may have left half a character
        ASSERT_TRUE(scan(pre, text) == oracle.pieces(text)) << "in the megabyte at " << at;
    }
}

INSTANTIATE_TEST_SUITE_P(Families, CorpusWords, testing::Values("llama-bpe", "qwen2", "gpt-2", "falcon", "falcon_e", "default"),
                         [](const auto &test) {
                             std::string name = test.param;
                             name.erase(std::remove(name.begin(), name.end(), '-'), name.end());
                             return name;
                         });

} // namespace
