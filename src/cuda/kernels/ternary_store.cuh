// What all forms of the ternary product do with their integer sums: scales, the op behind the product, poison.
#ifndef TN_CUDA_TERNARY_STORE_CUH
#define TN_CUDA_TERNARY_STORE_CUH

#include "cuda/kernels/rows_io.cuh"

// A row of the output (number `row`), and of the other operand of ADD, with the scale and the sum of the codes that it comes from.
struct tn_ternary_row {
    uint32_t row;
    float x_scale;
    int32_t x_sum;
    float *y;
    const float *add;
};
TN_FN tn_ternary_row tn_ternary_row_of(const tn_cuda_ternary_params &p, const tn_cuda_matrix &matrix, uint32_t row, float x_scale,
                                       int32_t x_sum)
{
    const float *add = p.behind == TN_CUDA_BEHIND_ADD ? tn_x_row(p.step, p.add, row) : nullptr;
    return {row, x_scale, x_sum, tn_y_row(p.step, matrix.y, row), add};
}
TN_FN float tn_ternary_weight_scale(const tn_cuda_matrix &matrix, uint32_t n) { return matrix.scales[matrix.per_row ? n : 0]; }

// `acc` sums codes of weights (w + 1) times activations.
TN_FN float tn_ternary_value(const tn_ternary_row &to, float w_scale, int32_t acc)
{
    return tn_fl((float)(acc - to.x_sum) * tn_fl(to.x_scale * w_scale));
}

// An element of a product that is stored, or has the residual behind it: of to.add.
TN_FN float tn_ternary_finish(const tn_cuda_ternary_params &p, const tn_cuda_matrix &matrix, const tn_ternary_row &to, float w_scale,
                              int32_t acc, float residual)
{
    float y = tn_ternary_value(to, w_scale, acc);
    tn_mark_poison(p.step, p.poison, to.row, matrix.node, y);
    if (to.add) {
        y = tn_fl(residual + y);
        tn_mark_poison(p.step, p.poison, to.row, p.behind_node, y);
    }
    return y;
}
// The same stored, as element n; what was stored.
TN_FN float tn_ternary_store(const tn_cuda_ternary_params &p, const tn_cuda_matrix &matrix, const tn_ternary_row &to, uint32_t n,
                             float w_scale, int32_t acc, float residual)
{
    const float y = tn_ternary_finish(p, matrix, to, w_scale, acc, residual);
    to.y[n] = y;
    return y;
}

// GLU of an element of gate and of up; behind: RELU2 or SILU.
TN_FN float tn_ternary_glu(uint32_t behind, float gate, float up)
{
    const float positive = gate > 0.0f ? gate : 0.0f;
    const float activated = tn_fl(behind == TN_CUDA_BEHIND_RELU2 ? positive * positive : tn_silu(gate));
    return tn_fl(activated * up);
}
// An element of gate and of up, with GLU behind them.
TN_FN float tn_ternary_finish_glu(const tn_cuda_ternary_params &p, const tn_ternary_row &to, const float (&w_scales)[2],
                                  const int32_t (&accs)[2])
{
    const float gate = tn_ternary_value(to, w_scales[0], accs[0]), up = tn_ternary_value(to, w_scales[1], accs[1]);
    tn_mark_poison(p.step, p.poison, to.row, p.matrices[0].node, gate);
    tn_mark_poison(p.step, p.poison, to.row, p.matrices[1].node, up);
    const float y = tn_ternary_glu(p.behind, gate, up);
    tn_mark_poison(p.step, p.poison, to.row, p.behind_node, y);
    return y;
}
// The same stored.
TN_FN float tn_ternary_store_glu(const tn_cuda_ternary_params &p, const tn_ternary_row &to, uint32_t n, const float (&w_scales)[2],
                                 const int32_t (&accs)[2])
{
    const float y = tn_ternary_finish_glu(p, to, w_scales, accs);
    to.y[n] = y;
    return y;
}

// A part's sums of a row of codes, of those that ternary_few_mma leaves and ternary_join adds up.
TN_FN uint32_t *tn_ternary_part(const tn_cuda_ternary_params &p, uint32_t row, uint32_t part)
{
    const uint32_t n_words = (p.matrices[0].n_rows + TN_CUDA_TILE_ROWS - 1) / TN_CUDA_TILE_ROWS * TN_CUDA_TILE_ROWS;
    return p.partials + ((size_t)row * p.n_parts + part) * n_words;
}

#endif
