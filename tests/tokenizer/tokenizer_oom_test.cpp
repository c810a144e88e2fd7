// Each allocation of building and using a tokenizer may fail: a status, no crash, and under AddressSanitizer no leak.
#include "support/fail_alloc.hpp"
#include "tokenizer/key_file.hpp"
#include "tokenizer/tokenizer_support.hpp"

#include <functional>

using namespace tokenizer_support;
using namespace tn_test;

namespace
{

KeyFile bpe_file()
{
    std::vector<std::string> tokens = byte_vocab().tokens;
    tokens.insert(tokens.end(), {"ab", "<u>", "<e>"});
    std::vector<int32_t> kinds(257, TN_TOKEN_NORMAL);
    kinds.insert(kinds.end(), {TN_TOKEN_USER_DEFINED, TN_TOKEN_CONTROL});
    KeyFile f;
    f.str("tokenizer.ggml.model", "gpt2").strs("tokenizer.ggml.tokens", tokens).strs("tokenizer.ggml.merges", {"a b"});
    return f.i32s("tokenizer.ggml.token_type", kinds).str("tokenizer.ggml.pre", "falcon");
}

KeyFile spm_file()
{
    KeyFile f;
    f.str("tokenizer.ggml.model", "llama").strs("tokenizer.ggml.tokens", {"<unk>", "<s>", "<e>", "<u>", "\u2581", "a", "b", "ab", "ba"});
    f.i32s("tokenizer.ggml.token_type", {TN_TOKEN_UNKNOWN, TN_TOKEN_CONTROL, TN_TOKEN_CONTROL, TN_TOKEN_USER_DEFINED, 1, 1, 1, 1, 5});
    return f.f32s("tokenizer.ggml.scores", {0, 0, 0, 0, -1, -2, -3, -4, -5});
}

// Runs `work` with the 1st, 2nd, ... allocation failing until none is left to fail.
void fail_each(const std::function<tn_status()> &work, long n_at_least)
{
    for (FailMode mode : {FailMode::once, FailMode::forever}) {
        for (long nth = 1;; ++nth) {
            ASSERT_LT(nth, 1000) << "no end";
            tn_status status;
            long failed;
            {
                const FailAlloc fail(nth, mode);
                status = work();
                failed = fail.failed();
            }
            if (failed == 0) {
                EXPECT_EQ(status, TN_OK) << tn_error_last()->message;
                EXPECT_GE(nth, n_at_least);
                break;
            }
            ASSERT_EQ(status, TN_OUT_OF_MEMORY) << "allocation " << nth;
        }
    }
}

class TokenizerOutOfMemory : public testing::TestWithParam<KeyFile (*)()>
{
  protected:
    TokenizerOutOfMemory() : bytes_(GetParam()().file())
    {
        EXPECT_EQ(tn_gguf_parse(reinterpret_cast<const uint8_t *>(bytes_.data()), bytes_.size(), "test.gguf", nullptr, &gguf_), TN_OK);
    }
    ~TokenizerOutOfMemory() override { tn_gguf_destroy(gguf_); }
    std::string bytes_;
    tn_gguf *gguf_ = nullptr;
};

TEST_P(TokenizerOutOfMemory, BuildingGivesAStatus)
{
    fail_each(
        [&] {
            const tn_tokenizer_gguf_params params{};
            tn_tokenizer *t = nullptr;
            tn_status status = tn_tokenizer_create_gguf(gguf_, &params, &t);
            EXPECT_EQ(status == TN_OK, t != nullptr);
            tn_tokenizer_destroy(t);
            return status;
        },
        12);
}

TEST_P(TokenizerOutOfMemory, EncodingGivesAStatus)
{
    const tn_tokenizer_gguf_params params{};
    tn_tokenizer *t = nullptr;
    ASSERT_EQ(tn_tokenizer_create_gguf(gguf_, &params, &t), TN_OK);
    std::string text = "ab<u>abc ba";
    while (text.size() < 3000) text += text + std::to_string(text.size());
    fail_each(
        [&] {
            size_t n = 0;
            tn_status status = tn_tokenizer_encode(t, text.data(), text.size(), 3, nullptr, 0, &n);
            EXPECT_EQ(status == TN_OK, n > 0);
            return status;
        },
        5);
    tn_tokenizer_destroy(t);
}

INSTANTIATE_TEST_SUITE_P(Kinds, TokenizerOutOfMemory, testing::Values(bpe_file, spm_file),
                         [](const auto &test) { return std::string(test.index == 0 ? "bpe" : "spm"); });

} // namespace
