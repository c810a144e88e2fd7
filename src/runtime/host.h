// The host as the runtime's other parts see it: devices by index, opened when first used.
#ifndef TN_RUNTIME_HOST_H
#define TN_RUNTIME_HOST_H

#include "backend/backend.h"
#include "runtime/host_devices.h"
#include "ternion/device.h"

// Descriptions of the devices that are listed so far, by index: without tn_host_list_all those that need no driver, the CPU's. Borrowed
// from the host.
const tn_device_desc *tn_host_descs(const tn_host *host, uint32_t *out_count);
// Device `index` in the host's list, and its description. Borrowed from the host.  Errors: INVALID_ARGUMENT.
tn_status tn_host_entry(const tn_host *host, uint32_t index, tn_host_device_entry **out_entry, const tn_device_desc **out_desc);
// Whether it is worth asking drivers for GPUs that nobody named: there are files by which programs reach one.
bool tn_host_may_have_gpus(const tn_host *host);
// The NUMA node that a device is at, by its bus id; -1: unknown, or the notion does not apply.
int32_t tn_host_numa_node(const tn_host *host, uint32_t index);
// Where threads are bound; NULL: the system places them. Borrowed.
const struct tn_topology *tn_host_binding(const tn_host *host);
// Finds the NUMA node of a device that threads will be bound near: on a machine of several, by its bus id.
void tn_host_locate(tn_host *host, uint32_t index);
// Binds the calling thread to the cores of the NUMA node that device `index` of `host`, a tn_host that has located it, is at; otherwise it
// stays free. Any thread.
void tn_host_bind_near(void *host, uint32_t index);
// Lists the devices of all backends, whose drivers are loaded for it.
tn_status tn_host_list_all(const tn_host *host);
// For tests: stands between ternion and the Vulkan driver (vulkan/vk_loader.h). Before devices are listed; borrowed by the host.
void tn_host_hook_vulkan(tn_host *host, const struct tn_vk_hooks *hooks);
// The same for NVIDIA's driver (cuda/cuda_loader.h).
void tn_host_hook_cuda(tn_host *host, const struct tn_cuda_hooks *hooks);
// Who is told of what takes long where the caller has nobody (tn_host_params.progress).
const tn_progress *tn_host_progress(const tn_host *host);
// The device, opened on first use; belongs to the host. `progress` is told where that takes long; NULL or without
// `update`: that of tn_host_params is.  Errors: as tn_backend.device_open.
// UNAVAILABLE where it was lost.
tn_status tn_host_device(tn_host *host, uint32_t index, const tn_progress *progress, tn_device **out_device);
// The same for who keeps the device for a while, and gives it back.
tn_status tn_host_use_device(tn_host *host, uint32_t index, const tn_progress *progress, tn_device **out_device);
void tn_host_leave_device(tn_host *host, uint32_t index);
// The device was lost: no placement has it any more, its description says why, and it is closed as soon as nobody uses it.
void tn_host_quarantine(tn_host *host, uint32_t index, const char *reason);
// What a listed device fails for: what it was lost for before, else what the error says, without the device's name before it and the advice
// behind it.
void tn_host_loss_reason(const tn_host *host, uint32_t index, const tn_error *error, char reason[TN_LOSS_REASON_BYTES]);

#endif
