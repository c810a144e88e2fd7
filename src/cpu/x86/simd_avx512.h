// The vocabulary of the row kernels for the levels with AVX-512. A strip is 32 elements: the lanes of SUM, in two vectors. Files include
// their level's dot_<isa>.h before.
// Every function does to each element what its name says in IEEE f32 or int32, no more: no fused multiply-add.
#ifndef TN_CPU_X86_SIMD_AVX512_H
#define TN_CPU_X86_SIMD_AVX512_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define TN_INLINE    static inline __attribute__((always_inline))
#define TN_DOT_HEADS 8 // rows of the integer tile that share each load: 16 accumulators of 32 registers

typedef struct tn_f32s {
    __m512 a, b;
} tn_f32s;
typedef struct tn_i32s {
    __m512i a, b;
} tn_i32s;

#define TN_MAP1(type, f, x)    ((type){f((x).a), f((x).b)})
#define TN_MAP2(type, f, x, y) ((type){f((x).a, (y).a), f((x).b, (y).b)})

TN_INLINE tn_f32s tn_s_set1(float x)
{
    __m512 v = _mm512_set1_ps(x);
    return (tn_f32s){v, v};
}
TN_INLINE tn_i32s tn_i_set1(int32_t x)
{
    __m512i v = _mm512_set1_epi32(x);
    return (tn_i32s){v, v};
}

// Masks of the first n <= 32 lanes, by vector.
TN_INLINE __mmask16 tn_v_mask_a(uint32_t n) { return (__mmask16)_cvtu32_mask16((uint32_t)((UINT64_C(1) << n) - 1) & 0xffffu); }
TN_INLINE __mmask16 tn_v_mask_b(uint32_t n) { return (__mmask16)_cvtu32_mask16((uint32_t)(((UINT64_C(1) << n) - 1) >> 16)); }

// Load and store 32 elements, or the first n < 32 of them; lanes that are not loaded are 0.
TN_INLINE tn_f32s tn_s_load(const float *p) { return (tn_f32s){_mm512_loadu_ps(p), _mm512_loadu_ps(p + 16)}; }
TN_INLINE void tn_s_store(float *p, tn_f32s x)
{
    _mm512_storeu_ps(p, x.a);
    _mm512_storeu_ps(p + 16, x.b);
}
TN_INLINE tn_f32s tn_s_load_n(const float *p, uint32_t n)
{
    return (tn_f32s){_mm512_maskz_loadu_ps(tn_v_mask_a(n), p), _mm512_maskz_loadu_ps(tn_v_mask_b(n), p + 16)};
}
TN_INLINE void tn_s_store_n(float *p, tn_f32s x, uint32_t n)
{
    _mm512_mask_storeu_ps(p, tn_v_mask_a(n), x.a);
    _mm512_mask_storeu_ps(p + 16, tn_v_mask_b(n), x.b);
}
TN_INLINE tn_i32s tn_i_load(const int32_t *p) { return (tn_i32s){_mm512_loadu_si512(p), _mm512_loadu_si512(p + 16)}; }
TN_INLINE void tn_i_store(int32_t *p, tn_i32s x)
{
    _mm512_storeu_si512(p, x.a);
    _mm512_storeu_si512(p + 16, x.b);
}
// Narrowing stores; the values must fit.
TN_INLINE void tn_i_store_i8(int8_t *p, tn_i32s x)
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8(x.a));
    _mm_storeu_si128((__m128i *)(void *)(p + 16), _mm512_cvtepi32_epi8(x.b));
}
TN_INLINE void tn_i_store_i16(int16_t *p, tn_i32s x)
{
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtepi32_epi16(x.a));
    _mm256_storeu_si256((__m256i *)(void *)(p + 16), _mm512_cvtepi32_epi16(x.b));
}
TN_INLINE void tn_i_store_i8_n(int8_t *p, tn_i32s x, uint32_t n)
{
    _mm_mask_storeu_epi8(p, tn_v_mask_a(n), _mm512_cvtepi32_epi8(x.a));
    _mm_mask_storeu_epi8(p + 16, tn_v_mask_b(n), _mm512_cvtepi32_epi8(x.b));
}
TN_INLINE void tn_i_store_i16_n(int16_t *p, tn_i32s x, uint32_t n)
{
    _mm256_mask_storeu_epi16(p, tn_v_mask_a(n), _mm512_cvtepi32_epi16(x.a));
    _mm256_mask_storeu_epi16(p + 16, tn_v_mask_b(n), _mm512_cvtepi32_epi16(x.b));
}

