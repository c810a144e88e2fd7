// Attention of many tokens, in heads of up to 128 dims, on integer tensor cores: a block has the tokens of a tile, one sequence after
// another.
#include "cuda/kernels/attention_tile.cuh"

// Behind the last token of the block's tile.
TN_FN uint32_t tn_tile_end(const tn_cuda_attention_params &p)
{
    const uint32_t first = tn_late(tn_block_x()) * TN_CUDA_ATTENTION_TOKENS, n_tokens = p.step.words[0];
    return n_tokens - first < TN_CUDA_ATTENTION_TOKENS ? n_tokens : first + TN_CUDA_ATTENTION_TOKENS;
}

TN_KERNEL_BLOCKS(attention_tile_mma, tn_cuda_attention_params, 128, 2)
{
    TN_SHARED(uint8_t, stages, TN_TILE_STAGES * TN_TILE_STAGE_BYTES);
    TN_SHARED(uint8_t, q, TN_TILE_ROWS * TN_TILE_STEPS_MAX * 64);
    TN_SHARED(float, q_scale, TN_TILE_ROWS);
    TN_SHARED(float, scales, 2 * TN_KV_CHUNK);
    const tn_tile_shared s = {stages, q, q_scale, scales};
    const uint32_t first = tn_block_x() * TN_CUDA_ATTENTION_TOKENS, n_tokens = p.step.words[0], end = tn_tile_end(p);
    if (first >= n_tokens || !tn_has_tile(p, first, end)) return;
    tn_tile_job job = {};
    job.kv_head = tn_block_y();
    TN_ROLLED
    for (job.first = first; job.first < (TN_MAKES_EARLY ? tn_tile_end(p) : end); job.first += job.n) {
        const uint32_t job_end = TN_MAKES_EARLY ? tn_tile_end(p) : end;
        job.seq = p.step.words[p.step.seqs + job.first];
        job.n = 1;
        while (job.first + job.n < job_end && p.step.words[p.step.seqs + job.first + job.n] == job.seq) job.n++;
        tn_tile_run(p, s, job);
    }
}
