// Attention of one token: chunks come through a ring in shared memory, which has room for one, in copies of 16 bytes that the warps ask for
// themselves, so that a warp waits for nothing but its own; the token's own key and value go there by hand.
#ifndef TN_CUDA_ATTENTION_FEW_RING_CUH
#define TN_CUDA_ATTENTION_FEW_RING_CUH

#include "cuda/kernels/attention_few_walk.cuh"

template <class form> TN_FN uint32_t tn_few_last_stored(const tn_few_chunk &chunk)
{
    const uint32_t n = tn_few_n_stored<form>(chunk);
    return n > 0 ? n - 1 : 0;
}

TN_FN uint32_t tn_few_ring_at(uint32_t unit) { return (unit * TN_FEW_THREADS + tn_thread()) * 16; }

// A batch of keys of a warp is 16 positions times 64 dims, 128 bytes of each, which are asked for side by side: memory gives whole lines. A
// lane asks for unit lane % 8 of positions lane / 8, 4 + lane / 8, .., and takes units 4 * step + t of positions g and g + 8. In odd
// positions the halves of 4 units change places, so that 8 lanes meet all banks. Positions that are not there are taken from where there
// are some, and dims too.
TN_FN uint32_t tn_few_key_place(uint32_t row, uint32_t unit) { return unit ^ row % 2 * 4; }

template <class form>
TN_FN const int16_t *tn_few_key_unit(const tn_few_chunk &chunk, uint32_t batch, uint32_t j, uint32_t lane, uint32_t head_dim)
{
    const uint32_t row = tn_warp() * 32 + batch / (form::steps / 2) * 16 + j * 4 + lane / 8, last = tn_few_last_stored<form>(chunk);
    const uint32_t dim = batch % (form::steps / 2) * 64 + tn_few_key_place(lane / 8, lane % 8) * 8;
    return chunk.keys + (row < last ? row : last) * head_dim + (dim < head_dim ? dim : 0);
}
// Where a unit of one of the 16 positions of a batch lies, whose units in the ring begin with `to`.
TN_FN uint32_t tn_few_key_at(uint32_t to, uint32_t row, uint32_t unit)
{
    return ((to + row / 4) * TN_FEW_THREADS + tn_warp() * 32 + row % 4 * 8 + tn_few_key_place(row, unit)) * 16;
}
// Values of a lane are [32 positions][4 pairs].
template <class form> TN_FN const int16_t *tn_few_value_unit(const tn_few_chunk &chunk, uint32_t unit, uint32_t lane, uint32_t head_dim)
{
    const uint32_t pair = unit / 4 * 16 + lane % 4 * 4 + unit % 4, last = tn_few_last_stored<form>(chunk) / 2;
    const uint32_t dim = tn_warp() * 32 + lane / 4 * 4;
    return chunk.keys + TN_KV_CHUNK * head_dim + ((pair < last ? pair : last) * head_dim + (dim < head_dim ? dim : 0)) * 2;
}

// Asks for a batch of a chunk; with the first one for the scales too.
template <class form> TN_FN void tn_few_load(const tn_few_shared &s, const tn_few_chunk &chunk, uint32_t batch, uint32_t head_dim)
{
    const uint32_t to = batch * TN_FEW_BATCH, lane = tn_late<800>(tn_lane());
    if (batch < form::steps) {
        TN_UNROLL
        for (uint32_t j = 0; j < TN_FEW_BATCH; j++)
            tn_async16(s.chunk, tn_few_ring_at(to + j), tn_few_key_unit<form>(chunk, batch, j, lane, head_dim));
    } else if (tn_warp() < form::steps) {
        TN_UNROLL
        for (uint32_t j = 0; j < TN_FEW_BATCH; j++)
            tn_async16(s.chunk, tn_few_ring_at(to + j),
                       tn_few_value_unit<form>(chunk, (batch - form::steps) * TN_FEW_BATCH + j, lane, head_dim));
    }
    if (batch == 0 && tn_warp() < 2) {
        const float *scales = reinterpret_cast<const float *>(chunk.keys + 2 * TN_KV_CHUNK * head_dim);
        tn_async16(s.scales, tn_few_scales_at(chunk) + tn_thread() * 16, scales + tn_thread() * 4);
    }
}

// Asks for a walk's first chunk.
template <class form> TN_FN void tn_few_start(const tn_few_shared &s, const tn_few_chunk &chunk, uint32_t head_dim)
{
    TN_ROLLED
    for (uint32_t batch = 0; batch < form::batches; batch++) {
        tn_few_load<form>(s, chunk, batch, head_dim);
        tn_async_commit();
    }
}

