// Rows normalised, quantised, or both: one block a row.
#include "cuda/kernels/row.cuh"

TN_KERNEL_EARLY(row, tn_cuda_row_params, 256, 2)
{
    TN_SHARED(uint32_t, scratch, TN_ROW_SCRATCH);
    const uint32_t row = tn_block_x();
    if (row >= tn_n_rows(p.step, p.poison.is_logits)) {
        tn_wait_previous();
        return;
    }
    const tn_row_of_previous x = {tn_x_row(p.step, p.x, row)};
    if (p.row.op == TN_CUDA_ROW_NORM) {
        const tn_row_team team = {tn_warp(), TN_ROW_WARPS, 0, false};
        const tn_row_to_floats out = {p, tn_y_row(p.step, p.y, row), row};
        tn_row_do(p.row, x, team, p.row.n, scratch, out);
        return;
    }
    tn_row_codes(p.row, x, p.codes, row, scratch);
}
