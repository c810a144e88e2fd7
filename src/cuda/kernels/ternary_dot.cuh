// Tiles of ternary weights times codes, in the forms that devices have: a lane's 16 bytes of a tile (cuda_pack.h) meet the 32 codes of its
// columns. A warp's sums stay in registers over many tiles and are put to shared memory at the end, each form in an order of its own.
// AHEAD: tiles that a warp has under way; SLOTS: words of shared memory of a warp's sums; TOKENS: rows of codes at most.
#ifndef TN_CUDA_TERNARY_DOT_CUH
#define TN_CUDA_TERNARY_DOT_CUH

#include "cuda/kernels/row.cuh"
#include "cuda/kernels/ternary_tile.cuh"

// ---- where the codes come from ----

// Rows in global memory. They are read through L1, where the warps of a multiprocessor share them.
struct tn_codes_memory {
    const tn_cuda_codes &codes;
    uint32_t n_rows;
};
TN_FN tn_row_scale tn_codes_scale(const tn_codes_memory &from, uint32_t row) { return {from.codes.scales[row], from.codes.sums[row]}; }

// Rows that are not there are the last one's: nothing of them is stored.
TN_FN const int8_t *tn_codes_row(const tn_codes_memory &from, uint32_t row, uint32_t k)
{
    const uint32_t there = row < from.n_rows ? row : from.n_rows - 1;
    return from.codes.at + (size_t)there * from.codes.stride_bytes + k * TN_CUDA_TILE_COLS + tn_lane() % 4 * 32;
}

// ---- up to 8 rows of codes: sums as mma would leave them ----

// d[0], d[1]: row g of the tile, rows 2t and 2t + 1 of the codes; d[2], d[3]: row g + 8. In shared memory the lanes' four sums lie side by
// side, 4 words between groups of four lanes, so that neither who writes nor who reads along the rows of a tile meets the same bank.
struct tn_sums_few {
    int32_t d[4];
};
TN_FN void tn_sums_few_put(const tn_sums_few &sums, TN_SHARED_ARG(int32_t, to), uint32_t at)
{
    const uint32_t slot = at + tn_lane() / 4 * 20 + tn_lane() % 4 * 4;
    const tn_u4 v = {(uint32_t)sums.d[0], (uint32_t)sums.d[1], (uint32_t)sums.d[2], (uint32_t)sums.d[3]};
    tn_shared_store16(to, slot, v);
}
TN_FN uint32_t tn_sums_few_slot(uint32_t row, uint32_t token) { return row % 8 * 20 + token / 2 * 4 + row / 8 * 2 + token % 2; }

// ---- up to 8 rows of codes, dp4a: a lane has its columns' part of all rows of codes ----

struct tn_dot_few {
    enum { AHEAD = 2, TOKENS = 8, SLOTS = 160 };
    typedef uint32_t input; // the column block: each row's codes are loaded when their turn comes
    int32_t sums[8][2];     // of rows g and g + 8
};
TN_FN void tn_dot_zero(tn_dot_few &dot) { TN_UNROLL for (uint32_t i = 0; i < 8; i++) dot.sums[i][0] = dot.sums[i][1] = 0; }
TN_FN void tn_dot_load(const tn_codes_memory &, uint32_t k, uint32_t &input) { input = k; }
// Half of a tile's columns at a time, so that few unpacked ones wait for the next row of codes.
template <uint32_t n> TN_FN void tn_dot_add(tn_dot_few (&dots)[n], const tn_u4 (&tiles)[n], const tn_codes_memory &from, uint32_t k)
{
    TN_UNROLL for (uint32_t half = 0; half < 2; half++)
    {
        uint32_t codes[n][2][4];
        TN_UNROLL for (uint32_t m = 0; m < n; m++)
        {
            TN_UNROLL for (uint32_t s = 0; s < 2; s++) tn_tile_step(tiles[m], 2 * half + s, TN_TILE_MASK, codes[m][s]);
        }
        TN_UNROLL for (uint32_t token = 0; token < 8; token++)
        {
            if (token >= from.n_rows) continue;
            const tn_u4 v = tn_load16(tn_codes_row(from, token, k) + 16 * half);
            const uint32_t x[4] = {v.x, v.y, v.z, v.w};
            TN_UNROLL for (uint32_t m = 0; m < n; m++)
            {
                int32_t(&sums)[2] = dots[m].sums[token];
                TN_UNROLL for (uint32_t i = 0; i < 8; i++) sums[i % 2] =
                    tn_dp4a_us(codes[m][i / 4][i % 4], x[i / 4 * 2 + i % 4 / 2], sums[i % 2]);
            }
        }
    }
}
TN_FN uint32_t tn_dot_slot(const tn_dot_few &, uint32_t row, uint32_t token) { return tn_sums_few_slot(row, token); }
// Four lanes share the columns: of what they have each gives away the half that others keep, twice, and is left with two rows of codes.
TN_FN void tn_dot_put(const tn_dot_few &dot, TN_SHARED_ARG(int32_t, to), uint32_t at)
{
    const bool is_upper = tn_lane() & 2u, is_odd = tn_lane() & 1u;
    int32_t half[4][2];
    tn_sums_few sums;
    TN_UNROLL for (uint32_t i = 0; i < 4; i++)
    {
        TN_UNROLL for (uint32_t r = 0; r < 2; r++)
        {
            const int32_t gives = is_upper ? dot.sums[i][r] : dot.sums[i + 4][r], keeps = is_upper ? dot.sums[i + 4][r] : dot.sums[i][r];
            half[i][r] = keeps + tn_shfl_xor(gives, 2);
        }
    }
    TN_UNROLL for (uint32_t i = 0; i < 2; i++)
    {
        TN_UNROLL for (uint32_t r = 0; r < 2; r++)
        {
            const int32_t gives = is_odd ? half[i][r] : half[i + 2][r], keeps = is_odd ? half[i + 2][r] : half[i][r];
            sums.d[2 * r + i] = keeps + tn_shfl_xor(gives, 1);
        }
    }
    tn_sums_few_put(sums, to, at);
}

#endif
