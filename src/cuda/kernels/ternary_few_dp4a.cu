// Ternary matrices times up to 8 rows of codes, for devices without mma of bytes.
#include "cuda/kernels/ternary_few.cuh"

TN_KERNEL_BLOCKS(ternary_few_dp4a, tn_cuda_ternary_params, 256, 2)
{
    TN_SHARED(int32_t, sums, tn_few_shared<tn_dot_few>::SUMS);
    TN_SHARED(uint32_t, scratch, tn_few_shared<tn_dot_few>::SCRATCH);
    tn_ternary_few<tn_dot_few>(p, sums, scratch);
}
