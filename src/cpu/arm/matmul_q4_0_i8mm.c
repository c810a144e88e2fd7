// q4_0 matmul by products of 2x8 and 8x2 bytes (FEAT_I8MM): tmpl/matmul_q8_0.h over Q4_16, four rows a vector.
#define TN_Q8_TILE_BLOCK TN_Q4_BLOCK_BYTES
#include "cpu/arm/q8_dots_i8mm.h"
#include "cpu/tmpl/matmul_q8_0.h"

void tn_k_matmul_q4_0_q8_4x16__i8mm(const tn_k_matmul_dense_args *args) { q8_rows(args); }
