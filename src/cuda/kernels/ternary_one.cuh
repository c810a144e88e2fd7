// Ternary matrices times one row of codes: all but what a form does with a tile and with codes. A form has
//
//     input          what of the codes a lane's 16 bytes of a tile meet
//     place(l)       where the code of lane l's columns (l, l + 32, ..) lies among the codes of 32 columns when it is stored
//     settle(..)     a warp, for a block of 256 codes that it has stored: how multiplying wants them, in the same place
//     lay(..)        32 codes in natural order, from column i on, a multiple of 32: the same
//     at(k)          where this lane's input of column block k lies, that of the next one 128 bytes further; load(at, codes) takes it
//     add(w, x)      a tile's product, added to the lane's sums
//     sum(r)         of row g + 8r of the tile, a part: those of four lanes that share rows are the sum
//
// Its weights are what a token costs, and no kernel before has to do with them: each block takes row tiles (of 16 rows; with GLU gate's and
// up's of the same rows) from the sequence of all matrices' tiles, asks for its first tiles before it waits for the kernel before, then
// makes the codes from x, by itself and for itself, or takes them from memory.
//
// A block's row tiles go by in rounds of p.round_blocks column blocks of all of them, usually a single one. Their tiles lie in shared
// memory, and each of the warps that work has a part of its own of them, so that all have the same work; where a row tile ends, what a warp
// has of it is added to sums in shared memory. Where there are several rounds, one is on its way while another is multiplied.
#ifndef TN_CUDA_TERNARY_ONE_CUH
#define TN_CUDA_TERNARY_ONE_CUH

#include "cuda/kernels/row_one.cuh"
#include "cuda/kernels/ternary_store.cuh"
#include "cuda/kernels/ternary_tile.cuh"

enum {
    TN_ONE_AHEAD = 2, // pieces under way
    TN_ONE_ARRIVALS = 1 + TN_ONE_AHEAD,
};

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

