// A tiny random model of each family: the bits of the contract's NumPy twin on every instruction set, thread count, cut, split and type.
#include "support/quick.hpp"
#include "support/run_model.hpp"
#include "support/tiny_model.hpp"

using namespace tn_test;

namespace
{

// With everything that the Llama-3 family has: neighbours turn, factors of the frequencies, grouped heads, a head of its own.
tiny_model llama3()
{
    tiny_model m;
    m.theta = 500000.0f;
    m.rope_factors = llama3_factors(500000, 64, 8, 1, 4, 512);
    m.seed = 11;
    return m;
}

// Falcon3's head size, queries wider than the embedding, one KV head, tied.
tiny_model falcon3()
{
    tiny_model m;
    m.n_layers = 2;
    m.n_heads = 3;
    m.n_kv_heads = 1;
    m.head_dim = 256;
    m.theta = 1000042.0f;
    m.eps = 1e-6f;
    m.untied = false;
    m.seed = 12;
    return m;
}

// 1bitLLM's large: 16 heads of 96 without grouping, SiLU, scales beside the matrices.
tiny_model onebit_large()
{
    tiny_model m;
    m.arch = "bitnet";
    m.n_layers = 2;
    m.n_heads = m.n_kv_heads = 16;
    m.head_dim = 96;
    m.sub_norms = m.scale_tensors = true;
    m.untied = false;
    m.seed = 13;
    return m;
}

// 1bitLLM's 3B: 32 heads of 100. Its rows of 3200 fit no TQ type.
tiny_model onebit_3b()
{
    tiny_model m = onebit_large();
    m.n_heads = m.n_kv_heads = 32;
    m.head_dim = 100;
    m.n_ff = 384;
    m.scale_tensors = false;
    m.seed = 14;
    return m;
}

struct family {
    const char *name;
    tiny_model (*make)();
    std::vector<tn_dtype> types;
};

std::ostream &operator<<(std::ostream &out, const family &f) { return out << f.name; }

class Families : public ::testing::TestWithParam<family>
{
  protected:
    void SetUp() override
    {
        ASSERT_NO_FATAL_FAILURE(write(TN_DTYPE_I2_S, &path)); // first: make_families.py reads it
        expected = read_golden(std::string("family_") + GetParam().name + ".golden");
        ASSERT_GE(expected.ids.size(), 140u); // more than one chunk of keys
    }
    static void write(tn_dtype type, std::string *out_path)
    {
        tiny_model m = GetParam().make();
        m.ternary = type;
        *out_path = std::string(TN_BINARY_DIR) + "/family_" + GetParam().name + "." + tn_dtype_get(type)->name + ".gguf";
        ASSERT_NO_FATAL_FAILURE(write_tiny_model(m, *out_path));
    }
    void expect_bits(const run_options &options, const std::string &file = "") const
    {
        run_result result;
        ASSERT_NO_FATAL_FAILURE(run_model(file.empty() ? path : file, expected.ids, options, &result));
        EXPECT_EQ(result.digest(), expected.logits);
    }
    golden expected;
    std::string path;
};

INSTANTIATE_TEST_SUITE_P(Golden, Families,
                         ::testing::Values(family{"llama3", llama3, {TN_DTYPE_I2_S, TN_DTYPE_TQ1_0, TN_DTYPE_TQ2_0}},
                                           family{"falcon3", falcon3, {TN_DTYPE_I2_S, TN_DTYPE_TQ1_0, TN_DTYPE_TQ2_0}},
                                           family{"onebit_large", onebit_large, {TN_DTYPE_I2_S, TN_DTYPE_TQ1_0, TN_DTYPE_TQ2_0}},
                                           family{"onebit_3b", onebit_3b, {TN_DTYPE_I2_S}}),
                         [](const auto &i) { return std::string(i.param.name); });

} // namespace

TEST_P(Families, EveryOpAndEveryRowOfLogitsHasTheContractsBits)
{
    run_options options;
    options.traced = true;
    run_result result;
    ASSERT_NO_FATAL_FAILURE(run_model(path, expected.ids, options, &result));
    ASSERT_EQ(expected.ops.size(), GetParam().make().n_layers * 7u + 3u);
    for (const auto &[op, digest] : expected.ops) EXPECT_EQ(result.op_hashes[op], digest) << op;
    for (size_t i = 0; i < expected.rows.size(); i++) ASSERT_EQ(result.row_hash(i), expected.rows[i]) << "position " << i;
    EXPECT_EQ(result.digest(), expected.logits);
}

