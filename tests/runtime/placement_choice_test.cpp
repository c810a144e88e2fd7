// Placements that are chosen by costs: made-up tables of two CPU devices, the default model.
#include "support/run_model.hpp"

#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <string>
#include <vector>

extern "C" {
#include "base/alloc.h"
#include "runtime/host.h"
#include "runtime/placement_internal.h"
#include "runtime/session_internal.h"
#include "runtime/session_state.h"
}

namespace
{

using tn_test::default_model;

// A step of n tokens takes sqrt(n) times what one takes, so that many at a time pay, and devices differ by `speed` alone.
tn_cost_table make_table(double speed)
{
    tn_cost_table table;
    tn_cost_table_init(&table);
    for (uint32_t k = 0; k < TN_COST_STEPS; k++) {
        const double factor = std::sqrt(tn_cost_step_sizes[k]) / speed;
        table.ns[TN_COST_SUBMIT][k] = 2000 / speed;
        table.ns[TN_COST_LAYER][k] = 1000 * factor;
        table.ns[TN_COST_TERNARY_NEAR][k] = table.ns[TN_COST_TERNARY_FAR][k] = 0.1 * factor;
        for (uint32_t h = 0; h < TN_COST_HEADS; h++) {
            table.ns[TN_COST_HEADS_FIRST + 3 * h + 1][k] = table.ns[TN_COST_HEADS_FIRST + 3 * h + 2][k] = 0.05 * factor;
        }
    }
    table.memory_bytes_per_s = 1e10;
    table.to_device = table.to_host = {100, 1e10};
    table.measured_at_s = 1000;
    return table;
}

// The same of a device whose far weights take `factor` times as long for few tokens while others read.
tn_cost_table sharing_table(double speed, double factor)
{
    tn_cost_table table = make_table(speed);
    for (uint32_t reader = 0; reader < TN_COST_READERS; reader++) {
        for (uint32_t k = 0; k < 2; k++) table.together[reader][k] = factor;
    }
    table.n_together = 2;
    return table;
}

class Choice : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        ASSERT_EQ(tn_model_open(default_model().c_str(), nullptr, &model), TN_OK) << tn_error_last()->message;
        open_host(2);
        ask.devices = "cpu0,cpu1";
        ask.explain = true;
        ask.n_ctx = 512;
    }
    void open_host(uint32_t n_devices)
    {
        tn_host_params params = TN_HOST_PARAMS_INIT;
        params.n_cpu_devices = params.n_threads = n_devices;
        tn_host_close(host);
        ASSERT_EQ(tn_host_open(&params, &host), TN_OK) << tn_error_last()->message;
    }
    void TearDown() override
    {
        tn_placement_destroy(placement);
        tn_host_close(host);
        tn_model_close(model);
    }
    void know(uint32_t device, double speed) { know(device, make_table(speed)); }
    void know(uint32_t device, const tn_cost_table &table)
    {
        tn_host_device_entry *entry;
        const tn_device_desc *desc;
        ASSERT_EQ(tn_host_entry(host, device, &entry, &desc), TN_OK);
        if (!entry->costs) {
            ASSERT_EQ(tn_alloc_zero(1, sizeof *entry->costs, &entry->costs), TN_OK);
            ASSERT_EQ(pthread_mutex_init(&entry->costs->lock, nullptr), 0);
        }
        entry->costs->table = table;
    }
    tn_status create()
    {
        tn_placement_destroy(placement);
        placement = nullptr;
        options.clear();
        devices.clear();
        const tn_status status = tn_placement_create(model, host, &ask, &placement);
        if (status == TN_OK) tn_placement_explain(placement, take_device, take_option, this);
        return status;
    }
    // The placement as text, or the status' name and the message.
    std::string choose()
    {
        const tn_status status = create();
        if (status != TN_OK) return std::string(tn_status_name(status)) + " " + tn_error_last()->message;
        char text[512];
        const size_t len = tn_placement_print(placement, text, sizeof text);
        EXPECT_EQ(len, strlen(text));
        return text;
    }
    struct Option {
        tn_placement_kind kind;
        bool chosen, fits;
        std::string where, reason;
        double tokens_per_s, sharing_loss, bubble;
    };
    struct Device {
        std::string name;
        double one, many;
        uint64_t memory, measured_at_s;
    };
    static void take_device(void *user, const tn_placement_device *d)
    {
        static_cast<Choice *>(user)->devices.push_back({d->name, d->tokens_per_s_one, d->tokens_per_s, d->memory_bytes, d->measured_at_s});
    }
    static void take_option(void *user, const tn_placement_option *o)
    {
        static_cast<Choice *>(user)->options.push_back(
            {o->kind, o->chosen, o->fits, o->where, o->reason, o->tokens_per_s, o->sharing_loss, o->bubble});
    }
    tn_model *model = nullptr;
    tn_host *host = nullptr;
    tn_placement *placement = nullptr;
    tn_placement_params ask = TN_PLACEMENT_PARAMS_INIT;
    std::vector<Option> options;
    std::vector<Device> devices;
};

