// A session whose Vulkan device fails in the middle of a text: the status and the device's name come through, everything is destroyed, and
// where the device is not lost the same step can be made again.
#include "vulkan/generation.hpp"

namespace vulkan_test
{
namespace
{

std::string message() { return tn_error_last()->message; }

// The function that fails in the second step after the prompt.
void lose(const char *function, VkResult result, const std::string &words)
{
    FaultLayer layer;
    {
        Generation generation(&layer);
        ASSERT_EQ(generation.start(), TN_OK) << message();
        ASSERT_EQ(generation.decode(0, kPrompt), TN_OK) << message();
        ASSERT_EQ(generation.decode(kPrompt, kPrompt + 1), TN_OK) << message();
        layer.fail(function, 1, result);
        EXPECT_EQ(generation.decode(kPrompt + 1, kPrompt + 2), TN_DEVICE_LOST);
        EXPECT_EQ(message().find(words), 0u) << message();
        EXPECT_STREQ(tn_error_last()->device, "vulkan0");
        EXPECT_EQ(generation.decode(kPrompt + 1, kPrompt + 2), TN_DEVICE_LOST);
        EXPECT_EQ(message().find("vulkan0 was lost before ("), 0u) << message();
        generation.stop();
        EXPECT_EQ(generation.start(), TN_DEVICE_LOST); // the host keeps the device open
        EXPECT_EQ(message().find("vulkan0 was lost before ("), 0u) << message();
    }
    EXPECT_EQ(layer.alive(), std::vector<std::string>());
}

TEST(VulkanSession, ALostDeviceEndsTheTextAndSaysSo)
{
    lose("vkQueueSubmit", VK_ERROR_DEVICE_LOST, "vulkan0: vkQueueSubmit failed with VK_ERROR_DEVICE_LOST (-4): ");
    lose("vkWaitSemaphores", VK_ERROR_DEVICE_LOST, "vulkan0: vkWaitSemaphores failed with VK_ERROR_DEVICE_LOST (-4): ");
    lose("vkWaitSemaphores", VK_TIMEOUT, "vulkan0 did not finish a step in ten minutes (VK_TIMEOUT): ");
}

TEST(VulkanSession, AStepThatHadNoMemoryIsMadeAgain)
{
    const std::vector<std::vector<float>> want = expected();
    for (const char *function : {"vkQueueSubmit", "vkWaitSemaphores"}) {
        FaultLayer layer;
        {
            Generation generation(&layer);
            ASSERT_EQ(generation.start(), TN_OK) << message();
            for (size_t i = 0; i < want.size(); i++) {
                const size_t begin = i == 0 ? 0 : kPrompt + i - 1, end = kPrompt + i;
                layer.fail(function, 1, VK_ERROR_OUT_OF_DEVICE_MEMORY);
                EXPECT_EQ(generation.decode(begin, end), TN_OUT_OF_MEMORY);
                EXPECT_EQ(message().find(std::string("vulkan0: ") + function + " failed with VK_ERROR_OUT_OF_DEVICE_MEMORY"), 0u)
                    << message();
                ASSERT_EQ(generation.decode(begin, end), TN_OK) << message();
                EXPECT_EQ(memcmp(generation.logits.data(), want[i].data(), want[i].size() * sizeof(float)), 0) << i;
            }
        }
        EXPECT_EQ(layer.alive(), std::vector<std::string>());
    }
}

TEST(VulkanSession, ASessionThatCannotBeMadeLeavesNothing)
{
    for (const char *function : {"vkCreateDevice", "vkAllocateMemory", "vkBindBufferMemory", "vkCreateCommandPool"}) {
        FaultLayer layer;
        {
            Generation generation(&layer);
            layer.fail(function, 1, VK_ERROR_OUT_OF_DEVICE_MEMORY);
            EXPECT_EQ(generation.start(), TN_OUT_OF_MEMORY) << function;
            EXPECT_NE(message().find("vulkan0: "), std::string::npos) << message();
            EXPECT_NE(message().find("VK_ERROR_OUT_OF_DEVICE_MEMORY"), std::string::npos) << message();
            generation.stop();
            ASSERT_EQ(generation.start(), TN_OK) << function << ": " << message();
            EXPECT_EQ(generation.decode(0, kPrompt), TN_OK) << message();
        }
        EXPECT_EQ(layer.alive(), std::vector<std::string>());
    }
}

} // namespace
} // namespace vulkan_test
