// Changed copies of the default model: other types with the same values, silu, poison, damage. What must stay equal stays equal; the rest
// is refused.
#include "support/isa_levels.hpp"
#include "support/rewrite_model.hpp"
#include "support/run_model.hpp"

#include <cmath>
#include <fstream>
#include <random>
#include <unistd.h>

using namespace tn_test;

namespace
{

std::vector<int32_t> some_ids(size_t n)
{
    const golden g = read_golden("default_model.golden");
    return {g.ids.begin(), g.ids.begin() + static_cast<std::ptrdiff_t>(n)};
}

std::string temp(const std::string &name) { return std::string(TN_BINARY_DIR) + "/variant_" + name + ".gguf"; }

std::string digest_of(const std::string &path, const std::vector<int32_t> &ids, const run_options &options = {})
{
    run_result result;
    run_model(path, ids, options, &result);
    return result.digest();
}

tn_status open_status(const std::string &path)
{
    tn_model *model = nullptr;
    const tn_status status = tn_model_open(path.c_str(), nullptr, &model);
    tn_model_close(model);
    return status;
}

// All ternary tensors as `dtype`, scales rounded to f16 so that every type can hold them.
void retype(std::vector<model_tensor> &tensors, tn_dtype dtype, const tn_ternary_options &options = {})
{
    for (auto &t : tensors) {
        if (!is_ternary(t)) continue;
        float scale;
        const auto codes = ternary_codes(t, &scale);
        t = ternary_tensor(t, dtype, codes, tn_f16_to_f32(tn_f32_to_f16(scale)), options);
    }
}

} // namespace

TEST(Variants, FileTypesThatHoldTheSameValuesHaveTheSameBits)
{
    const auto ids = some_ids(140);
    std::vector<std::string> digests;
    for (const tn_dtype dtype : {TN_DTYPE_I2_S, TN_DTYPE_TQ1_0, TN_DTYPE_TQ2_0, TN_DTYPE_IQ1_BN, TN_DTYPE_IQ2_BN, TN_DTYPE_IQ2_BN_R4}) {
        model_changes changes;
        changes.tensors = [dtype](std::vector<model_tensor> &tensors) { retype(tensors, dtype); };
        const std::string path = temp(tn_dtype_get(dtype)->name);
        ASSERT_NO_FATAL_FAILURE(rewrite_model(default_model(), path, changes));
        digests.push_back(digest_of(path, ids));
    }
    for (size_t i = 1; i < digests.size(); i++) EXPECT_EQ(digests[0], digests[i]) << i;
    EXPECT_NE(digests[0], digest_of(default_model(), ids)); // rounding the scales did change something: the comparison can fail
}

TEST(Variants, EveryOrderOfI2SGivesTheSameBitsWhereItIsNamed)
{
    const auto ids = some_ids(40);
    const std::string as_it_is = digest_of(default_model(), ids);
    for (const char *layout : {"arm", "rows4", "seq"}) {
        SCOPED_TRACE(layout);
        tn_ternary_options order = {};
        ASSERT_EQ(tn_i2s_layout_parse(layout, &order.i2s_layout), TN_OK);
        model_changes changes;
        changes.tensors = [order](std::vector<model_tensor> &tensors) {
            for (auto &t : tensors) {
                if (!is_ternary(t)) continue;
                float scale;
                const auto codes = ternary_codes(t, &scale);
                t = ternary_tensor(t, TN_DTYPE_I2_S, codes, scale, order);
            }
        };
        const std::string path = temp(std::string("i2s_") + layout);
        ASSERT_NO_FATAL_FAILURE(rewrite_model(default_model(), path, changes));
        run_options options;
        options.i2s_layout = layout;
        EXPECT_EQ(digest_of(path, ids, options), as_it_is);
        EXPECT_NE(digest_of(path, ids), as_it_is); // unnamed it is another model, and nothing in the file could tell
    }
}

