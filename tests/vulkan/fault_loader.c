// A Vulkan loader for a whole process: stands before the machine's own, whose path is in TN_FAULT_LOADER, and hands everything on to it,
// but from submit number TN_FAULT_SUBMIT (from 1) on the device is lost, and devices bind at most TN_FAULT_RANGE bytes of a buffer.
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define VK_NO_PROTOTYPES
#include <vulkan/vulkan_core.h>

static PFN_vkGetInstanceProcAddr real_instance_function;
static PFN_vkGetDeviceProcAddr real_device_function;
static PFN_vkGetPhysicalDeviceProperties2 real_properties;
static PFN_vkQueueSubmit real_submit;
static atomic_long n_submits;

__attribute__((visibility("default"))) VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL vkGetInstanceProcAddr(VkInstance instance,
                                                                                                      const char *name);

static VKAPI_ATTR VkResult VKAPI_CALL submit(VkQueue queue, uint32_t n, const VkSubmitInfo *infos, VkFence fence)
{
    const char *last = getenv("TN_FAULT_SUBMIT");
    if (last && atomic_fetch_add(&n_submits, 1) + 1 >= atol(last)) return VK_ERROR_DEVICE_LOST;
    return real_submit(queue, n, infos, fence);
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL device_function(VkDevice device, const char *name)
{
    const PFN_vkVoidFunction found = real_device_function(device, name);
    if (strcmp(name, "vkQueueSubmit") != 0) return found;
    real_submit = (PFN_vkQueueSubmit)found;
    return (PFN_vkVoidFunction)submit;
}

static VKAPI_ATTR void VKAPI_CALL properties(VkPhysicalDevice physical, VkPhysicalDeviceProperties2 *out)
{
    const char *text = getenv("TN_FAULT_RANGE");
    const unsigned long most = text ? strtoul(text, NULL, 10) : UINT32_MAX;
    real_properties(physical, out);
    if (out->properties.limits.maxStorageBufferRange > most) out->properties.limits.maxStorageBufferRange = (uint32_t)most;
}

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL vkGetInstanceProcAddr(VkInstance instance, const char *name)
{
    if (!real_instance_function) {
        const char *path = getenv("TN_FAULT_LOADER");
        void *library = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
        // POSIX wants what dlsym gives to be usable as a function; C has no cast for it.
        void *symbol = library ? dlsym(library, "vkGetInstanceProcAddr") : NULL;
        memcpy(&real_instance_function, &symbol, sizeof symbol);
        if (!real_instance_function) return NULL;
    }
    const PFN_vkVoidFunction found = real_instance_function(instance, name);
    if (strcmp(name, "vkGetPhysicalDeviceProperties2") == 0) {
        real_properties = (PFN_vkGetPhysicalDeviceProperties2)found;
        return (PFN_vkVoidFunction)properties;
    }
    if (strcmp(name, "vkGetDeviceProcAddr") != 0) return found;
    real_device_function = (PFN_vkGetDeviceProcAddr)found;
    return (PFN_vkVoidFunction)device_function;
}