TEST_P(Families, EveryIsaLevelThreadCountAndTypeHasTheSameBits)
{
    for (const tn_dtype type : GetParam().types) {
        std::string file;
        ASSERT_NO_FATAL_FAILURE(write(type, &file));
        for (const char *isa : {"", "scalar", "sse41", "avx2", "avx512bw", "avx512vnni"}) {
            for (uint32_t threads : {1u, 2u, 5u}) {
                SCOPED_TRACE(std::string(tn_dtype_get(type)->name) + " isa " + isa + " threads " + std::to_string(threads));
                if (isa == std::string("scalar") && (threads == 5 || type != TN_DTYPE_I2_S)) continue; // slow, and the same code
                if (is_quick() && isa[0] && threads > 1) continue;
                run_options options;
                options.isa = isa;
                options.threads = threads;
                expect_bits(options, file);
            }
        }
    }
}

TEST_P(Families, ThePromptMayBeCutAnywhere)
{
    for (uint32_t ubatch : {1u, 7u, 127u, 128u, 129u}) {
        SCOPED_TRACE("ubatch " + std::to_string(ubatch));
        run_options options;
        options.ubatch = ubatch;
        expect_bits(options);
    }
    run_options fed;
    fed.feed = 3;
    expect_bits(fed);
}

TEST_P(Families, EveryLayerBoundaryMayBeADeviceBoundary)
{
    const auto n_layers = static_cast<int32_t>(GetParam().make().n_layers);
    for (int32_t on_second = 0; on_second <= n_layers + 1; on_second++) {
        for (uint32_t ubatch : {0u, 50u}) {
            SCOPED_TRACE("-ngl " + std::to_string(on_second));
            run_options options;
            options.cpu_devices = 2;
            options.threads = 2;
            options.devices = "cpu1";
            options.n_gpu_layers = on_second;
            options.ubatch = ubatch;
            run_result result;
            ASSERT_NO_FATAL_FAILURE(run_model(path, expected.ids, options, &result));
            EXPECT_EQ(result.n_segments, on_second == 0 ? 1u : on_second == n_layers + 1 ? 2u : 3u);
            EXPECT_EQ(result.digest(), expected.logits);
        }
    }
}

namespace
{

std::string digest_of(const tiny_model &m, const std::string &name, const std::vector<int32_t> &ids)
{
    const std::string path = std::string(TN_BINARY_DIR) + "/family_" + name + ".gguf";
    run_result result;
    write_tiny_model(m, path);
    run_model(path, ids, {}, &result);
    return result.digest();
}

} // namespace

// Linear scaling by 1, as 1bitLLM's files say, is no scaling; by 2 it is the factors' 2 for every pair.
TEST(FamilyRope, LinearScalingIsAFactorOfEveryFrequency)
{
    const golden g = read_golden("family_onebit_large.golden");
    tiny_model m = onebit_large();
    m.text_keys = {{"rope.scaling.type", "linear"}};
    m.float_keys = {{"rope.scaling.factor", 1.0f}};
    EXPECT_EQ(digest_of(m, "linear_1", g.ids), g.logits);
    m.float_keys = {{"rope.scaling.factor", 2.0f}};
    const std::string by_two = digest_of(m, "linear_2", g.ids);
    EXPECT_NE(by_two, g.logits);
    m.text_keys = {};
    EXPECT_EQ(digest_of(m, "linear_untyped", g.ids), by_two);
    m.float_keys = {{"rope.scale_linear", 2.0f}};
    EXPECT_EQ(digest_of(m, "linear_old", g.ids), by_two);
    m.float_keys = {};
    m.rope_factors.assign(m.head_dim / 2, 2.0f);
    EXPECT_EQ(digest_of(m, "linear_factors", g.ids), by_two);
    m.text_keys = {{"rope.scaling.type", "none"}};
    m.float_keys = {{"rope.scaling.factor", 2.0f}};
    m.rope_factors = {};
    EXPECT_EQ(digest_of(m, "linear_none", g.ids), g.logits);
}

TEST(FamilyRope, FactorsChangeTheAnswer)
{
    const golden g = read_golden("family_llama3.golden");
    tiny_model m = llama3();
    m.rope_factors.assign(m.head_dim / 2, 1.0f);
    const std::string plain = digest_of(m, "factors_1", g.ids);
    EXPECT_NE(plain, g.logits);
    m.rope_factors = {};
    EXPECT_EQ(digest_of(m, "factors_none", g.ids), plain);
}

TEST(FamilyActivation, TheFilesWordIsHonoured)
{
    const golden g = read_golden("family_falcon3.golden");
    tiny_model m = falcon3();
    m.text_keys = {{"hidden_activation", "silu"}};
    EXPECT_EQ(digest_of(m, "silu", g.ids), g.logits);
    m.text_keys = {{"hidden_activation", "relu2"}};
    EXPECT_NE(digest_of(m, "relu2", g.ids), g.logits);
}

