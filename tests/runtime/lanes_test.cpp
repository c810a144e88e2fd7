// Several decodes of a session in flight, over stages of a model that is split anywhere: bits, lengths, failures, cancelling.
#include "runtime/lanes_rig.hpp"
#include "support/swapped_devices.hpp"

#include <array>
#include <chrono>

extern "C" {
#include "runtime/host.h"
}

using namespace tn_test;

namespace
{

class Lanes : public testing::Test
{
  protected:
    void SetUp() override
    {
        tn_host_params params = TN_HOST_PARAMS_INIT;
        params.n_cpu_devices = 2;
        params.n_threads = 2;
        ASSERT_EQ(tn_host_open(&params, &host), TN_OK) << tn_error_last()->message;
    }
    void TearDown() override { tn_host_close(host); }
    static std::vector<uint32_t> split(uint32_t first, uint32_t second, const std::array<uint32_t, 3> &devices)
    {
        std::vector<uint32_t> units(LanesOracle::get().n_units());
        for (uint32_t i = 0; i < units.size(); i++) units[i] = devices[i < first ? 0 : i < second ? 1 : 2];
        return units;
    }
    void expect_same(const std::vector<uint32_t> &units, uint32_t n_lanes, uint32_t n_prompt, uint32_t n_rounds)
    {
        uint32_t n_failed = 0;
        LanesSession session(host, units, n_lanes);
        ASSERT_NE(session.session, nullptr);
        ASSERT_EQ(tn_session_n_lanes(session.session), n_lanes);
        ASSERT_NO_FATAL_FAILURE(run_lanes(session, n_prompt, n_rounds, &n_failed)) << tn_error_last()->message;
        EXPECT_EQ(n_failed, 0u);
        EXPECT_GE(session.n_done, n_rounds);
    }
    // -1: there is no such device, or it cannot be used.
    int find_device(const char *name)
    {
        tn_device_info info;
        uint32_t index;
        if (tn_host_find_device(host, name, &index) != TN_OK || tn_host_device_info(host, index, &info) != TN_OK) return -1;
        return info.unusable[0] ? -1 : static_cast<int>(index);
    }
    void expect_same_beside_cpu(uint32_t device)
    {
        for (const auto &devices : {std::array{0u, device, device}, {device, 0u, 0u}, {device, 0u, device}}) {
            SCOPED_TRACE(devices[0]);
            ASSERT_NO_FATAL_FAILURE(expect_same(split(2, 4, devices), 3, 40, 4));
        }
        ASSERT_NO_FATAL_FAILURE(expect_same(split(8, 8, {device, device, device}), 2, 40, 4)); // its one stage has a thread
    }
    tn_host *host = nullptr;
};

// The host's CPU devices fail in the nth call of a kind, of one of them; each call does its work first, as a device that fails may have.
class FailingDevices : public tn_test::SwappedDevices
{
  public:
    enum Call { SUBMIT, WAIT, READ, WRITE, N_CALLS };
    explicit FailingDevices(tn_host *host) : SwappedDevices(host, 2)
    {
        current = this;
        table_.program_submit = submit;
        table_.fence_wait = wait;
        table_.buffer_read = read;
        table_.buffer_write = write;
        swap();
    }
    ~FailingDevices() { current = nullptr; }
    // From now on: the device's nth call, from 1; 0: none.
    void fail(uint32_t device, Call call, uint32_t nth)
    {
        device_ = devices_[device], call_ = call, nth_ = nth;
        has_failed = false;
        __atomic_store_n(&n_calls_, 0, __ATOMIC_RELAXED);
    }
    bool has_failed = false;

