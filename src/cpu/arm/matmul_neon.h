// The vocabulary of all matmul kernels of AArch64. It needs NEON alone, so every level includes it.
#ifndef TN_CPU_ARM_MATMUL_NEON_H
#define TN_CPU_ARM_MATMUL_NEON_H

#include "cpu/tmpl/matmul_common.h"

#include <arm_neon.h>

TN_K_INLINE int32x4_t tn_abs_bits4(float32x4_t z) { return vandq_s32(vreinterpretq_s32_f32(z), vdupq_n_s32(0x7fffffff)); }
TN_K_INLINE float32x4_t tn_fl4(float32x4_t z)
{
    const uint32x4_t keep = vcgeq_s32(tn_abs_bits4(z), vdupq_n_s32((int32_t)TN_ABS_BITS_2M50));
    return vreinterpretq_f32_u32(vandq_u32(keep, vreinterpretq_u32_f32(z)));
}
// Four results of one token: FL'd, the first `n` (n >= 4: all) stored and counted.
TN_K_INLINE void tn_store4(float *y, uint32_t n, float32x4_t z, uint32_t *absmax)
{
    if (n >= 4) {
        z = tn_fl4(z);
        vst1q_f32(y, z);
        tn_k_raise(absmax, vmaxvq_u32(vreinterpretq_u32_s32(tn_abs_bits4(z))));
        return;
    }
    float lanes[4];
    vst1q_f32(lanes, z);
    for (uint32_t i = 0; i < n; i++) tn_k_store(&y[i], lanes[i], absmax);
}
// Keeps an integer sum as it is written: gcc would make all products of a tile first and spill the 32 registers.
TN_K_INLINE int32x4_t tn_pin4(int32x4_t v)
{
    __asm__("" : "+w"(v));
    return v;
}
// Four activations in every 32-bit lane.
TN_K_INLINE int8x16_t tn_x4(const int8_t *x) { return vreinterpretq_s8_s32(vdupq_n_s32(tn_k_load_i32(x))); }
// Rows n .. n+3 of a ternary product, n may be past the end: the sum of (code t+1) * q less the sum of q, scaled and stored.
TN_K_INLINE void tn_ternary_finish4(const tn_k_matmul_ternary_args *a, uint32_t m, uint32_t n, int32x4_t acc)
{
    if (n >= a->N) return;
    const float32x4_t scale = tn_fl4(vmulq_f32(vdupq_n_f32(a->x_scale[m]), vld1q_f32(a->w_scale + n)));
    const float32x4_t sum = vcvtq_f32_s32(vsubq_s32(acc, vdupq_n_s32(a->x_sum[m])));
    tn_store4(a->y + m * a->y_stride + n, a->N - n, vmulq_f32(sum, scale), &a->y_absmax[m]);
}

#endif
