// The runtime's execution of plans over the recording backend: order of calls, hops, errors, memory.
#include "format/temp_folder.h"
#include "support/small_graph.hpp"
#include "support/step_block.hpp"

#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

extern "C" {
#include "backend/null_backend.h"
#include "runtime/plan_run.h"
}

using namespace tn_test;

namespace
{

class PlanRun : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        state.n_devices = 2;
        state.memory_bytes = 1 << 30;
        host.log = tn_null_log(&state);
        graph = small_graph(4);
        for (uint32_t i = 0; i < 2; i++) ASSERT_EQ(tn_null_backend_table.device_open(&host, i, &devices[i]), TN_OK);
    }
    void TearDown() override
    {
        tn_plan_run_destroy(run);
        tn_plan_destroy(plan);
        tn_graph_destroy(graph);
        for (tn_device *device : devices) tn_null_backend_table.device_close(device);
        EXPECT_EQ(tn_null_n_alive(&state), 0u);
        tn_null_deinit(&state);
    }
    tn_plan_run_params params_for(const std::vector<uint32_t> &units)
    {
        if (!plan) {
            EXPECT_EQ(tn_plan_create(graph, units.data(), &plan), TN_OK);
        }
        tn_plan_run_params params = {};
        params.graph = graph;
        params.plan = plan;
        params.devices = devices;
        params.n_devices = 2;
        params.limits = limits;
        params.n_slots = 1;
        params.cache = cache;
        params.may_shrink = may_shrink;
        params.thread_begins = thread_begins;
        params.thread_user = this;
        return params;
    }
    tn_status start(const std::vector<uint32_t> &units)
    {
        const tn_plan_run_params params = params_for(units);
        return tn_plan_run_create(&params, &run);
    }
    std::vector<tn_plan_memory> memory_of(const std::vector<uint32_t> &units)
    {
        const tn_plan_run_params params = params_for(units);
        std::vector<tn_plan_memory> memory(2);
        EXPECT_EQ(tn_plan_run_plan_memory(&params, memory.data()), TN_OK) << tn_error_last()->message;
        return memory;
    }
    // Whether any call since the last tn_null_clear took memory of a device.
    bool took_memory() const
    {
        const std::string text = tn_null_text(&state);
        return text.find(" create ") != std::string::npos || text.find(" pack ") != std::string::npos;
    }
    tn_status step(std::vector<float> *logits, std::vector<uint32_t> *poison)
    {
        StepArrays arrays;
        arrays.tokens = {5, 6, 7};
        arrays.positions = {10, 11, 12};
        arrays.seqs = {0, 0, 0};
        arrays.page_table = {1, 0};
        arrays.logit_rows = {0, 2};
        StepBlock s(arrays, limits);
        logits->assign(2 * small_vocab, -1.0f);
        poison->assign(3, 99);
        tn_logit_rows rows = {};
        rows.logits = logits->data();
        rows.n_rows = 2, rows.n_vocab = small_vocab;
        tn_plan_job job = {};
        job.step = s.get(), job.rows = &rows, job.poison = poison->data();
        if (!in_threads) return tn_plan_run_step(run, &job);
        uint64_t ended_ns;
        const tn_status status = tn_plan_run_start(run, 0, &job);
        return status == TN_OK ? tn_plan_run_finish(run, 0, &ended_ns) : status;
    }
    static void note_thread(void *user, uint32_t device)
    {
        auto *test = static_cast<PlanRun *>(user);
        const std::lock_guard<std::mutex> lock(test->begun_lock);
        test->begun.emplace_back(device, std::this_thread::get_id());
    }
    tn_step_limits limits = {4, 2, 1, 2, 2};
    bool may_shrink = false, in_threads = false;
    void (*thread_begins)(void *user, uint32_t device) = nullptr;
    std::mutex begun_lock;
    std::vector<std::pair<uint32_t, std::thread::id>> begun;
    tn_null_state state = {};
    tn_backend_host host = {};
    tn_device *devices[2] = {};
    tn_graph *graph = nullptr;
    tn_plan *plan = nullptr;
    tn_plan_run *run = nullptr;
    tn_plan_cache *cache = nullptr;
};

} // namespace

