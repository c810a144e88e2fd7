// Dots of 32 of q8_0 and q4_0 by products of 2x8 and 8x2 bytes (FEAT_I8MM), for tmpl/matmul_q8_0.h. A single token goes by dot products.
#ifndef TN_CPU_ARM_Q8_DOTS_I8MM_H
#define TN_CPU_ARM_Q8_DOTS_I8MM_H

#include "cpu/arm/q8_dot_arm.h"

enum { PAIRS = TN_Q8_TOKENS / 2 };

// P pairs of tokens: each instruction takes two tokens and two rows, so a vector of four rows is two of them.
TN_K_INLINE void q8_dots_by_pairs(const int8_t *x, size_t x_stride, const uint8_t *codes, tn_rows_i acc[TN_Q8_TOKENS][TN_Q8_VECS],
                                  const unsigned P)
{
    TN_K_UNROLL
    for (unsigned v = 0; v < TN_Q8_VECS; v++) {
        int32x4_t low[PAIRS], high[PAIRS]; // rows 0 and 1 (token 0 of both, then token 1), rows 2 and 3
        TN_K_UNROLL
        for (unsigned p = 0; p < P; p++) low[p] = high[p] = vdupq_n_s32(0);
        TN_K_UNROLL
        for (unsigned j = 0; j < 8; j += 2) {
            const int32x4_t left = vreinterpretq_s32_s8(q8_codes(codes, j, v)), right = vreinterpretq_s32_s8(q8_codes(codes, j + 1, v));
            const int8x16_t rows01 = vreinterpretq_s8_s32(vzip1q_s32(left, right)), rows23 = vreinterpretq_s8_s32(vzip2q_s32(left, right));
            TN_K_UNROLL
            for (unsigned p = 0; p < P; p++) {
                const int8_t *pair = x + 2 * p * x_stride + 4 * j;
                const int8x16_t x8 = vcombine_s8(vld1_s8(pair), vld1_s8(pair + x_stride));
                low[p] = vmmlaq_s32(low[p], x8, rows01);
                high[p] = vmmlaq_s32(high[p], x8, rows23);
            }
        }
        TN_K_UNROLL
        for (unsigned p = 0; p < P; p++) {
            const int64x2_t rows01 = vreinterpretq_s64_s32(low[p]), rows23 = vreinterpretq_s64_s32(high[p]);
            acc[2 * p][v] = vreinterpretq_s32_s64(vzip1q_s64(rows01, rows23));
            acc[2 * p + 1][v] = vreinterpretq_s32_s64(vzip2q_s64(rows01, rows23));
        }
    }
}

TN_K_INLINE void q8_dots(const int8_t *x, size_t x_stride, const int32_t *x_sum, size_t x_groups, const uint8_t *codes,
                         tn_rows_i acc[TN_Q8_TOKENS][TN_Q8_VECS], const unsigned MR)
{
    (void)x_sum; // codes become signed here
    (void)x_groups;
    if (MR == 1) {
        q8_dots_by_lanes(x, x_stride, codes, acc, 1);
    } else {
        q8_dots_by_pairs(x, x_stride, codes, acc, MR / 2);
    }
}

#endif
