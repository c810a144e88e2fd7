// What a placement on CUDA devices needs is known before any of it is asked for, is what a session then takes, and is refused with the
// figures where the device has less.
#include "cuda_host/device_rig.hpp"
#include "support/placement_memory.hpp"
#include "support/run_model.hpp"

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
        ASSERT_EQ(tn_model_open(tn_test::default_model().c_str(), nullptr, &model), TN_OK) << last_error();
        ASSERT_EQ(tn_host_open(nullptr, &host), TN_OK) << last_error();
        tn_host_hook_cuda(host, &stand_in.hooks);
    }
    void TearDown() override
    {
        tn_placement_destroy(placement);
        tn_host_close(host);
        tn_model_close(model);
        unsetenv("TN_VULKAN");
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
    Host stand_in;
    tn_host *host = nullptr;
    tn_model *model = nullptr;
    tn_placement *placement = nullptr;
};

TEST_F(CudaPlacementMemory, IsWhatASessionTakes)
{
    tn_session_params usual = TN_SESSION_PARAMS_INIT, many = usual, one = usual;
    many.n_ctx = 300, many.n_seqs_max = 5, many.n_logits_max = 7, many.n_ubatch = 70;
    one.n_ctx = 64, one.n_ubatch = 1;
    for (const tn_session_params &params : {usual, many, one}) {
        place("cuda:host");
        EXPECT_EQ(tn_test::expect_what_a_session_takes(model, host, placement, params, TN_CUDA_RANK_MAX), Names({"cuda:host"}));
        place("cuda:host", 3); // the head is the CPU's
        EXPECT_EQ(tn_test::expect_what_a_session_takes(model, host, placement, params, 0), Names({"cpu0", "cuda:host"}));
        place("cuda:host,cpu0,cuda:host1");
        EXPECT_EQ(tn_test::expect_what_a_session_takes(model, host, placement, params, TN_CUDA_RANK_MAX),
                  Names({"cpu0", "cuda:host", "cuda:host1"}));
    }
}

TEST_F(CudaPlacementMemory, IsAskedForWithoutTakingAny)
{
    place("cuda:host");
    (void)tn_test::memory_of(placement, TN_SESSION_PARAMS_INIT); // opens the device
    const size_t used = cuda_driver::used_bytes();
    cuda_driver::forget_calls();
    const tn_test::told_memory told = tn_test::memory_of(placement, TN_SESSION_PARAMS_INIT);
    ASSERT_EQ(told.status, TN_OK) << last_error();
    EXPECT_EQ(cuda_driver::calls()["cuMemAlloc"] + cuda_driver::calls()["cuMemHostAlloc"], 0u);
    EXPECT_EQ(cuda_driver::used_bytes(), used);
    EXPECT_EQ(told.devices.at(0).device_total_bytes, cuda_driver::options().memory_bytes);
    EXPECT_EQ(told.devices[0].device_free_bytes, cuda_driver::options().memory_bytes - used);
}

TEST_F(CudaPlacementMemory, WhatDoesNotFitIsRefusedBeforeAnythingIsTaken)
{
    place("cuda:host,cuda:host1");
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    params.placement = placement;
    const tn_test::told_memory told = tn_test::memory_of(placement, params);
    ASSERT_EQ(told.devices.size(), 2u);
    const uint64_t needed = std::max(told.devices[0].needed_bytes, told.devices[1].needed_bytes);
    const uint64_t used = told.devices[0].device_total_bytes - told.devices[0].device_free_bytes;
    tn_session *session = nullptr;
    cuda_driver::options().memory_bytes = used + needed - kMiB;
    cuda_driver::forget_calls();
    EXPECT_EQ(tn_session_create(model, host, &params, &session), TN_OUT_OF_MEMORY);
    EXPECT_EQ(cuda_driver::calls()["cuMemAlloc"], 0u);
    const std::string which = told.devices[told.devices[0].needed_bytes > needed - kMiB ? 0 : 1].device;
    EXPECT_EQ(last_error().find("OUT_OF_MEMORY " + which + ": "), 0u) << last_error();
    EXPECT_NE(last_error().find("MiB of memory are needed (weights "), std::string::npos) << last_error();
    EXPECT_EQ(tn_error_last()->device, which);
    cuda_driver::options().memory_bytes = used + needed + 16 * kMiB; // other allocations are rounded up
    EXPECT_EQ(tn_session_create(model, host, &params, &session), TN_OK) << last_error();
    tn_session_destroy(session);
}

TEST_F(CudaPlacementMemory, ADriverThatCannotSayEndsItWithItsReason)
{
    place("cuda:host");
    (void)tn_test::memory_of(placement, TN_SESSION_PARAMS_INIT);
    cuda_driver::fail("cuMemGetInfo", 1, CUDA_ERROR_UNKNOWN);
    EXPECT_EQ(tn_test::memory_of(placement, TN_SESSION_PARAMS_INIT).status, TN_INTERNAL);
    EXPECT_STREQ(tn_error_last()->device, "cuda:host");
}

} // namespace
} // namespace cuda_test