// Row r of every matrix: its scale times 1, 2, 4 or 8 and every third row negative, exact in f16, so that all three types hold it.
void give_rows_scales(std::vector<model_tensor> &tensors, tn_dtype dtype)
{
    for (auto &t : tensors) {
        if (!is_ternary(t)) continue;
        float scale;
        const auto codes = ternary_codes(t, &scale);
        scale = tn_f16_to_f32(tn_f32_to_f16(scale));
        t = ternary_tensor(t, dtype, codes, scale);
        const size_t n_rows = t.ne[1], group_bytes = dtype == TN_DTYPE_IQ2_BN_R4 ? 16 + t.ne[0] : t.bytes.size() / n_rows;
        for (size_t r = 0; r < n_rows; r++) {
            const float own = std::ldexp(r % 3 == 0 ? -scale : scale, static_cast<int>(r % 4) - 2);
            const uint16_t half = tn_f32_to_f16(own);
            uint8_t *at = t.bytes.data() + (dtype == TN_DTYPE_IQ2_BN_R4 ? r / 4 * group_bytes + r % 4 * 4 : r * group_bytes);
            if (dtype == TN_DTYPE_IQ1_BN) memcpy(at, &half, 2);
            if (dtype != TN_DTYPE_IQ1_BN) memcpy(at, &own, 4);
        }
    }
    const float extra = -1.5f;
    model_tensor companion = {"blk.1.ffn_up.scale", TN_DTYPE_F32, {1}, std::vector<uint8_t>(4)};
    memcpy(companion.bytes.data(), &extra, 4);
    tensors.push_back(companion);
}

TEST(Variants, ScalesOfRowsHaveTheContractsBitsOnEveryIsaAndInEveryType)
{
    const golden g = read_golden("row_scales.golden");
    ASSERT_GE(g.ids.size(), 140u);
    for (const tn_dtype dtype : {TN_DTYPE_IQ1_BN, TN_DTYPE_IQ2_BN, TN_DTYPE_IQ2_BN_R4}) {
        SCOPED_TRACE(tn_dtype_get(dtype)->name);
        model_changes changes;
        changes.tensors = [dtype](std::vector<model_tensor> &tensors) { give_rows_scales(tensors, dtype); };
        const std::string path = temp(std::string("rows_") + tn_dtype_get(dtype)->name);
        ASSERT_NO_FATAL_FAILURE(rewrite_model(default_model(), path, changes));
        for (const char *isa : {"scalar", "sse41", "avx2", "avx512bw", "avx512vnni"}) {
            if (is_quick() && isa == std::string("scalar") && dtype != TN_DTYPE_IQ2_BN) continue; // the slowest by far
            run_options options;
            options.isa = isa;
            EXPECT_EQ(digest_of(path, g.ids, options), g.logits) << isa;
        }
    }
}

// One layer in the shapes of bitnet_b1_58-large, whose tiles are known.
void make_large_layer(std::vector<model_tensor> &tensors, tn_dtype dtype, const tn_ternary_options &options)
{
    std::mt19937 random(7);
    const auto floats = [](const std::string &name, uint64_t n) {
        const std::vector<float> ones(n, 1.0f);
        model_tensor t = {name, TN_DTYPE_F32, {n}, std::vector<uint8_t>(4 * n)};
        memcpy(t.bytes.data(), ones.data(), 4 * n);
        return t;
    };
    const uint64_t n_vocab = find_tensor(tensors, "token_embd.weight")->ne[1];
    tensors.clear();
    model_tensor embd = {"token_embd.weight", TN_DTYPE_Q4_0, {1536, n_vocab}, std::vector<uint8_t>(1536 * n_vocab / 32 * 18)};
    for (size_t i = 0; i < embd.bytes.size(); i++) embd.bytes[i] = static_cast<uint8_t>(i % 18 == 1 ? 0x2c : random());
    tensors.push_back(embd);
    struct {
        const char *name;
        uint64_t rows, cols;
    } const matrices[] = {{"attn_q", 1536, 1536},   {"attn_k", 1536, 1536}, {"attn_v", 1536, 1536},  {"attn_output", 1536, 1536},
                          {"ffn_gate", 4096, 1536}, {"ffn_up", 4096, 1536}, {"ffn_down", 1536, 4096}};
    for (const auto &m : matrices) {
        std::vector<int8_t> codes(m.rows * m.cols);
        for (auto &c : codes) c = static_cast<int8_t>(static_cast<int>(random() % 3) - 1);
        model_tensor like = {std::string("blk.0.") + m.name + ".weight", dtype, {m.cols, m.rows}, {}};
        tensors.push_back(ternary_tensor(like, dtype, codes, 0.03f, options));
    }
    for (const auto &[name, n] :
         {std::pair<const char *, uint64_t>{"attn_norm", 1536}, {"attn_sub_norm", 1536}, {"ffn_norm", 1536}, {"ffn_sub_norm", 4096}})
        tensors.push_back(floats(std::string("blk.0.") + name + ".weight", n));
    tensors.push_back(floats("output_norm.weight", 1536));
}

