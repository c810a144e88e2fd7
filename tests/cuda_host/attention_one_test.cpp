// attention_one and attention_one_mma against src/ref: RoPE, quantisation and append in front of the attention of one token.
#include "cuda_host/attention_rig.hpp"
#include "cuda_host/rows_rig.hpp"

using namespace cuda_host;

namespace
{

constexpr uint32_t kQNode = 21, kKNode = 22;

// One token whose own key and value are rows of f32 that the cache does not have yet.
class OneCase : public AttentionCase
{
  public:
    OneCase(const HeadShape &shape, uint32_t position, bool adjacent, uint32_t seed = 1)
        : AttentionCase(shape, {{0, position}}, seed), position_(position), adjacent_(adjacent), q_(shape.n_heads * shape.head_dim),
          k_(shape.n_kv_heads * shape.head_dim), v_(k_.size()), table_((position + 1) * shape.head_dim)
    {
        std::uniform_real_distribution<float> unit(-1.0f, 1.0f);
        for (size_t i = 0; i < q_.size(); i++) q_[i] = 2.0f * normal();
        for (size_t i = 0; i < k_.size(); i++) k_[i] = normal();
        for (size_t i = 0; i < v_.size(); i++) v_[i] = normal();
        for (size_t i = 0; i < table_.size(); i++) table_[i] = unit(step_.random());
    }
    Memory<float> &q() { return q_; }
    Memory<float> &k() { return k_; }
    Memory<float> &v() { return v_; }

    void check(uint32_t n_splits)
    {
        SCOPED_TRACE(testing::Message() << s_ << " position " << position_ << " adjacent " << adjacent_ << " splits " << n_splits);
        const uint32_t d = s_.head_dim;
        const float *row = &table_[(size_t)position_ * d];
        const tn_rope_pairs pairs = adjacent_ ? TN_ROPE_ADJACENT : TN_ROPE_HALVES;
        turned_.assign(q_.data(), q_.data() + q_.size());
        poison_ = tn_ref_rope(turned_.data(), row, s_.n_heads, d, pairs, turned_.data()) >= TN_ABS_BITS_2P56 ? kQNode : UINT32_MAX;
        std::vector<float> key(k_.data(), k_.data() + k_.size());
        if (tn_ref_rope(key.data(), row, s_.n_kv_heads, d, pairs, key.data()) >= TN_ABS_BITS_2P56) poison_ = std::min(poison_, kKNode);
        const std::vector<int16_t> no_codes(d, 0x5a5a);
        for (uint32_t h = 0; h < s_.n_kv_heads; h++) {
            // The cache has nothing of the position yet: what lies there would be seen in the outputs.
            image().put_key(step_.page(0, position_), h, position_, no_codes.data(), 3.0f);
            image().put_value(step_.page(0, position_), h, position_, no_codes.data(), 3.0f);
            quantise_key(0, h, position_, &key[h * d]);
            quantise_value(0, h, position_, &v_[h * d]);
        }
        want_ = image();
        for (uint32_t h = 0; h < s_.n_kv_heads; h++) put(0, h, position_, &want_);
        tn_cuda_attention_params p = params();
        p.rope.is_adjacent = adjacent_;
        p.rope.table = table_.data();
        p.rope.n_q = s_.n_heads;
        p.rope.n_kv = s_.n_kv_heads;
        p.rope.q = {q_.data(), s_.n_heads * d};
        p.rope.k = {k_.data(), s_.n_kv_heads * d};
        p.rope.v = {v_.data(), s_.n_kv_heads * d};
        p.rope.q_node = kQNode;
        p.rope.k_node = kKNode;
        run({{"attention_one", 1, TN_CUDA_TILES_ALL}}, &p, n_splits, n_splits, false);
        if (d % 8 != 0 || d > TN_CUDA_ATTENTION_MMA_DIM) return;
        const std::vector<TileLaunch> by_mma = {{"attention_one_mma", 1, TN_CUDA_TILES_ALL, 0, TN_CUDA_ATTENTION_CHUNK_BYTES}};
        run(by_mma, &p, n_splits, n_splits, false);
        for (size_t i = 0; i < gains_.size(); i++) gains_[i] = normal();
        const auto packed = pack_gains(gains_);
        Memory<uint32_t> largest(TN_CUDA_LARGEST_WORDS, 0);
        for (const bool has_gains : {false, true}) {
            p.next = {largest.data(), has_gains ? packed->data() : nullptr};
            std::fill_n(largest.data(), largest.size(), 0u);
            run(by_mma, &p, n_splits, n_splits, false);
            uint32_t want = 0;
            for (size_t i = 0; i < gains_.size(); i++)
                want = std::max(want, tn_abs_bits(has_gains ? tn_fl(stored_[i] * gains_[i]) : stored_[i]));
            EXPECT_EQ(*std::max_element(largest.data(), largest.data() + largest.size()), want) << has_gains;
        }
    }

  protected:
    void stored(const float *y) override { stored_.assign(y, y + n_out()); }
    const uint8_t *want_pages() override { return want_.bytes().data(); }
    const float *query(uint32_t) override { return turned_.data(); }
    uint32_t front_poison(uint32_t) override { return poison_; }

  private:
    uint32_t position_;
    bool adjacent_;
    Memory<float> q_, k_, v_, table_;
    std::vector<float> turned_, stored_, gains_ = std::vector<float>(n_out());
    PageImage want_ = image();
    uint32_t poison_ = UINT32_MAX;
};

} // namespace

TEST(AttentionOne, EqualsTheReferenceForEveryShape)
{
    for (uint32_t head_dim : {32u, 64u, 80u, 96u, 128u}) {
        for (uint32_t group : {1u, 4u, 5u, 8u}) {
            OneCase c({group * 2, 2, head_dim}, head_dim * 2 + group, group % 2 == 0, head_dim + group);
            c.check(1 + (head_dim / 16 + group) % 5);
        }
    }
}

TEST(AttentionOne, BordersOfPages)
{
    for (uint32_t position : {0u, 1u, 2u, 7u, 8u, 15u, 16u, 31u, 32u, 127u, 128u, 129u, 255u, 256u, 700u}) {
        OneCase c({8, 2, 128}, position, false, position);
        c.check(1 + position % 5);
    }
}

TEST(AttentionOne, HeadsOfOtherSizes)
{
    for (uint32_t head_dim : {2u, 6u, 8u, 12u, 36u, 72u, 100u, 130u, 200u, 254u, 256u}) {
        for (uint32_t position : {128u, 193u}) {
            OneCase c({6, 2, head_dim}, position, head_dim % 4 == 0, head_dim);
            c.check(2);
        }
    }
}

TEST(AttentionOne, ManyHeadsOfAKvHead)
{
    for (uint32_t group : {3u, 9u, 19u}) {
        OneCase c({group, 1, 64}, 150, false, group);
        c.check(2);
    }
}

TEST(AttentionOne, PoisonOfTheFrontIsMarked)
{
    OneCase q({4, 2, 64}, 140, false);
    q.q()[70] = 0x1p58f;
    q.check(2);
    OneCase k({4, 2, 64}, 140, false);
    k.k()[70] = 0x1p58f;
    k.check(2);
    OneCase zero({4, 2, 64}, 140, false);
    for (size_t i = 0; i < zero.q().size(); i++) zero.q()[i] = 0.0f;
    for (size_t i = 0; i < zero.k().size(); i++) zero.k()[i] = zero.v()[i] = 0x1p-32f;
    zero.check(2);
}
