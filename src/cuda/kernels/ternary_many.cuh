// Ternary matrices times many rows of codes: what the forms share, which is everything but the loop over columns.
//
// A block computes 128 rows of a matrix (with GLU 64 of gate and the same 64 of up) times 64 rows of codes, as 4 x 2 warps: warp w has row
// tiles 2 (w % 4) and the one after it (with GLU gate's tile and up's), and of each 16 rows of codes the half w / 4. So steps with few
// tokens keep all warps busy, and the sums of gate and up of a row meet in one lane. A lane ends with sums of rows g and g + 8 (g: of 8) of
// both tiles times 8 rows of codes, which of them the form says.
//
// Where blocks are too few for the device, grid z splits the columns: blocks add what they have to integers in memory, and the last of a
// tile to come goes on with the sums.
#ifndef TN_CUDA_TERNARY_MANY_CUH
#define TN_CUDA_TERNARY_MANY_CUH

#include "cuda/kernels/last_block.cuh"
#include "cuda/kernels/ternary_store.cuh"
#include "cuda/kernels/ternary_tile.cuh"

enum { TN_MANY_TILES = TN_CUDA_MANY_ROWS / TN_CUDA_TILE_ROWS, TN_MANY_SUMS = 32 };

// This block's part of the product.
struct tn_many_block {
    bool is_glu;
    uint32_t matrix, first_tile; // of the matrix; with GLU of gate and of up
    uint32_t first_row, n_rows;  // of the codes; n_rows 0: the step has none here
    uint32_t n_sixteens;         // of 16 rows of the codes, 1 to 4: what is multiplied, by loops of their own without a branch
    uint32_t k_begin, k_end;     // column blocks
};
// Blocks of `rows` rows (of one matrix; with GLU half of them gate's) and `tokens` rows of codes.
template <uint32_t rows, uint32_t tokens> TN_FN tn_many_block tn_many_block_of(const tn_cuda_ternary_params &p)
{
    const uint32_t n_tiles = rows / TN_CUDA_TILE_ROWS;
    tn_many_block block;
    block.is_glu = p.behind >= TN_CUDA_BEHIND_RELU2;
    uint32_t x = tn_block_x();
    block.matrix = 0;
    if (!block.is_glu) {
        const uint32_t n_0 = (p.matrices[0].n_rows + rows - 1) / rows, n_1 = (p.matrices[1].n_rows + rows - 1) / rows;
        block.matrix = x < n_0 ? 0 : x < n_0 + n_1 ? 1 : 2;
        x -= block.matrix == 0 ? 0 : block.matrix == 1 ? n_0 : n_0 + n_1;
    }
    block.first_tile = x * (block.is_glu ? n_tiles / 2 : n_tiles);
    const uint32_t n_rows = tn_n_rows(p.step, p.poison.is_logits);
    block.first_row = tn_block_y() * tokens;
    block.n_rows = block.first_row < n_rows ? n_rows - block.first_row : 0;
    if (block.n_rows > tokens) block.n_rows = tokens;
    block.n_sixteens = (block.n_rows + 15) / 16;
    const uint32_t n_each = (p.n_blocks + tn_grid_z() - 1) / tn_grid_z();
    block.k_begin = tn_block_z() * n_each;
    block.k_end = block.k_begin + n_each < p.n_blocks ? block.k_begin + n_each : p.n_blocks;
    return block;
}

// Row tile 0..7 of the block; a warp has slots 2 (w % 4) and 2 (w % 4) + 1.
struct tn_many_tile {
    uint32_t matrix, tile;
};
TN_FN tn_many_tile tn_many_tile_of(const tn_many_block &block, uint32_t slot)
{
    if (block.is_glu) return {slot % 2, block.first_tile + slot / 2};
    return {block.matrix, block.first_tile + slot};
}
// Where its column blocks begin. Tiles beyond the matrix are its last one: nothing of them is stored.
TN_FN const uint8_t *tn_many_weights(const tn_cuda_ternary_params &p, const tn_many_tile &tile)
{
    const tn_cuda_matrix &matrix = p.matrices[tile.matrix];
    const uint32_t last = (matrix.n_rows - 1) / TN_CUDA_TILE_ROWS;
    return matrix.w + (size_t)(tile.tile < last ? tile.tile : last) * p.n_blocks * 512;
}
// Row `row` of the block's codes; those beyond the step's are the last one.
TN_FN const int8_t *tn_many_codes(const tn_cuda_ternary_params &p, const tn_many_block &block, uint32_t row)
{
    return p.codes.at + (size_t)(block.first_row + (row < block.n_rows ? row : block.n_rows - 1)) * p.codes.stride_bytes;
}

