// The batcher: what each request gets is what it would get alone, whatever runs beside it; and what the queue, the pages and the counters
// promise.
#include "support/batch_oracle.hpp"
#include "support/rewrite_model.hpp"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <set>
#include <thread>

using namespace tn_test;

namespace
{

class Batcher : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        ASSERT_EQ(tn_host_open(nullptr, &host), TN_OK);
        ASSERT_EQ(tn_model_open(default_model().c_str(), nullptr, &model), TN_OK) << tn_error_last()->message;
        tokenizer = tn_model_tokenizer(model);
    }
    void TearDown() override
    {
        destroy();
        tn_model_close(model);
        tn_host_close(host);
    }
    void destroy()
    {
        tn_batcher_destroy(batcher);
        tn_session_destroy(session);
        tn_session_destroy(alone);
        batcher = nullptr;
        session = alone = nullptr;
    }
    void create(uint32_t n_seqs, uint32_t n_ctx, uint32_t n_pages = 0, uint32_t n_ubatch = 0,
                tn_batcher_params params = TN_BATCHER_PARAMS_INIT)
    {
        tn_session_params p = TN_SESSION_PARAMS_INIT;
        uint64_t page_bytes = 0;
        ASSERT_EQ(tn_session_kv_bytes(model, 1, 1, &page_bytes), TN_OK);
        p.n_ctx = n_ctx;
        p.n_seqs_max = n_seqs;
        p.n_ubatch = n_ubatch;
        p.kv_bytes = n_pages * page_bytes;
        ASSERT_EQ(tn_session_create(model, host, &p, &session), TN_OK) << tn_error_last()->message;
        ASSERT_EQ(tn_batcher_create(session, &params, &batcher), TN_OK) << tn_error_last()->message;
        p = TN_SESSION_PARAMS_INIT;
        p.n_ctx = n_ctx;
        ASSERT_EQ(tn_session_create(model, host, &p, &alone), TN_OK) << tn_error_last()->message;
    }
    std::vector<int32_t> encode(const std::string &text) const
    {
        std::vector<int32_t> tokens(text.size() + 8);
        size_t n = 0;
        EXPECT_EQ(tn_tokenizer_encode(tokenizer, text.data(), text.size(), TN_ENCODE_ADD_SPECIAL, tokens.data(), tokens.size(), &n), TN_OK);
        tokens.resize(n);
        return tokens;
    }
    // A prompt of n tokens; `branch` makes the last ones unlike those of other branches.
    std::vector<int32_t> long_prompt(size_t n, size_t n_common = 0, uint32_t branch = 0) const
    {
        std::vector<int32_t> tokens;
        for (uint32_t i = 0; i < n; i++) tokens.push_back(static_cast<int32_t>(300 + (i * 37 + (i >= n_common ? branch * 101 : 0)) % 3000));
        return tokens;
    }
    tn_status submit(const Ask &ask, uint64_t *number = nullptr, void *user = nullptr)
    {
        std::vector<const char *> stops;
        tn_request_params p = ask.params(&stops);
        p.user = user;
        return tn_batcher_submit(batcher, &p, number);
    }
    // Steps until nothing is left.
    void drain()
    {
        uint32_t left = 1;
        for (int i = 0; left && i < 100000; i++) ASSERT_EQ(tn_batcher_step(batcher, &left), TN_OK) << tn_error_last()->message;
        ASSERT_EQ(left, 0u);
    }
    void expect_as_alone(const tn_result *result, const Ask &ask)
    {
        ASSERT_EQ(result->status, TN_OK) << result->message;
        ASSERT_EQ(result->n_samples, ask.n_best ? ask.n_best : ask.n_samples);
        EXPECT_EQ(result->n_prompt, ask.prompt.size());
        for (uint32_t i = 0; i < result->n_samples; i++) {
            const tn_sample &sample = result->samples[i];
            const Answer expected = answer_alone(alone, tokenizer, ask, sample.index);
            EXPECT_EQ(std::vector<int32_t>(sample.tokens, sample.tokens + sample.n_tokens), expected.tokens) << "sample " << sample.index;
            EXPECT_EQ(std::string(sample.text, sample.text_len), expected.text);
            EXPECT_EQ(sample.text[sample.text_len], '\0');
            EXPECT_EQ(sample.finish, expected.finish);
            if (ask.logprobs) {
                for (uint32_t t = 0; t < sample.n_tokens; t++) EXPECT_NEAR(sample.logprobs[t].logprob, expected.logprobs[t], 1e-5);
            }
        }
    }
    tn_batcher_info info()
    {
        tn_batcher_info i = TN_BATCHER_INFO_INIT;
        EXPECT_EQ(tn_batcher_get_info(batcher, &i), TN_OK);
        return i;
    }
    // Submits all, steps until the end, compares each with itself alone.
    void run_all(const std::vector<Ask> &asks)
    {
        for (const Ask &ask : asks) ASSERT_EQ(submit(ask, nullptr, const_cast<Ask *>(&ask)), TN_OK) << tn_error_last()->message;
        drain();
        size_t n = 0;
        for (tn_result *result; (result = tn_batcher_poll(batcher)); n++) {
            expect_as_alone(result, *static_cast<const Ask *>(result->user));
            tn_result_destroy(result);
        }
        EXPECT_EQ(n, asks.size());
        EXPECT_EQ(info().n_pages_used, 0u);
        EXPECT_EQ(info().n_running, 0u);
    }
    tn_host *host = nullptr;
    tn_model *model = nullptr;
    const tn_tokenizer *tokenizer = nullptr;
    tn_session *session = nullptr, *alone = nullptr;
    tn_batcher *batcher = nullptr;
};

} // namespace

