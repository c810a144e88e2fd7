// How the row tiles of a step are shared out to the blocks of attention_tile_mma, and how blocks that have shares of the same one put
// together what they found.
//
// Chunks of row tiles are counted through, tile after tile and in a tile row tile after row tile, and each block has as many of them as any
// other, side by side. Two blocks that lie in the grid as far from one another as there are multiprocessors have neighbouring shares, of
// which one is the longer where a multiprocessor's part is odd.
//
// The combination of chunks is not associative. So a share that begins a row tile leaves its chunks combined, in the place of chunk 0, and
// others leave each of their chunks by itself.
#ifndef TN_CUDA_ATTENTION_TILE_SHARE_CUH
#define TN_CUDA_ATTENTION_TILE_SHARE_CUH

#include "cuda/kernels/attention_combine.cuh"
#include "cuda/kernels/attention_tile_stage.cuh"

// ---- shares ----

TN_FN uint32_t tn_tile_first(uint32_t tile) { return tile * TN_CUDA_ATTENTION_TOKENS; }
TN_FN uint32_t tn_tile_end(const tn_cuda_attention_params &p, uint32_t tile)
{
    const uint32_t n_left = p.step.words[0] - tn_tile_first(tile);
    return tn_tile_first(tile) + (n_left < TN_CUDA_ATTENTION_TOKENS ? n_left : (uint32_t)TN_CUDA_ATTENTION_TOKENS);
}
TN_FN uint32_t tn_tile_count(const tn_cuda_attention_params &p)
{
    return (p.step.words[0] + TN_CUDA_ATTENTION_TOKENS - 1) / TN_CUDA_ATTENTION_TOKENS;
}

// Of a tile, of all KV heads.
TN_FN uint32_t tn_tile_row_tiles(const tn_cuda_attention_params &p)
{
    return p.n_kv_heads * ((TN_CUDA_ATTENTION_TOKENS * (p.n_heads / p.n_kv_heads) + TN_TILE_ROWS - 1) / TN_TILE_ROWS);
}

// Chunks that the tokens of a tile see; 0 where they are of several sequences.
TN_FN uint32_t tn_tile_chunks(const tn_cuda_attention_params &p, uint32_t tile)
{
    if (tile >= tn_tile_count(p)) return 0;
    const uint32_t first = tn_tile_first(tile), end = tn_tile_end(p, tile), *seqs = p.step.words + p.step.seqs;
    uint32_t others = 0;
    TN_UNROLL
    for (uint32_t i = 1; i < TN_CUDA_ATTENTION_TOKENS; i++) others |= seqs[first + i < end ? first + i : first] ^ seqs[first];
    return others != 0 ? 0 : p.step.words[p.step.positions + end - 1] / TN_KV_CHUNK + 1;
}

// Units of work, chunks of row tiles: the block's, the tile that `unit` is in, and that tile's first one.
struct tn_tile_share {
    uint32_t unit, end, tile, base;
    uint32_t n_units, n_shares; // of all blocks
};

TN_FN tn_tile_share tn_tile_share_now(const tn_tile_shared &s)
{
    tn_tile_share share;
    share.unit = s.share[0];
    share.end = s.share[1];
    share.tile = s.share[2];
    share.base = s.share[3];
    share.n_units = s.share[4];
    share.n_shares = s.share[5];
    return share;
}
TN_FN void tn_tile_share_put(const tn_tile_shared &s, const tn_tile_share &share)
{
    s.share[0] = share.unit;
    s.share[1] = share.end;
    s.share[2] = share.tile;
    s.share[3] = share.base;
    s.share[4] = share.n_units;
    s.share[5] = share.n_shares;
}

TN_FN uint32_t tn_tile_share_begin(const tn_tile_share &share, uint32_t number)
{
    return (uint32_t)((uint64_t)number * share.n_units / share.n_shares);
}
TN_FN uint32_t tn_tile_share_with(const tn_tile_share &share, uint32_t unit)
{
    return (uint32_t)(((uint64_t)(unit + 1) * share.n_shares - 1) / share.n_units);
}

// A row tile for each block, those of the last tiles first: they see the most where the step is a prompt.
TN_FN void tn_tile_share_whole(const tn_cuda_attention_params &p, const tn_tile_shared &s)
{
    const uint32_t n_row_tiles = tn_tile_row_tiles(p), behind = tn_block_x() / n_row_tiles, n_tiles = tn_tile_count(p);
    tn_tile_share share = {0, 0, 0, 0, 1, 1};
    if (behind < n_tiles) {
        share.tile = n_tiles - 1 - behind;
        const uint32_t n_chunks = tn_tile_chunks(p, share.tile);
        share.unit = tn_block_x() % n_row_tiles * n_chunks;
        share.end = share.unit + n_chunks;
    }
    if (tn_thread() == 0) tn_tile_share_put(s, share);
    tn_sync();
}

