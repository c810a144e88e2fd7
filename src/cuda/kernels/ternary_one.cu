// Ternary matrices times one row of codes. Its weights are what a token costs, and no kernel before has to do with them: each block takes
// row tiles (of 16 rows; with GLU gate's and up's of the same rows) from the sequence of all matrices' tiles, asks for its first tiles
// before it waits for the kernel before, then makes the codes from x, by itself and for itself, or takes them from memory.
//
// The tiles of a block, of all its row tiles, are one list, of which each of the 16 warps has a part of its own, so that all have the same
// work; where a row tile ends, what a warp has of it is added to sums in shared memory. Tiles travel to a ring of each lane's own there:
// two batches of p.n_ahead tiles, one that is multiplied and one that is on its way.
#include "cuda/kernels/row_one.cuh"
#include "cuda/kernels/ternary_store.cuh"

enum { TN_TILE_BYTES = 512, TN_RING_STRIDE = TN_ONE_WARPS * TN_TILE_BYTES };

// ---- which tiles ----

// A warp's tiles in their order, as far as they are not done. `part`: the number of a row tile among the block's, which are row tiles
// block, block + grid, ..; with GLU twice that, plus 1 for up.
struct tn_one_tiles {
    uint32_t part, k, left; // next is column block k
};
// This block's row tiles.
TN_FN uint32_t tn_one_row_tiles(const tn_cuda_ternary_params &p) { return p.n_each + (tn_block_x() < p.n_rest ? 1 : 0); }
template <uint32_t n_parts> TN_FN tn_one_tiles tn_one_tiles_of(const tn_cuda_ternary_params &p)
{
    const uint32_t n = tn_one_row_tiles(p) * n_parts * p.n_blocks;
    const uint32_t begin = tn_warp() * n / TN_ONE_WARPS, end = (tn_warp() + 1) * n / TN_ONE_WARPS;
    const uint32_t part = p.n_blocks == 1 ? begin : (uint32_t)(((uint64_t)begin * p.by_blocks) >> 32);
    return {part, begin - part * p.n_blocks, end - begin};
}
// The next tiles that lie side by side, and for which a batch has room.
TN_FN uint32_t tn_one_run(const tn_cuda_ternary_params &p, const tn_one_tiles &tiles, uint32_t room)
{
    const uint32_t n = p.n_blocks - tiles.k < tiles.left ? p.n_blocks - tiles.k : tiles.left;
    return n < room ? n : room;
}
TN_FN void tn_one_pass(const tn_cuda_ternary_params &p, tn_one_tiles &tiles, uint32_t n)
{
    tiles.left -= n;
    tiles.k += n;
    if (tiles.k < p.n_blocks) return;
    tiles.k = 0;
    tiles.part++;
}

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

// ---- the ring ----

// Where a batch lies for this lane: behind the codes, the warps' tiles side by side.
TN_FN uint32_t tn_one_ring_at(const tn_cuda_ternary_params &p, uint32_t side)
{
    return p.n_blocks * TN_CUDA_TILE_COLS + side * p.n_ahead * TN_RING_STRIDE + tn_thread() * 16;
}
// Asks for the next batch into half `side` of the ring.
template <uint32_t n_parts>
TN_FN void tn_one_ask(const tn_cuda_ternary_params &p, tn_one_tiles &tiles, uint32_t side, TN_SHARED_ARG(int8_t, ring))
{
    uint32_t room = p.n_ahead, at = tn_one_ring_at(p, side);
    TN_ROLLED while (room > 0 && tiles.left > 0)
    {
        const tn_one_place place = tn_one_place_of<n_parts>(p, tiles.part);
        const uint32_t n = tn_one_run(p, tiles, room);
        const uint8_t *from = p.matrices[place.matrix].w + ((size_t)place.tile * p.n_blocks + tiles.k) * TN_TILE_BYTES + tn_lane() * 16;
        TN_ROLLED for (uint32_t i = 0; i < n; i++, at += TN_RING_STRIDE, from += TN_TILE_BYTES) tn_async16(ring, at, from);
        tn_one_pass(p, tiles, n);
        room -= n;
    }
    tn_async_commit();
}

