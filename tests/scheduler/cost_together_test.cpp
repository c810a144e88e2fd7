// Factors of devices that share memory, of made-up times.
#include "cost_rig.hpp"

#include <gtest/gtest.h>

namespace
{

using tn_test::head;
using tn_test::layer;
using tn_test::made_up;

// A submit of `n_layers` layers, far from the cache, on `device`.
tn_cost_sample far_sample(const tn_cost_table &device, uint32_t n_layers, uint32_t k)
{
    const tn_cost_step step = {tn_cost_step_sizes[k], 0, 1, 64};
    const tn_cost_work work = layer(2560, 6912, UINT64_C(1) << 40);
    tn_cost_sample sample = {};
    sample.amounts[TN_COST_SUBMIT] = 1;
    for (uint32_t i = 0; i < n_layers; i++) tn_cost_add_amounts(&work, &step, device.cache_bytes, sample.amounts);
    sample.step = k;
    for (uint32_t p = 0; p < TN_COST_PARTS; p++) sample.ns += device.ns[p][k] * sample.amounts[p];
    return sample;
}

// A device whose far weights take twice their time for one token and 1.25 times for four, while others read; the rest takes what it did.
TEST(CostTogether, FactorsOfFarWeightsAreFoundAgain)
{
    tn_cost_table table = made_up();
    const double factors[] = {2.0, 1.25};
    tn_cost_together measured = {};
    for (uint32_t k = 0; k < 2; k++) {
        tn_cost_table busy = table;
        busy.ns[TN_COST_TERNARY_FAR][k] *= factors[k];
        measured.alone[TN_COST_READER_TERNARY][k] = far_sample(table, 4, k);
        measured.together_ns[TN_COST_READER_TERNARY][k] = far_sample(busy, 4, k).ns;
    }
    // What runs on the machine meanwhile makes both slower.
    measured.alone[TN_COST_READER_TERNARY][0].ns *= 1.3;
    measured.together_ns[TN_COST_READER_TERNARY][0] *= 1.3;
    tn_cost_set_together(&table, &measured, 2);
    EXPECT_EQ(table.n_together, 2u);
    for (uint32_t k = 0; k < 2; k++) EXPECT_NEAR(table.together[TN_COST_READER_TERNARY][k], factors[k], 1e-6) << k;
    // 16 tokens were not measured: they read what four do, which takes less than they compute.
    EXPECT_EQ(table.together[TN_COST_READER_TERNARY][2], 1.0);
    for (uint32_t k = 0; k < TN_COST_STEPS; k++) EXPECT_EQ(table.together[TN_COST_READER_HEADS_FIRST + TN_COST_HEAD_Q6_K][k], 1.0) << k;
}

TEST(CostTogether, LargerStepsReadWhatTheSmallerOnesDo)
{
    tn_cost_table table = made_up();
    tn_cost_together measured = {};
    const uint32_t reader = TN_COST_READER_HEADS_FIRST + TN_COST_HEAD_Q6_K, part = TN_COST_HEADS_FIRST + 3 * TN_COST_HEAD_Q6_K + 2;
    measured.alone[reader][0].amounts[part] = 1e6;
    measured.alone[reader][0].ns = 1e6;
    measured.together_ns[reader][0] = 3e6;
    tn_cost_set_together(&table, &measured, 4);
    EXPECT_NEAR(table.together[reader][0], 3.0, 1e-9);
    EXPECT_NEAR(table.together[reader][1] * table.ns[part][1], 3.0 * table.ns[part][0], 1e-9);
    EXPECT_EQ(table.together[reader][4], 1.0);
    // What else the machine does is not put down to the others.
    measured.alone[reader][1].amounts[part] = 1e6;
    measured.alone[reader][1].ns = 2e6;
    measured.alone[reader][1].step = 1;
    measured.together_ns[reader][1] = 20e6;
    tn_cost_set_together(&table, &measured, 4);
    EXPECT_NEAR(table.together[reader][1] * table.ns[part][1], table.ns[part][1] + 2.0 * table.ns[part][0], 1e-9);
    measured.together_ns[reader][0] = 0.5e6; // noise: nobody is faster for it
    tn_cost_set_together(&table, &measured, 4);
    EXPECT_EQ(table.together[reader][0], 1.0);
    measured.together_ns[reader][0] = 1e300;
    tn_cost_set_together(&table, &measured, 4);
    EXPECT_EQ(table.together[reader][0], 64.0);
}

TEST(CostTogether, SharedTimesAreOfFarWeightsAlone)
{
    tn_cost_table table = made_up();
    for (double &factor : table.together[TN_COST_READER_TERNARY]) factor = 1.5;
    for (double &factor : table.together[TN_COST_READER_HEADS_FIRST + TN_COST_HEAD_Q8_0]) factor = 3.0;
    const tn_cost_table shared = tn_cost_shared(&table);
    const tn_cost_step step = {4, 4, 4, 100};
    const tn_cost_work near = layer(2560, 6912, 1u << 20), q8 = head(2560, 100000, TN_DTYPE_Q8_0, UINT64_C(1) << 60),
                       q6 = head(2560, 100000, TN_DTYPE_Q6_K, UINT64_C(1) << 60);
    tn_cost_work far = near;
    far.resident_bytes = UINT64_C(1) << 60;
    EXPECT_EQ(tn_cost_unit_ns(&shared, &near, &step), tn_cost_unit_ns(&table, &near, &step));
    EXPECT_NEAR(tn_cost_unit_ns(&shared, &far, &step) - tn_cost_unit_ns(&table, &far, &step),
                0.5 * table.ns[TN_COST_TERNARY_FAR][1] * static_cast<double>(far.n_ternary), 1e-3);
    EXPECT_NEAR(tn_cost_unit_ns(&shared, &q8, &step) / tn_cost_unit_ns(&table, &q8, &step), 3.0, 1e-3);
    EXPECT_EQ(tn_cost_unit_ns(&shared, &q6, &step), tn_cost_unit_ns(&table, &q6, &step));
    EXPECT_EQ(tn_cost_submit_ns(&shared, &step), tn_cost_submit_ns(&table, &step));
}

} // namespace
