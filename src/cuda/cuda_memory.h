// Device memory, pinned host memory, and transfers through two staging buffers, one being filled while the other is on its way.
#ifndef TN_CUDA_CUDA_MEMORY_H
#define TN_CUDA_CUDA_MEMORY_H

#include "cuda/cuda_device.h"

typedef struct tn_cuda_buffer {
    tn_buffer base;
    tn_cuda_device *device;
    CUdeviceptr at; // 256-byte aligned
    bool is_read_only;
} tn_cuda_buffer;

static inline tn_cuda_buffer *tn_cuda_buffer_of(tn_buffer *buffer) { return (tn_cuda_buffer *)buffer; }

// Of the device, as the driver tells it; within tn_cuda_enter and tn_cuda_leave.
tn_status tn_cuda_memory_ask(tn_cuda_device *device, uint64_t *out_total, uint64_t *out_free);
// The backend table's functions. Free memory is asked for before it is taken: an allocation that cannot fit is refused with both figures.
tn_status tn_cuda_buffer_create(tn_device *device, uint64_t size_bytes, tn_buffer **out_buffer);
void tn_cuda_buffer_destroy(tn_buffer *buffer);
tn_status tn_cuda_buffer_write(tn_buffer *buffer, uint64_t offset_bytes, const void *src, uint64_t n_bytes);
tn_status tn_cuda_buffer_read(tn_buffer *buffer, uint64_t offset_bytes, void *dst, uint64_t n_bytes);
// A copy of the bytes (the caller's stay as they are).
tn_status tn_cuda_buffer_map(tn_device *device, const void *bytes, uint64_t size_bytes, tn_buffer **out_buffer);

// Inside the backend, between tn_cuda_enter and tn_cuda_leave.
// Zeroed device memory.  Errors: OUT_OF_MEMORY (with what was asked for and what is free).
tn_status tn_cuda_alloc(tn_cuda_device *device, uint64_t n_bytes, const char *what, CUdeviceptr *out_at);
void tn_cuda_free(tn_cuda_device *device, CUdeviceptr at); // 0 is fine
// Zeroed pinned memory that the device reaches at *out_device too.
tn_status tn_cuda_alloc_host(tn_cuda_device *device, uint64_t n_bytes, void **out_host, CUdeviceptr *out_device);
void tn_cuda_free_host(tn_cuda_device *device, void *host); // NULL is fine
// Copies host memory to the device through staging, behind all work that the device was given before; returns when `src` may be reused.
// The copies are seen by whatever is submitted after.   Threads: any, one at a time for a device.
tn_status tn_cuda_upload(tn_cuda_device *device, CUdeviceptr to, const void *src, uint64_t n_bytes);
// The other way, behind the same work, which it waits for.
tn_status tn_cuda_download(tn_cuda_device *device, void *dst, CUdeviceptr from, uint64_t n_bytes);
// Waits for what is still on its way from staging buffers.
tn_status tn_cuda_staging_finish(tn_cuda_device *device);
tn_status tn_cuda_staging_create(tn_cuda_device *device, uint64_t buffer_bytes);
void tn_cuda_staging_destroy(tn_cuda_device *device);

#endif
