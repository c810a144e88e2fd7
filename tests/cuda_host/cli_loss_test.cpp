// The program on a CUDA device, whole and while the device is lost or full: the CPU's text, one line that says which device and why, and
// nothing is left in the driver (which would end the program with 99).
#include "cli/program.hpp"
#include "support/quick.hpp"

#include <fstream>
#include <jansson.h>
#include <map>

namespace
{

cli::Result run(std::vector<std::string> arguments, const std::string &options = "")
{
    arguments.insert(arguments.end(), {"--device", "cuda:host"});
    return cli::run(cli::Run{std::move(arguments), "", {{"TN_CUDA_LIBRARY", TN_STAND_IN}, {"TN_CUDA_HOST", options}}});
}

// Answers of a batch's output by their requests.
std::map<std::string, std::string> texts_of(const std::string &path)
{
    std::map<std::string, std::string> texts;
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
        json_t *root = json_loads(line.c_str(), 0, nullptr);
        const json_t *choice = json_array_get(json_object_get(json_object_get(json_object_get(root, "response"), "body"), "choices"), 0);
        const char *id = json_string_value(json_object_get(root, "custom_id")), *text = json_string_value(json_object_get(choice, "text"));
        EXPECT_TRUE(id && text) << line;
        if (id && text) texts[id] = text;
        json_decref(root);
    }
    return texts;
}

const std::vector<std::string> kRun = {"run", "-p", "The king said to his daughter", "-q", "-n", "8", "--temp", "0"};
const std::vector<std::string> kShort = {"run", "-p", "The king", "-q", "-n", "2", "--temp", "0"};

TEST(CudaProgram, WritesWhatTheCpuWrites)
{
    const cli::Result cpu = cli::run(cli::Run{kRun, "", {}});
    for (const char *options : {"", "capability=75", "sms=132"}) {
        if (tn_test::is_quick() && options[0]) continue; // cuda_step_fault_test and conformance_test have the other forms
        const cli::Result result = run(kRun, options);
        EXPECT_EQ(result.status, 0) << options << result.err;
        EXPECT_EQ(result.err, "") << options;
        EXPECT_EQ(result.out, cpu.out) << options;
    }
    std::vector<std::string> parted = kRun;
    parted.insert(parted.end(), {"-ngl", "3"});
    EXPECT_EQ(run(parted).out, cpu.out);
}

TEST(CudaProgram, ADeviceThatComputesWronglyIsLeftOut)
{
    for (const char *kernel : {"ternary_one_bmma", "row"}) {
        const cli::Result result = run(kRun, std::string("bent=") + kernel);
        EXPECT_EQ(result.status, 1) << kernel;
        EXPECT_EQ(result.err.find("ternion: error: cuda:host: self-test: "), 0u) << result.err;
        EXPECT_TRUE(cli::contains(result.err, " than the reference: CUDA 13.0; this device is left out")) << result.err;
        EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
        EXPECT_EQ(result.out, "");
    }
}

// The answer is whole, and one line says where it was made. Whether the fault came to pass at all.
bool goes_on(const std::vector<std::string> &command, const std::string &fault, const std::string &what, const std::string &text)
{
    const cli::Result result = run(command, "fail=" + fault);
    EXPECT_EQ(result.status, 0) << fault << result.err;
    EXPECT_EQ(result.out, text) << fault << result.err;
    if (result.err.empty()) return false;
    EXPECT_EQ(result.err.find("ternion: warning: cuda:host " + what + " ("), 0u) << fault << ": " << result.err;
    EXPECT_TRUE(cli::contains(result.err, "): going on on ")) << fault << ": " << result.err;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << fault << ": " << result.err;
    return true;
}

// Every call, from the one where the device is opened on, as long as there is another.
uint32_t fail_every(const std::vector<std::string> &command, const std::string &function, int code, const std::string &what,
                    const std::string &text)
{
    uint32_t n = 1;
    while (n < 500 && !testing::Test::HasFailure() &&
           goes_on(command, function + ":" + std::to_string(n) + ":" + std::to_string(code), what, text))
        n++;
    return n - 1;
}

TEST(CudaProgram, ALostDeviceIsLeftWithOneLine)
{
    const std::string text = cli::run(cli::Run{kRun, "", {}}).out;
    std::vector<std::string> parted = kRun;
    parted.insert(parted.end(), {"-ngl", "3"});
    // Behind some 20 steps of the self-test.
    for (const std::vector<std::string> &command : {kRun, parted}) {
        EXPECT_TRUE(goes_on(command, "cuGraphLaunch:26:719", "was lost", text));
        EXPECT_TRUE(goes_on(command, "cuEventSynchronize:26:700", "was lost", text));
        if (tn_test::is_quick()) break;
    }
    const cli::Result said = run(kRun, "fail=cuGraphLaunch:26:719");
    EXPECT_EQ(said.err,
              "ternion: warning: cuda:host was lost (starting a step failed with CUDA_ERROR_LAUNCH_FAILED (719)): going on on cpu0\n");
}

TEST(CudaProgram, EveryCallMayLoseTheDevice)
{
    const std::string text = cli::run(cli::Run{kShort, "", {}}).out;
    std::vector<std::string> parted = kShort;
    parted.insert(parted.end(), {"-ngl", "3"});
    EXPECT_GT(fail_every(parted, "cuGraphLaunch", 719, "was lost", text), 3u);
    EXPECT_GT(fail_every(parted, "cuEventSynchronize", 700, "was lost", text), 3u);
}

TEST(CudaProgram, EveryAllocationMayFail)
{
    const std::string text = cli::run(cli::Run{kShort, "", {}}).out;
    EXPECT_GT(fail_every(kShort, "cuMemAlloc", 2, "has too little memory", text), 3u);
}

