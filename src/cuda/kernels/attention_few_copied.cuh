// Attention of tokens that share nothing: a chunk's keys and its values lie in shared memory as in the cache, brought by two long copies.
// Keys of the next chunk are under way as soon as dots are made of this one's, values as soon as the last chunk's have been weighed.
#ifndef TN_CUDA_ATTENTION_FEW_COPIED_CUH
#define TN_CUDA_ATTENTION_FEW_COPIED_CUH

#include "cuda/kernels/attention_few_walk.cuh"

enum { TN_FEW_KEYS_COPY = 0, TN_FEW_VALUES_COPY = 1 }; // words of `arrival`

// Asked for by the threads for which tn_bulk_is_mine holds: the positions that are seen, with all scales.
TN_FN void tn_few_ask_keys(const tn_few_shared &s, const tn_few_chunk &chunk, uint32_t head_dim)
{
    const uint32_t n_bytes = chunk.n * head_dim * 2;
    const uint8_t *from = reinterpret_cast<const uint8_t *>(chunk.keys);
    tn_bulk_expect(s.arrival, TN_FEW_KEYS_COPY, n_bytes + TN_FEW_SCALES_BYTES);
    tn_bulk_copy(s.chunk, 0, from, n_bytes, s.arrival, TN_FEW_KEYS_COPY);
    tn_bulk_copy(s.scales, tn_few_scales_at(chunk), from + TN_KV_CHUNK * head_dim * 4, TN_FEW_SCALES_BYTES, s.arrival, TN_FEW_KEYS_COPY);
}
TN_FN void tn_few_ask_values(const tn_few_shared &s, const tn_few_chunk &chunk, uint32_t head_dim)
{
    const uint32_t n_bytes = (chunk.n + 1) / 2 * head_dim * 4, at = TN_KV_CHUNK * head_dim * 2;
    tn_bulk_expect(s.arrival, TN_FEW_VALUES_COPY, n_bytes);
    tn_bulk_copy(s.chunk, at, reinterpret_cast<const uint8_t *>(chunk.keys) + at, n_bytes, s.arrival, TN_FEW_VALUES_COPY);
}

TN_FN void tn_few_ask_first(const tn_few_shared &s, const tn_few_chunk &chunk, uint32_t head_dim)
{
    if (!tn_bulk_is_mine()) return;
    tn_few_ask_keys(s, chunk, head_dim);
    tn_few_ask_values(s, chunk, head_dim);
}

// A lane's keys: units of steps of 32 dims of positions g and g + 8 of 16. Positions that were not copied are taken from the last one, dims
// that there are not from the first one.
template <class form>
TN_FN void tn_few_copied_keys(const tn_few_shared &s, const tn_few_chunk &chunk, uint32_t head_dim,
                              tn_u4 (&keys)[form::steps][TN_FEW_BATCH])
{
    const uint32_t lane = tn_late(tn_lane()), last = chunk.n - 1;
    TN_UNROLL
    for (uint32_t i = 0; i < form::steps * TN_FEW_BATCH; i++) {
        const uint32_t row = tn_warp() * 32 + i / (2 * form::steps) * 16 + i % 2 * 8 + lane / 4,
                       dim = i / 2 % form::steps * 32 + lane % 4 * 8;
        const uint32_t at = ((row < last ? row : last) * head_dim + (dim < head_dim ? dim : 0)) * 2;
        keys[i / TN_FEW_BATCH][i % TN_FEW_BATCH] = tn_shared_load16(s.chunk, at);
    }
}
// Its values: four pairs of each 32 positions.
template <class form>
TN_FN void tn_few_copied_values(const tn_few_shared &s, const tn_few_chunk &chunk, uint32_t head_dim,
                                tn_u4 (&values)[TN_FEW_VALUE_BATCHES][TN_FEW_BATCH])
{
    const uint32_t lane = tn_late(tn_lane()), last = (chunk.n - 1) / 2, dim = tn_warp() * 32 + lane / 4 * 4;
    const uint32_t from = (TN_KV_CHUNK * head_dim + (dim < head_dim ? dim : 0) * 2) * 2;
    TN_UNROLL
    for (uint32_t i = 0; i < TN_FEW_VALUE_BATCHES * TN_FEW_BATCH; i++) {
        const uint32_t pair = i / 4 * 16 + lane % 4 * 4 + i % 4;
        values[i / TN_FEW_BATCH][i % TN_FEW_BATCH] = tn_shared_load16(s.chunk, from + (pair < last ? pair : last) * head_dim * 4);
    }
}

struct tn_few_copied_walk {
    tn_few_shared s;
    bool has_waited; // for the kernel before
    uint32_t parity; // of the next copies

    // Up to form::heads query heads of the KV head over the job's chunks.
    template <class form>
    TN_METHOD void heads(const tn_cuda_attention_params &p, const tn_few_job &job, uint32_t first_head, uint32_t n_heads)
    {
        const uint32_t head_dim = p.rope.head_dim;
        tn_few_chunk chunk = tn_few_chunk_of<false>(p, job, 0);
        const bool starts_early = !has_waited && tn_few_is_old(p, job, chunk);
        if (has_waited) tn_sync(); // values of the walk before have been read
        if (starts_early) tn_few_ask_first(s, chunk, head_dim);
        if (!has_waited) tn_wait_previous();
        if (!starts_early) tn_few_ask_first(s, chunk, head_dim);
        has_waited = true;
        const tn_few_pairs pairs = tn_few_pairs_of(p.rope, 0);
        tn_few_queries<form, false>(p, s, job, tn_few_row<false>(p, job, first_head, n_heads), n_heads, pairs);
        tn_share all[form::sets] = {};
        TN_ROLLED
        for (uint32_t index = 1; chunk.n > 0; index++) {
            const tn_few_chunk next = tn_few_chunk_of<false>(p, job, index);
            tn_bulk_wait(s.arrival, TN_FEW_KEYS_COPY, parity);
            tn_sync(); // values of the chunk before have been read too
            if (tn_bulk_is_mine() && index > 1) tn_few_ask_values(s, chunk, head_dim);
            tn_u4 keys[form::steps][TN_FEW_BATCH];
            tn_few_copied_keys<form>(s, chunk, head_dim, keys);
            tn_few_dots<form>(s, keys);
            tn_sync();
            if (tn_bulk_is_mine() && next.n > 0) tn_few_ask_keys(s, next, head_dim);
            TN_ROLLED
            for (uint32_t set = 0; set < form::sets; set++) tn_few_weigh<form>(s, chunk, set * 4 + tn_warp(), p.recip_a_v);
            tn_bulk_wait(s.arrival, TN_FEW_VALUES_COPY, parity);
            tn_sync();
            tn_u4 values[TN_FEW_VALUE_BATCHES][TN_FEW_BATCH];
            tn_few_copied_values<form>(s, chunk, head_dim, values);
            tn_share shares[form::sets];
            tn_few_values<form>(s, values, shares);
            tn_few_store<form, false>(p, s, job, chunk, first_head, n_heads, shares, all);
            parity ^= 1;
            chunk = next;
        }
    }
};

#endif
