// ternary_many_mma and ternary_many_dp4a against src/ref, bit for bit, with columns split over blocks too.
#include "cuda_host/ternary_rig.hpp"

using namespace cuda_host;

namespace
{

class TernaryMany : public testing::TestWithParam<const char *>
{
  protected:
    Product many(uint32_t n_cols, const std::vector<uint32_t> &n_rows, uint32_t n_tokens, uint32_t behind = TN_CUDA_BEHIND_NOTHING) const
    {
        Product product = {};
        product.kernel = GetParam();
        product.n_cols = n_cols;
        product.n_rows = n_rows;
        product.n_tokens = product.n_input = n_tokens;
        product.behind = behind;
        product.grid_x = 0;
        for (uint32_t n : n_rows) product.grid_x += tn_cuda_ternary_many_blocks(n, behind);
        product.grid_y = (n_tokens + TN_CUDA_MANY_TOKENS - 1) / TN_CUDA_MANY_TOKENS;
        return product;
    }
    static void run(const Product &product)
    {
        SCOPED_TRACE(testing::Message() << product.n_cols << " columns, " << product.n_rows[0] << " rows, " << product.n_tokens
                                        << " tokens, behind " << product.behind << ", grid " << product.grid_x << " x " << product.grid_y
                                        << " x " << product.grid_z);
        ProductRig(product).run();
    }
};

TEST_P(TernaryMany, EveryKindOfNumberOfTokens)
{
    for (uint32_t n_tokens : {1u, 7u, 9u, 16u, 17u, 31u, 33u, 48u, 49u, 56u, 63u, 64u, 65u, 130u}) {
        Product product = many(300, {40}, n_tokens);
        product.per_row = n_tokens % 2;
        run(product);
    }
}

TEST_P(TernaryMany, ColumnsAndRowsOfAllLengths)
{
    for (uint32_t n_cols : {1u, 100u, 128u, 129u, 256u, 384u, 640u, 900u}) run(many(n_cols, {33}, 20));
    for (uint32_t n_rows : {1u, 15u, 16u, 17u, 128u, 129u, 250u}) run(many(256, {n_rows}, 20));
}

TEST_P(TernaryMany, MatricesOverOneInput)
{
    Product product = many(384, {200, 40, 129}, 70);
    run(product);
    product.per_row = true;
    run(product);
    run(many(128, {1, 1, 1}, 2));
}

TEST_P(TernaryMany, EveryOpBehind)
{
    for (uint32_t behind : {TN_CUDA_BEHIND_ADD, TN_CUDA_BEHIND_RELU2, TN_CUDA_BEHIND_SILU}) {
        for (uint32_t n_rows : {50u, 64u, 150u}) {
            Product product = many(300, {n_rows}, 37, behind);
            product.per_row = n_rows == 50;
            run(product);
        }
    }
}

// Parts of the columns that are equal, of which the last is shorter, and more parts than columns.
TEST_P(TernaryMany, ColumnsSplitOverBlocks)
{
    for (uint32_t grid_z : {2u, 3u, 7u, 12u}) {
        for (uint32_t behind : {TN_CUDA_BEHIND_NOTHING, TN_CUDA_BEHIND_ADD, TN_CUDA_BEHIND_RELU2}) {
            Product product = many(1200, {behind == TN_CUDA_BEHIND_NOTHING ? 129u : 70u}, 66, behind);
            product.grid_z = grid_z;
            run(product);
        }
    }
}

// The grid is that of the largest step.
TEST_P(TernaryMany, RowsThatTheStepLacksAreLeftAlone)
{
    for (uint32_t n_tokens : {0u, 3u, 64u, 66u}) {
        for (uint32_t grid_z : {1u, 2u}) {
            Product product = many(256, {50}, 130);
            product.n_tokens = n_tokens;
            product.grid_z = grid_z;
            run(product);
        }
    }
}

TEST_P(TernaryMany, OutputAndWantedRowsOfLogits)
{
    for (uint32_t behind : {TN_CUDA_BEHIND_NOTHING, TN_CUDA_BEHIND_ADD, TN_CUDA_BEHIND_SILU}) {
        Product product = many(256, {50}, 70, behind);
        product.to_output = product.is_logits = true;
        run(product);
    }
}

TEST_P(TernaryMany, PoisonNamesTheTokenAndTheSmallestNode)
{
    for (uint32_t behind : {TN_CUDA_BEHIND_NOTHING, TN_CUDA_BEHIND_ADD, TN_CUDA_BEHIND_RELU2}) {
        Product product = many(256, {50}, 30, behind);
        product.is_logits = true;
        ProductRig rig(product);
        for (uint32_t t : {2u, 26u}) {
            for (float &x : rig.x[t]) x *= 0x1p54f;
        }
        rig.run();
        for (uint32_t t = 0; t < 30; t++) EXPECT_EQ(rig.want_poison[rig.token(t)] != UINT32_MAX, t == 2 || t == 26) << t;
    }
}

TEST(TernaryManyGrid, PartsOfColumnsAreWorthTheirSumsAndNeverEmpty)
{
    for (uint32_t n_sms : {1u, 40u, 132u}) {
        for (uint32_t n_tiles : {1u, 20u, 108u, 1000u}) {
            for (uint32_t n_blocks = 1; n_blocks <= 120; n_blocks++) {
                const uint32_t n = tn_cuda_ternary_many_parts(n_tiles, n_blocks, n_sms), n_each = (n_blocks + n - 1) / n;
                ASSERT_GE(n, 1u);
                EXPECT_LT((n - 1) * n_each, n_blocks) << "an empty part of " << n << " of " << n_blocks;
                EXPECT_TRUE(n == 1 || (n_each >= 4 && n * n_tiles <= 2 * n_sms)) << n << " parts of " << n_blocks;
            }
        }
    }
    EXPECT_EQ(tn_cuda_ternary_many_parts(20, 20, 132), 5u);
    EXPECT_EQ(tn_cuda_ternary_many_parts(20, 54, 132), 11u);
}

INSTANTIATE_TEST_SUITE_P(Forms, TernaryMany, testing::Values("ternary_many_mma", "ternary_many_dp4a"),
                         [](const testing::TestParamInfo<const char *> &form) { return std::string(form.param); });

} // namespace
