// The program when its device is lost in the middle of a text: it goes on on the CPU with the same text, and one line says which device and
// why.
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

TEST_F(VulkanProgram, ALostDeviceIsLeftWithOneLine)
{
    const std::string whole = cli::run(cli::Run{kRun, "", {}}).out;
    for (const int first_lost : {1, 26, 31}) { // compiling has some of the first
        const cli::Result result = run(kRun, first_lost);
        EXPECT_EQ(result.status, 0) << result.err;
        EXPECT_EQ(result.err.find("ternion: warning: vulkan0 was lost ("), 0u) << result.err;
        EXPECT_TRUE(cli::contains(result.err, "vkQueueSubmit failed with VK_ERROR_DEVICE_LOST (-4)): going on on cpu0\n")) << result.err;
        EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
        EXPECT_EQ(result.out, whole);
    }
}

TEST_F(VulkanProgram, ABatchGoesOnAndWhatIsComparedFails)
{
    const cli::Folder folder;
    cli::write_file(folder / "in",
                    R"({"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": {"prompt": "A cat", "max_tokens": 9}})");
    cli::write_file(folder / "ids", "3 4 5 6");
    std::string whole;
    for (const int first_lost : {100000, 1, 12}) { // 1: as the device is opened to ask how many answers have room
        cli::write_file(folder / "out", "");
        const cli::Result batch = run({"batch", "-i", folder / "in", "-o", folder / "out", "--kv-memory", "2M", "-q"}, first_lost);
        EXPECT_EQ(batch.status, 0) << batch.err;
        EXPECT_EQ(cli::contains(batch.err, "vulkan0 was lost ("), first_lost < 100000) << batch.err;
        EXPECT_EQ(std::count(batch.err.begin(), batch.err.end(), '\n'), first_lost < 100000) << batch.err;
        const std::string out = cli::read_file(folder / "out"), text = out.substr(std::min(out.find("\"text\""), out.size()));
        if (whole.empty()) whole = text;
        EXPECT_GT(text.size(), 20u);
        EXPECT_EQ(text, whole);
    }
    const cli::Result logits = run({"logits", "--tokens", folder / "ids", "--hash"}, 1);
    EXPECT_EQ(logits.status, 1);
    EXPECT_TRUE(cli::contains(logits.err, "vulkan0: vkQueueSubmit failed with VK_ERROR_DEVICE_LOST")) << logits.err;
}

} // namespace
} // namespace vulkan_test
