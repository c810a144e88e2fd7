// The functions of vk_calls.inc by name, and which of them can fail.
#ifndef TN_TESTS_VULKAN_FAULT_NAMES_HPP
#define TN_TESTS_VULKAN_FAULT_NAMES_HPP

#include <cstdlib>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

extern "C" {
#include "vulkan/vk_loader.h"
}

namespace vulkan_test
{

// TN_VK_FAULTS=all: every call of every function fails; else a sample does.
inline bool tries_all() { return getenv("TN_VK_FAULTS") && strcmp(getenv("TN_VK_FAULTS"), "all") == 0; }

inline const std::vector<std::string> &all_functions()
{
    static const std::vector<std::string> names = {
#define TN_VK_GLOBAL(name)   #name,
#define TN_VK_INSTANCE(name) #name,
#define TN_VK_DEVICE(name)   #name,
#include "vulkan/vk_calls.inc"
    };
    return names;
}

template <typename Result, typename... Arguments> Result returned(Result(VKAPI_PTR *)(Arguments...));

// Functions that answer with a VkResult.
inline const std::vector<std::string> &fallible_functions()
{
    static const std::vector<std::string> names = [] {
        std::vector<std::string> list;
        const auto add = [&](const char *name, bool answers) {
            if (answers) list.emplace_back(name);
        };
#define ANSWERS(name)  add(#name, std::is_same_v<decltype(returned(static_cast<PFN_##name>(nullptr))), VkResult>);
#define TN_VK_GLOBAL   ANSWERS
#define TN_VK_INSTANCE ANSWERS
#define TN_VK_DEVICE   ANSWERS
#include "vulkan/vk_calls.inc"
#undef ANSWERS
        return list;
    }();
    return names;
}

} // namespace vulkan_test

#endif
