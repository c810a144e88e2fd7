// Ternary matrices times many rows of codes, for devices without mma of bytes. Weights, packed, and codes of a column block go through
// registers to one half of shared memory while the other is multiplied. A lane has rows g and g + 8 (g = lane % 8) of two tiles, all their
// columns, and 8 rows of codes, which the lanes of its eight read from one place. Units (g, t) of a tile lie in the order of t, those of a
// t exchanged by it, so that neither the lanes that bring units in the order of memory nor those that read along g meet in a bank.
#include "cuda/kernels/ternary_many.cuh"

namespace
{

enum { TILE_BYTES = 512, W_BYTES = TN_MANY_TILES * TILE_BYTES, X_BYTES = TN_CUDA_MANY_TOKENS * TN_CUDA_TILE_COLS };

TN_FN uint32_t tn_many_unit(uint32_t g, uint32_t t) { return (t * 8 + (g ^ (2 * t))) * 16; }

// What this thread brings of a column block: a unit of tile `warp`, and unit thread % 8 of row thread / 8 of the codes, and of that row +
// 32 where more than 32 are multiplied.
struct tn_many_feed {
    const uint8_t *w_from;
    const int8_t *x_from[2];
    uint32_t w_to, x_to; // of the second row 32 rows further
    tn_u4 w, x[2];       // on their way
};
TN_FN tn_many_feed tn_many_feed_of(const tn_cuda_ternary_params &p, const tn_many_block &block)
{
    const uint32_t row = tn_thread() / 8, unit = tn_thread() % 8;
    tn_many_feed feed;
    feed.w_from = tn_many_weights(p, tn_many_tile_of(block, tn_warp())) + tn_lane() * 16;
    feed.w_to = tn_warp() * TILE_BYTES + tn_many_unit(tn_lane() / 4, tn_lane() % 4);
    TN_UNROLL for (uint32_t i = 0; i < 2; i++) feed.x_from[i] = tn_many_codes(p, block, row + 32 * i) + unit * 16;
    feed.x_to = row * TN_CUDA_TILE_COLS + unit * 16;
    return feed;
}
template <uint32_t n_rows> TN_FN void tn_many_fetch(tn_many_feed &feed, uint32_t k)
{
    feed.w = tn_load16(feed.w_from + (size_t)k * TILE_BYTES);
    feed.x[0] = tn_load16(feed.x_from[0] + (size_t)k * TN_CUDA_TILE_COLS);
    if (n_rows > 32) feed.x[1] = tn_load16(feed.x_from[1] + (size_t)k * TN_CUDA_TILE_COLS);
}
template <uint32_t n_rows>
TN_FN void tn_many_hand_over(const tn_many_feed &feed, uint32_t side, TN_SHARED_ARG(int8_t, w), TN_SHARED_ARG(int8_t, x))
{
    tn_shared_store16(w, side * W_BYTES + feed.w_to, feed.w);
    tn_shared_store16(x, side * X_BYTES + feed.x_to, feed.x[0]);
    if (n_rows > 32) tn_shared_store16(x, side * X_BYTES + feed.x_to + 32 * TN_CUDA_TILE_COLS, feed.x[1]);
}

// Half of the words that a lane has of columns 32t..32t + 31: as many as 16 codes meet.
template <uint32_t n_mine>
TN_FN void tn_many_dot_half(const tn_u4 (&tiles)[2], uint32_t half, uint32_t x_at, TN_SHARED_ARG(int8_t, x), tn_many_sums &sums)
{
    uint32_t codes[2][2][4];
    TN_UNROLL for (uint32_t j = 0; j < 2; j++)
    {
        TN_UNROLL for (uint32_t s = 0; s < 2; s++) tn_tile_step(tiles[j], 2 * half + s, TN_TILE_MASK, codes[j][s]);
    }
    TN_UNROLL for (uint32_t m = 0; m < 8; m++)
    {
        if (m >= n_mine) continue;
        const tn_u4 v = tn_shared_load16(x, x_at + m * 8 * TN_CUDA_TILE_COLS);
        const uint32_t words[4] = {v.x, v.y, v.z, v.w};
        TN_UNROLL for (uint32_t j = 0; j < 2; j++)
        {
            TN_UNROLL for (uint32_t i = 0; i < 8; i++) sums.of[j][i % 2][m] =
                tn_dp4a_us(codes[j][i / 4][i % 4], words[i / 4 * 2 + i % 4 / 2], sums.of[j][i % 2][m]);
        }
    }
}

template <uint32_t n_mine>
TN_FN void tn_many_dot(uint32_t side, uint32_t first_row, TN_SHARED_ARG(int8_t, w), TN_SHARED_ARG(int8_t, x), tn_many_sums &sums)
{
    const uint32_t w_at = side * W_BYTES + tn_warp() % 4 * 2 * TILE_BYTES, x_at = side * X_BYTES + first_row * TN_CUDA_TILE_COLS;
    TN_ROLLED for (uint32_t t = 0; t < 4; t++)
    {
        const uint32_t unit = w_at + tn_many_unit(tn_lane() % 8, t);
        const tn_u4 tiles[2] = {tn_shared_load16(w, unit), tn_shared_load16(w, unit + TILE_BYTES)};
        TN_UNROLL for (uint32_t half = 0; half < 2; half++) tn_many_dot_half<n_mine>(tiles, half, x_at + t * 32 + half * 16, x, sums);
    }
}

// Rows 8m + first_row of the codes, n_mine of them.
template <uint32_t n_mine>
TN_FN void tn_many_dot_loop(const tn_cuda_ternary_params &p, const tn_many_block &block, uint32_t first_row, TN_SHARED_ARG(int8_t, w),
                            TN_SHARED_ARG(int8_t, x), tn_many_sums &sums)
{
    tn_many_feed feed = tn_many_feed_of(p, block);
    if (block.k_begin < block.k_end) {
        tn_many_fetch<8 * n_mine>(feed, block.k_begin);
        tn_many_hand_over<8 * n_mine>(feed, 0, w, x);
    }
    tn_sync();
    TN_ROLLED for (uint32_t k = block.k_begin; k < block.k_end; k++)
    {
        if (k + 1 < block.k_end) tn_many_fetch<8 * n_mine>(feed, k + 1);
        const uint32_t side = (k - block.k_begin) & 1u;
        tn_many_dot<n_mine>(side, first_row, w, x, sums);
        if (k + 1 < block.k_end) tn_many_hand_over<8 * n_mine>(feed, side ^ 1u, w, x);
        tn_sync();
    }
}

} // namespace

