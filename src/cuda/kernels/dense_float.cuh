// Products with dense weights of floats: DOT_ROW, whose 32 lanes are a warp's. A warp multiplies ROWS rows of W by the tokens of a tile;
// the block shares these in shared memory, a piece of the columns at a time, in the order in which units have them.
#ifndef TN_CUDA_DENSE_FLOAT_CUH
#define TN_CUDA_DENSE_FLOAT_CUH

#include "cuda/kernels/dense_tile.cuh"
#include "cuda/kernels/dense_units.cuh"

enum {
    TN_DENSE_WARP_ROWS = TN_CUDA_DENSE_FLOAT_ROWS / 8,
    TN_DENSE_FLOAT_ROOM = 8192, // floats of x in shared memory
};

// Columns [first, first + n) of T rows of x, n a multiple of 128, zeros behind the row: element e of row t is number (e / 32) % 4 of the
// four at ((e / 128 * T + t) * 32 + e % 32) * 4, so that lanes read 16 bytes each, side by side.
template <uint32_t T> TN_FN void tn_dense_take_floats(const tn_dense_tile &tile, uint32_t first, uint32_t n, TN_SHARED_ARG(float, x))
{
    for (uint32_t b = tn_warp(); b < n / 128 * T; b += tn_n_threads() / 32) {
        const uint32_t t = b % T, col = first + b / T * 128 + tn_lane();
        const float *row = tile.p.x.at + (size_t)tn_tile_row(tile, t) * tile.p.x.stride;
        uint32_t v[4];
        TN_UNROLL for (uint32_t i = 0; i < 4; i++) v[i] = col + 32 * i < tile.p.w.n_cols ? tn_bits(row[col + 32 * i]) : 0u;
        tn_shared_store16(x, (b * 32 + tn_lane()) * 4, (tn_u4{v[0], v[1], v[2], v[3]}));
    }
}

// A warp's rows of W, those beyond the last being the last: where this lane's next units are.
struct tn_dense_rows {
    const uint8_t *units[TN_DENSE_WARP_ROWS];
};
TN_FN void tn_dense_next(const tn_dense_rows &rows, uint32_t step, uint32_t n_steps, tn_u4 (&units)[TN_DENSE_WARP_ROWS])
{
    if (step >= n_steps) return;
    TN_UNROLL for (uint32_t r = 0; r < TN_DENSE_WARP_ROWS; r++) units[r] =
        tn_load16_once(rows.units[r] + (size_t)step * (32 * TN_UNIT_BYTES));
}

// A unit of each row times the same columns of T rows of x. is_fast: a product and its sum are rounded once.
template <class Unit, uint32_t T, bool is_fast>
TN_FN void tn_dense_add_floats(const tn_u4 (&units)[TN_DENSE_WARP_ROWS], TN_SHARED_ARG(float, x), uint32_t at,
                               float (&sums)[T * TN_DENSE_WARP_ROWS])
{
    float w[TN_DENSE_WARP_ROWS][Unit::N];
    TN_UNROLL for (uint32_t r = 0; r < TN_DENSE_WARP_ROWS; r++) tn_unit_floats(Unit(), units[r], w[r]);
    TN_UNROLL for (uint32_t quad = 0; quad < Unit::N / 4; quad++)
    {
        TN_UNROLL for (uint32_t t = 0; t < T; t++)
        {
            const tn_u4 x4 = tn_shared_load16(x, ((at + quad) * T + t) * 128 + 4 * tn_lane());
            const uint32_t bits[4] = {x4.x, x4.y, x4.z, x4.w};
            TN_UNROLL for (uint32_t e = 0; e < 4; e++)
            {
                TN_UNROLL for (uint32_t r = 0; r < TN_DENSE_WARP_ROWS; r++)
                {
                    float &sum = sums[t * TN_DENSE_WARP_ROWS + r];
                    if constexpr (is_fast)
                        sum = tn_fma(tn_float(bits[e]), w[r][4 * quad + e], sum);
                    else
                        sum = sum + (tn_float(bits[e]) * w[r][4 * quad + e]);
                }
            }
        }
    }
}

