// Work that the last of some blocks to finish does.
#ifndef TN_CUDA_LAST_BLOCK_CUH
#define TN_CUDA_LAST_BLOCK_CUH

#include "cuda/kernels/gpu.cuh"

// Whether this block is the last of n_blocks to come here; if so, what the others stored is there for it, by fresh loads. The counter is 0
// again. `flag`: a word of shared memory.
TN_FN bool tn_is_last_block(uint32_t *counter, uint32_t n_blocks, TN_SHARED_ARG(uint32_t, flag))
{
    tn_fence();
    tn_sync();
    if (tn_thread() == 0) {
        const bool is_last = tn_atomic_add(counter, 1) == n_blocks - 1;
        tn_fence();
        if (is_last) *counter = 0;
        flag[0] = is_last;
    }
    tn_sync();
    return flag[0] != 0;
}

#endif
