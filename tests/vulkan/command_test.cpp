// ternion devices as a process: with a driver, without one, and without a loader.
#include "cli/program.hpp"

namespace
{

std::string devices(std::vector<std::pair<std::string, std::string>> environment)
{
    const cli::Result result = cli::run(cli::Run{{"devices"}, "", std::move(environment)});
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_EQ(result.err, "");
    return result.out;
}

const std::string kAbsent = "\nvulkan: not available: ";

TEST(Devices, OfVulkanAreListedWithDriverAndProperties)
{
    const std::string text = devices({});
    EXPECT_TRUE(cli::contains(text, "\nvulkan0  vulkan   mul_texel ")) << text;
    EXPECT_TRUE(cli::contains(text, " (emulated, used only where named)\n         driver "));
    EXPECT_TRUE(cli::contains(text, ", subgroups of "));
    EXPECT_TRUE(cli::contains(text, ", integer dot product: "));
    EXPECT_FALSE(cli::contains(text, kAbsent));
    cli::Json json = cli::parse_json(cli::run({"devices", "--json", "--kernels"}).out);
    const json_t *device = json_array_get(json_object_get(json.get(), "devices"), 1);
    EXPECT_EQ(cli::text_of(device, "name"), "vulkan0");
    EXPECT_EQ(cli::text_of(device, "kernel_form"), "mul_texel");
    EXPECT_NE(cli::text_of(device, "driver"), "");
    EXPECT_GT(cli::integer_of(device, "subgroup_size"), 0);
    EXPECT_GT(json_array_size(json_object_get(device, "kernels")), 0u);
    EXPECT_EQ(json_object_get(json_object_get(json.get(), "not_available"), "vulkan"), nullptr);
}

TEST(Devices, SayWhichFormOfKernelsWasWanted)
{
    EXPECT_TRUE(cli::contains(devices({{"TN_VULKAN_KERNELS", "mul"}}), "\nvulkan0  vulkan   mul  "));
    EXPECT_TRUE(cli::contains(
        devices({{"TN_VULKAN_KERNELS", "x"}}),
        "\n         cannot be used: the form of Vulkan kernels (TN_VULKAN_KERNELS) cannot be \"x\": use auto, dot, mul or mul_texel\n"));
}

TEST(Devices, WithoutDriverAreAbsentInALine)
{
    const std::string text = devices({{"VK_DRIVER_FILES", "/nonexistent/driver.json"}, {"VK_ICD_FILENAMES", "/nonexistent/driver.json"}});
    EXPECT_TRUE(cli::contains(text, kAbsent + "no Vulkan driver is installed\n")) << text;
    EXPECT_TRUE(cli::contains(text, "\ncpu0 "));
    EXPECT_TRUE(cli::contains(devices({{"TN_VULKAN", "off"}}), kAbsent + "switched off\n"));
    const cli::Result refused = cli::run(cli::Run{{"run", "--device", "vulkan0", "-p", "a", "-n", "1"}, "", {{"TN_VULKAN", "off"}}});
    cli::expect_error(refused, 1, "there is no device vulkan0; devices here: cpu0; vulkan is not available: switched off");
}

// The dynamic linker finds a file of the loader's name that is none.
TEST(Devices, WithoutLoaderAreAbsentInALine)
{
    const cli::Folder folder;
    for (const char *name : {"libvulkan.so.1", "libvulkan.so"}) {
        FILE *file = fopen((folder / name).c_str(), "w");
        ASSERT_NE(file, nullptr);
        fputs("this is no library", file);
        fclose(file);
    }
    const std::string text = devices({{"LD_LIBRARY_PATH", folder / ""}});
    EXPECT_TRUE(cli::contains(text, kAbsent + "the loader (libvulkan.so.1) is not installed\n")) << text;
    cli::Json json = cli::parse_json(cli::run(cli::Run{{"devices", "--json"}, "", {{"LD_LIBRARY_PATH", folder / ""}}}).out);
    EXPECT_EQ(cli::text_of(json_object_get(json.get(), "not_available"), "vulkan"), "the loader (libvulkan.so.1) is not installed");
    const cli::Result run = cli::run(cli::Run{{"run", "-p", "Once", "-n", "2"}, "", {{"LD_LIBRARY_PATH", folder / ""}}});
    EXPECT_EQ(run.status, 0) << run.err;
}

} // namespace
