// RoPE and KV append on the device against src/ref: turned queries, and every word of the pages.
#include "vulkan/shader_rig.hpp"

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

constexpr uint32_t kRows = 6, kPages = 5, kContext = 300, kPagesOfSeq = 3, kPositions = 128, kCanary = 0xdddddddd;
// Rows of three sequences, at both sides of page borders; the last token's page is not of this binding: nothing may be written for it.
constexpr uint32_t kSeqs[kRows] = {0, 0, 0, 1, 2, 2}, kPositionOf[kRows] = {126, 127, 128, 0, 255, 256};
constexpr uint32_t kTable[3][kPagesOfSeq] = {{3, 1, 77}, {4, 88, 99}, {7, 0, kPages}};

struct Shape {
    uint32_t n_q, n_kv, head_dim;
    bool adjacent, k_turn;
};

// The words of the KV binding, by the description of its layout.
class Pages
{
  public:
    Pages(uint32_t n_kv, uint32_t head_dim) : head_dim_(head_dim), head_words_(128 * (head_dim + 2)), n_kv_(n_kv)
    {
        words_.assign(size_t(kPages) * n_kv * head_words_ + 7, kCanary);
    }
    void put(uint32_t page, uint32_t head, uint32_t pos, bool is_key, const std::vector<int16_t> &codes, float scale)
    {
        uint32_t *begin = &words_[size_t(page) * n_kv_ * head_words_ + head * head_words_];
        for (uint32_t d = 0; d < head_dim_; d++) {
            uint32_t word;
            if (!is_key)
                word = 64 * head_dim_ + pos * (head_dim_ / 2) + d / 2;
            else if (head_dim_ % 8 == 0)
                word = (d / 8 * 128 + pos) * 4 + d % 8 / 2;
            else
                word = d / 2 * 128 + pos;
            uint16_t halves[2];
            memcpy(halves, &begin[word], sizeof halves);
            halves[d % 2] = uint16_t(codes[d]);
            memcpy(&begin[word], halves, sizeof halves);
        }
        begin[128 * head_dim_ + (is_key ? 0 : 128) + pos] = bits_of(scale);
    }
    const std::vector<uint32_t> &words() const { return words_; }

  private:
    uint32_t head_dim_, head_words_, n_kv_;
    std::vector<uint32_t> words_;
};

class Case
{
  public:
    Case(ShaderRig *rig, const Shape &shape) : rig_(rig), s_(shape), random_(shape.head_dim + shape.n_q)
    {
        std::uniform_real_distribution<float> value(-4.0f, 4.0f), unit(-1.0f, 1.0f);
        fill_params();
        b_.arena.assign(p_.v_at + kRows * p_.v_stride, 0xffffffff);
        for (uint32_t r = 0; r < kRows; r++) {
            for (uint32_t i = 0; i < s_.n_q * s_.head_dim; i++) set(p_.q_at + r * p_.q_stride + i, value(random_));
            for (uint32_t i = 0; i < s_.n_kv * s_.head_dim; i++) {
                const float size = (i / s_.head_dim + r) % 4 == 1 ? 0x1p-31f : (i / s_.head_dim + r) % 4 == 2 ? 0x1p-28f : 1.0f;
                set(p_.k_at + r * p_.k_stride + i, 0.25f * value(random_) * size);
                set(p_.v_at + r * p_.v_stride + i, 0.25f * value(random_) * size);
            }
        }
        b_.weights.assign(kContext * s_.head_dim, 0);
        for (uint32_t i = 0; i < kContext * s_.head_dim; i++) b_.weights[i] = bits_of(unit(random_));
        b_.step.assign(64, 0xffffffff);
        for (uint32_t r = 0; r < kRows; r++) {
            b_.step[p_.step.positions + r] = kPositionOf[r];
            b_.step[p_.step.seqs + r] = kSeqs[r];
        }
        for (uint32_t i = 0; i < 3 * kPagesOfSeq; i++) b_.step[p_.step.page_table + i] = kTable[i / kPagesOfSeq][i % kPagesOfSeq];
    }
    void set(uint32_t at, float x) { b_.arena[at] = bits_of(x); }
    const tn_vk_rope_params &params() const { return p_; }
    tn_vk_rope_params &params() { return p_; }

