// The vocabulary of the row kernels for AVX2 and AVX-VNNI: included after the dot products of the level. A strip is 32 elements: the lanes
// of SUM, in four vectors. Every function does to each element what its name says in IEEE f32 or int32, no more: no fused multiply-add.
#ifndef TN_CPU_X86_SIMD_AVX2_H
#define TN_CPU_X86_SIMD_AVX2_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define TN_INLINE    static inline __attribute__((always_inline))
#define TN_DOT_HEADS 2 // rows of the integer tile that share each load: 8 accumulators of 16 registers

typedef struct tn_f32s {
    __m256 a, b, c, d;
} tn_f32s;
typedef struct tn_i32s {
    __m256i a, b, c, d;
} tn_i32s;

#define TN_MAP1(type, f, x)    ((type){f((x).a), f((x).b), f((x).c), f((x).d)})
#define TN_MAP2(type, f, x, y) ((type){f((x).a, (y).a), f((x).b, (y).b), f((x).c, (y).c), f((x).d, (y).d)})

TN_INLINE tn_f32s tn_s_set1(float x)
{
    __m256 v = _mm256_set1_ps(x);
    return (tn_f32s){v, v, v, v};
}
TN_INLINE tn_i32s tn_i_set1(int32_t x)
{
    __m256i v = _mm256_set1_epi32(x);
    return (tn_i32s){v, v, v, v};
}

