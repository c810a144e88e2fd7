// Devices that rank: rows of which the best are wanted are not read, and nobody can tell.
#include "support/batch_oracle.hpp"
#include "support/ranking_device.hpp"

#include <cstring>
#include <memory>

extern "C" {
#include "runtime/logit_rows.h"
#include "runtime/session_internal.h"
}

using namespace tn_test;

namespace
{

constexpr uint32_t kMax = 64;

class Ranking : public ::testing::Test
{
  protected:
    void open(uint32_t n_devices = 1)
    {
        tn_host_params params = TN_HOST_PARAMS_INIT;
        params.n_cpu_devices = n_devices;
        ASSERT_EQ(tn_host_open(&params, &host), TN_OK);
        ASSERT_EQ(tn_host_open(&params, &plain_host), TN_OK);
        ASSERT_EQ(tn_model_open(default_model().c_str(), nullptr, &model), TN_OK) << tn_error_last()->message;
        devices = std::make_unique<RankingDevices>(host, n_devices, kMax);
        session = make(host, n_devices);
        plain = make(plain_host, n_devices);
        tn_session_get_info(session, &info);
    }
    void TearDown() override
    {
        tn_session_destroy(session);
        tn_session_destroy(plain);
        devices.reset();
        for (tn_placement *placement : placements) tn_placement_destroy(placement);
        tn_model_close(model);
        tn_host_close(host);
        tn_host_close(plain_host);
    }
    tn_session *make(tn_host *on, uint32_t n_devices)
    {
        tn_placement_params placing = TN_PLACEMENT_PARAMS_INIT;
        if (n_devices == 2) placing.devices = "cpu0,cpu1";
        tn_placement *placement = nullptr;
        EXPECT_EQ(tn_placement_create(model, on, &placing, &placement), TN_OK) << tn_error_last()->message;
        placements.push_back(placement);
        tn_session_params params = TN_SESSION_PARAMS_INIT;
        params.no_recovery = true; // the device that is meant, and no other
        params.placement = placement;
        params.n_ctx = 256;
        params.n_seqs_max = 4;
        params.n_ubatch = 8;
        params.n_logits_max = 6;
        tn_session *made = nullptr;
        EXPECT_EQ(tn_session_create(model, on, &params, &made), TN_OK) << tn_error_last()->message;
        return made;
    }
    static tn_status decode(tn_session *to, const std::vector<int32_t> &tokens, const std::vector<uint32_t> &n_top, uint32_t n_ids = 0)
    {
        const std::vector<uint8_t> wanted(tokens.size(), 1);
        EXPECT_EQ(tn_session_seq_truncate(to, 0, 0), TN_OK);
        tn_batch batch = TN_BATCH_INIT;
        batch.n_tokens = static_cast<uint32_t>(tokens.size());
        batch.tokens = tokens.data();
        batch.logits = wanted.data();
        batch.n_top = n_top.empty() ? nullptr : n_top.data();
        batch.n_top_ids = n_ids;
        return tn_session_decode(to, &batch);
    }
    // Decodes one token a row on both devices and compares what may be looked at.
    void check(const std::vector<uint32_t> &n_top, uint32_t n_ids = 0)
    {
        const std::vector<int32_t> tokens = {300, 411, 522, 633, 744, 855};
        ASSERT_EQ(decode(session, tokens, n_top, n_ids), TN_OK) << tn_error_last()->message;
        ASSERT_EQ(decode(plain, tokens, {}), TN_OK);
        for (uint32_t r = 0; r < tokens.size(); r++) {
            const float *got = tn_session_logits(session, r), *want = tn_session_logits(plain, r);
            const uint32_t n = n_top.empty() || n_top[r] > kMax ? 0 : n_top[r];
            uint32_t n_candidates = 99;
            const uint32_t *ids = tn_session_candidates(session, r, &n_candidates);
            ASSERT_EQ(n_candidates, n);
            if (n == 0) {
                EXPECT_EQ(ids, nullptr);
                ASSERT_EQ(std::memcmp(got, want, info.n_vocab * sizeof(float)), 0) << "row " << r;
                continue;
            }
            uint32_t n_there = 0;
            for (uint32_t id = 0; id < info.n_vocab; id++) n_there += got[id] != -INFINITY;
            EXPECT_EQ(n_there, n) << "row " << r;
            for (uint32_t i = 0; i < n; i++) ASSERT_EQ(got[ids[i]], want[ids[i]]) << "row " << r;
        }
    }
    tn_host *host = nullptr, *plain_host = nullptr;
    tn_model *model = nullptr;
    std::vector<tn_placement *> placements;
    std::unique_ptr<RankingDevices> devices;
    tn_session *session = nullptr, *plain = nullptr;
    tn_session_info info = {};
};

// Requests of all kinds: some look at few logits, some at rows.
std::vector<Ask> all_kinds()
{
    static const tn_logit_bias forbids[] = {{300, -INFINITY}, {301, -1.0f}}, raises[] = {{310, 2.0f}};
    std::vector<Ask> asks(10);
    for (uint32_t i = 0; i < asks.size(); i++) {
        for (uint32_t t = 0; t < 3 + 2 * i; t++) asks[i].prompt.push_back(static_cast<int32_t>(300 + (t * 37 + i * 101) % 3000));
        asks[i].sampler.seed = i;
        asks[i].n_tokens_max = 12;
    }
    asks[0].sampler.temperature = 0;
    asks[1].sampler.top_k = 40;
    asks[2].sampler.repeat_penalty = 1.3f;
    asks[3].sampler.temperature = 0;
    asks[3].sampler.logit_bias = forbids, asks[3].sampler.n_logit_bias = 2;
    asks[4].sampler.logit_bias = raises, asks[4].sampler.n_logit_bias = 1; // whole rows
    asks[5].sampler.top_k = 0;                                             // whole rows
    asks[6].sampler.top_k = 200;                                           // more than the device ranks
    asks[7].logprobs = true;                                               // whole rows
    asks[8].n_samples = 3;
    asks[9].sampler.top_k = 1;
    return asks;
}

// What a batcher makes of the requests.
std::vector<std::vector<int32_t>> answers(tn_session *session, const std::vector<Ask> &asks)
{
    tn_batcher *batcher = nullptr;
    tn_batcher_params params = TN_BATCHER_PARAMS_INIT;
    EXPECT_EQ(tn_batcher_create(session, &params, &batcher), TN_OK) << tn_error_last()->message;
    for (size_t i = 0; i < asks.size(); i++) {
        std::vector<const char *> stops;
        tn_request_params p = asks[i].params(&stops);
        p.user = reinterpret_cast<void *>(i);
        EXPECT_EQ(tn_batcher_submit(batcher, &p, nullptr), TN_OK) << tn_error_last()->message;
    }
    uint32_t left = 1;
    for (int i = 0; left && i < 10000; i++) EXPECT_EQ(tn_batcher_step(batcher, &left), TN_OK) << tn_error_last()->message;
    std::vector<std::vector<int32_t>> all(asks.size());
    for (tn_result *result; (result = tn_batcher_poll(batcher));) {
        EXPECT_EQ(result->status, TN_OK) << result->message;
        std::vector<int32_t> &tokens = all[reinterpret_cast<size_t>(result->user)];
        for (uint32_t s = 0; s < result->n_samples; s++) {
            const tn_sample &sample = result->samples[s];
            tokens.insert(tokens.end(), sample.tokens, sample.tokens + sample.n_tokens);
        }
        tn_result_destroy(result);
    }
    tn_batcher_destroy(batcher);
    return all;
}

} // namespace

