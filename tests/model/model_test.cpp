// Opening models: what the public API tells of the default model and of vocabulary-only files.
#include "support/rewrite_model.hpp"
#include "support/run_model.hpp"

#include <cmath>

using namespace tn_test;

TEST(Model, TheDefaultModelIsWhatItsCardSays)
{
    tn_model *model = nullptr;
    ASSERT_EQ(tn_model_open(default_model().c_str(), nullptr, &model), TN_OK) << tn_error_last()->message;
    tn_model_info info;
    tn_model_get_info(model, &info);
    EXPECT_STREQ(info.architecture, "bitnet-b1.58");
    EXPECT_STREQ(info.type, "I2_S");
    EXPECT_STREQ(info.activation, "relu2");
    EXPECT_EQ(info.n_layers, 6u);
    EXPECT_EQ(info.n_embd, 256u);
    EXPECT_EQ(info.n_ff, 768u);
    EXPECT_EQ(info.n_heads, 4u);
    EXPECT_EQ(info.n_kv_heads, 2u);
    EXPECT_EQ(info.head_dim, 64u);
    EXPECT_EQ(info.n_vocab, 4096u);
    EXPECT_EQ(info.n_ctx_train, 512u);
    EXPECT_EQ(info.rope_theta, 10000.0f);
    EXPECT_EQ(info.norm_eps, 1e-5f);
    EXPECT_TRUE(info.head_tied);
    EXPECT_NEAR(static_cast<double>(info.n_params), 5.78e6, 0.01e6);
    ASSERT_NE(tn_model_tokenizer(model), nullptr);
    EXPECT_EQ(tn_tokenizer_n_vocab(tn_model_tokenizer(model)), 4096);
    EXPECT_EQ(tn_tokenizer_bos(tn_model_tokenizer(model)), 4094);

    EXPECT_EQ(tn_model_tensor_count(model), 68u);
    tn_tensor_info tensor;
    ASSERT_EQ(tn_model_tensor(model, 0, &tensor), TN_OK);
    EXPECT_STREQ(tensor.name, "token_embd.weight");
    EXPECT_STREQ(tensor.type, "F16");
    EXPECT_EQ(tensor.dims[0], 256u);
    EXPECT_EQ(tensor.dims[1], 4096u);
    EXPECT_EQ(tensor.size_bytes, 2097152u);
    EXPECT_EQ(tn_model_tensor(model, 68, &tensor), TN_INVALID_ARGUMENT);

    std::map<std::string, std::string> metadata;
    for (size_t i = 0; i < tn_model_metadata_count(model); i++) {
        const char *key, *type;
        char value[300];
        ASSERT_EQ(tn_model_metadata(model, i, &key, &type, value, sizeof value), TN_OK);
        metadata[key] = std::string(type) + " " + value;
    }
    EXPECT_EQ(metadata["bitnet-b1.58.block_count"], "u32 6");
    EXPECT_EQ(metadata["tokenizer.ggml.pre"], "string llama-bpe");
    EXPECT_EQ(metadata["tokenizer.ggml.tokens"].substr(0, 15), "[string] [\"!\", ");
    EXPECT_NE(metadata["tokenizer.ggml.tokens"].find("4096 in all"), std::string::npos);
    tn_model_close(model);
}

TEST(Model, MetadataTextIsCutAndEscaped)
{
    model_changes changes;
    changes.dropped_keys = {"general.name"};
    changes.more_keys = [](tn_gguf_writer *writer) { ASSERT_EQ(tn_gguf_writer_str(writer, "general.name", "a\x1b[31m\n\\b"), TN_OK); };
    const std::string path = std::string(TN_BINARY_DIR) + "/model_escape.gguf";
    ASSERT_NO_FATAL_FAILURE(rewrite_model(default_model(), path, changes));
    tn_model_params params = TN_MODEL_PARAMS_INIT;
    params.load = TN_MODEL_LOAD_METADATA;
    tn_model *model = nullptr;
    ASSERT_EQ(tn_model_open(path.c_str(), &params, &model), TN_OK);
    EXPECT_EQ(tn_model_tokenizer(model), nullptr);
    const char *key, *type;
    char value[64], small[8];
    for (size_t i = 0; i < tn_model_metadata_count(model); i++) {
        ASSERT_EQ(tn_model_metadata(model, i, &key, &type, value, sizeof value), TN_OK);
        if (std::string(key) == "general.name") {
            EXPECT_EQ(std::string(value).substr(0, 11), "a\\x1b[31m\\n");
            EXPECT_EQ(std::string(value).find('\x1b'), std::string::npos);
            ASSERT_EQ(tn_model_metadata(model, i, &key, &type, small, sizeof small), TN_OK);
            EXPECT_LT(strlen(small), sizeof small);
        }
    }
    EXPECT_EQ(tn_model_metadata(model, 9999, &key, &type, value, sizeof value), TN_INVALID_ARGUMENT);
    tn_model_close(model);
}

TEST(Model, AVocabularyOnlyFileOpensForItsTokenizerAndIsRefusedAsAModel)
{
    const std::string path = shared_data("llama.cpp-vocab/ggml-vocab-gpt-2.gguf");
    if (!exists(path)) GTEST_SKIP() << "no vocabulary at " << path << ": set TN_TEST_DATA";
    tn_model *model = nullptr;
    tn_model_params params = TN_MODEL_PARAMS_INIT;
    params.load = TN_MODEL_LOAD_TOKENIZER;
    ASSERT_EQ(tn_model_open(path.c_str(), &params, &model), TN_OK) << tn_error_last()->message;
    EXPECT_EQ(tn_tokenizer_n_vocab(tn_model_tokenizer(model)), 50257);
    tn_model_close(model);
    EXPECT_EQ(tn_model_open(path.c_str(), nullptr, &model), TN_UNSUPPORTED);
    EXPECT_EQ(model, nullptr);
}

TEST(Model, AMissingFileSaysSo)
{
    tn_model *model = nullptr;
    EXPECT_EQ(tn_model_open("/nonexistent/model.gguf", nullptr, &model), TN_NOT_FOUND);
    EXPECT_NE(std::string(tn_error_last()->message).find("/nonexistent/model.gguf"), std::string::npos);
}

TEST(Model, AParameterStructOfAnotherSizeIsRefused)
{
    tn_model_params params = TN_MODEL_PARAMS_INIT;
    params.struct_size = 4;
    tn_model *model = nullptr;
    EXPECT_EQ(tn_model_open(default_model().c_str(), &params, &model), TN_INVALID_ARGUMENT);
}
