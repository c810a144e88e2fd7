// Tests of packed U8 checkpoints and of Llama's: codes, both meanings of weight_scale, the order of rows, RoPE's factors, refusals.
#include "convert/checkpoint.h"

#include <cerrno>
#include <cmath>
#include <csignal>
#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <sys/resource.h>

extern "C" {
#include "format/dense.h"
#include "format/ternary.h"
#include "model/hf_weights.h"
#include "model/rope_table.h"
#include "ternion/convert.h"
}

namespace
{

struct Destroy {
    void operator()(tn_gguf *g) const { tn_gguf_destroy(g); }
};
using Gguf = std::unique_ptr<tn_gguf, Destroy>;

std::string last_message() { return tn_error_last()->message; }

tn_status convert(const TempFolder &in, const TempFolder &out, const char *type = nullptr, tn_progress progress = {})
{
    tn_convert_params p = TN_CONVERT_PARAMS_INIT;
    const std::string path = out.at("out.gguf");
    p.input_dir = in.path().c_str();
    p.output_path = path.c_str();
    p.type = type;
    p.overwrite = true;
    p.progress = progress;
    return tn_convert(&p);
}

Gguf converted(const Checkpoint &c, const TempFolder &folder, const char *type = nullptr)
{
    c.write(folder);
    EXPECT_EQ(TN_OK, convert(folder, folder, type)) << last_message();
    tn_gguf *g = nullptr;
    EXPECT_EQ(TN_OK, tn_gguf_open(folder.at("out.gguf").c_str(), nullptr, &g)) << last_message();
    return Gguf(g);
}

struct Matrix {
    float scale = 0;
    uint64_t n_cols = 0;
    std::vector<int8_t> codes;
};

Matrix matrix_of(const tn_gguf *g, const std::string &name)
{
    Matrix m;
    const tn_gguf_tensor *t = tn_gguf_find_tensor(g, name.c_str());
    tn_ternary_tensor open;
    if (!t || tn_ternary_open(t, &open) != TN_OK) {
        ADD_FAILURE() << name << ": " << last_message();
        return m;
    }
    m.scale = open.scale;
    m.n_cols = open.n_cols;
    m.codes.resize(t->n_elements);
    EXPECT_EQ(TN_OK, tn_ternary_read_rows(&open, 0, open.n_rows, m.codes.data()));
    return m;
}

std::string layer(uint64_t i, const std::string &rest) { return "model.layers." + std::to_string(i) + "." + rest; }

const std::map<std::string, std::string> PROJECTIONS = {
    {"attn_q", "self_attn.q_proj"}, {"attn_k", "self_attn.k_proj"}, {"attn_v", "self_attn.v_proj"}, {"attn_output", "self_attn.o_proj"},
    {"ffn_gate", "mlp.gate_proj"},  {"ffn_up", "mlp.up_proj"},      {"ffn_down", "mlp.down_proj"}};

// The rows of q and k as GGUF's architecture llama has them: inside a head of d rows, row 2i + c is the checkpoint's row c d/2 + i.
std::vector<int8_t> turned(const std::vector<int8_t> &codes, uint64_t n_cols, uint64_t d)
{
    std::vector<int8_t> out;
    const uint64_t n_rows = codes.size() / n_cols;
    for (uint64_t head = 0; head < n_rows / d; head++) {
        for (uint64_t i = 0; i < d / 2; i++) {
            for (uint64_t c = 0; c < 2; c++) {
                const auto from = codes.begin() + static_cast<std::ptrdiff_t>((head * d + c * (d / 2) + i) * n_cols);
                out.insert(out.end(), from, from + static_cast<std::ptrdiff_t>(n_cols));
            }
        }
    }
    return out;
}

void compare(const tn_gguf *g, const Checkpoint &c, bool llama, const std::function<float(float)> &scale_of)
{
    for (uint64_t i = 0; i < Checkpoint::LAYERS; i++) {
        for (const auto &[gguf, hf] : PROJECTIONS) {
            SCOPED_TRACE(gguf);
            const std::string name = layer(i, hf) + ".weight";
            const Matrix m = matrix_of(g, "blk." + std::to_string(i) + "." + gguf + ".weight");
            ASSERT_EQ(c.codes.at(name).size(), m.codes.size());
            const bool turns = llama && (gguf == "attn_q" || gguf == "attn_k");
            EXPECT_TRUE(m.codes == (turns ? turned(c.codes.at(name), m.n_cols, Checkpoint::HEAD_DIM) : c.codes.at(name)));
            EXPECT_EQ(m.scale, scale_of(c.tensors.at(name + "_scale").values[0]));
        }
    }
}

float divided(float v) { return static_cast<float>(1.0L / static_cast<long double>(v)); } // rounded once, and once exactly
float kept(float v) { return v; }
float half(float v) { return tn_f16_to_f32(tn_f32_to_f16(v)); }

} // namespace

