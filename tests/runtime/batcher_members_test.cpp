// What a batcher does with several sessions: who gets how much, what is computed where, what is refused, and what one session's failures
// mean to the others.
#include "runtime/stress_oracle.hpp"
#include "support/failing_device.hpp"

#include <array>

using namespace tn_test;

namespace
{

// Sessions of two CPU devices under one batcher, and plain requests.
class Members : public ::testing::Test
{
  protected:
    void TearDown() override { destroy(); }
    void destroy()
    {
        tn_batcher_destroy(batcher);
        for (tn_session *session : sessions) tn_session_destroy(session);
        batcher = nullptr;
        sessions.clear();
    }
    void add(const std::string &devices, uint32_t n_seqs, uint32_t n_lanes = 0, uint32_t n_pages = 0, uint32_t n_ctx = kBatchContext)
    {
        tn_session_params p = TN_SESSION_PARAMS_INIT;
        uint64_t bytes = 0;
        ASSERT_EQ(tn_session_kv_bytes(model.model, 1, 1, &bytes), TN_OK);
        p.n_ctx = n_ctx;
        p.n_seqs_max = n_seqs;
        p.n_lanes = n_lanes;
        p.kv_bytes = n_pages * bytes;
        sessions.push_back(model.session(p, devices));
    }
    tn_status create(tn_batcher_params params = TN_BATCHER_PARAMS_INIT)
    {
        params.more_sessions = sessions.data() + 1;
        params.n_more_sessions = static_cast<uint32_t>(sessions.size() - 1);
        return tn_batcher_create(sessions[0], &params, &batcher);
    }
    // Prompts of different requests are unlike from their first token on, if they are not told to be alike.
    void submit(uint32_t n, uint32_t n_prompt, uint32_t n_tokens, uint32_t n_samples = 1, bool alike = false)
    {
        for (uint32_t i = 0; i < n; i++) {
            std::vector<int32_t> prompt(n_prompt);
            for (int32_t &token : prompt) token = static_cast<int32_t>(random_() % 16);
            if (alike) prompt.assign(n_prompt, 7);
            tn_request_params p = TN_REQUEST_PARAMS_INIT;
            p.tokens = prompt.data();
            p.n_tokens = prompt.size();
            p.n_samples = n_samples;
            p.n_tokens_max = n_tokens;
            p.ignore_eog = true;
            p.on_token = [](void *user, const tn_token_event *) { ++*static_cast<uint32_t *>(user); };
            p.user = &n_told;
            ASSERT_EQ(tn_batcher_submit(batcher, &p, &last), TN_OK) << tn_error_last()->message;
        }
    }
    uint32_t step()
    {
        uint32_t left = 0;
        EXPECT_EQ(tn_batcher_step(batcher, &left), TN_OK) << tn_error_last()->message;
        return left;
    }
    void drain()
    {
        for (int i = 0; step(); i++) ASSERT_LT(i, 100000);
    }
    tn_batcher_member_info member(uint32_t index)
    {
        tn_batcher_member_info info = TN_BATCHER_MEMBER_INFO_INIT;
        EXPECT_EQ(tn_batcher_get_member_info(batcher, index, &info), TN_OK) << tn_error_last()->message;
        return info;
    }
    tn_batcher_info all()
    {
        tn_batcher_info info = TN_BATCHER_INFO_INIT;
        EXPECT_EQ(tn_batcher_get_info(batcher, &info), TN_OK);
        return info;
    }
    void expect_refused(const std::string &word, tn_batcher_params params = TN_BATCHER_PARAMS_INIT)
    {
        EXPECT_EQ(create(params), TN_INVALID_ARGUMENT);
        EXPECT_EQ(batcher, nullptr);
        EXPECT_NE(std::string(tn_error_last()->message).find(word), std::string::npos) << tn_error_last()->message;
    }
    BatchModel model{false, 2, 2};
    std::vector<tn_session *> sessions;
    tn_batcher *batcher = nullptr;
    uint64_t last = 0;
    uint32_t n_told = 0;

  private:
    std::mt19937 random_{3};
};

} // namespace

TEST_F(Members, SamplesAreSharedEvenlyOverSessionsThatAreAlike)
{
    add("cpu0", 16);
    add("cpu1", 16);
    ASSERT_EQ(create(), TN_OK) << tn_error_last()->message;
    EXPECT_EQ(all().n_seqs, 32u);
    submit(16, 5, 20);
    step();
    for (uint32_t i = 0; i < 2; i++) EXPECT_EQ(member(i).n_running, 8u);
    drain();
    for (uint32_t i = 0; i < 2; i++) EXPECT_EQ(member(i).n_tokens, 8u * (5 + 19));
}

