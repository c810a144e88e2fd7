// The vocabulary of the row kernels for SSE4.1, with vectors of 128 bits. A strip is 32 elements: the lanes of SUM, in eight vectors. Every
// function does to each element what its name says in IEEE f32 or int32, no more: no fused multiply-add.
#ifndef TN_CPU_X86_SIMD_SSE41_H
#define TN_CPU_X86_SIMD_SSE41_H

#include "cpu/tmpl/strip8.h"

#include <smmintrin.h>
#include <stdint.h>
#include <string.h>

#define TN_INLINE    static inline __attribute__((always_inline))
#define TN_DOT_HEADS 1 // rows of the integer tile: 8 accumulators of 16 registers, so two rows would not fit

typedef struct tn_f32s {
    __m128 a, b, c, d, e, f, g, h;
} tn_f32s;
typedef struct tn_i32s {
    __m128i a, b, c, d, e, f, g, h;
} tn_i32s;

TN_INLINE tn_f32s tn_s_set1(float x)
{
    const __m128 v = _mm_set1_ps(x);
    return (tn_f32s){v, v, v, v, v, v, v, v};
}
TN_INLINE tn_i32s tn_i_set1(int32_t x)
{
    const __m128i v = _mm_set1_epi32(x);
    return (tn_i32s){v, v, v, v, v, v, v, v};
}

// Load and store 32 elements, or the first n < 32 of them; lanes that are not loaded are 0.
TN_INLINE tn_f32s tn_s_load(const float *p) { return TN_MAP_LOAD(tn_f32s, _mm_loadu_ps, p); }
TN_INLINE void tn_s_store(float *p, tn_f32s x) { TN_MAP_STORE(_mm_storeu_ps, p, x); }
TN_INLINE tn_f32s tn_s_load_n(const float *p, uint32_t n)
{
    float lanes[32] = {0};
    memcpy(lanes, p, n * sizeof *p);
    return tn_s_load(lanes);
}
TN_INLINE void tn_s_store_n(float *p, tn_f32s x, uint32_t n)
{
    float lanes[32];
    tn_s_store(lanes, x);
    memcpy(p, lanes, n * sizeof *p);
}
TN_INLINE __m128i tn_v_load(const void *p) { return _mm_loadu_si128((const __m128i *)p); }
TN_INLINE void tn_v_store(void *p, __m128i x) { _mm_storeu_si128((__m128i *)p, x); }
TN_INLINE tn_i32s tn_i_load(const int32_t *p) { return TN_MAP_LOAD(tn_i32s, tn_v_load, p); }
TN_INLINE void tn_i_store(int32_t *p, tn_i32s x) { TN_MAP_STORE(tn_v_store, p, x); }
// Narrowing stores; the values must fit.
TN_INLINE void tn_i_store_i8(int8_t *p, tn_i32s x)
{
    tn_v_store(p, _mm_packs_epi16(_mm_packs_epi32(x.a, x.b), _mm_packs_epi32(x.c, x.d)));
    tn_v_store(p + 16, _mm_packs_epi16(_mm_packs_epi32(x.e, x.f), _mm_packs_epi32(x.g, x.h)));
}
TN_INLINE void tn_i_store_i16(int16_t *p, tn_i32s x)
{
    tn_v_store(p, _mm_packs_epi32(x.a, x.b));
    tn_v_store(p + 8, _mm_packs_epi32(x.c, x.d));
    tn_v_store(p + 16, _mm_packs_epi32(x.e, x.f));
    tn_v_store(p + 24, _mm_packs_epi32(x.g, x.h));
}
TN_INLINE void tn_i_store_i8_n(int8_t *p, tn_i32s x, uint32_t n)
{
    int8_t lanes[32];
    tn_i_store_i8(lanes, x);
    memcpy(p, lanes, n);
}
TN_INLINE void tn_i_store_i16_n(int16_t *p, tn_i32s x, uint32_t n)
{
    int16_t lanes[32];
    tn_i_store_i16(lanes, x);
    memcpy(p, lanes, n * sizeof *p);
}

