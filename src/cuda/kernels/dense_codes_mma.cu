// Products of many tokens with quantised dense weights. Grid x: blocks of TN_CUDA_DENSE_MMA_ROWS rows of W; y: tiles of
// TN_CUDA_DENSE_MMA_TOKENS tokens.
#include "cuda/kernels/dense_codes_mma.cuh"

enum {
    TN_TENSOR_WORDS64 = TN_TENSOR_STAGES * TN_CUDA_DENSE_MMA_TOKENS * tn_tensor_raw_q8_0::TOKEN_BYTES / 8,
    TN_TENSOR_WORDS32 = TN_TENSOR_STAGES * TN_CUDA_DENSE_MMA_TOKENS * tn_tensor_raw_q6_k::TOKEN_BYTES / 4,
    TN_TENSOR_SCALES = TN_TENSOR_STAGES * TN_CUDA_DENSE_MMA_TOKENS,
};

TN_KERNEL(dense_q8_0_mma, tn_cuda_dense_params, 256)
{
    TN_SHARED(uint64_t, codes, TN_TENSOR_WORDS64);
    TN_SHARED(float, scales, 8 * TN_TENSOR_SCALES);
    tn_tensor_tiles<tn_tensor_raw_q8_0>(p, {codes, scales});
}
TN_KERNEL(dense_q4_0_mma, tn_cuda_dense_params, 256)
{
    TN_SHARED(uint64_t, codes, TN_TENSOR_WORDS64);
    TN_SHARED(float, scales, 8 * TN_TENSOR_SCALES);
    tn_tensor_tiles<tn_tensor_raw_q4_0>(p, {codes, scales});
}
TN_KERNEL(dense_q6_k_mma, tn_cuda_dense_params, 256)
{
    TN_SHARED(uint32_t, codes, TN_TENSOR_WORDS32);
    TN_SHARED(float, scales, TN_TENSOR_SCALES);
    tn_tensor_tiles<tn_tensor_raw_q6_k>(p, {codes, scales});
}
