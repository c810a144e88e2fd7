// Programs: a run of nodes as recorded command buffers.
#ifndef TN_VULKAN_VK_PROGRAM_H
#define TN_VULKAN_VK_PROGRAM_H

#include "vulkan/vk_memory.h"

// The backend table's functions.
tn_status tn_vk_op_supported(tn_device *device, const tn_graph *graph, const tn_node *node);
tn_status tn_vk_program_check(tn_device *device, const tn_program_desc *desc, tn_program_needs *out_needs);
tn_status tn_vk_program_create(tn_device *device, const tn_program_desc *desc, tn_program **out_program);
void tn_vk_program_destroy(tn_program *program);
uint64_t tn_vk_program_scratch_bytes(const tn_program *program);
tn_status tn_vk_program_submit(tn_program *program, const tn_submit *submit, tn_fence *out_fence);
tn_status tn_vk_fence_wait(tn_device *device, tn_fence fence);

#endif
