// When shaders are compiled: before a session's first step, with progress that counts them, and each once.
#include "support/run_model.hpp"
#include "vulkan/fault_layer.hpp"

extern "C" {
#include "runtime/host.h"
}

namespace vulkan_test
{
namespace
{

struct Report {
    uint64_t done, total;
};

// A host with the layer, as one without hooks compiles, and sessions on its first Vulkan device.
class Compiling : public testing::Test
{
  protected:
    void SetUp() override
    {
        layer_.hooks.compiles_early = true;
        ASSERT_EQ(tn_host_open(nullptr, &host_), TN_OK);
        tn_host_hook_vulkan(host_, &layer_.hooks);
        ASSERT_EQ(tn_model_open(tn_test::default_model().c_str(), nullptr, &model_), TN_OK);
    }
    void TearDown() override
    {
        stop();
        tn_model_close(model_);
        tn_host_close(host_);
        EXPECT_EQ(layer_.alive(), std::vector<std::string>());
    }
    tn_status start()
    {
        tn_placement_params placement_params = TN_PLACEMENT_PARAMS_INIT;
        placement_params.devices = "vulkan0";
        tn_session_params params = TN_SESSION_PARAMS_INIT;
        params.no_recovery = true; // the device that is meant, and no other
        params.n_ctx = 128;
        params.progress = {update, this};
        EXPECT_EQ(tn_placement_create(model_, host_, &placement_params, &placement_), TN_OK) << tn_error_last()->message;
        params.placement = placement_;
        reports_.clear();
        layer_.forget_calls();
        return tn_session_create(model_, host_, &params, &session_);
    }
    void stop()
    {
        tn_session_destroy(session_);
        tn_placement_destroy(placement_);
        session_ = nullptr;
        placement_ = nullptr;
    }
    tn_status decode(const std::vector<int32_t> &tokens)
    {
        tn_batch batch = TN_BATCH_INIT;
        batch.n_tokens = static_cast<uint32_t>(tokens.size());
        batch.tokens = tokens.data();
        return tn_session_decode(session_, &batch);
    }
    uint32_t n_pipelines() const
    {
        const auto found = layer_.calls().find("vkCreateComputePipelines");
        return found == layer_.calls().end() ? 0 : found->second;
    }
    static bool update(void *user, const char *stage, uint64_t done, uint64_t total)
    {
        auto *self = static_cast<Compiling *>(user);
        if (std::string(stage) != "compiling shaders") return true;
        self->reports_.push_back({done, total});
        return self->reports_.size() != self->cancels_at_;
    }
    FaultLayer layer_;
    tn_host *host_ = nullptr;
    tn_model *model_ = nullptr;
    tn_placement *placement_ = nullptr;
    tn_session *session_ = nullptr;
    std::vector<Report> reports_;
    size_t cancels_at_ = 0; // the report that is answered so; 0: none is
};

// The self-test's programs and the session's, one after another; then no step of any size has to wait.
TEST_F(Compiling, IsDoneAndCountedBeforeTheFirstStep)
{
    ASSERT_EQ(start(), TN_OK) << tn_error_last()->message;
    uint64_t n_counted = 0, next = 0;
    for (const Report &report : reports_) {
        EXPECT_EQ(report.done, next);
        next = report.done == report.total ? 0 : report.done + 1;
        n_counted += report.done == report.total ? report.total : 0;
    }
    EXPECT_EQ(next, 0u) << "the last one is told of";
    EXPECT_EQ(n_counted, n_pipelines());
    EXPECT_GT(n_counted, 10u);
    layer_.forget_calls();
    ASSERT_EQ(decode({5, 61, 8, 300, 12, 7, 99, 4, 41, 2, 77, 9}), TN_OK) << tn_error_last()->message;
    ASSERT_EQ(decode({11, 12, 13}), TN_OK) << tn_error_last()->message;
    ASSERT_EQ(decode({60}), TN_OK) << tn_error_last()->message;
    EXPECT_EQ(n_pipelines(), 0u);
    stop();
    ASSERT_EQ(start(), TN_OK) << tn_error_last()->message;
    EXPECT_EQ(n_pipelines(), 0u) << "the device keeps them";
    EXPECT_EQ(reports_.size(), 0u) << "nothing is told of nothing";
}

// The second call of each function that compiling alone makes so often.
TEST_F(Compiling, AnyOfItsCallsMayFail)
{
    layer_.hooks.selftest = TN_VK_SELFTEST_NEVER;
    cancels_at_ = 5; // the shaders of a few dispatches are enough
    ASSERT_EQ(start(), TN_CANCELLED);
    stop();
    cancels_at_ = 0;
    for (const char *function : {"vkCreateComputePipelines", "vkAllocateDescriptorSets", "vkCreateBufferView", "vkResetDescriptorPool",
                                 "vkQueueSubmit", "vkWaitSemaphores"}) {
        layer_.fail(function, 2, VK_ERROR_OUT_OF_HOST_MEMORY);
        EXPECT_EQ(start(), TN_OUT_OF_MEMORY) << function;
        EXPECT_TRUE(layer_.has_failed()) << function;
        EXPECT_NE(std::string(tn_error_last()->message).find(function), std::string::npos) << tn_error_last()->message;
        stop();
    }
    ASSERT_EQ(start(), TN_OK) << tn_error_last()->message;
    EXPECT_EQ(decode({60}), TN_OK) << tn_error_last()->message;
}

// A wait that is given up leaves the device at work: nothing of that is destroyed before it is idle.
TEST_F(Compiling, DestroysNothingThatTheDeviceMayBeUsing)
{
    layer_.hooks.selftest = TN_VK_SELFTEST_NEVER;
    cancels_at_ = 5;
    ASSERT_EQ(start(), TN_CANCELLED); // the weights are packed by waits of the same kind: that many come before the first shader's
    const uint32_t n_before = layer_.calls().at("vkWaitSemaphores") - 4;
    stop();
    cancels_at_ = 0;
    std::vector<std::string> behind;
    layer_.on_call = [&](const std::string &function) {
        if (!layer_.has_failed()) return;
        if (function == "vkDeviceWaitIdle" || function == "vkDestroyDescriptorPool" || function == "vkDestroyCommandPool")
            behind.push_back(function);
    };
    layer_.fail("vkWaitSemaphores", n_before + 2, VK_TIMEOUT);
    EXPECT_EQ(start(), TN_DEVICE_LOST);
    EXPECT_NE(std::string(tn_error_last()->message).find("VK_TIMEOUT"), std::string::npos) << tn_error_last()->message;
    layer_.on_call = nullptr;
    ASSERT_GE(behind.size(), 3u);
    EXPECT_EQ(behind[0], "vkDeviceWaitIdle");
    EXPECT_EQ(std::count(behind.begin(), behind.end(), "vkDestroyDescriptorPool"), 1) << "of the list that ran";
}

TEST_F(Compiling, StopsWhereItIsToldTo)
{
    cancels_at_ = 3;
    ASSERT_EQ(start(), TN_CANCELLED);
    EXPECT_EQ(session_, nullptr);
    EXPECT_EQ(n_pipelines(), 2u);
    EXPECT_NE(std::string(tn_error_last()->message).find("compiling shaders was cancelled"), std::string::npos) << tn_error_last()->message;
}

} // namespace
} // namespace vulkan_test
