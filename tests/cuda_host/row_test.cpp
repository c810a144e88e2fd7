// NORM, NORM_QUANT and QUANT of rows against src/ref, bit for bit.
#include "cuda_host/rows_rig.hpp"

using namespace cuda_host;

namespace
{

constexpr float kEps = 1e-5f;
const uint32_t kLengths[] = {1,   2,    31,   32,   33,   127,  128,  129,  255,  256,  257,  300,   640,
                             900, 1024, 2048, 2049, 2560, 3072, 3328, 6912, 8192, 8193, 8448, 28672, 131200};

// Rows of one length through the kernel `row`, or `row_many`.
class Rows
{
  public:
    Rows(uint32_t op, uint32_t n, const std::vector<std::vector<float>> &rows, bool is_permuted = false)
        : op_(op), is_permuted_(is_permuted), n_(n), x_stride_((n + 3) / 4 * 4), stride_((n + 127) / 128 * 128),
          n_rows_((uint32_t)rows.size()), x_(rows.size() * x_stride_), y_(rows.size() * x_stride_), codes_(rows.size() * stride_),
          scales_(rows.size()), sums_(rows.size()), poison_(64, 0xff)
    {
        std::mt19937 random(n);
        gains_ = random_floats(random, n, 1.0f);
        packed_ = pack_gains(gains_);
        for (size_t r = 0; r < rows.size(); r++) std::copy(rows[r].begin(), rows[r].end(), &x_[r * x_stride_]);
    }

    // The grid is that of `grid` rows, the step has `n_tokens` or as many wanted rows as logit_rows names.
    void run(uint32_t grid, uint32_t n_tokens, const std::vector<uint32_t> &logit_rows, bool is_logits, bool to_output)
    {
        Step step(n_tokens, logit_rows, y_.data());
        tn_cuda_row_params p = {};
        p.step = step.params();
        p.row = row_op(op_, n_, packed_->data(), kEps);
        p.x = {x_.data(), x_stride_};
        p.y = {to_output ? nullptr : y_.data(), x_stride_};
        p.codes = {codes_.data(), stride_, scales_.data(), sums_.data(), is_permuted_};
        p.poison = {poison_.data(), is_logits};
        p.node = 7;
        p.n_teams = tn_cuda_row_many_teams(n_);
        launch(kernel, p, grid);
    }
    void expect_row(uint32_t r)
    {
        const float *x = &x_[(size_t)r * x_stride_];
        if (op_ == TN_CUDA_ROW_NORM) {
            std::vector<float> y(n_);
            tn_ref_norm(x, gains_.data(), n_, kEps, y.data());
            EXPECT_EQ(std::memcmp(y.data(), &y_[(size_t)r * x_stride_], n_ * sizeof(float)), 0) << "row " << r << " of " << n_;
            return;
        }
        const Codes want = quantised(op_, x, gains_, n_, kEps);
        const int8_t *got = &codes_[(size_t)r * stride_];
        std::vector<int8_t> all(stride_);
        for (uint32_t i = 0; i < n_; i++) all[is_permuted_ ? permuted(i) : i] = want.codes[i];
        EXPECT_EQ(std::memcmp(all.data(), got, stride_), 0) << "row " << r << " of " << n_;
        EXPECT_PRED2(same_bits, want.scale, scales_[r]);
        EXPECT_EQ(want.sum, sums_[r]);
    }
    void expect_untouched(uint32_t r)
    {
        const auto is_fill = [](uint8_t byte) { return byte == 0xcd; };
        const uint8_t *codes = (const uint8_t *)&codes_[(size_t)r * stride_], *y = (const uint8_t *)&y_[(size_t)r * x_stride_];
        EXPECT_TRUE(std::all_of(codes, codes + stride_, is_fill) && std::all_of(y, y + x_stride_ * sizeof(float), is_fill)) << r;
    }
    uint32_t n_rows() const { return n_rows_; }
    const char *kernel = "row";
    Memory<uint32_t> &poison() { return poison_; }

