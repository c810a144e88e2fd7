// Tests of the log and progress hooks.
#include <gtest/gtest.h>
#include <string>
#include <utility>
#include <vector>

extern "C" {
#include "base/log.h"
#include "base/status.h"
}

namespace
{

using Lines = std::vector<std::pair<tn_log_level, std::string>>;

tn_log collect(Lines *lines, tn_log_level level_max)
{
    tn_log log{};
    log.write = [](void *user, tn_log_level level, const char *message) { static_cast<Lines *>(user)->emplace_back(level, message); };
    log.user = lines;
    log.level_max = level_max;
    return log;
}

TEST(Log, LinesReachTheHookUpToItsLevel)
{
    Lines lines;
    const tn_log log = collect(&lines, TN_LOG_INFO);
    tn_log_write(&log, TN_LOG_ERROR, "e%d", 1);
    tn_log_write(&log, TN_LOG_INFO, "i");
    tn_log_write(&log, TN_LOG_DEBUG, "d");
    EXPECT_EQ(lines, (Lines{{TN_LOG_ERROR, "e1"}, {TN_LOG_INFO, "i"}}));
}

TEST(Log, LevelZeroMeansWarnings)
{
    Lines lines;
    const tn_log log = collect(&lines, static_cast<tn_log_level>(0));
    tn_log_write(&log, TN_LOG_WARN, "w");
    tn_log_write(&log, TN_LOG_INFO, "i");
    EXPECT_EQ(lines, (Lines{{TN_LOG_WARN, "w"}}));
}

TEST(Log, LinesAreEscapedAndBounded)
{
    Lines lines;
    const tn_log log = collect(&lines, TN_LOG_WARN);
    tn_log_write(&log, TN_LOG_WARN, "a\nb%s", "\x1b");
    tn_log_write(&log, TN_LOG_WARN, "%s", std::string(10000, 'y').c_str());
    ASSERT_EQ(lines.size(), 2u);
    EXPECT_EQ(lines[0].second, "a\\nb\\x1b");
    EXPECT_LT(lines[1].second.size(), 2000u);
    EXPECT_GT(lines[1].second.size(), 500u);
}

TEST(Log, WithoutAHookWarningsGoToStderr)
{
    testing::internal::CaptureStderr();
    tn_log_write(nullptr, TN_LOG_WARN, "careful");
    tn_log_write(nullptr, TN_LOG_INFO, "chatter");
    const tn_log verbose{nullptr, nullptr, TN_LOG_DEBUG};
    tn_log_write(&verbose, TN_LOG_DEBUG, "detail");
    tn_log_write(&verbose, TN_LOG_INFO, "news");
    tn_log_write(&verbose, TN_LOG_ERROR, "broken");
    EXPECT_EQ(testing::internal::GetCapturedStderr(),
              "ternion: warning: careful\nternion: debug: detail\nternion: info: news\nternion: error: broken\n");
}

TEST(Progress, NobodyAskedMeansGoOn)
{
    EXPECT_EQ(tn_progress_report(nullptr, "load", 1, 2), TN_OK);
    const tn_progress empty{};
    EXPECT_EQ(tn_progress_report(&empty, "load", 1, 2), TN_OK);
}

TEST(Progress, TheHookSeesTheValuesAndCancels)
{
    struct Seen {
        std::string stage;
        uint64_t done, total;
    } seen{};
    tn_progress progress{};
    progress.update = [](void *user, const char *stage, uint64_t done, uint64_t total) {
        *static_cast<Seen *>(user) = {stage, done, total};
        return done < 5;
    };
    progress.user = &seen;
    EXPECT_EQ(tn_progress_report(&progress, "load", 4, 9), TN_OK);
    EXPECT_EQ(seen.stage, "load");
    EXPECT_EQ(seen.done, 4u);
    EXPECT_EQ(seen.total, 9u);
    EXPECT_EQ(tn_progress_report(&progress, "pack", 5, 9), TN_CANCELLED);
    EXPECT_NE(std::string(tn_error_last()->message).find("pack"), std::string::npos);
}

} // namespace
