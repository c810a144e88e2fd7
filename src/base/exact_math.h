// The primitives of the exact mode: f32 + - * only, one order, no libm. docs/design/0001-numerics.md defines them.
#ifndef TN_BASE_EXACT_MATH_H
#define TN_BASE_EXACT_MATH_H

#include <assert.h>
#include <float.h>
#include <stdint.h>
#include <string.h>

// On a GPU the same functions are device code.
#ifdef __CUDACC__
#define TN_EXACT static __device__ __forceinline__
#else
#define TN_EXACT static inline
#endif

static_assert(FLT_EVAL_METHOD == 0, "the exact mode needs f32 arithmetic in f32");

TN_EXACT uint32_t tn_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}
TN_EXACT float tn_float(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}
TN_EXACT uint32_t tn_abs_bits(float x) { return tn_bits(x) & 0x7fffffffu; }

#define TN_ABS_BITS_2M50  0x26800000u // 2^-50
#define TN_ABS_BITS_2M100 0x0d800000u // 2^-100
#define TN_ABS_BITS_2P56  0x5b800000u // 2^56: at or above it (NaN and infinity too) a stored value is poison

// Values below 2^-50 become +0.
TN_EXACT float tn_fl(float z) { return tn_abs_bits(z) < TN_ABS_BITS_2M50 ? 0.0f : z; }
// Values below 2^-100 become +0.
TN_EXACT float tn_f100(float z) { return tn_abs_bits(z) < TN_ABS_BITS_2M100 ? 0.0f : z; }

// Nearest integer, ties to even, as f32; |x| <= 2^22 (others: some value, no trap).
TN_EXACT float tn_round_even(float x)
{
    const float magic = 12582912.0f; // 1.5 * 2^23
    return (x + magic) - magic;
}
// The same as int32; |x| <= 2^22, others give some value.
TN_EXACT int32_t tn_round_int(float x) { return (int32_t)(tn_bits(x + 12582912.0f) - 0x4b400000u); }

// The same for 0 <= x <= 2^23: codes of p * 2^22 pass 2^22, where the function above has lost the unit place.
TN_EXACT int32_t tn_round_int_u(float x) { return (int32_t)(tn_bits(x + 8388608.0f) - 0x4b000000u); }

// 1/a to 1.25 ulp; a positive, normal.
TN_EXACT float tn_recip(float a)
{
    float r = tn_float(0x7EF311C7u - tn_bits(a));
    for (int i = 0; i < 4; i++) {
        float e = 1.0f - (a * r);
        r = r + (r * e);
    }
    return r;
}
// 1/sqrt(a) to 1.22 ulp; a positive, normal.
TN_EXACT float tn_rsqrt(float a)
{
    float y = tn_float(0x5F375A86u - (tn_bits(a) >> 1));
    float h = 0.5f * a;
    for (int i = 0; i < 4; i++) {
        float e = 0.5f - ((h * y) * y);
        y = y + (y * e);
    }
    return y;
}
// 2^f for |f| <= 0.5.
TN_EXACT float tn_exp2_poly(float f)
{
    float p = 0x1.444p-13f;
    p = 0x1.5f48cp-10f + (f * p);
    p = 0x1.3b2a1cp-7f + (f * p);
    p = 0x1.c6aeccp-5f + (f * p);
    p = 0x1.ebfbep-3f + (f * p);
    p = 0x1.62e43p-1f + (f * p);
    return 1.0f + (f * p);
}
// 2^n, -126 <= n <= 127.
TN_EXACT float tn_pow2(int32_t n) { return tn_float((uint32_t)(n + 127) << 23); }
// x * 2^n for n <= 0; 0 below -60.
TN_EXACT float tn_shift(float x, int32_t n) { return n < -60 ? 0.0f : x * tn_pow2(n); }
// 2^t, |t| <= 64.
TN_EXACT float tn_exp2(float t)
{
    float n = tn_round_even(t);
    return tn_exp2_poly(t - n) * tn_pow2(tn_round_int(t));
}
TN_EXACT float tn_silu(float x)
{
    float t = -(x * 1.4426950408889634f);
    t = t < -60.0f ? -60.0f : t > 60.0f ? 60.0f : t;
    return x * tn_recip(1.0f + tn_exp2(t));
}

#endif
