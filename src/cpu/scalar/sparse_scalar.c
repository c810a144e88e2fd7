// Products with listed rows or columns in plain C: the fallback of every CPU.
#include "cpu/tmpl/matmul_common.h"

static void store(const tn_k_matmul_ternary_args *a, uint32_t row, int32_t sum)
{
    const float scale = tn_fl(a->x_scale[0] * a->w_scale[row]);
    tn_k_store(&a->y[row], (float)(sum - a->x_sum[0]) * scale, a->y_absmax);
}

void tn_k_sparse_rows_r2_q8_1x1__scalar(const tn_k_sparse_args *args)
{
    const size_t row_bytes = ((size_t)args->K + TN_SPARSE_SPAN - 1) / TN_SPARSE_SPAN * TN_SPARSE_BYTES;
    for (uint32_t i = 0; i < args->n_listed; i++) {
        const uint8_t *row = args->all.w + row_bytes * args->listed[i];
        int32_t sum = 0;
        for (uint32_t k = 0; k < args->K; k++) {
            const uint32_t in = k % TN_SPARSE_SPAN;
            const uint8_t byte = row[k / TN_SPARSE_SPAN * TN_SPARSE_BYTES + in % TN_SPARSE_BYTES];
            sum += (byte >> 2 * (in / TN_SPARSE_BYTES) & 3) * args->all.x[k];
        }
        store(&args->all, args->listed[i], sum);
    }
}

void tn_k_sparse_columns_c2_q8_1x256__scalar(const tn_k_sparse_args *args)
{
    const size_t column_bytes = (size_t)args->n_lines * TN_SPARSE_BYTES;
    memset(args->sums, 0, args->n_lines * TN_SPARSE_SPAN * sizeof *args->sums); // [line][field][byte]
    for (uint32_t i = 0; i < args->n_listed; i++) {
        const uint8_t *column = args->all.w + column_bytes * args->listed[i];
        for (uint32_t at = 0; at < args->n_lines * TN_SPARSE_SPAN; at++) {
            const uint8_t byte = column[at / TN_SPARSE_SPAN * TN_SPARSE_BYTES + at % TN_SPARSE_BYTES];
            args->sums[at] += (byte >> 2 * (at % TN_SPARSE_SPAN / TN_SPARSE_BYTES) & 3) * args->all.x[i];
        }
    }
    for (uint32_t at = 0; at < args->n_lines * TN_SPARSE_SPAN; at++) {
        const uint32_t byte = at % TN_SPARSE_BYTES;
        const uint32_t row = at - byte + 16 * (byte / 4 % 4) + 4 * (byte / 16) + byte % 4;
        if (row < args->all.N) store(&args->all, row, args->sums[at]);
    }
}