// Load and store 32 elements, or the first n < 32 of them; lanes that are not loaded are 0.
TN_INLINE tn_f32s tn_s_load(const float *p)
{
    return (tn_f32s){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8), _mm256_loadu_ps(p + 16), _mm256_loadu_ps(p + 24)};
}
TN_INLINE void tn_s_store(float *p, tn_f32s x)
{
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
    _mm256_storeu_ps(p + 16, x.c);
    _mm256_storeu_ps(p + 24, x.d);
}
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
TN_INLINE tn_i32s tn_i_load(const int32_t *p)
{
    return (tn_i32s){_mm256_loadu_si256((const __m256i *)(const void *)p), _mm256_loadu_si256((const __m256i *)(const void *)(p + 8)),
                     _mm256_loadu_si256((const __m256i *)(const void *)(p + 16)),
                     _mm256_loadu_si256((const __m256i *)(const void *)(p + 24))};
}
TN_INLINE void tn_i_store(int32_t *p, tn_i32s x)
{
    _mm256_storeu_si256((__m256i *)(void *)p, x.a);
    _mm256_storeu_si256((__m256i *)(void *)(p + 8), x.b);
    _mm256_storeu_si256((__m256i *)(void *)(p + 16), x.c);
    _mm256_storeu_si256((__m256i *)(void *)(p + 24), x.d);
}
// Narrowing stores; the values must fit.
TN_INLINE void tn_i_store_i8(int8_t *p, tn_i32s x)
{
    // packs work in each 128-bit half: the permutation puts the groups of four back in order.
    __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(x.a, x.b), _mm256_packs_epi32(x.c, x.d));
    bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256((__m256i *)(void *)p, bytes);
}
TN_INLINE void tn_i_store_i16(int16_t *p, tn_i32s x)
{
    __m256i low = _mm256_permute4x64_epi64(_mm256_packs_epi32(x.a, x.b), 0xd8);
    __m256i high = _mm256_permute4x64_epi64(_mm256_packs_epi32(x.c, x.d), 0xd8);
    _mm256_storeu_si256((__m256i *)(void *)p, low);
    _mm256_storeu_si256((__m256i *)(void *)(p + 16), high);
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

TN_INLINE tn_f32s tn_s_add(tn_f32s x, tn_f32s y) { return TN_MAP2(tn_f32s, _mm256_add_ps, x, y); }
TN_INLINE tn_f32s tn_s_sub(tn_f32s x, tn_f32s y) { return TN_MAP2(tn_f32s, _mm256_sub_ps, x, y); }
TN_INLINE tn_f32s tn_s_mul(tn_f32s x, tn_f32s y) { return TN_MAP2(tn_f32s, _mm256_mul_ps, x, y); }
// y where either is NaN, as the comparisons of src/ref.
TN_INLINE tn_f32s tn_s_max(tn_f32s x, tn_f32s y) { return TN_MAP2(tn_f32s, _mm256_max_ps, x, y); }
TN_INLINE tn_f32s tn_s_min(tn_f32s x, tn_f32s y) { return TN_MAP2(tn_f32s, _mm256_min_ps, x, y); }

TN_INLINE tn_i32s tn_i_add(tn_i32s x, tn_i32s y) { return TN_MAP2(tn_i32s, _mm256_add_epi32, x, y); }
TN_INLINE tn_i32s tn_i_sub(tn_i32s x, tn_i32s y) { return TN_MAP2(tn_i32s, _mm256_sub_epi32, x, y); }
TN_INLINE tn_i32s tn_i_max(tn_i32s x, tn_i32s y) { return TN_MAP2(tn_i32s, _mm256_max_epi32, x, y); }
TN_INLINE tn_i32s tn_i_max_u(tn_i32s x, tn_i32s y) { return TN_MAP2(tn_i32s, _mm256_max_epu32, x, y); }

TN_INLINE tn_i32s tn_s_bits(tn_f32s x) { return TN_MAP1(tn_i32s, _mm256_castps_si256, x); }
TN_INLINE tn_f32s tn_i_float_of_bits(tn_i32s x) { return TN_MAP1(tn_f32s, _mm256_castsi256_ps, x); }
TN_INLINE tn_i32s tn_s_round(tn_f32s x) { return TN_MAP1(tn_i32s, _mm256_cvtps_epi32, x); } // to even, as workers set MXCSR
TN_INLINE tn_f32s tn_i_to_f32(tn_i32s x) { return TN_MAP1(tn_f32s, _mm256_cvtepi32_ps, x); }

TN_INLINE __m256i tn_v_abs_bits(__m256 x) { return _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7fffffff)); }
TN_INLINE tn_i32s tn_s_abs_bits(tn_f32s x) { return TN_MAP1(tn_i32s, tn_v_abs_bits, x); }
// Zero where the absolute bits are below `limit`.
TN_INLINE __m256 tn_v_flush(__m256 x, __m256i limit)
{
    return _mm256_andnot_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(limit, tn_v_abs_bits(x))), x);
}
TN_INLINE tn_f32s tn_s_flush(tn_f32s x, uint32_t limit)
{
    __m256i v = _mm256_set1_epi32((int32_t)limit);
    return (tn_f32s){tn_v_flush(x.a, v), tn_v_flush(x.b, v), tn_v_flush(x.c, v), tn_v_flush(x.d, v)};
}
TN_INLINE __m256 tn_v_pow2(__m256i n) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23)); }
TN_INLINE tn_f32s tn_i_pow2(tn_i32s n) { return TN_MAP1(tn_f32s, tn_v_pow2, n); } // -126 <= n <= 127
// x where n <= limit, else 0.
TN_INLINE __m256 tn_v_zero_above(__m256 x, __m256i n, __m256i limit)
{
    return _mm256_andnot_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(n, limit)), x);
}
TN_INLINE tn_f32s tn_s_zero_above(tn_f32s x, tn_i32s n, int32_t limit)
{
    __m256i v = _mm256_set1_epi32(limit);
    return (tn_f32s){tn_v_zero_above(x.a, n.a, v), tn_v_zero_above(x.b, n.b, v), tn_v_zero_above(x.c, n.c, v),
                     tn_v_zero_above(x.d, n.d, v)};
}
// The first n lanes of x, `fill` in the others.
TN_INLINE __m256i tn_v_first_n(__m256i x, int32_t first, int32_t n, __m256i fill)
{
    __m256i lane = _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(first));
    return _mm256_blendv_epi8(fill, x, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane));
}
TN_INLINE tn_i32s tn_i_first_n(tn_i32s x, uint32_t n, int32_t fill)
{
    __m256i v = _mm256_set1_epi32(fill);
    int32_t count = (int32_t)n;
    return (tn_i32s){tn_v_first_n(x.a, 0, count, v), tn_v_first_n(x.b, 8, count, v), tn_v_first_n(x.c, 16, count, v),
                     tn_v_first_n(x.d, 24, count, v)};
}

