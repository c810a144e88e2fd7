// How fast the device's memory is read: a shader that does nothing else, over more memory than caches hold.
#include "base/alloc.h"
#include "base/clock.h"
#include "vulkan/shaders/shader_params.h"
#include "vulkan/vk_backend.h"
#include "vulkan/vk_memory.h"
#include "vulkan/vk_pipeline.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    SAMPLES_MIN = 5,
    SAMPLES_MAX = 256,
    REPEATS_MAX = 256,    // dispatches of a submit
    GROUPS_MAX = 1 << 14, // enough to fill any device many times
    ELEMENT_BYTES = 16,
};
enum { BIND_WEIGHTS = 2, BIND_OUT = 5, BIND_WEIGHTS_TEXELS = 6 }; // shaders/common.glsl
// GPUs have caches of up to 256 MiB; of a little device's memory no more than a quarter is taken.
static const uint64_t read_bytes_max = UINT64_C(1) << 30;
static const uint64_t pass_ns_min = 10000000; // against which submitting and waiting, some 50 us, are little

typedef struct read_probe {
    tn_vk_device *device;
    bool reads_texels;
    uint32_t n_elements;
    tn_vk_buffer *data, *out;
    VkBufferView view;
    VkPipeline pipeline;
    VkDescriptorPool descriptors;
    VkDescriptorSet set;
    VkCommandPool pool;
    VkCommandBuffer commands;
    double rates[SAMPLES_MAX];
    uint32_t n_samples;
} read_probe;

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

static tn_status create_data(read_probe *p)
{
    tn_vk_device *device = p->device;
    const tn_vk_limits *limits = &device->limits;
    uint64_t bytes = least(read_bytes_max, device->memory_bytes / 4);
    bytes = least(bytes, least(limits->range_bytes, limits->allocation_bytes)) / ELEMENT_BYTES * ELEMENT_BYTES;
    if (p->reads_texels) bytes = least(bytes, limits->texel_elements * ELEMENT_BYTES);
    p->n_elements = (uint32_t)(bytes / ELEMENT_BYTES);
    tn_buffer *data, *out;
    TN_TRY(tn_vk_buffer_create(&device->base, bytes, &data));
    p->data = tn_vk_buffer_of(data);
    TN_TRY(tn_vk_buffer_create(&device->base, ELEMENT_BYTES, &out));
    p->out = tn_vk_buffer_of(out);
    if (!p->reads_texels) return TN_OK;
    const VkBufferViewCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO,
        .buffer = p->data->handle,
        .format = VK_FORMAT_R32G32B32A32_UINT,
        .range = bytes,
    };
    VkBufferView view;
    TN_TRY(TN_VK_CHECK(device->vk.vkCreateBufferView(device->handle, &info, NULL, &view), "vkCreateBufferView"));
    p->view = view;
    return TN_OK;
}

static tn_status create_set(read_probe *p)
{
    const tn_vk_api *vk = &p->device->vk;
    const VkDevice handle = p->device->handle;
    // The layout's set has all of its bindings, those too that the shader does not use.
    const VkDescriptorPoolSize sizes[] = {{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 6}, {VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER, 2}};
    const VkDescriptorPoolCreateInfo pool_info = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
        .maxSets = 1,
        .poolSizeCount = 2,
        .pPoolSizes = sizes,
    };
    VkDescriptorPool pool;
    TN_TRY(TN_VK_CHECK(vk->vkCreateDescriptorPool(handle, &pool_info, NULL, &pool), "vkCreateDescriptorPool"));
    p->descriptors = pool;
    const VkDescriptorSetAllocateInfo info = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
        .descriptorPool = pool,
        .descriptorSetCount = 1,
        .pSetLayouts = &p->device->set_layout,
    };
    TN_TRY(TN_VK_CHECK(vk->vkAllocateDescriptorSets(handle, &info, &p->set), "vkAllocateDescriptorSets"));
    const VkDescriptorBufferInfo data = {p->data->handle, 0, (VkDeviceSize)p->n_elements * ELEMENT_BYTES};
    const VkDescriptorBufferInfo out = {p->out->handle, 0, ELEMENT_BYTES};
    VkWriteDescriptorSet writes[2] = {{.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                       .dstSet = p->set,
                                       .dstBinding = BIND_OUT,
                                       .descriptorCount = 1,
                                       .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                       .pBufferInfo = &out}};
    writes[1] = writes[0];
    writes[1].dstBinding = p->reads_texels ? BIND_WEIGHTS_TEXELS : BIND_WEIGHTS;
    writes[1].descriptorType = p->reads_texels ? VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER : VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
    writes[1].pBufferInfo = &data;
    writes[1].pTexelBufferView = &p->view;
    vk->vkUpdateDescriptorSets(handle, 2, writes, 0, NULL);
    return TN_OK;
}

static tn_status create_commands(read_probe *p)
{
    TN_TRY(tn_vk_command_pool_create(p->device, &p->pool));
    return tn_vk_commands_allocate(p->device, p->pool, &p->commands);
}