  private:
    static tn_status passed(const tn_device *device, Call call, tn_status status)
    {
        FailingDevices *self = current;
        if (status != TN_OK || device != self->device_ || call != self->call_) return status;
        if (__atomic_add_fetch(&self->n_calls_, 1, __ATOMIC_RELAXED) != self->nth_) return status;
        self->has_failed = true;
        return tn_fail_at("lanes_test", 1, TN_IO, 7, "told to fail at call %u of kind %d", self->nth_, static_cast<int>(call));
    }
    static tn_status submit(tn_program *program, const tn_submit *submit, tn_fence *out_fence)
    {
        const tn_status status = passed(program->device, SUBMIT, TN_OK); // what was refused is not waited for
        return status == TN_OK ? current->real_->program_submit(program, submit, out_fence) : status;
    }
    static tn_status wait(tn_device *device, tn_fence fence) { return passed(device, WAIT, current->real_->fence_wait(device, fence)); }
    static tn_status read(tn_buffer *buffer, uint64_t at, void *to, uint64_t n)
    {
        return passed(buffer->device, READ, current->real_->buffer_read(buffer, at, to, n));
    }
    static tn_status write(tn_buffer *buffer, uint64_t at, const void *from, uint64_t n)
    {
        return passed(buffer->device, WRITE, current->real_->buffer_write(buffer, at, from, n));
    }
    static FailingDevices *current;
    const tn_device *device_ = nullptr;
    Call call_ = SUBMIT;
    uint32_t nth_ = 0, n_calls_ = 0;
};
FailingDevices *FailingDevices::current;

} // namespace

TEST_F(Lanes, EveryBoundaryOfTwoSegments)
{
    const uint32_t n_units = LanesOracle::get().n_units();
    for (uint32_t first = 1; first < n_units; first++) {
        for (uint32_t n_lanes = 1; n_lanes <= 4; n_lanes++) {
            SCOPED_TRACE(std::to_string(first) + ", lanes: " + std::to_string(n_lanes));
            ASSERT_NO_FATAL_FAILURE(expect_same(split(first, n_units, {0, 1, 0}), n_lanes, n_lanes == 2 ? 150 : 40, 5));
        }
    }
}

TEST_F(Lanes, EveryTwoBoundariesOfThreeSegments)
{
    const uint32_t n_units = LanesOracle::get().n_units();
    for (uint32_t first = 1, n = 0; first < n_units; first++) {
        for (uint32_t second = first + 1; second < n_units; second++, n++) {
            SCOPED_TRACE(std::to_string(first) + " " + std::to_string(second));
            ASSERT_NO_FATAL_FAILURE(expect_same(split(first, second, {n % 2, 1 - n % 2, n % 2}), 1 + n % 4, 40, 4));
        }
    }
}

TEST_F(Lanes, OneDeviceWithSeveralLanes) { expect_same(split(8, 8, {0, 0, 0}), 3, 150, 5); }

TEST_F(Lanes, BesideAVulkanDevice)
{
    const int device = find_device("vulkan0");
    if (device < 0) GTEST_SKIP() << "there is no Vulkan device here: ternion devices says why";
    expect_same_beside_cpu(static_cast<uint32_t>(device));
}

TEST_F(Lanes, BesideACudaDevice)
{
    const int device = find_device(std::getenv("TN_CUDA_LIBRARY") ? "cuda:host" : "cuda0");
    if (device < 0) GTEST_SKIP() << "there is no CUDA device here: ternion devices says why";
    expect_same_beside_cpu(static_cast<uint32_t>(device));
}

// The nth call of each kind of each stage's device fails: its job alone does, in order, the sequences are as before it, and what is tried
// again has the same bits.
TEST_F(Lanes, AFailureInAnyStageIsItsJobsAlone)
{
    FailingDevices failing(host);
    LanesSession session(host, split(3, 8, {0, 1, 0}), 3);
    ASSERT_NE(session.session, nullptr);
    for (uint32_t device = 0; device < 2; device++) {
        for (int call = 0; call < FailingDevices::N_CALLS; call++) {
            for (uint32_t nth = 1;; nth += 1 + nth / 4) {
                SCOPED_TRACE(std::to_string(device) + " " + std::to_string(call) + " " + std::to_string(nth));
                uint32_t n_failed = 0;
                for (uint32_t seq = 0; seq < LanesSession::N_SEQS; seq++) session.truncate(seq, 0);
                failing.fail(device, static_cast<FailingDevices::Call>(call), nth);
                ASSERT_NO_FATAL_FAILURE(run_lanes(session, 40, 4, &n_failed));
                EXPECT_EQ(n_failed, failing.has_failed ? 1u : 0u);
                if (!failing.has_failed) break;
            }
        }
    }
}

