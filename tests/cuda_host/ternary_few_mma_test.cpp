// ternary_few8_mma to ternary_few64_mma against src/ref, bit for bit, with parts of the columns that ternary_join brings together and makes
// codes of.
#include "cuda_host/ternary_rig.hpp"

using namespace cuda_host;

namespace
{

class TernaryFewMma : public testing::TestWithParam<uint32_t>
{
  protected:
    // With so many tokens fewer than there is room for.
    Product few(uint32_t n_cols, const std::vector<uint32_t> &n_rows, uint32_t n_less = 0, uint32_t behind = TN_CUDA_BEHIND_NOTHING,
                uint32_t log2_split = 3) const
    {
        static const char *const kernels[] = {"ternary_few8_mma", "ternary_few16_mma", "ternary_few32_mma", "ternary_few64_mma"};
        Product product = {};
        product.kernel = kernels[GetParam() == 8 ? 0 : GetParam() == 16 ? 1 : GetParam() == 32 ? 2 : 3];
        product.n_cols = n_cols;
        product.n_rows = n_rows;
        product.n_tokens = GetParam() - n_less;
        product.n_input = GetParam();
        product.behind = behind;
        product.n_ahead = 3;
        split(product, log2_split);
        return product;
    }
    static void split(Product &product, uint32_t log2_split)
    {
        uint32_t n_groups = 0;
        for (uint32_t n : product.n_rows) n_groups += tn_cuda_ternary_few_groups(n, product.behind);
        product.log2_split = log2_split;
        product.grid_x = tn_cuda_ternary_few_blocks(n_groups, log2_split);
    }
    static void run(const Product &product)
    {
        SCOPED_TRACE(testing::Message() << product.kernel << ", " << product.n_cols << " columns, " << product.n_rows[0] << " rows, "
                                        << product.n_tokens << " tokens, behind " << product.behind << ", row " << product.row << ", parts "
                                        << product.grid_z << ", split " << product.log2_split << ", ahead " << product.n_ahead);
        ProductRig(product).run();
    }
};

TEST_P(TernaryFewMma, NumbersOfTokens)
{
    for (uint32_t n_less : {0u, 1u, GetParam() / 2 - 1, GetParam() - 1, GetParam()}) {
        Product product = few(700, {37}, n_less, TN_CUDA_BEHIND_NOTHING, n_less % 4);
        product.per_row = n_less % 2;
        run(product);
    }
}

TEST_P(TernaryFewMma, ColumnsAndRowsOfAllLengths)
{
    for (uint32_t n_cols : {1u, 100u, 128u, 129u, 640u, 2560u}) {
        for (uint32_t n_rows : {1u, 16u, 31u, 33u}) run(few(n_cols, {n_rows}, 3, TN_CUDA_BEHIND_NOTHING, n_rows % 4));
    }
}

// Rings of weights and of codes go round once, several times, and not at all.
TEST_P(TernaryFewMma, EverySplitAndDepthGivesTheSame)
{
    for (uint32_t log2_split = 0; log2_split <= 3; log2_split++) {
        for (uint32_t n_ahead : {3u, 4u, log2_split == 0 ? 12u : 5u}) {
            if (GetParam() == 64 && log2_split == 3 && n_ahead == 5) continue; // more shared memory than a GPU has
            Product product = few(1300, {100, 72, 33}, 2, TN_CUDA_BEHIND_NOTHING, log2_split);
            product.per_row = true;
            product.n_ahead = n_ahead;
            run(product);
        }
        run(few(1300, {72}, 0, TN_CUDA_BEHIND_SILU, log2_split));
    }
}

TEST_P(TernaryFewMma, EveryOpBehind)
{
    for (uint32_t behind : {TN_CUDA_BEHIND_NOTHING, TN_CUDA_BEHIND_ADD, TN_CUDA_BEHIND_RELU2, TN_CUDA_BEHIND_SILU}) {
        Product product = few(256, {90}, behind, behind, 1);
        product.per_row = behind % 2;
        run(product);
    }
}

TEST_P(TernaryFewMma, PartsOfTheColumnsMeetInFrontOfTheRows)
{
    for (uint32_t n_parts = 1; n_parts <= TN_CUDA_FEW_PARTS_MAX; n_parts++) {
        for (uint32_t row : {TN_CUDA_ROW_NORM_QUANT, TN_CUDA_ROW_QUANT}) {
            Product product = few(900, {300}, n_parts, row == TN_CUDA_ROW_QUANT ? TN_CUDA_BEHIND_NOTHING : TN_CUDA_BEHIND_ADD, n_parts - 1);
            product.per_row = n_parts % 2;
            product.grid_z = n_parts;
            product.row = row;
            run(product);
        }
    }
}

// Of which registers keep the first 4096, and sums of blocks do not all wait at once; by ternary_join, which all sizes have behind them.
class TernaryFew8Mma : public TernaryFewMma
{
};

TEST_P(TernaryFew8Mma, LongRowsAfterTheProduct)
{
    for (uint32_t n_rows : {4097u, 131500u}) {
        Product product = few(256, {n_rows}, n_rows == 4097 ? 5 : 6, TN_CUDA_BEHIND_ADD, 0);
        product.grid_z = 2;
        product.row = TN_CUDA_ROW_NORM_QUANT;
        run(product);
    }
}

TEST_P(TernaryFewMma, OutputAndWantedRowsOfLogits)
{
    for (uint32_t n_parts : {1u, 2u}) {
        for (uint32_t n_less : {GetParam(), 5u}) {
            Product product = few(256, {50}, n_less, n_parts == 1 ? TN_CUDA_BEHIND_RELU2 : TN_CUDA_BEHIND_NOTHING, 2);
            product.row = n_parts == 1 ? TN_CUDA_ROW_NONE : TN_CUDA_ROW_NORM_QUANT;
            product.grid_z = n_parts;
            product.to_output = product.is_logits = true;
            run(product);
        }
    }
}

TEST_P(TernaryFewMma, PoisonNamesTheTokenAndTheSmallestNode)
{
    for (uint32_t behind : {TN_CUDA_BEHIND_NOTHING, TN_CUDA_BEHIND_ADD, TN_CUDA_BEHIND_RELU2}) {
        for (uint32_t n_parts = 1; n_parts <= (behind == TN_CUDA_BEHIND_RELU2 ? 1u : 2u); n_parts++) {
            Product product = few(256, {50}, 1, behind, 1);
            product.is_logits = true;
            product.grid_z = n_parts;
            product.row = n_parts == 1 ? TN_CUDA_ROW_NONE : TN_CUDA_ROW_QUANT;
            ProductRig rig(product);
            for (uint32_t t : {2u, 5u}) {
                for (float &x : rig.x[t]) x *= 0x1p54f;
            }
            rig.run();
            for (uint32_t t = 0; t < 7; t++) EXPECT_EQ(rig.want_poison[rig.token(t)] != UINT32_MAX, t == 2 || t == 5) << t;
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Rows, TernaryFewMma, testing::Values(8u, 16u, 32u, 64u), testing::PrintToStringParamName());
INSTANTIATE_TEST_SUITE_P(Rows, TernaryFew8Mma, testing::Values(8u), testing::PrintToStringParamName());

} // namespace
