// Dot products of 512-bit vectors in one instruction of AVX512-VNNI.
#ifndef TN_CPU_X86_DOT_AVX512VNNI_H
#define TN_CPU_X86_DOT_AVX512VNNI_H

#include <immintrin.h>

// Pairs of int16: acc + a[0]*b[0] + a[1]*b[1] in every 32-bit lane.
static inline __attribute__((always_inline)) __m512i tn_dot_pairs512(__m512i acc, __m512i a, __m512i b)
{
    return _mm512_dpwssd_epi32(acc, a, b);
}

#endif
