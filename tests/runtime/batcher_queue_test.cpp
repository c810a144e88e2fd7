// The batcher's queue: turns, cancellation, back-pressure, refusals, requests that fail alone, callbacks and threads.
#include "runtime/batcher_rig.hpp"
#include "support/rewrite_model.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <thread>

using namespace tn_test;

TEST_F(Batcher, ACancelledRequestEndsWithWhatItHasAndOthersGoOn)
{
    create(2, 512);
    std::vector<Ask> asks(4);
    uint64_t numbers[4];
    for (uint32_t i = 0; i < 4; i++) {
        asks[i].prompt = encode("Once upon a time there was a cat" + std::string(i, '!'));
        asks[i].n_tokens_max = 40;
        asks[i].ignore_eog = true;
        ASSERT_EQ(submit(asks[i], &numbers[i], &asks[i]), TN_OK);
    }
    uint32_t left = 0;
    for (int i = 0; i < 6; i++) ASSERT_EQ(tn_batcher_step(batcher, &left), TN_OK);
    EXPECT_EQ(left, 4u);
    ASSERT_EQ(tn_batcher_cancel(batcher, numbers[0]), TN_OK); // runs
    ASSERT_EQ(tn_batcher_cancel(batcher, numbers[3]), TN_OK); // waits
    EXPECT_EQ(tn_batcher_cancel(batcher, 99), TN_NOT_FOUND);
    drain();
    EXPECT_EQ(tn_batcher_cancel(batcher, numbers[1]), TN_NOT_FOUND); // has ended
    size_t n = 0;
    for (tn_result *result; (result = tn_batcher_poll(batcher)); n++) {
        const Ask &ask = *static_cast<const Ask *>(result->user);
        if (result->request == numbers[0] || result->request == numbers[3]) {
            EXPECT_EQ(result->status, TN_CANCELLED);
            EXPECT_EQ(result->samples[0].status, TN_CANCELLED);
            const Answer expected = answer_alone(alone, tokenizer, ask, 0);
            const std::vector<int32_t> tokens(result->samples[0].tokens, result->samples[0].tokens + result->samples[0].n_tokens);
            EXPECT_EQ(tokens.size(), result->request == numbers[0] ? 6u : 0u);
            EXPECT_TRUE(std::equal(tokens.begin(), tokens.end(), expected.tokens.begin()));
        } else {
            expect_as_alone(result, ask);
        }
        tn_result_destroy(result);
    }
    EXPECT_EQ(n, 4u);
    EXPECT_EQ(info().n_pages_used, 0u);
}

TEST_F(Batcher, AFullQueueSaysSoAndTakesMoreLater)
{
    tn_batcher_params params = TN_BATCHER_PARAMS_INIT;
    params.n_queue_max = 3;
    create(2, 512, 0, 0, params);
    Ask ask;
    ask.prompt = encode("Once");
    for (int i = 0; i < 3; i++) ASSERT_EQ(submit(ask), TN_OK);
    EXPECT_EQ(submit(ask), TN_LIMIT);
    EXPECT_EQ(tn_error_last()->native_code, TN_BATCHER_FULL);
    uint32_t left = 0;
    ASSERT_EQ(tn_batcher_step(batcher, &left), TN_OK);
    EXPECT_EQ(left, 3u);
    EXPECT_EQ(submit(ask), TN_OK);
    drain();
}

