// RoPE of queries and keys, and the append of keys and values to the cache: a warp a head, which needs nothing of other warps.
#include "cuda/kernels/kv_append.cuh"
#include "cuda/kernels/rows_io.cuh"

TN_FN void tn_store_query(const tn_cuda_rope &rope, const tn_head &head, float *y)
{
    TN_UNROLL
    for (uint32_t j = 0; j < TN_LANE_PAIRS; j++) {
        const uint32_t pair = tn_lane() + 32 * j;
        if (pair >= rope.head_dim / 2) continue;
        y[tn_pair_first(rope, pair)] = head.first[j];
        y[tn_pair_second(rope, pair)] = head.second[j];
    }
}

// Where a warp's head comes from, and where in the cache a key or value goes: what the step alone tells.
struct tn_rope_place {
    uint32_t position, index, page;
    bool is_query, is_key, turns;
    const float *x, *table;
};
TN_FN tn_rope_place tn_rope_place_of(const tn_cuda_rope_params &p, uint32_t row, uint32_t slot)
{
    const tn_cuda_rope &rope = p.rope;
    tn_rope_place place;
    place.position = p.step.words[p.step.positions + row];
    place.is_query = slot < rope.n_q;
    place.is_key = !place.is_query && slot < rope.n_q + rope.n_kv;
    place.turns = place.is_query || (place.is_key && rope.k_node != 0);
    place.index = slot - (place.is_query ? 0 : place.is_key ? rope.n_q : rope.n_q + rope.n_kv);
    place.page = place.is_query ? 0 : tn_kv_page(p.step, p.step.words[p.step.seqs + row], place.position / TN_KV_CHUNK);
    place.x = tn_x_row(p.step, place.is_query ? rope.q : place.is_key ? rope.k : rope.v, row) + (size_t)place.index * rope.head_dim;
    place.table = place.turns ? tn_rope_table_row(rope, place.position) : 0;
    return place;
}

TN_KERNEL_EARLY(rope_append, tn_cuda_rope_params, 128, 4)
{
    const tn_cuda_rope &rope = p.rope;
    const uint32_t row = tn_block_x(), slot = tn_block_y() * TN_CUDA_ROPE_HEADS + tn_warp();
    if (row >= p.step.words[0] || slot >= rope.n_q + 2 * rope.n_kv) {
        tn_wait_previous();
        return;
    }
    const tn_rope_place place = tn_rope_place_of(p, row, slot);
    tn_wait_previous();
    const tn_head head = tn_head_take(rope, place.x, place.table);
    if (place.turns && tn_lane() == 0)
        tn_mark_poison(p.step, p.poison, row, place.is_query ? rope.q_node : rope.k_node, tn_float(head.absmax));
    if (place.is_query) {
        tn_store_query(rope, head, tn_y_row(p.step, p.qy, row) + (size_t)place.index * rope.head_dim);
        return;
    }
    if (place.page >= p.kv.n_pages) return;
    const tn_kv_head kv = tn_kv_head_of(p.kv, place.page, place.index, rope.head_dim);
    if (place.is_key)
        tn_append_key(rope, head, tn_head_codes_of(head, rope.a_qk, rope.recip_a_qk), kv, place.position % TN_KV_CHUNK);
    else
        tn_append_value(rope, head, tn_head_codes_of(head, TN_A_V, TN_RECIP_A_V), kv, place.position % TN_KV_CHUNK);
}
