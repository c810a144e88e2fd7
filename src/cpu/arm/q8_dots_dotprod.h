// Dots of 32 of q8_0 and q4_0 for NEON with dot products, for tmpl/matmul_q8_0.h.
#ifndef TN_CPU_ARM_Q8_DOTS_DOTPROD_H
#define TN_CPU_ARM_Q8_DOTS_DOTPROD_H

#include "cpu/arm/q8_dot_arm.h"

TN_K_INLINE void q8_dots(const int8_t *x, size_t x_stride, const int32_t *x_sum, size_t x_groups, const uint8_t *codes,
                         tn_rows_i acc[TN_Q8_TOKENS][TN_Q8_VECS], const unsigned MR)
{
    (void)x_sum; // codes become signed here
    (void)x_groups;
    q8_dots_by_lanes(x, x_stride, codes, acc, MR);
}

#endif
