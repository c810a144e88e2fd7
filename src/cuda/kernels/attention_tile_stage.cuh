// How keys and values of a chunk come to a block of attention_tile_mma, and where they lie there. Values of a chunk and keys of the next
// one are on their way while weights are made of products over keys. Where there is no room for both, keys come when values are done.
//
// Which dim or position an index of mma stands for is of no matter where both factors agree. Of 32 dims lane t of 4 has 8t .. 8t + 7, which
// are 16 bytes of a key. Of 32 positions it has those of its columns in the products over keys: pairs t, t + 4, t + 8, t + 12. Of 32 dims
// of values column g has 4g .. 4g + 3, 16 bytes of a pair of positions, which it takes in two halves: even columns the first one first.
#ifndef TN_CUDA_ATTENTION_TILE_STAGE_CUH
#define TN_CUDA_ATTENTION_TILE_STAGE_CUH

#include "cuda/kernels/kv_page.cuh"

enum {
    TN_TILE_THREADS = 256,
    TN_TILE_ROWS = TN_CUDA_ATTENTION_TILE_ROWS, // 16 of each pair of warps
    TN_TILE_STEPS_MAX = 4,                      // of 32 dims, of a head
    TN_TILE_VALUE_DIMS = 64,                    // that lie together, of all positions
    TN_TILE_VALUE_UNITS = TN_TILE_VALUE_DIMS * TN_KV_CHUNK / 8,
    TN_TILE_QUARTERS = TN_KV_CHUNK / 32, // of a chunk: 32 positions, of which the first warp of a pair has 16 and the second the others
};

// A share of a row tile: chunks `chunk` .. end - 1 of the n_chunks that its tokens see, first .. first + n - 1 of the step's, of a
// sequence.
struct tn_tile_job {
    uint32_t number; // of the row tile
    uint32_t first, n, kv_head, seq, n_positions;
    uint32_t first_row; // of all query heads of the KV head, token after token
    uint32_t chunk, end, n_chunks;
    uint32_t n_shares, first_end; // blocks that have chunks of the row tile, the first one of them those before first_end
};
enum { TN_TILE_JOB_WORDS = sizeof(tn_tile_job) / 4, TN_TILE_SHARE_WORDS = 8 };

// Arrays [halves] are of the two warps of a pair.
struct tn_tile_shared {
    TN_SHARED_ARG(uint64_t, stages);  // [units][2]: keys, and from p.values_at on values
    TN_SHARED_ARG(uint32_t, q);       // [pairs of warps][steps][high, low][lanes][4 words of mma's left factor]
    TN_SHARED_ARG(uint64_t, weights); // [pairs of warps][quarters][high, low][lanes][halves of 4 words of mma's left factor]
    TN_SHARED_ARG(float, scales);     // of keys, then of values: [quarters][halves][lanes][2 columns][2 positions]
    TN_SHARED_ARG(uint32_t, job);     // [TN_TILE_JOB_WORDS]: what the block is doing
    TN_SHARED_ARG(uint32_t, share);   // [TN_TILE_SHARE_WORDS]: what it is to do then
    TN_SHARED_ARG(float, q_scale);    // [rows]
    TN_SHARED_ARG(uint32_t, n_seen);  // [rows]: positions; 0: there is no such row
    TN_SHARED_ARG(float, largest);    // [halves][rows]: logit
    TN_SHARED_ARG(uint32_t, w_max);   // [halves][rows]
    TN_SHARED_ARG(int32_t, l);        // [halves][rows]
    TN_SHARED_ARG(int32_t, all_m);    // [halves][rows]: of all chunks so far, twice the same
    TN_SHARED_ARG(float, all_l);      // [halves][rows]
};

// The thread's place, found anew wherever it is wanted: registers are scarce. Of the warp: 16 rows, and half of the positions of each
// quarter, then of the dims of each stage of values.
TN_FN uint32_t tn_tile_thread() { return tn_late<800>(tn_thread()); }
TN_FN uint32_t tn_tile_lane() { return tn_tile_thread() % 32; }
TN_FN uint32_t tn_tile_pair() { return tn_tile_thread() / 32 % 4; }
TN_FN uint32_t tn_tile_half() { return tn_tile_thread() / 128; }

