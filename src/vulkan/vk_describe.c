// Asks a driver what its device is and has.
#include "vulkan/vk_describe.h"

#include "base/alloc.h"

#include <stdio.h>
#include <string.h>

// What the shaders need: common.glsl has 6 storage buffers, the largest workgroup's arrays fill 16 KiB, and attention has 128 lanes.
enum { STORAGE_BUFFERS_MIN = 8, SHARED_BYTES_MIN = 16 << 10, INVOCATIONS_MIN = 128, PUSH_BYTES = 128 };
// Invocations of a workgroup: GPUs hide the latency of a few loads by many lanes.
enum { ROW_THREADS_GPU = 256 };
enum { ALIGNMENT_MIN = 16 };
enum { SHUFFLE_LANES = 8 }; // of dot.glsl's load_eight

typedef struct extensions {
    bool integer_dot, memory_budget, pci_bus_info, portability_subset;
} extensions;

static tn_status read_extensions(const tn_vk_api *vk, VkPhysicalDevice physical, extensions *out)
{
    tn_status status = TN_OK;
    uint32_t n = 0;
    VkExtensionProperties *list;
    *out = (extensions){0};
    TN_TRY(TN_VK_CHECK(vk->vkEnumerateDeviceExtensionProperties(physical, NULL, &n, NULL), "vkEnumerateDeviceExtensionProperties"));
    TN_TRY(tn_alloc_zero(n, sizeof *list, &list));
    // VK_INCOMPLETE would be a driver whose list grew meanwhile: what is there is told.
    const VkResult result = vk->vkEnumerateDeviceExtensionProperties(physical, NULL, &n, list);
    if (result != VK_INCOMPLETE) status = TN_VK_CHECK(result, "vkEnumerateDeviceExtensionProperties");
    for (uint32_t i = 0; status == TN_OK && i < n; i++) {
        const char *name = list[i].extensionName;
        out->integer_dot = out->integer_dot || strcmp(name, VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME) == 0;
        out->memory_budget = out->memory_budget || strcmp(name, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME) == 0;
        out->pci_bus_info = out->pci_bus_info || strcmp(name, VK_EXT_PCI_BUS_INFO_EXTENSION_NAME) == 0;
        out->portability_subset = out->portability_subset || strcmp(name, "VK_KHR_portability_subset") == 0;
    }
    tn_free(list);
    return status;
}

// Structs that are asked for together; each is linked in where the device knows it.
typedef struct answers {
    VkPhysicalDeviceProperties2 properties;
    VkPhysicalDeviceVulkan11Properties v11;
    VkPhysicalDeviceVulkan12Properties v12;
    VkPhysicalDeviceShaderIntegerDotProductProperties dot;
    VkPhysicalDevicePCIBusInfoPropertiesEXT pci;
    VkPhysicalDeviceMaintenance4Properties maintenance4;
    VkPhysicalDeviceFeatures2 features;
    VkPhysicalDeviceVulkan12Features v12_features;
    VkPhysicalDeviceShaderIntegerDotProductFeatures dot_features;
    VkPhysicalDeviceMemoryProperties2 memory;
    VkPhysicalDeviceMemoryBudgetPropertiesEXT budget;
} answers;

#define LINK(at, part, type)                                                                                                               \
    do {                                                                                                                                   \
        (part)->sType = (type);                                                                                                            \
        *(at) = (part);                                                                                                                    \
        (at) = &(part)->pNext;                                                                                                             \
    } while (0)

static void ask(const tn_vk_api *vk, VkPhysicalDevice physical, const extensions *has, bool is_1_3, answers *a)
{
    *a = (answers){.properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
                   .features.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                   .memory.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2};
    const bool has_dot = is_1_3 || has->integer_dot;
    void **at = &a->properties.pNext;
    LINK(at, &a->v11, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES);
    LINK(at, &a->v12, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES);
    if (has_dot) LINK(at, &a->dot, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_PROPERTIES);
    if (has->pci_bus_info) LINK(at, &a->pci, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PCI_BUS_INFO_PROPERTIES_EXT);
    if (is_1_3) LINK(at, &a->maintenance4, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_4_PROPERTIES);
    vk->vkGetPhysicalDeviceProperties2(physical, &a->properties);
    at = &a->features.pNext;
    LINK(at, &a->v12_features, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES);
    if (has_dot) LINK(at, &a->dot_features, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES);
    vk->vkGetPhysicalDeviceFeatures2(physical, &a->features);
    at = &a->memory.pNext;
    if (has->memory_budget) LINK(at, &a->budget, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT);
    vk->vkGetPhysicalDeviceMemoryProperties2(physical, &a->memory);
}