TEST_F(Members, SharesSayHowMuchASessionGets)
{
    add("cpu0", 16);
    add("cpu1", 16);
    const std::array<double, 2> shares = {3, 1};
    tn_batcher_params params = TN_BATCHER_PARAMS_INIT;
    params.shares = shares.data();
    ASSERT_EQ(create(params), TN_OK) << tn_error_last()->message;
    submit(16, 5, 20);
    step();
    EXPECT_EQ(member(0).n_running, 12u);
    EXPECT_EQ(member(1).n_running, 4u);
    drain();
}

// No session is idle while requests wait and it has room.
TEST_F(Members, AFullSessionLeavesTheRestToOthers)
{
    add("cpu0", 2);
    add("cpu1", 9);
    ASSERT_EQ(create(), TN_OK) << tn_error_last()->message;
    submit(11, 5, 20);
    step();
    EXPECT_EQ(member(0).n_running, 2u);
    EXPECT_EQ(member(1).n_running, 9u);
    drain();
}

TEST_F(Members, LanesOfASessionShareItsSamples)
{
    add("cpu0,cpu1", 8, 2);
    ASSERT_EQ(create(), TN_OK) << tn_error_last()->message;
    submit(6, 5, 20);
    drain();
    // Each lane took three of them in every step: half as many tokens a step as there are samples.
    EXPECT_EQ(member(0).n_lanes, 2u);
    EXPECT_EQ(member(0).n_tokens, 6u * (5 + 19));
    EXPECT_EQ(member(0).n_steps, 2u * 20);
}

// When some end early, those that are left are shared again.
TEST_F(Members, LanesAreLevelledWhenSamplesEnd)
{
    add("cpu0,cpu1", 8, 2);
    ASSERT_EQ(create(), TN_OK) << tn_error_last()->message;
    for (uint32_t i = 0; i < 4; i++) { // the lanes take turns: one gets the short ones
        submit(1, 5, 2);
        submit(1, 5, 42);
    }
    drain();
    EXPECT_EQ(member(0).n_tokens, 4u * (5 + 1) + 4u * (5 + 41));
    EXPECT_LE(member(0).n_steps, 2u * 42 + 4); // and not one lane of four
    EXPECT_GE(member(0).n_steps, 2u * 40);
}

TEST_F(Members, APromptOfManySamplesIsComputedOnceASession)
{
    for (const uint32_t n_prompt : {100u, 300u}) {
        add("cpu0", 8, 2, 40);
        add("cpu1", 8, 2, 40);
        ASSERT_EQ(create(), TN_OK) << tn_error_last()->message;
        submit(1, n_prompt, 30, 16);
        drain();
        EXPECT_EQ(all().n_pages_used, 0u);
        EXPECT_GT(member(1).n_tokens, 0u);
        // Each sample computes the last token itself; the first one of each session computes all.
        EXPECT_EQ(all().n_prompt_tokens, 2 * n_prompt + 14);
        destroy();
    }
}

// A thousand positions that one session has, and the other has not, are worth more than a free sequence there.
TEST_F(Members, AKnownPromptIsGoneOnWithWhereItIs)
{
    add("cpu0", 8);
    add("cpu1", 8);
    ASSERT_EQ(create(), TN_OK) << tn_error_last()->message;
    submit(1, 500, 1, 1, true);
    drain();
    const uint64_t n_before = member(0).n_tokens;
    submit(2, 500, 2, 1, true);
    drain();
    EXPECT_EQ(member(1).n_tokens, 0u);
    EXPECT_LT(member(0).n_tokens - n_before, 2 * 128u + 8);
}

// A request that is cancelled between two steps gets no other token, though its samples are in flight.
TEST_F(Members, ACancelledRequestInFlightGetsNoTokenMore)
{
    add("cpu0", 4, 2);
    add("cpu1", 4, 2);
    ASSERT_EQ(create(), TN_OK) << tn_error_last()->message;
    submit(1, 5, 400, 6);
    while (n_told < 40) ASSERT_EQ(step(), 1u);
    const uint32_t before = n_told;
    ASSERT_EQ(tn_batcher_cancel(batcher, last), TN_OK);
    for (int i = 0; step(); i++) ASSERT_LT(i, 6);
    EXPECT_EQ(n_told, before);
    tn_result *result = tn_batcher_poll(batcher);
    ASSERT_NE(result, nullptr);
    EXPECT_EQ(result->status, TN_CANCELLED);
    EXPECT_EQ(result->n_generated, before);
    tn_result_destroy(result);
    EXPECT_EQ(all().n_pages_used, 0u);
}