    void check(uint32_t invocations, const char *shader = "rope_append", uint32_t wide = 1)
    {
        wide = wide && s_.head_dim % 8 == 0;
        SCOPED_TRACE(testing::Message() << shader << " head_dim " << s_.head_dim << " invocations " << invocations << " adjacent "
                                        << s_.adjacent);
        want_q_.assign(p_.qy_at + kRows * p_.qy_stride + 1, kCanary);
        want_state_.assign(kRows, 0xffffffff);
        Pages pages(s_.n_kv, s_.head_dim);
        for (uint32_t r = 0; r < kRows; r++) expect_row(r, &pages);
        Bindings b = b_;
        b.kv = Pages(s_.n_kv, s_.head_dim).words();
        b.state.assign(kRows, 0xffffffff);
        b.out.assign(want_q_.size(), kCanary);
        rig_->run(shader, {invocations, wide}, p_, p_.n_q + p_.n_k + p_.n_v, kRows, 1, &b);
        EXPECT_EQ(memcmp(b.out.data(), want_q_.data(), want_q_.size() * 4), 0);
        EXPECT_EQ(b.state, want_state_);
        ASSERT_EQ(b.kv.size(), pages.words().size());
        for (size_t i = 0; i < b.kv.size(); i++) ASSERT_EQ(b.kv[i], pages.words()[i]) << "word " << i << " of the pages";
    }

  private:
    void fill_params()
    {
        p_.step.positions = 5;
        p_.step.seqs = 16;
        p_.step.page_table = 32;
        p_.step.n_seq_pages = kPagesOfSeq;
        p_.head_dim = s_.head_dim;
        p_.adjacent = s_.adjacent;
        const uint32_t odd = s_.head_dim % 8 != 0; // offsets need no alignment then
        p_.n_q = s_.n_q;
        p_.q_at = 4 - odd;
        p_.q_stride = s_.n_q * s_.head_dim + 4 - 3 * odd;
        p_.qy_at = 8 - odd;
        p_.qy_stride = s_.n_q * s_.head_dim + 4 - odd;
        p_.q_node = 21;
        p_.n_k = p_.n_v = s_.n_kv;
        p_.k_at = p_.q_at + kRows * p_.q_stride;
        p_.k_stride = s_.n_kv * s_.head_dim + 4 - 2 * odd;
        p_.k_turn = s_.k_turn;
        p_.k_node = 22;
        p_.v_at = p_.k_at + kRows * p_.k_stride;
        p_.v_stride = s_.n_kv * s_.head_dim;
        p_.n_pages = kPages;
        p_.a_qk = uint32_t(tn_kv_a_qk(s_.head_dim));
        p_.recip_a_qk = float(1.0 / double(p_.a_qk));
    }
    std::vector<float> floats(uint32_t at, uint32_t n) const
    {
        std::vector<float> x(n);
        for (uint32_t i = 0; i < n; i++) x[i] = float_of(b_.arena[at + i]);
        return x;
    }
    uint32_t turn(uint32_t row, std::vector<float> *x, uint32_t n_heads) const
    {
        const std::vector<uint32_t> &w = b_.weights;
        std::vector<float> table(s_.head_dim);
        for (uint32_t i = 0; i < s_.head_dim; i++) table[i] = float_of(w[kPositionOf[row] * s_.head_dim + i]);
        return tn_ref_rope(x->data(), table.data(), n_heads, s_.head_dim, s_.adjacent ? TN_ROPE_ADJACENT : TN_ROPE_HALVES, x->data());
    }
    void expect_row(uint32_t r, Pages *pages)
    {
        std::vector<float> q = floats(p_.q_at + r * p_.q_stride, p_.n_q * s_.head_dim);
        if (p_.n_q > 0 && turn(r, &q, p_.n_q) >= TN_ABS_BITS_2P56) want_state_[r] = p_.q_node;
        for (uint32_t i = 0; i < q.size(); i++) want_q_[p_.qy_at + r * p_.qy_stride + i] = bits_of(q[i]);
        std::vector<float> k = floats(p_.k_at + r * p_.k_stride, p_.n_k * s_.head_dim);
        const std::vector<float> v = floats(p_.v_at + r * p_.v_stride, p_.n_v * s_.head_dim);
        if (p_.n_k > 0 && p_.k_turn && turn(r, &k, p_.n_k) >= TN_ABS_BITS_2P56) want_state_[r] = std::min(want_state_[r], p_.k_node);
        const uint32_t page = kTable[kSeqs[r]][kPositionOf[r] / kPositions];
        if (page >= kPages) return;
        std::vector<int16_t> codes(s_.head_dim);
        float scale;
        for (uint32_t h = 0; h < s_.n_kv; h++) {
            if (p_.n_k > 0) {
                tn_ref_quant_head(&k[h * s_.head_dim], s_.head_dim, tn_kv_a_qk(s_.head_dim), codes.data(), &scale);
                pages->put(page, h, kPositionOf[r] % kPositions, true, codes, scale);
            }
            if (p_.n_v > 0) {
                tn_ref_quant_head(&v[h * s_.head_dim], s_.head_dim, TN_KV_A_V, codes.data(), &scale);
                pages->put(page, h, kPositionOf[r] % kPositions, false, codes, scale);
            }
        }
    }
    ShaderRig *rig_;
    Shape s_;
    std::mt19937 random_;
    tn_vk_rope_params p_ = {};
    Bindings b_;
    std::vector<uint32_t> want_q_, want_state_;
};

