// Rotary position embedding of the heads of one token.
#include "ref/ref.h"

uint32_t tn_ref_rope(const float *x, const float *table_row, uint32_t n_heads, uint32_t head_dim, tn_rope_pairs pairs, float *y)
{
    uint32_t half = head_dim / 2;
    const float *cosines = table_row, *sines = table_row + half;
    for (uint32_t h = 0; h < n_heads; h++) {
        for (uint32_t i = 0; i < half; i++) {
            size_t at = (size_t)h * head_dim;
            size_t ia = at + (pairs == TN_ROPE_HALVES ? i : 2 * i);
            size_t ib = pairs == TN_ROPE_HALVES ? ia + half : ia + 1;
            float a = x[ia], b = x[ib];
            y[ia] = tn_fl((a * cosines[i]) - (b * sines[i]));
            y[ib] = tn_fl((a * sines[i]) + (b * cosines[i]));
        }
    }
    return tn_ref_absmax_bits(y, n_heads * head_dim);
}
