// Sessions: what they refuse, what they promise about lengths and logits rows.
#include "support/run_model.hpp"

using namespace tn_test;

namespace
{

class Session : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        ASSERT_EQ(tn_host_open(nullptr, &host), TN_OK);
        ASSERT_EQ(tn_model_open(default_model().c_str(), nullptr, &model), TN_OK) << tn_error_last()->message;
    }
    void TearDown() override
    {
        tn_session_destroy(session);
        tn_model_close(model);
        tn_host_close(host);
    }
    void create(uint32_t n_ctx, uint32_t n_seqs, uint32_t n_logits)
    {
        tn_session_params params = TN_SESSION_PARAMS_INIT;
        params.n_ctx = n_ctx;
        params.n_seqs_max = n_seqs;
        params.n_logits_max = n_logits;
        ASSERT_EQ(tn_session_create(model, host, &params, &session), TN_OK) << tn_error_last()->message;
    }
    tn_status decode(const std::vector<int32_t> &tokens, const std::vector<uint32_t> &seqs = {}, const std::vector<uint8_t> &logits = {})
    {
        tn_batch batch = TN_BATCH_INIT;
        batch.n_tokens = static_cast<uint32_t>(tokens.size());
        batch.tokens = tokens.data();
        batch.seqs = seqs.empty() ? nullptr : seqs.data();
        batch.logits = logits.empty() ? nullptr : logits.data();
        return tn_session_decode(session, &batch);
    }
    tn_host *host = nullptr;
    tn_model *model = nullptr;
    tn_session *session = nullptr;
};

} // namespace

TEST_F(Session, WrongBatchesAreRefusedWholeAndChangeNothing)
{
    create(64, 2, 0);
    ASSERT_EQ(decode({1, 2, 3}), TN_OK);
    EXPECT_EQ(decode({}), TN_INVALID_ARGUMENT);
    EXPECT_EQ(decode({1, 4096}), TN_INVALID_ARGUMENT);
    EXPECT_EQ(decode({1, -1}), TN_INVALID_ARGUMENT);
    EXPECT_EQ(decode({1, 2}, {0, 2}), TN_INVALID_ARGUMENT);
    EXPECT_EQ(decode({1, 2, 3}, {}, {1, 1, 1}), TN_INVALID_ARGUMENT); // two rows are kept
    EXPECT_EQ(decode(std::vector<int32_t>(62, 1)), TN_LIMIT);
    EXPECT_NE(std::string(tn_error_last()->message).find("64"), std::string::npos);
    EXPECT_EQ(tn_session_seq_length(session, 0), 3u);
    EXPECT_EQ(tn_session_seq_length(session, 1), 0u);
    ASSERT_EQ(decode(std::vector<int32_t>(61, 1)), TN_OK); // exactly full
    EXPECT_EQ(decode({1}), TN_LIMIT);
}

TEST_F(Session, WithoutFlagsEachSequencesLastTokenHasLogits)
{
    create(64, 3, 0);
    ASSERT_EQ(decode({10, 20, 11, 21, 12}, {0, 2, 0, 2, 0}), TN_OK);
    EXPECT_NE(tn_session_logits(session, 0), nullptr); // sequence 2, token 21, comes first in the batch
    EXPECT_NE(tn_session_logits(session, 1), nullptr);
    EXPECT_EQ(tn_session_logits(session, 2), nullptr);
    const std::vector<float> of_seq_2(tn_session_logits(session, 0), tn_session_logits(session, 0) + 4096);
    tn_session_destroy(session);
    session = nullptr;
    create(64, 1, 0);
    ASSERT_EQ(decode({20, 21}), TN_OK);
    EXPECT_EQ(memcmp(of_seq_2.data(), tn_session_logits(session, 0), of_seq_2.size() * sizeof(float)), 0);
}

TEST_F(Session, ABatchMayWantNoLogitsAtAll)
{
    create(64, 1, 0);
    ASSERT_EQ(decode({1, 2, 3}, {}, {0, 0, 0}), TN_OK);
    EXPECT_EQ(tn_session_logits(session, 0), nullptr);
    EXPECT_EQ(tn_session_seq_length(session, 0), 3u);
}

