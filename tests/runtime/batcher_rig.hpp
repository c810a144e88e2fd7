// A batcher over the default model, and a session beside it in which each request is answered alone.
#ifndef TN_TESTS_RUNTIME_BATCHER_RIG_HPP
#define TN_TESTS_RUNTIME_BATCHER_RIG_HPP

#include "support/batch_oracle.hpp"

namespace tn_test
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

} // namespace tn_test

#endif
