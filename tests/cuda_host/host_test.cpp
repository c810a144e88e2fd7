// Hosts load NVIDIA's driver when somebody asks for a device that is no CPU, once, and say why there are none.
#include "cuda_host/device_rig.hpp"
#include "support/placed_on.hpp"
#include "support/run_model.hpp"

#include <cstdlib>

extern "C" {
#include "runtime/host.h"
#include "ternion/placement.h"
}

namespace cuda_test
{
namespace
{

class LazyHost : public DriverTest
{
  protected:
    void SetUp() override
    {
        setenv("TN_VULKAN", "off", 1); // whose devices would be listed too
        ASSERT_EQ(tn_model_open(tn_test::default_model().c_str(), nullptr, &model), TN_OK) << last_error();
        open();
    }
    void TearDown() override
    {
        tn_host_close(host);
        tn_model_close(model);
        unsetenv("TN_VULKAN");
    }
    void open()
    {
        tn_host_close(host);
        ASSERT_EQ(tn_host_open(nullptr, &host), TN_OK) << last_error();
        tn_host_hook_cuda(host, &stand_in.hooks);
    }
    auto place(const char *devices) { return tn_test::placed_on(model, host, devices); }
    Host stand_in;
    tn_host *host = nullptr;
    tn_model *model = nullptr;
};

TEST_F(LazyHost, LoadsNoDriverForTheCpu)
{
    EXPECT_EQ(place(nullptr), std::make_pair(TN_OK, std::string("cpu0")));
    EXPECT_EQ(place("cpu0"), std::make_pair(TN_OK, std::string("cpu0")));
    tn_session *session = nullptr;
    EXPECT_EQ(tn_session_create(model, host, nullptr, &session), TN_OK) << last_error();
    tn_session_destroy(session);
    EXPECT_EQ(cuda_driver::calls()["cuInit"], 0u);
}

TEST_F(LazyHost, LoadsItOnceForAllThatAsk)
{
    EXPECT_EQ(place("cuda:host"), std::make_pair(TN_OK, std::string("cuda:host")));
    EXPECT_EQ(place("pci:0000:a0:00.0"), std::make_pair(TN_OK, std::string("cuda:host")));
    EXPECT_EQ(place("emulated gpu"), std::make_pair(TN_OK, std::string("cuda:host")));
    tn_device_info info;
    const uint32_t n_cpus = 1;
    ASSERT_EQ(tn_host_device_info(host, n_cpus, &info), TN_OK);
    EXPECT_STREQ(info.name, "cuda:host");
    EXPECT_STREQ(info.backend, "cuda");
    EXPECT_STREQ(info.kernels, "sm_90");
    EXPECT_EQ(tn_host_device_kernels(
                  host, n_cpus, [](void *, const char *, bool) {}, nullptr),
              TN_OK)
        << last_error(); // which opens it
    EXPECT_EQ(cuda_driver::calls()["cuInit"], 1u);
}

TEST_F(LazyHost, NeverChoosesAStandInOrAUselessDeviceByItself)
{
    tn_host_device_count(host);
    EXPECT_EQ(place(nullptr).second, "cpu0");
    cuda_driver::options().capability = 70;
    open();
    EXPECT_EQ(place("cuda:host").first, TN_UNAVAILABLE);
    EXPECT_NE(last_error().find("cannot be used: its compute capability is 7.0, and 7.5 is needed"), std::string::npos) << last_error();
}

TEST_F(LazyHost, SaysWhyThereAreNone)
{
    cuda_driver::options().n_devices = 0;
    EXPECT_EQ(place("cuda0").first, TN_NOT_FOUND);
    EXPECT_EQ(last_error(),
              "NOT_FOUND there is no device cuda0; devices here: cpu0; cuda is not available: the driver found no GPU of NVIDIA's");
    EXPECT_EQ(place("gpu").first, TN_NOT_FOUND); // which may be of any backend
    EXPECT_NE(last_error().find("; cuda is not available: the driver found no GPU of NVIDIA's"), std::string::npos) << last_error();
    EXPECT_EQ(last_error().find("; vulkan is not available: switched off") != std::string::npos, tn_host_backend_count(host) == 3);
    for (uint32_t b = 0; b < tn_host_backend_count(host); b++) {
        tn_backend_info info;
        ASSERT_EQ(tn_host_backend_info(host, b, &info), TN_OK);
        if (std::string(info.name) != "cuda") continue;
        EXPECT_EQ(b, 1u); // behind the CPU, before Vulkan
        EXPECT_EQ(info.n_devices, 0u);
        EXPECT_STREQ(info.absent, "the driver found no GPU of NVIDIA's");
        return;
    }
    FAIL() << "there is no such backend";
}

TEST_F(LazyHost, LeavesOutWhatItCannotList)
{
    cuda_driver::fail("cuDeviceGetName", 1, CUDA_ERROR_OUT_OF_MEMORY);
    EXPECT_EQ(place("cuda:host").first, TN_OUT_OF_MEMORY);
    EXPECT_EQ(place("cuda:host").first, TN_OK) << "the next time";
}

TEST(Switch, OfTheEnvironmentHidesAllDevices)
{
    tn_host *host = nullptr;
    tn_backend_info info;
    setenv("TN_VULKAN", "off", 1);
    setenv("TN_CUDA", "off", 1);
    setenv("TN_CUDA_LIBRARY", TN_STAND_IN, 1);
    ASSERT_EQ(tn_host_open(nullptr, &host), TN_OK);
    EXPECT_EQ(tn_host_device_count(host), 1u);
    ASSERT_EQ(tn_host_backend_info(host, 1, &info), TN_OK);
    EXPECT_STREQ(info.absent, "switched off");
    tn_host_close(host);
    setenv("TN_CUDA", "on", 1);
    ASSERT_EQ(tn_host_open(nullptr, &host), TN_OK);
    EXPECT_EQ(tn_host_device_count(host), 2u);
    tn_host_close(host);
    setenv("TN_CUDA", "of", 1);
    EXPECT_EQ(tn_host_open(nullptr, &host), TN_INVALID_ARGUMENT);
    EXPECT_EQ(last_error(), "INVALID_ARGUMENT environment TN_CUDA is 'of': give on or off");
    for (const char *name : {"TN_VULKAN", "TN_CUDA", "TN_CUDA_LIBRARY"}) unsetenv(name);
}

} // namespace
} // namespace cuda_test
