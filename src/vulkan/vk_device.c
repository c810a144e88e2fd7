// Opening and closing a device: what is used of it, its queue, the layouts that all pipelines share, and waiting.
#include "base/alloc.h"
#include "base/clock.h"
#include "vulkan/vk_backend.h"
#include "vulkan/vk_describe.h"
#include "vulkan/vk_memory.h"
#include "vulkan/vk_pipeline.h"
#include "vulkan/vk_rank.h"
#include "vulkan/vk_selftest.h"

#include <stdio.h>
#include <string.h>

// Bindings of shaders/common.glsl.
enum { N_STORAGE_BUFFERS = 6, N_TEXEL_BUFFERS = 2, N_BINDINGS = N_STORAGE_BUFFERS + N_TEXEL_BUFFERS, PUSH_BYTES = 128 };
// Longer than any step, shorter than patience: drivers reset a device that hangs far earlier.
static const uint64_t wait_ns_max = UINT64_C(600) * 1000000000;

static tn_status facts_of(const tn_vk_instance *instance, uint32_t index, tn_vk_facts *out_facts)
{
    if (instance->absent[0]) return tn_fail(TN_UNAVAILABLE, "Vulkan is not available: %s", instance->absent);
    if (index >= instance->n_devices)
        return tn_fail(TN_INVALID_ARGUMENT, "there is no Vulkan device %u: this host has %u", (unsigned)index,
                       (unsigned)instance->n_devices);
    return tn_vk_facts_read(instance, instance->devices[index], out_facts);
}

tn_status tn_vk_device_count(const tn_backend_host *host, uint32_t *out_count)
{
    *out_count = 0;
    tn_vk_instance *instance;
    TN_TRY(tn_vk_instance_acquire(host, &instance));
    *out_count = instance->n_devices;
    tn_vk_instance_release(instance);
    return TN_OK;
}

tn_status tn_vk_device_describe(const tn_backend_host *host, uint32_t index, tn_device_desc *out_desc)
{
    *out_desc = (tn_device_desc){0};
    tn_vk_instance *instance;
    tn_vk_facts facts;
    TN_TRY(tn_vk_instance_acquire(host, &instance));
    const tn_status status = facts_of(instance, index, &facts);
    tn_status form = TN_OK;
    if (status == TN_OK && !facts.unusable[0]) {
        form = tn_vk_form_choose(host->vulkan_kernels, &facts.traits);
        snprintf(facts.unusable, sizeof facts.unusable, "%s", tn_vk_selftest_verdict(instance, index, &facts.traits));
    }
    tn_vk_instance_release(instance);
    if (status != TN_OK) return tn_error_last()->native_code < 0 ? tn_fail_prefix("vulkan%u: ", (unsigned)index) : status;
    tn_vk_facts_describe(&facts, index, out_desc);
    if (form != TN_OK) // the device is there all the same, and so are its neighbours
        snprintf(out_desc->unusable, sizeof out_desc->unusable, "%.255s", tn_error_last()->message);
    return TN_OK;
}

static tn_status create_device(tn_vk_device *device, const tn_vk_facts *facts)
{
    const float priority = 1.0f;
    const char *enabled[2];
    uint32_t n_enabled = 0;
    if (facts->enable_dot_extension) enabled[n_enabled++] = VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME;
    if (facts->enable_portability_subset) enabled[n_enabled++] = "VK_KHR_portability_subset";
    VkPhysicalDeviceShaderIntegerDotProductFeatures dot = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES,
        .shaderIntegerDotProduct = VK_TRUE,
    };
    VkPhysicalDeviceVulkan12Features features = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
        .pNext = facts->traits.has_dot ? &dot : NULL,
        .timelineSemaphore = VK_TRUE,
    };
    const VkDeviceQueueCreateInfo queue = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
        .queueFamilyIndex = facts->queue_family,
        .queueCount = 1,
        .pQueuePriorities = &priority,
    };
    const VkDeviceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
        .pNext = &features,
        .queueCreateInfoCount = 1,
        .pQueueCreateInfos = &queue,
        .enabledExtensionCount = n_enabled,
        .ppEnabledExtensionNames = enabled,
    };
    const VkResult result = device->vk.vkCreateDevice(device->physical, &info, NULL, &device->handle);
    if (result != VK_SUCCESS) device->handle = VK_NULL_HANDLE;
    TN_TRY(TN_VK_CHECK(result, "vkCreateDevice"));
    TN_TRY(tn_vk_device_functions(device->instance, device->handle, &device->vk));
    device->vk.vkGetDeviceQueue(device->handle, facts->queue_family, 0, &device->queue);
    device->queue_family = facts->queue_family;
    return TN_OK;
}

