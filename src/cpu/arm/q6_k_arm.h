// The part of tmpl/matmul_q6_k.h's vocabulary that all levels of AArch64 share: four rows a vector, codes as signed bytes (0..63 are the
// same).
#ifndef TN_CPU_ARM_Q6_K_ARM_H
#define TN_CPU_ARM_Q6_K_ARM_H

#include "cpu/arm/rows_neon.h"

#define TN_Q6_ROWS   4u
#define TN_Q6_TOKENS 4u

typedef uint8x16_t tn_q6_codes;

TN_K_INLINE tn_q6_codes q6_load(const uint8_t *p) { return vld1q_u8(p); }
TN_K_INLINE tn_q6_codes q6_low6(tn_q6_codes z) { return vandq_u8(z, vdupq_n_u8(0x3f)); }
TN_K_INLINE tn_q6_codes q6_fourth(tn_q6_codes z0, tn_q6_codes z1, tn_q6_codes z2)
{
    // Each step keeps a vector's top two bits and brings those before it in below them.
    return vshrq_n_u8(vsriq_n_u8(z2, vsriq_n_u8(z1, z0, 2), 2), 2);
}
TN_K_INLINE tn_rows_i q6_zero(void) { return vdupq_n_s32(0); }

// -32 times the sum of each 16 activations.
TN_K_INLINE void q6_corrections(const int8_t *x, int32_t *out)
{
    TN_K_UNROLL
    for (unsigned q = 0; q < 4; q++) {
        int32x4_t fours[4];
        TN_K_UNROLL
        for (unsigned i = 0; i < 4; i++) fours[i] = vpaddlq_s16(vpaddlq_s8(vld1q_s8(x + 64 * q + 16 * i)));
        const int32x4_t sums = vpaddq_s32(vpaddq_s32(fours[0], fours[1]), vpaddq_s32(fours[2], fours[3]));
        vst1q_s32(out + 4 * (size_t)q, vmulq_n_s32(sums, -32));
    }
}

// Four factors as 32-bit lanes.
TN_K_INLINE int32x4_t q6_scales(const int8_t *scales)
{
    return vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(tn_k_load_i32(scales))))));
}

#endif
