// Whole vocabularies against the ids that other implementations give.
#include "tokenizer/tokenizer_support.hpp"

#include <jansson.h>

using namespace tokenizer_support;

namespace
{

void check_cases(const tn_tokenizer *t, const std::string &out_name)
{
    auto texts = split(read_file(own_data("vocab-cases.inp")), "\n__ggml_vocab_test__\n");
    auto lines = split(read_file(own_data(out_name)), "\n");
    ASSERT_EQ(texts.size(), 47u); // the last one, behind the last separator, is empty
    ASSERT_EQ(lines.size(), texts.size());
    for (size_t i = 0; i < texts.size(); i++) {
        Ids expected;
        std::istringstream numbers(lines[i]);
        for (int32_t id; numbers >> id;) expected.push_back(id);
        EXPECT_EQ(encode(t, texts[i]), expected) << "case " << i << ": " << testing::PrintToString(texts[i]);
        EXPECT_EQ(decode(t, expected), texts[i]);
    }
}

std::string base64(const std::string &text)
{
    const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    uint32_t bits = 0;
    int n_bits = 0;
    for (char c : text) {
        size_t digit = digits.find(c);
        if (digit == std::string::npos) break;
        bits = bits << 6 | static_cast<uint32_t>(digit);
        n_bits += 6;
        if (n_bits >= 8) out.push_back(static_cast<char>(bits >> (n_bits -= 8)));
    }
    return out;
}

TEST(TokenizerCases, Gpt2GivesTheIdsOfAll47Cases)
{
    std::string path = shared_data("llama.cpp-vocab/ggml-vocab-gpt-2.gguf");
    if (!exists(path)) GTEST_SKIP() << path << " is absent";
    tn_gguf *gguf = nullptr;
    tn_tokenizer *t = nullptr;
    ASSERT_EQ(tn_gguf_open(path.c_str(), nullptr, &gguf), TN_OK) << tn_error_last()->message;
    tn_status status = tn_tokenizer_create_gguf(gguf, "gpt2", nullptr, &t);
    tn_gguf_destroy(gguf); // the tokenizer keeps nothing of it
    ASSERT_EQ(status, TN_OK) << tn_error_last()->message;
    Tokenizer owner = owned(t);
    EXPECT_EQ(tn_tokenizer_n_vocab(t), 50257);
    EXPECT_EQ(tn_tokenizer_eos(t), 50256);
    EXPECT_TRUE(tn_tokenizer_is_eog(t, 50256));
    EXPECT_FALSE(tn_tokenizer_adds_bos(t));
    check_cases(t, "gpt-2.out");
}

TEST(TokenizerCases, LlamaBpeGivesTheIdsOfAll47Cases)
{
    std::string path = shared_data("tiktoken/llama3.tiktoken");
    if (!exists(path)) GTEST_SKIP() << path << " is absent";
    Vocab v;
    for (const auto &line : split(read_file(path), "\n")) {
        if (line.empty()) continue;
        ASSERT_EQ(std::stoul(line.substr(line.find(' ') + 1)), v.tokens.size());
        v.tokens.push_back(to_alphabet(base64(line)));
    }
    ASSERT_EQ(v.tokens.size(), 128000u);
    v.ranks_by_id = true;
    v.pre = "llama-bpe";
    v.bos = v.add("<|begin_of_text|>", TN_TOKEN_CONTROL);
    Tokenizer t = v.make();
    check_cases(t.get(), "llama-bpe.out");
    EXPECT_EQ(encode(t.get(), "<|begin_of_text|>Hello", TN_ENCODE_PARSE_SPECIAL), (Ids{128000, 9906}));
}

TEST(TokenizerCases, TheDefaultModelGivesTheIdsOfTheTokenizersPackage)
{
    Tokenizer t = story_vocab().make();
    EXPECT_EQ(tn_tokenizer_n_vocab(t.get()), 4096);
    json_error_t error;
    json_t *cases = json_load_file(own_data("story_cases.json").c_str(), JSON_ALLOW_NUL, &error);
    ASSERT_NE(cases, nullptr) << error.text;
    size_t i, k, n_cases = json_array_size(cases);
    json_t *one, *id;
    EXPECT_GE(n_cases, 200u);
    json_array_foreach(cases, i, one)
    {
        json_t *json_text = json_object_get(one, "text");
        std::string text(json_string_value(json_text), json_string_length(json_text));
        Ids expected;
        json_array_foreach(json_object_get(one, "ids"), k, id) expected.push_back(static_cast<int32_t>(json_integer_value(id)));
        EXPECT_EQ(encode(t.get(), text, TN_ENCODE_PARSE_SPECIAL), expected) << testing::PrintToString(text);
        bool has_specials = json_is_true(json_object_get(one, "special"));
        EXPECT_EQ(encode(t.get(), text) == expected, !has_specials || text == "<|end_of_text|") << testing::PrintToString(text);
        EXPECT_EQ(decode(t.get(), expected, true), text);
    }
    json_decref(cases);
}

} // namespace