TEST_F(Batcher, EveryRequestGetsWhatItWouldGetAlone)
{
    create(4, 512);
    std::vector<Ask> asks(11);
    for (uint32_t i = 0; i < asks.size(); i++) {
        asks[i].prompt = encode("Once upon a time there was a " + std::string(1 + i * 3, 'a'));
        asks[i].sampler.seed = i / 2;
        asks[i].sampler.temperature = i % 3 == 0 ? 0.0f : 0.9f;
        asks[i].sampler.repeat_penalty = i % 4 == 1 ? 1.2f : 1.0f;
        asks[i].n_tokens_max = 5 + 7 * i;
    }
    run_all(asks);
    EXPECT_EQ(info().n_finished, asks.size());
}

TEST_F(Batcher, PromptsInChunksRunBesideAnswers)
{
    tn_batcher_params params = TN_BATCHER_PARAMS_INIT;
    params.n_prompt_chunk = 17;
    create(3, 512, 0, 40, params);
    std::vector<Ask> asks(5);
    for (uint32_t i = 0; i < asks.size(); i++) {
        asks[i].prompt = long_prompt(i % 2 ? 150 + i : 3, 0, i);
        asks[i].n_tokens_max = 60;
    }
    run_all(asks);
}

TEST_F(Batcher, ACommonBeginningIsComputedOnce)
{
    create(4, 512);
    std::vector<Ask> asks(9);
    for (uint32_t i = 0; i < asks.size(); i++) asks[i].prompt = long_prompt(300 + i, 280, i);
    run_all(asks);
    // Two whole pages of 280 common tokens, for all but the first one.
    EXPECT_EQ(info().n_prompt_reused, 8u * 256);
    uint64_t n_all = 0;
    for (const Ask &ask : asks) n_all += ask.prompt.size();
    EXPECT_EQ(info().n_prompt_tokens + info().n_prompt_reused, n_all);
}

TEST_F(Batcher, APromptThatIsKnownWholeComputesItsLastTokenInACopyOfThePage)
{
    create(2, 512);
    Ask ask;
    ask.prompt = long_prompt(256);
    run_all({ask});
    EXPECT_EQ(info().n_prompt_tokens, 256u);
    EXPECT_EQ(info().n_pages_copied, 0u);
    run_all({ask});
    EXPECT_EQ(info().n_prompt_tokens, 257u);
    EXPECT_EQ(info().n_pages_copied, 1u);
}

TEST_F(Batcher, WithoutReuseEveryTokenIsComputed)
{
    tn_batcher_params params = TN_BATCHER_PARAMS_INIT;
    params.no_prefix_reuse = true;
    create(2, 512, 0, 0, params);
    std::vector<Ask> asks(3);
    for (Ask &ask : asks) ask.prompt = long_prompt(200);
    run_all(asks);
    EXPECT_EQ(info().n_prompt_tokens, 600u);
    EXPECT_EQ(info().n_prompt_reused, 0u);
    EXPECT_EQ(info().n_pages_kept, 0u);
}

