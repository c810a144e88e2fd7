// Whose turn it is, what is counted, and what a batcher promises to several threads and when it is destroyed with work in hand.
#include "runtime/stress_oracle.hpp"

#include <atomic>
#include <thread>

using namespace tn_test;

// ---- counts ----

// Without interruptions and cancellations each token of a prompt is computed once or reused once.
TEST(BatcherStress, PromptTokensAreComputedOrReused)
{
    Exam exam(Kind::mixed, 60, stress_seed() + 2);
    std::vector<Spec> specs;
    for (const bool no_reuse : {false, true}) {
        tn_session_params session_params = TN_SESSION_PARAMS_INIT;
        session_params.n_ctx = kBatchContext;
        session_params.n_seqs_max = 5;
        session_params.n_ubatch = 100;
        tn_session *session = exam.model.session(session_params);
        tn_batcher_params params = TN_BATCHER_PARAMS_INIT;
        params.no_prefix_reuse = no_reuse;
        params.n_queue_max = 1000;
        tn_batcher *batcher = nullptr;
        ASSERT_EQ(tn_batcher_create(session, &params, &batcher), TN_OK);
        uint64_t n_prompt = 0, n_submitted = 0;
        for (Spec spec : exam.specs.all) {
            spec.n_samples = 1;
            spec.n_best = 0;
            if (spec.prompt_only) continue; // it does without the last one
            std::vector<const char *> stops;
            tn_sampler_params sampler;
            const tn_request_params p = request_of(spec, &stops, &sampler);
            ASSERT_EQ(tn_batcher_submit(batcher, &p, nullptr), TN_OK) << tn_error_last()->message;
            n_prompt += spec.prompt.size();
            n_submitted++;
        }
        for (uint32_t left = 1; left;) ASSERT_EQ(tn_batcher_step(batcher, &left), TN_OK) << tn_error_last()->message;
        tn_batcher_info info = TN_BATCHER_INFO_INIT;
        ASSERT_EQ(tn_batcher_get_info(batcher, &info), TN_OK);
        uint64_t n_reused = 0, n_results = 0;
        while (tn_result *result = tn_batcher_poll(batcher)) {
            n_reused += result->n_prompt_reused;
            n_results++;
            tn_result_destroy(result);
        }
        EXPECT_EQ(n_results, n_submitted);
        EXPECT_EQ(info.n_preempted, 0u);
        EXPECT_EQ(info.n_prompt_tokens + info.n_prompt_reused, n_prompt);
        EXPECT_EQ(info.n_prompt_reused, n_reused);
        EXPECT_EQ(n_reused == 0, no_reuse);
        tn_batcher_destroy(batcher);
        tn_session_destroy(session);
    }
}

// ---- fairness ----

namespace
{

// A batcher with plain requests in flows, and what ended in which step.
class Flows
{
  public:
    Flows(uint32_t n_seqs, uint32_t n_ubatch) : model_(false)
    {
        tn_session_params session_params = TN_SESSION_PARAMS_INIT;
        session_params.n_ctx = kBatchContext;
        session_params.n_seqs_max = n_seqs;
        session_params.n_ubatch = n_ubatch;
        session_ = model_.session(session_params);
        tn_batcher_params params = TN_BATCHER_PARAMS_INIT;
        params.n_queue_max = 5000;
        EXPECT_EQ(tn_batcher_create(session_, &params, &batcher_), TN_OK);
    }
    ~Flows()
    {
        tn_batcher_destroy(batcher_);
        tn_session_destroy(session_);
    }
    Flows(const Flows &) = delete;
    Flows &operator=(const Flows &) = delete;
    // The prompts are unlike, so that none spares another one work.
    void submit(uint64_t flow, uint32_t n, uint32_t n_prompt, uint32_t n_tokens)
    {
        for (uint32_t i = 0; i < n; i++) {
            std::vector<int32_t> prompt(n_prompt);
            for (int32_t &token : prompt) token = static_cast<int32_t>(random_() % 16);
            tn_request_params p = TN_REQUEST_PARAMS_INIT;
            p.tokens = prompt.data();
            p.n_tokens = prompt.size();
            p.n_tokens_max = n_tokens;
            p.ignore_eog = true;
            p.flow = flow;
            p.user = &ended[flow];
            p.on_end = [](void *user, const tn_result *) { ++*static_cast<uint32_t *>(user); };
            ASSERT_EQ(tn_batcher_submit(batcher_, &p, nullptr), TN_OK) << tn_error_last()->message;
        }
    }
    uint32_t step()
    {
        uint32_t left = 0;
        EXPECT_EQ(tn_batcher_step(batcher_, &left), TN_OK) << tn_error_last()->message;
        return left;
    }
    std::map<uint64_t, uint32_t> ended; // by flow

