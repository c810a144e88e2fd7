// q6_k matmul for AVX-VNNI: the body for 256-bit vectors with this level's dot products.
#include "cpu/x86/dot_avxvnni.h"
#include "cpu/x86/matmul_q6_k_256.h"

void tn_k_matmul_q6_k_q8_2x4__avxvnni(const tn_k_matmul_dense_args *args) { tn_q6_k_rows256(args); }
