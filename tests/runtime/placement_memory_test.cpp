// What a placement on the CPU needs is known without packing, and is what a session then takes.
#include "format/temp_folder.h"
#include "support/placement_memory.hpp"
#include "support/run_model.hpp"

using namespace tn_test;

namespace
{

using Names = std::vector<std::string>;

class PlacementMemory : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        ASSERT_EQ(tn_model_open(default_model().c_str(), nullptr, &model), TN_OK) << tn_error_last()->message;
        host_params.n_cpu_devices = host_params.n_threads = 2;
    }
    void TearDown() override
    {
        tn_placement_destroy(placement);
        tn_host_close(host);
        tn_model_close(model);
    }
    void place(const char *devices)
    {
        if (!host) {
            ASSERT_EQ(tn_host_open(&host_params, &host), TN_OK) << tn_error_last()->message;
        }
        tn_placement_destroy(placement);
        tn_placement_params place = TN_PLACEMENT_PARAMS_INIT;
        place.devices = devices;
        ASSERT_EQ(tn_placement_create(model, host, &place, &placement), TN_OK) << tn_error_last()->message;
    }
    Names expect(const tn_session_params &params) { return expect_what_a_session_takes(model, host, placement, params, 0); }
    tn_host_params host_params = TN_HOST_PARAMS_INIT;
    tn_host *host = nullptr;
    tn_model *model = nullptr;
    tn_placement *placement = nullptr;
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
        EXPECT_EQ(expect(params), Names({"cpu0"}));
        place("cpu0,cpu1");
        EXPECT_EQ(expect(params), Names({"cpu0", "cpu1"}));
    }
    place("cpu1");
    const told_memory told = memory_of(placement, usual);
    EXPECT_EQ(told.devices.at(0).device_total_bytes, [&] {
        tn_device_info info; // a share of the host
        EXPECT_EQ(tn_host_device_info(host, 1, &info), TN_OK);
        return 2 * info.memory_bytes;
    }());
    EXPECT_GT(told.devices[0].device_free_bytes, 0u);
}

TEST_F(PlacementMemory, CountsTheCopiesThatSkippingDemands)
{
    place("cpu0");
    const uint64_t without = sum_of(memory_of(placement, TN_SESSION_PARAMS_INIT).devices).scratch_bytes;
    tn_placement_destroy(placement);
    placement = nullptr;
    tn_host_close(host);
    host = nullptr;
    host_params.cpu_skip = "on";
    place("cpu0");
    EXPECT_EQ(expect(TN_SESSION_PARAMS_INIT), Names({"cpu0"}));
    EXPECT_GT(sum_of(memory_of(placement, TN_SESSION_PARAMS_INIT).devices).scratch_bytes, without);
}

TEST_F(PlacementMemory, MappedFilesNeedNone)
{
    const TempFolder folder;
    const std::string path = folder.path();
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    params.pack_cache = path.c_str();
    params.pack_cache_bytes_min = 1;
    place("cpu0");
    EXPECT_EQ(sum_of(memory_of(placement, params).devices).mapped_bytes, 0u);
    EXPECT_EQ(folder.names(), Names()) << "asking keeps nothing";
    EXPECT_EQ(expect(params), Names({"cpu0"})); // writes them
    const tn_device_memory kept = sum_of(memory_of(placement, params).devices);
    EXPECT_GT(kept.mapped_bytes, 0u);
    EXPECT_LT(kept.mapped_bytes, kept.weights_bytes);
    EXPECT_EQ(expect(params), Names({"cpu0"}));
}

TEST_F(PlacementMemory, RefusesWhatASessionRefuses)
{
    place("cpu0");
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    params.n_ctx = 513;
    EXPECT_EQ(memory_of(placement, params).status, TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_placement_memory(
                  nullptr, &params, [](void *, const tn_device_memory *) {}, nullptr),
              TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_placement_memory(placement, &params, nullptr, nullptr), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_placement_memory(
                  placement, nullptr, [](void *, const tn_device_memory *) {}, nullptr),
              TN_OK);
}
