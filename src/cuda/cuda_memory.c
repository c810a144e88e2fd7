// Memory of the device and pinned memory of the host; the backend table's buffers.
#include "cuda/cuda_memory.h"

#include "backend/desc_check.h"
#include "base/alloc.h"
#include "base/checked.h"

#include <inttypes.h>
#include <string.h>

enum { SIZE_MULTIPLE = 256 }; // of every allocation

static uint64_t mib(uint64_t bytes) { return bytes / (1 << 20) + (bytes % (1 << 20) != 0); }

static tn_status out_of_memory(const tn_cuda_device *device, uint64_t n_bytes, const char *what, uint64_t free_bytes, uint64_t total_bytes)
{
    const tn_status status =
        tn_fail_native(TN_OUT_OF_MEMORY, CUDA_ERROR_OUT_OF_MEMORY,
                       "%s: %s of %" PRIu64 " MiB cannot be had, %" PRIu64 " of the device's %" PRIu64
                       " MiB are free (CUDA_ERROR_OUT_OF_MEMORY): ask for a shorter context, fewer sequences or fewer layers on it (-ngl)",
                       device->name, what, mib(n_bytes), free_bytes >> 20, total_bytes >> 20);
    tn_cuda_error_name(device);
    return status;
}

tn_status tn_cuda_memory_ask(tn_cuda_device *device, uint64_t *out_total, uint64_t *out_free)
{
    size_t free_bytes = 0, total_bytes = 0;
    const CUresult result = device->cu->cuMemGetInfo(&free_bytes, &total_bytes);
    *out_free = free_bytes;
    *out_total = total_bytes;
    return TN_CUDA_CHECK(device->cu, result, "cuMemGetInfo");
}

tn_status tn_cuda_alloc(tn_cuda_device *device, uint64_t n_bytes, const char *what, CUdeviceptr *out_at)
{
    const tn_cuda_api *cu = device->cu;
    uint64_t rounded, free_bytes, total_bytes;
    CUdeviceptr at = 0;
    *out_at = 0;
    TN_TRY(tn_cuda_memory_ask(device, &total_bytes, &free_bytes));
    if (!tn_ckd_round_up(n_bytes ? n_bytes : 1, SIZE_MULTIPLE, &rounded) || rounded > free_bytes)
        return out_of_memory(device, n_bytes, what, free_bytes, total_bytes);
    const CUresult result = cu->cuMemAlloc(&at, (size_t)rounded);
    if (result == CUDA_ERROR_OUT_OF_MEMORY) return out_of_memory(device, n_bytes, what, free_bytes, total_bytes);
    TN_TRY(TN_CUDA_CHECK(cu, result, "cuMemAlloc"));
    const tn_status status = TN_CUDA_CHECK(cu, cu->cuMemsetD8Async(at, 0, (size_t)rounded, device->stream), "cuMemsetD8Async");
    if (status == TN_OK)
        *out_at = at;
    else
        tn_cuda_free(device, at);
    return status;
}

void tn_cuda_free(tn_cuda_device *device, CUdeviceptr at)
{
    if (at) (void)device->cu->cuMemFree(at); // of a lost device it fails, and the memory goes with the context
}

static tn_status out_of_host_memory(const tn_cuda_device *device, uint64_t n_bytes)
{
    const tn_status status =
        tn_fail_native(TN_OUT_OF_MEMORY, CUDA_ERROR_OUT_OF_MEMORY,
                       "%s: cuMemHostAlloc has no %" PRIu64
                       " MiB of the host's memory for the device to read and write (CUDA_ERROR_OUT_OF_MEMORY): free some",
                       device->name, mib(n_bytes));
    tn_cuda_error_name(device);
    return status;
}

