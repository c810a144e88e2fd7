// The host as the runtime's other parts see it: devices by index, opened when first used.
#ifndef TN_RUNTIME_HOST_H
#define TN_RUNTIME_HOST_H

#include "backend/backend.h"
#include "ternion/device.h"

// Descriptions of all devices, by index. Borrowed from the host.
const tn_device_desc *tn_host_descs(const tn_host *host, uint32_t *out_count);
// The device, opened on first use; belongs to the host.  Errors: as tn_backend.device_open.
tn_status tn_host_device(tn_host *host, uint32_t index, tn_device **out_device);

#endif
