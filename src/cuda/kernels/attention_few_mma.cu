// Attention of tokens that share nothing, on integer tensor cores, in heads of up to 128 dims: their queries are turned, and their keys and
// values are in the cache.
#include "cuda/kernels/attention_few_copied.cuh"

// The block's split of each n_shares'th token of a tile, if the launch is for the tile.
TN_FN void tn_few_tile(const tn_cuda_attention_params &p, tn_few_copied_walk &walk)
{
    const uint32_t first = tn_block_x() / p.n_shares * TN_CUDA_ATTENTION_TOKENS, n_tokens = p.step.words[0];
    if (first >= n_tokens) return;
    const uint32_t end = n_tokens - first < TN_CUDA_ATTENTION_TOKENS ? n_tokens : first + TN_CUDA_ATTENTION_TOKENS;
    if (!tn_has_tile(p, first, end)) return;
    uint32_t token = first + tn_block_x() % p.n_shares;
    bool is_there = token < end;
    while (is_there) {
        const tn_few_job job = tn_few_job_of(p, token, tn_block_z());
        if (job.split < job.n_chunks) tn_few_token<false>(p, job, walk);
        const uint32_t next = token + p.n_shares; // the tile's end is found anew: there is no register for it
        is_there = next / TN_CUDA_ATTENTION_TOKENS == token / TN_CUDA_ATTENTION_TOKENS && next < p.step.words[0];
        token = next;
    }
}

TN_KERNEL_EARLY(attention_few_mma, tn_cuda_attention_params, 128, 3)
{
    TN_SHARED_DYNAMIC(int8_t, chunk);
    TN_SHARED(uint8_t, q, TN_FEW_COLUMNS * TN_FEW_COLUMN_BYTES);
    TN_SHARED(float, q_scale, TN_FEW_HEADS);
    TN_SHARED(int32_t, dots, TN_FEW_HEADS * TN_FEW_DOTS);
    TN_SHARED(uint32_t, u, TN_FEW_COLUMNS * TN_FEW_COLUMN_BYTES / 4);
    TN_SHARED(float, share, TN_FEW_HEADS * 4);
    TN_SHARED(int8_t, scales, 2 * TN_FEW_SCALES_BYTES);
    TN_SHARED(uint16_t, own, 1); // of tokens that are appended here
    TN_SHARED(float, own_scale, 1);
    TN_SHARED(float, gains, 1);
    TN_SHARED(uint64_t, arrival, 2);
    if (tn_bulk_is_mine()) tn_bulk_init(arrival, 2);
    tn_sync();
    tn_few_copied_walk walk = {{chunk, q, q_scale, dots, u, share, scales, own, own_scale, gains, arrival}, false, 0};
    tn_few_tile(p, walk);
    if (!walk.has_waited) tn_wait_previous();
}