TEST_F(Choice, OneSequenceGoesToTheFastestDevice)
{
    know(0, 1);
    know(1, 2);
    EXPECT_EQ(choose(), "cpu1: embedding, layers 0-5, head");
    ASSERT_EQ(devices.size(), 2u);
    EXPECT_NEAR(devices[1].one, 2 * devices[0].one, 1e-6 * devices[1].one);
    ASSERT_GE(options.size(), 2u);
    EXPECT_TRUE(options[0].chosen);
    EXPECT_EQ(options[0].reason, "");
    EXPECT_NEAR(options[0].tokens_per_s, devices[1].one, 1e-6 * devices[1].one);
    for (size_t i = 1; i < options.size(); i++) {
        EXPECT_FALSE(options[i].chosen);
        EXPECT_NE(options[i].reason, "") << options[i].where;
    }
}

TEST_F(Choice, ManySequencesGoToBothByTheirSpeed)
{
    know(0, 1);
    know(1, 1);
    ask.n_seqs = 16;
    ask.goal = TN_GOAL_LATENCY; // of which copies have the least: each has fewer sequences a step
    EXPECT_EQ(choose(), "cpu0 x8 + cpu1 x8");
    ASSERT_EQ(tn_placement_replica_count(placement), 2u);
    EXPECT_EQ(tn_placement_share(placement, 0, 16), 8u);
    EXPECT_EQ(tn_placement_share(placement, 1, 5) + tn_placement_share(placement, 0, 5), 5u);
    EXPECT_EQ(tn_placement_share(placement, 2, 5), 0u);
    know(1, 3);
    const std::string uneven = choose();
    EXPECT_GT(tn_placement_share(placement, 1, 16), 2 * tn_placement_share(placement, 0, 16)) << uneven;
    EXPECT_EQ(tn_placement_share(placement, 0, 16) + tn_placement_share(placement, 1, 16), 16u);
}

TEST_F(Choice, ForcedReplicasHaveSharesByWhatIsKnown)
{
    ask.explain = false;
    ask.replicas = true;
    ask.n_seqs = 16;
    EXPECT_EQ(choose(), "cpu0 + cpu1") << "nothing is measured for what is forced";
    EXPECT_EQ(tn_placement_share(placement, 0, 16), 8u);
    know(0, 1);
    EXPECT_EQ(choose(), "cpu0 + cpu1") << "one of them is not known";
    know(1, 4);
    const std::string uneven = choose();
    EXPECT_EQ(uneven.find("cpu0 x"), 0u) << uneven;
    const uint32_t few = tn_placement_share(placement, 0, 16);
    EXPECT_GT(few, 0u);
    EXPECT_LT(few, 5u);
    EXPECT_EQ(tn_placement_share(placement, 1, 16), 16 - few);
    ask.devices = "cpu1,cpu0";
    EXPECT_EQ(choose().find("cpu1 x"), 0u);
    EXPECT_EQ(tn_placement_share(placement, 1, 16), few) << "the order is the user's";
}

