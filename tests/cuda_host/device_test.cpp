// Describing and opening devices: what is told of them, what cannot be used, what is taken of what there is; measuring.
#include "cuda_host/device_rig.hpp"

#include <cmath>
#include <map>
#include <thread>

extern "C" {
#include "cuda/cuda_image.h"
}

namespace cuda_test
{
namespace
{

class Device : public DriverTest
{
  protected:
    static tn_device_desc describe(const Host &host, uint32_t index = 0)
    {
        tn_device_desc desc;
        EXPECT_EQ(tn_cuda_device_describe(&host.host, index, &desc), TN_OK) << last_error();
        return desc;
    }
    static std::string refusal(const Host &host, uint32_t index = 0)
    {
        tn_device *device = nullptr;
        EXPECT_NE(tn_cuda_device_open(&host.host, index, &device), TN_OK);
        EXPECT_EQ(device, nullptr);
        return last_error();
    }
};

TEST_F(Device, IsDescribed)
{
    cuda_driver::options().n_devices = 2;
    const Host host;
    const OpenDevice used(host, 1);
    tn_buffer *buffer;
    ASSERT_EQ(tn_cuda_buffer_create(used.get(), 1 << 20, &buffer), TN_OK);
    const tn_device_desc desc = describe(host), second = describe(host, 1);
    EXPECT_STREQ(desc.name, "cuda:host");
    EXPECT_STREQ(second.name, "cuda:host1");
    EXPECT_STREQ(desc.description, "Emulated GPU");
    EXPECT_STREQ(desc.isa, "");
    EXPECT_EQ(desc.n_threads, 0u);
    EXPECT_EQ(desc.memory_bytes, uint64_t(4) << 30);
    EXPECT_EQ(desc.memory_free_bytes, uint64_t(4) << 30);
    EXPECT_EQ(second.memory_free_bytes, (uint64_t(4) << 30) - (1 << 20));
    EXPECT_TRUE(desc.is_software);
    EXPECT_STREQ(desc.driver, "CUDA 13.0");
    EXPECT_STREQ(desc.bus_id, "0000:a0:00.0");
    EXPECT_STREQ(second.bus_id, "0000:a1:00.0");
    EXPECT_STREQ(desc.kernels, "sm_90");
    EXPECT_STREQ(desc.integer_dot, "fast");
    EXPECT_EQ(desc.subgroup_size, 32u);
    EXPECT_STREQ(desc.unusable, "");
    tn_cuda_buffer_destroy(buffer);
}

// What stands for the driver is taken for one: the build's own images are given to it, which it does not take.
TEST_F(Device, IsARealOneWhereTheDriverBringsNoKernels)
{
    Host host;
    host.hooks.is_stand_in = false;
    if (tn_cuda_n_images > 0) cuda_driver::options().capability = (int)tn_cuda_images_built.archs[0];
    const tn_device_desc desc = describe(host);
    EXPECT_STREQ(desc.name, "cuda0");
    EXPECT_FALSE(desc.is_software);
    if (tn_cuda_n_images == 0) {
        EXPECT_STREQ(desc.unusable, "this build of ternion has no kernels for it: build it where nvcc is installed");
        EXPECT_EQ(refusal(host), std::string("UNAVAILABLE device cuda0 (Emulated GPU) cannot be used: ") + desc.unusable);
        return;
    }
    EXPECT_STREQ(desc.unusable, "");
    EXPECT_EQ(refusal(host), std::string("UNAVAILABLE cuda0: cuModuleLoadData of ") + tn_cuda_images[0].name +
                                 " failed with CUDA_ERROR_INVALID_IMAGE (200): update the driver, or use another device");
    EXPECT_EQ(cuda_driver::complaints(), Lines({"cuModuleLoadData: the image is none of this driver"}));
    cuda_driver::forget_complaints();
}

// Whatever a test takes it for: a card taken for one without matrix instructions has its own machine code.
TEST_F(Device, KernelsMustBeForItsOwnCapability)
{
    if (tn_cuda_n_images == 0) GTEST_SKIP() << "this build has no kernels";
    Host host;
    host.hooks.is_stand_in = false;
    cuda_driver::options().capability = (int)tn_cuda_images_built.archs[0];
    host.hooks.compute_capability = 75;
    const tn_device_desc desc = describe(host);
    EXPECT_STREQ(desc.unusable, "");
    EXPECT_STREQ(desc.kernels, "sm_75");
}

TEST(Built, KernelsAreForDevicesOfTheFamilyAndPtxForLaterOnes)
{
    const uint32_t few[] = {80, 90, 0}, all[] = {75, 80, 86, 89, 90, 100, 120, 0}, none[] = {0};
    const tn_cuda_built two = {few, 0, 13000}, seven = {all, 100, 13010}, ptx = {none, 100, 13000}, nothing = {none, 0, 0};
    const std::string has_two = " in this build of ternion, which has sm_80, sm_90: build it with -DTN_CUDA_ARCHS=",
                      only_ptx = ", of CUDA 13.1, and the driver is for 13.0: update it, or build with -DTN_CUDA_ARCHS=";
    const struct {
        const tn_cuda_built &built;
        uint32_t capability;
        int driver;
        std::string why;
    } cases[] = {
        {two, 75, 13000, "no kernels for sm_75" + has_two + "75"},
        {two, 80, 13000, ""},
        {two, 86, 13000, ""},
        {two, 89, 13000, ""},
        {two, 90, 13000, ""},
        {two, 100, 13000, "no kernels for sm_100" + has_two + "100"},
        {two, 120, 13000, "no kernels for sm_120" + has_two + "120"},
        {seven, 75, 13000, ""},
        {seven, 103, 13000, ""},
        {seven, 121, 13000, ""},
        {seven, 110, 13010, ""},
        {seven, 130, 13020, ""},
        {seven, 110, 13000, "this build of ternion has only PTX for sm_110" + only_ptx + "110"},
        {ptx, 90, 13000,
         "no kernels for sm_90 in this build of ternion, which has PTX for sm_100 and later: build it with -DTN_CUDA_ARCHS=90"},
        {ptx, 100, 13000, ""},
        {nothing, 90, 13000, "this build of ternion has no kernels for it: build it where nvcc is installed"},
    };
    for (const auto &c : cases) {
        char why[256];
        tn_cuda_built_judge(&c.built, c.capability, c.driver, why, sizeof why);
        EXPECT_EQ(why, c.why) << c.capability;
    }
    char why[40]; // little room cuts the sentence
    tn_cuda_built_judge(&seven, 72, 13000, why, sizeof why);
    EXPECT_EQ(std::string(why), "no kernels for sm_72 in this build of t");
}

// Of compilers of CUDA 12 ternion itself needs a newer one than their kernels do.
TEST(Built, KernelsNeedADriverOfTheirCompilersMajorVersion)
{
    const uint32_t some[] = {90, 0};
    for (const auto &[compiler, driver] : {std::pair(0, 12030), std::pair(12080, 12030), std::pair(12090, 12030), std::pair(13000, 13000),
                                           std::pair(13020, 13000), std::pair(14010, 14000)}) {
        const tn_cuda_built built = {some, 0, compiler};
        EXPECT_EQ(tn_cuda_built_driver(&built), driver) << compiler;
    }
}

TEST_F(Device, ThereAreNoOthers)
{
    const Host host;
    tn_device_desc desc;
    EXPECT_EQ(tn_cuda_device_describe(&host.host, 1, &desc), TN_INVALID_ARGUMENT);
    EXPECT_EQ(desc.name[0], '\0');
    EXPECT_EQ(refusal(host, 7), "INVALID_ARGUMENT there is no CUDA device 7: this host has 1");
}

TEST_F(Device, OldOnesCannotBeUsed)
{
    cuda_driver::options().capability = 70;
    const Host host;
    const std::string why = "its compute capability is 7.0, and 7.5 is needed (Turing and later)";
    EXPECT_EQ(describe(host).unusable, why);
    EXPECT_EQ(refusal(host), "UNAVAILABLE device cuda:host (Emulated GPU) cannot be used: " + why);
}

TEST_F(Device, ThoseThatAdministratorsClosedCannotBeUsed)
{
    cuda_driver::options().compute_mode = CU_COMPUTEMODE_PROHIBITED;
    const Host host;
    EXPECT_STREQ(describe(host).unusable, "its compute mode allows no program on it: set it with nvidia-smi -c 0");
}

TEST_F(Device, OneThatTakesNoContextIsThereAllTheSame)
{
    const Host host;
    cuda_driver::fail("cuDevicePrimaryCtxRetain", 1, CUDA_ERROR_DEVICE_UNAVAILABLE);
    const tn_device_desc desc = describe(host);
    EXPECT_STREQ(desc.unusable, "its context cannot be made: CUDA_ERROR_DEVICE_UNAVAILABLE (46)");
    EXPECT_STREQ(desc.description, "Emulated GPU");
}

TEST_F(Device, ImagesThatTheDriverDoesNotTakeAreNamed)
{
    const Host host;
    cuda_driver::fail("cuModuleLoadData", 1, CUDA_ERROR_INVALID_IMAGE);
    EXPECT_EQ(refusal(host), "UNAVAILABLE cuda:host: cuModuleLoadData of the stand-in's kernels failed with CUDA_ERROR_INVALID_IMAGE "
                             "(200): update the driver, or use another device");
    EXPECT_STREQ(tn_error_last()->device, "cuda:host");
    EXPECT_EQ(tn_error_last()->native_code, CUDA_ERROR_INVALID_IMAGE);
    cuda_driver::fail("cuModuleLoadData", 1, CUDA_ERROR_NO_BINARY_FOR_GPU);
    EXPECT_EQ(refusal(host), "UNAVAILABLE cuda:host: this build of ternion has no kernels for sm_90 (cuModuleLoadData of the stand-in's "
                             "kernels: CUDA_ERROR_NO_BINARY_FOR_GPU): build it with -DTN_CUDA_ARCHS=90");
    EXPECT_STREQ(tn_error_last()->device, "cuda:host");
}

TEST_F(Device, HasTheKernelsOfItsForm)
{
    for (const int capability : {75, 80, 89, 90, 120}) {
        cuda_driver::options().capability = capability;
        const Host host;
        const OpenDevice device(host);
        EXPECT_EQ(device.cuda()->traits.has_mma, capability >= 80);
        EXPECT_EQ(device.cuda()->traits.has_bmma, capability >= 80 && capability < 100);
        EXPECT_EQ(device.cuda()->traits.has_wgmma, capability == 90);
        for (uint32_t i = 0; i < TN_CUDA_N_KERNELS; i++) {
            const tn_cuda_form form = tn_cuda_kernels[i].form;
            const bool has_mma = capability >= 80, has_bits = has_mma && capability < 100;
            const std::map<tn_cuda_form, bool> wanted = {{TN_CUDA_FORM_ANY, true},          {TN_CUDA_FORM_DP4A, !has_mma},
                                                         {TN_CUDA_FORM_MMA, has_mma},       {TN_CUDA_FORM_BMMA, has_bits},
                                                         {TN_CUDA_FORM_NO_BMMA, !has_bits}, {TN_CUDA_FORM_WGMMA, capability == 90}};
            EXPECT_EQ(device.cuda()->functions[i] != nullptr, wanted.at(form)) << tn_cuda_kernels[i].name;
        }
    }
}

TEST_F(Device, MayBeTakenForAnOlderOne)
{
    Host host;
    host.hooks.compute_capability = 75;
    const OpenDevice device(host);
    EXPECT_EQ(device.cuda()->traits.capability, 75u);
    EXPECT_FALSE(device.cuda()->traits.has_mma);
    EXPECT_STREQ(describe(host).kernels, "sm_75");
}

TEST_F(Device, MoreSharedMemoryIsAskedForOnce)
{
    const Host host;
    const OpenDevice device(host);
    ASSERT_EQ(tn_cuda_enter(device.cuda()), TN_OK);
    cuda_driver::forget_calls();
    EXPECT_EQ(tn_cuda_allow_shared(device.cuda(), TN_CUDA_begin, 40 << 10), TN_OK);
    EXPECT_EQ(cuda_driver::calls()["cuFuncSetAttribute"], 1u); // beside what it has itself, of which nothing is known here
    for (const uint32_t bytes : {100u << 10, 100u << 10, 60u << 10})
        EXPECT_EQ(tn_cuda_allow_shared(device.cuda(), TN_CUDA_begin, bytes), TN_OK);
    EXPECT_EQ(cuda_driver::calls()["cuFuncSetAttribute"], 2u);
    EXPECT_EQ(tn_cuda_allow_shared(device.cuda(), TN_CUDA_begin, 228 << 10), TN_UNSUPPORTED);
    EXPECT_EQ(last_error(), "UNSUPPORTED cuda:host: begin needs 233472 bytes of shared memory for a block; the device has 232448");
    EXPECT_EQ(tn_cuda_leave(device.cuda(), TN_OK), TN_OK);
}

// Where kernels overlap all of them want the same division of fast memory: all of it; elsewhere nobody asks.
TEST_F(Device, KernelsThatBeginEarlyWantTheSameSharedMemory)
{
    const std::pair<int, int> cases[] = {{90, 90}, {90, 80}, {75, 75}};
    for (const auto &[capability, compiled_for] : cases) {
        cuda_driver::reset();
        cuda_driver::options().capability = capability;
        cuda_driver::options().compiled_for = compiled_for;
        const Host host;
        const OpenDevice device(host);
        EXPECT_EQ(cuda_driver::carveouts(), std::set<int>{compiled_for == 90 ? 100 : -1});
    }
}

TEST_F(Device, TheCallersContextComesBack)
{
    cuda_driver::options().n_devices = 2;
    const Host host;
    const OpenDevice a(host), b(host, 1);
    ASSERT_EQ(tn_cuda_enter(a.cuda()), TN_OK);
    ASSERT_EQ(tn_cuda_enter(b.cuda()), TN_OK);
    EXPECT_EQ(cuda_driver::context_depth(), 2u);
    EXPECT_EQ(tn_cuda_leave(b.cuda(), TN_LIMIT), TN_LIMIT);
    CUcontext context;
    ASSERT_EQ(a.cuda()->cu->cuCtxPopCurrent(&context), CUDA_SUCCESS);
    EXPECT_EQ(context, a.cuda()->context);
}

TEST_F(Device, IsUsedFromAnyThread)
{
    const Host host;
    const OpenDevice device(host);
    std::thread([&] {
        tn_buffer *buffer = nullptr;
        uint32_t in = 77, out = 0;
        ASSERT_EQ(tn_cuda_buffer_create(device.get(), 4, &buffer), TN_OK) << last_error();
        EXPECT_EQ(tn_cuda_buffer_write(buffer, 0, &in, 4), TN_OK);
        EXPECT_EQ(tn_cuda_buffer_read(buffer, 0, &out, 4), TN_OK);
        EXPECT_EQ(out, 77u);
        tn_cuda_buffer_destroy(buffer);
        EXPECT_EQ(cuda_driver::context_depth(), 0u);
    }).join();
}

TEST_F(Device, ALostOneStaysLostAndCanBeClosed)
{
    const Host host;
    {
        const OpenDevice device(host);
        tn_buffer *buffer = nullptr, *other = nullptr;
        uint8_t byte = 1;
        ASSERT_EQ(tn_cuda_buffer_create(device.get(), 10, &buffer), TN_OK);
        cuda_driver::fail("cuEventSynchronize", 1, CUDA_ERROR_ILLEGAL_ADDRESS);
        EXPECT_EQ(tn_cuda_buffer_read(buffer, 0, &byte, 1), TN_DEVICE_LOST);
        EXPECT_EQ(last_error(), "DEVICE_LOST cuda:host: cuEventSynchronize failed with CUDA_ERROR_ILLEGAL_ADDRESS (700): start the program "
                                "again; if it happens again, update the driver or use the CPU");
        EXPECT_EQ(byte, 1);
        cuda_driver::forget_calls();
        for (int round = 0; round < 2; round++) {
            EXPECT_EQ(tn_cuda_buffer_write(buffer, 0, &byte, 1), TN_DEVICE_LOST);
            EXPECT_EQ(last_error(), "DEVICE_LOST cuda:host was lost before (CUDA_ERROR_ILLEGAL_ADDRESS): start the program again; if it "
                                    "happens again, update the driver or use the CPU");
            EXPECT_STREQ(tn_error_last()->device, "cuda:host");
            EXPECT_EQ(tn_error_last()->native_code, CUDA_ERROR_ILLEGAL_ADDRESS);
            EXPECT_EQ(tn_cuda_buffer_create(device.get(), 10, &other), TN_DEVICE_LOST);
            EXPECT_EQ(other, nullptr);
        }
        EXPECT_EQ(cuda_driver::calls().size(), 1u); // cuGetErrorName
        tn_cuda_buffer_destroy(buffer);
    }
    EXPECT_EQ(cuda_driver::alive(), Lines());
    const OpenDevice again(host); // of a new context
}

// ---- measuring ----

struct Told {
    std::vector<tn_measured_limit> limits;
    size_t stops_at = 100;
    static bool told(void *user, const tn_measured_limit *limit)
    {
        Told *all = static_cast<Told *>(user);
        all->limits.push_back(*limit);
        return all->limits.size() < all->stops_at;
    }
};

TEST_F(Device, IsMeasured)
{
    for (const int capability : {75, 90}) {
        cuda_driver::options().capability = capability;
        cuda_driver::options().n_sms = 1;
        const Host host;
        const OpenDevice device(host);
        Told told;
        ASSERT_EQ(tn_cuda_device_measure(device.get(), 1, 1, Told::told, &told), TN_OK) << last_error();
        ASSERT_EQ(told.limits.size(), capability == 75 ? 2u : 3u);
        EXPECT_EQ(told.limits[0].kind, TN_MEASURED_MEMORY_READ);
        EXPECT_STREQ(told.limits[0].name, "cuda:host");
        EXPECT_EQ(told.limits[0].theoretical, 8e9); // 64 bits, twice at 500 MHz
        EXPECT_EQ(told.limits[1].kind, TN_MEASURED_INT8_DOT);
        EXPECT_STREQ(told.limits[1].name, "dp4a");
        EXPECT_EQ(told.limits[1].theoretical, 512e9); // one multiprocessor at 1 GHz
        EXPECT_EQ(told.limits.back().kind, TN_MEASURED_INT8_DOT);
        EXPECT_STREQ(told.limits.back().name, capability == 75 ? "dp4a" : "mma");
        EXPECT_EQ(told.limits.back().theoretical, capability == 75 ? 512e9 : 8192e9);
        for (const tn_measured_limit &limit : told.limits) {
            EXPECT_EQ(limit.n_threads, 0u);
            EXPECT_GT(limit.median, 1e6);
            EXPECT_LE(limit.median, limit.best);
            EXPECT_LT(limit.best, 1e14);
        }
    }
}

TEST_F(Device, MeasuringEndsWhenTheCallerSaysSo)
{
    const Host host;
    const OpenDevice device(host);
    Told told;
    told.stops_at = 1;
    EXPECT_EQ(tn_cuda_device_measure(device.get(), 1, 1, Told::told, &told), TN_CANCELLED);
    EXPECT_EQ(last_error(), "CANCELLED measuring cuda:host was cancelled by the caller");
    EXPECT_EQ(told.limits.size(), 1u);
}

TEST_F(Device, MeasuringThatFailsGivesEverythingBack)
{
    cuda_driver::options().capability = 75;
    const Host host;
    const OpenDevice device(host);
    const size_t used = cuda_driver::used_bytes();
    for (const char *function : {"cuMemGetInfo", "cuMemAlloc", "cuEventCreate", "cuLaunchKernel", "cuEventElapsedTime",
                                 "cuOccupancyMaxActiveBlocksPerMultiprocessor", "cuDeviceGetAttribute"}) {
        for (uint32_t nth : {1u, 2u}) {
            Told told;
            cuda_driver::fail(function, nth, CUDA_ERROR_OUT_OF_MEMORY);
            EXPECT_EQ(tn_cuda_device_measure(device.get(), 1, 1, Told::told, &told), TN_OUT_OF_MEMORY) << function;
            EXPECT_TRUE(cuda_driver::has_failed()) << function;
            EXPECT_NE(last_error().find("CUDA_ERROR_OUT_OF_MEMORY"), std::string::npos) << last_error();
            EXPECT_EQ(cuda_driver::used_bytes(), used);
        }
    }
}

TEST_F(Device, KernelsThatGoWrongLoseIt)
{
    const Host host;
    const OpenDevice device(host);
    ASSERT_EQ(tn_cuda_enter(device.cuda()), TN_OK);
    CUdeviceptr at;
    ASSERT_EQ(tn_cuda_alloc(device.cuda(), 64, "memory", &at), TN_OK);
    uint64_t params[4] = {at + 1, 1, 1, 0}; // loads of 16 bytes that are not aligned
    void *pointers[] = {params};
    const tn_cuda_api *cu = device.cuda()->cu;
    ASSERT_EQ(
        cu->cuLaunchKernel(device.cuda()->functions[TN_CUDA_probe_read], 1, 1, 1, 256, 1, 1, 0, device.cuda()->stream, pointers, nullptr),
        CUDA_SUCCESS);
    const CUresult result = cu->cuStreamSynchronize(device.cuda()->stream);
    EXPECT_EQ(result, CUDA_ERROR_LAUNCH_FAILED);
    EXPECT_EQ(tn_cuda_leave(device.cuda(), TN_CUDA_CHECK(cu, result, "the kernel")), TN_DEVICE_LOST);
    EXPECT_EQ(cuda_driver::complaints(), Lines({"probe_read: thread 0: an access of 16 bytes of global memory that is not aligned"}));
    cuda_driver::forget_complaints();
    EXPECT_EQ(tn_cuda_enter(device.cuda()), TN_DEVICE_LOST);
    ASSERT_EQ(tn_cuda_context_push(device.cuda()), TN_OK);
    tn_cuda_free(device.cuda(), at);
    EXPECT_EQ(tn_cuda_context_pop(device.cuda()), TN_OK);
}

} // namespace
} // namespace cuda_test
