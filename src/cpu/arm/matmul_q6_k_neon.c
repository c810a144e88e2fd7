// q6_k matmul for NEON: tmpl/matmul_q6_k.h with products of bytes in 16 bits.
#include "cpu/arm/q6_k_arm.h"

// Four products of 63*127 fit 16 bits; then they are widened.
TN_K_INLINE void q6_add_16(const tn_q6_codes codes[4], const int8_t *x, size_t x_stride, const int32_t *corrections, const int8_t *scales,
                           tn_rows_i *sum, const unsigned MR)
{
    const int32x4_t scale = q6_scales(scales);
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) {
        int16x8_t low = vdupq_n_s16(0), high = low; // rows 0 and 1, rows 2 and 3
        TN_K_UNROLL
        for (unsigned i = 0; i < 4; i++) {
            const int8x16_t of_rows = vreinterpretq_s8_u8(codes[i]), x4 = tn_x4(x + m * x_stride + 4 * i);
            low = vmlal_s8(low, vget_low_s8(of_rows), vget_low_s8(x4));
            high = vmlal_high_s8(high, of_rows, x4);
        }
        const int32x4_t dot = vaddq_s32(vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)), vdupq_n_s32(corrections[16 * m]));
        sum[m] = tn_pin4(vmlaq_s32(sum[m], dot, scale));
    }
}

#include "cpu/tmpl/matmul_q6_k.h"

void tn_k_matmul_q6_k_q8_4x16__neon(const tn_k_matmul_dense_args *args) { q6_rows(args); }
