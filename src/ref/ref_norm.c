// RMS normalisation, alone and with int8 quantisation.
#include "ref/ref.h"

// 1 / sqrt(mean of squares + eps).
static float rms_recip(const float *x, uint32_t n, float eps)
{
    float mean = (tn_ref_sum_squares(x, n) * (float)(1.0 / n)) + eps;
    return tn_rsqrt(mean > 0x1p-100f ? mean : 0x1p-100f);
}

void tn_ref_norm_quant(const float *x, const float *gamma, uint32_t n, float eps, int8_t *q, float *scale, int32_t *sum)
{
    float r = rms_recip(x, n, eps);
    uint32_t max = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t bits = tn_abs_bits(x[i] * gamma[i]);
        max = bits > max ? bits : max;
    }
    float a = tn_float(max);
    float an = a * r;
    bool big = an >= 1e-5f;
    float to_codes = big ? 127.0f * tn_recip(a) : r * 12700000.0f;
    int32_t total = 0;
    for (uint32_t i = 0; i < n; i++) {
        q[i] = (int8_t)tn_round_int((x[i] * gamma[i]) * to_codes);
        total += q[i];
    }
    *scale = big ? an * (float)(1.0 / 127.0) : (float)(1e-5 / 127.0);
    *sum = total;
}

uint32_t tn_ref_norm(const float *x, const float *gamma, uint32_t n, float eps, float *y)
{
    float r = rms_recip(x, n, eps);
    for (uint32_t i = 0; i < n; i++) y[i] = tn_fl((x[i] * gamma[i]) * r);
    return tn_ref_absmax_bits(y, n);
}
