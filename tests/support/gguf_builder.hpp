// Builds the bytes of GGUF files for tests, correct ones and, by patching, wrong ones. Shares no code with the library.
#ifndef TN_TESTS_GGUF_BUILDER_HPP
#define TN_TESTS_GGUF_BUILDER_HPP

#include <cstdint>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace tn_test
{

using Bytes = std::vector<uint8_t>;

// Appends a number, little-endian.
template <typename T> void put(Bytes &out, T value)
{
    static_assert(std::is_arithmetic_v<T>);
    uint8_t raw[sizeof(T)];
    std::memcpy(raw, &value, sizeof raw); // tests run on little-endian hosts
    out.insert(out.end(), raw, raw + sizeof raw);
}

inline void put_str(Bytes &out, const std::string &text)
{
    put<uint64_t>(out, text.size());
    out.insert(out.end(), text.begin(), text.end());
}

template <typename T> void patch(Bytes &bytes, size_t at, T value)
{
    if (at + sizeof value > bytes.size()) throw std::out_of_range("patch past the end of the file");
    std::memcpy(bytes.data() + at, &value, sizeof value);
}

// Position of the first occurrence of `text` in the file.
inline size_t find_text(const Bytes &bytes, const std::string &text)
{
    const std::string all(bytes.begin(), bytes.end());
    const size_t at = all.find(text);
    if (at == std::string::npos) throw std::out_of_range("\"" + text + "\" is not in the file");
    return at;
}

inline void write_file(const std::string &path, const Bytes &bytes)
{
    std::ofstream out(path, std::ios::binary | std::ios::trunc);
    out.write(reinterpret_cast<const char *>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    if (!out) throw std::runtime_error("cannot write " + path);
}

// Value type ids of the format.
enum : uint32_t { kU8, kI8, kU16, kI16, kU32, kI32, kF32, kBool, kString, kArray, kU64, kI64, kF64 };

template <typename T> constexpr uint32_t value_type()
{
    if constexpr (std::is_same_v<T, bool>) return kBool;
    if constexpr (std::is_same_v<T, uint8_t>) return kU8;
    if constexpr (std::is_same_v<T, int8_t>) return kI8;
    if constexpr (std::is_same_v<T, uint16_t>) return kU16;
    if constexpr (std::is_same_v<T, int16_t>) return kI16;
    if constexpr (std::is_same_v<T, uint32_t>) return kU32;
    if constexpr (std::is_same_v<T, int32_t>) return kI32;
    if constexpr (std::is_same_v<T, float>) return kF32;
    if constexpr (std::is_same_v<T, uint64_t>) return kU64;
    if constexpr (std::is_same_v<T, int64_t>) return kI64;
    if constexpr (std::is_same_v<T, double>) return kF64;
}

// Where the interesting fields of a built file are, for patching.
struct GgufMap {
    static constexpr size_t version = 4, n_tensors = 8, n_kv = 16, first_kv = 24;
    struct Tensor {
        size_t name, n_dims, ne, type, offset; // positions: of the name's length, of ne[0], ...
    };
    std::vector<Tensor> tensors;
    std::vector<size_t> kvs; // of the key's length
    size_t meta_end = 0, data = 0;
};

class GgufBuilder
{
  public:
    uint32_t version = 3;
    uint64_t alignment = 32; // used for placing; align() also writes the key
    bool pad_last = true;    // whether the last tensor's padding is in the file

    template <typename T> GgufBuilder &kv(const std::string &key, T value)
    {
        Bytes raw;
        if constexpr (std::is_same_v<T, bool>) {
            put<uint8_t>(raw, value ? 1 : 0);
        } else {
            put(raw, value);
        }
        return kv_raw(key, value_type<T>(), raw);
    }
    GgufBuilder &kv(const std::string &key, const std::string &value)
    {
        Bytes raw;
        put_str(raw, value);
        return kv_raw(key, kString, raw);
    }
    GgufBuilder &kv(const std::string &key, const char *value) { return kv(key, std::string(value)); }
    template <typename T> GgufBuilder &kv_array(const std::string &key, const std::vector<T> &values)
    {
        Bytes raw;
        if constexpr (std::is_same_v<T, std::string>) {
            put<uint32_t>(raw, kString);
            put<uint64_t>(raw, values.size());
            for (const auto &value : values) put_str(raw, value);
        } else {
            put<uint32_t>(raw, value_type<T>());
            put<uint64_t>(raw, values.size());
            for (auto value : values) put<std::conditional_t<std::is_same_v<T, bool>, uint8_t, T>>(raw, value);
        }
        return kv_raw(key, kArray, raw);
    }
    // Any type id and any bytes.
    GgufBuilder &kv_raw(const std::string &key, uint32_t type, Bytes raw)
    {
        kvs_.push_back({key, type, std::move(raw)});
        return *this;
    }
    GgufBuilder &align(uint32_t value)
    {
        alignment = value;
        return kv<uint32_t>("general.alignment", value);
    }
    // A tensor with these bytes, right after the one before.
    GgufBuilder &tensor(const std::string &name, std::vector<uint64_t> ne, uint32_t type, Bytes data)
    {
        tensors_.push_back({name, std::move(ne), type, std::move(data)});
        return *this;
    }
    // The same with `size` bytes of a pattern.
    GgufBuilder &tensor(const std::string &name, std::vector<uint64_t> ne, uint32_t type, size_t size)
    {
        Bytes data(size);
        for (size_t i = 0; i < size; ++i) data[i] = static_cast<uint8_t>(i * 7 + tensors_.size());
        return tensor(name, std::move(ne), type, std::move(data));
    }
    template <typename T>
    GgufBuilder &tensor(const std::string &name, std::vector<uint64_t> ne, uint32_t type, const std::vector<T> &values)
    {
        Bytes data;
        for (T value : values) put(data, value);
        return tensor(name, std::move(ne), type, std::move(data));
    }

    Bytes build(GgufMap *out_map = nullptr) const
    {
        GgufMap map;
        Bytes out = {'G', 'G', 'U', 'F'};
        put<uint32_t>(out, version);
        put<uint64_t>(out, tensors_.size());
        put<uint64_t>(out, kvs_.size());
        for (const auto &kv : kvs_) {
            map.kvs.push_back(out.size());
            put_str(out, kv.key);
            put<uint32_t>(out, kv.type);
            out.insert(out.end(), kv.raw.begin(), kv.raw.end());
        }
        uint64_t offset = 0;
        for (const auto &tensor : tensors_) {
            GgufMap::Tensor at{};
            at.name = out.size();
            put_str(out, tensor.name);
            at.n_dims = out.size();
            put<uint32_t>(out, static_cast<uint32_t>(tensor.ne.size()));
            at.ne = out.size();
            for (uint64_t ne : tensor.ne) put<uint64_t>(out, ne);
            at.type = out.size();
            put<uint32_t>(out, tensor.type);
            at.offset = out.size();
            put<uint64_t>(out, offset);
            offset = round_up(offset + tensor.data.size());
            map.tensors.push_back(at);
        }
        map.meta_end = out.size();
        if (!tensors_.empty()) out.resize(round_up(out.size()));
        map.data = out.size();
        for (size_t i = 0; i < tensors_.size(); ++i) {
            out.insert(out.end(), tensors_[i].data.begin(), tensors_[i].data.end());
            if (i + 1 < tensors_.size() || pad_last) out.resize(map.data + round_up(out.size() - map.data));
        }
        if (out_map != nullptr) *out_map = map;
        return out;
    }

  private:
    struct Kv {
        std::string key;
        uint32_t type;
        Bytes raw;
    };
    struct Tensor {
        std::string name;
        std::vector<uint64_t> ne;
        uint32_t type;
        Bytes data;
    };
    uint64_t round_up(uint64_t n) const { return (n + alignment - 1) / alignment * alignment; }

    std::vector<Kv> kvs_;
    std::vector<Tensor> tensors_;
};

} // namespace tn_test

#endif
