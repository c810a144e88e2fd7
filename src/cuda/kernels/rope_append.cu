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

TN_KERNEL(rope_append, tn_cuda_rope_params, 128)
{
    const tn_cuda_rope &rope = p.rope;
    const uint32_t row = tn_block_x(), slot = tn_block_y() * TN_CUDA_ROPE_HEADS + tn_warp();
    if (row >= p.step.words[0] || slot >= rope.n_q + 2 * rope.n_kv) return;
    const uint32_t position = p.step.words[p.step.positions + row];
    const float *table = tn_rope_table_row(rope, position);
    if (slot < rope.n_q) {
        const size_t at = (size_t)slot * rope.head_dim;
        const tn_head head = tn_head_take(rope, tn_x_row(p.step, rope.q, row) + at, table);
        tn_store_query(rope, head, tn_y_row(p.step, p.qy, row) + at);
        if (tn_lane() == 0) tn_mark_poison(p.step, p.poison, row, rope.q_node, tn_float(head.absmax));
        return;
    }
    const bool is_key = slot < rope.n_q + rope.n_kv, turns = is_key && rope.k_node != 0;
    const uint32_t index = slot - rope.n_q - (is_key ? 0 : rope.n_kv);
    const float *x = tn_x_row(p.step, is_key ? rope.k : rope.v, row) + (size_t)index * rope.head_dim;
    const tn_head head = tn_head_take(rope, x, turns ? table : 0);
    if (turns && tn_lane() == 0) tn_mark_poison(p.step, p.poison, row, rope.k_node, tn_float(head.absmax));
    const uint32_t page = tn_kv_page(p.step, p.step.words[p.step.seqs + row], position / TN_KV_CHUNK);
    if (page >= p.kv.n_pages) return;
    const tn_kv_head kv = tn_kv_head_of(p.kv, page, index, rope.head_dim);
    if (is_key)
        tn_append_key(rope, head, tn_head_codes_of(head, rope.a_qk, rope.recip_a_qk), kv, position % TN_KV_CHUNK);
    else
        tn_append_value(rope, head, tn_head_codes_of(head, TN_A_V, TN_RECIP_A_V), kv, position % TN_KV_CHUNK);
}
