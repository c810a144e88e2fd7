// What the AVX512-VNNI kernels of both ternary layouts share: sums, activations, and fields that stay in place.
#ifndef TN_CPU_X86_TERNARY_AVX512VNNI_H
#define TN_CPU_X86_TERNARY_AVX512VNNI_H

#include "cpu/x86/ternary_avx512.h"

typedef __m512i tn_codes;
typedef __m512i tn_sums;
typedef const int8_t *tn_x16; // each four are broadcast from memory where they are used

TN_K_INLINE tn_sums tn_sums_zero(void) { return _mm512_setzero_si512(); }
TN_K_INLINE tn_x16 tn_x16_load(const int8_t *x) { return x; }
TN_K_INLINE tn_sums tn_sums_dot(tn_sums acc, tn_codes codes, tn_x16 x, unsigned i)
{
    return _mm512_dpbusd_epi32(acc, codes, tn_x4_512(x + 4 * i));
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

#endif