TEST_F(Batcher, FlowsGetEqualShares)
{
    tn_batcher_params params = TN_BATCHER_PARAMS_INIT;
    params.n_queue_max = 9;
    create(2, 512, 0, 0, params);
    Ask ask;
    ask.prompt = encode("Once upon a time");
    ask.ignore_eog = true;
    ask.flow = 1;
    std::vector<uint64_t> many(7), few(2);
    for (uint64_t &number : many) ASSERT_EQ(submit(ask, &number), TN_OK);
    ask.flow = 2;
    for (uint64_t &number : few) ASSERT_EQ(submit(ask, &number), TN_OK);
    std::vector<uint64_t> order;
    uint32_t left = 1;
    while (left) {
        ASSERT_EQ(tn_batcher_step(batcher, &left), TN_OK);
        for (tn_result *result; (result = tn_batcher_poll(batcher));) {
            order.push_back(result->request);
            tn_result_destroy(result);
        }
    }
    ASSERT_EQ(order.size(), 9u);
    // The second flow's are done among the first five, though seven of the first flow came before them.
    for (uint64_t number : few) EXPECT_LT(std::find(order.begin(), order.end(), number) - order.begin(), 5);
    EXPECT_TRUE(std::is_sorted(many.begin(), many.end()));
}

TEST_F(Batcher, WrongRequestsAreRefusedWithTheReason)
{
    create(2, 128, 1);
    const auto refused = [&](const Ask &ask, tn_status status, const std::string &word) {
        EXPECT_EQ(submit(ask), status);
        EXPECT_NE(std::string(tn_error_last()->message).find(word), std::string::npos) << tn_error_last()->message;
    };
    Ask good;
    good.prompt = {300};
    Ask ask = good;
    ask.prompt.clear();
    refused(ask, TN_INVALID_ARGUMENT, "tokens");
    ask = good;
    ask.prompt = {4096};
    refused(ask, TN_INVALID_ARGUMENT, "4096");
    ask = good;
    ask.prompt = long_prompt(128);
    refused(ask, TN_LIMIT, "128");
    ask = good;
    ask.n_samples = 129;
    refused(ask, TN_INVALID_ARGUMENT, "129");
    ask = good;
    ask.n_best = 2;
    refused(ask, TN_INVALID_ARGUMENT, "best 2");
    ask = good;
    ask.stops = {"a", ""};
    refused(ask, TN_INVALID_ARGUMENT, "empty");
    ask = good;
    ask.n_top = 21;
    ask.logprobs = true;
    refused(ask, TN_INVALID_ARGUMENT, "21");
    ask = good;
    ask.n_top = 2;
    refused(ask, TN_INVALID_ARGUMENT, "n_top_logprobs");
    ask = good;
    ask.prompt_only = true;
    refused(ask, TN_INVALID_ARGUMENT, "prompt_only");
    ask = good;
    ask.sampler.top_p = 2;
    refused(ask, TN_INVALID_ARGUMENT, "top_p");
    EXPECT_EQ(info().n_requests, 0u);
    tn_batcher_destroy(batcher);
    tn_session_destroy(session);
    tn_session_destroy(alone);
    session = alone = nullptr;
    batcher = nullptr;
    create(2, 512, 2); // a sequence of 512 positions does not fit
    ask = good;
    ask.n_tokens_max = 300;
    refused(ask, TN_LIMIT, "301");
    ask.n_tokens_max = 0;
    refused(ask, TN_LIMIT, "512");
    ask.n_tokens_max = 255;
    EXPECT_EQ(submit(ask), TN_OK);
}

TEST_F(Batcher, ASampleThatCannotGoOnFailsAlone)
{
    create(2, 512);
    Ask bad, good;
    bad.prompt = good.prompt = encode("Once upon a time");
    std::vector<tn_logit_bias> bias;
    for (int32_t id = 0; id < 4096; id++) bias.push_back({id, -INFINITY});
    bad.sampler.logit_bias = bias.data();
    bad.sampler.n_logit_bias = bias.size();
    ASSERT_EQ(submit(bad), TN_OK);
    ASSERT_EQ(submit(good), TN_OK);
    bias.clear(); // they were copied
    drain();
    for (tn_result *result; (result = tn_batcher_poll(batcher));) {
        if (result->request == 1) {
            EXPECT_EQ(result->status, TN_INVALID_ARGUMENT);
            EXPECT_NE(std::string(result->message).find("forbidden"), std::string::npos);
        } else {
            expect_as_alone(result, good);
        }
        tn_result_destroy(result);
    }
}