TEST_F(Batcher, ABudgetOfKeptPagesIsKept)
{
    tn_batcher_params params = TN_BATCHER_PARAMS_INIT;
    uint64_t page_bytes = 0;
    ASSERT_EQ(tn_session_kv_bytes(model, 1, 1, &page_bytes), TN_OK);
    params.prefix_bytes = 3 * page_bytes;
    create(2, 512, 0, 0, params);
    std::vector<Ask> asks(5);
    for (uint32_t i = 0; i < asks.size(); i++) asks[i].prompt = long_prompt(300, 0, i + 1);
    run_all(asks);
    EXPECT_EQ(info().n_pages_kept, 3u);
}

TEST_F(Batcher, SamplesOfOnePromptShareItsPages)
{
    create(8, 512);
    Ask ask;
    ask.prompt = long_prompt(200);
    ask.n_samples = 11; // more than run at a time
    ask.n_tokens_max = 12;
    ask.sampler.seed = 5;
    run_all({ask});
    // The prompt once, and its last token again for each of the others.
    EXPECT_EQ(info().n_prompt_tokens, 210u);
    std::set<std::vector<int32_t>> different;
    ASSERT_EQ(submit(ask), TN_OK);
    drain();
    tn_result *result = tn_batcher_poll(batcher);
    ASSERT_NE(result, nullptr);
    for (uint32_t i = 0; i < result->n_samples; i++)
        different.insert(std::vector<int32_t>(result->samples[i].tokens, result->samples[i].tokens + result->samples[i].n_tokens));
    EXPECT_GT(different.size(), 5u);
    tn_result_destroy(result);
}

TEST_F(Batcher, SamplesThatWaitForTheirPromptHoldUpNobodyBehindThem)
{
    tn_batcher_params params = TN_BATCHER_PARAMS_INIT;
    for (const size_t n_prompt : {9u, 1u}) { // a prompt of one token has no page that samples could share
        for (const bool no_reuse : {false, true}) {
            params.no_prefix_reuse = no_reuse;
            params.n_queue_max = 64;
            create(16, 512, 0, 0, params);
            std::vector<Ask> asks(32);
            for (uint32_t i = 0; i < asks.size(); i++) {
                asks[i].prompt = long_prompt(n_prompt, 0, i);
                asks[i].n_samples = 2;
                asks[i].n_tokens_max = 4;
                asks[i].ignore_eog = true;
                asks[i].sampler.seed = i;
            }
            run_all(asks);
            // 64 answers of 4 steps, 16 at a time, and a few steps in which a second sample waits for the first one's prompt.
            EXPECT_LE(info().n_steps, 64u * 4 / 16 + 4) << n_prompt << (no_reuse ? " tokens without reuse" : " tokens");
            destroy();
        }
    }
}

TEST_F(Batcher, TheBestOfManyAreThoseWithTheHighestMeanLogProbability)
{
    create(4, 512);
    Ask ask;
    ask.prompt = encode("Once upon a time");
    ask.n_samples = 7;
    ask.n_best = 3;
    ask.n_tokens_max = 9;
    ask.sampler.seed = 3;
    std::vector<std::pair<double, uint32_t>> expected;
    ASSERT_EQ(submit(ask), TN_OK);
    for (uint32_t i = 0; i < ask.n_samples; i++) {
        const Answer answer = answer_alone(alone, tokenizer, ask, i);
        double sum = 0;
        for (double logprob : answer.logprobs) sum += logprob;
        expected.emplace_back(-sum / static_cast<double>(answer.tokens.size()), i);
    }
    std::sort(expected.begin(), expected.end());
    drain();
    tn_result *result = tn_batcher_poll(batcher);
    ASSERT_NE(result, nullptr);
    ASSERT_EQ(result->n_samples, 3u);
    for (uint32_t i = 0; i < 3; i++) EXPECT_EQ(result->samples[i].index, expected[i].second);
    expect_as_alone(result, ask);
    tn_result_destroy(result);
}

