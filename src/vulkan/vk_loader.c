// From the loader to a table of functions that belongs to its instance or device.
#include "vulkan/vk_loader.h"

#include "base/alloc.h"
#include "vulkan/vk_device.h"
#include "vulkan/vk_volk.h"

#include <stdio.h>
#include <string.h>

static const uint32_t api_version_min = VK_API_VERSION_1_2, api_version_max = VK_API_VERSION_1_3;

static PFN_vkGetInstanceProcAddr find_loader(const tn_vk_hooks *hooks)
{
    if (hooks && hooks->no_loader) return NULL;
    if (hooks && hooks->get_proc_addr) return hooks->get_proc_addr;
    return tn_vk_volk_loader();
}

static void wrap(const tn_vk_instance *instance, tn_vk_level level, tn_vk_api *vk)
{
    if (instance->hooks && instance->hooks->wrap) instance->hooks->wrap(instance->hooks->ctx, level, vk);
}

// Each answers with the name of the first function that is missing, or NULL.
static const char *load_global(tn_vk_api *vk, PFN_vkGetInstanceProcAddr get)
{
#define TN_VK_GLOBAL(name)                                                                                                                 \
    if (!(vk->name = (PFN_##name)get(VK_NULL_HANDLE, #name))) return #name;
#include "vulkan/vk_calls.inc"
    return NULL;
}

static const char *load_instance(tn_vk_instance *instance, PFN_vkGetInstanceProcAddr get)
{
#define TN_VK_INSTANCE(name)                                                                                                               \
    if (!(instance->vk.name = (PFN_##name)get(instance->handle, #name))) return #name;
#include "vulkan/vk_calls.inc"
    instance->get_device_proc_addr = (PFN_vkGetDeviceProcAddr)get(instance->handle, "vkGetDeviceProcAddr");
    return instance->get_device_proc_addr ? NULL : "vkGetDeviceProcAddr";
}

static const char *load_device(const tn_vk_instance *instance, VkDevice device, tn_vk_api *vk)
{
#define TN_VK_DEVICE(name)                                                                                                                 \
    if (!(vk->name = (PFN_##name)instance->get_device_proc_addr(device, #name))) return #name;
#include "vulkan/vk_calls.inc"
    return NULL;
}

tn_status tn_vk_device_functions(const tn_vk_instance *instance, VkDevice device, tn_vk_api *vk)
{
    const char *missing = load_device(instance, device, vk);
    if (missing) return tn_fail(TN_UNAVAILABLE, "Vulkan: the device's driver has no %s: update the driver, or use another device", missing);
    wrap(instance, TN_VK_LEVEL_DEVICE, vk);
    return TN_OK;
}

static bool has_portability(const tn_vk_api *vk)
{
    // The list may grow between the two calls; whoever installs a driver meanwhile finds its devices at the next start.
    uint32_t n = 0;
    bool found = false;
    VkExtensionProperties *list;
    if (vk->vkEnumerateInstanceExtensionProperties(NULL, &n, NULL) != VK_SUCCESS || tn_alloc_zero(n, sizeof *list, &list) != TN_OK)
        return false;
    if (vk->vkEnumerateInstanceExtensionProperties(NULL, &n, list) >= VK_SUCCESS) {
        for (uint32_t i = 0; i < n; i++) found = found || strcmp(list[i].extensionName, VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME) == 0;
    }
    tn_free(list);
    return found;
}

static VkResult create_instance(tn_vk_instance *instance)
{
    const VkApplicationInfo application = {
        .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
        .pEngineName = "ternion",
        .apiVersion = instance->api_version,
    };
    static const char *const portability[] = {VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME};
    const bool portable = has_portability(&instance->vk);
    const VkInstanceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
        .flags = portable ? VK_INSTANCE_CREATE_ENUMERATE_PORTABILITY_BIT_KHR : 0,
        .pApplicationInfo = &application,
        .enabledExtensionCount = portable,
        .ppEnabledExtensionNames = portability,
    };
    const VkResult result = instance->vk.vkCreateInstance(&info, NULL, &instance->handle);
    if (result != VK_SUCCESS) instance->handle = VK_NULL_HANDLE;
    return result;
}

#define ABSENT(instance, ...) snprintf((instance)->absent, sizeof(instance)->absent, __VA_ARGS__)

// Sets handle and functions, or `absent`.
static void start(tn_vk_instance *instance)
{
    const PFN_vkGetInstanceProcAddr get = find_loader(instance->hooks);
    if (!get) {
        ABSENT(instance, "the loader (libvulkan.so.1) is not installed");
        return;
    }
    const char *missing = load_global(&instance->vk, get);
    if (missing) { // a loader of Vulkan 1.0 lacks vkEnumerateInstanceVersion
        ABSENT(instance, "the loader has no %s: update it to Vulkan 1.2", missing);
        return;
    }
    wrap(instance, TN_VK_LEVEL_GLOBAL, &instance->vk);
    VkResult result = instance->vk.vkEnumerateInstanceVersion(&instance->api_version);
    if (result == VK_SUCCESS && instance->api_version < api_version_min) {
        ABSENT(instance, "the loader is of Vulkan %u.%u: update it to 1.2", VK_API_VERSION_MAJOR(instance->api_version),
               VK_API_VERSION_MINOR(instance->api_version));
        return;
    }
    if (instance->api_version > api_version_max) instance->api_version = api_version_max;
    if (result == VK_SUCCESS) result = create_instance(instance);
    if (result == VK_ERROR_INCOMPATIBLE_DRIVER) {
        ABSENT(instance, "no Vulkan driver is installed");
    } else if (result != VK_SUCCESS) {
        ABSENT(instance, "no instance could be made: %s (%d)", tn_vk_result_name(result), (int)result);
    } else if ((missing = load_instance(instance, get)) != NULL) {
        ABSENT(instance, "the loader has no %s: update it to Vulkan 1.2", missing);
    } else {
        wrap(instance, TN_VK_LEVEL_INSTANCE, &instance->vk);
    }
}

static tn_status find_devices(tn_vk_instance *instance)
{
    const tn_vk_api *vk = &instance->vk;
    uint32_t n = 0;
    VkResult result = vk->vkEnumeratePhysicalDevices(instance->handle, &n, NULL);
    if (result == VK_SUCCESS && n > 0) {
        TN_TRY(tn_alloc_zero(n, sizeof(VkPhysicalDevice), &instance->devices));
        result = vk->vkEnumeratePhysicalDevices(instance->handle, &n, instance->devices);
    }
    if (result == VK_SUCCESS || result == VK_INCOMPLETE) instance->n_devices = n;
    if (instance->n_devices > 0) return tn_alloc_zero(instance->n_devices, sizeof *instance->tested, &instance->tested);
    if (result == VK_SUCCESS || result == VK_ERROR_INITIALIZATION_FAILED)
        ABSENT(instance, "no driver found a device");
    else
        ABSENT(instance, "devices could not be listed: %s (%d)", tn_vk_result_name(result), (int)result);
    return TN_OK;
}

static tn_status create(const tn_backend_host *host, tn_vk_instance **out_instance)
{
    tn_status status;
    tn_vk_instance *instance;
    *out_instance = NULL;
    TN_TRY(tn_alloc_zero(1, sizeof *instance, &instance));
    instance->n_users = 1;
    instance->hooks = host->vulkan_hooks;
    if (host->vulkan_off)
        ABSENT(instance, "switched off");
    else
        start(instance);
    if (!instance->absent[0]) TN_TRY_GOTO(find_devices(instance));
    *out_instance = instance;
    return TN_OK;
fail:
    tn_vk_instance_release(instance);
    return status;
}

static void release_kept(void *state) { tn_vk_instance_release(state); }

tn_status tn_vk_instance_acquire(const tn_backend_host *host, tn_vk_instance **out_instance)
{
    tn_backend_keep *keep = host->keep;
    if (!keep || !keep->state) TN_TRY(create(host, out_instance));
    if (!keep) return TN_OK;
    if (!keep->state) {
        keep->state = *out_instance;
        keep->release = release_kept;
        memcpy(keep->absent, (*out_instance)->absent, sizeof keep->absent);
    }
    *out_instance = keep->state;
    (*out_instance)->n_users++;
    return TN_OK;
}

void tn_vk_instance_release(tn_vk_instance *instance)
{
    if (!instance || --instance->n_users > 0) return;
    if (instance->handle && instance->vk.vkDestroyInstance) instance->vk.vkDestroyInstance(instance->handle, NULL);
    tn_free(instance->devices);
    tn_free(instance->tested);
    tn_free(instance);
}