// Sums of n up to and with each thread's, and of all threads' in *total, by way of sums of warps in shared memory.
TN_FN uint32_t tn_tile_count_through(TN_SHARED_ARG(uint32_t, sums), uint32_t n, uint32_t *total)
{
    const uint32_t lane = tn_lane(), warp = tn_warp();
    TN_UNROLL
    for (uint32_t distance = 1; distance < 32; distance *= 2) {
        const uint32_t other = tn_shfl(n, lane - distance);
        n += lane >= distance ? other : 0;
    }
    if (lane == 31) sums[warp] = n;
    tn_sync();
    *total = 0;
    TN_UNROLL
    for (uint32_t i = 0; i < TN_TILE_THREADS / 32; i++) {
        *total += sums[i];
        n += i < warp ? sums[i] : 0;
    }
    return n;
}

// Which units the block has. Each thread counts some tiles; the one that comes upon the block's first unit says what it found.
TN_FN void tn_tile_share_some(const tn_cuda_attention_params &p, const tn_tile_shared &s)
{
    const uint32_t n_each = (tn_tile_count(p) + TN_TILE_THREADS - 1) / TN_TILE_THREADS, n_row_tiles = tn_tile_row_tiles(p);
    const uint32_t block = tn_block_x(), n_blocks = tn_grid_x();
    tn_tile_share share = {};
    share.tile = tn_thread() * n_each;
    uint32_t n = 0;
    TN_ROLLED
    for (uint32_t i = 0; i < n_each; i++) n += tn_tile_chunks(p, share.tile + i) * n_row_tiles;
    const uint32_t behind = tn_tile_count_through(s.w_max, n, &share.n_units);
    share.n_shares = n_blocks < share.n_units ? n_blocks : share.n_units;
    share.base = behind - n;
    const bool is_paired = share.n_units > n_blocks && n_blocks % 2 == 0;
    const uint32_t number = is_paired ? block % (n_blocks / 2) * 2 + block / (n_blocks / 2) : block;
    if (number >= share.n_shares) {
        if (tn_thread() == 0) tn_tile_share_put(s, share); // nothing
    } else {
        share.unit = tn_tile_share_begin(share, number);
        share.end = tn_tile_share_begin(share, number + 1);
        if (share.unit >= share.base && share.unit < behind) tn_tile_share_put(s, share);
    }
    tn_sync();
}

// Row tile `number` of a tile.
TN_FN tn_tile_job tn_tile_job_of(const tn_cuda_attention_params &p, uint32_t tile, uint32_t n_chunks, uint32_t number)
{
    tn_tile_job job;
    job.number = tile * tn_tile_row_tiles(p) + number;
    job.first = tn_tile_first(tile);
    job.n = tn_tile_end(p, tile) - job.first;
    job.kv_head = number % p.n_kv_heads;
    job.first_row = number / p.n_kv_heads * TN_TILE_ROWS;
    job.seq = p.step.words[p.step.seqs + job.first];
    job.n_positions = p.step.words[p.step.positions + job.first + job.n - 1] + 1;
    job.chunk = 0;
    job.end = job.n_chunks = job.first_end = n_chunks;
    job.n_shares = 1;
    return job;
}

// The block's next part of a row tile becomes its job, if there is one; its units count as done.
TN_FN bool tn_tile_next(const tn_cuda_attention_params &p, const tn_tile_shared &s)
{
    tn_tile_share share = tn_tile_share_now(s);
    if (share.unit >= share.end) return false;
    const uint32_t n_row_tiles = tn_tile_row_tiles(p);
    uint32_t n_chunks = tn_tile_chunks(p, share.tile);
    while (share.unit - share.base >= n_chunks * n_row_tiles) {
        share.base += n_chunks * n_row_tiles;
        n_chunks = tn_tile_chunks(p, ++share.tile);
    }
    const uint32_t number = (share.unit - share.base) / n_chunks, begin = share.base + number * n_chunks;
    tn_tile_job job = tn_tile_job_of(p, share.tile, n_chunks, number);
    const uint32_t first = tn_tile_share_with(share, begin);
    job.n_shares = tn_tile_share_with(share, begin + n_chunks - 1) - first + 1;
    job.first_end = tn_tile_share_begin(share, first + 1) - begin;
    job.chunk = share.unit - begin;
    if (share.end - begin < n_chunks) job.end = share.end - begin;
    share.unit = begin + job.end;
    tn_sync();
    if (tn_thread() == 0) {
        tn_tile_job_put(s, job);
        tn_tile_share_put(s, share);
    }
    tn_sync();
    return true;
}

