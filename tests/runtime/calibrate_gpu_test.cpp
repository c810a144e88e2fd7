// Devices of Vulkan and CUDA are measured like a CPU: on lavapipe and, where TN_STAND_IN names it, on the stand-in for NVIDIA's driver.
#include <cstdlib>
#include <gtest/gtest.h>

extern "C" {
#include "runtime/host.h"
#include "runtime/host_costs.h"
}

namespace
{

// The table of the first device of the name; false where there is none.
bool measure(const char *name, tn_cost_table *table)
{
    tn_host *host = nullptr;
    tn_host_params params = TN_HOST_PARAMS_INIT;
    uint32_t index = 0;
    EXPECT_EQ(tn_host_open(&params, &host), TN_OK) << tn_error_last()->message;
    const bool is_there = tn_host_find_device(host, name, &index) == TN_OK;
    if (is_there) {
        tn_host_costs_params quick = {};
        quick.small = true;
        quick.time_ns = 100000000;
        EXPECT_EQ(tn_host_costs(host, index, &quick, table, nullptr), TN_OK) << tn_error_last()->message;
    }
    tn_host_close(host);
    return is_there;
}

void expect_times(const tn_cost_table &table)
{
    tn_cost_work layer = {}, head = {};
    layer.unit = TN_COST_UNIT_LAYER;
    layer.n_ternary = 10000000;
    layer.n_values = 20000;
    layer.n_attention = 1024;
    head.unit = TN_COST_UNIT_HEAD;
    head.head_type = TN_DTYPE_F16;
    head.n_dense = 10000000;
    const tn_cost_step one = {1, 1, 1, 100}, many = {64, 64, 64, 100};
    const tn_cost_work works[] = {layer, head};
    EXPECT_GT(tn_cost_segment_ns(&table, works, 2, &one), 1000.0);
    EXPECT_GE(tn_cost_segment_ns(&table, works, 2, &many), tn_cost_segment_ns(&table, works, 2, &one));
    EXPECT_GT(table.to_device.bytes_per_s, 0.0);
    EXPECT_GT(table.to_host.bytes_per_s, 0.0);
    EXPECT_EQ(table.cache_bytes, 0u);
}

TEST(Calibrate, VulkanDevicesAreMeasured)
{
    tn_cost_table table;
    if (!measure("vulkan0", &table)) GTEST_SKIP() << "there is no Vulkan device here: ternion devices says why";
    expect_times(table);
}

TEST(Calibrate, CudaDevicesAreMeasured)
{
    tn_cost_table table;
#ifdef TN_STAND_IN
    setenv("TN_CUDA_LIBRARY", TN_STAND_IN, 1);
    ASSERT_TRUE(measure("cuda:host", &table)) << tn_error_last()->message;
#else
    if (!measure("cuda0", &table)) GTEST_SKIP() << "there is no CUDA device here: ternion devices says why";
#endif
    expect_times(table);
}

} // namespace
