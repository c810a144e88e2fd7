// Every Vulkan function that ternion calls fails, at every kind of its calls, with every result that it may have: a status with the
// result's name comes back, nothing leaks or crashes, and the device is of use afterwards or says that it is lost.
// TN_VK_FAULTS=all: every call of every function instead of a sample.
#include "support/fail_alloc.hpp"
#include "support/quick.hpp"
#include "vulkan/fault_names.hpp"
#include "vulkan/fault_walk.hpp"

#include <cstdlib>
#include <dlfcn.h>
#include <filesystem>
#include <gtest/gtest.h>
#include <set>
#include <unistd.h>

namespace vulkan_test
{
namespace
{

const Form kMapped = {"mapped", false, true, "auto"}, kStaged = {"staged", true, false, "mul_texel"};

const Lesson &lesson()
{
    static const Lesson made;
    return made;
}

// A folder for compiled shaders, removed at the end.
class Folder
{
  public:
    Folder() : path(testing::TempDir() + "tn_vk_faults_" + std::to_string(getpid())) { std::filesystem::create_directories(path); }
    ~Folder()
    {
        std::error_code ignored;
        std::filesystem::remove_all(path, ignored);
    }
    Folder(const Folder &) = delete;
    Folder &operator=(const Folder &) = delete;
    const std::string path;
};

const std::string &cache_folder()
{
    static const Folder folder;
    return folder.path;
}

// The run that wants the validation layer says where there is none.
class Validation : public testing::Environment
{
  public:
    void SetUp() override
    {
        if (getenv("TN_VK_VALIDATION") && !has_layer()) puts("no validation layer is installed");
    }