TEST(Variants, TableTypesHaveTheBitsOfI2SWhereTheirPresetIsNamed)
{
    const auto ids = some_ids(6);
    tn_ternary_options options = {};
    ASSERT_EQ(tn_tl_preset_find("bitnet_b1_58-large", &options.tl_preset), TN_OK);
    std::vector<std::string> digests;
    for (const tn_dtype dtype : {TN_DTYPE_I2_S, TN_DTYPE_TL1, TN_DTYPE_TL2}) {
        SCOPED_TRACE(tn_dtype_get(dtype)->name);
        model_changes changes;
        const std::string arch = "bitnet-b1.58";
        const std::vector<std::pair<std::string, uint32_t>> keys = {
            {".embedding_length", 1536},     {".feed_forward_length", 4096},   {".block_count", 1},
            {".attention.head_count", 24},   {".attention.head_count_kv", 24}, {".attention.key_length", 64},
            {".attention.value_length", 64}, {".rope.dimension_count", 64}};
        for (const auto &key : keys) changes.dropped_keys.push_back(arch + key.first);
        changes.more_keys = [=](tn_gguf_writer *w) {
            for (const auto &key : keys) ASSERT_EQ(tn_gguf_writer_u32(w, (arch + key.first).c_str(), key.second), TN_OK);
        };
        changes.tensors = [=](std::vector<model_tensor> &tensors) { make_large_layer(tensors, dtype, options); };
        const std::string path = temp(std::string("large_") + tn_dtype_get(dtype)->name);
        ASSERT_NO_FATAL_FAILURE(rewrite_model(default_model(), path, changes));
        run_options run;
        run.tl_preset = dtype == TN_DTYPE_I2_S ? nullptr : "bitnet_b1_58-large";
        digests.push_back(digest_of(path, ids, run));
        if (dtype == TN_DTYPE_I2_S) continue;
        EXPECT_EQ(open_status(path), TN_UNSUPPORTED);
        EXPECT_NE(std::string(tn_error_last()->message).find("--tl-preset"), std::string::npos) << tn_error_last()->message;
        tn_model_params wrong = TN_MODEL_PARAMS_INIT;
        wrong.tl_preset = "bitnet_b1_58-3B";
        tn_model *model = nullptr;
        EXPECT_EQ(tn_model_open(path.c_str(), &wrong, &model), TN_UNSUPPORTED);
        EXPECT_NE(std::string(tn_error_last()->message).find("has no"), std::string::npos) << tn_error_last()->message;
        std::remove(path.c_str());
    }
    EXPECT_EQ(digests[0], digests[1]);
    EXPECT_EQ(digests[0], digests[2]);
}

TEST(Variants, NamesOfOrdersAndPresetsAreChecked)
{
    tn_model *model = nullptr;
    tn_model_params params = TN_MODEL_PARAMS_INIT;
    params.i2s_layout = "big";
    EXPECT_EQ(tn_model_open(default_model().c_str(), &params, &model), TN_INVALID_ARGUMENT);
    EXPECT_NE(std::string(tn_error_last()->message).find("arm"), std::string::npos) << tn_error_last()->message;
    params.i2s_layout = nullptr;
    params.tl_preset = "small";
    EXPECT_EQ(tn_model_open(default_model().c_str(), &params, &model), TN_INVALID_ARGUMENT);
    EXPECT_NE(std::string(tn_error_last()->message).find("Llama3-8B-1.58"), std::string::npos) << tn_error_last()->message;
    EXPECT_EQ(model, nullptr);
}

