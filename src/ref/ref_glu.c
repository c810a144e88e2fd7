// The gated activation between the matrices of the feed-forward layer.
#include "ref/ref.h"

uint32_t tn_ref_glu(tn_glu_kind kind, const float *gate, const float *up, uint32_t n, float *y)
{
    for (uint32_t i = 0; i < n; i++) {
        float g = gate[i];
        if (kind == TN_GLU_RELU2) {
            g = g > 0.0f ? g : 0.0f;
            y[i] = tn_fl(tn_fl(g * g) * up[i]);
        } else {
            y[i] = tn_fl(tn_fl(tn_silu(g)) * up[i]);
        }
    }
    return tn_ref_absmax_bits(y, n);
}
