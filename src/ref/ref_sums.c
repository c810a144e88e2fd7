// SUM, DOT_ROW, GSUM and absmax: the orders in which the exact mode adds.
#include "ref/ref.h"

#define LANES 32u
#define BLOCK 256u

// Adds lanes l+16, l+8, l+4, l+2, l+1.
static float lane_tree(float lane[LANES])
{
    for (uint32_t width = LANES / 2; width > 0; width /= 2) {
        for (uint32_t l = 0; l < width; l++) lane[l] = lane[l] + lane[l + width];
    }
    return lane[0];
}

float tn_ref_sum(const float *x, uint32_t n)
{
    float sum = 0.0f;
    for (uint32_t start = 0; start < n; start += BLOCK) {
        float lane[LANES] = {0};
        uint32_t count = n - start < BLOCK ? n - start : BLOCK;
        for (uint32_t i = 0; i < count; i++) lane[i % LANES] = lane[i % LANES] + x[start + i];
        sum = sum + lane_tree(lane);
    }
    return sum;
}

float tn_ref_sum_squares(const float *x, uint32_t n)
{
    float sum = 0.0f;
    for (uint32_t start = 0; start < n; start += BLOCK) {
        float square[BLOCK];
        uint32_t count = n - start < BLOCK ? n - start : BLOCK;
        for (uint32_t i = 0; i < count; i++) square[i] = x[start + i] * x[start + i];
        sum = sum + tn_ref_sum(square, count);
    }
    return sum;
}

float tn_ref_dot_row(const float *x, const float *w, uint32_t n)
{
    float lane[LANES] = {0};
    for (uint32_t i = 0; i < n; i++) lane[i % LANES] = lane[i % LANES] + (x[i] * w[i]);
    return lane_tree(lane);
}

float tn_ref_gsum(const float *terms, uint32_t n_terms, uint32_t group)
{
    uint32_t per_block = BLOCK / group;
    float sum = 0.0f;
    for (uint32_t start = 0; start < n_terms; start += per_block) {
        float t[BLOCK / 32] = {0};
        for (uint32_t i = 0; i < per_block && start + i < n_terms; i++) t[i] = terms[start + i];
        for (uint32_t width = per_block / 2; width > 0; width /= 2) {
            for (uint32_t i = 0; i < width; i++) t[i] = t[i] + t[i + width];
        }
        sum = sum + t[0];
    }
    return sum;
}

uint32_t tn_ref_absmax_bits(const float *x, uint32_t n)
{
    uint32_t max = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t bits = tn_abs_bits(x[i]);
        max = bits > max ? bits : max;
    }
    return max;
}
