// Ternary matrices times one row of codes. Its weights are what a token costs, and no kernel before has to do with them: each block takes
// row tiles (of 16 rows; with GLU gate's and up's of the same rows) from the sequence of all matrices' tiles, asks for its first tiles
// before it waits for the kernel before, then makes the codes from x, by itself and for itself, or takes them from memory.
//
// A block's row tiles go by in rounds of p.round_blocks column blocks of all of them, usually a single one. Their tiles lie in shared
// memory, and each of the 16 warps has a part of its own of them, so that all have the same work; where a row tile ends, what a warp has of
// it is added to sums in shared memory. Where there are several rounds, one is on its way while another is multiplied.
#include "cuda/kernels/row_one.cuh"
#include "cuda/kernels/ternary_store.cuh"
#include "cuda/kernels/ternary_tile.cuh"

// ---- which tiles ----

// This block's row tiles are number block, block + grid, .. of all matrices' in turn. With GLU each is two parts, gate's and up's.
TN_FN uint32_t tn_one_row_tiles(const tn_cuda_ternary_params &p) { return p.n_each + (tn_block_x() < p.n_rest ? 1 : 0); }
// A row tile's matrix, and its number in that.
struct tn_one_place {
    uint32_t matrix, tile;
};
TN_FN uint32_t tn_one_tiles_in(const tn_cuda_matrix &matrix) { return (matrix.n_rows + TN_CUDA_TILE_ROWS - 1) / TN_CUDA_TILE_ROWS; }
template <uint32_t n_parts> TN_FN tn_one_place tn_one_place_of(const tn_cuda_ternary_params &p, uint32_t part)
{
    const uint32_t tile = tn_block_x() + part / n_parts * tn_grid_x();
    if (n_parts == 2) return {part % 2, tile};
    const uint32_t n_0 = tn_one_tiles_in(p.matrices[0]), n_1 = n_0 + tn_one_tiles_in(p.matrices[1]);
    if (tile < n_0) return {0, tile};
    if (tile < n_1) return {1, tile - n_0};
    return {2, tile - n_1};
}

// A round's column blocks. Where they lie in shared memory: behind the codes, part after part, in one of two places in turn.
struct tn_one_round {
    uint32_t first, n, at;
};
TN_FN tn_one_round tn_one_round_of(const tn_cuda_ternary_params &p, uint32_t round, uint32_t n_all_parts)
{
    const uint32_t first = round * p.round_blocks, rest = p.n_blocks - first;
    return {first, rest < p.round_blocks ? rest : p.round_blocks,
            p.n_blocks * TN_CUDA_TILE_COLS + round % 2 * n_all_parts * p.round_blocks * TN_TILE_BYTES};
}
// Asks for its tiles; by the threads that copy.
template <uint32_t n_parts>
TN_FN void tn_one_ask(const tn_cuda_ternary_params &p, uint32_t round, TN_SHARED_ARG(int8_t, codes), TN_SHARED_ARG(uint64_t, arrival))
{
    const uint32_t n_all_parts = tn_one_row_tiles(p) * n_parts;
    const tn_one_round of = tn_one_round_of(p, round, n_all_parts);
    const uint32_t n_bytes = of.n * TN_TILE_BYTES;
    tn_bulk_expect(arrival, round % 2, n_all_parts * n_bytes);
    TN_ROLLED for (uint32_t part = 0; part < n_all_parts; part++)
    {
        const tn_one_place place = tn_one_place_of<n_parts>(p, part);
        const uint8_t *from = p.matrices[place.matrix].w + ((size_t)place.tile * p.n_blocks + of.first) * TN_TILE_BYTES;
        tn_bulk_copy(codes, of.at + part * n_bytes, from, n_bytes, arrival, round % 2);
    }
}

// ---- products ----