// A lane's units of a batch, whose places are asked to be filled with the next chunk's.
template <class form>
TN_FN void tn_few_take(const tn_few_shared &s, const tn_few_chunk &next, uint32_t batch, uint32_t head_dim, tn_u4 (&units)[TN_FEW_BATCH])
{
    tn_async_wait<form::batches - 1>();
    const uint32_t from = batch * TN_FEW_BATCH, lane = tn_late(tn_lane());
    if (batch < form::steps) {
        tn_sync_warp();
        TN_UNROLL
        for (uint32_t j = 0; j < TN_FEW_BATCH; j++)
            units[j] = tn_shared_load16(s.chunk, tn_few_key_at(from, lane / 4 + j % 2 * 8, j / 2 * 4 + lane % 4));
        tn_sync_warp();
    } else if (tn_warp() < form::steps) {
        TN_UNROLL
        for (uint32_t j = 0; j < TN_FEW_BATCH; j++) units[j] = tn_shared_load16(s.chunk, tn_few_ring_at(from + j));
    }
    if (next.n > 0) tn_few_load<form>(s, next, batch, head_dim);
    tn_async_commit();
}
template <class form>
TN_FN void tn_few_take_keys(const tn_few_shared &s, const tn_few_chunk &next, uint32_t head_dim, tn_u4 (&keys)[form::steps][TN_FEW_BATCH])
{
    TN_UNROLL
    for (uint32_t batch = 0; batch < form::steps; batch++) tn_few_take<form>(s, next, batch, head_dim, keys[batch]);
}
template <class form>
TN_FN void tn_few_take_values(const tn_few_shared &s, const tn_few_chunk &next, uint32_t head_dim,
                              tn_u4 (&values)[TN_FEW_VALUE_BATCHES][TN_FEW_BATCH])
{
    TN_UNROLL
    for (uint32_t step = 0; step < TN_FEW_VALUE_BATCHES; step++) tn_few_take<form>(s, next, form::steps + step, head_dim, values[step]);
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
    tn_shared_store16(s.chunk, tn_few_key_at(batch * TN_FEW_BATCH, own % 16, unit % 8), tn_shared_load16(s.own, unit * 8));
}
template <class form> TN_FN void tn_few_put_own_value(const tn_few_shared &s, const tn_few_chunk &chunk)
{
    tn_async_wait<form::steps>(); // of the next chunk's keys
    const uint32_t own = chunk.n - 1, pair = own / 2, d = tn_warp() * 32 + tn_lane() / 4 * 4;
    if (tn_warp() >= form::steps || tn_lane() % 4 != pair % 16 / 4) return;
    const uint32_t at = tn_few_ring_at(form::steps * TN_FEW_BATCH + pair / 16 * 4 + pair % 4);
    const tn_u4 there = tn_shared_load16(s.chunk, at);
    uint32_t words[4];
    TN_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        const uint32_t code = s.own[TN_FEW_DIMS + d + i];
        words[i] = own % 2 == 0 ? code : (tn_few_word(there, i) & 0xffffu) | code << 16;
    }
    tn_shared_store16(s.chunk, at, (tn_u4{words[0], words[1], words[2], words[3]}));
}

// ---- chunks ----

struct tn_few_ring_walk {
    tn_few_shared s;
    bool has_waited; // for the kernel before

    // Up to form::heads query heads of the KV head over the job's chunks.
    template <class form>
    TN_METHOD void heads(const tn_cuda_attention_params &p, const tn_few_job &job, uint32_t first_head, uint32_t n_heads)
    {
        const uint32_t head_dim = p.rope.head_dim;
        const bool works = tn_warp() < TN_FEW_WARPS;
        tn_few_chunk chunk = tn_few_chunk_of<true>(p, job, 0);
        if (works) tn_few_start<form>(s, chunk, head_dim);
        const tn_few_pairs pairs = tn_few_pairs_of(p.rope, tn_rope_table_row(p.rope, job.position));
        if (works && p.next.words) tn_few_keep_gains<form>(p, s, first_head, n_heads);
        const float *x = tn_few_row<true>(p, job, first_head, n_heads);
        const bool makes_own = !works && !has_waited && chunk.lacks_last;
        if (!has_waited) tn_wait_previous();
        has_waited = true;
        if (works) tn_few_queries<form, true>(p, s, job, x, n_heads, pairs);
        if (makes_own) tn_few_own(p, s, job, tn_warp() - TN_FEW_WARPS, x, pairs);
        tn_sync();
        if (makes_own) tn_few_append(p, s, job, tn_warp() - TN_FEW_WARPS);
        tn_share all[form::sets] = {};
        TN_ROLLED
        for (uint32_t index = 1; chunk.n > 0; index++) {
            const tn_few_chunk next = tn_few_chunk_of<true>(p, job, index);
            tn_u4 keys[form::steps][TN_FEW_BATCH] = {}, values[TN_FEW_VALUE_BATCHES][TN_FEW_BATCH] = {};
            if (works) {
                if (chunk.lacks_last) tn_few_put_own_key<form>(s, chunk);
                tn_few_take_keys<form>(s, next, head_dim, keys);
                tn_few_dots<form>(s, keys);
                if (chunk.lacks_last) tn_few_put_own_value<form>(s, chunk);
                tn_few_take_values<form>(s, next, head_dim, values);
            }
            tn_sync();
            if (works) {
                TN_ROLLED
                for (uint32_t set = 0; set < form::sets; set++) tn_few_weigh<form>(s, chunk, set * 4 + tn_warp(), p.recip_a_v);
            }
            tn_sync();
            if (works) {
                tn_share shares[form::sets];
                tn_few_values<form>(s, values, shares);
                tn_few_store<form, true>(p, s, job, chunk, first_head, n_heads, shares, all);
            }
            chunk = next;
        }
    }
};

#endif
