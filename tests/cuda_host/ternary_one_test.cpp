// ternary_one and ternary_one_glu, by dp4a and by products of bits, against src/ref, bit for bit.
#include "cuda_host/ternary_rig.hpp"

using namespace cuda_host;

namespace
{

void run(const Product &product)
{
    SCOPED_TRACE(testing::Message() << product.kernel << ", " << product.n_cols << " columns, " << product.n_rows[0] << " rows, behind "
                                    << product.behind << ", before " << product.before << ", grid " << product.grid_x << ", round "
                                    << product.round_blocks);
    ProductRig(product).run();
}

struct Form {
    const char *one, *glu;
};
class TernaryOne : public testing::TestWithParam<Form>
{
  protected:
    static Product one(uint32_t n_cols, const std::vector<uint32_t> &n_rows)
    {
        Product product = {};
        product.kernel = GetParam().one;
        product.n_cols = n_cols;
        product.n_rows = n_rows;
        return product;
    }
    static Product glu(uint32_t n_cols, uint32_t n_rows, uint32_t behind)
    {
        Product product = one(n_cols, {n_rows});
        product.kernel = GetParam().glu;
        product.behind = behind;
        return product;
    }
};
INSTANTIATE_TEST_SUITE_P(Forms, TernaryOne,
                         testing::Values(Form{"ternary_one_dp4a", "ternary_one_glu_dp4a"},
                                         Form{"ternary_one_bmma", "ternary_one_glu_bmma"}),
                         [](const auto &form) { return std::string(form.param.one); });

TEST_P(TernaryOne, ColumnsAndRowsOfAllLengths)
{
    for (uint32_t n_cols : {1u, 100u, 128u, 129u, 512u, 640u, 900u, 2560u}) {
        for (uint32_t n_rows : {1u, 15u, 16u, 17u, 40u}) {
            Product product = one(n_cols, {n_rows});
            product.round_blocks = 1 + n_rows % 4;
            product.per_row = n_rows % 2;
            run(product);
        }
    }
}

// A block takes 16 row tiles at most, so that 22 of them need two blocks.
TEST_P(TernaryOne, EveryGridAndRoundGivesTheSame)
{
    for (uint32_t round_blocks : {1u, 2u, 3u, 8u, 100u}) {
        for (uint32_t grid : {2u, 3u, 7u, 40u}) {
            Product product = one(1100, {200, 72, 33});
            product.per_row = true;
            product.grid_x = grid;
            product.round_blocks = round_blocks;
            run(product);
            product = glu(1100, 200, TN_CUDA_BEHIND_RELU2);
            product.grid_x = grid - 1;
            product.round_blocks = round_blocks;
            run(product);
        }
    }
}

TEST_P(TernaryOne, WithoutACopyEngine)
{
    const OnDevice device(75);
    for (uint32_t before : {TN_CUDA_ROW_NONE, TN_CUDA_ROW_NORM_QUANT}) {
        for (uint32_t round_blocks : {1u, 2u, 100u}) {
            Product product = one(1100, {200, 72, 33});
            product.before = before;
            product.grid_x = 3;
            product.round_blocks = round_blocks;
            run(product);
            product = glu(1100, 200, TN_CUDA_BEHIND_RELU2);
            product.before = before;
            product.grid_x = 2;
            product.round_blocks = round_blocks;
            run(product);
        }
    }
}

TEST_P(TernaryOne, PiecesOfAllSizes)
{
    for (uint32_t piece_blocks : {1u, 2u, 3u, 8u, 9u, 20u}) {
        for (uint32_t n_rows : {16u, 40u, 100u}) {
            Product product = one(1100, {n_rows});
            product.piece_blocks = piece_blocks;
            run(product);
            product = glu(1100, n_rows, TN_CUDA_BEHIND_RELU2);
            product.piece_blocks = piece_blocks;
            run(product);
        }
    }
    for (uint32_t n_blocks = 1; n_blocks < 300; n_blocks++) {
        const uint32_t piece = tn_cuda_ternary_one_piece(n_blocks);
        EXPECT_GE(piece, 1u);
        EXPECT_LE(piece, 20u);
        EXPECT_LT((n_blocks + piece - 1) / piece * piece - n_blocks, piece);
    }
}

TEST_P(TernaryOne, MatricesOverOneInput)
{
    for (const std::vector<uint32_t> &n_rows : {std::vector<uint32_t>{48, 16}, {16, 5, 100}, {1, 1, 1}, {130}}) {
        Product product = one(384, n_rows);
        product.grid_x = 2;
        run(product);
        product.per_row = true;
        run(product);
    }
}

TEST_P(TernaryOne, EveryOpBehindAndBefore)
{
    for (uint32_t before : {TN_CUDA_ROW_NONE, TN_CUDA_ROW_NORM_QUANT, TN_CUDA_ROW_QUANT}) {
        for (uint32_t n_cols : {300u, 2700u}) {
            for (uint32_t behind : {TN_CUDA_BEHIND_NOTHING, TN_CUDA_BEHIND_ADD, TN_CUDA_BEHIND_RELU2, TN_CUDA_BEHIND_SILU}) {
                Product product = behind >= TN_CUDA_BEHIND_RELU2 ? glu(n_cols, 77, behind) : one(n_cols, {77});
                product.behind = behind;
                product.before = before;
                product.grid_x = 3;
                product.round_blocks = 2;
                product.per_row = before == TN_CUDA_ROW_QUANT;
                run(product);
            }
        }
    }
}

// The largest values of rows go from kernel to kernel: that of x need not be found, that of the output is left.
TEST_P(TernaryOne, LargestValuesAreTakenAndLeft)
{
    for (uint32_t before : {TN_CUDA_ROW_NORM_QUANT, TN_CUDA_ROW_QUANT}) {
        for (uint32_t n_cols : {1u, 100u, 300u, 1280u, 9000u}) {
            for (uint32_t behind : {TN_CUDA_BEHIND_NOTHING, TN_CUDA_BEHIND_ADD, TN_CUDA_BEHIND_RELU2}) {
                if (n_cols == 9000 && behind != TN_CUDA_BEHIND_ADD) continue;
                Product product = behind == TN_CUDA_BEHIND_RELU2 ? glu(n_cols, 301, behind) : one(n_cols, {301});
                product.behind = behind;
                product.before = before;
                product.takes_largest = true;
                product.leaves_largest = behind != TN_CUDA_BEHIND_NOTHING || n_cols != 300;
                product.grid_x = 3;
                product.round_blocks = n_cols == 300 ? 2 : n_cols == 9000 ? 8 : 1000;
                product.seed = n_cols;
                run(product);
            }
        }
    }
}

TEST_P(TernaryOne, LongRowsAreQuantisedInFront)
{
    Product product = one(28672, {33});
    product.before = TN_CUDA_ROW_NORM_QUANT;
    product.behind = TN_CUDA_BEHIND_ADD;
    product.round_blocks = 50;
    product.grid_x = 2;
    run(product);
}

TEST_P(TernaryOne, OutputAndWantedRowsOfLogits)
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

// Rows whose values are tiny have no code of 127: of these the codes are made a second time.
TEST_P(TernaryOne, RowsThatAreSmall)
{
    for (uint32_t before : {TN_CUDA_ROW_NORM_QUANT, TN_CUDA_ROW_QUANT}) {
        for (uint32_t n_cols : {300u, 9000u}) { // the second: with blocks that no register keeps
            for (float scale : {0.0f, 1e-7f, 1e-4f}) {
                Product product = one(n_cols, {40});
                product.before = before;
                product.grid_x = 2;
                for (const bool takes_largest : {false, true}) {
                    product.takes_largest = takes_largest;
                    ProductRig rig(product);
                    for (float &v : rig.x[0]) v *= scale * scale;
                    rig.run();
                }
            }
        }
    }
}

TEST(TernaryOneCut, TheGridHasABlockAMultiprocessorWhereTilesAreNotTooMany)
{
    EXPECT_EQ(tn_cuda_ternary_one_grid(1, 132), 1u);
    EXPECT_EQ(tn_cuda_ternary_one_grid(160, 132), 132u);
    EXPECT_EQ(tn_cuda_ternary_one_grid(2112, 132), 132u); // 16 each
    EXPECT_EQ(tn_cuda_ternary_one_grid(2113, 132), 133u);
    EXPECT_EQ(tn_cuda_ternary_one_grid(65, 4), 5u);
}

TEST(TernaryOneCut, RoundsTakeHalfTheSharedMemoryAtMost)
{
    EXPECT_EQ(tn_cuda_ternary_one_round(8, 20, 232448), 20u); // all at once
    EXPECT_EQ(tn_cuda_ternary_one_round(2, 54, 232448), 54u);
    EXPECT_EQ(tn_cuda_ternary_one_round(14, 32, 232448), 7u);
    EXPECT_EQ(tn_cuda_ternary_one_round(1, 1, 232448), 1u);
    EXPECT_EQ(tn_cuda_ternary_one_round(32, 1000, 1024), 1u); // whatever there is
    for (uint32_t shared : {65536u, 101376u, 166912u, 232448u}) {
        for (uint32_t n_blocks : {1u, 20u, 54u, 112u}) {
            const uint32_t n = tn_cuda_ternary_one_round(30, n_blocks, shared), n_places = n < n_blocks ? 2 : 1;
            const uint64_t bytes = tn_cuda_ternary_one_shared_bytes(n_blocks, n_places, 30, n) + TN_CUDA_ONE_OWN_SHARED_BYTES;
            EXPECT_TRUE(n == 1 || bytes <= shared / 2) << n;
        }
    }
}

TEST(TernaryOneCut, DividesByMultiplying)
{
    for (uint32_t n = 2; n <= 1024; n++) {
        const uint64_t by = tn_cuda_ternary_one_by_blocks(n);
        for (uint32_t i : {0u, 1u, n - 1, n, n + 1, 31 * n - 1, 31 * n, 32 * n - 1}) EXPECT_EQ((i * by) >> 32, i / n) << i << " by " << n;
    }
}

// Scales so large that the value is poison, or only what follows it.
TEST_P(TernaryOne, PoisonNamesTheSmallestNode)
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
