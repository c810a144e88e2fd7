// The vocabulary of the AVX-512 matmul kernels. Included only by files compiled for these levels.
#ifndef TN_CPU_X86_MATMUL_AVX512_H
#define TN_CPU_X86_MATMUL_AVX512_H

#include "cpu/tmpl/matmul_common.h"

#include <immintrin.h>

TN_K_INLINE __m512 tn_fl_ps512(__m512 z)
{
    const __m512i abs_bits = _mm512_and_si512(_mm512_castps_si512(z), _mm512_set1_epi32(0x7fffffff));
    return _mm512_maskz_mov_ps(_mm512_cmpge_epi32_mask(abs_bits, _mm512_set1_epi32((int)TN_ABS_BITS_2M50)), z);
}
// Lanes [0, n) of 16.
TN_K_INLINE __mmask16 tn_first16(uint32_t n) { return (__mmask16)(n >= 16 ? 0xffffu : (1u << n) - 1u); }
// Sixteen results of one token: FL'd, those of `keep` stored and counted.
TN_K_INLINE void tn_store_ps512(float *y, __mmask16 keep, __m512 z, uint32_t *absmax)
{
    z = tn_fl_ps512(z);
    _mm512_mask_storeu_ps(y, keep, z);
    const __m512i abs_bits = _mm512_and_si512(_mm512_castps_si512(z), _mm512_set1_epi32(0x7fffffff));
    tn_k_raise(absmax, _mm512_reduce_max_epu32(_mm512_maskz_mov_epi32(keep, abs_bits)));
}
// Four activations in every 32-bit lane.
TN_K_INLINE __m512i tn_x4_512(const int8_t *x) { return _mm512_set1_epi32(tn_k_load_i32(x)); }

#endif
