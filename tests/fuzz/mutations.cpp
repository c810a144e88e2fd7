// The mutations. Each is small and does one thing; a case gets one to four of them.
#include "fuzz/mutations.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>

namespace tn_test
{

uint64_t Rng::next()
{
    uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

namespace
{

using Kv = ModelFile::Kv;
using Tensor = ModelFile::Tensor;

const char *const words[] = {"",
                             "bitnet-b1.58",
                             "bitnet",
                             "bitnet-25",
                             "llama",
                             "gpt2",
                             "none",
                             "no_vocab",
                             "relu2",
                             "silu",
                             "linear",
                             "yarn",
                             "longrope",
                             "llama-bpe",
                             "default",
                             "llama3",
                             "qwen2",
                             "gpt-2",
                             "\n\x1b[2J",
                             "\xff\xfe",
                             "<0x41>",
                             "<|end_of_text|>",
                             "on",
                             "o n",
                             "\u2581",
                             "\u0120",
                             "{% for m in messages %}",
                             "{{ raise_exception('x') }}"};

const char *const more_keys[] = {"general.alignment",
                                 "general.architecture",
                                 "general.file_type",
                                 "general.quantization_version",
                                 "split.no",
                                 "split.count",
                                 "split.tensors.count",
                                 "prism.version",
                                 "prism.hadamard.x",
                                 "tokenizer.ggml.model",
                                 "tokenizer.ggml.pre",
                                 "tokenizer.ggml.bos_token_id",
                                 "tokenizer.ggml.eos_token_id",
                                 "tokenizer.ggml.eot_token_id",
                                 "tokenizer.ggml.eom_token_id",
                                 "tokenizer.ggml.unknown_token_id",
                                 "tokenizer.ggml.padding_token_id",
                                 "tokenizer.ggml.add_eos_token",
                                 "tokenizer.ggml.add_bos_token",
                                 "tokenizer.ggml.add_space_prefix",
                                 "tokenizer.ggml.remove_extra_whitespaces",
                                 "tokenizer.ggml.scores",
                                 "tokenizer.ggml.merges",
                                 "tokenizer.ggml.tokens",
                                 "tokenizer.ggml.token_type",
                                 "tokenizer.chat_template"};

const char *const hyperparameters[] = {"context_length",
                                       "embedding_length",
                                       "block_count",
                                       "feed_forward_length",
                                       "vocab_size",
                                       "attention.head_count",
                                       "attention.head_count_kv",
                                       "attention.key_length",
                                       "attention.value_length",
                                       "attention.layer_norm_rms_epsilon",
                                       "attention.sliding_window",
                                       "rope.dimension_count",
                                       "rope.freq_base",
                                       "rope.scaling.type",
                                       "rope.scaling.factor",
                                       "rope.scaling.original_context_length",
                                       "hidden_activation",
                                       "expert_count",
                                       "logit_scale"};

uint64_t odd_number(Rng &rng, uint64_t now)
{
    const uint64_t numbers[] = {0,          1,          2,           3,           7,           now + 1,    now - 1,    now * 2,
                                now / 2,    31,         64,          127,         128,         255,        256,        257,
                                65535,      65536,      0x7FFFFFFFu, 0x80000000u, 0xFFFFFFFFu, 1ull << 32, 1ull << 33, 1ull << 60,
                                1ull << 61, 1ull << 62, 1ull << 63,  ~0ull,       ~0ull - 1,   ~0ull - 31, 1ull << 24, rng.next()};
    return rng.of(numbers);
}

double odd_real(Rng &rng, double now)
{
    const double reals[] = {0.0,
                            -0.0,
                            1.0,
                            -1.0,
                            now * 2,
                            -now,
                            1e-45,
                            1e-30,
                            1e30,
                            3.4e38,
                            1e308,
                            0.5,
                            2.0,
                            1e-6,
                            10000.0,
                            1e6,
                            HUGE_VAL,
                            -HUGE_VAL,
                            static_cast<double>(__builtin_nan(""))};
    return rng.of(reals);
}

size_t scalar_bytes(uint32_t type)
{
    static const size_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return type < std::size(sizes) ? sizes[type] : 0;
}

Bytes odd_scalar(uint32_t type, const Bytes &now, Rng &rng)
{
    Bytes raw;
    if (type == kF32) {
        float value = 0;
        if (now.size() == sizeof value) std::memcpy(&value, now.data(), sizeof value);
        put(raw, static_cast<float>(odd_real(rng, static_cast<double>(value))));
    } else if (type == kF64) {
        put(raw, odd_real(rng, 1.0));
    } else {
        uint64_t value = 0;
        std::memcpy(&value, now.data(), std::min(now.size(), sizeof value));
        put(raw, odd_number(rng, value));
        raw.resize(std::max<size_t>(scalar_bytes(type), 1));
    }
    return raw;
}

// Keys with a number, those of the model and of the tokenizer first.
Kv *number_key(ModelFile &file, Rng &rng)
{
    std::vector<Kv *> numbers;
    for (auto &kv : file.kvs) {
        if (scalar_bytes(kv.type) != 0) numbers.push_back(&kv);
    }
    return numbers.empty() ? nullptr : rng.of(numbers);
}

Kv *array_key(ModelFile &file, Rng &rng)
{
    std::vector<Kv *> arrays;
    for (auto &kv : file.kvs) {
        if (kv.type == kArray && kv.raw.size() >= 12) arrays.push_back(&kv);
    }
    return arrays.empty() ? nullptr : rng.of(arrays);
}

std::string change_number(ModelFile &file, Rng &rng)
{
    Kv *kv = number_key(file, rng);
    if (!kv) return "";
    kv->raw = odd_scalar(kv->type, kv->raw, rng);
    return "value of " + kv->key;
}

// The same number in another type, or the bytes under another type.
std::string change_value_type(ModelFile &file, Rng &rng)
{
    if (file.kvs.empty()) return "";
    Kv &kv = rng.of(file.kvs);
    const uint32_t odd_types[] = {13, 14, 99, 0x80000000u, 0xFFFFFFFFu};
    const uint32_t type = rng.one_in(6) ? rng.of(odd_types) : static_cast<uint32_t>(rng.below(13));
    if (scalar_bytes(kv.type) && scalar_bytes(type) && !rng.one_in(4)) kv.raw.resize(scalar_bytes(type));
    kv.type = type;
    return "type of " + kv.key;
}

std::string change_key(ModelFile &file, Rng &rng)
{
    if (file.kvs.empty()) return "";
    Kv &kv = rng.of(file.kvs);
    const std::string before = kv.key;
    switch (rng.below(6)) {
    case 0: kv.key = rng.of(file.kvs).key; break;
    case 1: kv.key.clear(); break;
    case 2: kv.key += std::string(rng.one_in(2) ? 70000 : 200, 'k'); break;
    case 3: kv.key_length = odd_number(rng, kv.key.size()); break;
    case 4: kv.key = rng.of(more_keys); break;
    default:
        if (!kv.key.empty()) kv.key[rng.below(kv.key.size())] = static_cast<char>(rng.next());
    }
    return "key " + before;
}

std::string drop_or_move_key(ModelFile &file, Rng &rng)
{
    if (file.kvs.empty()) return "";
    const size_t at = rng.below(file.kvs.size());
    const std::string key = file.kvs[at].key;
    if (rng.one_in(2)) {
        std::swap(file.kvs[at], rng.of(file.kvs));
        return "place of " + key;
    }
    file.kvs.erase(file.kvs.begin() + static_cast<std::ptrdiff_t>(at));
    return "without " + key;
}

// An array of any type: two numbers alike, and mostly a third.
void add_array_key(ModelFile &file, const std::string &key, Rng &rng)
{
    const uint32_t type = rng.one_in(2) ? kU32 : static_cast<uint32_t>(rng.below(13));
    const size_t bytes = scalar_bytes(type), n = bytes == 0 ? 0 : 2 + rng.below(2);
    Kv kv;
    kv.key = key;
    kv.type = kArray;
    put<uint32_t>(kv.raw, type);
    put<uint64_t>(kv.raw, n);
    for (size_t i = 0; i < n; i++) {
        Bytes element(bytes);
        element[0] = static_cast<uint8_t>(1 + i / 2);
        if (rng.one_in(4)) element = odd_scalar(type, element, rng);
        kv.raw.insert(kv.raw.end(), element.begin(), element.end());
    }
    file.kvs.push_back(std::move(kv));
}

std::string add_key(ModelFile &file, Rng &rng)
{
    std::string key = rng.of(more_keys);
    if (rng.one_in(2) && !file.kvs.empty()) {
        const Kv &first = file.kvs.front(); // the architecture, mostly
        if (first.type == kString && first.raw.size() > 8)
            key = std::string(first.raw.begin() + 8, first.raw.end()) + "." + rng.of(hyperparameters);
    }
    if (rng.one_in(2)) {
        const auto same = [&key](const Kv &kv) { return kv.key == key; };
        file.kvs.erase(std::remove_if(file.kvs.begin(), file.kvs.end(), same), file.kvs.end());
    }
    switch (rng.below(5)) {
    case 0: file.add<uint32_t>(key, static_cast<uint32_t>(odd_number(rng, 32))); break;
    case 1: file.add<float>(key, static_cast<float>(odd_real(rng, 1.0))); break;
    case 2: file.add(key, rng.one_in(2)); break;
    case 3: add_array_key(file, key, rng); break;
    default: file.add(key, rng.of(words));
    }
    return "with " + key;
}

std::string change_string(ModelFile &file, Rng &rng)
{
    std::vector<Kv *> strings;
    for (auto &kv : file.kvs) {
        if (kv.type == kString && kv.raw.size() >= 8) strings.push_back(&kv);
    }
    if (strings.empty()) return "";
    Kv &kv = *rng.of(strings);
    if (rng.one_in(4)) {
        patch<uint64_t>(kv.raw, 0, odd_number(rng, kv.raw.size() - 8));
    } else if (rng.one_in(2) && kv.raw.size() > 8) {
        kv.raw[8 + rng.below(kv.raw.size() - 8)] = static_cast<uint8_t>(rng.next());
    } else {
        kv.raw.clear();
        put_str(kv.raw, rng.of(words));
    }
    return "text of " + kv.key;
}

std::string change_counts(ModelFile &file, Rng &rng)
{
    if (rng.one_in(2)) {
        file.n_kv = odd_number(rng, file.kvs.size());
        return "n_kv";
    }
    file.n_tensors = odd_number(rng, file.tensors.size());
    return "n_tensors";
}

std::string change_array_head(ModelFile &file, Rng &rng)
{
    Kv *kv = array_key(file, rng);
    if (!kv) return "";
    uint64_t n;
    std::memcpy(&n, kv->raw.data() + 4, sizeof n);
    if (rng.one_in(2)) {
        patch<uint64_t>(kv->raw, 4, odd_number(rng, n));
        return "count of " + kv->key;
    }
    patch<uint32_t>(kv->raw, 0, rng.one_in(4) ? static_cast<uint32_t>(rng.next()) : static_cast<uint32_t>(rng.below(14)));
    return "element type of " + kv->key;
}

std::vector<std::string> strings_of(const Kv &kv)
{
    std::vector<std::string> all;
    for (size_t at = 12; at + 8 <= kv.raw.size();) {
        uint64_t len;
        std::memcpy(&len, kv.raw.data() + at, sizeof len);
        at += 8;
        if (len > kv.raw.size() - at) break;
        all.emplace_back(kv.raw.begin() + static_cast<std::ptrdiff_t>(at), kv.raw.begin() + static_cast<std::ptrdiff_t>(at + len));
        at += len;
    }
    return all;
}

void set_strings(Kv &kv, const std::vector<std::string> &all)
{
    kv.raw.clear();
    put<uint32_t>(kv.raw, kString);
    put<uint64_t>(kv.raw, all.size());
    for (const auto &text : all) put_str(kv.raw, text);
}

// Tokens and merges: one of them other, missing or twice, with a count that fits.
std::string change_string_table(ModelFile &file, Rng &rng)
{
    Kv *kv = array_key(file, rng);
    if (!kv || kv->raw[0] != kString) return "";
    std::vector<std::string> all = strings_of(*kv);
    if (all.empty()) return "";
    const size_t at = rng.below(all.size());
    switch (rng.below(8)) {
    case 0: all.erase(all.begin() + static_cast<std::ptrdiff_t>(at)); break;
    case 1: all.push_back(rng.of(words)); break;
    case 2: all[at] = rng.of(all); break;
    case 3: all[at] += all[rng.below(all.size())]; break;
    case 4: all[at].assign(rng.one_in(2) ? 70000 : 300, 'a'); break;
    case 5: std::swap(all[at], rng.of(all)); break;
    case 6: all[at] = rng.of(words); break;
    default:
        if (all[at].empty()) return "";
        all[at][rng.below(all[at].size())] = static_cast<char>(rng.next());
    }
    set_strings(*kv, all);
    return "entry of " + kv->key;
}

// Scores and kinds.
std::string change_number_table(ModelFile &file, Rng &rng)
{
    Kv *kv = array_key(file, rng);
    if (!kv) return "";
    const size_t bytes = scalar_bytes(kv->raw[0]);
    if (bytes == 0 || kv->raw.size() < 12 + bytes) return "";
    const size_t n = (kv->raw.size() - 12) / bytes, at = 12 + rng.below(n) * bytes;
    if (rng.one_in(5)) { // one entry more or less
        kv->raw.resize(kv->raw.size() + (rng.one_in(2) ? bytes : 0) - (rng.one_in(2) ? bytes : 0));
        patch<uint64_t>(kv->raw, 4, (kv->raw.size() - 12) / bytes);
        return "length of " + kv->key;
    }
    const auto begin = kv->raw.begin() + static_cast<std::ptrdiff_t>(at);
    const Bytes value = kv->raw[0] == kI32 && rng.one_in(2)
                            ? Bytes{static_cast<uint8_t>(rng.below(8)), 0, 0, 0}
                            : odd_scalar(kv->raw[0], Bytes(begin, begin + static_cast<std::ptrdiff_t>(bytes)), rng);
    std::copy(value.begin(), value.begin() + static_cast<std::ptrdiff_t>(std::min(bytes, value.size())), begin);
    return "entry of " + kv->key;
}

std::string change_dimensions(ModelFile &file, Rng &rng)
{
    if (file.tensors.empty()) return "";
    Tensor &t = rng.of(file.tensors);
    switch (rng.below(4)) {
    case 0: t.n_dims = static_cast<uint32_t>(rng.one_in(3) ? odd_number(rng, t.ne.size()) : rng.below(6)); break;
    case 1: t.ne.push_back(rng.one_in(2) ? 1 : odd_number(rng, 1)); break;
    case 2: std::reverse(t.ne.begin(), t.ne.end()); break;
    default:
        if (t.ne.empty()) return "";
        uint64_t &ne = rng.of(t.ne);
        ne = odd_number(rng, ne);
    }
    return "shape of " + t.name;
}

// Every id that files use, those of several meanings, and ids of nobody; mostly with as many bytes as such a tensor has.
std::string change_tensor_type(ModelFile &file, Rng &rng)
{
    if (file.tensors.empty()) return "";
    Tensor &t = rng.of(file.tensors);
    const uint32_t ids[] = {static_cast<uint32_t>(rng.below(48)),  static_cast<uint32_t>(130 + rng.below(30)), 36, 38, 39, 40, 41, 42, 335,
                            static_cast<uint32_t>(rng.below(400)), static_cast<uint32_t>(rng.next())};
    t.type = rng.of(ids);
    uint64_t n = 1;
    for (uint64_t ne : t.ne) n = ne < (1u << 16) && n < (1u << 24) ? n * ne : 0;
    const auto bytes = n == 0 || t.ne.empty() ? std::nullopt : file_type_bytes(t.type, t.ne[0], n);
    if (bytes && *bytes < (1u << 20) && !rng.one_in(4)) {
        const size_t before = t.data.size();
        t.data.resize(*bytes);
        for (size_t i = before; i < t.data.size(); i++) t.data[i] = static_cast<uint8_t>(rng.next() & 0x55);
    }
    return "type of " + t.name + " is " + std::to_string(t.type);
}

std::string change_tensor_name(ModelFile &file, Rng &rng)
{
    if (file.tensors.empty()) return "";
    Tensor &t = rng.of(file.tensors);
    const std::string before = t.name;
    static const char *const names[] = {"",
                                        "output.weight",
                                        "rope_freqs.weight",
                                        "blk.0.attn_q.scale",
                                        "blk.0.attn_q.bias",
                                        "blk.1.attn_q.weight",
                                        "blk.4294967296.attn_q.weight",
                                        "token_embd.weight",
                                        "token_embd.scale"};
    switch (rng.below(4)) {
    case 0: t.name = rng.of(file.tensors).name; break;
    case 1: t.name = rng.of(names); break;
    case 2: t.name += std::string(rng.one_in(2) ? 64 : 5000, 'n'); break;
    default:
        if (!t.name.empty()) t.name[rng.below(t.name.size())] = static_cast<char>(rng.next());
    }
    return "name of " + before;
}

std::string drop_or_move_tensor(ModelFile &file, Rng &rng)
{
    if (file.tensors.empty()) return "";
    const size_t at = rng.below(file.tensors.size());
    const std::string name = file.tensors[at].name;
    switch (rng.below(4)) {
    case 0: file.tensors.erase(file.tensors.begin() + static_cast<std::ptrdiff_t>(at)); return "without " + name;
    case 1: file.tensors.push_back(Tensor(file.tensors[at])); return name + " twice";
    case 2: std::swap(file.tensors[at].data, rng.of(file.tensors).data); return "data of " + name;
    default: std::swap(file.tensors[at], rng.of(file.tensors)); return "place of " + name;
    }
}

std::string change_offset(ModelFile &file, Rng &rng)
{
    if (file.tensors.empty()) return "";
    const size_t at = rng.below(file.tensors.size());
    uint64_t here = 0;
    for (size_t i = 0; i < at; i++) here += (file.tensors[i].data.size() + 31) / 32 * 32;
    const uint64_t offsets[] = {0,        1,          here + 1,   here + 32, here - 32,  here + 64,
                                here * 2, 1ull << 32, 1ull << 63, ~0ull,     ~0ull - 31, here | 16};
    file.tensors[at].offset = rng.of(offsets);
    return "offset of " + file.tensors[at].name;
}

std::string change_alignment(ModelFile &file, Rng &rng)
{
    const uint32_t values[] = {0, 1, 3, 8, 16, 32, 48, 64, 256, 4096, 65536, 0x20000, 0x80000000u, 0xFFFFFFFFu};
    const uint32_t value = rng.of(values);
    file.add<uint32_t>("general.alignment", value);
    if (value >= 8 && value <= 4096 && (value & (value - 1)) == 0 && !rng.one_in(3)) file.alignment = value;
    return "alignment " + std::to_string(value);
}

std::string change_head(ModelFile &file, Rng &rng)
{
    const uint32_t versions[] = {0, 1, 2, 4, 0x03000000u, 0xFFFFFFFFu};
    if (rng.one_in(3))
        file.magic = rng.one_in(2) ? "GGML" : "FUGG";
    else
        file.version = rng.of(versions);
    return "magic or version";
}

// A number in the place of a scale: at either end of the data or of a block, or anywhere.
std::string change_scale(ModelFile &file, Rng &rng)
{
    if (file.tensors.empty()) return "";
    Tensor &t = rng.of(file.tensors);
    if (t.data.size() < 4) return "";
    const uint16_t halves[] = {0x7C00, 0xFC00, 0x7E00, 0x7BFF, 0x8000, 0xBC00, 1, 0x3C00, 0xFFFF, 0};
    const float floats[] = {HUGE_VALF, -HUGE_VALF, __builtin_nanf(""), 1e-45f, -0.5f, 3e38f, 7.2e16f, 0.0f, -0.0f, 1.0f};
    const size_t block_sizes[] = {13, 16, 18, 32, 34, 54, 66, 110, 144, 210};
    const size_t block = rng.of(block_sizes), nth = rng.below(t.data.size() / block + 1) * block;
    const size_t places[] = {0,
                             t.data.size() - 4,
                             t.data.size() < 32 ? 0 : t.data.size() - 32,
                             nth,
                             nth >= 2 ? nth - 2 : nth,
                             nth >= 4 ? nth - 4 : nth,
                             rng.below(t.data.size() - 3)};
    const size_t at = std::min(rng.of(places), t.data.size() - 4);
    if (rng.one_in(2))
        patch<uint16_t>(t.data, at, rng.of(halves));
    else
        patch<float>(t.data, at, rng.of(floats));
    return "a number in " + t.name;
}

std::string change_codes(ModelFile &file, Rng &rng)
{
    if (file.tensors.empty()) return "";
    Tensor &t = rng.of(file.tensors);
    if (t.data.empty()) return "";
    const uint8_t fills[] = {0xFF, 0x00, 0x03, 0xC0, 0x55, 0xAA, 0xF3};
    const size_t at = rng.below(t.data.size()), n = std::min(t.data.size() - at, size_t{1} << rng.below(8));
    const bool random = rng.one_in(3);
    const uint8_t fill = rng.of(fills);
    for (size_t i = at; i < at + n; i++) t.data[i] = random ? static_cast<uint8_t>(rng.next()) : fill;
    return "codes of " + t.name;
}

std::string change_length_of_data(ModelFile &file, Rng &rng)
{
    if (file.tensors.empty()) return "";
    Tensor &t = rng.of(file.tensors);
    const size_t sizes[] = {0, t.data.size() - 1, t.data.size() / 2, t.data.size() + 32, t.data.size() + 1};
    t.data.resize(t.data.empty() ? 32 : rng.of(sizes));
    return "bytes of " + t.name;
}

} // namespace

std::string mutate_structure(ModelFile &file, Rng &rng)
{
    // Written more than once: what keeps files alive far into the load, so that depth is reached.
    static std::string (*const all[])(ModelFile &, Rng &) = {
        change_number,
        change_number,
        change_number,
        change_value_type,
        change_key,
        drop_or_move_key,
        add_key,
        add_key,
        change_string,
        change_counts,
        change_array_head,
        change_string_table,
        change_string_table,
        change_string_table,
        change_number_table,
        change_number_table,
        change_number_table,
        change_dimensions,
        change_tensor_type,
        change_tensor_type,
        change_tensor_name,
        drop_or_move_tensor,
        change_offset,
        change_alignment,
        change_head,
        change_scale,
        change_scale,
        change_scale,
        change_codes,
        change_codes,
        change_codes,
        change_length_of_data,
    };
    for (int tries = 0; tries < 20; tries++) {
        const std::string done = rng.of(all)(file, rng);
        if (!done.empty()) return done;
    }
    return "nothing";
}

std::string mutate_bytes(Bytes &bytes, const std::vector<size_t> &boundaries, Rng &rng)
{
    const size_t boundary = std::min(boundaries.empty() ? 0 : rng.of(boundaries), bytes.size());
    switch (rng.below(5)) {
    case 0: bytes.resize(std::min(bytes.size(), boundary + rng.below(3))); return "cut at " + std::to_string(bytes.size());
    case 1: bytes.resize(bytes.size() + 1 + rng.below(4096), static_cast<uint8_t>(rng.next())); return "longer";
    case 2: { // a part of the file over another
        if (bytes.size() < 2) return "nothing";
        const size_t from = rng.below(bytes.size()), n = std::min(bytes.size() - std::max(from, boundary), rng.below(64));
        std::memmove(bytes.data() + boundary, bytes.data() + from, n);
        return "copy to " + std::to_string(boundary);
    }
    default: {
        const size_t n = 1 + rng.below(8);
        for (size_t i = 0; i < n && !bytes.empty(); i++) {
            const size_t where = rng.one_in(2) ? std::min(boundary + rng.below(24), bytes.size() - 1) : rng.below(bytes.size());
            bytes[where] ^= static_cast<uint8_t>(1u << rng.below(8));
        }
        return std::to_string(n) + " bits";
    }
    }
}

} // namespace tn_test
