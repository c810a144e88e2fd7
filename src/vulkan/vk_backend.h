// The Vulkan backend's table, and its functions that are the device's.
#ifndef TN_VULKAN_VK_BACKEND_H
#define TN_VULKAN_VK_BACKEND_H

#include "backend/builtin.h"
#include "vulkan/vk_device.h"

tn_status tn_vk_device_count(const tn_backend_host *host, uint32_t *out_count);
tn_status tn_vk_device_describe(const tn_backend_host *host, uint32_t index, tn_device_desc *out_desc);
tn_status tn_vk_device_open(const tn_backend_host *host, uint32_t index, tn_device **out_device);
void tn_vk_device_close(tn_device *device);
// Measures how fast the device's memory is read; n_threads means nothing here.
tn_status tn_vk_device_measure(tn_device *device, uint32_t n_threads, uint64_t time_ns, tn_measured_fn *told, void *user);

#endif