// One session's device fails every time: what the other one has comes to its end, and nothing is lost when the device works again.
TEST_F(Members, AFailingSessionDoesNotHoldUpAnother)
{
    for (const int failing_device : {0, 1}) {
        FailingDevices failing(model.host, 2, 1);
        add("cpu0", 4);
        add("cpu1", 4);
        ASSERT_EQ(create(), TN_OK) << tn_error_last()->message;
        submit(8, 5, 20);
        failing.only = failing_device;
        failing.percent = 100;
        uint32_t left = 8, n_failed = 0;
        for (int i = 0; left > 4 || n_failed == 0; i++) { // the one that works may be done before the other one's thread has run
            ASSERT_LT(i, 10000);
            const tn_status status = tn_batcher_step(batcher, &left);
            if (status == TN_OK) continue;
            ASSERT_EQ(status, TN_DEVICE_LOST) << tn_error_last()->message;
            n_failed++;
        }
        EXPECT_GT(n_failed, 0u);
        EXPECT_EQ(member(static_cast<uint32_t>(failing_device)).n_tokens, 0u);
        failing.percent = 0;
        for (left = 1; left;) { // the step that is in flight may have failed before
            const tn_status status = tn_batcher_step(batcher, &left);
            ASSERT_TRUE(status == TN_OK || status == TN_DEVICE_LOST) << tn_error_last()->message;
            if (status != TN_OK) left = 1;
        }
        for (uint32_t i = 0; i < 2; i++) EXPECT_EQ(member(i).n_tokens, 4u * (5 + 19));
        destroy();
    }
}

TEST_F(Members, TuningFindsANumberForEachSession)
{
    add("cpu0", 8);
    add("cpu0,cpu1", 8, 3);
    ASSERT_EQ(create(), TN_OK) << tn_error_last()->message;
    uint32_t n = 0;
    ASSERT_EQ(tn_batcher_tune(batcher, nullptr, &n), TN_OK) << tn_error_last()->message;
    EXPECT_EQ(all().n_seqs, n);
    EXPECT_EQ(member(0).n_seqs + member(1).n_seqs, n);
    EXPECT_GE(member(0).n_seqs, 1u);
    EXPECT_GE(member(1).n_seqs, 1u);
    for (tn_session *session : sessions) {
        for (uint32_t seq = 0; seq < 8; seq++) EXPECT_EQ(tn_session_seq_length(session, seq), 0u);
    }
    submit(20, 5, 5);
    drain();
    ASSERT_EQ(tn_batcher_set_n_seqs(batcher, 3), TN_OK);
    for (uint32_t i = 0; i < 2; i++) EXPECT_EQ(member(i).n_seqs, 8u);
    submit(5, 5, 5);
    step();
    EXPECT_EQ(all().n_running, 3u);
    drain();
    EXPECT_EQ(tn_batcher_set_n_seqs(batcher, 17), TN_INVALID_ARGUMENT);
}

TEST_F(Members, WhatCannotComputeTogetherIsRefused)
{
    BatchModel other(false);
    tn_session_params p = TN_SESSION_PARAMS_INIT;
    p.n_ctx = kBatchContext;
    tn_session *of_other = other.session(p);
    add("cpu0", 2);
    sessions.push_back(of_other);
    expect_refused("another model");
    sessions.back() = nullptr;
    expect_refused("session 1 of the batcher is NULL");
    sessions.back() = sessions[0];
    expect_refused("name each once");
    sessions.pop_back();
    add("cpu1", 2, 0, 0, 256);
    expect_refused("context of 256");
    sessions.push_back(sessions.back());
    sessions[1] = sessions[0];
    expect_refused("session 1"); // of three
    sessions.erase(sessions.begin() + 1);
    tn_session_destroy(sessions.back());
    sessions.pop_back();
    add("cpu1", 2);
    tn_batcher_params params = TN_BATCHER_PARAMS_INIT;
    for (const double share : {0.0, -1.0, std::nan(""), 1e300}) {
        const std::array<double, 2> shares = {1, share};
        params.shares = shares.data();
        expect_refused("session 1 of the batcher has a share", params);
    }
    params.shares = nullptr;
    params.n_seqs = 5;
    expect_refused("4", params);
    // None of that has harmed the sessions.
    ASSERT_EQ(create(), TN_OK) << tn_error_last()->message;
    submit(4, 5, 5);
    drain();
    EXPECT_EQ(all().n_generated, 20u);
    tn_session_destroy(of_other);
}

// A request goes only where it has room; one that has room nowhere is refused.
TEST_F(Members, LongRequestsGoWhereTheyFit)
{
    add("cpu0", 4, 0, 2);
    add("cpu1", 4, 0, 4);
    ASSERT_EQ(create(), TN_OK) << tn_error_last()->message;
    submit(3, 5, 300);
    drain();
    EXPECT_EQ(member(0).n_tokens, 0u);
    submit(3, 5, 100);
    drain();
    EXPECT_GT(member(0).n_tokens, 0u);
    destroy();
    add("cpu0", 4, 0, 2);
    add("cpu1", 4, 0, 2);
    ASSERT_EQ(create(), TN_OK) << tn_error_last()->message;
    const int32_t token = 1;
    tn_request_params p = TN_REQUEST_PARAMS_INIT;
    p.tokens = &token;
    p.n_tokens = 1;
    p.n_tokens_max = 300;
    EXPECT_EQ(tn_batcher_submit(batcher, &p, nullptr), TN_LIMIT);
}
