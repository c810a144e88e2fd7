// What tests of the screen share: heads and rows of activations that were made to deceive it, and how they are run without a program.
#ifndef TN_TESTS_KERNELS_SCREEN_FIXTURE_H
#define TN_TESTS_KERNELS_SCREEN_FIXTURE_H

#include "matmul_fixture.h"

#include <algorithm>
#include <cmath>
#include <numeric>

extern "C" {
#include "cpu/screen.h"
}

namespace tn_test
{

// A float head and rows of activations.
struct HeadCase {
    std::string name;
    tn_dtype dtype;
    uint32_t N, K;
    std::vector<float> w; // [N][K]
    std::vector<float> x; // [M][K]
    uint32_t M() const { return static_cast<uint32_t>(x.size() / K); }
};

inline std::vector<uint8_t> rows_in_file(const HeadCase &c)
{
    std::vector<uint8_t> rows(tn_dtype_row_bytes(c.dtype, c.K) * c.N);
    for (size_t i = 0; i < c.w.size(); i++) {
        const uint16_t half = c.dtype == TN_DTYPE_F16 ? tn_f32_to_f16(c.w[i]) : static_cast<uint16_t>(tn_bits(c.w[i]) >> 16);
        if (c.dtype == TN_DTYPE_F32) {
            std::memcpy(&rows[4 * i], &c.w[i], 4);
        } else {
            std::memcpy(&rows[2 * i], &half, 2);
        }
    }
    return rows;
}

class ScreenedHead
{
  public:
    explicit ScreenedHead(const HeadCase &c) : weight_(TN_WEIGHT_DENSE, c.dtype, c.N, c.K, rows_in_file(c))
    {
        weight_.set_screening(TN_SCREENING_ALWAYS);
        weight_.pack();
    }
    const tn_cpu_weight &view() const { return weight_.view(); }
    // Element of a row as kernels read it.
    float at(uint32_t row, uint32_t k) const
    {
        const uint8_t *p = view().data + view().stride_bytes * row;
        float f;
        uint16_t half;
        if (view().dtype == TN_DTYPE_F32) {
            std::memcpy(&f, p + 4 * size_t{k}, 4);
            return f;
        }
        std::memcpy(&half, p + 2 * size_t{k}, 2);
        return view().dtype == TN_DTYPE_F16 ? tn_f16_to_f32(half) : tn_bf16_to_f32(half);
    }
    // What the copy holds for it.
    double copied(uint32_t row, uint32_t k) const
    {
        const uint8_t *block = view().screen.panels + view().screen.panel_bytes * (row / 16) + size_t{k / 32} * TN_Q8_BLOCK_BYTES;
        float scale;
        std::memcpy(&scale, block + 4 * size_t{row % 16}, 4);
        return double{scale} * (block[64 + 64 * (k % 32 / 4) + 4 * (row % 16) + k % 4] - 128);
    }
    double residual_norm(uint32_t row) const { return double{view().screen.norms[row / 16 * 32 + row % 16]}; }
    double copied_norm(uint32_t row) const { return double{view().screen.norms[row / 16 * 32 + 16 + row % 16]}; }

