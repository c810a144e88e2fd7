// CPU devices of a host that are measured at once, with small models.
#include "calibrate_rig.hpp"
#include "support/fail_alloc.hpp"

#include <cstring>

extern "C" {
#include "runtime/calibrate_together.h"
}

namespace
{

using tn_test::Folder;
using tn_test::Host;
using tn_test::key_in;
using tn_test::quick;
using tn_test::small_params;

// What comes of it is the machine's affair.
TEST(CalibrateTogether, EveryReaderOfEveryDeviceIsTimedAloneAndBesideTheOthers)
{
    Host host(nullptr, 3, 3);
    tn_device *const devices[] = {host.device(0), host.device(1), host.device(2)};
    tn_calibration_params params = small_params();
    tn_cost_together measured[3];
    ASSERT_EQ(tn_calibrate_together(devices, 3, &params, measured), TN_OK) << tn_error_last()->message;
    for (const tn_cost_together &m : measured) {
        for (uint32_t reader = 0; reader < TN_COST_READERS; reader++) {
            EXPECT_GT(m.alone[reader][0].ns, 0.0) << reader;
            EXPECT_GT(m.together_ns[reader][0], 0.0) << reader;
            EXPECT_EQ(m.alone[reader][0].amounts[TN_COST_SUBMIT], 1.0) << reader;
            EXPECT_EQ(m.alone[reader][TN_COST_STEPS - 1].ns, 0.0) << reader; // never measured
            const uint32_t part = reader == TN_COST_READER_TERNARY ? static_cast<uint32_t>(TN_COST_LAYER)
                                                                   : TN_COST_HEADS_FIRST + 3 * (reader - TN_COST_READER_HEADS_FIRST);
            EXPECT_GT(m.alone[reader][0].amounts[part], 0.0) << reader;
        }
    }
    uint32_t n_left = 3;
    tn_progress progress = {};
    progress.update = [](void *user, const char *stage, uint64_t done, uint64_t total) {
        EXPECT_STREQ(stage, "measuring together");
        EXPECT_LE(done, total);
        return --*static_cast<uint32_t *>(user) > 0;
    };
    progress.user = &n_left;
    params.progress = &progress;
    EXPECT_EQ(tn_calibrate_together(devices, 3, &params, measured), TN_CANCELLED);
    EXPECT_EQ(n_left, 0u);
}

TEST(CalibrateTogether, RunsOutOfMemoryCleanly)
{
    Host host(nullptr, 2, 2);
    tn_device *const devices[] = {host.device(0), host.device(1)};
    tn_calibration_params params = small_params();
    params.time_ns = 1; // each step once a turn
    tn_cost_together measured[2];
    long n_all = 0;
    {
        const tn_test::FailAlloc counting(0);
        ASSERT_EQ(tn_calibrate_together(devices, 2, &params, measured), TN_OK) << tn_error_last()->message;
        n_all = counting.seen();
    }
    for (long nth = 1; nth <= n_all; nth += 1 + n_all / 24) {
        const tn_test::FailAlloc fail(nth);
        const tn_status status = tn_calibrate_together(devices, 2, &params, measured);
        EXPECT_EQ(status, fail.failed() ? TN_OUT_OF_MEMORY : TN_OK) << nth; // how many sizes are worth it differs
    }
    EXPECT_EQ(tn_calibrate_together(devices, 2, &params, measured), TN_OK) << tn_error_last()->message;
}

TEST(HostCosts, CpuDevicesAreMeasuredTogetherOnceForAllOfThem)
{
    Folder folder;
    tn_cost_table first, second;
    int n_begun = 0; // times that all were measured
    tn_progress progress = {};
    progress.update = [](void *user, const char *stage, uint64_t done, uint64_t total) {
        *static_cast<int *>(user) += strcmp(stage, "measuring together") == 0 && done == total;
        return true;
    };
    progress.user = &n_begun;
    tn_host_costs_params params = quick();
    params.progress = &progress;
    {
        Host host(folder.path.c_str(), 2, 2);
        ASSERT_EQ(tn_host_costs(host.host, 0, &params, &first, nullptr), TN_OK) << tn_error_last()->message;
        EXPECT_EQ(n_begun, 1);
        ASSERT_EQ(tn_host_costs(host.host, 1, &params, &second, nullptr), TN_OK) << tn_error_last()->message;
        EXPECT_EQ(n_begun, 1);
        for (const tn_cost_table *table : {&first, &second}) {
            EXPECT_EQ(table->n_together, 2u);
            for (const auto &factors : table->together) {
                for (const double factor : factors) {
                    EXPECT_GE(factor, 1.0);
                    EXPECT_LE(factor, 64.0);
                }
            }
        }
        params.anew = true;
        ASSERT_EQ(tn_host_costs(host.host, 1, &params, &second, nullptr), TN_OK) << tn_error_last()->message;
        EXPECT_EQ(n_begun, 2) << "what was measured before is of another time";
    }
    EXPECT_EQ(folder.files().size(), 2u);
    params.anew = false;
    params.known_only = true;
    {
        Host host(folder.path.c_str(), 2, 2);
        tn_cost_table kept;
        ASSERT_EQ(tn_host_costs(host.host, 1, &params, &kept, nullptr), TN_OK) << tn_error_last()->message;
        EXPECT_EQ(memcmp(&kept, &second, sizeof kept), 0);
    }
    Host alone(nullptr, 1, 1);
    params.known_only = false;
    ASSERT_EQ(tn_host_costs(alone.host, 0, &params, &first, nullptr), TN_OK) << tn_error_last()->message;
    EXPECT_EQ(first.n_together, 0u);
    EXPECT_EQ(n_begun, 2);
}

// A device of one thread beside another is not the device of one thread that has the machine to itself.
TEST(HostCosts, AreOfSoManyCpuDevices)
{
    Folder folder;
    tn_cost_table table;
    tn_host_costs_params params = quick();
    {
        Host host(folder.path.c_str(), 1, 1);
        ASSERT_EQ(tn_host_costs(host.host, 0, &params, &table, nullptr), TN_OK) << tn_error_last()->message;
    }
    Host host(folder.path.c_str(), 2, 2);
    params.known_only = true;
    EXPECT_EQ(tn_host_costs(host.host, 0, &params, &table, nullptr), TN_NOT_FOUND);
}

TEST(HostCosts, TheSummaryHasWhatSharingCosts)
{
    Folder folder;
    tn_cost_table table;
    const tn_host_costs_params params = quick();
    {
        Host host(folder.path.c_str(), 2, 2);
        ASSERT_EQ(tn_host_costs(host.host, 0, &params, &table, nullptr), TN_OK) << tn_error_last()->message;
    }
    tn_cost_table_init(&table);
    for (auto &ns : table.ns[TN_COST_TERNARY_FAR]) ns = 0.01; // known times in place of the machine's
    table.together[TN_COST_READER_TERNARY][0] = 1.75;
    table.n_together = 2;
    ASSERT_EQ(tn_cost_file_write(folder.path.c_str(), key_in(folder).c_str(), &table), TN_OK) << tn_error_last()->message;
    Host host(folder.path.c_str(), 2, 2);
    tn_device_calibration c = TN_DEVICE_CALIBRATION_INIT;
    ASSERT_EQ(tn_host_calibrate(host.host, 0, nullptr, &c), TN_OK) << tn_error_last()->message;
    EXPECT_TRUE(c.was_known);
    EXPECT_EQ(c.n_together, 2u);
    EXPECT_NEAR(c.together[0], 1.75, 1e-9);                // all of the model's time is far weights
    EXPECT_EQ(c.together[TN_CALIBRATION_STEPS - 1], 1.75); // a larger step takes no less
}

} // namespace
