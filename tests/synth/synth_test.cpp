// Tests of synthetic models as files: sizes, types, values, vocabulary, and what is refused.
#include "synth/synth_support.hpp"

#include <cmath>
#include <csignal>
#include <set>
#include <sys/resource.h>

extern "C" {
#include "format/gguf.h"
#include "format/ternary.h"
#include "model/synth_shape.h"
}

using namespace tn_test;

namespace
{

// ---- the same bytes everywhere ----

TEST(Synth, BytesAreThoseOfTheSeed)
{
    // Made once; they may not change with machine, compiler or instruction set, so nobody's measurements change with them.
    const struct {
        const char *type, *embd, *hash;
    } cases[] = {{"i2_s", "q8_0", "78e71a84a4442a83"}, {"TQ1_0", "f16", "a5caf57a73cb6498"}, {"tq2_0", "Q6_K", "cd1452b7448065df"}};
    TempFolder folder;
    const std::string path = folder.at("a.gguf");
    for (const auto &c : cases) {
        tn_synth_params p = small_shape(path);
        p.type = c.type;
        p.embd = c.embd;
        p.overwrite = true;
        const std::string bytes = made(p);
        EXPECT_EQ(hash(bytes.data(), bytes.size()), c.hash) << c.type;
        EXPECT_EQ(made(p), bytes);
        p.seed = 8;
        EXPECT_NE(made(p), bytes);
    }
    EXPECT_EQ(folder.names().size(), 1u);
}

// ---- sizes ----

struct Published {
    const char *shape;
    uint32_t n_tensors;
    uint64_t file_bytes; // of the published I2_S file with f16 embedding
};

// The tensors of a shape have the bytes of the published file but for its metadata, a few MB of vocabulary.
TEST(Synth, ShapesHaveTheSizesOfPublishedFiles)
{
    const Published published[] = {{"2b-4t", 332, 1187801280},
                                   {"falcon3-1b", 18 * 9 + 3, 1361904672},
                                   {"falcon3-3b", 22 * 9 + 3, 2221465632},
                                   {"falcon3-7b", 28 * 9 + 3, 3278680768},
                                   {"falcon3-10b", 40 * 9 + 3, 3991393696}};
    for (const Published &want : published) {
        tn_synth_params p = TN_SYNTH_PARAMS_INIT;
        p.shape = want.shape;
        tn_synth_shape shape;
        ASSERT_EQ(tn_synth_shape_resolve(&p, &shape), TN_OK) << last_message();
        EXPECT_EQ(tn_synth_n_tensors(&shape), want.n_tensors) << want.shape;
        uint64_t sum = 0;
        for (uint32_t i = 0; i < tn_synth_n_tensors(&shape); i++) {
            const tn_synth_tensor t = tn_synth_tensor_at(&shape, i);
            uint64_t bytes = 0;
            ASSERT_EQ(tn_dtype_size(t.dtype, t.n_cols, uint64_t{t.n_rows} * t.n_cols, &bytes), TN_OK);
            sum += (bytes + 31) / 32 * 32;
        }
        EXPECT_LT(sum, want.file_bytes) << want.shape;
        EXPECT_GT(sum + 12000000, want.file_bytes) << want.shape;
    }
}

struct Named {
    const char *shape, *arch;
    uint32_t n_layers, n_embd, n_ff, n_heads, n_kv_heads, head_dim, n_vocab;
    bool tied;
};

TEST(Synth, NamedShapesAreThoseOfTheModels)
{
    const Named named[] = {{"2b-4t", "bitnet-b1.58", 30, 2560, 6912, 20, 5, 128, 128256, true},
                           {"large", "bitnet", 24, 1536, 4096, 16, 16, 96, 32002, true},
                           {"0.7b", "bitnet", 24, 1536, 4096, 16, 16, 96, 32002, true},
                           {"llama3-8b", "llama", 32, 4096, 14336, 32, 8, 128, 128256, false},
                           {"falcon3-1b", "llama", 18, 2048, 8192, 8, 4, 256, 131072, false},
                           {"falcon3-3b", "llama", 22, 3072, 9216, 12, 4, 256, 131072, false},
                           {"falcon3-7b", "llama", 28, 3072, 23040, 12, 4, 256, 131072, false},
                           {"falcon3-10b", "llama", 40, 3072, 23040, 12, 4, 256, 131072, false},
                           {"100b", "bitnet-b1.58", 88, 10240, 28672, 80, 10, 128, 128256, true}};
    for (const Named &n : named) {
        tn_synth_params p = TN_SYNTH_PARAMS_INIT;
        p.shape = n.shape;
        tn_synth_shape s;
        ASSERT_EQ(tn_synth_shape_resolve(&p, &s), TN_OK) << last_message();
        EXPECT_STREQ(s.arch, n.arch) << n.shape;
        EXPECT_EQ(std::vector<uint32_t>({s.n_layers, s.n_embd, s.n_ff, s.n_heads, s.n_kv_heads, s.head_dim, s.n_vocab}),
                  std::vector<uint32_t>({n.n_layers, n.n_embd, n.n_ff, n.n_heads, n.n_kv_heads, n.head_dim, n.n_vocab}))
            << n.shape;
        EXPECT_EQ(s.tied, n.tied) << n.shape;
    }
}

// ---- every type that is written, read back ----

struct File {
    tn_gguf *gguf = nullptr;
    explicit File(const std::string &path) { EXPECT_EQ(tn_gguf_open(path.c_str(), nullptr, &gguf), TN_OK) << last_message(); }
    ~File() { tn_gguf_destroy(gguf); }
    File(const File &) = delete;
    File &operator=(const File &) = delete;
};

TEST(Synth, EveryWrittenTypeIsReadBack)
{
    TempFolder folder;
    const std::string path = folder.at("a.gguf");
    int ternary = 0, dense = 0;
    for (int d = TN_DTYPE_NONE + 1; d < TN_DTYPE_OTHER; d++) {
        const tn_dtype_info *info = tn_dtype_get(static_cast<tn_dtype>(d));
        tn_synth_params p = small_shape(path);
        p.overwrite = true;
        p.n_vocab = 320;
        (info->class_ == TN_CLASS_TERNARY ? p.type : p.embd) = info->name;
        const tn_status status = tn_synth(&p);
        if (status == TN_INVALID_ARGUMENT && last_message().find("cannot be the type of") != std::string::npos) continue;
        ASSERT_EQ(status, TN_OK) << info->name << ": " << last_message();
        (info->class_ == TN_CLASS_TERNARY ? ternary : dense)++;
        run_result result;
        run_model(path, {1, 2, 300}, {}, &result);
        EXPECT_EQ(result.logits.size(), 3u * 320) << info->name;
        File file(path);
        const tn_gguf_tensor *t =
            tn_gguf_find_tensor(file.gguf, info->class_ == TN_CLASS_TERNARY ? "blk.1.ffn_down.weight" : "token_embd.weight");
        ASSERT_NE(t, nullptr);
        EXPECT_EQ(t->dtype, info->dtype) << info->name;
    }
    EXPECT_GE(ternary, 3);
    EXPECT_GE(dense, 5);
}

// ---- values ----

TEST(Synth, CodesAreBalancedAndRowsDiffer)
{
    TempFolder folder;
    const std::string path = folder.at("a.gguf");
    for (const char *type : {"i2_s", "tq1_0", "tq2_0"}) {
        tn_synth_params p = small_shape(path);
        p.type = type;
        p.n_ff = 2048;
        p.overwrite = true;
        ASSERT_EQ(tn_synth(&p), TN_OK) << last_message();
        File file(path);
        std::set<std::vector<int8_t>> rows;
        size_t n_rows = 0, n = 0, zeros = 0;
        int64_t sum = 0;
        for (const char *name : {"blk.0.ffn_gate.weight", "blk.0.ffn_up.weight", "blk.1.ffn_gate.weight", "blk.1.attn_q.weight"}) {
            tn_ternary_tensor t;
            ASSERT_EQ(tn_ternary_open(tn_gguf_find_tensor(file.gguf, name), &t), TN_OK) << last_message();
            EXPECT_NEAR(t.scale, (std::string(name).find("attn") != std::string::npos ? 1.2 : 1.0) / std::sqrt(0.62 * 256), 1e-4);
            std::vector<int8_t> row(t.n_cols);
            std::vector<int64_t> columns(t.n_cols);
            for (uint32_t r = 0; r < t.n_rows; r++, n_rows++) {
                ASSERT_EQ(tn_ternary_read_rows(&t, r, 1, row.data()), TN_OK) << last_message();
                for (size_t c = 0; c < row.size(); c++) {
                    zeros += row[c] == 0;
                    sum += row[c];
                    columns[c] += row[c];
                }
                n += row.size();
                rows.insert(row);
            }
            for (int64_t c : columns) EXPECT_LT(std::abs(static_cast<double>(c)), 5 * std::sqrt(0.62 * t.n_rows)) << name;
        }
        EXPECT_EQ(rows.size(), n_rows) << type;
        EXPECT_NEAR(static_cast<double>(zeros) / static_cast<double>(n), 0.38, 0.005) << type;
        EXPECT_NEAR(static_cast<double>(sum) / static_cast<double>(n), 0, 0.005) << type;
    }
}

// ---- vocabulary ----

struct Vocabulary {
    const char *shape;
    int32_t bos, eos, eot; // eot -1: none
    bool adds_bos;
};

TEST(Synth, VocabulariesHaveTheFamilysSpecialTokens)
{
    const Vocabulary all[] = {{"2b-4t", 128000, 128001, 128009, true},
                              {"large", 1, 2, -1, true},
                              {"falcon3-1b", 11, 11, -1, false},
                              {"custom", 598, 599, -1, true}};
    TempFolder folder;
    const std::string path = folder.at("a.gguf"), text = "Hello, wORLD of\ttoken\xc3\xa4s \xf0\x9f\x8e\x88! \xff\x00\x01 end";
    for (const Vocabulary &v : all) {
        tn_synth_params p = small_shape(path);
        p.shape = v.shape;
        p.n_embd = 128;
        p.n_heads = 2;
        p.n_vocab = std::string(v.shape) == "custom" ? 600 : 0;
        p.overwrite = true;
        ASSERT_EQ(tn_synth(&p), TN_OK) << last_message();
        tn_model_params load = TN_MODEL_PARAMS_INIT;
        load.load = TN_MODEL_LOAD_TOKENIZER;
        tn_model *model = nullptr;
        ASSERT_EQ(tn_model_open(path.c_str(), &load, &model), TN_OK) << last_message();
        const tn_tokenizer *t = tn_model_tokenizer(model);
        EXPECT_EQ(tn_tokenizer_bos(t), v.bos) << v.shape;
        EXPECT_EQ(tn_tokenizer_eos(t), v.eos) << v.shape;
        EXPECT_EQ(tn_tokenizer_adds_bos(t), v.adds_bos) << v.shape;
        EXPECT_TRUE(tn_tokenizer_is_eog(t, v.eos));
        if (v.eot >= 0) {
            EXPECT_TRUE(tn_tokenizer_is_eog(t, v.eot));
        }
        std::set<std::string> pieces;
        for (int32_t id = 0; id < tn_tokenizer_n_vocab(t); id++) {
            char bytes[64];
            size_t len = 0;
            ASSERT_EQ(tn_tokenizer_decode_token(t, id, true, bytes, sizeof bytes, &len), TN_OK);
            EXPECT_TRUE(pieces.insert(std::string(bytes, len)).second) << v.shape << ": token " << id << " is there twice";
        }
        std::vector<int32_t> ids(100);
        size_t n = 0;
        ASSERT_EQ(tn_tokenizer_encode(t, text.data(), text.size(), 0, ids.data(), ids.size(), &n), TN_OK);
        ASSERT_LE(n, ids.size());
        EXPECT_LT(n, text.size()); // merges are used
        std::string back;
        for (size_t i = 0; i < n; i++) {
            char bytes[64];
            size_t len = 0;
            ASSERT_EQ(tn_tokenizer_decode_token(t, ids[i], false, bytes, sizeof bytes, &len), TN_OK);
            back.append(bytes, len);
        }
        EXPECT_EQ(back, text) << v.shape;
        tn_model_close(model);
    }
}

// ---- refusals ----

TEST(Synth, TypesThatDoNotFitAreRefusedWithThoseThatDo)
{
    const struct {
        const char *shape, *type, *embd;
        uint32_t n_ff;
        const char *parts[3];
    } cases[] = {
        {"3b", "i2_s", "f16", 0, {"'blk.0.ffn_down.weight' has rows of 8640", "I2_S needs a multiple of 128", ""}},
        {"3b", "tq1_0", "f16", 0, {"'blk.0.attn_q.weight' has rows of 3200", "TQ1_0 needs a multiple of 256", ""}},
        {"3b", "tq2_0", "f16", 8704, {"rows of 3200", "TQ2_0 needs a multiple of 256", "types that fit this shape: I2_S"}},
        {"3b",
         "i2_s",
         "q6_k",
         8704,
         {"'token_embd.weight'", "Q6_K needs a multiple of 256", "types that fit this shape: F32, F16, BF16, Q8_0"}},
    };
    TempFolder folder;
    const std::string path = folder.at("a.gguf");
    for (const auto &c : cases) {
        tn_synth_params p = TN_SYNTH_PARAMS_INIT;
        p.shape = c.shape;
        p.output_path = path.c_str();
        p.type = c.type;
        p.embd = c.embd;
        p.n_ff = c.n_ff;
        EXPECT_EQ(tn_synth(&p), TN_UNSUPPORTED) << c.type;
        for (const char *part : c.parts) EXPECT_NE(last_message().find(part), std::string::npos) << last_message();
    }
    EXPECT_TRUE(folder.names().empty());
}

struct Refused {
    const char *name;
    void (*change)(tn_synth_params *);
    const char *text;
};

class SynthRefusals : public testing::TestWithParam<Refused>
{
};
INSTANTIATE_TEST_SUITE_P(
    Synth, SynthRefusals,
    testing::Values(Refused{"Shape", [](tn_synth_params *p) { p->shape = "4b"; }, "there is no shape '4b'; there are 2b-4t, "},
                    Refused{"NoShape", [](tn_synth_params *p) { p->shape = nullptr; }, "needs a shape"},
                    Refused{"Type", [](tn_synth_params *p) { p->type = "q3"; }, "there is no tensor type 'q3' here; there are F32, "},
                    Refused{"DenseWeights", [](tn_synth_params *p) { p->type = "f16"; }, "F16 cannot be the type of the weights"},
                    Refused{"TernaryHead", [](tn_synth_params *p) { p->embd = "i2_s"; }, "I2_S cannot be the type of the embedding"},
                    Refused{"Arch", [](tn_synth_params *p) { p->arch = "gpt2"; }, "there is no architecture 'gpt2'"},
                    Refused{"NoLayers", [](tn_synth_params *p) { p->n_layers = 0; }, "needs the number of layers"},
                    Refused{"ManyLayers", [](tn_synth_params *p) { p->n_layers = 1025; }, "1 to 1024"},
                    Refused{"UnevenHeads", [](tn_synth_params *p) { p->n_heads = 3; }, "3 heads do not divide"},
                    Refused{"UnevenKv", [](tn_synth_params *p) { p->n_kv_heads = 3; }, "4 heads cannot share 3"},
                    Refused{"OddHead", [](tn_synth_params *p) { p->head_dim = 33; }, "is odd"},
                    Refused{"Vocabulary", [](tn_synth_params *p) { p->n_vocab = 258; }, "260 to 16777216"},
                    Refused{"Huge", [](tn_synth_params *p) { p->n_heads = 1u << 24, p->head_dim = 65536; }, "wider than any model"},
                    Refused{"Head", [](tn_synth_params *p) { p->head = static_cast<tn_synth_head>(3); }, "tn_synth_head"},
                    Refused{"Version", [](tn_synth_params *p) { p->struct_size = 4096; }, "tn_synth_params.struct_size is 4096"}),
    [](const auto &i) { return std::string(i.param.name); });

TEST_P(SynthRefusals, NameTheReasonAndLeaveNothing)
{
    TempFolder folder;
    const std::string path = folder.at("a.gguf");
    tn_synth_params p = small_shape(path);
    GetParam().change(&p);
    EXPECT_EQ(tn_synth(&p), TN_INVALID_ARGUMENT);
    EXPECT_NE(last_message().find(GetParam().text), std::string::npos) << last_message();
    EXPECT_TRUE(folder.names().empty());
}

TEST(Synth, ReplacesOnlyWhereAsked)
{
    TempFolder folder;
    folder.write("a.gguf", "before");
    const std::string path = folder.at("a.gguf");
    tn_synth_params p = small_shape(path);
    EXPECT_EQ(tn_synth(&p), TN_INVALID_ARGUMENT);
    EXPECT_EQ(folder.read("a.gguf"), "before");
    p.overwrite = true;
    EXPECT_EQ(tn_synth(&p), TN_OK) << last_message();
    EXPECT_EQ(folder.names(), std::vector<std::string>{"a.gguf"});
}

TEST(Synth, AFullDiskLeavesNothing)
{
    TempFolder folder;
    const std::string path = folder.at("a.gguf");
    const tn_synth_params p = small_shape(path);
    struct rlimit old;
    getrlimit(RLIMIT_FSIZE, &old);
    const auto ignored = signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {200000, old.rlim_max}; // a limit on file sizes fails in write, as a full disk does
    setrlimit(RLIMIT_FSIZE, &limit);
    const tn_status status = tn_synth(&p);
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, ignored);
    EXPECT_EQ(status, TN_IO);
    EXPECT_NE(last_message().find("free some space"), std::string::npos) << last_message();
    EXPECT_TRUE(folder.names().empty());
}

TEST(Synth, LeavesNothingWhenCancelledAnywhere)
{
    struct Watch {
        int left;
        static bool update(void *user, const char *stage, uint64_t done, uint64_t total)
        {
            EXPECT_STREQ(stage, "synth");
            EXPECT_LE(done, total);
            return static_cast<Watch *>(user)->left-- > 0;
        }
    };
    TempFolder folder;
    const std::string path = folder.at("a.gguf");
    tn_synth_params p = small_shape(path);
    int stops = 0;
    for (;; stops++) {
        Watch watch = {stops};
        p.progress = {Watch::update, &watch};
        const tn_status status = tn_synth(&p);
        if (status == TN_OK) break;
        ASSERT_EQ(status, TN_CANCELLED);
        ASSERT_TRUE(folder.names().empty());
    }
    EXPECT_GE(stops, 24); // at least once a tensor
}

} // namespace