// ---- products ----

// Weights are masked in place: bit pair i of a byte is the code times 4^i, and each pair has a sum of its own.
struct tn_one_sums {
    int32_t of[4];
};
TN_FN void tn_one_add(const tn_u4 &w, const tn_u4 (&x)[2], tn_one_sums &sums)
{
    const uint32_t words[4] = {w.x, w.y, w.z, w.w}, codes[8] = {x[0].x, x[0].y, x[0].z, x[0].w, x[1].x, x[1].y, x[1].z, x[1].w};
    TN_UNROLL for (uint32_t s = 0; s < 4; s++)
    {
        sums.of[0] = tn_dp4a_us(words[s] & 0x03030303u, codes[2 * s], sums.of[0]);
        sums.of[1] = tn_dp4a_us(words[s] & 0x0c0c0c0cu, codes[2 * s], sums.of[1]);
        sums.of[2] = tn_dp4a_us(words[s] & 0x30303030u, codes[2 * s + 1], sums.of[2]);
        sums.of[3] = tn_dp4a_us(words[s] & 0xc0c0c0c0u, codes[2 * s + 1], sums.of[3]);
    }
}
// What the warp has of a row tile to that of all.
TN_FN void tn_one_give(const tn_one_sums &sums, uint32_t part, TN_SHARED_ARG(uint32_t, of_block))
{
    int32_t low = sums.of[0] + (sums.of[2] >> 4), high = (sums.of[1] >> 2) + (sums.of[3] >> 6);
    TN_UNROLL for (uint32_t width = 1; width < 4; width *= 2)
    {
        low += tn_shfl_xor(low, width);
        high += tn_shfl_xor(high, width);
    }
    const uint32_t g = tn_lane() / 4, t = tn_lane() % 4;
    if (t < 2) tn_shared_add(of_block, part * TN_CUDA_TILE_ROWS + t * 8 + g, (uint32_t)(t == 0 ? low : high));
}

