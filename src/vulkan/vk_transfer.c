// Reading, writing and zeroing buffers: by the host where it sees their memory, else by the device through a buffer that both see.
#include "backend/desc_check.h"
#include "base/alloc.h"
#include "vulkan/vk_memory.h"
#include "vulkan/vk_mirror.h"

#include <string.h>

struct tn_vk_transfer {
    tn_vk_device *device;
    VkCommandPool pool;
    VkCommandBuffer commands;
    tn_vk_buffer *staging; // host memory; NULL until bytes pass through it
};

// A transfer of it takes a millisecond over PCIe, against which submitting is nothing.
static const uint64_t staging_bytes = UINT64_C(16) << 20;
// Memory that the host does not cache is read at some 100 MB/s: more than this is copied by the device.
static const uint64_t uncached_read_bytes_max = 4096;

void tn_vk_transfer_destroy(tn_vk_transfer *transfer)
{
    if (!transfer) return;
    const tn_vk_device *device = transfer->device;
    tn_vk_memory_destroy(transfer->staging);
    if (transfer->pool) device->vk.vkDestroyCommandPool(device->handle, transfer->pool, NULL);
    tn_free(transfer);
}

static tn_status create(tn_vk_device *device, tn_vk_transfer **out_transfer)
{
    tn_status status;
    tn_vk_transfer *transfer;
    *out_transfer = NULL;
    TN_TRY(tn_alloc_zero(1, sizeof *transfer, &transfer));
    transfer->device = device;
    TN_TRY_GOTO(tn_vk_command_pool_create(device, &transfer->pool));
    TN_TRY_GOTO(tn_vk_commands_allocate(device, transfer->pool, &transfer->commands));
    *out_transfer = transfer;
    return TN_OK;
fail:
    tn_vk_transfer_destroy(transfer);
    return status;
}

static tn_status transfer_of(tn_vk_device *device, bool with_staging, tn_vk_transfer **out_transfer)
{
    if (!device->transfer) TN_TRY(create(device, &device->transfer));
    tn_vk_transfer *t = device->transfer;
    if (with_staging && !t->staging) TN_TRY(tn_vk_memory_create(device, staging_bytes, TN_VK_PLACE_READBACK, &t->staging));
    *out_transfer = t;
    return TN_OK;
}

static void barrier(const tn_vk_transfer *t, VkPipelineStageFlags from, VkAccessFlags written, VkPipelineStageFlags to, VkAccessFlags used)
{
    const VkMemoryBarrier memory = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER, .srcAccessMask = written, .dstAccessMask = used};
    t->device->vk.vkCmdPipelineBarrier(t->commands, from, to, 0, 1, &memory, 0, NULL, 0, NULL);
}

static tn_status begin(const tn_vk_transfer *t)
{
    const VkCommandBufferBeginInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
        .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT,
    };
    TN_TRY(TN_VK_CHECK(t->device->vk.vkBeginCommandBuffer(t->commands, &info), "vkBeginCommandBuffer"));
    barrier(t, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, VK_ACCESS_MEMORY_WRITE_BIT, VK_PIPELINE_STAGE_TRANSFER_BIT,
            VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT);
    return TN_OK;
}

// Runs what was recorded to its end.
static tn_status finish(const tn_vk_transfer *t)
{
    uint64_t value;
    barrier(t, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_ACCESS_TRANSFER_WRITE_BIT,
            VK_PIPELINE_STAGE_ALL_COMMANDS_BIT | VK_PIPELINE_STAGE_HOST_BIT,
            VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT | VK_ACCESS_HOST_READ_BIT);
    TN_TRY(TN_VK_CHECK(t->device->vk.vkEndCommandBuffer(t->commands), "vkEndCommandBuffer"));
    TN_TRY(tn_vk_submit(t->device, &t->commands, 1, &value));
    return tn_vk_wait(t->device, value);
}

tn_status tn_vk_transfer_copy(const tn_vk_buffer *from, uint64_t from_at, const tn_vk_buffer *to, uint64_t to_at, uint64_t n_bytes)
{
    const VkBufferCopy region = {.srcOffset = from_at, .dstOffset = to_at, .size = n_bytes};
    tn_vk_transfer *t;
    TN_TRY(transfer_of(tn_vk_device_of(to->base.device), false, &t));
    TN_TRY(begin(t));
    t->device->vk.vkCmdCopyBuffer(t->commands, from->handle, to->handle, 1, &region);
    return finish(t);
}

static tn_status zero(tn_vk_buffer *buffer)
{
    tn_vk_device *device = tn_vk_device_of(buffer->base.device);
    if (buffer->mapped && device->traits.is_uma) {
        memset(buffer->mapped, 0, (size_t)buffer->memory_bytes);
        return tn_vk_memory_flush(buffer);
    }
    tn_vk_transfer *t;
    TN_TRY(transfer_of(device, false, &t));
    TN_TRY(begin(t));
    device->vk.vkCmdFillBuffer(t->commands, buffer->handle, 0, VK_WHOLE_SIZE, 0);
    return finish(t);
}

