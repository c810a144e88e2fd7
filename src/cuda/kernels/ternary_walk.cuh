// The walk of warps over row tiles of ternary matrices, for up to 8 tokens.
//
// Blocks stay and take row tiles (of 16 rows; with GLU gate's and up's of the same rows) from the sequence of all matrices' tiles. In a
// block 1, 2, 4 or 8 warps make a team that shares the columns of a row tile, warp by warp, so that the bytes which a team reads at a time
// lie side by side; its sums are integers, which meet in shared memory in any order. A warp has n_ahead tiles under way in
// registers at all times: those of a row tile's end are followed by the next row tile's beginning before any sum is made, and the first
// ones are asked for before the kernel knows its input.
#ifndef TN_CUDA_TERNARY_WALK_CUH
#define TN_CUDA_TERNARY_WALK_CUH

#include "cuda/kernels/ternary_dot.cuh"
#include "cuda/kernels/ternary_store.cuh"

// This warp's place.
struct tn_walk {
    uint32_t split, n_splits;      // which columns of a row tile, of how many parts
    uint32_t team, n_teams;        // of the block
    uint32_t n_tiles;              // row tiles of all matrices
    uint32_t n_tiles_0, n_tiles_1; // of the first matrix, and of the first two
};
TN_FN uint32_t tn_tiles_of(uint32_t n_rows) { return (n_rows + TN_CUDA_TILE_ROWS - 1) / TN_CUDA_TILE_ROWS; }
template <uint32_t n_parts> TN_FN tn_walk tn_walk_of(const tn_cuda_ternary_params &p)
{
    tn_walk walk;
    walk.n_splits = 1u << p.log2_split;
    walk.split = tn_warp() & (walk.n_splits - 1);
    walk.team = tn_warp() >> p.log2_split;
    walk.n_teams = 8u >> p.log2_split;
    walk.n_tiles_0 = tn_tiles_of(p.matrices[0].n_rows);
    walk.n_tiles_1 = walk.n_tiles_0 + tn_tiles_of(p.matrices[1].n_rows);
    walk.n_tiles = n_parts == 2 ? walk.n_tiles_0 : walk.n_tiles_1 + tn_tiles_of(p.matrices[2].n_rows);
    return walk;
}

// A row tile: of one matrix, or with n_parts = 2 of gate and of up.
template <uint32_t n_parts> struct tn_row_tile {
    const uint8_t *at[n_parts]; // this lane's bytes of the first column block
    float scales[n_parts];      // of this lane's row of the output
    uint32_t matrix, row;       // the first row
    uint32_t n_blocks;          // 0: there is no such tile
};
template <uint32_t n_parts> TN_FN tn_row_tile<n_parts> tn_row_tile_of(const tn_cuda_ternary_params &p, const tn_walk &walk, uint32_t tile)
{
    tn_row_tile<n_parts> found;
    found.matrix = n_parts == 2 || tile < walk.n_tiles_0 ? 0 : tile < walk.n_tiles_1 ? 1 : 2;
    const uint32_t of_matrix = tile - (found.matrix == 0 ? 0 : found.matrix == 1 ? walk.n_tiles_0 : walk.n_tiles_1);
    found.row = of_matrix * TN_CUDA_TILE_ROWS;
    found.n_blocks = tile < walk.n_tiles ? p.n_blocks : 0;
    TN_UNROLL for (uint32_t part = 0; part < n_parts; part++)
    {
        const tn_cuda_matrix &matrix = p.matrices[found.matrix + part];
        found.at[part] = matrix.w + (size_t)of_matrix * p.n_blocks * TN_TILE_BYTES + tn_lane() * 16;
        found.scales[part] = 0.0f;
        if (found.n_blocks) found.scales[part] = tn_ternary_weight_scale(matrix, found.row + tn_lane() % TN_CUDA_TILE_ROWS);
    }
    return found;
}

