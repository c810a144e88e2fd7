// The CPU's thread pool: order, barriers, errors, any number of threads.
#include "support/float_mode.hpp"

#include <array>
#include <atomic>
#include <cstring>
#include <gtest/gtest.h>
#include <string>
#include <thread>
#include <vector>

extern "C" {
#include "base/status.h"
#include "cpu/pool.h"
}

namespace
{

struct Pool {
    explicit Pool(uint32_t n_threads)
    {
        tn_cpu_share share = {};
        share.n_threads = n_threads;
        tn_log log = {};
        EXPECT_EQ(tn_cpu_pool_create(&share, "cpu7", &log, &pool), TN_OK);
    }
    ~Pool() { tn_cpu_pool_destroy(pool); }
    Pool(const Pool &) = delete;
    Pool &operator=(const Pool &) = delete;
    tn_cpu_pool *pool = nullptr;
};

class PoolThreads : public testing::TestWithParam<uint32_t>
{
};
INSTANTIATE_TEST_SUITE_P(Counts, PoolThreads, testing::Values(1u, 2u, 3u, 8u, 32u));

struct Visits {
    std::vector<uint32_t> by_thread; // not atomic: each worker has its own
    uint32_t n_threads_seen = 0;
};

tn_status visit(void *ctx, uint32_t thread, uint32_t n_threads)
{
    auto *visits = static_cast<Visits *>(ctx);
    visits->by_thread[thread]++;
    if (thread == 0) visits->n_threads_seen = n_threads;
    return TN_OK;
}

TEST_P(PoolThreads, EveryWorkerRunsEveryJobOnce)
{
    Pool p(GetParam());
    ASSERT_EQ(tn_cpu_pool_n_threads(p.pool), GetParam());
    Visits visits{std::vector<uint32_t>(GetParam())};
    for (int i = 0; i < 300; i++) ASSERT_EQ(tn_cpu_pool_run(p.pool, visit, &visits), TN_OK);
    EXPECT_EQ(visits.n_threads_seen, GetParam());
    for (uint32_t n : visits.by_thread) EXPECT_EQ(n, 300u);
}

struct Stages {
    tn_cpu_pool *pool;
    std::vector<uint32_t> cells; // one a worker
    std::atomic<uint32_t> n_wrong{0};
};

// In each stage every worker writes its cell, and after the barrier all must see all cells of the stage.
tn_status stages(void *ctx, uint32_t thread, uint32_t n_threads)
{
    auto *s = static_cast<Stages *>(ctx);
    for (uint32_t stage = 1; stage <= 100; stage++) {
        s->cells[thread] = stage;
        tn_cpu_pool_barrier(s->pool);
        for (uint32_t i = 0; i < n_threads; i++) {
            if (s->cells[i] != stage) s->n_wrong++;
        }
        tn_cpu_pool_barrier(s->pool);
    }
    return TN_OK;
}

TEST_P(PoolThreads, ABarrierShowsEveryWorkerWhatTheOthersWroteBefore)
{
    Pool p(GetParam());
    Stages s{p.pool, std::vector<uint32_t>(GetParam()), {}};
    for (int i = 0; i < 5; i++) ASSERT_EQ(tn_cpu_pool_run(p.pool, stages, &s), TN_OK);
    EXPECT_EQ(s.n_wrong, 0u);
}

struct Log {
    std::vector<int> order; // jobs run one after the other, so only their last workers would race: thread 0 alone writes
};
struct Entry {
    Log *log;
    int number;
    tn_cpu_job job{};
    tn_fence fence{};
};

tn_status append(void *ctx, uint32_t thread, uint32_t)
{
    auto *entry = static_cast<Entry *>(ctx);
    if (thread == 0) entry->log->order.push_back(entry->number);
    return TN_OK;
}

TEST_P(PoolThreads, QueuedJobsRunInTheOrderOfSubmissionAndCanBeAwaitedInAnyOrder)
{
    Pool p(GetParam());
    Log log;
    std::vector<Entry> entries(50);
    for (int i = 0; i < 50; i++) {
        entries[size_t(i)].log = &log;
        entries[size_t(i)].number = i;
        entries[size_t(i)].job.run = append;
        entries[size_t(i)].job.ctx = &entries[size_t(i)];
    }
    for (Entry &entry : entries) ASSERT_EQ(tn_cpu_pool_submit(p.pool, &entry.job, &entry.fence), TN_OK);
    for (size_t i = entries.size(); i-- > 0;) ASSERT_EQ(tn_cpu_pool_wait(p.pool, entries[i].fence), TN_OK);
    ASSERT_EQ(log.order.size(), 50u);
    for (int i = 0; i < 50; i++) EXPECT_EQ(log.order[size_t(i)], i);
}

tn_status fail_from_three(void *, uint32_t thread, uint32_t)
{
    if (thread < 2) return TN_OK;
    return tn_fail_native(TN_BAD_FILE, 77, "worker %u found a hole", static_cast<unsigned>(thread));
}

TEST_P(PoolThreads, TheRecordOfTheLowestFailingWorkerReachesTheWaitingThread)
{
    Pool p(GetParam());
    tn_fail(TN_INTERNAL, "an older failure of this thread");
    tn_status want = GetParam() > 2 ? TN_BAD_FILE : TN_OK;
    for (int i = 0; i < 20; i++) {
        ASSERT_EQ(tn_cpu_pool_run(p.pool, fail_from_three, nullptr), want);
        if (want == TN_OK) continue;
        ASSERT_STREQ(tn_error_last()->message, "worker 2 found a hole");
        ASSERT_EQ(tn_error_last()->native_code, 77);
        ASSERT_STREQ(tn_error_last()->device, "cpu7");
    }
    Visits visits{std::vector<uint32_t>(GetParam())};
    EXPECT_EQ(tn_cpu_pool_run(p.pool, visit, &visits), TN_OK) << "a failed job must not stain the next";
}

struct Gate {
    std::atomic<bool> open{false};
    std::atomic<uint32_t> n_inside{0};
};

tn_status wait_at_gate(void *ctx, uint32_t, uint32_t)
{
    auto *gate = static_cast<Gate *>(ctx);
    gate->n_inside++;
    while (!gate->open) std::this_thread::yield();
    return TN_OK;
}

TEST(Pool, SubmitReturnsWhileTheJobRunsAndRefusesASecondSubmitOfIt)
{
    Pool p(2);
    Gate gate;
    tn_cpu_job job = {};
    job.run = wait_at_gate;
    job.ctx = &gate;
    EXPECT_FALSE(tn_cpu_pool_in_flight(p.pool, &job));
    tn_fence fence, second;
    ASSERT_EQ(tn_cpu_pool_submit(p.pool, &job, &fence), TN_OK);
    while (gate.n_inside < 2) std::this_thread::yield();
    EXPECT_TRUE(tn_cpu_pool_in_flight(p.pool, &job));
    EXPECT_EQ(tn_cpu_pool_submit(p.pool, &job, &second), TN_INVALID_ARGUMENT);
    gate.open = true;
    EXPECT_EQ(tn_cpu_pool_wait(p.pool, fence), TN_OK);
    EXPECT_FALSE(tn_cpu_pool_in_flight(p.pool, &job));
    EXPECT_EQ(tn_cpu_pool_wait(p.pool, fence), TN_OK) << "a second wait for a fence is allowed";
    EXPECT_EQ(tn_cpu_pool_submit(p.pool, &job, &fence), TN_OK);
    EXPECT_EQ(tn_cpu_pool_wait(p.pool, fence), TN_OK);
}

TEST(Pool, UnknownFencesAreRefused)
{
    Pool p(1);
    EXPECT_EQ(tn_cpu_pool_wait(p.pool, tn_fence{0}), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_cpu_pool_wait(p.pool, tn_fence{99}), TN_INVALID_ARGUMENT);
}

TEST(Pool, DetachWaitsUntilTheStorageOfAJobIsFree)
{
    Pool p(2);
    Gate gate;
    auto *job = new tn_cpu_job{};
    job->run = wait_at_gate;
    job->ctx = &gate;
    tn_fence fence;
    ASSERT_EQ(tn_cpu_pool_submit(p.pool, job, &fence), TN_OK);
    std::thread opener([&] {
        while (gate.n_inside < 2) std::this_thread::yield();
        gate.open = true;
    });
    tn_cpu_pool_detach(p.pool, job);
    EXPECT_TRUE(gate.open);
    opener.join();
    delete job;
    EXPECT_EQ(tn_cpu_pool_wait(p.pool, fence), TN_OK);
}

TEST(Pool, DestroyFinishesWhatWasSubmitted)
{
    Visits visits{std::vector<uint32_t>(3)};
    std::vector<tn_cpu_job> jobs(20);
    {
        Pool p(3);
        for (tn_cpu_job &job : jobs) {
            job.run = visit;
            job.ctx = &visits;
            tn_fence fence;
            ASSERT_EQ(tn_cpu_pool_submit(p.pool, &job, &fence), TN_OK);
        }
    }
    for (uint32_t n : visits.by_thread) EXPECT_EQ(n, 20u);
}

TEST(Pool, ThreadsMaySubmitAndWaitAtTheSameTime)
{
    Pool p(2);
    std::atomic<uint32_t> n_failed{0};
    Visits visits{std::vector<uint32_t>(2)};
    std::vector<std::thread> callers;
    for (int i = 0; i < 4; i++) {
        callers.emplace_back([&] {
            for (int n = 0; n < 100; n++) {
                if (tn_cpu_pool_run(p.pool, visit, &visits) != TN_OK) n_failed++;
            }
        });
    }
    for (std::thread &caller : callers) caller.join();
    EXPECT_EQ(n_failed, 0u);
    for (uint32_t n : visits.by_thread) EXPECT_EQ(n, 400u);
}

struct Bindings {
    std::atomic<uint32_t> seen{0}; // bit per thread
    std::atomic<uint32_t> n_other{0};
    std::thread::id creator;
};

tn_status bind_or_fail(void *ctx, uint32_t thread)
{
    auto *bindings = static_cast<Bindings *>(ctx);
    bindings->seen |= 1u << thread;
    if (std::this_thread::get_id() == bindings->creator) bindings->n_other++;
    return thread == 1 ? tn_fail(TN_UNAVAILABLE, "core 1 is taken") : TN_OK;
}

void collect(void *user, tn_log_level level, const char *message)
{
    *static_cast<std::string *>(user) += std::to_string(level) + " " + message + "\n";
}

// A job as programs are: phases of pieces that workers claim from counters, meetings in between, and workers that are held up at random.
struct Phases {
    static constexpr uint32_t n_phases = 12, n_pieces = 37;
    tn_cpu_pool *pool;
    uint32_t seed;
    std::array<std::atomic<uint32_t>, n_phases> claims{};
    std::array<std::array<uint32_t, n_pieces>, n_phases> cells{}; // not atomic: each has one writer
    std::atomic<uint32_t> n_wrong{0};
};

tn_status claim_phases(void *ctx, uint32_t thread, uint32_t)
{
    auto *p = static_cast<Phases *>(ctx);
    uint32_t random = p->seed * 2654435761u + thread * 40503u + 1;
    const auto next = [&random] { return random = random * 1664525u + 1013904223u, random >> 16; };
    for (uint32_t phase = 0; phase < Phases::n_phases; phase++) {
        for (uint32_t piece; (piece = p->claims[phase].fetch_add(1, std::memory_order_relaxed)) < Phases::n_pieces;) {
            const uint32_t before = phase ? p->cells[phase - 1][(piece * 5 + 1) % Phases::n_pieces] : p->seed;
            p->cells[phase][piece] = before + 1;
            if (next() % 64 == 0) std::this_thread::sleep_for(std::chrono::microseconds(next() % 300));
            if (next() % 16 == 0) std::this_thread::yield();
        }
        tn_cpu_pool_barrier(p->pool);
        for (uint32_t cell : p->cells[phase]) p->n_wrong += cell != p->seed + phase + 1;
    }
    return TN_OK;
}

TEST_P(PoolThreads, PhasesOfClaimedPiecesHoldWhenWorkersAreHeldUpAndSeveralThreadsSubmit)
{
    Pool pool(GetParam());
    std::vector<std::thread> submitters;
    std::atomic<uint32_t> n_failed{0};
    for (uint32_t s = 0; s < 3; s++) {
        submitters.emplace_back([&, s] {
            for (uint32_t i = 0; i < 15; i++) {
                Phases phases{pool.pool, s * 1000 + i};
                const bool ok = tn_cpu_pool_run(pool.pool, claim_phases, &phases) == TN_OK;
                n_failed += !ok || phases.n_wrong != 0;
            }
        });
    }
    for (std::thread &t : submitters) t.join();
    EXPECT_EQ(n_failed, 0u);
}

TEST(Pool, EachWorkerBindsItselfAndAFailureIsOnlyLogged)
{
    Bindings bindings;
    bindings.creator = std::this_thread::get_id();
    tn_cpu_share share = {};
    share.n_threads = 3;
    share.bind = bind_or_fail;
    share.bind_ctx = &bindings;
    std::string text;
    tn_log log = {};
    log.write = collect;
    log.user = &text;
    tn_cpu_pool *pool;
    ASSERT_EQ(tn_cpu_pool_create(&share, "cpu0", &log, &pool), TN_OK);
    EXPECT_EQ(bindings.seen, 7u);
    EXPECT_EQ(bindings.n_other, 0u);
    EXPECT_NE(text.find("core 1 is taken"), std::string::npos) << text;
    EXPECT_EQ(text.find(std::to_string(TN_LOG_WARN)), 0u);
    tn_cpu_pool_destroy(pool);
}

TEST(Pool, NoThreadsIsAnInvalidArgument)
{
    tn_cpu_share share = {};
    tn_log log = {};
    auto *pool = reinterpret_cast<tn_cpu_pool *>(&share);
    EXPECT_EQ(tn_cpu_pool_create(&share, "cpu0", &log, &pool), TN_INVALID_ARGUMENT);
    EXPECT_EQ(pool, nullptr);
    tn_cpu_pool_destroy(nullptr);
}

constexpr uint64_t bent_mode = tn_test::float_mode::flush | tn_test::float_mode::rounding;

tn_status read_float_mode(void *ctx, uint32_t, uint32_t)
{
    static_cast<std::atomic<uint64_t> *>(ctx)->fetch_or(tn_test::float_mode::get() & bent_mode);
    return TN_OK;
}

TEST(Pool, WorkersRoundToNearestAndFlushNothingWhateverTheCreatorHadSet)
{
    const uint64_t saved = tn_test::float_mode::get();
    tn_test::float_mode::set(saved | bent_mode);
    std::atomic<uint64_t> bits{0};
    {
        Pool p(2);
        EXPECT_EQ(tn_cpu_pool_run(p.pool, read_float_mode, &bits), TN_OK);
    }
    tn_test::float_mode::set(saved);
    EXPECT_EQ(bits, 0u);
}

} // namespace
