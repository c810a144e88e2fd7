// Attention of one token with RoPE and append in front of it against src/ref, bit by bit: its output and every word of the pages.
#include "vulkan/shader_rig.hpp"

#include <algorithm>
#include <cmath>
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

constexpr uint32_t kPage = 128, kChunksMax = 12, kNone = 0xffffffff, kSeq = 1;

struct Shape {
    uint32_t n_heads, n_kv_heads, head_dim;
    bool adjacent;
};

struct Head {
    std::vector<int16_t> codes;
    float scale;
};

// A token at a position of a sequence whose earlier keys and values are in pages of any order.
class Token
{
  public:
    Token(const Shape &shape, uint32_t position, uint32_t seed, float q_scale = 1, float kv_scale = 1)
        : shape_(shape), position_(position), random_(seed)
    {
        lay_out();
        const std::vector<float> q = floats(shape.n_heads * shape.head_dim, q_scale);
        const std::vector<float> k = floats(shape.n_kv_heads * shape.head_dim, kv_scale), v = floats(k.size(), kv_scale);
        const std::vector<float> table_row = angles();
        place(q, params.q_at), place(k, params.k_at), place(v, params.v_at);
        turned_q_ = turned(q, shape.n_heads, table_row);
        turned_k_ = turned(k, shape.n_kv_heads, table_row);
        fill_pages(kv_scale);
        want_kv = bindings.kv;
        for (uint32_t h = 0; h < shape.n_kv_heads; h++) {
            append(h, true, turned_k_, tn_kv_a_qk(shape.head_dim));
            append(h, false, v, 4095);
        }
        expect();
    }
    void check(ShaderRig *rig, const std::vector<uint32_t> &order = {})
    {
        Bindings b = bindings;
        rig->options.x_order = order;
        rig->run("attention_one", {kPage, shape_.head_dim, shape_.n_heads / shape_.n_kv_heads}, params, kChunksMax, shape_.n_heads, 1, &b);
        rig->options.x_order = {};
        if (poison == kNone && has_page) {
            EXPECT_EQ(memcmp(&b.out[params.y_at], want.data(), want.size() * sizeof(float)), 0);
        }
        std::fill_n(&b.out[params.y_at], want.size(), 0xdddddddd);
        EXPECT_EQ(std::count(b.out.begin(), b.out.end(), 0xdddddddd), ptrdiff_t(b.out.size())) << "beside the output";
        EXPECT_EQ(b.kv, has_page ? want_kv : bindings.kv);
        EXPECT_EQ(b.state[0], poison);
        for (size_t i = 1; i < b.state.size(); i++) EXPECT_EQ(b.state[i], 0u) << "counter " << i - 1;
        EXPECT_EQ(memcmp(b.arena.data(), bindings.arena.data(), params.partials * sizeof(uint32_t)), 0) << "arena before the partials";
    }
    uint32_t n_chunks() const { return position_ / kPage + 1; }
    std::vector<uint32_t> want_kv;
    std::vector<float> want;
    uint32_t poison = kNone;
    bool has_page = true; // the token's own
    Bindings bindings;
    tn_vk_attention_one_params params = {};

