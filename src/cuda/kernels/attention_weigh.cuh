// From the dot product of a query and a key to the integer weight of its value.
#ifndef TN_CUDA_ATTENTION_WEIGH_CUH
#define TN_CUDA_ATTENTION_WEIGH_CUH

#include "cuda/kernels/gpu.cuh"

// Below every exponent by more than the 24 that count: of positions that are not visible. A logit below all others by as much.
#define TN_NO_EXPONENT (-(1 << 22))
#define TN_NO_LOGIT    (-0x1p21f)

struct tn_exponent {
    float p;   // 2^(t - n)
    int32_t n; // t, rounded
};

TN_FN float tn_logit_bounded(float t)
{
    const float t_max = 0x1p20f;
    t = t > -t_max ? t : -t_max; // a NaN (of a poisoned sequence) becomes a bound too
    return t < t_max ? t : t_max;
}
TN_FN float tn_logit_of(int32_t dot, float q_scale, float k_scale) { return tn_logit_bounded((float)dot * (q_scale * k_scale)); }
TN_FN tn_exponent tn_exponent_of(float t)
{
    tn_exponent e;
    e.n = tn_round_int(t);
    e.p = tn_exp2_poly(t - tn_round_even(t));
    return e;
}

// The weight in units of 2^m, m the largest exponent of the chunk.
TN_FN float tn_weight_of(const tn_exponent &e, int32_t m) { return m - e.n > 24 ? 0.0f : tn_shift(e.p, e.n - m); }
// Its part of l, in units of 2^(m - 22).
TN_FN int32_t tn_weight_units(float p) { return tn_round_int_u(p * 0x1p22f); }
// What makes codes of weights times scales of values, the largest of which has these bits.
TN_FN float tn_weights_to_codes(uint32_t w_max) { return w_max != 0 ? 4095.0f * tn_recip(tn_float(w_max)) : 0.0f; }

// Codes of 12 bits and a sign as limbs: code = 128 * high + low, both signed bytes, low not negative.
TN_FN uint8_t tn_limb_high(int32_t code) { return (uint8_t)(code >> 7); }
TN_FN uint8_t tn_limb_low(int32_t code) { return (uint8_t)(code & 127); }

#endif