class RopeAppend : public testing::TestWithParam<uint32_t>
{
};

TEST_P(RopeAppend, EqualsTheReferenceForEveryShape)
{
    ShaderRig rig;
    for (uint32_t head_dim : {2u, 6u, 8u, 64u, 100u, 128u, 256u, 1032u}) {
        for (bool adjacent : {false, true}) {
            Case c(&rig, {3, 2, head_dim, adjacent, true});
            c.check(GetParam());
            c.check(GetParam(), "rope_append_texel");
            if (head_dim == 64) c.check(GetParam(), "rope_append", 0);
            if (HasFatalFailure()) return;
        }
    }
}
INSTANTIATE_TEST_SUITE_P(Invocations, RopeAppend, testing::Values(8u, 32u, 64u, 128u, 256u));

TEST(RopeAppendParts, QueriesKeysAndValuesAlone)
{
    ShaderRig rig;
    for (uint32_t part = 0; part < 3; part++) {
        Case c(&rig, {4, 2, 64, false, true});
        if (part != 0) c.params().n_q = 0;
        if (part != 1) c.params().n_k = 0;
        if (part != 2) c.params().n_v = 0;
        c.check(32);
    }
    Case c(&rig, {1, 3, 64, false, false}); // keys that were turned before
    c.check(32);
}

TEST(RopeAppendPoison, IsMarkedForTurnedValuesWithTheFirstNode)
{
    ShaderRig rig;
    Case c(&rig, {2, 2, 64, false, true});
    const tn_vk_rope_params &p = c.params();
    c.set(p.q_at + 1 * p.q_stride + 70, 0x1p60f);
    c.set(p.k_at + 3 * p.k_stride + 127, 0x1p60f);
    c.set(p.q_at + 4 * p.q_stride + 5, -0x1p60f);
    c.set(p.k_at + 4 * p.k_stride + 5, 0x1p60f);
    c.check(64);
}

} // namespace
} // namespace vulkan_test