  private:
    BatchModel model_;
    std::mt19937 random_{5};
    tn_session *session_ = nullptr;
    tn_batcher *batcher_ = nullptr;
};

} // namespace

TEST(BatcherFairness, OneRequestIsNotBehindAThousandOfAnotherFlow)
{
    const uint32_t n_seqs = 3, n_tokens = 10;
    Flows flows(n_seqs, 64);
    flows.submit(1, 1000, 20, n_tokens);
    for (int i = 0; i < 25; i++) flows.step();
    flows.submit(2, 1, 20, n_tokens);
    const uint32_t before = flows.ended[1];
    while (!flows.ended[2]) ASSERT_GT(flows.step(), 0u);
    // Those that run when it comes, and at most as many more while it runs itself.
    EXPECT_LE(flows.ended[1] - before, 3 * n_seqs);
    EXPECT_LT(flows.ended[1], 100u);
}

TEST(BatcherFairness, FlowsGetEqualSharesOfTokensWhateverTheyQueue)
{
    Flows flows(2, 64);
    const uint32_t short_cost = 10 + 6 - 1, long_cost = 50 + 26 - 1;
    flows.submit(1, 700, 10, 6);
    flows.submit(2, 100, 50, 26);
    flows.submit(3, 700, 10, 6);
    uint32_t n_looks = 0;
    while (flows.step() && flows.ended[1] < 600 && flows.ended[2] < 95) {
        // Of what has ended. What runs may be ahead by a request of the longest kind, on each sequence.
        const double by_short = flows.ended[1] * short_cost, by_long = flows.ended[2] * long_cost, by_other = flows.ended[3] * short_cost;
        ASSERT_NEAR(by_short, by_long, 4 * long_cost) << "step " << n_looks;
        ASSERT_NEAR(by_short, by_other, 4 * long_cost) << "step " << n_looks;
        n_looks++;
    }
    EXPECT_GT(n_looks, 1000u);
    EXPECT_GT(flows.ended[2], 80u);
}

// A flow that comes late gets its share from then on, and not what it did not ask for before.
TEST(BatcherFairness, AFlowThatComesLateDoesNotCatchUp)
{
    Flows flows(2, 64);
    flows.submit(1, 400, 10, 6);
    while (flows.ended[1] < 200) flows.step();
    flows.submit(2, 100, 10, 6);
    const uint32_t before = flows.ended[1];
    while (flows.ended[2] < 80) ASSERT_GT(flows.step(), 0u);
    EXPECT_NEAR(flows.ended[1] - before, 80u, 6);
}

// However many flows come, those that wait have their turn: the one that came first, and the one that was served before.
TEST(BatcherFairness, NobodyIsOvertakenForEver)
{
    Flows flows(1, 64);
    const uint64_t once = 1, thrice = 2;
    uint64_t newest = 10, n_new_ended = 0;
    flows.submit(thrice, 3, 20, 2);
    for (; newest < 14; newest++) flows.submit(newest, 1, 20, 2);
    flows.submit(once, 1, 20, 2);
    while (n_new_ended < 200 && (flows.ended[once] < 1 || flows.ended[thrice] < 3)) {
        ASSERT_GT(flows.step(), 0u);
        uint64_t n = 0;
        for (uint64_t flow = 10; flow < newest; flow++) n += flows.ended[flow];
        for (; n_new_ended < n; n_new_ended++) flows.submit(newest++, 1, 20, 2); // another one comes for each that has ended
    }
    EXPECT_EQ(flows.ended[once], 1u);
    EXPECT_EQ(flows.ended[thrice], 3u);
    EXPECT_LT(n_new_ended, 30u);
}

