// The loader, as volk finds it.
#ifndef TN_VULKAN_VK_VOLK_H
#define TN_VULKAN_VK_VOLK_H

#include "vulkan/vk_api.h"

// NULL where there is no loader; looked for until it is found.   Threads: any.
PFN_vkGetInstanceProcAddr tn_vk_volk_loader(void);

#endif
