// Ternary matmul over T2_16 for NEON with dot products: tmpl/matmul_ternary_dot.h, 4 tokens x 1 panel.
#include "cpu/arm/ternary_dot_arm.h"

void tn_k_matmul_t2_q8_4x16__dotprod(const tn_k_matmul_ternary_args *args) { ternary_rows(args); }
