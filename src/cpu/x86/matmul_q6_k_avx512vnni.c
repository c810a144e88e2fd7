// q6_k matmul for AVX512-VNNI: tmpl/matmul_q6_k.h, lanes are the 16 rows of a panel, 16 tokens a tile.
#include "cpu/x86/rows_avx512.h"

#define TN_Q6_ROWS   16u
#define TN_Q6_TOKENS 16u

typedef __m512i tn_q6_codes;

TN_K_INLINE tn_q6_codes q6_load(const uint8_t *p) { return _mm512_loadu_si512(p); }
TN_K_INLINE tn_q6_codes q6_low6(tn_q6_codes z) { return _mm512_and_si512(z, _mm512_set1_epi8(0x3f)); }
TN_K_INLINE tn_q6_codes q6_fourth(tn_q6_codes z0, tn_q6_codes z1, tn_q6_codes z2)
{
    // 0xca: bits of the second where the first has ones, else of the third.
    const __m512i two = _mm512_ternarylogic_epi32(_mm512_set1_epi8(3), _mm512_srli_epi16(z0, 6), _mm512_srli_epi16(z1, 4), 0xca);
    return q6_low6(_mm512_ternarylogic_epi32(_mm512_set1_epi8(15), two, _mm512_srli_epi16(z2, 2), 0xca));
}
TN_K_INLINE tn_rows_i q6_zero(void) { return _mm512_setzero_si512(); }

// -32 times the sum of each 16 activations.
TN_K_INLINE void q6_corrections(const int8_t *x, int32_t *out)
{
    __m512i fours[4]; // 32 times the sums of four: vector i has those of sums 4i .. 4i+3, one in each 128 bits
    TN_K_UNROLL
    for (unsigned i = 0; i < 4; i++)
        fours[i] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(32), _mm512_loadu_si512(x + 64 * i));
    const __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(fours[0], fours[1]), _mm512_unpackhi_epi32(fours[0], fours[1]));
    const __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(fours[2], fours[3]), _mm512_unpackhi_epi32(fours[2], fours[3]));
    const __m512i sums = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd)); // sum 4i + g in lane 4g + i
    const __m512i order = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    _mm512_storeu_si512(out, _mm512_permutexvar_epi32(order, _mm512_sub_epi32(_mm512_setzero_si512(), sums)));
}

TN_K_INLINE void q6_add_16(const tn_q6_codes codes[4], const int8_t *x, size_t x_stride, const int32_t *corrections, const int8_t *scales,
                           tn_rows_i *sum, const unsigned MR)
{
    const __m512i scale = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)scales));
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) {
        __m512i dot = _mm512_set1_epi32(corrections[16 * m]);
        TN_K_UNROLL
        for (unsigned i = 0; i < 4; i++) dot = _mm512_dpbusd_epi32(dot, codes[i], tn_x4_512(x + m * x_stride + 4 * i));
        sum[m] = _mm512_add_epi32(sum[m], _mm512_mullo_epi32(dot, scale));
    }
}

#include "cpu/tmpl/matmul_q6_k.h"

void tn_k_matmul_q6_k_q8_16x16__avx512vnni(const tn_k_matmul_dense_args *args) { q6_rows(args); }