TEST_F(Choice, ForcedReplicasOfAThirdSlowDeviceKeepToItsRate)
{
    open_host(3);
    ask.explain = false;
    ask.replicas = true;
    ask.devices = "cpu0,cpu1,cpu2";
    know(0, 20);
    know(1, 20);
    know(2, 1);
    ask.n_seqs = 16;
    EXPECT_EQ(choose(), "cpu0 x8 + cpu1 x7 + cpu2 x1") << "a named device has one at least";
    EXPECT_EQ(tn_placement_share(placement, 0, 64), 31u);
    EXPECT_EQ(tn_placement_share(placement, 2, 64), 2u);
    ask.n_seqs = 2;
    EXPECT_EQ(choose(), "cpu0 x1 + cpu1 x1 + cpu2 x0");
    ask.n_seqs = 8;
    EXPECT_EQ(choose(), "cpu0 x4 + cpu1 x3 + cpu2 x1");
    ask.n_seqs = 0; // nobody said how many
    EXPECT_EQ(choose(), "cpu0 + cpu1 + cpu2");
    EXPECT_EQ(tn_placement_share(placement, 2, 16), 1u);
    ask.devices = "cpu2,cpu0,cpu1";
    ask.n_seqs = 3;
    EXPECT_EQ(choose(), "cpu2 x1 + cpu0 x1 + cpu1 x1");
}

TEST_F(Choice, ADeviceToChooseFromIsNamedOnce)
{
    know(0, 1);
    know(1, 1);
    ask.n_seqs = 16;
    ask.devices = "cpu0,cpu1,0";
    EXPECT_EQ(choose(), "INVALID_ARGUMENT cpu0 is named twice: a device to choose from is named once");
}

// What is asked in the middle of an answer measures nothing.
TEST_F(Choice, APlacementThatIsMadeAgainTakesDevicesThatAreKnown)
{
    open_host(3);
    for (uint32_t i = 0; i < 3; i++) know(i, 1);
    ask.devices = nullptr;
    ask.goal = TN_GOAL_LATENCY;
    ASSERT_EQ(create(), TN_OK) << tn_error_last()->message;
    tn_host_device_entry *entry;
    const tn_device_desc *desc;
    ASSERT_EQ(tn_host_entry(host, 2, &entry, &desc), TN_OK);
    pthread_mutex_destroy(&entry->costs->lock);
    tn_free(entry->costs);
    entry->costs = nullptr;
    tn_host_quarantine(host, 1, "for the test");
    tn_placement *again = nullptr;
    placement->params.devices = "cpu0,cpu1,cpu2";
    ASSERT_EQ(tn_placement_create_again(model, host, placement, 0, &again), TN_OK) << tn_error_last()->message;
    EXPECT_EQ(entry->costs, nullptr) << "it was measured";
    for (uint32_t unit = 0; unit < again->n_layers + 2; unit++) EXPECT_EQ(tn_placement_devices(again, 0)[unit], 0u);
    tn_placement_destroy(again);
}

TEST_F(Choice, ThroughputIsThatOfTheBestKind)
{
    know(0, 1);
    know(1, 1);
    ask.n_seqs = 16;
    ask.goal = TN_GOAL_THROUGHPUT;
    ASSERT_EQ(create(), TN_OK) << tn_error_last()->message;
    ASSERT_EQ(options.size(), 4u); // each device alone, copies, a pipeline
    for (size_t i = 1; i < options.size(); i++) EXPECT_LE(options[i].tokens_per_s, options[0].tokens_per_s * 1.0301) << options[i].where;
    EXPECT_NE(options[0].kind, TN_PLACEMENT_ONE);
    EXPECT_GT(options[0].tokens_per_s, 1.25 * devices[0].many);
}

TEST_F(Choice, WhatIsPredictedIsWhatWasChosenBy)
{
    for (const tn_goal goal : {TN_GOAL_LATENCY, TN_GOAL_THROUGHPUT, TN_GOAL_MEMORY}) {
        for (const uint32_t n_seqs : {1u, 7u, 16u}) {
            know(0, 1);
            know(1, 1.5);
            ask.goal = goal;
            ask.n_seqs = n_seqs;
            ASSERT_EQ(create(), TN_OK) << tn_error_last()->message;
            const double predicted = tn_placement_predict(placement, n_seqs, 512 / 2 + 1);
            EXPECT_NEAR(predicted, options[0].tokens_per_s, 1e-6 * predicted) << options[0].where;
            EXPECT_EQ(tn_placement_predict(placement, 0, 1), 0);
        }
    }
}

