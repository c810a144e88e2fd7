// Attention for AVX-VNNI: tmpl/attention.h over AVX2's vocabulary with this level's dot products.
#include "cpu/x86/dot_avxvnni.h"
#include "cpu/x86/simd_avx2.h"

#define TN_K(op) tn_k_##op##__avxvnni
#include "cpu/tmpl/attention.h"