// The example that describes the format: 8 rows of 2 in the bytes a1 18 / 90 0a.
TEST(ConvertPacked, FourRowsShareAByteLowestBitsFirst)
{
    const uint8_t bytes[] = {0xa1, 0x18, 0x90, 0x0a};
    tn_safetensor source = {};
    source.name = "example";
    source.data = bytes;
    tn_hf_weight w = {};
    w.ne[0] = 2;
    w.ne[1] = 8;
    w.source = &source;
    std::vector<int8_t> codes(16);
    ASSERT_EQ(TN_OK, tn_hf_unpack_row(&w, 0, codes.data()));
    ASSERT_EQ(TN_OK, tn_hf_unpack_row(&w, 1, codes.data()));
    EXPECT_EQ((std::vector<int8_t>{0, -1, -1, 1, -1, 1, -1, 1, 1, 0, 0, -1, 1, -1, 1, -1}), codes);
}

TEST(ConvertPacked, TheLinearClassSaysWhatTheScaleMeans)
{
    const struct {
        const char *linear_class;
        float around;
        float (*scale_of)(float);
    } cases[] = {{"bitlinear", 50.0f, divided}, {"autobitlinear", 0.02f, kept}, {"autobitlinear", 1.2f, kept}, {"", 1.2f, divided}};
    for (const auto &k : cases) {
        SCOPED_TRACE(k.linear_class);
        Checkpoint c;
        c.quantized_by(k.linear_class);
        c.pack(k.around);
        TempFolder folder;
        compare(converted(c, folder).get(), c, false, k.scale_of);
        const auto scale_of = k.scale_of;
        for (const char *type : {"tq1_0", "tq2_0"})
            compare(converted(c, folder, type).get(), c, false, [scale_of](float v) { return half(scale_of(v)); });
    }
}

TEST(ConvertPacked, GivesTheSameFileFromShardsAndFromOtherTypesOfTheRest)
{
    Checkpoint c;
    c.become_llama();
    c.pack(3);
    std::vector<std::string> files;
    for (const auto &[dtype, shards] : {std::pair<const char *, size_t>{"BF16", 1}, {"BF16", 3}, {"F32", 2}}) {
        TempFolder folder;
        c.write(folder, dtype, shards);
        ASSERT_EQ(TN_OK, convert(folder, folder)) << last_message();
        files.push_back(folder.read("out.gguf"));
    }
    EXPECT_TRUE(files[0] == files[1]);
    EXPECT_TRUE(files[0] == files[2]);
}

TEST(ConvertLlama, PutsTheRowsOfQAndKInTheOrderOfTheArchitecture)
{
    for (const char *linear_class : {"bitlinear", "autobitlinear"}) {
        Checkpoint c;
        c.become_llama(linear_class);
        c.pack(2);
        TempFolder folder;
        compare(converted(c, folder).get(), c, true, linear_class[0] == 'b' ? divided : kept);
    }
}

