// The program on a CUDA device, whole and while the device is lost: the CPU's text; what was written stays, one line says which device and
// why, the exit status tells, and nothing is left in the driver (which would end the program with 99).
#include "cli/device_loss.hpp"

#include <fstream>
#include <map>

namespace
{

cli::Result run(std::vector<std::string> arguments, const std::string &options = "")
{
    arguments.insert(arguments.end(), {"--device", "cuda:host"});
    return cli::run(cli::Run{std::move(arguments), "", {{"TN_CUDA_LIBRARY", TN_STAND_IN}, {"TN_CUDA_HOST", options}}});
}

const std::vector<std::string> kRun = {"run", "-p", "The king said to his daughter", "-q", "-n", "12", "--temp", "0"};

TEST(CudaProgram, WritesWhatTheCpuWrites)
{
    const cli::Result cpu = cli::run(cli::Run{kRun, "", {}});
    for (const char *options : {"", "capability=75", "sms=132"}) {
        const cli::Result result = run(kRun, options);
        EXPECT_EQ(result.status, 0) << options << result.err;
        EXPECT_EQ(result.err, "") << options;
        EXPECT_EQ(result.out, cpu.out) << options;
    }
    std::vector<std::string> parted = kRun;
    parted.insert(parted.end(), {"-ngl", "3"});
    EXPECT_EQ(run(parted).out, cpu.out);
}

// How often a command that goes well calls each function of the driver, from its begin to its end.
std::map<std::string, int> calls_of(const std::vector<std::string> &command, const cli::Folder &folder)
{
    EXPECT_EQ(run(command, "calls=" + (folder / "calls")).status, 0);
    std::map<std::string, int> calls;
    std::ifstream file(folder / "calls");
    std::string function;
    for (int n; file >> function >> n;) calls[function] = n;
    return calls;
}

// Counted from the end, where replies are written: the device is there through its self-test, the weights and the prompt.
TEST(CudaProgram, ALostDeviceEndsRunWithOneLine)
{
    const cli::Folder folder;
    const cli::Result whole = run(kRun);
    std::map<std::string, int> calls = calls_of(kRun, folder);
    const struct {
        const char *function;
        int result;
        const char *name;
    } faults[] = {{"cuGraphLaunch", 719, "CUDA_ERROR_LAUNCH_FAILED"}, {"cuEventSynchronize", 700, "CUDA_ERROR_ILLEGAL_ADDRESS"}};
    for (const auto &fault : faults) {
        ASSERT_GT(calls[fault.function], 12) << fault.function;
        const std::string nth = std::to_string(calls[fault.function] - 5), result = std::to_string(fault.result);
        const cli::Result lost = run(kRun, std::string("fail=") + fault.function + ":" + nth + ":" + result);
        cli::expect_cut_short(lost, whole, "ternion: error: cuda:host: ");
        EXPECT_TRUE(cli::contains(lost.err, fault.name + (" (" + result + "): start the program again;"))) << lost.err;
        EXPECT_FALSE(cli::contains(lost.err, "self-test")) << lost.err;
        EXPECT_GT(lost.out.find_last_not_of('\n') + 1, 4u) << lost.out;
    }
}

TEST(CudaProgram, ADeviceThatComputesWronglyIsLeftOut)
{
    for (const char *kernel : {"ternary_one", "row"}) {
        const cli::Result result = run(kRun, std::string("bent=") + kernel);
        EXPECT_EQ(result.status, 1) << kernel;
        EXPECT_EQ(result.err.find("ternion: error: cuda:host: self-test: "), 0u) << result.err;
        EXPECT_TRUE(cli::contains(result.err, " than the reference: CUDA 13.0; this device is left out")) << result.err;
        EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
        EXPECT_EQ(result.out, "");
    }
}

TEST(CudaProgram, ADeviceThatIsLostAtOnceEndsEveryCommand)
{
    const auto run_lost = [](const std::vector<std::string> &command) {
        const cli::Result result = run(command, "fail=cuGraphLaunch:1:719");
        EXPECT_TRUE(cli::contains(result.err, "cuda:host: ")) << command[0] << ": " << result.err;
        return result;
    };
    cli::expect_every_command_ends(kRun, run_lost, "CUDA_ERROR_LAUNCH_FAILED (719)");
}

TEST(CudaProgram, AModelThatDoesNotFitIsRefusedWithTheFigures)
{
    const cli::Result result = run(kRun, "memory_mib=2");
    EXPECT_EQ(result.status, 1) << result.err;
    EXPECT_TRUE(cli::contains(result.err, "cuda:host: ")) << result.err;
    EXPECT_TRUE(cli::contains(result.err, " of 2 MiB are free: ")) << result.err;
    EXPECT_EQ(result.out, "");
}

} // namespace