TEST_F(Batcher, AnEmptyAnswerIsAsGoodAsItsEndIsProbable)
{
    create(4, 512);
    std::vector<tn_logit_bias> bias;
    for (int32_t id = 0; id < tn_tokenizer_n_vocab(tokenizer); id++) {
        if (tn_tokenizer_is_eog(tokenizer, id)) bias.push_back({id, 9});
    }
    ASSERT_FALSE(bias.empty());
    Ask ask;
    ask.prompt = encode("Once upon a time");
    ask.n_samples = 24;
    ask.n_tokens_max = 3;
    ask.sampler.logit_bias = bias.data();
    ask.sampler.n_logit_bias = bias.size();
    ask.sampler.min_p = 0;
    ask.sampler.temperature = 1;
    size_t n_empty = 0;
    for (uint32_t i = 0; i < ask.n_samples; i++) n_empty += answer_alone(alone, tokenizer, ask, i).tokens.empty();
    ASSERT_GT(n_empty, 0u) << "no sample ends at once: another bias would do";
    ASSERT_LT(n_empty, 20u) << "too many samples end at once: another bias would do";
    // The end is made likely by the bias alone, so what goes on is more probable.
    ask.n_best = 1;
    ASSERT_EQ(submit(ask), TN_OK);
    drain();
    tn_result *result = tn_batcher_poll(batcher);
    ASSERT_NE(result, nullptr);
    ASSERT_EQ(result->n_samples, 1u);
    EXPECT_GT(result->samples[0].n_tokens, 0u);
    tn_result_destroy(result);
}

TEST_F(Batcher, ItEmptiesSequencesThatItHasNoRoomFor)
{
    tn_session_params p = TN_SESSION_PARAMS_INIT;
    const int32_t token = 300;
    const uint32_t last = 3;
    tn_batch batch = TN_BATCH_INIT;
    p.n_ctx = 512;
    p.n_seqs_max = last + 1;
    p.n_logits_max = 2; // so that two sequences run at a time
    ASSERT_EQ(tn_session_create(model, host, &p, &session), TN_OK) << tn_error_last()->message;
    batch.n_tokens = 1;
    batch.tokens = &token;
    batch.seqs = &last;
    ASSERT_EQ(tn_session_decode(session, &batch), TN_OK);
    ASSERT_EQ(tn_batcher_create(session, nullptr, &batcher), TN_OK) << tn_error_last()->message;
    EXPECT_EQ(info().n_seqs, 2u);
    EXPECT_EQ(tn_session_seq_length(session, last), 0u);
    EXPECT_EQ(info().n_pages_used, 0u);
}

TEST_F(Batcher, StopStringsEndAnAnswerAndAreNotPartOfIt)
{
    create(2, 512);
    Ask ask;
    ask.prompt = encode("Once upon a time");
    ask.sampler.temperature = 0;
    ask.n_tokens_max = 60;
    ask.stops = {"zzzz", "e "};
    run_all({ask});
    const Answer answer = answer_alone(alone, tokenizer, ask, 0);
    EXPECT_EQ(answer.finish, TN_FINISH_STOP);
    EXPECT_EQ(answer.text.find("e "), std::string::npos);
}

TEST_F(Batcher, TextEndsAreThoseOfTokensWhateverIsHeldBack)
{
    create(2, 512);
    Ask ask;
    ask.prompt = encode("Once upon a time");
    ask.sampler.temperature = 0;
    ask.n_tokens_max = 30;
    ask.logprobs = true;
    auto run = [&] {
        EXPECT_EQ(submit(ask), TN_OK) << tn_error_last()->message;
        drain();
        tn_result *result = tn_batcher_poll(batcher);
        const tn_sample &sample = result->samples[0];
        const std::vector<size_t> ends(sample.text_ends, sample.text_ends + sample.n_tokens);
        const std::pair<std::string, std::vector<size_t>> told(std::string(sample.text, sample.text_len), ends);
        tn_result_destroy(result);
        return told;
    };
    const auto [text, ends] = run();
    ASSERT_EQ(ends.size(), 30u);
    ASSERT_EQ(ends.back(), text.size());
    // Behind each token a stop string may begin with its last byte, and end with the two tokens behind it.
    for (size_t i = 1; i + 2 < ends.size(); i++) {
        ask.stops = {text.substr(ends[i] - 1, ends[i + 2] - ends[i] + 1)};
        const auto [cut, cut_ends] = run();
        ASSERT_EQ(cut, text.substr(0, text.find(ask.stops[0]))) << ask.stops[0];
        for (size_t t = 0; t < cut_ends.size(); t++) EXPECT_EQ(cut_ends[t], std::min(ends[t], cut.size())) << ask.stops[0] << " " << t;
        ask.stops[0] += "\x01"; // is never complete
        const auto [whole, whole_ends] = run();
        EXPECT_EQ(whole, text);
        EXPECT_EQ(whole_ends, ends) << ask.stops[0];
    }
}

