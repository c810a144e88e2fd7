// q8_0 matmul over Q8_16 for AVX2: lanes are 8 rows of a panel, so GSUM needs no horizontal step.
#include "cpu/x86/matmul_avx2.h"

enum { TOKENS = 4, GSUM_TERMS = 8 };

// Terms of 8 rows of a block for MR tokens: (dot of 32) * FL(dx*dw). `block` points to the first of the rows' scales, codes to their codes.
TN_K_INLINE void block_terms(const tn_k_matmul_dense_args *a, const uint8_t *scales, const uint8_t *codes, uint32_t m0, uint32_t b,
                             __m256 t[TOKENS], const unsigned MR)
{
    const int8_t *x = a->xq + m0 * a->xq_stride + (size_t)b * 32;
    const float *x_scale = a->xq_scale + (size_t)m0 * a->xq_groups + b;
    const __m256 dw = _mm256_loadu_ps((const float *)(const void *)scales);
    const __m256i sign_bit = _mm256_set1_epi8((char)0x80), ones = _mm256_set1_epi16(1);
    __m256i acc[TOKENS];
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) acc[m] = _mm256_setzero_si256();
    TN_K_UNROLL
    for (unsigned j = 0; j < 8; j++) {
        // |code| unsigned times activation with the code's sign: 2*128*127 fits vpmaddubsw's 16 bits, where code+128 would saturate.
        const __m256i code = _mm256_xor_si256(tn_load256(codes + 64 * j), sign_bit), size = _mm256_abs_epi8(code);
        TN_K_UNROLL
        for (unsigned m = 0; m < MR; m++) {
            const __m256i x4 = _mm256_sign_epi8(tn_x4_256(x + m * a->xq_stride + 4 * j), code);
            acc[m] = tn_pin256(_mm256_add_epi32(acc[m], _mm256_madd_epi16(_mm256_maddubs_epi16(size, x4), ones)));
        }
    }
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) {
        const __m256 dx = _mm256_set1_ps(x_scale[(size_t)m * a->xq_groups]);
        t[m] = _mm256_mul_ps(_mm256_cvtepi32_ps(acc[m]), tn_fl_ps256(_mm256_mul_ps(dx, dw)));
    }
}

// MR tokens from m0 times the 8 rows from n0 (a multiple of 8).
TN_K_INLINE void tile(const tn_k_matmul_dense_args *a, uint32_t m0, uint32_t n0, const unsigned MR)
{
    const uint8_t *panel = a->w + n0 / 16 * a->w_stride;
    const uint32_t first_row = n0 % 16, n_blocks = a->K / 32;
    __m256 sum[TOKENS], t[GSUM_TERMS][TOKENS];
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) sum[m] = _mm256_setzero_ps();
    for (uint32_t b = 0; b < n_blocks; b += GSUM_TERMS) {
        const uint32_t terms = n_blocks - b < GSUM_TERMS ? n_blocks - b : GSUM_TERMS;
        for (uint32_t i = 0; i < terms; i++) {
            const uint8_t *block = panel + (size_t)(b + i) * TN_Q8_BLOCK_BYTES + 4 * (size_t)first_row;
            block_terms(a, block, block + 64, m0, b + i, t[i], MR);
        }
        for (uint32_t i = terms; i < GSUM_TERMS; i++) {
            for (unsigned m = 0; m < MR; m++) t[i][m] = _mm256_setzero_ps();
        }
        TN_K_UNROLL
        for (unsigned m = 0; m < MR; m++) {
            const __m256 even = _mm256_add_ps(_mm256_add_ps(t[0][m], t[4][m]), _mm256_add_ps(t[2][m], t[6][m]));
            const __m256 odd = _mm256_add_ps(_mm256_add_ps(t[1][m], t[5][m]), _mm256_add_ps(t[3][m], t[7][m]));
            sum[m] = _mm256_add_ps(sum[m], _mm256_add_ps(even, odd));
        }
    }
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) {
        tn_store_ps256(a->y + (m0 + m) * a->y_stride + n0, a->N - n0, sum[m], &a->y_absmax[m0 + m]);
    }
}

void tn_k_matmul_q8_0_q8_4x8__avx2(const tn_k_matmul_dense_args *args)
{
    for (uint32_t n = 0; n < args->N; n += 8) {
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
