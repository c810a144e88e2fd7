// q8_0 matmul over Q8_16 for AVX512-VNNI: lanes are the 16 rows of a panel, so GSUM needs no horizontal step.
#include "cpu/x86/matmul_avx512vnni.h"

enum { TOKENS = 4, GSUM_TERMS = 8 };

// Terms of block b for MR tokens: (dot of 32) * FL(dx*dw).
TN_K_INLINE void block_terms(const tn_k_matmul_dense_args *a, const uint8_t *block, uint32_t m0, uint32_t b, __m512 t[TOKENS],
                             const unsigned MR)
{
    const int8_t *x = a->xq + m0 * a->xq_stride + (size_t)b * 32;
    const size_t group = (size_t)m0 * a->xq_groups + b;
    const __m512 dw = _mm512_loadu_ps(block);
    __m512i acc[TOKENS];
    // Codes are stored plus 128: 128 times the sum of the activations comes off.
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) acc[m] = _mm512_set1_epi32(-128 * a->xq_sum[group + (size_t)m * a->xq_groups]);
    TN_K_UNROLL
    for (unsigned j = 0; j < 8; j++) {
        const __m512i codes = _mm512_loadu_si512(block + 64 + 64 * j);
        TN_K_UNROLL
        for (unsigned m = 0; m < MR; m++) acc[m] = _mm512_dpbusd_epi32(acc[m], codes, tn_x4_512(x + m * a->xq_stride + 4 * j));
    }
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) {
        const __m512 dx = _mm512_set1_ps(a->xq_scale[group + (size_t)m * a->xq_groups]);
        t[m] = _mm512_mul_ps(_mm512_cvtepi32_ps(acc[m]), tn_fl_ps512(_mm512_mul_ps(dx, dw)));
    }
}

// MR tokens from m0 times the panel of row n0.
TN_K_INLINE void tile(const tn_k_matmul_dense_args *a, uint32_t m0, uint32_t n0, const unsigned MR)
{
    const uint8_t *panel = a->w + n0 / 16 * a->w_stride;
    const uint32_t n_blocks = a->K / 32;
    __m512 sum[TOKENS], t[GSUM_TERMS][TOKENS];
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) sum[m] = _mm512_setzero_ps();
    for (uint32_t b = 0; b < n_blocks; b += GSUM_TERMS) {
        const uint32_t terms = n_blocks - b < GSUM_TERMS ? n_blocks - b : GSUM_TERMS;
        for (uint32_t i = 0; i < terms; i++) block_terms(a, panel + (size_t)(b + i) * TN_Q8_BLOCK_BYTES, m0, b + i, t[i], MR);
        for (uint32_t i = terms; i < GSUM_TERMS; i++) {
            for (unsigned m = 0; m < MR; m++) t[i][m] = _mm512_setzero_ps();
        }
        TN_K_UNROLL
        for (unsigned m = 0; m < MR; m++) {
            const __m512 even = _mm512_add_ps(_mm512_add_ps(t[0][m], t[4][m]), _mm512_add_ps(t[2][m], t[6][m]));
            const __m512 odd = _mm512_add_ps(_mm512_add_ps(t[1][m], t[5][m]), _mm512_add_ps(t[3][m], t[7][m]));
            sum[m] = _mm512_add_ps(sum[m], _mm512_add_ps(even, odd));
        }
    }
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) {
        tn_store_ps512(a->y + (m0 + m) * a->y_stride + n0, tn_first16(a->N - n0), sum[m], &a->y_absmax[m0 + m]);
    }
}

void tn_k_matmul_q8_0_q8_4x16__avx512vnni(const tn_k_matmul_dense_args *args)
{
    for (uint32_t n = 0; n < args->N; n += 16) {
        for (uint32_t m = 0; m < args->M; m += TOKENS) {
            switch (args->M - m) {
            case 1: tile(args, m, n, 1); break;
            case 2: tile(args, m, n, 2); break;
            case 3: tile(args, m, n, 3); break;
            default: tile(args, m, n, TOKENS); break;
            }
        }
    }
}