TN_KERNEL_BLOCKS(ternary_many_dp4a, tn_cuda_ternary_params, 256, 2)
{
    TN_SHARED(int8_t, w, 2 * W_BYTES);
    TN_SHARED(int8_t, x, 2 * X_BYTES);
    TN_SHARED(uint32_t, flag, 1);
    const tn_many_block block = tn_many_block_of<TN_CUDA_MANY_ROWS, TN_CUDA_MANY_TOKENS>(p);
    if (block.n_rows == 0) return;
    const uint32_t first_row = tn_warp() / 4 * 4 + tn_lane() / 8;
    tn_many_sums sums = {};
    if (block.n_sixteens == 1)
        tn_many_dot_loop<2>(p, block, first_row, w, x, sums);
    else if (block.n_sixteens == 2)
        tn_many_dot_loop<4>(p, block, first_row, w, x, sums);
    else if (block.n_sixteens == 3)
        tn_many_dot_loop<6>(p, block, first_row, w, x, sums);
    else
        tn_many_dot_loop<8>(p, block, first_row, w, x, sums);

    uint32_t rows[8];
    TN_UNROLL for (uint32_t m = 0; m < 8; m++) rows[m] = 8 * m + first_row;
    if (tn_many_join(p, sums, flag)) tn_many_store(p, block, tn_lane() % 8, rows, sums);
}
