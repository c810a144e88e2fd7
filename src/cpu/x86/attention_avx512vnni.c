// Attention for AVX512-VNNI: tmpl/attention.h over this ISA's vocabulary.
#include "cpu/x86/dot_avx512vnni.h"
#include "cpu/x86/simd_avx512.h"

#define TN_K(op) tn_k_##op##__avx512vnni
#include "cpu/tmpl/attention.h"
