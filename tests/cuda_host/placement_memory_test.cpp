// What a placement on CUDA devices needs is known before any of it is asked for, is what a session then takes, and is refused with the
// figures where the device has less.
#include "cuda_host/device_rig.hpp"
#include "support/placement_memory.hpp"

#include <cstdlib>

extern "C" {
#include "cuda/kernels/kernel_params.h"
#include "runtime/host.h"
}

namespace cuda_test
{
namespace
{

constexpr uint64_t kMiB = 1 << 20;
using Names = std::vector<std::string>;

class CudaPlacementMemory : public DriverTest
{
  protected:
    void SetUp() override
    {
        setenv("TN_VULKAN", "off", 1); // whose devices would be listed too
        cuda_driver::options().n_devices = 2;
        placed.open();
        tn_host_hook_cuda(placed.host, &stand_in.hooks);
    }
    void TearDown() override
    {
        placed.close();
        unsetenv("TN_VULKAN");
    }
    Host stand_in;
    tn_test::Placed placed;
};

TEST_F(CudaPlacementMemory, IsWhatASessionTakes)
{
    for (const tn_session_params &params : tn_test::sessions_of_all_sizes()) {
        placed.place("cuda:host");
        EXPECT_EQ(placed.expect(params, TN_CUDA_RANK_MAX), Names({"cuda:host"}));
        placed.place("cuda:host", 3); // the head is the CPU's
        EXPECT_EQ(placed.expect(params), Names({"cpu0", "cuda:host"}));
        placed.place("cuda:host,cpu0,cuda:host1");
        EXPECT_EQ(placed.expect(params, TN_CUDA_RANK_MAX), Names({"cpu0", "cuda:host", "cuda:host1"}));
    }
}

TEST_F(CudaPlacementMemory, IsAskedForWithoutTakingAny)
{
    placed.place("cuda:host");
    (void)placed.memory(); // opens the device
    const size_t used = cuda_driver::used_bytes();
    cuda_driver::forget_calls();
    const tn_test::told_memory told = placed.memory();
    ASSERT_EQ(told.status, TN_OK) << last_error();
    EXPECT_EQ(cuda_driver::calls()["cuMemAlloc"] + cuda_driver::calls()["cuMemHostAlloc"], 0u);
    EXPECT_EQ(cuda_driver::used_bytes(), used);
    EXPECT_EQ(told.devices.at(0).device_total_bytes, cuda_driver::options().memory_bytes);
    EXPECT_EQ(told.devices[0].device_free_bytes, cuda_driver::options().memory_bytes - used);
}

TEST_F(CudaPlacementMemory, WhatDoesNotFitIsRefusedBeforeAnythingIsTaken)
{
    placed.place("cuda:host,cuda:host1");
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    params.no_recovery = true; // the device that is meant, and no other
    params.placement = placed.placement;
    const tn_test::told_memory told = placed.memory(params);
    ASSERT_EQ(told.devices.size(), 2u);
    const uint64_t needed = std::max(told.devices[0].needed_bytes, told.devices[1].needed_bytes);
    const uint64_t used = told.devices[0].device_total_bytes - told.devices[0].device_free_bytes;
    tn_session *session = nullptr;
    cuda_driver::options().memory_bytes = used + needed - kMiB;
    cuda_driver::forget_calls();
    EXPECT_EQ(tn_session_create(placed.model, placed.host, &params, &session), TN_OUT_OF_MEMORY);
    EXPECT_EQ(cuda_driver::calls()["cuMemAlloc"], 0u);
    const std::string which = told.devices[told.devices[0].needed_bytes > needed - kMiB ? 0 : 1].device;
    EXPECT_EQ(last_error().find("OUT_OF_MEMORY " + which + ": "), 0u) << last_error();
    EXPECT_NE(last_error().find("MiB of memory are needed (weights "), std::string::npos) << last_error();
    EXPECT_EQ(tn_error_last()->device, which);
    cuda_driver::options().memory_bytes = used + needed + 16 * kMiB; // other allocations are rounded up
    EXPECT_EQ(tn_session_create(placed.model, placed.host, &params, &session), TN_OK) << last_error();
    tn_session_destroy(session);
}

TEST_F(CudaPlacementMemory, ADriverThatCannotSayEndsItWithItsReason)
{
    placed.place("cuda:host");
    (void)placed.memory();
    cuda_driver::fail("cuMemGetInfo", 1, CUDA_ERROR_UNKNOWN);
    EXPECT_EQ(placed.memory().status, TN_INTERNAL);
    EXPECT_STREQ(tn_error_last()->device, "cuda:host");
}

} // namespace
} // namespace cuda_test