TEST_F(Lanes, TheFailureIsToldWhereTheLaneIsFinished)
{
    FailingDevices failing(host);
    LanesSession session(host, split(3, 8, {0, 1, 0}), 3);
    ASSERT_NE(session.session, nullptr);
    failing.fail(1, FailingDevices::WAIT, 2); // jobs pass each stage in the order of their start
    for (uint32_t lane = 0; lane < 3; lane++) ASSERT_EQ(session.start(lane, {lane}, {5}), TN_OK);
    EXPECT_EQ(session.finish(2), TN_OK);
    EXPECT_EQ(session.finish(0), TN_OK);
    EXPECT_EQ(session.finish(1), TN_IO);
    EXPECT_STREQ(tn_error_last()->message, "told to fail at call 2 of kind 1");
    EXPECT_EQ(tn_error_last()->native_code, 7);
    EXPECT_EQ(tn_session_lane_logits(session.session, 1, 0), nullptr);
    EXPECT_EQ(session.n_done, 3u);
    EXPECT_EQ(session.finish(1), TN_INVALID_ARGUMENT);
}

TEST_F(Lanes, CancellingAPromptLeavesNothingInFlight)
{
    const Tokens prompt = some_tokens(1, 150);
    LanesSession session(host, split(3, 8, {0, 1, 0}), 4);
    ASSERT_NE(session.session, nullptr);
    for (int32_t n_steps = 1; n_steps <= 10; n_steps++) {
        struct Told {
            int32_t left;
            uint64_t last = 0;
        } told = {n_steps};
        const tn_progress progress = {[](void *user, const char *, uint64_t done, uint64_t total) {
                                          Told *t = static_cast<Told *>(user);
                                          EXPECT_EQ(total, 150u);
                                          EXPECT_EQ(done, t->last + 16 < 150 ? t->last + 16 : 150);
                                          t->last = done;
                                          return --t->left > 0;
                                      },
                                      &told};
        session.truncate(0, 0);
        EXPECT_EQ(session.decode(0, prompt, progress), TN_CANCELLED);
        EXPECT_EQ(told.left, 0);
        ASSERT_EQ(session.histories[0].size(), std::min<size_t>(static_cast<size_t>(n_steps) * 16, 150));
        ASSERT_EQ(session.decode(0, {77}), TN_OK);
        session.expect_row(tn_session_logits(session.session, 0), 0);
    }
}

TEST_F(Lanes, WhatIsInFlightIsLeftAlone)
{
    LanesSession s(host, split(3, 8, {0, 1, 0}), 2);
    ASSERT_NE(s.session, nullptr);
    ASSERT_EQ(s.decode(0, {1, 2, 3}), TN_OK);
    EXPECT_EQ(s.start(2, {0}, {4}), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_session_finish(s.session, 0), TN_INVALID_ARGUMENT);
    EXPECT_EQ(s.start(0, std::vector<uint32_t>(17, 0), Tokens(17, 1)), TN_INVALID_ARGUMENT);
    EXPECT_NE(std::string(tn_error_last()->message).find("16"), std::string::npos);
    EXPECT_EQ(tn_session_seq_length(s.session, 0), 3u);
    ASSERT_EQ(s.start(0, {0}, {4}), TN_OK);
    EXPECT_EQ(s.start(0, {1}, {4}), TN_INVALID_ARGUMENT);
    EXPECT_EQ(s.start(1, {1, 0}, {4, 4}), TN_INVALID_ARGUMENT);
    EXPECT_NE(std::string(tn_error_last()->message).find("in flight in lane 0"), std::string::npos);
    EXPECT_EQ(tn_session_seq_length(s.session, 1), 0u);
    EXPECT_EQ(tn_session_seq_copy(s.session, 2, 0, 2), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_session_seq_truncate(s.session, 0, 0), TN_INVALID_ARGUMENT);
    EXPECT_EQ(s.decode(1, {4}), TN_INVALID_ARGUMENT);
    ASSERT_EQ(s.start(1, {1}, {9}), TN_OK);
    EXPECT_EQ(s.finish(0), TN_OK);
    EXPECT_EQ(s.finish(1), TN_OK);
    EXPECT_EQ(s.n_done, 2u);
    ASSERT_EQ(s.start(0, {0}, {4}), TN_OK); // and is waited for when the session ends
}