// Codes are made in blocks of 256 columns, and have room for whole ones.
TN_FN uint32_t tn_one_code_bytes(const tn_cuda_ternary_params &p) { return (p.n_blocks + p.n_blocks % 2) * TN_CUDA_TILE_COLS; }
// A round's column blocks. Where they lie in shared memory: behind the codes, part after part, in one of two places in turn.
struct tn_one_round {
    uint32_t first, n, at;
};
TN_FN tn_one_round tn_one_round_of(const tn_cuda_ternary_params &p, uint32_t round, uint32_t n_all_parts)
{
    const uint32_t first = round * p.round_blocks, rest = p.n_blocks - first;
    return {first, rest < p.round_blocks ? rest : p.round_blocks,
            tn_one_code_bytes(p) + round % 2 * n_all_parts * p.round_blocks * TN_TILE_BYTES};
}
// Of the warp with errands one thread gives orders to the copy engine.
TN_FN bool tn_one_asks() { return tn_bulk_is_mine(32 * TN_ONE_WORKERS); }
TN_FN const uint8_t *tn_one_tiles(const tn_cuda_ternary_params &p, const tn_one_place &place)
{
    return p.matrices[place.matrix].w + (size_t)place.tile * p.n_blocks * TN_TILE_BYTES;
}
// Asks for the tiles of one of several rounds; by the threads that copy.
template <uint32_t n_parts>
TN_FN void tn_one_ask(const tn_cuda_ternary_params &p, uint32_t round, TN_SHARED_ARG(int8_t, codes), TN_SHARED_ARG(uint64_t, arrival))
{
    const uint32_t n_all_parts = tn_one_row_tiles(p) * n_parts;
    const tn_one_round of = tn_one_round_of(p, round, n_all_parts);
    const uint32_t n_bytes = of.n * TN_TILE_BYTES;
    tn_bulk_expect(arrival, round % 2, n_all_parts * n_bytes);
    TN_ROLLED for (uint32_t part = 0; part < n_all_parts; part++)
    {
        const uint8_t *from = tn_one_tiles(p, tn_one_place_of<n_parts>(p, part)) + of.first * TN_TILE_BYTES;
        tn_bulk_copy(codes, of.at + part * n_bytes, from, n_bytes, arrival, round % 2);
    }
}
// Asks for all tiles where there is a single round, in pieces of row tiles, of which TN_ONE_AHEAD are under way: what other kernels load
// meanwhile, x above all, would else wait behind all of them. This thread waits for each piece itself, all threads for the last ones, which
// belong to `arrival` 0.
template <uint32_t n_parts>
TN_FN void tn_one_ask_in_pieces(const tn_cuda_ternary_params &p, TN_SHARED_ARG(int8_t, codes), TN_SHARED_ARG(uint64_t, arrival))
{
    const uint32_t n_all_parts = tn_one_row_tiles(p) * n_parts, n_pieces = n_all_parts * p.n_pieces;
    const uint32_t n_first = n_pieces > TN_ONE_AHEAD ? n_pieces - TN_ONE_AHEAD : 0;
    uint32_t at = tn_one_code_bytes(p), left = n_all_parts * p.n_blocks * TN_TILE_BYTES, i = 0;
    TN_ROLLED for (uint32_t part = 0; part < n_all_parts; part++)
    {
        const uint8_t *from = tn_one_tiles(p, tn_one_place_of<n_parts>(p, part));
        TN_ROLLED for (uint32_t k = 0; k < p.n_blocks; k += p.piece_blocks, i++)
        {
            const uint32_t n_bytes = (p.n_blocks - k < p.piece_blocks ? p.n_blocks - k : p.piece_blocks) * TN_TILE_BYTES;
            const uint32_t turn = 1 + i % TN_ONE_AHEAD, set = i < n_first ? turn : 0;
            if (i >= TN_ONE_AHEAD) tn_bulk_wait_mine(arrival, turn, (i / TN_ONE_AHEAD - 1) % 2);
            if (i <= n_first) tn_bulk_expect(arrival, set, i < n_first ? n_bytes : left);
            tn_bulk_copy(codes, at, from + k * TN_TILE_BYTES, n_bytes, arrival, set);
            at += n_bytes;
            left -= n_bytes;
        }
    }
}
// Before the kernel in front has ended: all tiles, or of several rounds the first two.
template <uint32_t n_parts>
TN_FN void tn_one_ask_first(const tn_cuda_ternary_params &p, TN_SHARED_ARG(int8_t, codes), TN_SHARED_ARG(uint64_t, arrival))
{
    if (p.n_rounds == 1) {
        tn_one_ask_in_pieces<n_parts>(p, codes, arrival);
        return;
    }
    TN_ROLLED for (uint32_t round = 0; round < 2; round++) tn_one_ask<n_parts>(p, round, codes, arrival);
}

// ---- products ----

// What the warp has of a row tile to that of all.
template <class Form> TN_FN void tn_one_give(const Form &sums, uint32_t part, TN_SHARED_ARG(uint32_t, of_block))
{
    int32_t low = sums.sum(0), high = sums.sum(1);
    TN_UNROLL for (uint32_t width = 1; width < 4; width *= 2)
    {
        low += tn_shfl_xor(low, width);
        high += tn_shfl_xor(high, width);
    }
    const uint32_t g = tn_lane() / 4, t = tn_lane() % 4;
    if (t < 2) tn_shared_add(of_block, part * TN_CUDA_TILE_ROWS + t * 8 + g, (uint32_t)(t == 0 ? low : high));
}

