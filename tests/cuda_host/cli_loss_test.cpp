// The program on a CUDA device, whole and while the device is lost: the CPU's text; what was written stays, one line says which device and
// why, the exit status tells, and nothing is left in the driver (which would end the program with 99).
#include "cli/device_loss.hpp"

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

TEST(CudaProgram, ALostDeviceEndsRunWithOneLine)
{
    const cli::Result whole = run(kRun);
    for (const auto &[fault, why] : {std::pair("cuGraphLaunch:6:719", "CUDA_ERROR_LAUNCH_FAILED (719): start the program again;"),
                                     {"cuEventSynchronize:9:700", "CUDA_ERROR_ILLEGAL_ADDRESS (700): start the program again;"}}) {
        const cli::Result result = run(kRun, std::string("fail=") + fault);
        cli::expect_cut_short(result, whole, "ternion: error: cuda:host: ");
        EXPECT_TRUE(cli::contains(result.err, why)) << result.err;
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
