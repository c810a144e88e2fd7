// The default model end to end: the bits of the contract's NumPy twin, whatever runs them.
#include "support/float_mode.hpp"
#include "support/isa_levels.hpp"
#include "support/quick.hpp"
#include "support/run_model.hpp"

using namespace tn_test;

namespace
{

const golden &expected()
{
    static const golden g = read_golden("default_model.golden");
    return g;
}

void expect_golden_logits(const run_options &options)
{
    run_result result;
    ASSERT_NO_FATAL_FAILURE(run_model(default_model(), expected().ids, options, &result));
    EXPECT_EQ(result.digest(), expected().logits);
}

} // namespace

TEST(Golden, FixtureCoversMoreThanTwoChunksOfKeys)
{
    ASSERT_GE(expected().ids.size(), 300u);
    ASSERT_EQ(expected().rows.size(), expected().ids.size());
    ASSERT_EQ(expected().ops.size(), 6u * 7u + 3u);
}

TEST(Golden, EveryOpAndEveryRowOfLogitsHasTheContractsBits)
{
    run_options options;
    options.traced = true;
    run_result result;
    ASSERT_NO_FATAL_FAILURE(run_model(default_model(), expected().ids, options, &result));
    for (const auto &[op, digest] : expected().ops) EXPECT_EQ(result.op_hashes[op], digest) << op;
    for (size_t i = 0; i < expected().rows.size(); i++) ASSERT_EQ(result.row_hash(i), expected().rows[i]) << "position " << i;
    EXPECT_EQ(result.digest(), expected().logits);
}

TEST(Golden, EveryIsaLevelAndThreadCountHasTheSameBits)
{
    for (const auto &isa : isa_levels()) {
        for (uint32_t threads : {1u, 2u, 3u, 8u}) {
            SCOPED_TRACE(isa + " threads " + std::to_string(threads));
            run_options options;
            options.isa = isa;
            options.threads = threads;
            expect_golden_logits(options);
        }
    }
}

TEST(Golden, ThirtyTwoThreadsOnFewerCoresHaveTheSameBits)
{
    run_options options;
    options.threads = 32;
    expect_golden_logits(options);
}

TEST(Golden, ThePromptMayBeCutAnywhere)
{
    for (uint32_t ubatch : {1u, 2u, 7u, 64u, 127u, 128u, 129u, 400u, 512u}) {
        SCOPED_TRACE("ubatch " + std::to_string(ubatch));
        run_options options;
        options.ubatch = ubatch;
        expect_golden_logits(options);
    }
    for (uint32_t feed : {1u, 5u, 200u}) {
        SCOPED_TRACE("feed " + std::to_string(feed));
        run_options options;
        options.feed = feed;
        expect_golden_logits(options);
    }
}

TEST(Golden, EveryLayerBoundaryMayBeADeviceBoundary)
{
    for (int32_t on_second = 0; on_second <= 7; on_second++) {
        if (is_quick() && on_second % 7 != 0 && on_second != 3) continue;
        SCOPED_TRACE("-ngl " + std::to_string(on_second));
        run_options options;
        options.cpu_devices = 2;
        options.threads = 2;
        options.devices = "cpu1";
        options.n_gpu_layers = on_second;
        run_result result;
        ASSERT_NO_FATAL_FAILURE(run_model(default_model(), expected().ids, options, &result));
        // None moved: one segment. 1..6 layers: embedding and first layers, last layers, head. 7: the head moves too.
        EXPECT_EQ(result.n_segments, on_second == 0 ? 1u : on_second == 7 ? 2u : 3u);
        EXPECT_EQ(result.digest(), expected().logits);
    }
}

TEST(Golden, SegmentsMayAlternateBetweenDevices)
{
    for (const auto &devices : {"cpu0,cpu1", "cpu1,cpu0", "cpu0,cpu1,cpu0", "cpu1,cpu0,cpu1,cpu0,cpu1,cpu0"}) {
        for (uint32_t ubatch : {1u, 100u}) {
            SCOPED_TRACE(devices);
            run_options options;
            options.cpu_devices = 2;
            options.threads = 2;
            options.devices = devices;
            options.ubatch = ubatch;
            run_result result;
            ASSERT_NO_FATAL_FAILURE(run_model(default_model(), expected().ids, options, &result));
            EXPECT_GE(result.n_segments, 2u);
            EXPECT_EQ(result.digest(), expected().logits);
        }
    }
}

TEST(Golden, TheCallersFloatingPointModeChangesNothingAndIsGivenBack)
{
    const uint64_t saved = float_mode::get(), bent = float_mode::flush | float_mode::toward_zero;
    float_mode::set(saved | bent);
    run_result result;
    run_model(default_model(), expected().ids, {}, &result);
    const uint64_t after = float_mode::get();
    float_mode::set(saved);
    EXPECT_EQ(after & bent, bent);
    EXPECT_EQ(result.digest(), expected().logits);
}