// This warp's tiles of a round: from column block k of its parts' number `part` on, which lies at `at`.
struct tn_one_share {
    uint32_t part, k, at, n_tiles;
};
TN_FN tn_one_share tn_one_share_of(const tn_cuda_ternary_params &p, const tn_one_round &of, uint32_t n_all_parts)
{
    const uint32_t n_tiles = n_all_parts * of.n, begin = tn_warp() * n_tiles / TN_ONE_WORKERS;
    const uint32_t end = tn_one_works() ? (tn_warp() + 1) * n_tiles / TN_ONE_WORKERS : begin;
    const uint32_t part = of.n == p.round_blocks && of.n > 1 ? (uint32_t)(((uint64_t)begin * p.by_blocks) >> 32) : begin / of.n;
    return {part, begin - part * of.n, of.at + begin * TN_TILE_BYTES + tn_lane() * 16, end - begin};
}
template <class Form>
TN_FN void tn_one_multiply(const tn_one_round &of, tn_one_share share, TN_SHARED_ARG(int8_t, codes), TN_SHARED_ARG(uint32_t, of_block))
{
    TN_ROLLED while (share.n_tiles > 0)
    {
        const uint32_t n = of.n - share.k < share.n_tiles ? of.n - share.k : share.n_tiles;
        uint32_t x_at = Form::at(of.first + share.k);
        Form sums = {};
        TN_ROLLED for (uint32_t i = n / 2; i > 0; i--, share.at += 2 * TN_TILE_BYTES, x_at += 2 * TN_CUDA_TILE_COLS)
        {
            const tn_u4 w[2] = {tn_shared_load16(codes, share.at), tn_shared_load16(codes, share.at + TN_TILE_BYTES)};
            const typename Form::input x[2] = {Form::load(x_at, codes), Form::load(x_at + TN_CUDA_TILE_COLS, codes)};
            sums.add(w[0], x[0]);
            sums.add(w[1], x[1]);
        }
        if (n % 2 != 0) {
            sums.add(tn_shared_load16(codes, share.at), Form::load(x_at, codes));
            share.at += TN_TILE_BYTES;
        }
        tn_one_give(sums, share.part, of_block);
        share.n_tiles -= n;
        share.part++;
        share.k = 0;
    }
}
// All rounds, of which two are under way; `share`: of the first. Called behind tn_sync, which follows too.
template <class Form, uint32_t n_parts>
TN_FN void tn_one_multiply_all(const tn_cuda_ternary_params &p, const tn_one_share &share, TN_SHARED_ARG(int8_t, codes),
                               TN_SHARED_ARG(uint64_t, arrival), TN_SHARED_ARG(uint32_t, of_block))
{
    const uint32_t n_all_parts = tn_one_row_tiles(p) * n_parts;
    tn_one_multiply<Form>(tn_one_round_of(p, 0, n_all_parts), share, codes, of_block);
    TN_ROLLED for (uint32_t round = 1; round < p.n_rounds; round++)
    {
        tn_sync(); // the place of the round before is free
        if (tn_one_asks() && round + 1 < p.n_rounds) tn_one_ask<n_parts>(p, round + 1, codes, arrival);
        tn_bulk_wait(arrival, round % 2, round / 2 % 2); // where each thread copies its part, all was there before the tn_sync
        const tn_one_round of = tn_one_round_of(p, round, n_all_parts);
        tn_one_multiply<Form>(of, tn_one_share_of(p, of, n_all_parts), codes, of_block);
    }
}

// ---- outputs ----

