// q6_k matmul for AVX2: tmpl/matmul_q6_k.h with products of bytes in 16 bits.
#include "cpu/x86/matmul_q6_k_256.h"

// 32 times the sums of each 16 activations, as q6_add_16 has its products: columns 0, 1 modulo 4 in the low 16 bits, 2, 3 in the high ones.
// 32 * 127 * 8 fits.
TN_K_INLINE void q6_corrections(const int8_t *x, int32_t *out)
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    TN_K_UNROLL
    for (unsigned half = 0; half < 2; half++) {
        __m256i pairs[4]; // vector i has the pairs of sums 2i and 2i+1, one in each 128 bits
        TN_K_UNROLL
        for (unsigned i = 0; i < 4; i++)
            pairs[i] = _mm256_maddubs_epi16(_mm256_set1_epi8(32), _mm256_loadu_si256((const __m256i *)(x + 128 * half + 32 * i)));
        const __m256i ab = _mm256_add_epi16(_mm256_unpacklo_epi32(pairs[0], pairs[1]), _mm256_unpackhi_epi32(pairs[0], pairs[1]));
        const __m256i cd = _mm256_add_epi16(_mm256_unpacklo_epi32(pairs[2], pairs[3]), _mm256_unpackhi_epi32(pairs[2], pairs[3]));
        const __m256i sums = _mm256_add_epi16(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd)); // 2i + g in lane 4g + i
        _mm256_storeu_si256((__m256i *)(out + 8 * (size_t)half), _mm256_permutevar8x32_epi32(sums, order));
    }
}

// A product of pairs is at most 2 * 63 * 127, and eight less 32 times their activations are at most 8 * 32 * 127 in size: what passes 16
// bits on the way comes back.
TN_K_INLINE void q6_add_16(const tn_q6_codes codes[4], const int8_t *x, size_t x_stride, const int32_t *corrections, const int8_t *scales,
                           tn_rows_i *sum, const unsigned MR)
{
    const __m256i bytes = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)scales));
    const __m256i scale = _mm256_or_si256(_mm256_slli_epi32(bytes, 16), _mm256_and_si256(bytes, _mm256_set1_epi32(0xffff)));
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) {
        __m256i dot2 =
            _mm256_sub_epi16(_mm256_maddubs_epi16(codes[0], tn_x4_256(x + m * x_stride)), _mm256_set1_epi32(corrections[16 * m]));
        TN_K_UNROLL
        for (unsigned i = 1; i < 4; i++)
            dot2 = tn_pin256(_mm256_add_epi16(dot2, _mm256_maddubs_epi16(codes[i], tn_x4_256(x + m * x_stride + 4 * i))));
        sum[m] = tn_pin256(_mm256_add_epi32(sum[m], _mm256_madd_epi16(dot2, scale)));
    }
}

#include "cpu/tmpl/matmul_q6_k.h"

void tn_k_matmul_q6_k_q8_4x16__avx2(const tn_k_matmul_dense_args *args) { q6_rows(args); }
