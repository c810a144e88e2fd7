// Sessions on a device that binds little at a time: steps are as large as it takes, or what it does not take is refused before weights are
// packed, with a number that works.
#include "support/run_model.hpp"
#include "vulkan/device_rig.hpp"

#include <filesystem>
#include <regex>
#include <unistd.h>

extern "C" {
#include "runtime/host.h"
}

namespace vulkan_test
{
namespace
{

std::string message() { return tn_error_last()->message; }

// The number that the last error names with these words around it.
uint32_t number_in_message(const std::string &before, const std::string &after)
{
    std::smatch found;
    const std::string text = message();
    EXPECT_TRUE(std::regex_search(text, found, std::regex(before + "([0-9]+)" + after))) << text;
    return found.empty() ? 0 : static_cast<uint32_t>(std::stoul(found[1]));
}

class VulkanLimits : public testing::Test
{
  protected:
    void SetUp() override
    {
        hooks_.selftest = TN_VK_SELFTEST_NEVER;
        params_.n_ctx = 512;
        params_.no_recovery = true; // the device that is meant, and no other
        ASSERT_EQ(tn_model_open(tn_test::default_model().c_str(), nullptr, &model_), TN_OK);
    }
    void TearDown() override
    {
        stop();
        tn_model_close(model_);
    }
    // A host whose Vulkan device binds that much.
    void bind_at_most(uint64_t range_bytes)
    {
        stop();
        hooks_.range_bytes_max = range_bytes;
        tn_placement_params params = TN_PLACEMENT_PARAMS_INIT;
        params.devices = "vulkan0";
        ASSERT_EQ(tn_host_open(nullptr, &host_), TN_OK);
        tn_host_hook_vulkan(host_, &hooks_);
        ASSERT_EQ(tn_placement_create(model_, host_, &params, &placement_), TN_OK) << message();
    }
    tn_status start()
    {
        tn_session_destroy(session_);
        session_ = nullptr;
        n_packed_ = 0;
        params_.placement = placement_;
        params_.progress = {count_packing, this};
        const tn_status status = tn_session_create(model_, host_, &params_, &session_);
        if (session_) tn_session_get_info(session_, &info_);
        EXPECT_EQ(session_ != nullptr, status == TN_OK);
        return status;
    }
    void expect_refused_before_packing()
    {
        EXPECT_EQ(start(), TN_UNSUPPORTED);
        EXPECT_EQ(message().find("vulkan0: "), 0u) << message();
        EXPECT_EQ(n_packed_, 0u) << message();
    }
    tn_pack_cache_use pack_cache_use() const { return tn_session_pack_cache(session_); }
    std::vector<float> logits_of(const std::vector<int32_t> &ids)
    {
        tn_batch batch = TN_BATCH_INIT;
        batch.n_tokens = static_cast<uint32_t>(ids.size());
        batch.tokens = ids.data();
        EXPECT_EQ(tn_session_decode(session_, &batch), TN_OK) << message();
        const float *row = tn_session_logits(session_, 0);
        return {row, row + info_.n_vocab};
    }
    void stop()
    {
        tn_session_destroy(session_);
        tn_placement_destroy(placement_);
        tn_host_close(host_);
        session_ = nullptr;
        placement_ = nullptr;
        host_ = nullptr;
    }
    tn_model *model_ = nullptr;
    tn_session_params params_ = TN_SESSION_PARAMS_INIT;
    tn_session_info info_ = {};
    uint32_t n_packed_ = 0;

