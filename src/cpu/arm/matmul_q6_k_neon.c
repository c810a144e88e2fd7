// q6_k matmul for NEON: products of bytes in 16 bits.
#include "cpu/arm/matmul_neon.h"

typedef int16x8_t q6_sums; // two products of 32*127 a lane

TN_K_INLINE q6_sums q6_dot_16(int8x16_t codes, int8x16_t x)
{
    return vmlal_high_s8(vmull_s8(vget_low_s8(codes), vget_low_s8(x)), codes, x);
}
TN_K_INLINE int32x4_t q6_add(int32x4_t acc, q6_sums sums, int8_t scale)
{
    return vmlal_high_n_s16(vmlal_n_s16(acc, vget_low_s16(sums), scale), sums, scale);
}

#include "cpu/arm/matmul_q6_k_arm.h"

void tn_k_matmul_q6_k_q8_2x4__neon(const tn_k_matmul_dense_args *args) { q6_rows(args); }
