// norm, norm_quant and quant on the device against src/ref, bit by bit.
#include "vulkan/code_forms.hpp"
#include "vulkan/shader_rig.hpp"

#include <algorithm>
#include <gtest/gtest.h>
#include <random>

extern "C" {
#include "ref/ref.h"
}
#include "vulkan/shaders/shader_params.h"

namespace vulkan_test
{
namespace
{

constexpr uint32_t kNorm = 0, kNormQuant = 1, kQuant = 2; // ROW_OP
constexpr uint32_t kKinds = 6, kCanary = 0xdddddddd;
const std::string kLoop = TN_TEST_SPIRV "/row_loop.spv";
constexpr float kEps = 1e-5f;

// Where everything lies: rows of x, then codes, scales and sums, each followed by words that must not change.
struct Layout {
    uint32_t n_rows, n, n_padded, x_stride, x_at, y_at, y_stride, scales, sums, n_words;
    Layout(uint32_t rows, uint32_t n_elements, uint32_t form)
        : n_rows(rows), n(n_elements), n_padded((n + 255) / 256 * 256), x_stride((n + 3) / 4 * 4 + 4), x_at(8),
          y_at(x_at + rows * x_stride + 3), y_stride(form == kDot ? n_padded / 4 : n_padded / 2), scales(y_at + rows * y_stride + 1),
          sums(scales + rows + 1), n_words(sums + rows + 1)
    {
    }
};

// Rows that take every way through the ops: ordinary, with values that squares lose, all zero, tiny (the smallest scale), near it, large.
std::vector<float> make_rows(uint32_t n_rows, uint32_t n, std::mt19937 &random)
{
    std::uniform_real_distribution<float> value(-3.0f, 3.0f);
    const float sizes[kKinds] = {1.0f, 0x1p-24f, 0.0f, 0x1p-40f, 1e-6f, 0x1p50f};
    std::vector<float> x(size_t(n_rows) * n);
    for (uint32_t i = 0; i < x.size(); i++) {
        const uint32_t kind = i / n % kKinds;
        x[i] = tn_fl(value(random) * sizes[kind] * (i % 29 == 0 && kind == 1 ? 0x1p20f : 1.0f));
    }
    return x;
}

class Case
{
  public:
    Case(ShaderRig *rig, uint32_t n, uint32_t form, uint32_t n_rows = kKinds)
        : rig_(rig), form_(form), at_(n_rows, n, form), random_(n), x_(make_rows(n_rows, n, random_)), gains_(n)
    {
        std::uniform_real_distribution<float> gain(-2.0f, 2.0f);
        for (float &g : gains_) g = gain(random_);
        p_.n = n;
        p_.in_at = at_.x_at;
        p_.in_stride = at_.x_stride;
        p_.eps = kEps;
        p_.recip_n = float(1.0 / n);
        p_.scales = at_.scales;
        p_.sums = at_.sums;
        p_.node = 7;
        // What lies between the rows and behind the gains is NaN: it must not count.
        arena_.assign(at_.n_words, 0xffffffff);
        for (uint32_t i = 0; i < x_.size(); i++) arena_[at_.x_at + i / n * at_.x_stride + i % n] = bits_of(x_[i]);
        b_.weights.assign((n + 7) / 4 * 4, 0xffffffff);
        for (uint32_t i = 0; i < n; i++) b_.weights[i] = bits_of(gains_[i]);
    }
    float *row(uint32_t r) { return &x_[size_t(r) * at_.n]; }
    // Puts a changed row where the device reads it.
    void update(uint32_t r)
    {
        for (uint32_t i = 0; i < at_.n; i++) arena_[at_.x_at + r * at_.x_stride + i] = bits_of(row(r)[i]);
    }
    void run(const std::string &shader, uint32_t invocations, uint32_t op, uint32_t y_at, uint32_t y_stride)
    {
        p_.y_at = y_at;
        p_.y_stride = y_stride;
        b_.arena = arena_;
        b_.state.assign(at_.n_rows, 0xffffffff);
        b_.out.assign(y_at + at_.n_rows * size_t(y_stride) + 1, kCanary);
        const std::vector<uint32_t> constants = {invocations, op, form_};
        if (shader == kLoop) { // all rows by one workgroup, which reads them elsewhere
            b_.kv = arena_;
            for (uint32_t i = at_.x_at; i < at_.y_at; i++) b_.arena[i] = kCanary;
            const struct {
                tn_vk_row_params p;
                uint32_t n_rows;
            } all = {p_, at_.n_rows};
            rig_->run(shader, constants, all, 1, 1, 1, &b_);
            std::copy(arena_.begin() + at_.x_at, arena_.begin() + at_.y_at, b_.arena.begin() + at_.x_at);
        } else {
            rig_->run(shader, constants, p_, at_.n_rows, 1, 1, &b_);
        }
    }
    void check_codes(const std::string &shader, uint32_t invocations, uint32_t op)
    {
        std::vector<uint32_t> want = arena_;
        for (uint32_t r = 0; r < at_.n_rows; r++) {
            std::vector<int8_t> q(at_.n);
            float scale;
            int32_t sum;
            if (op == kQuant)
                tn_ref_quant(row(r), at_.n, q.data(), &scale, &sum);
            else
                tn_ref_norm_quant(row(r), gains_.data(), at_.n, kEps, q.data(), &scale, &sum);
            const std::vector<uint32_t> words = words_of_codes(q, at_.n_padded, form_);
            memcpy(&want[at_.y_at + r * at_.y_stride], words.data(), words.size() * sizeof(uint32_t));
            want[at_.scales + r] = bits_of(scale);
            want[at_.sums + r] = uint32_t(sum);
        }
        run(shader, invocations, op, at_.y_at, at_.y_stride);
        expect_same(b_.arena, want);
    }
    void check_norm(const std::string &shader, uint32_t invocations)
    {
        const uint32_t stride = at_.n + 1, at = 3;
        std::vector<uint32_t> want(at + at_.n_rows * size_t(stride) + 1, kCanary);
        std::vector<float> y(at_.n);
        std::vector<uint32_t> want_state(at_.n_rows, 0xffffffff);
        for (uint32_t r = 0; r < at_.n_rows; r++) {
            if (tn_ref_norm(row(r), gains_.data(), at_.n, kEps, y.data()) >= TN_ABS_BITS_2P56) want_state[r] = p_.node;
            memcpy(&want[at + r * stride], y.data(), at_.n * sizeof(float));
        }
        run(shader, invocations, kNorm, at, stride);
        expect_same(b_.out, want);
        EXPECT_EQ(b_.state, want_state);
    }
    const Bindings &bindings() const { return b_; }
    const Layout &layout() const { return at_; }
    void set_gains(float g)
    {
        for (uint32_t i = 0; i < at_.n; i++) b_.weights[i] = bits_of(gains_[i] = g);
    }
    const std::vector<uint32_t> &arena_before() const { return arena_; }

