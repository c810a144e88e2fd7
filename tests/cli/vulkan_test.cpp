// The program on a Vulkan device: what it writes on the CPU, and what it says where there is no such device.
#include "batch_files.hpp"
#include "bench_limits.hpp"
#include "on_terminal.hpp"
#include "program.hpp"
#include "support/chat_model.hpp"
#include "support/quick.hpp"

namespace
{

using cli::contains;
using cli::run;

const std::string prompt = "Once upon a time there was a little dog. He lived";

class Vulkan : public testing::Test
{
  protected:
    void SetUp() override
    {
        if (!contains(run({"devices"}).out, "\nvulkan0 ")) GTEST_SKIP() << "there is no Vulkan device here: ternion devices says why";
    }
};

std::string answer(std::vector<std::string> more)
{
    std::vector<std::string> arguments = {"run", "-p", prompt, "-q", "-n", "24", "-s", "7"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const cli::Result result = run(arguments);
    EXPECT_EQ(result.status, 0) << result.err;
    return result.out;
}

// The line of the device in ternion devices, and its number there.
std::string number_of_device(const std::string &name)
{
    std::istringstream lines(run({"devices"}).out);
    int number = -2; // the first line is the header
    for (std::string line; std::getline(lines, line);) {
        if (line.rfind(" ", 0) != 0) number++; // more about the same device is set in
        if (line.rfind(name + " ", 0) == 0) return std::to_string(number);
    }
    return "";
}

} // namespace

TEST_F(Vulkan, RunWritesTheSameTextAsOnTheCpu)
{
    const std::string expected = answer({"--device", "cpu0"});
    EXPECT_GT(expected.size(), 40u);
    EXPECT_EQ(answer({"--device", "vulkan0"}), expected);
    EXPECT_EQ(answer({"-dev", number_of_device("vulkan0")}), expected);
    EXPECT_EQ(answer({"-dev", "vulkan0", "-ngl", "3"}), expected);
    if (tn_test::is_quick()) return;
    EXPECT_EQ(answer({"-dev", "vulkan0", "-ub", "5"}), expected);
    EXPECT_EQ(answer({"-dev", "vulkan0", "-ngl", "all"}), expected);
    EXPECT_EQ(answer({"-dev", "vulkan0,cpu0"}), expected);
    EXPECT_EQ(answer({"-dev", "cpu0,vulkan0"}), expected);
    EXPECT_EQ(answer({"-dev", "vulkan0", "--temp", "0", "--two-stage", "off"}), answer({"--temp", "0"}));
}

TEST_F(Vulkan, RunSaysWhereItRuns)
{
    const cli::Result whole = run({"run", "-p", prompt, "-n", "3", "-v", "--device", "vulkan0"});
    EXPECT_TRUE(contains(whole.err, "plan  vulkan0: embedding, layers 0-5, head")) << whole.err;
    EXPECT_TRUE(contains(whole.err, "MiB weights + ")) << whole.err;
    const cli::Result part = run({"run", "-p", prompt, "-n", "3", "-v", "--device", "vulkan0", "-ngl", "2"});
    EXPECT_TRUE(contains(part.err, "plan  cpu0: embedding, layers 0-3 | vulkan0: layers 4-5 | cpu0: head")) << part.err;
}

TEST_F(Vulkan, LogitsAndTraceAreThoseOfTheCpu)
{
    cli::Folder folder;
    for (const std::string device : {"cpu0", "vulkan0", "vulkan0,cpu0"}) {
        const cli::Result result =
            run({"logits", "-p", prompt, "--device", device, "--trace", folder / (device + ".trace"), "-o", folder / (device + ".f32")});
        ASSERT_EQ(result.status, 0) << result.err;
    }
    const std::string rows = cli::read_file(folder / "cpu0.f32"), trace = cli::read_file(folder / "cpu0.trace");
    EXPECT_GT(cli::count_lines(trace), 500u);
    for (const std::string device : {"vulkan0", "vulkan0,cpu0"}) {
        EXPECT_TRUE(cli::read_file(folder / (device + ".f32")) == rows) << device;
        EXPECT_TRUE(cli::read_file(folder / (device + ".trace")) == trace) << device;
    }
    const std::string hash = run({"logits", "-p", prompt, "--hash"}).out;
    EXPECT_EQ(run({"logits", "-p", prompt, "--hash", "-dev", "vulkan0"}).out, hash);
}

TEST_F(Vulkan, ChatAnswersAsOnTheCpu)
{
    cli::Folder folder;
    const std::string model = folder / "bitnet.gguf";
    ASSERT_NO_FATAL_FAILURE(tn_test::make_chat_model(cli::default_model(), model, tn_test::bitnet_jinja));
    const std::vector<std::string> arguments = {"chat", "-m", model, "-s", "1", "-n", "12", "-p", "Tell me a story", "-q"};
    std::vector<std::string> on_vulkan = arguments;
    on_vulkan.insert(on_vulkan.end(), {"--device", "vulkan0"});
    const cli::Result expected = run(arguments);
    ASSERT_EQ(expected.status, 0) << expected.err;
    EXPECT_FALSE(expected.out.empty());
    EXPECT_EQ(run(on_vulkan).out, expected.out);
}

TEST_F(Vulkan, BatchHasTheSameResultsOnAnyDevices)
{
    cli::Folder folder;
    cli::write_file(folder / "requests", cli::many_completions(14));
    std::map<std::string, std::map<std::string, std::string>> results;
    for (const std::string devices : {"cpu0", "vulkan0", "cpu0,vulkan0"}) {
        const cli::Result result = run({"batch", "-i", folder / "requests", "-o", "-", "-q", "--concurrency", "5", "--device", devices});
        EXPECT_EQ(result.status, 0) << result.err;
        results[devices] = cli::results_of(result.out);
    }
    EXPECT_EQ(results["cpu0"].size(), 14u);
    EXPECT_EQ(results["vulkan0"], results["cpu0"]);
    EXPECT_EQ(results["cpu0,vulkan0"], results["cpu0"]);
}

TEST_F(Vulkan, BenchNamesTheDeviceAndItsLimits)
{
    const cli::Result table = run({"bench", "-p", "8", "-n", "2", "-r", "1", "--device", "vulkan0"});
    ASSERT_EQ(table.status, 0) << table.err;
    EXPECT_TRUE(contains(table.out, "| Vulkan     |       - | vulkan0      |             pp8 |")) << table.out;
    EXPECT_TRUE(contains(table.out, "   GB/s |  % mem |\n")) << table.out;
    EXPECT_TRUE(contains(table.out, "\nmemory read vulkan0    ")) << table.out;
    for (const char *not_measured : {"% int8", "% roof", "int8 dot", " with all"})
        EXPECT_FALSE(contains(table.out, not_measured)) << not_measured << "\n" << table.out;
    const cli::Result result = run({"bench", "-p", "8", "-n", "0", "-r", "1", "--device", "vulkan0", "-o", "json"});
    ASSERT_EQ(result.status, 0) << result.err;
    const cli::Json json = cli::parse_json(result.out);
    const json_t *test = json_array_get(json.get(), 0);
    EXPECT_EQ(cli::text_of(test, "backends"), "Vulkan");
    EXPECT_EQ(cli::text_of(test, "devices"), "vulkan0");
    EXPECT_EQ(cli::integer_of(test, "n_threads"), 0);
    EXPECT_EQ(json_array_size(json_object_get(test, "limits")), 1u);
    EXPECT_GT(cli::best_of_limits(test, "memory_read"), 0);
    cli::expect_limits_fit(test);
    const cli::Result both = run({"bench", "-p", "8", "-n", "0", "-r", "1", "--device", "vulkan0,cpu0", "-t", "2", "-o", "json"});
    const cli::Json split = cli::parse_json(both.out);
    EXPECT_EQ(cli::text_of(json_array_get(split.get(), 0), "backends"), "CPU,Vulkan");
    EXPECT_EQ(cli::integer_of(json_array_get(split.get(), 0), "n_threads"), 2);
    EXPECT_TRUE(json_is_null(json_object_get(json_array_get(split.get(), 0), "limits")));
    EXPECT_TRUE(json_is_null(json_object_get(json_array_get(split.get(), 0), "memory_share")));
}

TEST_F(Vulkan, ShowSaysThePlanAndTheLayouts)
{
    const cli::Result plan = run({"show", "--device", "vulkan0"});
    ASSERT_EQ(plan.status, 0) << plan.err;
    EXPECT_TRUE(contains(plan.out, "\nplan          vulkan0: embedding, layers 0-5, head\n")) << plan.out;
    EXPECT_FALSE(contains(run({"show"}).out, "\nplan "));
    const cli::Json json = cli::parse_json(run({"show", "--device", "vulkan0", "-ngl", "1", "--json"}).out);
    EXPECT_EQ(cli::text_of(json_object_get(json.get(), "model"), "plan"), "cpu0: embedding, layers 0-4 | vulkan0: layer 5 | cpu0: head");
    const cli::Result layouts = run({"show", "--device", "vulkan0", "--layouts"});
    EXPECT_TRUE(contains(layouts.out, "\nvulkan0  t2x16      ternary        42 ")) << layouts.out;
    EXPECT_FALSE(contains(layouts.out, "cpu0")) << layouts.out;
    cli::expect_error(run({"show", "--device", "vulkan9"}), 1, "there is no device vulkan9; devices here: ");
}

// What opens a device before there is a session: its self-test takes seconds where no pass is kept and the driver has compiled nothing.
void expect_test_shown(const std::vector<std::string> &command)
{
    const cli::Folder cache;
    const cli::Run cold = {command, "", {{"XDG_CACHE_HOME", cache / ""}, {"MESA_SHADER_CACHE_DIR", cache / ""}, {"GALLIVM_PERF", "nopt"}}};
    const std::string shown = cli::run_on_terminal(cold).out;
    const size_t last_bar = shown.rfind("[testing kernels ");
    ASSERT_NE(last_bar, std::string::npos) << command[0] << ": " << shown;
    EXPECT_NE(shown.find("\r\033[K", last_bar), std::string::npos) << command[0] << ": the bar stays: " << shown;
    if (command[0] != "show") return; // nor do the others keep a pass
    EXPECT_FALSE(contains(cli::run_on_terminal(cold).out, "[testing kernels "));
}

TEST_F(Vulkan, ADeviceThatIsTestedFirstSaysSo) { expect_test_shown({"show", "--layouts", "--device", "vulkan0"}); }

TEST_F(Vulkan, OtherCommandsThatTestADeviceSaySoToo)
{
    expect_test_shown({"devices", "--kernels"});
    expect_test_shown({"bench", "--device", "vulkan0", "-p", "4", "-n", "0", "-r", "1"});
}

TEST_F(Vulkan, DevicesThatAreNotHereAreNamed)
{
    for (const std::vector<std::string> &command : {std::vector<std::string>{"run", "-p", "a", "-q"},
                                                    {"logits", "-p", "a", "--hash"},
                                                    {"bench", "-p", "4", "-n", "0"},
                                                    {"batch", "-i", "-", "-o", "-"}}) {
        std::vector<std::string> arguments = command;
        arguments.insert(arguments.end(), {"--device", "vulkan9"});
        const std::string input = command[0] == "batch" ? cli::completion("a", "A", "") : "";
        cli::expect_error(run(cli::Run{arguments, input, {}}), 1, "there is no device vulkan9; devices here: ");
    }
    const cli::Run bad_form = {{"run", "-p", "a", "-q", "--device", "vulkan0"}, "", {{"TN_VULKAN_KERNELS", "fast"}}};
    cli::expect_error(run(bad_form), 1, "use auto, dot, mul or mul_texel");
}

// These need no device.
TEST(VulkanAbsent, TheReasonIsGiven)
{
    const std::vector<std::string> arguments = {"run", "-p", "a", "-q", "--device", "vulkan0"};
    cli::expect_error(run(cli::Run{arguments, "", {{"TN_VULKAN", "off"}}}), 1, "vulkan is not available: switched off");
    cli::expect_error(run(cli::Run{arguments, "", {{"TN_VULKAN", "maybe"}}}), 1, "TN_VULKAN is 'maybe': give on or off");
    cli::expect_error(run(cli::Run{arguments, "", {{"VK_DRIVER_FILES", "/nonexistent"}, {"VK_ICD_FILENAMES", "/nonexistent"}}}), 1,
                      "vulkan is not available: ");
}

TEST(VulkanAbsent, NothingElseIsTouched)
{
    const std::vector<std::string> arguments = {"run", "-p", prompt, "-q", "-n", "5", "-s", "7"};
    const std::string expected = run(arguments).out;
    EXPECT_EQ(run(cli::Run{arguments, "", {{"TN_VULKAN", "off"}}}).out, expected);
    EXPECT_EQ(run(cli::Run{arguments, "", {{"VK_DRIVER_FILES", "/nonexistent"}, {"VK_ICD_FILENAMES", "/nonexistent"}}}).out, expected);
}
