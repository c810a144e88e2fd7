// Rows of weights as files have them, at random and with what packing must not lose.
#ifndef TN_TESTS_KERNELS_WEIGHT_ROWS_H
#define TN_TESTS_KERNELS_WEIGHT_ROWS_H

#include "kernels/matmul_fixture.h"

namespace tn_test
{

inline std::vector<uint8_t> random_ternary(size_t n, uint64_t stream)
{
    Random random(stream);
    std::vector<uint8_t> rows(n);
    for (auto &v : rows) v = static_cast<uint8_t>(random.range(-1, 1));
    return rows;
}

// Values on both sides of what FL makes 0, ones that are not finite, zeros of both signs.
inline uint32_t f32_bits(Random *random)
{
    static const uint32_t special[] = {0, 0x80000000u, 0x26800000u, 0x267fffffu, 0xa67fffffu, 1, 0x7f800000u, 0x7fc00001u};
    return random->range(0, 3) ? tn_bits(random->value(-60, 3)) : special[random->bits() % 8];
}

inline std::vector<uint8_t> random_rows(tn_dtype dtype, uint32_t N, uint32_t K, uint64_t stream)
{
    Random random(stream);
    std::vector<uint8_t> rows(N * tn_dtype_row_bytes(dtype, K));
    if (dtype == TN_DTYPE_F32) {
        for (size_t i = 0; i < rows.size(); i += 4) {
            const uint32_t v = f32_bits(&random);
            std::memcpy(&rows[i], &v, 4);
        }
        return rows;
    }
    if (dtype == TN_DTYPE_BF16) {
        for (size_t i = 0; i < rows.size(); i += 2) {
            const uint32_t v = f32_bits(&random) >> 16;
            std::memcpy(&rows[i], &v, 2);
        }
        return rows;
    }
    for (auto &b : rows) b = static_cast<uint8_t>(random.bits());
    const size_t block = tn_dtype_get(dtype)->block_bytes;
    if (dtype == TN_DTYPE_F16) return rows;
    // A scale that is finite, in both places where blocks have theirs; subnormal ones among them.
    for (size_t at = 0; at < rows.size(); at += block) {
        for (size_t high : {size_t{1}, size_t{3}, block - 1}) rows[at + high] &= 0xbf;
    }
    return rows;
}

// What a GPU backend's packing refuses, and what it does not though no memory holds it. `shape_of`: its status, and whether it left a size.
template <class ShapeOf> void expect_refused_weights(ShapeOf shape_of)
{
    const auto status_of = [&](tn_weight_kind kind, tn_dtype dtype, uint32_t N, uint32_t K) {
        tn_weight_source source = {};
        source.name = "blk.0.w";
        source.kind = kind;
        source.dtype = dtype;
        source.n_rows = N;
        source.n_cols = K;
        const auto [status, has_size] = shape_of(source);
        EXPECT_EQ(has_size, status == TN_OK);
        if (status != TN_OK) {
            EXPECT_NE(std::strstr(tn_error_last()->message, "blk.0.w"), nullptr) << tn_error_last()->message;
        }
        return status;
    };
    EXPECT_EQ(status_of(TN_WEIGHT_DENSE, TN_DTYPE_I2_S, 4, 64), TN_UNSUPPORTED);
    EXPECT_EQ(status_of(TN_WEIGHT_TABLE, TN_DTYPE_F16, 4, 64), TN_UNSUPPORTED);
    EXPECT_EQ(status_of(TN_WEIGHT_DENSE, TN_DTYPE_Q6_K, 4, 64), TN_BAD_FILE);
    EXPECT_EQ(status_of(TN_WEIGHT_DENSE, TN_DTYPE_F32, 0, 64), TN_BAD_FILE);
    EXPECT_EQ(status_of(TN_WEIGHT_TERNARY, TN_DTYPE_NONE, 4, 0), TN_BAD_FILE);
    EXPECT_EQ(status_of(TN_WEIGHT_DENSE, TN_DTYPE_F32, UINT32_MAX, UINT32_MAX), TN_BAD_FILE) << "2^66 bytes";
    EXPECT_EQ(status_of(TN_WEIGHT_TERNARY, TN_DTYPE_NONE, UINT32_MAX, UINT32_MAX), TN_OK) << "2^62 bytes";
}

} // namespace tn_test

#endif