TEST_F(Batcher, AnAnswerEndsWithTheContext)
{
    create(2, 40);
    Ask ask;
    ask.prompt = long_prompt(30);
    ask.n_tokens_max = 0;
    ask.ignore_eog = true;
    run_all({ask, ask});
    const Answer answer = answer_alone(alone, tokenizer, ask, 0);
    EXPECT_EQ(answer.finish, TN_FINISH_CONTEXT);
    EXPECT_EQ(answer.tokens.size(), 11u);
}

TEST_F(Batcher, WhereThePagesDoNotSufficeTheYoungestWaits)
{
    create(6, 512, 5);
    std::vector<Ask> asks(8);
    for (uint32_t i = 0; i < asks.size(); i++) {
        asks[i].prompt = long_prompt(100, 0, i);
        asks[i].n_tokens_max = 100 + 20 * i;
        asks[i].ignore_eog = true;
    }
    run_all(asks);
    EXPECT_GT(info().n_preempted, 0u);
    EXPECT_EQ(info().n_pages_used_max, 5u);
}

TEST_F(Batcher, SamplesShareAndCopyInACacheThatIsAlmostFull)
{
    create(6, 384, 4);
    Ask ask;
    ask.prompt = long_prompt(128);
    ask.n_samples = 6;
    ask.n_tokens_max = 140;
    ask.ignore_eog = true;
    Ask other = ask;
    other.prompt = long_prompt(250);
    other.n_samples = 3;
    other.n_tokens_max = 30;
    run_all({ask, other});
    EXPECT_GT(info().n_preempted, 0u);
}

TEST_F(Batcher, LogProbabilitiesOfAnswersAndPrompts)
{
    create(3, 512);
    Ask ask;
    ask.prompt = long_prompt(40);
    ask.logprobs = ask.prompt_logprobs = true;
    ask.n_top = 4;
    Ask only = ask;
    only.prompt_only = true;
    only.logprobs = false;
    run_all({ask, ask});
    ASSERT_EQ(submit(only), TN_OK);
    drain();
    tn_result *result = tn_batcher_poll(batcher);
    ASSERT_NE(result, nullptr);
    ASSERT_EQ(result->status, TN_OK) << result->message;
    EXPECT_EQ(result->samples[0].n_tokens, 0u);
    // Rows of the whole prompt at once, by a session of its own.
    tn_session_params p = TN_SESSION_PARAMS_INIT;
    p.n_logits_max = 40;
    p.n_ctx = 64;
    tn_session *rows = nullptr;
    ASSERT_EQ(tn_session_create(model, host, &p, &rows), TN_OK);
    std::vector<uint8_t> wanted(40, 1);
    tn_batch batch = TN_BATCH_INIT;
    batch.n_tokens = 40;
    batch.tokens = ask.prompt.data();
    batch.logits = wanted.data();
    ASSERT_EQ(tn_session_decode(rows, &batch), TN_OK);
    EXPECT_EQ(result->prompt_logprobs[0].logprob, 0);
    EXPECT_EQ(result->prompt_top[0].token, TN_TOKEN_NONE);
    for (uint32_t i = 1; i < 40; i++) {
        const float *logits = tn_session_logits(rows, i - 1);
        EXPECT_EQ(result->prompt_logprobs[i].token, ask.prompt[i]);
        EXPECT_NEAR(result->prompt_logprobs[i].logprob, logprob_of(logits, 4096, ask.prompt[i]), 1e-5);
        std::vector<int32_t> ids(4096);
        for (int32_t id = 0; id < 4096; id++) ids[static_cast<size_t>(id)] = id;
        std::stable_sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
        for (uint32_t k = 0; k < 4; k++) {
            EXPECT_EQ(result->prompt_top[i * 4 + k].token, ids[k]);
            EXPECT_NEAR(result->prompt_top[i * 4 + k].logprob, logprob_of(logits, 4096, ids[k]), 1e-5);
        }
    }
    tn_session_destroy(rows);
    tn_result_destroy(result);
}

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