// A flow that comes does not pay for the long prompt of another.
TEST(BatcherFairness, AFlowThatComesBehindALongPromptIsNotHeldUp)
{
    Flows flows(1, 64);
    flows.submit(1, 1, 400, 2);
    flows.submit(2, 100, 10, 2);
    flows.step(); // the long prompt has started
    flows.submit(3, 1, 10, 2);
    while (!flows.ended[3]) ASSERT_GT(flows.step(), 0u);
    EXPECT_LE(flows.ended[2], 3u);
}

// Within a flow requests start in order.
TEST(BatcherFairness, AFlowsRequestsStartInOrder)
{
    Flows flows(1, 64);
    flows.submit(1, 1, 10, 6);
    flows.submit(1, 1, 200, 2);
    flows.submit(1, 1, 1, 1);
    std::vector<uint32_t> ends;
    for (uint32_t left = 3; left; left = flows.step()) ends.push_back(flows.ended[1]);
    EXPECT_TRUE(std::is_sorted(ends.begin(), ends.end()));
    EXPECT_EQ(flows.ended[1], 3u);
}

// ---- threads ----

namespace
{

// `members`: a session each, which all threads' requests share.
void submit_from_threads(const std::vector<Trial::Member> &members)
{
    const uint64_t seed = stress_seed() + 3;
    const size_t n_requests = number_of("TN_STRESS_REQUESTS", 10500) / 10;
    constexpr size_t n_threads = 3;
    Exam exam(Kind::mixed, 40, seed, 2);
    for (size_t i = 0; i < exam.specs.all.size(); i++) exam.expected(i); // the oracle has one thread
    tn_session_params session_params = TN_SESSION_PARAMS_INIT;
    session_params.n_ctx = kBatchContext;
    session_params.n_seqs_max = 4;
    session_params.kv_bytes = page_bytes(exam) * 9;
    std::vector<tn_session *> sessions;
    for (const Trial::Member &member : members) {
        session_params.n_lanes = member.n_lanes;
        sessions.push_back(exam.model.session(session_params, member.devices));
    }
    tn_batcher_params batcher_params = TN_BATCHER_PARAMS_INIT;
    batcher_params.more_sessions = sessions.data() + 1;
    batcher_params.n_more_sessions = static_cast<uint32_t>(sessions.size() - 1);
    tn_batcher *batcher = nullptr;
    ASSERT_EQ(tn_batcher_create(sessions[0], &batcher_params, &batcher), TN_OK);
    std::atomic<size_t> n_ended{0}, n_cancelled{0}, n_wrong{0}, n_submitting{n_threads};
    struct Asked {
        const Spec *spec;
        const Expected *expected;
    };
    std::vector<Asked> asked;
    for (size_t i = 0; i < exam.specs.all.size(); i++) asked.push_back({&exam.specs.all[i], &exam.expected(i)});
    auto look = [&](const tn_result *result) {
        const Asked *a = static_cast<const Asked *>(result->user);
        if (result->status == TN_CANCELLED) {
            n_cancelled++;
        } else if (!a->spec->n_best) {
            for (uint32_t i = 0; i < result->n_samples; i++) {
                const tn_sample &s = result->samples[i];
                const Answer &want = a->expected->answers[i];
                const bool same = s.status == want.status && std::vector<int32_t>(s.tokens, s.tokens + s.n_tokens) == want.tokens &&
                                  (want.status != TN_OK || std::string(s.text, s.text_len) == want.text);
                n_wrong += !same;
            }
        }
        n_ended++;
    };
    auto submitter = [&](size_t number) {
        std::mt19937_64 random(seed + number);
        const size_t n = n_requests / n_threads;
        for (size_t i = 0; i < n;) {
            const Asked &a = asked[random() % asked.size()];
            std::vector<const char *> stops;
            tn_sampler_params sampler;
            tn_request_params p = request_of(*a.spec, &stops, &sampler);
            p.user = const_cast<Asked *>(&a);
            p.flow = number;
            uint64_t id = 0;
            const tn_status status = tn_batcher_submit(batcher, &p, &id);
            if (status == TN_OK) {
                i++;
                if (random() % 3 == 0) {
                    EXPECT_NE(tn_batcher_cancel(batcher, id), TN_INVALID_ARGUMENT);
                }
            } else {
                EXPECT_EQ(status, TN_LIMIT) << tn_error_last()->message;
                std::this_thread::yield();
            }
            tn_batcher_info info = TN_BATCHER_INFO_INIT;
            EXPECT_EQ(tn_batcher_get_info(batcher, &info), TN_OK);
            EXPECT_LE(info.n_pages_used, info.n_pages);
            if (tn_result *result = tn_batcher_poll(batcher)) {
                look(result);
                tn_result_destroy(result);
            }
        }
        n_submitting--;
    };
    std::vector<std::thread> threads;
    for (size_t i = 0; i < n_threads; i++) threads.emplace_back(submitter, i);
    for (uint32_t left = 1, some_submit = 1; left || some_submit;) {
        some_submit = n_submitting != 0; // before the step, which then sees all that they submitted
        ASSERT_EQ(tn_batcher_step(batcher, &left), TN_OK) << tn_error_last()->message;
        if (!left) std::this_thread::yield();
    }
    for (std::thread &thread : threads) thread.join();
    while (tn_result *result = tn_batcher_poll(batcher)) {
        look(result);
        tn_result_destroy(result);
    }
    EXPECT_EQ(n_ended, n_requests / n_threads * n_threads);
    EXPECT_EQ(n_wrong, 0u);
    EXPECT_GT(n_cancelled, 0u);
    tn_batcher_destroy(batcher);
    for (tn_session *session : sessions) tn_session_destroy(session);
}

} // namespace

