// What tests of kernels over rows share: a step in memory, values, and gains packed as the layout's text says.
#ifndef TN_TESTS_CUDA_HOST_ROWS_RIG_HPP
#define TN_TESTS_CUDA_HOST_ROWS_RIG_HPP

#include "cuda_host/kernel_rig.hpp"

#include <cmath>
#include <cstring>
#include <memory>
#include <random>

extern "C" {
#include "ref/ref.h"
}

namespace cuda_host
{

// A step of n_tokens tokens, some of which are wanted rows of logits, and the submit's output.
class Step
{
  public:
    Step(uint32_t n_tokens, const std::vector<uint32_t> &logit_rows, float *output) : words_(kAddresses + 4)
    {
        words_[0] = n_tokens;
        words_[1] = (uint32_t)logit_rows.size();
        std::copy(logit_rows.begin(), logit_rows.end(), &words_[kLogitRows]);
        const uint64_t address = (uint64_t)(uintptr_t)output;
        words_[kAddresses + 2] = (uint32_t)address;
        words_[kAddresses + 3] = (uint32_t)(address >> 32);
        step_.words = words_.data();
        step_.logit_rows = kLogitRows;
        step_.addresses = kAddresses;
    }
    const tn_cuda_step &params() const { return step_; }

  private:
    static constexpr uint32_t kLogitRows = 16, kAddresses = 400;
    Memory<uint32_t> words_;
    tn_cuda_step step_ = {};
};

// Values of many sizes, of which RMS is about `scale`.
inline std::vector<float> random_floats(std::mt19937 &random, size_t n, float scale)
{
    std::normal_distribution<float> normal(0.0f, scale);
    std::vector<float> v(n);
    for (float &x : v) x = tn_fl(normal(random));
    return v;
}

// FLOATS with E = 4 for one row: element e is element (e / 32) % 4 of unit (e / 128) * 32 + e % 32; zeros to whole 128.
inline std::unique_ptr<Memory<float>> pack_gains(const std::vector<float> &gains)
{
    const size_t n = (gains.size() + 127) / 128 * 128;
    auto packed = std::make_unique<Memory<float>>(n, 0);
    for (size_t e = 0; e < gains.size(); e++) (*packed)[(((e / 128) * 32) + e % 32) * 4 + (e / 32) % 4] = gains[e];
    return packed;
}

// Where the code of a column lies in rows of codes that are permuted (tn_cuda_codes).
inline uint32_t permuted(uint32_t column)
{
    const uint32_t c = column % 128, t = c / 32, s = c / 8 % 4, h = c / 4 % 2, j = c % 4;
    return column - c + 32 * s + 16 * h + 4 * t + j;
}

// What NORM_QUANT or QUANT must leave of a row.
struct Codes {
    std::vector<int8_t> codes;
    float scale;
    int32_t sum;
};
inline Codes quantised(uint32_t op, const float *x, const std::vector<float> &gains, uint32_t n, float eps)
{
    Codes codes;
    codes.codes.resize(n);
    if (op == TN_CUDA_ROW_QUANT)
        tn_ref_quant(x, n, codes.codes.data(), &codes.scale, &codes.sum);
    else
        tn_ref_norm_quant(x, gains.data(), n, eps, codes.codes.data(), &codes.scale, &codes.sum);
    return codes;
}

inline tn_cuda_row_op row_op(uint32_t op, uint32_t n, const float *gains, float eps)
{
    return {op, n, op == TN_CUDA_ROW_QUANT ? nullptr : gains, eps, (float)(1.0 / n)};
}

inline bool same_bits(float a, float b) { return tn_bits(a) == tn_bits(b); }

} // namespace cuda_host

#endif