// Master weights go the same way: the codes that the rule gives, in the same order of rows.
TEST(ConvertLlama, TernarisesMasterWeightsInTheSameOrder)
{
    Checkpoint c;
    c.become_llama();
    TempFolder folder;
    const Gguf g = converted(c, folder);
    for (const auto &[gguf, hf] : PROJECTIONS) {
        SCOPED_TRACE(gguf);
        const auto &values = c.tensors.at(layer(1, hf) + ".weight").values;
        double sum = 0;
        for (const float v : values) sum += std::fabs(static_cast<double>(v));
        const float scale = static_cast<float>(sum / static_cast<double>(values.size()));
        std::vector<int8_t> codes;
        for (const float v : values) codes.push_back(static_cast<int8_t>(2 * std::fabs(v) > scale ? (v > 0 ? 1 : -1) : 0));
        const Matrix m = matrix_of(g.get(), "blk.1." + gguf + ".weight");
        EXPECT_EQ(scale, m.scale);
        const bool turns = gguf == "attn_q" || gguf == "attn_k";
        EXPECT_TRUE(m.codes == (turns ? turned(codes, m.n_cols, Checkpoint::HEAD_DIM) : codes));
    }
}

TEST(ConvertLlama, WritesTheKeysAndTensorsOfTheArchitecture)
{
    Checkpoint c;
    c.become_llama();
    c.pack(2);
    c.config["pad_token_id"] = "33";
    TempFolder folder;
    const Gguf g = converted(c, folder);
    tn_str text;
    ASSERT_EQ(TN_OK, tn_gguf_get_str(g.get(), "general.architecture", &text));
    EXPECT_EQ("llama", std::string(text.data, text.len));
    const std::map<std::string, uint32_t> expected = {{"llama.vocab_size", 40},
                                                      {"llama.context_length", 640},
                                                      {"llama.embedding_length", 256},
                                                      {"llama.block_count", 2},
                                                      {"llama.feed_forward_length", 512},
                                                      {"llama.attention.head_count", 4},
                                                      {"llama.attention.head_count_kv", 2},
                                                      {"llama.attention.key_length", 128},
                                                      {"llama.attention.value_length", 128},
                                                      {"llama.rope.dimension_count", 128},
                                                      {"tokenizer.ggml.padding_token_id", 33}};
    for (const auto &[key, value] : expected) {
        uint32_t v = UINT32_MAX;
        EXPECT_EQ(TN_OK, tn_gguf_get_u32(g.get(), key.c_str(), &v)) << last_message();
        EXPECT_EQ(value, v) << key;
    }
    float f = 0;
    EXPECT_EQ(TN_OK, tn_gguf_get_f32(g.get(), "llama.rope.freq_base", &f));
    EXPECT_EQ(500000.0f, f);
    EXPECT_EQ(nullptr, tn_gguf_find(g.get(), "llama.rope.scaling.type"));
    EXPECT_EQ(nullptr, tn_gguf_find(g.get(), "llama.hidden_activation"));
    EXPECT_EQ(1u + 2u * 9u + 2u, tn_gguf_n_tensors(g.get())); // embedding, layers without sub-norms, norm and head
    for (const char *name : {"output.weight", "token_embd.weight"}) {
        const tn_gguf_tensor *t = tn_gguf_find_tensor(g.get(), name);
        ASSERT_NE(nullptr, t) << name;
        const auto &values = c.tensors.at(name[0] == 'o' ? "lm_head.weight" : "model.embed_tokens.weight").values;
        std::vector<float> got(values.size());
        tn_dense_to_f32(t->dtype, t->data, got.size(), got.data());
        EXPECT_TRUE(values == got) << name; // in the order of the checkpoint
    }
}

TEST(ConvertLlama, TakesTheNamesThatTheFamilysMakersUse)
{
    for (const char *architectures : {"[\"LlamaForCausalLM\"]", "[\"FalconForCausalLM\"]", "null"}) {
        Checkpoint c;
        c.become_llama();
        c.config["architectures"] = architectures;
        TempFolder folder;
        EXPECT_NE(nullptr, converted(c, folder)) << architectures;
    }
}

