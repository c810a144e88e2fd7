// Tests of conversion: every value of every type read back and compared with the checkpoint, metadata, file handling.
#include "convert/checkpoint.h"

#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <gtest/gtest.h>
#include <memory>
#include <sys/resource.h>
#include <tuple>

extern "C" {
#include "format/dense.h"
#include "format/safetensors.h"
#include "format/ternary.h"
#include "ternion/convert.h"
}

namespace
{

struct Destroy {
    void operator()(tn_gguf *g) const { tn_gguf_destroy(g); }
    void operator()(tn_safetensors *st) const { tn_safetensors_destroy(st); }
};
using Gguf = std::unique_ptr<tn_gguf, Destroy>;

tn_status convert(const std::string &in, const std::string &out, const char *type = nullptr, const char *embd = nullptr,
                  bool overwrite = false, tn_progress progress = {})
{
    tn_convert_params p = TN_CONVERT_PARAMS_INIT;
    p.input_dir = in.c_str();
    p.output_path = out.c_str();
    p.type = type;
    p.embd = embd;
    p.overwrite = overwrite;
    p.progress = progress;
    return tn_convert(&p);
}

Gguf open_gguf(const std::string &path)
{
    tn_gguf *g = nullptr;
    EXPECT_EQ(TN_OK, tn_gguf_open(path.c_str(), nullptr, &g)) << tn_error_last()->message;
    return Gguf(g);
}

bool message_has(const std::string &text) { return std::string(tn_error_last()->message).find(text) != std::string::npos; }

// GGUF name of a checkpoint's tensor.
std::string gguf_name(const std::string &hf)
{
    static const std::map<std::string, std::string> fixed = {{"model.embed_tokens.weight", "token_embd.weight"},
                                                             {"model.norm.weight", "output_norm.weight"},
                                                             {"lm_head.weight", "output.weight"}};
    static const std::map<std::string, std::string> kinds = {{"input_layernorm", "attn_norm"},
                                                             {"post_attention_layernorm", "ffn_norm"},
                                                             {"self_attn.attn_sub_norm", "attn_sub_norm"},
                                                             {"self_attn.inner_attn_ln", "attn_sub_norm"},
                                                             {"mlp.ffn_sub_norm", "ffn_sub_norm"},
                                                             {"mlp.ffn_layernorm", "ffn_sub_norm"},
                                                             {"self_attn.q_proj", "attn_q"},
                                                             {"self_attn.k_proj", "attn_k"},
                                                             {"self_attn.v_proj", "attn_v"},
                                                             {"self_attn.o_proj", "attn_output"},
                                                             {"mlp.gate_proj", "ffn_gate"},
                                                             {"mlp.up_proj", "ffn_up"},
                                                             {"mlp.down_proj", "ffn_down"}};
    if (fixed.count(hf)) return fixed.at(hf);
    const size_t start = std::strlen("model.layers."), dot = hf.find('.', start), end = hf.rfind(".weight");
    return "blk." + hf.substr(start, dot - start) + "." + kinds.at(hf.substr(dot + 1, end - dot - 1)) + ".weight";
}

void compare_ternary(const tn_gguf_tensor *t, const CheckpointTensor &master)
{
    double sum = 0;
    for (float v : master.values) sum += std::fabs(static_cast<double>(v));
    const float scale = std::max(static_cast<float>(sum / static_cast<double>(master.values.size())), 1e-5f);
    tn_ternary_tensor open;
    ASSERT_EQ(TN_OK, tn_ternary_open(t, &open)) << tn_error_last()->message;
    const bool exact = t->dtype == TN_DTYPE_I2_S || t->dtype == TN_DTYPE_IQ2_BN;
    const float stored = exact ? scale : tn_f16_to_f32(tn_f32_to_f16(scale));
    std::vector<float> scales(open.n_rows);
    tn_ternary_row_scales(&open, scales.data());
    ASSERT_EQ(std::vector<float>(open.n_rows, stored), scales);
    std::vector<int8_t> codes(master.values.size());
    ASSERT_EQ(TN_OK, tn_ternary_read_rows(&open, 0, open.n_rows, codes.data()));
    for (size_t i = 0; i < codes.size(); i++) {
        const float w = master.values[i];
        ASSERT_EQ(2 * std::fabs(static_cast<double>(w)) > static_cast<double>(scale) ? (w > 0 ? 1 : -1) : 0, codes[i]) << i;
    }
}

// Half a step of its block, and a whole one for the few values at the ends of the code range.
void compare_dense(const tn_gguf_tensor *t, const CheckpointTensor &master)
{
    std::vector<float> values(master.values.size());
    tn_dense_to_f32(t->dtype, t->data, values.size(), values.data());
    if (t->dtype == TN_DTYPE_F32 || t->dtype == TN_DTYPE_F16) {
        ASSERT_EQ(master.values, values); // the test's values are exact in half
        return;
    }
    double error = 0, norm = 0;
    for (size_t i = 0; i < values.size(); i++) {
        error += std::pow(static_cast<double>(values[i]) - static_cast<double>(master.values[i]), 2);
        norm += std::pow(static_cast<double>(master.values[i]), 2);
    }
    const char *name = tn_dtype_get(t->dtype)->name; // "Q5_K": its codes have five bits
    ASSERT_LT(std::sqrt(error / norm), name[1] == '4' ? 0.12 : name[1] == '5' ? 0.06 : name[1] == '6' ? 0.03 : 0.01) << name;
}

void compare_all(const tn_gguf *g, const std::map<std::string, CheckpointTensor> &tensors, tn_dtype ternary, tn_dtype embd)
{
    EXPECT_EQ(tensors.size(), tn_gguf_n_tensors(g));
    for (const auto &[hf, master] : tensors) {
        SCOPED_TRACE(hf);
        const tn_gguf_tensor *t = tn_gguf_find_tensor(g, gguf_name(hf).c_str());
        ASSERT_NE(nullptr, t);
        ASSERT_EQ(master.shape.size(), t->n_dims);
        for (size_t i = 0; i < master.shape.size(); i++) ASSERT_EQ(master.shape[i], t->ne[master.shape.size() - 1 - i]);
        if (hf.find("_proj.") != std::string::npos) {
            ASSERT_EQ(ternary, t->dtype);
            compare_ternary(t, master);
        } else {
            ASSERT_EQ(master.shape.size() == 1 ? TN_DTYPE_F32 : embd, t->dtype);
            compare_dense(t, master);
        }
    }
}

struct TypeCase {
    const char *type, *embd;
    tn_dtype ternary, dense;
    uint32_t file_type;
};
const TypeCase CASES[] = {
    {nullptr, nullptr, TN_DTYPE_I2_S, TN_DTYPE_F16, 40},     {"i2_s", "q8_0", TN_DTYPE_I2_S, TN_DTYPE_Q8_0, 40},
    {"tq1_0", "f16", TN_DTYPE_TQ1_0, TN_DTYPE_F16, 36},      {"tq1_0", "q6_k", TN_DTYPE_TQ1_0, TN_DTYPE_Q6_K, 36},
    {"tq2_0", "q8_0", TN_DTYPE_TQ2_0, TN_DTYPE_Q8_0, 37},    {"TQ2_0", "Q6_K", TN_DTYPE_TQ2_0, TN_DTYPE_Q6_K, 37},
    {"iq1_bn", "q5_k", TN_DTYPE_IQ1_BN, TN_DTYPE_Q5_K, 136}, {"iq2_bn", "q4_k", TN_DTYPE_IQ2_BN, TN_DTYPE_Q4_K, 137},
    {"i2_s", "q5_1", TN_DTYPE_I2_S, TN_DTYPE_Q5_1, 40},      {"i2_s", "q5_0", TN_DTYPE_I2_S, TN_DTYPE_Q5_0, 40},
    {"i2_s", "q4_1", TN_DTYPE_I2_S, TN_DTYPE_Q4_1, 40},      {"i2_s", "q4_0", TN_DTYPE_I2_S, TN_DTYPE_Q4_0, 40},
    {"i2_s", "f32", TN_DTYPE_I2_S, TN_DTYPE_F32, 40},        {"i2_s", "bf16", TN_DTYPE_I2_S, TN_DTYPE_BF16, 40},
};

class Types : public testing::TestWithParam<TypeCase>
{
};
INSTANTIATE_TEST_SUITE_P(Convert, Types, testing::ValuesIn(CASES), [](const auto &i) {
    return std::string(tn_dtype_get(i.param.ternary)->name) + "_with_" + tn_dtype_get(i.param.dense)->name +
           (i.param.type ? "" : "_by_default");
});

TEST_P(Types, KeepEveryValueOfTheCheckpoint)
{
    const TypeCase &c = GetParam();
    TempFolder folder;
    const Checkpoint checkpoint;
    checkpoint.write(folder);
    ASSERT_EQ(TN_OK, convert(folder.path(), folder.at("out.gguf"), c.type, c.embd)) << tn_error_last()->message;
    const Gguf g = open_gguf(folder.at("out.gguf"));
    ASSERT_NE(nullptr, g);
    compare_all(g.get(), checkpoint.tensors, c.ternary, c.dense);
    uint32_t file_type = 0;
    EXPECT_EQ(TN_OK, tn_gguf_get_u32(g.get(), "general.file_type", &file_type));
    EXPECT_EQ(c.file_type, file_type);
}

TEST(Convert, KeepsEveryValueOfTheDefaultModel)
{
    const char *data = std::getenv("TN_TEST_DATA");
    const std::string dir = (data ? std::string(data) : std::string(TN_SOURCE_DIR) + "/../shared/data") + "/model";
    if (!std::filesystem::exists(dir + "/model.safetensors")) GTEST_SKIP() << "no checkpoint at " << dir << " (set TN_TEST_DATA)";
    tn_safetensors *raw = nullptr;
    ASSERT_EQ(TN_OK, tn_safetensors_open(dir.c_str(), &raw)) << tn_error_last()->message;
    const std::unique_ptr<tn_safetensors, Destroy> st(raw);
    std::map<std::string, CheckpointTensor> tensors;
    for (size_t i = 0; i < tn_safetensors_count(raw); i++) {
        const tn_safetensor *s = tn_safetensors_at(raw, i);
        CheckpointTensor &t = tensors[s->name];
        t.shape.assign(s->shape, s->shape + s->n_dims);
        t.values.resize(s->n_elements);
        ASSERT_EQ(TN_DTYPE_BF16, s->dtype);
        for (size_t k = 0; k < t.values.size(); k++) {
            const uint32_t bits = static_cast<uint32_t>(s->data[2 * k] | s->data[2 * k + 1] << 8) << 16;
            std::memcpy(&t.values[k], &bits, 4);
        }
    }
    for (const char *type : {"i2_s", "tq1_0", "tq2_0"}) {
        TempFolder folder;
        ASSERT_EQ(TN_OK, convert(dir, folder.at("out.gguf"), type, "q8_0")) << tn_error_last()->message;
        const Gguf g = open_gguf(folder.at("out.gguf"));
        compare_all(g.get(), tensors, type[0] == 'i' ? TN_DTYPE_I2_S : type[2] == '1' ? TN_DTYPE_TQ1_0 : TN_DTYPE_TQ2_0, TN_DTYPE_Q8_0);
    }
}

// ---- metadata ----

std::string get_str(const tn_gguf *g, const char *key)
{
    tn_str s = {"", 0};
    EXPECT_EQ(TN_OK, tn_gguf_get_str(g, key, &s)) << tn_error_last()->message;
    return std::string(s.data, s.len);
}
uint32_t get_u32(const tn_gguf *g, const std::string &key)
{
    uint32_t v = UINT32_MAX;
    EXPECT_EQ(TN_OK, tn_gguf_get_u32(g, key.c_str(), &v)) << tn_error_last()->message;
    return v;
}
bool get_bool(const tn_gguf *g, const char *key)
{
    bool v = false;
    EXPECT_EQ(TN_OK, tn_gguf_get_bool(g, key, &v)) << tn_error_last()->message;
    return v;
}
std::vector<std::string> get_strings(const tn_gguf *g, const char *key)
{
    tn_gguf_array array = {};
    EXPECT_EQ(TN_OK, tn_gguf_get_array(g, key, TN_GGUF_STRING, &array)) << tn_error_last()->message;
    std::vector<std::string> all;
    uint64_t at = 0;
    tn_str s;
    while (tn_gguf_array_next(&array, &at, &s)) all.emplace_back(s.data, s.len);
    return all;
}
std::vector<int32_t> get_ints(const tn_gguf *g, const char *key)
{
    tn_gguf_array array = {};
    EXPECT_EQ(TN_OK, tn_gguf_get_array(g, key, TN_GGUF_I32, &array)) << tn_error_last()->message;
    std::vector<int32_t> all(array.n);
    if (array.n) std::memcpy(all.data(), array.data, array.n * 4);
    return all;
}

// Converts a checkpoint and opens the result.
Gguf converted(const Checkpoint &checkpoint, const TempFolder &folder)
{
    checkpoint.write(folder);
    EXPECT_EQ(TN_OK, convert(folder.path(), folder.at("out.gguf"), nullptr, nullptr, true)) << tn_error_last()->message;
    return open_gguf(folder.at("out.gguf"));
}

TEST(Convert, WritesTheHyperparameters)
{
    TempFolder folder;
    const Gguf g = converted(Checkpoint(), folder);
    EXPECT_EQ("bitnet-b1.58", get_str(g.get(), "general.architecture"));
    EXPECT_EQ("tiny", get_str(g.get(), "general.name"));
    EXPECT_EQ("relu2", get_str(g.get(), "bitnet-b1.58.hidden_activation"));
    const std::map<std::string, uint32_t> expected = {{"vocab_size", 40},
                                                      {"context_length", 640},
                                                      {"embedding_length", 256},
                                                      {"block_count", 2},
                                                      {"feed_forward_length", 512},
                                                      {"attention.head_count", 4},
                                                      {"attention.head_count_kv", 2},
                                                      {"attention.key_length", 128},
                                                      {"attention.value_length", 128},
                                                      {"rope.dimension_count", 128}};
    for (const auto &[key, value] : expected) EXPECT_EQ(value, get_u32(g.get(), "bitnet-b1.58." + key)) << key;
    float f = 0;
    EXPECT_EQ(TN_OK, tn_gguf_get_f32(g.get(), "bitnet-b1.58.attention.layer_norm_rms_epsilon", &f));
    EXPECT_EQ(1e-5f, f);
    EXPECT_EQ(TN_OK, tn_gguf_get_f32(g.get(), "bitnet-b1.58.rope.freq_base", &f));
    EXPECT_EQ(500000.0f, f);
}

TEST(Convert, WritesTensorsInTheOrderOfTheFormat)
{
    TempFolder folder;
    const Gguf g = converted(Checkpoint(), folder);
    std::vector<std::string> expected = {"token_embd.weight"}, names;
    for (const char *blk : {"blk.0.", "blk.1."}) {
        for (const char *kind : {"attn_norm", "ffn_norm", "attn_sub_norm", "ffn_sub_norm", "attn_q", "attn_k", "attn_v", "attn_output",
                                 "ffn_gate", "ffn_up", "ffn_down"}) {
            expected.push_back(std::string(blk) + kind + ".weight");
        }
    }
    expected.push_back("output_norm.weight");
    for (size_t i = 0; i < tn_gguf_n_tensors(g.get()); i++) {
        const tn_str name = tn_gguf_tensor_at(g.get(), i)->name;
        names.emplace_back(name.data, name.len);
    }
    EXPECT_EQ(expected, names);
}

TEST(Convert, WritesTheTokenizer)
{
    TempFolder folder;
    const Gguf g = converted(Checkpoint(), folder);
    EXPECT_EQ("gpt2", get_str(g.get(), "tokenizer.ggml.model"));
    EXPECT_EQ("llama-bpe", get_str(g.get(), "tokenizer.ggml.pre"));
    const std::vector<std::string> tokens = get_strings(g.get(), "tokenizer.ggml.tokens");
    ASSERT_EQ(40u, tokens.size());
    EXPECT_EQ("\u0120", tokens[0]);
    EXPECT_EQ("\u0120a", tokens[4]);
    EXPECT_EQ("t29", tokens[29]);
    EXPECT_EQ("<|bos|>", tokens[30]);
    EXPECT_EQ("<tool>", tokens[32]);
    EXPECT_EQ("[PAD33]", tokens[33]);
    EXPECT_EQ("[PAD39]", tokens[39]);
    std::vector<int32_t> kinds(40, 1);
    kinds[30] = kinds[31] = 3;
    kinds[32] = 4;
    for (size_t i = 33; i < 40; i++) kinds[i] = 5;
    EXPECT_EQ(kinds, get_ints(g.get(), "tokenizer.ggml.token_type"));
    EXPECT_EQ((std::vector<std::string>{"\u0120 a", "b c"}), get_strings(g.get(), "tokenizer.ggml.merges"));
    EXPECT_EQ(30u, get_u32(g.get(), "tokenizer.ggml.bos_token_id"));
    EXPECT_EQ(31u, get_u32(g.get(), "tokenizer.ggml.eos_token_id"));
    EXPECT_TRUE(get_bool(g.get(), "tokenizer.ggml.add_bos_token"));
    EXPECT_FALSE(get_bool(g.get(), "tokenizer.ggml.add_eos_token"));
    EXPECT_EQ(nullptr, tn_gguf_find(g.get(), "tokenizer.chat_template"));
}

TEST(Convert, RecognisesGpt2sPreTokenizer)
{
    Checkpoint c;
    c.model_extra = "";
    c.post_processor = "{\"type\":\"ByteLevel\",\"trim_offsets\":false}";
    c.pre_tokenizer = "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true}";
    TempFolder folder;
    Gguf g = converted(c, folder);
    EXPECT_EQ("gpt-2", get_str(g.get(), "tokenizer.ggml.pre"));
    EXPECT_FALSE(get_bool(g.get(), "tokenizer.ggml.add_bos_token"));
    c.pre_tokenizer = "";
    c.regex = "'s|'t|'re|'ve|'m|'ll|'d| ?\\\\p{L}+| ?\\\\p{N}+| ?[^\\\\s\\\\p{L}\\\\p{N}]+|\\\\s+(?!\\\\S)|\\\\s+";
    g = converted(c, folder);
    EXPECT_EQ("gpt-2", get_str(g.get(), "tokenizer.ggml.pre"));
}

TEST(Convert, TakesBosAndEosFromTheTemplateAndTheTokenizersConfig)
{
    Checkpoint c;
    c.config.erase("bos_token_id");
    c.config.erase("eos_token_id");
    c.post_processor =
        "{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"},{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{"
        "\"id\":"
        "\"<|bos|>\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"SpecialToken\":{\"id\":\"<|eos|>\",\"type_id\":0}}]}]}";
    TempFolder folder;
    Gguf g = converted(c, folder);
    EXPECT_EQ(30u, get_u32(g.get(), "tokenizer.ggml.bos_token_id"));
    EXPECT_EQ(31u, get_u32(g.get(), "tokenizer.ggml.eos_token_id"));
    EXPECT_TRUE(get_bool(g.get(), "tokenizer.ggml.add_bos_token"));
    EXPECT_TRUE(get_bool(g.get(), "tokenizer.ggml.add_eos_token"));
    c.post_processor = "null";
    folder.write("tokenizer_config.json", "{\"bos_token\":{\"content\":\"<|bos|>\"},\"eos_token\":\"<|eos|>\",\"add_bos_token\":true}");
    g = converted(c, folder);
    EXPECT_EQ(30u, get_u32(g.get(), "tokenizer.ggml.bos_token_id"));
    EXPECT_EQ(31u, get_u32(g.get(), "tokenizer.ggml.eos_token_id"));
    EXPECT_TRUE(get_bool(g.get(), "tokenizer.ggml.add_bos_token"));
    std::filesystem::remove(folder.at("tokenizer_config.json"));
    g = converted(c, folder);
    EXPECT_EQ(nullptr, tn_gguf_find(g.get(), "tokenizer.ggml.bos_token_id"));
    EXPECT_FALSE(get_bool(g.get(), "tokenizer.ggml.add_bos_token"));
}

TEST(Convert, KeepsTheChatTemplateWhereverItIs)
{
    const Checkpoint c;
    TempFolder folder;
    folder.write("tokenizer_config.json", "{\"chat_template\":\"{{ one }}\\n\"}");
    EXPECT_EQ("{{ one }}\n", get_str(converted(c, folder).get(), "tokenizer.chat_template"));
    folder.write("tokenizer_config.json",
                 "{\"chat_template\":[{\"name\":\"rag\",\"template\":\"no\"},{\"name\":\"default\",\"template\":\"yes\"}]}");
    EXPECT_EQ("yes", get_str(converted(c, folder).get(), "tokenizer.chat_template"));
    folder.write("chat_template.jinja", "{{ file }}");
    EXPECT_EQ("{{ file }}", get_str(converted(c, folder).get(), "tokenizer.chat_template"));
}

// ---- the same model in other forms ----

std::string output_of(const Checkpoint &c, const std::string &dtype, size_t shards)
{
    TempFolder folder;
    c.write(folder, dtype, shards);
    EXPECT_EQ(TN_OK, convert(folder.path(), folder.at("out.gguf"), "tq2_0")) << tn_error_last()->message;
    return folder.read("out.gguf");
}

TEST(Convert, GivesTheSameFileFromShardsAndFromOtherFloatTypes)
{
    const Checkpoint c;
    const std::string expected = output_of(c, "BF16", 1);
    ASSERT_FALSE(expected.empty());
    EXPECT_TRUE(expected == output_of(c, "BF16", 3));
    EXPECT_TRUE(expected == output_of(c, "F16", 1));
    EXPECT_TRUE(expected == output_of(c, "F32", 2));
}

TEST(Convert, GivesTheSameFileFromBothSpellingsOfMerges)
{
    Checkpoint pairs, texts;
    texts.merges = "[\"\u0120 a\",\"b c\"]";
    EXPECT_TRUE(output_of(pairs, "BF16", 1) == output_of(texts, "BF16", 1));
}

TEST(Convert, WritesTheOldNamesWithSiluAsArchitectureBitnet)
{
    Checkpoint c;
    c.config["architectures"] = "[\"BitnetForCausalLM\"]";
    c.config["model_type"] = "\"llama\"";
    c.config["hidden_act"] = "\"silu\"";
    c.config["weight_bits"] = "1";
    c.config["input_bits"] = "8";
    c.config["rope_scaling"] = "{\"type\":\"linear\",\"factor\":1.0}";
    for (const char *p : {"model.layers.0.", "model.layers.1."}) {
        c.rename(std::string(p) + "self_attn.attn_sub_norm.weight", std::string(p) + "self_attn.inner_attn_ln.weight");
        c.rename(std::string(p) + "mlp.ffn_sub_norm.weight", std::string(p) + "mlp.ffn_layernorm.weight");
    }
    TempFolder folder;
    const Gguf g = converted(c, folder);
    EXPECT_EQ("bitnet", get_str(g.get(), "general.architecture"));
    EXPECT_EQ("silu", get_str(g.get(), "bitnet.hidden_activation"));
    EXPECT_EQ("linear", get_str(g.get(), "bitnet.rope.scaling.type"));
    float factor = 0;
    EXPECT_EQ(TN_OK, tn_gguf_get_f32(g.get(), "bitnet.rope.scaling.factor", &factor));
    EXPECT_EQ(1.0f, factor);
    EXPECT_EQ(256u, get_u32(g.get(), "bitnet.embedding_length"));
    compare_all(g.get(), c.tensors, TN_DTYPE_I2_S, TN_DTYPE_F16);
}

TEST(Convert, WritesAHeadOfItsOwnAndLeavesATiedOneOut)
{
    Checkpoint c;
    c.add("lm_head.weight", {Checkpoint::VOCAB, Checkpoint::EMBD});
    TempFolder folder;
    EXPECT_EQ(nullptr, tn_gguf_find_tensor(converted(c, folder).get(), "output.weight")) << "tie_word_embeddings is true";
    c.config["tie_word_embeddings"] = "false";
    compare_all(converted(c, folder).get(), c.tensors, TN_DTYPE_I2_S, TN_DTYPE_F16);
    c.config.erase("tie_word_embeddings");
    compare_all(converted(c, folder).get(), c.tensors, TN_DTYPE_I2_S, TN_DTYPE_F16);
    c.tensors.erase("lm_head.weight");
    compare_all(converted(c, folder).get(), c.tensors, TN_DTYPE_I2_S, TN_DTYPE_F16);
}

TEST(Convert, GivesTinyMatricesTheSmallestScale)
{
    Checkpoint c;
    for (auto &v : c.tensors.at("model.layers.1.mlp.up_proj.weight").values) v = std::ldexp(v, -30);
    for (auto &v : c.tensors.at("model.norm.weight").values) v = std::ldexp(v, -100); // dead values, kept as they are
    TempFolder folder;
    const Gguf g = converted(c, folder);
    compare_all(g.get(), c.tensors, TN_DTYPE_I2_S, TN_DTYPE_F16);
    tn_ternary_tensor t;
    ASSERT_EQ(TN_OK, tn_ternary_open(tn_gguf_find_tensor(g.get(), "blk.1.ffn_up.weight"), &t));
    EXPECT_EQ(1e-5f, t.scale);
}

// ---- progress and files ----

struct Watch {
    std::vector<std::pair<uint64_t, uint64_t>> calls;
    size_t stop_at = SIZE_MAX;
    static bool update(void *user, const char *stage, uint64_t done, uint64_t total)
    {
        Watch *w = static_cast<Watch *>(user);
        EXPECT_STREQ("convert", stage);
        w->calls.emplace_back(done, total);
        return w->calls.size() <= w->stop_at;
    }
};

TEST(Convert, ReportsBytesFromNothingToAll)
{
    TempFolder folder;
    Checkpoint().write(folder);
    Watch w;
    ASSERT_EQ(TN_OK, convert(folder.path(), folder.at("out.gguf"), nullptr, nullptr, false, {Watch::update, &w}));
    ASSERT_FALSE(w.calls.empty());
    EXPECT_EQ(0u, w.calls.front().first);
    EXPECT_EQ(w.calls.back().second, w.calls.back().first);
    for (size_t i = 1; i < w.calls.size(); i++) {
        EXPECT_GE(w.calls[i].first, w.calls[i - 1].first);
        EXPECT_EQ(w.calls[0].second, w.calls[i].second);
    }
}

TEST(Convert, LeavesNothingWhenCancelledAnywhere)
{
    TempFolder in, out;
    Checkpoint().write(in);
    Watch all;
    ASSERT_EQ(TN_OK, convert(in.path(), in.at("out.gguf"), nullptr, nullptr, false, {Watch::update, &all}));
    for (size_t i = 0; i < all.calls.size(); i++) {
        Watch w;
        w.stop_at = i;
        ASSERT_EQ(TN_CANCELLED, convert(in.path(), out.at("out.gguf"), nullptr, nullptr, false, {Watch::update, &w})) << i;
        ASSERT_EQ(i + 1, w.calls.size());
        ASSERT_TRUE(out.names().empty()) << i;
    }
}

TEST(Convert, ReportsAFullDiskAndLeavesNothing)
{
    TempFolder in, out;
    Checkpoint().write(in);
    rlimit old;
    getrlimit(RLIMIT_FSIZE, &old);
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {65536, old.rlim_max}; // a limit on file sizes fails in write, as a full disk does
    setrlimit(RLIMIT_FSIZE, &limit);
    const tn_status status = convert(in.path(), out.at("out.gguf"));
    setrlimit(RLIMIT_FSIZE, &old);
    std::signal(SIGXFSZ, handler);
    EXPECT_EQ(TN_IO, status);
    EXPECT_EQ(EFBIG, tn_error_last()->native_code);
    EXPECT_TRUE(message_has("out.gguf") && message_has("free some space")) << tn_error_last()->message;
    EXPECT_TRUE(out.names().empty());
}

TEST(Convert, DoesNotReplaceAFileUnasked)
{
    TempFolder in, out;
    Checkpoint().write(in);
    out.write("out.gguf", "precious");
    EXPECT_EQ(TN_INVALID_ARGUMENT, convert(in.path(), out.at("out.gguf")));
    EXPECT_TRUE(message_has("exists already")) << tn_error_last()->message;
    EXPECT_EQ("precious", out.read("out.gguf"));
    in.write("tokenizer.json", "{}"); // a conversion that fails keeps it too
    EXPECT_NE(TN_OK, convert(in.path(), out.at("out.gguf"), nullptr, nullptr, true));
    EXPECT_EQ("precious", out.read("out.gguf"));
    Checkpoint().write(in);
    EXPECT_EQ(TN_OK, convert(in.path(), out.at("out.gguf"), nullptr, nullptr, true)) << tn_error_last()->message;
    EXPECT_EQ("GGUF", out.read("out.gguf").substr(0, 4));
    EXPECT_EQ(std::vector<std::string>{"out.gguf"}, out.names());
}

TEST(Convert, NamesTheModelAfterItsFolderWhereTheConfigDoesNot)
{
    Checkpoint c;
    c.config.erase("_name_or_path");
    TempFolder folder;
    c.write(folder);
    ASSERT_EQ(TN_OK, convert(folder.path() + "/.", folder.at("out.gguf"))) << tn_error_last()->message;
    EXPECT_EQ(std::filesystem::path(folder.path()).filename().string(), get_str(open_gguf(folder.at("out.gguf")).get(), "general.name"));
}

} // namespace