// Weights are masked in place: bit pair s of a byte is the code times 4^s, and each pair of rows g and g + 8 has a sum of its own.
struct tn_one_sums {
    int32_t of[2][4];
};
TN_FN void tn_one_add(const tn_u4 &w, const tn_u4 (&x)[2], tn_one_sums &sums)
{
    const uint32_t words[4] = {w.x, w.y, w.z, w.w}, codes[8] = {x[0].x, x[0].y, x[0].z, x[0].w, x[1].x, x[1].y, x[1].z, x[1].w};
    TN_UNROLL for (uint32_t i = 0; i < 16; i++)
    {
        const uint32_t r = i % 4, s = i / 4;
        sums.of[r % 2][s] = tn_dp4a_us(words[r] & (TN_TILE_MASK << (2 * s)), codes[2 * s + r / 2], sums.of[r % 2][s]);
    }
}
// What the warp has of a row tile to that of all.
TN_FN void tn_one_give(const tn_one_sums &sums, uint32_t part, TN_SHARED_ARG(uint32_t, of_block))
{
    int32_t low = 0, high = 0;
    TN_UNROLL for (uint32_t s = 0; s < 4; s++)
    {
        low += sums.of[0][s] >> (2 * s);
        high += sums.of[1][s] >> (2 * s);
    }
    TN_UNROLL for (uint32_t width = 1; width < 4; width *= 2)
    {
        low += tn_shfl_xor(low, width);
        high += tn_shfl_xor(high, width);
    }
    const uint32_t g = tn_lane() / 4, t = tn_lane() % 4;
    if (t < 2) tn_shared_add(of_block, part * TN_CUDA_TILE_ROWS + t * 8 + g, (uint32_t)(t == 0 ? low : high));
}

// This warp's tiles of a round.
TN_FN void tn_one_multiply(const tn_cuda_ternary_params &p, const tn_one_round &of, uint32_t n_all_parts, TN_SHARED_ARG(int8_t, codes),
                           TN_SHARED_ARG(uint32_t, of_block))
{
    const uint32_t n_tiles = n_all_parts * of.n, begin = tn_warp() * n_tiles / TN_ONE_WARPS;
    uint32_t left = (tn_warp() + 1) * n_tiles / TN_ONE_WARPS - begin;
    uint32_t part = of.n == p.round_blocks && of.n > 1 ? (uint32_t)(((uint64_t)begin * p.by_blocks) >> 32) : begin / of.n;
    uint32_t k = begin - part * of.n, at = of.at + begin * TN_TILE_BYTES + tn_lane() * 16;
    TN_ROLLED while (left > 0)
    {
        const uint32_t n = of.n - k < left ? of.n - k : left;
        uint32_t x_at = (of.first + k) * TN_CUDA_TILE_COLS + tn_lane() % 4 * 32;
        tn_one_sums sums = {};
        TN_ROLLED for (uint32_t i = 0; i < n; i++, at += TN_TILE_BYTES, x_at += TN_CUDA_TILE_COLS)
        {
            const tn_u4 x[2] = {tn_shared_load16(codes, x_at), tn_shared_load16(codes, x_at + 16)};
            tn_one_add(tn_shared_load16(codes, at), x, sums);
        }
        tn_one_give(sums, part, of_block);
        left -= n;
        part++;
        k = 0;
    }
}
// All rounds, of which two are under way. Called behind tn_sync, which follows too.
template <uint32_t n_parts>
TN_FN void tn_one_multiply_all(const tn_cuda_ternary_params &p, TN_SHARED_ARG(int8_t, codes), TN_SHARED_ARG(uint64_t, arrival),
                               TN_SHARED_ARG(uint32_t, of_block))
{
    const uint32_t n_all_parts = tn_one_row_tiles(p) * n_parts;
    tn_one_multiply(p, tn_one_round_of(p, 0, n_all_parts), n_all_parts, codes, of_block);
    TN_ROLLED for (uint32_t round = 1; round < p.n_rounds; round++)
    {
        tn_sync(); // the place of the round before is free
        if (tn_bulk_is_mine() && round + 1 < p.n_rounds) tn_one_ask<n_parts>(p, round + 1, codes, arrival);
        tn_bulk_wait(arrival, round % 2, round / 2 % 2);
        tn_sync();
        tn_one_multiply(p, tn_one_round_of(p, round, n_all_parts), n_all_parts, codes, of_block);
    }
}

// ---- outputs ----