TEST_F(PlanRun, RowsOfLogitsBelongToTheirTokensAfterAnyNumberOfHops)
{
    const std::vector<std::vector<uint32_t>> placements = {{0, 0, 0, 0, 0, 0}, {0, 0, 1, 1, 1, 1}, {0, 0, 1, 1, 0, 0}, {1, 0, 1, 0, 1, 0}};
    for (const auto &units : placements) {
        ASSERT_EQ(start(units), TN_OK) << tn_error_last()->message;
        std::vector<float> logits;
        std::vector<uint32_t> poison;
        for (int repeat = 0; repeat < 2; repeat++) {
            ASSERT_EQ(step(&logits, &poison), TN_OK) << tn_error_last()->message;
            const uint32_t n_hops = plan->n_segments - 1;
            for (uint32_t id = 0; id < small_vocab; id++) {
                EXPECT_EQ(logits[id], tn_null_logit(5, 10, n_hops, id));
                EXPECT_EQ(logits[small_vocab + id], tn_null_logit(7, 12, n_hops, id));
            }
            EXPECT_EQ(poison, std::vector<uint32_t>({0, 0, 0}));
        }
        tn_plan_run_destroy(run);
        tn_plan_destroy(plan);
        run = nullptr, plan = nullptr;
    }
}

// So that it can be bound near what it feeds.
TEST_F(PlanRun, EachStagesThreadIsToldItsDeviceOnce)
{
    thread_begins = note_thread;
    ASSERT_EQ(start({0, 0, 1, 1, 0, 0}), TN_OK) << tn_error_last()->message;
    std::vector<float> logits;
    std::vector<uint32_t> poison;
    ASSERT_EQ(step(&logits, &poison), TN_OK) << tn_error_last()->message;
    EXPECT_TRUE(begun.empty()) << "a step alone runs in the caller's thread, which is not ours to bind";
    in_threads = true;
    for (int repeat = 0; repeat < 3; repeat++) ASSERT_EQ(step(&logits, &poison), TN_OK) << tn_error_last()->message;
    std::multiset<uint32_t> told;
    std::set<std::thread::id> threads = {std::this_thread::get_id()};
    for (const auto &[device, thread] : begun) {
        told.insert(device);
        threads.insert(thread);
    }
    EXPECT_EQ(told, (std::multiset<uint32_t>{0, 0, 1}));
    EXPECT_EQ(threads.size(), 4u) << "three threads, none of them the caller's";
}

TEST_F(PlanRun, EachWeightIsPackedOnceForEachDeviceThatUsesIt)
{
    ASSERT_EQ(start({0, 0, 1, 1, 0, 0}), TN_OK); // embedding and tied head on device 0: packed once
    const std::string text = tn_null_text(&state);
    size_t n_packs = 0;
    for (size_t at = text.find(" pack "); at != std::string::npos; at = text.find(" pack ", at + 1)) n_packs++;
    EXPECT_EQ(n_packs, 2u) << text;
    const tn_plan_run_memory memory = tn_plan_run_get_memory(run);
    EXPECT_GT(memory.weights_bytes, 0u);
    EXPECT_EQ(memory.kv_bytes, 4 * 2 * tn_kv_page_layer_bytes(1, 4));
}

// What a device does not run is said before anything is packed, which may take minutes.
TEST_F(PlanRun, ProgramsAreCheckedBeforeWeightsArePacked)
{
    ASSERT_EQ(start({0, 0, 1, 1, 0, 0}), TN_OK);
    const std::string text = tn_null_text(&state);
    EXPECT_LT(text.rfind(" check nodes "), text.find(" pack ")) << text;
    EXPECT_LT(text.rfind(" pack "), text.find(" program ")) << text;
    tn_plan_run_destroy(run);
    run = nullptr;

    tn_null_clear(&state);
    state.n_tokens_max = 3;
    EXPECT_EQ(start({0, 0, 1, 1, 0, 0}), TN_UNSUPPORTED);
    EXPECT_STREQ(tn_error_last()->message, "null0: make smaller steps (-ub 3 fits)");
    EXPECT_EQ(std::string(tn_null_text(&state)).find(" pack "), std::string::npos) << tn_null_text(&state);
    EXPECT_EQ(tn_null_n_alive(&state), 2u); // the devices
}

