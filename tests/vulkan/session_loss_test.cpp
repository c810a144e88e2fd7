// A session whose Vulkan device fails in the middle of a text: the status and the device's name come through, everything is destroyed, and
// where the device is not lost the same step can be made again.
#include "support/run_model.hpp"
#include "vulkan/fault_layer.hpp"

extern "C" {
#include "runtime/host.h"
}

namespace vulkan_test
{
namespace
{

const std::vector<int32_t> kText = {5, 61, 8, 300, 12, 7, 99, 4, 41};

// A host with the layer, and a session on its first Vulkan device.
class Generation
{
  public:
    explicit Generation(FaultLayer *layer)
    {
        EXPECT_EQ(tn_host_open(nullptr, &host_), TN_OK);
        tn_host_hook_vulkan(host_, &layer->hooks);
        EXPECT_EQ(tn_model_open(tn_test::default_model().c_str(), nullptr, &model_), TN_OK);
    }
    ~Generation()
    {
        stop();
        tn_model_close(model_);
        tn_host_close(host_);
    }
    Generation(const Generation &) = delete;
    Generation &operator=(const Generation &) = delete;
    tn_status start()
    {
        tn_placement_params params = TN_PLACEMENT_PARAMS_INIT;
        params.devices = "vulkan0";
        tn_session_params session_params = TN_SESSION_PARAMS_INIT;
        session_params.n_ctx = 128;
        tn_status status = tn_placement_create(model_, host_, &params, &placement_);
        session_params.placement = placement_;
        session_ = reinterpret_cast<tn_session *>(this); // must not stay
        if (status == TN_OK)
            status = tn_session_create(model_, host_, &session_params, &session_);
        else
            session_ = nullptr;
        EXPECT_EQ(session_ == nullptr, status != TN_OK);
        return status;
    }
    void stop()
    {
        tn_session_destroy(session_);
        tn_placement_destroy(placement_);
        session_ = nullptr;
        placement_ = nullptr;
    }
    // The logits behind tokens [begin, end) of the text, where they are decoded.
    tn_status decode(size_t begin, size_t end)
    {
        tn_batch batch = TN_BATCH_INIT;
        batch.n_tokens = static_cast<uint32_t>(end - begin);
        batch.tokens = kText.data() + begin;
        const tn_status status = tn_session_decode(session_, &batch);
        if (status != TN_OK) return status;
        tn_session_info info;
        tn_session_get_info(session_, &info);
        const float *row = tn_session_logits(session_, 0);
        logits.assign(row, row + info.n_vocab);
        return TN_OK;
    }
    std::vector<float> logits;

  private:
    tn_host *host_ = nullptr;
    tn_model *model_ = nullptr;
    tn_placement *placement_ = nullptr;
    tn_session *session_ = nullptr;
};

const size_t kPrompt = 6;

// What the CPU has to say, step by step.
std::vector<std::vector<float>> expected()
{
    tn_test::run_result all;
    tn_test::run_options options;
    options.devices = "cpu0";
    tn_test::run_model(tn_test::default_model(), kText, options, &all);
    std::vector<std::vector<float>> rows;
    for (size_t i = kPrompt - 1; i < kText.size(); i++)
        rows.emplace_back(all.logits.begin() + static_cast<long>(i * all.n_vocab),
                          all.logits.begin() + static_cast<long>((i + 1) * all.n_vocab));
    return rows;
}

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
