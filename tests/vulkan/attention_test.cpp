// Paged attention on the device against src/ref, bit by bit: all forms, over shapes, lengths, sizes of workgroups and orders of chunks.
#include "vulkan/shader_rig.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <gtest/gtest.h>
#include <limits>
#include <random>

extern "C" {
#include "ref/ref.h"
}
#include "vulkan/shaders/shader_params.h"

namespace vulkan_test
{
namespace
{

constexpr uint32_t kPage = 128, kNone = 0xffffffff, kNode = 42;

struct Shape {
    uint32_t n_heads, n_kv_heads, head_dim;
    bool has_units() const { return head_dim % 8 == 0; }
    uint32_t page_words() const { return n_kv_heads * kPage * (head_dim + 2); }
};

std::ostream &operator<<(std::ostream &out, const Shape &s) { return out << s.n_heads << "/" << s.n_kv_heads << "/" << s.head_dim; }

// The head's part of a page, as the shaders have it.
class KvHead
{
  public:
    KvHead(const Shape &shape, std::vector<uint32_t> *kv, uint32_t page, uint32_t head)
        : d_(shape.head_dim), words_(kv->data() + (size_t(page) * shape.n_kv_heads + head) * kPage * (shape.head_dim + 2))
    {
    }
    void set(uint32_t position, const int16_t *k, float k_scale, const int16_t *v, float v_scale)
    {
        for (uint32_t i = 0; i < d_ / 2; i++) {
            const uint32_t unit = d_ % 8 == 0 ? 4 : 1;
            words_[(i / unit * kPage + position) * unit + i % unit] = pair(k[2 * i], k[2 * i + 1]);
            words_[64 * d_ + position * (d_ / 2) + i] = pair(v[2 * i], v[2 * i + 1]);
        }
        words_[128 * d_ + position] = bits_of(k_scale);
        words_[128 * d_ + kPage + position] = bits_of(v_scale);
    }

  private:
    static uint32_t pair(int16_t low, int16_t high) { return uint16_t(low) | uint32_t(uint16_t(high)) << 16; }
    uint32_t d_;
    uint32_t *words_;
};

// What a value of q, k or v is: (row or position, head, element).
using Values = std::function<float(uint32_t, uint32_t, uint32_t)>;

struct Row {
    uint32_t seq, position;
};

// A step over sequences that are filled up to their rows' positions, and what it must give.
class Step
{
  public:
    Step(const Shape &shape, std::vector<Row> rows, const Values &q, const Values &k, const Values &v, uint32_t seed = 1)
        : shape_(shape), rows_(std::move(rows)), random_(seed)
    {
        for (const Row &row : rows_) {
            lengths_.resize(std::max(lengths_.size(), size_t(row.seq) + 1), 0);
            lengths_[row.seq] = std::max(lengths_[row.seq], row.position + 1);
        }
        for (uint32_t n : lengths_) n_chunks_ = std::max(n_chunks_, (n + kPage - 1) / kPage);
        lay_out();
        fill_pages(k, v);
        fill_queries(q);
    }
    // Runs a form and compares all that it may write, and all that it may not.
    void check(ShaderRig *rig, const std::string &shader, uint32_t n_invocations)
    {
        SCOPED_TRACE(testing::Message() << shader << " " << n_invocations);
        Bindings b = bindings;
        run(rig, shader, n_invocations, &b);
        for (uint32_t row = 0; row < rows_.size(); row++) {
            if (is_poisoned(row)) continue;
            EXPECT_EQ(memcmp(&b.out[params.y_at + row * params.y_stride], want(row), n_out() * sizeof(float)), 0) << "row " << row;
        }
        for (uint32_t i = 0; i < b.out.size(); i++) {
            const bool is_output = i >= params.y_at && (i - params.y_at) % params.y_stride < n_out();
            if (!is_output) {
                ASSERT_EQ(b.out[i], 0xdddddddd) << "word " << i;
            }
        }
        for (uint32_t row = 0; row < rows_.size(); row++) {
            if (row != poisoned_row) {
                EXPECT_EQ(b.state[row], is_poisoned(row) ? kNode : kNone) << "row " << row;
            }
        }
        for (size_t i = rows_.size(); i < b.state.size(); i++) EXPECT_EQ(b.state[i], 0u) << "counter " << i - rows_.size();
        EXPECT_EQ(memcmp(b.arena.data(), bindings.arena.data(), params.partials * sizeof(uint32_t)), 0) << "arena before the partials";
        const size_t end = params.partials + size_t(rows_.size()) * shape_.n_heads * n_chunks_ * (shape_.head_dim + 4);
        EXPECT_EQ(memcmp(&b.arena[end], &bindings.arena[end], (b.arena.size() - end) * sizeof(uint32_t)), 0) << "arena after the partials";
        EXPECT_EQ(b.kv, bindings.kv);
        EXPECT_EQ(b.step, bindings.step);
    }
    void run(ShaderRig *rig, const std::string &shader, uint32_t n_invocations, Bindings *b) const
    {
        const bool is_split = shader.find("split") != std::string::npos;
        const uint32_t n_rows = uint32_t(rows_.size()), n_most = std::min(rows_of_dispatch, n_rows);
        rig->options.texels_of_kv = true;
        for (uint32_t first = 0; first < n_rows; first += n_most) {
            tn_vk_attention_params p = params;
            p.first_row = first;
            rig->run(shader, {n_invocations, shape_.head_dim, shape_.n_heads / shape_.n_kv_heads, shape_.has_units() ? 1u : 0u}, p,
                     is_split ? n_chunks_ : 1, shape_.n_kv_heads, std::min(n_most, n_rows - first), b);
        }
    }
    uint32_t n_chunks() const { return n_chunks_; }
    // The outputs [n_heads][head_dim] of a row.
    const float *want(uint32_t row) const { return &want_[size_t(row) * n_out()]; }