TEST_F(Choice, CopiesOnDevicesThatShareMemoryArePromisedWhatTheyGiveTogether)
{
    ask.goal = TN_GOAL_THROUGHPUT;
    ask.n_seqs = 2;
    know(0, 1);
    know(1, 1);
    ASSERT_EQ(create(), TN_OK) << tn_error_last()->message;
    EXPECT_EQ(options[0].kind, TN_PLACEMENT_REPLICAS);
    const double alone = options[0].tokens_per_s;
    for (const Option &option : options) EXPECT_EQ(option.sharing_loss, 0) << option.where;
    know(0, sharing_table(1, 1.2));
    know(1, sharing_table(1, 1.2));
    ASSERT_EQ(create(), TN_OK) << tn_error_last()->message;
    EXPECT_EQ(options[0].kind, TN_PLACEMENT_REPLICAS);
    EXPECT_GT(options[0].tokens_per_s, alone / 1.2); // not all of a step reads weights
    EXPECT_LT(options[0].tokens_per_s, alone * 0.97);
    EXPECT_NEAR(options[0].sharing_loss, 1 - options[0].tokens_per_s / alone, 1e-9);
    EXPECT_NEAR(tn_placement_predict(placement, 2, 512 / 2 + 1), options[0].tokens_per_s, 1e-6 * alone);
    // One device takes both sequences in 1.14 times the time of one: half as slow again together, two no longer pay.
    know(0, sharing_table(1, 3));
    know(1, sharing_table(1, 3));
    ASSERT_EQ(create(), TN_OK) << tn_error_last()->message;
    EXPECT_EQ(options[0].kind, TN_PLACEMENT_ONE);
    EXPECT_EQ(options[0].sharing_loss, 0);
    EXPECT_NEAR(devices[0].many, options[0].tokens_per_s, 1e-6 * alone);
    ask.n_seqs = 128; // steps of 64 read no longer than they compute
    ASSERT_EQ(create(), TN_OK) << tn_error_last()->message;
    EXPECT_NE(options[0].kind, TN_PLACEMENT_ONE);
    EXPECT_LT(options[0].sharing_loss, 0.01);
}

TEST_F(Choice, PipelinesShareMemoryWhereSeveralStepsAreInFlight)
{
    know(0, sharing_table(1, 1.1));
    know(1, sharing_table(1, 1.1));
    for (const tn_goal goal : {TN_GOAL_THROUGHPUT, TN_GOAL_LATENCY}) {
        ask.goal = goal;
        ask.n_seqs = 4;
        ASSERT_EQ(create(), TN_OK) << tn_error_last()->message;
        for (const Option &option : options) {
            if (option.kind != TN_PLACEMENT_PIPELINE) continue;
            EXPECT_EQ(option.sharing_loss > 0, goal == TN_GOAL_THROUGHPUT) << option.where;
            EXPECT_LT(option.sharing_loss, 1 - 1 / 1.1);
        }
        EXPECT_NEAR(tn_placement_predict(placement, 4, 512 / 2 + 1), options[0].tokens_per_s, 1e-6 * options[0].tokens_per_s);
    }
}

