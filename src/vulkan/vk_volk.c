// volk, asked for vkGetInstanceProcAddr alone. Its functions and the pointers that it keeps in globals have names of our own here
// (volk_names.h, made by the build): a program that links the static library may have Vulkan's, or a volk of its own.
#include "vulkan/vk_volk.h"

#include <pthread.h>
#include <volk_names.h>
#define VOLK_IMPLEMENTATION
#include <volk.h>

// What volk finds is written once, under this lock, and stays for the life of the process, as the loader does.
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

PFN_vkGetInstanceProcAddr tn_vk_volk_loader(void)
{
    pthread_mutex_lock(&mutex);
    if (!vkGetInstanceProcAddr && volkInitialize() != VK_SUCCESS) vkGetInstanceProcAddr = NULL;
    const PFN_vkGetInstanceProcAddr found = vkGetInstanceProcAddr;
    pthread_mutex_unlock(&mutex);
    return found;
}
