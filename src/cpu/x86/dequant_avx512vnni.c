// Dense rows to f32, AVX-512.
#include "cpu/kernel.h"

#define TN_DEQUANT_NAME(type) tn_k_dequant_##type##__avx512vnni
#include "cpu/tmpl/dequant.h"
