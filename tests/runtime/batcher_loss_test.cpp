// A batcher whose session loses its device with 64 requests under way: each ends with the text that it has undisturbed.
#include "support/losing_device.hpp"
#include "support/quick.hpp"
#include "support/run_model.hpp"

#include <memory>

namespace
{

using tn_test::LosingDevice;

constexpr uint32_t kRequests = 64, kSeqs = 16, kContext = 256;

struct Answer {
    std::string tokens; // of all samples, in their order
    tn_status status;
};

class BatcherLoss : public testing::Test
{
  protected:
    void SetUp() override { ASSERT_EQ(tn_model_open(tn_test::default_model().c_str(), nullptr, &model_), TN_OK); }
    void TearDown() override { tn_model_close(model_); }

    struct How {
        std::vector<std::string> sessions = {"cpu0"}; // a list of devices for each
        uint32_t lost = 1;
        uint64_t at = UINT64_MAX; // call; none
        bool no_reuse = false, fails = false, tunes = false;
    };
    struct Run {
        std::vector<Answer> answers;
        std::string log;
        uint64_t n_calls = 0, n_preempted = 0;
        bool failed = false;
        tn_status status = TN_OK;
        std::vector<uint32_t> n_seqs; // of each member, at the end
    };

    Run run(const How &how)
    {
        Run r;
        tn_host_params host_params = TN_HOST_PARAMS_INIT;
        host_params.n_cpu_devices = host_params.n_threads = 2;
        host_params.no_bind = true;
        tn_host *host = nullptr;
        EXPECT_EQ(tn_host_open(&host_params, &host), TN_OK) << tn_error_last()->message;
        {
            LosingDevice device(host, how.lost);
            std::vector<tn_placement *> placements;
            std::vector<tn_session *> sessions;
            for (const std::string &devices : how.sessions) start(host, devices, how.fails, &r, &placements, &sessions);
            device.fail_after(how.at, TN_DEVICE_LOST);
            serve(sessions, how, &r);
            r.n_calls = device.n_calls;
            r.failed = device.failed;
            for (tn_session *session : sessions) tn_session_destroy(session);
            for (tn_placement *placement : placements) tn_placement_destroy(placement);
        }
        tn_host_close(host);
        return r;
    }
    void expect_whole(const Run &got, const Run &want, const std::string &log)
    {
        ASSERT_EQ(got.status, TN_OK) << tn_error_last()->message;
        EXPECT_TRUE(got.failed);
        ASSERT_EQ(got.answers.size(), want.answers.size());
        for (size_t i = 0; i < want.answers.size(); i++) {
            EXPECT_EQ(got.answers[i].status, TN_OK) << i;
            EXPECT_EQ(got.answers[i].tokens, want.answers[i].tokens) << i;
        }
        EXPECT_EQ(got.log, log);
    }
    tn_model *model_ = nullptr;

