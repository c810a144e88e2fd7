// ternion devices as a process: with NVIDIA's driver (its stand-in), without one, and with one that is of no use.
#include "cli/program.hpp"
#include "cuda_host/needed_driver.hpp"
#include "support/quick.hpp"

namespace
{

using Environment = std::vector<std::pair<std::string, std::string>>;

cli::Result with_stand_in(std::vector<std::string> arguments, const std::string &options = "", const char *library = TN_STAND_IN)
{
    Environment environment = {{"TN_CUDA_LIBRARY", library}, {"TN_VULKAN", "off"}};
    if (!options.empty()) environment.push_back({"TN_CUDA_HOST", options});
    return cli::run(cli::Run{std::move(arguments), "", environment});
}

std::string devices(const std::string &options = "", const char *library = TN_STAND_IN)
{
    const cli::Result result = with_stand_in({"devices"}, options, library);
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_EQ(result.err, "");
    return result.out;
}

const std::string kAbsent = "\ncuda: not available: ";

TEST(CudaDevices, AreListedWithDriverAndProperties)
{
    const std::string text = devices("devices=2,capability=89,memory_mib=64");
    EXPECT_TRUE(cli::contains(text, "\ncuda:host cuda     sm_89 ")) << text;
    EXPECT_TRUE(cli::contains(text, "\ncuda:host1 cuda     sm_89 "));
    EXPECT_TRUE(cli::contains(text, " 64.00 MiB   64.00 MiB  Emulated GPU (emulated, used only where named)\n         driver CUDA 13.0, "
                                    "subgroups of 32, integer dot product: fast, pci:0000:a0:00.0\n"));
    EXPECT_FALSE(cli::contains(text, kAbsent));
    cli::Json json = cli::parse_json(with_stand_in({"devices", "--json", "--kernels"}).out);
    const json_t *device = json_array_get(json_object_get(json.get(), "devices"), 1);
    EXPECT_EQ(cli::text_of(device, "name"), "cuda:host");
    EXPECT_EQ(cli::text_of(device, "kernel_form"), "sm_90");
    const json_t *kernels = json_object_get(device, "kernels");
    size_t i, n_used = 0, n_other = 0;
    json_t *kernel;
    json_array_foreach(const_cast<json_t *>(kernels), i, kernel)
    {
        const bool used = json_is_true(json_object_get(kernel, "in_use"));
        n_used += used;
        n_other += used && cli::contains(cli::text_of(kernel, "name"), "ternary_few_dp4a");
    }
    EXPECT_GT(n_used, 20u);
    EXPECT_EQ(n_other, 0u);
}

TEST(CudaDevices, OfNoUseAreListedWithTheReason)
{
    EXPECT_TRUE(cli::contains(devices("capability=61"),
                              "\n         cannot be used: its compute capability is 6.1, and 7.5 is needed (Turing and later)\n"));
    cli::expect_error(with_stand_in({"run", "--device", "cuda:host", "-p", "a", "-n", "1"}, "capability=61"), 1,
                      "cuda:host (Emulated GPU) cannot be used: its compute capability is 6.1");
}

// A driver that brings no kernels, so that those of this build have to do.
TEST(CudaDevices, ForWhichTheBuildHasNoKernelsSaySoBeforeTheyAreOpened)
{
    const std::string none = "this build of ternion has no kernels for it: build it where nvcc is installed";
    if (tn_cuda_images_built.version == 0) {
        EXPECT_TRUE(cli::contains(devices("kernels=0,capability=80"), "\n         cannot be used: " + none + "\n"));
        return;
    }
    if (tn_cuda_images_built.archs[0] <= 75) GTEST_SKIP() << "this build has kernels for every device";
    const std::string text = devices("kernels=0,capability=75"), why = "no kernels for sm_75 in this build of ternion, which has sm_80";
    EXPECT_TRUE(cli::contains(text, "\ncuda0    cuda     sm_75 ")) << text;
    EXPECT_TRUE(cli::contains(text, "\n         cannot be used: " + why)) << text;
    EXPECT_TRUE(cli::contains(text, ": build it with -DTN_CUDA_ARCHS=75\n")) << text;
    cli::expect_error(with_stand_in({"run", "--device", "cuda0", "-p", "a", "-n", "1"}, "kernels=0,capability=75"), 1,
                      "cuda0 (Emulated GPU) cannot be used: " + why);
    EXPECT_FALSE(cli::contains(devices("kernels=0,capability=86"), "cannot be used")) << "machine code of sm_80 is for sm_86 too";
}

TEST(CudaDevices, WithoutADriverAreAbsentInALine)
{
    EXPECT_TRUE(cli::contains(devices("", "/nowhere/libcuda.so.1"), kAbsent + "NVIDIA's driver cannot be loaded: /nowhere/libcuda.so.1: "));
    EXPECT_TRUE(cli::contains(devices("", TN_OLD_DRIVER),
                              kAbsent + "the driver is for CUDA 11.4, and " + cuda_test::needed_driver() + " is needed: update it\n"));
    EXPECT_TRUE(cli::contains(devices("version=11080"), kAbsent + "the driver is for CUDA 11.8, and 12.3 is needed: update it\n"));
    EXPECT_TRUE(cli::contains(devices("devices=0"), kAbsent + "the driver found no GPU of NVIDIA's\n"));
    EXPECT_TRUE(cli::contains(devices("init=803"), kAbsent + "the driver's library and the kernel's module are of different versions"));
    const cli::Run off = {{"devices", "--json"}, "", {{"TN_CUDA", "off"}, {"TN_VULKAN", "off"}, {"TN_CUDA_LIBRARY", TN_STAND_IN}}};
    cli::Json json = cli::parse_json(cli::run(off).out);
    EXPECT_EQ(cli::text_of(json_object_get(json.get(), "not_available"), "cuda"), "switched off");
    EXPECT_EQ(json_array_size(json_object_get(json.get(), "devices")), 1u);
    cli::expect_error(cli::run(cli::Run{{"run", "--device", "cuda0", "-p", "a", "-n", "1"}, "", {{"TN_CUDA", "off"}}}), 1,
                      "there is no device cuda0; devices here: cpu0");
}

// The library would say so when it is left.
TEST(CudaDevices, AreNotLookedForUnlessOneIsAskedFor)
{
    const cli::Result result = with_stand_in({"run", "-p", "Once", "-n", "2", "-q"}, "no options at all");
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_EQ(with_stand_in({"devices"}, "no options at all").status, 99);
}

// Where results of two devices are compared, none goes on on another.
TEST(CudaDevices, LeaveNothingBehindWhereOneCannotBeOpened)
{
    const cli::Folder folder;
    cli::write_file(folder / "ids", "3 4");
    for (const char *fault : {"cuModuleLoadData:1:200", "cuStreamCreate:1:2", "cuMemHostAlloc:2:2", "cuModuleGetFunction:3:700"}) {
        const cli::Result result =
            with_stand_in({"logits", "--device", "cuda:host", "--tokens", folder / "ids", "--hash"}, std::string("fail=") + fault);
        EXPECT_EQ(result.status, 1) << result.err;
        EXPECT_TRUE(cli::contains(result.err, std::string("cuda:host: ") + std::string(fault).substr(0, std::string(fault).find(':'))))
            << result.err;
        EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    }
}

TEST(CudaDevices, ThatLackMemoryAreNamedWholeInAPlan)
{
    const cli::Folder folder;
    const std::string costs = folder / "costs", devices = "cpu0,cuda:host";
    const cli::Result measured =
        with_stand_in({"devices", "--calibrate", "--calibrate-ms", "1", "--device", devices, "--pack-cache", costs});
    ASSERT_EQ(measured.status, 0) << measured.err;
    const cli::Result plan = with_stand_in(
        {"plan", "--device", devices, "--no-calibrate", "--mem-limit", "cuda:host=1M", "--batch", "4", "--pack-cache", costs});
    ASSERT_EQ(plan.status, 0) << plan.err;
    EXPECT_TRUE(cli::contains(plan.out, "cuda:host has 1\n")) << plan.out;
    EXPECT_TRUE(cli::contains(plan.out, "changes   cuda:host lacks 17")) << plan.out;
    EXPECT_TRUE(cli::contains(plan.out, " to hold the model; with --what-if cuda:host.mem=")) << plan.out;
}

// Only the last layer and the head are on the device, so that this is quick.
cli::Result numerics(const std::string &name, std::vector<std::string> arguments)
{
    arguments.insert(arguments.end(), {"--device", "cpu0,cpu0,cpu0,cpu0,cpu0,cuda:host", "--numerics", name});
    return with_stand_in(std::move(arguments));
}

TEST(CudaNumerics, FastOnesAreSaidWhereverResultsAre)
{
    const std::vector<std::string> hash = {"logits", "-p", "Once upon a time", "--hash"};
    const cli::Result exact = numerics("exact", hash), fast = numerics("fast", hash);
    EXPECT_EQ(exact.out, cli::run(cli::Run{hash, "", {}}).out);
    EXPECT_EQ(exact.err, "");
    ASSERT_EQ(fast.out.size(), exact.out.size() + 5) << fast.err;
    EXPECT_EQ(fast.out.substr(16), " fast\n");
    EXPECT_NE(fast.out.substr(0, 16), exact.out.substr(0, 16));
    EXPECT_TRUE(cli::contains(fast.err, "numerics  fast: CUDA devices round a head of F32, F16 or BF16 otherwise")) << fast.err;
    const std::vector<std::string> run = {"run", "-p", "Once", "-n", "2", "-q", "--json"};
    EXPECT_EQ(cli::text_of(cli::parse_json(numerics("fast", run).out).get(), "numerics"), "fast");
    EXPECT_EQ(json_object_get(cli::parse_json(numerics("exact", run).out).get(), "numerics"), nullptr);
    std::vector<std::string> bench = {"bench", "-p", "0", "-n", "1", "-r", "1", "--no-warmup", "--no-limits", "-o", "json"};
    for (const std::string name : {"exact", "fast"}) {
        if (tn_test::is_quick() && name == "exact") continue; // a process that tests its device first
        EXPECT_EQ(cli::text_of(json_array_get(cli::parse_json(numerics(name, bench).out).get(), 0), "numerics"), name);
    }
    bench.back() = "md";
    EXPECT_TRUE(cli::contains(numerics("fast", bench).out, " numerics |\n"));
    EXPECT_FALSE(cli::contains(numerics("exact", bench).out, "numerics"));
}

TEST(CudaNumerics, OfAnotherNameAreRefused) { cli::expect_error(numerics("quick", {"run", "-p", "a", "-n", "1"}), 2, "--numerics"); }

} // namespace