  private:
    std::vector<float> floats(size_t n, float scale)
    {
        std::vector<float> x(n);
        for (float &v : x) v = scale * (float(random_() % 20001) / 10000 - 1);
        return x;
    }
    void place(const std::vector<float> &x, uint32_t at)
    {
        for (size_t i = 0; i < x.size(); i++) bindings.arena[at + i] = bits_of(x[i]);
    }
    void lay_out()
    {
        const uint32_t d = shape_.head_dim, q = shape_.n_heads * d, kv = shape_.n_kv_heads * d;
        params.n_kv_heads = shape_.n_kv_heads;
        params.n_pages = n_chunks() + 2;
        params.q_at = 3, params.k_at = params.q_at + q, params.v_at = params.k_at + kv;
        params.adjacent = shape_.adjacent;
        params.y_at = 5;
        params.partials = (params.v_at + kv + 3) / 4 * 4;
        params.n_chunks_max = kChunksMax;
        params.counters = 1;
        params.a_qk = uint32_t(tn_kv_a_qk(d));
        params.recip_a_qk = float(1.0 / params.a_qk);
        params.recip_a_v = float(1.0 / 4095);
        params.log2e_by_sqrt = tn_ref_query_scale(1.0f, d);
        params.q_node = 11, params.k_node = 12, params.node = 13;
        params.step.positions = 1, params.step.seqs = 2, params.step.page_table = 3, params.step.n_seq_pages = kChunksMax;
        bindings.arena.assign(params.partials + shape_.n_heads * kChunksMax * (d + 4), 0xffffffff);
        bindings.out.assign(params.y_at + q + 1, 0xdddddddd);
        bindings.state.assign(1 + shape_.n_heads, 0);
        bindings.state[0] = kNone;
        for (uint32_t i = 0; i < params.n_pages; i++) pages_.push_back(i);
        std::shuffle(pages_.begin(), pages_.end(), random_);
        bindings.step = {1, position_, kSeq};
        bindings.step.resize(3 + 2 * kChunksMax, 77777);
        for (uint32_t c = 0; c < n_chunks(); c++) bindings.step[3 + kSeq * kChunksMax + c] = pages_[c];
    }
    std::vector<float> angles()
    {
        bindings.weights.assign((position_ + 2) * shape_.head_dim, 0xffffffff);
        std::vector<float> row(shape_.head_dim);
        for (uint32_t i = 0; i < shape_.head_dim / 2; i++) {
            row[i] = float(std::cos(0.1 * position_ * (i + 1)));
            row[shape_.head_dim / 2 + i] = float(std::sin(0.1 * position_ * (i + 1)));
        }
        for (uint32_t i = 0; i < shape_.head_dim; i++) bindings.weights[position_ * shape_.head_dim + i] = bits_of(row[i]);
        return row;
    }
    std::vector<float> turned(const std::vector<float> &x, uint32_t n_heads, const std::vector<float> &table_row) const
    {
        std::vector<float> y(x.size());
        tn_ref_rope(x.data(), table_row.data(), n_heads, shape_.head_dim, shape_.adjacent ? TN_ROPE_ADJACENT : TN_ROPE_HALVES, y.data());
        return y;
    }
    void put(std::vector<uint32_t> *kv, uint32_t position, uint32_t head, bool is_key, const Head &of) const
    {
        const uint32_t d = shape_.head_dim, page = pages_[position / kPage], pos = position % kPage;
        uint32_t *begin = &(*kv)[(size_t(page) * shape_.n_kv_heads + head) * kPage * (d + 2)];
        for (uint32_t w = 0; w < d / 2; w++) {
            const uint32_t word = uint16_t(of.codes[2 * w]) | uint32_t(uint16_t(of.codes[2 * w + 1])) << 16;
            begin[is_key ? (w / 4 * kPage + pos) * 4 + w % 4 : 64 * d + pos * (d / 2) + w] = word;
        }
        begin[kPage * d + (is_key ? 0 : kPage) + pos] = bits_of(of.scale);
    }
    void fill_pages(float scale)
    {
        const uint32_t d = shape_.head_dim;
        bindings.kv.assign(size_t(params.n_pages) * shape_.n_kv_heads * kPage * (d + 2), 0x7fff7fff);
        keys_.resize(shape_.n_kv_heads), values_.resize(shape_.n_kv_heads);
        for (uint32_t h = 0; h < shape_.n_kv_heads; h++) {
            for (uint32_t i = 0; i < position_; i++) {
                for (const bool is_key : {true, false}) {
                    Head head = {std::vector<int16_t>(d), 0};
                    const std::vector<float> x = floats(d, scale);
                    tn_ref_quant_head(x.data(), d, is_key ? tn_kv_a_qk(d) : 4095, head.codes.data(), &head.scale);
                    put(&bindings.kv, i, h, is_key, head);
                    (is_key ? keys_ : values_)[h].push_back(head);
                }
            }
        }
    }
    void append(uint32_t h, bool is_key, const std::vector<float> &x, int32_t a)
    {
        Head head = {std::vector<int16_t>(shape_.head_dim), 0};
        tn_ref_quant_head(&x[h * shape_.head_dim], shape_.head_dim, a, head.codes.data(), &head.scale);
        put(&want_kv, position_, h, is_key, head);
        (is_key ? keys_ : values_)[h].push_back(head);
    }
    void expect()
    {
        const uint32_t d = shape_.head_dim, group = shape_.n_heads / shape_.n_kv_heads;
        want.resize(shape_.n_heads * d);
        for (uint32_t h = 0; h < shape_.n_heads; h++) {
            std::vector<int16_t> q(d), k, v;
            std::vector<float> k_scale, v_scale;
            float scale;
            tn_ref_quant_head(&turned_q_[h * d], d, tn_kv_a_qk(d), q.data(), &scale);
            for (uint32_t i = 0; i <= position_; i++) {
                const Head &key = keys_[h / group][i], &value = values_[h / group][i];
                k.insert(k.end(), key.codes.begin(), key.codes.end());
                v.insert(v.end(), value.codes.begin(), value.codes.end());
                k_scale.push_back(key.scale);
                v_scale.push_back(value.scale);
            }
            tn_ref_attention(q.data(), tn_ref_query_scale(scale, d), k.data(), k_scale.data(), v.data(), v_scale.data(), position_ + 1, d,
                             &want[h * d]);
        }
        const auto is_poison = [](const std::vector<float> &x) {
            return tn_ref_absmax_bits(x.data(), uint32_t(x.size())) >= TN_ABS_BITS_2P56;
        };
        poison = is_poison(turned_q_) ? params.q_node : is_poison(turned_k_) ? params.k_node : is_poison(want) ? params.node : kNone;
    }
    Shape shape_;
    uint32_t position_;
    std::mt19937 random_;
    std::vector<uint32_t> pages_;
    std::vector<float> turned_q_, turned_k_;
    std::vector<std::vector<Head>> keys_, values_; // [n_kv_heads][position]
};