static uint64_t at_most(uint64_t a, uint64_t b) { return a < b ? a : b; }

static tn_vk_limits limits_of(const answers *a)
{
    const VkPhysicalDeviceLimits *core = &a->properties.properties.limits;
    const uint64_t texel_align = core->minTexelBufferOffsetAlignment, storage_align = core->minStorageBufferOffsetAlignment;
    const uint64_t alignment = texel_align > storage_align ? texel_align : storage_align;
    const uint32_t *groups = core->maxComputeWorkGroupCount;
    // More than maxMemoryAllocationSize may be had all the same, and is with some drivers; a maxBufferSize is firm.
    const uint64_t allocation = a->maintenance4.maxBufferSize ? a->maintenance4.maxBufferSize : a->v11.maxMemoryAllocationSize;
    return (tn_vk_limits){
        .range_bytes = core->maxStorageBufferRange,
        .allocation_bytes = allocation,
        .texel_elements = core->maxTexelBufferElements,
        .offset_alignment = alignment > ALIGNMENT_MIN ? (uint32_t)alignment : ALIGNMENT_MIN,
        .n_invocations = (uint32_t)at_most(core->maxComputeWorkGroupInvocations, core->maxComputeWorkGroupSize[0]),
        .n_groups = (uint32_t)at_most(groups[0], at_most(groups[1], groups[2])),
        .shared_bytes = core->maxComputeSharedMemorySize,
        .subgroup_size = a->v11.subgroupSize,
        .timestamp_ns = core->timestampPeriod,
        .atom_bytes = core->nonCoherentAtomSize ? (uint32_t)core->nonCoherentAtomSize : 1,
    };
}

// The largest heap of the device's own memory; each device has one.
static uint32_t heap_of(const VkPhysicalDeviceMemoryProperties *memory)
{
    uint32_t best = 0;
    VkDeviceSize most = 0;
    for (uint32_t i = 0; i < memory->memoryHeapCount; i++) {
        if (!(memory->memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) || memory->memoryHeaps[i].size <= most) continue;
        most = memory->memoryHeaps[i].size;
        best = i;
    }
    return best;
}

static bool all_memory_is_the_devices(const VkPhysicalDeviceMemoryProperties *memory)
{
    for (uint32_t i = 0; i < memory->memoryHeapCount; i++) {
        if (!(memory->memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT)) return false;
    }
    return true;
}

static tn_vk_traits traits_of(const answers *a, const tn_vk_limits *limits)
{
    const VkPhysicalDeviceProperties *core = &a->properties.properties;
    tn_vk_traits traits = {
        .is_software = core->deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU,
        .is_uma = core->deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU || core->deviceType == VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU ||
                  all_memory_is_the_devices(&a->memory.memoryProperties),
        .has_dot = a->dot_features.shaderIntegerDotProduct,
        .has_fast_dot = a->dot_features.shaderIntegerDotProduct && a->dot.integerDotProduct4x8BitPackedSignedAccelerated,
        // A device that wants one mode for all widths would need it declared for f16 and f64 too, which the shaders do not have.
        .has_rte = a->v12.shaderRoundingModeRTEFloat32 && a->v12.roundingModeIndependence != VK_SHADER_FLOAT_CONTROLS_INDEPENDENCE_NONE,
        .has_preserve = a->v12.shaderSignedZeroInfNanPreserveFloat32,
        .has_shuffle = a->v11.subgroupSize == SHUFFLE_LANES && (a->v11.subgroupSupportedStages & VK_SHADER_STAGE_COMPUTE_BIT) &&
                       (a->v11.subgroupSupportedOperations & VK_SUBGROUP_FEATURE_SHUFFLE_BIT),
    };
    traits.use_dot = traits.has_fast_dot && !traits.is_software;
    traits.use_texels = traits.is_software;
    traits.use_shuffle = traits.use_texels && traits.has_shuffle;
    traits.n_row_threads = ROW_THREADS_GPU;
    while (traits.n_row_threads > limits->n_invocations) traits.n_row_threads /= 2;
    return traits;
}

