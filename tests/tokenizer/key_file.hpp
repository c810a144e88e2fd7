// GGUF files that hold keys only, for the tests of tokenizers.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

extern "C" {
#include "format/gguf.h"
}

namespace tokenizer_support
{

// A GGUF file with keys and no tensors, byte by byte.
class KeyFile
{
  public:
    KeyFile &str(const std::string &key, const std::string &value)
    {
        return add(key, TN_GGUF_STRING, [&] { text(value); });
    }
    KeyFile &u32(const std::string &key, uint32_t value)
    {
        return add(key, TN_GGUF_U32, [&] { number(value, 4); });
    }
    KeyFile &i32(const std::string &key, int32_t value)
    {
        return add(key, TN_GGUF_I32, [&] { number(static_cast<uint32_t>(value), 4); });
    }
    KeyFile &flag(const std::string &key, bool value)
    {
        return add(key, TN_GGUF_BOOL, [&] { number(value, 1); });
    }
    KeyFile &strs(const std::string &key, const std::vector<std::string> &values)
    {
        return add(key, TN_GGUF_ARRAY, [&] {
            number(TN_GGUF_STRING, 4), number(values.size(), 8);
            for (const auto &v : values) text(v);
        });
    }
    KeyFile &i32s(const std::string &key, const std::vector<int32_t> &values, tn_gguf_type type = TN_GGUF_I32)
    {
        return add(key, TN_GGUF_ARRAY, [&] {
            number(type, 4), number(values.size(), 8);
            for (int32_t v : values) number(static_cast<uint32_t>(v), 4);
        });
    }
    KeyFile &f32s(const std::string &key, const std::vector<float> &values)
    {
        return add(key, TN_GGUF_ARRAY, [&] {
            number(TN_GGUF_F32, 4), number(values.size(), 8);
            for (float v : values) {
                uint32_t bits;
                std::memcpy(&bits, &v, sizeof bits);
                number(bits, 4);
            }
        });
    }
    std::string file() const
    {
        KeyFile head;
        head.body_ = "GGUF";
        head.number(3, 4), head.number(0, 8), head.number(n_keys_, 8);
        return head.body_ + body_;
    }

  private:
    KeyFile &add(const std::string &key, tn_gguf_type type, const std::function<void()> &value)
    {
        n_keys_++;
        text(key);
        number(type, 4);
        value();
        return *this;
    }
    void text(const std::string &t)
    {
        number(t.size(), 8);
        body_ += t;
    }
    void number(uint64_t value, int n_bytes)
    {
        for (int i = 0; i < n_bytes; i++) body_.push_back(static_cast<char>(value >> 8 * i));
    }
    std::string body_;
    uint64_t n_keys_ = 0;
};

} // namespace tokenizer_support
