// How the row tiles of a step are shared out to the blocks of attention_tile_mma, and how blocks that have shares of the same one put
// together what they found.
//
// A row tile has a block that owns it and begins it; there are more blocks than row tiles. Chunks that owners do not come to within as many
// as make all blocks end together are counted through, tile after tile and in a tile row tile after row tile, and the blocks that own
// nothing have as many of them as any other, side by side.
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

// Of a row tile's chunks those that its owner, which has n_own at most, does not come to.
TN_FN uint32_t tn_tile_rest(uint32_t n_chunks, uint32_t n_own) { return n_chunks > n_own ? n_chunks - n_own : 0; }

enum : uint32_t { TN_TILE_OWNS_NONE = 0xffffffffu };

// The block's part of the work. Units are chunks that owners do not come to: the block's, and the first one of the tile that `unit` is in.
// A block that owns a row tile has one unit, which is that row tile's chunks.
struct tn_tile_share {
    uint32_t unit, end, tile, base;
    uint32_t own; // row tile of the tile
    uint32_t n_own;
    uint32_t n_units, n_shares; // of all blocks that own nothing
};

TN_FN tn_tile_share tn_tile_share_now(const tn_tile_shared &s)
{
    tn_tile_share share;
    share.unit = s.share[0];
    share.end = s.share[1];
    share.tile = s.share[2];
    share.base = s.share[3];
    share.own = s.share[4];
    share.n_own = s.share[5];
    share.n_units = s.share[6];
    share.n_shares = s.share[7];
    return share;
}
TN_FN void tn_tile_share_put(const tn_tile_shared &s, const tn_tile_share &share)
{
    s.share[0] = share.unit;
    s.share[1] = share.end;
    s.share[2] = share.tile;
    s.share[3] = share.base;
    s.share[4] = share.own;
    s.share[5] = share.n_own;
    s.share[6] = share.n_units;
    s.share[7] = share.n_shares;
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
    tn_tile_share share = {0, 0, 0, 0, tn_block_x() % n_row_tiles, 0xffffffffu, 0, 0};
    if (behind < n_tiles) {
        share.tile = n_tiles - 1 - behind;
        share.end = tn_tile_chunks(p, share.tile) > 0;
    }
    if (tn_thread() == 0) tn_tile_share_put(s, share);
    tn_sync();
}

// Sums of n up to and with each thread's, and of all threads' in *total, by way of sums of warps in shared memory, which nobody reads any
// more behind the end.
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
    tn_sync();
    return n;
}

// Tiles that a thread counts.
struct tn_tile_range {
    uint32_t first, end;
};

// Its units; and row tiles.
TN_FN uint32_t tn_tile_units_in(const tn_cuda_attention_params &p, const tn_tile_range &tiles, uint32_t n_own)
{
    uint32_t n = 0;
    TN_ROLLED
    for (uint32_t tile = tiles.first; tile < tiles.end; tile++) n += tn_tile_rest(tn_tile_chunks(p, tile), n_own);
    return n * tn_tile_row_tiles(p);
}
TN_FN uint32_t tn_tile_row_tiles_in(const tn_cuda_attention_params &p, const tn_tile_range &tiles)
{
    uint32_t n = 0;
    TN_ROLLED
    for (uint32_t tile = tiles.first; tile < tiles.end; tile++) n += tn_tile_chunks(p, tile) > 0;
    return n * tn_tile_row_tiles(p);
}

// The least n_own with which no other block has more chunks than it, found from below, and the units that follow, of the thread and those
// before in *behind: one more of n_own takes n_row_tiles units at most from the others, and lets each of these have one more.
TN_FN void tn_tile_share_out(const tn_cuda_attention_params &p, const tn_tile_shared &s, const tn_tile_range &tiles, uint32_t n_row_tiles,
                             tn_tile_share &share, uint32_t *behind)
{
    const uint32_t n_blocks = tn_grid_x(), n_others = n_blocks - n_row_tiles;
    share.n_own = 0;
    TN_ROLLED
    for (;;) {
        *behind = tn_tile_count_through(s.w_max, tn_tile_units_in(p, tiles, share.n_own), &share.n_units);
        const uint64_t n_fit = (uint64_t)n_others * share.n_own;
        if (share.n_units <= n_fit) break;
        share.n_own += (uint32_t)((share.n_units - n_fit + n_blocks - 1) / n_blocks);
    }
    share.n_shares = n_others < share.n_units ? n_others : share.n_units;
}

