// q6_k matmul over rows of 210-byte blocks for AArch64: 2 tokens x 4 rows, all integer up to one f32 term a block. The including file
// defines before it q6_dot_16(codes, x): sums of products of 16 codes (-32 .. 31) and activations, in any number of lanes of q6_sums, and
// q6_add(acc, sums, scale): adds scale times all of them to the lanes of acc.
#ifndef TN_CPU_ARM_MATMUL_Q6_K_ARM_H
#define TN_CPU_ARM_MATMUL_Q6_K_ARM_H

enum { TOKENS = 2, ROWS = 4 };

// Sub-block (16 codes) of half `h` of a block: quarter q, columns 16c .. 16c+15. Two quarters share a byte of low bits, four one of high.
TN_K_INLINE int8x16_t q6_codes(const uint8_t *block, const unsigned h, const unsigned q, const unsigned c)
{
    const uint8x16_t ql = vld1q_u8(block + 64 * h + 32 * (q % 2) + 16 * c), qh = vld1q_u8(block + TN_Q6_K_QH + 32 * h + 16 * c);
    const uint8x16_t low = q < 2 ? vandq_u8(ql, vdupq_n_u8(15)) : vshrq_n_u8(ql, 4);
    const uint8x16_t moved = q == 0 ? vshlq_n_u8(qh, 4) : q == 1 ? vshlq_n_u8(qh, 2) : q == 2 ? qh : vshrq_n_u8(qh, 2);
    const uint8x16_t code = vorrq_u8(low, vandq_u8(moved, vdupq_n_u8(0x30)));
    return vsubq_s8(vreinterpretq_s8_u8(code), vdupq_n_s8(32));
}

// acc[m] = sum of scale * (dot of 16) of one block, as partial sums.
TN_K_INLINE void q6_add_row(const uint8_t *block, const int8_t *x, size_t x_stride, int32x4_t acc[TOKENS], const unsigned MR)
{
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) acc[m] = vdupq_n_s32(0);
    for (unsigned h = 0; h < 2; h++) {
        TN_K_UNROLL
        for (unsigned q = 0; q < 4; q++) {
            TN_K_UNROLL
            for (unsigned c = 0; c < 2; c++) {
                const unsigned s = 8 * h + 2 * q + c;
                const int8x16_t codes = q6_codes(block, h, q, c);
                const int8_t scale = (int8_t)block[TN_Q6_K_SC + s];
                TN_K_UNROLL
                for (unsigned m = 0; m < MR; m++)
                    acc[m] = tn_pin4(q6_add(acc[m], q6_dot_16(codes, vld1q_s8(x + m * x_stride + 16 * s)), scale));
            }
        }
    }
}

// MR tokens from m0 times the rows from n0; where fewer than ROWS are real the first stands in for the others and is stored once.
TN_K_INLINE void q6_tile(const tn_k_matmul_dense_args *a, uint32_t m0, uint32_t n0, const unsigned MR)
{
    const uint32_t real_rows = a->N - n0 < ROWS ? a->N - n0 : ROWS;
    const uint8_t *row[ROWS];
    for (uint32_t r = 0; r < ROWS; r++) row[r] = a->w + (n0 + (r < real_rows ? r : 0)) * a->w_stride;
    float32x4_t sum[TOKENS];
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) sum[m] = vdupq_n_f32(0.0f);
    for (uint32_t b = 0; b < a->K / 256; b++) {
        const int8_t *x = a->xq + m0 * a->xq_stride + (size_t)b * 256;
        int32x4_t acc[ROWS][TOKENS];
        uint16_t d[ROWS];
        TN_K_UNROLL
        for (unsigned r = 0; r < ROWS; r++) {
            const uint8_t *block = row[r] + (size_t)b * TN_Q6_K_BYTES;
            memcpy(&d[r], block + TN_Q6_K_D, sizeof d[r]);
            tn_k_prefetch(block, ROWS * a->w_stride, TN_Q6_K_BYTES);
            q6_add_row(block, x, a->xq_stride, acc[r], MR);
        }
        const float32x4_t dw = vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(d)));
        TN_K_UNROLL
        for (unsigned m = 0; m < MR; m++) {
            const float32x4_t dx = vdupq_n_f32(a->xq_scale[(size_t)(m0 + m) * a->xq_groups + b]);
            const int32x4_t dots = vpaddq_s32(vpaddq_s32(acc[0][m], acc[1][m]), vpaddq_s32(acc[2][m], acc[3][m]));
            sum[m] = vaddq_f32(sum[m], vmulq_f32(vcvtq_f32_s32(dots), tn_fl4(vmulq_f32(dx, dw))));
        }
    }
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) tn_store4(a->y + (m0 + m) * a->y_stride + n0, real_rows, sum[m], &a->y_absmax[m0 + m]);
}

TN_K_INLINE void q6_rows(const tn_k_matmul_dense_args *args)
{
    for (uint32_t n = 0; n < args->N; n += ROWS) {
        uint32_t m = 0;
        for (; args->M - m >= TOKENS; m += TOKENS) q6_tile(args, m, n, TOKENS);
        if (m < args->M) q6_tile(args, m, n, 1);
    }
}

#endif
