// q6_k matmul over rows of 210-byte blocks in 256-bit vectors: 2 tokens x 4 rows, all integer up to one f32 term a block. Included after
// the dot products of the level.
#ifndef TN_CPU_X86_MATMUL_Q6_K_256_H
#define TN_CPU_X86_MATMUL_Q6_K_256_H

#include "cpu/x86/matmul_avx2.h"

enum { TOKENS = 2, ROWS = 4, CHUNKS = 8 };

// 32 codes of a block as unsigned 0..63: chunk c is elements 32c .. 32c+31.
TN_K_INLINE __m256i unpack(const uint8_t *block, const unsigned c)
{
    const unsigned half = c / 4, quarter = c % 4;
    const __m256i ql = tn_load256(block + 64 * half + 32 * (quarter % 2)), qh = tn_load256(block + TN_Q6_K_QH + 32 * half);
    const __m256i low = _mm256_and_si256(quarter < 2 ? ql : _mm256_srli_epi16(ql, 4), _mm256_set1_epi8(15));
    const __m256i shifted = quarter == 0   ? _mm256_slli_epi16(qh, 4)
                            : quarter == 1 ? _mm256_slli_epi16(qh, 2)
                            : quarter == 2 ? qh
                                           : _mm256_srli_epi16(qh, 2);
    return _mm256_or_si256(low, _mm256_and_si256(shifted, _mm256_set1_epi8(0x30)));
}

// Sums of the 8 lanes of four vectors.
TN_K_INLINE __m128i sum_lanes(const __m256i v[ROWS])
{
    const __m256i s = _mm256_hadd_epi32(_mm256_hadd_epi32(v[0], v[1]), _mm256_hadd_epi32(v[2], v[3]));
    return _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
}

// Sub-blocks 2c (low 128 bits) and 2c+1 (high): their 16-bit scales in all lanes, from scales 0-7 or 8-15 in both halves.
TN_K_INLINE __m256i chunk_scales(__m256i scales8, const unsigned c)
{
    const short low = (short)(0x0100 + 0x0202 * (2 * (c % 4))), high = (short)(0x0100 + 0x0202 * (2 * (c % 4) + 1));
    return _mm256_shuffle_epi8(scales8, _mm256_set_m128i(_mm_set1_epi16(high), _mm_set1_epi16(low)));
}

// acc[m][r] = sum of scale * (dot of 16) of one block of row r, as 8 partial sums.
TN_K_INLINE void add_row(const uint8_t *block, const int8_t *x, size_t x_stride, unsigned r, __m256i acc[TOKENS][ROWS],
                         __m256i offset[TOKENS][CHUNKS], const unsigned MR)
{
    const __m256i scales = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(block + TN_Q6_K_SC)));
    const __m256i scales_low = _mm256_permute4x64_epi64(scales, 0x44), scales_high = _mm256_permute4x64_epi64(scales, 0xee);
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) acc[m][r] = _mm256_setzero_si256();
    TN_K_UNROLL
    for (unsigned c = 0; c < CHUNKS; c++) {
        const __m256i codes = unpack(block, c), scale = chunk_scales(c < 4 ? scales_low : scales_high, c);
        TN_K_UNROLL
        for (unsigned m = 0; m < MR; m++) {
            // 63*127*2 and what remains after taking off 32*(x0+x1) both fit 16 bits.
            const __m256i x32 = _mm256_loadu_si256((const __m256i *)(x + m * x_stride + 32 * c));
            const __m256i dot2 = _mm256_sub_epi16(_mm256_maddubs_epi16(codes, x32), offset[m][c]);
            acc[m][r] = tn_pin256(tn_dot_pairs256(acc[m][r], dot2, scale));
        }
    }
}

// MR tokens from m0 times the rows from n0; where fewer than ROWS are real the first stands in for the others and is stored once.
TN_K_INLINE void tile(const tn_k_matmul_dense_args *a, uint32_t m0, uint32_t n0, const unsigned MR)
{
    const uint32_t real_rows = a->N - n0 < ROWS ? a->N - n0 : ROWS;
    const uint8_t *row[ROWS];
    for (uint32_t r = 0; r < ROWS; r++) row[r] = a->w + (n0 + (r < real_rows ? r : 0)) * a->w_stride;
    __m128 sum[TOKENS];
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) sum[m] = _mm_setzero_ps();
    for (uint32_t b = 0; b < a->K / 256; b++) {
        const int8_t *x = a->xq + m0 * a->xq_stride + (size_t)b * 256;
        __m256i acc[TOKENS][ROWS], offset[TOKENS][CHUNKS];
        TN_K_UNROLL
        for (unsigned m = 0; m < MR; m++) {
            TN_K_UNROLL
            for (unsigned c = 0; c < CHUNKS; c++) {
                const __m256i x32 = _mm256_loadu_si256((const __m256i *)(x + m * a->xq_stride + 32 * c));
                offset[m][c] = _mm256_maddubs_epi16(_mm256_set1_epi8(32), x32);
            }
        }
        uint16_t d[8] = {0};
        TN_K_UNROLL
        for (unsigned r = 0; r < ROWS; r++) {
            const uint8_t *block = row[r] + (size_t)b * TN_Q6_K_BYTES;
            memcpy(&d[r], block + TN_Q6_K_D, sizeof d[r]);
            tn_k_prefetch(block, ROWS * a->w_stride, TN_Q6_K_BYTES);
            add_row(block, x, a->xq_stride, r, acc, offset, MR);
        }
        const __m128 dw = _mm_cvtph_ps(_mm_loadu_si128((const __m128i *)d));
        TN_K_UNROLL
        for (unsigned m = 0; m < MR; m++) {
            const __m128 dx = _mm_set1_ps(a->xq_scale[(size_t)(m0 + m) * a->xq_groups + b]);
            const __m256 scale = tn_fl_ps256(_mm256_castps128_ps256(_mm_mul_ps(dx, dw)));
            sum[m] = _mm_add_ps(sum[m], _mm_mul_ps(_mm_cvtepi32_ps(sum_lanes(acc[m])), _mm256_castps256_ps128(scale)));
        }
    }
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) {
        tn_store_ps256(a->y + (m0 + m) * a->y_stride + n0, real_rows, _mm256_castps128_ps256(sum[m]), &a->y_absmax[m0 + m]);
    }
}

TN_K_INLINE void tn_q6_k_rows256(const tn_k_matmul_dense_args *args)
{
    for (uint32_t n = 0; n < args->N; n += ROWS) {
        uint32_t m = 0;
        for (; args->M - m >= TOKENS; m += TOKENS) tile(args, m, n, TOKENS);
        if (m < args->M) tile(args, m, n, 1);
    }
}

#endif
