// What kernel tests of matrices share: a seeded generator, packed weights from made-up sources, guarded outputs, floating-point modes.
#ifndef TN_TESTS_KERNELS_MATMUL_FIXTURE_H
#define TN_TESTS_KERNELS_MATMUL_FIXTURE_H

#include "support/float_mode.hpp"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <gtest/gtest.h>
#include <memory>
#include <ostream>
#include <random>
#include <string>
#include <vector>

extern "C" {
#include "cpu/kernel.h"
#include "cpu/pack.h"
#include "format/dense.h"
#include "ref/ref.h"
}

// How test reports name a kernel.
inline void PrintTo(const tn_kernel_row &row, std::ostream *out) { *out << row.name; }

namespace tn_test
{

// The run's seed: TN_TEST_SEED, else a new one, which every failure names.
inline uint64_t seed()
{
    static const uint64_t value = [] {
        const char *text = std::getenv("TN_TEST_SEED");
        return text ? std::strtoull(text, nullptr, 0) : (uint64_t{std::random_device{}()} << 20) | 1;
    }();
    return value;
}
inline std::string seed_hint() { return "run again with TN_TEST_SEED=" + std::to_string(seed()); }

class Random
{
  public:
    // A generator of its own for each `stream`, so that one case can be run alone.
    explicit Random(uint64_t stream) : engine_(seed() * 0x9e3779b97f4a7c15u + stream) {}
    uint64_t bits() { return engine_(); }
    int64_t range(int64_t low, int64_t high) { return low + static_cast<int64_t>(bits() % static_cast<uint64_t>(high - low + 1)); }
    // +-(1 + mantissa) * 2^exponent, all 23 bits random.
    float value(int exponent_low, int exponent_high)
    {
        const uint32_t exponent = static_cast<uint32_t>(range(exponent_low, exponent_high) + 127);
        return tn_float(static_cast<uint32_t>(bits() & 0x807fffffu) | exponent << 23);
    }

  private:
    std::mt19937_64 engine_;
};

// Memory of exactly this size, 64-byte aligned: sanitizers see every byte past it.
class Bytes
{
  public:
    explicit Bytes(size_t n) : n_(n), data_(static_cast<uint8_t *>(std::aligned_alloc(64, (n + 63) / 64 * 64)))
    {
        std::memset(data_, 0xa5, n);
    }
    Bytes(const Bytes &) = delete;
    Bytes &operator=(const Bytes &) = delete;
    ~Bytes() { std::free(data_); }
    uint8_t *data() { return data_; }
    const uint8_t *data() const { return data_; }
    size_t size() const { return n_; }

  private:
    size_t n_;
    uint8_t *data_;
};

// A weight in canonical form whose rows lie in memory, and its packed form.
class Weight
{
  public:
    // rows: n_rows rows of row_bytes as read_rows hands them out.
    Weight(tn_weight_kind kind, tn_dtype dtype, uint32_t n_rows, uint32_t n_cols, std::vector<uint8_t> rows,
           tn_scale_kind scale_kind = TN_SCALE_TENSOR, std::vector<float> scales = {})
        : rows_(std::move(rows)), scales_(std::move(scales)), source_{}
    {
        source_.name = "w";
        source_.kind = kind;
        source_.dtype = dtype;
        source_.n_rows = n_rows;
        source_.n_cols = n_cols;
        source_.scale_kind = scale_kind;
        source_.scales = scales_.empty() ? nullptr : scales_.data();
        source_.ctx = this;
        source_.read_rows = [](const tn_weight_source *self, uint32_t row, uint32_t n, void *dst) {
            const auto &all = static_cast<const Weight *>(self->ctx)->rows_;
            const size_t row_bytes = all.size() / self->n_rows;
            std::memcpy(dst, all.data() + row * row_bytes, n * row_bytes);
            return TN_OK;
        };
    }
    Weight(const Weight &) = delete;
    Weight &operator=(const Weight &) = delete;