  private:
    static bool has_layer()
    {
        void *library = dlopen("libvulkan.so.1", RTLD_NOW);
        const auto list =
            library ? reinterpret_cast<PFN_vkEnumerateInstanceLayerProperties>(dlsym(library, "vkEnumerateInstanceLayerProperties"))
                    : nullptr;
        uint32_t n = 0;
        if (!list || list(&n, nullptr) != VK_SUCCESS) return false;
        std::vector<VkLayerProperties> layers(n);
        if (list(&n, layers.data()) < VK_SUCCESS) return false;
        return std::any_of(layers.begin(), layers.end(),
                           [](const auto &layer) { return !strcmp(layer.layerName, "VK_LAYER_KHRONOS_validation"); });
    }
};
[[maybe_unused]] testing::Environment *const validation = testing::AddGlobalTestEnvironment(new Validation);

// ---- what may fail, and how ----

std::vector<VkResult> results_of(const std::string &function)
{
    static const std::multimap<std::string, VkResult> more = {
        {"vkCreateInstance", VK_ERROR_INCOMPATIBLE_DRIVER},
        {"vkCreateInstance", VK_ERROR_INITIALIZATION_FAILED},
        {"vkCreateInstance", VK_ERROR_LAYER_NOT_PRESENT},
        {"vkEnumerateInstanceExtensionProperties", VK_INCOMPLETE},
        {"vkEnumeratePhysicalDevices", VK_ERROR_INITIALIZATION_FAILED},
        {"vkEnumeratePhysicalDevices", VK_INCOMPLETE},
        {"vkEnumerateDeviceExtensionProperties", VK_INCOMPLETE},
        {"vkCreateDevice", VK_ERROR_INITIALIZATION_FAILED},
        {"vkCreateDevice", VK_ERROR_INCOMPATIBLE_DRIVER},
        {"vkCreateDevice", VK_ERROR_FEATURE_NOT_PRESENT},
        {"vkCreateDevice", VK_ERROR_TOO_MANY_OBJECTS},
        {"vkCreateDevice", VK_ERROR_DEVICE_LOST},
        {"vkAllocateMemory", VK_ERROR_TOO_MANY_OBJECTS},
        {"vkMapMemory", VK_ERROR_MEMORY_MAP_FAILED},
        {"vkGetPipelineCacheData", VK_INCOMPLETE},
        {"vkCreateDescriptorPool", VK_ERROR_FRAGMENTATION},
        {"vkAllocateDescriptorSets", VK_ERROR_OUT_OF_POOL_MEMORY},
        {"vkAllocateDescriptorSets", VK_ERROR_FRAGMENTED_POOL},
        {"vkQueueSubmit", VK_ERROR_DEVICE_LOST},
        {"vkWaitSemaphores", VK_ERROR_DEVICE_LOST},
        {"vkWaitSemaphores", VK_TIMEOUT},
        {"vkDeviceWaitIdle", VK_ERROR_DEVICE_LOST},
    };
    std::vector<VkResult> list = {VK_ERROR_OUT_OF_HOST_MEMORY, VK_ERROR_OUT_OF_DEVICE_MEMORY,
                                  VK_ERROR_UNKNOWN}; // the last: any driver's bug
    const auto range = more.equal_range(function);
    for (auto at = range.first; at != range.second; ++at) list.push_back(at->second);
    return list;
}

tn_status status_of(VkResult result)
{
    switch (result) {
    case VK_ERROR_OUT_OF_HOST_MEMORY:
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
    case VK_ERROR_OUT_OF_POOL_MEMORY:
    case VK_ERROR_FRAGMENTED_POOL:
    case VK_ERROR_FRAGMENTATION:
    case VK_ERROR_MEMORY_MAP_FAILED:
    case VK_ERROR_TOO_MANY_OBJECTS: return TN_OUT_OF_MEMORY;
    case VK_ERROR_DEVICE_LOST:
    case VK_TIMEOUT: return TN_DEVICE_LOST;
    case VK_ERROR_INITIALIZATION_FAILED:
    case VK_ERROR_INCOMPATIBLE_DRIVER:
    case VK_ERROR_LAYER_NOT_PRESENT:
    case VK_ERROR_FEATURE_NOT_PRESENT: return TN_UNAVAILABLE;
    default: return TN_INTERNAL;
    }
}

// Functions that look for the driver: whatever they answer, there is no Vulkan on this host.
bool finds_driver(const std::string &function)
{
    return function == "vkCreateInstance" || function == "vkEnumerateInstanceVersion" || function == "vkEnumeratePhysicalDevices";
}

// Where the work is done all the same.
bool is_harmless(const std::string &function, VkResult result, uint32_t nth)
{
    // An extension that is not asked for; what is kept in a file, and what was; the last look before everything goes.
    if (function == "vkEnumerateInstanceExtensionProperties" || function == "vkGetPipelineCacheData" || function == "vkDeviceWaitIdle")
        return true;
    if (function == "vkCreatePipelineCache") return nth == 1; // made without the file's bytes
    if (function == "vkMapMemory") return true;               // memory of the device's own is written through staging then
    // A list that is a little short when it is filled in.
    return result == VK_INCOMPLETE && nth % 2 == 0;
}

// What the message must have in it.
std::string sign_of(const std::string &function, VkResult result)
{
    if (function == "vkCreateInstance" && result == VK_ERROR_INCOMPATIBLE_DRIVER) return "no Vulkan driver is installed";
    if (function == "vkEnumeratePhysicalDevices" && result == VK_ERROR_INITIALIZATION_FAILED) return "no driver found a device";
    return tn_vk_result_name(result);
}

void check_failure(const Failure &failure, const std::string &function, VkResult result)
{
    EXPECT_EQ(failure.status, finds_driver(function) ? TN_UNAVAILABLE : status_of(result)) << failure.message;
    EXPECT_NE(failure.message.find(sign_of(function, result)), std::string::npos) << failure.message;
    EXPECT_EQ(failure.message.find('\n'), std::string::npos);
    if (finds_driver(function)) return;
    EXPECT_EQ(failure.message.find("vulkan0"), 0u) << failure.message;
    EXPECT_EQ(failure.message.find("vulkan0", 1), std::string::npos) << failure.message;
}

// What the driver never answers: that a list is too short where it was asked for the length alone.
// A step that finds no memory for a mirror goes on without it.
bool is_of_mirrors(const std::string &function, VkResult result)
{
    const bool is_of_memory = function == "vkCreateBuffer" || function == "vkAllocateMemory" || function == "vkBindBufferMemory";
    return is_of_memory && status_of(result) == TN_OUT_OF_MEMORY;
}

bool is_possible(VkResult result, uint32_t nth) { return result != VK_INCOMPLETE || nth % 2 == 0; }

void check_end(const FaultLayer &layer, const Walk &walk, const std::string &function, uint32_t nth, VkResult result)
{
    EXPECT_TRUE(layer.has_failed());
    if (walk.failure())
        check_failure(*walk.failure(), function, result);
    else
        EXPECT_TRUE(is_harmless(function, result, nth) || (walk.step_bore_it() && is_of_mirrors(function, result))) << "nobody was told";
}

// ---- campaigns ----

// A walk with a device of its own; without a part the device is opened and closed.
void walk_alone(FaultLayer *layer, Walk *walk, std::optional<Part> part)
{
    if (part) return walk->run(*part);
    walk->open();
    walk->close();
    EXPECT_EQ(layer->alive(), std::vector<std::string>());
}

std::map<std::string, uint32_t> calls_of(const Form &form, std::optional<Part> part)
{
    FaultLayer layer;
    Walk walk(lesson(), form, &layer, cache_folder());
    walk_alone(&layer, &walk, part);
    EXPECT_FALSE(walk.failure()) << walk.failure()->message;
    return layer.calls();
}

// Of an allocation of ternion's own.
void check_host_failure(const Failure &failure)
{
    EXPECT_EQ(failure.status, TN_OUT_OF_MEMORY) << failure.message;
    EXPECT_EQ(failure.device, ""); // the device has memory
}

void fail_alone(const Form &form, std::optional<Part> part, const std::string &function, uint32_t nth, VkResult result)
{
    FaultLayer layer;
    layer.fail(function, nth, result);
    Walk walk(lesson(), form, &layer, cache_folder());
    walk_alone(&layer, &walk, part);
    check_end(layer, walk, function, nth, result);
}

// One device whose pipelines are made, used again and again by faults that do not lose it.
class UsedDevice
{
  public:
    explicit UsedDevice(const Form &form) : walk_(lesson(), form, &layer_, cache_folder())
    {
        walk_.open();
        for (int round = 0; round < 2; round++) { // the first makes pipelines
            layer_.forget_calls();
            walk_.use();
        }
        EXPECT_FALSE(walk_.failure()) << walk_.failure()->message;
        calls_ = layer_.calls();
        alive_ = layer_.alive();
    }
    const std::map<std::string, uint32_t> &calls() const { return calls_; }
    void fail(const std::string &function, uint32_t nth, VkResult result)
    {
        layer_.fail(function, nth, result);
        walk_.use();
        check_end(layer_, walk_, function, nth, result);
        stages_ = stages_ || function == "vkMapMemory"; // the device has its staging from then on
        end_use();
    }
    uint32_t n_borne = 0; // allocations that failed in steps, which went on
    // False where there is no nth allocation.
    bool fail_allocation(long nth)
    {
        long failed;
        {
            const tn_test::FailAlloc fail(nth);
            walk_.has_failed = [&] { return fail.failed() > 0; };
            walk_.use();
            walk_.has_failed = nullptr;
            failed = fail.failed();
        }
        n_borne += walk_.step_bore_it();
        EXPECT_EQ(failed == 0 || walk_.step_bore_it(), !walk_.failure()) << "nobody was told";
        if (walk_.failure()) check_host_failure(*walk_.failure());
        end_use();
        return failed > 0;
    }