// This thread's: a row of one of the block's row tiles.
template <uint32_t n_parts> struct tn_one_output {
    uint32_t matrix, n;
    float scales[n_parts], gain, residual; // gain: where the largest value is left
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
    if (p.next.words) output.gain = tn_largest_gain(p.next, output.n);
    TN_UNROLL for (uint32_t part = 0; part < n_parts; part++) output.scales[part] =
        tn_ternary_weight_scale(p.matrices[place.matrix + part], output.n);
    return output;
}
template <uint32_t n_parts>
TN_FN float tn_one_store(const tn_cuda_ternary_params &p, const tn_one_output<n_parts> &output, float x_scale, int32_t x_sum,
                         TN_SHARED_ARG(uint32_t, of_block))
{
    const uint32_t at = tn_thread() / TN_CUDA_TILE_ROWS * n_parts * TN_CUDA_TILE_ROWS + tn_thread() % TN_CUDA_TILE_ROWS;
    int32_t accs[n_parts];
    TN_UNROLL for (uint32_t part = 0; part < n_parts; part++) accs[part] = (int32_t)of_block[at + part * TN_CUDA_TILE_ROWS];
    const tn_cuda_matrix &matrix = p.matrices[output.matrix];
    const tn_ternary_row to = tn_ternary_row_of(p, matrix, 0, x_scale, x_sum);
    if constexpr (n_parts == 2)
        return tn_ternary_store_glu(p, to, output.n, output.scales, accs);
    else
        return tn_ternary_store(p, matrix, to, output.n, output.scales[0], accs[0], output.residual);
}
// Stores all of the block's, and leaves the largest.
template <uint32_t n_parts>
TN_FN void tn_one_store_all(const tn_cuda_ternary_params &p, const tn_one_output<n_parts> &output, float x_scale, int32_t x_sum,
                            TN_SHARED_ARG(uint32_t, of_block))
{
    if (tn_warp() * 32 >= tn_one_row_tiles(p) * TN_CUDA_TILE_ROWS) return;
    const float stored = output.is_there ? tn_one_store(p, output, x_scale, x_sum, of_block) : 0.0f;
    if (!p.next.words) return;
    const uint32_t largest = tn_lanes_max(tn_abs_bits(stored * output.gain));
    if (tn_lane() == 0) tn_leave_largest(p.next, tn_block_x(), largest);
}

// ---- the kernels ----

