// Row look-ups: one row of a packed dense weight, dequantised, FL'd. One row a token: plain C is fast enough on every CPU.
#include "cpu/tmpl/matmul_common.h"
#include "cpu/tmpl/matmul_half.h"

uint32_t tn_k_embed_f32_f32_1x1__scalar(const uint8_t *w, size_t w_stride, uint32_t row, uint32_t n, float *y)
{
    uint32_t absmax = 0;
    const uint8_t *src = w + row * w_stride;
    for (uint32_t i = 0; i < n; i++) {
        float v;
        memcpy(&v, src + 4 * (size_t)i, sizeof v);
        tn_k_store(&y[i], v, &absmax);
    }
    return absmax;
}

uint32_t tn_k_embed_f16_f32_1x1__scalar(const uint8_t *w, size_t w_stride, uint32_t row, uint32_t n, float *y)
{
    uint32_t absmax = 0;
    const uint8_t *src = w + row * w_stride;
    for (uint32_t i = 0; i < n; i++) tn_k_store(&y[i], tn_widen_f16(tn_load_u16(src + 2 * (size_t)i)), &absmax);
    return absmax;
}

uint32_t tn_k_embed_bf16_f32_1x1__scalar(const uint8_t *w, size_t w_stride, uint32_t row, uint32_t n, float *y)
{
    uint32_t absmax = 0;
    const uint8_t *src = w + row * w_stride;
    for (uint32_t i = 0; i < n; i++) tn_k_store(&y[i], tn_widen_bf16(tn_load_u16(src + 2 * (size_t)i)), &absmax);
    return absmax;
}

uint32_t tn_k_embed_q8_0_f32_1x1__scalar(const uint8_t *w, size_t w_stride, uint32_t row, uint32_t n, float *y)
{
    uint32_t absmax = 0;
    const uint32_t r = row % 16;
    for (uint32_t b = 0; b < n / 32; b++) {
        const uint8_t *block = w + row / 16 * w_stride + (size_t)b * TN_Q8_BLOCK_BYTES;
        float d;
        memcpy(&d, block + 4 * r, sizeof d);
        for (uint32_t k = 0; k < 32; k++) {
            int32_t code = (int32_t)block[64 + 64 * (k / 4) + 4 * r + k % 4] - 128;
            tn_k_store(&y[(size_t)b * 32 + k], d * (float)code, &absmax);
        }
    }
    return absmax;
}

uint32_t tn_k_embed_q4_0_f32_1x1__scalar(const uint8_t *w, size_t w_stride, uint32_t row, uint32_t n, float *y)
{
    uint32_t absmax = 0;
    const uint32_t r = row % 16;
    const uint8_t *block = w + row / 16 * w_stride;
    for (uint32_t b = 0; b < n / 32; b++, block += TN_Q4_BLOCK_BYTES) {
        float d;
        memcpy(&d, block + 4 * r, sizeof d);
        for (uint32_t k = 0; k < 32; k++) {
            const int32_t code = (block[64 + 64 * (k % 16 / 4) + 4 * r + k % 4] >> (k < 16 ? 0 : 4) & 15) - 8;
            tn_k_store(&y[(size_t)b * 32 + k], d * (float)code, &absmax);
        }
    }
    return absmax;
}

uint32_t tn_k_embed_q6_k_f32_1x1__scalar(const uint8_t *w, size_t w_stride, uint32_t row, uint32_t n, float *y)
{
    uint32_t absmax = 0;
    const uint32_t r = row % 16;
    const uint8_t *block = w + row / 16 * w_stride;
    for (uint32_t b = 0; b < n / 256; b++, block += TN_Q6_BLOCK_BYTES) {
        float d;
        memcpy(&d, block + 4 * r, sizeof d);
        for (uint32_t i = 0; i < 256; i++) {
            const uint32_t s = i / 16, group = i % 16 / 4;
            const uint8_t *z = block + TN_Q6_CODES + (size_t)s * TN_Q6_SUB_BYTES + 4 * r + i % 4;
            const unsigned code = group < 3 ? z[64 * group] & 63u : z[0] >> 6 | (unsigned)(z[64] >> 6) << 2 | (unsigned)(z[128] >> 6) << 4;
            const float scale = d * (float)(int8_t)block[TN_Q6_SC + 16 * s + r];
            tn_k_store(&y[(size_t)b * 256 + i], scale * (float)((int32_t)code - 32), &absmax);
        }
    }
    return absmax;
}