tn_status tn_cuda_alloc_host(tn_cuda_device *device, uint64_t n_bytes, void **out_host, CUdeviceptr *out_device)
{
    const tn_cuda_api *cu = device->cu;
    uint64_t rounded;
    void *host = NULL;
    CUdeviceptr at = 0;
    *out_host = NULL;
    *out_device = 0;
    if (!tn_ckd_round_up(n_bytes ? n_bytes : 1, SIZE_MULTIPLE, &rounded)) return out_of_host_memory(device, n_bytes);
    const unsigned flags = CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP;
    const CUresult result = cu->cuMemHostAlloc(&host, (size_t)rounded, flags);
    if (result == CUDA_ERROR_OUT_OF_MEMORY) return out_of_host_memory(device, n_bytes);
    TN_TRY(TN_CUDA_CHECK(cu, result, "cuMemHostAlloc"));
    const tn_status status = TN_CUDA_CHECK(cu, cu->cuMemHostGetDevicePointer(&at, host, 0), "cuMemHostGetDevicePointer");
    if (status != TN_OK) {
        tn_cuda_free_host(device, host);
        return status;
    }
    memset(host, 0, (size_t)rounded);
    *out_host = host;
    *out_device = at;
    return TN_OK;
}

void tn_cuda_free_host(tn_cuda_device *device, void *host)
{
    if (host) (void)device->cu->cuMemFreeHost(host);
}

// ---- buffers ----

tn_status tn_cuda_buffer_create(tn_device *base, uint64_t size_bytes, tn_buffer **out_buffer)
{
    tn_cuda_device *device = tn_cuda_device_of(base);
    tn_cuda_buffer *buffer;
    *out_buffer = NULL;
    TN_TRY(tn_alloc_zero(1, sizeof *buffer, &buffer));
    buffer->base = (tn_buffer){base, size_bytes};
    buffer->device = device;
    tn_status status = tn_cuda_enter(device);
    if (status == TN_OK) status = tn_cuda_leave(device, tn_cuda_alloc(device, size_bytes, "a buffer", &buffer->at));
    if (status == TN_OK)
        *out_buffer = &buffer->base;
    else
        tn_cuda_buffer_destroy(&buffer->base);
    return status;
}

void tn_cuda_buffer_destroy(tn_buffer *base)
{
    if (!base) return;
    tn_cuda_buffer *buffer = tn_cuda_buffer_of(base);
    const tn_error failure = *tn_error_last(); // of what failed before
    if (buffer->at && tn_cuda_context_push(buffer->device) == TN_OK) {
        tn_cuda_free(buffer->device, buffer->at);
        (void)tn_cuda_context_pop(buffer->device);
    }
    tn_error_set(&failure);
    tn_free(buffer);
}

tn_status tn_cuda_buffer_write(tn_buffer *base, uint64_t offset_bytes, const void *src, uint64_t n_bytes)
{
    TN_TRY(tn_buffer_check(base->device, base, offset_bytes, n_bytes, "write to a buffer"));
    tn_cuda_buffer *buffer = tn_cuda_buffer_of(base);
    if (buffer->is_read_only) return tn_fail(TN_INVALID_ARGUMENT, "write to a buffer: its memory is read-only");
    TN_TRY(tn_cuda_enter(buffer->device));
    return tn_cuda_leave(buffer->device, tn_cuda_upload(buffer->device, buffer->at + offset_bytes, src, n_bytes));
}

tn_status tn_cuda_buffer_read(tn_buffer *base, uint64_t offset_bytes, void *dst, uint64_t n_bytes)
{
    TN_TRY(tn_buffer_check(base->device, base, offset_bytes, n_bytes, "read from a buffer"));
    tn_cuda_buffer *buffer = tn_cuda_buffer_of(base);
    TN_TRY(tn_cuda_enter(buffer->device));
    return tn_cuda_leave(buffer->device, tn_cuda_download(buffer->device, dst, buffer->at + offset_bytes, n_bytes));
}

tn_status tn_cuda_buffer_map(tn_device *device, const void *bytes, uint64_t size_bytes, tn_buffer **out_buffer)
{
    *out_buffer = NULL;
    if (!bytes || (uintptr_t)bytes % 64 != 0)
        return tn_fail(TN_INVALID_ARGUMENT, "memory for a buffer is missing or does not begin at a multiple of 64");
    tn_buffer *buffer;
    TN_TRY(tn_cuda_buffer_create(device, size_bytes, &buffer));
    const tn_status status = tn_cuda_buffer_write(buffer, 0, bytes, size_bytes);
    if (status != TN_OK) {
        tn_cuda_buffer_destroy(buffer);
        return status;
    }
    tn_cuda_buffer_of(buffer)->is_read_only = true;
    *out_buffer = buffer;
    return TN_OK;
}
