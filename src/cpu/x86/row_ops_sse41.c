// Row kernels for SSE4.1: tmpl/row_ops.h over this ISA's vocabulary.
#include "cpu/x86/simd_sse41.h"

#define TN_K(op) tn_k_##op##__sse41
#include "cpu/tmpl/row_ops.h"