// The job, of which only what is wanted is read, wherever it is wanted.
TN_FN tn_tile_job tn_tile_job_now(const tn_tile_shared &s)
{
    tn_tile_job job;
    job.number = s.job[0];
    job.first = s.job[1];
    job.n = s.job[2];
    job.kv_head = s.job[3];
    job.seq = s.job[4];
    job.n_positions = s.job[5];
    job.first_row = s.job[6];
    job.chunk = s.job[7];
    job.end = s.job[8];
    job.n_chunks = s.job[9];
    job.n_shares = s.job[10];
    job.first_end = s.job[11];
    return job;
}
TN_FN void tn_tile_job_put(const tn_tile_shared &s, const tn_tile_job &job)
{
    s.job[0] = job.number;
    s.job[1] = job.first;
    s.job[2] = job.n;
    s.job[3] = job.kv_head;
    s.job[4] = job.seq;
    s.job[5] = job.n_positions;
    s.job[6] = job.first_row;
    s.job[7] = job.chunk;
    s.job[8] = job.end;
    s.job[9] = job.n_chunks;
    s.job[10] = job.n_shares;
    s.job[11] = job.first_end;
}

// Rows of the lane: row g and g + 8 of the warp's.
TN_FN uint32_t tn_tile_row_at(uint32_t row) { return tn_tile_pair() * 16 + tn_tile_lane() / 4 + 8 * row; }

// Positions of a chunk that the last token sees; 0: the chunk is not the job's.
TN_FN uint32_t tn_tile_seen(const tn_tile_shared &s, uint32_t chunk)
{
    const tn_tile_job job = tn_tile_job_now(s);
    const uint32_t n_left = job.n_positions - chunk * TN_KV_CHUNK;
    return chunk >= job.end ? 0 : n_left < TN_KV_CHUNK ? n_left : (uint32_t)TN_KV_CHUNK;
}
// Its page.
TN_FN uint32_t tn_tile_page(const tn_cuda_attention_params &p, const tn_tile_shared &s, uint32_t chunk)
{
    const tn_tile_job job = tn_tile_job_now(s);
    return chunk < job.end ? tn_kv_page(p.step, job.seq, chunk) : 0;
}

TN_FN tn_kv_head tn_tile_kv(const tn_cuda_attention_params &p, const tn_tile_shared &s, uint32_t page)
{
    return tn_kv_head_of(p.kv, page, tn_tile_job_now(s).kv_head, tn_late<800>(p.rope.head_dim)); // found anew too
}

// What a unit of values is moved by in its pair's row.
TN_FN uint32_t tn_tile_change(uint32_t pair) { return pair % 2 * 4 + pair / 2 % 2; }

// A thread's part of keys or values: units whose rows are a stride apart. Positions behind the last one that is seen are loaded too, for
// nothing: pages have all of theirs. Dims that a head does not have are taken from where it has some.
struct tn_tile_units {
    const int16_t *from;
    uint32_t stride, words; // in elements; of a unit there are so many
    uint32_t to;            // unit of the stages; the next one is TN_TILE_THREADS units on
};

// Parts of the head's dims, TN_TILE_VALUE_DIMS each.
template <uint32_t steps> constexpr uint32_t TN_TILE_PARTS = steps / 2;

template <uint32_t n> TN_FN void tn_tile_load(const tn_cuda_attention_params &p, const tn_tile_shared &s, const tn_tile_units &units)
{
    if (p.rope.head_dim % 8 == 0) {
        TN_UNROLL
        for (uint32_t j = 0; j < n; j++) tn_async16(s.stages, (units.to + j * TN_TILE_THREADS) * 2, units.from + j * units.stride);
    } else {
        TN_ROLLED
        for (uint32_t j = 0; j < n; j++)
            tn_load_unit(s.stages, (units.to + j * TN_TILE_THREADS) * 2, units.from + j * units.stride, units.words);
    }
}

// Asks for the keys in a page: [8 positions][step][position][4 units of 8 dims], lanes of a product over keys as they lie.
template <uint32_t steps> TN_FN void tn_tile_load_keys(const tn_cuda_attention_params &p, const tn_tile_shared &s, uint32_t page)
{
    const tn_kv_head kv = tn_tile_kv(p, s, page);
    const uint32_t head_dim = p.rope.head_dim, thread = tn_tile_thread();
    const uint32_t dim = thread / 32 % steps * 32 + thread % 4 * 8, d = dim < head_dim ? dim : 0;
    tn_tile_units units;
    units.from = kv.keys + ((thread / (32 * steps) * 8 + thread % 32 / 4) * head_dim + d);
    units.stride = TN_TILE_THREADS / (4 * steps) * head_dim;
    units.words = (head_dim - d) / 2;
    units.to = thread;
    tn_tile_load<TN_KV_CHUNK * 4 * steps / TN_TILE_THREADS>(p, s, units);
}

