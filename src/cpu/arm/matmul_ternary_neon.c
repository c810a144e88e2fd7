// Ternary matmul over T2_16 for NEON: 2 tokens x 1 panel in 16-bit sums, every weight block unpacked once for both tokens.
#include "cpu/arm/matmul_neon.h"

// A 16-bit lane gains at most 2 * 127 = 254 from one product and 4 of them from a block: 32 blocks reach 32512 < 2^15.
enum { TOKENS = 2, VECS = 4, WIDEN_BLOCKS = 32 };

// Adds n_blocks <= WIDEN_BLOCKS blocks to the 16-bit sums of MR tokens. Of each four rows [0] has the first two and [1] the others, a lane
// for each column modulo 4.
TN_K_INLINE void add_blocks(const uint8_t *w, const int8_t *x, size_t x_stride, uint32_t n_blocks, int16x8_t acc16[TOKENS][VECS][2],
                            const unsigned MR)
{
    const uint8x16_t three = vdupq_n_u8(3);
    for (uint32_t b = 0; b < n_blocks; b++, w += TN_T2_BLOCK_BYTES, x += TN_T2_COLS) {
        uint8x16_t packed[VECS];
        TN_K_UNROLL
        for (unsigned v = 0; v < VECS; v++) packed[v] = vld1q_u8(w + 16 * v);
        TN_K_UNROLL
        for (unsigned i = 0; i < 4; i++) {
            int8x16_t x4[TOKENS];
            TN_K_UNROLL
            for (unsigned m = 0; m < MR; m++) x4[m] = tn_x4(x + m * x_stride + 4 * i);
            TN_K_UNROLL
            for (unsigned v = 0; v < VECS; v++) {
                const int8x16_t codes = vreinterpretq_s8_u8(vandq_u8(packed[v], three));
                packed[v] = vshrq_n_u8(packed[v], 2);
                TN_K_UNROLL
                for (unsigned m = 0; m < MR; m++) {
                    acc16[m][v][0] = vmlal_s8(acc16[m][v][0], vget_low_s8(codes), vget_low_s8(x4[m]));
                    acc16[m][v][1] = vmlal_high_s8(acc16[m][v][1], codes, x4[m]);
                }
            }
        }
    }
}

// MR tokens from m0 times the panel of row n0.
TN_K_INLINE void tile(const tn_k_matmul_ternary_args *a, uint32_t m0, uint32_t n0, const unsigned MR)
{
    const uint8_t *w = a->w + n0 / TN_T2_ROWS * ((size_t)a->n_blocks * TN_T2_BLOCK_BYTES);
    const int8_t *x = a->x + m0 * a->x_stride;
    int32x4_t acc[TOKENS][VECS];
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) {
        TN_K_UNROLL
        for (unsigned v = 0; v < VECS; v++) acc[m][v] = vdupq_n_s32(0);
    }
    for (uint32_t b = 0; b < a->n_blocks; b += WIDEN_BLOCKS) {
        const uint32_t n_blocks = a->n_blocks - b < WIDEN_BLOCKS ? a->n_blocks - b : WIDEN_BLOCKS;
        int16x8_t acc16[TOKENS][VECS][2];
        TN_K_UNROLL
        for (unsigned m = 0; m < MR; m++) {
            TN_K_UNROLL
            for (unsigned v = 0; v < VECS; v++) acc16[m][v][0] = acc16[m][v][1] = vdupq_n_s16(0);
        }
        add_blocks(w + (size_t)b * TN_T2_BLOCK_BYTES, x + (size_t)b * TN_T2_COLS, a->x_stride, n_blocks, acc16, MR);
        TN_K_UNROLL
        for (unsigned m = 0; m < MR; m++) {
            TN_K_UNROLL
            for (unsigned v = 0; v < VECS; v++)
                acc[m][v] = vaddq_s32(acc[m][v], vpaddq_s32(vpaddlq_s16(acc16[m][v][0]), vpaddlq_s16(acc16[m][v][1])));
        }
    }
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) {
        TN_K_UNROLL
        for (unsigned v = 0; v < VECS; v++) tn_ternary_finish4(a, m0 + m, n0 + 4 * v, acc[m][v]);
    }
}

void tn_k_matmul_t2_q8_2x16__neon(const tn_k_matmul_ternary_args *args)
{
    for (uint32_t n = 0; n < args->N; n += TN_T2_ROWS) {
        uint32_t m = 0;
        for (; args->M - m >= TOKENS; m += TOKENS) tile(args, m, n, TOKENS);
        if (m < args->M) tile(args, m, n, 1);
    }
}
