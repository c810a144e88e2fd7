// Dot products of 512-bit vectors as AVX512-BW makes them: a product of pairs and a sum. dot_avx512vnni.h has the same in one instruction.
#ifndef TN_CPU_X86_DOT_AVX512BW_H
#define TN_CPU_X86_DOT_AVX512BW_H

#include <immintrin.h>

// Pairs of int16: acc + a[0]*b[0] + a[1]*b[1] in every 32-bit lane.
static inline __attribute__((always_inline)) __m512i tn_dot_pairs512(__m512i acc, __m512i a, __m512i b)
{
    return _mm512_add_epi32(acc, _mm512_madd_epi16(a, b));
}

#endif