  private:
    void start(tn_host *host, const std::string &devices, bool fails, Run *r, std::vector<tn_placement *> *placements,
               std::vector<tn_session *> *sessions)
    {
        tn_placement_params placement_params = TN_PLACEMENT_PARAMS_INIT;
        placement_params.devices = devices.c_str();
        placements->push_back(nullptr);
        EXPECT_EQ(tn_placement_create(model_, host, &placement_params, &placements->back()), TN_OK) << tn_error_last()->message;
        tn_session_params params = TN_SESSION_PARAMS_INIT;
        params.placement = placements->back();
        params.n_ctx = kContext;
        params.n_seqs_max = kSeqs;
        params.n_ubatch = 64;
        params.no_recovery = fails;
        params.log = {[](void *user, tn_log_level, const char *text) { *static_cast<std::string *>(user) += std::string(text) + "\n"; },
                      &r->log, TN_LOG_WARN};
        sessions->push_back(nullptr);
        EXPECT_EQ(tn_session_create(model_, host, &params, &sessions->back()), TN_OK) << tn_error_last()->message;
    }
    // Prompts of one beginning over a page, and some of their own; several samples; temperatures with seeds.
    static void submit(tn_batcher *batcher, uint32_t i)
    {
        const uint32_t n = i % 4 == 0 ? 140 : 3 + i % 7;
        std::vector<int32_t> prompt(n);
        for (uint32_t k = 0; k < n; k++) prompt[k] = static_cast<int32_t>(300 + (k * 37 + (k + 5 >= n ? i : 0)) % 3000);
        tn_request_params p = TN_REQUEST_PARAMS_INIT;
        p.tokens = prompt.data();
        p.n_tokens = n;
        p.n_samples = i % 5 == 0 ? 3 : 1;
        p.n_tokens_max = 4 + i % 9;
        tn_sampler_params sampler = tn_sampler_params_default();
        sampler.temperature = i % 2 ? 0.9f : 0;
        sampler.seed = i;
        p.sampler = &sampler;
        EXPECT_EQ(tn_batcher_submit(batcher, &p, nullptr), TN_OK) << tn_error_last()->message;
    }
    static void serve(const std::vector<tn_session *> &sessions, const How &how, Run *r)
    {
        tn_batcher *batcher = nullptr;
        tn_batcher_params params = TN_BATCHER_PARAMS_INIT;
        params.more_sessions = sessions.data() + 1;
        params.n_more_sessions = static_cast<uint32_t>(sessions.size() - 1);
        params.no_prefix_reuse = how.no_reuse;
        params.n_queue_max = kRequests;
        ASSERT_EQ(tn_batcher_create(sessions[0], &params, &batcher), TN_OK) << tn_error_last()->message;
        uint32_t n_seqs = 0, left = 1;
        if (how.tunes) {
            ASSERT_EQ(tn_batcher_tune(batcher, nullptr, &n_seqs), TN_OK) << tn_error_last()->message;
            ASSERT_EQ(tn_batcher_set_n_seqs(batcher, kSeqs), TN_OK);
        }
        for (uint32_t i = 0; i < kRequests; i++) submit(batcher, i);
        for (int i = 0; left && r->status == TN_OK; i++) {
            ASSERT_LT(i, 100000);
            r->status = tn_batcher_step(batcher, &left);
        }
        std::map<uint64_t, Answer> answers;
        for (tn_result *result; (result = tn_batcher_poll(batcher));) {
            Answer &answer = answers[result->request];
            answer.status = result->status;
            for (uint32_t s = 0; s < result->n_samples; s++) {
                for (uint32_t t = 0; t < result->samples[s].n_tokens; t++)
                    answer.tokens += std::to_string(result->samples[s].tokens[t]) + " ";
                answer.tokens += "| ";
            }
            tn_result_destroy(result);
        }
        for (auto &entry : answers) r->answers.push_back(entry.second);
        for (uint32_t i = 0; i < sessions.size(); i++) {
            tn_batcher_member_info info = TN_BATCHER_MEMBER_INFO_INIT;
            ASSERT_EQ(tn_batcher_get_member_info(batcher, i, &info), TN_OK);
            r->n_seqs.push_back(info.n_seqs);
        }
        tn_batcher_destroy(batcher);
    }
};

std::string line(uint64_t at, const std::string &where)
{
    return "cpu1 was lost (call " + std::to_string(at) + " is made to fail): " + where + "\n";
}

// Calls at the beginning, where prompts are computed, and all over the rest.
std::vector<uint64_t> moments(uint64_t n_calls, uint64_t n)
{
    if (tn_test::is_quick()) return {1, n_calls / n};
    std::vector<uint64_t> all = {0, 1, 2, 3, 4, 7};
    for (uint64_t i = 1; i < n; i++) all.push_back(n_calls * i / n);
    return all;
}

TEST_F(BatcherLoss, OneSessionGoesOnElsewhere)
{
    const Run want = run(How());
    ASSERT_EQ(want.answers.size(), kRequests);
    for (const char *devices : {"cpu1", "cpu0,cpu1", "cpu1,cpu0"}) {
        for (const bool no_reuse : {false, true}) {
            How how;
            how.sessions = {devices};
            how.no_reuse = no_reuse;
            const uint64_t n_calls = run(how).n_calls;
            for (const uint64_t at : moments(n_calls, no_reuse ? 2 : 5)) {
                SCOPED_TRACE(std::string(devices) + ", call " + std::to_string(at));
                how.at = at;
                const Run got = run(how);
                ASSERT_NO_FATAL_FAILURE(expect_whole(got, want, line(at, "going on on cpu0")));
                EXPECT_EQ(got.n_seqs, std::vector<uint32_t>({kSeqs}));
            }
        }
    }
}

TEST_F(BatcherLoss, OfSeveralSessionsTheOthersGoOn)
{
    const Run want = run(How());
    How how;
    how.sessions = {"cpu0", "cpu1"};
    for (const uint64_t at : moments(30, 5)) { // who computes how much is a matter of time
        SCOPED_TRACE(at);
        how.at = at;
        const Run got = run(how);
        ASSERT_NO_FATAL_FAILURE(expect_whole(got, want, line(at, "the other devices go on without it")));
        EXPECT_EQ(got.n_seqs, std::vector<uint32_t>({kSeqs, 0}));
    }
    how.sessions = {"cpu1", "cpu0"};
    how.at = 20;
    ASSERT_NO_FATAL_FAILURE(expect_whole(run(how), want, line(20, "the other devices go on without it")));
    how.sessions = {"cpu0", "cpu0,cpu1"}; // which has a device of its own left
    const Run got = run(how);
    ASSERT_NO_FATAL_FAILURE(expect_whole(got, want, line(20, "going on on cpu0")));
    EXPECT_EQ(got.n_seqs, std::vector<uint32_t>({kSeqs, kSeqs}));
}

TEST_F(BatcherLoss, WhileItIsTuned)
{
    const Run want = run(How());
    How how;
    how.tunes = true;
    how.at = 9;
    for (const std::vector<std::string> &sessions : {std::vector<std::string>{"cpu1"}, {"cpu1", "cpu0"}, {"cpu0,cpu1"}}) {
        how.sessions = sessions;
        ASSERT_NO_FATAL_FAILURE(
            expect_whole(run(how), want, line(9, sessions.size() > 1 ? "the other devices go on without it" : "going on on cpu0")));
    }
}

TEST_F(BatcherLoss, WithoutRecoveryAStepFails)
{
    How how;
    how.sessions = {"cpu1"};
    how.fails = true;
    how.at = 9;
    const Run got = run(how);
    EXPECT_EQ(got.status, TN_DEVICE_LOST);
    EXPECT_EQ(got.log, "");
}

} // namespace