  private:
    Weight weight_;
};

// The whole head by its definition.
inline std::vector<float> whole_head(const HeadCase &c, const ScreenedHead &head)
{
    std::vector<float> y(size_t{c.M()} * c.N), row(c.K);
    for (uint32_t n = 0; n < c.N; n++) {
        for (uint32_t k = 0; k < c.K; k++) row[k] = head.at(n, k);
        for (uint32_t m = 0; m < c.M(); m++) y[size_t{m} * c.N + n] = tn_fl(tn_ref_dot_row(&c.x[size_t{m} * c.K], row.data(), c.K));
    }
    return y;
}

inline tn_k_matmul_dense_fn *exact_kernel(const tn_cpu_kernels &kernels, tn_dtype dtype)
{
    return dtype == TN_DTYPE_F32 ? kernels.matmul_f32 : dtype == TN_DTYPE_F16 ? kernels.matmul_f16 : kernels.matmul_bf16;
}

struct Screened {
    std::vector<float> approximate, y; // [M][N] after `panels`, and after `resolve`
    std::vector<uint32_t> absmax;      // [M]
    uint64_t n_kept = 0;
};

// All stages as workers run them, one worker after another; they take turns in panels and in pieces of rows.
inline Screened screen(const HeadCase &c, const ScreenedHead &head, const tn_cpu_kernels &kernels, const std::vector<uint32_t> &n_top,
                       uint32_t n_top_ids, uint32_t n_threads, tn_cpu_screen_bound_fn *bound = tn_cpu_screen_bound_of)
{
    const uint32_t M = c.M(), groups = c.K / 32, panels = (c.N + 15) / 16;
    const size_t stride = TN_Q8_STRIDE(c.K), state_bytes = (sizeof(tn_cpu_screen_state) + 63) / 64 * 64;
    std::vector<int8_t> codes(stride * M);
    std::vector<float> scales(size_t{groups} * M);
    std::vector<int32_t> sums(scales.size());
    for (uint32_t m = 0; m < M; m++)
        kernels.quant_group(&c.x[size_t{m} * c.K], c.K, 32, &codes[stride * m], &scales[size_t{groups} * m], &sums[size_t{groups} * m]);
    Bytes states(state_bytes * n_threads);
    Screened out;
    out.y.assign(size_t{M} * c.N, 0);
    out.absmax.assign(M, 0);
    tn_cpu_screen_args args = {};
    args.w = &head.view();
    args.approximate = kernels.matmul_q8_0;
    args.exact = exact_kernel(kernels, c.dtype);
    args.bound = bound;
    args.x = c.x.data();
    args.x_stride = c.K;
    args.xq = codes.data();
    args.xq_stride = stride;
    args.xq_scale = scales.data();
    args.xq_sum = sums.data();
    args.M = M;
    args.n_top = n_top.data();
    args.n_top_ids = n_top_ids;
    args.y = out.y.data();
    args.y_stride = c.N;
    args.states = states.data();
    args.state_stride = state_bytes;
    args.n_threads = n_threads;
    const auto each_worker = [&](auto &&work) {
        for (args.thread = 0; args.thread < n_threads; args.thread++) work(args.thread);
    };
    each_worker([&](uint32_t) { tn_cpu_screen_begin(&args); });
    each_worker([&](uint32_t thread) {
        for (uint32_t p = thread; p < panels; p += n_threads) tn_cpu_screen_panels(&args, p, p + 1);
    });
    out.approximate = out.y;
    each_worker([&](uint32_t) { tn_cpu_screen_merge(&args); });
    each_worker([&](uint32_t thread) {
        for (uint32_t at = 7 * thread; at < c.N; at += 7 * n_threads)
            out.n_kept += tn_cpu_screen_resolve(&args, at, std::min(at + 7, c.N), out.absmax.data());
    });
    return out;
}

// Ids below n_ids in ranking order: logit descending, id ascending. NaN ranks nowhere.
inline std::vector<uint32_t> ranking(const float *logits, uint32_t n_ids)
{
    std::vector<uint32_t> ids(n_ids);
    std::iota(ids.begin(), ids.end(), 0u);
    ids.erase(std::remove_if(ids.begin(), ids.end(), [&](uint32_t i) { return std::isnan(logits[i]); }), ids.end());
    std::stable_sort(ids.begin(), ids.end(), [&](uint32_t a, uint32_t b) { return logits[a] > logits[b]; });
    return ids;
}

// "" where a row of the result is what it must be, else what is wrong with it.
inline std::string wrong_with(const float *y, uint32_t absmax, const float *expected, uint32_t N, uint32_t n_top, uint32_t n_top_ids)
{
    for (uint32_t i = 0; i < N; i++) {
        const bool gone = y[i] == -INFINITY && tn_bits(expected[i]) != tn_bits(y[i]);
        if (gone && !(std::abs(expected[i]) < 0x1p56f)) return "a poisoned logit is gone: id " + std::to_string(i);
        const bool same =
            tn_bits(y[i]) == tn_bits(expected[i]) || (y[i] == 0 && expected[i] == 0) || (std::isnan(y[i]) && std::isnan(expected[i]));
        if (!gone && !same) return "id " + std::to_string(i) + " is not exact";
    }
    const auto best = ranking(expected, n_top_ids);
    for (uint32_t r = 0; r < std::min<size_t>(n_top, best.size()); r++) {
        if (tn_bits(y[best[r]]) != tn_bits(expected[best[r]]) && expected[best[r]] != 0)
            return "rank " + std::to_string(r) + ", id " + std::to_string(best[r]) + ", is gone";
    }
    const bool poisoned = tn_ref_absmax_bits(expected, N) >= TN_ABS_BITS_2P56;
    return poisoned == (absmax >= TN_ABS_BITS_2P56) ? "" : "poison";
}

} // namespace tn_test

#endif
