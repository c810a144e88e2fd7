// Device memory: which type a buffer gets, mapping, and checks of what callers ask for.
#include "vulkan/vk_memory.h"

#include "base/alloc.h"
#include "base/checked.h"

#include <inttypes.h>

enum { SIZE_MULTIPLE = 16 }; // of every VkBuffer: shaders see it as elements of 16 bytes

static const VkMemoryPropertyFlags known_flags = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT | VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
                                                 VK_MEMORY_PROPERTY_HOST_COHERENT_BIT | VK_MEMORY_PROPERTY_HOST_CACHED_BIT;

// How well a memory type suits a place; 0: not at all. Types with flags of extensions (protected, device-coherent) are for those who ask.
static uint32_t suits(const tn_vk_device *device, uint32_t type, tn_vk_place place)
{
    const VkMemoryType *t = &device->memory.memoryTypes[type];
    const VkMemoryPropertyFlags flags = t->propertyFlags;
    const bool local = flags & VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, visible = flags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT;
    const bool coherent = flags & VK_MEMORY_PROPERTY_HOST_COHERENT_BIT, cached = flags & VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
    if (flags & ~known_flags) return 0;
    switch (place) {
    case TN_VK_PLACE_DEVICE:
        // The largest heap before a small window of it; there, what the host sees too (UMA, ReBAR). Behind them, where the device reads the
        // host's memory as fast as its own (UMA), that: firmware often sets aside no more than 512 MiB. Never over a bus.
        if (!local && !(device->traits.is_uma && visible)) return 0;
        return 1u + 16u * local + 8u * (t->heapIndex == device->memory_heap) + 4u * visible + 2u * coherent + 1u * cached;
    case TN_VK_PLACE_UPLOAD: // near the device: it reads these bytes in every step
        return visible ? 1u + 4u * local + 8u * coherent : 0;
    case TN_VK_PLACE_READBACK: return visible ? 1u + 8u * cached + 4u * coherent : 0;
    }
    return 0;
}

// The best type of `allowed` bits, or UINT32_MAX.
static uint32_t best_type(const tn_vk_device *device, uint32_t allowed, tn_vk_place place)
{
    uint32_t best = UINT32_MAX, most = 0;
    for (uint32_t i = 0; i < device->memory.memoryTypeCount; i++) {
        const uint32_t score = allowed >> i & 1 ? suits(device, i, place) : 0;
        if (score > most) {
            most = score;
            best = i;
        }
    }
    return best;
}

static tn_status out_of_memory(const tn_vk_device *device, uint64_t bytes, VkResult result)
{
    return tn_fail_native(TN_OUT_OF_MEMORY, (int)result,
                          "%s: a buffer of %" PRIu64 " MiB could not be had (%s; the device's memory is %" PRIu64
                          " MiB): ask for a shorter context, fewer sequences or fewer layers on it (-ngl)",
                          device->name, (bytes + (1 << 20) - 1) >> 20, tn_vk_result_name(result), device->memory_bytes >> 20);
}

// Tries types in order of how well they suit; a heap that is smaller than the buffer may not be asked.
static tn_status allocate(tn_vk_buffer *buffer, tn_vk_place place)
{
    tn_vk_device *device = tn_vk_device_of(buffer->base.device);
    const tn_vk_api *vk = &device->vk;
    VkMemoryRequirements needs;
    VkResult result = VK_ERROR_OUT_OF_DEVICE_MEMORY;
    vk->vkGetBufferMemoryRequirements(device->handle, buffer->handle, &needs);
    for (uint32_t allowed = needs.memoryTypeBits; !buffer->memory;) {
        const uint32_t type = best_type(device, allowed, place);
        if (type == UINT32_MAX) return out_of_memory(device, needs.size, result);
        allowed &= ~(UINT32_C(1) << type);
        if (needs.size > device->memory.memoryHeaps[device->memory.memoryTypes[type].heapIndex].size) continue;
        const VkMemoryAllocateInfo info = {
            .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
            .allocationSize = needs.size,
            .memoryTypeIndex = type,
        };
        VkDeviceMemory memory;
        result = vk->vkAllocateMemory(device->handle, &info, NULL, &memory);
        if (result != VK_SUCCESS && result != VK_ERROR_OUT_OF_DEVICE_MEMORY && result != VK_ERROR_OUT_OF_HOST_MEMORY)
            return TN_VK_CHECK(result, "vkAllocateMemory");
        if (result != VK_SUCCESS) continue;
        const VkMemoryPropertyFlags flags = device->memory.memoryTypes[type].propertyFlags;
        buffer->memory = memory;
        buffer->memory_bytes = needs.size;
        buffer->is_coherent = flags & VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
        buffer->is_cached = flags & VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
        if (!(flags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) || (place == TN_VK_PLACE_DEVICE && !device->maps_memory)) continue;
        void *mapped;
        result = vk->vkMapMemory(device->handle, memory, 0, VK_WHOLE_SIZE, 0, &mapped);
        if (result == VK_SUCCESS) buffer->mapped = mapped;
        // Device memory for which the process has no addresses left is reached through staging.
        if (place != TN_VK_PLACE_DEVICE) TN_TRY(TN_VK_CHECK(result, "vkMapMemory"));
    }
    return TN_VK_CHECK(vk->vkBindBufferMemory(device->handle, buffer->handle, buffer->memory, 0), "vkBindBufferMemory");
}

