// Bars on a terminal, lines elsewhere, nothing for short work.
#include <gtest/gtest.h>
#include <string>

extern "C" {
#include "progress.h"
#include "units.h"
}

namespace
{

constexpr uint64_t second = 1000000000u;

// What is printed when a stage that began `ago` ns ago is at 300 of 1200.
std::string printed(tn_cli_term term, uint64_t ago, bool quiet = false, bool clear = false)
{
    tn_cli_progress progress = {};
    progress.term = &term;
    progress.quiet = quiet;
    testing::internal::CaptureStderr();
    EXPECT_TRUE(tn_cli_progress_update(&progress, "packing", 0, 1200));
    progress.begun_ns -= ago;
    progress.shown_ns -= ago;
    EXPECT_TRUE(tn_cli_progress_update(&progress, "packing", 300, 1200));
    if (clear) tn_cli_progress_end(&progress);
    return testing::internal::GetCapturedStderr();
}

const tn_cli_term terminal = {2, true, false}, pipe_end = {2, false, false};

TEST(Progress, OnATerminalIsABarWithRateAndTimeLeft)
{
    const std::string bar = printed(terminal, 3 * second);
    EXPECT_EQ(bar.rfind("\r\033[K[packing ####", 0), 0u) << bar;
    EXPECT_NE(bar.find("  25 %  300/1.20 k  "), std::string::npos) << bar;
    EXPECT_NE(bar.find("/s  ETA "), std::string::npos) << bar;
    EXPECT_EQ(bar.find('\n'), std::string::npos);
    EXPECT_EQ(printed(terminal, 3 * second, false, true), bar + "\r\033[K") << "the end removes the bar";
}

TEST(Progress, ElsewhereIsAPlainLineEveryFiveSeconds)
{
    EXPECT_EQ(printed(pipe_end, 4 * second), "");
    const std::string line = printed(pipe_end, 6 * second, false, true);
    EXPECT_EQ(line.rfind("packing: 25 %, 300 of 1.20 k, 50/s, ETA 1", 0), 0u) << line;
    EXPECT_EQ(line.find_first_of("\r\033"), std::string::npos);
    EXPECT_EQ(line.find('\n'), line.size() - 1);
}

TEST(Progress, ShortWorkAndQuietWorkShowNothing)
{
    EXPECT_EQ(printed(terminal, 0), "");
    EXPECT_EQ(printed(terminal, 60 * second, true), "");
    EXPECT_EQ(printed(pipe_end, 60 * second, true), "");
}

// The same stage several times in a row, as when each of some programs is compiled.
TEST(Progress, RateAndTimeLeftAreOfTheRoundThatRuns)
{
    tn_cli_progress progress = {};
    progress.term = &pipe_end;
    const auto after = [&progress](uint64_t ago, uint64_t done, uint64_t total) {
        progress.begun_ns -= ago;
        progress.shown_ns -= ago;
        testing::internal::CaptureStderr();
        EXPECT_TRUE(tn_cli_progress_update(&progress, "compiling", done, total));
        return testing::internal::GetCapturedStderr();
    };
    EXPECT_EQ(after(0, 0, 9), "");
    EXPECT_EQ(after(10 * second, 9, 9).rfind("compiling: 100 %, 9 of 9, ", 0), 0u);
    EXPECT_EQ(after(100 * second, 0, 9), "") << "less is done: a new round";
    EXPECT_EQ(after(10 * second, 5, 9).rfind("compiling: 56 %, 5 of 9, 0/s, ETA 8.0", 0), 0u);
    EXPECT_EQ(after(100 * second, 5, 40), "") << "another sum: a new round";
    EXPECT_EQ(after(10 * second, 20, 40).rfind("compiling: 50 %, 20 of 40, 2/s, ETA 10.0", 0), 0u);
}

TEST(Progress, PartsAreShownAsPartsOfTheWhole)
{
    tn_cli_progress progress = {};
    progress.term = &pipe_end;
    progress.base = 500;
    progress.whole = 1000;
    testing::internal::CaptureStderr();
    EXPECT_TRUE(tn_cli_progress_update(&progress, "prompt", 0, 100));
    progress.begun_ns -= 10 * second;
    progress.shown_ns -= 10 * second;
    EXPECT_TRUE(tn_cli_progress_update(&progress, "prompt", 100, 100));
    EXPECT_EQ(testing::internal::GetCapturedStderr().rfind("prompt: 60 %, 600 of 1.00 k", 0), 0u);
}

TEST(Units, AreReadable)
{
    char text[40];
    tn_cli_format_bytes(1536, text, sizeof text);
    EXPECT_STREQ(text, "1.50 KiB");
    tn_cli_format_bytes(12, text, sizeof text);
    EXPECT_STREQ(text, "12 B");
    tn_cli_format_count(5776640, text, sizeof text);
    EXPECT_STREQ(text, "5.78 M");
    tn_cli_format_seconds(0.0123, text, sizeof text);
    EXPECT_STREQ(text, "12.3 ms");
    tn_cli_format_seconds(4.2, text, sizeof text);
    EXPECT_STREQ(text, "4.20 s");
    tn_cli_format_seconds(200, text, sizeof text);
    EXPECT_STREQ(text, "3 min 20 s");
    EXPECT_EQ(tn_cli_rate(10, second / 2), 20);
    EXPECT_EQ(tn_cli_rate(10, 0), 0);
}

} // namespace
