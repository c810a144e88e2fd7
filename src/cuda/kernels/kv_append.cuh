// A head of k or v into its place in the cache, by the warp that has it.
#ifndef TN_CUDA_KV_APPEND_CUH
#define TN_CUDA_KV_APPEND_CUH

#include "cuda/kernels/kv_page.cuh"
#include "cuda/kernels/rope.cuh"

#define TN_RECIP_A_V 0x1.001002p-12f // RN(1/4095)
enum { TN_A_V = 4095 };

TN_FN const float *tn_rope_table_row(const tn_cuda_rope &rope, uint32_t position)
{
    return rope.table ? rope.table + (size_t)position * rope.head_dim : 0;
}

TN_FN void tn_append_key(const tn_cuda_rope &rope, const tn_head &head, const tn_head_codes &codes, const tn_kv_head &kv, uint32_t position)
{
    int16_t *key = kv.keys + (size_t)position * rope.head_dim;
    TN_UNROLL
    for (uint32_t j = 0; j < TN_LANE_PAIRS; j++) {
        const uint32_t pair = tn_lane() + 32 * j;
        if (pair >= rope.head_dim / 2) continue;
        key[tn_pair_first(rope, pair)] = (int16_t)tn_round_int(head.first[j] * codes.to_codes);
        key[tn_pair_second(rope, pair)] = (int16_t)tn_round_int(head.second[j] * codes.to_codes);
    }
    if (tn_lane() == 0) kv.k_scale[position] = codes.scale;
}

TN_FN void tn_append_value(const tn_cuda_rope &rope, const tn_head &head, const tn_head_codes &codes, const tn_kv_head &kv,
                           uint32_t position)
{
    TN_UNROLL
    for (uint32_t j = 0; j < TN_LANE_PAIRS; j++) {
        const uint32_t pair = tn_lane() + 32 * j;
        if (pair >= rope.head_dim / 2) continue;
        const size_t first = tn_kv_value_at(position, tn_pair_first(rope, pair), rope.head_dim);
        const size_t second = tn_kv_value_at(position, tn_pair_second(rope, pair), rope.head_dim);
        kv.values[first] = (int16_t)tn_round_int(head.first[j] * codes.to_codes);
        kv.values[second] = (int16_t)tn_round_int(head.second[j] * codes.to_codes);
    }
    if (tn_lane() == 0) kv.v_scale[position] = codes.scale;
}

#endif
