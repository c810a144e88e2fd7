// What the AVX512-VNNI kernels of both ternary layouts share: sums, activations, and how a vector of 16 rows is finished.
#ifndef TN_CPU_X86_TERNARY_AVX512VNNI_H
#define TN_CPU_X86_TERNARY_AVX512VNNI_H

#include "cpu/x86/matmul_avx512vnni.h"

#define TN_T_ROWS 16u

typedef __m512i tn_codes;
typedef __m512i tn_sums;
typedef const int8_t *tn_x16; // each four are broadcast from memory where they are used

TN_K_INLINE tn_sums tn_sums_zero(void) { return _mm512_setzero_si512(); }
TN_K_INLINE tn_x16 tn_x16_load(const int8_t *x) { return x; }
TN_K_INLINE tn_sums tn_sums_dot(tn_sums acc, tn_codes codes, tn_x16 x, unsigned i)
{
    return _mm512_dpbusd_epi32(acc, codes, tn_x4_512(x + 4 * i));
}

// The field of two bits at place i of each byte, moved to place 0. Shifts want constants.
TN_K_INLINE __m512i tn_fields512(__m512i x, const unsigned i)
{
    const __m512i low2 = _mm512_set1_epi8(3);
    switch (i) {
    case 0: return _mm512_and_si512(x, low2);
    case 1: return _mm512_and_si512(_mm512_srli_epi16(x, 2), low2);
    case 2: return _mm512_and_si512(_mm512_srli_epi16(x, 4), low2);
    default: return _mm512_and_si512(_mm512_srli_epi16(x, 6), low2);
    }
}

// The field at place i left where it is: worth 4^i.
TN_K_INLINE __m512i tn_fields_in_place512(__m512i x, const unsigned i)
{
    return _mm512_and_si512(x, _mm512_set1_epi8((char)(3u << 2 * i)));
}
// The sum of what dots of fields in place have given.
TN_K_INLINE __m512i tn_sum_of_fields512(const __m512i acc[4])
{
    const __m512i low = _mm512_add_epi32(acc[0], _mm512_srai_epi32(acc[1], 2));
    const __m512i high = _mm512_add_epi32(_mm512_srai_epi32(acc[2], 4), _mm512_srai_epi32(acc[3], 6));
    return _mm512_add_epi32(low, high);
}

// Sums of (code t+1) * q of one vector, minus the sum of q, scaled and stored. n0: first row; the tile's last panel may be partly real.
TN_K_INLINE void ternary_finish(const tn_k_matmul_ternary_args *a, uint32_t m, uint32_t n, __m512i acc)
{
    const __m512 w_scale = _mm512_loadu_ps(a->w_scale + n);
    const __m512 scale = tn_fl_ps512(_mm512_mul_ps(_mm512_set1_ps(a->x_scale[m]), w_scale));
    const __m512 sum = _mm512_cvtepi32_ps(_mm512_sub_epi32(acc, _mm512_set1_epi32(a->x_sum[m])));
    tn_store_ps512(a->y + m * a->y_stride + n, tn_first16(a->N - n), _mm512_mul_ps(sum, scale), &a->y_absmax[m]);
}

#endif