TEST(Variants, EmbeddingsThatHoldTheSameValuesHaveTheSameBits)
{
    const auto ids = some_ids(140);
    const std::string as_it_is = digest_of(default_model(), ids);
    model_changes changes;
    changes.tensors = [](std::vector<model_tensor> &tensors) {
        for (auto &t : tensors)
            if (t.name == "token_embd.weight") t = dense_tensor(t, TN_DTYPE_F32);
    };
    ASSERT_NO_FATAL_FAILURE(rewrite_model(default_model(), temp("embd_f32"), changes));
    EXPECT_EQ(digest_of(temp("embd_f32"), ids), as_it_is);
    changes.tensors = [](std::vector<model_tensor> &tensors) {
        model_tensor head = *find_tensor(tensors, "token_embd.weight");
        head.name = "output.weight";
        tensors.push_back(head);
    };
    ASSERT_NO_FATAL_FAILURE(rewrite_model(default_model(), temp("untied"), changes));
    EXPECT_EQ(digest_of(temp("untied"), ids), as_it_is);
}

TEST(Variants, QuantisedHeadsHaveTheContractsBitsOnEveryIsaAndSplit)
{
    for (const auto &[name, dtype] : {std::pair<std::string, tn_dtype>{"q8_0", TN_DTYPE_Q8_0},
                                      {"q6_k", TN_DTYPE_Q6_K},
                                      {"bf16", TN_DTYPE_BF16},
                                      {"q5_k", TN_DTYPE_Q5_K},
                                      {"q4_k", TN_DTYPE_Q4_K},
                                      {"q5_1", TN_DTYPE_Q5_1},
                                      {"q5_0", TN_DTYPE_Q5_0},
                                      {"q4_1", TN_DTYPE_Q4_1},
                                      {"q4_0", TN_DTYPE_Q4_0}}) {
        SCOPED_TRACE(name);
        model_changes changes;
        const tn_dtype type = dtype;
        changes.tensors = [type](std::vector<model_tensor> &tensors) {
            for (auto &t : tensors)
                if (t.name == "token_embd.weight") t = dense_tensor(t, type);
        };
        const std::string path = temp("embd_" + name);
        ASSERT_NO_FATAL_FAILURE(rewrite_model(default_model(), path, changes));
        const golden g = read_golden("embd_" + name + ".golden");
        ASSERT_GE(g.ids.size(), 140u);
        for (const std::string &isa : sampled_isa_levels()) {
            if (is_quick() && isa == "scalar" && type != TN_DTYPE_Q6_K) continue; // the slowest by far
            run_options options;
            options.isa = isa;
            EXPECT_EQ(digest_of(path, g.ids, options), g.logits) << isa;
        }
        run_options split;
        split.cpu_devices = 2;
        split.threads = 2;
        split.devices = "cpu0,cpu1";
        split.ubatch = 33;
        EXPECT_EQ(digest_of(path, g.ids, split), g.logits);
    }
}

TEST(Variants, TheSiluModelHasTheContractsBits)
{
    const golden g = read_golden("silu.golden");
    ASSERT_GE(g.ids.size(), 140u);
    model_changes by_arch;
    by_arch.architecture = "bitnet";
    by_arch.dropped_keys = {"bitnet-b1.58.hidden_activation"};
    ASSERT_NO_FATAL_FAILURE(rewrite_model(default_model(), temp("silu_arch"), by_arch));
    EXPECT_EQ(digest_of(temp("silu_arch"), g.ids), g.logits);
    model_changes by_key;
    by_key.dropped_keys = {"bitnet-b1.58.hidden_activation"};
    by_key.more_keys = [](tn_gguf_writer *writer) {
        ASSERT_EQ(tn_gguf_writer_str(writer, "bitnet-b1.58.hidden_activation", "silu"), TN_OK);
    };
    ASSERT_NO_FATAL_FAILURE(rewrite_model(default_model(), temp("silu_key"), by_key));
    for (const std::string &isa : isa_levels()) {
        run_options options;
        options.isa = isa;
        EXPECT_EQ(digest_of(temp("silu_key"), g.ids, options), g.logits) << isa;
    }
    by_key.more_keys = [](tn_gguf_writer *) {};
    ASSERT_NO_FATAL_FAILURE(rewrite_model(default_model(), temp("no_activation_key"), by_key));
    EXPECT_EQ(digest_of(temp("no_activation_key"), g.ids), digest_of(default_model(), g.ids)); // this architecture means relu2
}

