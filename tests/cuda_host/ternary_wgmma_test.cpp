// ternary_many_wgmma against src/ref, bit for bit.
#include "cuda_host/ternary_rig.hpp"

using namespace cuda_host;

namespace
{

class TernaryWgmma : public testing::Test
{
  protected:
    Product many(uint32_t n_cols, const std::vector<uint32_t> &n_rows, uint32_t n_tokens, uint32_t behind = TN_CUDA_BEHIND_NOTHING) const
    {
        Product product = {};
        product.kernel = "ternary_many_wgmma";
        product.n_cols = n_cols;
        product.n_rows = n_rows;
        product.n_tokens = product.n_input = n_tokens;
        product.behind = behind;
        product.is_permuted = true;
        product.shared_bytes = TN_CUDA_WGMMA_SHARED_BYTES;
        product.grid_x = 0;
        for (uint32_t n : n_rows) product.grid_x += tn_cuda_ternary_wgmma_blocks(n, behind);
        product.grid_y = (n_tokens + TN_CUDA_WGMMA_TOKENS - 1) / TN_CUDA_WGMMA_TOKENS;
        return product;
    }
    static void run(const Product &product)
    {
        SCOPED_TRACE(testing::Message() << product.n_cols << " columns, " << product.n_rows[0] << " rows, " << product.n_tokens
                                        << " tokens, behind " << product.behind << ", grid " << product.grid_x << " x " << product.grid_y);
        ProductRig(product).run();
    }
};

TEST_F(TernaryWgmma, EveryKindOfNumberOfTokens)
{
    for (uint32_t n_tokens : {1u, 8u, 17u, 63u, 64u, 65u, 127u, 130u}) {
        Product product = many(300, {40}, n_tokens);
        product.per_row = n_tokens % 2;
        run(product);
    }
}

// Fewer column blocks than are on their way at once, as many, and more than there are stages.
TEST_F(TernaryWgmma, ColumnsAndRowsOfAllLengths)
{
    for (uint32_t n_cols : {1u, 128u, 129u, 384u, 512u, 640u, 900u, 1700u}) run(many(n_cols, {33}, 20));
    for (uint32_t n_rows : {1u, 15u, 17u, 130u, 255u, 256u, 257u, 301u}) run(many(256, {n_rows}, 20));
}

TEST_F(TernaryWgmma, MatricesOverOneInput)
{
    Product product = many(384, {300, 40, 257}, 70);
    run(product);
    product.per_row = true;
    run(product);
    run(many(128, {1, 1, 1}, 2));
}

TEST_F(TernaryWgmma, EveryOpBehind)
{
    for (uint32_t behind : {TN_CUDA_BEHIND_ADD, TN_CUDA_BEHIND_RELU2, TN_CUDA_BEHIND_SILU}) {
        for (uint32_t n_rows : {50u, 128u, 150u}) {
            Product product = many(300, {n_rows}, 67, behind);
            product.per_row = n_rows == 50;
            run(product);
        }
    }
}

// The grid is that of the largest step.
TEST_F(TernaryWgmma, RowsThatTheStepLacksAreLeftAlone)
{
    for (uint32_t n_tokens : {0u, 3u, 64u, 66u}) {
        Product product = many(256, {50}, 130);
        product.n_tokens = n_tokens;
        run(product);
    }
}

TEST_F(TernaryWgmma, OutputAndWantedRowsOfLogits)
{
    for (uint32_t behind : {TN_CUDA_BEHIND_NOTHING, TN_CUDA_BEHIND_ADD, TN_CUDA_BEHIND_SILU}) {
        Product product = many(256, {50}, 70, behind);
        product.to_output = product.is_logits = true;
        run(product);
    }
}

TEST_F(TernaryWgmma, PoisonNamesTheTokenAndTheSmallestNode)
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

} // namespace