TEST_F(Batcher, APoisonedSequenceFailsAloneAndItsPagesAreNotReused)
{
    // One element of token 4000's embedding is out of the exact mode's range.
    const std::string path = ::testing::TempDir() + "/batcher_poison_" + std::to_string(getpid()) + ".gguf";
    model_changes changes;
    changes.tensors = [](std::vector<model_tensor> &tensors) {
        model_tensor head = *find_tensor(tensors, "token_embd.weight");
        head.name = "output.weight"; // the head keeps its values
        tensors.push_back(head);
        model_tensor *embd = find_tensor(tensors, "token_embd.weight");
        *embd = dense_tensor(*embd, TN_DTYPE_F32);
        const float huge = std::ldexp(1.0f, 57);
        memcpy(embd->bytes.data() + (size_t(4000) * 256 + 3) * 4, &huge, 4);
    };
    ASSERT_NO_FATAL_FAILURE(rewrite_model(default_model(), path, changes));
    tn_model_close(model);
    model = nullptr;
    ASSERT_EQ(tn_model_open(path.c_str(), nullptr, &model), TN_OK) << tn_error_last()->message;
    std::remove(path.c_str());
    tokenizer = tn_model_tokenizer(model);
    create(3, 512);
    Ask good, bad;
    good.prompt = bad.prompt = long_prompt(200);
    bad.prompt[150] = 4000;
    bad.n_samples = 3;
    for (int round = 0; round < 2; round++) {
        ASSERT_EQ(submit(good, nullptr, &good), TN_OK);
        ASSERT_EQ(submit(bad, nullptr, &bad), TN_OK);
        ASSERT_EQ(submit(good, nullptr, &good), TN_OK);
        drain();
        for (tn_result *result; (result = tn_batcher_poll(batcher));) {
            if (result->user == &good) {
                expect_as_alone(result, good);
            } else {
                EXPECT_EQ(result->status, TN_POISON);
                EXPECT_NE(std::string(result->message).find("position 150"), std::string::npos) << result->message;
                for (uint32_t i = 0; i < 3; i++) EXPECT_EQ(result->samples[i].status, TN_POISON);
            }
            tn_result_destroy(result);
        }
    }
    EXPECT_EQ(info().n_pages_used, 0u);
}

namespace
{

struct Streamed {
    std::string text;
    std::vector<int32_t> tokens;
    int n_ends = 0, n_finishes = 0;
    tn_batcher *batcher = nullptr;
    const Ask *next = nullptr; // submitted when this one ends
    Streamed *next_user = nullptr;
    static void token(void *user, const tn_token_event *event)
    {
        auto *s = static_cast<Streamed *>(user);
        EXPECT_EQ(s->n_finishes, 0);
        s->text.append(event->text, event->text_len);
        if (event->finish != TN_FINISH_END) s->tokens.push_back(event->token);
        s->n_finishes += event->finish != TN_FINISH_NONE;
    }
    static void end(void *user, const tn_result *result)
    {
        auto *s = static_cast<Streamed *>(user);
        s->n_ends++;
        EXPECT_EQ(std::string(result->samples[0].text), s->text);
        if (!s->next) return;
        std::vector<const char *> stops;
        tn_request_params p = s->next->params(&stops);
        p.on_token = token;
        p.on_end = end;
        p.user = s->next_user;
        EXPECT_EQ(tn_batcher_submit(s->batcher, &p, nullptr), TN_OK);
    }
};

} // namespace

