// Products of more than a few tokens with F16 and BF16 weights in fast numerics, on tensor cores. Grid x: blocks of TN_CUDA_DENSE_FAST_ROWS
// rows of W; y: tiles of TN_CUDA_DENSE_FAST_TOKENS tokens.
//
// Both types are values of TF32 as they are. A token's are two each, the upper 11 bits of a float and what is left, so that what is lost is
// below 2^-21 of a product, and any float that is no poison has its place: halves would not do, whose range ends at 65504. A warp has 16
// rows of W and all tokens of the tile. Which columns an index of mma stands for is of no matter: lane t of 4 has unit 4j + t, whose
// elements are 32 columns apart.
#include "cuda/kernels/dense_float.cuh"

namespace
{

enum { AHEAD = 4, STEP_UNITS = 8 }; // units of a row that are under way, a lane; units of a lane and 256 columns

struct fast_rows {
    const uint8_t *units; // of row g; that of row g + 8 is `second` bytes on
    uint32_t second, n_units;
};
TN_FN fast_rows fast_rows_of(const tn_cuda_dense &w, uint32_t first_row)
{
    const uint32_t last = w.n_rows - 1, row = first_row + tn_lane() / 4, g = row < last ? row : last, h = row + 8 < last ? row + 8 : last;
    return {tn_float_row(w, g) + tn_lane() % 4 * TN_UNIT_BYTES, (h - g) * w.n_units * TN_UNIT_BYTES, w.n_units / 4};
}
TN_FN void fast_ask(const fast_rows &rows, uint32_t unit, tn_u4 (&units)[2])
{
    if (unit >= rows.n_units) return;
    const uint8_t *at = rows.units + (size_t)unit * (4 * TN_UNIT_BYTES);
    units[0] = tn_load16_once(at);
    units[1] = tn_load16_once(at + rows.second);
}

// Units of both rows times the same columns of 8 tokens.
TN_FN void fast_multiply(const float (&w)[2][8], TN_SHARED_ARG(float, x), uint32_t at, uint32_t quad_stride, float (&sums)[4])
{
    TN_UNROLL for (uint32_t quad = 0; quad < 2; quad++)
    {
        const tn_u4 v = tn_shared_load16(x, at + quad * quad_stride);
        const uint32_t bits[4] = {v.x, v.y, v.z, v.w};
        uint32_t upper[4], rest[4];
        TN_UNROLL for (uint32_t i = 0; i < 4; i++)
        {
            upper[i] = bits[i] & TN_TF32_BITS;
            rest[i] = tn_bits(tn_float(bits[i]) - tn_float(upper[i])) & TN_TF32_BITS;
        }
        TN_UNROLL for (uint32_t i = 0; i < 4; i += 2)
        {
            const uint32_t e = 4 * quad + i;
            const uint32_t a[4] = {tn_bits(w[0][e]), tn_bits(w[1][e]), tn_bits(w[0][e + 1]), tn_bits(w[1][e + 1])};
            const uint32_t b[2] = {rest[i], rest[i + 1]}, b_upper[2] = {upper[i], upper[i + 1]};
            tn_mma_tf32(sums, a, b);
            tn_mma_tf32(sums, a, b_upper);
        }
    }
}

template <class Unit, uint32_t n_octets> TN_FN void fast_tile(const tn_dense_tile &tile, TN_SHARED_ARG(float, x))
{
    constexpr uint32_t T = 8 * n_octets, piece_units = TN_DENSE_FLOAT_ROOM / T / 256 * STEP_UNITS;
    const uint32_t first_row = tn_block_x() * TN_CUDA_DENSE_FAST_ROWS + tn_warp() * 16;
    const fast_rows rows = fast_rows_of(tile.p.w, first_row);
    tn_u4 ahead[AHEAD][2] = {};
    TN_UNROLL for (uint32_t i = 0; i < AHEAD; i++) fast_ask(rows, i, ahead[i]);
    float sums[n_octets][4] = {};
    for (uint32_t first = 0; first < rows.n_units; first += piece_units) {
        const uint32_t n = rows.n_units - first < piece_units ? rows.n_units - first : piece_units;
        tn_sync(); // what was there has been read
        tn_dense_take_floats<T>(tile, first * 32, n * 32, x);
        tn_sync();
        TN_ROLLED for (uint32_t k = 0; k < n; k += AHEAD)
        {
            TN_UNROLL for (uint32_t i = 0; i < AHEAD; i++)
            {
                float w[2][8];
                tn_unit_floats(Unit(), ahead[i][0], w[0]);
                tn_unit_floats(Unit(), ahead[i][1], w[1]);
                fast_ask(rows, first + k + i + AHEAD, ahead[i]);
                const uint32_t unit = (k + i) % STEP_UNITS * 4 + tn_lane() % 4, step = (k + i) / STEP_UNITS;
                TN_UNROLL for (uint32_t o = 0; o < n_octets; o++)
                    fast_multiply(w, x, ((2 * step * T + 8 * o + tn_lane() / 4) * 32 + unit) * 4, T * 128, sums[o]);
            }
        }
    }
    TN_UNROLL for (uint32_t i = 0; i < 4 * n_octets; i++)
        tn_dense_store(tile, i / 4 * 8 + tn_lane() % 4 * 2 + i % 2, first_row + tn_lane() / 4 + i % 4 / 2 * 8, sums[i / 4][i % 4]);
}

template <class Unit> TN_FN void fast_tiles(const tn_cuda_dense_params &p, TN_SHARED_ARG(float, x))
{
    const uint32_t n_rows = tn_n_rows(p.step, p.poison.is_logits), first = tn_block_y() * TN_CUDA_DENSE_FAST_TOKENS;
    if (first >= n_rows || tn_block_x() * TN_CUDA_DENSE_FAST_ROWS >= p.w.n_rows) return;
    const tn_dense_tile tile = {p, first, n_rows};
    if (n_rows - first <= 16)
        fast_tile<Unit, 2>(tile, x);
    else
        fast_tile<Unit, 4>(tile, x);
}

} // namespace

TN_KERNEL(dense_f16_fast_mma, tn_cuda_dense_params, 256)
{
    TN_SHARED(float, x, TN_DENSE_FLOAT_ROOM);
    fast_tiles<tn_unit_f16>(p, x);
}
TN_KERNEL(dense_bf16_fast_mma, tn_cuda_dense_params, 256)
{
    TN_SHARED(float, x, TN_DENSE_FLOAT_ROOM);
    fast_tiles<tn_unit_bf16>(p, x);
}