TEST_F(Choice, RejectedPipelinesSayWhatTheyLoseMostTo)
{
    int n_waiting = 0, n_sharing = 0;
    ask.goal = TN_GOAL_THROUGHPUT;
    for (const double factor : {1.0, 1.02, 1.5, 4.0}) {
        for (const uint32_t n_seqs : {2u, 3u, 16u}) {
            know(0, sharing_table(1, factor));
            know(1, sharing_table(0.9, factor));
            ask.n_seqs = n_seqs;
            ASSERT_EQ(create(), TN_OK) << tn_error_last()->message;
            for (const Option &option : options) {
                const bool waits = option.reason.find("(its devices wait for each other)") != std::string::npos;
                const bool shares = option.reason.find("(its devices read the same memory)") != std::string::npos;
                EXPECT_FALSE(waits && option.bubble < option.sharing_loss) << option.where << ": " << option.reason;
                EXPECT_FALSE(shares && option.bubble >= option.sharing_loss) << option.where << ": " << option.reason;
                EXPECT_FALSE((waits || shares) && option.bubble < 0.01 && option.sharing_loss < 0.01) << option.where;
                n_waiting += waits;
                n_sharing += shares;
            }
        }
    }
    EXPECT_GT(n_waiting, 0);
    EXPECT_GT(n_sharing, 0);
}

TEST_F(Choice, AssumptionsAndLimitsChangeIt)
{
    know(0, 1);
    know(1, 2);
    ask.assume = "cpu1.speed=0.25";
    EXPECT_EQ(choose(), "cpu0: embedding, layers 0-5, head");
    ask.assume = "cpu1=off";
    EXPECT_EQ(choose(), "cpu0: embedding, layers 0-5, head");
    EXPECT_EQ(devices.size(), 1u);
    ask.assume = "cpu0=off,cpu1=off";
    EXPECT_EQ(choose(), "INVALID_ARGUMENT no device is left to choose: all are assumed to be off");
    ask.assume = "cpu1.mem=2M";
    EXPECT_EQ(choose(), "cpu0: embedding, layers 0-5, head");
    EXPECT_EQ(devices[1].memory, 2u << 20);
    ASSERT_GE(options.size(), 2u);
    for (const Option &option : options)
        EXPECT_EQ(option.fits, option.where.find("cpu1: embedding, layers 0-5") == std::string::npos) << option.where;
    ask.assume = "cpu1.mem=1";
    ask.memory_limits = "cpu0=1M";
    EXPECT_EQ(choose().rfind("OUT_OF_MEMORY the model with its KV cache fits no device", 0), 0u);
    EXPECT_NE(choose().find("cpu0 has 1 of "), std::string::npos);
    ask.assume = "gpu0.mem=4G";
    EXPECT_EQ(choose().rfind("NOT_FOUND there is no device gpu0; devices here: cpu0, cpu1", 0), 0u);
    ask.assume = "cpu0.speed=fast";
    EXPECT_EQ(choose().rfind("INVALID_ARGUMENT 'cpu0.speed=fast' cannot be assumed", 0), 0u);
}

TEST_F(Choice, WhatIsForcedKeepsToLimits)
{
    ask.explain = false;
    ask.memory_limits = "cpu1=2M";
    EXPECT_EQ(choose().rfind("OUT_OF_MEMORY what is forced on cpu1 takes about ", 0), 0u);
    ask.tensor_split = "1,0";
    EXPECT_EQ(choose(), "cpu0: embedding, layers 0-5, head");
    EXPECT_TRUE(options.empty()) << "nothing was chosen";
    EXPECT_EQ(tn_placement_predict(placement, 1, 1), 0);
    ask.tensor_split = nullptr;
    ask.replicas = true;
    EXPECT_EQ(choose().rfind("OUT_OF_MEMORY what is forced on cpu1", 0), 0u);
}

TEST_F(Choice, DevicesThatWereNeverMeasuredTakeNoPartWhereNothingMayBeMeasured)
{
    ask.known_only = true;
    EXPECT_EQ(choose(), "cpu0: embedding, layers 0-5, head");
    ASSERT_EQ(devices.size(), 2u);
    EXPECT_EQ(devices[0].measured_at_s + devices[1].measured_at_s, 0u);
    EXPECT_TRUE(options.empty());
    EXPECT_EQ(tn_placement_predict(placement, 1, 1), 0);
    know(1, 0.01);
    EXPECT_EQ(choose(), "cpu1: embedding, layers 0-5, head");
    ASSERT_EQ(devices.size(), 2u);
    EXPECT_EQ(devices[0].name, "cpu1");
    EXPECT_EQ(devices[1].measured_at_s, 0u);
}

