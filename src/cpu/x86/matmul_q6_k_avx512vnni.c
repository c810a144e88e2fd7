// q6_k matmul over rows of 210-byte blocks for AVX512-VNNI: 2 tokens x 4 rows, all integer up to one f32 term a block.
#include "cpu/x86/matmul_avx512vnni.h"

enum { TOKENS = 2, ROWS = 4, CHUNKS = 4 };

// The 256 codes of a block as unsigned 0..63, in order.
TN_K_INLINE void unpack(const uint8_t *block, __m512i codes[CHUNKS])
{
    const __m512i low4 = _mm512_set1_epi8(15), high2 = _mm512_set1_epi8(0x30);
    // Of the 32 bytes of high bits, elements 0-31 take bits 0-1, 32-63 bits 2-3, 64-95 bits 4-5, 96-127 bits 6-7: move them to bits 4-5.
    const __m512i left = _mm512_inserti64x4(_mm512_set1_epi16(4), _mm256_set1_epi16(2), 1);
    const __m512i right = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(2), 1);
    TN_K_UNROLL
    for (unsigned h = 0; h < 2; h++) {
        const __m512i ql = _mm512_loadu_si512(block + 64 * h);
        const __m512i qh = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)(block + TN_Q6_K_QH + 32 * h)));
        codes[2 * h] = _mm512_or_si512(_mm512_and_si512(ql, low4), _mm512_and_si512(_mm512_sllv_epi16(qh, left), high2));
        codes[2 * h + 1] =
            _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi16(ql, 4), low4), _mm512_and_si512(_mm512_srlv_epi16(qh, right), high2));
    }
}

// Sums of the 16 lanes of four vectors.
TN_K_INLINE __m128i sum_lanes(const __m512i v[ROWS])
{
    __m256i half[ROWS];
    TN_K_UNROLL
    for (unsigned r = 0; r < ROWS; r++) half[r] = _mm256_add_epi32(_mm512_castsi512_si256(v[r]), _mm512_extracti64x4_epi64(v[r], 1));
    const __m256i s = _mm256_hadd_epi32(_mm256_hadd_epi32(half[0], half[1]), _mm256_hadd_epi32(half[2], half[3]));
    return _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
}

// acc[m][r] += sum of scale * (dot of 16) of one block of row r, as 16 partial sums.
TN_K_INLINE void add_row(const uint8_t *block, const int8_t *x, size_t x_stride, unsigned r, __m512i acc[TOKENS][ROWS],
                         __m512i offset[TOKENS][CHUNKS], const unsigned MR)
{
    // Chunk c holds sub-blocks 4c .. 4c+3, one in each 128 bits.
    const __m512i scale_index = _mm512_set_epi64(0x0003000300030003, 0x0003000300030003, 0x0002000200020002, 0x0002000200020002,
                                                 0x0001000100010001, 0x0001000100010001, 0, 0);
    const __m512i scales = _mm512_castsi256_si512(_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(block + TN_Q6_K_SC))));
    __m512i codes[CHUNKS];
    unpack(block, codes);
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) acc[m][r] = _mm512_setzero_si512();
    TN_K_UNROLL
    for (unsigned c = 0; c < CHUNKS; c++) {
        const __m512i index = _mm512_add_epi16(scale_index, _mm512_set1_epi16((short)(4 * c)));
        const __m512i scale = _mm512_permutexvar_epi16(index, scales);
        TN_K_UNROLL
        for (unsigned m = 0; m < MR; m++) {
            // 63*127*2 and what remains after taking off 32*(x0+x1) both fit 16 bits.
            const __m512i x64 = _mm512_loadu_si512(x + m * x_stride + 64 * c);
            const __m512i dot2 = _mm512_sub_epi16(_mm512_maddubs_epi16(codes[c], x64), offset[m][c]);
            acc[m][r] = _mm512_dpwssd_epi32(acc[m][r], dot2, scale);
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
        __m512i acc[TOKENS][ROWS], offset[TOKENS][CHUNKS];
        TN_K_UNROLL
        for (unsigned m = 0; m < MR; m++) {
            TN_K_UNROLL
            for (unsigned c = 0; c < CHUNKS; c++) {
                offset[m][c] = _mm512_maddubs_epi16(_mm512_set1_epi8(32), _mm512_loadu_si512(x + m * a->xq_stride + 64 * c));
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
            const __m512 scale = tn_fl_ps512(_mm512_castps128_ps512(_mm_mul_ps(dx, dw)));
            sum[m] = _mm_add_ps(sum[m], _mm_mul_ps(_mm_cvtepi32_ps(sum_lanes(acc[m])), _mm512_castps512_ps128(scale)));
        }
    }
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) {
        tn_store_ps512(a->y + (m0 + m) * a->y_stride + n0, tn_first16(real_rows), _mm512_castps128_ps512(sum[m]), &a->y_absmax[m0 + m]);
    }
}

void tn_k_matmul_q6_k_q8_2x4__avx512vnni(const tn_k_matmul_dense_args *args)
{
    for (uint32_t n = 0; n < args->N; n += ROWS) {
        uint32_t m = 0;
        for (; args->M - m >= TOKENS; m += TOKENS) tile(args, m, n, TOKENS);
        if (m < args->M) tile(args, m, n, 1);
    }
}
