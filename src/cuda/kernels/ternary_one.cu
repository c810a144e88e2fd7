// Ternary matrices times one row of codes. Its weights are what a token costs, and no kernel before has to do with them: each block takes
// row tiles (of 16 rows; with GLU gate's and up's of the same rows) from the sequence of all matrices' tiles, asks for its first tiles
// before it waits for the kernel before, then makes the codes from x, by itself and for itself, or takes them from memory.
//
// The tiles of a block, of all its row tiles, are one list, of which each of the 16 warps has a part of its own, so that all have the same
// work; where a row tile ends, what a warp has of it is added to sums in shared memory. Tiles travel to a ring of each lane's own there:
// two batches of p.n_ahead tiles, one that is multiplied and one that is on its way.
#include "cuda/kernels/row_one.cuh"
#include "cuda/kernels/ternary_store.cuh"

enum { TN_TILE_BYTES = 512 };

// What a block has to do: row tiles block, block + grid, ..
template <uint32_t n_parts> struct tn_one_work {
    uint32_t n_tiles_0, n_tiles_1; // row tiles of the first matrix, and of the first two
    uint32_t n_rows_tiles;         // of this block
    uint32_t begin, end;           // this warp's part of the block's tiles
};
TN_FN uint32_t tn_one_tiles_of(const tn_cuda_matrix &matrix) { return (matrix.n_rows + TN_CUDA_TILE_ROWS - 1) / TN_CUDA_TILE_ROWS; }
template <uint32_t n_parts> TN_FN tn_one_work<n_parts> tn_one_work_of(const tn_cuda_ternary_params &p)
{
    tn_one_work<n_parts> work;
    work.n_tiles_0 = tn_one_tiles_of(p.matrices[0]);
    work.n_tiles_1 = work.n_tiles_0 + tn_one_tiles_of(p.matrices[1]);
    const uint32_t n_all = n_parts == 2 ? work.n_tiles_0 : work.n_tiles_1 + tn_one_tiles_of(p.matrices[2]);
    work.n_rows_tiles = tn_block_x() < n_all ? (n_all - tn_block_x() + tn_grid_x() - 1) / tn_grid_x() : 0;
    const uint32_t n_tiles = work.n_rows_tiles * n_parts * p.n_blocks;
    work.begin = tn_warp() * n_tiles / TN_ONE_WARPS;
    work.end = (tn_warp() + 1) * n_tiles / TN_ONE_WARPS;
    return work;
}

// A row tile's matrix and row in it. `part`: number of the row tile among the block's, times n_parts, plus 1 for up.
struct tn_one_place {
    uint32_t matrix, tile;
};
template <uint32_t n_parts> TN_FN tn_one_place tn_one_place_of(const tn_one_work<n_parts> &work, uint32_t part)
{
    const uint32_t tile = tn_block_x() + part / n_parts * tn_grid_x();
    if (n_parts == 2) return {part % 2, tile};
    if (tile < work.n_tiles_0) return {0, tile};
    if (tile < work.n_tiles_1) return {1, tile - work.n_tiles_0};
    return {2, tile - work.n_tiles_1};
}

// A warp's tiles in their order.
struct tn_one_tiles {
    uint32_t part, k, left; // which column block of which row tile is next; tiles left
};
TN_FN tn_one_tiles tn_one_tiles_from(uint32_t begin, uint32_t end, uint32_t n_blocks)
{
    return {begin / n_blocks, begin % n_blocks, end - begin};
}
TN_FN void tn_one_next(tn_one_tiles &tiles, uint32_t n_blocks)
{
    tiles.left--;
    tiles.k++;
    if (tiles.k < n_blocks) return;
    tiles.k = 0;
    tiles.part++;
}

// Where tile i of a batch lies for this lane, behind the codes.
TN_FN uint32_t tn_one_ring_at(const tn_cuda_ternary_params &p, uint32_t side, uint32_t i)
{
    return p.n_blocks * TN_CUDA_TILE_COLS + ((side * p.n_ahead + i) * TN_ONE_WARPS + tn_warp()) * TN_TILE_BYTES + tn_lane() * 16;
}

