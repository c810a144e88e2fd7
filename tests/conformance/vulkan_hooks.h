// What the suite makes of Vulkan devices: a program's own memory filled, smaller limits, staging, other workgroups.
#ifndef TN_TESTS_CONFORMANCE_VULKAN_HOOKS_H
#define TN_TESTS_CONFORMANCE_VULKAN_HOOKS_H

#include <cstdint>

extern "C" {
#include "backend/backend.h"
}

namespace conformance
{

struct VulkanHooks {
    uint64_t range_bytes_max = 0; // 0: the driver's
    uint32_t n_row_threads = 0;   // 0: by the device
    bool force_staging = false;
    uint64_t job_work = 0; // 0: as usual
    bool compiles_early = false;
};

// Lives until the program ends. NULL in builds without Vulkan.
const tn_vk_hooks *vulkan_hooks_of(const VulkanHooks &hooks);

} // namespace conformance

#endif
