// Ternary matmul over T2_16 and T5_16 in plain C: the fallback of every CPU.
#include "cpu/t5.h"
#include "cpu/tmpl/matmul_common.h"

// Adds one block of a panel times its activations to the rows' sums.
typedef void add_block_fn(int32_t acc[TN_T2_ROWS], const uint8_t *block, const int8_t *x);

static void add_t2(int32_t acc[TN_T2_ROWS], const uint8_t *block, const int8_t *x)
{
    for (unsigned r = 0; r < TN_T2_ROWS; r++) {
        int32_t sum = 0;
        for (unsigned j = 0; j < 4; j++) {
            unsigned codes = block[4 * r + j];
            for (unsigned p = 0; p < 4; p++) sum += (int32_t)((codes >> (2 * p)) & 3u) * x[4 * p + j];
        }
        acc[r] += sum;
    }
}

static void add_t5(int32_t acc[TN_T2_ROWS], const uint8_t *block, const int8_t *x)
{
    for (unsigned r = 0; r < TN_T2_ROWS; r++) {
        for (unsigned j = 0; j < 4; j++) {
            uint8_t codes[5];
            tn_t5_codes(block[4 * r + j], codes);
            for (unsigned p = 0; p < 5; p++) acc[r] += (int32_t)codes[p] * x[4 * p + j];
        }
    }
}

TN_K_INLINE void ternary(const tn_k_matmul_ternary_args *args, uint32_t block_cols, add_block_fn *add_block)
{
    const size_t panel_bytes = (size_t)args->n_blocks * TN_T2_BLOCK_BYTES;
    for (uint32_t n = 0; n < args->N; n += TN_T2_ROWS) {
        const uint8_t *panel = args->w + n / TN_T2_ROWS * panel_bytes;
        const uint32_t rows = args->N - n < TN_T2_ROWS ? args->N - n : TN_T2_ROWS;
        for (uint32_t m = 0; m < args->M; m++) {
            const int8_t *x = args->x + m * args->x_stride;
            int32_t acc[TN_T2_ROWS] = {0};
            for (uint32_t b = 0; b < args->n_blocks; b++) add_block(acc, panel + (size_t)b * TN_T2_BLOCK_BYTES, x + (size_t)b * block_cols);
            float *y = args->y + m * args->y_stride + n;
            for (uint32_t r = 0; r < rows; r++) {
                float scale = tn_fl(args->x_scale[m] * args->w_scale[n + r]);
                tn_k_store(&y[r], (float)(acc[r] - args->x_sum[m]) * scale, &args->y_absmax[m]);
            }
        }
    }
}

void tn_k_matmul_t2_q8_1x16__scalar(const tn_k_matmul_ternary_args *args) { ternary(args, TN_T2_COLS, add_t2); }
void tn_k_matmul_t5_q8_1x16__scalar(const tn_k_matmul_ternary_args *args) { ternary(args, TN_T5_COLS, add_t5); }