// Asks for the next batch into half `side` of the lane's ring.
template <uint32_t n_parts>
TN_FN void tn_one_ask(const tn_cuda_ternary_params &p, const tn_one_work<n_parts> &work, tn_one_tiles &tiles, uint32_t side,
                      TN_SHARED_ARG(int8_t, ring))
{
    TN_ROLLED for (uint32_t i = 0; i < p.n_ahead && tiles.left > 0; i++)
    {
        const tn_one_place place = tn_one_place_of(work, tiles.part);
        const uint8_t *from = p.matrices[place.matrix].w + ((size_t)place.tile * p.n_blocks + tiles.k) * TN_TILE_BYTES + tn_lane() * 16;
        tn_async16(ring, tn_one_ring_at(p, side, i), from);
        tn_one_next(tiles, p.n_blocks);
    }
    tn_async_commit();
}

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
TN_FN void tn_one_multiply(const tn_cuda_ternary_params &p, const tn_one_work<n_parts> &work, tn_one_tiles asked,
                           TN_SHARED_ARG(int8_t, codes), TN_SHARED_ARG(uint32_t, of_block))
{
    tn_one_tiles tiles = tn_one_tiles_from(work.begin, work.end, p.n_blocks);
    tn_one_sums sums = {{0, 0, 0, 0}};
    TN_ROLLED for (uint32_t side = 0; tiles.left > 0; side ^= 1)
    {
        tn_async_wait<1>();
        TN_ROLLED for (uint32_t i = 0; i < p.n_ahead && tiles.left > 0; i++)
        {
            const uint32_t x_at = tiles.k * TN_CUDA_TILE_COLS + tn_lane() % 4 * 32, part = tiles.part;
            const tn_u4 w = tn_shared_load16(codes, tn_one_ring_at(p, side, i));
            const tn_u4 x[2] = {tn_shared_load16(codes, x_at), tn_shared_load16(codes, x_at + 16)};
            tn_one_add(w, x, sums);
            tn_one_next(tiles, p.n_blocks);
            if (tiles.part == part && tiles.left > 0) continue;
            tn_one_give(sums, part, of_block);
            sums = {{0, 0, 0, 0}};
        }
        tn_one_ask(p, work, asked, side, codes);
    }
}

// This thread's output: a row of one of the block's row tiles.
template <uint32_t n_parts> struct tn_one_output {
    uint32_t matrix, n;
    float scales[n_parts], residual;
    bool is_there;
};
template <uint32_t n_parts> TN_FN tn_one_output<n_parts> tn_one_output_of(const tn_cuda_ternary_params &p, const tn_one_work<n_parts> &work)
{
    tn_one_output<n_parts> output = {};
    const uint32_t row_tile = tn_thread() / TN_CUDA_TILE_ROWS;
    if (row_tile >= work.n_rows_tiles) return output;
    const tn_one_place place = tn_one_place_of(work, row_tile * n_parts);
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

// Shared memory: the codes, then the ring.
template <uint32_t n_parts>
TN_FN void tn_ternary_one(const tn_cuda_ternary_params &p, TN_SHARED_ARG(int8_t, codes), TN_SHARED_ARG(uint32_t, scratch),
                          TN_SHARED_ARG(uint32_t, of_block))
{
    const tn_one_work<n_parts> work = tn_one_work_of<n_parts>(p);
    const uint32_t n_codes = p.n_blocks * TN_CUDA_TILE_COLS;
    tn_one_tiles asked = tn_one_tiles_from(work.begin, work.end, p.n_blocks);
    tn_one_ask(p, work, asked, 0, codes);
    tn_one_ask(p, work, asked, 1, codes);
    tn_one_output<n_parts> output = tn_one_output_of(p, work);
    tn_one_part held[TN_ONE_HELD];
    tn_one_row_begin(p.before, held, scratch);
    for (uint32_t i = tn_thread(); i < work.n_rows_tiles * n_parts * TN_CUDA_TILE_ROWS; i += TN_ONE_THREADS) of_block[i] = 0;

    tn_wait_previous();
    // A step has a token, but not always a wanted row of logits.
    if (work.n_rows_tiles == 0 || (p.poison.is_logits && tn_n_rows(p.step, 1) == 0)) {
        tn_async_wait<0>();
        return;
    }
    if (p.before.op == TN_CUDA_ROW_NONE) {
        for (uint32_t i = tn_thread() * 16; i < n_codes; i += TN_ONE_THREADS * 16)
            tn_shared_store16(codes, i, tn_load16_fresh(p.codes.at + i));
        if (tn_thread() == 0) {
            scratch[TN_ONE_SCALE] = tn_bits(p.codes.scales[0]);
            scratch[TN_ONE_CODES] = (uint32_t)p.codes.sums[0];
        }
        tn_sync();
    } else {
        tn_one_row(p.before, tn_x_row(p.step, p.x, 0), n_codes, held, scratch, codes);
    }
    if (p.behind == TN_CUDA_BEHIND_ADD && output.is_there) output.residual = tn_x_row(p.step, p.add, 0)[output.n];
    tn_one_multiply(p, work, asked, codes, of_block);
    tn_sync();
    tn_one_store(p, output, tn_one_scale(scratch), tn_one_sum(scratch), of_block);
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