TEST(Variants, APoisonedSequenceFailsByNameAndLeavesTheOthersBitsAlone)
{
    const auto ids = some_ids(40);
    model_changes changes;
    changes.tensors = [](std::vector<model_tensor> &tensors) {
        model_tensor head = *find_tensor(tensors, "token_embd.weight");
        head.name = "output.weight"; // the head keeps its values
        tensors.push_back(head);
        model_tensor *embd = find_tensor(tensors, "token_embd.weight");
        *embd = dense_tensor(*embd, TN_DTYPE_F32);
        const float huge = std::ldexp(1.0f, 57);
        memcpy(embd->bytes.data() + (size_t(4000) * 256 + 3) * 4, &huge, 4); // one element of token 4000
    };
    ASSERT_NO_FATAL_FAILURE(rewrite_model(default_model(), temp("poison"), changes));
    for (const int32_t id : ids) ASSERT_NE(id, 4000);

    tn_host *host = nullptr;
    tn_model *model = nullptr;
    tn_session *session = nullptr;
    ASSERT_EQ(tn_host_open(nullptr, &host), TN_OK);
    ASSERT_EQ(tn_model_open(temp("poison").c_str(), nullptr, &model), TN_OK) << tn_error_last()->message;
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    params.no_recovery = true; // the device that is meant, and no other
    params.n_seqs_max = 2;
    ASSERT_EQ(tn_session_create(model, host, &params, &session), TN_OK);
    std::vector<int32_t> tokens;
    std::vector<uint32_t> seqs;
    for (const int32_t id : ids) {
        tokens.insert(tokens.end(), {id, tokens.size() == 20 ? 4000 : id});
        seqs.insert(seqs.end(), {0, 1});
    }
    tn_batch batch = TN_BATCH_INIT;
    batch.n_tokens = static_cast<uint32_t>(tokens.size());
    batch.tokens = tokens.data();
    batch.seqs = seqs.data();
    EXPECT_EQ(tn_session_decode(session, &batch), TN_POISON);
    EXPECT_NE(std::string(tn_error_last()->message).find("embed"), std::string::npos) << tn_error_last()->message;
    EXPECT_NE(std::string(tn_error_last()->message).find("position 10"), std::string::npos) << tn_error_last()->message;
    EXPECT_EQ(tn_session_seq_status(session, 0), TN_OK);
    EXPECT_EQ(tn_session_seq_status(session, 1), TN_POISON);
    tn_session_info info;
    tn_session_get_info(session, &info);
    run_result alone;
    ASSERT_NO_FATAL_FAILURE(run_model(temp("poison"), ids, {}, &alone));
    ASSERT_NE(tn_session_logits(session, 0), nullptr);
    EXPECT_EQ(hash(tn_session_logits(session, 0), info.n_vocab * sizeof(float)), alone.row_hash(39));
    EXPECT_EQ(tn_session_logits(session, 1), nullptr);

    batch.n_tokens = 1;
    batch.seqs = seqs.data() + 1;
    EXPECT_EQ(tn_session_decode(session, &batch), TN_POISON);
    ASSERT_EQ(tn_session_seq_truncate(session, 1, 0), TN_OK);
    batch.tokens = ids.data();
    batch.n_tokens = 40;
    const std::vector<uint32_t> second(40, 1);
    batch.seqs = second.data();
    ASSERT_EQ(tn_session_decode(session, &batch), TN_OK) << tn_error_last()->message;
    EXPECT_EQ(hash(tn_session_logits(session, 0), info.n_vocab * sizeof(float)), alone.row_hash(39));
    tn_session_destroy(session);
    tn_model_close(model);
    tn_host_close(host);
}

