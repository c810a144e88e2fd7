// The words of src/cuda/kernels/wgmma.cuh on the host, behind those of gpu_host.hpp.
#ifndef TN_TESTS_CUDA_HOST_WGMMA_HOST_HPP
#define TN_TESTS_CUDA_HOST_WGMMA_HOST_HPP

#include "cuda_host/emulation.hpp"

#define tn_wgmma_b(name, i) tn_wgmma_descriptor((uint32_t)(name).address(i))

TN_FN void tn_async_fence() { cuda_host::async_fence(); }
TN_FN void tn_wgmma_fence() { cuda_host::wgmma_fence(); }
TN_FN void tn_wgmma_commit() { cuda_host::wgmma_commit(); }
template <int n_left> static inline void tn_wgmma_wait(TN_CALLED_AT) { cuda_host::wgmma_wait(n_left, place); }
template <class T, uint32_t n> static inline void tn_wgmma_settle(T (&)[n]) {}
template <size_t n_half> static inline void tn_wgmma_us(int32_t (&d)[n_half], const uint32_t (&a)[4], uint64_t b, TN_CALLED_AT)
{
    cuda_host::wgmma(d, (uint32_t)(2 * n_half), a, b, place);
}

#endif