TEST_F(PlanRun, WhatAPlanNeedsIsKnownBeforeAnythingIsTaken)
{
    const std::vector<uint32_t> units = {0, 0, 1, 1, 0, 0}; // three segments
    const uint64_t page = tn_kv_page_layer_bytes(1, 4), hidden = 4 * small_width * sizeof(float), logits = 2 * small_vocab * sizeof(float);
    tn_null_clear(&state);
    const std::vector<tn_plan_memory> memory = memory_of(units);
    EXPECT_FALSE(took_memory()) << tn_null_text(&state);
    EXPECT_EQ(memory[0].weights_bytes, 2u * 64); // embedding and tied head, gains
    EXPECT_EQ(memory[1].weights_bytes, 0u);
    EXPECT_EQ(memory[0].kv_bytes, 2 * 2 * page); // two layers each, two pages
    EXPECT_EQ(memory[1].kv_bytes, 2 * 2 * page);
    // Programs of this backend: rows of their output for all tokens. Then what they take in and give out.
    EXPECT_EQ(memory[0].scratch_bytes, hidden + 4 * small_vocab * sizeof(float) + 2 * hidden + logits);
    EXPECT_EQ(memory[1].scratch_bytes, hidden + 2 * hidden);
    for (const tn_plan_memory &m : memory) {
        EXPECT_EQ(m.needed_bytes, m.weights_bytes + m.kv_bytes + m.scratch_bytes);
        EXPECT_EQ(m.device_total_bytes, 1u << 30);
        EXPECT_EQ(m.device_free_bytes, 1u << 30);
    }
    ASSERT_EQ(start(units), TN_OK);
    const tn_plan_run_memory taken = tn_plan_run_get_memory(run);
    EXPECT_EQ(taken.weights_bytes, memory[0].weights_bytes + memory[1].weights_bytes);
    EXPECT_EQ(taken.kv_bytes, memory[0].kv_bytes + memory[1].kv_bytes);
    EXPECT_EQ(taken.scratch_bytes, memory[0].scratch_bytes + memory[1].scratch_bytes);
    EXPECT_EQ(memory_of(units)[0].device_free_bytes, // the buffers, without what the program has for itself
              (1u << 30) - (memory[0].needed_bytes - hidden - 4 * small_vocab * sizeof(float)));
    EXPECT_EQ(memory_of({0, 0, 0, 0, 0, 0})[1].device, devices[1]) << "the plan is the first one";
}

TEST_F(PlanRun, WhatDoesNotFitIsRefusedWithThePartsBeforeAnythingIsTaken)
{
    const std::vector<uint32_t> units = {0, 0, 1, 1, 0, 0};
    limits.n_kv_pages = 1000;
    const std::vector<tn_plan_memory> memory = memory_of(units);
    ASSERT_GT(memory[0].needed_bytes, memory[1].needed_bytes);
    const auto refusal = [&](uint64_t bytes) {
        state.memory_bytes = bytes;
        tn_null_clear(&state);
        EXPECT_EQ(start(units), TN_OUT_OF_MEMORY);
        EXPECT_EQ(run, nullptr);
        EXPECT_FALSE(took_memory()) << tn_null_text(&state);
        EXPECT_EQ(tn_null_n_alive(&state), 2u); // the devices
        return std::string(tn_error_last()->message);
    };
    EXPECT_EQ(
        refusal(memory[0].needed_bytes - 1),
        "null0: 6 MiB of memory are needed (weights 1, KV cache 6, values of steps 1 MiB), and 5 of 5 MiB are free: ask for a shorter "
        "context (-c) or fewer sequences, put fewer layers on it (-ngl), or share them with another device (--device)");
    EXPECT_STREQ(tn_error_last()->device, "null0");
    const std::string kv = "the KV cache alone is too large: ask for a shorter context (-c) or fewer sequences";
    EXPECT_NE(refusal(memory[0].kv_bytes - 1).find(kv), std::string::npos) << tn_error_last()->message;
    EXPECT_EQ(refusal(memory[0].kv_bytes).find(kv), std::string::npos) << tn_error_last()->message;
    state.memory_bytes = memory[0].needed_bytes;
    EXPECT_EQ(start(units), TN_OK) << tn_error_last()->message;
    tn_plan_run_destroy(run);
    run = nullptr;
    state.memory_bytes = 0; // unknown
    EXPECT_EQ(start(units), TN_OK) << tn_error_last()->message;
    tn_plan_run_destroy(run);
    run = nullptr;

    limits.n_kv_pages = 0; // then what is too large is something else
    state.memory_bytes = 1 << 30;
    const uint64_t weights = memory[0].weights_bytes, scratch = memory[0].scratch_bytes;
    EXPECT_NE(refusal(weights - 1).find("the weights alone are too large: put fewer layers on it (-ngl)"), std::string::npos)
        << tn_error_last()->message;
    EXPECT_NE(refusal(weights + scratch - 1).find("or make smaller steps (-ub)"), std::string::npos) << tn_error_last()->message;
}