TEST_F(Ranking, RowsAreWholeOrTheBestAlone)
{
    open();
    check({1, 40, 64, 1, 2, 3});
    EXPECT_EQ(devices->n_ranked, 6u);
    EXPECT_EQ(devices->n_bytes_read, 0u);
    check({0, 65, 5, 0, 0, 64}); // whole rows where candidates were, and the other way round
    EXPECT_EQ(devices->n_bytes_read, 4u * info.n_vocab * sizeof(float));
    check({64, 1, 0, 7, 7, 7});
    check({40, 40, 40, 40, 40, 40}, 1000);
    const uint32_t n_rankings = devices->n_rankings;
    check({}); // nobody says how many are wanted
    EXPECT_EQ(devices->n_rankings, n_rankings);
    devices->ranks = false;
    ASSERT_EQ(decode(session, {300, 301}, {40, 40}), TN_OK);
    ASSERT_EQ(decode(plain, {300, 301}, {}), TN_OK);
    for (uint32_t r = 0; r < 2; r++)
        EXPECT_EQ(std::memcmp(tn_session_logits(session, r), tn_session_logits(plain, r), info.n_vocab * sizeof(float)), 0);
}

TEST_F(Ranking, TokensAreThoseOfWholeRows)
{
    open();
    const std::vector<Ask> asks = all_kinds();
    const auto ranked = answers(session, asks);
    EXPECT_EQ(ranked, answers(plain, asks));
    for (size_t i = 0; i < asks.size(); i++) EXPECT_FALSE(ranked[i].empty()) << i;
    // Requests 0 to 3, 8 with three samples, and 9 look at few.
    EXPECT_GT(devices->n_ranked, 50u);
    EXPECT_GT(devices->n_bytes_read, 0u);
}

