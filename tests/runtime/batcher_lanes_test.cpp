// Requests over several sessions, and several steps of each in flight: texts do not depend on it, nor on steps that fail.
#include "runtime/stress_driver.hpp"
#include "support/failing_device.hpp"

using namespace tn_test;

namespace
{

size_t n_requests(size_t one_in, size_t least = 60) { return std::max(least, number_of("TN_STRESS_REQUESTS", 10500) / one_in); }

void print(const Seen &seen)
{
    std::printf("%llu requests: %llu cancelled, %llu interruptions, %llu prompt tokens reused, %llu pages copied, %llu steps failed, "
                "%llu worlds shared by sessions\n",
                static_cast<unsigned long long>(seen.n_requests), static_cast<unsigned long long>(seen.n_cancelled),
                static_cast<unsigned long long>(seen.n_preempted), static_cast<unsigned long long>(seen.n_reused),
                static_cast<unsigned long long>(seen.n_copied), static_cast<unsigned long long>(seen.n_failed_steps),
                static_cast<unsigned long long>(seen.n_shared_worlds));
}

} // namespace

TEST(BatcherLanes, EveryRequestComesToWhatItComesToAlone)
{
    Seen seen;
    Exam exam(Kind::mixed, 300, stress_seed() + 10, 2);
    ASSERT_NO_FATAL_FAILURE(run_worlds(&exam, n_requests(6, 500), stress_seed() + 10, &seen, false, true));
    for (const uint64_t n : {seen.n_cancelled, seen.n_reused, seen.n_copied, seen.n_full, seen.n_shared_worlds}) EXPECT_GT(n, 0u);
    print(seen);
}

TEST(BatcherLanes, PoisonEndsItsOwnSampleOnly)
{
    Seen seen;
    Exam exam(Kind::poisoned, 60, stress_seed() + 11, 2);
    ASSERT_NO_FATAL_FAILURE(run_worlds(&exam, n_requests(20), stress_seed() + 11, &seen, false, true));
    EXPECT_GT(seen.n_poisoned, 0u);
}

// Answers of several pages in caches that have few more: what is in flight is not interrupted, and all come to their end.
TEST(BatcherLanes, InterruptedAnswersGoOnInAnySession)
{
    Seen seen;
    Exam exam(Kind::lengthy, 60, stress_seed() + 12, 2);
    ASSERT_NO_FATAL_FAILURE(run_worlds(&exam, n_requests(100, 200), stress_seed() + 12, &seen, true, true));
    EXPECT_GT(seen.n_preempted, seen.n_requests / 20);
    print(seen);
}

// Submits and waits fail at random, on one device or the other: steps are tried again, and other steps are not disturbed.
TEST(BatcherLanes, StepsThatFailLoseNothing)
{
    Seen seen;
    Exam exam(Kind::mixed, 100, stress_seed() + 13, 2);
    for (size_t i = 0; i < exam.specs.all.size(); i++) exam.expected(i); // by devices that do not fail
    FailingDevices failing(exam.model.host, 2, stress_seed());
    failing.percent = 10;
    ASSERT_NO_FATAL_FAILURE(run_worlds(&exam, n_requests(20), stress_seed() + 13, &seen, false, true, true));
    EXPECT_GT(seen.n_failed_steps, seen.n_requests / 10);
    print(seen);
}
