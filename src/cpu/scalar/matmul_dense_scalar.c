// Dense matmul in plain C: f32, f16 and bf16 rows by DOT_ROW, q8_0, q4_0 and q6_k panels by GSUM.
#include "cpu/tmpl/matmul_common.h"
#include "cpu/tmpl/matmul_half.h"

enum { LANES = 32, TOKENS = 4 };

// Elements [k, k + n) of a row as f32.
static inline void widen(tn_dtype dtype, const uint8_t *row, uint32_t k, uint32_t n, float out[LANES])
{
    switch (dtype) {
    case TN_DTYPE_F32: memcpy(out, row + 4 * (size_t)k, 4 * (size_t)n); return;
    case TN_DTYPE_F16:
        for (uint32_t i = 0; i < n; i++) out[i] = tn_widen_f16(tn_load_u16(row + 2 * ((size_t)k + i)));
        return;
    default:
        for (uint32_t i = 0; i < n; i++) out[i] = tn_widen_bf16(tn_load_u16(row + 2 * ((size_t)k + i)));
        return;
    }
}

// l+16, l+8, l+4, l+2, l+1.
static float tree(float lane[LANES])
{
    for (unsigned half = LANES / 2; half > 0; half /= 2) {
        for (unsigned l = 0; l < half; l++) lane[l] = lane[l] + lane[l + half];
    }
    return lane[0];
}

// One row of weights times up to TOKENS tokens: a row is widened once for all of them.
static inline void row_times_tokens(const tn_k_matmul_dense_args *a, tn_dtype dtype, uint32_t n, uint32_t m0, uint32_t tokens)
{
    const uint8_t *row = a->w + n * a->w_stride;
    float lanes[TOKENS][LANES] = {{0}};
    for (uint32_t k = 0; k < a->K; k += LANES) {
        const uint32_t count = a->K - k < LANES ? a->K - k : LANES;
        float w[LANES];
        widen(dtype, row, k, count, w);
        for (uint32_t m = 0; m < tokens; m++) {
            const float *x = a->x + (m0 + m) * a->x_stride + k;
            for (uint32_t l = 0; l < count; l++) lanes[m][l] = lanes[m][l] + (x[l] * w[l]);
        }
    }
    for (uint32_t m = 0; m < tokens; m++) tn_k_store(&a->y[(m0 + m) * a->y_stride + n], tree(lanes[m]), &a->y_absmax[m0 + m]);
}

static inline void rows(const tn_k_matmul_dense_args *a, tn_dtype dtype)
{
    for (uint32_t n = 0; n < a->N; n++) {
        for (uint32_t m = 0; m < a->M; m += TOKENS) row_times_tokens(a, dtype, n, m, a->M - m < TOKENS ? a->M - m : TOKENS);
    }
}

void tn_k_matmul_f32_f32_4x1__scalar(const tn_k_matmul_dense_args *args) { rows(args, TN_DTYPE_F32); }
void tn_k_matmul_f16_f32_4x1__scalar(const tn_k_matmul_dense_args *args) { rows(args, TN_DTYPE_F16); }
void tn_k_matmul_bf16_f32_4x1__scalar(const tn_k_matmul_dense_args *args) { rows(args, TN_DTYPE_BF16); }

// Code of row r, column k of a block of Q8_16 or Q4_16, unsigned.
static inline int32_t q8_code(const uint8_t *block, bool q4, uint32_t r, uint32_t k)
{
    if (!q4) return block[64 + 64 * (k / 4) + 4 * r + k % 4];
    return block[64 + 64 * (k % 16 / 4) + 4 * r + k % 4] >> (k < 16 ? 0 : 4) & 15;
}

// One token times one panel of 16 q8_0 or q4_0 rows.
static inline void q8_panel(const tn_k_matmul_dense_args *a, bool q4, const uint8_t *panel, uint32_t m, float sum[16])
{
    const uint32_t n_blocks = a->K / 32, block_bytes = q4 ? TN_Q4_BLOCK_BYTES : TN_Q8_BLOCK_BYTES;
    const int8_t *x = a->xq + m * a->xq_stride;
    const float *dx = a->xq_scale + (size_t)m * a->xq_groups;
    const int32_t *x_sum = a->xq_sum + (size_t)m * a->xq_groups;
    for (uint32_t r = 0; r < 16; r++) {
        sum[r] = 0;
        for (uint32_t b0 = 0; b0 < n_blocks; b0 += 8) {
            float t[8] = {0};
            for (uint32_t b = b0; b < n_blocks && b < b0 + 8; b++) {
                const uint8_t *block = panel + (size_t)b * block_bytes;
                float dw;
                memcpy(&dw, block + 4 * r, sizeof dw);
                int32_t acc = (q4 ? -8 : -128) * x_sum[b];
                for (uint32_t k = 0; k < 32; k++) acc += q8_code(block, q4, r, k) * x[(size_t)b * 32 + k];
                t[b - b0] = (float)acc * tn_fl(dx[b] * dw);
            }
            sum[r] = sum[r] + (((t[0] + t[4]) + (t[2] + t[6])) + ((t[1] + t[5]) + (t[3] + t[7])));
        }
    }
}

