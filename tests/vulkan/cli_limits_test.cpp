// The program on a device that binds little at a time: steps are smaller where nobody asked for their size, which a line or the JSON says,
// and refused with the option and the number that helps where somebody did.
#include "cli/program.hpp"
#include "vulkan/fault_loader.hpp"

#include <regex>

namespace vulkan_test
{
namespace
{

const std::string kLine = "steps  64 tokens (-ub): the device does not take 512 of this model at a time\n";
const std::string kRefused =
    "ternion: error: vulkan0: steps of ([0-9]+) tokens need [^\n]* make smaller steps \\(-ub ([0-9]+) fits\\)\\. Try: ";

class VulkanProgramLimits : public testing::Test
{
  protected:
    void SetUp() override
    {
        loader_ = path_of_loader();
        if (loader_.empty()) GTEST_SKIP() << "no Vulkan loader is installed";
    }
    // On a device that binds 512 KiB.
    cli::Result run(std::vector<std::string> arguments, const std::vector<std::string> &more = {})
    {
        arguments.insert(arguments.end(), more.begin(), more.end());
        arguments.insert(arguments.end(), {"--device", "vulkan0"});
        return cli::run(cli::Run{std::move(arguments),
                                 "",
                                 {{"LD_LIBRARY_PATH", TN_FAULT_LOADER_DIR}, {"TN_FAULT_LOADER", loader_}, {"TN_FAULT_RANGE", "524288"}}});
    }
    // The number of tokens that an error says would fit.
    static std::string fitting(const cli::Result &refused, const std::string &n_tokens)
    {
        std::smatch found;
        EXPECT_EQ(refused.status, 1) << refused.out;
        EXPECT_TRUE(std::regex_search(refused.err, found, std::regex(kRefused))) << refused.err;
        if (found.empty()) return "";
        EXPECT_EQ(found[1], n_tokens) << refused.err;
        return found[2];
    }
    // n_ubatch of the only result of a bench.
    static int64_t n_ubatch_of(const cli::Result &bench)
    {
        EXPECT_EQ(bench.status, 0) << bench.err;
        const cli::Json json = cli::parse_json(bench.out);
        return cli::integer_of(json_array_get(json.get(), 0), "n_ubatch");
    }

  private:
    std::string loader_;
};

const std::vector<std::string> kRun = {"run", "-p", "The king said to his daughter", "-n", "6", "--temp", "0", "-c", "512"};
const std::vector<std::string> kBench = {"bench", "-p", "150", "-n", "0", "-r", "1", "--no-limits", "-o", "json"};

TEST_F(VulkanProgramLimits, RunMakesStepsThatFitAndSaysSo)
{
    const cli::Result small = run(kRun);
    ASSERT_EQ(small.status, 0) << small.err;
    EXPECT_TRUE(cli::contains(small.err, kLine)) << small.err;
    const cli::Result cpu = cli::run(kRun);
    EXPECT_EQ(small.out, cpu.out);
    EXPECT_FALSE(cli::contains(cpu.err, "steps  "));
    EXPECT_FALSE(cli::contains(run(kRun, {"-q"}).err, "steps  "));
}

TEST_F(VulkanProgramLimits, StepsThatSomebodyAskedForAreRefused)
{
    const std::string largest = fitting(run(kRun, {"-ub", "512"}), "512");
    ASSERT_GT(std::atoi(largest.c_str()), 64);
    const std::string more = std::to_string(std::atoi(largest.c_str()) + 1);
    EXPECT_EQ(fitting(run(kRun, {"-ub", more}), more), largest);
    const cli::Result taken = run(kRun, {"-ub", largest});
    EXPECT_EQ(taken.status, 0) << taken.err;
    EXPECT_FALSE(cli::contains(taken.err, "steps  ")) << taken.err;
    EXPECT_EQ(fitting(run(kBench, {"-ub", "512"}), "150"), largest) << "the -ub of bench is another option; its context is of 150";
}

TEST_F(VulkanProgramLimits, BenchIsOfTheStepsThatWereMade)
{
    EXPECT_EQ(n_ubatch_of(run(kBench)), 64);
    EXPECT_EQ(n_ubatch_of(run(kBench, {"-ub", "33"})), 33);
}

TEST_F(VulkanProgramLimits, LogitsAreTheSameWithoutAWord)
{
    const cli::Folder folder;
    std::string ids;
    for (int i = 0; i < 150; i++) ids += std::to_string((i * 37 + 11) % 4000) + "\n";
    cli::write_file(folder / "ids", ids);
    const std::vector<std::string> logits = {"logits", "--tokens", folder / "ids", "--hash"};
    const cli::Result small = run(logits), cpu = cli::run(logits);
    EXPECT_EQ(small.status, 0) << small.err;
    EXPECT_EQ(small.err, "");
    EXPECT_NE(small.out, "");
    EXPECT_EQ(small.out, cpu.out);
    const cli::Result told = run(logits, {"-v"});
    EXPECT_TRUE(cli::contains(told.err, "steps  32 tokens (-ub): the device does not take 150 of this model at a time\n")) << told.err;
}

} // namespace
} // namespace vulkan_test
