// Row kernels for AVX-512 VNNI: tmpl/row_ops.h over this ISA's vocabulary.
#include "cpu/x86/simd_avx512vnni.h"

#define TN_K(op) tn_k_##op##__avx512vnni
#include "cpu/tmpl/row_ops.h"