static inline void q8_rows(const tn_k_matmul_dense_args *args, bool q4)
{
    for (uint32_t n = 0; n < args->N; n += 16) {
        const uint8_t *panel = args->w + n / 16 * args->w_stride;
        const uint32_t count = args->N - n < 16 ? args->N - n : 16;
        for (uint32_t m = 0; m < args->M; m++) {
            float sum[16];
            q8_panel(args, q4, panel, m, sum);
            for (uint32_t r = 0; r < count; r++) tn_k_store(&args->y[m * args->y_stride + n + r], sum[r], &args->y_absmax[m]);
        }
    }
}

void tn_k_matmul_q8_0_q8_1x16__scalar(const tn_k_matmul_dense_args *args) { q8_rows(args, false); }
void tn_k_matmul_q4_0_q8_1x16__scalar(const tn_k_matmul_dense_args *args) { q8_rows(args, true); }

// Row r's four codes of the three groups of a sub-block, in order of columns.
static void q6_codes(const uint8_t *sub_block, uint32_t r, int32_t codes[16])
{
    for (unsigned j = 0; j < 4; j++) {
        unsigned last = 0;
        for (unsigned g = 0; g < 3; g++) {
            const unsigned z = sub_block[64 * g + 4 * r + j];
            codes[4 * g + j] = (int32_t)(z & 63u) - 32;
            last |= (z >> 6) << (2 * g);
        }
        codes[12 + j] = (int32_t)last - 32;
    }
}

// Adds to acc[m] the sum over the 16 sub-blocks of row r: factor * (dot of 16).
static inline void q6_block(const uint8_t *block, uint32_t r, const int8_t *x, size_t x_stride, int32_t acc[TOKENS], uint32_t tokens)
{
    for (uint32_t s = 0; s < 16; s++) {
        const int32_t factor = (int8_t)block[TN_Q6_SC + 16 * s + r];
        int32_t codes[16];
        q6_codes(block + TN_Q6_CODES + s * TN_Q6_SUB_BYTES, r, codes);
        for (uint32_t m = 0; m < tokens; m++) {
            const int8_t *x16 = x + m * x_stride + 16 * (size_t)s;
            int32_t dot = 0;
            for (unsigned i = 0; i < 16; i++) dot += codes[i] * x16[i];
            acc[m] += factor * dot;
        }
    }
}

// One row of a panel times up to TOKENS tokens: its codes are unpacked once for all of them.
static inline void q6_row(const tn_k_matmul_dense_args *a, uint32_t n, uint32_t m0, uint32_t tokens)
{
    const uint8_t *block = a->w + n / 16 * a->w_stride;
    float sum[TOKENS] = {0};
    for (uint32_t b = 0; b < a->K / 256; b++, block += TN_Q6_BLOCK_BYTES) {
        float dw;
        memcpy(&dw, block + 4 * (size_t)(n % 16), sizeof dw);
        int32_t acc[TOKENS] = {0};
        q6_block(block, n % 16, a->xq + m0 * a->xq_stride + (size_t)b * 256, a->xq_stride, acc, tokens);
        for (uint32_t m = 0; m < tokens; m++)
            sum[m] = sum[m] + ((float)acc[m] * tn_fl(a->xq_scale[(size_t)(m0 + m) * a->xq_groups + b] * dw));
    }
    for (uint32_t m = 0; m < tokens; m++) tn_k_store(&a->y[(m0 + m) * a->y_stride + n], sum[m], &a->y_absmax[m0 + m]);
}

void tn_k_matmul_q6_k_q8_4x1__scalar(const tn_k_matmul_dense_args *args)
{
    for (uint32_t n = 0; n < args->N; n++) {
        for (uint32_t m = 0; m < args->M; m += TOKENS) q6_row(args, n, m, args->M - m < TOKENS ? args->M - m : TOKENS);
    }
}
