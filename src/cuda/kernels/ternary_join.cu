// Parts of a ternary product brought together, with what is behind the product, and rows of codes made of the results: one block a row.
#include "cuda/kernels/row.cuh"
#include "cuda/kernels/ternary_store.cuh"

namespace
{

// A row as ternary_few_mma left it, integers of each part of the columns, and what is asked for of it: of up to two rounds together, so
// that no loads wait for stores.
struct tn_row_joined {
    const tn_cuda_ternary_params &p;
    uint32_t row;
    float scale; // where all rows of the matrix have the same
    tn_ternary_row to;
    uint32_t sums[2][TN_CUDA_FEW_PARTS_MAX][8];
    float residuals[2][8];
};
TN_FN void tn_row_ready(tn_row_joined &from)
{
    tn_wait_previous();
    from.to = tn_ternary_row_of(from.p, from.p.matrices[0], from.row, from.p.codes.scales[from.row], from.p.codes.sums[from.row]);
}
TN_FN void tn_row_ask(tn_row_joined &from, uint32_t n, uint32_t round, uint32_t first)
{
    const tn_cuda_ternary_params &p = from.p;
    const uint32_t *part = tn_ternary_part(p, from.row, 0) + first;
    const uint32_t part_words = (uint32_t)(tn_ternary_part(p, 0, 1) - tn_ternary_part(p, 0, 0));
    TN_UNROLL for (uint32_t k = 0; k < TN_CUDA_FEW_PARTS_MAX; k++, part += part_words)
    {
        TN_UNROLL for (uint32_t i = 0; i < 8; i++) from.sums[round][k][i] =
            k < p.n_parts && first + 32 * i < n ? tn_load_fresh(part + 32 * i) : 0;
    }
    TN_UNROLL for (uint32_t i = 0; i < 8; i++) from.residuals[round][i] =
        from.to.add && first + 32 * i < n ? tn_load_fresh(from.to.add + first + 32 * i) : 0.0f;
}
TN_FN void tn_row_values(tn_row_joined &from, uint32_t n, uint32_t round, uint32_t first, float (&v)[8])
{
    const tn_cuda_ternary_params &p = from.p;
    TN_UNROLL for (uint32_t i = 0; i < 8; i++)
    {
        const uint32_t at = first + 32 * i;
        uint32_t acc = 0;
        TN_UNROLL for (uint32_t k = 0; k < TN_CUDA_FEW_PARTS_MAX; k++) acc += from.sums[round][k][i];
        if (at >= n) continue; // 0, as v is
        const float scale = p.matrices[0].per_row ? p.matrices[0].scales[at] : from.scale;
        v[i] = tn_ternary_store(p, p.matrices[0], from.to, at, scale, (int32_t)acc, from.residuals[round][i]);
    }
}
TN_FN void tn_row_values_again(tn_row_joined &from, uint32_t n, uint32_t first, float (&v)[8]) { tn_row_load(from.to.y, n, first, v); }

} // namespace

TN_KERNEL_EARLY(ternary_join, tn_cuda_ternary_params, 256, 2)
{
    TN_SHARED(uint32_t, scratch, TN_ROW_SCRATCH);
    const uint32_t row = tn_block_x();
    if (row >= tn_n_rows(p.step, p.poison.is_logits)) {
        tn_wait_previous();
        return;
    }
    const tn_row_joined from = {p, row, p.matrices[0].scales[0], {}, {}, {}};
    tn_row_codes<1>(p.row, from, p.row_codes, row, scratch);
}
