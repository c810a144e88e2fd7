// The plan of an arena: what is in use at once shares no byte, and what is free is used again.
#include <gtest/gtest.h>
#include <random>
#include <vector>

extern "C" {
#include "cpu/cpu_arena.h"
}

namespace
{

class Arena : public ::testing::Test
{
  protected:
    Arena() { EXPECT_EQ(tn_cpu_arena_init(&arena_, 200), TN_OK); }
    ~Arena() override { tn_cpu_arena_deinit(&arena_); }
    uint32_t add(uint32_t task, uint64_t bytes)
    {
        uint32_t span = UINT32_MAX;
        EXPECT_TRUE(tn_cpu_arena_add(&arena_, task, bytes, &span));
        return span;
    }
    uint64_t place()
    {
        uint64_t bytes = 0;
        EXPECT_TRUE(tn_cpu_arena_place(&arena_, &bytes));
        return bytes;
    }
    uint64_t offset(uint32_t span) const { return arena_.spans[span].offset; }

    tn_cpu_arena arena_ = {};
};

TEST_F(Arena, WhatIsDeadIsFreeFromTheNextMeetingOn)
{
    const uint32_t a = add(0, 64);
    tn_cpu_arena_kill(&arena_, a);
    const uint32_t b = add(1, 64); // no meeting yet: somebody may still read a
    tn_cpu_arena_meet(&arena_, 2);
    const uint32_t c = add(2, 64);
    EXPECT_EQ(place(), 128u);
    EXPECT_NE(offset(a), offset(b));
    EXPECT_EQ(offset(a), offset(c));
}

// The sizes of a layer's feed-forward part, in which chance would leave gaps: the large ones are placed first.
TEST_F(Arena, TakesNoMoreThanWhatIsInUseAtOnceWhereSizesAllowIt)
{
    const uint32_t x = add(0, 50), attended = add(1, 50);
    tn_cpu_arena_kill(&arena_, attended);
    const uint32_t codes = add(2, 13);
    tn_cpu_arena_meet(&arena_, 3);
    const uint32_t gate = add(3, 135), up = add(4, 135);
    tn_cpu_arena_kill(&arena_, codes);
    EXPECT_EQ(place(), 50u + 13 + 135 + 135);
    EXPECT_NE(offset(x), offset(gate));
    EXPECT_NE(offset(gate), offset(up));
}

TEST_F(Arena, AMeetingPaysWhereWhatIsDeadWouldMakeRoom)
{
    const uint32_t x = add(0, 100);
    tn_cpu_arena_kill(&arena_, x);
    EXPECT_TRUE(tn_cpu_arena_meeting_pays(&arena_, 100));
    EXPECT_FALSE(tn_cpu_arena_meeting_pays(&arena_, 101)) << "more than ever was in use, with a meeting or without";
    tn_cpu_arena_meet(&arena_, 1);
    EXPECT_FALSE(tn_cpu_arena_meeting_pays(&arena_, 100)) << "there is room";
    add(1, 40);
    EXPECT_FALSE(tn_cpu_arena_meeting_pays(&arena_, 61)) << "nothing is dead";
}

TEST_F(Arena, SumsWithoutEndAreRefused)
{
    uint32_t span;
    uint64_t bytes;
    add(0, UINT64_MAX - 10);
    EXPECT_FALSE(tn_cpu_arena_add(&arena_, 1, 11, &span));
    EXPECT_FALSE(tn_cpu_arena_meeting_pays(&arena_, 11));
    tn_cpu_arena_clear(&arena_);
    add(0, UINT64_MAX);
    EXPECT_EQ(place(), UINT64_MAX);
    tn_cpu_arena_clear(&arena_);
    EXPECT_TRUE(tn_cpu_arena_place(&arena_, &bytes));
    EXPECT_EQ(bytes, 0u);
    for (uint32_t i = 0; i < 200; i++) add(i, 1);
    EXPECT_FALSE(tn_cpu_arena_add(&arena_, 200, 1, &span)) << "no room for another";
}

TEST_F(Arena, WhatIsInUseAtOnceSharesNoByteWhateverTheProgram)
{
    for (uint32_t seed = 0; seed < 300; seed++) {
        std::mt19937 random(seed);
        struct Span {
            uint32_t begin, end;
            uint64_t bytes;
        };
        std::vector<Span> spans; // a model of its own: end is the meeting after which it is free
        std::vector<uint32_t> alive, dead;
        uint64_t most = 0;
        tn_cpu_arena_clear(&arena_);
        for (uint32_t task = 0; task < 60; task++) {
            if (random() % 3 == 0) {
                tn_cpu_arena_meet(&arena_, task);
                for (uint32_t i : dead) spans[i].end = task;
                dead.clear();
            }
            const uint64_t bytes = 1 + random() % (random() % 4 == 0 ? 1000 : 50);
            ASSERT_EQ(add(task, bytes), spans.size());
            alive.push_back(static_cast<uint32_t>(spans.size()));
            spans.push_back({task, UINT32_MAX, bytes});
            uint64_t used = 0;
            for (const Span &s : spans) used += s.end == UINT32_MAX ? s.bytes : 0;
            most = std::max(most, used);
            while (!alive.empty() && random() % 2) {
                const size_t i = random() % alive.size();
                tn_cpu_arena_kill(&arena_, alive[i]);
                tn_cpu_arena_kill(&arena_, alive[i]); // twice is once
                dead.push_back(alive[i]);
                alive.erase(alive.begin() + static_cast<std::ptrdiff_t>(i));
            }
        }
        const uint64_t bytes = place();
        ASSERT_GE(bytes, most);
        ASSERT_EQ(arena_.used_bytes_max, most);
        uint64_t last = 0;
        for (uint32_t i = 0; i < spans.size(); i++) {
            last = std::max(last, offset(i) + spans[i].bytes);
            for (uint32_t k = 0; k < i; k++) {
                const bool at_once = spans[i].begin < spans[k].end && spans[k].begin < spans[i].end;
                const bool apart = offset(i) >= offset(k) + spans[k].bytes || offset(k) >= offset(i) + spans[i].bytes;
                ASSERT_TRUE(!at_once || apart) << "spans " << k << " and " << i << ", seed " << seed;
            }
        }
        ASSERT_EQ(bytes, last);
    }
}

} // namespace