// Asks for the values: [dims of a part][pair][16 units of 4 dims], units changing places so that halves of four pairs' units lie in
// different banks.
template <uint32_t steps> TN_FN void tn_tile_load_values(const tn_cuda_attention_params &p, const tn_tile_shared &s, uint32_t page)
{
    const tn_kv_head kv = tn_tile_kv(p, s, page);
    const uint32_t head_dim = p.rope.head_dim, thread = tn_tile_thread();
    TN_UNROLL
    for (uint32_t part = 0; part < TN_TILE_PARTS<steps>; part++) {
        const uint32_t dim = part * TN_TILE_VALUE_DIMS + thread % 16 * 4, d = dim < head_dim ? dim : 0;
        tn_tile_units units;
        units.from = kv.values + (thread / 16 * head_dim + d) * 2;
        units.stride = TN_TILE_THREADS / 16 * 2 * head_dim;
        units.words = head_dim - d;
        units.to = p.values_at + part * TN_TILE_VALUE_UNITS + (thread ^ tn_tile_change(thread / 16));
        tn_tile_load<TN_TILE_VALUE_UNITS / TN_TILE_THREADS>(p, s, units);
    }
}

// The chunk and its page.
struct tn_tile_walk {
    uint32_t chunk, page;
};

TN_FN bool tn_tile_has_next(const tn_tile_shared &s, const tn_tile_walk &walk) { return walk.chunk + 1 < tn_tile_job_now(s).end; }

// When all warps are done with a chunk's keys, and with values of the one before: asks for its values, then for the next one's keys.
template <uint32_t steps> TN_FN void tn_tile_ask(const tn_cuda_attention_params &p, const tn_tile_shared &s, const tn_tile_walk &walk)
{
    const uint32_t next_page = tn_tile_page(p, s, walk.chunk + 1);
    tn_tile_load_values<steps>(p, s, walk.page);
    tn_async_commit();
    if (p.values_at > 0 && tn_tile_has_next(s, walk)) tn_tile_load_keys<steps>(p, s, next_page);
    tn_async_commit();
}

// Where they did not come beside the values.
template <uint32_t steps> TN_FN void tn_tile_ask_late(const tn_cuda_attention_params &p, const tn_tile_shared &s, const tn_tile_walk &walk)
{
    if (p.values_at > 0 || !tn_tile_has_next(s, walk)) return;
    tn_sync();
    tn_tile_load_keys<steps>(p, s, tn_tile_page(p, s, walk.chunk + 1));
    tn_async_commit();
    tn_async_wait<0>();
    tn_sync();
}

// ---- scales ----

// The thread's scale of the chunk's positions, on its way to shared memory: threads have those of keys, then those of values.
TN_FN float tn_tile_load_scale(const tn_cuda_attention_params &p, const tn_tile_shared &s, uint32_t chunk, uint32_t page)
{
    const uint32_t thread = tn_tile_thread();
    return thread % TN_KV_CHUNK < tn_tile_seen(s, chunk) ? tn_tile_kv(p, s, page).k_scale[thread] : 0.0f; // those of values are behind it
}
TN_FN void tn_tile_store_scale(const tn_tile_shared &s, float scale)
{
    const uint32_t thread = tn_tile_thread();
    s.scales[thread / 16 * 16 + thread % 8 / 2 * 4 + thread % 16 / 8 * 2 + thread % 2] = scale;
}
// Those of the lane's positions in its two columns of a quarter; of keys (which = 0) or values.
TN_FN void tn_tile_take_scales(const tn_tile_shared &s, uint32_t which, uint32_t quarter, float (&scales)[4])
{
    const tn_u4 v = tn_shared_load16(s.scales, which * TN_KV_CHUNK + ((quarter * 2 + tn_tile_half()) * 4 + tn_tile_lane() % 4) * 4);
    scales[0] = tn_float(v.x);
    scales[1] = tn_float(v.y);
    scales[2] = tn_float(v.z);
    scales[3] = tn_float(v.w);
}

#endif
