// What attention_one_mma and attention_few_mma share of walks: the query heads of a KV head over chunks split, split + n_splits, .. of a
// token, by a block, chunk by chunk as in attention_few_mma.cuh.
// The shares of chunks are left for the last block to finish, or absorbed in the chunks' order where one block has all of them.
#ifndef TN_CUDA_ATTENTION_FEW_WALK_CUH
#define TN_CUDA_ATTENTION_FEW_WALK_CUH

#include "cuda/kernels/attention_few_combine.cuh"
#include "cuda/kernels/attention_few_mma.cuh"
#include "cuda/kernels/kv_append.cuh"

enum { TN_FEW_DIMS = TN_CUDA_ATTENTION_MMA_DIM };

struct tn_few_job {
    uint32_t token, kv_head, seq, position, n_chunks, split, n_splits;
};

TN_FN tn_few_job tn_few_job_of(const tn_cuda_attention_params &p, uint32_t token, uint32_t split)
{
    tn_few_job job;
    job.token = token;
    job.kv_head = tn_block_y();
    job.position = p.step.words[p.step.positions + token];
    job.seq = p.step.words[p.step.seqs + token];
    job.n_chunks = job.position / TN_KV_CHUNK + 1;
    job.split = split;
    job.n_splits = p.n_splits;
    return job;
}

// Whether shares of chunks are left for the last block. Where it appends a block begins with the token's own chunk, so that it cannot
// absorb.
template <bool appends> TN_FN bool tn_few_leaves(const tn_few_job &job) { return job.n_chunks > 1 && (appends || job.n_splits > 1); }

// The index'th chunk that the block does: from the last one down where it appends.
template <bool appends> TN_FN tn_few_chunk tn_few_chunk_of(const tn_cuda_attention_params &p, const tn_few_job &job, uint32_t index)
{
    const uint32_t n_own = (job.n_chunks - job.split + job.n_splits - 1) / job.n_splits;
    if (index >= n_own) return tn_few_no_chunk();
    tn_few_chunk chunk;
    chunk.number = job.split + (appends ? n_own - 1 - index : index) * job.n_splits;
    const uint32_t rest = tn_late(job.position) + 1 - chunk.number * TN_KV_CHUNK;
    chunk.keys = tn_kv_head_of(p.kv, tn_kv_page(p.step, job.seq, chunk.number), job.kv_head, p.rope.head_dim).keys;
    chunk.n = rest < TN_KV_CHUNK ? rest : (uint32_t)TN_KV_CHUNK;
    chunk.lacks_last = appends && chunk.number == job.n_chunks - 1;
    chunk.is_odd = index % 2 != 0;
    return chunk;
}

// ---- queries ----

// A lane's pairs of dims of a head: where they lie in a row and where their limbs go, and their cosines and sines, of a position's row of
// the table where there is one. All of it is known before the kernel in front has ended. Pairs that there are not are taken from where
// there are some.
struct tn_few_pairs {
    uint32_t first[TN_FEW_DIMS / 64], second[TN_FEW_DIMS / 64]; // dims
    uint32_t first_at[TN_FEW_DIMS / 64], second_at[TN_FEW_DIMS / 64];
    float c[TN_FEW_DIMS / 64], s[TN_FEW_DIMS / 64];
};
TN_FN tn_few_pairs tn_few_pairs_of(const tn_cuda_rope &rope, const float *table)
{
    const uint32_t n_pairs = rope.head_dim / 2;
    tn_few_pairs pairs = {};
    TN_UNROLL
    for (uint32_t j = 0; j < TN_FEW_DIMS / 64; j++) {
        const uint32_t pair = tn_lane() + 32 * j < n_pairs ? tn_lane() + 32 * j : 0;
        pairs.first[j] = tn_late<0>(tn_pair_first(rope, pair));
        pairs.second[j] = tn_late<0>(tn_pair_second(rope, pair));
        pairs.first_at[j] = tn_late<0>(tn_few_limb_at(0, pairs.first[j]));
        pairs.second_at[j] = tn_late<0>(tn_few_limb_at(0, pairs.second[j]));
        if (table) pairs.c[j] = table[pair];
        if (table) pairs.s[j] = table[n_pairs + pair];
    }
    return pairs;
}

