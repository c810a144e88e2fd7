// Attention of many tokens of a sequence, in heads of up to 128 dims, on integer tensor cores.
#include "cuda/kernels/attention_tile.cuh"

TN_FN void tn_tile_run(const tn_cuda_attention_params &p, const tn_tile_shared &s)
{
    if (p.rope.head_dim > 64)
        tn_tile_pass<4>(p, s);
    else
        tn_tile_pass<2>(p, s);
}

// Two blocks a multiprocessor, but where compilers make so much early that 128 registers are too few.
TN_KERNEL_EARLY(attention_tile_mma, tn_cuda_attention_params, 256, TN_ARCH >= 1000 ? 1 : 2)
{
    TN_SHARED_DYNAMIC(uint64_t, stages);
    TN_SHARED(uint32_t, q, TN_TILE_ROWS * TN_TILE_STEPS_MAX * 16);
    TN_SHARED(uint64_t, weights, TN_TILE_THREADS * TN_TILE_QUARTERS * 2);
    TN_SHARED(float, scales, 2 * TN_KV_CHUNK);
    TN_SHARED(float, q_scale, TN_TILE_ROWS);
    TN_SHARED(uint32_t, n_seen, TN_TILE_ROWS);
    TN_SHARED(float, largest, 2 * TN_TILE_ROWS);
    TN_SHARED(uint32_t, w_max, 2 * TN_TILE_ROWS);
    TN_SHARED(int32_t, l, 2 * TN_TILE_ROWS);
    TN_SHARED(int32_t, all_m, 2 * TN_TILE_ROWS);
    TN_SHARED(float, all_l, 2 * TN_TILE_ROWS);
    TN_SHARED(uint32_t, job, TN_TILE_JOB_WORDS);
    TN_SHARED(uint32_t, share, TN_TILE_SHARE_WORDS);
    const tn_tile_shared s = {stages, q, weights, scales, job, share, q_scale, n_seen, largest, w_max, l, all_m, all_l};
    if (p.partials)
        tn_tile_share_some(p, s);
    else
        tn_tile_share_whole(p, s);
    tn_wait_previous();
    TN_ROLLED
    while (tn_tile_next(p, s)) tn_tile_run(p, s);
}
