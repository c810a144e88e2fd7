// The vocabulary of the row kernels for NEON, the vectors that every AArch64 processor has. A strip is 32 elements: the lanes of SUM, in
// eight vectors. Every function does to each element what its name says in IEEE f32 or int32, no more: no fused multiply-add.
#ifndef TN_CPU_ARM_SIMD_NEON_H
#define TN_CPU_ARM_SIMD_NEON_H

#include "cpu/tmpl/strip8.h"

#include <arm_neon.h>
#include <stdint.h>
#include <string.h>

#define TN_INLINE    static inline __attribute__((always_inline))
#define TN_DOT_HEADS 2 // rows of the integer tile that share each load: 16 accumulators of 32 registers

typedef struct tn_f32s {
    float32x4_t a, b, c, d, e, f, g, h;
} tn_f32s;
typedef struct tn_i32s {
    int32x4_t a, b, c, d, e, f, g, h;
} tn_i32s;

TN_INLINE tn_f32s tn_s_set1(float x)
{
    float32x4_t v = vdupq_n_f32(x);
    return (tn_f32s){v, v, v, v, v, v, v, v};
}
TN_INLINE tn_i32s tn_i_set1(int32_t x)
{
    int32x4_t v = vdupq_n_s32(x);
    return (tn_i32s){v, v, v, v, v, v, v, v};
}

