// The table of kernels, from their list.
#include "cuda/cuda_device.h"
#include "cuda/kernels/kernel_params.h"

const tn_cuda_kernel_info tn_cuda_kernels[TN_CUDA_N_KERNELS] = {
#define TN_CUDA_KERNEL(name, params, threads, form) [TN_CUDA_##name] = {#name, sizeof(struct params), threads, TN_CUDA_FORM_##form},
#include "cuda/kernels/cuda_kernels.inc"
};
