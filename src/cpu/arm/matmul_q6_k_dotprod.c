// q6_k matmul for NEON with dot products of bytes.
#include "cpu/arm/matmul_neon.h"

typedef int32x4_t q6_sums;

TN_K_INLINE q6_sums q6_dot_16(int8x16_t codes, int8x16_t x) { return vdotq_s32(vdupq_n_s32(0), codes, x); }
TN_K_INLINE int32x4_t q6_add(int32x4_t acc, q6_sums sums, int8_t scale) { return vmlaq_n_s32(acc, sums, scale); }

#include "cpu/arm/matmul_q6_k_arm.h"

void tn_k_matmul_q6_k_q8_2x4__dotprod(const tn_k_matmul_dense_args *args) { q6_rows(args); }
