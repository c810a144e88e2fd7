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

// Whether there is a shader whose name is the first n_stem characters of this one's and then `end`.
static bool has_twin(const char *shader, size_t n_stem, const char *end)
{
    for (uint32_t i = 0; i < tn_vk_n_shaders; i++) {
        if (strncmp(tn_vk_shaders[i].name, shader, n_stem) == 0 && strcmp(tn_vk_shaders[i].name + n_stem, end) == 0) return true;
    }
    return false;
}

// A shader that has a twin by texels is for devices that do not load by them, and the twin for those that do; but attention over heads of
// odd sizes has no units to load, and is never split where loads are by texels. Shuffles replace the same shader without them. Others are
// for every device.
static bool is_used(const char *shader, const tn_vk_traits *traits)
{
    const size_t n = strlen(shader);
    if (strncmp(shader, "attention_split", strlen("attention_split")) == 0) return !traits->use_texels && !ends_with(shader, "_texel");
    if (strcmp(shader, "attention_walk") == 0) return true;
    if (strcmp(shader, "attention_one") == 0 || strncmp(shader, "rank", strlen("rank")) == 0) return !traits->use_texels;
    if (ends_with(shader, "_mul_shuffle")) return traits->use_shuffle;
    if (traits->use_shuffle && ends_with(shader, "_mul_texel") && has_twin(shader, n - strlen("_texel"), "_shuffle")) return false;
    if (ends_with(shader, "_texel")) return traits->use_texels;
    if (ends_with(shader, "_dot") || ends_with(shader, "_mul")) return strcmp(shader + n - 3, tn_vk_form_name(traits)) == 0;
    return !traits->use_texels || !(has_twin(shader, n, "_texel") || has_twin(shader, n, "_mul_texel"));
}

static tn_status device_kernels(tn_device *base, void (*line)(void *user, const char *kernel, bool chosen), void *user)
{
    const tn_vk_traits *traits = &tn_vk_device_of(base)->traits;
    for (uint32_t i = 0; i < tn_vk_n_shaders; i++) line(user, tn_vk_shaders[i].name, is_used(tn_vk_shaders[i].name, traits));
    return TN_OK;
}

// ---- functions that reach the driver: one at a time, but for waiting ----

static tn_status enter(tn_vk_device *device)
{
    pthread_mutex_lock(&device->mutex);
    const tn_status status = tn_vk_enter(device);
    if (status != TN_OK) pthread_mutex_unlock(&device->mutex);
    return status;
}

static tn_status leave(tn_vk_device *device, tn_status status)
{
    const tn_status left = tn_vk_leave(device, status);
    pthread_mutex_unlock(&device->mutex);
    return left;
}

static tn_status device_memory(tn_device *device, uint64_t *out_total, uint64_t *out_free)
{
    *out_total = *out_free = 0;
    TN_TRY(tn_vk_enter(tn_vk_device_of(device)));
    tn_vk_memory_ask(tn_vk_device_of(device), out_total, out_free);
    return TN_OK;
}

static tn_status buffer_create(tn_device *device, uint64_t size_bytes, tn_buffer **out_buffer)
{
    *out_buffer = NULL;
    TN_TRY(enter(tn_vk_device_of(device)));
    return leave(tn_vk_device_of(device), tn_vk_buffer_create(device, size_bytes, out_buffer));
}

static tn_status buffer_write(tn_buffer *buffer, uint64_t offset_bytes, const void *src, uint64_t n_bytes)
{
    tn_vk_device *device = tn_vk_device_of(buffer->device);
    TN_TRY(enter(device));
    return leave(device, tn_vk_buffer_write(buffer, offset_bytes, src, n_bytes));
}

static tn_status buffer_read(tn_buffer *buffer, uint64_t offset_bytes, void *dst, uint64_t n_bytes)
{
    tn_vk_device *device = tn_vk_device_of(buffer->device);
    TN_TRY(enter(device));
    return leave(device, tn_vk_buffer_read(buffer, offset_bytes, dst, n_bytes));
}

static tn_status buffer_map(tn_device *device, const void *bytes, uint64_t size_bytes, tn_buffer **out_buffer)
{
    *out_buffer = NULL;
    TN_TRY(enter(tn_vk_device_of(device)));
    return leave(tn_vk_device_of(device), tn_vk_buffer_map(device, bytes, size_bytes, out_buffer));
}

static tn_status weight_pack(tn_device *device, const tn_weight_source *source, tn_buffer *buffer, uint64_t offset_bytes)
{
    TN_TRY(enter(tn_vk_device_of(device)));
    return leave(tn_vk_device_of(device), tn_vk_weight_pack(device, source, buffer, offset_bytes));
}

static tn_status program_create(tn_device *device, const tn_program_desc *desc, tn_program **out_program)
{
    *out_program = NULL;
    TN_TRY(enter(tn_vk_device_of(device)));
    return leave(tn_vk_device_of(device), tn_vk_program_create(device, desc, out_program));
}

static tn_status program_submit(tn_program *program, const tn_submit *submit, tn_fence *out_fence)
{
    out_fence->value = 0;
    TN_TRY(enter(tn_vk_device_of(program->device)));
    return leave(tn_vk_device_of(program->device), tn_vk_program_submit(program, submit, out_fence));
}

// Of a lost device too: its programs leave the flight.
static tn_status fence_wait(tn_device *device, tn_fence fence)
{
    pthread_mutex_lock(&tn_vk_device_of(device)->mutex);
    return leave(tn_vk_device_of(device), tn_vk_fence_wait(device, fence));
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
    .device_memory = device_memory,
    .buffer_create = buffer_create,
    .buffer_destroy = tn_vk_buffer_destroy,
    .buffer_write = buffer_write,
    .buffer_read = buffer_read,
    .buffer_map = buffer_map,
    .packing_assume = packing_assume,
    .weight_layout = tn_vk_weight_layout,
    .weight_pack = weight_pack,
    .op_supported = tn_vk_op_supported,
    .program_check = tn_vk_program_check,
    .program_create = program_create,
    .program_destroy = tn_vk_program_destroy,
    .program_scratch_bytes = tn_vk_program_scratch_bytes,
    .program_submit = program_submit,
    .fence_wait = fence_wait,
    .device_measure = tn_vk_device_measure,
};
