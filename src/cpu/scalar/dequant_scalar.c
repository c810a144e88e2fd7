// Dense rows to f32, plain C.
#include "cpu/kernel.h"

#define TN_DEQUANT_NAME(type) tn_k_dequant_##type##__scalar
#include "cpu/tmpl/dequant.h"
