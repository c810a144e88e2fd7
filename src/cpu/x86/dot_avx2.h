// Dot products of 256-bit vectors as AVX2 makes them: a product of pairs and a sum. dot_avxvnni.h has the same in one instruction.
#ifndef TN_CPU_X86_DOT_AVX2_H
#define TN_CPU_X86_DOT_AVX2_H

#include <immintrin.h>

// Pairs of int16: acc + a[0]*b[0] + a[1]*b[1] in every 32-bit lane.
static inline __attribute__((always_inline)) __m256i tn_dot_pairs256(__m256i acc, __m256i a, __m256i b)
{
    return _mm256_add_epi32(acc, _mm256_madd_epi16(a, b));
}

#endif