TEST_F(Choice, MeasuringIsToldAndCanBeCancelled)
{
    tn_host_close(host);
    int n_told = 0;
    tn_host_params params = TN_HOST_PARAMS_INIT;
    params.n_cpu_devices = 2;
    params.n_threads = 2;
    params.progress.user = &n_told;
    params.progress.update = [](void *user, const char *, uint64_t, uint64_t) { return ++*static_cast<int *>(user) < 3; };
    ASSERT_EQ(tn_host_open(&params, &host), TN_OK) << tn_error_last()->message;
    ask.calibrate_ms = 20;
    ask.devices = nullptr;
    EXPECT_EQ(create(), TN_CANCELLED);
    EXPECT_EQ(n_told, 3);
}

TEST_F(Choice, WishesThatContradictEachOtherAreRefused)
{
    const char *const overrides[] = {"output=cpu0"};
    ask.explain = false;
    ask.goal = TN_GOAL_LATENCY;
    ask.has_n_gpu_layers = true;
    EXPECT_EQ(choose().rfind("INVALID_ARGUMENT a goal chooses devices by their speed", 0), 0u);
    ask.goal = TN_GOAL_DEFAULT;
    ask.replicas = true;
    EXPECT_EQ(choose().rfind("INVALID_ARGUMENT replicas have the whole model each", 0), 0u);
    ask.replicas = false;
    ask.assume = "cpu0=off";
    EXPECT_EQ(choose().rfind("INVALID_ARGUMENT what is forced is not chosen", 0), 0u);
    ask.has_n_gpu_layers = false;
    ask.overrides = overrides;
    ask.n_overrides = 1;
    EXPECT_EQ(choose().rfind("INVALID_ARGUMENT what is forced is not chosen", 0), 0u);
    ask = TN_PLACEMENT_PARAMS_INIT;
    ask.replicas = true;
    ask.devices = "cpu0,0";
    EXPECT_EQ(choose(), "INVALID_ARGUMENT cpu0 is named twice: a device takes one copy of the model");
    ask.goal = static_cast<tn_goal>(99);
    EXPECT_EQ(choose(), "INVALID_ARGUMENT there is no goal 99");
}

TEST_F(Choice, SplitsAndOverridesPlaceTheModelsOwnTensors)
{
    const char *const overrides[] = {"blk\\.[0-2]\\.=cpu1", "blk\\.=cpu0", "blk\\.2\\.=cpu0"};
    ask.explain = false;
    ask.devices = "cpu1";
    ask.overrides = overrides;
    ask.n_overrides = 3;
    EXPECT_EQ(choose(), "cpu1: embedding, layers 0-2 | cpu0: layers 3-5 | cpu1: head");
    ask.n_overrides = 0;
    ask.devices = "cpu0,cpu1";
    ask.tensor_split = "2,1";
    EXPECT_EQ(choose(), "cpu0: embedding, layers 0-3 | cpu1: layers 4-5, head");
    ask.tensor_split = "1/2";
    EXPECT_EQ(choose(), "cpu0: embedding, layers 0-1 | cpu1: layers 2-5, head");
}

std::vector<float> logits_of(const tn_model *model, tn_host *host, const tn_placement *placement, uint32_t replica)
{
    tn_session *session = nullptr;
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    params.placement = placement;
    params.replica = replica;
    params.n_logits_max = 20;
    EXPECT_EQ(tn_session_create(model, host, &params, &session), TN_OK) << tn_error_last()->message;
    std::vector<int32_t> tokens;
    for (int32_t i = 0; i < 20; i++) tokens.push_back(3 + 7 * i);
    const std::vector<uint8_t> wanted(tokens.size(), 1);
    tn_batch batch = TN_BATCH_INIT;
    batch.n_tokens = static_cast<uint32_t>(tokens.size());
    batch.tokens = tokens.data();
    batch.logits = wanted.data();
    EXPECT_EQ(tn_session_decode(session, &batch), TN_OK) << tn_error_last()->message;
    tn_session_info info;
    tn_session_get_info(session, &info);
    std::vector<float> rows;
    for (uint32_t i = 0; i < batch.n_tokens; i++)
        rows.insert(rows.end(), tn_session_logits(session, i), tn_session_logits(session, i) + info.n_vocab);
    tn_session_destroy(session);
    return rows;
}

