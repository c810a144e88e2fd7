// Makes the seeds. What is in the library's tables is taken from there, so that a new type or architecture joins by itself.
#include "support/seed_models.hpp"

#include <random>

extern "C" {
#include "format/dense.h"
#include "format/file_type.h"
#include "model/loader.h"
}

namespace tn_test
{

namespace
{

constexpr uint32_t type_ids_end = 512; // above every id of the table

const char *const chat_template = "{% for message in messages %}{{ '<|user|>' + message['content'] + '<|end_of_text|>' }}{% endfor %}"
                                  "{% if add_generation_prompt %}{{ '<|begin|>' }}{% endif %}";

// The id that means `dtype`, and its row of the table.
const tn_file_type *type_of(tn_dtype dtype)
{
    for (uint32_t id = 0; id < type_ids_end; id++) {
        for (unsigned dialect = 1; dialect < TN_DIALECT_ALL; dialect <<= 1) {
            const tn_file_type *type = tn_file_type_find(id, dialect);
            if (type && type->dtype == dtype) return type;
        }
    }
    return nullptr;
}

std::vector<tn_dtype> dtypes_of(tn_dtype_class class_)
{
    std::vector<tn_dtype> all;
    for (int d = TN_DTYPE_NONE + 1; d < TN_DTYPE_OTHER; d++) {
        // TL1 and TL2 open only with a preset, whose smallest matrix is larger than a seed should be.
        if (d == TN_DTYPE_TL1 || d == TN_DTYPE_TL2) continue;
        if (tn_dtype_get(static_cast<tn_dtype>(d))->class_ == class_) all.push_back(static_cast<tn_dtype>(d));
    }
    return all;
}

class Maker
{
  public:
    // `width` suits the blocks of both types.
    Maker(tn_dtype ternary, tn_dtype dense, unsigned seed) : ternary_(ternary), dense_(dense), rng_(seed)
    {
        const uint32_t blocks = std::max(tn_dtype_get(ternary)->block_elements, tn_dtype_get(dense)->block_elements);
        width_ = blocks > 128 ? 256 : 128;
    }

    uint32_t width() const { return width_; }

    ModelFile::Tensor ternary_tensor(const std::string &name, uint64_t n_out)
    {
        ModelFile::Tensor t = empty(name, {width_, n_out}, ternary_);
        std::vector<int8_t> codes(width_ * n_out);
        for (auto &code : codes) code = static_cast<int8_t>(static_cast<int>(rng_() % 3) - 1);
        if (tn_ternary_write(ternary_, codes.data(), static_cast<uint32_t>(n_out), width_, 0.05f, t.data.data()) != TN_OK) fill(t.data);
        return t;
    }
    ModelFile::Tensor dense_tensor(const std::string &name, uint64_t n_out)
    {
        ModelFile::Tensor t = empty(name, {width_, n_out}, dense_);
        std::vector<float> values(width_ * n_out);
        for (auto &value : values) value = static_cast<float>(rng_() % 2001) / 1000.0f - 1.0f;
        if (tn_dense_from_f32(dense_, values.data(), values.size(), t.data.data()) != TN_OK) fill(t.data);
        return t;
    }
    static ModelFile::Tensor gains(const std::string &name, uint64_t n, float value = 1.0f)
    {
        ModelFile::Tensor t = empty(name, {n}, TN_DTYPE_F32);
        for (size_t i = 0; i < n; i++) std::memcpy(t.data.data() + i * sizeof value, &value, sizeof value);
        return t;
    }

  private:
    static ModelFile::Tensor empty(const std::string &name, std::vector<uint64_t> ne, tn_dtype dtype)
    {
        ModelFile::Tensor t;
        const tn_file_type *type = type_of(dtype);
        uint64_t n = 1, bytes = 0;
        for (uint64_t d : ne) n *= d;
        if (!type || !tn_file_type_size(type, ne[0], n, &bytes)) throw std::runtime_error("no seed of this type: " + name);
        t.name = name;
        t.ne = std::move(ne);
        t.type = type->id;
        t.data.resize(bytes);
        return t;
    }
    // For types that the library does not write: codes of two bits are 0 or 1, and numbers are finite wherever they lie.
    void fill(Bytes &data)
    {
        for (auto &byte : data) byte = static_cast<uint8_t>(rng_() & 0x55);
    }