TEST(BatcherStress, AnyThreadSubmitsCancelsPollsAndLooks) { submit_from_threads({{"cpu0"}}); }
TEST(BatcherStress, SoItIsWithSeveralSessions) { submit_from_threads({{"cpu0", 1}, {"cpu1", 2}, {"cpu0,cpu1", 3}}); }

// ---- destroying ----

// Requests that wait and run are forgotten without a callback, and the session can be used again.
TEST(BatcherStress, ABatcherMayBeDestroyedInTheMiddle)
{
    Exam exam(Kind::mixed, 60, stress_seed() + 4, 2);
    std::mt19937_64 random(stress_seed() + 4);
    for (int i = 0; i < 30; i++) {
        Trial trial = random_trial(exam, &random);
        if (i % 3) spread_trial(exam, &random, &trial); // steps are in flight then
        std::vector<tn_session *> sessions;
        for (const Trial::Member &member : trial.members) {
            tn_session_params params = trial.session;
            params.n_lanes = member.n_lanes;
            sessions.push_back(exam.model.session(params, member.devices));
        }
        trial.batcher.more_sessions = sessions.data() + 1;
        trial.batcher.n_more_sessions = static_cast<uint32_t>(sessions.size() - 1);
        for (int again = 0; again < 2; again++) {
            tn_batcher *batcher = nullptr;
            ASSERT_EQ(tn_batcher_create(sessions[0], &trial.batcher, &batcher), TN_OK) << tn_error_last()->message;
            size_t n_told = 0;
            for (int k = 0; k < 30; k++) {
                std::vector<const char *> stops;
                tn_sampler_params sampler;
                tn_request_params p = request_of(exam.specs.all[random() % exam.specs.all.size()], &stops, &sampler);
                p.user = &n_told;
                if (k % 2) p.on_end = [](void *user, const tn_result *) { ++*static_cast<size_t *>(user); };
                const tn_status status = tn_batcher_submit(batcher, &p, nullptr);
                ASSERT_TRUE(status == TN_OK || status == TN_LIMIT) << tn_error_last()->message;
                uint32_t left;
                if (k % 3 == 0) {
                    ASSERT_EQ(tn_batcher_step(batcher, &left), TN_OK) << tn_error_last()->message;
                }
            }
            const size_t before = n_told;
            tn_batcher_destroy(batcher);
            EXPECT_EQ(n_told, before);
            for (const tn_session *session : sessions) {
                for (uint32_t seq = 0; seq < trial.session.n_seqs_max; seq++) ASSERT_EQ(tn_session_seq_length(session, seq), 0u);
            }
        }
        for (tn_session *session : sessions) tn_session_destroy(session);
    }
}