    uint32_t rows_of_dispatch = kNone;
    uint32_t poisoned_row = kNone; // one that came in as poison: what it gives is of no matter
    Bindings bindings;
    tn_vk_attention_params params = {};

  private:
    uint32_t n_out() const { return shape_.n_heads * shape_.head_dim; }
    bool is_poisoned(uint32_t row) const { return row == poisoned_row || tn_ref_absmax_bits(want(row), n_out()) >= TN_ABS_BITS_2P56; }
    void lay_out();
    void fill_pages(const Values &k, const Values &v);
    void fill_queries(const Values &q);
    void expect(uint32_t row, uint32_t head, const std::vector<float> &q);

    Shape shape_;
    std::vector<Row> rows_;
    std::mt19937 random_;
    std::vector<uint32_t> lengths_; // of the sequences
    uint32_t n_chunks_ = 0;
    // Of sequence s and KV head h, at s * n_kv_heads + h.
    std::vector<std::vector<int16_t>> k_codes_, v_codes_;
    std::vector<std::vector<float>> k_scales_, v_scales_;
    std::vector<float> want_;
};

void Step::lay_out()
{
    const uint32_t n_rows = uint32_t(rows_.size()), n_seqs = uint32_t(lengths_.size());
    params.step.positions = 3;
    params.step.seqs = params.step.positions + n_rows;
    params.step.page_table = params.step.seqs + n_rows;
    params.step.n_seq_pages = n_chunks_ + 2;
    bindings.step.assign(params.step.page_table + n_seqs * params.step.n_seq_pages, kNone);
    for (uint32_t r = 0; r < n_rows; r++) {
        bindings.step[params.step.positions + r] = rows_[r].position;
        bindings.step[params.step.seqs + r] = rows_[r].seq;
    }
    params.n_heads = shape_.n_heads;
    params.n_kv_heads = shape_.n_kv_heads;
    params.q_at = 8;
    params.q_stride = n_out() + (shape_.has_units() ? 4 : 1);
    params.y_at = 4;
    params.y_stride = n_out() + (shape_.has_units() ? 8 : 3);
    params.partials = (params.q_at + n_rows * params.q_stride + 3) / 4 * 4;
    params.n_chunks_max = n_chunks_;
    params.counters = n_rows;
    params.a_qk = uint32_t(tn_kv_a_qk(shape_.head_dim));
    params.recip_a_qk = float(1.0 / params.a_qk);
    params.recip_a_v = float(1.0 / TN_KV_A_V);
    params.log2e_by_sqrt = tn_ref_query_scale(1.0f, shape_.head_dim);
    params.node = kNode;
    bindings.arena.assign(params.partials + size_t(n_rows) * shape_.n_heads * n_chunks_ * (shape_.head_dim + 4) + 16, kNone);
    bindings.state.assign(n_rows + n_rows * shape_.n_kv_heads, 0);
    std::fill_n(bindings.state.begin(), n_rows, kNone);
    bindings.out.assign(params.y_at + n_rows * params.y_stride + 8, 0xdddddddd);
}

// Pages of all sequences in random places, with pages between them that nobody has.
void Step::fill_pages(const Values &k, const Values &v)
{
    const uint32_t d = shape_.head_dim, n_kv = shape_.n_kv_heads;
    std::vector<uint32_t> pages(lengths_.size() * n_chunks_ + 3);
    for (uint32_t i = 0; i < pages.size(); i++) pages[i] = i;
    std::shuffle(pages.begin(), pages.end(), random_);
    bindings.kv.assign(pages.size() * shape_.page_words(), kNone);
    k_codes_.resize(lengths_.size() * n_kv);
    v_codes_.resize(k_codes_.size());
    k_scales_.resize(k_codes_.size());
    v_scales_.resize(k_codes_.size());
    std::vector<float> x(d), y(d);
    for (uint32_t s = 0; s < lengths_.size(); s++) {
        for (uint32_t c = 0; c * kPage < lengths_[s]; c++) {
            bindings.step[params.step.page_table + s * params.step.n_seq_pages + c] = pages[s * n_chunks_ + c];
        }
        for (uint32_t h = 0; h < n_kv; h++) {
            const uint32_t at = s * n_kv + h;
            k_codes_[at].resize(size_t(lengths_[s]) * d);
            v_codes_[at].resize(size_t(lengths_[s]) * d);
            k_scales_[at].resize(lengths_[s]);
            v_scales_[at].resize(lengths_[s]);
            for (uint32_t i = 0; i < lengths_[s]; i++) {
                for (uint32_t e = 0; e < d; e++) {
                    x[e] = k(s * 100000 + i, h, e);
                    y[e] = v(s * 100000 + i, h, e);
                }
                int16_t *kc = &k_codes_[at][size_t(i) * d], *vc = &v_codes_[at][size_t(i) * d];
                tn_ref_quant_head(x.data(), d, tn_kv_a_qk(d), kc, &k_scales_[at][i]);
                tn_ref_quant_head(y.data(), d, TN_KV_A_V, vc, &v_scales_[at][i]);
                KvHead(shape_, &bindings.kv, pages[s * n_chunks_ + i / kPage], h)
                    .set(i % kPage, kc, k_scales_[at][i], vc, v_scales_[at][i]);
            }
        }
    }
}

void Step::fill_queries(const Values &q)
{
    const uint32_t d = shape_.head_dim;
    want_.resize(rows_.size() * n_out());
    std::vector<float> x(d);
    for (uint32_t r = 0; r < rows_.size(); r++) {
        for (uint32_t h = 0; h < shape_.n_heads; h++) {
            for (uint32_t e = 0; e < d; e++) {
                x[e] = q(r, h, e);
                bindings.arena[params.q_at + r * params.q_stride + h * d + e] = bits_of(x[e]);
            }
            expect(r, h, x);
        }
    }
}

void Step::expect(uint32_t row, uint32_t head, const std::vector<float> &q)
{
    const uint32_t d = shape_.head_dim;
    const uint32_t at = rows_[row].seq * shape_.n_kv_heads + head / (shape_.n_heads / shape_.n_kv_heads);
    std::vector<int16_t> codes(d);
    float scale;
    tn_ref_quant_head(q.data(), d, tn_kv_a_qk(d), codes.data(), &scale);
    tn_ref_attention(codes.data(), tn_ref_query_scale(scale, d), k_codes_[at].data(), k_scales_[at].data(), v_codes_[at].data(),
                     v_scales_[at].data(), rows_[row].position + 1, d, &want_[size_t(row) * n_out() + head * d]);
}

// Much like a normal deviate; depends on the arguments only.
Values random_values(uint32_t seed, float size)
{
    return [=](uint32_t a, uint32_t b, uint32_t c) {
        uint64_t z = (uint64_t(seed) << 48 ^ uint64_t(a) << 24 ^ uint64_t(b) << 12 ^ c) * 0x9e3779b97f4a7c15u;
        float sum = 0;
        for (int i = 0; i < 4; i++) {
            z = (z ^ z >> 29) * 0xbf58476d1ce4e5b9u;
            sum += float(z >> 40) * 0x1p-24f - 0.5f;
        }
        return size * 1.7320508f * sum;
    };
}

std::vector<std::string> forms_of(const Shape &shape)
{
    if (shape.has_units()) return {"attention_walk", "attention_walk_texel", "attention_split", "attention_split_texel"};
    return {"attention_walk", "attention_split"};
}

class Attention : public testing::TestWithParam<Shape>
{
  protected:
    void check_all(Step *step, const std::vector<uint32_t> &sizes)
    {
        for (const std::string &form : forms_of(GetParam())) {
            for (uint32_t n : sizes) step->check(&rig_, form, n);
        }
    }
    ShaderRig rig_;
};

TEST_P(Attention, EveryLengthAndWorkgroup)
{
    // Rows of several sequences, of one sequence too, in no order.
    const std::vector<Row> rows = {{2, 128}, {0, 0}, {1, 126}, {2, 299}, {0, 1}, {3, 699}, {1, 127}};
    Step step(GetParam(), rows, random_values(1, 1.0f), random_values(2, 1.5f), random_values(3, 0.7f));
    const bool is_small = GetParam().head_dim == 24; // pipelines of small heads are made soon: all sizes
    check_all(&step, is_small ? std::vector<uint32_t>{8, 16, 32, 64, 128, 256} : std::vector<uint32_t>{8, 64, 256});
}

// Long contexts are several dispatches.
TEST_P(Attention, RowsInSeveralDispatches)
{
    Step step(GetParam(), {{2, 128}, {0, 0}, {1, 299}, {2, 127}, {0, 1}}, random_values(25, 1.0f), random_values(26, 1.0f),
              random_values(27, 1.0f));
    for (uint32_t n : {1u, 2u}) {
        step.rows_of_dispatch = n;
        check_all(&step, {64});
    }
}

// The last chunk to arrive combines them all, whichever it is.
TEST_P(Attention, SplitFormWithChunksInAnyOrder)
{
    Step step(GetParam(), {{0, 700}, {1, 127}, {1, 128}, {0, 511}}, random_values(4, 1.0f), random_values(5, 1.0f), random_values(6, 1.0f));
    std::vector<uint32_t> order(step.n_chunks());
    for (uint32_t i = 0; i < order.size(); i++) order[i] = uint32_t(order.size()) - 1 - i;
    std::mt19937 random(7);
    for (int i = 0; i < 3; i++) {
        rig_.options.x_order = order;
        for (const std::string &form : forms_of(GetParam())) {
            if (form.find("split") != std::string::npos) step.check(&rig_, form, i == 0 ? 64 : 8);
        }
        std::shuffle(order.begin(), order.end(), random);
    }
}

// The counters are 0 again after each step, and chunks that run at the same time arrive in any order.
TEST_P(Attention, SplitFormManyTimes)
{
    Step step(GetParam(), {{0, 700}, {1, 255}, {0, 300}}, random_values(8, 1.0f), random_values(9, 1.0f), random_values(10, 1.0f));
    for (int i = 0; i < 5; i++) {
        rig_.options.repeats = 20;
        step.check(&rig_, forms_of(GetParam()).back(), 8);
    }
}

// All codes at the ends of their range, so that sums are as large as they get.
TEST_P(Attention, ExtremeCodes)
{
    const Values ends = [](uint32_t a, uint32_t b, uint32_t c) { return (a / 3 + b + c / 5) % 2 == 0 ? 1.0f : -1.0f; };
    const Values ones = [](uint32_t, uint32_t, uint32_t) { return 1.0f; };
    Step mixed(GetParam(), {{0, 260}, {1, 5}}, ends, ends, ends);
    check_all(&mixed, {8, 128});
    Step same(GetParam(), {{0, 260}, {1, 5}}, ones, ones, ones);
    check_all(&same, {8, 128});
}

// Whole vectors, and whole sequences, of values that quantise to nothing.
TEST_P(Attention, Zeros)
{
    const Values all = random_values(11, 1.0f);
    const auto zeros = [all](uint32_t divisor) {
        return Values([=](uint32_t a, uint32_t b, uint32_t c) {
            return (a / 100000 + a + b) % divisor == 0 ? (c % 2 ? 0x1p-31f : 0.0f) : all(a, b, c);
        });
    };
    Step some(GetParam(), {{0, 200}, {1, 0}, {1, 127}}, zeros(2), zeros(3), zeros(4));
    check_all(&some, {8, 128});
    Step none(GetParam(), {{0, 200}, {1, 0}}, zeros(1), zeros(1), zeros(1));
    check_all(&none, {8, 128});
}

// Scores beyond 2^20, which are cut there, and chunks so far below others that they vanish.
TEST_P(Attention, LargeScores)
{
    const Values steep = [](uint32_t a, uint32_t b, uint32_t c) {
        return random_values(12, 1.0f)(a, b, c) * (a % 100000 / 128 % 2 == 0 ? 3.0f : 4000.0f);
    };
    Step step(GetParam(), {{0, 520}, {0, 300}, {1, 100}}, random_values(13, 900.0f), steep, random_values(14, 1.0f));
    check_all(&step, {8, 128});
    Step steeper(GetParam(), {{0, 520}, {1, 100}}, random_values(13, 9e6f), steep, random_values(14, 0x1p-25f));
    check_all(&steeper, {8, 128});
}

// Weights from 1 down to those that are cut at 2^-24, whose values are larger by as much; and outputs around 2^-50, where FL cuts.
TEST_P(Attention, SmallWeights)
{
    const Values all = random_values(18, 1.0f), size = random_values(19, 6.0f);
    const Values uneven = [=](uint32_t a, uint32_t b, uint32_t c) { return all(a, b, c) * std::exp2(std::floor(size(a, b, 0))); };
    Step step(GetParam(), {{0, 300}, {1, 100}}, random_values(20, 4.0f), random_values(21, 2.5f), uneven);
    check_all(&step, {8, 128});
    const Values small = [=](uint32_t a, uint32_t b, uint32_t c) {
        return (c % 2 == 0 ? 0x1p-28f : 0x1p-41f) * (1.5f + all(a, b, c) * 0.25f);
    };
    Step tiny(GetParam(), {{0, 30}, {1, 3}, {0, 1}}, random_values(20, 4.0f), random_values(21, 2.5f), small);
    check_all(&tiny, {8, 128});
}

// A row whose values are out of range, or no numbers, is marked, and no other row's bits change.
TEST_P(Attention, PoisonStaysInItsRow)
{
    const Values v = random_values(17, 1.0f);
    const Values huge = [v](uint32_t a, uint32_t b, uint32_t c) { return v(a, b, c) * (a >= 200000 ? 0x1p60f : 1.0f); };
    Step step(GetParam(), {{0, 300}, {2, 140}, {1, 90}}, random_values(15, 1.0f), random_values(16, 1.0f), huge);
    check_all(&step, {8, 128});
    const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
    for (float bad : {nan, infinity}) {
        const Values broken = [=](uint32_t a, uint32_t b, uint32_t c) { return a >= 200000 ? bad : v(a, b, c); };
        Step values(GetParam(), {{0, 300}, {2, 140}, {1, 90}}, random_values(15, 1.0f), random_values(16, 1.0f), broken);
        values.poisoned_row = 1;
        check_all(&values, {8, 128});
        const Values bad_row = [=](uint32_t a, uint32_t b, uint32_t c) { return a == 1 ? bad : v(a, b, c); };
        Step all(GetParam(), {{0, 300}, {2, 140}, {1, 90}}, bad_row, broken, broken);
        all.poisoned_row = 1;
        check_all(&all, {8, 128});
    }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Attention,
                         testing::Values(Shape{1, 1, 2}, Shape{4, 2, 24}, Shape{5, 1, 64}, Shape{6, 2, 80}, Shape{20, 5, 128},
                                         Shape{16, 1, 64}));

// The largest heads, groups that are done in parts with a place left over, heads that are no multiple of 8.
TEST(AttentionShapes, PartsAndOddHeads)
{
    ShaderRig rig;
    for (const Shape &shape : {Shape{8, 1, 256}, Shape{10, 2, 250}, Shape{9, 1, 48}, Shape{6, 2, 6}}) {
        SCOPED_TRACE(testing::Message() << shape);
        Step step(shape, {{0, 200}, {1, 20}}, random_values(22, 1.0f), random_values(23, 1.0f), random_values(24, 1.0f));
        for (const std::string &form : forms_of(shape)) step.check(&rig, form, 64);
    }
}

} // namespace
} // namespace vulkan_test