  private:
    void end_use()
    {
        if (!stages_) {
            EXPECT_EQ(layer_.alive(), alive_);
        }
        EXPECT_FALSE(walk_.is_lost());
        walk_.forget_failure();
    }
    FaultLayer layer_;
    Walk walk_;
    std::map<std::string, uint32_t> calls_;
    std::vector<std::string> alive_; // what the open device has for itself
    bool stages_ = false;
};

// All calls; or the first three, three on the way and the last; or, where each costs a device, the first and the last.
std::vector<uint32_t> calls_to_try(uint32_t n, bool costs_device)
{
    std::vector<uint32_t> chosen;
    for (uint32_t nth = 1; nth <= n; nth++) {
        const bool is_between = nth == n / 2 || (!tn_test::is_quick() && (nth <= 3 || nth == n / 4 || nth == n / 4 * 3));
        if (tries_all() || nth == 1 || nth == n || (is_between && !costs_device)) chosen.push_back(nth);
    }
    return chosen;
}

using FailFunction = std::function<void(const std::string &function, uint32_t nth, VkResult result)>;

enum class Loses { no, yes, either };

std::vector<VkResult> results_of(const std::string &function, Loses loses)
{
    std::vector<VkResult> chosen;
    for (VkResult result : results_of(function)) {
        const bool does = status_of(result) == TN_DEVICE_LOST;
        if (loses == Loses::either || does == (loses == Loses::yes)) chosen.push_back(result);
    }
    return chosen;
}

// A sample has every result once, and one of them at each other call.
void fail_each(const std::string &what, const std::string &function, Loses loses, uint32_t n_calls, const FailFunction &fail)
{
    const std::vector<VkResult> results = results_of(function, loses);
    size_t turn = 0;
    for (uint32_t nth : calls_to_try(n_calls, loses == Loses::yes)) {
        for (size_t r = 0; r < results.size(); r++) {
            const bool in_sample = nth == 1 || results[r] == VK_INCOMPLETE || r == turn % results.size();
            if (!is_possible(results[r], nth) || (!tries_all() && !in_sample)) continue;
            SCOPED_TRACE(what + ", call " + std::to_string(nth) + " of " + function + ": " + tn_vk_result_name(results[r]));
            fail(function, nth, results[r]);
            if (testing::Test::HasFailure()) return;
        }
        turn++;
    }
}

void fail_while_used(const Form &form, const std::vector<std::string> &functions)
{
    UsedDevice device(form);
    const std::map<std::string, uint32_t> calls = device.calls();
    for (const std::string &function : functions) {
        const auto found = calls.find(function);
        if (found == calls.end()) continue;
        fail_each(std::string(form.name) + ", used", function, Loses::no, found->second,
                  [&](const std::string &name, uint32_t nth, VkResult result) { device.fail(name, nth, result); });
        if (testing::Test::HasFailure()) return;
    }
}

// Functions that are called only by a device that is new.
void fail_alone_each(const Form &form, std::optional<Part> part, const std::map<std::string, uint32_t> &elsewhere)
{
    const std::map<std::string, uint32_t> calls = calls_of(form, part);
    for (const std::string &function : fallible_functions()) {
        const auto found = calls.find(function);
        if (found == calls.end() || elsewhere.count(function)) continue;
        fail_each(std::string(form.name) + ", new device", function, Loses::either, found->second,
                  [&](const std::string &name, uint32_t nth, VkResult result) { fail_alone(form, part, name, nth, result); });
        if (testing::Test::HasFailure()) return;
    }
}

TEST(VulkanFaults, EveryFunctionIsCalledAndWrapped)
{
    const std::map<std::string, uint32_t> calls = calls_of(kStaged, Part::whole);
    for (const std::string &name : all_functions()) {
        const bool may_be_idle = name == "vkGetSemaphoreCounterValue"; // software devices are not polled
        EXPECT_TRUE(calls.count(name) || may_be_idle) << name << " is never called";
    }
}

TEST(VulkanFaults, WhileADeviceIsOpened) { fail_alone_each(kStaged, {}, {}); }

// Here everything is called: mapped memory is flushed, bytes go through staging, weights are read as texels.
TEST(VulkanFaults, WhileADeviceIsUsed) { fail_while_used(kStaged, fallible_functions()); }

// While bytes are copied, and at each kind of step: with mapped memory nothing else is submitted.
TEST(VulkanFaults, WhileADeviceIsUsedItIsLost)
{
    const std::pair<Form, Part> walks[] = {{kStaged, tries_all() ? Part::whole : Part::bytes}, {kMapped, Part::whole}};
    for (const auto &[form, part] : walks) {
        const std::map<std::string, uint32_t> calls = calls_of(form, part);
        for (const std::string function : {"vkQueueSubmit", "vkWaitSemaphores"}) {
            fail_each(std::string(form.name) + ", lost", function, Loses::yes, calls.at(function),
                      [&, form = form, part = part](const std::string &name, uint32_t nth, VkResult result) {
                          fail_alone(form, part, name, nth, result);
                      });
        }
    }
}

// As on most machines here; of the sample only what differs, which is how memory is had and filled.
TEST(VulkanFaults, WhileMappedMemoryIsUsed)
{
    const std::vector<std::string> of_memory = {"vkCreateBuffer", "vkAllocateMemory", "vkBindBufferMemory",
                                                "vkMapMemory",    "vkQueueSubmit",    "vkWaitSemaphores"};
    fail_while_used(kMapped, tries_all() ? fallible_functions() : of_memory);
}

// What a new device makes once, when it is first used: staging, pipelines.
TEST(VulkanFaults, WhileANewDeviceIsUsed)
{
    std::map<std::string, uint32_t> elsewhere = calls_of(kStaged, {});
    fail_alone_each(kStaged, Part::bytes, elsewhere);
    {
        const UsedDevice used(kStaged);
        elsewhere.insert(used.calls().begin(), used.calls().end());
    }
    fail_alone_each(kStaged, tries_all() ? Part::whole : Part::embedding, elsewhere);
    for (const std::string function : {"vkCreateShaderModule", "vkCreateComputePipelines"}) // while a list is half recorded
        fail_alone(kStaged, Part::whole, function, 5, VK_ERROR_OUT_OF_DEVICE_MEMORY);
}

// ---- memory of the host ----

// Fails each allocation of a new device's life; returns how many failures nobody was told of.
uint32_t fail_allocations(tn_test::FailMode mode, std::optional<Part> part)
{
    const AfterFailure after = mode == tn_test::FailMode::once ? AfterFailure::again : AfterFailure::stop;
    uint32_t n_untold = 0;
    for (long nth = 1;; nth++) {
        SCOPED_TRACE("allocation " + std::to_string(nth));
        FaultLayer layer;
        Walk walk(lesson(), kStaged, &layer, cache_folder(), after);
        long failed;
        {
            const tn_test::FailAlloc fail(nth, mode);
            walk_alone(&layer, &walk, part);
            failed = fail.failed();
        }
        if (failed == 0 || testing::Test::HasFailure()) return n_untold;
        if (walk.failure()) check_host_failure(*walk.failure());
        n_untold += !walk.failure();
    }
}

// Untold: what is read from and kept in a file, and the question for an extension.
TEST(VulkanFaults, AnyAllocationMayFailWhileADeviceIsOpened)
{
    for (tn_test::FailMode mode : {tn_test::FailMode::once, tn_test::FailMode::forever}) {
        EXPECT_LE(fail_allocations(mode, {}), 4u);
        EXPECT_LE(fail_allocations(mode, Part::bytes), 4u);
    }
    EXPECT_LE(fail_allocations(tn_test::FailMode::once, Part::embedding), 8u);
}

TEST(VulkanFaults, AnyAllocationMayFailWhileADeviceIsUsed)
{
    UsedDevice device(kStaged);
    long nth = 1;
    while (device.fail_allocation(nth) && !HasFailure()) nth += tries_all() ? 1 : 1 + nth / 20;
    EXPECT_GT(nth, 100);
    EXPECT_LE(device.n_borne, 4u) << "mirrors: of both outputs down, of one up";
}

// ---- answers that make no sense, and questions ----

TEST(VulkanFaults, AFenceThatNoSubmitGaveIsNotWaitedFor)
{
    const Host host;
    const OpenDevice device(host);
    for (uint64_t value : {uint64_t(0), uint64_t(1), UINT64_MAX}) {
        EXPECT_EQ(vulkan().fence_wait(device.get(), tn_fence{value}), TN_INVALID_ARGUMENT);
        EXPECT_EQ(last_error(), "INVALID_ARGUMENT vulkan0 has no fence " + std::to_string(value));
    }
}

Failure failure_of(FaultLayer *layer, Part part)
{
    Walk walk(lesson(), kMapped, layer, cache_folder(), AfterFailure::stop);
    walk.run(part);
    return walk.failure() ? *walk.failure() : Failure{"nothing failed", TN_OK, "", ""};
}

TEST(VulkanFaults, ADriverWithoutDevices)
{
    FaultLayer layer;
    layer.no_devices = true;
    const Failure failure = failure_of(&layer, Part::bytes);
    EXPECT_EQ(failure.status, TN_UNAVAILABLE);
    EXPECT_EQ(failure.message, "Vulkan is not available: no driver found a device");
}

TEST(VulkanFaults, ABufferThatNoMemoryFits)
{
    FaultLayer layer;
    layer.no_memory_type_fits = true;
    const Failure failure = failure_of(&layer, Part::bytes);
    EXPECT_EQ(failure.status, TN_OUT_OF_MEMORY);
    EXPECT_EQ(failure.device, "vulkan0");
    EXPECT_NE(failure.message.find("could not be had (VK_ERROR_OUT_OF_DEVICE_MEMORY"), std::string::npos) << failure.message;
}

TEST(VulkanFaults, ADeviceWithoutMemoryTypesOrQueues)
{
    FaultLayer layer;
    Walk walk(lesson(), kMapped, &layer, cache_folder(), AfterFailure::stop);
    layer.change_memory = [](VkPhysicalDeviceMemoryProperties *memory) { *memory = {}; };
    walk.run(Part::bytes);
    ASSERT_TRUE(walk.failure());
    EXPECT_EQ(walk.failure()->status, TN_OUT_OF_MEMORY) << walk.failure()->message;
    Walk other(lesson(), kMapped, &layer, cache_folder(), AfterFailure::stop);
    layer.change_memory = nullptr;
    layer.change_families = [](std::vector<VkQueueFamilyProperties> *families) { families->clear(); };
    other.run(Part::bytes);
    ASSERT_TRUE(other.failure());
    EXPECT_EQ(other.failure()->status, TN_UNAVAILABLE) << other.failure()->message;
}

} // namespace
} // namespace vulkan_test
