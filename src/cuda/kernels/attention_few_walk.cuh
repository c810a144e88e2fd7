// The query heads of a KV head over chunks split, split + n_splits, .. of a token, by a block: chunk by chunk as in attention_few_mma.cuh.
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

// ---- the token's own key and value ----

// The key (which = 0) or value, at x, by a warp: to where this block takes it from.
TN_FN void tn_few_own(const tn_cuda_attention_params &p, const tn_few_shared &s, const tn_few_job &job, uint32_t which, const float *x,
                      const tn_few_pairs &pairs)
{
    const tn_cuda_rope &rope = p.rope;
    const tn_head head = tn_few_head(x, which == 0 && rope.table, pairs);
    const tn_head_codes codes =
        which == 0 ? tn_head_codes_of(head, rope.a_qk, rope.recip_a_qk) : tn_head_codes_of(head, TN_A_V, TN_RECIP_A_V);
    TN_UNROLL
    for (uint32_t j = 0; j < TN_FEW_DIMS / 64; j++) {
        if (tn_lane() + 32 * j >= rope.head_dim / 2) continue;
        s.own[which * TN_FEW_DIMS + pairs.first[j]] = (uint16_t)tn_round_int(head.first[j] * codes.to_codes);
        s.own[which * TN_FEW_DIMS + pairs.second[j]] = (uint16_t)tn_round_int(head.second[j] * codes.to_codes);
    }
    for (uint32_t d = rope.head_dim + tn_lane(); d < TN_FEW_DIMS; d += 32) s.own[which * TN_FEW_DIMS + d] = 0;
    if (tn_lane() == 0) s.own_scale[which] = codes.scale;
    if (which == 0 && tn_lane() == 0) tn_mark_poison(p.step, p.poison, job.token, rope.k_node, tn_float(head.absmax));
}

// The same into the cache, for later steps, while the other warps go on.
TN_FN void tn_few_append(const tn_cuda_attention_params &p, const tn_few_shared &s, const tn_few_job &job, uint32_t which)
{
    const uint32_t head_dim = p.rope.head_dim, position = job.position % TN_KV_CHUNK;
    const uint32_t page = tn_kv_page(p.step, job.seq, job.position / TN_KV_CHUNK);
    if (page >= p.kv.n_pages) return;
    const tn_kv_head kv = tn_kv_head_of(p.kv, page, job.kv_head, head_dim);
    if (tn_lane() == 0) (which == 0 ? kv.k_scale : kv.v_scale)[position] = s.own_scale[which];
    if (which == 0) {
        const uint32_t d = tn_lane() * 8;
        if (d < head_dim) tn_store16(kv.keys + position * head_dim + d, tn_shared_load16(s.own, d));
        return;
    }
    for (uint32_t d = tn_lane(); d < head_dim; d += 32) kv.values[tn_kv_value_at(position, d, head_dim)] = (int16_t)s.own[TN_FEW_DIMS + d];
}

// Into the ring, which has all of the chunk, in place of what the cache has there: by the warp that has asked for it, a unit a lane of a
// key, of a value each lane what it has asked for itself.
template <class form> TN_FN void tn_few_put_own_key(const tn_few_shared &s, const tn_few_chunk &chunk)
{
    tn_async_wait<TN_FEW_VALUE_BATCHES>();
    const uint32_t own = chunk.n - 1, unit = tn_lane();
    if (tn_warp() != own / 32) return;
    tn_sync_warp();
    const uint32_t batch = own % 32 / 16 * (form::steps / 2) + unit / 8;
    if (unit >= 4 * form::steps) return;
    tn_shared_store16(s.ring, tn_few_key_at(batch * TN_FEW_BATCH, own % 16, unit % 8), tn_shared_load16(s.own, unit * 8));
}
template <class form> TN_FN void tn_few_put_own_value(const tn_few_shared &s, const tn_few_chunk &chunk)
{
    tn_async_wait<form::steps>(); // of the next chunk's keys
    const uint32_t own = chunk.n - 1, pair = own / 2, d = tn_warp() * 32 + tn_lane() / 4 * 4;
    if (tn_warp() >= form::steps || tn_lane() % 4 != pair % 16 / 4) return;
    const uint32_t at = tn_few_ring_at(form::steps * TN_FEW_BATCH + pair / 16 * 4 + pair % 4);
    const tn_u4 there = tn_shared_load16(s.ring, at);
    uint32_t words[4];
    TN_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        const uint32_t code = s.own[TN_FEW_DIMS + d + i];
        words[i] = own % 2 == 0 ? code : (tn_few_word(there, i) & 0xffffu) | code << 16;
    }
    tn_shared_store16(s.ring, at, (tn_u4{words[0], words[1], words[2], words[3]}));
}

// ---- chunks ----

// all: of the walk's chunks so far, where they are absorbed.
template <class form, bool appends>
TN_FN void tn_few_store(const tn_cuda_attention_params &p, const tn_few_job &job, const tn_few_chunk &chunk, uint32_t first_head,
                        uint32_t n_heads, const tn_share (&shares)[form::sets], tn_share (&all)[form::sets])
{
    const uint32_t d = tn_warp() * 32 + tn_lane() / 4 * 4;
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
        if (chunk.number == job.n_chunks - 1) tn_store_share(p, job.token, first_head + h, d, all[set]);
    }
}

