// The vocabulary of the AVX2 and AVX-VNNI matmul kernels. Included only by files compiled for these levels.
#ifndef TN_CPU_X86_MATMUL_AVX2_H
#define TN_CPU_X86_MATMUL_AVX2_H

#include "cpu/tmpl/matmul_common.h"

#include <immintrin.h>

TN_K_INLINE __m256i tn_abs_bits256(__m256 z) { return _mm256_and_si256(_mm256_castps_si256(z), _mm256_set1_epi32(0x7fffffff)); }
TN_K_INLINE __m256 tn_fl_ps256(__m256 z)
{
    const __m256i small = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)TN_ABS_BITS_2M50), tn_abs_bits256(z));
    return _mm256_andnot_ps(_mm256_castsi256_ps(small), z);
}
TN_K_INLINE uint32_t tn_max_epu32_256(__m256i v)
{
    __m128i m = _mm_max_epu32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    m = _mm_max_epu32(m, _mm_shuffle_epi32(m, 0x4e));
    m = _mm_max_epu32(m, _mm_shuffle_epi32(m, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(m);
}
// Eight results of one token: FL'd, the first `n` (n >= 8: all) stored and counted.
TN_K_INLINE void tn_store_ps256(float *y, uint32_t n, __m256 z, uint32_t *absmax)
{
    z = tn_fl_ps256(z);
    if (n >= 8) {
        _mm256_storeu_ps(y, z);
        tn_k_raise(absmax, tn_max_epu32_256(tn_abs_bits256(z)));
        return;
    }
    const __m256i keep = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    _mm256_maskstore_ps(y, keep, z);
    tn_k_raise(absmax, tn_max_epu32_256(_mm256_and_si256(keep, tn_abs_bits256(z))));
}
TN_K_INLINE __m256i tn_load256(const uint8_t *p) { return _mm256_loadu_si256((const __m256i *)p); }
// Four activations in every 32-bit lane.
TN_K_INLINE __m256i tn_x4_256(const int8_t *x) { return _mm256_set1_epi32(tn_k_load_i32(x)); }
// Rows n .. n+7 of a ternary product, n may be past the end: the sum of (code t+1) * q less the sum of q, scaled and stored.
TN_K_INLINE void tn_ternary_finish256(const tn_k_matmul_ternary_args *a, uint32_t m, uint32_t n, __m256i acc)
{
    const __m256 scale = tn_fl_ps256(_mm256_mul_ps(_mm256_set1_ps(a->x_scale[m]), _mm256_loadu_ps(a->w_scale + n)));
    const __m256 sum = _mm256_cvtepi32_ps(_mm256_sub_epi32(acc, _mm256_set1_epi32(a->x_sum[m])));
    if (n < a->N) tn_store_ps256(a->y + m * a->y_stride + n, a->N - n, _mm256_mul_ps(sum, scale), &a->y_absmax[m]);
}
// Keeps an integer sum as it is written: gcc turns chains of additions into trees with all products first, which spills the 16 registers
// (ternary, 8 tokens: 230 against 290 Gop/s on Zen 4).
TN_K_INLINE __m256i tn_pin256(__m256i v)
{
    __asm__("" : "+x"(v));
    return v;
}

#endif
