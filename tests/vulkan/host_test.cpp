// Hosts load the driver when somebody asks for a device that is no CPU, once, and say why there are none.
#include "support/placed_on.hpp"
#include "support/run_model.hpp"
#include "vulkan/device_rig.hpp"
#include "vulkan/fault_layer.hpp"

#include <set>

extern "C" {
#include "runtime/host.h"
#include "ternion/placement.h"
}

namespace vulkan_test
{
namespace
{

class LazyHost : public testing::Test
{
  protected:
    void SetUp() override
    {
        ASSERT_EQ(tn_model_open(tn_test::default_model().c_str(), nullptr, &model), TN_OK) << last_error();
        open();
    }
    void TearDown() override
    {
        tn_host_close(host);
        tn_model_close(model);
        EXPECT_EQ(layer.alive(), std::vector<std::string>());
    }
    void open()
    {
        tn_host_close(host);
        ASSERT_EQ(tn_host_open(nullptr, &host), TN_OK) << last_error();
        tn_host_hook_vulkan(host, &layer.hooks);
    }
    auto place(const char *devices) { return tn_test::placed_on(model, host, devices); }
    uint32_t n_instances() const
    {
        const auto found = layer.calls().find("vkCreateInstance");
        return found == layer.calls().end() ? 0 : found->second;
    }
    FaultLayer layer;
    tn_host *host = nullptr;
    tn_model *model = nullptr;
};

// Who is told, and whether it goes on.
struct Listener {
    std::set<std::string> stages;
    bool goes_on = true;
};

TEST_F(LazyHost, TellsItsOwnProgressOfASelfTestThatNoSessionWaitsFor)
{
    Listener listener;
    tn_host_params params = TN_HOST_PARAMS_INIT;
    params.progress = {[](void *user, const char *stage, uint64_t, uint64_t) {
                           Listener *to = static_cast<Listener *>(user);
                           to->stages.insert(stage);
                           return to->goes_on;
                       },
                       &listener};
    layer.hooks.selftest = TN_VK_SELFTEST_ALWAYS;
    layer.hooks.compiles_early = true;
    tn_host_close(host);
    ASSERT_EQ(tn_host_open(&params, &host), TN_OK) << last_error();
    tn_host_hook_vulkan(host, &layer.hooks);
    const auto no_line = [](void *, const char *, bool) {};
    uint32_t index;
    ASSERT_EQ(tn_host_find_device(host, "vulkan0", &index), TN_OK) << last_error();
    EXPECT_EQ(listener.stages, std::set<std::string>());

    listener.goes_on = false;
    EXPECT_EQ(tn_host_device_kernels(host, index, no_line, nullptr), TN_CANCELLED) << last_error();
    EXPECT_EQ(listener.stages, std::set<std::string>{"testing kernels"});
    listener.goes_on = true;
    EXPECT_EQ(tn_host_device_kernels(host, index, no_line, nullptr), TN_OK) << last_error();
    EXPECT_EQ(listener.stages, std::set<std::string>{"testing kernels"});
    listener = {};
    EXPECT_EQ(tn_host_device_kernels(host, index, no_line, nullptr), TN_OK) << last_error();
    EXPECT_EQ(listener.stages, std::set<std::string>()) << "it is open";
}

TEST_F(LazyHost, LoadsNoDriverForTheCpu)
{
    tn_device_info info;
    EXPECT_EQ(place(nullptr), std::make_pair(TN_OK, std::string("cpu0")));
    EXPECT_EQ(place("cpu0"), std::make_pair(TN_OK, std::string("cpu0")));
    EXPECT_EQ(tn_host_device_info(host, 0, &info), TN_OK);
    const uint32_t n_listed = tn_host_devices_listed(host);
    tn_session *session = nullptr;
    EXPECT_EQ(tn_session_create(model, host, nullptr, &session), TN_OK) << last_error();
    tn_session_destroy(session);
    EXPECT_EQ(n_instances(), 0u);
    EXPECT_EQ(n_listed, tn_host_devices_listed(host));
}

TEST_F(LazyHost, LoadsItOnceForAllThatAsk)
{
    tn_device_info cpu, info;
    ASSERT_EQ(tn_host_device_info(host, 0, &cpu), TN_OK);
    uint32_t n_descs;
    const char *name = tn_host_descs(host, &n_descs)[0].name;
    EXPECT_EQ(place("vulkan0"), std::make_pair(TN_OK, std::string("vulkan0")));
    EXPECT_EQ(n_instances(), 1u);
    EXPECT_STREQ(name, "cpu0") << "what was lent stays";
    const uint32_t n = tn_host_device_count(host);
    EXPECT_GT(n, n_descs);
    EXPECT_EQ(tn_host_devices_listed(host), n);
    ASSERT_EQ(tn_host_device_info(host, n_descs, &info), TN_OK);
    EXPECT_STREQ(info.name, "vulkan0");
    EXPECT_STREQ(info.backend, "vulkan");
    EXPECT_EQ(tn_host_device_info(host, n, &info), TN_INVALID_ARGUMENT);
    tn_device *device;
    EXPECT_EQ(tn_host_device(host, n_descs, nullptr, &device), TN_OK);
    EXPECT_EQ(n_instances(), 1u);
}

TEST_F(LazyHost, ListsByIndexWithoutCounting)
{
    tn_device_info info;
    const uint32_t n_cpus = tn_host_devices_listed(host);
    ASSERT_EQ(tn_host_device_info(host, n_cpus, &info), TN_OK) << last_error();
    EXPECT_STREQ(info.name, "vulkan0");
}

TEST_F(LazyHost, NeverChoosesAnEmulatedOrUselessDeviceByItself)
{
    tn_host_device_count(host);
    EXPECT_EQ(place(nullptr).second, "cpu0");
    open();
    layer.change_properties = [](VkPhysicalDeviceProperties *p) { p->limits.maxComputeSharedMemorySize = 100; };
    EXPECT_EQ(place("vulkan0").first, TN_UNAVAILABLE);
    EXPECT_NE(last_error().find("cannot be used: its workgroups have 100 bytes of shared memory, 16384 are needed"), std::string::npos)
        << last_error();
}

TEST_F(LazyHost, SaysWhyThereAreNone)
{
    layer.hooks.no_loader = true;
    EXPECT_EQ(place("vulkan0").first, TN_NOT_FOUND);
    EXPECT_EQ(last_error(),
              "NOT_FOUND there is no device vulkan0; devices here: cpu0; vulkan is not available: the loader (libvulkan.so.1) is "
              "not installed");
    bool found = false;
    for (uint32_t b = 0; b < tn_host_backend_count(host); b++) {
        tn_backend_info info;
        ASSERT_EQ(tn_host_backend_info(host, b, &info), TN_OK);
        EXPECT_TRUE(std::string(info.name) != "cpu" || std::string(info.absent).empty());
        if (std::string(info.name) != "vulkan") continue;
        found = true;
        EXPECT_EQ(info.n_devices, 0u);
        EXPECT_STREQ(info.absent, "the loader (libvulkan.so.1) is not installed");
    }
    EXPECT_TRUE(found);
    tn_backend_info info;
    EXPECT_EQ(tn_host_backend_info(host, tn_host_backend_count(host), &info), TN_INVALID_ARGUMENT);
}

TEST_F(LazyHost, LeavesOutWhatItCannotList)
{
    layer.fail("vkEnumerateDeviceExtensionProperties", 1, VK_ERROR_OUT_OF_HOST_MEMORY);
    EXPECT_EQ(place("vulkan0").first, TN_OUT_OF_MEMORY) << last_error();
    EXPECT_EQ(place("vulkan0").first, TN_OK) << "the next time";
    EXPECT_EQ(n_instances(), 1u);
}

TEST(Switch, OfTheEnvironmentHidesAllDevices)
{
    tn_host *host = nullptr;
    setenv("TN_VULKAN", "off", 1);
    ASSERT_EQ(tn_host_open(nullptr, &host), TN_OK);
    EXPECT_EQ(tn_host_device_count(host), 1u);
    tn_host_close(host);
    setenv("TN_VULKAN", "of", 1);
    EXPECT_EQ(tn_host_open(nullptr, &host), TN_INVALID_ARGUMENT);
    EXPECT_EQ(last_error(), "INVALID_ARGUMENT environment TN_VULKAN is 'of': give on or off");
    unsetenv("TN_VULKAN");
}

} // namespace
} // namespace vulkan_test
