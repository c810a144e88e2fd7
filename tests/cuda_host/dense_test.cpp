// Products with dense weights against src/ref: bit for bit, and in fast numerics within what their roundings lose.
#include "cuda_host/dense_rig.hpp"

using namespace cuda_host;

namespace
{

constexpr uint32_t kNode = 8, kTokens = 200;

struct Shape {
    uint32_t n_rows, n_cols;
    uint32_t n_tokens; // that the step has, or wants logits of
    uint32_t grid_y = 1;
    bool is_logits = false;
    bool to_output = false;
    uint32_t n_more_blocks = 0; // of rows, that have none
    const char *form = "";      // the end of the kernel's name: "_mma", "_fast", "_fast_mma"
};

// A product and all that it may write. Rows of x may be changed before `run`.
class Product
{
  public:
    Product(const DenseType &type, const Shape &shape)
        : shape_(shape), name_(std::string("dense_") + type.name + shape.form), w(type.type, shape.n_rows, shape.n_cols, shape.n_cols),
          y_stride_(shape.to_output ? shape.n_rows : (shape.n_rows + 3) / 4 * 4), padded_((shape.n_cols + 255) / 256 * 256),
          y((size_t)(shape.n_tokens + 1) * y_stride_), poison(kTokens, 0xff)
    {
        std::mt19937 random(shape.n_rows);
        for (uint32_t t = 0; t < shape.n_tokens; t++) x.push_back(random_floats(random, shape.n_cols, t % 3 == 2 ? 1e-4f : 1.0f));
    }
    uint32_t token(uint32_t row) const { return shape_.is_logits ? 3 * row + 1 : row; }
    void run()
    {
        compute();
        for (uint32_t r = 0; r <= shape_.n_tokens; r++) expect_row(r);
    }
    void compute()
    {
        std::vector<uint32_t> logit_rows;
        for (uint32_t r = 0; shape_.is_logits && r < shape_.n_tokens; r++) logit_rows.push_back(token(r));
        const Step step(shape_.is_logits ? kTokens : shape_.n_tokens, logit_rows, y.data());
        tn_cuda_dense_params p = {};
        p.step = step.params();
        p.w = w.params();
        p.y = {shape_.to_output ? nullptr : y.data(), y_stride_};
        p.poison = {poison.data(), shape_.is_logits};
        p.node = kNode;
        store_input(p);
        launch(name_.c_str(), p, grid_x(), shape_.grid_y);
    }