TN_INLINE tn_f32s tn_s_add(tn_f32s x, tn_f32s y) { return TN_MAP2(tn_f32s, _mm512_add_ps, x, y); }
TN_INLINE tn_f32s tn_s_sub(tn_f32s x, tn_f32s y) { return TN_MAP2(tn_f32s, _mm512_sub_ps, x, y); }
TN_INLINE tn_f32s tn_s_mul(tn_f32s x, tn_f32s y) { return TN_MAP2(tn_f32s, _mm512_mul_ps, x, y); }
// y where either is NaN, as the comparisons of src/ref.
TN_INLINE tn_f32s tn_s_max(tn_f32s x, tn_f32s y) { return TN_MAP2(tn_f32s, _mm512_max_ps, x, y); }
TN_INLINE tn_f32s tn_s_min(tn_f32s x, tn_f32s y) { return TN_MAP2(tn_f32s, _mm512_min_ps, x, y); }

TN_INLINE tn_i32s tn_i_add(tn_i32s x, tn_i32s y) { return TN_MAP2(tn_i32s, _mm512_add_epi32, x, y); }
TN_INLINE tn_i32s tn_i_sub(tn_i32s x, tn_i32s y) { return TN_MAP2(tn_i32s, _mm512_sub_epi32, x, y); }
TN_INLINE tn_i32s tn_i_max(tn_i32s x, tn_i32s y) { return TN_MAP2(tn_i32s, _mm512_max_epi32, x, y); }
TN_INLINE tn_i32s tn_i_max_u(tn_i32s x, tn_i32s y) { return TN_MAP2(tn_i32s, _mm512_max_epu32, x, y); }

TN_INLINE tn_i32s tn_s_bits(tn_f32s x) { return TN_MAP1(tn_i32s, _mm512_castps_si512, x); }
TN_INLINE tn_f32s tn_i_float_of_bits(tn_i32s x) { return TN_MAP1(tn_f32s, _mm512_castsi512_ps, x); }
TN_INLINE tn_i32s tn_s_round(tn_f32s x) { return TN_MAP1(tn_i32s, _mm512_cvtps_epi32, x); } // to even, as workers set MXCSR
TN_INLINE tn_f32s tn_i_to_f32(tn_i32s x) { return TN_MAP1(tn_f32s, _mm512_cvtepi32_ps, x); }

TN_INLINE __m512i tn_v_abs_bits(__m512 x) { return _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff)); }
TN_INLINE tn_i32s tn_s_abs_bits(tn_f32s x) { return TN_MAP1(tn_i32s, tn_v_abs_bits, x); }
// Zero where the absolute bits are below `limit`.
TN_INLINE __m512 tn_v_flush(__m512 x, __m512i limit) { return _mm512_maskz_mov_ps(_mm512_cmpge_epu32_mask(tn_v_abs_bits(x), limit), x); }
TN_INLINE tn_f32s tn_s_flush(tn_f32s x, uint32_t limit)
{
    __m512i v = _mm512_set1_epi32((int32_t)limit);
    return (tn_f32s){tn_v_flush(x.a, v), tn_v_flush(x.b, v)};
}
TN_INLINE __m512 tn_v_pow2(__m512i n) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(n, _mm512_set1_epi32(127)), 23)); }
TN_INLINE tn_f32s tn_i_pow2(tn_i32s n) { return TN_MAP1(tn_f32s, tn_v_pow2, n); } // -126 <= n <= 127
// x where n <= limit, else 0.
TN_INLINE tn_f32s tn_s_zero_above(tn_f32s x, tn_i32s n, int32_t limit)
{
    __m512i v = _mm512_set1_epi32(limit);
    return (tn_f32s){_mm512_maskz_mov_ps(_mm512_cmple_epi32_mask(n.a, v), x.a), _mm512_maskz_mov_ps(_mm512_cmple_epi32_mask(n.b, v), x.b)};
}
// The first n lanes of x, `fill` in the others.
TN_INLINE tn_i32s tn_i_first_n(tn_i32s x, uint32_t n, int32_t fill)
{
    __m512i v = _mm512_set1_epi32(fill);
    return (tn_i32s){_mm512_mask_mov_epi32(v, tn_v_mask_a(n), x.a), _mm512_mask_mov_epi32(v, tn_v_mask_b(n), x.b)};
}

