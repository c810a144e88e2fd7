// Attention of one query head on integer codes, in chunks of 128 positions.
#include "ref/ref_attention_chunk.h"

#define LOG2_E 1.4426950408889634

// Correctly rounded for every head size (a test compares all); the library does without libm.
static double square_root(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits >> 1) + 0x1ff8000000000000u; // halves the exponent: 6 % off at most, and Newton squares the error
    double y;
    memcpy(&y, &bits, sizeof y);
    for (int i = 0; i < 5; i++) y = 0.5 * (y + x / y);
    return y;
}

float tn_ref_query_scale(float scale, uint32_t head_dim) { return scale * (float)(LOG2_E / square_root(head_dim)); }

void tn_ref_chunk_weights(const int32_t *dots, float sq, const float *k_scale, const float *v_scale, uint32_t n, tn_ref_chunk *out)
{
    const float t_max = 0x1p20f;
    float p[TN_REF_CHUNK];
    int32_t exponent[TN_REF_CHUNK];
    int32_t m = INT32_MIN;
    for (uint32_t i = 0; i < n; i++) {
        float t = (float)dots[i] * (sq * k_scale[i]);
        t = t > -t_max ? t : -t_max; // a NaN (of a poisoned sequence) becomes a bound too
        t = t < t_max ? t : t_max;
        exponent[i] = tn_round_int(t);
        p[i] = tn_exp2_poly(t - tn_round_even(t));
        m = exponent[i] > m ? exponent[i] : m;
    }
    float w[TN_REF_CHUNK], w_max = 0.0f;
    int32_t l = 0;
    for (uint32_t i = 0; i < n; i++) {
        p[i] = m - exponent[i] > 24 ? 0.0f : tn_shift(p[i], exponent[i] - m);
        w[i] = p[i] * v_scale[i];
        w_max = w[i] > w_max ? w[i] : w_max;
        l += tn_round_int_u(p[i] * 0x1p22f);
    }
    float to_codes = w_max > 0.0f ? 4095.0f * tn_recip(w_max) : 0.0f;
    memset(out->u, 0, sizeof out->u);
    for (uint32_t i = 0; i < n; i++) out->u[i] = (int16_t)tn_round_int(w[i] * to_codes);
    out->m = m;
    out->l = (float)l * 0x1p-22f;
    out->u_scale = w_max * (float)(1.0 / 4095.0);
}

tn_ref_rescale tn_ref_rescale_of(int32_t m, int32_t m_c)
{
    int32_t larger = m > m_c ? m : m_c;
    return (tn_ref_rescale){larger, m - larger, m_c - larger};
}

float tn_ref_rescaled_sum(tn_ref_rescale r, float x, float x_c)
{
    return tn_f100(tn_shift(x, r.shift)) + tn_f100(tn_shift(x_c, r.shift_c));
}

// Sums in uint32_t: exact for codes that quant_head makes, and defined for those of a poisoned sequence.
static void chunk_dots(const int16_t *q, const int16_t *k, uint32_t n, uint32_t head_dim, int32_t *dots)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t acc = 0;
        for (uint32_t d = 0; d < head_dim; d++) acc += (uint32_t)(q[d] * k[(size_t)i * head_dim + d]);
        dots[i] = (int32_t)acc;
    }
}

static float chunk_value(const tn_ref_chunk *chunk, const int16_t *v, uint32_t n, uint32_t head_dim, uint32_t d)
{
    uint32_t acc = 0;
    for (uint32_t i = 0; i < n; i++) acc += (uint32_t)(chunk->u[i] * v[(size_t)i * head_dim + d]);
    return (float)(int32_t)acc * chunk->u_scale;
}

uint32_t tn_ref_attention(const int16_t *q, float sq, const int16_t *k, const float *k_scale, const int16_t *v, const float *v_scale,
                          uint32_t n_pos, uint32_t head_dim, float *y)
{
    int32_t m = 0;
    float l = 0.0f;
    for (uint32_t start = 0; start < n_pos; start += TN_REF_CHUNK) {
        uint32_t n = n_pos - start < TN_REF_CHUNK ? n_pos - start : TN_REF_CHUNK;
        size_t first = (size_t)start * head_dim;
        int32_t dots[TN_REF_CHUNK];
        tn_ref_chunk chunk;
        chunk_dots(q, k + first, n, head_dim, dots);
        tn_ref_chunk_weights(dots, sq, k_scale + start, v_scale + start, n, &chunk);
        tn_ref_rescale r = tn_ref_rescale_of(start == 0 ? chunk.m : m, chunk.m);
        for (uint32_t d = 0; d < head_dim; d++) {
            float o_c = chunk_value(&chunk, v + first, n, head_dim, d);
            y[d] = start == 0 ? o_c : tn_ref_rescaled_sum(r, y[d], o_c);
        }
        l = start == 0 ? chunk.l : tn_ref_rescaled_sum(r, l, chunk.l);
        m = r.m;
    }
    float l_recip = tn_recip(l);
    for (uint32_t d = 0; d < head_dim; d++) y[d] = tn_fl(y[d] * l_recip);
    return tn_ref_absmax_bits(y, head_dim);
}
