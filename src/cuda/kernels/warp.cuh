// Integers of a warp's lanes brought together, the same in all of them: one instruction where the device has it.
#ifndef TN_CUDA_WARP_CUH
#define TN_CUDA_WARP_CUH

#include "cuda/kernels/gpu.cuh"

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
TN_FN uint32_t tn_lanes_max(uint32_t v) { return __reduce_max_sync(0xffffffffu, v); }
TN_FN int32_t tn_lanes_sum(int32_t v) { return __reduce_add_sync(0xffffffffu, v); }
TN_FN uint32_t tn_lanes_sum(uint32_t v) { return __reduce_add_sync(0xffffffffu, v); }
#else
TN_FN uint32_t tn_lanes_max(uint32_t v)
{
    TN_UNROLL for (uint32_t width = 16; width > 0; width /= 2)
    {
        const uint32_t other = tn_shfl_xor(v, width);
        v = other > v ? other : v;
    }
    return v;
}
TN_FN int32_t tn_lanes_sum(int32_t v)
{
    TN_UNROLL for (uint32_t width = 16; width > 0; width /= 2) v += tn_shfl_xor(v, width);
    return v;
}
TN_FN uint32_t tn_lanes_sum(uint32_t v)
{
    TN_UNROLL for (uint32_t width = 16; width > 0; width /= 2) v += tn_shfl_xor(v, width);
    return v;
}
#endif

#endif
