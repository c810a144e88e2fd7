// The Vulkan backend's table.
#include "vulkan/vk_backend.h"

#include "vulkan/vk_describe.h"
#include "vulkan/vk_memory.h"
#include "vulkan/vk_pack.h"
#include "vulkan/vk_program.h"
#include "vulkan/vk_shaders.h"

#include <string.h>

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), n_end = strlen(end);
    return n > n_end && strcmp(text + n - n_end, end) == 0;
}

// A shader without a form in its name is for every device.
static bool is_of_form(const char *shader, const char *form)
{
    static const char *const ends[] = {"_dot", "_mul", "_mul_texel"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        if (ends_with(shader, ends[i])) return strcmp(ends[i] + 1, form) == 0;
    }
    return true;
}

static tn_status device_kernels(tn_device *base, void (*line)(void *user, const char *kernel, bool chosen), void *user)
{
    const char *form = tn_vk_form_name(&tn_vk_device_of(base)->traits);
    for (uint32_t i = 0; i < tn_vk_n_shaders; i++) line(user, tn_vk_shaders[i].name, is_of_form(tn_vk_shaders[i].name, form));
    return TN_OK;
}

// There is one layout of each type.
static bool packing_assume(tn_device *device, uint32_t index)
{
    (void)device, (void)index;
    return false;
}

const tn_backend tn_vulkan_backend_table = {
    .abi_version = TN_BACKEND_ABI,
    .struct_size = sizeof(tn_backend),
    .name = "vulkan",
    .pack_id = TN_VK_PACK_ID,
    .loads_driver = true,
    .device_count = tn_vk_device_count,
    .device_describe = tn_vk_device_describe,
    .device_open = tn_vk_device_open,
    .device_close = tn_vk_device_close,
    .device_kernels = device_kernels,
    .buffer_create = tn_vk_buffer_create,
    .buffer_destroy = tn_vk_buffer_destroy,
    .buffer_write = tn_vk_buffer_write,
    .buffer_read = tn_vk_buffer_read,
    .buffer_map = tn_vk_buffer_map,
    .packing_assume = packing_assume,
    .weight_layout = tn_vk_weight_layout,
    .weight_pack = tn_vk_weight_pack,
    .op_supported = tn_vk_op_supported,
    .program_create = tn_vk_program_create,
    .program_destroy = tn_vk_program_destroy,
    .program_scratch_bytes = tn_vk_program_scratch_bytes,
    .program_submit = tn_vk_program_submit,
    .fence_wait = tn_vk_fence_wait,
    .device_measure = tn_vk_device_measure,
};
