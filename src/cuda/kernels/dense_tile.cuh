// A tile of tokens of a product with a dense weight: which rows of x it has, and what is stored.
#ifndef TN_CUDA_DENSE_TILE_CUH
#define TN_CUDA_DENSE_TILE_CUH

#include "cuda/kernels/rows_io.cuh"

// Rows of x from `first` on; n_rows: of the step.
struct tn_dense_tile {
    const tn_cuda_dense_params &p;
    uint32_t first, n_rows;
};
// Those beyond the last are the last.
TN_FN uint32_t tn_tile_row(const tn_dense_tile &tile, uint32_t t)
{
    return tile.first + t < tile.n_rows ? tile.first + t : tile.n_rows - 1;
}
TN_FN void tn_dense_store(const tn_dense_tile &tile, uint32_t t, uint32_t w_row, float sum)
{
    const tn_cuda_dense_params &p = tile.p;
    const uint32_t row = tile.first + t;
    if (row >= tile.n_rows || w_row >= p.w.n_rows) return;
    const float y = tn_fl(sum);
    tn_y_row(p.step, p.y, row)[w_row] = y;
    tn_mark_poison(p.step, p.poison, row, p.node, y);
}

// Calls `multiply` (a template of how many tokens there is room for) for each of the block's tiles. Only steps of one tile have room for
// fewer than TN_CUDA_DENSE_TOKENS: with several ways in one loop the compiler would keep what each of them needs in registers.
template <class Multiply> TN_FN void tn_dense_tiles(const tn_cuda_dense_params &p, const Multiply &multiply)
{
    const uint32_t n_rows = tn_n_rows(p.step, p.poison.is_logits);
    if (n_rows <= TN_CUDA_DENSE_TOKENS / 2) {
        const tn_dense_tile tile = {p, 0, n_rows};
        if (tn_block_y() > 0 || n_rows == 0) return;
        if (n_rows == 1)
            multiply.template tile<1>(tile);
        else if (n_rows == 2)
            multiply.template tile<2>(tile);
        else
            multiply.template tile<TN_CUDA_DENSE_TOKENS / 2>(tile);
        return;
    }
    TN_ROLLED for (uint32_t first = tn_block_y() * TN_CUDA_DENSE_TOKENS; first < n_rows; first += tn_grid_y() * TN_CUDA_DENSE_TOKENS)
        multiply.template tile<TN_CUDA_DENSE_TOKENS>(tn_dense_tile{p, first, n_rows});
}

#endif
