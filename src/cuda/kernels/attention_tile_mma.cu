// Attention of many tokens, in heads of up to 128 dims, on integer tensor cores: a block has the tokens of a tile, one sequence after
// another. The last tiles, which see the most positions where a prompt is the step, come first.
#include "cuda/kernels/attention_tile.cuh"

// How many of tokens first .. end - 1, at most 32 of them, are of the first one's sequence, counted up to the first that is not.
TN_FN uint32_t tn_tile_count(const tn_cuda_attention_params &p, uint32_t first, uint32_t end, uint32_t seq)
{
    const uint32_t token = first + tn_lane();
    uint32_t others = tn_ballot(token >= end || p.step.words[p.step.seqs + token] != seq), n = 0;
    while (n < end - first && !(others >> n & 1)) n++;
    return n;
}

TN_KERNEL_EARLY(attention_tile_mma, tn_cuda_attention_params, 256, 2)
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
    const tn_tile_shared s = {stages, q, weights, scales, q_scale, n_seen, largest, w_max, l, all_m, all_l};
    const uint32_t n_tokens = p.step.words[0], n_tiles = (n_tokens + TN_CUDA_ATTENTION_TOKENS - 1) / TN_CUDA_ATTENTION_TOKENS;
    const uint32_t block = tn_block_y() * tn_grid_x() + tn_block_x(), tile = n_tiles - 1 - block / p.n_kv_heads;
    const uint32_t first = tile * TN_CUDA_ATTENTION_TOKENS;
    const uint32_t end = n_tokens - first < TN_CUDA_ATTENTION_TOKENS ? n_tokens : first + TN_CUDA_ATTENTION_TOKENS;
    const bool has_work = block / p.n_kv_heads < n_tiles && tn_has_tile(p, first, end);
    tn_wait_previous();
    if (!has_work) return;
    tn_tile_job job = {};
    job.kv_head = block % p.n_kv_heads;
    TN_ROLLED
    for (job.first = first; job.first < end; job.first += job.n) {
        job.seq = p.step.words[p.step.seqs + job.first];
        job.n = tn_tile_count(p, job.first, end, job.seq);
        tn_tile_run(p, s, job);
    }
}