// Load and store 32 elements, or the first n < 32 of them; lanes that are not loaded are 0.
TN_INLINE tn_f32s tn_s_load(const float *p) { return TN_MAP_LOAD(tn_f32s, vld1q_f32, p); }
TN_INLINE void tn_s_store(float *p, tn_f32s x) { TN_MAP_STORE(vst1q_f32, p, x); }
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
TN_INLINE tn_i32s tn_i_load(const int32_t *p) { return TN_MAP_LOAD(tn_i32s, vld1q_s32, p); }
TN_INLINE void tn_i_store(int32_t *p, tn_i32s x) { TN_MAP_STORE(vst1q_s32, p, x); }
// Narrowing stores; the values must fit.
TN_INLINE int16x8_t tn_v_narrow(int32x4_t x, int32x4_t y) { return vuzp1q_s16(vreinterpretq_s16_s32(x), vreinterpretq_s16_s32(y)); }
TN_INLINE int8x16_t tn_v_narrow16(int16x8_t x, int16x8_t y) { return vuzp1q_s8(vreinterpretq_s8_s16(x), vreinterpretq_s8_s16(y)); }
TN_INLINE void tn_i_store_i8(int8_t *p, tn_i32s x)
{
    vst1q_s8(p, tn_v_narrow16(tn_v_narrow(x.a, x.b), tn_v_narrow(x.c, x.d)));
    vst1q_s8(p + 16, tn_v_narrow16(tn_v_narrow(x.e, x.f), tn_v_narrow(x.g, x.h)));
}
TN_INLINE void tn_i_store_i16(int16_t *p, tn_i32s x)
{
    vst1q_s16(p, tn_v_narrow(x.a, x.b));
    vst1q_s16(p + 8, tn_v_narrow(x.c, x.d));
    vst1q_s16(p + 16, tn_v_narrow(x.e, x.f));
    vst1q_s16(p + 24, tn_v_narrow(x.g, x.h));
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

TN_INLINE tn_f32s tn_s_add(tn_f32s x, tn_f32s y) { return TN_MAP2(tn_f32s, vaddq_f32, x, y); }
TN_INLINE tn_f32s tn_s_sub(tn_f32s x, tn_f32s y) { return TN_MAP2(tn_f32s, vsubq_f32, x, y); }
TN_INLINE tn_f32s tn_s_mul(tn_f32s x, tn_f32s y) { return TN_MAP2(tn_f32s, vmulq_f32, x, y); }
// y where either is NaN, as the comparisons of src/ref; vmaxq would give the NaN.
TN_INLINE float32x4_t tn_v_max(float32x4_t x, float32x4_t y) { return vbslq_f32(vcgtq_f32(x, y), x, y); }
TN_INLINE float32x4_t tn_v_min(float32x4_t x, float32x4_t y) { return vbslq_f32(vcltq_f32(x, y), x, y); }
TN_INLINE tn_f32s tn_s_max(tn_f32s x, tn_f32s y) { return TN_MAP2(tn_f32s, tn_v_max, x, y); }
TN_INLINE tn_f32s tn_s_min(tn_f32s x, tn_f32s y) { return TN_MAP2(tn_f32s, tn_v_min, x, y); }

TN_INLINE int32x4_t tn_v_max_u(int32x4_t x, int32x4_t y)
{
    return vreinterpretq_s32_u32(vmaxq_u32(vreinterpretq_u32_s32(x), vreinterpretq_u32_s32(y)));
}
TN_INLINE tn_i32s tn_i_add(tn_i32s x, tn_i32s y) { return TN_MAP2(tn_i32s, vaddq_s32, x, y); }
TN_INLINE tn_i32s tn_i_sub(tn_i32s x, tn_i32s y) { return TN_MAP2(tn_i32s, vsubq_s32, x, y); }
TN_INLINE tn_i32s tn_i_max(tn_i32s x, tn_i32s y) { return TN_MAP2(tn_i32s, vmaxq_s32, x, y); }
TN_INLINE tn_i32s tn_i_max_u(tn_i32s x, tn_i32s y) { return TN_MAP2(tn_i32s, tn_v_max_u, x, y); }

TN_INLINE tn_i32s tn_s_bits(tn_f32s x) { return TN_MAP1(tn_i32s, vreinterpretq_s32_f32, x); }
TN_INLINE tn_f32s tn_i_float_of_bits(tn_i32s x) { return TN_MAP1(tn_f32s, vreinterpretq_f32_s32, x); }
TN_INLINE tn_i32s tn_s_round(tn_f32s x) { return TN_MAP1(tn_i32s, vcvtnq_s32_f32, x); } // to even, whatever FPCR says
TN_INLINE tn_f32s tn_i_to_f32(tn_i32s x) { return TN_MAP1(tn_f32s, vcvtq_f32_s32, x); }

TN_INLINE int32x4_t tn_v_abs_bits(float32x4_t x) { return vandq_s32(vreinterpretq_s32_f32(x), vdupq_n_s32(0x7fffffff)); }
TN_INLINE tn_i32s tn_s_abs_bits(tn_f32s x) { return TN_MAP1(tn_i32s, tn_v_abs_bits, x); }
// Zero where the absolute bits are below `limit`.
TN_INLINE float32x4_t tn_v_flush(float32x4_t x, int32x4_t limit)
{
    return vreinterpretq_f32_u32(vandq_u32(vcgeq_s32(tn_v_abs_bits(x), limit), vreinterpretq_u32_f32(x)));
}
TN_INLINE tn_f32s tn_s_flush(tn_f32s x, uint32_t limit)
{
    int32x4_t v = vdupq_n_s32((int32_t)limit);
    return TN_MAP1V(tn_f32s, tn_v_flush, x, v);
}
TN_INLINE float32x4_t tn_v_pow2(int32x4_t n) { return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n, vdupq_n_s32(127)), 23)); }
TN_INLINE tn_f32s tn_i_pow2(tn_i32s n) { return TN_MAP1(tn_f32s, tn_v_pow2, n); } // -126 <= n <= 127
// x where n <= limit, else 0.
TN_INLINE float32x4_t tn_v_zero_above(float32x4_t x, int32x4_t n, int32x4_t limit)
{
    return vreinterpretq_f32_u32(vandq_u32(vcleq_s32(n, limit), vreinterpretq_u32_f32(x)));
}
TN_INLINE tn_f32s tn_s_zero_above(tn_f32s x, tn_i32s n, int32_t limit)
{
    int32x4_t v = vdupq_n_s32(limit);
    return TN_MAP2V(tn_f32s, tn_v_zero_above, x, n, v);
}
// The first n lanes of x, `fill` in the others.
TN_INLINE int32x4_t tn_v_first_n(int32x4_t x, int32_t first, int32_t n, int32x4_t fill)
{
    static const int32_t order[4] = {0, 1, 2, 3};
    int32x4_t lane = vaddq_s32(vld1q_s32(order), vdupq_n_s32(first));
    return vbslq_s32(vcltq_s32(lane, vdupq_n_s32(n)), x, fill);
}
TN_INLINE tn_i32s tn_i_first_n(tn_i32s x, uint32_t n, int32_t fill)
{
    int32x4_t v = vdupq_n_s32(fill);
    int32_t count = (int32_t)n;
    return (tn_i32s){tn_v_first_n(x.a, 0, count, v),  tn_v_first_n(x.b, 4, count, v),  tn_v_first_n(x.c, 8, count, v),
                     tn_v_first_n(x.d, 12, count, v), tn_v_first_n(x.e, 16, count, v), tn_v_first_n(x.f, 20, count, v),
                     tn_v_first_n(x.g, 24, count, v), tn_v_first_n(x.h, 28, count, v)};
}

