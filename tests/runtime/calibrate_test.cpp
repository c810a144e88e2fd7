// Measuring devices, and what is kept of it: on the CPU, with small models.
#include "calibrate_rig.hpp"
#include "support/fail_alloc.hpp"

#include <cstring>
#include <fstream>
#include <gtest/gtest.h>
#include <string>
#include <sys/stat.h>
#include <vector>

extern "C" {
#include "runtime/calibrate_net.h"
#include "runtime/calibrate_program.h"
}

namespace
{

using tn_test::Folder;
using tn_test::Host;
using tn_test::key_in;
using tn_test::quick;
using tn_test::read_file;
using tn_test::small_params;

TEST(Calibrate, EveryPartOfASmallDeviceIsMeasured)
{
    Host host(nullptr);
    const tn_calibration_params params = small_params();
    tn_cost_table table;
    bool late = true;
    ASSERT_EQ(tn_calibrate(host.device(), &params, &table, &late), TN_OK) << tn_error_last()->message;
    EXPECT_EQ(table.cache_bytes, params.cache_bytes);
    EXPECT_GT(table.to_device.bytes_per_s, 0.0);
    EXPECT_GT(table.to_host.bytes_per_s, 0.0);
    tn_cost_work layer = {}, head = {};
    layer.unit = TN_COST_UNIT_LAYER;
    layer.n_ternary = 500000;
    layer.n_values = 2000;
    layer.n_attention = 256;
    head.unit = TN_COST_UNIT_HEAD;
    head.n_dense = 500000;
    // What is small may be lost in what else the machine does meanwhile, the largest steps are not.
    const tn_cost_step near = {256, 256, 256, 10}, far = {256, 256, 256, 2000};
    EXPECT_GT(tn_cost_unit_ns(&table, &layer, &near), 0.0);
    EXPECT_GE(tn_cost_unit_ns(&table, &layer, &far), tn_cost_unit_ns(&table, &layer, &near));
    for (tn_dtype dtype : {TN_DTYPE_Q8_0, TN_DTYPE_Q6_K, TN_DTYPE_Q5_K, TN_DTYPE_BF16}) {
        head.head_type = dtype;
        EXPECT_GT(tn_cost_unit_ns(&table, &head, &near), 0.0) << dtype;
    }
    const tn_cost_step one = {1, 1, 1, 10};
    EXPECT_GT(tn_cost_submit_ns(&table, &one) + tn_cost_unit_ns(&table, &layer, &one), 1000.0); // nothing is that fast
}

// Steps of one token alone are measured then, and larger ones follow in proportion: nothing is free, and nothing is checked.
TEST(Calibrate, LateFiguresAreLeftOut)
{
    Host host(nullptr);
    tn_calibration_params params = small_params();
    params.time_ns = 1;
    tn_cost_table table;
    bool late = false;
    ASSERT_EQ(tn_calibrate(host.device(), &params, &table, &late), TN_OK) << tn_error_last()->message;
    EXPECT_TRUE(late);
    double ns[TN_COST_STEPS] = {};
    for (uint32_t size = 0; size < TN_COST_STEPS; size++) {
        for (uint32_t part = 0; part < TN_COST_EMBED; part++) ns[size] += table.ns[part][size];
        for (uint32_t group = 0; group < TN_COST_GROUPS; group++) EXPECT_EQ(table.error[group][size], -1.0) << group;
    }
    EXPECT_GT(ns[0], 0.0);
    EXPECT_GE(ns[TN_COST_STEPS - 1], ns[0]);
    EXPECT_GT(table.to_host.bytes_per_s, 0.0);
}

TEST(Calibrate, StopsWhereItIsToldTo)
{
    Host host(nullptr);
    tn_calibration_params params = small_params();
    uint32_t n_left = 7;
    tn_progress progress = {};
    progress.update = [](void *user, const char *stage, uint64_t done, uint64_t total) {
        EXPECT_STREQ(stage, "measuring");
        EXPECT_LE(done, total);
        return --*static_cast<uint32_t *>(user) > 0;
    };
    progress.user = &n_left;
    params.progress = &progress;
    tn_cost_table table;
    bool late = false;
    EXPECT_EQ(tn_calibrate(host.device(), &params, &table, &late), TN_CANCELLED);
    EXPECT_EQ(n_left, 0u);
}

TEST(Calibrate, StepsBeyondTheProgramsBoundsAreRefused)
{
    Host host(nullptr);
    const tn_calibration_shape shape = {1, 64, 192, 2, 1, 32, 64, TN_DTYPE_F16};
    tn_calibration_net *net = nullptr;
    tn_calibration_weights weights = {};
    tn_calibration_program *program = nullptr;
    ASSERT_EQ(tn_calibration_net_create(&shape, &net), TN_OK) << tn_error_last()->message;
    ASSERT_EQ(tn_calibration_weights_init(&weights, host.device(), tn_calibration_net_graph(net), 0, 3), TN_OK) << tn_error_last()->message;
    ASSERT_EQ(tn_calibration_program_create(&weights, 3, 8, 4, &program), TN_OK) << tn_error_last()->message;
    tn_cost_sample sample;
    uint64_t spent_ns = 0;
    const tn_cost_step good = {8, 8, 2, 300}, more_tokens = {9, 0, 1, 1}, more_seqs = {8, 0, 8, 1}, uneven = {8, 0, 3, 1},
                       later = {8, 0, 1, 4000};
    ASSERT_EQ(tn_calibration_program_time(program, &good, 1, 0, 1000, &spent_ns, &sample), TN_OK) << tn_error_last()->message;
    EXPECT_GT(sample.ns, 0.0);
    EXPECT_GE(static_cast<double>(spent_ns), sample.ns);
    EXPECT_EQ(sample.amounts[TN_COST_SUBMIT], 1.0);
    EXPECT_EQ(sample.amounts[TN_COST_EMBED], 1.0);
    EXPECT_EQ(sample.amounts[TN_COST_TERNARY_FAR], 64.0 * (64 + 32 + 32 + 64 + 3 * 192));
    EXPECT_EQ(sample.amounts[TN_COST_HEADS_FIRST + 3 * TN_COST_HEAD_FLOAT + 2], 64.0 * 64);
    EXPECT_NEAR(sample.amounts[TN_COST_ATTENTION_MANY] + sample.amounts[TN_COST_ATTENTION_ONE], 64.0 * 364, 1e-6);
    for (const tn_cost_step &step : {more_tokens, more_seqs, uneven, later})
        EXPECT_EQ(tn_calibration_program_time(program, &step, 1, 0, 1000, &spent_ns, &sample), TN_INVALID_ARGUMENT);
    tn_calibration_program_destroy(program);
    tn_calibration_weights_deinit(&weights);
    tn_calibration_net_destroy(net);
}

TEST(HostCosts, MeasuredOnceAndKept)
{
    Folder folder;
    tn_cost_table first, second;
    bool known = true;
    tn_host_costs_params params = quick();
    {
        Host host(folder.path.c_str());
        params.known_only = true;
        EXPECT_EQ(tn_host_costs(host.host, 0, &params, &first, &known), TN_NOT_FOUND);
        EXPECT_TRUE(folder.files().empty());
        params.known_only = false;
        ASSERT_EQ(tn_host_costs(host.host, 0, &params, &first, &known), TN_OK) << tn_error_last()->message;
        EXPECT_FALSE(known);
        ASSERT_EQ(tn_host_costs(host.host, 0, &params, &second, &known), TN_OK);
        EXPECT_TRUE(known); // by the host itself
        EXPECT_EQ(memcmp(&first, &second, sizeof first), 0);
    }
    ASSERT_EQ(folder.files().size(), 1u);
    EXPECT_NEAR(static_cast<double>(first.measured_at_s), static_cast<double>(time(nullptr)), 600);
    Host host(folder.path.c_str());
    params.known_only = true;
    ASSERT_EQ(tn_host_costs(host.host, 0, &params, &second, &known), TN_OK) << tn_error_last()->message;
    EXPECT_TRUE(known);
    EXPECT_EQ(memcmp(&first, &second, sizeof first), 0);
    Host other(folder.path.c_str(), 1); // fewer threads: another machine
    EXPECT_EQ(tn_host_costs(other.host, 0, &params, &second, &known), TN_NOT_FOUND);
}

TEST(HostCosts, DamagedFilesAreMeasuredAgain)
{
    Folder folder;
    tn_cost_table table;
    tn_host_costs_params params = quick();
    {
        Host host(folder.path.c_str());
        ASSERT_EQ(tn_host_costs(host.host, 0, &params, &table, nullptr), TN_OK) << tn_error_last()->message;
    }
    ASSERT_EQ(folder.files().size(), 1u);
    const std::string path = folder.path + "/" + folder.files()[0], good = read_file(path);
    const std::vector<std::string> bad = {"", good.substr(0, good.size() / 2), good + "x", std::string(100000, 'a')};
    for (const std::string &text : bad) {
        std::ofstream(path, std::ios::trunc) << text;
        Host host(folder.path.c_str());
        params.known_only = true;
        EXPECT_EQ(tn_host_costs(host.host, 0, &params, &table, nullptr), TN_NOT_FOUND);
        EXPECT_NE(host.log.find("no costs of a device are kept"), std::string::npos) << host.log;
    }
    bool known = true;
    params.known_only = false;
    {
        Host host(folder.path.c_str());
        ASSERT_EQ(tn_host_costs(host.host, 0, &params, &table, &known), TN_OK) << tn_error_last()->message;
    }
    EXPECT_FALSE(known);
    EXPECT_LT(read_file(path).size(), 10000u); // the last bad file was replaced
    chmod(path.c_str(), 0666);                 // others may have written it
    Host host(folder.path.c_str());
    params.known_only = true;
    EXPECT_EQ(tn_host_costs(host.host, 0, &params, &table, nullptr), TN_NOT_FOUND);
    EXPECT_EQ(folder.files().size(), 1u); // nothing temporary is left
}

TEST(HostCosts, FoldersThatCannotBeMadeKeepNothing)
{
    Host host("/proc/ternion/costs");
    tn_cost_table table;
    const tn_host_costs_params params = quick();
    EXPECT_EQ(tn_host_costs(host.host, 0, &params, &table, nullptr), TN_OK) << tn_error_last()->message;
    EXPECT_NE(host.log.find("what was measured of cpu0 is not kept, so that the next start measures again: "), std::string::npos)
        << host.log;
}

TEST(HostCosts, RealRunsCorrectWhatIsKept)
{
    Folder folder;
    tn_cost_table table, again;
    tn_host_costs_params params = quick();
    tn_cost_work layer = {};
    layer.unit = TN_COST_UNIT_LAYER;
    layer.n_ternary = 1000000;
    const tn_cost_step step = {1, 1, 1, 10};
    {
        Host host(folder.path.c_str());
        tn_host_costs_observe(host.host, 0, &layer, 1, &step, 1e9); // of a device of which nothing is known: nothing to correct
        ASSERT_EQ(tn_host_costs(host.host, 0, &params, &table, nullptr), TN_OK) << tn_error_last()->message;
    }
    tn_cost_table_init(&table);
    for (double &ns : table.ns[TN_COST_TERNARY_FAR]) ns = 0.01; // known times in place of the machine's
    ASSERT_EQ(tn_cost_file_write(folder.path.c_str(), key_in(folder).c_str(), &table), TN_OK) << tn_error_last()->message;
    ASSERT_EQ(folder.files().size(), 1u);
    params.known_only = true;
    {
        Host host(folder.path.c_str());
        ASSERT_EQ(tn_host_costs(host.host, 0, &params, &table, nullptr), TN_OK) << tn_error_last()->message;
        for (int i = 0; i < 100; i++) tn_host_costs_observe(host.host, 0, &layer, 1, &step, 20000);
        tn_host_costs_observe(host.host, 99, &layer, 1, &step, 20000);
    }
    Host host(folder.path.c_str());
    ASSERT_EQ(tn_host_costs(host.host, 0, &params, &again, nullptr), TN_OK) << tn_error_last()->message;
    EXPECT_EQ(again.n_observed, 100u);
    EXPECT_NEAR(tn_cost_segment_ns(&again, &layer, 1, &step), 20000, 200);
}

TEST(HostCosts, TheSummaryHasEveryFigure)
{
    Host host(nullptr);
    tn_device_calibration_params params = TN_DEVICE_CALIBRATION_PARAMS_INIT;
    params.small = true;
    params.time_ms = 50;
    tn_device_calibration c = TN_DEVICE_CALIBRATION_INIT;
    ASSERT_EQ(tn_host_calibrate(host.host, 0, &params, &c), TN_OK) << tn_error_last()->message;
    EXPECT_FALSE(c.was_known);
    ASSERT_EQ(c.n_steps, 5u);
    EXPECT_EQ(c.step_tokens[4], 256u);
    ASSERT_EQ(c.n_figures, 7u);
    EXPECT_STREQ(c.figures[0].name, "layer");
    EXPECT_STREQ(c.figures[3].name, "head q6_k");
    EXPECT_STREQ(c.figures[6].name, "model");
    for (uint32_t k = 0; k < 5; k++) EXPECT_GE(c.figures[6].step_ns[k], 29.9 * c.figures[0].step_ns[k]) << k;
    ASSERT_EQ(tn_host_calibrate(host.host, 0, &params, &c), TN_OK);
    EXPECT_TRUE(c.was_known);
    EXPECT_EQ(c.n_together, 0u);
    for (const double factor : c.together) EXPECT_EQ(factor, 1.0);
    EXPECT_EQ(tn_host_calibrate(host.host, 99, &params, &c), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_host_calibrate(nullptr, 0, &params, &c), TN_INVALID_ARGUMENT);
}

// Makes what is measured with, and frees it.
tn_status make_program(tn_device *device)
{
    const tn_calibration_shape shape = {2, 64, 192, 2, 1, 32, 64, TN_DTYPE_Q6_K};
    tn_calibration_shape wide = shape;
    wide.n_embd = 256; // a block of Q6_K
    tn_calibration_net *net = nullptr;
    tn_calibration_weights weights = {};
    tn_calibration_program *program = nullptr;
    tn_status status = tn_calibration_net_create(&wide, &net);
    if (status == TN_OK) status = tn_calibration_weights_init(&weights, device, tn_calibration_net_graph(net), 0, 4);
    if (status == TN_OK) status = tn_calibration_program_create(&weights, 2, 8, 4, &program);
    tn_calibration_program_destroy(program);
    tn_calibration_weights_deinit(&weights);
    tn_calibration_net_destroy(net);
    return status;
}

TEST(Calibrate, RunsOutOfMemoryCleanly)
{
    Host host(nullptr);
    tn_device *device = host.device();
    long n_all = 0;
    {
        const tn_test::FailAlloc counting(0);
        ASSERT_EQ(make_program(device), TN_OK) << tn_error_last()->message;
        n_all = counting.seen();
    }
    ASSERT_GT(n_all, 20);
    for (long nth = 1; nth <= n_all; nth++) {
        const tn_test::FailAlloc fail(nth);
        EXPECT_EQ(make_program(device), TN_OUT_OF_MEMORY) << nth;
    }
    EXPECT_EQ(make_program(device), TN_OK) << tn_error_last()->message;
}

TEST(HostCosts, RunOutOfMemoryCleanly)
{
    Folder folder;
    Host host(folder.path.c_str());
    tn_cost_table table;
    tn_host_costs_params params = quick();
    params.anew = true;
    params.time_ns = 1; // each step once
    long n_all = 0;
    {
        const tn_test::FailAlloc counting(0);
        ASSERT_EQ(tn_host_costs(host.host, 0, &params, &table, nullptr), TN_OK) << tn_error_last()->message;
        n_all = counting.seen();
    }
    for (long nth = 1; nth < n_all - 32; nth += n_all / 16) {
        const tn_test::FailAlloc fail(nth, tn_test::FailMode::forever);
        EXPECT_EQ(tn_host_costs(host.host, 0, &params, &table, nullptr), TN_OUT_OF_MEMORY) << nth;
    }
    for (long nth = n_all - 5; nth <= n_all; nth++) { // what keeps the table: it may fail to
        const tn_test::FailAlloc fail(nth);
        const tn_status status = tn_host_costs(host.host, 0, &params, &table, nullptr);
        EXPECT_TRUE(status == TN_OK || status == TN_OUT_OF_MEMORY) << nth;
    }
    EXPECT_EQ(tn_host_costs(host.host, 0, &params, &table, nullptr), TN_OK) << tn_error_last()->message;
    EXPECT_EQ(folder.files().size(), 1u);
}

} // namespace