TEST(Variants, AFileCutShortWhileOpenIsAnErrorAndNotASignal)
{
    ASSERT_NO_FATAL_FAILURE(rewrite_model(default_model(), temp("cut"), {}));
    tn_host *host = nullptr;
    tn_model *model = nullptr;
    tn_session *session = nullptr;
    ASSERT_EQ(tn_host_open(nullptr, &host), TN_OK);
    ASSERT_EQ(tn_model_open(temp("cut").c_str(), nullptr, &model), TN_OK);
    ASSERT_EQ(truncate(temp("cut").c_str(), 500000), 0);
    EXPECT_EQ(tn_session_create(model, host, nullptr, &session), TN_IO);
    EXPECT_EQ(session, nullptr);
    EXPECT_NE(std::string(tn_error_last()->message).find("cut"), std::string::npos) << tn_error_last()->message;
    tn_model_close(model);
    tn_host_close(host);
}

TEST(Variants, DamagedModelsAreRefusedWithTheirReason)
{
    struct damage {
        const char *name;
        const char *message; // must be part of it
        tn_status status;
        std::function<void(model_changes &)> make;
    };
    const std::string arch = "bitnet-b1.58";
    const std::vector<damage> damages = {
        {"missing", "blk.2.ffn_up.weight", TN_BAD_FILE,
         [](model_changes &c) {
             c.tensors = [](std::vector<model_tensor> &t) {
                 for (size_t i = 0; i < t.size(); i++)
                     if (t[i].name == "blk.2.ffn_up.weight") t.erase(t.begin() + static_cast<std::ptrdiff_t>(i));
             };
         }},
        {"extra", "blk.0.attn_q.bias", TN_UNSUPPORTED,
         [](model_changes &c) {
             c.tensors = [](std::vector<model_tensor> &t) {
                 t.push_back({"blk.0.attn_q.bias", TN_DTYPE_F32, {256}, std::vector<uint8_t>(1024)});
             };
         }},
        {"shape", "needs", TN_BAD_FILE,
         [](model_changes &c) {
             c.tensors = [](std::vector<model_tensor> &t) { find_tensor(t, "blk.1.attn_q.weight")->ne = {128, 512}; };
         }},
        {"dense_layer", "F32", TN_UNSUPPORTED,
         [](model_changes &c) {
             c.tensors = [](std::vector<model_tensor> &t) {
                 *find_tensor(t, "blk.1.attn_q.weight") = {
                     "blk.1.attn_q.weight", TN_DTYPE_F32, {256, 256}, std::vector<uint8_t>(256 * 256 * 4)};
             };
         }},
        {"no_heads", "attention.head_count", TN_BAD_FILE, [&](model_changes &c) { c.dropped_keys = {arch + ".attention.head_count"}; }},
        {"no_eps", "epsilon", TN_BAD_FILE, [&](model_changes &c) { c.dropped_keys = {arch + ".attention.layer_norm_rms_epsilon"}; }},
        {"arch", "is not supported", TN_UNSUPPORTED, [](model_changes &c) { c.architecture = "mamba"; }},
        {"activation", "gelu", TN_UNSUPPORTED,
         [&](model_changes &c) {
             c.dropped_keys = {arch + ".hidden_activation"};
             c.more_keys = [](tn_gguf_writer *w) { ASSERT_EQ(tn_gguf_writer_str(w, "bitnet-b1.58.hidden_activation", "gelu"), TN_OK); };
         }},
        {"yarn", "yarn", TN_UNSUPPORTED,
         [](model_changes &c) {
             c.more_keys = [](tn_gguf_writer *w) { ASSERT_EQ(tn_gguf_writer_str(w, "bitnet-b1.58.rope.scaling.type", "yarn"), TN_OK); };
         }},
        {"hadamard", "prism.hadamard", TN_UNSUPPORTED,
         [](model_changes &c) {
             c.more_keys = [](tn_gguf_writer *w) { ASSERT_EQ(tn_gguf_writer_u32(w, "prism.hadamard.version", 1), TN_OK); };
         }},
        {"nan_scale", "scale", TN_BAD_FILE,
         [](model_changes &c) {
             c.tensors = [](std::vector<model_tensor> &t) {
                 auto *tensor = find_tensor(t, "blk.3.attn_v.weight");
                 const float nan = NAN;
                 memcpy(tensor->bytes.data() + tensor->bytes.size() - 32, &nan, 4);
             };
         }},
    };
    for (const auto &d : damages) {
        SCOPED_TRACE(d.name);
        model_changes changes;
        d.make(changes);
        ASSERT_NO_FATAL_FAILURE(rewrite_model(default_model(), temp(std::string("bad_") + d.name), changes));
        EXPECT_EQ(open_status(temp(std::string("bad_") + d.name)), d.status);
        EXPECT_NE(std::string(tn_error_last()->message).find(d.message), std::string::npos) << tn_error_last()->message;
        EXPECT_EQ(std::string(tn_error_last()->message).find('\n'), std::string::npos);
    }
}