  private:
    uint32_t op_;
    bool is_permuted_;
    uint32_t n_, x_stride_, stride_, n_rows_;
    Memory<float> x_, y_;
    Memory<int8_t> codes_;
    Memory<float> scales_;
    Memory<int32_t> sums_;
    Memory<uint32_t> poison_;
    std::vector<float> gains_;
    std::unique_ptr<Memory<float>> packed_;
};

// Rows of usual size, of zeros, of values so small that the smallest scale holds, of one large value among small ones, and of large ones.
std::vector<std::vector<float>> rows_of_all_kinds(uint32_t n)
{
    std::mt19937 random(n);
    std::vector<std::vector<float>> rows = {random_floats(random, n, 1.0f), std::vector<float>(n, 0.0f), random_floats(random, n, 1e-9f),
                                            random_floats(random, n, 1e-3f), random_floats(random, n, 1e12f)};
    rows[3][n / 2] = -1000.0f;
    return rows;
}

class RowOps : public testing::TestWithParam<uint32_t>
{
};

TEST_P(RowOps, EveryLengthHasTheBitsOfTheReference)
{
    for (const bool is_permuted : {false, true}) {
        for (uint32_t n : kLengths) {
            Rows rows(GetParam(), n, rows_of_all_kinds(n), is_permuted);
            rows.run(rows.n_rows(), rows.n_rows(), {}, false, false);
            for (uint32_t r = 0; r < rows.n_rows(); r++) rows.expect_row(r);
            for (uint32_t t = 0; t < 5; t++) EXPECT_EQ(rows.poison()[t], UINT32_MAX);
        }
    }
}

TEST_P(RowOps, RowsThatTheStepLacksAreLeftAlone)
{
    Rows rows(GetParam(), 384, rows_of_all_kinds(384));
    rows.run(rows.n_rows(), 3, {}, false, true);
    for (uint32_t r = 0; r < 3; r++) rows.expect_row(r);
    for (uint32_t r = 3; r < 5; r++) rows.expect_untouched(r);
}

TEST_P(RowOps, WantedRowsOfLogitsAreCountedAsSuch)
{
    Rows rows(GetParam(), 384, rows_of_all_kinds(384));
    rows.run(rows.n_rows(), 40, {3, 39}, true, false);
    for (uint32_t r = 0; r < 2; r++) rows.expect_row(r);
    for (uint32_t r = 2; r < 5; r++) rows.expect_untouched(r);
}

INSTANTIATE_TEST_SUITE_P(All, RowOps, testing::Values(TN_CUDA_ROW_NORM, TN_CUDA_ROW_NORM_QUANT, TN_CUDA_ROW_QUANT));

class RowManyOps : public testing::TestWithParam<uint32_t>
{
};

// By blocks that have a row for each team, some a row and some none, and that walk over all of them.
TEST_P(RowManyOps, EveryLengthHasTheBitsOfTheReference)
{
    for (uint32_t n : kLengths) {
        if (tn_cuda_row_many_teams(n) == 0) continue;
        for (uint32_t grid : {1u, 2u, 5u}) {
            Rows rows(GetParam(), n, rows_of_all_kinds(n), grid != 2);
            rows.kernel = "row_many";
            rows.run(grid, rows.n_rows(), {}, false, false);
            for (uint32_t r = 0; r < rows.n_rows(); r++) rows.expect_row(r);
        }
    }
}

TEST_P(RowManyOps, RowsThatTheStepLacksAreLeftAlone)
{
    for (uint32_t n_rows : {0u, 2u, 3u}) {
        Rows rows(GetParam(), 512, rows_of_all_kinds(512));
        rows.kernel = "row_many";
        rows.run(2, n_rows, {}, false, false);
        for (uint32_t r = 0; r < n_rows; r++) rows.expect_row(r);
        for (uint32_t r = n_rows; r < 5; r++) rows.expect_untouched(r);
    }
}

TEST_P(RowManyOps, WantedRowsOfLogitsAreCountedAsSuch)
{
    Rows rows(GetParam(), 512, rows_of_all_kinds(512));
    rows.kernel = "row_many";
    rows.run(1, 40, {3, 39}, true, false);
    for (uint32_t r = 0; r < 2; r++) rows.expect_row(r);
    for (uint32_t r = 2; r < 5; r++) rows.expect_untouched(r);
}

INSTANTIATE_TEST_SUITE_P(All, RowManyOps, testing::Values(TN_CUDA_ROW_NORM_QUANT, TN_CUDA_ROW_QUANT));

TEST(Row, PoisonIsNotedForTheTokenOfTheRow)
{
    std::mt19937 random(5);
    const uint32_t n = 300;
    std::vector<std::vector<float>> values = {random_floats(random, n, 1.0f), random_floats(random, n, 1.0f),
                                              random_floats(random, n, 1.0f)};
    values[1][299] = NAN;
    Rows rows(TN_CUDA_ROW_NORM, n, values);
    rows.poison()[9] = 3;
    rows.run(3, 40, {4, 8, 9}, true, true);
    for (uint32_t t = 0; t < 64; t++) EXPECT_EQ(rows.poison()[t], t == 8 ? 7u : t == 9 ? 3u : UINT32_MAX) << t;
    rows.expect_row(0);
    rows.expect_row(2);
}

TEST(Row, CodesOfPoisonedRowsStayTheirOwn)
{
    for (const float bad : {NAN, INFINITY}) {
        std::vector<std::vector<float>> values = rows_of_all_kinds(640);
        values[2][17] = bad;
        Rows rows(TN_CUDA_ROW_NORM_QUANT, 640, values);
        rows.run(5, 5, {}, false, false);
        for (uint32_t r : {0u, 1u, 3u, 4u}) rows.expect_row(r);
        EXPECT_EQ(rows.poison()[2], UINT32_MAX); // whoever stored the value has said so
    }
}

} // namespace