namespace
{

tn_status open_status(const std::string &path)
{
    tn_model *model = nullptr;
    const tn_status status = tn_model_open(path.c_str(), nullptr, &model);
    tn_model_close(model);
    return status;
}

model_tensor floats(const std::string &name, std::vector<uint64_t> ne)
{
    uint64_t n = 1;
    for (const uint64_t d : ne) n *= d;
    return {name, TN_DTYPE_F32, std::move(ne), std::vector<uint8_t>(n * 4)};
}

} // namespace

TEST(FamilyRefusals, TensorsOfOtherModelsAreRefusedByName)
{
    const struct {
        model_tensor tensor;
        const char *reason;
    } cases[] = {{floats("blk.0.attn_q.bias", {256}), "biases"},
                 {floats("blk.1.ffn_down.bias", {256}), "biases"},
                 {floats("blk.0.ffn_gate_inp.weight", {256, 8}), "experts"},
                 {floats("blk.0.ffn_up_exps.weight", {256, 256, 2}), "experts"},
                 {floats("blk.0.attn_q_norm.weight", {64}), "queries and keys"},
                 {floats("blk.0.attn_k_norm.weight", {64}), "queries and keys"},
                 {floats("blk.0.attn_qkv.weight", {256, 512}), "one matrix"},
                 {floats("rope_factors_long.weight", {32}), "context's length"},
                 {floats("blk.0.attn_sub_norm.weight", {256}), "'llama' does not use"}};
    for (const auto &c : cases) {
        SCOPED_TRACE(c.tensor.name);
        const std::string path = std::string(TN_BINARY_DIR) + "/family_refused.gguf";
        ASSERT_NO_FATAL_FAILURE(write_tiny_model(llama3(), path, [&](auto &tensors) { tensors.push_back(c.tensor); }));
        EXPECT_EQ(open_status(path), TN_UNSUPPORTED);
        const std::string message = tn_error_last()->message;
        EXPECT_NE(message.find("'" + c.tensor.name + "'"), std::string::npos) << message;
        EXPECT_NE(message.find(c.reason), std::string::npos) << message;
    }
}

TEST(FamilyRefusals, KeysOfOtherModelsAreRefusedByName)
{
    const struct {
        const char *key;
        float refused, accepted;
    } cases[] = {{"expert_count", 8, 0},    {"attention.sliding_window", 128, 0}, {"attention.clamp_kqv", 8, 0},
                 {"logit_scale", 0.5f, 1},  {"attn_logit_softcapping", 50, 0},    {"residual_scale", 0.25f, 1},
                 {"embedding_scale", 12, 1}};
    for (const auto &c : cases) {
        SCOPED_TRACE(c.key);
        const std::string path = std::string(TN_BINARY_DIR) + "/family_refused.gguf";
        tiny_model m = llama3();
        m.float_keys = {{c.key, c.refused}};
        ASSERT_NO_FATAL_FAILURE(write_tiny_model(m, path));
        EXPECT_EQ(open_status(path), TN_UNSUPPORTED);
        EXPECT_NE(std::string(tn_error_last()->message).find(std::string("'llama.") + c.key + "'"), std::string::npos)
            << tn_error_last()->message;
        m.float_keys = {{c.key, c.accepted}};
        ASSERT_NO_FATAL_FAILURE(write_tiny_model(m, path));
        EXPECT_EQ(open_status(path), TN_OK) << tn_error_last()->message;
    }
    for (const char *type : {"yarn", "longrope", "dynamic"}) {
        tiny_model m = llama3();
        m.text_keys = {{"rope.scaling.type", type}};
        const std::string path = std::string(TN_BINARY_DIR) + "/family_refused.gguf";
        ASSERT_NO_FATAL_FAILURE(write_tiny_model(m, path));
        EXPECT_EQ(open_status(path), TN_UNSUPPORTED);
        EXPECT_NE(std::string(tn_error_last()->message).find(type), std::string::npos) << tn_error_last()->message;
    }
}

TEST(FamilyRefusals, ALlamaOfDenseWeightsIsRefusedByNameAndType)
{
    const std::string path = std::string(TN_BINARY_DIR) + "/family_refused.gguf";
    ASSERT_NO_FATAL_FAILURE(write_tiny_model(llama3(), path, [](auto &tensors) {
        for (auto &t : tensors)
            if (is_ternary(t)) t = floats(t.name, t.ne);
    }));
    EXPECT_EQ(open_status(path), TN_UNSUPPORTED);
    const std::string message = tn_error_last()->message;
    EXPECT_NE(message.find("'blk.0.attn_q.weight' is of type F32"), std::string::npos) << message;
}