// Stages add up apart, and steps that overlap are counted once.
TEST_F(Lanes, AProfileHasTheOpsOfAllStages)
{
    struct Entries {
        uint64_t n = 0, n_without_time = 0;
    } entries;
    tn_placement *placement = place(host, split(3, 8, {0, 1, 0}));
    ASSERT_NE(placement, nullptr);
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    params.placement = placement;
    params.n_ubatch = 16;
    params.profile = true;
    tn_session *session = nullptr;
    ASSERT_EQ(tn_session_create(LanesOracle::get().model(), host, &params, &session), TN_OK) << tn_error_last()->message;
    const Tokens prompt = some_tokens(1, 160);
    tn_batch batch = TN_BATCH_INIT;
    batch.n_tokens = 160;
    batch.tokens = prompt.data();
    const auto begun = std::chrono::steady_clock::now();
    ASSERT_EQ(tn_session_decode(session, &batch), TN_OK);
    const std::chrono::nanoseconds taken = std::chrono::steady_clock::now() - begun;
    tn_session_profile_totals totals = TN_SESSION_PROFILE_TOTALS_INIT;
    const auto told = [](void *user, const tn_session_profile_entry *entry) {
        Entries *all = static_cast<Entries *>(user);
        all->n++;
        all->n_without_time += entry->ns == 0;
    };
    ASSERT_EQ(tn_session_profile(session, &totals, told, &entries), TN_OK);
    EXPECT_EQ(totals.n_steps, 10u);
    EXPECT_GT(totals.n_barriers, 0u);
    EXPECT_GT(totals.step_ns, 0u);
    EXPECT_LE(totals.step_ns, static_cast<uint64_t>(taken.count()));
    EXPECT_GT(entries.n, 6u * 7u);
    EXPECT_EQ(entries.n_without_time, 0u);
    tn_session_profile_reset(session);
    ASSERT_EQ(tn_session_profile(session, &totals, nullptr, nullptr), TN_OK);
    EXPECT_EQ(totals.n_steps + totals.n_barriers + totals.step_ns, 0u);
    tn_session_destroy(session);
    tn_placement_destroy(placement);
}

TEST_F(Lanes, TheDefaultFollowsThePlacement)
{
    for (const auto &[first, second, n] : {std::array{8u, 8u, 1u}, {4u, 8u, 3u}, {2u, 4u, 4u}}) {
        LanesSession s(host, split(first, second, {0, 1, 0}), 0);
        tn_session_info info;
        tn_session_get_info(s.session, &info);
        EXPECT_EQ(info.n_lanes, n);
    }
    tn_placement *whole = place(host, split(8, 8, {0, 0, 0}));
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    params.placement = whole;
    params.no_recovery = true; // the device that is meant, and no other
    params.n_lanes = 65;
    tn_session *session = nullptr;
    EXPECT_EQ(tn_session_create(LanesOracle::get().model(), host, &params, &session), TN_INVALID_ARGUMENT);
    params.n_lanes = 5;
    params.trace.row = [](void *, uint32_t, uint32_t, const char *, const float *, size_t) {};
    ASSERT_EQ(tn_session_create(LanesOracle::get().model(), host, &params, &session), TN_OK);
    EXPECT_EQ(tn_session_n_lanes(session), 1u) << "rows of a trace come in order";
    tn_session_destroy(session);
    tn_placement_destroy(whole);
}
