// The program when its device is lost in the middle of a text: what was written stays, one line says which device and why, and the exit
// status tells.
#include "cli/device_loss.hpp"
#include "vulkan/fault_loader.hpp"

namespace vulkan_test
{
namespace
{

class VulkanProgram : public testing::Test
{
  protected:
    void SetUp() override
    {
        loader_ = path_of_loader();
        if (loader_.empty()) GTEST_SKIP() << "no Vulkan loader is installed";
    }
    cli::Result run(std::vector<std::string> arguments, int first_lost_submit)
    {
        arguments.insert(arguments.end(), {"--device", "vulkan0"});
        return cli::run(cli::Run{std::move(arguments),
                                 "",
                                 {{"LD_LIBRARY_PATH", TN_FAULT_LOADER_DIR},
                                  {"TN_FAULT_LOADER", loader_},
                                  {"TN_FAULT_SUBMIT", std::to_string(first_lost_submit)}}});
    }

  private:
    std::string loader_;
};

const std::vector<std::string> kRun = {"run", "-p", "The king said to his daughter", "-q", "-n", "20", "--temp", "0"};

TEST_F(VulkanProgram, RunsWithTheLoaderThatHandsOn)
{
    const cli::Result result = run(kRun, 100000);
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_GT(result.out.size(), 30u);
}

TEST_F(VulkanProgram, ALostDeviceEndsRunWithOneLine)
{
    const cli::Result whole = run(kRun, 100000), result = run(kRun, 26); // compiling has some of the first
    cli::expect_cut_short(result, whole,
                          "ternion: error: vulkan0: vkQueueSubmit failed with VK_ERROR_DEVICE_LOST (-4): start the program again;");
    EXPECT_GT(result.out.size(), 10u);
}

TEST_F(VulkanProgram, ADeviceThatIsLostAtOnceEndsEveryCommand)
{
    cli::expect_every_command_ends(
        kRun, [this](const std::vector<std::string> &command) { return run(command, 1); },
        "vulkan0: vkQueueSubmit failed with VK_ERROR_DEVICE_LOST");
}

} // namespace
} // namespace vulkan_test