// Values of a Llama 3.1 configuration (base 5e5, 128 dimensions), to five places.
TEST(ConvertLlama, FactorsOfLlama3HaveTheirKnownValues)
{
    const tn_rope_llama3 scaling = {8, 1, 4, 8192};
    std::vector<float> f(64);
    tn_rope_llama3_factors(500000, 128, &scaling, f.data());
    for (size_t i = 0; i <= 28; i++) EXPECT_EQ(f[i], 1.0f) << i;
    const float known[] = {1.20748f, 1.55341f, 2.02631f, 2.69453f, 3.68425f, 5.25733f};
    for (size_t i = 0; i < 6; i++) EXPECT_NEAR(f[29 + i], known[i], 1e-5f) << 29 + i;
    for (size_t i = 35; i < 64; i++) EXPECT_EQ(f[i], 8.0f) << i;
    for (size_t i = 0; i < 64; i++) { // the definition in long double
        const long double wave = 6.283185307179586476925L * std::pow(500000.0L, 2.0L * static_cast<long double>(i) / 128);
        const long double s = (8192 / wave - 1) / 3;
        const long double want = wave < 2048 ? 1 : wave > 8192 ? 8 : 1 / ((1 - s) / 8 + s);
        EXPECT_EQ(f[i], static_cast<float>(want)) << i;
    }
}

TEST(ConvertLlama, ThetaHasItsFamilysDefault)
{
    Checkpoint c;
    c.become_llama();
    c.config.erase("rope_theta");
    c.config["pad_token_id"] = "-1"; // as the first Llamas' files say
    TempFolder folder;
    const Gguf g = converted(c, folder);
    float f = 0;
    EXPECT_EQ(TN_OK, tn_gguf_get_f32(g.get(), "llama.rope.freq_base", &f));
    EXPECT_EQ(10000.0f, f);
    EXPECT_EQ(nullptr, tn_gguf_find(g.get(), "tokenizer.ggml.padding_token_id"));
}

TEST(ConvertLlama, WritesScaledRope)
{
    const std::string llama3 = "{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,\"original_max_"
                               "position_embeddings\":8192";
    for (const char *key : {"rope_scaling", "rope_parameters"}) {
        Checkpoint c;
        c.become_llama();
        c.config[key] = llama3 + (key[5] == 'p' ? ",\"rope_theta\":500000.0}" : "}");
        if (key[5] == 'p') c.config.erase("rope_theta");
        TempFolder folder;
        const Gguf g = converted(c, folder);
        const tn_gguf_tensor *t = tn_gguf_find_tensor(g.get(), "rope_freqs.weight");
        ASSERT_NE(nullptr, t);
        ASSERT_EQ(TN_DTYPE_F32, t->dtype);
        ASSERT_EQ(64u, t->n_elements);
        std::vector<float> expected(64);
        const tn_rope_llama3 scaling = {8, 1, 4, 8192};
        tn_rope_llama3_factors(500000, 128, &scaling, expected.data());
        EXPECT_EQ(0, memcmp(expected.data(), t->data, 256));
        EXPECT_EQ(nullptr, tn_gguf_find(g.get(), "llama.rope.scaling.type"));
    }
    for (const float factor : {1.0f, 2.0f}) {
        Checkpoint c;
        c.become_llama();
        c.config["rope_scaling"] = "{\"type\":\"linear\",\"factor\":" + std::to_string(factor) + "}";
        TempFolder folder;
        const Gguf g = converted(c, folder);
        float f = 0;
        EXPECT_EQ(TN_OK, tn_gguf_get_f32(g.get(), "llama.rope.scaling.factor", &f));
        EXPECT_EQ(factor, f);
        EXPECT_EQ(nullptr, tn_gguf_find_tensor(g.get(), "rope_freqs.weight"));
    }
}