// What a warp takes first of a token: a query head, or the key or the value of the KV head (warps behind those that work on chunks).
template <bool appends>
TN_FN const float *tn_few_row(const tn_cuda_attention_params &p, const tn_few_job &job, uint32_t first_head, uint32_t n_heads)
{
    const uint32_t head_dim = p.rope.head_dim;
    if (appends && tn_warp() >= TN_FEW_WARPS)
        return tn_x_row(p.step, tn_warp() == TN_FEW_WARPS ? p.rope.k : p.rope.v, job.token) + job.kv_head * head_dim;
    const uint32_t h = tn_warp() < n_heads ? tn_warp() : 0;
    return tn_x_row(p.step, appends ? p.rope.q : p.q, job.token) + (first_head + h) * head_dim;
}

// A head as tn_head_take takes it, with all of it on its way at once.
TN_FN tn_head tn_few_head(const float *x, bool is_turned, const tn_few_pairs &pairs)
{
    tn_head head = {};
    TN_UNROLL
    for (uint32_t j = 0; j < TN_FEW_DIMS / 64; j++) {
        head.first[j] = x[pairs.first[j]];
        head.second[j] = x[pairs.second[j]];
    }
    TN_UNROLL
    for (uint32_t j = 0; j < TN_FEW_DIMS / 64; j++) {
        const float a = head.first[j], b = head.second[j];
        const float turned_a = tn_fl((a * pairs.c[j]) - (b * pairs.s[j])), turned_b = tn_fl((a * pairs.s[j]) + (b * pairs.c[j]));
        head.first[j] = is_turned ? turned_a : a;
        head.second[j] = is_turned ? turned_b : b;
        const uint32_t first = tn_abs_bits(head.first[j]), second = tn_abs_bits(head.second[j]), larger = first > second ? first : second;
        head.absmax = larger > head.absmax ? larger : head.absmax;
    }
    head.absmax = tn_lanes_max(head.absmax);
    return head;
}

TN_FN void tn_few_store_limbs(const tn_few_shared &s, uint32_t at, float value, float to_codes)
{
    const int32_t code = tn_round_int(value * to_codes);
    s.q[at] = tn_limb_high(code);
    s.q[at + TN_FEW_COLUMN_BYTES] = tn_limb_low(code);
}

// The codes of a query head to its two columns, by a warp. Dims that the head does not have are 0.
template <class form>
TN_FN void tn_few_store_query(const tn_cuda_rope &rope, const tn_few_shared &s, uint32_t h, const tn_head &head, const tn_few_pairs &pairs,
                              float log2e_by_sqrt)
{
    const tn_head_codes codes = tn_head_codes_of(head, rope.a_qk, rope.recip_a_qk);
    const uint32_t at = h * 2 * TN_FEW_COLUMN_BYTES;
    if (rope.head_dim < 32 * form::steps) {
        const uint32_t n_units = 2 * TN_FEW_COLUMN_BYTES / 16;
        if (tn_lane() < n_units) tn_shared_store16(s.q, at + tn_lane() * 16, (tn_u4{0, 0, 0, 0}));
        tn_sync_warp();
    }
    TN_UNROLL
    for (uint32_t j = 0; j < TN_FEW_DIMS / 64; j++) {
        if (tn_lane() + 32 * j >= rope.head_dim / 2) continue;
        tn_few_store_limbs(s, at + pairs.first_at[j], head.first[j], codes.to_codes);
        tn_few_store_limbs(s, at + pairs.second_at[j], head.second[j], codes.to_codes);
    }
    if (tn_lane() == 0) s.q_scale[h] = codes.scale * log2e_by_sqrt;
}

// Query heads of the token, of which n_heads are there, turned where `appends`; x: the warp's first.
template <class form, bool appends>
TN_FN void tn_few_queries(const tn_cuda_attention_params &p, const tn_few_shared &s, const tn_few_job &job, const float *x,
                          uint32_t n_heads, const tn_few_pairs &pairs)
{
    for (uint32_t h = tn_warp(); h < form::heads; h += TN_FEW_WARPS) {
        tn_head head = {};
        if (h < n_heads) {
            head = tn_few_head(x + (h - tn_warp()) * p.rope.head_dim, appends && p.rope.table, pairs);
            if (appends && tn_lane() == 0) tn_mark_poison(p.step, p.poison, job.token, p.rope.q_node, tn_float(head.absmax));
        }
        tn_few_store_query<form>(p.rope, s, h, head, pairs, p.log2e_by_sqrt);
    }
}

// ---- chunks ----

// Where a lane's dims of a head begin.
TN_FN uint32_t tn_few_first_dim() { return tn_warp() * 32 + tn_lane() / 4 * 4; }

