// Host copies of what steps take in and give out, for buffers whose memory the host does not see or reads slowly: their bytes travel in the
// step's own submit. A buffer has one in each direction from the first step that uses it so, if the host has memory for it then.
//
// up: what the host wrote is kept until a step takes it in, or anything else uses the buffer. down: what the last step gave out is read
// from here, until anything else may have written to the buffer. All other bytes pass through staging (vk_transfer.c).
#ifndef TN_VULKAN_VK_MIRROR_H
#define TN_VULKAN_VK_MIRROR_H

#include "vulkan/vk_memory.h"

// A recorded copy between a buffer and its mirror; made anew when it is another's or of other bytes. Goes with its pool.
typedef struct tn_vk_carry {
    VkCommandBuffer commands;
    uint64_t buffer_serial, mirror_serial; // 0: nothing is recorded
    uint64_t begin, end;
} tn_vk_carry;

// Before a submit that reads `in`: *out_commands is what it must begin with, or VK_NULL_HANDLE where the device has all bytes.
tn_status tn_vk_mirror_ready_in(tn_vk_buffer *in, VkCommandPool pool, tn_vk_carry *carry, VkCommandBuffer *out_commands);
// Before a submit that writes the first n_bytes of `out`: *out_commands is what it must end with, behind a barrier and before one, or
// VK_NULL_HANDLE where the host reads them by itself or they are too many.
tn_status tn_vk_mirror_ready_out(tn_vk_buffer *out, uint64_t n_bytes, VkCommandPool pool, tn_vk_carry *carry,
                                 VkCommandBuffer *out_commands);
// After that submit, whose fence this is.
void tn_vk_mirror_took_in(tn_vk_buffer *in, uint64_t fence);
void tn_vk_mirror_gave_out(tn_vk_buffer *out, uint64_t n_bytes, uint64_t fence);
// Before anything else uses the buffer on the device, and may write to it: the device gets what the host wrote, by a submit of its own
// where something is left.
tn_status tn_vk_mirror_settle(tn_vk_buffer *buffer);

// Writing and reading by the host; false: the bytes have to go another way, and what was written before is on the device.
tn_status tn_vk_mirror_write(tn_vk_buffer *buffer, uint64_t offset, const void *src, uint64_t n, bool *out_done);
tn_status tn_vk_mirror_read(tn_vk_buffer *buffer, uint64_t offset, void *dst, uint64_t n, bool *out_done);

#endif
