// Whole vocabularies against the ids that other implementations give.
#include "tokenizer/tokenizer_support.hpp"

#include <jansson.h>
#include <ternion/model.h>

using namespace tokenizer_support;

namespace
{

// All cases of llama.cpp with the ids in the file at `out_path`, and back.
void check_cases(const tn_tokenizer *t, const std::string &out_path)
{
    auto texts = split(read_file(own_data("vocab-cases.inp")), "\n__ggml_vocab_test__\n");
    auto lines = split(read_file(out_path), "\n");
    ASSERT_EQ(texts.size(), 47u); // the last one, behind the last separator, is empty
    ASSERT_EQ(lines.size(), texts.size());
    for (size_t i = 0; i < texts.size(); i++) {
        Ids expected;
        std::istringstream numbers(lines[i]);
        for (int32_t id; numbers >> id;) expected.push_back(id);
        EXPECT_EQ(encode(t, texts[i]), expected) << "case " << i << ": " << testing::PrintToString(texts[i]);
        EXPECT_EQ(decode_text(t, expected), texts[i]);
    }
}

struct VocabFile {
    const char *name; // as in ggml-vocab-NAME.gguf
    const char *pre;
    int32_t n_vocab, bos, eos;
    bool adds_bos;
    bool ids_are_here; // else they are read beside the vocabulary
};

void PrintTo(const VocabFile &file, std::ostream *out) { *out << file.name; }

class VocabFileCases : public testing::TestWithParam<VocabFile>
{
};

TEST_P(VocabFileCases, GivesTheIdsOfAll47Cases)
{
    const VocabFile &file = GetParam();
    std::string path = shared_data(std::string("llama.cpp-vocab/ggml-vocab-") + file.name + ".gguf");
    if (!exists(path)) GTEST_SKIP() << path << " is absent";
    tn_model_params params = TN_MODEL_PARAMS_INIT;
    params.load = TN_MODEL_LOAD_TOKENIZER;
    params.log.write = [](void *, tn_log_level, const char *) {};
    tn_model *model = nullptr;
    ASSERT_EQ(tn_model_open(path.c_str(), &params, &model), TN_OK) << tn_error_last()->message;
    std::unique_ptr<tn_model, void (*)(tn_model *)> owner(model, tn_model_close);
    const tn_tokenizer *t = tn_model_tokenizer(model);
    ASSERT_NE(t, nullptr);
    EXPECT_EQ(tn_tokenizer_n_vocab(t), file.n_vocab);
    EXPECT_STREQ(tn_tokenizer_pre(t), file.pre);
    EXPECT_EQ(tn_tokenizer_bos(t), file.bos);
    EXPECT_EQ(tn_tokenizer_eos(t), file.eos);
    EXPECT_TRUE(tn_tokenizer_is_eog(t, file.eos));
    EXPECT_EQ(tn_tokenizer_adds_bos(t), file.adds_bos);
    check_cases(t, file.ids_are_here ? own_data(std::string(file.name) + ".out") : path + ".out");
}

INSTANTIATE_TEST_SUITE_P(LlamaCpp, VocabFileCases,
                         testing::Values(VocabFile{"gpt-2", "gpt-2", 50257, 50256, 50256, false, true},
                                         VocabFile{"falcon", "falcon", 65024, 11, 11, false, true},
                                         VocabFile{"phi-3", "spm", 32064, 1, 32000, true, true},
                                         VocabFile{"llama-spm", "spm", 32000, 1, 2, true, false}),
                         [](const auto &test) {
                             std::string name = test.param.name;
                             name.erase(std::remove(name.begin(), name.end(), '-'), name.end());
                             return name;
                         });

TEST(TokenizerCases, LlamaBpeGivesTheIdsOfAll47Cases)
{
    std::string path = shared_data("tiktoken/llama3.tiktoken");
    if (!exists(path)) GTEST_SKIP() << path << " is absent";
    Tokenizer t = tiktoken_vocab(path).make();
    check_cases(t.get(), own_data("llama-bpe.out"));
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
