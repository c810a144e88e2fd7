// QUANT in its three uses: a row for a ternary matmul, groups for a quantised head, one head of q, k or v.
#include "ref/ref.h"

// The larger of the absolute maximum and amin; a NaN stays (its bits are above all others).
static float absmax_at_least(const float *x, uint32_t n, float amin)
{
    uint32_t max = tn_ref_absmax_bits(x, n);
    return max > tn_bits(amin) ? tn_float(max) : amin;
}

void tn_ref_quant(const float *x, uint32_t n, int8_t *q, float *scale, int32_t *sum)
{
    float a = absmax_at_least(x, n, 1e-5f);
    float to_codes = 127.0f * tn_recip(a);
    int32_t total = 0;
    for (uint32_t i = 0; i < n; i++) {
        q[i] = (int8_t)tn_round_int(x[i] * to_codes);
        total += q[i];
    }
    *scale = a * (float)(1.0 / 127.0);
    *sum = total;
}

void tn_ref_quant_group(const float *x, uint32_t n, uint32_t group, int8_t *q, float *scales, int32_t *sums)
{
    for (uint32_t g = 0; g < n / group; g++) tn_ref_quant(x + g * group, group, q + g * group, scales + g, sums + g);
}

void tn_ref_quant_head(const float *x, uint32_t n, int32_t A, int16_t *codes, float *scale)
{
    uint32_t max = tn_ref_absmax_bits(x, n);
    if (max < tn_bits(0x1p-30f)) {
        memset(codes, 0, n * sizeof *codes);
        *scale = 0.0f;
        return;
    }
    float a = tn_float(max);
    float to_codes = (float)A * tn_recip(a);
    for (uint32_t i = 0; i < n; i++) codes[i] = (int16_t)tn_round_int(x[i] * to_codes);
    *scale = a * (float)(1.0 / A);
}

int32_t tn_kv_a_qk(uint32_t head_dim)
{
    // The largest A <= 4095 with A * A * head_dim <= 2^31 - 1, bit by bit.
    uint64_t a = 0;
    for (uint64_t bit = 2048; bit > 0; bit /= 2) {
        if ((a + bit) * (a + bit) * head_dim <= INT32_MAX) a += bit;
    }
    return (int32_t)a;
}
