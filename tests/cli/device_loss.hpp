// What the program leaves when its device is lost.
#pragma once

#include "cli/program.hpp"

namespace cli
{

// One line, which begins with `line`, and no more of the text than a part of what the whole run writes.
inline void expect_cut_short(const Result &result, const Result &whole, const std::string &line)
{
    EXPECT_EQ(result.status, 1) << result.err;
    EXPECT_EQ(result.err.find(line), 0u) << result.err;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    EXPECT_LT(result.out.size(), whole.out.size());
    const size_t n = result.out.find_last_not_of('\n') + 1;
    EXPECT_EQ(result.out.substr(0, n), whole.out.substr(0, n));
}

// Every command that computes ends so where `run` gives it a device that is lost at once.
inline void expect_every_command_ends(const std::vector<std::string> &run_command,
                                      const std::function<Result(const std::vector<std::string> &)> &run, const std::string &why)
{
    const Folder folder;
    write_file(folder / "in",
               R"({"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": {"prompt": "A cat", "max_tokens": 9}})");
    write_file(folder / "ids", "3 4 5 6");
    const std::vector<std::vector<std::string>> commands = {run_command,
                                                            {"batch", "-i", folder / "in", "-o", folder / "out", "--concurrency", "1"},
                                                            {"logits", "--tokens", folder / "ids", "--hash"}};
    for (const std::vector<std::string> &command : commands) {
        const Result result = run(command);
        EXPECT_EQ(result.status, 1) << command[0] << ": " << result.err;
        EXPECT_TRUE(contains(result.err, why)) << command[0] << ": " << result.err;
    }
}

} // namespace cli