// Adjacent pairs: 16 values, each twice; the two of every pair exchanged; even lanes with the other sign.
TN_INLINE tn_f32s tn_s_load_twice(const float *p)
{
    float32x4_t a = vld1q_f32(p), b = vld1q_f32(p + 4), c = vld1q_f32(p + 8), d = vld1q_f32(p + 12);
    return (tn_f32s){vzip1q_f32(a, a), vzip2q_f32(a, a), vzip1q_f32(b, b), vzip2q_f32(b, b),
                     vzip1q_f32(c, c), vzip2q_f32(c, c), vzip1q_f32(d, d), vzip2q_f32(d, d)};
}
TN_INLINE tn_f32s tn_s_swap_pairs(tn_f32s x) { return TN_MAP1(tn_f32s, vrev64q_f32, x); }
TN_INLINE float32x4_t tn_v_negate_even(float32x4_t x)
{
    return vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(x), vreinterpretq_u32_u64(vdupq_n_u64(0x80000000u))));
}
TN_INLINE tn_f32s tn_s_negate_even(tn_f32s x) { return TN_MAP1(tn_f32s, tn_v_negate_even, x); }

// Across lanes. SUM's tree adds lanes l+16, l+8, l+4, l+2, l+1.
TN_INLINE float tn_s_tree(tn_f32s x)
{
    float32x4_t low = vaddq_f32(vaddq_f32(x.a, x.e), vaddq_f32(x.c, x.g)), high = vaddq_f32(vaddq_f32(x.b, x.f), vaddq_f32(x.d, x.h));
    float32x4_t v = vaddq_f32(low, high);
    float32x2_t h = vadd_f32(vget_low_f32(v), vget_high_f32(v));
    return vget_lane_f32(h, 0) + vget_lane_f32(h, 1);
}
TN_INLINE int32_t tn_i_sum(tn_i32s x) { return vaddvq_s32(TN_REDUCE(vaddq_s32, x)); }
TN_INLINE int32_t tn_i_max_all(tn_i32s x) { return vmaxvq_s32(TN_REDUCE(vmaxq_s32, x)); }
TN_INLINE uint32_t tn_i_max_all_u(tn_i32s x) { return vmaxvq_u32(vreinterpretq_u32_s32(TN_REDUCE(tn_v_max_u, x))); }

// 32 pairs of int16, taken apart, and a pair for all lanes: acc + p[0]*pair[0] + p[1]*pair[1] in every lane.
typedef struct tn_pairs {
    int16x8x2_t a, b, c, d; // eight first halves, eight second halves
} tn_pairs;
TN_INLINE tn_pairs tn_i_load_pairs(const int16_t *p)
{
    return (tn_pairs){vld2q_s16(p), vld2q_s16(p + 16), vld2q_s16(p + 32), vld2q_s16(p + 48)};
}
TN_INLINE int32x4_t tn_v_dot_low(int32x4_t acc, int16x8x2_t pairs, int16x4_t v)
{
    acc = vmlal_lane_s16(acc, vget_low_s16(pairs.val[0]), v, 0);
    return vmlal_lane_s16(acc, vget_low_s16(pairs.val[1]), v, 1);
}
TN_INLINE int32x4_t tn_v_dot_high(int32x4_t acc, int16x8x2_t pairs, int16x4_t v)
{
    acc = vmlal_high_lane_s16(acc, pairs.val[0], v, 0);
    return vmlal_high_lane_s16(acc, pairs.val[1], v, 1);
}
TN_INLINE tn_i32s tn_i_dot_pair(tn_i32s acc, tn_pairs pairs, const int16_t *pair)
{
    int32_t both;
    memcpy(&both, pair, sizeof both);
    int16x4_t v = vreinterpret_s16_s32(vdup_n_s32(both));
    return (tn_i32s){tn_v_dot_low(acc.a, pairs.a, v),  tn_v_dot_high(acc.b, pairs.a, v), tn_v_dot_low(acc.c, pairs.b, v),
                     tn_v_dot_high(acc.d, pairs.b, v), tn_v_dot_low(acc.e, pairs.c, v),  tn_v_dot_high(acc.f, pairs.c, v),
                     tn_v_dot_low(acc.g, pairs.d, v),  tn_v_dot_high(acc.h, pairs.d, v)};
}

#endif