TEST_F(Session, CancellingAPromptKeepsTheStepsThatAreDone)
{
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    params.n_ubatch = 10;
    ASSERT_EQ(tn_session_create(model, host, &params, &session), TN_OK);
    int left = 3;
    const std::vector<int32_t> tokens(100, 5);
    tn_batch batch = TN_BATCH_INIT;
    batch.n_tokens = 100;
    batch.tokens = tokens.data();
    batch.progress = {[](void *user, const char *, uint64_t, uint64_t) { return --*static_cast<int *>(user) > 0; }, &left};
    EXPECT_EQ(tn_session_decode(session, &batch), TN_CANCELLED);
    EXPECT_EQ(tn_session_seq_length(session, 0), 30u);
}

TEST_F(Session, ImpossibleSessionsAreRefusedWithTheNumbers)
{
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    params.n_ctx = 513;
    EXPECT_EQ(tn_session_create(model, host, &params, &session), TN_INVALID_ARGUMENT);
    EXPECT_NE(std::string(tn_error_last()->message).find("512"), std::string::npos);
    params.n_ctx = 0;
    params.n_seqs_max = 4000000000u;
    EXPECT_NE(tn_session_create(model, host, &params, &session), TN_OK);
    EXPECT_EQ(session, nullptr);
    params = TN_SESSION_PARAMS_INIT;
    params.struct_size = 1;
    EXPECT_EQ(tn_session_create(model, host, &params, &session), TN_INVALID_ARGUMENT);
}

TEST_F(Session, TruncatingIsCheckedAndMemoryIsReported)
{
    create(512, 1, 0);
    ASSERT_EQ(decode({1, 2, 3, 4}), TN_OK);
    EXPECT_EQ(tn_session_seq_truncate(session, 0, 5), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_session_seq_truncate(session, 1, 0), TN_INVALID_ARGUMENT);
    ASSERT_EQ(tn_session_seq_truncate(session, 0, 2), TN_OK);
    EXPECT_EQ(tn_session_seq_length(session, 0), 2u);
    tn_session_info info;
    tn_session_get_info(session, &info);
    EXPECT_EQ(info.kv_bytes, 6u * 4u * 2u * 128u * (4u * 64u + 8u)); // layers x pages x KV heads x positions x bytes
    EXPECT_GT(info.weights_bytes, 4096u * 256u * 2u + 4700000u / 4u);
    EXPECT_LT(info.weights_bytes, 5000000u);
}

TEST_F(Session, CostsAreThoseOfTheModelsShapes)
{
    create(256, 1, 0);
    tn_model_info m;
    tn_model_get_info(model, &m);
    tn_session_costs costs = TN_SESSION_COSTS_INIT;
    ASSERT_EQ(tn_session_get_costs(session, &costs), TN_OK);
    const uint64_t width = m.n_embd, kv_width = uint64_t{m.n_kv_heads} * m.head_dim;
    const uint64_t products = m.n_layers * (2 * width * width + 2 * width * kv_width + 3 * width * m.n_ff);
    EXPECT_EQ(costs.ternary_products, products);
    EXPECT_GE(costs.ternary_bytes, products * 8 / 5 / 8); // 1.6 bits at least, 2 bits, scales and padding at most
    EXPECT_LE(costs.ternary_bytes, products / 4 * 11 / 10);
    EXPECT_EQ(costs.head_bytes, uint64_t{m.n_vocab} * width * 2); // f16
    EXPECT_EQ(costs.head_products, 0u) << "an f16 head is multiplied in f32";
    EXPECT_EQ(costs.kv_position_bytes, m.n_layers * m.n_kv_heads * (4u * m.head_dim + 8u));
    EXPECT_EQ(costs.attention_products, 2u * m.n_layers * m.n_heads * m.head_dim);
    EXPECT_GE(costs.token_bytes, width * 2 + m.head_dim * 4);
    EXPECT_LE(costs.token_bytes, width * 2 + m.head_dim * 4 + 128);
    EXPECT_GT(costs.other_bytes, 0u);
    EXPECT_STREQ(costs.head_layout, "rows");
    EXPECT_STRNE(costs.ternary_layout, "");
}