tn_status tn_vk_memory_create(tn_vk_device *device, uint64_t size_bytes, tn_vk_place place, tn_vk_buffer **out_buffer)
{
    *out_buffer = NULL;
    uint64_t rounded;
    const uint64_t limit = device->limits.allocation_bytes;
    if (!tn_ckd_round_up(size_bytes ? size_bytes : 1, SIZE_MULTIPLE, &rounded) || rounded > limit)
        return tn_fail(TN_OUT_OF_MEMORY,
                       "%s: a buffer of %" PRIu64 " MiB is larger than the driver allows (%" PRIu64
                       " MiB): ask for a shorter context, fewer sequences or fewer layers on it (-ngl)",
                       device->name, size_bytes >> 20, limit >> 20);
    tn_status status;
    tn_vk_buffer *buffer;
    TN_TRY(tn_alloc_zero(1, sizeof *buffer, &buffer));
    buffer->base = (tn_buffer){.device = &device->base, .size_bytes = size_bytes};
    buffer->serial = ++device->n_buffers;
    const VkBufferCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
        .size = rounded,
        .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT | VK_BUFFER_USAGE_UNIFORM_TEXEL_BUFFER_BIT |
                 VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT,
        .sharingMode = VK_SHARING_MODE_EXCLUSIVE,
    };
    VkBuffer handle;
    TN_TRY_GOTO(TN_VK_CHECK(device->vk.vkCreateBuffer(device->handle, &info, NULL, &handle), "vkCreateBuffer"));
    buffer->handle = handle;
    TN_TRY_GOTO(allocate(buffer, place));
    *out_buffer = buffer;
    return TN_OK;
fail:
    tn_vk_memory_destroy(buffer);
    return status;
}

void tn_vk_memory_destroy(tn_vk_buffer *buffer)
{
    if (!buffer) return;
    tn_vk_device *device = tn_vk_device_of(buffer->base.device);
    tn_vk_settle(device);
    tn_vk_memory_destroy(buffer->up.host);
    tn_vk_memory_destroy(buffer->down.host);
    if (buffer->mapped) device->vk.vkUnmapMemory(device->handle, buffer->memory);
    device->vk.vkDestroyBuffer(device->handle, buffer->handle, NULL);
    device->vk.vkFreeMemory(device->handle, buffer->memory, NULL);
    tn_free(buffer);
}

// Whole atoms around [offset, offset + n): flushes must begin and end with one, or with the memory.
static VkMappedMemoryRange atoms_around(const tn_vk_buffer *buffer, uint64_t offset, uint64_t n)
{
    const uint64_t atom = tn_vk_device_of(buffer->base.device)->limits.atom_bytes;
    const uint64_t start = offset / atom * atom, end = (offset + n + atom - 1) / atom * atom;
    return (VkMappedMemoryRange){
        .sType = VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE,
        .memory = buffer->memory,
        .offset = start,
        .size = end >= buffer->memory_bytes ? VK_WHOLE_SIZE : end - start,
    };
}

tn_status tn_vk_memory_flush_range(tn_vk_buffer *buffer, uint64_t offset_bytes, uint64_t n_bytes)
{
    if (buffer->is_coherent) return TN_OK;
    const tn_vk_device *device = tn_vk_device_of(buffer->base.device);
    const VkMappedMemoryRange range = atoms_around(buffer, offset_bytes, n_bytes);
    return TN_VK_CHECK(device->vk.vkFlushMappedMemoryRanges(device->handle, 1, &range), "vkFlushMappedMemoryRanges");
}

tn_status tn_vk_memory_invalidate_range(tn_vk_buffer *buffer, uint64_t offset_bytes, uint64_t n_bytes)
{
    if (buffer->is_coherent) return TN_OK;
    const tn_vk_device *device = tn_vk_device_of(buffer->base.device);
    const VkMappedMemoryRange range = atoms_around(buffer, offset_bytes, n_bytes);
    return TN_VK_CHECK(device->vk.vkInvalidateMappedMemoryRanges(device->handle, 1, &range), "vkInvalidateMappedMemoryRanges");
}

tn_status tn_vk_memory_flush(tn_vk_buffer *buffer) { return tn_vk_memory_flush_range(buffer, 0, buffer->memory_bytes); }
tn_status tn_vk_memory_invalidate(tn_vk_buffer *buffer) { return tn_vk_memory_invalidate_range(buffer, 0, buffer->memory_bytes); }
