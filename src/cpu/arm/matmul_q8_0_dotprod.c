// q8_0 matmul for NEON with dot products: tmpl/matmul_q8_0.h over four rows a vector.
#include "cpu/arm/q8_dot_arm.h"

TN_K_INLINE void q8_dots(const int8_t *x, size_t x_stride, const int32_t *x_sum, size_t x_groups, const uint8_t *codes,
                         tn_rows_i acc[TN_Q8_TOKENS][TN_Q8_VECS], const unsigned MR)
{
    (void)x_sum; // codes become signed here
    (void)x_groups;
    q8_dots_by_lanes(x, x_stride, codes, acc, MR);
}

#include "cpu/tmpl/matmul_q8_0.h"

void tn_k_matmul_q8_0_q8_4x16__dotprod(const tn_k_matmul_dense_args *args) { q8_rows(args); }
