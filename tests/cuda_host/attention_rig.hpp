// Attention kernels against src/ref, bit by bit: sequences with keys and values, a step over them, what it must give.
#ifndef TN_TESTS_CUDA_HOST_ATTENTION_RIG_HPP
#define TN_TESTS_CUDA_HOST_ATTENTION_RIG_HPP

#include "cuda_host/kv_rig.hpp"

#include <functional>

extern "C" {
#include "ref/ref.h"
}

namespace cuda_host
{

struct HeadShape {
    uint32_t n_heads, n_kv_heads, head_dim;
};
inline std::ostream &operator<<(std::ostream &out, const HeadShape &s)
{
    return out << s.n_heads << "/" << s.n_kv_heads << "/" << s.head_dim;
}

// How large the values of a key (or value) at a position of a sequence are: (sequence, KV head, position).
using Sizes = std::function<float(uint32_t, uint32_t, uint32_t)>;

class AttentionCase
{
  public:
    static constexpr uint32_t kNode = 42;
    uint32_t poisoned_seq = UINT32_MAX; // one whose queries are not finite: what it gives is of no matter

    AttentionCase(const HeadShape &shape, const std::vector<Token> &tokens, uint32_t seed = 1, float q_size = 2.0f,
                  const Sizes &key_sizes = usual_keys, const Sizes &value_sizes = usual_values)
        : s_(shape), step_(tokens, seed), q_stride_((n_out() + 3) / 4 * 4 + 4), q_(tokens.size() * q_stride_),
          image_(step_.n_pages(), shape.n_kv_heads, shape.head_dim, 0xa5)
    {
        for (size_t i = 0; i < q_.size(); i++) q_[i] = q_size * normal();
        uint32_t n_seqs = 0;
        for (const Token &t : tokens) n_seqs = std::max(n_seqs, t.seq + 1);
        lengths_.resize(n_seqs, 0);
        for (const Token &t : tokens) lengths_[t.seq] = std::max(lengths_[t.seq], t.position + 1);
        heads_.resize(n_seqs * s_.n_kv_heads);
        for (uint32_t seq = 0; seq < n_seqs; seq++) {
            for (uint32_t h = 0; h < s_.n_kv_heads; h++) fill(seq, h, key_sizes, value_sizes);
        }
    }
    virtual ~AttentionCase() = default;
    static float usual_keys(uint32_t, uint32_t, uint32_t position) { return position % 9 == 4 ? 0.0f : position % 5 == 0 ? 4.0f : 1.0f; }
    static float usual_values(uint32_t, uint32_t, uint32_t position)
    {
        return position % 11 == 7 ? 0.0f : position % 3 == 0 ? 0x1p-20f : 1.0f;
    }

    uint32_t n_tokens() const { return step_.n_tokens(); }
    uint32_t n_out() const { return s_.n_heads * s_.head_dim; }
    PagedStep &step() { return step_; }
    PageImage &image() { return image_; }
    const HeadShape &shape() const { return s_; }
    float *q_row(uint32_t token) { return &q_[token * q_stride_]; }
    float normal()
    {
        std::normal_distribution<float> value;
        return value(step_.random());
    }

    // Launches the kernel and compares outputs, poison and what must not be touched.
    void check(const char *kernel, uint32_t grid_x, uint32_t grid_z, uint32_t n_splits = 1, bool has_output_address = false)
    {
        SCOPED_TRACE(testing::Message() << kernel << " " << s_ << " splits " << n_splits);
        tn_cuda_attention_params p = params();
        p.q = {q_.data(), q_stride_};
        run({{kernel, grid_z, TN_CUDA_TILES_ALL}}, &p, grid_x, n_splits, has_output_address);
    }
    // attention_few_mma for all tiles, by blocks of n_shares to a tile for n_splits of the chunks; one tile more than the step has.
    void check_few(uint32_t n_shares, uint32_t n_splits, bool has_output_address = false)
    {
        SCOPED_TRACE(testing::Message() << "attention_few_mma " << s_ << " shares " << n_shares << " splits " << n_splits);
        tn_cuda_attention_params p = params();
        p.q = {q_.data(), q_stride_};
        p.n_shares = n_shares;
        run({{"attention_few_mma", n_splits, TN_CUDA_TILES_ALL, 0, TN_CUDA_ATTENTION_CHUNK_BYTES}}, &p, (n_tiles() + 1) * n_shares,
            n_splits, has_output_address);
    }
    // Tiles of one sequence by attention_tile_mma, whose row tiles n_more blocks share with their owners, or have one each (0); those of
    // several by another kernel.
    void check_both_tiles(const char *of_several, uint32_t n_more, bool has_output_address = false, bool has_room = true)
    {
        SCOPED_TRACE(testing::Message() << n_more << " blocks more, " << of_several << " " << s_ << (has_room ? "" : ", keys or values"));
        const bool is_few = std::string(of_several) == "attention_few_mma";
        tn_cuda_attention_params p = params();
        p.q = {q_.data(), q_stride_};
        p.n_shares = is_few ? 4 : 1;
        p.values_at = has_room ? TN_CUDA_ATTENTION_TILE_KV_BYTES / 16 : 0;
        TileLaunch of_one = {"attention_tile_mma", 1, TN_CUDA_TILES_OF_ONE, n_tokens_of_several()};
        of_one.shared_bytes = (has_room ? 2 : 1) * TN_CUDA_ATTENTION_TILE_KV_BYTES;
        of_one.grid_x = n_row_tiles() + (n_more > 0 ? n_more : 3);
        of_one.has_shares = n_more > 0;
        const TileLaunch others = {of_several, is_few ? 1u : 16u, TN_CUDA_TILES_OF_SEVERAL, 0,
                                   is_few ? (uint32_t)TN_CUDA_ATTENTION_CHUNK_BYTES : 0u};
        run({of_one, others}, &p, (n_tiles() + 1) * p.n_shares, 1, has_output_address);
    }
    uint32_t n_tiles() const { return (n_tokens() + TN_CUDA_ATTENTION_TOKENS - 1) / TN_CUDA_ATTENTION_TOKENS; }

