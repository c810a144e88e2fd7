// Buffers: where their memory lies, and how bytes get there.
//
// Who reads or writes a buffer has waited for the steps that use it. Mapped bytes are copied at once; others pass through staging, in a
// submit that is over when the call returns, but for those that a step carries (vk_mirror.h). A program leaves what it wrote visible to the
// host (a barrier to HOST_READ at its end) and to transfers; what the host or a transfer wrote is visible to every later submit that uses
// the buffer.
#ifndef TN_VULKAN_VK_MEMORY_H
#define TN_VULKAN_VK_MEMORY_H

#include "vulkan/vk_device.h"

typedef enum tn_vk_place {
    TN_VK_PLACE_DEVICE,   // fastest for the device; mapped where the host sees it too (UMA, ReBAR)
    TN_VK_PLACE_UPLOAD,   // mapped: the host writes, the device reads
    TN_VK_PLACE_READBACK, // mapped: the device writes, the host reads
} tn_vk_place;

// Host memory beside a buffer, byte for byte (vk_mirror.h).
typedef struct tn_vk_mirror {
    struct tn_vk_buffer *host; // mapped; NULL: no step needed it yet, or it is refused
    bool is_refused;           // there was no memory for it: it is not asked for again
    uint64_t begin, end;       // up: bytes that the device has still to get; down: bytes that are the device's. Empty: both 0
    uint64_t fence;            // of the last submit that copies from or to it
} tn_vk_mirror;

// Storage, indirect arguments, texels, copies: every buffer may be used for all.
typedef struct tn_vk_buffer {
    tn_buffer base;
    VkBuffer handle;
    VkDeviceMemory memory;
    uint64_t serial;       // no other buffer of the device has it, before or after
    uint64_t memory_bytes; // of `memory`; the VkBuffer has size_bytes rounded up to 16, all of it zero where the buffer is new
    uint8_t *mapped;       // NULL: the host does not see it
    bool is_coherent;      // of mapped memory: no flush is needed
    bool is_cached;        // of mapped memory: the host reads it fast
    bool is_read_only;
    tn_vk_mirror up, down; // what steps take in and give out
} tn_vk_buffer;

static inline tn_vk_buffer *tn_vk_buffer_of(tn_buffer *buffer) { return (tn_vk_buffer *)buffer; }

// Not zeroed. size_bytes 0 gives a buffer of one byte inside.  Errors: OUT_OF_MEMORY (the message names the size, the limit and what to
// do).
tn_status tn_vk_memory_create(tn_vk_device *device, uint64_t size_bytes, tn_vk_place place, tn_vk_buffer **out_buffer);
void tn_vk_memory_destroy(tn_vk_buffer *buffer); // NULL is fine
// After the host wrote, or before it reads, mapped bytes.
tn_status tn_vk_memory_flush(tn_vk_buffer *buffer);
tn_status tn_vk_memory_invalidate(tn_vk_buffer *buffer);
// The same for some of its bytes, which lie inside.
tn_status tn_vk_memory_flush_range(tn_vk_buffer *buffer, uint64_t offset_bytes, uint64_t n_bytes);
tn_status tn_vk_memory_invalidate_range(tn_vk_buffer *buffer, uint64_t offset_bytes, uint64_t n_bytes);

// Staging for buffers that the host does not see; made when first needed.
void tn_vk_transfer_destroy(tn_vk_transfer *transfer);
// Copies between two buffers, in a submit of its own that is over when it returns.
tn_status tn_vk_transfer_copy(const tn_vk_buffer *from, uint64_t from_at, const tn_vk_buffer *to, uint64_t to_at, uint64_t n_bytes);

// The backend table's functions.
tn_status tn_vk_buffer_create(tn_device *device, uint64_t size_bytes, tn_buffer **out_buffer);
void tn_vk_buffer_destroy(tn_buffer *buffer);
tn_status tn_vk_buffer_write(tn_buffer *buffer, uint64_t offset_bytes, const void *src, uint64_t n_bytes);
tn_status tn_vk_buffer_read(tn_buffer *buffer, uint64_t offset_bytes, void *dst, uint64_t n_bytes);
// A device buffer with a copy of the bytes (the caller's stay as they are).
tn_status tn_vk_buffer_map(tn_device *device, const void *bytes, uint64_t size_bytes, tn_buffer **out_buffer);

#endif
