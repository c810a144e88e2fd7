// Attention over one chunk of 128 positions, in the parts that do not depend on how keys and values are stored.
// Used by tn_ref_attention and by the CPU's scalar kernel, which differ in that only.
#ifndef TN_REF_ATTENTION_CHUNK_H
#define TN_REF_ATTENTION_CHUNK_H

#include "ref/ref.h"

#define TN_REF_CHUNK 128u

// What a chunk of keys gives: the integer weights of its values, and its share of the soft maximum.
typedef struct tn_ref_chunk {
    int16_t u[TN_REF_CHUNK]; // weight of every position's value codes, 0..4095
    int32_t m;               // largest exponent
    float l;                 // sum of the weights, in units of 2^m
    float u_scale;           // value of one unit of u times one unit of a value code, in units of 2^m
} tn_ref_chunk;

// From dots [n] of q and k codes, and the scales [n] of keys and values; 1 <= n <= 128. u is 0 from n on.
void tn_ref_chunk_weights(const int32_t *dots, float sq, const float *k_scale, const float *v_scale, uint32_t n, tn_ref_chunk *out);

// Factors' exponents that bring a running sum (m) and a chunk (m_c) to their larger exponent.
typedef struct tn_ref_rescale {
    int32_t m, shift, shift_c;
} tn_ref_rescale;
tn_ref_rescale tn_ref_rescale_of(int32_t m, int32_t m_c);
// F(x * 2^shift) + F(x_c * 2^shift_c).
float tn_ref_rescaled_sum(tn_ref_rescale r, float x, float x_c);

#endif
