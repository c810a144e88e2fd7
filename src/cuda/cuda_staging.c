// Transfers through two pinned buffers: one is filled, or emptied, while the other is on its way. All copies are in the device's one
// stream, behind what it was given before and before what it is given after.
#include "base/alloc.h"
#include "cuda/cuda_memory.h"

#include <string.h>

enum { N_BUFFERS = 2 };

struct tn_cuda_staging {
    uint64_t n_bytes; // of a buffer
    struct {
        uint8_t *host;
        CUevent done;    // behind the last copy from it or to it
        bool is_in_use;  // that copy was not waited for
        uint8_t *target; // of a copy to it: where the bytes go, NULL: nowhere
        uint64_t n_target;
    } buffers[N_BUFFERS];
    uint32_t next;
};

tn_status tn_cuda_staging_create(tn_cuda_device *device, uint64_t buffer_bytes)
{
    const tn_cuda_api *cu = device->cu;
    tn_cuda_staging *staging;
    TN_TRY(tn_alloc_zero(1, sizeof *staging, &staging));
    device->staging = staging; // which destroys what there is of it where the rest cannot be had
    staging->n_bytes = buffer_bytes;
    for (uint32_t i = 0; i < N_BUFFERS; i++) {
        void *host;
        CUdeviceptr unused;
        CUevent done;
        TN_TRY(tn_cuda_alloc_host(device, buffer_bytes, &host, &unused));
        staging->buffers[i].host = host;
        TN_TRY(TN_CUDA_CHECK(cu, cu->cuEventCreate(&done, CU_EVENT_DISABLE_TIMING), "cuEventCreate"));
        staging->buffers[i].done = done;
    }
    return TN_OK;
}

void tn_cuda_staging_destroy(tn_cuda_device *device)
{
    tn_cuda_staging *staging = device->staging;
    if (!staging) return;
    for (uint32_t i = 0; i < N_BUFFERS; i++) {
        if (staging->buffers[i].done) (void)device->cu->cuEventDestroy(staging->buffers[i].done);
        tn_cuda_free_host(device, staging->buffers[i].host);
    }
    tn_free(staging);
    device->staging = NULL;
}

// Waits for the copy of a buffer, and takes out what it brought.
static tn_status settle(tn_cuda_device *device, uint32_t i)
{
    tn_cuda_staging *s = device->staging;
    uint8_t *target = s->buffers[i].target;
    s->buffers[i].target = NULL;
    if (!s->buffers[i].is_in_use) return TN_OK;
    TN_TRY(TN_CUDA_CHECK(device->cu, device->cu->cuEventSynchronize(s->buffers[i].done), "cuEventSynchronize"));
    s->buffers[i].is_in_use = false;
    if (target) memcpy(target, s->buffers[i].host, (size_t)s->buffers[i].n_target);
    return TN_OK;
}

// Behind a copy that was given to the stream: the buffer is its until the event. One that cannot be recorded is waited for at once.
static tn_status mark(tn_cuda_device *device, uint32_t i)
{
    tn_cuda_staging *s = device->staging;
    const tn_status status = TN_CUDA_CHECK(device->cu, device->cu->cuEventRecord(s->buffers[i].done, device->stream), "cuEventRecord");
    s->buffers[i].is_in_use = status == TN_OK;
    if (status != TN_OK) (void)device->cu->cuStreamSynchronize(device->stream);
    return status;
}

static tn_status upload_part(tn_cuda_device *device, CUdeviceptr to, const uint8_t *src, uint64_t n)
{
    tn_cuda_staging *s = device->staging;
    const uint32_t i = s->next;
    s->next = (i + 1) % N_BUFFERS;
    TN_TRY(settle(device, i));
    memcpy(s->buffers[i].host, src, (size_t)n);
    TN_TRY(
        TN_CUDA_CHECK(device->cu, device->cu->cuMemcpyHtoDAsync(to, s->buffers[i].host, (size_t)n, device->stream), "cuMemcpyHtoDAsync"));
    return mark(device, i);
}

static tn_status download_part(tn_cuda_device *device, uint8_t *dst, CUdeviceptr from, uint64_t n)
{
    tn_cuda_staging *s = device->staging;
    const uint32_t i = s->next;
    s->next = (i + 1) % N_BUFFERS;
    TN_TRY(settle(device, i));
    TN_TRY(
        TN_CUDA_CHECK(device->cu, device->cu->cuMemcpyDtoHAsync(s->buffers[i].host, from, (size_t)n, device->stream), "cuMemcpyDtoHAsync"));
    TN_TRY(mark(device, i));
    s->buffers[i].target = dst;
    s->buffers[i].n_target = n;
    return TN_OK;
}

static uint64_t part_of(const tn_cuda_device *device, uint64_t n_left)
{
    return n_left < device->staging->n_bytes ? n_left : device->staging->n_bytes;
}

static tn_status upload(tn_cuda_device *device, CUdeviceptr to, const uint8_t *src, uint64_t n_bytes)
{
    for (uint64_t done = 0; done < n_bytes;) {
        const uint64_t n = part_of(device, n_bytes - done);
        TN_TRY(upload_part(device, to + done, src + done, n));
        done += n;
    }
    return TN_OK;
}

// Nothing of a transfer that failed is taken out later.
static void forget_targets(tn_cuda_staging *s)
{
    for (uint32_t i = 0; i < N_BUFFERS; i++) s->buffers[i].target = NULL;
}

tn_status tn_cuda_staging_finish(tn_cuda_device *device)
{
    // The one that was begun first is the next to be used.
    const uint32_t first = device->staging->next;
    TN_TRY(settle(device, first));
    return settle(device, (first + 1) % N_BUFFERS);
}

static tn_status download(tn_cuda_device *device, uint8_t *dst, CUdeviceptr from, uint64_t n_bytes)
{
    for (uint64_t done = 0; done < n_bytes;) {
        const uint64_t n = part_of(device, n_bytes - done);
        TN_TRY(download_part(device, dst + done, from + done, n));
        done += n;
    }
    return n_bytes ? tn_cuda_staging_finish(device) : TN_OK;
}

tn_status tn_cuda_upload(tn_cuda_device *device, CUdeviceptr to, const void *src, uint64_t n_bytes)
{
    TN_TRY(tn_cuda_context_push(device)); // of threads that work for the one that entered
    const tn_status status = upload(device, to, src, n_bytes);
    const tn_status popped = tn_cuda_context_pop(device);
    return status != TN_OK ? status : popped;
}

tn_status tn_cuda_download(tn_cuda_device *device, void *dst, CUdeviceptr from, uint64_t n_bytes)
{
    const tn_status status = download(device, dst, from, n_bytes);
    if (status != TN_OK) forget_targets(device->staging);
    return status;
}
