// Programs: a run of nodes as CUDA graphs.
#ifndef TN_CUDA_CUDA_PROGRAM_H
#define TN_CUDA_CUDA_PROGRAM_H

#include "cuda/cuda_launch.h"

// The backend table's functions.
tn_status tn_cuda_op_supported(tn_device *device, const tn_graph *graph, const tn_node *node);
tn_status tn_cuda_program_check(tn_device *device, const tn_program_desc *desc, tn_program_needs *out_needs);
tn_status tn_cuda_program_create(tn_device *device, const tn_program_desc *desc, tn_program **out_program);
void tn_cuda_program_destroy(tn_program *program);
uint64_t tn_cuda_program_scratch_bytes(const tn_program *program);
tn_status tn_cuda_program_submit(tn_program *program, const tn_submit *submit, tn_fence *out_fence);
tn_status tn_cuda_fence_wait(tn_device *device, tn_fence fence);
// Outside the device's context: whoever could wait for this fence is told of a failure instead. Its program waits before its next step.
void tn_cuda_fence_abandon(tn_device *device, tn_fence fence);
// The launches by which it does steps of n_tokens, and where what they share lies: for whoever makes other graphs of them. Borrowed from
// the program.
const tn_cuda_list *tn_cuda_program_list(tn_program *program, uint32_t n_tokens, const tn_cuda_places **out_places);

#endif