// ---- what shares leave ----

// [4 floats of o][threads][4], then l and m of each row.
TN_FN float *tn_tile_part(const tn_cuda_attention_params &p, const tn_tile_shared &s, uint32_t chunk)
{
    return p.partials + ((size_t)tn_tile_job_now(s).number * p.n_chunks_max + chunk) * TN_CUDA_ATTENTION_PART_FLOATS;
}
enum { TN_TILE_PART_ROWS = TN_TILE_THREADS * 32 };

template <uint32_t steps>
TN_FN void tn_tile_leave(const tn_cuda_attention_params &p, const tn_tile_shared &s, uint32_t chunk,
                         const float (&o)[TN_TILE_KEY_STAGES<steps>][4][4])
{
    float *at = tn_tile_part(p, s, chunk);
    const uint32_t thread = tn_tile_thread();
    TN_UNROLL
    for (uint32_t j = 0; j < 4 * TN_TILE_KEY_STAGES<steps>; j++) {
        const float *four = o[j / 4][j % 4];
        tn_store16(at + (j * TN_TILE_THREADS + thread) * 4,
                   (tn_u4{tn_bits(four[0]), tn_bits(four[1]), tn_bits(four[2]), tn_bits(four[3])}));
    }
    if (thread >= TN_TILE_ROWS) return;
    at[TN_TILE_PART_ROWS + thread * 2] = s.all_l[thread];
    at[TN_TILE_PART_ROWS + thread * 2 + 1] = tn_float((uint32_t)s.all_m[thread]);
}

// Of a lane, as it was left.
template <uint32_t steps> struct tn_tile_left {
    tn_u4 o[4 * TN_TILE_KEY_STAGES<steps>];
    float l[2];
    int32_t m[2];
};

template <uint32_t steps> TN_FN void tn_tile_take_left(const float *at, tn_tile_left<steps> &left)
{
    TN_UNROLL
    for (uint32_t j = 0; j < 4 * TN_TILE_KEY_STAGES<steps>; j++) left.o[j] = tn_load16_fresh(at + (j * TN_TILE_THREADS + tn_thread()) * 4);
    TN_UNROLL
    for (uint32_t row = 0; row < 2; row++) {
        const float *of_row = at + TN_TILE_PART_ROWS + tn_tile_row_at(row) * 2;
        left.l[row] = tn_load_fresh(of_row);
        left.m[row] = (int32_t)tn_bits(tn_load_fresh(of_row + 1));
    }
}

TN_FN float tn_tile_power(int32_t n) { return n < -60 ? 0.0f : tn_pow2(n); }

TN_FN float tn_tile_word(const tn_u4 &v, uint32_t i) { return tn_float(i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w); }

// Sums over all chunks of the row tile.
template <uint32_t steps>
TN_FN void tn_tile_gather(const tn_cuda_attention_params &p, const tn_tile_shared &s, float (&l)[2],
                          float (&o)[TN_TILE_KEY_STAGES<steps>][4][4])
{
    constexpr uint32_t n = 16 * TN_TILE_KEY_STAGES<steps>;
    tn_tile_left<steps> left;
    tn_tile_take_left(tn_tile_part(p, s, 0), left);
    int32_t m[2] = {left.m[0], left.m[1]};
    l[0] = left.l[0];
    l[1] = left.l[1];
    TN_UNROLL
    for (uint32_t i = 0; i < n; i++) o[i / 16][i / 4 % 4][i % 4] = tn_tile_word(left.o[i / 4], i % 4);
    const tn_tile_job job = tn_tile_job_now(s);
    TN_ROLLED
    for (uint32_t chunk = job.first_end; chunk < job.n_chunks; chunk++) {
        tn_tile_take_left(tn_tile_part(p, s, chunk), left);
        float by[2], by_chunk[2];
        TN_UNROLL
        for (uint32_t row = 0; row < 2; row++) {
            const int32_t both = m[row] > left.m[row] ? m[row] : left.m[row];
            by[row] = tn_tile_power(m[row] - both);
            by_chunk[row] = tn_tile_power(left.m[row] - both);
            l[row] = tn_f100(l[row] * by[row]) + tn_f100(left.l[row] * by_chunk[row]);
            m[row] = both;
        }
        TN_UNROLL
        for (uint32_t i = 0; i < n; i++) {
            float &out = o[i / 16][i / 4 % 4][i % 4];
            out = tn_f100(out * by[i % 4 / 2]) + tn_f100(tn_tile_word(left.o[i / 4], i % 4) * by_chunk[i % 4 / 2]);
        }
    }
}

#endif
