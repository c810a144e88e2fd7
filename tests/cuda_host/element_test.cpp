// Sums and gated activations against src/ref, bit for bit.
#include "cuda_host/rows_rig.hpp"

using namespace cuda_host;

namespace
{

constexpr uint32_t kGridRows = 4, kNode = 6;

class Elements
{
  public:
    Elements(uint32_t op, uint32_t n, bool is_narrow)
        : op_(op), n_(n), stride_((n + 3) / 4 * 4), y_stride_(is_narrow ? n : stride_), poison(64, 0xff), y((size_t)kGridRows * y_stride_),
          a((size_t)kGridRows * stride_), b((size_t)kGridRows * stride_)
    {
        std::mt19937 random(n);
        for (uint32_t r = 0; r < kGridRows; r++) {
            const std::vector<float> row_a = random_floats(random, n, r == 1 ? 1e-8f : 3.0f), row_b = random_floats(random, n, 2.0f);
            std::copy(row_a.begin(), row_a.end(), &a[(size_t)r * stride_]);
            std::copy(row_b.begin(), row_b.end(), &b[(size_t)r * stride_]);
        }
        for (uint32_t i = 0; i < n; i += 3) b[i] = -a[i]; // sums of 0 and -0
    }
    // The submit's output has rows of n elements.
    void run(const std::vector<uint32_t> &logit_rows, bool is_logits, bool to_output)
    {
        n_rows_ = is_logits ? (uint32_t)logit_rows.size() : 3;
        const Step step(is_logits ? 40 : n_rows_, logit_rows, y.data());
        tn_cuda_element_params p = {};
        p.step = step.params();
        p.n = n_, p.op = op_;
        p.a = {a.data(), stride_};
        p.b = {b.data(), stride_};
        p.y = {to_output ? nullptr : y.data(), y_stride_};
        p.poison = {poison.data(), is_logits};
        p.node = kNode;
        launch("element", p, kGridRows, (n_ + TN_CUDA_ELEMENTS - 1) / TN_CUDA_ELEMENTS);
    }
    void expect_rows(uint32_t but = UINT32_MAX)
    {
        std::vector<float> want(n_);
        for (uint32_t r = 0; r < n_rows_; r++) {
            const float *row_a = &a[(size_t)r * stride_], *row_b = &b[(size_t)r * stride_];
            if (r == but) continue;
            if (op_ == TN_CUDA_BEHIND_ADD)
                tn_ref_add(row_a, row_b, n_, want.data());
            else
                tn_ref_glu(op_ == TN_CUDA_BEHIND_RELU2 ? TN_GLU_RELU2 : TN_GLU_SILU, row_a, row_b, n_, want.data());
            EXPECT_EQ(std::memcmp(want.data(), &y[(size_t)r * y_stride_], n_ * sizeof(float)), 0) << "row " << r << " of " << n_;
        }
        const uint8_t *rest = (const uint8_t *)(y.data() + (size_t)n_rows_ * y_stride_);
        const uint8_t *end = (const uint8_t *)(y.data() + y.size());
        EXPECT_TRUE(std::all_of(rest, end, [](uint8_t byte) { return byte == 0xcd; }));
    }

  private:
    uint32_t op_, n_, stride_, y_stride_, n_rows_ = 0;

  public:
    Memory<uint32_t> poison;
    Memory<float> y, a, b;
};

class Element : public testing::TestWithParam<uint32_t>
{
};

TEST_P(Element, EveryWidthHasTheBitsOfTheReference)
{
    for (uint32_t n : {1u, 3u, 4u, 5u, 255u, 1023u, 1024u, 1025u, 2560u}) {
        for (const bool to_output : {false, true}) {
            Elements elements(GetParam(), n, to_output);
            elements.run({}, false, to_output);
            elements.expect_rows();
            for (uint32_t t = 0; t < 64; t++) EXPECT_EQ(elements.poison[t], UINT32_MAX);
        }
    }
}

TEST_P(Element, PoisonIsNotedForTheTokenOfAWantedRow)
{
    Elements elements(GetParam(), 1026, false);
    elements.a[1028 + 1025] = INFINITY;
    elements.poison[5] = 2;
    elements.run({5, 17}, true, false);
    elements.expect_rows(1);
    for (uint32_t t = 0; t < 64; t++) EXPECT_EQ(elements.poison[t], t == 17 ? kNode : t == 5 ? 2u : UINT32_MAX) << t;
}

TEST_P(Element, NothingIsDoneWithoutRows)
{
    Elements elements(GetParam(), 40, false);
    elements.run({}, true, false);
    elements.expect_rows();
}

INSTANTIATE_TEST_SUITE_P(All, Element, testing::Values(TN_CUDA_BEHIND_ADD, TN_CUDA_BEHIND_RELU2, TN_CUDA_BEHIND_SILU));

} // namespace
