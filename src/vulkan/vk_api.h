// The Vulkan functions that ternion calls: a table of them, filled from the loader at run time, which a test may wrap.
#ifndef TN_VULKAN_VK_API_H
#define TN_VULKAN_VK_API_H

#include "base/status.h"

#define VK_NO_PROTOTYPES
#include <vulkan/vulkan_core.h>

typedef struct tn_vk_api {
#define TN_VK_GLOBAL(name)   PFN_##name name;
#define TN_VK_INSTANCE(name) PFN_##name name;
#define TN_VK_DEVICE(name)   PFN_##name name;
#include "vulkan/vk_calls.inc"
} tn_vk_api;

#endif
