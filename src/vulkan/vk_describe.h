// What a physical device is and has, before it is opened.
#ifndef TN_VULKAN_VK_DESCRIBE_H
#define TN_VULKAN_VK_DESCRIBE_H

#include "vulkan/vk_device.h"
#include "vulkan/vk_loader.h"

typedef struct tn_vk_facts {
    VkPhysicalDeviceProperties core;
    VkPhysicalDeviceMemoryProperties memory;
    tn_vk_limits limits;
    tn_vk_traits traits;  // those that say what there is, and what is used by itself
    uint32_t api_version; // that may be used: the instance's or the device's, the lower one
    uint32_t queue_family;
    uint32_t memory_heap; // where buffers of the device lie, as long as there is room
    // Of that heap; where host and device share their memory, of all heaps.
    uint64_t memory_bytes, memory_free_bytes;
    bool has_budget; // the driver tells how much of a heap this process may have
    char driver[96]; // name and version
    char bus_id[16]; // "0000:01:00.0", or ""
    // Extensions that are enabled where the device is opened.
    bool enable_dot_extension, enable_portability_subset;
    char unusable[256]; // why the device cannot be opened; "" where it can
} tn_vk_facts;

// Errors: OUT_OF_MEMORY, and what asking the driver ends with.
tn_status tn_vk_facts_read(const tn_vk_instance *instance, VkPhysicalDevice physical, tn_vk_facts *out_facts);
// Of an open device: its memory, and what of it could be had now.
void tn_vk_memory_ask(const tn_vk_device *device, uint64_t *out_total, uint64_t *out_free);
// The form of kernels as names have it: "dot", "mul" or "mul_texel".
const char *tn_vk_form_name(const tn_vk_traits *traits);
// Makes a form the one that is used; NULL or "auto": the device's own.  Errors: INVALID_ARGUMENT (no such form), UNSUPPORTED (the device
// lacks what it needs).
tn_status tn_vk_form_choose(const char *form, tn_vk_traits *traits);
void tn_vk_facts_describe(const tn_vk_facts *facts, uint32_t index, tn_device_desc *out_desc);

#endif
