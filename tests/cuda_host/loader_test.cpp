// Finding the driver: what is absent and why, what a host keeps of it.
#include "cuda_host/device_rig.hpp"
#include "cuda_host/needed_driver.hpp"

namespace cuda_test
{
namespace
{

uint32_t count(const Host &host)
{
    uint32_t n = 99;
    EXPECT_EQ(tn_cuda_device_count(&host.host, &n), TN_OK) << last_error();
    return n;
}

CUresult no_functions(const char *, void **out_function, int, uint64_t, int *)
{
    *out_function = nullptr;
    return CUDA_ERROR_NOT_FOUND;
}

struct Absence {
    const char *name;
    std::string reason;
    void (*arrange)(Host *host);
};
void PrintTo(const Absence &absence, std::ostream *os) { *os << absence.name; }

class Absent : public DriverTest, public testing::WithParamInterface<Absence>
{
};

TEST_P(Absent, IsNoFailureAndHasAReason)
{
    Host host;
    GetParam().arrange(&host);
    EXPECT_EQ(count(host), 0u);
    const std::string reason = GetParam().reason;
    EXPECT_EQ(host.keep.absent, reason);
    tn_device_desc desc;
    tn_device *device = nullptr;
    EXPECT_EQ(tn_cuda_device_describe(&host.host, 0, &desc), TN_UNAVAILABLE);
    EXPECT_EQ(tn_cuda_device_open(&host.host, 0, &device), TN_UNAVAILABLE);
    EXPECT_EQ(last_error(), "UNAVAILABLE CUDA is not available: " + reason);
    EXPECT_EQ(device, nullptr);
}

// The library itself, not what the hooks have for it.
void use_library(Host *host, const char *path)
{
    host->hooks.get_proc = nullptr;
    host->host.cuda_library = path;
}

INSTANTIATE_TEST_SUITE_P(
    Reasons, Absent,
    testing::Values(Absence{"Library", "NVIDIA's driver is not installed (there is no libcuda.so.1)",
                            [](Host *host) {
                                use_library(host, nullptr);
                                host->hooks.no_library = true;
                            }},
                    Absence{
                        "NamedLibrary",
                        "NVIDIA's driver cannot be loaded: /nowhere/libcuda.so: cannot open shared object file: No such file or directory",
                        [](Host *host) { use_library(host, "/nowhere/libcuda.so"); }},
                    Absence{"LibraryOfOthers", "libm.so.6 is no driver of NVIDIA's: it has no cuGetProcAddress_v2",
                            [](Host *host) { use_library(host, "libm.so.6"); }},
                    Absence{"OldLibrary", "the driver is for CUDA 11.4, and " + needed_driver() + " is needed: update it",
                            [](Host *host) { use_library(host, TN_OLD_DRIVER); }},
                    Absence{"Version", "the driver is for CUDA 11.8, and 12.3 is needed: update it",
                            [](Host *) { cuda_driver::options().version = 11080; }},
                    Absence{"Function", "the driver for CUDA 13.0 has no cuGraphLaunch: reinstall it",
                            [](Host *) { cuda_driver::options().missing = {"cuGraphLaunch"}; }},
                    Absence{"AnyFunction", "the driver does not tell its version (500): reinstall it",
                            [](Host *host) { host->hooks.get_proc = no_functions; }},
                    Absence{"Device", "the driver found no GPU of NVIDIA's", [](Host *) { cuda_driver::options().n_devices = 0; }},
                    Absence{"DeviceInTheCount", "the driver found no GPU of NVIDIA's",
                            [](Host *host) {
                                host->hooks.wrap = [](void *, tn_cuda_api *cu) {
                                    cu->cuDeviceGetCount = [](int *n) -> CUresult { return *n = 0; };
                                };
                            }},
                    Absence{"Module", "the driver's library and the kernel's module are of different versions: restart the machine",
                            [](Host *) { cuda_driver::options().init_result = CUDA_ERROR_SYSTEM_DRIVER_MISMATCH; }},
                    Absence{"Stub", "the library is the CUDA toolkit's stub, which is no driver: take its folder out of LD_LIBRARY_PATH",
                            [](Host *) { cuda_driver::options().init_result = CUDA_ERROR_STUB_LIBRARY; }},
                    Absence{"Start", "the driver could not be started: CUDA_ERROR_SYSTEM_NOT_READY (802)",
                            [](Host *) { cuda_driver::options().init_result = CUDA_ERROR_SYSTEM_NOT_READY; }},
                    Absence{"UnknownStart", "the driver could not be started: an unknown CUresult (12345)",
                            [](Host *) { cuda_driver::options().init_result = 12345; }},
                    Absence{"List", "devices could not be counted: CUDA_ERROR_OUT_OF_MEMORY (2)",
                            [](Host *) { cuda_driver::fail("cuDeviceGetCount", 1, CUDA_ERROR_OUT_OF_MEMORY); }},
                    Absence{"Wish", "switched off", [](Host *host) { host->host.cuda_off = true; }}),
    [](const testing::TestParamInfo<Absence> &absence) { return absence.param.name; });

class Loader : public DriverTest
{
};

TEST_F(Loader, SwitchedOffTouchesNoDriver)
{
    Host host;
    host.host.cuda_off = true;
    EXPECT_EQ(count(host), 0u);
    EXPECT_TRUE(cuda_driver::calls().empty());
}

TEST_F(Loader, ADriverIsStartedOnceForAHostThatKeepsIt)
{
    {
        Host host;
        EXPECT_EQ(count(host), 1u);
        EXPECT_STREQ(host.keep.absent, "");
        const OpenDevice a(host), b(host);
        EXPECT_EQ(count(host), 1u);
        EXPECT_EQ(cuda_driver::calls()["cuInit"], 1u);
        EXPECT_EQ(a.cuda()->driver, b.cuda()->driver);
    }
    const Host host(false);
    EXPECT_EQ(count(host), 1u);
    EXPECT_EQ(count(host), 1u);
    EXPECT_EQ(cuda_driver::calls()["cuInit"], 3u);
}

TEST_F(Loader, KernelsNeedADriverAsNewAsTheirCompiler)
{
    if (tn_cuda_images_built.version < 13000) GTEST_SKIP() << "this build has no kernels of a CUDA 13 compiler";
    cuda_driver::options().version = 12090;
    Host host;
    host.hooks.is_stand_in = false;
    EXPECT_EQ(count(host), 0u);
    EXPECT_STREQ(host.keep.absent, "the driver is for CUDA 12.9, and 13.0 is needed: update it");
}

TEST_F(Loader, EveryFunctionOfTheListIsAskedForAndAnyMayBeMissing)
{
    const char *const names[] = {
#define TN_CUDA_SYM(name, version, ...) #name,
#include "cuda/cuda_syms.inc"
#undef TN_CUDA_SYM
    };
    for (const char *name : names) {
        cuda_driver::options().missing = {name};
        Host host;
        EXPECT_EQ(count(host), 0u) << name;
        const bool is_version = std::string(name) == "cuDriverGetVersion";
        EXPECT_EQ(host.keep.absent, is_version ? "the driver does not tell its version (500): reinstall it"
                                               : "the driver for CUDA 13.0 has no " + std::string(name) + ": reinstall it");
    }
}

TEST_F(Loader, ALibraryThatStandsForTheDriverSaysSo)
{
    Host host;
    use_library(&host, TN_STAND_IN);
    EXPECT_EQ(count(host), 1u) << host.keep.absent;
    const OpenDevice device(host);
    EXPECT_TRUE(device.cuda()->driver->is_stand_in);
    EXPECT_STREQ(device.cuda()->name, "cuda:host");
    EXPECT_TRUE(cuda_driver::calls().empty()); // it is another one than this program's
}

} // namespace
} // namespace cuda_test
