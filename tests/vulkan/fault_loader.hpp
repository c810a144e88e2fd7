// What the program needs to find the loader of fault_loader.c before the machine's own.
#ifndef TN_TEST_VULKAN_FAULT_LOADER_HPP
#define TN_TEST_VULKAN_FAULT_LOADER_HPP

#include <dlfcn.h>
#include <string>

namespace vulkan_test
{

// Where the machine's loader is; "" where there is none.
inline std::string path_of_loader()
{
    void *library = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
    Dl_info info = {};
    const bool found = library && dladdr(dlsym(library, "vkGetInstanceProcAddr"), &info);
    const std::string path = found ? info.dli_fname : "";
    if (library) dlclose(library);
    return path;
}

} // namespace vulkan_test

#endif