// A lane's sums: [tile of the warp][row g or g + 8][row of codes].
struct tn_many_sums {
    int32_t of[2][2][8];
};

// Of all blocks that split the columns of this tile; false: another block goes on with them.
TN_FN bool tn_many_join(const tn_cuda_ternary_params &p, tn_many_sums &sums, TN_SHARED_ARG(uint32_t, flag))
{
    if (tn_grid_z() == 1) return true;
    const uint32_t tile = tn_block_y() * tn_grid_x() + tn_block_x();
    uint32_t *at = p.partials + (size_t)tile * TN_MANY_SUMS * 256 + tn_thread();
    TN_UNROLL for (uint32_t i = 0; i < TN_MANY_SUMS; i++) tn_atomic_add(at + i * 256, (uint32_t)sums.of[i / 16][i / 8 % 2][i % 8]);
    if (!tn_is_last_block(p.counter + tile, tn_grid_z(), flag)) return false;
    TN_UNROLL for (uint32_t i = 0; i < TN_MANY_SUMS; i++) sums.of[i / 16][i / 8 % 2][i % 8] = (int32_t)tn_load_fresh(at + i * 256);
    TN_UNROLL for (uint32_t i = 0; i < TN_MANY_SUMS; i++) at[i * 256] = 0;
    return true;
}

// Stores the lane's sums. `g`: the lane's row in the tiles; `rows`: which rows of the block's codes its sums are of.
TN_FN void tn_many_store(const tn_cuda_ternary_params &p, const tn_many_block &block, uint32_t g, const uint32_t (&rows)[8],
                         const tn_many_sums &sums)
{
    const uint32_t slot = tn_warp() % 4 * 2;
    const tn_many_tile tiles[2] = {tn_many_tile_of(block, slot), tn_many_tile_of(block, slot + 1)};
    const tn_cuda_matrix &first = p.matrices[block.matrix];
    float w_scales[2][2], residuals[2][2][8], x_scales[8];
    int32_t x_sums[8];
    uint32_t n[2][2];
    // All loads before the first store, which they might have to wait for.
    TN_UNROLL for (uint32_t i = 0; i < 4; i++)
    {
        n[i / 2][i % 2] = tiles[i / 2].tile * TN_CUDA_TILE_ROWS + i % 2 * 8 + g;
        w_scales[i / 2][i % 2] = 0.0f;
        if (n[i / 2][i % 2] < first.n_rows)
            w_scales[i / 2][i % 2] = tn_ternary_weight_scale(p.matrices[tiles[i / 2].matrix], n[i / 2][i % 2]);
    }
    TN_UNROLL for (uint32_t m = 0; m < 8; m++)
    {
        const uint32_t row = block.first_row + (rows[m] < block.n_rows ? rows[m] : 0);
        x_scales[m] = p.codes.scales[row];
        x_sums[m] = p.codes.sums[row];
        TN_UNROLL for (uint32_t i = 0; i < 4; i++)
        {
            residuals[i / 2][i % 2][m] = 0.0f;
            if (p.behind == TN_CUDA_BEHIND_ADD && n[i / 2][i % 2] < first.n_rows)
                residuals[i / 2][i % 2][m] = tn_x_row(p.step, p.add, row)[n[i / 2][i % 2]];
        }
    }
    TN_UNROLL for (uint32_t m = 0; m < 8; m++)
    {
        if (rows[m] >= block.n_rows) continue;
        const tn_ternary_row to = tn_ternary_row_of(p, first, block.first_row + rows[m], x_scales[m], x_sums[m]);
        TN_UNROLL for (uint32_t r = 0; r < 2; r++)
        {
            if (block.is_glu) {
                const float scales[2] = {w_scales[0][r], w_scales[1][r]};
                const int32_t accs[2] = {sums.of[0][r][m], sums.of[1][r][m]};
                if (n[0][r] < first.n_rows) tn_ternary_store_glu(p, to, n[0][r], scales, accs);
                continue;
            }
            TN_UNROLL for (uint32_t j = 0; j < 2; j++)
            {
                if (n[j][r] < first.n_rows) tn_ternary_store(p, first, to, n[j][r], w_scales[j][r], sums.of[j][r][m], residuals[j][r][m]);
            }
        }
    }
}

#endif
