// ternary_one and ternary_one_glu against src/ref, bit for bit.
#include "cuda_host/ternary_rig.hpp"

using namespace cuda_host;

namespace
{

void run(const Product &product)
{
    SCOPED_TRACE(testing::Message() << product.kernel << ", " << product.n_cols << " columns, " << product.n_rows[0] << " rows, behind "
                                    << product.behind << ", before " << product.before << ", grid " << product.grid_x << ", split "
                                    << product.log2_split);
    ProductRig(product).run();
}

Product one(uint32_t n_cols, const std::vector<uint32_t> &n_rows)
{
    Product product = {};
    product.kernel = "ternary_one";
    product.n_cols = n_cols;
    product.n_rows = n_rows;
    return product;
}
Product glu(uint32_t n_cols, uint32_t n_rows, uint32_t behind)
{
    Product product = one(n_cols, {n_rows});
    product.kernel = "ternary_one_glu";
    product.behind = behind;
    return product;
}

TEST(TernaryOne, ColumnsAndRowsOfAllLengths)
{
    for (uint32_t n_cols : {1u, 100u, 128u, 129u, 512u, 640u, 900u, 2560u}) {
        for (uint32_t n_rows : {1u, 15u, 16u, 17u, 40u}) {
            Product product = one(n_cols, {n_rows});
            product.log2_split = n_rows % 4;
            product.per_row = n_rows % 2;
            run(product);
        }
    }
}

TEST(TernaryOne, EveryGridAndSplitGivesTheSame)
{
    for (uint32_t log2_split = 0; log2_split <= 3; log2_split++) {
        for (uint32_t grid : {1u, 2u, 3u, 7u, 40u}) {
            Product product = one(1100, {200, 72, 33});
            product.per_row = true;
            product.grid_x = grid;
            product.log2_split = log2_split;
            run(product);
            product = glu(1100, 200, TN_CUDA_BEHIND_RELU2);
            product.grid_x = grid;
            product.log2_split = log2_split;
            run(product);
        }
    }
}

TEST(TernaryOne, MatricesOverOneInput)
{
    for (const std::vector<uint32_t> &n_rows : {std::vector<uint32_t>{48, 16}, {16, 5, 100}, {1, 1, 1}, {130}}) {
        Product product = one(384, n_rows);
        product.grid_x = 2;
        product.log2_split = 1;
        run(product);
        product.per_row = true;
        run(product);
    }
}

TEST(TernaryOne, EveryOpBehindAndBefore)
{
    for (uint32_t before : {TN_CUDA_ROW_NONE, TN_CUDA_ROW_NORM_QUANT, TN_CUDA_ROW_QUANT}) {
        for (uint32_t n_cols : {300u, 2700u}) {
            for (uint32_t behind : {TN_CUDA_BEHIND_NOTHING, TN_CUDA_BEHIND_ADD, TN_CUDA_BEHIND_RELU2, TN_CUDA_BEHIND_SILU}) {
                Product product = behind >= TN_CUDA_BEHIND_RELU2 ? glu(n_cols, 77, behind) : one(n_cols, {77});
                product.behind = behind;
                product.before = before;
                product.grid_x = 3;
                product.log2_split = 2;
                product.per_row = before == TN_CUDA_ROW_QUANT;
                run(product);
            }
        }
    }
}

TEST(TernaryOne, LongRowsAreQuantisedInFront)
{
    Product product = one(28672, {33});
    product.before = TN_CUDA_ROW_NORM_QUANT;
    product.behind = TN_CUDA_BEHIND_ADD;
    product.log2_split = 3;
    product.grid_x = 2;
    run(product);
}

TEST(TernaryOne, OutputAndWantedRowsOfLogits)
{
    for (uint32_t behind : {TN_CUDA_BEHIND_NOTHING, TN_CUDA_BEHIND_ADD, TN_CUDA_BEHIND_SILU}) {
        Product product = behind == TN_CUDA_BEHIND_SILU ? glu(256, 50, behind) : one(256, {50});
        product.behind = behind;
        product.to_output = product.is_logits = true;
        run(product);
        product.n_tokens = 0; // no row is wanted: nothing is stored
        run(product);
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

TEST(TernaryOne, TheSplitOfColumnsMakesTheLongestWayShort)
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

// Scales so large that the value is poison, or only what follows it.
TEST(TernaryOne, PoisonNamesTheSmallestNode)
{
    for (uint32_t behind : {TN_CUDA_BEHIND_NOTHING, TN_CUDA_BEHIND_ADD, TN_CUDA_BEHIND_RELU2, TN_CUDA_BEHIND_SILU}) {
        for (float scale : {0x1p60f, 0x1p26f}) {
            for (uint32_t which = 0; which < 2; which++) {
                Product product = behind >= TN_CUDA_BEHIND_RELU2 ? glu(256, 50, behind) : one(256, {50, 50});
                product.behind = behind;
                if (behind == TN_CUDA_BEHIND_ADD) product.n_rows = {50};
                if (which == 1 && behind == TN_CUDA_BEHIND_ADD) continue;
                product.is_logits = true;
                ProductRig rig(product);
                rig.matrices[which]->scales()[0] = scale;
                rig.run();
                const bool is_poison = rig.want_poison[rig.token(0)] != UINT32_MAX;
                EXPECT_EQ(is_poison, scale == 0x1p60f || (behind == TN_CUDA_BEHIND_RELU2 && which == 0)); // the square
            }
        }
    }
}

} // namespace
