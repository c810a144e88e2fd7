// Attention of one token on integer tensor cores, in heads of up to 128 dims, with RoPE, quantisation and the append in front. Every block
// turns the queries for itself; the token's own key and value are made by two warps of their own in the block of each KV head that has the
// last chunk, which alone reads that position. Blocks have a whole chunk on its way before they wait for the kernel in front.
#include "cuda/kernels/attention_few_ring.cuh"

TN_KERNEL_EARLY(attention_one_mma, tn_cuda_attention_params, 192, 2)
{
    TN_SHARED_DYNAMIC(int8_t, chunk);
    TN_SHARED(uint8_t, q, TN_FEW_COLUMNS * TN_FEW_COLUMN_BYTES);
    TN_SHARED(float, q_scale, TN_FEW_HEADS);
    TN_SHARED(int32_t, dots, TN_FEW_HEADS * TN_FEW_DOTS);
    TN_SHARED(uint32_t, u, TN_FEW_COLUMNS * TN_FEW_COLUMN_BYTES / 4);
    TN_SHARED(float, share, TN_FEW_HEADS * 4);
    TN_SHARED(int8_t, scales, 2 * TN_FEW_SCALES_BYTES);
    TN_SHARED(uint16_t, own, 2 * TN_FEW_DIMS);
    TN_SHARED(float, own_scale, 2);
    TN_SHARED(float, gains, 2 * TN_FEW_THREADS * 4);
    TN_SHARED(uint64_t, arrival, 1); // of the copy engine, which this kernel has nothing of
    const tn_few_job job = tn_few_job_of(p, 0, tn_block_x());
    tn_few_ring_walk walk = {{chunk, q, q_scale, dots, u, share, scales, own, own_scale, gains, arrival}, false};
    if (job.split < job.n_chunks) tn_few_token<true>(p, job, walk);
    if (!walk.has_waited) tn_wait_previous();
}