TEST(CudaProgram, WhatIsMeasuredOrComparedFailsWithItsDevice)
{
    const cli::Folder folder;
    cli::write_file(folder / "ids", "3 4 5 6");
    const std::vector<std::vector<std::string>> commands = {{"logits", "--tokens", folder / "ids", "--hash"},
                                                            {"bench", "-p", "8", "-n", "4", "-r", "1"}};
    for (const std::vector<std::string> &command : commands) {
        const cli::Result result = run(command, "fail=cuGraphLaunch:1:719");
        EXPECT_EQ(result.status, 1) << command[0] << result.err;
        EXPECT_TRUE(cli::contains(result.err, "cuda:host: ")) << command[0] << ": " << result.err;
        EXPECT_TRUE(cli::contains(result.err, "CUDA_ERROR_LAUNCH_FAILED (719)")) << command[0] << ": " << result.err;
    }
}

// A file of 64 requests, all at a time.
TEST(CudaProgram, ABatchEndsWithTheSameTexts)
{
    const cli::Folder folder;
    std::string lines;
    for (int i = 0; i < 64; i++)
        lines += R"({"custom_id": "r)" + std::to_string(i) +
                 R"(", "method": "POST", "url": "/v1/completions", "body": {"prompt": "A cat and )" + std::to_string(i) +
                 R"( dogs", "max_tokens": 6, "temperature": 0.7, "seed": )" + std::to_string(i) + "}}\n";
    cli::write_file(folder / "in", lines);
    const auto texts = [&](const std::string &out, const std::string &options) {
        const cli::Result result =
            run({"batch", "-i", folder / "in", "-o", folder / out, "--concurrency", "64", "-c", "64", "-q", "-ngl", "3"}, options);
        EXPECT_EQ(result.status, 0) << result.err;
        EXPECT_EQ(cli::contains(result.err, "was lost"), options.find("fail=") == 0) << result.err;
        return texts_of(folder / out);
    };
    const std::map<std::string, std::string> want = texts("whole", "");
    ASSERT_EQ(want.size(), 64u);
    // Counted from the end of a run that goes well: the device is there through its self-test and the first steps.
    EXPECT_EQ(texts("counted", "calls=" + (folder / "calls")), want);
    std::map<std::string, int> calls;
    std::ifstream file(folder / "calls");
    std::string function;
    for (int n; file >> function >> n;) calls[function] = n;
    for (const auto &[name, code] : {std::pair<const char *, int>{"cuGraphLaunch", 719}, {"cuEventSynchronize", 700}}) {
        ASSERT_GT(calls[name], 12) << name;
        EXPECT_EQ(texts(name, "fail=" + std::string(name) + ":" + std::to_string(calls[name] - 4) + ":" + std::to_string(code)), want);
    }
}

// It opens the device to ask how many answers have room, before it has a session that could go on.
TEST(CudaProgram, ABatchGoesOnWhereItsDeviceFailsBeforeItHasASession)
{
    const cli::Folder folder;
    std::string lines;
    for (int i = 0; i < 3; i++)
        lines += R"({"custom_id": "r)" + std::to_string(i) +
                 R"(", "method": "POST", "url": "/v1/completions", "body": {"prompt": "A cat and )" + std::to_string(i) +
                 R"( dogs", "max_tokens": 6, "temperature": 0.7, "seed": )" + std::to_string(i) + "}}\n";
    cli::write_file(folder / "in", lines);
    const std::vector<std::string> batch = {"batch", "-i", folder / "in", "-o", folder / "out", "-c", "64", "--kv-memory", "2M", "-q"};
    std::map<std::string, std::string> want;
    {
        const cli::Result result = cli::run(cli::Run{batch, "", {}});
        EXPECT_EQ(result.status, 0) << result.err;
        want = texts_of(folder / "out");
        ASSERT_EQ(want.size(), 3u);
    }
    const std::pair<const char *, const char *> faults[] = {{"cuModuleLoadData:1:719", "cuModuleLoadData of the stand-in's kernels"},
                                                            {"cuStreamCreate:1:719", "cuStreamCreate"},
                                                            {"cuGraphLaunch:1:719", "self-test: starting a step"},
                                                            {"cuModuleLoadData:1:2", ""}};
    for (const auto &[fault, what] : faults) {
        ASSERT_EQ(unlink((folder / "out").c_str()), 0); // what is there would not be answered again
        const cli::Result result = run(batch, std::string("fail=") + fault);
        EXPECT_EQ(result.status, 0) << fault << result.err;
        EXPECT_EQ(texts_of(folder / "out"), want) << fault;
        const std::string line = std::string("ternion: warning: cuda:host was lost (") + what +
                                 " failed with CUDA_ERROR_LAUNCH_FAILED (719)): going on on cpu0\n";
        EXPECT_EQ(result.err, *what ? line : "") << fault; // there is memory the next time
    }
}

TEST(CudaProgram, AModelThatDoesNotFitIsElsewhereAndTheFiguresAreSaid)
{
    const cli::Result result = run(kRun, "memory_mib=5"); // of which the self-test needs more than 4
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_EQ(result.err.find("ternion: warning: cuda:host has too little memory ("), 0u) << result.err;
    EXPECT_TRUE(cli::contains(result.err, "5 of 5 MiB are free")) << result.err;
    EXPECT_TRUE(cli::contains(result.err, "): going on on cpu0: ")) << result.err;
    EXPECT_EQ(result.out, cli::run(cli::Run{kRun, "", {}}).out);
}

} // namespace