// This warp's tiles, of which two batches are under way.
template <uint32_t n_parts>
TN_FN void tn_one_multiply(const tn_cuda_ternary_params &p, tn_one_tiles asked, TN_SHARED_ARG(int8_t, codes),
                           TN_SHARED_ARG(uint32_t, of_block))
{
    tn_one_tiles tiles = tn_one_tiles_of<n_parts>(p);
    tn_one_sums sums = {{0, 0, 0, 0}};
    TN_ROLLED for (uint32_t side = 0; tiles.left > 0; side ^= 1)
    {
        uint32_t room = p.n_ahead, at = tn_one_ring_at(p, side);
        tn_async_wait<1>();
        TN_ROLLED while (room > 0 && tiles.left > 0)
        {
            const uint32_t n = tn_one_run(p, tiles, room), part = tiles.part;
            uint32_t x_at = tiles.k * TN_CUDA_TILE_COLS + tn_lane() % 4 * 32;
            TN_ROLLED for (uint32_t i = 0; i < n; i++, at += TN_RING_STRIDE, x_at += TN_CUDA_TILE_COLS)
            {
                const tn_u4 x[2] = {tn_shared_load16(codes, x_at), tn_shared_load16(codes, x_at + 16)};
                tn_one_add(tn_shared_load16(codes, at), x, sums);
            }
            tn_one_pass(p, tiles, n);
            room -= n;
            if (tiles.part == part && tiles.left > 0) continue;
            tn_one_give(sums, part, of_block);
            sums = {{0, 0, 0, 0}};
        }
        tn_one_ask<n_parts>(p, asked, side, codes);
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

// Shared memory: the codes, then the ring.
template <uint32_t n_parts>
TN_FN void tn_ternary_one(const tn_cuda_ternary_params &p, TN_SHARED_ARG(int8_t, codes), TN_SHARED_ARG(uint32_t, scratch),
                          TN_SHARED_ARG(uint32_t, of_block))
{
    const bool makes_codes = p.before.op != TN_CUDA_ROW_NONE;
    tn_one_tiles asked = tn_one_tiles_of<n_parts>(p);
    TN_ROLLED for (uint32_t side = 0; side < 2; side++) tn_one_ask<n_parts>(p, asked, side, codes);
    tn_one_output<n_parts> output = tn_one_output_of<n_parts>(p);
    tn_one_part held[TN_ONE_HELD];
    if (makes_codes) tn_one_row_begin(p.before, held, scratch);
    tn_one_clear<n_parts>(p, of_block);

    tn_wait_previous();
    // A step has a token, but not always a wanted row of logits.
    if (tn_one_row_tiles(p) == 0 || (p.poison.is_logits && tn_n_rows(p.step, 1) == 0)) {
        tn_async_wait<0>();
        return;
    }
    const float *x = makes_codes ? tn_x_row(p.step, p.x, 0) : nullptr;
    const float max = makes_codes ? tn_one_row_measure(p.before, x, held, scratch) : 1.0f;
    if (p.behind == TN_CUDA_BEHIND_ADD && output.is_there) output.residual = tn_x_row(p.step, p.add, 0)[output.n];
    const uint32_t n_codes = p.n_blocks * TN_CUDA_TILE_COLS;
    if (makes_codes)
        tn_one_quantise(p.before, x, n_codes, held, 127.0f * tn_recip(max), scratch, codes);
    else
        tn_one_take_codes(p, codes, scratch);
    TN_ROLLED for (bool is_again = false;; is_again = true)
    {
        tn_sync();
        if (makes_codes && !is_again && tn_warp() == TN_ONE_WARPS - 1) tn_one_find_scale(p.before, max, scratch);
        tn_one_multiply<n_parts>(p, asked, codes, of_block);
        tn_sync();
        if (is_again || scratch[TN_ONE_SMALL] == 0) break;
        // A small row, which is rare: everything anew with other codes.
        if (tn_thread() == 0) scratch[TN_ONE_CODES] = 0;
        tn_one_clear<n_parts>(p, of_block);
        asked = tn_one_tiles_of<n_parts>(p);
        TN_ROLLED for (uint32_t side = 0; side < 2; side++) tn_one_ask<n_parts>(p, asked, side, codes);
        tn_sync();
        tn_one_quantise_read(p.before, x, n_codes, 0, tn_float(scratch[TN_ONE_SMALL]), 0, scratch, codes);
    }
    tn_one_store(p, output, tn_float(scratch[TN_ONE_SCALE]), (int32_t)scratch[TN_ONE_CODES], of_block);
}

static_assert((TN_ONE_SCRATCH + TN_CUDA_ONE_ROW_TILES * 2 * TN_CUDA_TILE_ROWS) * sizeof(uint32_t) <= TN_CUDA_ONE_OWN_SHARED_BYTES,
              "of a block");
static_assert(TN_CUDA_ONE_ROW_TILES * TN_CUDA_TILE_ROWS <= TN_ONE_THREADS, "a thread has one output");

TN_KERNEL_EARLY(ternary_one, tn_cuda_ternary_params, TN_ONE_THREADS, 2)
{
    TN_SHARED_DYNAMIC(int8_t, codes);
    TN_SHARED(uint32_t, scratch, TN_ONE_SCRATCH);
    TN_SHARED(uint32_t, of_block, TN_CUDA_ONE_ROW_TILES * TN_CUDA_TILE_ROWS);
    tn_ternary_one<1>(p, codes, scratch, of_block);
}

TN_KERNEL_EARLY(ternary_one_glu, tn_cuda_ternary_params, TN_ONE_THREADS, 2)
{
    TN_SHARED_DYNAMIC(int8_t, codes);
    TN_SHARED(uint32_t, scratch, TN_ONE_SCRATCH);
    TN_SHARED(uint32_t, of_block, TN_CUDA_ONE_ROW_TILES * 2 * TN_CUDA_TILE_ROWS);
    tn_ternary_one<2>(p, codes, scratch, of_block);
}
