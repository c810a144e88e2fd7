// Attention of tokens that share nothing, on integer tensor cores, in heads of up to 128 dims: their queries are turned, and their keys and
// values are in the cache.
#include "cuda/kernels/attention_few_walk.cuh"

// The block's split of each n_shares'th token of a tile, if the launch is for the tile.
TN_FN void tn_few_tile(const tn_cuda_attention_params &p, const tn_few_shared &s, bool &has_waited)
{
    const uint32_t first = tn_block_x() / p.n_shares * TN_CUDA_ATTENTION_TOKENS, n_tokens = p.step.words[0];
    if (first >= n_tokens) return;
    const uint32_t end = n_tokens - first < TN_CUDA_ATTENTION_TOKENS ? n_tokens : first + TN_CUDA_ATTENTION_TOKENS;
    if (!tn_has_tile(p, first, end)) return;
    uint32_t token = first + tn_block_x() % p.n_shares;
    bool is_there = token < end;
    while (is_there) {
        const tn_few_job job = tn_few_job_of(p, token, tn_block_z());
        if (job.split < job.n_chunks) tn_few_token<false>(p, s, job, has_waited);
        const uint32_t next = token + p.n_shares; // the tile's end is found anew: there is no register for it
        is_there = next / TN_CUDA_ATTENTION_TOKENS == token / TN_CUDA_ATTENTION_TOKENS && next < p.step.words[0];
        token = next;
    }
}

TN_KERNEL_EARLY(attention_few_mma, tn_cuda_attention_params, 128, 4)
{
    TN_SHARED(uint8_t, ring, TN_FEW_RING_BYTES);
    TN_SHARED(uint8_t, q, TN_FEW_COLUMNS * TN_FEW_COLUMN_BYTES);
    TN_SHARED(float, q_scale, TN_FEW_HEADS);
    TN_SHARED(int32_t, dots, TN_FEW_HEADS * TN_FEW_DOTS);
    TN_SHARED(uint32_t, u, TN_FEW_COLUMNS * TN_FEW_COLUMN_BYTES / 4);
    TN_SHARED(float, share, TN_FEW_HEADS * 4);
    TN_SHARED(float, scales, 2 * TN_KV_CHUNK);
    TN_SHARED(uint16_t, own, 1); // of tokens that are appended here
    TN_SHARED(float, own_scale, 1);
    const tn_few_shared s = {ring, q, q_scale, dots, u, share, scales, own, own_scale};
    bool has_waited = false;
    tn_few_tile(p, s, has_waited);
    if (!has_waited) tn_wait_previous();
}
