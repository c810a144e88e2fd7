// Dense rows to f32, AVX2.
#include "cpu/kernel.h"

#define TN_DEQUANT_NAME(type) tn_k_dequant_##type##__avx2
#include "cpu/tmpl/dequant.h"
