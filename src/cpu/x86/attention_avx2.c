// Attention for AVX2: tmpl/attention.h over this ISA's vocabulary.
#include "cpu/x86/dot_avx2.h"
#include "cpu/x86/simd_avx2.h"

#define TN_K(op) tn_k_##op##__avx2
#include "cpu/tmpl/attention.h"
