// Dense rows times a row of activations: QUANT and GSUM for Q8_0, Q4_0 and Q6_K, DOT_ROW for all other types, dequantised by their formula.
#include "format/dense.h"
#include "ref/ref.h"
#include "ref/ref_dense_block.h"

#define BLOCK 256u
#define LANES 32u

// DOT_ROW over a row in file form, a piece at a time: pieces begin at blocks of every type.
static float dot_row(const float *x, tn_dtype dtype, const uint8_t *row, uint32_t K)
{
    float lane[LANES] = {0};
    for (uint32_t start = 0; start < K; start += BLOCK) {
        uint32_t count = K - start < BLOCK ? K - start : BLOCK;
        float w[BLOCK];
        tn_dense_to_f32(dtype, row + tn_dtype_row_bytes(dtype, start), count, w);
        for (uint32_t i = 0; i < count; i++) lane[i % LANES] = lane[i % LANES] + (x[start + i] * tn_fl(w[i]));
    }
    return tn_ref_sum(lane, LANES); // of 32 values it is the tree alone
}

// One 256-block of a Q8_0 or Q4_0 row (or what is left of it): `n` elements.
static float block_of_32s(tn_dtype dtype, const int8_t *xq, const float *x_scales, const uint8_t *w, uint32_t n)
{
    float terms[BLOCK / TN_REF_Q8_0_ELEMENTS];
    uint32_t n_terms = n / TN_REF_Q8_0_ELEMENTS;
    for (uint32_t g = 0; g < n_terms; g++) {
        int8_t codes[TN_REF_Q8_0_ELEMENTS];
        float d = dtype == TN_DTYPE_Q8_0 ? tn_ref_q8_0_unpack(w + g * TN_REF_Q8_0_BYTES, codes)
                                         : tn_ref_q4_0_unpack(w + g * TN_REF_Q4_0_BYTES, codes);
        int32_t acc = 0;
        for (uint32_t i = 0; i < TN_REF_Q8_0_ELEMENTS; i++) acc += xq[g * TN_REF_Q8_0_ELEMENTS + i] * codes[i];
        terms[g] = (float)acc * tn_fl(x_scales[g] * d);
    }
    return tn_ref_gsum(terms, n_terms, TN_REF_Q8_0_ELEMENTS);
}

static float q6_k_block(const int8_t *xq, float x_scale, const uint8_t *w)
{
    int8_t codes[TN_REF_Q6_K_ELEMENTS], factors[16];
    float d = tn_ref_q6_k_unpack(w, codes, factors);
    int32_t acc = 0;
    for (uint32_t i = 0; i < TN_REF_Q6_K_ELEMENTS; i++) acc += factors[i / 16] * (xq[i] * codes[i]);
    return (float)acc * tn_fl(x_scale * d);
}

// y [N] without the final FL. Blocks outside, rows inside: the activations of a block are quantised once, block sums still ascend.
static void matmul_quantised(const float *x, tn_dtype dtype, const uint8_t *w, uint32_t N, uint32_t K, float *y)
{
    bool is_q6_k = dtype == TN_DTYPE_Q6_K;
    uint32_t group = tn_dtype_get(dtype)->block_elements;
    size_t group_bytes = tn_dtype_get(dtype)->block_bytes;
    for (uint32_t n = 0; n < N; n++) y[n] = 0.0f;
    for (uint32_t start = 0; start < K; start += BLOCK) {
        uint32_t count = K - start < BLOCK ? K - start : BLOCK;
        int8_t xq[BLOCK];
        float x_scales[BLOCK / TN_REF_Q8_0_ELEMENTS];
        int32_t sums[BLOCK / TN_REF_Q8_0_ELEMENTS];
        tn_ref_quant_group(x + start, count, group, xq, x_scales, sums);
        for (uint32_t n = 0; n < N; n++) {
            const uint8_t *block = w + ((size_t)n * (K / group) + start / group) * group_bytes;
            y[n] = y[n] + (is_q6_k ? q6_k_block(xq, x_scales[0], block) : block_of_32s(dtype, xq, x_scales, block, count));
        }
    }
}

uint32_t tn_ref_matmul_dense(const float *x, tn_dtype dtype, const void *w, uint32_t N, uint32_t K, float *y)
{
    if (dtype == TN_DTYPE_Q8_0 || dtype == TN_DTYPE_Q4_0 || dtype == TN_DTYPE_Q6_K) {
        matmul_quantised(x, dtype, w, N, K, y);
    } else {
        size_t row_bytes = tn_dtype_row_bytes(dtype, K);
        for (uint32_t n = 0; n < N; n++) y[n] = dot_row(x, dtype, (const uint8_t *)w + n * row_bytes, K);
    }
    for (uint32_t n = 0; n < N; n++) y[n] = tn_fl(y[n]);
    return tn_ref_absmax_bits(y, N);
}