// Codes that a kernel before has made.
template <class Form>
TN_FN void tn_one_take_codes(const tn_cuda_ternary_params &p, TN_SHARED_ARG(int8_t, codes), TN_SHARED_ARG(uint32_t, scratch))
{
    const uint32_t n_codes = p.n_blocks * TN_CUDA_TILE_COLS;
    TN_ROLLED for (uint32_t i = tn_thread() * 32; i < n_codes; i += TN_ONE_THREADS * 32)
    {
        const tn_u4 natural[2] = {tn_load16_fresh(p.codes.at + i), tn_load16_fresh(p.codes.at + i + 16)};
        Form::lay(i, natural, codes);
    }
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
template <class Form, uint32_t n_parts>
TN_FN void tn_one_again(const tn_cuda_ternary_params &p, const float *x, TN_SHARED_ARG(int8_t, codes), TN_SHARED_ARG(uint32_t, scratch),
                        TN_SHARED_ARG(uint32_t, of_block))
{
    const uint32_t n_all_parts = tn_one_row_tiles(p) * n_parts;
    if (tn_thread() == 0) scratch[TN_ONE_CODES] = 0;
    tn_one_clear<n_parts>(p, of_block);
    tn_sync();
    tn_one_quantise_read<Form>(p.before, x, 0, true, tn_float(scratch[TN_ONE_SMALL]), 0, scratch, codes);
    tn_sync();
    TN_ROLLED for (uint32_t tile = tn_warp(); tile < n_all_parts * p.n_blocks; tile += TN_ONE_WORKERS + 1)
    {
        const uint32_t part = tile / p.n_blocks, k = tile % p.n_blocks;
        const tn_one_place place = tn_one_place_of<n_parts>(p, part);
        const uint8_t *w = p.matrices[place.matrix].w + ((size_t)place.tile * p.n_blocks + k) * TN_TILE_BYTES + tn_lane() * 16;
        Form sums = {};
        sums.add(tn_load16(w), Form::load(Form::at(k), codes));
        tn_one_give(sums, part, of_block);
    }
    tn_sync();
}

// Shared memory: the codes, then the tiles.
template <class Form, uint32_t n_parts>
TN_FN void tn_ternary_one(const tn_cuda_ternary_params &p, TN_SHARED_ARG(int8_t, codes), TN_SHARED_ARG(uint64_t, arrival),
                          TN_SHARED_ARG(uint32_t, scratch), TN_SHARED_ARG(uint32_t, of_block))
{
    const bool makes_codes = p.before.op != TN_CUDA_ROW_NONE, has_tiles = tn_one_row_tiles(p) > 0;
    tn_one_part held[TN_ONE_HELD];
    if (tn_one_asks()) tn_bulk_init(arrival, TN_ONE_ARRIVALS);
    if (makes_codes) tn_one_row_begin(p.before, held, scratch);
    tn_one_clear<n_parts>(p, of_block);
    tn_sync(); // zeros, and `arrival`
    if (tn_one_asks() && has_tiles) tn_one_ask_first<n_parts>(p, codes, arrival);
    tn_one_output<n_parts> output = tn_one_output_of<n_parts>(p);
    const uint32_t n_all_parts = tn_one_row_tiles(p) * n_parts;
    const tn_one_share share = tn_one_share_of(p, tn_one_round_of(p, 0, n_all_parts), n_all_parts);

    tn_wait_previous();
    if (!has_tiles) return;
    // A step has a token, but not always a wanted row of logits.
    const bool is_wanted = !p.poison.is_logits || tn_n_rows(p.step, 1) > 0;
    const float *x = makes_codes ? tn_x_row(p.step, p.x, 0) : nullptr;
    float largest = 0.0f;
    if (makes_codes) {
        const bool is_left = p.x_largest;
        largest = is_left ? tn_one_take(p.before, x, p.x_largest, held) : tn_one_find(p.before, x, held, scratch);
        tn_one_quantise<Form>(p.before, x, held, !is_left, 127.0f * tn_recip(largest), scratch, codes);
    } else {
        tn_one_take_codes<Form>(p, codes, scratch);
    }
    if (p.behind == TN_CUDA_BEHIND_ADD && output.is_there && is_wanted) output.residual = tn_x_row(p.step, p.add, 0)[output.n];
    tn_bulk_wait(arrival, 0, 0);
    tn_sync();
    if (makes_codes && !tn_one_works()) tn_one_find_scale(p.before, largest, scratch);
    tn_one_multiply_all<Form, n_parts>(p, share, codes, arrival, of_block);
    tn_sync();
    if (scratch[TN_ONE_SMALL] != 0) tn_one_again<Form, n_parts>(p, x, codes, scratch, of_block);
    if (is_wanted) tn_one_store_all(p, output, tn_float(scratch[TN_ONE_SCALE]), (int32_t)scratch[TN_ONE_CODES], of_block);
}

static_assert((TN_ONE_SCRATCH + TN_CUDA_ONE_ROW_TILES * 2 * TN_CUDA_TILE_ROWS) * sizeof(uint32_t) + TN_ONE_ARRIVALS * 8 + 16 <=
                  TN_CUDA_ONE_OWN_SHARED_BYTES,
              "of a block");
static_assert(TN_CUDA_ONE_ROW_TILES * TN_CUDA_TILE_ROWS <= TN_ONE_THREADS, "a thread has one output");

// A form's kernel, of matrices (n_parts 1) or of gate and up (2).
#define TN_TERNARY_ONE(name, Form, n_parts)                                                                                                \
    TN_KERNEL_EARLY(name, tn_cuda_ternary_params, TN_ONE_THREADS, 2)                                                                       \
    {                                                                                                                                      \
        TN_SHARED_DYNAMIC(int8_t, codes);                                                                                                  \
        TN_SHARED(uint64_t, arrival, TN_ONE_ARRIVALS);                                                                                     \
        TN_SHARED(uint32_t, scratch, TN_ONE_SCRATCH);                                                                                      \
        TN_SHARED(uint32_t, of_block, TN_CUDA_ONE_ROW_TILES *n_parts *TN_CUDA_TILE_ROWS);                                                  \
        tn_ternary_one<Form, n_parts>(p, codes, arrival, scratch, of_block);                                                               \
    }

#endif