TEST_F(Choice, EveryReplicaHasTheSameBits)
{
    ask.explain = false;
    const std::string whole = choose();
    EXPECT_EQ(whole, "cpu0: embedding, layers 0-2 | cpu1: layers 3-5, head");
    const std::vector<float> expected = logits_of(model, host, placement, 0);
    ask.replicas = true;
    EXPECT_EQ(choose(), "cpu0 + cpu1");
    ASSERT_EQ(tn_placement_replica_count(placement), 2u);
    for (uint32_t replica = 0; replica < 2; replica++) {
        const std::vector<float> rows = logits_of(model, host, placement, replica);
        ASSERT_EQ(rows.size(), expected.size());
        EXPECT_EQ(memcmp(rows.data(), expected.data(), rows.size() * sizeof(float)), 0) << replica;
    }
    tn_session *session = nullptr;
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    params.placement = placement;
    params.replica = 2;
    EXPECT_EQ(tn_session_create(model, host, &params, &session), TN_INVALID_ARGUMENT);
}

// Steps of a session, with its clock replaced by a time that the test says.
TEST_F(Choice, RealStepsCorrectWhatIsKnownOfOneDevice)
{
    know(0, 1);
    ask.explain = false;
    ask.devices = "cpu0";
    ASSERT_EQ(create(), TN_OK);
    tn_session *session = nullptr;
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    params.placement = placement;
    ASSERT_EQ(tn_session_create(model, host, &params, &session), TN_OK) << tn_error_last()->message;
    const int32_t tokens[] = {5, 6, 7, 8};
    tn_batch batch = TN_BATCH_INIT;
    batch.n_tokens = 4;
    batch.tokens = tokens;
    ASSERT_EQ(tn_session_decode(session, &batch), TN_OK) << tn_error_last()->message;
    tn_known_costs *costs = tn_host_costs_known(host, 0);
    ASSERT_NE(costs, nullptr);
    EXPECT_EQ(costs->table.n_observed, 0u);
    for (int i = 0; i < 100; i++) tn_session_observe(session, &session->lanes[0], 999999);
    EXPECT_EQ(costs->table.n_observed, 0u) << "short steps teach nothing";
    for (int i = 0; i < 40; i++) tn_session_observe(session, &session->lanes[0], 100000000);
    EXPECT_EQ(costs->table.n_observed, 10u);
    EXPECT_TRUE(costs->changed);
    EXPECT_GT(costs->table.correction[TN_COST_GROUP_LAYER][1], 1.5);
    tn_session_destroy(session);
    // Sessions whose steps are something else learn nothing: those beside others that read the same memory, and those with a trace.
    know(0, sharing_table(1, 2));
    know(1, sharing_table(1, 2));
    ask.devices = "cpu0,cpu1";
    ask.replicas = true;
    ASSERT_EQ(create(), TN_OK) << tn_error_last()->message;
    params.placement = placement;
    ASSERT_EQ(tn_session_create(model, host, &params, &session), TN_OK) << tn_error_last()->message;
    EXPECT_EQ(session->observer.costs, nullptr);
    tn_session_destroy(session);
    ask.devices = "cpu0";
    ask.replicas = false;
    ASSERT_EQ(create(), TN_OK) << tn_error_last()->message;
    params.placement = placement;
    ASSERT_EQ(tn_session_create(model, host, &params, &session), TN_OK) << tn_error_last()->message;
    EXPECT_NE(session->observer.costs, nullptr);
    tn_session_destroy(session);
    params.trace.row = [](void *, uint32_t, uint32_t, const char *, const float *, size_t) {};
    ASSERT_EQ(tn_session_create(model, host, &params, &session), TN_OK) << tn_error_last()->message;
    EXPECT_EQ(session->observer.costs, nullptr);
    tn_session_destroy(session);
}

} // namespace
