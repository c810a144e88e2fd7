// Tiny random models of each family, made from a seed: the same bytes on every machine.
#pragma once

#include "support/rewrite_model.hpp"

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

namespace tn_test
{

struct tiny_model {
    std::string arch = "llama";
    uint32_t n_embd = 256, n_layers = 3, n_heads = 4, n_kv_heads = 2, head_dim = 64, n_ff = 512, n_vocab = 320, n_ctx = 512;
    float theta = 10000.0f, eps = 1e-5f;
    bool sub_norms = false, untied = true, scale_tensors = false;
    std::vector<float> rope_factors; // rope_freqs.weight, where not empty
    tn_dtype ternary = TN_DTYPE_I2_S;
    std::vector<std::pair<std::string, std::string>> text_keys; // behind "<arch>."
    std::vector<std::pair<std::string, float>> float_keys;
    uint64_t seed = 1;
    std::function<void(tn_gguf_writer *)> more_keys = [](tn_gguf_writer *) {};
};

// SplitMix64, and what is made of it.
class tiny_random
{
  public:
    explicit tiny_random(uint64_t seed) : state_(seed) {}
    uint64_t bits()
    {
        uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
    }
    double uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; } // [0, 1)
    double bell() { return uniform() + uniform() + uniform() + uniform() - 2.0; }

  private:
    uint64_t state_;
};

inline std::vector<uint8_t> raw_bytes(const void *data, size_t n)
{
    const auto *first = static_cast<const uint8_t *>(data);
    return {first, first + n};
}

inline model_tensor tiny_gains(tiny_random &random, const std::string &name, uint32_t n)
{
    std::vector<float> values(n);
    for (auto &v : values) v = static_cast<float>(0.5 + random.uniform());
    return {name, TN_DTYPE_F32, {n}, raw_bytes(values.data(), n * 4)};
}

inline model_tensor tiny_dense(tiny_random &random, const std::string &name, uint32_t n_cols, uint32_t n_rows)
{
    std::vector<uint16_t> values(size_t{n_cols} * n_rows);
    for (auto &v : values) v = tn_f32_to_f16(static_cast<float>(random.bell()));
    return {name, TN_DTYPE_F16, {n_cols, n_rows}, raw_bytes(values.data(), values.size() * 2)};
}

// Scales are exact in f16, so that every ternary type holds the same values.
inline model_tensor tiny_ternary(tiny_random &random, const std::string &name, tn_dtype dtype, uint32_t n_cols, uint32_t n_rows)
{
    std::vector<int8_t> codes(size_t{n_cols} * n_rows);
    for (auto &c : codes) c = static_cast<int8_t>(static_cast<int>(random.bits() >> 33) % 3 - 1);
    const double scale = (0.75 + 0.5 * random.uniform()) / std::sqrt(n_cols * (2.0 / 3.0));
    return ternary_tensor({name, dtype, {n_cols, n_rows}, {}}, dtype, codes, tn_f16_to_f32(tn_f32_to_f16(static_cast<float>(scale))));
}

inline std::vector<model_tensor> tiny_tensors(const tiny_model &m)
{
    tiny_random random(m.seed);
    const uint32_t q_width = m.n_heads * m.head_dim, kv_width = m.n_kv_heads * m.head_dim;
    const struct {
        const char *name;
        uint32_t n_cols, n_rows;
    } matrices[] = {{"attn_q", m.n_embd, q_width},      {"attn_k", m.n_embd, kv_width}, {"attn_v", m.n_embd, kv_width},
                    {"attn_output", q_width, m.n_embd}, {"ffn_gate", m.n_embd, m.n_ff}, {"ffn_up", m.n_embd, m.n_ff},
                    {"ffn_down", m.n_ff, m.n_embd}};
    std::vector<model_tensor> all;
    all.push_back(tiny_dense(random, "token_embd.weight", m.n_embd, m.n_vocab));
    if (!m.rope_factors.empty())
        all.push_back({"rope_freqs.weight", TN_DTYPE_F32, {m.head_dim / 2}, raw_bytes(m.rope_factors.data(), m.rope_factors.size() * 4)});
    for (uint32_t i = 0; i < m.n_layers; i++) {
        const std::string blk = "blk." + std::to_string(i) + ".";
        all.push_back(tiny_gains(random, blk + "attn_norm.weight", m.n_embd));
        all.push_back(tiny_gains(random, blk + "ffn_norm.weight", m.n_embd));
        if (m.sub_norms) all.push_back(tiny_gains(random, blk + "attn_sub_norm.weight", q_width));
        if (m.sub_norms) all.push_back(tiny_gains(random, blk + "ffn_sub_norm.weight", m.n_ff));
        for (const auto &matrix : matrices) {
            all.push_back(tiny_ternary(random, blk + matrix.name + ".weight", m.ternary, matrix.n_cols, matrix.n_rows));
            if (!m.scale_tensors) continue;
            const float factor = static_cast<float>(0.5 + random.uniform());
            all.push_back({blk + matrix.name + ".scale", TN_DTYPE_F32, {1}, raw_bytes(&factor, 4)});
        }
    }
    all.push_back(tiny_gains(random, "output_norm.weight", m.n_embd));
    if (m.untied) all.push_back(tiny_dense(random, "output.weight", m.n_embd, m.n_vocab));
    return all;
}

