// Command buffers of a program: what begins every step, copies of pages, and one for each list.
#ifndef TN_VULKAN_VK_RECORD_H
#define TN_VULKAN_VK_RECORD_H

#include "vulkan/vk_list.h"

// The distinct grids of a program's lists: dispatches are indirect, their arguments written by the host beside the step, but those of a
// list of one token whose workgroups are the same in every step.
typedef struct tn_vk_grids {
    tn_vk_grid *grids; // owned
    uint32_t n_grids;
    size_t capacity;
} tn_vk_grids;

// What is bound beside a dispatch's own ranges.
typedef struct tn_vk_bound {
    const tn_vk_buffer *step, *arena, *state;
    uint64_t args_offset; // bytes of `step`: where the arguments of grid 0 lie
    bool is_timed;        // timestamps are written
} tn_vk_bound;

// Finds or adds each grid of the list, and fills list->grid_slots.  Errors: OUT_OF_MEMORY.
tn_status tn_vk_collect_grids(tn_vk_list *list, tn_vk_grids *grids);
// Records the dispatches of the list, with one barrier before each.  Errors: OUT_OF_MEMORY, DEVICE_LOST, INTERNAL.
tn_status tn_vk_record(tn_vk_device *device, VkCommandPool pool, const tn_vk_bound *bound, const tn_vk_buffer *in, const tn_vk_buffer *out,
                       tn_vk_list *list);
// Adds the time of each dispatch of the list's last run, which is over, to the nodes that it belongs to.
tn_status tn_vk_add_times(tn_vk_device *device, const tn_vk_list *list, uint64_t *node_ns);
// All that was written before is seen by what comes after, in shaders, copies, arguments and on the host.
void tn_vk_barrier(tn_vk_device *device, VkCommandBuffer commands);
tn_status tn_vk_begin(tn_vk_device *device, VkCommandPool pool, VkCommandBuffer *commands);
tn_status tn_vk_end(tn_vk_device *device, VkCommandBuffer commands);

#endif
