// Tests of the clock.
#include <chrono>
#include <gtest/gtest.h>
#include <thread>

extern "C" {
#include "base/clock.h"
}

TEST(Clock, CountsNanosecondsAndNeverGoesBack)
{
    uint64_t last = tn_clock_ns();
    const uint64_t begin = last;
    for (int i = 0; i < 1000; ++i) {
        const uint64_t now = tn_clock_ns();
        ASSERT_GE(now, last);
        last = now;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_GE(tn_clock_ns() - begin, 20000000u);
    EXPECT_LT(tn_clock_ns() - begin, UINT64_C(60000000000));
}
