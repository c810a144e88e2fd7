// Embedding rows against src/ref, bit for bit.
#include "cuda_host/dense_rig.hpp"
#include "cuda_host/rows_rig.hpp"

using namespace cuda_host;

namespace
{

// Embeds `tokens` with a grid of n_grid rows; the rows lie stride elements apart.
class Embedding
{
  public:
    Embedding(const DenseType &type, uint32_t n_vocab, uint32_t n, uint32_t n_grid)
        : name_(std::string("embed_") + type.name), n_grid_(n_grid), stride_((n + 3) / 4 * 4), table(type.type, n_vocab, n, n),
          y((size_t)n_grid * stride_), poison(n_grid, 0xff), codes_((size_t)n_grid * codes_stride()), scales_(n_grid), sums_(n_grid)
    {
    }
    // behind: what is done with the rows, TN_CUDA_ROW_*.
    void run(const std::vector<uint32_t> &tokens, bool to_output, uint32_t behind = TN_CUDA_ROW_NONE)
    {
        std::mt19937 random(7);
        const std::vector<float> gains = random_floats(random, table.n_cols(), 1.0f);
        const auto packed = pack_gains(gains);
        Memory<uint32_t> words(64);
        const uint64_t output = (uint64_t)(uintptr_t)y.data();
        words[0] = (uint32_t)tokens.size();
        words[42] = (uint32_t)output, words[43] = (uint32_t)(output >> 32);
        std::copy(tokens.begin(), tokens.end(), &words[16]);
        tn_cuda_embed_params p = {};
        p.step.words = words.data();
        p.step.tokens = 16;
        p.step.addresses = 40;
        p.w = table.params();
        p.y = {to_output ? nullptr : y.data(), stride_};
        p.poison = {poison.data(), 0};
        p.node = 1;
        if (behind != TN_CUDA_ROW_NONE) p.behind = row_op(behind, table.n_cols(), packed->data(), 1e-5f);
        p.codes = {codes_.data(), codes_stride(), scales_.data(), sums_.data(), 0};
        launch(name_.c_str(), p, n_grid_);
        for (uint32_t r = 0; r < n_grid_; r++) {
            expect_row(r, tokens);
            expect_codes(r, r < tokens.size() ? behind : (uint32_t)TN_CUDA_ROW_NONE, gains);
        }
    }

  private:
    void expect_row(uint32_t r, const std::vector<uint32_t> &tokens)
    {
        const float *got = &y[(size_t)r * stride_];
        const uint8_t *bytes = (const uint8_t *)got;
        const size_t n_bytes = r < tokens.size() ? table.n_cols() * sizeof(float) : 0;
        EXPECT_TRUE(std::all_of(bytes + n_bytes, bytes + stride_ * sizeof(float), [](uint8_t byte) { return byte == 0xcd; })) << r;
        if (r >= tokens.size()) return;
        std::vector<float> want(table.n_cols());
        tn_ref_embed(table.type(), table.file_row(tokens[r]), table.n_cols(), want.data());
        EXPECT_EQ(std::memcmp(want.data(), got, n_bytes), 0) << "row " << r << " of " << table.n_cols();
    }
    void expect_codes(uint32_t r, uint32_t behind, const std::vector<float> &gains)
    {
        const uint32_t n = table.n_cols();
        const int8_t *got = &codes_[(size_t)r * codes_stride()];
        if (behind == TN_CUDA_ROW_NONE) {
            EXPECT_TRUE(std::all_of(got, got + codes_stride(), [](int8_t code) { return (uint8_t)code == 0xcd; })) << r;
            EXPECT_EQ((uint32_t)sums_[r], 0xcdcdcdcdu);
            return;
        }
        const Codes want = quantised(behind, &y[(size_t)r * stride_], gains, n, 1e-5f);
        EXPECT_EQ(std::memcmp(want.codes.data(), got, n), 0) << "row " << r << " of " << n;
        EXPECT_TRUE(std::all_of(got + n, got + codes_stride(), [](int8_t code) { return code == 0; })) << "row " << r << " of " << n;
        EXPECT_PRED2(same_bits, want.scale, scales_[r]);
        EXPECT_EQ(want.sum, sums_[r]);
    }
    uint32_t codes_stride() const { return (stride_ + 127) / 128 * 128; }
    std::string name_;
    uint32_t n_grid_, stride_;

  public:
    Dense table;
    Memory<float> y;
    Memory<uint32_t> poison;

  private:
    Memory<int8_t> codes_;
    Memory<float> scales_;
    Memory<int32_t> sums_;
};

class Embed : public testing::TestWithParam<DenseType>
{
};

TEST_P(Embed, EveryWidthHasTheBitsOfTheReference)
{
    for (uint32_t n : {1u, 31u, 33u, 127u, 129u, 256u, 288u, 352u, 512u, 1056u, 4352u}) {
        if (n % GetParam().block != 0) continue;
        Embedding embedding(GetParam(), 70, n, 5);
        embedding.run({69, 0, 1, 33, 33}, false);
        for (uint32_t t = 0; t < 5; t++) EXPECT_EQ(embedding.poison[t], UINT32_MAX);
    }
}

TEST_P(Embed, CodesOfItsRowsAreMadeWhereTheyAreWanted)
{
    for (uint32_t n : {1u, 33u, 256u, 288u, 1056u, 4352u}) {
        if (n % GetParam().block != 0) continue;
        for (const uint32_t behind : {TN_CUDA_ROW_NORM_QUANT, TN_CUDA_ROW_QUANT}) {
            Embedding embedding(GetParam(), 70, n, 5);
            embedding.run({69, 0, 1}, false, behind);
        }
    }
}

TEST_P(Embed, RowsThatTheStepLacksAreLeftAlone)
{
    Embedding embedding(GetParam(), 40, 512, 9);
    embedding.run({7, 39, 32}, true);
    Embedding nothing(GetParam(), 40, 512, 9);
    nothing.run({}, true);
}

INSTANTIATE_TEST_SUITE_P(All, Embed, testing::ValuesIn(kDenseTypes), dense_type_name);

TEST(EmbedPoison, IsNotedForTheTokenOfTheRow)
{
    Embedding embedding(kDenseTypes[0], 4, 64, 3);
    float *packed = reinterpret_cast<float *>(const_cast<uint8_t *>(embedding.table.params().at));
    packed[2 * 128 + 5] = INFINITY;
    const uint32_t row_of_words[] = {0, 2, 1};
    Memory<uint32_t> words(64);
    words[0] = 3;
    std::copy(row_of_words, row_of_words + 3, &words[16]);
    tn_cuda_embed_params p = {};
    p.step.words = words.data();
    p.step.tokens = 16;
    p.w = embedding.table.params();
    p.y = {embedding.y.data(), 64};
    p.poison = {embedding.poison.data(), 0};
    p.node = 1;
    launch("embed_f32", p, 3);
    EXPECT_EQ(embedding.poison[0], UINT32_MAX);
    EXPECT_EQ(embedding.poison[1], 1u);
    EXPECT_EQ(embedding.poison[2], UINT32_MAX);
}

} // namespace