tn_status tn_vk_buffer_create(tn_device *device, uint64_t size_bytes, tn_buffer **out_buffer)
{
    *out_buffer = NULL;
    tn_vk_buffer *buffer;
    TN_TRY(tn_vk_memory_create(tn_vk_device_of(device), size_bytes, TN_VK_PLACE_DEVICE, &buffer));
    const tn_status status = zero(buffer);
    if (status == TN_OK)
        *out_buffer = &buffer->base;
    else
        tn_vk_memory_destroy(buffer);
    return status;
}

void tn_vk_buffer_destroy(tn_buffer *buffer)
{
    if (buffer) tn_vk_memory_destroy(tn_vk_buffer_of(buffer));
}

static tn_status write_staged(tn_vk_buffer *buffer, uint64_t offset, const uint8_t *src, uint64_t n)
{
    tn_vk_transfer *t;
    TN_TRY(transfer_of(tn_vk_device_of(buffer->base.device), true, &t));
    for (uint64_t done = 0; done < n;) {
        const uint64_t part = n - done < staging_bytes ? n - done : staging_bytes;
        memcpy(t->staging->mapped, src + done, (size_t)part);
        TN_TRY(tn_vk_memory_flush_range(t->staging, 0, part));
        TN_TRY(tn_vk_transfer_copy(t->staging, 0, buffer, offset + done, part));
        done += part;
    }
    return TN_OK;
}

static tn_status read_staged(tn_vk_buffer *buffer, uint64_t offset, uint8_t *dst, uint64_t n)
{
    tn_vk_transfer *t;
    TN_TRY(transfer_of(tn_vk_device_of(buffer->base.device), true, &t));
    for (uint64_t done = 0; done < n;) {
        const uint64_t part = n - done < staging_bytes ? n - done : staging_bytes;
        TN_TRY(tn_vk_transfer_copy(buffer, offset + done, t->staging, 0, part));
        TN_TRY(tn_vk_memory_invalidate_range(t->staging, 0, part));
        memcpy(dst + done, t->staging->mapped, (size_t)part);
        done += part;
    }
    return TN_OK;
}

static tn_status write_bytes(tn_vk_buffer *buffer, uint64_t offset, const void *src, uint64_t n)
{
    bool done;
    if (n == 0) return TN_OK;
    TN_TRY(tn_vk_mirror_write(buffer, offset, src, n, &done));
    if (done) return TN_OK;
    if (!buffer->mapped) return write_staged(buffer, offset, src, n);
    TN_TRY(tn_vk_memory_invalidate_range(buffer, offset, n)); // neighbours in a cache line may be the device's
    memcpy(buffer->mapped + offset, src, (size_t)n);
    return tn_vk_memory_flush_range(buffer, offset, n);
}

tn_status tn_vk_buffer_write(tn_buffer *base, uint64_t offset_bytes, const void *src, uint64_t n_bytes)
{
    TN_TRY(tn_buffer_check(base->device, base, offset_bytes, n_bytes, "write to a buffer"));
    tn_vk_buffer *buffer = tn_vk_buffer_of(base);
    if (buffer->is_read_only) return tn_fail(TN_INVALID_ARGUMENT, "write to a buffer: its memory is read-only");
    return write_bytes(buffer, offset_bytes, src, n_bytes);
}

tn_status tn_vk_buffer_read(tn_buffer *base, uint64_t offset_bytes, void *dst, uint64_t n_bytes)
{
    TN_TRY(tn_buffer_check(base->device, base, offset_bytes, n_bytes, "read from a buffer"));
    tn_vk_buffer *buffer = tn_vk_buffer_of(base);
    if (n_bytes == 0) return TN_OK;
    if (!buffer->mapped || (!buffer->is_cached && n_bytes > uncached_read_bytes_max)) {
        bool done;
        TN_TRY(tn_vk_mirror_read(buffer, offset_bytes, dst, n_bytes, &done));
        return done ? TN_OK : read_staged(buffer, offset_bytes, dst, n_bytes);
    }
    TN_TRY(tn_vk_memory_invalidate_range(buffer, offset_bytes, n_bytes));
    memcpy(dst, buffer->mapped + offset_bytes, (size_t)n_bytes);
    return TN_OK;
}

tn_status tn_vk_buffer_map(tn_device *device, const void *bytes, uint64_t size_bytes, tn_buffer **out_buffer)
{
    *out_buffer = NULL;
    if (!bytes || (uintptr_t)bytes % 64 != 0)
        return tn_fail(TN_INVALID_ARGUMENT, "memory for a buffer is missing or does not begin at a multiple of 64");
    tn_vk_buffer *buffer;
    TN_TRY(tn_vk_memory_create(tn_vk_device_of(device), size_bytes, TN_VK_PLACE_DEVICE, &buffer));
    const tn_status status = write_bytes(buffer, 0, bytes, size_bytes);
    if (status != TN_OK) {
        tn_vk_memory_destroy(buffer);
        return status;
    }
    buffer->is_read_only = true;
    *out_buffer = &buffer->base;
    return TN_OK;
}