namespace
{

struct Refusal {
    const char *name;
    std::function<void(Checkpoint &)> change;
    tn_status status;
    const char *text; // part of the message
};

const std::string UP = "model.layers.1.mlp.up_proj.weight";

const Refusal REFUSALS[] = {
    {"NoQuantizationConfig",
     [](Checkpoint &c) {
         c.config.erase("quantization_config");
         c.config["model_type"] = "\"bitnet\"";
         c.config["architectures"] = "[\"BitNetForCausalLM\"]";
         for (const char *p : {"model.layers.0.", "model.layers.1."}) {
             c.add(std::string(p) + "self_attn.attn_sub_norm.weight", {512});
             c.add(std::string(p) + "mlp.ffn_sub_norm.weight", {512});
         }
     },
     TN_UNSUPPORTED, "whether weight_scale multiplies or divides is unknown"},
    {"OrdinaryLlama", [](Checkpoint &c) { c.config.erase("quantization_config"); }, TN_UNSUPPORTED, "ordinary weights"},
    {"NormInLinear",
     [](Checkpoint &c) { c.config["quantization_config"] = "{\"quant_method\":\"bitnet\",\"use_rms_norm\":true,\"rms_norm_eps\":1e-6}"; },
     TN_UNSUPPORTED, "use_rms_norm"},
    {"DenseLayer",
     [](Checkpoint &c) { c.config["quantization_config"] = "{\"quant_method\":\"bitnet\",\"modules_to_not_convert\":[\"o_proj\"]}"; },
     TN_UNSUPPORTED, "'o_proj'"},
    {"Relu2", [](Checkpoint &c) { c.config["hidden_act"] = "\"relu2\""; }, TN_UNSUPPORTED, "hidden_act is relu2"},
    {"Yarn", [](Checkpoint &c) { c.config["rope_scaling"] = "{\"rope_type\":\"yarn\",\"factor\":4}"; }, TN_UNSUPPORTED, "type 'yarn'"},
    {"Llama3WithoutContext",
     [](Checkpoint &c) {
         c.config["rope_scaling"] = "{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1,\"high_freq_factor\":4}";
     },
     TN_BAD_FILE, "original_max_position_embeddings"},
    {"HugeFactor", [](Checkpoint &c) { c.config["rope_scaling"] = "{\"type\":\"linear\",\"factor\":1e7}"; }, TN_BAD_FILE,
     "rope_scaling has no factor that is a number from 0.001 to 1000000"},
    {"Llama3WithoutRamp",
     [](Checkpoint &c) {
         c.config["rope_scaling"] = "{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,\"high_freq_factor\":4,"
                                    "\"original_max_position_embeddings\":8192}";
     },
     TN_BAD_FILE, "high_freq_factor"},
    {"Code3", [](Checkpoint &c) { c.tensors.at(UP).values[5 * 256 + 9] = 0x0c + 0x01; }, TN_BAD_FILE,
     "'model.layers.1.mlp.up_proj.weight': row 133 column 9 has code 3"}, // field 1 of packed row 5: 512/4 + 5
    {"NoScale", [](Checkpoint &c) { c.tensors.erase(UP + "_scale"); }, TN_BAD_FILE, "up_proj.weight_scale' is missing"},
    {"TwoScales",
     [](Checkpoint &c) {
         c.tensors[UP + "_scale"] = {{2}, {1, 1}, ""};
     },
     TN_UNSUPPORTED, "not a single number"},
    {"ZeroScale", [](Checkpoint &c) { c.tensors[UP + "_scale"].values[0] = 0; }, TN_BAD_FILE, "up_proj.weight_scale' is 0"},
    {"NegativeScale", [](Checkpoint &c) { c.tensors[UP + "_scale"].values[0] = -2; }, TN_BAD_FILE, "up_proj.weight_scale' is -2"},
    {"NanScale", [](Checkpoint &c) { c.tensors[UP + "_scale"].values[0] = NAN; }, TN_BAD_FILE, "up_proj.weight_scale' is nan"},
    {"InfiniteScale", [](Checkpoint &c) { c.tensors[UP + "_scale"].values[0] = INFINITY; }, TN_BAD_FILE, "up_proj.weight_scale' is inf"},
    {"TinyScale", [](Checkpoint &c) { c.tensors[UP + "_scale"].values[0] = 0x1p-60f; }, TN_BAD_FILE, "up_proj.weight_scale' is"},
    {"UnpackedShape",
     [](Checkpoint &c) {
         c.tensors[UP] = {{512, 256}, std::vector<float>(512 * 256, 1), "U8"};
     },
     TN_BAD_FILE, "has shape [512, 256] where config.json makes it [128, 256]"},
    {"PackedEmbedding",
     [](Checkpoint &c) {
         c.tensors["model.embed_tokens.weight"] = {{40, 256}, std::vector<float>(40 * 256, 1), "U8"};
     },
     TN_UNSUPPORTED, "'model.embed_tokens.weight' has type U8"},
    {"Bias", [](Checkpoint &c) { c.add("model.layers.0.self_attn.q_proj.bias", {512}); }, TN_UNSUPPORTED,
     "'model.layers.0.self_attn.q_proj.bias' is not part of a Llama"},
    {"SubNorm", [](Checkpoint &c) { c.add("model.layers.0.mlp.ffn_sub_norm.weight", {512}); }, TN_UNSUPPORTED,
     "'model.layers.0.mlp.ffn_sub_norm.weight' is not part of a Llama"},
    {"NoHead", [](Checkpoint &c) { c.tensors.erase("lm_head.weight"); }, TN_BAD_FILE, "'lm_head.weight' is missing"},
};

class PackedRefusals : public testing::TestWithParam<Refusal>
{
};
INSTANTIATE_TEST_SUITE_P(Convert, PackedRefusals, testing::ValuesIn(REFUSALS), [](const auto &i) { return std::string(i.param.name); });

TEST_P(PackedRefusals, NameTheReasonAndLeaveNothing)
{
    Checkpoint c;
    c.become_llama();
    c.pack(2);
    GetParam().change(c);
    TempFolder in, out;
    c.write(in);
    EXPECT_EQ(GetParam().status, convert(in, out)) << last_message();
    EXPECT_NE(std::string::npos, last_message().find(GetParam().text)) << last_message();
    EXPECT_EQ(std::string::npos, last_message().find('\n'));
    EXPECT_TRUE(out.names().empty());
}

struct Watch {
    std::vector<std::pair<uint64_t, uint64_t>> calls;
    size_t stop_at = SIZE_MAX;
    static bool update(void *user, const char *, uint64_t done, uint64_t total)
    {
        Watch *w = static_cast<Watch *>(user);
        w->calls.emplace_back(done, total);
        return w->calls.size() <= w->stop_at;
    }
};

} // namespace

