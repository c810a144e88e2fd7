// Four rows of a panel as lanes: the vocabulary of the matmul templates for SSE4.1. Included only by files compiled for that level.
#ifndef TN_CPU_X86_ROWS_SSE41_H
#define TN_CPU_X86_ROWS_SSE41_H

#include "cpu/tmpl/matmul_common.h"

#include <immintrin.h>

enum { TN_Q8_ROWS = 4, TN_Q8_VECS = 4, TN_Q8_TOKENS = 4 };

typedef __m128 tn_rows_f;
typedef __m128i tn_rows_i;

TN_K_INLINE tn_rows_i tn_abs_bits128(tn_rows_f z) { return _mm_and_si128(_mm_castps_si128(z), _mm_set1_epi32(0x7fffffff)); }
TN_K_INLINE tn_rows_f tn_rows_zero(void) { return _mm_setzero_ps(); }
TN_K_INLINE tn_rows_f tn_rows_set1(float x) { return _mm_set1_ps(x); }
TN_K_INLINE tn_rows_f tn_rows_load(const float *p) { return _mm_loadu_ps(p); }
TN_K_INLINE tn_rows_f tn_rows_add(tn_rows_f x, tn_rows_f y) { return _mm_add_ps(x, y); }
TN_K_INLINE tn_rows_f tn_rows_mul(tn_rows_f x, tn_rows_f y) { return _mm_mul_ps(x, y); }
TN_K_INLINE tn_rows_f tn_rows_to_f32(tn_rows_i x) { return _mm_cvtepi32_ps(x); }
TN_K_INLINE tn_rows_f tn_rows_fl(tn_rows_f z)
{
    const __m128i small = _mm_cmpgt_epi32(_mm_set1_epi32((int)TN_ABS_BITS_2M50), tn_abs_bits128(z));
    return _mm_andnot_ps(_mm_castsi128_ps(small), z);
}
// Four results of one token: FL'd, the first `n` (n >= 4: all) stored and counted.
TN_K_INLINE void tn_rows_store(float *y, uint32_t n, tn_rows_f z, uint32_t *absmax)
{
    z = tn_rows_fl(z);
    __m128i bits = tn_abs_bits128(z);
    if (n >= 4) {
        _mm_storeu_ps(y, z);
    } else {
        float all[4];
        _mm_storeu_ps(all, z);
        memcpy(y, all, n * sizeof *y);
        bits = _mm_and_si128(bits, _mm_cmpgt_epi32(_mm_set1_epi32((int)n), _mm_setr_epi32(0, 1, 2, 3)));
    }
    bits = _mm_max_epu32(bits, _mm_shuffle_epi32(bits, 0x4e));
    bits = _mm_max_epu32(bits, _mm_shuffle_epi32(bits, 0xb1));
    tn_k_raise(absmax, (uint32_t)_mm_cvtsi128_si32(bits));
}
TN_K_INLINE __m128i tn_load128(const uint8_t *p) { return _mm_loadu_si128((const __m128i *)p); }
// Four activations in every 32-bit lane.
TN_K_INLINE __m128i tn_x4_128(const int8_t *x) { return _mm_set1_epi32(tn_k_load_i32(x)); }
// Rows n .. n+3 of a ternary product, n may be past the end: the sum of (code t+1) * q less the sum of q, scaled and stored.
TN_K_INLINE void tn_ternary_finish128(const tn_k_matmul_ternary_args *a, uint32_t m, uint32_t n, __m128i acc)
{
    const tn_rows_f scale = tn_rows_fl(tn_rows_mul(tn_rows_set1(a->x_scale[m]), tn_rows_load(a->w_scale + n)));
    const tn_rows_f sum = tn_rows_to_f32(_mm_sub_epi32(acc, _mm_set1_epi32(a->x_sum[m])));
    if (n < a->N) tn_rows_store(a->y + m * a->y_stride + n, a->N - n, tn_rows_mul(sum, scale), &a->y_absmax[m]);
}
// Keeps an integer sum as it is written, as tn_pin256 does: otherwise gcc spills the 16 registers (4 tokens: ternary a fifth slower, q4_0 a
// quarter).
TN_K_INLINE __m128i tn_pin128(__m128i v)
{
    __asm__("" : "+x"(v));
    return v;
}

#endif
