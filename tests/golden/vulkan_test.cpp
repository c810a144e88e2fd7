// The default model on a Vulkan device, and divided between it and the CPU: the bits of the contract's NumPy twin.
#include "support/run_model.hpp"

using namespace tn_test;

namespace
{

const golden &expected()
{
    static const golden g = read_golden("default_model.golden");
    return g;
}

class GoldenVulkan : public testing::Test
{
  protected:
    void SetUp() override
    {
        tn_host *host = nullptr;
        ASSERT_EQ(tn_host_open(nullptr, &host), TN_OK);
        bool found = false;
        for (uint32_t i = 0; i < tn_host_device_count(host); i++) {
            tn_device_info info;
            ASSERT_EQ(tn_host_device_info(host, i, &info), TN_OK);
            found = found || (std::string(info.name) == "vulkan0" && !info.unusable[0]);
        }
        tn_host_close(host);
        if (!found) GTEST_SKIP() << "there is no Vulkan device here: ternion devices says why";
    }
};

// The first n ids alone: of each position, its logits.
void expect_rows(const run_options &options, size_t n, uint32_t n_segments)
{
    run_result result;
    ASSERT_NO_FATAL_FAILURE(
        run_model(default_model(), {expected().ids.begin(), expected().ids.begin() + static_cast<long>(n)}, options, &result));
    EXPECT_EQ(result.n_segments, n_segments);
    for (size_t i = 0; i < n; i++) ASSERT_EQ(result.row_hash(i), expected().rows[i]) << "position " << i;
}

} // namespace

TEST_F(GoldenVulkan, EveryOpAndEveryRowOfLogitsHasTheContractsBits)
{
    run_options options;
    options.traced = true;
    options.devices = "vulkan0";
    run_result result;
    ASSERT_NO_FATAL_FAILURE(run_model(default_model(), expected().ids, options, &result));
    for (const auto &[op, digest] : expected().ops) EXPECT_EQ(result.op_hashes[op], digest) << op;
    for (size_t i = 0; i < expected().rows.size(); i++) ASSERT_EQ(result.row_hash(i), expected().rows[i]) << "position " << i;
    EXPECT_EQ(result.digest(), expected().logits);
}

TEST_F(GoldenVulkan, ThePromptMayBeCutAnywhere)
{
    for (uint32_t ubatch : {1u, 8u, 9u, 127u, 129u, 512u}) {
        SCOPED_TRACE("ubatch " + std::to_string(ubatch));
        run_options options;
        options.devices = "vulkan0";
        options.ubatch = ubatch;
        expect_rows(options, ubatch == 1 ? 40 : expected().ids.size(), 1);
    }
    run_options options;
    options.devices = "vulkan0";
    options.feed = 5;
    expect_rows(options, 150, 1);
}

TEST_F(GoldenVulkan, EveryLayerBoundaryMayLieBetweenCpuAndVulkan)
{
    for (int32_t n_on_vulkan = 0; n_on_vulkan <= 7; n_on_vulkan++) {
        SCOPED_TRACE("-ngl " + std::to_string(n_on_vulkan));
        run_options options;
        options.devices = "vulkan0";
        options.ubatch = 100;
        options.n_gpu_layers = n_on_vulkan;
        expect_rows(options, 150, n_on_vulkan == 0 ? 1 : n_on_vulkan == 7 ? 2 : 3);
    }
}

TEST_F(GoldenVulkan, EveryLayerBoundaryMayLieBetweenVulkanAndCpu)
{
    for (int n_on_vulkan = 1; n_on_vulkan < 6; n_on_vulkan++) {
        SCOPED_TRACE(std::to_string(n_on_vulkan) + " layers first");
        run_options options;
        for (int layer = 0; layer < 6; layer++)
            options.devices += std::string(layer ? "," : "") + (layer < n_on_vulkan ? "vulkan0" : "cpu0");
        options.ubatch = 100;
        expect_rows(options, 150, 2);
    }
}

TEST_F(GoldenVulkan, SegmentsMayAlternate)
{
    for (const auto &[devices, n_segments] :
         {std::pair("cpu0,vulkan0", 2u), std::pair("vulkan0,cpu0,vulkan0", 3u), std::pair("vulkan0,cpu0,vulkan0,cpu0,vulkan0,cpu0", 6u),
          std::pair("cpu0,vulkan0,cpu0,vulkan0,cpu0,vulkan0", 6u)}) {
        for (uint32_t ubatch : {1u, 100u}) {
            SCOPED_TRACE(std::string(devices) + " ubatch " + std::to_string(ubatch));
            run_options options;
            options.devices = devices;
            options.ubatch = ubatch;
            expect_rows(options, ubatch == 1 ? 20 : 150, n_segments);
        }
    }
}
