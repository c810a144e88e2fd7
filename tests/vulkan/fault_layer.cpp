// The wrappers: one for each function of vk_calls.inc, made from its type.
#include "vulkan/fault_layer.hpp"

#include <cstring>
#include <dlfcn.h>
#include <mutex>
#include <set>
#include <stdexcept>
#include <tuple>
#include <type_traits>

namespace vulkan_test
{

struct FaultLayer::State {
    FaultLayer *layer = nullptr;
    std::mutex mutex;
    std::map<std::string, uint32_t> calls;
    std::map<std::string, std::multiset<const void *>> alive; // handles, by the function that made them
    std::vector<std::string> strays;
    std::string fail_function;
    uint32_t fail_nth = 0;
    VkResult fail_result = VK_SUCCESS;
    bool failed = false;
};

namespace
{

FaultLayer::State *current = nullptr;

// Whether this call is the one that fails.
bool is_to_fail(const char *name)
{
    const std::lock_guard<std::mutex> lock(current->mutex);
    if (current->fail_nth == 0 || current->fail_function != name || --current->fail_nth > 0) return false;
    current->failed = true;
    return true;
}

void count_call(const char *name)
{
    const std::lock_guard<std::mutex> lock(current->mutex);
    current->calls[name]++;
}

// What is made by one function and destroyed by another.
const std::map<std::string, std::string> destroyed_by = {
    {"vkDestroyInstance", "vkCreateInstance"},
    {"vkDestroyDevice", "vkCreateDevice"},
    {"vkDestroyBuffer", "vkCreateBuffer"},
    {"vkFreeMemory", "vkAllocateMemory"},
    {"vkUnmapMemory", "vkMapMemory"},
    {"vkDestroyBufferView", "vkCreateBufferView"},
    {"vkDestroyShaderModule", "vkCreateShaderModule"},
    {"vkDestroyPipelineCache", "vkCreatePipelineCache"},
    {"vkDestroyDescriptorSetLayout", "vkCreateDescriptorSetLayout"},
    {"vkDestroyPipelineLayout", "vkCreatePipelineLayout"},
    {"vkDestroyPipeline", "vkCreateComputePipelines"},
    {"vkDestroyDescriptorPool", "vkCreateDescriptorPool"},
    {"vkDestroyCommandPool", "vkCreateCommandPool"},
    {"vkDestroySemaphore", "vkCreateSemaphore"},
};

bool is_maker(const std::string &name)
{
    for (const auto &pair : destroyed_by) {
        if (pair.second == name) return true;
    }
    return false;
}

void note_made(const char *name, const void *handle)
{
    const std::lock_guard<std::mutex> lock(current->mutex);
    if (is_maker(name)) current->alive[name].insert(handle);
}

// Whether it is there to be destroyed: what a failed call left in a handle is not, and the driver is not asked to.
bool note_destroyed(const char *name, const void *handle)
{
    const std::lock_guard<std::mutex> lock(current->mutex);
    const auto found = destroyed_by.find(name);
    if (found == destroyed_by.end() || !handle) return true;
    std::multiset<const void *> &alive = current->alive[found->second];
    const auto object = alive.find(handle);
    if (object == alive.end()) current->strays.push_back(std::string(name) + " of what is not there");
    if (object == alive.end()) return false;
    alive.erase(object);
    return true;
}

// What a destroying function destroys: the only argument for instances and devices (but the callbacks), else the second.
template <typename... Arguments> const void *destroyed(Arguments... arguments)
{
    const auto all = std::make_tuple(arguments...);
    using Second = std::tuple_element_t<sizeof...(Arguments) == 1 ? 0 : 1, decltype(all)>;
    if constexpr (std::is_same_v<Second, const VkAllocationCallbacks *const> || !std::is_pointer_v<Second>)
        return std::get<0>(all);
    else
        return std::get<1>(all);
}

// Where a making function leaves its handle: behind its last argument; nullptr: that is no handle.
template <typename... Arguments> void **made(Arguments... arguments)
{
    const auto all = std::make_tuple(arguments...);
    const auto last = std::get<sizeof...(Arguments) - 1>(all);
    if constexpr (std::is_pointer_v<decltype(last)>) {
        if constexpr (std::is_pointer_v<std::remove_pointer_t<decltype(last)>>) return (void **)last;
    }
    return nullptr;
}

// What a mapping makes is known by its memory.
template <typename... Arguments> const void *key_of(const char *name, Arguments... arguments)
{
    if constexpr (sizeof...(Arguments) > 1) {
        if (strcmp(name, "vkMapMemory") == 0) return destroyed(arguments...);
    }
    return *made(arguments...);
}

// Calls that reach the driver all the same: those whose failure leaves the object in a state that it is not in otherwise, and those that
// half succeed.
bool reaches_driver(const char *name) { return strcmp(name, "vkEndCommandBuffer") == 0 || current->fail_result == VK_INCOMPLETE; }

template <auto Member, typename Function> struct Wrapper;
template <auto Member, typename Result, typename... Arguments> struct Wrapper<Member, Result(VKAPI_PTR *)(Arguments...)> {
    static inline Result(VKAPI_PTR *driver)(Arguments...) = nullptr;
    static inline const char *name = nullptr;
    static Result VKAPI_PTR call(Arguments... arguments)
    {
        count_call(name);
        if (current->layer->on_call) current->layer->on_call(name);
        if constexpr (std::is_same_v<Result, VkResult>) {
            if (is_to_fail(name)) {
                // Undefined, says the specification, but for functions that allocate from pools and for pipelines.
                void **handle = is_maker(name) ? made(arguments...) : nullptr;
                if (handle) *handle = strcmp(name, "vkCreateComputePipelines") == 0 ? nullptr : reinterpret_cast<void *>(0xdddddd00);
                if (reaches_driver(name)) (void)driver(arguments...);
                return current->fail_result;
            }
            const VkResult result = driver(arguments...);
            if (result == VK_SUCCESS && is_maker(name)) note_made(name, key_of(name, arguments...));
            return result;
        } else {
            if (note_destroyed(name, destroyed(arguments...))) driver(arguments...);
        }
    }
};

#define WRAP(function)                                                                                                                     \
    do {                                                                                                                                   \
        using Wrapped = Wrapper<&tn_vk_api::function, PFN_##function>;                                                                     \
        Wrapped::driver = api->function;                                                                                                   \
        Wrapped::name = #function;                                                                                                         \
        api->function = Wrapped::call;                                                                                                     \
    } while (0)
#define DRIVER(function) (Wrapper<&tn_vk_api::function, PFN_##function>::call)

// ---- functions that tests answer themselves ----

template <typename Struct> Struct *in_chain(void *chain, VkStructureType type)
{
    for (auto *at = static_cast<VkBaseOutStructure *>(chain); at; at = at->pNext) {
        if (at->sType == type) return reinterpret_cast<Struct *>(at);
    }
    return nullptr;
}

VkResult VKAPI_PTR instance_version(uint32_t *version)
{
    const VkResult result = DRIVER(vkEnumerateInstanceVersion)(version);
    if (current->layer->change_version) current->layer->change_version(version);
    return result;
}

VkResult VKAPI_PTR physical_devices(VkInstance instance, uint32_t *n, VkPhysicalDevice *out)
{
    const VkResult result = DRIVER(vkEnumeratePhysicalDevices)(instance, n, out);
    if (result == VK_SUCCESS && current->layer->no_devices) *n = 0;
    return result;
}

void VKAPI_PTR properties(VkPhysicalDevice physical, VkPhysicalDeviceProperties *out)
{
    DRIVER(vkGetPhysicalDeviceProperties)(physical, out);
    if (current->layer->change_properties) current->layer->change_properties(out);
}

void VKAPI_PTR properties2(VkPhysicalDevice physical, VkPhysicalDeviceProperties2 *out)
{
    DRIVER(vkGetPhysicalDeviceProperties2)(physical, out);
    if (current->layer->change_properties) current->layer->change_properties(&out->properties);
    auto *dot = in_chain<VkPhysicalDeviceShaderIntegerDotProductProperties>(
        out->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_PROPERTIES);
    if (dot && current->layer->change_dot_properties) current->layer->change_dot_properties(dot);
}

void VKAPI_PTR features2(VkPhysicalDevice physical, VkPhysicalDeviceFeatures2 *out)
{
    DRIVER(vkGetPhysicalDeviceFeatures2)(physical, out);
    auto *v12 = in_chain<VkPhysicalDeviceVulkan12Features>(out->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES);
    if (v12 && current->layer->change_features) current->layer->change_features(v12);
    auto *dot = in_chain<VkPhysicalDeviceShaderIntegerDotProductFeatures>(
        out->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES);
    if (dot && current->layer->change_dot_features) current->layer->change_dot_features(dot);
}

void VKAPI_PTR memory_properties2(VkPhysicalDevice physical, VkPhysicalDeviceMemoryProperties2 *out)
{
    DRIVER(vkGetPhysicalDeviceMemoryProperties2)(physical, out);
    if (current->layer->change_memory) current->layer->change_memory(&out->memoryProperties);
    auto *budget =
        in_chain<VkPhysicalDeviceMemoryBudgetPropertiesEXT>(out->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT);
    if (budget && current->layer->fill_budget) current->layer->fill_budget(budget);
}

VkResult VKAPI_PTR device_extensions(VkPhysicalDevice physical, const char *layer, uint32_t *n, VkExtensionProperties *out)
{
    if (!current->layer->fill_budget) return DRIVER(vkEnumerateDeviceExtensionProperties)(physical, layer, n, out);
    uint32_t n_driver = 0;
    VkResult result = DRIVER(vkEnumerateDeviceExtensionProperties)(physical, layer, &n_driver, nullptr);
    std::vector<VkExtensionProperties> list(n_driver);
    if (result == VK_SUCCESS) result = DRIVER(vkEnumerateDeviceExtensionProperties)(physical, layer, &n_driver, list.data());
    list.push_back({VK_EXT_MEMORY_BUDGET_EXTENSION_NAME, 1});
    if (out) std::copy_n(list.begin(), std::min<size_t>(*n, list.size()), out);
    *n = static_cast<uint32_t>(list.size());
    return result;
}

void VKAPI_PTR queue_families(VkPhysicalDevice physical, uint32_t *n, VkQueueFamilyProperties *out)
{
    uint32_t n_all = 0;
    DRIVER(vkGetPhysicalDeviceQueueFamilyProperties)(physical, &n_all, nullptr);
    std::vector<VkQueueFamilyProperties> list(n_all);
    DRIVER(vkGetPhysicalDeviceQueueFamilyProperties)(physical, &n_all, list.data());
    if (current->layer->change_families) current->layer->change_families(&list);
    if (out)
        for (uint32_t i = 0; i < *n && i < list.size(); i++) out[i] = list[i];
    else
        *n = static_cast<uint32_t>(list.size());
}

VkResult VKAPI_PTR create_device(VkPhysicalDevice physical, const VkDeviceCreateInfo *info, const VkAllocationCallbacks *callbacks,
                                 VkDevice *out)
{
    if (current->layer->on_create_device) current->layer->on_create_device(*info);
    return DRIVER(vkCreateDevice)(physical, info, callbacks, out);
}

void VKAPI_PTR buffer_requirements(VkDevice device, VkBuffer buffer, VkMemoryRequirements *out)
{
    DRIVER(vkGetBufferMemoryRequirements)(device, buffer, out);
    if (current->layer->fake_memory_types) out->memoryTypeBits = 0xffffffff;
    if (current->layer->no_memory_type_fits) out->memoryTypeBits = 0;
}

VkResult VKAPI_PTR allocate_memory(VkDevice device, const VkMemoryAllocateInfo *info, const VkAllocationCallbacks *callbacks,
                                   VkDeviceMemory *out)
{
    if (current->layer->on_allocate) current->layer->on_allocate(*info);
    if (current->layer->is_full && current->layer->is_full(info->memoryTypeIndex)) return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    VkMemoryAllocateInfo real = *info;
    if (current->layer->fake_memory_types) real.memoryTypeIndex = 0;
    return DRIVER(vkAllocateMemory)(device, &real, callbacks, out);
}

VkResult VKAPI_PTR flush(VkDevice device, uint32_t n, const VkMappedMemoryRange *ranges)
{
    for (uint32_t i = 0; i < n && current->layer->on_flush; i++) current->layer->on_flush(ranges[i]);
    return DRIVER(vkFlushMappedMemoryRanges)(device, n, ranges);
}

VkResult VKAPI_PTR invalidate(VkDevice device, uint32_t n, const VkMappedMemoryRange *ranges)
{
    for (uint32_t i = 0; i < n && current->layer->on_invalidate; i++) current->layer->on_invalidate(ranges[i]);
    return DRIVER(vkInvalidateMappedMemoryRanges)(device, n, ranges);
}

VkResult VKAPI_PTR create_cache(VkDevice device, const VkPipelineCacheCreateInfo *info, const VkAllocationCallbacks *callbacks,
                                VkPipelineCache *out)
{
    if (current->layer->on_create_cache) current->layer->on_create_cache(*info);
    VkPipelineCacheCreateInfo real = *info;
    if (current->layer->change_cache_data) real.initialDataSize = 0; // it is not the driver's
    return DRIVER(vkCreatePipelineCache)(device, &real, callbacks, out);
}

VkResult VKAPI_PTR cache_data(VkDevice device, VkPipelineCache cache, size_t *n, void *out)
{
    if (!current->layer->change_cache_data) return DRIVER(vkGetPipelineCacheData)(device, cache, n, out);
    size_t n_all = 0;
    VkResult result = DRIVER(vkGetPipelineCacheData)(device, cache, &n_all, nullptr);
    std::vector<uint8_t> data(n_all);
    if (result == VK_SUCCESS) result = DRIVER(vkGetPipelineCacheData)(device, cache, &n_all, data.data());
    current->layer->change_cache_data(&data);
    if (out) memcpy(out, data.data(), std::min(*n, data.size()));
    *n = data.size();
    return result;
}

void wrap(void *, tn_vk_level level, tn_vk_api *api)
{
#define TN_VK_GLOBAL(function)                                                                                                             \
    if (level == TN_VK_LEVEL_GLOBAL) WRAP(function);
#define TN_VK_INSTANCE(function)                                                                                                           \
    if (level == TN_VK_LEVEL_INSTANCE) WRAP(function);
#define TN_VK_DEVICE(function)                                                                                                             \
    if (level == TN_VK_LEVEL_DEVICE) WRAP(function);
#include "vulkan/vk_calls.inc"
    switch (level) {
    case TN_VK_LEVEL_GLOBAL: api->vkEnumerateInstanceVersion = instance_version; break;
    case TN_VK_LEVEL_INSTANCE:
        api->vkEnumeratePhysicalDevices = physical_devices;
        api->vkEnumerateDeviceExtensionProperties = device_extensions;
        api->vkGetPhysicalDeviceProperties = properties;
        api->vkGetPhysicalDeviceProperties2 = properties2;
        api->vkGetPhysicalDeviceFeatures2 = features2;
        api->vkGetPhysicalDeviceMemoryProperties2 = memory_properties2;
        api->vkGetPhysicalDeviceQueueFamilyProperties = queue_families;
        api->vkCreateDevice = create_device;
        break;
    case TN_VK_LEVEL_DEVICE:
        api->vkGetBufferMemoryRequirements = buffer_requirements;
        api->vkAllocateMemory = allocate_memory;
        api->vkFlushMappedMemoryRanges = flush;
        api->vkInvalidateMappedMemoryRanges = invalidate;
        api->vkCreatePipelineCache = create_cache;
        api->vkGetPipelineCacheData = cache_data;
        break;
    }
}

} // namespace

namespace
{

// An instance that stays: without one the loader unloads the driver with every host, and what the driver's libraries keep for the life of
// the process looks like leaks.
void keep_driver_loaded()
{
    static VkInstance kept = VK_NULL_HANDLE;
    void *library = kept ? nullptr : dlopen("libvulkan.so.1", RTLD_NOW);
    const auto create = library ? reinterpret_cast<PFN_vkCreateInstance>(dlsym(library, "vkCreateInstance")) : nullptr;
    VkInstanceCreateInfo info = {};
    info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
    if (create && create(&info, nullptr, &kept) != VK_SUCCESS) kept = VK_NULL_HANDLE;
}

} // namespace

FaultLayer::FaultLayer() : state_(new State)
{
    keep_driver_loaded();
    if (current) throw std::logic_error("two fault layers at a time");
    state_->layer = this;
    current = state_;
    hooks.wrap = wrap;
    hooks.selftest = TN_VK_SELFTEST_NEVER; // it calls the driver some thousand times
}

FaultLayer::~FaultLayer()
{
    current = nullptr;
    delete state_;
}

void FaultLayer::fail(const std::string &function, uint32_t nth, VkResult result)
{
    state_->fail_function = function;
    state_->fail_nth = nth;
    state_->fail_result = result;
    state_->failed = false;
}

bool FaultLayer::has_failed() const { return state_->failed; }
const std::map<std::string, uint32_t> &FaultLayer::calls() const { return state_->calls; }
void FaultLayer::forget_calls() { state_->calls.clear(); }

std::vector<std::string> FaultLayer::alive() const
{
    std::vector<std::string> list;
    for (const auto &entry : state_->alive) {
        if (!entry.second.empty()) list.push_back(entry.first + " " + std::to_string(entry.second.size()));
    }
    list.insert(list.end(), state_->strays.begin(), state_->strays.end());
    return list;
}

} // namespace vulkan_test
