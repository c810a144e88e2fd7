// Ternary matrices times many rows of codes on the tensor cores. Weights go from global memory to registers in the order of A and are
// unpacked there, one column block ahead; the codes of three column blocks are in shared memory or on their way there, so that one barrier
// a column block is enough. A row of codes is 8 units of 16 bytes, of which lane (g, t) reads units 2t and 2t + 1: those of odd rows are
// exchanged in pairs, and the 8 lanes that read at a time meet all 32 banks.
#include "cuda/kernels/ternary_many.cuh"

namespace
{

enum { STAGES = 3, STAGE_BYTES = TN_CUDA_MANY_TOKENS * TN_CUDA_TILE_COLS };

// What this thread brings to shared memory: unit thread % 8 of row thread / 8, and of that row + 32 where more than 32 are multiplied.
struct tn_many_feed {
    const int8_t *from[2]; // of column block 0
    uint32_t to;           // in a stage; of the second row 32 rows further
};
TN_FN tn_many_feed tn_many_feed_of(const tn_cuda_ternary_params &p, const tn_many_block &block)
{
    const uint32_t unit = tn_thread() % 8, row = tn_thread() / 8;
    return {{tn_many_codes(p, block, row) + unit * 16, tn_many_codes(p, block, row + 32) + unit * 16},
            row * TN_CUDA_TILE_COLS + (unit ^ (row & 1u)) * 16};
}
template <uint32_t n_rows> TN_FN void tn_many_feed_stage(const tn_many_feed &feed, uint32_t k, uint32_t k_end, TN_SHARED_ARG(int8_t, x))
{
    const uint32_t to = k % STAGES * STAGE_BYTES + feed.to;
    if (k < k_end) {
        tn_async16(x, to, feed.from[0] + (size_t)k * TN_CUDA_TILE_COLS);
        if (n_rows > 32) tn_async16(x, to + 32 * TN_CUDA_TILE_COLS, feed.from[1] + (size_t)k * TN_CUDA_TILE_COLS);
    }
    tn_async_commit();
}

struct tn_many_mma {
    int32_t d[2][4][4]; // [tile][8 rows of codes][of mma]
};
// Half of a column block: k steps 2 half and 2 half + 1 of a lane's tiles.
template <uint32_t n_octets>
TN_FN void tn_many_mma_half(const tn_u4 (&w)[2], uint32_t half, uint32_t x_at, TN_SHARED_ARG(int8_t, x), tn_many_mma &sums)
{
    uint32_t a[2][2][4];
    TN_UNROLL for (uint32_t j = 0; j < 2; j++)
    {
        TN_UNROLL for (uint32_t s = 0; s < 2; s++) tn_tile_step(w[j], 2 * half + s, TN_TILE_MASK, a[j][s]);
    }
    TN_UNROLL for (uint32_t octet = 0; octet < n_octets; octet++)
    {
        const tn_u4 v = tn_shared_load16(x, x_at + octet * 16 * TN_CUDA_TILE_COLS);
        const uint32_t b[2][2] = {{v.x, v.y}, {v.z, v.w}};
        TN_UNROLL for (uint32_t s = 0; s < 2; s++)
        {
            TN_UNROLL for (uint32_t j = 0; j < 2; j++) tn_mma_us(sums.d[j][octet], a[j][s], b[s]);
        }
    }
}

// n_octets: of rows 16 octet + 0..7, or of a warp of the other half + 8..15, of the codes.
template <uint32_t n_octets>
TN_FN void tn_many_mma_loop(const tn_cuda_ternary_params &p, const tn_many_block &block, TN_SHARED_ARG(int8_t, x), tn_many_mma &sums)
{
    const uint32_t g = tn_lane() / 4, t = tn_lane() % 4, slot = tn_warp() % 4 * 2;
    const uint32_t row_at = (tn_warp() / 4 * 8 + g) * TN_CUDA_TILE_COLS, units[2] = {(2 * t) ^ (g & 1u), (2 * t + 1) ^ (g & 1u)};
    const tn_many_feed feed = tn_many_feed_of(p, block);
    const uint8_t *from[2];
    tn_u4 next[2] = {{0, 0, 0, 0}, {0, 0, 0, 0}};
    TN_UNROLL for (uint32_t j = 0; j < 2; j++)
    {
        from[j] = tn_many_weights(p, tn_many_tile_of(block, slot + j)) + tn_lane() * 16;
        if (block.k_begin < block.k_end) next[j] = tn_load16(from[j] + (size_t)block.k_begin * 512);
    }
    tn_many_feed_stage<16 * n_octets>(feed, block.k_begin, block.k_end, x);
    tn_many_feed_stage<16 * n_octets>(feed, block.k_begin + 1, block.k_end, x);
    TN_ROLLED for (uint32_t k = block.k_begin; k < block.k_end; k++)
    {
        const tn_u4 w[2] = {next[0], next[1]};
        TN_UNROLL for (uint32_t j = 0; j < 2; j++)
        {
            if (k + 1 < block.k_end) next[j] = tn_load16(from[j] + ((size_t)k + 1) * 512);
        }
        tn_async_wait<1>();
        tn_sync();
        tn_many_feed_stage<16 * n_octets>(feed, k + 2, block.k_end, x); // over what all warps have done with
        const uint32_t x_at = k % STAGES * STAGE_BYTES + row_at;
        TN_UNROLL for (uint32_t half = 0; half < 2; half++) tn_many_mma_half<n_octets>(w, half, x_at + units[half] * 16, x, sums);
    }
}

} // namespace

TN_KERNEL_BLOCKS(ternary_many_mma, tn_cuda_ternary_params, 256, 2)
{
    TN_SHARED(int8_t, x, STAGES * STAGE_BYTES);
    TN_SHARED(uint32_t, flag, 1);
    const tn_many_block block = tn_many_block_of<TN_CUDA_MANY_ROWS, TN_CUDA_MANY_TOKENS>(p);
    if (block.n_rows == 0) return;
    tn_many_mma mma = {};
    if (block.n_sixteens == 1)
        tn_many_mma_loop<1>(p, block, x, mma);
    else if (block.n_sixteens == 2)
        tn_many_mma_loop<2>(p, block, x, mma);
    else if (block.n_sixteens == 3)
        tn_many_mma_loop<3>(p, block, x, mma);
    else
        tn_many_mma_loop<4>(p, block, x, mma);

    const uint32_t g = tn_lane() / 4, t = tn_lane() % 4;
    tn_many_sums sums;
    uint32_t rows[8];
    TN_UNROLL for (uint32_t m = 0; m < 8; m++)
    {
        rows[m] = m / 2 * 16 + tn_warp() / 4 * 8 + 2 * t + m % 2;
        TN_UNROLL for (uint32_t i = 0; i < 4; i++) sums.of[i / 2][i % 2][m] = mma.d[i / 2][m / 2][i % 2 * 2 + m % 2];
    }
    if (tn_many_join(p, sums, flag)) tn_many_store(p, block, g, rows, sums);
}
