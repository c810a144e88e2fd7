// Dots of 32 codes and activations of q8_0 by the dot product instruction of bytes (FEAT_DotProd), for tmpl/matmul_q8_0.h.
#ifndef TN_CPU_ARM_Q8_DOT_ARM_H
#define TN_CPU_ARM_Q8_DOT_ARM_H

#include "cpu/arm/rows_neon.h"

enum { TN_Q8_TOKENS = 4 };

// The instruction holds the place of its four activations: it must be a constant.
TN_K_INLINE int32x4_t q8_dot4(int32x4_t acc, int8x16_t codes, int8x16_t x16, unsigned i)
{
    switch (i) {
    case 0: return vdotq_laneq_s32(acc, codes, x16, 0);
    case 1: return vdotq_laneq_s32(acc, codes, x16, 1);
    case 2: return vdotq_laneq_s32(acc, codes, x16, 2);
    default: return vdotq_laneq_s32(acc, codes, x16, 3);
    }
}

TN_K_INLINE void q8_dots_by_lanes(const int8_t *x, size_t x_stride, const uint8_t *codes, tn_rows_i acc[TN_Q8_TOKENS][TN_Q8_VECS],
                                  const unsigned MR)
{
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) {
        TN_K_UNROLL
        for (unsigned v = 0; v < TN_Q8_VECS; v++) acc[m][v] = vdupq_n_s32(0);
    }
    TN_K_UNROLL
    for (unsigned half = 0; half < 2; half++) {
        int8x16_t x16[TN_Q8_TOKENS];
        TN_K_UNROLL
        for (unsigned m = 0; m < MR; m++) x16[m] = vld1q_s8(x + m * x_stride + 16 * half);
        TN_K_UNROLL
        for (unsigned i = 0; i < 4; i++) {
            TN_K_UNROLL
            for (unsigned v = 0; v < TN_Q8_VECS; v++) {
                const int8x16_t of_rows = q8_codes(codes, 4 * half + i, v);
                TN_K_UNROLL
                for (unsigned m = 0; m < MR; m++) acc[m][v] = q8_dot4(acc[m][v], of_rows, x16[m], i);
            }
        }
    }
}

#endif