std::ostream &operator<<(std::ostream &out, const Shape &s)
{
    return out << s.n_heads << "/" << s.n_kv_heads << "/" << s.head_dim << (s.adjacent ? "adjacent" : "");
}

class AttentionOne : public testing::TestWithParam<Shape>
{
  protected:
    ShaderRig rig_;
};

TEST_P(AttentionOne, AtBothSidesOfPageBorders)
{
    for (const uint32_t position : {0u, 1u, 40u, 127u, 128u, 300u, 383u}) {
        SCOPED_TRACE(position);
        Token(GetParam(), position, position + 1).check(&rig_);
    }
}

// More chunks than are combined at a time; any of them may be the last to come.
TEST_P(AttentionOne, ChunksInAnyOrder)
{
    Token token(GetParam(), 10 * kPage + 17, 5);
    token.check(&rig_);
    std::vector<uint32_t> order(kChunksMax);
    for (uint32_t i = 0; i < kChunksMax; i++) order[i] = kChunksMax - 1 - i;
    token.check(&rig_, order);
    std::swap(order[3], order[kChunksMax - 1]);
    token.check(&rig_, order);
}

TEST_P(AttentionOne, SmallAndPoisonedHeads)
{
    Token(GetParam(), 130, 6, 0x1p-40f, 1).check(&rig_);
    Token(GetParam(), 130, 7, 1, 0x1p-40f).check(&rig_);
    Token(GetParam(), 20, 8, 0, 0).check(&rig_);
    Token q(GetParam(), 130, 9, 0x1p58f, 1), k(GetParam(), 130, 10, 1, 0x1p58f);
    EXPECT_EQ(q.poison, q.params.q_node);
    EXPECT_EQ(k.poison, k.params.k_node);
    q.check(&rig_);
    k.check(&rig_);
}

// A page that the binding does not have is left alone.
TEST_P(AttentionOne, AppendsNothingBeyondThePages)
{
    Token token(GetParam(), 0, 11);
    token.bindings.step[3 + kSeq * kChunksMax] = token.params.n_pages;
    token.has_page = false;
    token.check(&rig_);
}

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionOne,
                         testing::Values(Shape{1, 1, 8, false}, Shape{4, 2, 24, true}, Shape{5, 1, 64, false}, Shape{6, 2, 80, false},
                                         Shape{4, 1, 128, false}, Shape{2, 1, 128, true}, Shape{2, 2, 256, false}));

} // namespace
} // namespace vulkan_test
