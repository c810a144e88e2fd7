// Dots of 32 of q8_0 and q4_0 for NEON, for tmpl/matmul_q8_0.h: products of bytes in 16 bits.
#ifndef TN_CPU_ARM_Q8_DOTS_NEON_H
#define TN_CPU_ARM_Q8_DOTS_NEON_H

#include "cpu/arm/rows_neon.h"

enum { TN_Q8_TOKENS = 2 };

// Two products of 128*127 fit 16 bits; then they are widened.
TN_K_INLINE int32x4_t dot_32(const int8x16_t codes[8], const int8_t *x)
{
    int32x4_t low = vdupq_n_s32(0), high = low; // rows 0 and 1, rows 2 and 3
    TN_K_UNROLL
    for (unsigned j = 0; j < 8; j += 2) {
        const int8x16_t first = tn_x4(x + 4 * j), second = tn_x4(x + 4 * j + 4);
        int16x8_t products = vmull_s8(vget_low_s8(codes[j]), vget_low_s8(first));
        low = vpadalq_s16(low, vmlal_s8(products, vget_low_s8(codes[j + 1]), vget_low_s8(second)));
        products = vmull_high_s8(codes[j], first);
        high = vpadalq_s16(high, vmlal_high_s8(products, codes[j + 1], second));
    }
    return vpaddq_s32(low, high);
}

TN_K_INLINE void q8_dots(const int8_t *x, size_t x_stride, const int32_t *x_sum, size_t x_groups, const uint8_t *codes,
                         tn_rows_i acc[TN_Q8_TOKENS][TN_Q8_VECS], const unsigned MR)
{
    (void)x_sum; // codes become signed here
    (void)x_groups;
    TN_K_UNROLL
    for (unsigned v = 0; v < TN_Q8_VECS; v++) {
        int8x16_t of_rows[8];
        TN_K_UNROLL
        for (unsigned j = 0; j < 8; j++) of_rows[j] = q8_codes(codes, j, v);
        TN_K_UNROLL
        for (unsigned m = 0; m < MR; m++) acc[m][v] = dot_32(of_rows, x + m * x_stride);
    }
}

#endif