// What is free of a host's memory is a guess, and its devices share it.
TEST_F(PlanRun, DevicesThatTakeTheHostsMemoryAreRefusedTogetherWhereItIsClearlyTooLittle)
{
    const std::vector<uint32_t> units = {0, 0, 1, 1, 0, 0};
    limits.n_kv_pages = 1000;
    for (tn_device *device : devices) device->takes_host_memory = true;
    const std::vector<tn_plan_memory> memory = memory_of(units);
    const uint64_t needed = memory[0].needed_bytes + memory[1].needed_bytes, least = (needed * 4 + 4) / 5;
    state.memory_bytes = least;
    EXPECT_EQ(start(units), TN_OK) << tn_error_last()->message;
    tn_plan_run_destroy(run);
    run = nullptr;
    state.memory_bytes = least - 1;
    tn_null_clear(&state);
    ASSERT_GT(state.memory_bytes, memory[0].needed_bytes);
    EXPECT_EQ(start(units), TN_OUT_OF_MEMORY);
    EXPECT_FALSE(took_memory()) << tn_null_text(&state);
    EXPECT_EQ(std::string(tn_error_last()->message).find("null0 and null1: 12 MiB of memory are needed (weights 1, KV cache 12, "), 0u)
        << tn_error_last()->message;
}

TEST_F(PlanRun, SizesThatOverflowAreRefused)
{
    limits.n_kv_pages = UINT32_MAX;
    graph->n_kv_heads = graph->head_dim = 1 << 16;
    EXPECT_EQ(start({0, 0, 0, 0, 0, 0}), TN_INVALID_ARGUMENT);
    EXPECT_STREQ(tn_error_last()->message, "the KV cache is larger than any memory: ask for a shorter context or fewer sequences");
}

TEST_F(PlanRun, StepsThatMayShrinkAreWhatEveryDeviceTakes)
{
    may_shrink = true;
    for (const auto &[n_tokens_max, n_tokens] :
         {std::pair(0u, 512u), {512u, 512u}, {511u, 448u}, {64u, 64u}, {63u, 56u}, {8u, 8u}, {7u, 7u}, {1u, 1u}}) {
        SCOPED_TRACE(n_tokens_max);
        limits = {512, 100, 1, 4, 4};
        state.n_tokens_max = n_tokens_max;
        tn_null_clear(&state);
        ASSERT_EQ(start({0, 0, 1, 1, 0, 0}), TN_OK) << tn_error_last()->message;
        const tn_step_limits got = tn_plan_run_limits(run);
        EXPECT_EQ(got.n_tokens, n_tokens);
        EXPECT_EQ(got.n_logits, std::min(n_tokens, 100u));
        EXPECT_EQ(got.n_kv_pages, 4u);
        const std::string text = tn_null_text(&state), made = " tokens " + std::to_string(n_tokens) + " logits ";
        size_t n_programs = 0;
        for (size_t at = text.find(" create nodes "); at != std::string::npos; at = text.find(" create nodes ", at + 1)) {
            n_programs++;
            EXPECT_LT(text.find(made, at), text.find('\n', at)) << text;
        }
        EXPECT_EQ(n_programs, 3u) << text;
        tn_plan_run_destroy(run);
        run = nullptr;
    }
}