// Adjacent pairs: 16 values, each twice; the two of every pair exchanged; even lanes with the other sign.
TN_INLINE __m256 tn_v_twice(const float *p)
{
    __m256 v = _mm256_castps128_ps256(_mm_loadu_ps(p));
    return _mm256_permutevar8x32_ps(v, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
}
TN_INLINE tn_f32s tn_s_load_twice(const float *p)
{
    return (tn_f32s){tn_v_twice(p), tn_v_twice(p + 4), tn_v_twice(p + 8), tn_v_twice(p + 12)};
}
TN_INLINE __m256 tn_v_swap_pairs(__m256 x) { return _mm256_permute_ps(x, 0xb1); }
TN_INLINE tn_f32s tn_s_swap_pairs(tn_f32s x) { return TN_MAP1(tn_f32s, tn_v_swap_pairs, x); }
TN_INLINE __m256 tn_v_negate_even(__m256 x) { return _mm256_xor_ps(x, _mm256_castsi256_ps(_mm256_set1_epi64x(0x80000000))); }
TN_INLINE tn_f32s tn_s_negate_even(tn_f32s x) { return TN_MAP1(tn_f32s, tn_v_negate_even, x); }

// Across lanes. SUM's tree adds lanes l+16, l+8, l+4, l+2, l+1.
TN_INLINE float tn_s_tree(tn_f32s x)
{
    __m256 v = _mm256_add_ps(_mm256_add_ps(x.a, x.c), _mm256_add_ps(x.b, x.d));
    __m128 h = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    h = _mm_add_ps(h, _mm_movehl_ps(h, h));
    return _mm_cvtss_f32(_mm_add_ss(h, _mm_movehdup_ps(h)));
}
#define TN_HALVES_(op128, v) op128(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1))
TN_INLINE int32_t tn_i_sum(tn_i32s x)
{
    __m256i v = _mm256_add_epi32(_mm256_add_epi32(x.a, x.b), _mm256_add_epi32(x.c, x.d));
    __m128i h = TN_HALVES_(_mm_add_epi32, v);
    h = _mm_add_epi32(h, _mm_shuffle_epi32(h, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(h, _mm_shuffle_epi32(h, 0xb1)));
}
TN_INLINE int32_t tn_i_max_all(tn_i32s x)
{
    __m256i v = _mm256_max_epi32(_mm256_max_epi32(x.a, x.b), _mm256_max_epi32(x.c, x.d));
    __m128i h = TN_HALVES_(_mm_max_epi32, v);
    h = _mm_max_epi32(h, _mm_shuffle_epi32(h, 0x4e));
    return _mm_cvtsi128_si32(_mm_max_epi32(h, _mm_shuffle_epi32(h, 0xb1)));
}
TN_INLINE uint32_t tn_i_max_all_u(tn_i32s x)
{
    __m256i v = _mm256_max_epu32(_mm256_max_epu32(x.a, x.b), _mm256_max_epu32(x.c, x.d));
    __m128i h = TN_HALVES_(_mm_max_epu32, v);
    h = _mm_max_epu32(h, _mm_shuffle_epi32(h, 0x4e));
    return (uint32_t)_mm_cvtsi128_si32(_mm_max_epu32(h, _mm_shuffle_epi32(h, 0xb1)));
}

// 32 pairs of int16, and a pair for all lanes: acc + p[0]*pair[0] + p[1]*pair[1] in every lane.
typedef tn_i32s tn_pairs;
TN_INLINE tn_pairs tn_i_load_pairs(const int16_t *p) { return tn_i_load((const int32_t *)(const void *)p); }
TN_INLINE __m256i tn_v_pair(const int16_t *pair)
{
    int32_t both;
    memcpy(&both, pair, sizeof both);
    return _mm256_set1_epi32(both);
}
TN_INLINE tn_i32s tn_i_dot_pair(tn_i32s acc, tn_pairs pairs, const int16_t *pair)
{
    __m256i v = tn_v_pair(pair);
    return (tn_i32s){tn_dot_pairs256(acc.a, pairs.a, v), tn_dot_pairs256(acc.b, pairs.b, v), tn_dot_pairs256(acc.c, pairs.c, v),
                     tn_dot_pairs256(acc.d, pairs.d, v)};
}

#endif