// The tree over the lanes of n sums at once, widths from `width` down: while there are several, each half of the lanes goes on with half of
// them. In the end a lane has the sum whose number is its lane / (32 / n).
template <uint32_t width, uint32_t n> TN_FN float tn_lane_trees(const float (&sums)[n])
{
    if constexpr (width == 0) {
        return sums[0];
    } else if constexpr (n == 1) {
        const float sum[1] = {sums[0] + tn_shfl_xor(sums[0], width)};
        return tn_lane_trees<width / 2>(sum);
    } else {
        const bool is_upper = (tn_lane() & width) != 0;
        float half[n / 2];
        TN_UNROLL for (uint32_t i = 0; i < n / 2; i++)
        {
            const float given = is_upper ? sums[i] : sums[i + n / 2], kept = is_upper ? sums[i + n / 2] : sums[i];
            half[i] = kept + tn_shfl_xor(given, width);
        }
        return tn_lane_trees<width / 2>(half);
    }
}

// One tile of T tokens times the block's rows of W.
template <class Unit, uint32_t T, bool is_fast = false> TN_FN void tn_dense_float_tile(const tn_dense_tile &tile, TN_SHARED_ARG(float, x))
{
    constexpr uint32_t n_sums = T * TN_DENSE_WARP_ROWS, step_cols = 32 * Unit::N, piece_steps = TN_DENSE_FLOAT_ROOM / T / step_cols;
    const tn_cuda_dense_params &p = tile.p;
    const uint32_t first_row = tn_block_x() * TN_CUDA_DENSE_FLOAT_ROWS + tn_warp() * TN_DENSE_WARP_ROWS, n_steps = p.w.n_units / 32;
    tn_dense_rows rows;
    TN_UNROLL for (uint32_t r = 0; r < TN_DENSE_WARP_ROWS; r++)
    {
        const uint32_t row = first_row + r < p.w.n_rows ? first_row + r : p.w.n_rows - 1;
        rows.units[r] = tn_opaque(tn_float_row(p.w, row) + tn_lane() * TN_UNIT_BYTES);
    }
    // Few tokens are little work for a load: more of them are under way.
    constexpr uint32_t n_ahead = T <= 2 ? 2 : 1;
    tn_u4 units[n_ahead][TN_DENSE_WARP_ROWS] = {};
    TN_UNROLL for (uint32_t i = 0; i < n_ahead; i++) tn_dense_next(rows, i, n_steps, units[i]);
    float sums[n_sums];
    TN_UNROLL for (uint32_t i = 0; i < n_sums; i++) sums[i] = 0.0f;
    for (uint32_t first = 0; first < n_steps; first += piece_steps) {
        const uint32_t n = n_steps - first < piece_steps ? n_steps - first : piece_steps;
        tn_sync(); // what was there has been read
        tn_dense_take_floats<T>(tile, first * step_cols, n * step_cols, x);
        tn_sync();
        for (uint32_t s = 0; s < n; s++) {
            tn_u4 now[TN_DENSE_WARP_ROWS];
            TN_UNROLL for (uint32_t r = 0; r < TN_DENSE_WARP_ROWS; r++)
            {
                now[r] = units[0][r];
                units[0][r] = units[n_ahead - 1][r];
            }
            tn_dense_next(rows, first + s + n_ahead, n_steps, units[n_ahead - 1]);
            tn_dense_add_floats<Unit, T, is_fast>(now, x, s * (Unit::N / 4), sums);
        }
    }
    const float y = tn_lane_trees<16>(sums);
    const uint32_t number = tn_lane() / (32 / n_sums), t = number / TN_DENSE_WARP_ROWS, row = first_row + number % TN_DENSE_WARP_ROWS;
    if (tn_lane() % (32 / n_sums) == 0) tn_dense_store(tile, t, row, y);
}

#endif
