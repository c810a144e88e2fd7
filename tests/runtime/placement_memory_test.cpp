// What a placement on the CPU needs is known without packing, and is what a session then takes.
#include "format/temp_folder.h"
#include "support/placement_memory.hpp"

using namespace tn_test;

namespace
{

using Names = std::vector<std::string>;

class PlacementMemory : public ::testing::Test
{
  protected:
    void place(const char *devices)
    {
        tn_host_params params = TN_HOST_PARAMS_INIT;
        params.n_cpu_devices = params.n_threads = 2;
        params.cpu_skip = cpu_skip;
        if (!placed.host) placed.open(&params);
        placed.place(devices);
    }
    const char *cpu_skip = nullptr;
    Placed placed;
};

} // namespace

TEST_F(PlacementMemory, IsWhatASessionTakes)
{
    tn_session_params usual = TN_SESSION_PARAMS_INIT, many = usual, few = usual, other = usual, traced = usual;
    many.n_ctx = 300, many.n_seqs_max = 5, many.n_logits_max = 7;
    few.n_ctx = 64, few.n_ubatch = 1, few.kv_bytes = 1 << 20;
    other.head = "q8_0", other.n_ubatch = 9;
    traced.n_ctx = 32, traced.trace.row = [](void *, uint32_t, uint32_t, const char *, const float *, size_t) {};
    for (const tn_session_params &params : {usual, many, few, other, traced}) {
        place("cpu0");
        EXPECT_EQ(placed.expect(params), Names({"cpu0"}));
        place("cpu0,cpu1");
        EXPECT_EQ(placed.expect(params), Names({"cpu0", "cpu1"}));
    }
    place("cpu1");
    const told_memory told = placed.memory(usual);
    EXPECT_EQ(told.devices.at(0).device_total_bytes, [&] {
        tn_device_info info; // a share of the host
        EXPECT_EQ(tn_host_device_info(placed.host, 1, &info), TN_OK);
        return 2 * info.memory_bytes;
    }());
    EXPECT_GT(told.devices[0].device_free_bytes, 0u);
}

TEST_F(PlacementMemory, CountsTheCopiesThatSkippingDemands)
{
    place("cpu0");
    const uint64_t without = sum_of(placed.memory().devices).scratch_bytes;
    placed.close();
    cpu_skip = "on";
    place("cpu0");
    EXPECT_EQ(placed.expect(TN_SESSION_PARAMS_INIT), Names({"cpu0"}));
    EXPECT_GT(sum_of(placed.memory().devices).scratch_bytes, without);
}

TEST_F(PlacementMemory, MappedFilesNeedNone)
{
    const TempFolder folder;
    const std::string path = folder.path();
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    params.pack_cache = path.c_str();
    params.pack_cache_bytes_min = 1;
    place("cpu0");
    EXPECT_EQ(sum_of(placed.memory(params).devices).mapped_bytes, 0u);
    EXPECT_EQ(folder.names(), Names()) << "asking keeps nothing";
    EXPECT_EQ(placed.expect(params), Names({"cpu0"})); // writes them
    const tn_device_memory kept = sum_of(placed.memory(params).devices);
    EXPECT_GT(kept.mapped_bytes, 0u);
    EXPECT_LT(kept.mapped_bytes, kept.weights_bytes);
    EXPECT_EQ(placed.expect(params), Names({"cpu0"}));
}

TEST_F(PlacementMemory, RefusesWhatASessionRefuses)
{
    place("cpu0");
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    params.n_ctx = 513;
    EXPECT_EQ(placed.memory(params).status, TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_placement_memory(
                  nullptr, &params, [](void *, const tn_device_memory *) {}, nullptr),
              TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_placement_memory(placed.placement, &params, nullptr, nullptr), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_placement_memory(
                  placed.placement, nullptr, [](void *, const tn_device_memory *) {}, nullptr),
              TN_OK);
}
