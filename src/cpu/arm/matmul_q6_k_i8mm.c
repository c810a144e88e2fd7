// q6_k matmul by products of 2x8 and 8x2 bytes (FEAT_I8MM): tmpl/matmul_q6_k.h over four rows a vector. A single token goes by dot
// products.
#include "cpu/arm/q6_k_dot_arm.h"

// Two tokens and four rows: each instruction takes two tokens and two rows.
TN_K_INLINE void add_pair(const int8x16_t rows01[2], const int8x16_t rows23[2], const int8_t *x, size_t x_stride,
                          const int32_t *corrections, int32x4_t scale, tn_rows_i sum[2])
{
    int32x4_t low = vdupq_n_s32(0), high = low; // rows 0 and 1 (token 0 of both, then token 1), rows 2 and 3
    TN_K_UNROLL
    for (unsigned i = 0; i < 2; i++) {
        const int8x16_t x8 = vcombine_s8(vld1_s8(x + 8 * i), vld1_s8(x + x_stride + 8 * i));
        low = vmmlaq_s32(low, x8, rows01[i]);
        high = vmmlaq_s32(high, x8, rows23[i]);
    }
    const int64x2_t low64 = vreinterpretq_s64_s32(low), high64 = vreinterpretq_s64_s32(high);
    const int32x4_t first = vreinterpretq_s32_s64(vzip1q_s64(low64, high64)), second = vreinterpretq_s32_s64(vzip2q_s64(low64, high64));
    sum[0] = tn_pin4(vmlaq_s32(sum[0], vaddq_s32(first, vdupq_n_s32(corrections[0])), scale));
    sum[1] = tn_pin4(vmlaq_s32(sum[1], vaddq_s32(second, vdupq_n_s32(corrections[16])), scale));
}

TN_K_INLINE void q6_add_16(const tn_q6_codes codes[4], const int8_t *x, size_t x_stride, const int32_t *corrections, const int8_t *scales,
                           tn_rows_i *sum, const unsigned MR)
{
    if (MR == 1) {
        q6_add_16_by_lanes(codes, x, x_stride, corrections, scales, sum, 1);
        return;
    }
    // Four rows x columns 8i .. 8i+3, and the same rows x the next four columns, become two pairs of rows x 8 columns.
    int8x16_t rows01[2], rows23[2];
    TN_K_UNROLL
    for (unsigned i = 0; i < 2; i++) {
        const uint32x4_t left = vreinterpretq_u32_u8(codes[2 * i]), right = vreinterpretq_u32_u8(codes[2 * i + 1]);
        rows01[i] = vreinterpretq_s8_u32(vzip1q_u32(left, right));
        rows23[i] = vreinterpretq_s8_u32(vzip2q_u32(left, right));
    }
    const int32x4_t scale = q6_scales(scales);
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m += 2) add_pair(rows01, rows23, x + m * x_stride, x_stride, corrections + 16 * (size_t)m, scale, sum + m);
}

#include "cpu/tmpl/matmul_q6_k.h"

void tn_k_matmul_q6_k_q8_4x16__i8mm(const tn_k_matmul_dense_args *args) { q6_rows(args); }
