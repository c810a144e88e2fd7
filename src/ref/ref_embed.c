// The embedding of a token: one row of a dense type, dequantised.
#include "format/dense.h"
#include "ref/ref.h"
#include "ref/ref_dense_block.h"

static void embed_q8_0(const uint8_t *row, uint32_t n, float *y)
{
    int8_t codes[TN_REF_Q8_0_ELEMENTS];
    for (uint32_t start = 0; start < n; start += TN_REF_Q8_0_ELEMENTS) {
        float d = tn_ref_q8_0_unpack(row + (size_t)(start / TN_REF_Q8_0_ELEMENTS) * TN_REF_Q8_0_BYTES, codes);
        for (uint32_t i = 0; i < TN_REF_Q8_0_ELEMENTS; i++) y[start + i] = tn_fl(d * (float)codes[i]);
    }
}

static void embed_q6_k(const uint8_t *row, uint32_t n, float *y)
{
    int8_t codes[TN_REF_Q6_K_ELEMENTS], factors[16];
    for (uint32_t start = 0; start < n; start += TN_REF_Q6_K_ELEMENTS) {
        float d = tn_ref_q6_k_unpack(row + (size_t)(start / TN_REF_Q6_K_ELEMENTS) * TN_REF_Q6_K_BYTES, codes, factors);
        for (uint32_t i = 0; i < TN_REF_Q6_K_ELEMENTS; i++) y[start + i] = tn_fl((d * (float)factors[i / 16]) * (float)codes[i]);
    }
}

static void embed_q4_0(const uint8_t *row, uint32_t n, float *y)
{
    int8_t codes[TN_REF_Q8_0_ELEMENTS];
    for (uint32_t start = 0; start < n; start += TN_REF_Q8_0_ELEMENTS) {
        float d = tn_ref_q4_0_unpack(row + (size_t)(start / TN_REF_Q8_0_ELEMENTS) * TN_REF_Q4_0_BYTES, codes);
        for (uint32_t i = 0; i < TN_REF_Q8_0_ELEMENTS; i++) y[start + i] = tn_fl(d * (float)codes[i]);
    }
}

uint32_t tn_ref_embed(tn_dtype dtype, const void *row, uint32_t n, float *y)
{
    const uint8_t *bytes = row;
    if (dtype == TN_DTYPE_Q8_0) {
        embed_q8_0(bytes, n, y);
    } else if (dtype == TN_DTYPE_Q6_K) {
        embed_q6_k(bytes, n, y);
    } else if (dtype == TN_DTYPE_Q4_0) {
        embed_q4_0(bytes, n, y);
    } else {
        tn_dense_to_f32(dtype, bytes, n, y); // by the format's formula
        for (uint32_t i = 0; i < n; i++) y[i] = tn_fl(y[i]);
    }
    return tn_ref_absmax_bits(y, n);
}
