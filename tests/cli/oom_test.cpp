// The program with its 1st, 2nd, 3rd ... allocation failing, once and from there on: it ends by itself, says so in one line, and what it
// printed or wrote is whole or not there. With TN_OOM_ALL set every allocation is tried, else a sample of them.
#include "batch_files.hpp"
#include "convert/checkpoint.h"
#include "program.hpp"
#include "support/quick.hpp"
#include "support/seed_models.hpp"

namespace
{

struct Command {
    std::string name;
    std::vector<std::string> arguments;
    std::string output;  // file that it writes, "": none
    bool varies = false; // what it prints has times in it
};

const bool all = std::getenv("TN_OOM_ALL") != nullptr;

// After 1: the next index to try. Every one of the first, then ever fewer.
long after(long nth)
{
    const long n_first = tn_test::is_quick() ? 8 : 20, share = tn_test::is_quick() ? 3 : 8;
    return all || nth < n_first ? nth + 1 : nth + 1 + nth / share;
}

std::vector<std::string> lines_of(const std::string &text)
{
    std::vector<std::string> lines;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
}

// One error and nothing that is no message.
void expect_one_error(const cli::Result &result)
{
    size_t errors = 0;
    for (const auto &line : lines_of(result.err)) {
        if (line.rfind("ternion: error: ", 0) == 0)
            errors++;
        else
            EXPECT_EQ(line.rfind("ternion: warning: ", 0), 0u) << line;
    }
    EXPECT_EQ(errors, 1u) << result.err;
}

cli::Result run_failing(const Command &command, long nth, bool forever, const std::string &mark)
{
    cli::Run run{command.arguments, "", {{"TN_FAIL_NTH", std::to_string(nth)}, {"TN_FAIL_MARK", mark}}};
    if (forever) run.environment.push_back({"TN_FAIL_FOREVER", "1"});
    if (std::strlen(TN_FAIL_LIBRARY)) run.environment.push_back({"LD_PRELOAD", TN_FAIL_LIBRARY});
    return cli::run(run);
}

void fail_each(const Command &command, const cli::Folder &folder)
{
    const std::string mark = folder / "mark";
    const cli::Result whole = cli::run(command.arguments);
    ASSERT_EQ(whole.status, 0) << whole.err;
    const std::string written = command.output.empty() ? "" : cli::read_file(command.output);
    if (!command.output.empty()) unlink(command.output.c_str());
    const size_t n_files = folder.count();
    long tried = 0, refused = 0;
    for (bool forever : {false, true}) {
        for (long nth = 1;; nth = after(nth)) {
            SCOPED_TRACE(command.name + ", allocation " + std::to_string(nth) + (forever ? " and all after it" : ""));
            const cli::Result result = run_failing(command, nth, forever, mark);
            const bool failed = cli::exists(mark);
            unlink(mark.c_str());
            tried++;
            ASSERT_TRUE(result.status == 0 || result.status == 1) << result.status << ": " << result.err;
            if (result.status == 0) {
                if (!command.varies) {
                    ASSERT_EQ(result.out, whole.out);
                }
                if (!command.output.empty()) {
                    ASSERT_TRUE(cli::read_file(command.output) == written);
                }
            } else {
                refused++;
                ASSERT_NO_FATAL_FAILURE(expect_one_error(result));
                if (!command.varies) {
                    ASSERT_EQ(whole.out.compare(0, result.out.size(), result.out), 0)
                        << result.out; // a beginning, where text is shown as it comes
                }
            }
            if (!command.output.empty()) unlink(command.output.c_str());
            ASSERT_EQ(folder.count(), n_files);
            if (testing::Test::HasFailure()) return;
            if (!failed) break; // no allocation was left to fail
        }
    }
    printf("%s: %ld runs, %ld of them ended with an error\n", command.name.c_str(), tried, refused);
    EXPECT_GT(refused, 20);
}

class ProgramOutOfMemory : public testing::Test
{
  protected:
    // A tiny model that this version runs.
    std::string model()
    {
        for (const auto &seed : tn_test::make_seed_models()) {
            if (seed.parts.size() > 1) continue;
            const std::string path = tn_test::write_seed_model(folder_ / "", {seed.parts[0].build()});
            if (cli::run({"run", "-m", path, "-p", "on a", "-n", "1", "-q", "-t", "1"}).status == 0) return path;
        }
        return "";
    }
    cli::Folder folder_;
};

TEST_F(ProgramOutOfMemory, Run)
{
    fail_each({"run", {"run", "-m", model(), "-p", "on a", "-n", "4", "--temp", "0", "-q", "-t", "1"}, ""}, folder_);
}

TEST_F(ProgramOutOfMemory, Show) { fail_each({"show", {"show", "-m", model()}, ""}, folder_); }

TEST_F(ProgramOutOfMemory, ShowJson) { fail_each({"show --json", {"show", "-m", model(), "--json"}, ""}, folder_); }

TEST_F(ProgramOutOfMemory, ShowLayouts) { fail_each({"show --layouts", {"show", "-m", model(), "--layouts", "--json"}, ""}, folder_); }

TEST_F(ProgramOutOfMemory, BenchWithAProfile)
{
    for (const char *format : {"md", "json"}) {
        fail_each(
            {std::string("bench -o ") + format,
             {"bench", "-m", model(), "--no-limits", "--profile", "-p", "4", "-n", "2", "-npl", "2", "-r", "1", "-t", "1", "-o", format},
             "",
             true},
            folder_);
    }
}

TEST_F(ProgramOutOfMemory, BenchOfBatches)
{
    const std::vector<std::string> tests = {"bench", "-m",   model(), "-npp", "4",  "-ntg", "2",  "-npl",
                                            "1,2",   "-pps", "-r",    "2",    "-t", "1",    "-o", "sql"};
    fail_each({"bench -npp -o sql", tests, "", true}, folder_);
}

TEST_F(ProgramOutOfMemory, EvalWithABaseline)
{
    const std::string base = folder_ / "base", text = "on a on a on a on a on a on a on a on a";
    const std::vector<std::string> common = {"eval", "-m", model(), "-p", text, "-c", "4", "-np", "2", "-q", "-t", "1"};
    std::vector<std::string> save = common, compare = common;
    save.insert(save.end(), {"--save-baseline", base});
    fail_each({"eval --save-baseline", save, base}, folder_);
    ASSERT_EQ(cli::run(save).status, 0);
    compare.insert(compare.end(), {"--baseline", base, "--json"});
    fail_each({"eval --baseline", compare, "", true}, folder_);
}

TEST_F(ProgramOutOfMemory, EvalTasks)
{
    const std::map<std::string, std::string> files = {
        {"hellaswag", "on\n1\na on\non on a\na a\non\n"},
        {"winogrande", "0,on _ on,a,on,1\n0,\"a _\",a,on,2\n"},
        {"multiple-choice", "{\"question\": \"on\", \"choices\": [\"a\", \"on a\"], \"answer\": \"A\"}\n"}};
    const std::string file = folder_ / "tasks";
    for (const auto &[kind, text] : files) {
        cli::write_file(file, text);
        fail_each({"eval --" + kind, {"eval", "-m", model(), "--" + kind, file, "--json", "-q", "-t", "1"}, "", true}, folder_);
    }
}

TEST_F(ProgramOutOfMemory, Tokenize) { fail_each({"tokenize", {"tokenize", "-m", model(), "-p", "on a <|user|> caf\u00e9"}, ""}, folder_); }

TEST_F(ProgramOutOfMemory, Convert)
{
    const TempFolder checkpoint;
    Checkpoint().write(checkpoint, "BF16", 2);
    const std::string out = folder_ / "out.gguf";
    fail_each({"convert", {"convert", checkpoint.path(), out, "-q"}, out}, folder_);
}

// A line for which memory is missing may fail alone; whatever else fails ends the run, which goes on when it is started again.
TEST_F(ProgramOutOfMemory, Batch)
{
    const std::string in = folder_ / "in.jsonl", out = folder_ / "out.jsonl", mark = folder_ / "mark";
    const std::string sampling = "\"max_tokens\": 3, \"seed\": 4, \"logprobs\": 2";
    cli::write_file(in, cli::completion("a", "on a", sampling) + cli::completion("b", "a", sampling) + "bad\n");
    const Command command = {"batch", {"batch", "-m", model(), "-i", in, "-o", out, "-q", "-t", "1", "-np", "2"}, "", true};
    ASSERT_EQ(cli::run(command.arguments).status, 0);
    const std::map<std::string, std::string> expected = cli::results_of(cli::read_file(out), true);
    ASSERT_EQ(expected.size(), 3u);
    unlink(out.c_str());
    long tried = 0, stopped = 0, n_failed_lines = 0;
    for (bool forever : {false, true}) {
        for (long nth = 1;; nth = after(nth)) {
            SCOPED_TRACE("allocation " + std::to_string(nth) + (forever ? " and all after it" : ""));
            const cli::Result result = run_failing(command, nth, forever, mark);
            const bool failed = cli::exists(mark);
            unlink(mark.c_str());
            tried++;
            stopped += result.status == 1;
            ASSERT_TRUE(result.status == 0 || result.status == 1) << result.status << ": " << result.err;
            size_t errors = 0;
            for (const std::string &line : lines_of(result.err)) errors += line.rfind("ternion: error: ", 0) == 0;
            ASSERT_EQ(errors, result.status == 1 ? 1u : 0u) << result.err;
            const cli::Result again = cli::run(command.arguments);
            ASSERT_EQ(again.status, 0) << again.err;
            const auto results = cli::results_of(cli::read_file(out), true);
            ASSERT_EQ(results.size(), expected.size());
            for (const auto &[id, line] : results) {
                const bool line_failed = cli::error_of(line) != cli::error_of(expected.at(id));
                n_failed_lines += line_failed;
                if (!line_failed) {
                    ASSERT_EQ(line, expected.at(id));
                }
            }
            unlink(out.c_str());
            if (!failed) break; // no allocation was left to fail
        }
    }
    printf("batch: %ld runs, %ld of them ended with an error, %ld lines failed alone\n", tried, stopped, n_failed_lines);
    EXPECT_GT(stopped, 20);
}

} // namespace
