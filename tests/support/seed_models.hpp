// Tiny whole models of every family, tensor type and tokenizer that the library has tables for, as data that a test may damage.
#ifndef TN_TESTS_SEED_MODELS_HPP
#define TN_TESTS_SEED_MODELS_HPP

#include "support/gguf_builder.hpp"

#include <optional>

namespace tn_test
{

// A GGUF file taken apart. The optional fields say in the file what is not so.
struct ModelFile {
    struct Kv {
        std::string key;
        uint32_t type = 0;
        Bytes raw; // of the value, arrays with their element type and count
        std::optional<uint64_t> key_length;
    };
    struct Tensor {
        std::string name;
        std::vector<uint64_t> ne;
        uint32_t type = 0;
        Bytes data;
        std::optional<uint32_t> n_dims;
        std::optional<uint64_t> offset;
    };
    std::string magic = "GGUF";
    uint32_t version = 3;
    uint64_t alignment = 32; // of the layout, whatever a key says
    std::optional<uint64_t> n_kv, n_tensors;
    std::vector<Kv> kvs;
    std::vector<Tensor> tensors;

    template <typename T> void add(const std::string &key, T value)
    {
        Bytes raw;
        put<std::conditional_t<std::is_same_v<T, bool>, uint8_t, T>>(raw, value);
        kvs.push_back({key, value_type<T>(), raw, {}});
    }
    void add(const std::string &key, const std::string &value);
    void add(const std::string &key, const char *value) { add(key, std::string(value)); }
    void add_strings(const std::string &key, const std::vector<std::string> &values);
    template <typename T> void add_array(const std::string &key, const std::vector<T> &values)
    {
        Bytes raw;
        put<uint32_t>(raw, value_type<T>());
        put<uint64_t>(raw, values.size());
        for (T value : values) put(raw, value);
        kvs.push_back({key, kArray, raw, {}});
    }
    // Where a part of the file ends and the next begins: header, entries, tensors' data.
    Bytes build(std::vector<size_t> *out_boundaries = nullptr) const;
};

struct SeedModel {
    std::string name; // "bitnet/I2_S/F16/gpt2"
    std::string architecture, ternary, dense;
    std::vector<ModelFile> parts; // more than one: a split model
};

// Names of the library's tables, for a check that seeds of each are there.
std::vector<std::string> known_architectures();
std::vector<std::string> known_types(bool ternary);

// All seeds. An architecture is tried with and without sub-norms, a tokenizer kind may be one that this version refuses: keep
// those that open.
std::vector<SeedModel> make_seed_models();

// The files of a split model are named as the format wants it; returns the path to open.
std::string write_seed_model(const std::string &folder, const std::vector<Bytes> &parts);

// Bytes of a tensor of this type id in some dialect with rows of ne0 elements; nothing where such a tensor cannot be.
std::optional<uint64_t> file_type_bytes(uint32_t id, uint64_t ne0, uint64_t n);

} // namespace tn_test

#endif