// A family without graphics where there is one: long dispatches then do not stall the desktop, which drivers answer by a reset.
static tn_status find_queue_family(const tn_vk_api *vk, VkPhysicalDevice physical, uint32_t *out_family, uint64_t *out_timestamp_mask)
{
    uint32_t n = 0;
    VkQueueFamilyProperties *list;
    *out_family = UINT32_MAX;
    vk->vkGetPhysicalDeviceQueueFamilyProperties(physical, &n, NULL);
    TN_TRY(tn_alloc_zero(n, sizeof *list, &list));
    vk->vkGetPhysicalDeviceQueueFamilyProperties(physical, &n, list);
    bool has_graphics = true;
    for (uint32_t i = 0; i < n; i++) {
        if (!(list[i].queueFlags & VK_QUEUE_COMPUTE_BIT) || list[i].queueCount == 0) continue;
        const bool graphics = list[i].queueFlags & VK_QUEUE_GRAPHICS_BIT;
        if (*out_family != UINT32_MAX && (graphics || !has_graphics)) continue;
        *out_family = i;
        has_graphics = graphics;
        const uint32_t bits = list[i].timestampValidBits;
        *out_timestamp_mask = bits >= 64 ? UINT64_MAX : ((uint64_t)1 << bits) - 1;
    }
    tn_free(list);
    return TN_OK;
}

// Adds up the heaps that buffers may lie in. The driver's budget of a heap is what this process may have of it, with what it has; NULL: the
// driver tells none.
static void add_heaps(const VkPhysicalDeviceMemoryProperties *memory, const VkPhysicalDeviceMemoryBudgetPropertiesEXT *budget, bool is_uma,
                      uint64_t *out_total, uint64_t *out_free)
{
    const uint32_t main_heap = heap_of(memory);
    *out_total = *out_free = 0;
    for (uint32_t i = 0; i < memory->memoryHeapCount; i++) {
        const uint64_t size = memory->memoryHeaps[i].size;
        if (i != main_heap && !is_uma) continue;
        *out_total += size;
        if (!budget)
            *out_free += size;
        else if (budget->heapBudget[i] > budget->heapUsage[i])
            *out_free += at_most(budget->heapBudget[i] - budget->heapUsage[i], size);
    }
}

static uint64_t largest_heap(const VkPhysicalDeviceMemoryProperties *memory, uint32_t main_heap, bool is_uma)
{
    uint64_t largest = memory->memoryHeaps[main_heap].size;
    for (uint32_t i = 0; is_uma && i < memory->memoryHeapCount; i++) {
        if (memory->memoryHeaps[i].size > largest) largest = memory->memoryHeaps[i].size;
    }
    return largest;
}

static void read_memory(const answers *a, bool has_budget, tn_vk_facts *facts)
{
    const bool is_uma = facts->traits.is_uma;
    facts->memory = a->memory.memoryProperties;
    facts->memory_heap = heap_of(&facts->memory);
    facts->has_budget = has_budget;
    add_heaps(&facts->memory, has_budget ? &a->budget : NULL, is_uma, &facts->memory_bytes, &facts->memory_free_bytes);
    facts->limits.allocation_bytes = at_most(facts->limits.allocation_bytes, largest_heap(&facts->memory, facts->memory_heap, is_uma));
}

void tn_vk_memory_ask(const tn_vk_device *device, uint64_t *out_total, uint64_t *out_free)
{
    VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
    VkPhysicalDeviceMemoryProperties2 memory = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2,
                                                .pNext = device->has_budget ? &budget : NULL};
    device->instance->vk.vkGetPhysicalDeviceMemoryProperties2(device->physical, &memory);
    add_heaps(&memory.memoryProperties, device->has_budget ? &budget : NULL, device->traits.is_uma, out_total, out_free);
}

#define UNUSABLE(facts, ...) snprintf((facts)->unusable, sizeof(facts)->unusable, __VA_ARGS__)

static void judge(const answers *a, tn_vk_facts *facts)
{
    const VkPhysicalDeviceLimits *core = &facts->core.limits;
    if (facts->queue_family == UINT32_MAX)
        UNUSABLE(facts, "it has no queue for compute");
    else if (!a->v12_features.timelineSemaphore)
        UNUSABLE(facts, "it has no timeline semaphores: update its driver");
    else if (core->maxPerStageDescriptorStorageBuffers < STORAGE_BUFFERS_MIN)
        UNUSABLE(facts, "its shaders see %u storage buffers, %d are needed", core->maxPerStageDescriptorStorageBuffers,
                 STORAGE_BUFFERS_MIN);
    else if (core->maxComputeSharedMemorySize < SHARED_BYTES_MIN)
        UNUSABLE(facts, "its workgroups have %u bytes of shared memory, %d are needed", core->maxComputeSharedMemorySize, SHARED_BYTES_MIN);
    else if (facts->limits.n_invocations < INVOCATIONS_MIN)
        UNUSABLE(facts, "its workgroups have at most %u invocations, %d are needed", (unsigned)facts->limits.n_invocations,
                 INVOCATIONS_MIN);
    else if (core->maxPushConstantsSize < PUSH_BYTES)
        UNUSABLE(facts, "its push constants have %u bytes, %d are needed", core->maxPushConstantsSize, PUSH_BYTES);
}