TEST_F(Batcher, CallbacksGetEveryTokenAndTheEndAndMaySubmitMore)
{
    create(2, 512);
    Ask ask;
    ask.prompt = encode("Once upon a time");
    ask.n_tokens_max = 30;
    Streamed first, second;
    first.batcher = batcher;
    first.next = &ask;
    first.next_user = &second;
    std::vector<const char *> stops;
    tn_request_params p = ask.params(&stops);
    p.on_token = Streamed::token;
    p.on_end = Streamed::end;
    p.user = &first;
    ASSERT_EQ(tn_batcher_submit(batcher, &p, nullptr), TN_OK);
    drain();
    const Answer expected = answer_alone(alone, tokenizer, ask, 0);
    for (const Streamed *s : {&first, &second}) {
        EXPECT_EQ(s->n_ends, 1);
        EXPECT_EQ(s->n_finishes, 1);
        EXPECT_EQ(s->text, expected.text);
        EXPECT_EQ(s->tokens, expected.tokens);
    }
    EXPECT_EQ(tn_batcher_poll(batcher), nullptr);
}

TEST_F(Batcher, ThreadsMaySubmitAndCancelWhileItSteps)
{
    create(4, 512);
    std::atomic<int> n_submitted{0}, n_submitting{3};
    std::vector<std::thread> threads;
    for (uint64_t t = 0; t < 3; t++) {
        threads.emplace_back([&, t] {
            Ask ask;
            ask.prompt = {300, static_cast<int32_t>(400 + t)};
            ask.n_tokens_max = 6;
            ask.flow = t;
            for (int i = 0; i < 40;) {
                uint64_t number = 0;
                if (submit(ask, &number) != TN_OK) {
                    std::this_thread::yield();
                    continue;
                }
                i++;
                n_submitted++;
                if (i % 5 != 0) continue;
                const tn_status cancelled = tn_batcher_cancel(batcher, number);
                EXPECT_TRUE(cancelled == TN_OK || cancelled == TN_NOT_FOUND);
            }
            n_submitting--;
        });
    }
    int n_ended = 0;
    uint32_t left = 1;
    while (left || n_submitting) {
        ASSERT_EQ(tn_batcher_step(batcher, &left), TN_OK);
        for (tn_result *result; (result = tn_batcher_poll(batcher)); n_ended++) tn_result_destroy(result);
    }
    for (std::thread &thread : threads) thread.join();
    drain();
    for (tn_result *result; (result = tn_batcher_poll(batcher)); n_ended++) tn_result_destroy(result);
    EXPECT_EQ(n_ended, 120);
    EXPECT_EQ(n_submitted, 120);
}

TEST_F(Batcher, DestroyingItForgetsWhatIsLeft)
{
    create(2, 512);
    Ask ask;
    ask.prompt = long_prompt(150);
    ask.n_samples = 5;
    for (int i = 0; i < 4; i++) ASSERT_EQ(submit(ask), TN_OK);
    uint32_t left = 0;
    for (int i = 0; i < 3; i++) ASSERT_EQ(tn_batcher_step(batcher, &left), TN_OK);
    tn_batcher_destroy(batcher);
    batcher = nullptr;
    EXPECT_EQ(tn_session_seq_length(session, 0), 0u);
    // The session is as it was before.
    ask.n_samples = 1;
    const Answer here = answer_alone(session, tokenizer, ask, 0), there = answer_alone(alone, tokenizer, ask, 0);
    EXPECT_EQ(here.tokens, there.tokens);
}

TEST_F(Batcher, TuningFindsANumberOfSequencesAndLeavesNothingBehind)
{
    create(8, 512);
    uint32_t n = 0;
    ASSERT_EQ(tn_batcher_tune(batcher, nullptr, &n), TN_OK) << tn_error_last()->message;
    EXPECT_GE(n, 1u);
    EXPECT_LE(n, 8u);
    EXPECT_EQ(info().n_seqs, n);
    Ask ask;
    ask.prompt = encode("Once upon a time");
    run_all({ask, ask, ask});
    EXPECT_EQ(tn_batcher_tune(batcher, nullptr, &n), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_batcher_set_n_seqs(batcher, 0), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_batcher_set_n_seqs(batcher, 9), TN_INVALID_ARGUMENT);
}
