// The program when its device is lost in the middle of a text: what was written stays, one line says which device and why, and the exit
// status tells.
#include "cli/program.hpp"
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
    const std::string whole = run(kRun, 100000).out;
    const cli::Result result = run(kRun, 26); // compiling has some of the first
    EXPECT_EQ(result.status, 1);
    EXPECT_EQ(result.err.find("ternion: error: vulkan0: vkQueueSubmit failed with VK_ERROR_DEVICE_LOST (-4): start the program again;"), 0u)
        << result.err;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    EXPECT_GT(result.out.size(), 10u);
    EXPECT_LT(result.out.size(), whole.size());
    const size_t n = result.out.find_last_not_of('\n') + 1;
    EXPECT_EQ(result.out.substr(0, n), whole.substr(0, n));
}

TEST_F(VulkanProgram, ADeviceThatIsLostAtOnceEndsEveryCommand)
{
    const cli::Folder folder;
    cli::write_file(folder / "in",
                    R"({"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": {"prompt": "A cat", "max_tokens": 9}})");
    cli::write_file(folder / "ids", "3 4 5 6");
    const std::vector<std::vector<std::string>> commands = {
        kRun, {"batch", "-i", folder / "in", "-o", folder / "out", "--concurrency", "1"}, {"logits", "--tokens", folder / "ids", "--hash"}};
    for (const std::vector<std::string> &command : commands) {
        const cli::Result result = run(command, 1);
        EXPECT_EQ(result.status, 1) << command[0];
        EXPECT_NE(result.err.find("vulkan0: vkQueueSubmit failed with VK_ERROR_DEVICE_LOST"), std::string::npos)
            << command[0] << ": " << result.err;
    }
}

} // namespace
} // namespace vulkan_test
