// Many requests of all kinds through batchers of all kinds: each must come to what it comes to alone (stress_oracle.hpp), and end once.
// TN_STRESS_SEED: where the random numbers begin (printed). TN_STRESS_REQUESTS: how many requests in all. TN_STRESS_WORLD: only that one.
#include "runtime/stress_driver.hpp"

using namespace tn_test;

TEST(BatcherStress, EveryRequestComesToWhatItComesToAlone)
{
    const uint64_t seed = stress_seed();
    const size_t n_requests = number_of("TN_STRESS_REQUESTS", 10500);
    Seen seen;
    Exam exam(Kind::mixed, std::min<size_t>(600, n_requests / 4), seed);
    ASSERT_NO_FATAL_FAILURE(run_worlds(&exam, n_requests, seed, &seen));
    EXPECT_EQ(seen.n_requests, n_requests);
    for (const tn_finish finish : {TN_FINISH_END, TN_FINISH_STOP, TN_FINISH_LENGTH, TN_FINISH_CONTEXT})
        EXPECT_GT(seen.finishes[finish], 0u);
    for (const uint64_t n : {seen.n_cancelled, seen.n_reused, seen.n_copied, seen.n_full, seen.n_forbidden}) EXPECT_GT(n, 0u);
    std::printf("%llu requests: %llu cancelled, %llu interruptions, %llu prompt tokens reused, %llu pages copied\n",
                static_cast<unsigned long long>(seen.n_requests), static_cast<unsigned long long>(seen.n_cancelled),
                static_cast<unsigned long long>(seen.n_preempted), static_cast<unsigned long long>(seen.n_reused),
                static_cast<unsigned long long>(seen.n_copied));
}

// Poisoned prompts share pages with others up to the poison, and are asked for again and again.
TEST(BatcherStress, PoisonEndsItsOwnSampleOnly)
{
    Seen seen;
    const size_t n_requests = number_of("TN_STRESS_REQUESTS", 10500) / 8;
    Exam exam(Kind::poisoned, 100, stress_seed() + 1);
    ASSERT_NO_FATAL_FAILURE(run_worlds(&exam, n_requests, stress_seed() + 1, &seen));
    EXPECT_GT(seen.n_poisoned, n_requests / 50);
    EXPECT_GT(seen.finishes[TN_FINISH_LENGTH], n_requests / 20);
}

// Short prompts with answers of several pages, in a cache that has few more than one of them needs: most are interrupted, many often.
TEST(BatcherStress, InterruptedAnswersGoOnWhereTheyWere)
{
    Seen seen;
    const size_t n_requests = number_of("TN_STRESS_REQUESTS", 10500) / 25;
    Exam exam(Kind::lengthy, 60, stress_seed() + 6);
    ASSERT_NO_FATAL_FAILURE(run_worlds(&exam, n_requests, stress_seed() + 6, &seen, true));
    EXPECT_GT(seen.n_preempted, n_requests / 10);
    std::printf("%llu requests: %llu interruptions, %llu prompt tokens reused, %llu pages copied\n",
                static_cast<unsigned long long>(seen.n_requests), static_cast<unsigned long long>(seen.n_preempted),
                static_cast<unsigned long long>(seen.n_reused), static_cast<unsigned long long>(seen.n_copied));
}