TN_INLINE tn_f32s tn_s_add(tn_f32s x, tn_f32s y) { return TN_MAP2(tn_f32s, _mm_add_ps, x, y); }
TN_INLINE tn_f32s tn_s_sub(tn_f32s x, tn_f32s y) { return TN_MAP2(tn_f32s, _mm_sub_ps, x, y); }
TN_INLINE tn_f32s tn_s_mul(tn_f32s x, tn_f32s y) { return TN_MAP2(tn_f32s, _mm_mul_ps, x, y); }
// y where either is NaN, as the comparisons of src/ref.
TN_INLINE tn_f32s tn_s_max(tn_f32s x, tn_f32s y) { return TN_MAP2(tn_f32s, _mm_max_ps, x, y); }
TN_INLINE tn_f32s tn_s_min(tn_f32s x, tn_f32s y) { return TN_MAP2(tn_f32s, _mm_min_ps, x, y); }

TN_INLINE tn_i32s tn_i_add(tn_i32s x, tn_i32s y) { return TN_MAP2(tn_i32s, _mm_add_epi32, x, y); }
TN_INLINE tn_i32s tn_i_sub(tn_i32s x, tn_i32s y) { return TN_MAP2(tn_i32s, _mm_sub_epi32, x, y); }
TN_INLINE tn_i32s tn_i_max(tn_i32s x, tn_i32s y) { return TN_MAP2(tn_i32s, _mm_max_epi32, x, y); }
TN_INLINE tn_i32s tn_i_max_u(tn_i32s x, tn_i32s y) { return TN_MAP2(tn_i32s, _mm_max_epu32, x, y); }

TN_INLINE tn_i32s tn_s_bits(tn_f32s x) { return TN_MAP1(tn_i32s, _mm_castps_si128, x); }
TN_INLINE tn_f32s tn_i_float_of_bits(tn_i32s x) { return TN_MAP1(tn_f32s, _mm_castsi128_ps, x); }
TN_INLINE tn_i32s tn_s_round(tn_f32s x) { return TN_MAP1(tn_i32s, _mm_cvtps_epi32, x); } // to even, as workers set MXCSR
TN_INLINE tn_f32s tn_i_to_f32(tn_i32s x) { return TN_MAP1(tn_f32s, _mm_cvtepi32_ps, x); }

TN_INLINE __m128i tn_v_abs_bits(__m128 x) { return _mm_and_si128(_mm_castps_si128(x), _mm_set1_epi32(0x7fffffff)); }
TN_INLINE tn_i32s tn_s_abs_bits(tn_f32s x) { return TN_MAP1(tn_i32s, tn_v_abs_bits, x); }
// Zero where the absolute bits are below `limit`.
TN_INLINE __m128 tn_v_flush(__m128 x, __m128i limit)
{
    return _mm_andnot_ps(_mm_castsi128_ps(_mm_cmpgt_epi32(limit, tn_v_abs_bits(x))), x);
}
TN_INLINE tn_f32s tn_s_flush(tn_f32s x, uint32_t limit)
{
    const __m128i v = _mm_set1_epi32((int32_t)limit);
    return TN_MAP1V(tn_f32s, tn_v_flush, x, v);
}
TN_INLINE __m128 tn_v_pow2(__m128i n) { return _mm_castsi128_ps(_mm_slli_epi32(_mm_add_epi32(n, _mm_set1_epi32(127)), 23)); }
TN_INLINE tn_f32s tn_i_pow2(tn_i32s n) { return TN_MAP1(tn_f32s, tn_v_pow2, n); } // -126 <= n <= 127
// x where n <= limit, else 0.
TN_INLINE __m128 tn_v_zero_above(__m128 x, __m128i n, __m128i limit)
{
    return _mm_andnot_ps(_mm_castsi128_ps(_mm_cmpgt_epi32(n, limit)), x);
}
TN_INLINE tn_f32s tn_s_zero_above(tn_f32s x, tn_i32s n, int32_t limit)
{
    const __m128i v = _mm_set1_epi32(limit);
    return TN_MAP2V(tn_f32s, tn_v_zero_above, x, n, v);
}
// The first n lanes of x, `fill` in the others.
TN_INLINE __m128i tn_v_first_n(__m128i x, int32_t first, int32_t n, __m128i fill)
{
    const __m128i lane = _mm_add_epi32(_mm_setr_epi32(0, 1, 2, 3), _mm_set1_epi32(first));
    return _mm_blendv_epi8(fill, x, _mm_cmpgt_epi32(_mm_set1_epi32(n), lane));
}
TN_INLINE tn_i32s tn_i_first_n(tn_i32s x, uint32_t n, int32_t fill)
{
    const __m128i v = _mm_set1_epi32(fill);
    const int32_t count = (int32_t)n;
    return (tn_i32s){tn_v_first_n(x.a, 0, count, v),  tn_v_first_n(x.b, 4, count, v),  tn_v_first_n(x.c, 8, count, v),
                     tn_v_first_n(x.d, 12, count, v), tn_v_first_n(x.e, 16, count, v), tn_v_first_n(x.f, 20, count, v),
                     tn_v_first_n(x.g, 24, count, v), tn_v_first_n(x.h, 28, count, v)};
}

