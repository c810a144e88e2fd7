// Ternary matrix times a quantised row: an integer sum, then one product with the combined scale.
#include "ref/ref.h"

uint32_t tn_ref_matmul_ternary(const int8_t *q, float x_scale, const int8_t *w, tn_scale_kind scale_kind, const float *scales, uint32_t N,
                               uint32_t K, float *y)
{
    for (uint32_t n = 0; n < N; n++) {
        const int8_t *row = w + (size_t)n * K;
        int32_t acc = 0;
        for (uint32_t k = 0; k < K; k++) acc += q[k] * row[k];
        float w_scale = scales[scale_kind == TN_SCALE_ROW ? n : 0];
        y[n] = tn_fl((float)acc * tn_fl(x_scale * w_scale));
    }
    return tn_ref_absmax_bits(y, N);
}