TEST_F(Session, CostsFillWhatTheCallersVersionHas)
{
    create(16, 1, 0);
    struct {
        tn_session_costs costs;
        char newer[64];
    } longer = {TN_SESSION_COSTS_INIT, "left over"};
    longer.costs.struct_size = sizeof longer;
    ASSERT_EQ(tn_session_get_costs(session, &longer.costs), TN_OK);
    EXPECT_EQ(longer.costs.struct_size, sizeof longer);
    EXPECT_GT(longer.costs.ternary_bytes, 0u);
    EXPECT_STREQ(longer.newer, "") << "what this version does not know is 0";
    longer.costs.struct_size = 8;
    EXPECT_EQ(tn_session_get_costs(session, &longer.costs), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_session_get_costs(session, nullptr), TN_INVALID_ARGUMENT);
}

TEST_F(Session, AProfileHasEveryOpAndItsTimesAreWithinThoseOfTheSteps)
{
    struct Profile {
        tn_session_profile_totals totals = TN_SESSION_PROFILE_TOTALS_INIT;
        std::vector<tn_session_profile_entry> entries;
        uint64_t node_ns = 0, weight_bytes = 0;
        explicit Profile(const tn_session *session)
        {
            EXPECT_EQ(tn_session_profile(
                          session, &totals,
                          [](void *user, const tn_session_profile_entry *e) { static_cast<Profile *>(user)->entries.push_back(*e); }, this),
                      TN_OK);
            for (const tn_session_profile_entry &e : entries) node_ns += e.ns, weight_bytes += e.weight_bytes;
        }
    };
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    params.n_ctx = 64;
    params.profile = true;
    ASSERT_EQ(tn_session_create(model, host, &params, &session), TN_OK);
    ASSERT_EQ(decode({3}), TN_OK);
    ASSERT_EQ(decode({4}), TN_OK);
    const Profile two(session);
    EXPECT_EQ(two.totals.n_steps, 2u);
    EXPECT_GT(two.node_ns, 0u);
    EXPECT_LE(two.node_ns + two.totals.barrier_wait_ns, two.totals.step_ns);
    EXPECT_GT(two.totals.n_barriers, 0u);
    EXPECT_EQ(two.totals.n_barriers % 2, 0u) << "each step of as few tokens has the same";
    tn_model_info m;
    tn_model_get_info(model, &m);
    size_t n_ternary = 0;
    for (const tn_session_profile_entry &e : two.entries) n_ternary += std::string(e.op) == "matmul_ternary";
    EXPECT_EQ(n_ternary, 7u * m.n_layers);
    EXPECT_EQ(two.entries.front().layer, -1);
    EXPECT_STREQ(two.entries.front().op, "embed");
    EXPECT_EQ(two.entries.front().weight_bytes, 0u) << "a row of it is looked up";
    EXPECT_EQ(two.entries.back().layer, static_cast<int32_t>(m.n_layers));
    EXPECT_STREQ(two.entries.back().layout, "rows");
    tn_session_costs costs = TN_SESSION_COSTS_INIT;
    ASSERT_EQ(tn_session_get_costs(session, &costs), TN_OK);
    EXPECT_EQ(two.weight_bytes, costs.ternary_bytes + costs.head_bytes + costs.other_bytes);
    tn_session_profile_reset(session);
    const Profile none(session);
    EXPECT_EQ(none.totals.n_steps + none.totals.n_barriers + none.totals.step_ns + none.node_ns, 0u);
    ASSERT_EQ(decode({5}), TN_OK);
    EXPECT_EQ(Profile(session).totals.n_barriers * 2, two.totals.n_barriers);
}

TEST_F(Session, WithoutAProfileThereIsNoneToRead)
{
    create(16, 1, 0);
    tn_session_profile_totals totals = TN_SESSION_PROFILE_TOTALS_INIT;
    EXPECT_EQ(tn_session_profile(session, &totals, nullptr, nullptr), TN_INVALID_ARGUMENT);
    EXPECT_NE(std::string(tn_error_last()->message).find("profile"), std::string::npos);
    tn_session_profile_reset(session);
    tn_session_params old = TN_SESSION_PARAMS_INIT; // a caller from before there were profiles
    old.struct_size = offsetof(tn_session_params, profile);
    tn_session *other = nullptr;
    EXPECT_EQ(tn_session_create(model, host, &old, &other), TN_OK);
    tn_session_destroy(other);
}

