// The program on a CUDA device, whole and while the device is lost: the CPU's text; what was written stays, one line says which device and
// why, the exit status tells, and nothing is left in the driver (which would end the program with 99).
#include "cli/program.hpp"

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
    const std::string whole = run(kRun).out;
    for (const char *fault : {"cuGraphLaunch:6:719", "cuEventSynchronize:9:700"}) {
        const cli::Result result = run(kRun, std::string("fail=") + fault);
        EXPECT_EQ(result.status, 1) << fault;
        EXPECT_EQ(result.err.find("ternion: error: cuda:host: "), 0u) << result.err;
        EXPECT_TRUE(cli::contains(result.err, fault[2] == 'G' ? "CUDA_ERROR_LAUNCH_FAILED (719): start the program again;"
                                                              : "CUDA_ERROR_ILLEGAL_ADDRESS (700): start the program again;"))
            << result.err;
        EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
        EXPECT_LT(result.out.size(), whole.size());
        const size_t n = result.out.find_last_not_of('\n') + 1;
        EXPECT_EQ(result.out.substr(0, n), whole.substr(0, n));
    }
}

TEST(CudaProgram, ADeviceThatIsLostAtOnceEndsEveryCommand)
{
    const cli::Folder folder;
    cli::write_file(folder / "in",
                    R"({"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": {"prompt": "A cat", "max_tokens": 9}})");
    cli::write_file(folder / "ids", "3 4 5 6");
    const std::vector<std::vector<std::string>> commands = {
        kRun, {"batch", "-i", folder / "in", "-o", folder / "out", "--concurrency", "1"}, {"logits", "--tokens", folder / "ids", "--hash"}};
    for (const std::vector<std::string> &command : commands) {
        const cli::Result result = run(command, "fail=cuGraphLaunch:1:719");
        EXPECT_EQ(result.status, 1) << command[0] << result.err;
        EXPECT_TRUE(cli::contains(result.err, "cuda:host: ")) << command[0] << ": " << result.err;
        EXPECT_TRUE(cli::contains(result.err, "CUDA_ERROR_LAUNCH_FAILED (719)")) << command[0] << ": " << result.err;
    }
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