inline void write_tiny_keys(const tiny_model &m, tn_gguf_writer *writer)
{
    const std::string prefix = m.arch + ".";
    const std::pair<const char *, uint32_t> counts[] = {
        {"context_length", m.n_ctx},          {"embedding_length", m.n_embd},         {"block_count", m.n_layers},
        {"feed_forward_length", m.n_ff},      {"attention.head_count", m.n_heads},    {"attention.head_count_kv", m.n_kv_heads},
        {"attention.key_length", m.head_dim}, {"attention.value_length", m.head_dim}, {"rope.dimension_count", m.head_dim}};
    ASSERT_EQ(tn_gguf_writer_str(writer, "general.architecture", m.arch.c_str()), TN_OK);
    for (const auto &[key, value] : counts) ASSERT_EQ(tn_gguf_writer_u32(writer, (prefix + key).c_str(), value), TN_OK);
    ASSERT_EQ(tn_gguf_writer_f32(writer, (prefix + "rope.freq_base").c_str(), m.theta), TN_OK);
    ASSERT_EQ(tn_gguf_writer_f32(writer, (prefix + "attention.layer_norm_rms_epsilon").c_str(), m.eps), TN_OK);
    for (const auto &[key, value] : m.text_keys) ASSERT_EQ(tn_gguf_writer_str(writer, (prefix + key).c_str(), value.c_str()), TN_OK);
    for (const auto &[key, value] : m.float_keys) ASSERT_EQ(tn_gguf_writer_f32(writer, (prefix + key).c_str(), value), TN_OK);
    ASSERT_NO_FATAL_FAILURE(m.more_keys(writer));
}

// `change` may alter the tensors before they are written.
inline void write_tiny_model(
    const tiny_model &m, const std::string &path, const std::function<void(std::vector<model_tensor> &)> &change = [](auto &) {})
{
    std::vector<model_tensor> tensors = tiny_tensors(m);
    change(tensors);
    tn_gguf_writer *writer = nullptr;
    ASSERT_EQ(tn_gguf_writer_create(path.c_str(), true, &writer), TN_OK) << tn_error_last()->message;
    ASSERT_NO_FATAL_FAILURE(write_tiny_keys(m, writer));
    for (const auto &t : tensors)
        ASSERT_EQ(tn_gguf_writer_tensor(writer, t.name.c_str(), t.dtype, static_cast<uint32_t>(t.ne.size()), t.ne.data()), TN_OK)
            << tn_error_last()->message;
    for (const auto &t : tensors) ASSERT_EQ(tn_gguf_writer_data(writer, t.bytes.data(), t.bytes.size()), TN_OK) << tn_error_last()->message;
    ASSERT_EQ(tn_gguf_writer_finish(writer), TN_OK) << tn_error_last()->message;
    tn_gguf_writer_destroy(writer);
}

// The factors that a converter stores for rope_type "llama3": low frequencies turn `factor` times slower, with a ramp between.
inline std::vector<float> llama3_factors(double theta, uint32_t head_dim, double factor, double low, double high, double old_context)
{
    std::vector<float> factors;
    for (uint32_t i = 0; i < head_dim / 2; i++) {
        const double wavelength = 2 * 3.14159265358979323846 * std::pow(theta, 2.0 * i / head_dim);
        const double ramp = (old_context / wavelength - low) / (high - low);
        const double f = wavelength < old_context / high ? 1 : wavelength > old_context / low ? factor : 1 / ((1 - ramp) / factor + ramp);
        factors.push_back(static_cast<float>(f));
    }
    return factors;
}

} // namespace tn_test