  private:
    uint32_t grid_x() const
    {
        const std::string form = shape_.form;
        const uint32_t rows = form == "_mma"        ? TN_CUDA_DENSE_MMA_ROWS
                              : form == "_fast_mma" ? TN_CUDA_DENSE_FAST_ROWS
                              : w.is_quantised()    ? TN_CUDA_DENSE_CODE_ROWS
                                                    : TN_CUDA_DENSE_FLOAT_ROWS;
        return (shape_.n_rows + rows - 1) / rows + shape_.n_more_blocks;
    }
    void store_input(tn_cuda_dense_params &p)
    {
        const uint32_t n = std::max(shape_.n_tokens, 1u), stride = (shape_.n_cols + 3) / 4 * 4;
        if (!w.is_quantised()) {
            floats_ = std::make_unique<Memory<float>>((size_t)n * stride);
            for (uint32_t r = 0; r < shape_.n_tokens; r++) std::copy(x[r].begin(), x[r].end(), &(*floats_)[(size_t)r * stride]);
            p.x = {floats_->data(), stride};
            return;
        }
        const uint32_t group = w.type() == TN_DTYPE_Q6_K ? 256 : 32, sum_group = group == 256 ? 16 : 32;
        p.codes_stride = padded_, p.scales_stride = padded_ / group, p.sums_stride = padded_ / sum_group;
        codes_ = std::make_unique<Memory<int8_t>>((size_t)n * p.codes_stride, 0);
        scales_ = std::make_unique<Memory<float>>((size_t)n * p.scales_stride, 0);
        sums_ = std::make_unique<Memory<int32_t>>((size_t)n * p.sums_stride, 0);
        for (uint32_t r = 0; r < shape_.n_tokens; r++) {
            int8_t *codes = &(*codes_)[(size_t)r * p.codes_stride];
            std::vector<int32_t> unused(p.scales_stride);
            tn_ref_quant_group(x[r].data(), shape_.n_cols, group, codes, &(*scales_)[(size_t)r * p.scales_stride], unused.data());
            for (uint32_t i = 0; i < shape_.n_cols; i++) (*sums_)[(size_t)r * p.sums_stride + i / sum_group] += codes[i];
        }
        p.codes = codes_->data(), p.scales = scales_->data(), p.sums = sums_->data();
    }
    void expect_row(uint32_t r)
    {
        const float *got = &y[(size_t)r * y_stride_];
        const uint8_t *bytes = (const uint8_t *)got;
        const size_t n_bytes = r < shape_.n_tokens ? shape_.n_rows * sizeof(float) : 0;
        EXPECT_TRUE(std::all_of(bytes + n_bytes, bytes + y_stride_ * sizeof(float), [](uint8_t byte) { return byte == 0xcd; })) << r;
        if (r >= shape_.n_tokens || is_poisoned(x[r])) return;
        if (std::string(shape_.form).find("_fast") == 0) {
            expect_near(r, got);
            return;
        }
        std::vector<float> want(shape_.n_rows);
        tn_ref_matmul_dense(x[r].data(), w.type(), w.file_row(0), shape_.n_rows, shape_.n_cols, want.data());
        EXPECT_EQ(std::memcmp(want.data(), got, n_bytes), 0)
            << "row " << r << " of " << shape_.n_tokens << ", " << shape_.n_rows << " x " << shape_.n_cols;
    }
    // A product loses at most 2^-21 of itself, a sum of one lane's 2^-24 an addition, and lanes and steps are few.
    void expect_near(uint32_t r, const float *got)
    {
        std::vector<float> w_row(shape_.n_cols);
        for (uint32_t row = 0; row < shape_.n_rows; row++) {
            tn_dense_to_f32(w.type(), w.file_row(row), shape_.n_cols, w_row.data());
            for (float &value : w_row) value = tn_fl(value); // as it is packed
            double want = 0, size = 0;
            for (uint32_t i = 0; i < shape_.n_cols; i++) {
                want += (double)x[r][i] * w_row[i];
                size += std::fabs((double)x[r][i] * w_row[i]);
            }
            ASSERT_LE(std::fabs(got[row] - want), 0x1p-18 * size + 0x1p-50)
                << "row " << row << " of token " << r << ", " << shape_.n_cols << " columns";
        }
    }
    static bool is_poisoned(const std::vector<float> &row)
    {
        return tn_ref_absmax_bits(row.data(), (uint32_t)row.size()) >= TN_ABS_BITS_2P56;
    }

    Shape shape_;
    std::string name_;

  public:
    Dense w;
    std::vector<std::vector<float>> x;

  private:
    uint32_t y_stride_, padded_;
    std::unique_ptr<Memory<float>> floats_, scales_;
    std::unique_ptr<Memory<int8_t>> codes_;
    std::unique_ptr<Memory<int32_t>> sums_;

