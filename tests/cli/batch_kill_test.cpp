// ternion batch killed at random moments, over and over: in the end every line has its result, once and whole. TN_BATCH_KILLS says how
// often. And its memory over a long input, where TN_BATCH_LONG is set.
#include "batch_files.hpp"

#include <chrono>
#include <thread>

namespace
{

using Results = std::map<std::string, std::string>;

const char *const kills_text = std::getenv("TN_BATCH_KILLS");
const int n_kills = kills_text ? std::atoi(kills_text) : 12;

double seconds_since(std::chrono::steady_clock::time_point begin)
{
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// A run that is killed goes on from what it left, until the next kill or its end; then the next one begins.
TEST(BatchKilled, NoLineIsLostDoubledOrCut)
{
    const cli::Folder folder;
    const std::string in = folder / "in.jsonl", out = folder / "out.jsonl";
    cli::write_file(in, cli::many_completions(80, 12) + "bad\n\n" + cli::completion("last", "A cat", "\"max_tokens\": 2"));
    const cli::Run run = {{"batch", "-i", in, "-o", out, "-q", "-t", "1", "-np", "8", "-c", "256"}, "", {}};
    const auto begin = std::chrono::steady_clock::now();
    ASSERT_EQ(cli::Started(run).wait(), 0);
    const double whole = seconds_since(begin);
    const Results expected = cli::results_of(cli::read_file(out));
    ASSERT_EQ(expected.size(), 82u);
    std::mt19937 random(std::random_device{}());
    int n_killed = 0, n_ended = 0, n_begun = 0, n_unfinished = 0;
    unlink(out.c_str());
    while (n_killed < n_kills) {
        cli::Started program(run);
        // A third of them early, while files are opened and weights packed.
        const double most = random() % 3 ? whole : whole / 10;
        std::this_thread::sleep_for(std::chrono::duration<double>(most * static_cast<double>(random() % 1000) / 1000));
        program.kill(SIGKILL);
        const int status = program.wait();
        ASSERT_TRUE(status == 0 || status == 128 + SIGKILL) << status;
        const std::string bytes = cli::read_file(out);
        const size_t end = bytes.rfind('\n');
        const Results there = cli::results_of(end == std::string::npos ? "" : bytes.substr(0, end + 1));
        for (const auto &[id, result] : there) ASSERT_EQ(result, expected.at(id));
        n_killed += status != 0;
        n_begun += status != 0 && !there.empty();
        n_unfinished += !bytes.empty() && bytes.back() != '\n';
        if (status == 0) {
            n_ended++;
            ASSERT_EQ(there, expected);
            unlink(out.c_str());
        }
    }
    ASSERT_EQ(cli::Started(run).wait(), 0);
    EXPECT_EQ(cli::results_of(cli::read_file(out)), expected);
    printf("%d kills, %d of them with results written, %d with half a line; %d runs came to their end between\n", n_killed, n_begun,
           n_unfinished, n_ended);
    EXPECT_GT(n_begun, 0);
}

// A process that is killed is seldom in the middle of a write; a machine that loses power often is.
TEST(BatchKilled, GoesOnFromWhatACrashOfTheMachineLeaves)
{
    const cli::Folder folder;
    const std::string in = folder / "in.jsonl", out = folder / "out.jsonl";
    cli::write_file(in, cli::many_completions(10, 4));
    const cli::Run run = {{"batch", "-i", in, "-o", out, "-q", "-t", "1", "-np", "4", "-c", "256"}, "", {}};
    ASSERT_EQ(cli::Started(run).wait(), 0);
    const std::string whole = cli::read_file(out);
    const Results expected = cli::results_of(whole);
    std::mt19937 random(9);
    for (int i = 0; i < n_kills / 3; i++) {
        // What a crash can leave: the file at any length, and beyond it zeros where the disk kept the length alone.
        cli::write_file(out, whole.substr(0, random() % whole.size()) + std::string(random() % 2 ? random() % 5000 : 0, '\0'));
        const std::string left = cli::read_file(out);
        const int status = cli::Started(run).wait();
        const size_t newline = left.rfind('\n');
        const std::string tail = left.substr(newline == std::string::npos ? 0 : newline + 1);
        ASSERT_EQ(status, 0) << tail.substr(0, 200);
        EXPECT_EQ(cli::results_of(cli::read_file(out)), expected);
    }
}

uint64_t peak_memory(int n)
{
    const cli::Folder folder;
    const std::string in = folder / "in.jsonl", out = folder / "out.jsonl";
    cli::write_file(in, cli::many_completions(n, 2));
    uint64_t bytes = 0;
    EXPECT_EQ(cli::Started({{"batch", "-i", in, "-o", out, "-q", "-t", "1", "-np", "16", "-c", "128"}, "", {}}).wait(&bytes), 0);
    EXPECT_EQ(cli::results_of(cli::read_file(out)).size(), static_cast<size_t>(n));
    return bytes;
}

TEST(BatchLong, MemoryDoesNotGrowWithTheInput)
{
    if (!std::getenv("TN_BATCH_LONG")) GTEST_SKIP() << "22 000 requests, in the slow tests";
    const uint64_t few = peak_memory(2000), many = peak_memory(20000);
    printf("peak memory %.2f MiB for 2 000 lines, %.2f MiB for 20 000\n", static_cast<double>(few) / (1 << 20),
           static_cast<double>(many) / (1 << 20));
    EXPECT_LT(many, few + (1 << 20));
}

} // namespace
