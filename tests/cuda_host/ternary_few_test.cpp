// ternary_few_dp4a against src/ref, bit for bit, with the codes that the last block makes of the outputs.
#include "cuda_host/ternary_rig.hpp"

using namespace cuda_host;

namespace
{

class TernaryFew : public testing::Test
{
  protected:
    static Product few(uint32_t n_cols, const std::vector<uint32_t> &n_rows, uint32_t n_tokens)
    {
        Product product = {};
        product.kernel = "ternary_few_dp4a";
        product.n_cols = n_cols;
        product.n_rows = n_rows;
        product.n_tokens = n_tokens;
        product.n_input = 8;
        return product;
    }
    static void run(const Product &product)
    {
        SCOPED_TRACE(testing::Message() << product.n_cols << " columns, " << product.n_rows[0] << " rows, " << product.n_tokens
                                        << " tokens, behind " << product.behind << ", row " << product.row << ", grid " << product.grid_x
                                        << ", split " << product.log2_split);
        ProductRig(product).run();
    }
};

TEST_F(TernaryFew, EveryNumberOfTokens)
{
    for (uint32_t n_tokens = 0; n_tokens <= 8; n_tokens++) {
        Product product = few(700, {37}, n_tokens);
        product.log2_split = n_tokens % 4;
        product.per_row = n_tokens % 2;
        run(product);
    }
}

TEST_F(TernaryFew, ColumnsAndRowsOfAllLengths)
{
    for (uint32_t n_cols : {1u, 100u, 128u, 129u, 640u, 2560u}) {
        for (uint32_t n_rows : {1u, 15u, 16u, 17u}) {
            Product product = few(n_cols, {n_rows}, 5);
            product.log2_split = n_rows % 4;
            run(product);
        }
    }
}

TEST_F(TernaryFew, EveryGridAndSplitGivesTheSame)
{
    for (uint32_t log2_split = 0; log2_split <= 3; log2_split++) {
        for (uint32_t grid : {1u, 3u, 20u}) {
            Product product = few(1100, {100, 72, 33}, 6);
            product.per_row = true;
            product.grid_x = grid;
            product.log2_split = log2_split;
            run(product);
            product = few(1100, {72}, 8);
            product.behind = TN_CUDA_BEHIND_SILU;
            product.grid_x = grid;
            product.log2_split = log2_split;
            product.row = TN_CUDA_ROW_QUANT;
            run(product);
        }
    }
}

TEST_F(TernaryFew, EveryOpBehindAndRowAfterIt)
{
    for (uint32_t behind : {TN_CUDA_BEHIND_NOTHING, TN_CUDA_BEHIND_ADD, TN_CUDA_BEHIND_RELU2, TN_CUDA_BEHIND_SILU}) {
        for (uint32_t row : {TN_CUDA_ROW_NONE, TN_CUDA_ROW_NORM_QUANT, TN_CUDA_ROW_QUANT}) {
            Product product = few(256, {300}, 1 + 2 * row + behind % 2);
            product.behind = behind;
            product.row = row;
            product.grid_x = 4;
            product.log2_split = 1;
            run(product);
        }
    }
}

// Rows of the output that teams of 1, 2, 4 and 8 warps keep in registers, read twice, and whose sums do not all wait at once.
TEST_F(TernaryFew, LongRowsAfterTheProduct)
{
    for (uint32_t n_tokens : {1u, 2u, 3u, 8u}) {
        Product product = few(128, {n_tokens == 8 ? 17000u : 3001u}, n_tokens);
        product.behind = TN_CUDA_BEHIND_ADD;
        product.row = TN_CUDA_ROW_NORM_QUANT;
        product.grid_x = 5;
        run(product);
    }
}

TEST_F(TernaryFew, OutputAndWantedRowsOfLogits)
{
    for (uint32_t behind : {TN_CUDA_BEHIND_NOTHING, TN_CUDA_BEHIND_RELU2}) {
        for (uint32_t n_tokens : {0u, 3u}) {
            Product product = few(256, {50}, n_tokens);
            product.behind = behind;
            product.row = TN_CUDA_ROW_NORM_QUANT;
            product.to_output = product.is_logits = true;
            run(product);
        }
    }
}

TEST_F(TernaryFew, PoisonNamesTheTokenAndTheSmallestNode)
{
    for (uint32_t behind : {TN_CUDA_BEHIND_NOTHING, TN_CUDA_BEHIND_ADD, TN_CUDA_BEHIND_RELU2}) {
        Product product = few(256, {50}, 7);
        product.behind = behind;
        product.is_logits = true;
        ProductRig rig(product);
        for (uint32_t t : {2u, 5u}) {
            for (float &x : rig.x[t]) x *= 0x1p54f;
        }
        rig.run();
        for (uint32_t t = 0; t < 7; t++) EXPECT_EQ(rig.want_poison[rig.token(t)] != UINT32_MAX, t == 2 || t == 5) << t;
    }
}

// The longest way of a warp, counted by walking it.
uint32_t longest_way(uint32_t n_tiles, uint32_t n_blocks, uint32_t n_grid, uint32_t log2_split)
{
    const uint32_t n_splits = 1u << log2_split, n_teams = n_grid * (8 >> log2_split);
    std::vector<uint32_t> steps(n_teams);
    for (uint32_t tile = 0; tile < n_tiles; tile++) {
        for (uint32_t k = 0; k < n_blocks; k += n_splits) steps[tile % n_teams]++;
    }
    return *std::max_element(steps.begin(), steps.end());
}

TEST_F(TernaryFew, TheSplitOfColumnsMakesTheLongestWayShort)
{
    for (uint32_t n_tiles : {1u, 10u, 160u, 240u, 432u, 2000u}) {
        for (uint32_t n_blocks : {1u, 5u, 20u, 54u, 112u}) {
            for (uint32_t n_grid : {1u, 80u, 160u, 264u}) {
                const uint32_t chosen = tn_cuda_ternary_log2_split(n_tiles, n_blocks, n_grid);
                ASSERT_LE(chosen, 3u);
                for (uint32_t s = 0; s <= 3; s++) {
                    const uint32_t way = longest_way(n_tiles, n_blocks, n_grid, s), best = longest_way(n_tiles, n_blocks, n_grid, chosen);
                    EXPECT_TRUE(s < chosen ? best < way : best <= way) << n_tiles << " tiles, " << n_blocks << ", grid " << n_grid;
                }
            }
        }
    }
    EXPECT_EQ(tn_cuda_ternary_log2_split(160, 20, 160), 3u); // few tiles: all warps of a block share each
    EXPECT_EQ(tn_cuda_ternary_log2_split(432, 20, 264), 2u);
}

} // namespace