// Gives a tensor of a file another type id whose blocks have the same size.
void patch_type(const std::string &path, const std::string &tensor, uint32_t from, uint32_t to)
{
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    std::string bytes(1 << 18, '\0');
    file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    file.clear();
    const std::string length(1, static_cast<char>(tensor.size()));
    const size_t at = bytes.find(length + std::string(7, '\0') + tensor) + 8 + tensor.size() + 4 + 2 * 8; // two dimensions
    uint32_t found = 0;
    ASSERT_LT(at, bytes.size() - 4);
    memcpy(&found, &bytes[at], 4);
    ASSERT_EQ(found, from);
    file.seekp(static_cast<std::streamoff>(at));
    file.write(reinterpret_cast<const char *>(&to), 4);
}

TEST(Variants, TypesThatAreNotReadAreRefusedByNameWithThoseThatAre)
{
    model_changes changes;
    changes.tensors = [](std::vector<model_tensor> &tensors) {
        retype(tensors, TN_DTYPE_TQ2_0);
        model_tensor *embd = find_tensor(tensors, "token_embd.weight");
        *embd = dense_tensor(*embd, TN_DTYPE_Q4_0);
    };
    const struct {
        const char *tensor;
        uint32_t from, to;
        const char *name, *instead;
    } cases[] = {{"token_embd.weight", 2, 20, "IQ4_NL", "Q4_K"}, {"blk.1.ffn_up.weight", 35, 16, "IQ2_XXS", "IQ2_BN"}};
    for (const auto &c : cases) {
        ASSERT_NO_FATAL_FAILURE(rewrite_model(default_model(), temp("refused_type"), changes));
        ASSERT_NO_FATAL_FAILURE(patch_type(temp("refused_type"), c.tensor, c.from, c.to));
        EXPECT_EQ(open_status(temp("refused_type")), TN_UNSUPPORTED);
        for (const char *part : {c.tensor, c.name, c.instead})
            EXPECT_NE(std::string(tn_error_last()->message).find(part), std::string::npos) << tn_error_last()->message;
    }
}

TEST(Variants, ACodeThatIsNoTernaryValueIsRefusedWhenItIsPacked)
{
    model_changes changes;
    changes.tensors = [](std::vector<model_tensor> &tensors) { find_tensor(tensors, "blk.4.ffn_down.weight")->bytes[777] = 0xff; };
    ASSERT_NO_FATAL_FAILURE(rewrite_model(default_model(), temp("code3"), changes));
    tn_host *host = nullptr;
    tn_model *model = nullptr;
    tn_session *session = nullptr;
    ASSERT_EQ(tn_host_open(nullptr, &host), TN_OK);
    ASSERT_EQ(tn_model_open(temp("code3").c_str(), nullptr, &model), TN_OK);
    EXPECT_EQ(tn_session_create(model, host, nullptr, &session), TN_BAD_FILE);
    EXPECT_NE(std::string(tn_error_last()->message).find("blk.4.ffn_down"), std::string::npos) << tn_error_last()->message;
    tn_model_close(model);
    tn_host_close(host);
}