static tn_status record(const read_probe *p, uint32_t n_repeats)
{
    const tn_vk_device *device = p->device;
    const tn_vk_api *vk = &device->vk;
    const VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    const VkMemoryBarrier barrier = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
        .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
        .dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT,
    };
    const struct tn_vk_probe_params params = {.n = p->n_elements};
    const uint64_t n_groups = (p->n_elements + device->traits.n_row_threads - 1) / device->traits.n_row_threads;
    TN_TRY(TN_VK_CHECK(vk->vkBeginCommandBuffer(p->commands, &begin), "vkBeginCommandBuffer"));
    vk->vkCmdBindPipeline(p->commands, VK_PIPELINE_BIND_POINT_COMPUTE, p->pipeline);
    vk->vkCmdBindDescriptorSets(p->commands, VK_PIPELINE_BIND_POINT_COMPUTE, device->pipeline_layout, 0, 1, &p->set, 0, NULL);
    vk->vkCmdPushConstants(p->commands, device->pipeline_layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof params, &params);
    for (uint32_t i = 0; i < n_repeats; i++) {
        vk->vkCmdPipelineBarrier(p->commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT,
                                 VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, 0, 1, &barrier, 0, NULL, 0, NULL);
        vk->vkCmdDispatch(p->commands, (uint32_t)least(n_groups, least(GROUPS_MAX, device->limits.n_groups)), 1, 1);
    }
    return TN_VK_CHECK(vk->vkEndCommandBuffer(p->commands), "vkEndCommandBuffer");
}

static tn_status pass(read_probe *p, uint64_t *out_ns)
{
    uint64_t value;
    const uint64_t begun_ns = tn_clock_ns();
    TN_TRY(tn_vk_submit(p->device, &p->commands, 1, &value));
    TN_TRY(tn_vk_wait(p->device, value));
    *out_ns = tn_clock_ns() - begun_ns;
    if (*out_ns == 0) *out_ns = 1;
    return TN_OK;
}

static tn_status run_passes(read_probe *p, uint64_t time_ns)
{
    uint64_t ns = 0;
    for (uint32_t warm = 0; warm < 2; warm++) { // clocks and caches settle
        TN_TRY(record(p, 1));
        TN_TRY(pass(p, &ns));
    }
    const uint32_t n_repeats = (uint32_t)least(REPEATS_MAX, pass_ns_min / ns + 1);
    const double bytes = (double)n_repeats * (double)p->n_elements * ELEMENT_BYTES;
    TN_TRY(record(p, n_repeats));
    const uint64_t deadline_ns = tn_clock_ns() + time_ns;
    while (p->n_samples < SAMPLES_MIN || (p->n_samples < SAMPLES_MAX && tn_clock_ns() < deadline_ns)) {
        TN_TRY(pass(p, &ns));
        p->rates[p->n_samples++] = bytes * 1e9 / (double)ns;
    }
    return TN_OK;
}

static tn_status run(read_probe *p, uint64_t time_ns)
{
    const uint32_t n_invocations = p->device->traits.n_row_threads;
    TN_TRY(create_data(p));
    TN_TRY(tn_vk_pipeline_get(p->device, p->reads_texels ? "probe_read_mul_texel" : "probe_read", &n_invocations, 1, &p->pipeline));
    TN_TRY(create_set(p));
    TN_TRY(create_commands(p));
    return run_passes(p, time_ns);
}

static void deinit(read_probe *p)
{
    const tn_vk_api *vk = &p->device->vk;
    if (p->pool) vk->vkDestroyCommandPool(p->device->handle, p->pool, NULL);
    if (p->descriptors) vk->vkDestroyDescriptorPool(p->device->handle, p->descriptors, NULL);
    if (p->view) vk->vkDestroyBufferView(p->device->handle, p->view, NULL);
    tn_vk_memory_destroy(p->data);
    tn_vk_memory_destroy(p->out);
}

static int by_rate(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

tn_status tn_vk_device_measure(tn_device *base, uint32_t n_threads, uint64_t time_ns, tn_measured_fn *told, void *user)
{
    (void)n_threads;
    tn_vk_device *device = tn_vk_device_of(base);
    read_probe *p;
    TN_TRY(tn_alloc_zero(1, sizeof *p, &p));
    p->device = device;
    p->reads_texels = !device->traits.use_dot && device->traits.use_texels;
    tn_status status = run(p, time_ns);
    deinit(p);
    if (status == TN_OK) {
        qsort(p->rates, p->n_samples, sizeof *p->rates, by_rate);
        tn_measured_limit limit = {.kind = TN_MEASURED_MEMORY_READ,
                                   .best = p->rates[p->n_samples - 1],
                                   .median = (p->rates[(p->n_samples - 1) / 2] + p->rates[p->n_samples / 2]) / 2};
        snprintf(limit.name, sizeof limit.name, "%s", device->name);
        if (!told(user, &limit)) status = tn_fail(TN_CANCELLED, "measuring %s was cancelled by the caller", device->name);
    }
    tn_free(p);
    return status;
}