static tn_status create_layouts(tn_vk_device *device)
{
    const tn_vk_api *vk = &device->vk;
    VkDescriptorSetLayoutBinding bindings[N_BINDINGS];
    for (uint32_t i = 0; i < N_BINDINGS; i++)
        bindings[i] = (VkDescriptorSetLayoutBinding){
            .binding = i,
            .descriptorType = i < N_STORAGE_BUFFERS ? VK_DESCRIPTOR_TYPE_STORAGE_BUFFER : VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER,
            .descriptorCount = 1,
            .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT,
        };
    const VkDescriptorSetLayoutCreateInfo set_info = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
        .bindingCount = N_BINDINGS,
        .pBindings = bindings,
    };
    VkDescriptorSetLayout set_layout; // what failed calls leave in handles is not said anywhere: kept where they succeed
    TN_TRY(TN_VK_CHECK(vk->vkCreateDescriptorSetLayout(device->handle, &set_info, NULL, &set_layout), "vkCreateDescriptorSetLayout"));
    device->set_layout = set_layout;
    const VkPushConstantRange push = {.stageFlags = VK_SHADER_STAGE_COMPUTE_BIT, .size = PUSH_BYTES};
    const VkPipelineLayoutCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
        .setLayoutCount = 1,
        .pSetLayouts = &device->set_layout,
        .pushConstantRangeCount = 1,
        .pPushConstantRanges = &push,
    };
    VkPipelineLayout layout;
    TN_TRY(TN_VK_CHECK(vk->vkCreatePipelineLayout(device->handle, &info, NULL, &layout), "vkCreatePipelineLayout"));
    device->pipeline_layout = layout;
    return TN_OK;
}

static tn_status create_timeline(tn_vk_device *device)
{
    const VkSemaphoreTypeCreateInfo type = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
        .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE,
    };
    const VkSemaphoreCreateInfo info = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, .pNext = &type};
    VkSemaphore timeline;
    TN_TRY(TN_VK_CHECK(device->vk.vkCreateSemaphore(device->handle, &info, NULL, &timeline), "vkCreateSemaphore"));
    device->timeline = timeline;
    return TN_OK;
}

static void set_cache_key(tn_vk_device *device, const VkPhysicalDeviceProperties *core)
{
    const uint32_t words[4] = {core->vendorID, core->deviceID, core->driverVersion, core->apiVersion};
    memcpy(device->cache_key, words, sizeof words);
    memcpy(device->cache_key + sizeof words, core->pipelineCacheUUID, VK_UUID_SIZE);
}

static uint64_t at_most(uint64_t a, uint64_t b) { return a < b ? a : b; }

// What tests make of the device.
static void apply_hooks(const tn_vk_hooks *hooks, tn_vk_device *device)
{
    device->maps_memory = !hooks || !hooks->force_staging;
    if (!hooks) return;
    device->fills_scratch = hooks->fills_scratch;
    if (hooks->n_row_threads) device->traits.n_row_threads = hooks->n_row_threads;
    if (hooks->mirror_bytes_max) device->mirror_bytes_max = hooks->mirror_bytes_max;
    if (hooks->job_work) device->job_work = hooks->job_work;
    if (hooks->poll_ns) device->poll_ns = hooks->poll_ns;
    device->compiles_early = hooks->compiles_early || !device->traits.is_software; // which takes long where few steps are made
    if (hooks->range_bytes_max) device->limits.range_bytes = at_most(device->limits.range_bytes, hooks->range_bytes_max);
    if (hooks->allocation_bytes_max)
        device->limits.allocation_bytes = at_most(device->limits.allocation_bytes, hooks->allocation_bytes_max);
}

// Of software devices: a workgroup is one subgroup there, since meeting costs more than it gains.
enum { TEXEL_ROW_THREADS = 8 };
// Host memory that the driver pins. More takes the bus some milliseconds, against which a submit is nothing.
static const uint64_t MIRROR_BYTES_MAX = UINT64_C(64) << 20;
// A thread that sleeps is woken some 50 us late, which short steps would feel. On software devices polling would take a processor from
// them.
static const uint64_t POLL_NS = 2000000;
static const uint64_t JOB_WORK = (uint64_t)1 << 34; // a third of a second of a GPU that does 50 G products in one

