// q8_0 matmul for NEON: tmpl/matmul_q8_0.h over four rows a vector.
#include "cpu/arm/q8_dots_neon.h"
#include "cpu/tmpl/matmul_q8_0.h"

void tn_k_matmul_q8_0_q8_2x16__neon(const tn_k_matmul_dense_args *args) { q8_rows(args); }
