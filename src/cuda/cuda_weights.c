// The backend's functions for weights: which layout, and packing into device memory, in bands behind which the copies run.
#include "backend/desc_check.h"
#include "backend/pack_bands.h"
#include "backend/pack_source.h"
#include "base/exact_math.h"
#include "cuda/cuda_memory.h"
#include "cuda/cuda_pack.h"

#include <inttypes.h>

enum { ALIGNMENT = 256 };

static const char *const names[] = {
    [TN_CUDA_LAYOUT_TERNARY] = "t2_16x128", [TN_CUDA_LAYOUT_F32] = "f32x32",   [TN_CUDA_LAYOUT_F16] = "f16x32",
    [TN_CUDA_LAYOUT_BF16] = "bf16x32",      [TN_CUDA_LAYOUT_Q8_0] = "q8_0x32", [TN_CUDA_LAYOUT_Q4_0] = "q4_0x32",
    [TN_CUDA_LAYOUT_Q6_K] = "q6_kx32",      [TN_CUDA_LAYOUT_TABLE] = "f32",
};

tn_status tn_cuda_weight_layout(tn_device *device, const tn_weight_source *source, tn_weight_layout *out_layout)
{
    (void)device;
    *out_layout = (tn_weight_layout){0};
    tn_cuda_weight_shape shape;
    TN_TRY(tn_cuda_weight_shape_of(source, &shape));
    *out_layout = (tn_weight_layout){
        .layout_id = shape.layout, .size_bytes = shape.n_bytes, .alignment_bytes = ALIGNMENT, .name = names[shape.layout]};
    return TN_OK;
}

typedef struct pack_job {
    const tn_cuda_weight_shape *shape;
    const tn_weight_source *source;
    tn_cuda_device *device;
    CUdeviceptr at;
} pack_job;

static tn_status pack_groups(void *ctx, uint32_t first, uint32_t n, void *scratch, uint8_t *dst, uint8_t *dst_scales)
{
    const pack_job *job = ctx;
    return tn_cuda_pack_rows(job->shape, job->source, first, n, scratch, dst, dst_scales);
}

// From any thread, and so into the device's context and out of it for each band.
static tn_status upload(void *ctx, uint64_t at, const void *bytes, uint64_t n_bytes)
{
    const pack_job *job = ctx;
    TN_TRY(tn_cuda_context_push(job->device));
    const tn_status status = tn_cuda_upload(job->device, job->at + at, bytes, n_bytes);
    const tn_status popped = tn_cuda_context_pop(job->device);
    return status != TN_OK ? status : popped;
}

tn_status tn_cuda_weight_pack(tn_device *base, const tn_weight_source *source, tn_buffer *buffer, uint64_t offset_bytes)
{
    tn_cuda_device *device = tn_cuda_device_of(base);
    tn_cuda_weight_shape shape;
    tn_pack_scratch scratch;
    TN_TRY(tn_cuda_weight_shape_of(source, &shape));
    if (offset_bytes % ALIGNMENT != 0)
        return tn_fail(TN_INVALID_ARGUMENT, "%s: packed at byte %" PRIu64 ", which is no multiple of %d", source->name, offset_bytes,
                       ALIGNMENT);
    TN_TRY(tn_buffer_check(base, buffer, offset_bytes, shape.n_bytes, source->name));
    TN_TRY(tn_pack_scratch_of(source, shape.group_rows, shape.padded_bytes, &scratch));
    pack_job job = {&shape, source, device, tn_cuda_buffer_of(buffer)->at + offset_bytes};
    const tn_pack_bands bands = {.source = source,
                                 .n_groups = shape.n_groups,
                                 .group_rows = shape.group_rows,
                                 .group_bytes = shape.group_bytes,
                                 .group_scale_bytes = shape.group_scale_bytes,
                                 .scales_at = shape.scales_bytes,
                                 .scratch_bytes = (size_t)scratch.n_bytes,
                                 .pack = pack_groups,
                                 .sink = upload,
                                 .ctx = &job};
    TN_TRY(tn_pack_bands_run(&bands, 0));
    if (shape.layout != TN_CUDA_LAYOUT_TERNARY || shape.group_scale_bytes) return TN_OK;
    const float scale = tn_fl(source->scales[0]); // of the whole tensor
    return upload(&job, shape.scales_bytes, &scale, sizeof scale);
}
