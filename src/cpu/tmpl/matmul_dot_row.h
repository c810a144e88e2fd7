// DOT_ROW matmul over f32, f16 and bf16 rows, written once over tn_v32 (32 f32 lanes), which the including file defines before it
// together with the tile: TN_DOT_MR tokens x TN_DOT_NR_MANY rows. How results are tiled does not touch their bits: each (row, token) has
// its own 32 lanes over the whole row and its own tree.
#ifndef TN_CPU_TMPL_MATMUL_DOT_ROW_H
#define TN_CPU_TMPL_MATMUL_DOT_ROW_H

TN_K_INLINE tn_v32 tn_dot_weights(const tn_dtype dtype, const uint8_t *row, uint32_t k)
{
    switch (dtype) {
    case TN_DTYPE_F32: return tn_v32_load((const float *)(const void *)row + k);
    case TN_DTYPE_F16: return tn_v32_load_f16(row + 2 * (size_t)k);
    default: return tn_v32_load_bf16(row + 2 * (size_t)k);
    }
}
// The last n < 32 elements: 16-bit rows are padded to 32 elements with zeros, f32 rows only to 16.
TN_K_INLINE tn_v32 tn_dot_weights_tail(const tn_dtype dtype, const uint8_t *row, uint32_t k, uint32_t n)
{
    return dtype == TN_DTYPE_F32 ? tn_v32_load_n((const float *)(const void *)row + k, n) : tn_dot_weights(dtype, row, k);
}

// MR tokens from m0 times NR rows from n0. With several tokens the first of them ask for the next tile's rows, as the core computes for
// long between two loads (f16 from memory on Zen 4, 8 tokens: 49 and 58 Gflop/s). One token leaves that to the hardware.
TN_K_INLINE void tn_dot_tile(const tn_k_matmul_dense_args *a, const tn_dtype dtype, uint32_t m0, uint32_t n0, const unsigned MR,
                             const unsigned NR)
{
    const unsigned element = dtype == TN_DTYPE_F32 ? 4 : 2;
    const uint8_t *w = a->w + n0 * a->w_stride;
    const float *x = a->x + m0 * a->x_stride;
    tn_v32 acc[TN_DOT_MR][TN_DOT_NR_MANY], w32[TN_DOT_NR_MANY];
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) {
        TN_K_UNROLL
        for (unsigned n = 0; n < NR; n++) acc[m][n] = tn_v32_zero();
    }
    uint32_t k = 0;
    for (; a->K - k >= 32; k += 32) {
        TN_K_UNROLL
        for (unsigned n = 0; n < NR; n++) {
            w32[n] = tn_dot_weights(dtype, w + n * a->w_stride, k);
            if (MR > 1 && m0 == 0) tn_k_prefetch(w + n * a->w_stride + (size_t)k * element, NR * a->w_stride, 32 * element);
        }
        TN_K_UNROLL
        for (unsigned m = 0; m < MR; m++) {
            const tn_v32 x32 = tn_v32_load(x + m * a->x_stride + k);
            TN_K_UNROLL
            for (unsigned n = 0; n < NR; n++) acc[m][n] = tn_v32_mul_add(acc[m][n], x32, w32[n]);
        }
    }
    if (k < a->K) {
        TN_K_UNROLL
        for (unsigned n = 0; n < NR; n++) w32[n] = tn_dot_weights_tail(dtype, w + n * a->w_stride, k, a->K - k);
        TN_K_UNROLL
        for (unsigned m = 0; m < MR; m++) {
            const tn_v32 x32 = tn_v32_load_n(x + m * a->x_stride + k, a->K - k);
            TN_K_UNROLL
            for (unsigned n = 0; n < NR; n++) acc[m][n] = tn_v32_mul_add(acc[m][n], x32, w32[n]);
        }
    }
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) {
        TN_K_UNROLL
        for (unsigned n = 0; n < NR; n++) {
            tn_k_store(&a->y[(m0 + m) * a->y_stride + n0 + n], tn_v32_tree(acc[m][n]), &a->y_absmax[m0 + m]);
        }
    }
}

// Rows [n0, n0 + NR) for all tokens; those that fill no tile go two by two, then alone.
TN_K_INLINE void tn_dot_tokens(const tn_k_matmul_dense_args *a, const tn_dtype dtype, uint32_t n0, const unsigned NR)
{
    uint32_t m = 0;
    for (; a->M - m >= TN_DOT_MR; m += TN_DOT_MR) tn_dot_tile(a, dtype, m, n0, TN_DOT_MR, NR);
    for (; a->M - m >= 2; m += 2) tn_dot_tile(a, dtype, m, n0, 2, NR);
    if (m < a->M) tn_dot_tile(a, dtype, m, n0, 1, NR);
}

// One token takes its rows one after the other: one stream through memory is what the hardware follows best (f16, one thread of Zen 4: 33
// GB/s, and 15 to 18 with four rows side by side).
TN_K_INLINE void tn_dot_rows(const tn_k_matmul_dense_args *a, const tn_dtype dtype)
{
    uint32_t n = 0;
    if (a->M > 1) {
        for (; a->N - n >= TN_DOT_NR_MANY; n += TN_DOT_NR_MANY) tn_dot_tokens(a, dtype, n, TN_DOT_NR_MANY);
    }
    for (; n < a->N; n++) tn_dot_tokens(a, dtype, n, 1);
}

#endif
