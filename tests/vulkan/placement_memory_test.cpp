// What a placement on a Vulkan device needs is known before any of it is asked for, is what a session then takes, and is refused with the
// figures where the driver's budget is less.
#include "support/placement_memory.hpp"
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
        placed.open();
        tn_host_hook_vulkan(placed.host, &layer.hooks);
    }
    void TearDown() override
    {
        placed.close();
        EXPECT_EQ(layer.alive(), Names());
    }
    uint64_t budget_bytes = 1 << 30;
    FaultLayer layer;
    tn_test::Placed placed;
};

TEST_F(VulkanPlacementMemory, IsWhatASessionTakes)
{
    for (const tn_session_params &params : tn_test::sessions_of_all_sizes()) {
        placed.place("vulkan0");
        EXPECT_EQ(placed.expect(params), Names({"vulkan0"}));
        placed.place("vulkan0", 3);
        EXPECT_EQ(placed.expect(params), Names({"cpu0", "vulkan0"}));
    }
}

// Steps that are made smaller, since the device does not take larger ones, need less.
TEST_F(VulkanPlacementMemory, IsThatOfTheStepsThatTheDeviceTakes)
{
    placed.place("vulkan0");
    const uint64_t whole = tn_test::sum_of(placed.memory().devices).scratch_bytes;
    layer.hooks.range_bytes_max = 2 * kMiB;
    placed.open();
    tn_host_hook_vulkan(placed.host, &layer.hooks);
    placed.place("vulkan0");
    EXPECT_EQ(placed.expect(TN_SESSION_PARAMS_INIT), Names({"vulkan0"}));
    EXPECT_LT(tn_test::sum_of(placed.memory().devices).scratch_bytes, whole);
}

TEST_F(VulkanPlacementMemory, WhatDoesNotFitIntoTheBudgetIsRefusedBeforeAnythingIsTaken)
{
    placed.place("vulkan0");
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    params.no_recovery = true; // the device that is meant, and no other
    params.placement = placed.placement;
    const tn_test::told_memory told = placed.memory(params);
    ASSERT_EQ(told.status, TN_OK) << last_error();
    EXPECT_EQ(told.devices.at(0).device_free_bytes, budget_bytes - 3 * kMiB);
    const Names alive = layer.alive();
    budget_bytes = told.devices[0].needed_bytes + 2 * kMiB;
    tn_session *session = nullptr;
    EXPECT_EQ(tn_session_create(placed.model, placed.host, &params, &session), TN_OUT_OF_MEMORY);
    EXPECT_EQ(last_error().find("OUT_OF_MEMORY vulkan0: "), 0u) << last_error();
    EXPECT_STREQ(tn_error_last()->device, "vulkan0");
    EXPECT_EQ(layer.alive(), alive);
    budget_bytes = told.devices[0].needed_bytes + 3 * kMiB;
    EXPECT_EQ(tn_session_create(placed.model, placed.host, &params, &session), TN_OK) << last_error();
    tn_session_destroy(session);
}

} // namespace
} // namespace vulkan_test