TEST_F(Session, DevicesAreNamedInTheErrorWhenAPlacementNamesAnotherOne)
{
    tn_placement_params params = TN_PLACEMENT_PARAMS_INIT;
    params.devices = "cuda0";
    tn_placement *placement = nullptr;
    EXPECT_EQ(tn_placement_create(model, host, &params, &placement), TN_NOT_FOUND);
    EXPECT_EQ(placement, nullptr);
    EXPECT_NE(std::string(tn_error_last()->message).find("cpu0"), std::string::npos);
}

TEST(Host, ImpossibleHostsAreRefused)
{
    tn_host *host = nullptr;
    tn_host_params params = TN_HOST_PARAMS_INIT;
    params.n_threads = 100000;
    EXPECT_EQ(tn_host_open(&params, &host), TN_INVALID_ARGUMENT);
    params.n_threads = 1;
    params.n_cpu_devices = 2;
    EXPECT_EQ(tn_host_open(&params, &host), TN_INVALID_ARGUMENT);
    params = TN_HOST_PARAMS_INIT;
    params.cpu_isa_max = "avx9000";
    EXPECT_EQ(tn_host_open(&params, &host), TN_INVALID_ARGUMENT);
    EXPECT_NE(std::string(tn_error_last()->message).find("scalar"), std::string::npos);
    EXPECT_EQ(host, nullptr);
}

TEST_F(Session, NullPointersAreArgumentsLikeAnyOther)
{
    create(16, 1, 0);
    EXPECT_EQ(tn_host_open(nullptr, nullptr), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_host_device_info(host, 0, nullptr), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_host_device_kernels(host, 0, nullptr, nullptr), TN_INVALID_ARGUMENT);
    tn_model *none = nullptr;
    EXPECT_EQ(tn_model_open(nullptr, nullptr, &none), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_model_open("x", nullptr, nullptr), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_placement_create(nullptr, host, nullptr, nullptr), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_session_create(nullptr, host, nullptr, nullptr), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_session_decode(session, nullptr), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_session_decode(nullptr, nullptr), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_session_seq_truncate(nullptr, 0, 0), TN_INVALID_ARGUMENT);
    tn_batch batch = TN_BATCH_INIT;
    batch.n_tokens = 5;
    EXPECT_EQ(tn_session_decode(session, &batch), TN_INVALID_ARGUMENT);
    EXPECT_NE(std::string(tn_error_last()->message).find("tokens"), std::string::npos);
    tn_text_stream *stream = nullptr;
    size_t n = 0;
    EXPECT_EQ(tn_text_stream_create(nullptr, nullptr, &stream), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_tokenizer_encode(nullptr, "a", 1, 0, nullptr, 0, &n), TN_INVALID_ARGUMENT);
    tn_model_params params = TN_MODEL_PARAMS_INIT;
    params.load = static_cast<tn_model_load>(99);
    tn_model *other = nullptr;
    EXPECT_EQ(tn_model_open(default_model().c_str(), &params, &other), TN_INVALID_ARGUMENT);
}

