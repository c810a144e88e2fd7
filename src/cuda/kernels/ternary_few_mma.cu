// Ternary matrices times up to 8, 16, 32 and 64 rows of codes on the tensor cores.
#include "cuda/kernels/ternary_few_mma.cuh"

#define TN_FEW_KERNEL(name, n_octets, n_blocks)                                                                                            \
    TN_KERNEL_EARLY(name, tn_cuda_ternary_params, 256, n_blocks)                                                                           \
    {                                                                                                                                      \
        TN_SHARED_DYNAMIC(uint32_t, words);                                                                                                \
        TN_SHARED(float, weights, 512);                                                                                                    \
        TN_SHARED(float, codes, 8 * n_octets);                                                                                             \
        TN_SHARED(int32_t, code_sums, 8 * n_octets);                                                                                       \
        const tn_few_scales scales = {weights, codes, code_sums};                                                                          \
        tn_ternary_few_mma<n_octets>(p, words, scales);                                                                                    \
    }

TN_FEW_KERNEL(ternary_few8_mma, 1, 2)
TN_FEW_KERNEL(ternary_few16_mma, 2, 2)
TN_FEW_KERNEL(ternary_few32_mma, 4, 2)
TN_FEW_KERNEL(ternary_few64_mma, 8, 1)
