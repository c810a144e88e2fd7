// How products of few tokens are cut on tensor cores (tn_cuda_plan_few): for a Hopper what docs/design/0013-cuda.md has of 32 tokens, and
// more.
#include <gtest/gtest.h>
#include <string>
#include <vector>

extern "C" {
#include "cuda/cuda_few.h"
#include "cuda/kernels/kernel_params.h"
}

namespace
{

struct Product {
    const char *name;
    std::vector<uint32_t> n_rows; // of each matrix; of gate and up the one
    uint32_t n_cols;
    bool is_joined, is_glu;
};
// Of a layer of 2b-4t.
const Product kProducts[] = {
    {"q, k, v", {2560, 640, 640}, 2560, false, false},
    {"output", {2560}, 2560, true, false},
    {"gate, up", {6912}, 2560, false, true},
    {"down", {2560}, 6912, true, false},
};

tn_cuda_device device_of(uint32_t n_sms, uint32_t shared_bytes)
{
    tn_cuda_device device = {};
    device.traits.n_sms = n_sms;
    device.traits.shared_bytes = shared_bytes;
    device.traits.has_mma = true;
    return device;
}

tn_cuda_few_shape shape_of(const Product &product, uint32_t n_tokens)
{
    tn_cuda_few_shape shape = {};
    shape.n_tokens = n_tokens;
    shape.n_blocks = (product.n_cols + TN_CUDA_TILE_COLS - 1) / TN_CUDA_TILE_COLS;
    shape.is_joined = product.is_joined;
    for (const uint32_t n : product.n_rows) {
        shape.n_rows += n;
        shape.n_groups += tn_cuda_ternary_few_groups(n, product.is_glu ? TN_CUDA_BEHIND_RELU2 : TN_CUDA_BEHIND_NOTHING);
    }
    return shape;
}

struct Plan {
    std::string cut; // "warps a team, parts, blocks, column blocks of a warp, of them ahead"
    tn_cuda_few_plan plan;
};
Plan plan_of(const tn_cuda_device &device, const Product &product, uint32_t n_tokens)
{
    const tn_cuda_few_shape shape = shape_of(product, n_tokens);
    const tn_cuda_few_plan plan = tn_cuda_plan_few(&device, &shape);
    const uint32_t n_warps = 1u << plan.log2_split, n_each = (shape.n_blocks + plan.n_parts - 1) / plan.n_parts;
    const uint32_t n_blocks = tn_cuda_ternary_few_blocks(shape.n_groups, plan.log2_split) * plan.n_parts;
    std::string cut;
    for (const uint32_t n : {n_warps, plan.n_parts, n_blocks, (n_each + n_warps - 1) / n_warps, plan.n_ahead})
        cut += (cut.empty() ? "" : ", ") + std::to_string(n);
    EXPECT_TRUE(tn_cuda_has_shared(&device, plan.shared_bytes)) << product.name;
    EXPECT_EQ(plan.partials_bytes, shape.is_joined ? uint64_t(n_tokens) * plan.n_parts * shape.n_rows * 4 : 0u) << product.name;
    return {cut, plan};
}

void check_cuts(const tn_cuda_device &device, uint32_t n_tokens, const std::vector<std::string> &cuts)
{
    for (size_t i = 0; i < cuts.size(); i++) EXPECT_EQ(plan_of(device, kProducts[i], n_tokens).cut, cuts[i]) << kProducts[i].name;
}

TEST(Few, AHopperHasAsManyBlocksAsMultiprocessorsOrSome)
{
    const tn_cuda_device device = device_of(132, 227 << 10);
    check_cuts(device, 8, {"8, 1, 120, 3, 3", "4, 3, 120, 2, 2", "2, 1, 108, 10, 10", "4, 3, 120, 5, 5"});
    check_cuts(device, 16, {"8, 1, 120, 3, 3", "4, 3, 120, 2, 2", "2, 1, 108, 10, 10", "4, 3, 120, 5, 5"});
    check_cuts(device, 32, {"4, 1, 60, 5, 5", "4, 3, 120, 2, 2", "2, 1, 108, 10, 10", "4, 3, 120, 5, 5"});
    check_cuts(device, 64, {"4, 1, 60, 5, 3", "4, 3, 120, 2, 2", "2, 1, 108, 10, 7", "4, 3, 120, 5, 3"});
}

TEST(Few, FewerMultiprocessorsHaveFewerParts)
{
    const tn_cuda_device device = device_of(108, 163 << 10);
    check_cuts(device, 16, {"4, 1, 60, 5, 5", "4, 2, 80, 3, 3", "2, 1, 108, 10, 10", "4, 2, 80, 7, 7"});
    check_cuts(device, 64, {"4, 1, 60, 5, 3", "4, 2, 80, 3, 3", "2, 1, 108, 10, 7", "2, 3, 60, 9, 7"});
}

// Every warp of a team has its own stage of codes: of 64 tokens there is room for those of two beside weights.
TEST(Few, LittleSharedMemoryHasSmallerTeams)
{
    const tn_cuda_device device = device_of(128, 99 << 10);
    check_cuts(device, 8, {"8, 1, 120, 3, 3", "4, 3, 120, 2, 2", "2, 1, 108, 10, 10", "4, 3, 120, 5, 5"});
    check_cuts(device, 64, {"2, 1, 30, 10, 5", "2, 3, 60, 4, 4", "2, 1, 108, 10, 5", "2, 3, 60, 9, 5"});
}

TEST(Few, TheSmallestKernelThatHasRoomForTheTokensIsTaken)
{
    const tn_cuda_device device = device_of(132, 227 << 10);
    for (const auto &[n_tokens, kernel] :
         {std::pair(1u, TN_CUDA_ternary_few8_mma), std::pair(8u, TN_CUDA_ternary_few8_mma), std::pair(9u, TN_CUDA_ternary_few16_mma),
          std::pair(17u, TN_CUDA_ternary_few32_mma), std::pair(33u, TN_CUDA_ternary_few64_mma), std::pair(64u, TN_CUDA_ternary_few64_mma)})
        EXPECT_EQ(plan_of(device, kProducts[0], n_tokens).plan.kernel, kernel) << n_tokens;
}

} // namespace
