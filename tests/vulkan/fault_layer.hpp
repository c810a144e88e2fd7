// A layer between ternion's table of Vulkan functions and the driver: counts calls, makes one fail, keeps account of what is alive, and
// lets a test answer in the driver's place.
#ifndef TN_TESTS_VULKAN_FAULT_LAYER_HPP
#define TN_TESTS_VULKAN_FAULT_LAYER_HPP

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

extern "C" {
#include "vulkan/vk_loader.h"
}

namespace vulkan_test
{

// One at a time: Vulkan's functions carry no context. Counts from the moment it is made.
class FaultLayer
{
  public:
    FaultLayer();
    ~FaultLayer();
    FaultLayer(const FaultLayer &) = delete;
    FaultLayer &operator=(const FaultLayer &) = delete;

    // For tn_backend_host.vulkan_hooks; other fields may be set before it is used.
    tn_vk_hooks hooks = {};

    // The nth call of the function from now on (1: the next) answers with `result`, does not reach the driver and leaves rubbish where it
    // would have left a handle. (vkEndCommandBuffer, and VK_INCOMPLETE of any, answer so after the driver did its work.)
    void fail(const std::string &function, uint32_t nth, VkResult result);
    bool has_failed() const;
    // How often each function was called.
    const std::map<std::string, uint32_t> &calls() const;
    void forget_calls();
    // "vkCreateBuffer 2" for each kind of which more were made than destroyed; "vkDestroyBuffer of what is not there".
    std::vector<std::string> alive() const;

    // In the driver's place, after it has answered; empty: nothing is changed.
    std::function<void(VkPhysicalDeviceProperties *)> change_properties;
    std::function<void(VkPhysicalDeviceVulkan12Features *)> change_features;
    std::function<void(VkPhysicalDeviceShaderIntegerDotProductFeatures *)> change_dot_features;
    std::function<void(VkPhysicalDeviceShaderIntegerDotProductProperties *)> change_dot_properties;
    std::function<void(VkPhysicalDeviceMemoryProperties *)> change_memory;
    std::function<void(VkPhysicalDeviceMemoryBudgetPropertiesEXT *)> fill_budget; // the device has VK_EXT_memory_budget then
    std::function<bool(uint32_t type)> is_full;                                   // allocations of the type find no memory
    std::function<void(std::vector<VkQueueFamilyProperties> *)> change_families;
    std::function<void(uint32_t *)> change_version; // of the loader
    std::function<void(std::vector<uint8_t> *)> change_cache_data;
    // Told of calls before they are made.
    std::function<void(const std::string &function)> on_call;
    std::function<void(const VkMemoryAllocateInfo &)> on_allocate;
    std::function<void(const VkMappedMemoryRange &)> on_flush, on_invalidate;
    std::function<void(const VkPipelineCacheCreateInfo &)> on_create_cache;
    std::function<void(const VkDeviceCreateInfo &)> on_create_device;
    // With change_memory, types that the driver does not have are given memory of its type 0.
    bool fake_memory_types = false;
    bool no_devices = false;          // the driver finds none
    bool no_memory_type_fits = false; // no type is allowed for any buffer

    struct State;

  private:
    State *state_;
};

} // namespace vulkan_test

#endif
