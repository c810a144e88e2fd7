// The residual sum.
#include "ref/ref.h"

uint32_t tn_ref_add(const float *a, const float *b, uint32_t n, float *y)
{
    for (uint32_t i = 0; i < n; i++) y[i] = tn_fl(a[i] + b[i]);
    return tn_ref_absmax_bits(y, n);
}
