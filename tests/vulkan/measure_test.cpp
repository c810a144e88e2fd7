// Measuring the device's memory: figures that agree with a clock, and faults.
#include "vulkan/device_rig.hpp"
#include "vulkan/fault_layer.hpp"

#include <chrono>
#include <gtest/gtest.h>

namespace vulkan_test
{
namespace
{

bool keep(void *user, const tn_measured_limit *limit)
{
    static_cast<std::vector<tn_measured_limit> *>(user)->push_back(*limit);
    return true;
}

class Measure : public testing::TestWithParam<const char *>
{
};

TEST_P(Measure, TellsARateOfReadingThatTheTimeAllows)
{
    FaultLayer layer; // a little of the memory, for the sake of time
    layer.change_properties = [](VkPhysicalDeviceProperties *p) { p->limits.maxStorageBufferRange = 16 << 20; };
    Host host(&layer.hooks);
    host.host.vulkan_kernels = GetParam();
    const OpenDevice device(host);
    std::vector<tn_measured_limit> limits;
    const auto begun = std::chrono::steady_clock::now();
    ASSERT_EQ(vulkan().device_measure(device.get(), 1, 1000000, keep, &limits), TN_OK) << last_error();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
    ASSERT_EQ(limits.size(), 1u);
    EXPECT_EQ(limits[0].kind, TN_MEASURED_MEMORY_READ);
    EXPECT_STREQ(limits[0].name, "vulkan0");
    EXPECT_LE(limits[0].median, limits[0].best);
    // Five passes and two to settle read the buffer within the time of the call; a software device reads no faster than its host.
    const double bytes = double(std::min<uint64_t>(device.vk()->limits.range_bytes, 1 << 30));
    EXPECT_GE(limits[0].best, 5 * bytes / seconds / 2);
    EXPECT_LE(limits[0].median, 1e13);
}

INSTANTIATE_TEST_SUITE_P(Forms, Measure, testing::Values("mul", "mul_texel"),
                         [](const testing::TestParamInfo<const char *> &form) { return std::string(form.param); });

TEST(MeasureFaults, AreStatusesThatLeaveNothing)
{
    FaultLayer layer;
    // Little memory, so that a pass is short.
    layer.change_properties = [](VkPhysicalDeviceProperties *p) { p->limits.maxStorageBufferRange = 1 << 16; };
    const Host host(&layer.hooks);
    std::vector<tn_measured_limit> limits;
    const auto measure = [&]() {
        const OpenDevice device(host);
        layer.forget_calls();
        const tn_status status = vulkan().device_measure(device.get(), 1, 1, keep, &limits);
        return status;
    };
    ASSERT_EQ(measure(), TN_OK) << last_error();
    for (const char *call : {"vkCreateBuffer", "vkAllocateMemory", "vkCreateBufferView", "vkCreateComputePipelines",
                             "vkCreateDescriptorPool", "vkAllocateDescriptorSets", "vkCreateCommandPool", "vkAllocateCommandBuffers",
                             "vkBeginCommandBuffer", "vkEndCommandBuffer", "vkQueueSubmit", "vkWaitSemaphores"}) {
        layer.fail(call, 1, VK_ERROR_DEVICE_LOST);
        EXPECT_EQ(measure(), TN_DEVICE_LOST) << call;
        EXPECT_TRUE(layer.has_failed()) << call;
        EXPECT_EQ(layer.alive(), std::vector<std::string>({"vkCreateInstance 1"})) << call;
    }
    EXPECT_EQ(limits.size(), 1u);
    const OpenDevice device(host);
    EXPECT_EQ(vulkan().device_measure(
                  device.get(), 1, 1, [](void *, const tn_measured_limit *) { return false; }, nullptr),
              TN_CANCELLED);
}

} // namespace
} // namespace vulkan_test