TEST_F(Session, ACopiedSequenceGoesOnAsTheOtherWould)
{
    create(300, 3, 0);
    std::vector<int32_t> tokens;
    for (int32_t i = 0; i < 200; i++) tokens.push_back(300 + i * 7);
    ASSERT_EQ(decode(tokens), TN_OK);
    ASSERT_EQ(tn_session_seq_copy(session, 1, 0, 200), TN_OK);
    ASSERT_EQ(tn_session_seq_copy(session, 2, 0, 128), TN_OK);
    EXPECT_EQ(tn_session_seq_length(session, 2), 128u);
    // Each of the three writes behind its own beginning, in one step.
    ASSERT_EQ(decode({11, 12, 13}, {0, 1, 2}), TN_OK);
    std::vector<std::vector<float>> rows;
    for (uint32_t i = 0; i < 3; i++) rows.emplace_back(tn_session_logits(session, i), tn_session_logits(session, i) + 4096);
    EXPECT_EQ(tn_session_seq_copy(session, 1, 0, 5), TN_INVALID_ARGUMENT); // it is not empty
    EXPECT_EQ(tn_session_seq_copy(session, 1, 1, 0), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_session_seq_copy(session, 3, 0, 0), TN_INVALID_ARGUMENT);
    ASSERT_EQ(tn_session_seq_truncate(session, 1, 0), TN_OK);
    EXPECT_EQ(tn_session_seq_copy(session, 1, 0, 202), TN_INVALID_ARGUMENT); // longer than it is
    for (uint32_t i = 0; i < 3; i++) {
        ASSERT_EQ(tn_session_seq_truncate(session, 0, 0), TN_OK);
        std::vector<int32_t> alone(tokens.begin(), tokens.begin() + (i == 2 ? 128 : 200));
        alone.push_back(static_cast<int32_t>(11 + i));
        ASSERT_EQ(decode(alone), TN_OK);
        EXPECT_EQ(memcmp(rows[i].data(), tn_session_logits(session, 0), 4096 * sizeof(float)), 0) << i;
    }
}

TEST_F(Session, ASmallKvCacheIsSharedByAllSequences)
{
    uint64_t page = 0, all = 0;
    ASSERT_EQ(tn_session_kv_bytes(model, 128, 1, &page), TN_OK);
    ASSERT_EQ(tn_session_kv_bytes(model, 300, 4, &all), TN_OK);
    EXPECT_EQ(all, 12 * page);
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    params.n_ctx = 300;
    params.n_seqs_max = 4;
    params.kv_bytes = page - 1;
    EXPECT_EQ(tn_session_create(model, host, &params, &session), TN_INVALID_ARGUMENT);
    EXPECT_NE(std::string(tn_error_last()->message).find(std::to_string(page)), std::string::npos);
    params.kv_bytes = 3 * page + 5;
    ASSERT_EQ(tn_session_create(model, host, &params, &session), TN_OK) << tn_error_last()->message;
    tn_session_info info;
    tn_session_get_info(session, &info);
    EXPECT_EQ(info.kv_bytes, 3 * page);
    ASSERT_EQ(decode(std::vector<int32_t>(200, 5)), TN_OK);
    EXPECT_EQ(decode(std::vector<int32_t>(150, 5), std::vector<uint32_t>(150, 1)), TN_LIMIT);
    EXPECT_NE(std::string(tn_error_last()->message).find("no room"), std::string::npos);
    EXPECT_EQ(tn_session_seq_length(session, 1), 0u); // nothing of it stays
    ASSERT_EQ(decode(std::vector<int32_t>(128, 5), std::vector<uint32_t>(128, 1)), TN_OK);
    ASSERT_EQ(tn_session_seq_truncate(session, 0, 0), TN_OK);
    ASSERT_EQ(decode(std::vector<int32_t>(150, 5), std::vector<uint32_t>(150, 1)), TN_OK);
}

TEST_F(Session, SequencesThatShareAPageWriteInOneStepWithAFullCache)
{
    create(128, 4, 0);
    std::vector<int32_t> tokens(100, 7);
    ASSERT_EQ(decode(tokens), TN_OK);
    for (uint32_t seq = 1; seq < 4; seq++) ASSERT_EQ(tn_session_seq_copy(session, seq, 0, 100), TN_OK);
    ASSERT_EQ(decode({11, 12, 13, 14}, {0, 1, 2, 3}), TN_OK) << tn_error_last()->message;
    std::vector<std::vector<float>> rows;
    for (uint32_t i = 0; i < 4; i++) rows.emplace_back(tn_session_logits(session, i), tn_session_logits(session, i) + 4096);
    for (uint32_t i = 0; i < 4; i++) {
        ASSERT_EQ(tn_session_seq_truncate(session, 0, 0), TN_OK);
        std::vector<int32_t> alone(tokens.begin(), tokens.begin() + 100);
        alone.push_back(static_cast<int32_t>(11 + i));
        ASSERT_EQ(decode(alone), TN_OK);
        EXPECT_EQ(memcmp(rows[i].data(), tn_session_logits(session, 0), 4096 * sizeof(float)), 0) << i;
    }
}
