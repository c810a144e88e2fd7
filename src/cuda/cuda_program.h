// Programs: a run of nodes as CUDA graphs.
#ifndef TN_CUDA_CUDA_PROGRAM_H
#define TN_CUDA_CUDA_PROGRAM_H

#include "cuda/cuda_memory.h"

// The backend table's functions. Those that return a status are called within tn_cuda_enter and tn_cuda_leave (cuda_backend.c) but for
// op_supported, which asks no driver.
tn_status tn_cuda_op_supported(tn_device *device, const tn_graph *graph, const tn_node *node);
tn_status tn_cuda_program_create(tn_device *device, const tn_program_desc *desc, tn_program **out_program);
// Of a lost device too; makes the context current itself.
void tn_cuda_program_destroy(tn_program *program);
uint64_t tn_cuda_program_scratch_bytes(const tn_program *program);
tn_status tn_cuda_program_submit(tn_program *program, const tn_submit *submit, tn_fence *out_fence);
// Of a lost device too: its programs leave the flight.
tn_status tn_cuda_fence_wait(tn_device *device, tn_fence fence);

#endif