// This thread's: a row of one of the block's row tiles.
template <uint32_t n_parts> struct tn_one_output {
    uint32_t matrix, n;
    float scales[n_parts], residual;
    bool is_there;
};
template <uint32_t n_parts> TN_FN tn_one_output<n_parts> tn_one_output_of(const tn_cuda_ternary_params &p)
{
    tn_one_output<n_parts> output = {};
    const uint32_t row_tile = tn_thread() / TN_CUDA_TILE_ROWS;
    if (row_tile >= tn_one_row_tiles(p)) return output;
    const tn_one_place place = tn_one_place_of<n_parts>(p, row_tile * n_parts);
    output.matrix = place.matrix;
    output.n = place.tile * TN_CUDA_TILE_ROWS + tn_thread() % TN_CUDA_TILE_ROWS;
    output.is_there = output.n < p.matrices[place.matrix].n_rows;
    if (!output.is_there) return output;
    TN_UNROLL for (uint32_t part = 0; part < n_parts; part++) output.scales[part] =
        tn_ternary_weight_scale(p.matrices[place.matrix + part], output.n);
    return output;
}
template <uint32_t n_parts>
TN_FN void tn_one_store(const tn_cuda_ternary_params &p, const tn_one_output<n_parts> &output, float x_scale, int32_t x_sum,
                        TN_SHARED_ARG(uint32_t, of_block))
{
    if (!output.is_there) return;
    const uint32_t at = tn_thread() / TN_CUDA_TILE_ROWS * n_parts * TN_CUDA_TILE_ROWS + tn_thread() % TN_CUDA_TILE_ROWS;
    int32_t accs[n_parts];
    TN_UNROLL for (uint32_t part = 0; part < n_parts; part++) accs[part] = (int32_t)of_block[at + part * TN_CUDA_TILE_ROWS];
    const tn_cuda_matrix &matrix = p.matrices[output.matrix];
    const tn_ternary_row to = tn_ternary_row_of(p, matrix, 0, x_scale, x_sum);
    if constexpr (n_parts == 2)
        tn_ternary_store_glu(p, to, output.n, output.scales, accs);
    else
        tn_ternary_store(p, matrix, to, output.n, output.scales[0], accs[0], output.residual);
}

// ---- the kernels ----

// Codes that a kernel before has made.
TN_FN void tn_one_take_codes(const tn_cuda_ternary_params &p, TN_SHARED_ARG(int8_t, codes), TN_SHARED_ARG(uint32_t, scratch))
{
    const uint32_t n_codes = p.n_blocks * TN_CUDA_TILE_COLS;
    TN_ROLLED for (uint32_t i = tn_thread() * 16; i < n_codes; i += TN_ONE_THREADS * 16)
        tn_shared_store16(codes, i, tn_load16_fresh(p.codes.at + i));
    if (tn_thread() != 0) return;
    scratch[TN_ONE_SCALE] = tn_bits(p.codes.scales[0]);
    scratch[TN_ONE_CODES] = (uint32_t)p.codes.sums[0];
    scratch[TN_ONE_SMALL] = 0;
}

// Sums of the block's row tiles, at 0.
template <uint32_t n_parts> TN_FN void tn_one_clear(const tn_cuda_ternary_params &p, TN_SHARED_ARG(uint32_t, of_block))
{
    if (tn_thread() < tn_one_row_tiles(p) * n_parts * TN_CUDA_TILE_ROWS) of_block[tn_thread()] = 0;
}

// Rows so small that their largest code is not 127, which is rare: everything anew with other codes.
template <uint32_t n_parts>
TN_FN void tn_one_again(const tn_cuda_ternary_params &p, const float *x, TN_SHARED_ARG(int8_t, codes), TN_SHARED_ARG(uint32_t, scratch),
                        TN_SHARED_ARG(uint32_t, of_block))
{
    const uint32_t n_all_parts = tn_one_row_tiles(p) * n_parts;
    if (tn_thread() == 0) scratch[TN_ONE_CODES] = 0;
    tn_one_clear<n_parts>(p, of_block);
    tn_sync();
    tn_one_quantise_read(p.before, x, p.n_blocks * TN_CUDA_TILE_COLS, 0, tn_float(scratch[TN_ONE_SMALL]), 0, scratch, codes);
    tn_sync();
    TN_ROLLED for (uint32_t tile = tn_warp(); tile < n_all_parts * p.n_blocks; tile += TN_ONE_WARPS)
    {
        const uint32_t part = tile / p.n_blocks, k = tile % p.n_blocks, x_at = k * TN_CUDA_TILE_COLS + tn_lane() % 4 * 32;
        const tn_one_place place = tn_one_place_of<n_parts>(p, part);
        const tn_u4 x_codes[2] = {tn_shared_load16(codes, x_at), tn_shared_load16(codes, x_at + 16)};
        tn_one_sums sums = {};
        tn_one_add(tn_load16(p.matrices[place.matrix].w + ((size_t)place.tile * p.n_blocks + k) * TN_TILE_BYTES + tn_lane() * 16), x_codes,
                   sums);
        tn_one_give(sums, part, of_block);
    }
    tn_sync();
}

