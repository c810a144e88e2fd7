// What is said of a batch on its way, and how much memory it takes.
#include <gtest/gtest.h>
#include <string>

extern "C" {
#include "batch_progress.h"
#include "batch_size.h"
#include "units.h"
}

namespace
{

constexpr uint64_t second = 1000000000u;

std::string described(const tn_cli_batch_counts &counts, const tn_batcher_info &info, uint64_t now, bool brief = false)
{
    char text[200];
    tn_cli_batch_describe(&counts, &info, now, brief, text, sizeof text);
    return text;
}

TEST(BatchProgress, SaysLinesQueueSpeedAndTimeLeft)
{
    tn_cli_batch_counts counts = {};
    tn_batcher_info info = TN_BATCHER_INFO_INIT;
    counts.n_ok = 30;
    counts.n_before = 20;
    counts.bytes_before = 200;
    counts.bytes_read = 600;
    counts.bytes_in_work = 100;
    counts.bytes = 1000;
    counts.begun_ns = 5 * second;
    info.n_running = 8;
    info.n_waiting = 24;
    info.n_prompt_tokens = 400;
    info.n_generated = 600;
    // 300 bytes of this run's in 10 s, 500 are left.
    EXPECT_EQ(described(counts, info, 15 * second), "50 lines done, 8 running, 24 waiting, 100 tokens/s, ETA 16.67 s");
    EXPECT_EQ(described(counts, info, 15 * second, true), "50 done  queue 8+24  100 t/s  ETA 16.67 s");
    counts.n_failed = 2;
    counts.bytes = 0;
    EXPECT_EQ(described(counts, info, 15 * second), "52 lines done, 2 failed, 8 running, 24 waiting, 100 tokens/s")
        << "a pipe has no end to see";
}

TEST(BatchProgress, SaysNoTimeWhereNothingIsDoneYet)
{
    tn_cli_batch_counts counts = {};
    const tn_batcher_info info = TN_BATCHER_INFO_INIT;
    counts.bytes = 1000;
    counts.bytes_read = counts.bytes_in_work = 300;
    EXPECT_EQ(described(counts, info, second), "0 lines done, 0 running, 0 waiting, 0 tokens/s");
}

constexpr uint64_t gib = 1u << 30;

TEST(BatchSize, AutomaticIsWhatFitsIntoHalfOfTheMemory)
{
    const tn_cli_batch_size size = tn_cli_batch_size_of(0, 0, gib, 21 * gib);
    EXPECT_TRUE(size.automatic);
    EXPECT_EQ(size.n_seqs, 10u);
    EXPECT_EQ(size.kv_bytes, 10 * gib);
    EXPECT_EQ(tn_cli_batch_size_of(0, 0, gib, 1000 * gib).n_seqs, 64u);
    EXPECT_EQ(tn_cli_batch_size_of(0, 3 * gib, gib, 1000 * gib).n_seqs, 3u);
}

TEST(BatchSize, OneAnswerFitsAlways)
{
    for (uint64_t free_bytes : {uint64_t{0}, gib, 2 * gib - 1}) {
        const tn_cli_batch_size size = tn_cli_batch_size_of(0, 0, gib, free_bytes);
        EXPECT_EQ(size.n_seqs, 1u);
        EXPECT_EQ(size.kv_bytes, gib);
    }
}

TEST(BatchSize, ANumberIsTakenAndTheirPagesAreSharedWhereMemoryIsScarce)
{
    tn_cli_batch_size size = tn_cli_batch_size_of(100, 0, gib, 40 * gib);
    EXPECT_FALSE(size.automatic);
    EXPECT_EQ(size.n_seqs, 100u);
    EXPECT_EQ(size.kv_bytes, 20 * gib);
    size = tn_cli_batch_size_of(4, 0, gib, 40 * gib);
    EXPECT_EQ(size.kv_bytes, 4 * gib);
    size = tn_cli_batch_size_of(4, gib / 2, gib, 40 * gib);
    EXPECT_EQ(size.kv_bytes, gib / 2) << "as the flag says";
    EXPECT_EQ(tn_cli_batch_size_of(4096, UINT64_MAX, UINT64_MAX / 100, 0).kv_bytes, UINT64_MAX) << "no overflow";
}

} // namespace
