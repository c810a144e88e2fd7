// Mirrors: which side has the bytes, and the copies that steps carry.
#include "vulkan/vk_mirror.h"

#include "vulkan/vk_record.h"

#include <string.h>

static bool is_empty(const tn_vk_mirror *mirror) { return mirror->begin == mirror->end; }

static void set_empty(tn_vk_mirror *mirror) { mirror->begin = mirror->end = 0; }

// Whether [offset, offset + n), which lies in the buffer, lies in its mirror.
static bool fits(const tn_vk_mirror *mirror, uint64_t offset, uint64_t n)
{
    return mirror->host && offset + n <= mirror->host->base.size_bytes;
}

// Makes the mirror where there is none. Without memory for it the step goes on: its bytes pass through staging, now and later.
static tn_status ready_host(tn_vk_buffer *buffer, tn_vk_place place, tn_vk_mirror *mirror)
{
    tn_vk_device *device = tn_vk_device_of(buffer->base.device);
    const uint64_t size = buffer->base.size_bytes, most = device->mirror_bytes_max;
    if (mirror->host || mirror->is_refused) return TN_OK;
    const tn_status status = tn_vk_memory_create(device, size < most ? size : most, place, &mirror->host);
    mirror->is_refused = status == TN_OUT_OF_MEMORY;
    return mirror->is_refused ? TN_OK : status;
}

// What the device does with the mirror is over.
static tn_status wait_for(const tn_vk_buffer *buffer, const tn_vk_mirror *mirror)
{
    tn_vk_device *device = tn_vk_device_of(buffer->base.device);
    return mirror->fence <= device->n_ended ? TN_OK : tn_vk_wait(device, mirror->fence);
}

static tn_status record(tn_vk_buffer *buffer, const tn_vk_mirror *mirror, const tn_vk_buffer *from, const tn_vk_buffer *to,
                        VkCommandPool pool, tn_vk_carry *carry)
{
    tn_vk_device *device = tn_vk_device_of(buffer->base.device);
    const VkBufferCopy region = {mirror->begin, mirror->begin, mirror->end - mirror->begin};
    if (carry->buffer_serial == buffer->serial && carry->mirror_serial == mirror->host->serial && carry->begin == mirror->begin &&
        carry->end == mirror->end)
        return TN_OK;
    carry->buffer_serial = 0;
    TN_TRY(tn_vk_begin(device, pool, &carry->commands));
    device->vk.vkCmdCopyBuffer(carry->commands, from->handle, to->handle, 1, &region);
    TN_TRY(tn_vk_end(device, carry->commands));
    carry->buffer_serial = buffer->serial;
    carry->mirror_serial = mirror->host->serial;
    carry->begin = mirror->begin;
    carry->end = mirror->end;
    return TN_OK;
}

// What the host wrote is visible to a later submit by itself (vkQueueSubmit says so): the copy needs no barrier against the host.
tn_status tn_vk_mirror_ready_in(tn_vk_buffer *in, VkCommandPool pool, tn_vk_carry *carry, VkCommandBuffer *out_commands)
{
    *out_commands = VK_NULL_HANDLE;
    if (in->mapped) return TN_OK;
    TN_TRY(ready_host(in, TN_VK_PLACE_UPLOAD, &in->up));
    if (is_empty(&in->up)) return TN_OK;
    TN_TRY(record(in, &in->up, in->up.host, in, pool, carry));
    *out_commands = carry->commands;
    return TN_OK;
}

tn_status tn_vk_mirror_ready_out(tn_vk_buffer *out, uint64_t n_bytes, VkCommandPool pool, tn_vk_carry *carry, VkCommandBuffer *out_commands)
{
    *out_commands = VK_NULL_HANDLE;
    TN_TRY(tn_vk_mirror_settle(out));
    if (n_bytes == 0 || (out->mapped && out->is_cached)) return TN_OK;
    TN_TRY(ready_host(out, TN_VK_PLACE_READBACK, &out->down));
    if (!fits(&out->down, 0, n_bytes)) return TN_OK;
    const tn_vk_mirror taken = {.host = out->down.host, .begin = 0, .end = n_bytes};
    TN_TRY(record(out, &taken, out, out->down.host, pool, carry));
    *out_commands = carry->commands;
    return TN_OK;
}

void tn_vk_mirror_took_in(tn_vk_buffer *in, uint64_t fence)
{
    set_empty(&in->up);
    in->up.fence = fence;
}

void tn_vk_mirror_gave_out(tn_vk_buffer *out, uint64_t n_bytes, uint64_t fence)
{
    out->down.begin = 0;
    out->down.end = n_bytes;
    out->down.fence = fence;
}

tn_status tn_vk_mirror_settle(tn_vk_buffer *buffer)
{
    tn_vk_mirror *up = &buffer->up;
    set_empty(&buffer->down);
    if (is_empty(up)) return TN_OK;
    TN_TRY(tn_vk_transfer_copy(up->host, up->begin, buffer, up->begin, up->end - up->begin));
    set_empty(up);
    return TN_OK;
}

tn_status tn_vk_mirror_write(tn_vk_buffer *buffer, uint64_t offset, const void *src, uint64_t n, bool *out_done)
{
    tn_vk_mirror *up = &buffer->up;
    const bool replaces = fits(up, offset, n) && offset <= up->begin && up->end <= offset + n;
    *out_done = false;
    set_empty(&buffer->down);
    if (!is_empty(up) && !replaces) TN_TRY(tn_vk_mirror_settle(buffer));
    if (!fits(up, offset, n)) return TN_OK;
    TN_TRY(wait_for(buffer, up));
    memcpy(up->host->mapped + offset, src, (size_t)n);
    TN_TRY(tn_vk_memory_flush_range(up->host, offset, n));
    up->begin = offset;
    up->end = offset + n;
    *out_done = true;
    return TN_OK;
}

tn_status tn_vk_mirror_read(tn_vk_buffer *buffer, uint64_t offset, void *dst, uint64_t n, bool *out_done)
{
    const tn_vk_mirror *down = &buffer->down;
    *out_done = false;
    if (offset < down->begin || offset + n > down->end) return is_empty(&buffer->up) ? TN_OK : tn_vk_mirror_settle(buffer);
    TN_TRY(wait_for(buffer, down));
    TN_TRY(tn_vk_memory_invalidate_range(down->host, offset, n));
    memcpy(dst, down->host->mapped + offset, (size_t)n);
    *out_done = true;
    return TN_OK;
}
