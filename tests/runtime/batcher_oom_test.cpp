// Requests through a batcher whose memory runs out at any allocation: what failed can be tried again, and nothing is lost or held.
#include "runtime/stress_oracle.hpp"
#include "support/fail_alloc.hpp"

using namespace tn_test;

namespace
{

// Requests through a batcher, each call tried again where memory ran out; how often it did.
void run_without_memory(Exam *exam, const std::vector<tn_session *> &sessions, const std::vector<size_t> &specs, long nth, FailMode mode,
                        long *out_failed)
{
    tn_batcher_params params = TN_BATCHER_PARAMS_INIT;
    params.more_sessions = sessions.data() + 1;
    params.n_more_sessions = static_cast<uint32_t>(sessions.size() - 1);
    std::vector<tn_result *> results;
    tn_batcher *batcher = nullptr;
    uint32_t left = 1;
    {
        auto fail = std::make_unique<FailAlloc>(nth, mode);
        auto again = [&](tn_status status) { // after a failure memory is there again
            if (status != TN_OUT_OF_MEMORY) return false;
            *out_failed += fail ? fail->failed() : 0;
            EXPECT_NE(fail, nullptr) << "no allocation failed: " << tn_error_last()->message;
            fail.reset();
            return true;
        };
        tn_status status;
        while (again(status = tn_batcher_create(sessions[0], &params, &batcher))) EXPECT_EQ(batcher, nullptr);
        ASSERT_EQ(status, TN_OK);
        for (size_t spec : specs) {
            std::vector<const char *> stops;
            tn_sampler_params sampler;
            tn_request_params p = request_of(exam->specs.all[spec], &stops, &sampler);
            while (again(status = tn_batcher_submit(batcher, &p, nullptr))) continue;
            ASSERT_EQ(status, TN_OK) << tn_error_last()->message;
        }
        while (left) {
            while (again(status = tn_batcher_step(batcher, &left))) left = 1;
            ASSERT_EQ(status, TN_OK) << tn_error_last()->message;
        }
        if (fail) *out_failed += fail->failed();
    }
    size_t n_results = 0, n_lost = 0;
    while (tn_result *result = tn_batcher_poll(batcher)) {
        const Expected &want = exam->expected(specs.at(result->request - 1));
        n_results++;
        for (uint32_t i = 0; i < result->n_samples; i++) {
            const tn_sample &sample = result->samples[i];
            const std::vector<int32_t> tokens(sample.tokens, sample.tokens + sample.n_tokens);
            const Answer &answer = want.answers.at(sample.index);
            for (uint32_t t = 0; sample.logprobs && t < sample.n_tokens; t++) EXPECT_EQ(sample.logprobs[t].token, sample.tokens[t]);
            if (sample.status == TN_OUT_OF_MEMORY) {
                n_lost++; // it ends alone
                continue;
            }
            EXPECT_EQ(sample.status, answer.status) << "sample " << i << " of spec " << specs.at(result->request - 1);
            EXPECT_EQ(tokens, answer.tokens) << "sample " << i << " of spec " << specs.at(result->request - 1);
        }
        tn_result_destroy(result);
    }
    EXPECT_EQ(n_results, specs.size());
    EXPECT_TRUE(*out_failed || n_lost == 0);
    tn_batcher_info info = TN_BATCHER_INFO_INIT;
    ASSERT_EQ(tn_batcher_get_info(batcher, &info), TN_OK);
    EXPECT_EQ(info.n_pages_used, 0u);
    tn_batcher_destroy(batcher);
}

// Requests of every kind that are not long.
std::vector<size_t> choose_specs(Exam *exam)
{
    std::vector<size_t> chosen;
    bool has_best = false, has_top = false, has_prompt = false, has_stop = false;
    for (size_t i = 0; i < exam->specs.all.size() && chosen.size() < 6; i++) {
        const Spec &s = exam->specs.all[i];
        if (s.n_tokens_max == 0 || s.n_tokens_max > 12 || s.prompt.size() > 150) continue;
        if ((s.n_best && !has_best) || (s.logprobs && s.n_top && !has_top) || (s.prompt_logprobs && !has_prompt) ||
            (!s.stops.empty() && !has_stop))
            chosen.push_back(i);
        has_best = has_best || s.n_best;
        has_top = has_top || (s.logprobs && s.n_top);
        has_prompt = has_prompt || s.prompt_logprobs;
        has_stop = has_stop || !s.stops.empty();
    }
    EXPECT_TRUE(has_best && has_top && has_prompt && has_stop);
    for (size_t spec : chosen) exam->expected(spec);
    return chosen;
}

// Every allocation fails, one after the other, until none is left to fail.
void fail_all(Exam *exam, const std::vector<Trial::Member> &members, long n_least)
{
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    params.n_ctx = kBatchContext;
    params.n_seqs_max = 3;
    params.kv_bytes = page_bytes(*exam) * 6;
    const std::vector<size_t> chosen = choose_specs(exam);
    std::vector<tn_session *> sessions;
    for (const Trial::Member &member : members) {
        params.n_lanes = member.n_lanes;
        sessions.push_back(exam->model.session(params, member.devices));
    }
    for (const FailMode mode : {FailMode::once, FailMode::forever}) {
        long failed = 1;
        for (long nth = 1; failed; nth++) {
            ASSERT_LT(nth, 10000);
            failed = 0;
            const std::string trace = "allocation " + std::to_string(nth) + (mode == FailMode::once ? ", once" : ", for ever");
            SCOPED_TRACE(trace);
            ASSERT_NO_FATAL_FAILURE(run_without_memory(exam, sessions, chosen, nth, mode, &failed));
            if (testing::Test::HasFailure()) return;
            if (failed == 0) {
                EXPECT_GT(nth, n_least);
            }
        }
    }
    for (tn_session *session : sessions) tn_session_destroy(session);
}

} // namespace

TEST(BatcherOutOfMemory, EveryAllocationMayFailAndNoRequestIsLost)
{
    Exam exam(Kind::mixed, 300, stress_seed() + 5);
    fail_all(&exam, {{}}, 40);
}

TEST(BatcherOutOfMemory, SoItIsOverSessionsAndLanes)
{
    Exam exam(Kind::mixed, 300, stress_seed() + 5, 2);
    fail_all(&exam, {{"cpu0", 1}, {"cpu0,cpu1", 3}}, 50);
}