    tn_dtype ternary_, dense_;
    uint32_t width_;
    std::minstd_rand rng_;
};

struct Vocabulary {
    std::string model, pre; // pre "": not named
    std::vector<std::string> tokens, merges;
    std::vector<int32_t> kinds;
    std::vector<float> scores;
    uint32_t bos = 0, eos = 0;
};

Vocabulary byte_level(const std::string &pre)
{
    Vocabulary v;
    v.model = "gpt2";
    v.pre = pre;
    for (char c = 'a'; c <= 'w'; c++) v.tokens.push_back(std::string(1, c));
    for (const char *token : {"\u0120", "\u010a", "1", "2", "on", "\u0120a", "<|user|>", "<|begin|>", "<|end_of_text|>"})
        v.tokens.push_back(token);
    v.kinds.assign(v.tokens.size(), 1);
    v.kinds[29] = 4;
    v.kinds[30] = v.kinds[31] = 3;
    v.merges = {"o n", "\u0120 a"};
    v.bos = 30;
    v.eos = 31;
    return v;
}

Vocabulary sentence_pieces()
{
    Vocabulary v;
    v.model = "llama";
    v.pre = "default";
    const auto token = [&v](const std::string &text, int32_t kind, float score) {
        v.tokens.push_back(text);
        v.kinds.push_back(kind);
        v.scores.push_back(score);
    };
    token("<unk>", 2, 0);
    token("<s>", 3, 0);
    token("</s>", 3, 0);
    for (int byte = 0; byte < 256; byte++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", static_cast<unsigned>(byte));
        token(text, 6, 0);
    }
    float score = -1;
    for (const char *piece : {"\u2581", "o", "n", "a", "e", "on", "ce", "c", "\u2581a", "\u2581on", "up", "u", "p"})
        token(piece, 1, score--);
    token("<|user|>", 4, 0);
    v.bos = 1;
    v.eos = 2;
    return v;
}

void add_vocabulary(ModelFile &file, const Vocabulary &v)
{
    file.add("tokenizer.ggml.model", v.model);
    if (!v.pre.empty()) file.add("tokenizer.ggml.pre", v.pre);
    file.add_strings("tokenizer.ggml.tokens", v.tokens);
    file.add_array("tokenizer.ggml.token_type", v.kinds);
    if (!v.scores.empty()) file.add_array("tokenizer.ggml.scores", v.scores);
    if (!v.merges.empty()) file.add_strings("tokenizer.ggml.merges", v.merges);
    file.add<uint32_t>("tokenizer.ggml.bos_token_id", v.bos);
    file.add<uint32_t>("tokenizer.ggml.eos_token_id", v.eos);
    file.add("tokenizer.ggml.add_bos_token", true);
    file.add("tokenizer.chat_template", chat_template);
}

void add_hyperparameters(ModelFile &file, const std::string &arch, uint32_t width, bool unusual)
{
    const std::pair<const char *, uint32_t> numbers[] = {
        {"context_length", 8},       {"embedding_length", width},    {"block_count", 1}, {"feed_forward_length", width},
        {"attention.head_count", 2}, {"attention.head_count_kv", 1}, {"vocab_size", 0}};
    file.add("general.architecture", arch);
    file.add("general.name", "seed");
    for (const auto &[key, value] : numbers) {
        if (unusual && key == std::string("attention.head_count"))
            file.add_array<uint32_t>(arch + "." + key, {value}); // one a layer
        else
            file.add<uint32_t>(arch + "." + key, value);
    }
    file.add<uint32_t>(arch + ".attention.key_length", width / 2);
    file.add<uint32_t>(arch + ".attention.value_length", width / 2);
    file.add<uint32_t>(arch + ".rope.dimension_count", width / 2);
    file.add<float>(arch + ".attention.layer_norm_rms_epsilon", 1e-5f);
    file.add<float>(arch + ".rope.freq_base", 10000.0f);
    if (!unusual) return;
    file.add(arch + ".hidden_activation", "silu");
    file.add(arch + ".rope.scaling.type", "linear");
    file.add<float>(arch + ".rope.scaling.factor", 2.0f);
}

struct Plan {
    std::string arch;
    tn_dtype ternary, dense;
    bool sub_norms, untied, rope_scaling, split;
    Vocabulary vocabulary;
};

void add_tensors(ModelFile &file, const Plan &plan, Maker &maker)
{
    const uint64_t width = maker.width(), n_vocab = plan.vocabulary.tokens.size();
    file.tensors.push_back(maker.dense_tensor("token_embd.weight", n_vocab));
    for (const char *name : {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"}) {
        const bool narrow = name == std::string("attn_k") || name == std::string("attn_v");
        file.tensors.push_back(maker.ternary_tensor(std::string("blk.0.") + name + ".weight", narrow ? width / 2 : width));
    }
    for (const char *name : {"attn_norm", "ffn_norm"})
        file.tensors.push_back(Maker::gains(std::string("blk.0.") + name + ".weight", width));
    if (plan.sub_norms) {
        file.tensors.push_back(Maker::gains("blk.0.attn_sub_norm.weight", width));
        file.tensors.push_back(Maker::gains("blk.0.ffn_sub_norm.weight", width));
    }
    file.tensors.push_back(Maker::gains("output_norm.weight", width));
    if (plan.untied) file.tensors.push_back(maker.dense_tensor("output.weight", n_vocab));
    if (plan.rope_scaling) {
        file.tensors.push_back(Maker::gains("rope_freqs.weight", width / 4, 1.5f));
        file.tensors.push_back(Maker::gains("blk.0.attn_q.scale", 1, 0.5f));
    }
}

// The second half of the tensors goes to a second file.
std::vector<ModelFile> split(ModelFile whole)
{
    ModelFile second;
    const size_t n = whole.tensors.size(), half = n / 2;
    second.tensors.assign(whole.tensors.begin() + static_cast<std::ptrdiff_t>(half), whole.tensors.end());
    whole.tensors.resize(half);
    std::vector<ModelFile> parts = {std::move(whole), std::move(second)};
    for (uint16_t no = 0; no < 2; no++) {
        parts[no].add<uint16_t>("split.no", no);
        parts[no].add<uint16_t>("split.count", 2);
        parts[no].add<int32_t>("split.tensors.count", static_cast<int32_t>(n));
    }
    return parts;
}

SeedModel make(const Plan &plan, unsigned seed)
{
    Maker maker(plan.ternary, plan.dense, seed);
    ModelFile file;
    add_hyperparameters(file, plan.arch, maker.width(), plan.rope_scaling);
    add_vocabulary(file, plan.vocabulary);
    add_tensors(file, plan, maker);
    SeedModel model;
    model.architecture = plan.arch;
    model.ternary = tn_dtype_get(plan.ternary)->name;
    model.dense = tn_dtype_get(plan.dense)->name;
    model.name = plan.arch + "/" + model.ternary + "/" + model.dense + "/" + plan.vocabulary.model + (plan.sub_norms ? "/sub-norms" : "") +
                 (plan.untied ? "/untied" : "") + (plan.rope_scaling ? "/rope" : "") + (plan.split ? "/split" : "");
    model.parts = plan.split ? split(std::move(file)) : std::vector<ModelFile>{std::move(file)};
    return model;
}

} // namespace

void ModelFile::add(const std::string &key, const std::string &value)
{
    Bytes raw;
    put_str(raw, value);
    kvs.push_back({key, kString, raw, {}});
}

void ModelFile::add_strings(const std::string &key, const std::vector<std::string> &values)
{
    Bytes raw;
    put<uint32_t>(raw, kString);
    put<uint64_t>(raw, values.size());
    for (const auto &value : values) put_str(raw, value);
    kvs.push_back({key, kArray, raw, {}});
}

Bytes ModelFile::build(std::vector<size_t> *out_boundaries) const
{
    std::vector<size_t> boundaries;
    Bytes out(magic.begin(), magic.end());
    const auto round_up = [this](uint64_t n) { return (n + alignment - 1) / alignment * alignment; };
    put<uint32_t>(out, version);
    put<uint64_t>(out, n_tensors.value_or(tensors.size()));
    put<uint64_t>(out, n_kv.value_or(kvs.size()));
    for (const auto &kv : kvs) {
        boundaries.push_back(out.size());
        put<uint64_t>(out, kv.key_length.value_or(kv.key.size()));
        out.insert(out.end(), kv.key.begin(), kv.key.end());
        boundaries.push_back(out.size());
        put<uint32_t>(out, kv.type);
        out.insert(out.end(), kv.raw.begin(), kv.raw.end());
    }
    uint64_t offset = 0;
    for (const auto &tensor : tensors) {
        boundaries.push_back(out.size());
        put_str(out, tensor.name);
        put<uint32_t>(out, tensor.n_dims.value_or(static_cast<uint32_t>(tensor.ne.size())));
        for (uint64_t ne : tensor.ne) put<uint64_t>(out, ne);
        put<uint32_t>(out, tensor.type);
        put<uint64_t>(out, tensor.offset.value_or(offset));
        offset = round_up(offset + tensor.data.size());
    }
    boundaries.push_back(out.size());
    out.resize(round_up(out.size()));
    for (const auto &tensor : tensors) {
        boundaries.push_back(out.size());
        out.insert(out.end(), tensor.data.begin(), tensor.data.end());
        out.resize(round_up(out.size()));
    }
    boundaries.push_back(out.size());
    if (out_boundaries) *out_boundaries = std::move(boundaries);
    return out;
}

std::vector<std::string> known_architectures()
{
    size_t n = 0;
    const tn_arch *archs = tn_arch_list(&n);
    std::vector<std::string> names;
    for (size_t i = 0; i < n; i++) names.push_back(archs[i].name);
    return names;
}

std::vector<std::string> known_types(bool ternary)
{
    std::vector<std::string> names;
    for (tn_dtype dtype : dtypes_of(ternary ? TN_CLASS_TERNARY : TN_CLASS_DENSE)) names.push_back(tn_dtype_get(dtype)->name);
    return names;
}

std::vector<SeedModel> make_seed_models()
{
    const auto ternary = dtypes_of(TN_CLASS_TERNARY), dense = dtypes_of(TN_CLASS_DENSE);
    const Vocabulary vocabularies[] = {byte_level("llama-bpe"), sentence_pieces(), byte_level("default"), byte_level("")};
    const auto archs = known_architectures();
    std::vector<SeedModel> seeds;
    // Every architecture with every ternary type, and at least as many as there are dense types; the rest goes round.
    const size_t n_pairs = archs.size() * ternary.size(), n = std::max(n_pairs, dense.size() * 3);
    for (size_t i = 0; i < n; i++) {
        for (size_t v = 0; v < 2; v++) { // a byte-level and another vocabulary, so that one refused does not lose the pair
            Plan plan = {archs[i % archs.size()],
                         ternary[i / archs.size() % ternary.size()],
                         dense[(i / 3 + v) % dense.size()],
                         false,
                         i % 2 == 1,
                         i % 3 == 2,
                         i % 4 == 3,
                         {}};
            plan.vocabulary = v == 0 ? vocabularies[(i % 2) * 2] : vocabularies[1 + i % 2 * 2];
            for (bool sub_norms : {false, true}) {
                plan.sub_norms = sub_norms;
                seeds.push_back(make(plan, static_cast<unsigned>(i + 1)));
            }
        }
    }
    return seeds;
}

std::string write_seed_model(const std::string &folder, const std::vector<Bytes> &parts)
{
    if (parts.size() == 1) {
        write_file(folder + "/model.gguf", parts[0]);
        return folder + "/model.gguf";
    }
    std::string first;
    for (size_t i = 0; i < parts.size(); i++) {
        char name[64];
        snprintf(name, sizeof name, "/model-%05zu-of-%05zu.gguf", i + 1, parts.size());
        write_file(folder + name, parts[i]);
        if (i == 0) first = folder + name;
    }
    return first;
}

std::optional<uint64_t> file_type_bytes(uint32_t id, uint64_t ne0, uint64_t n)
{
    for (unsigned dialect = 1; dialect < TN_DIALECT_ALL; dialect <<= 1) {
        const tn_file_type *type = tn_file_type_find(id, dialect);
        uint64_t bytes = 0;
        if (type && tn_file_type_size(type, ne0, n, &bytes) && bytes < (1u << 24)) return bytes;
    }
    return {};
}

} // namespace tn_test
