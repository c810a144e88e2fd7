// Sums and gated activations of rows, element by element.
#include "cuda/kernels/quad.cuh"
#include "cuda/kernels/rows_io.cuh"

TN_FN float tn_element_of(uint32_t op, float a, float b)
{
    if (op == TN_CUDA_BEHIND_ADD) return tn_fl(a + b);
    if (op == TN_CUDA_BEHIND_SILU) return tn_fl(tn_fl(tn_silu(a)) * b);
    const float g = a > 0.0f ? a : 0.0f;
    return tn_fl(tn_fl(g * g) * b);
}

TN_KERNEL(element, tn_cuda_element_params, 256)
{
    const uint32_t row = tn_block_x(), first = tn_block_y() * TN_CUDA_ELEMENTS + 4 * tn_thread();
    if (row >= tn_n_rows(p.step, p.poison.is_logits) || first >= p.n) return;
    float a[4], b[4], y[4];
    tn_load_quad(p.a.at + (size_t)row * p.a.stride, p.a.stride, first, p.n, a);
    tn_load_quad(p.b.at + (size_t)row * p.b.stride, p.b.stride, first, p.n, b);
    TN_UNROLL for (uint32_t i = 0; i < 4; i++)
    {
        y[i] = tn_element_of(p.op, a[i], b[i]);
        tn_mark_poison(p.step, p.poison, row, p.node, y[i]); // behind the row it is 0
    }
    tn_store_quad(tn_y_row(p.step, p.y, row), p.y.stride, first, p.n, y);
}