  public:
    Memory<float> y;
    Memory<uint32_t> poison;
};

class DenseProduct : public testing::TestWithParam<DenseType>
{
  protected:
    void check(Shape shape)
    {
        shape.n_cols = (shape.n_cols + GetParam().block - 1) / GetParam().block * GetParam().block;
        Product product(GetParam(), shape);
        product.run();
        for (uint32_t t = 0; t < kTokens; t++) EXPECT_EQ(product.poison[t], UINT32_MAX) << t;
    }
};

TEST_P(DenseProduct, EveryNumberOfColumns)
{
    for (uint32_t n : {1u, 31u, 32u, 33u, 127u, 160u, 256u, 257u, 288u, 500u, 512u, 1300u}) check({37, n, 1});
}

TEST_P(DenseProduct, EveryNumberOfRows)
{
    for (uint32_t n : {1u, 7u, 8u, 31u, 33u, 127u, 128u, 129u, 255u, 257u, 300u, 420u}) check({n, 288, 2});
}

TEST_P(DenseProduct, EveryNumberOfTokens)
{
    for (uint32_t n = 1; n <= 20; n++) check({45, 544, n, 1 + n % 3});
}

TEST_P(DenseProduct, BlocksWithoutRowsDoNothing)
{
    check({33, 256, 1, 2, false, false, 3});
    check({256, 256, 9, 3, false, false, 2});
}

TEST_P(DenseProduct, RowsAreTakenPieceByPiece)
{
    check({5, 17 * 1024 + 96, 1});
    check({5, 9 * 1024 + 96, 2});
    check({5, 5 * 1024 + 96, 3});
    check({5, 2 * 1024 + 352, 7});
}

TEST_P(DenseProduct, WantedRowsOfLogitsGoToTheOutput)
{
    check({77, 512, 3, 8, true, true});
    check({77, 512, 12, 8, true, true});
    check({77, 512, 0, 8, true, true});
    check({77, 512, 0, 8, false, true});
}

TEST_P(DenseProduct, PoisonIsNotedForTheTokenOfItsRow)
{
    for (const float bad : {INFINITY, 1e30f}) {
        Product product(GetParam(), {150, 512, 6, 1, true, false});
        product.x[4][100] = bad;
        product.poison[product.token(4)] = 20;
        product.poison[product.token(5)] = 3;
        product.run();
        for (uint32_t t = 0; t < kTokens; t++) {
            const uint32_t want = t == product.token(4) ? kNode : t == product.token(5) ? 3 : UINT32_MAX;
            EXPECT_EQ(product.poison[t], want) << t;
        }
    }
}

INSTANTIATE_TEST_SUITE_P(All, DenseProduct, testing::ValuesIn(kDenseTypes), dense_type_name);

// The kernels for tensor cores, of quantised types.
class DenseTensorProduct : public DenseProduct
{
  protected:
    void check_tensor(uint32_t n_rows, uint32_t n_cols, uint32_t n_tokens, bool is_logits = false, uint32_t n_more_blocks = 0)
    {
        const uint32_t grid_y = (n_tokens + TN_CUDA_DENSE_MMA_TOKENS - 1) / TN_CUDA_DENSE_MMA_TOKENS;
        check({n_rows, n_cols, n_tokens, std::max(grid_y, 1u) + n_more_blocks, is_logits, is_logits, n_more_blocks, "_mma"});
    }
};

TEST_P(DenseTensorProduct, EveryNumberOfColumns)
{
    for (uint32_t n : {1u, 32u, 96u, 224u, 256u, 288u, 512u, 544u, 1056u}) check_tensor(37, n, 10);
}
TEST_P(DenseTensorProduct, EveryNumberOfRows)
{
    for (uint32_t n : {1u, 8u, 9u, 15u, 16u, 17u, 31u, 32u, 33u, 49u, 112u, 113u, 127u, 128u, 129u, 300u}) check_tensor(n, 288, 9);
}
TEST_P(DenseTensorProduct, EveryNumberOfTokens)
{
    for (uint32_t n = 1; n <= 18; n++) check_tensor(20, 288, n);
    for (uint32_t n : {23u, 24u, 25u, 31u, 32u, 33u, 40u, 63u, 64u, 65u, 72u, 81u, 129u}) check_tensor(20, 288, n);
}
TEST_P(DenseTensorProduct, BlocksWithoutRowsOrTokensDoNothing)
{
    check_tensor(128, 256, 12, false, 2);
    check_tensor(33, 256, 64, false, 1);
    check_tensor(33, 256, 0, false, 1);
}
TEST_P(DenseTensorProduct, WantedRowsOfLogitsGoToTheOutput)
{
    for (uint32_t n : {0u, 1u, 12u, 66u}) check_tensor(77, 512, n, true);
}
TEST_P(DenseTensorProduct, PoisonIsNotedForTheTokenOfItsRow)
{
    for (const float bad : {INFINITY, 1e30f}) {
        Product product(GetParam(), {150, 512, 11, 1, true, false, 0, "_mma"});
        product.x[9][100] = bad;
        product.run();
        for (uint32_t t = 0; t < kTokens; t++) EXPECT_EQ(product.poison[t], t == product.token(9) ? kNode : UINT32_MAX) << t;
    }
}

INSTANTIATE_TEST_SUITE_P(Quantised, DenseTensorProduct, testing::ValuesIn(kDenseTypes + 3, std::end(kDenseTypes)), dense_type_name);

// Fast numerics: fused products of all types of floats, and tensor cores of the two that are exact in TF32.
struct FastForm {
    DenseType type;
    const char *form;
};
const FastForm kFastForms[] = {{kDenseTypes[0], "_fast"},
                               {kDenseTypes[1], "_fast"},
                               {kDenseTypes[2], "_fast"},
                               {kDenseTypes[1], "_fast_mma"},
                               {kDenseTypes[2], "_fast_mma"}};
void PrintTo(const FastForm &form, std::ostream *out) { *out << form.type.name << form.form; }

class DenseFastProduct : public testing::TestWithParam<FastForm>
{
  protected:
    void check(uint32_t n_rows, uint32_t n_cols, uint32_t n_tokens, bool is_logits = false, uint32_t n_more_blocks = 0)
    {
        const uint32_t n_tiles = (n_tokens + TN_CUDA_DENSE_FAST_TOKENS - 1) / TN_CUDA_DENSE_FAST_TOKENS;
        Product product(GetParam().type, {n_rows, n_cols, n_tokens, std::max(n_tiles, 1u) + n_more_blocks, is_logits, is_logits,
                                          n_more_blocks, GetParam().form});
        product.run();
        for (uint32_t t = 0; t < kTokens; t++) EXPECT_EQ(product.poison[t], UINT32_MAX) << t;
    }
};

TEST_P(DenseFastProduct, EveryNumberOfColumns)
{
    for (uint32_t n : {1u, 31u, 32u, 33u, 160u, 256u, 257u, 500u, 513u, 1300u}) check(37, n, 10);
    check(37, 1300, 20);
}
TEST_P(DenseFastProduct, EveryNumberOfRows)
{
    for (uint32_t n : {1u, 8u, 9u, 15u, 16u, 17u, 33u, 113u, 127u, 128u, 129u, 300u}) check(n, 288, 9);
}
TEST_P(DenseFastProduct, EveryNumberOfTokens)
{
    for (uint32_t n = 1; n <= 18; n++) check(20, 288, n);
    for (uint32_t n : {24u, 25u, 31u, 32u, 33u, 48u, 49u, 65u, 100u}) check(20, 288, n);
}
TEST_P(DenseFastProduct, BlocksWithoutRowsOrTokensDoNothing)
{
    check(128, 256, 12, false, 2);
    check(33, 256, 32, false, 1);
    check(33, 256, 0, false, 1);
}
TEST_P(DenseFastProduct, WantedRowsOfLogitsGoToTheOutput)
{
    for (uint32_t n : {0u, 1u, 12u, 40u}) check(77, 512, n, true);
}
// Halves end at 65504.
TEST_P(DenseFastProduct, LargeTokensKeepTheirDigits)
{
    Product product(GetParam().type, {40, 512, 11, 1, false, false, 0, GetParam().form});
    for (std::vector<float> &row : product.x) {
        for (float &value : row) value *= 0x1p40f;
    }
    product.run();
}
TEST_P(DenseFastProduct, PoisonIsNotedForTheTokenOfItsRow)
{
    for (const float bad : {INFINITY, -INFINITY, NAN, 0x1p90f}) {
        Product product(GetParam().type, {150, 512, 11, 1, true, false, 0, GetParam().form});
        product.x[9][100] = bad;
        product.run();
        for (uint32_t t = 0; t < kTokens; t++) EXPECT_EQ(product.poison[t], t == product.token(9) ? kNode : UINT32_MAX) << bad << ", " << t;
    }
}

std::string fast_form_name(const testing::TestParamInfo<FastForm> &info) { return std::string(info.param.type.name) + info.param.form; }
INSTANTIATE_TEST_SUITE_P(All, DenseFastProduct, testing::ValuesIn(kFastForms), fast_form_name);

// (1 + 2^-12)^2 - (1 + 2^-11) is 2^-24 only where the product is not rounded before the sum.
TEST(DenseProductBits, FastProductsAreFused)
{
    Product product(kDenseTypes[0], {1, 64, 1, 1, false, false, 0, "_fast"});
    float *packed = reinterpret_cast<float *>(const_cast<uint8_t *>(product.w.params().at));
    std::fill_n(packed, 128, 0.0f);
    std::fill(product.x[0].begin(), product.x[0].end(), 0.0f);
    packed[0] = 1.0f, product.x[0][0] = -(1.0f + 0x1p-11f);
    packed[1] = product.x[0][32] = 1.0f + 0x1p-12f;
    product.compute();
    EXPECT_EQ(product.y[0], 0x1p-24f);
}

// A sum of -0 is stored as +0, and a fused product would leave a difference here.
TEST(DenseProductBits, SumsAreRoundedProductByProduct)
{
    Product product(kDenseTypes[0], {1, 64, 1});
    float *packed = reinterpret_cast<float *>(const_cast<uint8_t *>(product.w.params().at));
    std::fill_n(packed, 128, 0.0f);
    std::fill(product.x[0].begin(), product.x[0].end(), -0.0f);
    packed[0] = 1.0f, product.x[0][0] = -(1.0f + 0x1p-11f);
    packed[1] = 1.0f + 0x1p-12f, product.x[0][32] = 1.0f + 0x1p-12f;
    float *file = reinterpret_cast<float *>(const_cast<uint8_t *>(product.w.file_row(0)));
    std::fill_n(file, 64, 0.0f);
    file[0] = packed[0], file[32] = packed[1];
    product.run();
    EXPECT_EQ(tn_bits(product.y[0]), 0u);
}

} // namespace