static tn_status set_up(tn_vk_device *device, const tn_backend_host *host, uint32_t index)
{
    tn_vk_facts facts;
    TN_TRY(tn_vk_instance_acquire(host, &device->instance));
    TN_TRY(facts_of(device->instance, index, &facts));
    if (facts.unusable[0])
        return tn_fail(TN_UNAVAILABLE, "device vulkan%u (%.120s) cannot be used: %s", (unsigned)index, facts.core.deviceName,
                       facts.unusable);
    TN_TRY(tn_vk_form_choose(host->vulkan_kernels, &facts.traits));
    device->vk = device->instance->vk;
    device->physical = device->instance->devices[index];
    device->memory = facts.memory;
    device->memory_heap = facts.memory_heap;
    device->memory_bytes = facts.memory_bytes;
    device->has_budget = facts.has_budget;
    device->limits = facts.limits;
    device->traits = facts.traits;
    device->log = host->log;
    device->job_work = JOB_WORK;
    device->poll_ns = device->traits.is_software ? 0 : POLL_NS;
    device->mirror_bytes_max = MIRROR_BYTES_MAX;
    device->compiles_early = true;
    // What is bound as a storage buffer is bound as texels too.
    if (device->traits.use_texels) device->traits.n_row_threads = TEXEL_ROW_THREADS;
    if (device->traits.use_texels) device->limits.range_bytes = at_most(device->limits.range_bytes, device->limits.texel_elements * 16);
    apply_hooks(host->vulkan_hooks, device);
    device->base.buffer_bytes_max = device->limits.allocation_bytes;
    device->base.copies_maps = true;
    device->base.ranking_max = device->traits.use_texels ? 0 : TN_VK_RANKING_MAX; // software devices read rows where they lie
    device->cache_folder = host->cache_folder;
    set_cache_key(device, &facts.core);
    TN_TRY(create_device(device, &facts));
    TN_TRY(create_layouts(device));
    TN_TRY(create_timeline(device));
    TN_TRY(tn_vk_pipelines_create(device));
    return tn_vk_selftest(device, index, facts.driver, host->progress);
}

tn_status tn_vk_device_open(const tn_backend_host *host, uint32_t index, tn_device **out_device)
{
    *out_device = NULL;
    tn_vk_device *device;
    TN_TRY(tn_alloc_zero(1, sizeof *device, &device));
    pthread_mutex_init(&device->mutex, NULL);
    device->base.backend = &tn_vulkan_backend_table;
    device->base.records_buffers = true;
    snprintf(device->name, sizeof device->name, "vulkan%u", (unsigned)index);
    device->base.name = device->name;
    const tn_status status = tn_vk_leave(device, set_up(device, host, index));
    if (status == TN_OK)
        *out_device = &device->base;
    else
        tn_vk_device_close(&device->base);
    return status;
}

void tn_vk_device_close(tn_device *base)
{
    if (!base) return;
    tn_vk_device *device = tn_vk_device_of(base);
    const tn_vk_api *vk = &device->vk;
    if (device->handle && vk->vkDeviceWaitIdle) {   // the last function of the table: all are there
        (void)vk->vkDeviceWaitIdle(device->handle); // of a lost device nothing is left to wait for
        tn_vk_transfer_destroy(device->transfer);
        tn_vk_pipelines_destroy(device);
        vk->vkDestroySemaphore(device->handle, device->timeline, NULL);
        vk->vkDestroyPipelineLayout(device->handle, device->pipeline_layout, NULL);
        vk->vkDestroyDescriptorSetLayout(device->handle, device->set_layout, NULL);
    }
    if (device->handle && vk->vkDestroyDevice) vk->vkDestroyDevice(device->handle, NULL);
    tn_vk_instance_release(device->instance);
    pthread_mutex_destroy(&device->mutex);
    tn_free(device);
}

tn_status tn_vk_command_pool_create(const tn_vk_device *device, VkCommandPool *out_pool)
{
    const VkCommandPoolCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
        .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
        .queueFamilyIndex = device->queue_family,
    };
    VkCommandPool pool;
    TN_TRY(TN_VK_CHECK(device->vk.vkCreateCommandPool(device->handle, &info, NULL, &pool), "vkCreateCommandPool"));
    *out_pool = pool;
    return TN_OK;
}

