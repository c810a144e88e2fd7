// q6_k matmul for AVX-VNNI: tmpl/matmul_q6_k.h with dot products of bytes.
#include "cpu/x86/dot_avxvnni.h"
#include "cpu/x86/matmul_q6_k_256.h"

// -32 times the sum of each 16 activations.
TN_K_INLINE void q6_corrections(const int8_t *x, int32_t *out)
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7), zero = _mm256_setzero_si256();
    TN_K_UNROLL
    for (unsigned half = 0; half < 2; half++) {
        __m256i fours[4]; // vector i has 32 times the sums of four of sums 2i and 2i+1, one in each 128 bits
        TN_K_UNROLL
        for (unsigned i = 0; i < 4; i++)
            fours[i] = tn_dot_bytes256(zero, _mm256_set1_epi8(32), _mm256_loadu_si256((const __m256i *)(x + 128 * half + 32 * i)));
        const __m256i ab = _mm256_add_epi32(_mm256_unpacklo_epi32(fours[0], fours[1]), _mm256_unpackhi_epi32(fours[0], fours[1]));
        const __m256i cd = _mm256_add_epi32(_mm256_unpacklo_epi32(fours[2], fours[3]), _mm256_unpackhi_epi32(fours[2], fours[3]));
        const __m256i sums = _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd)); // 2i + g in lane 4g + i
        _mm256_storeu_si256((__m256i *)(out + 8 * (size_t)half), _mm256_permutevar8x32_epi32(_mm256_sub_epi32(zero, sums), order));
    }
}

TN_K_INLINE void q6_add_16(const tn_q6_codes codes[4], const int8_t *x, size_t x_stride, const int32_t *corrections, const int8_t *scales,
                           tn_rows_i *sum, const unsigned MR)
{
    const __m256i scale = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)scales));
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) {
        __m256i dot = _mm256_set1_epi32(corrections[16 * m]);
        TN_K_UNROLL
        for (unsigned i = 0; i < 4; i++) dot = tn_dot_bytes256(dot, codes[i], tn_x4_256(x + m * x_stride + 4 * i));
        sum[m] = tn_pin256(_mm256_add_epi32(sum[m], _mm256_mullo_epi32(dot, scale)));
    }
}

#include "cpu/tmpl/matmul_q6_k.h"

void tn_k_matmul_q6_k_q8_4x16__avxvnni(const tn_k_matmul_dense_args *args) { q6_rows(args); }