  protected:
    struct KvHead {
        std::vector<int16_t> k, v;
        std::vector<float> k_scale, v_scale;
    };
    KvHead &head(uint32_t seq, uint32_t kv_head) { return heads_[seq * s_.n_kv_heads + kv_head]; }

    struct TileLaunch {
        const char *kernel;
        uint32_t grid_z, tiles;
        uint32_t n_rows_left = 0; // that it leaves to launches behind it
        uint32_t shared_bytes = 0;
        uint32_t grid_x = 0; // of attention_tile_mma
        bool has_shares = false;
    };
    uint32_t n_row_tiles() const { return n_tiles() * tn_cuda_attention_row_tiles(s_.n_heads, s_.n_kv_heads); }
    // Tokens of tiles that have those of several sequences.
    uint32_t n_tokens_of_several()
    {
        const std::vector<Token> &tokens = step_.tokens();
        uint32_t n = 0;
        for (size_t first = 0; first < tokens.size(); first += TN_CUDA_ATTENTION_TOKENS) {
            const size_t end = std::min(tokens.size(), first + TN_CUDA_ATTENTION_TOKENS);
            for (size_t i = first; i < end; i++) {
                if (tokens[i].seq == tokens[first].seq) continue;
                n += (uint32_t)(end - first);
                break;
            }
        }
        return n;
    }
    void run_one(const TileLaunch &one, tn_cuda_attention_params p, uint32_t grid_x, float *row_tile_parts)
    {
        p.tiles = one.tiles;
        if (one.grid_x == 0) {
            launch(one.kernel, p, grid_x, s_.n_kv_heads, one.grid_z, one.shared_bytes);
            return;
        }
        p.partials = one.has_shares ? row_tile_parts : nullptr;
        launch(one.kernel, p, one.grid_x, 1, 1, one.shared_bytes);
    }
    void run(const std::vector<TileLaunch> &launches, tn_cuda_attention_params *p, uint32_t grid_x, uint32_t n_splits,
             bool has_output_address)
    {
        const uint32_t n = n_tokens(), y_stride = has_output_address ? n_out() : (n_out() + 3) / 4 * 4 + 8;
        Memory<uint8_t> pages(image_.bytes().size());
        std::copy(image_.bytes().begin(), image_.bytes().end(), pages.data());
        Memory<float> y(n * y_stride), partials((size_t)n * s_.n_heads * step_.n_chunks() * (s_.head_dim + 4));
        Memory<float> row_tile_parts((size_t)n_row_tiles() * step_.n_chunks() * TN_CUDA_ATTENTION_PART_FLOATS);
        Memory<uint32_t> poison(n, 0xff), counters(std::max(n * s_.n_kv_heads, n_row_tiles()), 0);
        p->y = {has_output_address ? nullptr : y.data(), y_stride};
        step_.set_output(y.data());
        p->kv = {pages.data(), image_.page_bytes(), step_.n_pages()};
        p->poison.of_tokens = poison.data();
        p->n_splits = n_splits;
        p->partials = partials.data();
        p->counters = counters.data();
        for (const TileLaunch &one : launches) {
            run_one(one, *p, grid_x, row_tile_parts.data());
            uint32_t n_rows_left = 0;
            for (uint32_t token = 0; token < n; token++) n_rows_left += tn_bits(y[(size_t)token * y_stride]) == 0xcdcdcdcdu;
            EXPECT_EQ(n_rows_left, one.n_rows_left) << one.kernel;
        }
        compare(&y, y_stride, &poison);
        stored(y.data());
        for (size_t i = 0; i < counters.size(); i++) EXPECT_EQ(counters[i], 0u) << "counter " << i;
        EXPECT_EQ(std::memcmp(pages.data(), want_pages(), pages.size()), 0) << "pages";
    }
    tn_cuda_attention_params params()
    {
        tn_cuda_attention_params p = {};
        p.step = step_.step();
        p.rope.head_dim = s_.head_dim;
        p.rope.a_qk = (uint32_t)tn_kv_a_qk(s_.head_dim);
        p.rope.recip_a_qk = (float)(1.0 / p.rope.a_qk);
        p.n_heads = s_.n_heads;
        p.n_kv_heads = s_.n_kv_heads;
        p.node = kNode;
        p.n_chunks_max = step_.n_chunks();
        p.recip_a_v = (float)(1.0 / TN_KV_A_V);
        p.log2e_by_sqrt = tn_ref_query_scale(1.0f, s_.head_dim);
        return p;
    }
    virtual void stored(const float *) {}
    virtual const uint8_t *want_pages() { return image_.bytes().data(); }
    virtual const float *query(uint32_t token) { return q_row(token); }
    virtual uint32_t front_poison(uint32_t) { return UINT32_MAX; }
    void quantise_key(uint32_t seq, uint32_t h, uint32_t position, const float *x)
    {
        KvHead &kv = head(seq, h);
        tn_ref_quant_head(x, s_.head_dim, tn_kv_a_qk(s_.head_dim), &kv.k[(size_t)position * s_.head_dim], &kv.k_scale[position]);
    }
    void quantise_value(uint32_t seq, uint32_t h, uint32_t position, const float *x)
    {
        KvHead &kv = head(seq, h);
        tn_ref_quant_head(x, s_.head_dim, TN_KV_A_V, &kv.v[(size_t)position * s_.head_dim], &kv.v_scale[position]);
    }
    void put(uint32_t seq, uint32_t h, uint32_t position, PageImage *image)
    {
        KvHead &kv = head(seq, h);
        const uint32_t page = step_.page(seq, position);
        image->put_key(page, h, position, &kv.k[(size_t)position * s_.head_dim], kv.k_scale[position]);
        image->put_value(page, h, position, &kv.v[(size_t)position * s_.head_dim], kv.v_scale[position]);
    }