  private:
    static void expect_same(const std::vector<uint32_t> &is, const std::vector<uint32_t> &want)
    {
        ASSERT_EQ(is.size(), want.size());
        const size_t i = size_t(std::mismatch(is.begin(), is.end(), want.begin()).first - is.begin());
        if (i < is.size()) FAIL() << "word " << i << " is 0x" << std::hex << is[i] << ", not 0x" << want[i];
    }
    ShaderRig *rig_;
    uint32_t form_;
    Layout at_;
    std::mt19937 random_;
    std::vector<float> x_, gains_;
    std::vector<uint32_t> arena_;
    tn_vk_row_params p_ = {};
    Bindings b_;
};

class RowQuant : public testing::TestWithParam<uint32_t>
{
};

TEST_P(RowQuant, EqualsTheReferenceForEveryLengthAndForm)
{
    const uint32_t invocations = GetParam();
    ShaderRig rig;
    for (uint32_t n : {1u, 3u, 4u, 29u, 32u, 33u, 255u, 256u, 257u, 1021u, 2560u, 6912u}) {
        for (uint32_t form : {kDot, kMul}) {
            Case c(&rig, n, form);
            const char *shader = (n + form) % 2 == 0 ? "row_quant" : "row_quant_texel";
            SCOPED_TRACE(testing::Message() << shader << " n " << n << " form " << form);
            if (form == kDot) c.check_norm(shader, invocations);
            c.check_codes(shader, invocations, kNormQuant);
            c.check_codes(shader, invocations, kQuant);
            if (HasFatalFailure()) return;
        }
    }
}
INSTANTIATE_TEST_SUITE_P(Invocations, RowQuant, testing::Values(8u, 32u, 64u, 128u, 256u, 512u));

// Another order of SUM changes the results of some rows only, some four in a hundred.
TEST(RowQuantOrder, ManyRowsEqualTheReference)
{
    ShaderRig rig;
    for (uint32_t invocations : {32u, 256u}) Case(&rig, 2777, kDot, 400).check_norm("row_quant", invocations);
}

TEST(RowQuantFunctions, RowsMayFollowEachOtherInAWorkgroupAndLieAnywhere)
{
    ShaderRig rig;
    for (uint32_t invocations : {8u, 64u, 256u}) {
        for (uint32_t n : {29u, 1021u, 6912u}) {
            Case c(&rig, n, n % 2 ? kMul : kDot, 24);
            c.check_norm(kLoop, invocations);
            c.check_codes(kLoop, invocations, kNormQuant);
            c.check_codes(kLoop, invocations, kQuant);
            if (HasFatalFailure()) return;
        }
    }
}

TEST(RowQuantLong, RowsOf65536ElementsNeedNoMoreSharedMemory)
{
    ShaderRig rig;
    for (uint32_t invocations : {8u, 256u}) {
        Case c(&rig, 65536 - 3, kDot);
        c.check_norm("row_quant", invocations);
        c.check_codes("row_quant", invocations, kNormQuant);
        c.check_codes("row_quant", invocations, kQuant);
    }
}

TEST(RowQuantPoison, RowsBeyondTheBoundAreMarkedAndOthersKeepTheirBits)
{
    ShaderRig rig;
    Case c(&rig, 300, kDot);
    c.set_gains(0x1p53f); // a normalised value of at least 8 is poison then: one large element among small ones
    for (uint32_t i = 0; i < 300; i++) c.row(1)[i] = i == 299 ? 1.0f : 0x1p-10f;
    c.update(1);
    c.check_norm("row_quant", 64);
    EXPECT_EQ(c.bindings().state[1], 7u);
    EXPECT_EQ(c.bindings().state[2], 0xffffffffu);
}

// Infinities and NaN come in only where a row is poisoned already. Its results do not matter, those of others do, and nothing else is
// written.
TEST(RowQuantPoison, NotANumberStaysInItsRow)
{
    ShaderRig rig;
    for (uint32_t op : {kNormQuant, kQuant}) {
        for (uint32_t form : {kDot, kMul}) {
            Case c(&rig, 300, form);
            Bindings clean;
            c.run("row_quant", 64, op, c.layout().y_at, c.layout().y_stride);
            clean = c.bindings();
            c.row(3)[17] = float_of(0x7fc00000);
            c.row(4)[299] = float_of(0xff800000);
            c.update(3);
            c.update(4);
            c.run("row_quant", 64, op, c.layout().y_at, c.layout().y_stride);
            const Layout &at = c.layout();
            for (uint32_t i = at.y_at - 1; i < at.n_words; i++) {
                const bool is_code = i >= at.y_at && i < at.y_at + at.n_rows * at.y_stride;
                const uint32_t row = is_code ? (i - at.y_at) / at.y_stride : i < at.sums ? i - at.scales : i - at.sums;
                if (i >= at.y_at && (row == 3 || row == 4)) continue;
                ASSERT_EQ(c.bindings().arena[i], clean.arena[i]) << "word " << i;
            }
        }
    }
}

} // namespace
} // namespace vulkan_test
