// Every Vulkan call that devices and buffers make fails once, with each result that matters: a status comes back, nothing is left, and the
// same work succeeds afterwards.
#include "vulkan/device_rig.hpp"
#include "vulkan/fault_layer.hpp"

#include <gtest/gtest.h>

namespace vulkan_test
{
namespace
{

#define TRY(expr)                                                                                                                          \
    do {                                                                                                                                   \
        const tn_status tried = (expr);                                                                                                    \
        if (tried != TN_OK) return tried;                                                                                                  \
    } while (0)

// Opens a device, fills and reads a buffer, and makes a pipeline; closes all of it whatever happens.
tn_status work(const Host &host)
{
    struct Owner {
        ~Owner()
        {
            vulkan().buffer_destroy(buffer);
            vulkan().device_close(device);
        }
        tn_device *device = nullptr;
        tn_buffer *buffer = nullptr;
    } owner;
    tn_device_desc desc;
    TRY(vulkan().device_describe(&host.host, 0, &desc));
    TRY(vulkan().device_open(&host.host, 0, &owner.device));
    TRY(vulkan().buffer_create(owner.device, 5000, &owner.buffer));
    std::vector<uint8_t> bytes(5000, 3), back(5000);
    TRY(vulkan().buffer_write(owner.buffer, 0, bytes.data(), bytes.size()));
    TRY(vulkan().buffer_read(owner.buffer, 0, back.data(), back.size()));
    EXPECT_EQ(back, bytes);
    VkPipeline pipeline;
    const uint32_t invocations = 8;
    return tn_vk_pipeline_get(tn_vk_device_of(owner.device), "elementwise", &invocations, 1, &pipeline);
}

class Faults : public testing::TestWithParam<bool>
{
};

// What ends in "Vulkan is not available".
bool is_of_the_instance(const std::string &function)
{
    return function == "vkCreateInstance" || function == "vkEnumerateInstanceVersion" || function == "vkEnumeratePhysicalDevices";
}

TEST_P(Faults, OfEveryCallAreStatusesThatLeaveNothing)
{
    FaultLayer layer;
    layer.hooks.force_staging = GetParam();
    const auto on_new_instance = [&layer] {
        const Host host(&layer.hooks, false);
        return work(host);
    };
    ASSERT_EQ(on_new_instance(), TN_OK) << last_error();
    EXPECT_EQ(layer.alive(), std::vector<std::string>());
    const std::map<std::string, uint32_t> calls = layer.calls();
    // Without these it goes on: an extension that is not known of, a wait before what is destroyed anyway, and device memory that is not
    // mapped but reached through staging.
    std::vector<std::string> harmless = {"vkEnumerateInstanceExtensionProperties", "vkDeviceWaitIdle"};
    if (!GetParam()) harmless.push_back("vkMapMemory");
    const Host kept(&layer.hooks);
    ASSERT_EQ(work(kept), TN_OK) << last_error();
    const std::vector<std::string> nothing = {"vkCreateInstance 1"}; // but what the host keeps
    uint32_t n_cases = 0;
    for (const auto &[function, n_calls] : calls) {
        const bool goes_on = std::find(harmless.begin(), harmless.end(), function) != harmless.end();
        const bool needs_new = is_of_the_instance(function) || function == "vkEnumerateInstanceExtensionProperties";
        for (uint32_t nth = 1; nth <= n_calls; nth++) {
            for (VkResult result : {VK_ERROR_OUT_OF_DEVICE_MEMORY, VK_ERROR_DEVICE_LOST}) {
                SCOPED_TRACE(function + " " + std::to_string(nth) + " " + tn_vk_result_name(result));
                layer.fail(function, nth, result);
                const tn_status status = needs_new ? on_new_instance() : work(kept);
                const tn_status lost = result == VK_ERROR_DEVICE_LOST ? TN_DEVICE_LOST : TN_OUT_OF_MEMORY;
                EXPECT_TRUE(layer.has_failed());
                EXPECT_EQ(status, goes_on ? TN_OK : is_of_the_instance(function) ? TN_UNAVAILABLE : lost) << last_error();
                EXPECT_TRUE(status == TN_OK || last_error().find(tn_vk_result_name(result)) != std::string::npos) << last_error();
                EXPECT_EQ(layer.alive(), nothing);
                n_cases++;
            }
        }
    }
    EXPECT_GT(n_cases, 50u);
    EXPECT_EQ(work(kept), TN_OK) << last_error();
}

INSTANTIATE_TEST_SUITE_P(Paths, Faults, testing::Values(false, true),
                         [](const testing::TestParamInfo<bool> &path) { return path.param ? "Staged" : "Mapped"; });

} // namespace
} // namespace vulkan_test
