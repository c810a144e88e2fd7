// Dot products of 256-bit vectors in one instruction of AVX-VNNI. Tests on processors that lack it define TN_AVXVNNI_AS_EVEX: then it is
// AVX512VL's form of the same instruction, so that all bodies of this level run there too.
#ifndef TN_CPU_X86_DOT_AVXVNNI_H
#define TN_CPU_X86_DOT_AVXVNNI_H

#include <immintrin.h>

#if defined(TN_AVXVNNI_AS_EVEX)
#define TN_DPWSSD256 _mm256_dpwssd_epi32
#define TN_DPBUSD256 _mm256_dpbusd_epi32
#else
#define TN_DPWSSD256 _mm256_dpwssd_avx_epi32
#define TN_DPBUSD256 _mm256_dpbusd_avx_epi32
#endif

// Pairs of int16: acc + a[0]*b[0] + a[1]*b[1] in every 32-bit lane.
static inline __attribute__((always_inline)) __m256i tn_dot_pairs256(__m256i acc, __m256i a, __m256i b) { return TN_DPWSSD256(acc, a, b); }
// Four unsigned bytes times four signed ones, added to every 32-bit lane.
static inline __attribute__((always_inline)) __m256i tn_dot_bytes256(__m256i acc, __m256i codes, __m256i x)
{
    return TN_DPBUSD256(acc, codes, x);
}

#endif
