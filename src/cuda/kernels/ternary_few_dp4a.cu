// Ternary matrices times up to 8 rows of codes, for devices without mma of bytes; the last block to finish makes codes of the outputs,
// where the next kernel wants some.
#include "cuda/kernels/last_block.cuh"
#include "cuda/kernels/ternary_walk.cuh"

// NORM_QUANT or QUANT of all output rows at once, by teams of warps.
TN_FN void tn_few_quantise(const tn_cuda_ternary_params &p, uint32_t n_rows, TN_SHARED_ARG(uint32_t, scratch))
{
    uint32_t row;
    const tn_row_team team = tn_row_team_of(n_rows, &row);
    const float *x = tn_y_row(p.step, p.matrices[0].y, team.is_idle ? 0 : row);
    const tn_row_to_memory to = {p.row_codes.at + (size_t)row * p.row_codes.stride_bytes, 0};
    const tn_row_scale codes = tn_row_do(p.row, x, team, p.row_codes.stride_bytes, scratch, to);
    if (!team.is_idle && team.warp == 0 && tn_lane() == 0) {
        p.row_codes.scales[row] = codes.scale;
        p.row_codes.sums[row] = codes.sum;
    }
}

template <uint32_t n_parts>
TN_FN void tn_few_multiply(const tn_cuda_ternary_params &p, const tn_codes_memory &codes, TN_SHARED_ARG(int32_t, sums))
{
    const tn_walk walk = tn_walk_of<n_parts>(p);
    tn_ahead<tn_dot_few::AHEAD, n_parts> ahead;
    tn_walk_begin(p, walk, ahead);
    tn_walk_all<tn_dot_few>(p, walk, ahead, codes, codes.n_rows, sums);
}

TN_KERNEL_BLOCKS(ternary_few_dp4a, tn_cuda_ternary_params, 256, 2)
{
    TN_SHARED(int32_t, sums, (tn_walk_sums<tn_dot_few, 2>::N));
    TN_SHARED(uint32_t, scratch, TN_ROW_SCRATCH + 1);
    const tn_codes_memory codes = {p.codes, tn_n_rows(p.step, p.poison.is_logits)};
    if (codes.n_rows == 0) return;
    if (p.behind >= TN_CUDA_BEHIND_RELU2)
        tn_few_multiply<2>(p, codes, sums);
    else
        tn_few_multiply<1>(p, codes, sums);
    if (p.row.op == TN_CUDA_ROW_NONE || !tn_is_last_block(p.counter, tn_grid_x(), scratch + TN_ROW_SCRATCH)) return;
    tn_few_quantise(p, codes.n_rows, scratch);
}