  private:
    static bool count_packing(void *user, const char *stage, uint64_t, uint64_t)
    {
        static_cast<VulkanLimits *>(user)->n_packed_ += std::string(stage) == "packing weights";
        return true;
    }
    tn_vk_hooks hooks_ = {};
    tn_host *host_ = nullptr;
    tn_placement *placement_ = nullptr;
    tn_session *session_ = nullptr;
};

TEST_F(VulkanLimits, StepsAreAsLargeAsTheDeviceTakes)
{
    std::vector<int32_t> ids;
    for (int32_t i = 0; i < 150; i++) ids.push_back((i * 37 + 11) % 4000);
    tn_test::run_result cpu;
    tn_test::run_options options;
    options.devices = "cpu0";
    ASSERT_NO_FATAL_FAILURE(tn_test::run_model(tn_test::default_model(), ids, options, &cpu));
    const std::vector<float> want(cpu.logits.end() - cpu.n_vocab, cpu.logits.end());

    bind_at_most(512 << 10);
    ASSERT_EQ(start(), TN_OK) << message();
    EXPECT_GT(n_packed_, 0u);
    EXPECT_EQ(info_.n_ubatch, 64u) << "whole tiles of the kernels";
    EXPECT_EQ(logits_of(ids), want);

    params_.n_ubatch = params_.n_logits_max = 150; // a wish, with rows of logits that are more than it binds
    params_.may_shrink_ubatch = true;
    ASSERT_EQ(start(), TN_OK) << message();
    EXPECT_EQ(info_.n_ubatch, 32u) << "rows of 16 KiB";
    EXPECT_EQ(logits_of(ids), want);

    params_.n_ubatch = 5; // small enough
    ASSERT_EQ(start(), TN_OK) << message();
    EXPECT_EQ(info_.n_ubatch, 5u);

    bind_at_most(128u << 20);
    params_.n_ubatch = 0;
    ASSERT_EQ(start(), TN_OK) << message();
    EXPECT_EQ(info_.n_ubatch, 512u);
}

TEST_F(VulkanLimits, StepsThatAreTooLargeAreRefusedWithTheLargestOnes)
{
    bind_at_most(512 << 10);
    params_.n_ubatch = 512;
    expect_refused_before_packing();
    EXPECT_NE(message().find("steps of 512 tokens need "), std::string::npos) << message();
    const uint32_t largest = number_in_message("make smaller steps \\(-ub ", " fits\\)$");
    EXPECT_GE(largest, 64u);
    params_.n_ubatch = largest + 1;
    expect_refused_before_packing();
    EXPECT_EQ(number_in_message("\\(-ub ", " fits\\)$"), largest);
    params_.n_ubatch = largest;
    ASSERT_EQ(start(), TN_OK) << message();
    EXPECT_GT(n_packed_, 0u);
    EXPECT_EQ(info_.n_ubatch, largest);
}

// Weights of gigabytes are not read for a session that cannot be.
TEST_F(VulkanLimits, WeightsThatAreKeptAreNotCopiedForWhatIsRefused)
{
    const std::string folder = testing::TempDir() + "tn_vk_limits_" + std::to_string(getpid());
    std::filesystem::create_directories(folder);
    std::string lines;
    params_.pack_cache = folder.c_str();
    params_.pack_cache_bytes_min = 1;
    params_.log = {[](void *user, tn_log_level, const char *line) { *static_cast<std::string *>(user) += line; }, &lines, TN_LOG_INFO};
    bind_at_most(512 << 10);
    ASSERT_EQ(start(), TN_OK) << message();
    ASSERT_EQ(pack_cache_use(), TN_PACK_CACHE_WRITTEN) << lines;
    lines.clear();
    params_.n_ubatch = 512;
    expect_refused_before_packing();
    EXPECT_EQ(lines.find("mapped from"), std::string::npos) << lines;
    params_.n_ubatch = 0;
    ASSERT_EQ(start(), TN_OK) << message();
    EXPECT_EQ(pack_cache_use(), TN_PACK_CACHE_MAPPED) << lines;
    EXPECT_NE(lines.find("mapped from"), std::string::npos) << lines;
    std::filesystem::remove_all(folder);
}

TEST_F(VulkanLimits, ACacheThatIsTooLargeIsRefusedWithTheLargestOne)
{
    bind_at_most(512 << 10);
    params_.n_seqs_max = 4;
    expect_refused_before_packing();
    EXPECT_NE(message().find("KV cache"), std::string::npos) << message();
    const uint32_t n_positions = number_in_message("use a shorter context \\(-c\\) or fewer sequences, of ", " positions in all$");
    uint64_t page_bytes;
    ASSERT_EQ(tn_session_kv_bytes(model_, 1, 1, &page_bytes), TN_OK);
    params_.kv_bytes = (n_positions / 128 + 1) * page_bytes;
    expect_refused_before_packing();
    params_.kv_bytes = n_positions / 128 * page_bytes;
    ASSERT_EQ(start(), TN_OK) << message();
    EXPECT_EQ(info_.kv_bytes, params_.kv_bytes);
}

TEST_F(VulkanLimits, AContextWhoseTableIsTooLargeIsRefused)
{
    bind_at_most(100 << 10);
    params_.n_ubatch = 1;
    ASSERT_EQ(tn_session_kv_bytes(model_, 1, 1, &params_.kv_bytes), TN_OK);
    expect_refused_before_packing();
    EXPECT_NE(message().find("has to be bound whole; the device binds 0 MiB at most: use a shorter context (-c)"), std::string::npos)
        << message();
    params_.n_ctx = 400;
    ASSERT_EQ(start(), TN_OK) << message();
}

} // namespace
} // namespace vulkan_test
