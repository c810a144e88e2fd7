// Each allocation of ours fails in turn while a device is listed, opened, used and closed: OUT_OF_MEMORY, or success where it was for
// something that is no need, and nothing is left.
#include "format/temp_folder.h"
#include "support/fail_alloc.hpp"
#include "vulkan/device_rig.hpp"
#include "vulkan/fault_layer.hpp"

#include <gtest/gtest.h>

namespace vulkan_test
{
namespace
{

bool keep_none(void *, const tn_measured_limit *) { return true; }

tn_status use(tn_device *device)
{
    tn_buffer *buffer = nullptr;
    uint8_t bytes[100] = {1};
    tn_status status = vulkan().buffer_create(device, sizeof bytes, &buffer);
    if (status == TN_OK) status = vulkan().buffer_write(buffer, 0, bytes, sizeof bytes);
    VkPipeline pipeline;
    const uint32_t invocations = 8;
    if (status == TN_OK) status = tn_vk_pipeline_get(tn_vk_device_of(device), "elementwise", &invocations, 1, &pipeline);
    if (status == TN_OK) status = vulkan().device_measure(device, 1, 1, keep_none, nullptr);
    vulkan().buffer_destroy(buffer);
    return status;
}

tn_status use_everything(const tn_vk_hooks *hooks, const std::string &cache_folder)
{
    Host host(hooks);
    host.host.cache_folder = cache_folder.c_str();
    host.host.log.write = [](void *, tn_log_level, const char *) {};
    uint32_t n = 0;
    tn_device_desc desc;
    tn_device *device = nullptr;
    tn_status status = vulkan().device_count(&host.host, &n);
    if (status == TN_OK) status = vulkan().device_describe(&host.host, 0, &desc);
    if (status == TN_OK) status = vulkan().device_open(&host.host, 0, &device);
    if (status == TN_OK) status = use(device);
    vulkan().device_close(device);
    return status;
}

class OutOfMemory : public testing::TestWithParam<tn_test::FailMode>
{
};

TEST_P(OutOfMemory, IsAStatusThatLeavesNothing)
{
    const TempFolder folder;
    FaultLayer layer;
    layer.hooks.force_staging = true;
    layer.change_properties = [](VkPhysicalDeviceProperties *p) { p->limits.maxStorageBufferRange = 1 << 16; }; // little to measure
    ASSERT_EQ(use_everything(&layer.hooks, folder.path()), TN_OK) << last_error(); // the second time there is a file
    uint32_t n_refused = 0;
    for (long nth = 1;; nth++) {
        tn_status status;
        long failed;
        {
            const tn_test::FailAlloc fail(nth, GetParam());
            status = use_everything(&layer.hooks, folder.path());
            failed = fail.failed();
        }
        EXPECT_EQ(layer.alive(), std::vector<std::string>()) << nth;
        if (failed == 0) {
            EXPECT_EQ(status, TN_OK) << last_error();
            break;
        }
        ASSERT_TRUE(status == TN_OK || status == TN_OUT_OF_MEMORY) << nth << " " << last_error();
        n_refused += status != TN_OK;
        ASSERT_LT(nth, 1000);
    }
    EXPECT_GT(n_refused, 10u);
}

INSTANTIATE_TEST_SUITE_P(Modes, OutOfMemory, testing::Values(tn_test::FailMode::once, tn_test::FailMode::forever),
                         [](const testing::TestParamInfo<tn_test::FailMode> &mode) {
                             return mode.param == tn_test::FailMode::once ? "Once" : "Forever";
                         });

} // namespace
} // namespace vulkan_test