TEST_F(Ranking, NothingIsReadWhereFewAreWanted)
{
    open();
    std::vector<Ask> asks = all_kinds();
    asks.erase(asks.begin() + 4, asks.begin() + 8);
    EXPECT_EQ(answers(session, asks), answers(plain, asks));
    EXPECT_EQ(devices->n_bytes_read, 0u);
}

TEST_F(Ranking, OnlyTheLastDeviceOfSeveralIsAsked)
{
    open(2);
    const std::vector<Ask> asks = all_kinds();
    EXPECT_EQ(answers(session, asks), answers(plain, asks));
    EXPECT_GT(devices->n_ranked, 50u);
}

TEST_F(Ranking, ADeviceThatRanksNonsenseIsFoundOut)
{
    open();
    devices->wrong_id = info.n_vocab;
    EXPECT_EQ(decode(session, {300, 301}, {4, 4}), TN_INTERNAL);
    EXPECT_NE(std::string(tn_error_last()->message).find("the vocabulary has"), std::string::npos) << tn_error_last()->message;
    EXPECT_EQ(tn_session_seq_length(session, 0), 0u);
    devices->wrong_id = 0;
    devices->n_more = kMax;
    EXPECT_EQ(decode(session, {300, 301}, {4, 4}), TN_INTERNAL);
    devices->n_more = 0;
    check({4, 4, 4, 4, 4, 4});
}

TEST(LogitRows, ARowOfCandidatesKeepsNothingOfTheLast)
{
    tn_logit_rows rows;
    ASSERT_EQ(tn_logit_rows_init(&rows, 2, 5), TN_OK);
    ASSERT_EQ(tn_logit_rows_rank(&rows, 3), TN_OK);
    EXPECT_EQ(tn_logit_rows_bytes(&rows), 2 * 5 * 4u + 2 * 3 * 4 + 2 * 4);
    float *whole = tn_logit_rows_whole(&rows, 0, 2);
    for (int i = 0; i < 10; i++) whole[i] = static_cast<float>(i);
    const auto expect_row_1 = [&](const std::vector<float> &want) {
        EXPECT_EQ(std::vector<float>(rows.logits + 5, rows.logits + 10), want);
        for (int i = 0; i < 5; i++) EXPECT_EQ(rows.logits[i], static_cast<float>(i));
    };
    const uint32_t three[] = {4, 0, 2}, one[] = {3}, outside[] = {1, 5};
    const float logits[] = {9.0f, 8.0f, 7.0f};
    ASSERT_EQ(tn_logit_rows_put(&rows, 1, 3, three, logits), TN_OK);
    expect_row_1({8.0f, -INFINITY, 7.0f, -INFINITY, 9.0f});
    ASSERT_EQ(tn_logit_rows_put(&rows, 1, 1, one, logits), TN_OK);
    expect_row_1({-INFINITY, -INFINITY, -INFINITY, 9.0f, -INFINITY});
    EXPECT_EQ(tn_logit_rows_put(&rows, 1, 2, outside, logits), TN_INTERNAL);
    EXPECT_EQ(tn_logit_rows_put(&rows, 1, 4, three, logits), TN_INTERNAL);
    expect_row_1({-INFINITY, -INFINITY, -INFINITY, 9.0f, -INFINITY});
    EXPECT_EQ(rows.n_ids[0], 0u);
    EXPECT_EQ(rows.n_ids[1], 1u);
    tn_logit_rows_whole(&rows, 1, 1)[2] = 3.0f;
    EXPECT_EQ(rows.n_ids[1], 0u);
    tn_logit_rows_deinit(&rows);
}