TEST(Variants, GainsThatAreNoOrdinaryNumbersAreRefusedWhenTheyArePacked)
{
    for (const float gain : {NAN, -INFINITY, std::ldexp(1.0f, 56)}) {
        model_changes changes;
        changes.tensors = [gain](std::vector<model_tensor> &tensors) {
            memcpy(find_tensor(tensors, "blk.1.attn_norm.weight")->bytes.data() + 5 * 4, &gain, 4);
        };
        ASSERT_NO_FATAL_FAILURE(rewrite_model(default_model(), temp("gain"), changes));
        tn_host *host = nullptr;
        tn_model *model = nullptr;
        tn_session *session = nullptr;
        ASSERT_EQ(tn_host_open(nullptr, &host), TN_OK);
        ASSERT_EQ(tn_model_open(temp("gain").c_str(), nullptr, &model), TN_OK);
        EXPECT_EQ(tn_session_create(model, host, nullptr, &session), TN_BAD_FILE);
        EXPECT_NE(std::string(tn_error_last()->message).find("blk.1.attn_norm"), std::string::npos) << tn_error_last()->message;
        tn_model_close(model);
        tn_host_close(host);
    }
}

TEST(Variants, ANegativeScaleTensorTurnsTheCodesAround)
{
    const auto ids = some_ids(20);
    model_changes changes;
    changes.tensors = [](std::vector<model_tensor> &tensors) {
        auto *t = find_tensor(tensors, "blk.0.ffn_down.weight");
        float scale;
        auto codes = ternary_codes(*t, &scale);
        for (auto &c : codes) c = static_cast<int8_t>(-c);
        *t = ternary_tensor(*t, TN_DTYPE_I2_S, codes, scale);
        const float minus_one = -1.0f;
        model_tensor extra = {"blk.0.ffn_down.scale", TN_DTYPE_F32, {1}, std::vector<uint8_t>(4)};
        memcpy(extra.bytes.data(), &minus_one, 4);
        tensors.push_back(extra);
    };
    ASSERT_NO_FATAL_FAILURE(rewrite_model(default_model(), temp("negative_tensor"), changes));
    EXPECT_EQ(digest_of(temp("negative_tensor"), ids), digest_of(default_model(), ids));
}

TEST(Variants, AScaleTensorMultipliesTheMatrix)
{
    const auto ids = some_ids(20);
    model_changes doubled_by_tensor, doubled_in_place;
    doubled_by_tensor.tensors = [](std::vector<model_tensor> &tensors) {
        const float two = 2.0f;
        model_tensor scale = {"blk.0.ffn_down.scale", TN_DTYPE_F32, {1}, std::vector<uint8_t>(4)};
        memcpy(scale.bytes.data(), &two, 4);
        tensors.push_back(scale);
    };
    doubled_in_place.tensors = [](std::vector<model_tensor> &tensors) {
        auto *t = find_tensor(tensors, "blk.0.ffn_down.weight");
        float scale;
        const auto codes = ternary_codes(*t, &scale);
        *t = ternary_tensor(*t, TN_DTYPE_I2_S, codes, 2 * scale);
    };
    ASSERT_NO_FATAL_FAILURE(rewrite_model(default_model(), temp("scale_tensor"), doubled_by_tensor));
    ASSERT_NO_FATAL_FAILURE(rewrite_model(default_model(), temp("scale_doubled"), doubled_in_place));
    EXPECT_EQ(digest_of(temp("scale_tensor"), ids), digest_of(temp("scale_doubled"), ids));
    EXPECT_NE(digest_of(temp("scale_tensor"), ids), digest_of(default_model(), ids));
}

TEST(Variants, ANegativeScaleMeansTheOppositeCodes)
{
    const auto ids = some_ids(20);
    model_changes changes;
    changes.tensors = [](std::vector<model_tensor> &tensors) {
        auto *t = find_tensor(tensors, "blk.0.attn_v.weight");
        float scale;
        auto codes = ternary_codes(*t, &scale);
        for (auto &c : codes) c = static_cast<int8_t>(-c);
        *t = ternary_tensor(*t, TN_DTYPE_I2_S, codes, scale);
        const float negative = -scale;
        memcpy(t->bytes.data() + t->bytes.size() - 32, &negative, 4);
    };
    ASSERT_NO_FATAL_FAILURE(rewrite_model(default_model(), temp("negative"), changes));
    EXPECT_EQ(digest_of(temp("negative"), ids), digest_of(default_model(), ids));
}