// The row tile whose turn is next, and its first tiles, on their way.
template <uint32_t n_ahead, uint32_t n_parts> struct tn_ahead {
    tn_row_tile<n_parts> tile;
    tn_u4 w[n_ahead][n_parts];
};
// Tiles k, k + n_splits, .. of a row tile.
template <uint32_t n_parts>
TN_FN void tn_ahead_load(const tn_walk &walk, const tn_row_tile<n_parts> &tile, uint32_t k, uint32_t i, tn_u4 (&w)[n_parts])
{
    if (k + i * walk.n_splits >= tile.n_blocks) return;
    TN_UNROLL for (uint32_t part = 0; part < n_parts; part++) w[part] =
        tn_load16_once(tile.at[part] + ((size_t)k + i * walk.n_splits) * TN_TILE_BYTES);
}
template <uint32_t n_ahead, uint32_t n_parts>
TN_FN void tn_walk_begin(const tn_cuda_ternary_params &p, const tn_walk &walk, tn_ahead<n_ahead, n_parts> &ahead)
{
    ahead.tile = tn_row_tile_of<n_parts>(p, walk, tn_block_x() * walk.n_teams + walk.team);
    TN_UNROLL for (uint32_t i = 0; i < n_ahead; i++) tn_ahead_load(walk, ahead.tile, walk.split, i, ahead.w[i]);
}

// The tiles that are in registers, of which is_full says that all are there; in their places come those from `k_next` of row tile `from`.
template <bool is_full, class Dot, uint32_t n_ahead, uint32_t n_parts, class Codes>
TN_FN void tn_walk_step(const tn_walk &walk, uint32_t n_blocks, uint32_t k, const tn_row_tile<n_parts> &from, uint32_t k_next,
                        const Codes &codes, tn_u4 (&w)[n_ahead][n_parts], Dot (&dots)[n_parts])
{
    typename Dot::input inputs[n_ahead];
    TN_UNROLL for (uint32_t i = 0; i < n_ahead; i++)
    {
        const uint32_t at = k + i * walk.n_splits;
        tn_dot_load(codes, is_full || at < n_blocks ? at : k, inputs[i]);
    }
    TN_UNROLL for (uint32_t i = 0; i < n_ahead; i++)
    {
        if (is_full || k + i * walk.n_splits < n_blocks) tn_dot_add(dots, w[i], codes, inputs[i]);
        tn_ahead_load(walk, from, k_next, i, w[i]);
    }
}

// This warp's part of a row tile; leaves the first tiles of `next` under way.
template <class Dot, uint32_t n_ahead, uint32_t n_parts, class Codes>
TN_FN void tn_walk_multiply(const tn_walk &walk, const tn_row_tile<n_parts> &tile, const tn_row_tile<n_parts> &next, const Codes &codes,
                            tn_u4 (&w)[n_ahead][n_parts], Dot (&dots)[n_parts])
{
    const uint32_t n_step = walk.n_splits * n_ahead;
    uint32_t k = walk.split;
    TN_ROLLED for (; k + n_step < tile.n_blocks; k += n_step) tn_walk_step<true>(walk, tile.n_blocks, k, tile, k + n_step, codes, w, dots);
    if (k < tile.n_blocks) tn_walk_step<false>(walk, tile.n_blocks, k, next, walk.split, codes, w, dots);
}