// Shared memory: the codes, then the tiles.
template <uint32_t n_parts>
TN_FN void tn_ternary_one(const tn_cuda_ternary_params &p, TN_SHARED_ARG(int8_t, codes), TN_SHARED_ARG(uint64_t, arrival),
                          TN_SHARED_ARG(uint32_t, scratch), TN_SHARED_ARG(uint32_t, of_block))
{
    const bool makes_codes = p.before.op != TN_CUDA_ROW_NONE, has_tiles = tn_one_row_tiles(p) > 0;
    if (tn_bulk_is_mine() && has_tiles) {
        tn_bulk_init(arrival, 2);
        TN_ROLLED for (uint32_t round = 0; round < 2 && round < p.n_rounds; round++) tn_one_ask<n_parts>(p, round, codes, arrival);
    }
    tn_one_output<n_parts> output = tn_one_output_of<n_parts>(p);
    tn_one_part held[TN_ONE_HELD];
    if (makes_codes) tn_one_row_begin(p.before, held, scratch);
    tn_one_clear<n_parts>(p, of_block);

    tn_wait_previous();
    if (!has_tiles) return;
    // A step has a token, but not always a wanted row of logits.
    const bool is_wanted = !p.poison.is_logits || tn_n_rows(p.step, 1) > 0;
    const float *x = makes_codes ? tn_x_row(p.step, p.x, 0) : nullptr;
    if (makes_codes) {
        const float max = tn_one_row_measure(p.before, x, held, scratch);
        tn_one_quantise(p.before, x, p.n_blocks * TN_CUDA_TILE_COLS, held, 127.0f * tn_recip(max), scratch, codes);
        if (tn_warp() == TN_ONE_WARPS - 1) tn_one_find_scale(p.before, max, scratch);
    } else {
        tn_sync(); // `arrival` is made
        tn_one_take_codes(p, codes, scratch);
    }
    if (p.behind == TN_CUDA_BEHIND_ADD && output.is_there && is_wanted) output.residual = tn_x_row(p.step, p.add, 0)[output.n];
    tn_bulk_wait(arrival, 0, 0);
    tn_sync();
    tn_one_multiply_all<n_parts>(p, codes, arrival, of_block);
    tn_sync();
    if (scratch[TN_ONE_SMALL] != 0) tn_one_again<n_parts>(p, x, codes, scratch, of_block);
    if (is_wanted) tn_one_store(p, output, tn_float(scratch[TN_ONE_SCALE]), (int32_t)scratch[TN_ONE_CODES], of_block);
}

static_assert((TN_ONE_SCRATCH + TN_CUDA_ONE_ROW_TILES * 2 * TN_CUDA_TILE_ROWS) * sizeof(uint32_t) + 32 <= TN_CUDA_ONE_OWN_SHARED_BYTES,
              "of a block");
static_assert(TN_CUDA_ONE_ROW_TILES * TN_CUDA_TILE_ROWS <= TN_ONE_THREADS, "a thread has one output");

TN_KERNEL_EARLY(ternary_one, tn_cuda_ternary_params, TN_ONE_THREADS, 2)
{
    TN_SHARED_DYNAMIC(int8_t, codes);
    TN_SHARED(uint64_t, arrival, 2);
    TN_SHARED(uint32_t, scratch, TN_ONE_SCRATCH);
    TN_SHARED(uint32_t, of_block, TN_CUDA_ONE_ROW_TILES * TN_CUDA_TILE_ROWS);
    tn_ternary_one<1>(p, codes, arrival, scratch, of_block);
}

TN_KERNEL_EARLY(ternary_one_glu, tn_cuda_ternary_params, TN_ONE_THREADS, 2)
{
    TN_SHARED_DYNAMIC(int8_t, codes);
    TN_SHARED(uint64_t, arrival, 2);
    TN_SHARED(uint32_t, scratch, TN_ONE_SCRATCH);
    TN_SHARED(uint32_t, of_block, TN_CUDA_ONE_ROW_TILES * 2 * TN_CUDA_TILE_ROWS);
    tn_ternary_one<2>(p, codes, arrival, scratch, of_block);
}
