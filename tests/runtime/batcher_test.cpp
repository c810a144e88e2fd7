// The batcher's prompts and pages: each request gets what it would get alone, and what requests have in common is computed and kept once.
#include "runtime/batcher_rig.hpp"

#include <set>

using namespace tn_test;

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