// Whether the cache has the whole chunk from earlier steps, or all that is read of it: the step's tokens of a sequence are its last ones.
template <bool appends> TN_FN bool tn_few_is_old(const tn_cuda_attention_params &p, const tn_few_job &job, const tn_few_chunk &chunk)
{
    return appends || (chunk.number + 1) * TN_KV_CHUNK + p.step.words[0] <= job.position + 1;
}

// Up to form::heads query heads of the KV head over the job's chunks.
template <class form, bool appends>
TN_FN void tn_few_heads(const tn_cuda_attention_params &p, const tn_few_shared &s, const tn_few_job &job, uint32_t first_head,
                        uint32_t n_heads, bool &has_waited)
{
    const uint32_t head_dim = p.rope.head_dim;
    const bool works = !appends || tn_warp() < TN_FEW_WARPS;
    tn_few_chunk chunk = tn_few_chunk_of<appends>(p, job, 0);
    const bool starts_early = !has_waited && tn_few_is_old<appends>(p, job, chunk);
    if (works && starts_early) tn_few_start<form>(s, chunk, head_dim);
    const tn_few_pairs pairs = tn_few_pairs_of(p.rope, appends ? tn_rope_table_row(p.rope, job.position) : 0);
    const float *x = tn_few_row<appends>(p, job, first_head, n_heads);
    const bool is_first_pass = !has_waited; // and the only token, where it appends
    if (!has_waited) tn_wait_previous();
    has_waited = true;
    if (works && !starts_early) tn_few_start<form>(s, chunk, head_dim);
    if (works)
        tn_few_queries<form, appends>(p, s, job, x, n_heads, pairs);
    else if (is_first_pass && chunk.lacks_last)
        tn_few_own(p, s, job, tn_warp() - TN_FEW_WARPS, x, pairs);
    tn_sync();
    if (!works && is_first_pass && chunk.lacks_last) tn_few_append(p, s, job, tn_warp() - TN_FEW_WARPS);
    tn_share all[form::sets] = {};
    TN_ROLLED
    for (uint32_t index = 1; chunk.n > 0; index++) {
        const tn_few_chunk next = tn_few_chunk_of<appends>(p, job, index);
        const bool has_own = appends && chunk.lacks_last; // known to be false where nothing is appended
        tn_u4 values[TN_FEW_VALUE_BATCHES][TN_FEW_BATCH] = {};
        if (works) {
            if (has_own) tn_few_put_own_key<form>(s, chunk);
            tn_few_dots<form>(s, chunk, next, head_dim);
            if (has_own) tn_few_put_own_value<form>(s, chunk);
            if (form::has_all) tn_few_take_values<form>(s, chunk, next, head_dim, values);
        }
        tn_sync();
        if (works) {
            TN_ROLLED
            for (uint32_t set = 0; set < form::sets; set++) tn_few_weigh<form>(s, chunk, set * 4 + tn_warp(), p.recip_a_v);
        }
        tn_sync();
        if (works) {
            tn_share shares[form::sets];
            tn_few_values<form>(s, chunk, next, head_dim, values, shares);
            tn_few_store<form, appends>(p, job, chunk, first_head, n_heads, shares, all);
        }
        chunk = next;
    }
}

template <class form, bool appends>
TN_FN void tn_few_group(const tn_cuda_attention_params &p, const tn_few_shared &s, const tn_few_job &job, bool &has_waited)
{
    const uint32_t group = p.n_heads / p.n_kv_heads;
    TN_ROLLED
    for (uint32_t first = 0; first < group; first += form::heads) {
        const uint32_t rest = group - first;
        tn_few_heads<form, appends>(p, s, job, job.kv_head * group + first, rest < form::heads ? rest : form::heads, has_waited);
    }
}

// The block's split of a token, which has chunks for it. has_waited: for the kernel before.
template <bool appends>
TN_FN void tn_few_token(const tn_cuda_attention_params &p, const tn_few_shared &s, const tn_few_job &job, bool &has_waited)
{
    const bool has_few = p.n_heads / p.n_kv_heads <= 4;
    if (p.rope.head_dim > 64 && has_few)
        tn_few_group<tn_few_form<4, 1, appends>, appends>(p, s, job, has_waited);
    else if (p.rope.head_dim > 64)
        tn_few_group<tn_few_form<4, 2, appends>, appends>(p, s, job, has_waited);
    else if (has_few)
        tn_few_group<tn_few_form<2, 1, appends>, appends>(p, s, job, has_waited);
    else
        tn_few_group<tn_few_form<2, 2, appends>, appends>(p, s, job, has_waited);
    if (!tn_few_leaves<appends>(job)) return;
    const uint32_t n_blocks = job.n_chunks < job.n_splits ? job.n_chunks : job.n_splits;
    if (tn_is_last_block(p.counters + job.token * p.n_kv_heads + job.kv_head, n_blocks))
        tn_few_combine(p, job.token, job.kv_head, job.n_chunks);
}

#endif