    void pack(tn_cpu_layout ternary = TN_CPU_LAYOUT_T2_16)
    {
        tn_weight_layout layout;
        ASSERT_EQ(tn_cpu_pack_layout(&source_, ternary, &layout), TN_OK) << tn_error_last()->message;
        packed_ = std::make_unique<Bytes>(layout.size_bytes);
        std::vector<uint8_t> scratch(tn_cpu_pack_scratch_bytes(&source_));
        for (uint32_t g = 0; g < tn_cpu_pack_n_groups(&source_); g++) {
            ASSERT_EQ(tn_cpu_pack_group(&source_, ternary, g, packed_->data(), scratch.data()), TN_OK) << tn_error_last()->message;
        }
        tn_cpu_pack_view(&source_, ternary, packed_->data(), &view_);
    }
    void set_screening(tn_screening screening) { source_.screening = screening; }
    const tn_weight_source &source() const { return source_; }
    const tn_cpu_weight &view() const { return view_; }
    const std::vector<uint8_t> &rows() const { return rows_; }
    const std::vector<float> &scales() const { return scales_; }
    uint32_t n_rows() const { return source_.n_rows; }
    uint32_t n_cols() const { return source_.n_cols; }

  private:
    std::vector<uint8_t> rows_;
    std::vector<float> scales_;
    tn_weight_source source_;
    std::unique_ptr<Bytes> packed_;
    tn_cpu_weight view_{};
};

// An output of M rows of N floats at an odd offset and stride, with marked cells around each row, and the rows' largest bits.
class Output
{
  public:
    static constexpr uint32_t mark = 0x7fc0deadu;
    static constexpr uint32_t absmax_before = 3; // kernels raise it, never set it

    Output(uint32_t M, uint32_t N)
        : M_(M), N_(N), stride_(N + 5), cells_(3 + size_t{M} * stride_, tn_float(mark)), absmax_(M + 1, absmax_before)
    {
    }
    float *y() { return cells_.data() + 3; }
    size_t stride() const { return stride_; }
    uint32_t *absmax() { return absmax_.data(); }
    const float *row(uint32_t m) const { return cells_.data() + 3 + m * stride_; }
    uint32_t absmax(uint32_t m) const { return absmax_[m]; }
    // The first cell outside the rows whose mark is gone, or -1.
    int64_t broken_mark() const
    {
        for (size_t i = 0; i < cells_.size(); i++) {
            const bool inside = i >= 3 && (i - 3) % stride_ < N_;
            if (!inside && tn_bits(cells_[i]) != mark) return static_cast<int64_t>(i);
        }
        return absmax_[M_] == absmax_before ? -1 : static_cast<int64_t>(cells_.size());
    }

  private:
    uint32_t M_, N_;
    size_t stride_;
    std::vector<float> cells_;
    std::vector<uint32_t> absmax_;
};

// Runs `f` with subnormals flushed on the way in and out.
template <typename F> void with_flush_to_zero(F f)
{
    const uint64_t before = float_mode::get();
    float_mode::set(before | float_mode::flush);
    f();
    float_mode::set(before);
}

inline std::vector<tn_kernel_row> rows_of(std::initializer_list<tn_kernel_slot> slots)
{
    uint32_t n;
    const tn_kernel_row *rows = tn_cpu_kernel_rows(&n);
    std::vector<tn_kernel_row> out;
    for (tn_kernel_slot slot : slots) {
        for (uint32_t i = 0; i < n; i++) {
            if (rows[i].slot == slot) out.push_back(rows[i]);
        }
    }
    return out;
}
inline std::string row_name(const ::testing::TestParamInfo<tn_kernel_row> &info) { return info.param.name; }

} // namespace tn_test

#define TN_SKIP_WITHOUT_ISA(row)                                                                                                           \
    if (!tn_isa_set_has(tn_isa_available(), (row).isa)) GTEST_SKIP() << "this CPU lacks " << tn_isa_name((row).isa)

#endif
