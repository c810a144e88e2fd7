// The Vulkan loader: found at run time, an instance, and the table of functions.
#ifndef TN_VULKAN_VK_LOADER_H
#define TN_VULKAN_VK_LOADER_H

#include "backend/backend.h"
#include "vulkan/vk_api.h"

typedef enum tn_vk_level { TN_VK_LEVEL_GLOBAL, TN_VK_LEVEL_INSTANCE, TN_VK_LEVEL_DEVICE } tn_vk_level;

// When a device that is opened is tested (vk_selftest.h).
typedef enum tn_vk_selftest_when {
    TN_VK_SELFTEST_ONCE, // and not again while the host or its cache folder remembers that it passed
    TN_VK_SELFTEST_ALWAYS,
    TN_VK_SELFTEST_NEVER,
} tn_vk_selftest_when;

// What self-tests of a device found out; forms of kernels as bits.
typedef struct tn_vk_tested {
    uint32_t passed_forms, failed_forms;
    char failed[256]; // the last reason
} tn_vk_tested;

// How tests stand between ternion and the driver (tn_backend_host.vulkan_hooks).
typedef struct tn_vk_hooks {
    // Called when the functions of a level have been filled in, which it may replace; NULL: none are.
    void (*wrap)(void *ctx, tn_vk_level level, tn_vk_api *api);
    void *ctx;
    PFN_vkGetInstanceProcAddr get_proc_addr; // NULL: the loader's
    bool no_loader;                          // as if there were no loader
    bool force_staging;                      // device memory is never mapped, as on a discrete GPU
    bool fills_scratch;                      // what programs do not clear themselves begins as NaN, not as what the driver left there
    uint64_t range_bytes_max;                // of a binding, as on a device that binds less than this one; 0: the driver's limit
    uint64_t allocation_bytes_max;           // of a buffer, the same
    uint64_t mirror_bytes_max;               // of what steps take in and give out by themselves; 0: as usual
    uint64_t job_work;                       // products a job; 0: as usual
    bool compiles_early;                     // of software devices too all shaders when a program is made, as without hooks
    uint64_t poll_ns;                        // that waits of software devices poll; 0: they sleep at once
    uint32_t n_row_threads;                  // of a workgroup on one row, a power of two that the device allows; 0: by the device
    tn_vk_selftest_when selftest;
} tn_vk_hooks;

// An instance and the devices that it found; where Vulkan cannot be had, none and the reason.
typedef struct tn_vk_instance {
    uint32_t n_users;
    tn_vk_api vk; // global and instance functions
    PFN_vkGetDeviceProcAddr get_device_proc_addr;
    VkInstance handle;
    uint32_t api_version; // what was asked for
    uint32_t n_devices;
    VkPhysicalDevice *devices;
    tn_vk_tested *tested; // [n_devices]
    const tn_vk_hooks *hooks;
    char absent[256]; // why there are no devices; "" where there are some
} tn_vk_instance;

// The host's instance, made when first asked for; without tn_backend_host.keep a new one. Loader, driver or device may be absent:
// that is no failure.  Errors: OUT_OF_MEMORY.    Threads: one at a time for a host.
tn_status tn_vk_instance_acquire(const tn_backend_host *host, tn_vk_instance **out_instance);
void tn_vk_instance_release(tn_vk_instance *instance); // NULL is fine
// Fills the device's level of the table.  Errors: UNAVAILABLE (the driver lacks a function).
tn_status tn_vk_device_functions(const tn_vk_instance *instance, VkDevice device, tn_vk_api *vk);

#endif