    HeadShape s_;
    PagedStep step_;
    uint32_t q_stride_;

  private:
    void fill(uint32_t seq, uint32_t h, const Sizes &key_sizes, const Sizes &value_sizes)
    {
        KvHead &kv = head(seq, h);
        kv.k.resize((size_t)lengths_[seq] * s_.head_dim);
        kv.v.resize(kv.k.size());
        kv.k_scale.resize(lengths_[seq]);
        kv.v_scale.resize(lengths_[seq]);
        std::vector<float> k(s_.head_dim), v(s_.head_dim);
        for (uint32_t position = 0; position < lengths_[seq]; position++) {
            for (float &x : k) x = key_sizes(seq, h, position) * normal();
            for (float &x : v) x = value_sizes(seq, h, position) * normal();
            quantise_key(seq, h, position, k.data());
            quantise_value(seq, h, position, v.data());
            put(seq, h, position, &image_);
        }
    }
    void compare(Memory<float> *y, uint32_t y_stride, Memory<uint32_t> *poison)
    {
        const uint32_t d = s_.head_dim, group = s_.n_heads / s_.n_kv_heads;
        std::vector<int16_t> q(d);
        std::vector<float> want(n_out());
        for (uint32_t token = 0; token < n_tokens(); token++) {
            const Token &t = step_.tokens()[token];
            uint32_t largest = 0;
            for (uint32_t h = 0; h < s_.n_heads; h++) {
                const KvHead &kv = head(t.seq, h / group);
                float scale;
                tn_ref_quant_head(query(token) + (size_t)h * d, d, tn_kv_a_qk(d), q.data(), &scale);
                const uint32_t of_head = tn_ref_attention(q.data(), tn_ref_query_scale(scale, d), kv.k.data(), kv.k_scale.data(),
                                                          kv.v.data(), kv.v_scale.data(), t.position + 1, d, &want[(size_t)h * d]);
                largest = std::max(largest, of_head);
            }
            if (t.seq != poisoned_seq) {
                const uint32_t want_poison = std::min(front_poison(token), largest >= TN_ABS_BITS_2P56 ? kNode : UINT32_MAX);
                EXPECT_EQ(std::memcmp(y->data() + (size_t)token * y_stride, want.data(), want.size() * sizeof(float)), 0)
                    << "token " << token << " at " << t.position << " of sequence " << t.seq;
                EXPECT_EQ((*poison)[token], want_poison) << "token " << token;
            }
            for (uint32_t i = n_out(); i < y_stride; i++) ASSERT_EQ(tn_bits((*y)[(size_t)token * y_stride + i]), 0xcdcdcdcdu);
        }
    }

    Memory<float> q_;
    PageImage image_;
    std::vector<uint32_t> lengths_;
    std::vector<KvHead> heads_;
};

} // namespace cuda_host

#endif