TEST(Golden, SamplingDoesNotFollowTheCallersRoundingMode)
{
    const float logits[4] = {1.0f, 1.0f, 0.0f, 0.0f};
    const tn_logit_bias bias = {1, 0x1p-60f}; // rounds to nothing, unless up
    tn_sampler_params params = tn_sampler_params_default();
    params.temperature = 0;
    params.logit_bias = &bias;
    params.n_logit_bias = 1;
    tn_sampler *sampler = nullptr;
    ASSERT_EQ(tn_sampler_create(&params, 4, &sampler), TN_OK);
    int32_t token = -1;
    const uint64_t saved = float_mode::get();
    float_mode::set((saved & ~float_mode::rounding) | float_mode::up);
    const tn_status status = tn_sampler_sample(sampler, logits, 0, &token);
    float_mode::set(saved);
    EXPECT_EQ(status, TN_OK);
    EXPECT_EQ(token, 0);
    tn_sampler_destroy(sampler);
}

TEST(Golden, SequencesInOneBatchHaveTheBitsOfEachAlone)
{
    const auto &ids = expected().ids;
    const std::vector<std::vector<int32_t>> prompts = {
        {ids.begin(), ids.begin() + 150}, {ids.begin() + 50, ids.begin() + 190}, {ids.begin() + 7, ids.begin() + 20}};
    std::vector<run_result> alone(prompts.size());
    for (size_t s = 0; s < prompts.size(); s++) ASSERT_NO_FATAL_FAILURE(run_model(default_model(), prompts[s], {}, &alone[s]));

    tn_host *host = nullptr;
    tn_model *model = nullptr;
    tn_session *session = nullptr;
    ASSERT_EQ(tn_host_open(nullptr, &host), TN_OK);
    ASSERT_EQ(tn_model_open(default_model().c_str(), nullptr, &model), TN_OK);
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    params.no_recovery = true; // the device that is meant, and no other
    params.n_seqs_max = 3;
    params.n_ubatch = 50;
    params.n_logits_max = 512;
    ASSERT_EQ(tn_session_create(model, host, &params, &session), TN_OK) << tn_error_last()->message;
    std::vector<int32_t> tokens;
    std::vector<uint32_t> seqs;
    std::vector<size_t> next(prompts.size(), 0);
    uint32_t random = 12345;
    while (tokens.size() < 150 + 140 + 13) { // a fixed shuffle that keeps each sequence's order
        random = random * 1664525u + 1013904223u;
        const uint32_t s = (random >> 16) % 3;
        if (next[s] == prompts[s].size()) continue;
        tokens.push_back(prompts[s][next[s]++]);
        seqs.push_back(s);
    }
    const std::vector<uint8_t> all(tokens.size(), 1);
    tn_batch batch = TN_BATCH_INIT;
    batch.n_tokens = static_cast<uint32_t>(tokens.size());
    batch.tokens = tokens.data();
    batch.seqs = seqs.data();
    batch.logits = all.data();
    ASSERT_EQ(tn_session_decode(session, &batch), TN_OK) << tn_error_last()->message;
    std::vector<size_t> at(prompts.size(), 0);
    for (uint32_t i = 0; i < batch.n_tokens; i++) {
        const float *row = tn_session_logits(session, i);
        ASSERT_NE(row, nullptr);
        const size_t s = seqs[i];
        ASSERT_EQ(hash(row, alone[s].n_vocab * sizeof(float)), alone[s].row_hash(at[s]++)) << "token " << i << " of sequence " << s;
    }
    tn_session_destroy(session);
    tn_model_close(model);
    tn_host_close(host);
}

TEST(Golden, ATruncatedSequenceGoesOnWithTheSameBits)
{
    const auto &ids = expected().ids;
    tn_host *host = nullptr;
    tn_model *model = nullptr;
    tn_session *session = nullptr;
    ASSERT_EQ(tn_host_open(nullptr, &host), TN_OK);
    ASSERT_EQ(tn_model_open(default_model().c_str(), nullptr, &model), TN_OK);
    ASSERT_EQ(tn_session_create(model, host, nullptr, &session), TN_OK);
    std::vector<int32_t> wrong(ids.begin(), ids.begin() + 300);
    for (size_t i = 100; i < wrong.size(); i++) wrong[i] = 7;
    tn_batch batch = TN_BATCH_INIT;
    batch.tokens = wrong.data();
    batch.n_tokens = 300;
    ASSERT_EQ(tn_session_decode(session, &batch), TN_OK);
    ASSERT_EQ(tn_session_seq_truncate(session, 0, 100), TN_OK);
    EXPECT_EQ(tn_session_seq_length(session, 0), 100u);
    batch.tokens = ids.data() + 100;
    batch.n_tokens = 200;
    ASSERT_EQ(tn_session_decode(session, &batch), TN_OK);
    tn_session_info info;
    tn_session_get_info(session, &info);
    EXPECT_EQ(hash(tn_session_logits(session, 0), info.n_vocab * sizeof(float)), expected().rows[299]);
    tn_session_destroy(session);
    tn_model_close(model);
    tn_host_close(host);
}