TEST_F(PlanRun, AStepAllocatesNothing)
{
    ASSERT_EQ(start({0, 0, 1, 1, 1, 1}), TN_OK);
    tn_null_clear(&state);
    std::vector<float> logits;
    std::vector<uint32_t> poison;
    ASSERT_EQ(step(&logits, &poison), TN_OK);
    const std::string text = tn_null_text(&state);
    EXPECT_EQ(text.find("create"), std::string::npos) << text;
    EXPECT_LT(text.find(" submit "), text.find(" read ")) << text;
    EXPECT_LT(text.find(" read "), text.find(" write ")) << text;
}

TEST_F(PlanRun, EveryFailingCallIsReportedAndNothingLeaks)
{
    std::vector<float> logits;
    std::vector<uint32_t> poison;
    for (int call = TN_NULL_ANY; call < TN_NULL_CALL_COUNT_; call++) {
        if (call == TN_NULL_DEVICE_OPEN || call == TN_NULL_MEASURE || call == TN_NULL_BUFFER_MAP) continue; // no part of this plan
        SCOPED_TRACE("call kind " + std::to_string(call));
        bool failed_once = false;
        for (uint32_t nth = 1; nth < 200; nth++) {
            tn_null_clear(&state);
            state.fail_call = static_cast<tn_null_call>(call);
            state.fail_nth = nth;
            state.fail_status = TN_DEVICE_LOST;
            tn_status status = start({0, 0, 1, 1, 0, 0});
            if (status == TN_OK) status = step(&logits, &poison);
            state.fail_nth = 0;
            tn_plan_run_destroy(run);
            run = nullptr;
            if (status == TN_OK) break; // fewer calls than that
            EXPECT_EQ(status, TN_DEVICE_LOST);
            failed_once = true;
        }
        EXPECT_TRUE(failed_once);
        EXPECT_EQ(tn_null_n_alive(&state), 2u); // the devices
    }
}

TEST_F(PlanRun, AnUnsupportedOpStopsItBeforeAnythingIsPacked)
{
    state.op_status = TN_UNSUPPORTED;
    tn_null_clear(&state);
    EXPECT_EQ(start({0, 0, 0, 0, 0, 0}), TN_UNSUPPORTED);
    EXPECT_EQ(std::string(tn_null_text(&state)).find(" pack "), std::string::npos);
}

TEST_F(PlanRun, PoisonIsReportedForItsToken)
{
    state.has_poison_token = true;
    state.poison_token = 6;
    state.poison_node = 2;
    ASSERT_EQ(start({0, 0, 1, 1, 1, 1}), TN_OK);
    std::vector<float> logits;
    std::vector<uint32_t> poison;
    ASSERT_EQ(step(&logits, &poison), TN_OK);
    EXPECT_EQ(poison[0], 0u);
    EXPECT_EQ(poison[1], 3u);
    EXPECT_EQ(poison[2], 0u);
}

TEST_F(PlanRun, CancellingThePackingStopsIt)
{
    ASSERT_EQ(tn_plan_create(graph, std::vector<uint32_t>(6, 0).data(), &plan), TN_OK);
    const tn_progress progress = {[](void *, const char *, uint64_t, uint64_t) { return false; }, nullptr};
    tn_plan_run_params params = {};
    params.graph = graph;
    params.plan = plan;
    params.devices = devices;
    params.n_devices = 2;
    params.limits = {4, 2, 1, 2, 2};
    params.n_slots = 1;
    params.progress = &progress;
    EXPECT_EQ(tn_plan_run_create(&params, &run), TN_CANCELLED);
    EXPECT_EQ(run, nullptr);
}