// Adjacent pairs: 16 values, each twice; the two of every pair exchanged; even lanes with the other sign.
TN_INLINE __m512 tn_v_twice(const float *p)
{
    __m512i order = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    return _mm512_permutexvar_ps(order, _mm512_castps256_ps512(_mm256_loadu_ps(p)));
}
TN_INLINE tn_f32s tn_s_load_twice(const float *p) { return (tn_f32s){tn_v_twice(p), tn_v_twice(p + 8)}; }
TN_INLINE __m512 tn_v_swap_pairs(__m512 x) { return _mm512_permute_ps(x, 0xb1); }
TN_INLINE tn_f32s tn_s_swap_pairs(tn_f32s x) { return TN_MAP1(tn_f32s, tn_v_swap_pairs, x); }
TN_INLINE __m512 tn_v_negate_even(__m512 x) { return _mm512_xor_ps(x, _mm512_castsi512_ps(_mm512_set1_epi64(0x80000000))); }
TN_INLINE tn_f32s tn_s_negate_even(tn_f32s x) { return TN_MAP1(tn_f32s, tn_v_negate_even, x); }

// Across lanes. SUM's tree adds lanes l+16, l+8, l+4, l+2, l+1.
TN_INLINE float tn_s_tree(tn_f32s x)
{
    __m512 z = _mm512_add_ps(x.a, x.b);
    __m256 v = _mm256_add_ps(_mm512_castps512_ps256(z), _mm512_extractf32x8_ps(z, 1));
    __m128 h = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    h = _mm_add_ps(h, _mm_movehl_ps(h, h));
    return _mm_cvtss_f32(_mm_add_ss(h, _mm_movehdup_ps(h)));
}
// Not _mm512_reduce_add_epi32: gcc ends it with an addition in C, and the sum of a poisoned row wraps.
TN_INLINE int32_t tn_i_sum(tn_i32s x)
{
    __m512i sum = _mm512_add_epi32(x.a, x.b);
    __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64(sum, 1));
    __m128i quarter = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    quarter = _mm_add_epi32(quarter, _mm_shuffle_epi32(quarter, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(quarter, _mm_shuffle_epi32(quarter, 0xB1)));
}
TN_INLINE int32_t tn_i_max_all(tn_i32s x) { return _mm512_reduce_max_epi32(_mm512_max_epi32(x.a, x.b)); }
TN_INLINE uint32_t tn_i_max_all_u(tn_i32s x) { return _mm512_reduce_max_epu32(_mm512_max_epu32(x.a, x.b)); }

// 32 pairs of int16, and a pair for all lanes: acc + p[0]*pair[0] + p[1]*pair[1] in every lane.
typedef tn_i32s tn_pairs;
TN_INLINE tn_pairs tn_i_load_pairs(const int16_t *p) { return (tn_i32s){_mm512_loadu_si512(p), _mm512_loadu_si512(p + 32)}; }
TN_INLINE tn_i32s tn_i_dot_pair(tn_i32s acc, tn_pairs pairs, const int16_t *pair)
{
    int32_t both;
    memcpy(&both, pair, sizeof both);
    __m512i v = _mm512_set1_epi32(both);
    return (tn_i32s){tn_dot_pairs512(acc.a, pairs.a, v), tn_dot_pairs512(acc.b, pairs.b, v)};
}

#endif
