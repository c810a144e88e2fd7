// Ternary matmul over T2_16 by products of 2x8 and 8x2 bytes (FEAT_I8MM): 4 tokens x 1 panel. A single token goes by dot products.
#include "cpu/arm/ternary_dot_arm.h"

enum { PAIRS = 2, VECS = 4 };

// Two tokens' activations 8i .. 8i+7, one token a row.
TN_K_INLINE int8x16_t token_pair(const int8_t *x, size_t x_stride, unsigned i)
{
    return vcombine_s8(vld1_s8(x + 8 * i), vld1_s8(x + x_stride + 8 * i));
}

// P pairs of tokens from m0 times the panel of row n0. acc[.][v][0] is rows 4v, 4v+1 (token 0 of both, then token 1), [1] the next two.
TN_K_INLINE void tile(const tn_k_matmul_ternary_args *a, uint32_t m0, uint32_t n0, const unsigned P)
{
    const uint8_t *w = a->w + n0 / TN_T2_ROWS * ((size_t)a->n_blocks * TN_T2_BLOCK_BYTES);
    const int8_t *x = a->x + m0 * a->x_stride;
    int32x4_t acc[PAIRS][VECS][2];
    TN_K_UNROLL
    for (unsigned p = 0; p < P; p++) {
        TN_K_UNROLL
        for (unsigned v = 0; v < VECS; v++) acc[p][v][0] = acc[p][v][1] = vdupq_n_s32(0);
    }
    for (uint32_t b = 0; b < a->n_blocks; b++, w += TN_T2_BLOCK_BYTES, x += TN_T2_COLS) {
        int8x16_t x8[PAIRS][2];
        TN_K_UNROLL
        for (unsigned p = 0; p < P; p++) {
            TN_K_UNROLL
            for (unsigned i = 0; i < 2; i++) x8[p][i] = token_pair(x + 2 * p * a->x_stride, a->x_stride, i);
        }
        TN_K_UNROLL
        for (unsigned v = 0; v < VECS; v++) {
            const tn_packed packed = tn_packed_load(w + 16 * v);
            TN_K_UNROLL
            for (unsigned i = 0; i < 2; i++) {
                // Four rows x columns 8i .. 8i+3, and the same rows x the next four columns, become two pairs of rows x 8 columns.
                const int32x4_t left = vreinterpretq_s32_u8(tn_codes_of(packed, 2 * i));
                const int32x4_t right = vreinterpretq_s32_u8(tn_codes_of(packed, 2 * i + 1));
                const int8x16_t low = vreinterpretq_s8_s32(vzip1q_s32(left, right)), high = vreinterpretq_s8_s32(vzip2q_s32(left, right));
                TN_K_UNROLL
                for (unsigned p = 0; p < P; p++) {
                    acc[p][v][0] = vmmlaq_s32(acc[p][v][0], x8[p][i], low);
                    acc[p][v][1] = vmmlaq_s32(acc[p][v][1], x8[p][i], high);
                }
            }
        }
    }
    TN_K_UNROLL
    for (unsigned p = 0; p < P; p++) {
        TN_K_UNROLL
        for (unsigned v = 0; v < VECS; v++) {
            const int64x2_t low = vreinterpretq_s64_s32(acc[p][v][0]), high = vreinterpretq_s64_s32(acc[p][v][1]);
            tn_ternary_finish4(a, m0 + 2 * p, n0 + 4 * v, vreinterpretq_s32_s64(vzip1q_s64(low, high)));
            tn_ternary_finish4(a, m0 + 2 * p + 1, n0 + 4 * v, vreinterpretq_s32_s64(vzip2q_s64(low, high)));
        }
    }
}

void tn_k_matmul_t2_q8_4x16__i8mm(const tn_k_matmul_ternary_args *args)
{
    for (uint32_t n = 0; n < args->N; n += TN_T2_ROWS) {
        uint32_t m = 0;
        for (; args->M - m >= 2 * PAIRS; m += 2 * PAIRS) tile(args, m, n, PAIRS);
        for (; args->M - m >= 2; m += 2) tile(args, m, n, 1);
        if (m < args->M) ternary_tile(args, m, n, 1, TN_T_VECS);
    }
}
