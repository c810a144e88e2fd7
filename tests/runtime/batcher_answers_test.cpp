// What a batcher says of answers: the best of many, their ends, their text, their log-probabilities.
#include "runtime/batcher_rig.hpp"

#include <algorithm>

using namespace tn_test;

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