// Gains of the lane's dims, where largest values are left: read early, and kept where they cost no registers.
TN_FN uint32_t tn_few_gains_at(uint32_t set) { return (set * TN_FEW_THREADS + tn_thread()) * 4; }
template <class form>
TN_FN void tn_few_keep_gains(const tn_cuda_attention_params &p, const tn_few_shared &s, uint32_t first_head, uint32_t n_heads)
{
    const uint32_t d = tn_few_first_dim();
    TN_UNROLL
    for (uint32_t set = 0; set < form::sets; set++) {
        const uint32_t h = set * 4 + tn_lane() % 4;
        if (h >= n_heads || d >= p.rope.head_dim) continue;
        const tn_four gains = tn_head_gains(p, first_head + h, d);
        tn_shared_store16(s.gains, tn_few_gains_at(set),
                          (tn_u4{tn_bits(gains.of[0]), tn_bits(gains.of[1]), tn_bits(gains.of[2]), tn_bits(gains.of[3])}));
    }
}

// all: of the walk's chunks so far, where they are absorbed.
template <class form, bool appends>
TN_FN void tn_few_store(const tn_cuda_attention_params &p, const tn_few_shared &s, const tn_few_job &job, const tn_few_chunk &chunk,
                        uint32_t first_head, uint32_t n_heads, const tn_share (&shares)[form::sets], tn_share (&all)[form::sets])
{
    const uint32_t d = tn_few_first_dim();
    if (d >= p.rope.head_dim) return;
    TN_UNROLL
    for (uint32_t set = 0; set < form::sets; set++) {
        const uint32_t h = set * 4 + tn_lane() % 4;
        if (h >= n_heads) continue;
        if (tn_few_leaves<appends>(job)) {
            tn_store_partial(p, job.token, first_head + h, chunk.number, d, shares[set]);
            continue;
        }
        if (chunk.number == 0)
            all[set] = shares[set];
        else
            tn_absorb(all[set], shares[set]);
        if (chunk.number != job.n_chunks - 1) continue;
        const tn_four stored = tn_store_share(p, job.token, first_head + h, d, all[set]);
        if (!appends || !p.next.words) continue;
        const tn_u4 v = tn_shared_load16(s.gains, tn_few_gains_at(set));
        tn_leave_largest_of(p, stored, {tn_float(v.x), tn_float(v.y), tn_float(v.z), tn_float(v.w)});
    }
}

// Whether the cache has the whole chunk from earlier steps, or all that is read of it: the step's tokens of a sequence are its last ones,
// without gaps.
TN_FN bool tn_few_is_old(const tn_cuda_attention_params &p, const tn_few_job &job, const tn_few_chunk &chunk)
{
    return (chunk.number + 1) * TN_KV_CHUNK + p.step.words[0] <= job.position + 1;
}

template <class form, class walk> TN_FN void tn_few_group(const tn_cuda_attention_params &p, const tn_few_job &job, walk &w)
{
    const uint32_t group = p.n_heads / p.n_kv_heads;
    TN_ROLLED
    for (uint32_t first = 0; first < group; first += form::heads) {
        const uint32_t rest = group - first;
        w.template heads<form>(p, job, job.kv_head * group + first, rest < form::heads ? rest : form::heads);
    }
}

// Whether this block is the last one of the token, which then brings together what they left.
template <bool appends> TN_FN void tn_few_finish(const tn_cuda_attention_params &p, const tn_few_job &job)
{
    if (!tn_few_leaves<appends>(job)) return;
    const uint32_t n_blocks = job.n_chunks < job.n_splits ? job.n_chunks : job.n_splits;
    if (tn_is_last_block(p.counters + job.token * p.n_kv_heads + job.kv_head, n_blocks))
        tn_few_combine(p, job.token, job.kv_head, job.n_chunks);
}

// The block's split of a token, which has chunks for it, by walk::heads.
template <bool appends, class walk> TN_FN void tn_few_token(const tn_cuda_attention_params &p, const tn_few_job &job, walk &w)
{
    const bool has_few = p.n_heads / p.n_kv_heads <= 4;
    if (p.rope.head_dim > 64 && has_few)
        tn_few_group<tn_few_form<4, 1, appends>>(p, job, w);
    else if (p.rope.head_dim > 64)
        tn_few_group<tn_few_form<4, 2, appends>>(p, job, w);
    else if (has_few)
        tn_few_group<tn_few_form<2, 1, appends>>(p, job, w);
    else
        tn_few_group<tn_few_form<2, 2, appends>>(p, job, w);
    tn_few_finish<appends>(p, job);
}

#endif
