// Attention for NEON: tmpl/attention.h over this ISA's vocabulary.
#include "cpu/arm/simd_neon.h"

#define TN_K(op) tn_k_##op##__neon
#include "cpu/tmpl/attention.h"