tn_status tn_vk_facts_read(const tn_vk_instance *instance, VkPhysicalDevice physical, tn_vk_facts *out_facts)
{
    const tn_vk_api *vk = &instance->vk;
    extensions has;
    answers a;
    *out_facts = (tn_vk_facts){.queue_family = UINT32_MAX};
    vk->vkGetPhysicalDeviceProperties(physical, &out_facts->core);
    const uint32_t of_device = out_facts->core.apiVersion;
    out_facts->traits.is_software = out_facts->core.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
    if (of_device < VK_API_VERSION_1_2) { // the questions below are not for it
        UNUSABLE(out_facts, "its driver has Vulkan %u.%u, 1.2 is needed: update it", VK_API_VERSION_MAJOR(of_device),
                 VK_API_VERSION_MINOR(of_device));
        return TN_OK;
    }
    out_facts->api_version = of_device < instance->api_version ? of_device : instance->api_version;
    const bool is_1_3 = out_facts->api_version >= VK_API_VERSION_1_3;
    TN_TRY(read_extensions(vk, physical, &has));
    ask(vk, physical, &has, is_1_3, &a);
    out_facts->limits = limits_of(&a);
    out_facts->traits = traits_of(&a, &out_facts->limits);
    read_memory(&a, has.memory_budget, out_facts);
    out_facts->enable_dot_extension = !is_1_3 && has.integer_dot && out_facts->traits.has_dot;
    out_facts->enable_portability_subset = has.portability_subset;
    snprintf(out_facts->driver, sizeof out_facts->driver, "%.40s%s%.50s", a.v12.driverName, a.v12.driverInfo[0] ? " " : "",
             a.v12.driverInfo);
    if (has.pci_bus_info)
        snprintf(out_facts->bus_id, sizeof out_facts->bus_id, "%04x:%02x:%02x.%x", a.pci.pciDomain & 0xffff, a.pci.pciBus & 0xff,
                 a.pci.pciDevice & 0xff, a.pci.pciFunction & 0xf);
    TN_TRY(find_queue_family(vk, physical, &out_facts->queue_family, &out_facts->limits.timestamp_mask));
    judge(&a, out_facts);
    return TN_OK;
}

const char *tn_vk_form_name(const tn_vk_traits *traits) { return traits->use_dot ? "dot" : traits->use_texels ? "mul_texel" : "mul"; }

tn_status tn_vk_form_choose(const char *form, tn_vk_traits *traits)
{
    if (!form || strcmp(form, "auto") == 0) return TN_OK;
    const bool dot = strcmp(form, "dot") == 0, texel = strcmp(form, "mul_texel") == 0;
    if (!dot && !texel && strcmp(form, "mul") != 0)
        return tn_fail(TN_INVALID_ARGUMENT,
                       "the form of Vulkan kernels (TN_VULKAN_KERNELS) cannot be \"%.40s\": use auto, dot, mul or mul_texel", form);
    if (dot && !traits->has_dot)
        return tn_fail(TN_UNSUPPORTED, "Vulkan: the device has no integer dot product for kernels of the form dot: use auto or mul");
    traits->use_dot = dot;
    traits->use_texels = texel;
    traits->use_shuffle = texel && traits->has_shuffle;
    return TN_OK;
}

void tn_vk_facts_describe(const tn_vk_facts *facts, uint32_t index, tn_device_desc *out_desc)
{
    const tn_vk_traits *traits = &facts->traits;
    *out_desc = (tn_device_desc){
        .memory_bytes = facts->memory_bytes,
        .memory_free_bytes = facts->memory_free_bytes,
        .is_software = traits->is_software,
        .subgroup_size = facts->limits.subgroup_size,
    };
    snprintf(out_desc->name, sizeof out_desc->name, "vulkan%u", (unsigned)index);
    snprintf(out_desc->description, sizeof out_desc->description, "%.127s", facts->core.deviceName);
    snprintf(out_desc->driver, sizeof out_desc->driver, "%s", facts->driver);
    snprintf(out_desc->bus_id, sizeof out_desc->bus_id, "%s", facts->bus_id);
    snprintf(out_desc->unusable, sizeof out_desc->unusable, "%s", facts->unusable);
    if (facts->limits.n_invocations == 0) return; // an old driver, which was not asked further
    snprintf(out_desc->kernels, sizeof out_desc->kernels, "%s", tn_vk_form_name(traits));
    snprintf(out_desc->integer_dot, sizeof out_desc->integer_dot, "%s",
             traits->has_fast_dot ? "fast"
             : traits->has_dot    ? "emulated"
                                  : "none");
}
