// The backend's functions for weights: which layout, and packing into a buffer.
#include "backend/desc_check.h"
#include "vulkan/vk_memory.h"
#include "vulkan/vk_pack.h"

// Every offset that bindings may begin at on any device (Vulkan's limits allow no coarser ones).
enum { ALIGNMENT = 256 };

static const char *const names[] = {
    [TN_VK_LAYOUT_TERNARY] = "t2x16", [TN_VK_LAYOUT_F32] = "f32x16",   [TN_VK_LAYOUT_F16] = "f16x16",   [TN_VK_LAYOUT_BF16] = "bf16x16",
    [TN_VK_LAYOUT_Q8_0] = "q8_0x16",  [TN_VK_LAYOUT_Q4_0] = "q4_0x16", [TN_VK_LAYOUT_Q6_K] = "q6_kx16", [TN_VK_LAYOUT_TABLE] = "f32",
};

tn_status tn_vk_weight_layout(tn_device *device, const tn_weight_source *source, tn_weight_layout *out_layout)
{
    (void)device;
    *out_layout = (tn_weight_layout){0};
    tn_vk_weight_shape shape;
    TN_TRY(tn_vk_weight_shape_of(source, &shape));
    *out_layout = (tn_weight_layout){
        .layout_id = shape.layout, .size_bytes = shape.n_words * 4, .alignment_bytes = ALIGNMENT, .name = names[shape.layout]};
    return TN_OK;
}

typedef struct pack_target {
    tn_buffer *buffer;
    uint64_t offset_bytes;
} pack_target;

static tn_status write_words(void *ctx, uint64_t at, const uint32_t *words, uint64_t n_words)
{
    const pack_target *target = ctx;
    return tn_vk_buffer_write(target->buffer, target->offset_bytes + at * 4, words, n_words * 4);
}

tn_status tn_vk_weight_pack(tn_device *device, const tn_weight_source *source, tn_buffer *buffer, uint64_t offset_bytes)
{
    tn_vk_weight_shape shape;
    pack_target target = {buffer, offset_bytes};
    TN_TRY(tn_vk_weight_shape_of(source, &shape));
    if (offset_bytes % ALIGNMENT != 0)
        return tn_fail(TN_INVALID_ARGUMENT, "%s: packed at byte %llu, which is no multiple of %d", source->name,
                       (unsigned long long)offset_bytes, ALIGNMENT);
    TN_TRY(tn_buffer_check(device, buffer, offset_bytes, shape.n_words * 4, source->name));
    return tn_vk_pack_all(&shape, source, 0, write_words, &target);
}