// Adjacent pairs: 16 values, each twice; the two of every pair exchanged; even lanes with the other sign.
TN_INLINE tn_f32s tn_s_load_twice(const float *p)
{
    const __m128 a = _mm_loadu_ps(p), b = _mm_loadu_ps(p + 4), c = _mm_loadu_ps(p + 8), d = _mm_loadu_ps(p + 12);
    return (tn_f32s){_mm_unpacklo_ps(a, a), _mm_unpackhi_ps(a, a), _mm_unpacklo_ps(b, b), _mm_unpackhi_ps(b, b),
                     _mm_unpacklo_ps(c, c), _mm_unpackhi_ps(c, c), _mm_unpacklo_ps(d, d), _mm_unpackhi_ps(d, d)};
}
TN_INLINE __m128 tn_v_swap_pairs(__m128 x) { return _mm_shuffle_ps(x, x, 0xb1); }
TN_INLINE tn_f32s tn_s_swap_pairs(tn_f32s x) { return TN_MAP1(tn_f32s, tn_v_swap_pairs, x); }
TN_INLINE __m128 tn_v_negate_even(__m128 x) { return _mm_xor_ps(x, _mm_castsi128_ps(_mm_set1_epi64x(0x80000000))); }
TN_INLINE tn_f32s tn_s_negate_even(tn_f32s x) { return TN_MAP1(tn_f32s, tn_v_negate_even, x); }

// Across lanes. SUM's tree adds lanes l+16, l+8, l+4, l+2, l+1.
TN_INLINE float tn_s_tree(tn_f32s x)
{
    const __m128 even = _mm_add_ps(_mm_add_ps(x.a, x.e), _mm_add_ps(x.c, x.g)),
                 odd = _mm_add_ps(_mm_add_ps(x.b, x.f), _mm_add_ps(x.d, x.h));
    __m128 v = _mm_add_ps(even, odd);
    v = _mm_add_ps(v, _mm_movehl_ps(v, v));
    return _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)));
}
TN_INLINE int32_t tn_v_sum(__m128i v)
{
    v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(v, _mm_shuffle_epi32(v, 0xb1)));
}
TN_INLINE int32_t tn_v_max(__m128i v)
{
    v = _mm_max_epi32(v, _mm_shuffle_epi32(v, 0x4e));
    return _mm_cvtsi128_si32(_mm_max_epi32(v, _mm_shuffle_epi32(v, 0xb1)));
}
TN_INLINE uint32_t tn_v_max_u(__m128i v)
{
    v = _mm_max_epu32(v, _mm_shuffle_epi32(v, 0x4e));
    return (uint32_t)_mm_cvtsi128_si32(_mm_max_epu32(v, _mm_shuffle_epi32(v, 0xb1)));
}
TN_INLINE int32_t tn_i_sum(tn_i32s x) { return tn_v_sum(TN_REDUCE(_mm_add_epi32, x)); }
TN_INLINE int32_t tn_i_max_all(tn_i32s x) { return tn_v_max(TN_REDUCE(_mm_max_epi32, x)); }
TN_INLINE uint32_t tn_i_max_all_u(tn_i32s x) { return tn_v_max_u(TN_REDUCE(_mm_max_epu32, x)); }

// 32 pairs of int16, and a pair for all lanes: acc + p[0]*pair[0] + p[1]*pair[1] in every lane.
typedef tn_i32s tn_pairs;
TN_INLINE tn_pairs tn_i_load_pairs(const int16_t *p) { return tn_i_load((const int32_t *)(const void *)p); }
TN_INLINE __m128i tn_v_dot_pair(__m128i acc, __m128i pairs, __m128i pair) { return _mm_add_epi32(acc, _mm_madd_epi16(pairs, pair)); }
TN_INLINE tn_i32s tn_i_dot_pair(tn_i32s acc, tn_pairs pairs, const int16_t *pair)
{
    int32_t both;
    memcpy(&both, pair, sizeof both);
    const __m128i v = _mm_set1_epi32(both);
    return TN_MAP2V(tn_i32s, tn_v_dot_pair, acc, pairs, v);
}

#endif
