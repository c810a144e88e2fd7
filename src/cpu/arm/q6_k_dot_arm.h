// Dots of 16 of q6_k by the dot product instruction of bytes (FEAT_DotProd), for tmpl/matmul_q6_k.h.
#ifndef TN_CPU_ARM_Q6_K_DOT_ARM_H
#define TN_CPU_ARM_Q6_K_DOT_ARM_H

#include "cpu/arm/q6_k_arm.h"

TN_K_INLINE void q6_add_16_by_lanes(const tn_q6_codes codes[4], const int8_t *x, size_t x_stride, const int32_t *corrections,
                                    const int8_t *scales, tn_rows_i *sum, const unsigned MR)
{
    const int32x4_t scale = q6_scales(scales);
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) {
        const int8x16_t x16 = vld1q_s8(x + m * x_stride);
        int32x4_t dot = vdupq_n_s32(corrections[16 * m]);
        dot = vdotq_laneq_s32(dot, vreinterpretq_s8_u8(codes[0]), x16, 0);
        dot = vdotq_laneq_s32(dot, vreinterpretq_s8_u8(codes[1]), x16, 1);
        dot = vdotq_laneq_s32(dot, vreinterpretq_s8_u8(codes[2]), x16, 2);
        dot = vdotq_laneq_s32(dot, vreinterpretq_s8_u8(codes[3]), x16, 3);
        sum[m] = tn_pin4(vmlaq_s32(sum[m], dot, scale));
    }
}

#endif
