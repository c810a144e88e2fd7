// Ternary matmul over T2_16 for AVX2: 4 tokens x 1 panel, every weight block unpacked once for all tokens of the tile.
#include "cpu/x86/matmul_avx2.h"

// A 16-bit lane gains at most 2 codes * 2 * 127 = 508 from one vpmaddubsw and 4 of them from a block: 16 blocks reach 32512 < 2^15.
enum { TOKENS = 4, WIDEN_BLOCKS = 16 };

// sum += pairs of codes * x.
TN_K_INLINE void add_pairs(__m256i *sum, __m256i codes, __m256i x4)
{
    *sum = tn_pin256(_mm256_add_epi16(*sum, _mm256_maddubs_epi16(codes, x4)));
}

// Adds n_blocks <= WIDEN_BLOCKS blocks to the 16-bit sums of MR tokens; [.][0] is rows 0-7, [.][1] rows 8-15.
TN_K_INLINE void add_blocks(const uint8_t *w, const int8_t *x, size_t x_stride, uint32_t n_blocks, __m256i acc16[TOKENS][2],
                            const unsigned MR)
{
    const __m256i three = _mm256_set1_epi8(3);
    for (uint32_t b = 0; b < n_blocks; b++, w += TN_T2_BLOCK_BYTES, x += TN_T2_COLS) {
        __m256i low = tn_load256(w), high = tn_load256(w + 32);
        TN_K_UNROLL
        for (unsigned i = 0; i < 4; i++) {
            const __m256i codes_low = _mm256_and_si256(low, three), codes_high = _mm256_and_si256(high, three);
            low = _mm256_srli_epi16(low, 2);
            high = _mm256_srli_epi16(high, 2);
            TN_K_UNROLL
            for (unsigned m = 0; m < MR; m++) {
                const __m256i x4 = tn_x4_256(x + m * x_stride + 4 * i);
                add_pairs(&acc16[m][0], codes_low, x4);
                add_pairs(&acc16[m][1], codes_high, x4);
            }
        }
    }
}

// MR tokens from m0 times the panel of row n0.
TN_K_INLINE void tile(const tn_k_matmul_ternary_args *a, uint32_t m0, uint32_t n0, const unsigned MR)
{
    const uint8_t *w = a->w + n0 / TN_T2_ROWS * ((size_t)a->n_blocks * TN_T2_BLOCK_BYTES);
    const int8_t *x = a->x + m0 * a->x_stride;
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i acc[TOKENS][2];
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) acc[m][0] = acc[m][1] = _mm256_setzero_si256();
    for (uint32_t b = 0; b < a->n_blocks; b += WIDEN_BLOCKS) {
        const uint32_t n_blocks = a->n_blocks - b < WIDEN_BLOCKS ? a->n_blocks - b : WIDEN_BLOCKS;
        __m256i acc16[TOKENS][2];
        TN_K_UNROLL
        for (unsigned m = 0; m < MR; m++) acc16[m][0] = acc16[m][1] = _mm256_setzero_si256();
        add_blocks(w + (size_t)b * TN_T2_BLOCK_BYTES, x + (size_t)b * TN_T2_COLS, a->x_stride, n_blocks, acc16, MR);
        TN_K_UNROLL
        for (unsigned m = 0; m < MR; m++) {
            acc[m][0] = _mm256_add_epi32(acc[m][0], _mm256_madd_epi16(acc16[m][0], ones));
            acc[m][1] = _mm256_add_epi32(acc[m][1], _mm256_madd_epi16(acc16[m][1], ones));
        }
    }
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) {
        tn_ternary_finish256(a, m0 + m, n0, acc[m][0]);
        tn_ternary_finish256(a, m0 + m, n0 + 8, acc[m][1]);
    }
}

void tn_k_matmul_t2_q8_4x16__avx2(const tn_k_matmul_ternary_args *args)
{
    for (uint32_t n = 0; n < args->N; n += TN_T2_ROWS) {
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
