// Rows copied: of the submit's input, of wanted tokens, to the submit's output or a tap.
#include "cuda/kernels/quad.cuh"
#include "cuda/kernels/rows_io.cuh"

TN_KERNEL(copy_rows, tn_cuda_copy_params, 256)
{
    const uint32_t row = tn_block_x(), first = tn_block_y() * TN_CUDA_ELEMENTS + 4 * tn_thread();
    if (row >= tn_n_rows(p.step, p.is_logits) || first >= p.n) return;
    float v[4];
    tn_load_quad(tn_x_row(p.step, p.x, tn_row_token(p.step, p.by_logits, row)), p.x.stride, first, p.n, v);
    tn_store_quad(tn_y_row(p.step, p.y, row), p.y.stride, first, p.n, v);
}
