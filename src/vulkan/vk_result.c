// VkResult as ternion's statuses.
#include "vulkan/vk_device.h"

#include <stdio.h>
#include <string.h>

const char *tn_vk_result_name(VkResult result)
{
#define NAMED(name)                                                                                                                        \
    case name: return #name;
    switch ((int)result) {
        NAMED(VK_SUCCESS)
        NAMED(VK_NOT_READY)
        NAMED(VK_TIMEOUT)
        NAMED(VK_EVENT_SET)
        NAMED(VK_EVENT_RESET)
        NAMED(VK_INCOMPLETE)
        NAMED(VK_ERROR_OUT_OF_HOST_MEMORY)
        NAMED(VK_ERROR_OUT_OF_DEVICE_MEMORY)
        NAMED(VK_ERROR_INITIALIZATION_FAILED)
        NAMED(VK_ERROR_DEVICE_LOST)
        NAMED(VK_ERROR_MEMORY_MAP_FAILED)
        NAMED(VK_ERROR_LAYER_NOT_PRESENT)
        NAMED(VK_ERROR_EXTENSION_NOT_PRESENT)
        NAMED(VK_ERROR_FEATURE_NOT_PRESENT)
        NAMED(VK_ERROR_INCOMPATIBLE_DRIVER)
        NAMED(VK_ERROR_TOO_MANY_OBJECTS)
        NAMED(VK_ERROR_FORMAT_NOT_SUPPORTED)
        NAMED(VK_ERROR_FRAGMENTED_POOL)
        NAMED(VK_ERROR_UNKNOWN)
        NAMED(VK_ERROR_OUT_OF_POOL_MEMORY)
        NAMED(VK_ERROR_INVALID_EXTERNAL_HANDLE)
        NAMED(VK_ERROR_FRAGMENTATION)
        NAMED(VK_ERROR_INVALID_OPAQUE_CAPTURE_ADDRESS)
        NAMED(VK_PIPELINE_COMPILE_REQUIRED)
        NAMED(VK_ERROR_NOT_PERMITTED_KHR)
        NAMED(VK_ERROR_INVALID_SHADER_NV)
        NAMED(VK_ERROR_VALIDATION_FAILED_EXT)
    default: return "an unknown VkResult";
    }
#undef NAMED
}

// What the caller can do about it, after the result's name.
static const char *advice_of(tn_status status)
{
    switch (status) {
    case TN_OUT_OF_MEMORY: return "free memory of the device, or ask for a shorter context, fewer sequences or fewer layers on it";
    case TN_DEVICE_LOST: return "start the program again; if it happens again, update the driver or use the CPU";
    case TN_UNAVAILABLE: return "update the driver, or use another device";
    default: return "please report it with the name and version of the driver (ternion devices)";
    }
}

static tn_status status_of(VkResult result)
{
    switch ((int)result) {
    case VK_ERROR_OUT_OF_HOST_MEMORY:
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
    case VK_ERROR_OUT_OF_POOL_MEMORY:
    case VK_ERROR_FRAGMENTED_POOL:
    case VK_ERROR_FRAGMENTATION:
    case VK_ERROR_MEMORY_MAP_FAILED:
    case VK_ERROR_TOO_MANY_OBJECTS: return TN_OUT_OF_MEMORY;
    case VK_ERROR_DEVICE_LOST: return TN_DEVICE_LOST;
    case VK_ERROR_INITIALIZATION_FAILED:
    case VK_ERROR_INCOMPATIBLE_DRIVER:
    case VK_ERROR_LAYER_NOT_PRESENT:
    case VK_ERROR_EXTENSION_NOT_PRESENT:
    case VK_ERROR_FEATURE_NOT_PRESENT: return TN_UNAVAILABLE;
    default: return TN_INTERNAL;
    }
}

tn_status tn_vk_check_at(const char *file, int line, VkResult result, const char *what)
{
    if (result == VK_SUCCESS) return TN_OK;
    const tn_status status = status_of(result);
    tn_fail_at(file, line, status, (int)result, "%s failed with %s (%d): %s", what, tn_vk_result_name(result), (int)result,
               advice_of(status));
    return status;
}

static void name_device(const tn_vk_device *device)
{
    tn_error error = *tn_error_last();
    snprintf(error.device, sizeof error.device, "%s", device->name);
    tn_error_set(&error);
}

tn_status tn_vk_enter(const tn_vk_device *device)
{
    if (device->lost == VK_SUCCESS) return TN_OK;
    const tn_status status = tn_fail_native(TN_DEVICE_LOST, (int)device->lost, "%s was lost before (%s): %s", device->name,
                                            tn_vk_result_name(device->lost), advice_of(TN_DEVICE_LOST));
    name_device(device);
    return status;
}

tn_status tn_vk_leave(tn_vk_device *device, tn_status status)
{
    const tn_error *error = tn_error_last();
    if (status == TN_OK || (error->native_code >= 0 && status != TN_DEVICE_LOST)) return status; // an errno is the host's, and positive
    if (status == TN_DEVICE_LOST && device->lost == VK_SUCCESS) {
        device->lost = (VkResult)error->native_code;
        device->may_be_busy = true;
    }
    name_device(device);
    return strncmp(error->message, device->name, strlen(device->name)) == 0 ? status : tn_fail_prefix("%s: ", device->name);
}