TEST(ConvertPacked, ReportsBytesAndLeavesNothingWhenCancelledAnywhere)
{
    Checkpoint c;
    c.become_llama();
    c.pack(2);
    TempFolder in, out;
    c.write(in);
    Watch all;
    ASSERT_EQ(TN_OK, convert(in, in, nullptr, {Watch::update, &all}));
    ASSERT_FALSE(all.calls.empty());
    EXPECT_EQ(all.calls.back().second, all.calls.back().first);
    for (size_t i = 1; i < all.calls.size(); i++) EXPECT_GE(all.calls[i].first, all.calls[i - 1].first);
    for (size_t i = 0; i < all.calls.size(); i++) {
        Watch w;
        w.stop_at = i;
        ASSERT_EQ(TN_CANCELLED, convert(in, out, nullptr, {Watch::update, &w})) << i;
        ASSERT_TRUE(out.names().empty()) << i;
    }
}

TEST(ConvertPacked, ReportsAFullDiskAndLeavesNothing)
{
    Checkpoint c;
    c.become_llama();
    c.pack(2);
    TempFolder in, out;
    c.write(in);
    rlimit old;
    getrlimit(RLIMIT_FSIZE, &old);
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {65536, old.rlim_max}; // a limit on file sizes fails in write, as a full disk does
    setrlimit(RLIMIT_FSIZE, &limit);
    const tn_status status = convert(in, out);
    setrlimit(RLIMIT_FSIZE, &old);
    std::signal(SIGXFSZ, handler);
    EXPECT_EQ(TN_IO, status);
    EXPECT_EQ(EFBIG, tn_error_last()->native_code);
    EXPECT_TRUE(out.names().empty());
}
