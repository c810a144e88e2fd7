// docs/MODELS.md, row by row: small files of the layouts that people have open and answer, or are refused with the reason.
#include "support/gguf_builder.hpp"
#include "support/rewrite_model.hpp"
#include "support/run_model.hpp"

using namespace tn_test;

namespace
{

std::string temp(const std::string &name) { return std::string(TN_BINARY_DIR) + "/compat_" + name + ".gguf"; }

// A kind of file that runs: the default model's values in another family's clothes.
struct family {
    const char *name, *architecture;
    tn_dtype ternary, embedding;
    bool sub_norms, tied;
    const char *pre; // nullptr: the file does not say
};

const family families[] = {
    {"bitnet_2b_i2_s", "bitnet-b1.58", TN_DTYPE_I2_S, TN_DTYPE_F16, true, true, nullptr},
    {"bitnet_2b_first_file", "bitnet-25", TN_DTYPE_I2_S, TN_DTYPE_F16, true, true, "llama-bpe"},
    {"bitnet_2b_q6_k", "bitnet-b1.58", TN_DTYPE_I2_S, TN_DTYPE_Q6_K, true, true, nullptr},
    {"bitnet_2b_iq2_bn", "bitnet-b1.58", TN_DTYPE_IQ2_BN, TN_DTYPE_Q6_K, true, true, "llama-bpe"},
    {"bitnet_2b_iq1_bn", "bitnet-25", TN_DTYPE_IQ1_BN, TN_DTYPE_Q6_K, true, true, "llama-bpe"},
    {"falcon3_i2_s", "llama", TN_DTYPE_I2_S, TN_DTYPE_F16, false, false, "falcon3"},
    {"falcon_e_i2_s", "llama", TN_DTYPE_I2_S, TN_DTYPE_F16, false, false, "falcon_e"},
    {"llama3_8b_tq1_0", "llama", TN_DTYPE_TQ1_0, TN_DTYPE_F16, false, false, "llama-bpe"},
    {"llama3_8b_tq2_0_quantised", "llama", TN_DTYPE_TQ2_0, TN_DTYPE_Q4_K, false, false, "smaug-bpe"},
    {"one_bit_llm_tq2_0", "bitnet", TN_DTYPE_TQ2_0, TN_DTYPE_Q6_K, true, true, "llama-bpe"},
    {"one_bit_llm_iq2_bn", "bitnet", TN_DTYPE_IQ2_BN, TN_DTYPE_F16, true, true, "llama-bpe"},
};

void write_family(const family &f, const std::string &path)
{
    model_changes changes;
    changes.architecture = f.architecture;
    changes.dropped_keys = {"bitnet-b1.58.hidden_activation", "tokenizer.ggml.pre"};
    changes.more_keys = [&](tn_gguf_writer *writer) {
        if (f.pre) {
            ASSERT_EQ(tn_gguf_writer_str(writer, "tokenizer.ggml.pre", f.pre), TN_OK);
        }
    };
    changes.tensors = [&](std::vector<model_tensor> &tensors) {
        std::vector<model_tensor> kept;
        for (auto &t : tensors) {
            if (!f.sub_norms && t.name.find("sub_norm") != std::string::npos) continue;
            if (t.name == "token_embd.weight") {
                t = dense_tensor(t, f.embedding);
                if (!f.tied) {
                    kept.push_back(t);
                    kept.back().name = "output.weight";
                }
            } else if (is_ternary(t)) {
                float scale;
                const auto codes = ternary_codes(t, &scale);
                t = ternary_tensor(t, f.ternary, codes, tn_f16_to_f32(tn_f32_to_f16(scale)));
            }
            kept.push_back(t);
        }
        tensors = std::move(kept);
    };
    rewrite_model(default_model(), path, changes);
}

class CompatRuns : public testing::TestWithParam<family>
{
};

TEST_P(CompatRuns, WithItsOwnTokenizerAndTheSameBitsOnTwoDevices)
{
    const std::string path = temp(GetParam().name);
    ASSERT_NO_FATAL_FAILURE(write_family(GetParam(), path));
    tn_model *model = nullptr;
    ASSERT_EQ(tn_model_open(path.c_str(), nullptr, &model), TN_OK) << tn_error_last()->message;
    tn_model_info info;
    tn_model_get_info(model, &info);
    EXPECT_EQ(info.head_tied, GetParam().tied);
    const bool relu2 = std::string(GetParam().architecture) != "bitnet" && std::string(GetParam().architecture) != "llama";
    EXPECT_STREQ(info.activation, relu2 ? "relu2" : "silu");
    const tn_tokenizer *tokenizer = tn_model_tokenizer(model);
    ASSERT_NE(tokenizer, nullptr);
    EXPECT_STREQ(tn_tokenizer_pre(tokenizer), GetParam().pre ? GetParam().pre : "llama-bpe");
    const std::string text = "Once upon a time there were 12345 kings.";
    std::vector<int32_t> ids(text.size());
    size_t n = 0;
    ASSERT_EQ(tn_tokenizer_encode(tokenizer, text.data(), text.size(), 0, ids.data(), ids.size(), &n), TN_OK);
    ids.resize(n);
    tn_model_close(model);
    run_result whole, split;
    ASSERT_NO_FATAL_FAILURE(run_model(path, ids, {}, &whole));
    run_options options;
    options.isa = "scalar";
    options.cpu_devices = 2;
    options.threads = 2;
    options.devices = "cpu0,cpu1";
    ASSERT_NO_FATAL_FAILURE(run_model(path, ids, options, &split));
    EXPECT_EQ(whole.n_vocab, 4096u);
    EXPECT_EQ(whole.digest(), split.digest());
}

INSTANTIATE_TEST_SUITE_P(Families, CompatRuns, testing::ValuesIn(families),
                         [](const testing::TestParamInfo<family> &row) { return std::string(row.param.name); });

// The keys of a model with one layer of width 256, without a tokenizer.
GgufBuilder keys(const std::string &arch)
{
    GgufBuilder b;
    b.kv("general.architecture", arch);
    for (const auto &[key, value] : std::vector<std::pair<std::string, uint32_t>>{{"block_count", 1},
                                                                                  {"embedding_length", 256},
                                                                                  {"feed_forward_length", 256},
                                                                                  {"context_length", 64},
                                                                                  {"attention.head_count", 2},
                                                                                  {"attention.head_count_kv", 2}})
        b.kv<uint32_t>(arch + "." + key, value);
    b.kv<float>(arch + ".attention.layer_norm_rms_epsilon", 1e-5f);
    return b;
}

// Embedding, norms, and linear layers of one type: `matrix_bytes` for 256 x 256.
void add_tensors(GgufBuilder &b, uint32_t type, const Bytes &matrix, bool sub_norms)
{
    const std::vector<float> ones(256, 1.0f);
    b.tensor("token_embd.weight", {256, 32}, 1, std::vector<uint16_t>(256 * 32, 0x3800));
    b.tensor("output_norm.weight", {256}, 0, ones);
    for (const char *name : {"attn_norm", "ffn_norm"}) b.tensor(std::string("blk.0.") + name + ".weight", {256}, 0, ones);
    if (sub_norms)
        for (const char *name : {"attn_sub_norm", "ffn_sub_norm"}) b.tensor(std::string("blk.0.") + name + ".weight", {256}, 0, ones);
    for (const char *name : {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"})
        b.tensor(std::string("blk.0.") + name + ".weight", {256, 256}, type, matrix);
}

// Opens as a model, as `show` opens it, and tells the message of the first.
std::string refusal(const Bytes &bytes, const std::string &name, tn_status expected)
{
    const std::string path = temp(name);
    write_file(path, bytes);
    tn_model *model = nullptr;
    tn_model_params params = TN_MODEL_PARAMS_INIT;
    params.load = TN_MODEL_LOAD_METADATA;
    EXPECT_EQ(tn_model_open(path.c_str(), &params, &model), TN_OK) << "show cannot read it: " << tn_error_last()->message;
    tn_model_close(model);
    EXPECT_EQ(tn_model_open(path.c_str(), nullptr, &model), expected) << tn_error_last()->message;
    EXPECT_EQ(model, nullptr);
    const std::string message = tn_error_last()->message;
    EXPECT_EQ(message.find('\n'), std::string::npos);
    return message;
}

void expect_refused(const GgufBuilder &builder, const std::string &name, const std::vector<std::string> &words)
{
    const std::string message = refusal(builder.build(), name, TN_UNSUPPORTED);
    for (const auto &word : words) EXPECT_NE(message.find(word), std::string::npos) << word << " is not in: " << message;
}

} // namespace

TEST(CompatRefuses, BonsaiByItsArchitecture)
{
    // id, bytes of a 256 x 256 matrix: Q1_0, Q2_0 in groups of 64 and of 128, PQ2_0, PTQ1_0, TQ1_0.
    const std::pair<uint32_t, size_t> types[] = {{41, 512 * 18},  {42, 1024 * 18}, {42, 512 * 34},
                                                 {142, 512 * 34}, {143, 512 * 28}, {34, 256 * 54}};
    for (const auto &[type, bytes] : types) {
        GgufBuilder b = keys("qwen3");
        add_tensors(b, type, Bytes(bytes), false);
        expect_refused(b, "bonsai", {"architecture 'qwen3'", "llama"});
    }
}

TEST(CompatRefuses, HadamardTransformedWeightsEvenWhereTheArchitectureIsKnown)
{
    GgufBuilder b = keys("bitnet-b1.58");
    b.kv<uint32_t>("prism.hadamard.version", 1);
    add_tensors(b, 35, Bytes(256 * 66, 0x55), true);
    expect_refused(b, "hadamard", {"prism.hadamard.version", "Hadamard"});
    GgufBuilder bonsai_27b = keys("qwen35");
    add_tensors(bonsai_27b, 142, Bytes(512 * 34), false);
    expect_refused(bonsai_27b, "bonsai_27b", {"architecture 'qwen35'"});
}

TEST(CompatRefuses, TypesThatAreNotTernaryByName)
{
    // What llama.cpp's quantiser makes of a 1bitLLM 3B when asked for TQ: Q4_0, or F16 where rows are no multiple of 32.
    GgufBuilder q4_0 = keys("bitnet");
    add_tensors(q4_0, 2, Bytes(2048 * 18), true);
    expect_refused(q4_0, "fallback_q4_0", {"blk.0.attn_q.weight", "Q4_0", "not a ternary type"});
    GgufBuilder f16 = keys("bitnet");
    add_tensors(f16, 1, Bytes(65536 * 2), true);
    expect_refused(f16, "fallback_f16", {"blk.0.attn_q.weight", "F16"});
    GgufBuilder vlut = keys("llama"); // I2_V_8 of vlut.cpp: an id that nobody else uses
    add_tensors(vlut, 43, Bytes(65536 / 4), false);
    expect_refused(vlut, "vlut", {"blk.0.attn_q.weight", "I2_V_8"});
}

TEST(CompatRefuses, AMatrixWithSeveralMagnitudes)
{
    GgufBuilder b = keys("llama"); // TriLM as TQ2_0
    Bytes matrix;
    for (int block = 0; block < 256; block++) {
        matrix.insert(matrix.end(), 64, 0x56);
        put<uint16_t>(matrix, block < 128 ? 0x3800 : 0x3a00);
    }
    add_tensors(b, 35, matrix, false);
    expect_refused(b, "trilm", {"blk.0.attn_q.weight", "different scales"});
}

TEST(CompatRefuses, ExtraTensorsOfOtherGraphs)
{
    GgufBuilder b = keys("llama"); // a llama file with Qwen's norms of the heads
    Bytes matrix;
    for (int block = 0; block < 256; block++) {
        matrix.insert(matrix.end(), 64, 0x56);
        put<uint16_t>(matrix, 0x3800);
    }
    add_tensors(b, 35, matrix, false);
    b.tensor("blk.0.attn_q_norm.weight", {128}, 0, std::vector<float>(128, 1.0f));
    expect_refused(b, "extra", {"blk.0.attn_q_norm.weight"});
}

TEST(CompatRefuses, LookupTableLayoutsUntilTheirParametersAreNamed)
{
    GgufBuilder b = keys("llama"); // TL1
    add_tensors(b, 38, Bytes(256 * 256 / 4 + 32), false);
    expect_refused(b, "tl1", {"TL1", "--tl-preset", "Llama3-8B-1.58"});
}
