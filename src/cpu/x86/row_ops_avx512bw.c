// Row kernels for AVX512-BW: tmpl/row_ops.h over this vocabulary.
#include "cpu/x86/dot_avx512bw.h"
#include "cpu/x86/simd_avx512.h"

#define TN_K(op) tn_k_##op##__avx512bw
#include "cpu/tmpl/row_ops.h"