// Which row tile the block owns, or which units it has. The thread that comes upon them says what it found.
TN_FN void tn_tile_share_some(const tn_cuda_attention_params &p, const tn_tile_shared &s)
{
    const uint32_t n_each = (tn_tile_count(p) + TN_TILE_THREADS - 1) / TN_TILE_THREADS, block = tn_block_x();
    tn_tile_range tiles = {tn_thread() * n_each, (tn_thread() + 1) * n_each};
    tn_tile_share share = {};
    uint32_t n_row_tiles, behind, n = tn_tile_row_tiles_in(p, tiles);
    const uint32_t own_behind = tn_tile_count_through(s.w_max, n, &n_row_tiles);
    tn_tile_share_out(p, s, tiles, n_row_tiles, share, &behind);
    share.own = TN_TILE_OWNS_NONE;
    share.tile = tiles.first;
    share.base = behind - tn_tile_units_in(p, tiles, share.n_own);
    if (block >= n_row_tiles + share.n_shares) {
        if (tn_thread() == 0) tn_tile_share_put(s, share); // nothing
    } else if (block >= n_row_tiles) {
        share.unit = tn_tile_share_begin(share, block - n_row_tiles);
        share.end = tn_tile_share_begin(share, block - n_row_tiles + 1);
        if (share.unit >= share.base && share.unit < behind) tn_tile_share_put(s, share);
    } else if (block >= own_behind - n && block < own_behind) {
        share.own = block - (own_behind - n);
        share.end = 1;
        while (tn_tile_chunks(p, share.tile) == 0 || share.own >= tn_tile_row_tiles(p)) {
            const uint32_t n_chunks = tn_tile_chunks(p, share.tile++);
            share.base += tn_tile_rest(n_chunks, share.n_own) * tn_tile_row_tiles(p);
            share.own -= n_chunks > 0 ? tn_tile_row_tiles(p) : 0;
        }
        tn_tile_share_put(s, share);
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

// Which of its blocks has which chunks of a row tile, whose first unit is `begin`.
TN_FN void tn_tile_job_blocks(const tn_tile_share &share, uint32_t begin, tn_tile_job &job)
{
    const uint32_t n = tn_tile_rest(job.n_chunks, share.n_own);
    job.first_end = job.n_chunks - n;
    if (n > 0) job.n_shares += tn_tile_share_with(share, begin + n - 1) - tn_tile_share_with(share, begin) + 1;
}

// The block's next part of a row tile becomes its job, if there is one; its units count as done.
TN_FN bool tn_tile_next(const tn_cuda_attention_params &p, const tn_tile_shared &s)
{
    tn_tile_share share = tn_tile_share_now(s);
    if (share.unit >= share.end) return false;
    const uint32_t n_row_tiles = tn_tile_row_tiles(p);
    uint32_t n_chunks = tn_tile_chunks(p, share.tile), n = tn_tile_rest(n_chunks, share.n_own), number = share.own;
    if (number == TN_TILE_OWNS_NONE) {
        while (share.unit - share.base >= n * n_row_tiles) {
            share.base += n * n_row_tiles;
            n_chunks = tn_tile_chunks(p, ++share.tile);
            n = tn_tile_rest(n_chunks, share.n_own);
        }
        number = (share.unit - share.base) / n;
    }
    const uint32_t begin = share.base + number * n;
    tn_tile_job job = tn_tile_job_of(p, share.tile, n_chunks, number);
    tn_tile_job_blocks(share, begin, job);
    if (share.own == TN_TILE_OWNS_NONE) {
        const uint32_t n_left = share.end - begin;
        job.chunk = share.n_own + (share.unit - begin);
        job.end = n_left < n ? share.n_own + n_left : n_chunks;
        share.unit = begin + (job.end - share.n_own);
    } else {
        job.end = n_chunks - n;
        share.unit = share.end;
    }
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
                         const float (&o)[TN_TILE_PARTS<steps>][4][4])
{
    float *at = tn_tile_part(p, s, chunk);
    const uint32_t thread = tn_tile_thread();
    TN_UNROLL
    for (uint32_t j = 0; j < 4 * TN_TILE_PARTS<steps>; j++) {
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
    tn_u4 o[4 * TN_TILE_PARTS<steps>];
    float l[2];
    int32_t m[2];
};

template <uint32_t steps> TN_FN void tn_tile_take_left(const float *at, tn_tile_left<steps> &left)
{
    TN_UNROLL
    for (uint32_t j = 0; j < 4 * TN_TILE_PARTS<steps>; j++) left.o[j] = tn_load16_fresh(at + (j * TN_TILE_THREADS + tn_thread()) * 4);
    TN_UNROLL
    for (uint32_t row = 0; row < 2; row++) {
        const float *of_row = at + TN_TILE_PART_ROWS + tn_tile_row_at(row) * 2;
        left.l[row] = tn_load_fresh(of_row);
        left.m[row] = (int32_t)tn_bits(tn_load_fresh(of_row + 1));
    }
}

TN_FN float tn_tile_power(int32_t n) { return n < -60 ? 0.0f : tn_pow2(n); }

TN_FN float tn_tile_word(const tn_u4 &v, uint32_t i) { return tn_float(i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w); }

// Sums over all chunks of the row tile, each asked for before the one in front of it is added.
template <uint32_t steps>
TN_FN void tn_tile_gather(const tn_cuda_attention_params &p, const tn_tile_shared &s, float (&l)[2], float (&o)[TN_TILE_PARTS<steps>][4][4])
{
    constexpr uint32_t n = 16 * TN_TILE_PARTS<steps>;
    const tn_tile_job job = tn_tile_job_now(s);
    tn_tile_left<steps> left, next;
    tn_tile_take_left(tn_tile_part(p, s, 0), left);
    tn_tile_take_left(tn_tile_part(p, s, job.first_end), next);
    int32_t m[2] = {left.m[0], left.m[1]};
    l[0] = left.l[0];
    l[1] = left.l[1];
    TN_UNROLL
    for (uint32_t i = 0; i < n; i++) o[i / 16][i / 4 % 4][i % 4] = tn_tile_word(left.o[i / 4], i % 4);
    TN_ROLLED
    for (uint32_t chunk = job.first_end; chunk < job.n_chunks; chunk++) {
        left = next;
        if (chunk + 1 < job.n_chunks) tn_tile_take_left(tn_tile_part(p, s, chunk + 1), next);
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
