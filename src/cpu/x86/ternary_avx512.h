// What the ternary kernels of all levels with AVX-512 share: fields of two bits, and how a vector of 16 rows is finished.
#ifndef TN_CPU_X86_TERNARY_AVX512_H
#define TN_CPU_X86_TERNARY_AVX512_H

#include "cpu/x86/matmul_avx512.h"

#define TN_T_ROWS 16u

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

// Sums of (code t+1) * q of one vector, minus the sum of q, scaled and stored. n0: first row; the tile's last panel may be partly real.
TN_K_INLINE void ternary_finish(const tn_k_matmul_ternary_args *a, uint32_t m, uint32_t n, __m512i acc)
{
    const __m512 w_scale = _mm512_loadu_ps(a->w_scale + n);
    const __m512 scale = tn_fl_ps512(_mm512_mul_ps(_mm512_set1_ps(a->x_scale[m]), w_scale));
    const __m512 sum = _mm512_cvtepi32_ps(_mm512_sub_epi32(acc, _mm512_set1_epi32(a->x_sum[m])));
    tn_store_ps512(a->y + m * a->y_stride + n, tn_first16(a->N - n), _mm512_mul_ps(sum, scale), &a->y_absmax[m]);
}

#endif
