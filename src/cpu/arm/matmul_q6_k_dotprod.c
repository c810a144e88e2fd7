// q6_k matmul for NEON with dot products: tmpl/matmul_q6_k.h over four rows a vector.
#include "cpu/arm/q6_k_dot_arm.h"

TN_K_INLINE void q6_add_16(const tn_q6_codes codes[4], const int8_t *x, size_t x_stride, const int32_t *corrections, const int8_t *scales,
                           tn_rows_i *sum, const unsigned MR)
{
    q6_add_16_by_lanes(codes, x, x_stride, corrections, scales, sum, MR);
}

#include "cpu/tmpl/matmul_q6_k.h"

void tn_k_matmul_q6_k_q8_4x16__dotprod(const tn_k_matmul_dense_args *args) { q6_rows(args); }