// This thread's outputs of a row tile: one row of it, and so many tokens.
template <class Dot> struct tn_outputs {
    enum { N = Dot::TOKENS * TN_CUDA_TILE_ROWS / 32 > 0 ? Dot::TOKENS *TN_CUDA_TILE_ROWS / 32 : 1 };
    float residuals[N];
};
template <class Dot> TN_FN uint32_t tn_output_token(const tn_walk &walk, uint32_t i)
{
    return ((walk.split + i * walk.n_splits) * 32 + tn_lane()) / TN_CUDA_TILE_ROWS;
}
// The other operand of ADD, asked for before the product is made.
template <class Dot, uint32_t n_parts>
TN_FN void tn_outputs_begin(const tn_cuda_ternary_params &p, const tn_walk &walk, const tn_row_tile<n_parts> &tile, uint32_t n_tokens,
                            tn_outputs<Dot> &outputs)
{
    const uint32_t n = tile.row + tn_lane() % TN_CUDA_TILE_ROWS;
    TN_UNROLL for (uint32_t i = 0; i < tn_outputs<Dot>::N; i++)
    {
        const uint32_t token = tn_output_token<Dot>(walk, i);
        outputs.residuals[i] = 0.0f;
        if (p.behind == TN_CUDA_BEHIND_ADD && token < n_tokens && n < p.matrices[0].n_rows && tile.n_blocks)
            outputs.residuals[i] = tn_x_row(p.step, p.add, token)[n];
    }
}
// `sums`: of the team's warps, one after another.
template <class Dot, uint32_t n_parts, class Codes>
TN_FN void tn_outputs_store(const tn_cuda_ternary_params &p, const tn_walk &walk, const tn_row_tile<n_parts> &tile, uint32_t n_tokens,
                            const Codes &codes, const tn_outputs<Dot> &outputs, TN_SHARED_ARG(int32_t, sums), uint32_t at)
{
    const tn_cuda_matrix &matrix = p.matrices[tile.matrix];
    const uint32_t row = tn_lane() % TN_CUDA_TILE_ROWS, n = tile.row + row;
    if (tile.n_blocks == 0 || n >= matrix.n_rows) return;
    TN_UNROLL for (uint32_t i = 0; i < tn_outputs<Dot>::N; i++)
    {
        const uint32_t token = tn_output_token<Dot>(walk, i);
        if (token >= n_tokens) continue;
        int32_t accs[n_parts] = {};
        for (uint32_t s = 0; s < walk.n_splits; s++) {
            TN_UNROLL for (uint32_t part = 0; part < n_parts; part++) accs[part] +=
                sums[at + (s * n_parts + part) * Dot::SLOTS + tn_dot_slot(Dot(), row, token)];
        }
        const tn_row_scale x = tn_codes_scale(codes, token);
        const tn_ternary_row to = tn_ternary_row_of(p, matrix, token, x.scale, x.sum);
        if constexpr (n_parts == 2)
            tn_ternary_store_glu(p, to, n, tile.scales, accs);
        else
            tn_ternary_store(p, matrix, to, n, tile.scales[0], accs[0], outputs.residuals[i]);
    }
}

// Words of shared memory: two sides, of which one is filled while the other may still be read.
template <class Dot, uint32_t n_parts> struct tn_walk_sums {
    enum { SIDE = 8 * n_parts * Dot::SLOTS, N = 2 * SIDE };
};

// All row tiles of the block, whose first ones are in `ahead`, for n_tokens rows of codes.
template <class Dot, uint32_t n_parts, class Codes>
TN_FN void tn_walk_all(const tn_cuda_ternary_params &p, const tn_walk &walk, tn_ahead<Dot::AHEAD, n_parts> &ahead, const Codes &codes,
                       uint32_t n_tokens, TN_SHARED_ARG(int32_t, sums))
{
    uint32_t side = 0;
    for (uint32_t first = tn_block_x() * walk.n_teams; first < walk.n_tiles; first += tn_grid_x() * walk.n_teams) {
        const tn_row_tile<n_parts> tile = ahead.tile;
        ahead.tile = tn_row_tile_of<n_parts>(p, walk, first + tn_grid_x() * walk.n_teams + walk.team);
        tn_outputs<Dot> outputs;
        tn_outputs_begin(p, walk, tile, n_tokens, outputs);
        Dot dots[n_parts];
        TN_UNROLL for (uint32_t part = 0; part < n_parts; part++) tn_dot_zero(dots[part]);
        tn_walk_multiply(walk, tile, ahead.tile, codes, ahead.w, dots);

        const uint32_t at = side * tn_walk_sums<Dot, n_parts>::SIDE;
        TN_UNROLL for (uint32_t part = 0; part < n_parts; part++)
            tn_dot_put(dots[part], sums, at + (tn_warp() * n_parts + part) * Dot::SLOTS);
        if (walk.n_splits > 1)
            tn_sync();
        else
            tn_sync_warp();
        const uint32_t of_team = at + walk.team * walk.n_splits * n_parts * Dot::SLOTS;
        tn_outputs_store(p, walk, tile, n_tokens, codes, outputs, sums, of_team);
        side ^= 1;
    }
}

#endif
