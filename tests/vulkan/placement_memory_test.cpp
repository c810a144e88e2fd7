// What a placement on a Vulkan device needs is known before any of it is asked for, is what a session then takes, and is refused with the
// figures where the driver's budget is less.
#include "support/placement_memory.hpp"
#include "support/run_model.hpp"
#include "vulkan/device_rig.hpp"
#include "vulkan/fault_layer.hpp"

extern "C" {
#include "runtime/host.h"
}

namespace vulkan_test
{
namespace
{

constexpr uint64_t kMiB = 1 << 20;
using Names = std::vector<std::string>;

class VulkanPlacementMemory : public testing::Test
{
  protected:
    void SetUp() override
    {
        layer.hooks.selftest = TN_VK_SELFTEST_NEVER;
        layer.fill_budget = [this](VkPhysicalDeviceMemoryBudgetPropertiesEXT *budget) {
            for (uint32_t i = 0; i < VK_MAX_MEMORY_HEAPS; i++) {
                budget->heapBudget[i] = i == 0 ? budget_bytes : 0;
                budget->heapUsage[i] = 3 * kMiB;
            }
        };
        ASSERT_EQ(tn_model_open(tn_test::default_model().c_str(), nullptr, &model), TN_OK) << last_error();
        ASSERT_EQ(tn_host_open(nullptr, &host), TN_OK) << last_error();
        tn_host_hook_vulkan(host, &layer.hooks);
    }
    void TearDown() override
    {
        tn_placement_destroy(placement);
        tn_host_close(host);
        tn_model_close(model);
        EXPECT_EQ(layer.alive(), Names());
    }
    void place(const char *devices, int n_gpu_layers = -1)
    {
        tn_placement_destroy(placement);
        tn_placement_params params = TN_PLACEMENT_PARAMS_INIT;
        params.devices = devices;
        params.has_n_gpu_layers = n_gpu_layers >= 0;
        params.n_gpu_layers = n_gpu_layers;
        ASSERT_EQ(tn_placement_create(model, host, &params, &placement), TN_OK) << last_error();
    }
    uint64_t budget_bytes = 1 << 30;
    FaultLayer layer;
    tn_host *host = nullptr;
    tn_model *model = nullptr;
    tn_placement *placement = nullptr;
};

TEST_F(VulkanPlacementMemory, IsWhatASessionTakes)
{
    tn_session_params usual = TN_SESSION_PARAMS_INIT, many = usual, one = usual;
    many.n_ctx = 300, many.n_seqs_max = 5, many.n_logits_max = 7, many.n_ubatch = 70;
    one.n_ctx = 64, one.n_ubatch = 1;
    for (const tn_session_params &params : {usual, many, one}) {
        place("vulkan0");
        EXPECT_EQ(tn_test::expect_what_a_session_takes(model, host, placement, params, 0), Names({"vulkan0"}));
        place("vulkan0", 3);
        EXPECT_EQ(tn_test::expect_what_a_session_takes(model, host, placement, params, 0), Names({"cpu0", "vulkan0"}));
    }
}

// Steps that are made smaller, since the device does not take larger ones, need less.
TEST_F(VulkanPlacementMemory, IsThatOfTheStepsThatTheDeviceTakes)
{
    place("vulkan0");
    const uint64_t whole = tn_test::sum_of(tn_test::memory_of(placement, TN_SESSION_PARAMS_INIT).devices).scratch_bytes;
    tn_host_close(host);
    host = nullptr;
    layer.hooks.range_bytes_max = 2 * kMiB;
    tn_placement_destroy(placement);
    placement = nullptr;
    ASSERT_EQ(tn_host_open(nullptr, &host), TN_OK) << last_error();
    tn_host_hook_vulkan(host, &layer.hooks);
    place("vulkan0");
    const tn_session_params params = TN_SESSION_PARAMS_INIT;
    EXPECT_EQ(tn_test::expect_what_a_session_takes(model, host, placement, params, 0), Names({"vulkan0"}));
    EXPECT_LT(tn_test::sum_of(tn_test::memory_of(placement, params).devices).scratch_bytes, whole);
}

TEST_F(VulkanPlacementMemory, WhatDoesNotFitIntoTheBudgetIsRefusedBeforeAnythingIsTaken)
{
    place("vulkan0");
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    params.placement = placement;
    const tn_test::told_memory told = tn_test::memory_of(placement, params);
    ASSERT_EQ(told.status, TN_OK) << last_error();
    EXPECT_EQ(told.devices.at(0).device_free_bytes, budget_bytes - 3 * kMiB);
    const Names alive = layer.alive();
    budget_bytes = told.devices[0].needed_bytes + 2 * kMiB;
    tn_session *session = nullptr;
    EXPECT_EQ(tn_session_create(model, host, &params, &session), TN_OUT_OF_MEMORY);
    EXPECT_EQ(last_error().find("OUT_OF_MEMORY vulkan0: "), 0u) << last_error();
    EXPECT_STREQ(tn_error_last()->device, "vulkan0");
    EXPECT_EQ(layer.alive(), alive);
    budget_bytes = told.devices[0].needed_bytes + 3 * kMiB;
    EXPECT_EQ(tn_session_create(model, host, &params, &session), TN_OK) << last_error();
    tn_session_destroy(session);
}

} // namespace
} // namespace vulkan_test