tn_status tn_vk_commands_allocate(const tn_vk_device *device, VkCommandPool pool, VkCommandBuffer *out_commands)
{
    const VkCommandBufferAllocateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
        .commandPool = pool,
        .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
        .commandBufferCount = 1,
    };
    VkCommandBuffer commands;
    TN_TRY(TN_VK_CHECK(device->vk.vkAllocateCommandBuffers(device->handle, &info, &commands), "vkAllocateCommandBuffers"));
    *out_commands = commands;
    return TN_OK;
}

tn_status tn_vk_submit_jobs(tn_vk_device *device, const tn_vk_job *jobs, uint32_t n_jobs, uint64_t *out_value)
{
    *out_value = 0;
    const uint64_t value = device->n_submits + 1;
    const VkTimelineSemaphoreSubmitInfo timeline = {
        .sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
        .signalSemaphoreValueCount = 1,
        .pSignalSemaphoreValues = &value,
    };
    VkSubmitInfo infos[TN_VK_JOBS_MAX];
    for (uint32_t i = 0; i < n_jobs; i++) {
        infos[i] = (VkSubmitInfo){
            .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = jobs[i].n_commands, .pCommandBuffers = jobs[i].commands};
    }
    infos[n_jobs - 1].pNext = &timeline;
    infos[n_jobs - 1].signalSemaphoreCount = 1;
    infos[n_jobs - 1].pSignalSemaphores = &device->timeline;
    TN_TRY(TN_VK_CHECK(device->vk.vkQueueSubmit(device->queue, n_jobs, infos, VK_NULL_HANDLE), "vkQueueSubmit"));
    device->n_submits = value;
    *out_value = value;
    return TN_OK;
}

tn_status tn_vk_submit(tn_vk_device *device, const VkCommandBuffer *commands, uint32_t n_commands, uint64_t *out_value)
{
    const tn_vk_job job = {commands, n_commands};
    return tn_vk_submit_jobs(device, &job, 1, out_value);
}

// Whether the value is seen in the time that is polled for it. What fails is left for the wait to tell.
static bool is_reached_soon(const tn_vk_device *device, uint64_t value)
{
    uint64_t reached;
    if (device->poll_ns == 0) return false;
    const uint64_t end = tn_clock_ns() + device->poll_ns;
    do {
        if (device->vk.vkGetSemaphoreCounterValue(device->handle, device->timeline, &reached) != VK_SUCCESS) return false;
        if (reached >= value) return true;
    } while (tn_clock_ns() < end);
    return false;
}

static VkResult wait_for_value(const tn_vk_device *device, uint64_t value)
{
    if (is_reached_soon(device, value)) return VK_SUCCESS;
    const VkSemaphoreWaitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
        .semaphoreCount = 1,
        .pSemaphores = &device->timeline,
        .pValues = &value,
    };
    return device->vk.vkWaitSemaphores(device->handle, &info, wait_ns_max);
}

static tn_status waited(tn_vk_device *device, uint64_t value, VkResult result)
{
    if (result == VK_SUCCESS) {
        if (value > device->n_ended) device->n_ended = value;
        return TN_OK;
    }
    device->may_be_busy = true;
    if (result == VK_TIMEOUT) { // it may be at work still: nothing more is asked of it
        device->lost = result;
        return tn_fail_native(TN_DEVICE_LOST, result,
                              "%s did not finish a step in ten minutes (VK_TIMEOUT): use shorter steps, or another device", device->name);
    }
    const tn_status status = TN_VK_CHECK(result, "vkWaitSemaphores");
    tn_vk_settle(device); // the caller may change next what the device works on
    return status;
}

tn_status tn_vk_wait(tn_vk_device *device, uint64_t value)
{
    TN_TRY(tn_vk_enter(device));
    return waited(device, value, wait_for_value(device, value));
}

tn_status tn_vk_wait_unlocked(tn_vk_device *device, uint64_t value)
{
    TN_TRY(tn_vk_enter(device));
    pthread_mutex_unlock(&device->mutex);
    const VkResult result = wait_for_value(device, value);
    pthread_mutex_lock(&device->mutex);
    return waited(device, value, result);
}

void tn_vk_settle(tn_vk_device *device)
{
    if (!device->may_be_busy) return;
    const VkResult result = device->vk.vkDeviceWaitIdle(device->handle); // a lost device ends its work at once
    device->may_be_busy = result != VK_SUCCESS && result != VK_ERROR_DEVICE_LOST;
}