// Packed weights in a file are found in any form that the device may choose, though it would choose another one today.
TEST_F(PlanRun, KeptWeightsAreFoundInEachFormThatTheDeviceKnows)
{
    const TempFolder folder;
    tn_plan_cache kept = {};
    tn_log log = tn_null_log(&state);
    kept.folder = folder.path().c_str();
    kept.bytes_min = 1;
    kept.model_path = "model.gguf";
    kept.is_settled = true;
    kept.log = &log;
    cache = &kept;
    // What a start with so many forms makes of the file, and in which calls.
    const auto begin = [&](uint32_t n_packings) {
        state.n_packings = n_packings;
        kept.use = TN_PACK_CACHE_NONE;
        tn_null_clear(&state);
        EXPECT_EQ(start({0, 0, 0, 0, 0, 0}), TN_OK) << tn_error_last()->message;
        tn_plan_run_destroy(run);
        run = nullptr;
        return std::string(tn_null_text(&state));
    };
    EXPECT_NE(begin(1).find("pack token_embd"), std::string::npos);
    EXPECT_EQ(kept.use, TN_PACK_CACHE_WRITTEN);
    for (const uint32_t n_packings : {1u, 2u, 3u}) { // its own choice is the last one
        const std::string text = begin(n_packings);
        EXPECT_EQ(kept.use, TN_PACK_CACHE_MAPPED) << text;
        EXPECT_EQ(text.find("pack token_embd"), std::string::npos) << text;
        EXPECT_NE(text.find("pack output_norm"), std::string::npos) << "gains are always made anew: " << text;
        EXPECT_EQ(state.packing, 1u);
    }
    ASSERT_EQ(folder.names().size(), 1u);
    const std::string name = folder.names()[0];
    // Without the file the device chooses; a damaged one goes, whatever form it had, and is not warned of again.
    std::string bytes = folder.read(name);
    bytes.back() = static_cast<char>(bytes.back() ^ 1);
    folder.write(name, bytes);
    std::string text = begin(2);
    EXPECT_EQ(kept.use, TN_PACK_CACHE_WRITTEN) << text;
    EXPECT_NE(text.find("damaged"), std::string::npos) << text;
    EXPECT_EQ(state.packing, 0u);
    ASSERT_EQ(folder.names().size(), 1u);
    EXPECT_NE(folder.names()[0], name) << "another form, another file";
    text = begin(2);
    EXPECT_EQ(kept.use, TN_PACK_CACHE_MAPPED) << text;
    EXPECT_EQ(text.find("damaged"), std::string::npos) << text;
    EXPECT_EQ(state.packing, 2u);
}

// A device may allow no buffer that holds all weights: then there are several, each with a file of its own.
TEST_F(PlanRun, WeightsLieInAsManyBuffersAsTheDeviceNeeds)
{
    const TempFolder folder;
    tn_plan_cache kept = {};
    tn_log log = tn_null_log(&state);
    kept.folder = folder.path().c_str();
    kept.bytes_min = 1;
    kept.model_path = "model.gguf";
    kept.is_settled = true;
    kept.log = &log;
    cache = &kept;
    const tn_weight_source output = small_weight("output", small_vocab, small_width);
    uint32_t weight;
    ASSERT_EQ(tn_graph_add_weight(graph, &output, &weight), TN_OK);
    graph->nodes[graph->n_nodes - 1].weight = weight;
    const auto begin = [&](uint64_t buffer_bytes_max) {
        devices[0]->buffer_bytes_max = buffer_bytes_max;
        tn_null_clear(&state);
        EXPECT_EQ(start({0, 0, 0, 0, 0, 0}), TN_OK) << tn_error_last()->message;
        const uint64_t weights_bytes = tn_plan_run_get_memory(run).weights_bytes;
        tn_plan_run_destroy(run);
        run = nullptr;
        EXPECT_EQ(weights_bytes, 3u * 64);
        return std::string(tn_null_text(&state));
    };
    std::string text = begin(64); // what one weight of this backend takes
    EXPECT_EQ(folder.names().size(), 2u) << text;
    text = begin(64);
    EXPECT_EQ(text.find("pack token_embd"), std::string::npos) << text;
    EXPECT_EQ(text.find("pack output "), std::string::npos) << text;
    // One file of two is gone: the other is still used.
    ASSERT_EQ(unlink((folder.path() + "/" + folder.names()[0]).c_str()), 0);
    text = begin(64);
    EXPECT_NE(text.find("pack token_embd") == std::string::npos, text.find("pack output ") == std::string::npos) << text;
    EXPECT_EQ(folder.names().size(), 2u) << text;
    // Without a limit both lie in one, which is another file.
    text = begin(0);
    EXPECT_EQ(folder.names().size(), 3u) << text;
    EXPECT_NE(text.find("pack token_embd"), std::string::npos) << text;
}
