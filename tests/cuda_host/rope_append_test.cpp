// rope_append and copy_pages against src/ref: turned queries, and every byte of the pages.
#include "cuda_host/kv_rig.hpp"

extern "C" {
#include "ref/ref.h"
}

using namespace cuda_host;

namespace
{

constexpr uint32_t kContext = 800, kQNode = 21, kKNode = 22;
// Three sequences, at both sides of page borders.
const std::vector<Token> kTokens = {{0, 126}, {0, 127}, {0, 128}, {1, 0}, {2, 255}, {2, 256}, {2, 700}};

struct Shape {
    uint32_t n_q, n_kv, head_dim;
    bool adjacent;
    bool turns_k = true;
};

class Case
{
  public:
    explicit Case(const Shape &shape)
        : s_(shape), step_(kTokens, shape.head_dim), stride_q_(padded(shape.n_q)), stride_kv_(padded(shape.n_kv)),
          q(kTokens.size() * stride_q_), k(kTokens.size() * stride_kv_), v(kTokens.size() * stride_kv_), table(kContext * shape.head_dim),
          n_pages_seen_(step_.n_pages())
    {
        std::uniform_real_distribution<float> value(-4.0f, 4.0f), unit(-1.0f, 1.0f);
        for (size_t i = 0; i < q.size(); i++) q[i] = value(step_.random());
        for (size_t i = 0; i < k.size(); i++) {
            const size_t head = i / s_.head_dim;
            const float size = head % 4 == 1 ? 0x1p-33f : head % 4 == 2 ? 0x1p-28f : 1.0f; // below, near and above what counts as 0
            k[i] = value(step_.random()) * size;
            v[i] = value(step_.random()) * size;
        }
        for (size_t i = 0; i < table.size(); i++) table[i] = unit(step_.random());
    }
    // Pages from this one on are of no cache: what would go there is left out.
    void see_pages(uint32_t n) { n_pages_seen_ = n; }
    PagedStep &step() { return step_; }
    float *q_head(uint32_t row, uint32_t head) { return &q[row * stride_q_ + head * s_.head_dim]; }
    float *k_head(uint32_t row, uint32_t head) { return &k[row * stride_kv_ + head * s_.head_dim]; }
    float *v_head(uint32_t row, uint32_t head) { return &v[row * stride_kv_ + head * s_.head_dim]; }

    // By rope_append, and by rope_many where heads are its.
    void check()
    {
        check_kernel("rope_append", (s_.n_q + 2 * s_.n_kv + TN_CUDA_ROPE_HEADS - 1) / TN_CUDA_ROPE_HEADS);
        if (tn_cuda_rope_many_fits(s_.head_dim, s_.adjacent)) check_kernel("rope_many", 1);
    }

  private:
    void check_kernel(const char *kernel, uint32_t grid_y)
    {
        const uint32_t n_rows_of_grid = (uint32_t)kTokens.size() + 2;
        SCOPED_TRACE(testing::Message() << kernel << " " << s_.n_q << "/" << s_.n_kv << " head_dim " << s_.head_dim << " adjacent "
                                        << s_.adjacent);
        const uint32_t n = step_.n_tokens();
        Memory<float> y(n * stride_q_);
        Memory<uint32_t> poison(n, 0xff);
        PageImage want(step_.n_pages(), s_.n_kv, s_.head_dim, 0x77);
        Memory<uint8_t> pages(want.bytes().size(), 0x77);
        tn_cuda_rope_params p = params(&y, &pages, &poison, want.page_bytes());
        launch(kernel, p, n_rows_of_grid, grid_y);
        for (uint32_t row = 0; row < n; row++) {
            uint32_t want_poison = UINT32_MAX;
            check_queries(row, &y, &want_poison);
            expect_pages(row, &want, &want_poison);
            EXPECT_EQ(poison[row], want_poison) << "row " << row;
        }
        EXPECT_TRUE(pages.size() == 0 || std::memcmp(pages.data(), want.bytes().data(), pages.size()) == 0) << "pages";
    }

    static constexpr uint32_t padded_by = 4;
    uint32_t padded(uint32_t n_heads) const { return (n_heads * s_.head_dim + 3) / 4 * 4 + padded_by; }
    tn_cuda_rope_params params(Memory<float> *y, Memory<uint8_t> *pages, Memory<uint32_t> *poison, size_t page_bytes)
    {
        const uint32_t a_qk = (uint32_t)tn_kv_a_qk(s_.head_dim);
        tn_cuda_rope_params p = {};
        p.step = step_.step();
        p.rope.head_dim = s_.head_dim;
        p.rope.is_adjacent = s_.adjacent;
        p.rope.table = s_.n_q > 0 || s_.turns_k ? table.data() : nullptr;
        p.rope.n_q = s_.n_q;
        p.rope.n_kv = s_.n_kv;
        p.rope.q = {q.data(), stride_q_};
        p.rope.k = {k.data(), stride_kv_};
        p.rope.v = {v.data(), stride_kv_};
        p.rope.q_node = kQNode;
        p.rope.k_node = s_.turns_k ? kKNode : 0;
        p.rope.a_qk = a_qk;
        p.rope.recip_a_qk = (float)(1.0 / a_qk);
        p.qy = {y->data(), stride_q_};
        p.kv = {pages->data(), page_bytes, n_pages_seen_};
        p.poison.of_tokens = poison->data();
        return p;
    }
    uint32_t turn(uint32_t row, std::vector<float> *x, uint32_t n_heads)
    {
        const float *row_of_table = &table[kTokens[row].position * s_.head_dim];
        return tn_ref_rope(x->data(), row_of_table, n_heads, s_.head_dim, s_.adjacent ? TN_ROPE_ADJACENT : TN_ROPE_HALVES, x->data());
    }
    void check_queries(uint32_t row, Memory<float> *y, uint32_t *poison)
    {
        const uint32_t n = s_.n_q * s_.head_dim;
        std::vector<float> x(q_head(row, 0), q_head(row, 0) + n);
        if (n > 0 && turn(row, &x, s_.n_q) >= TN_ABS_BITS_2P56) *poison = kQNode;
        EXPECT_TRUE(n == 0 || std::memcmp(y->data() + row * stride_q_, x.data(), n * sizeof(float)) == 0) << "queries of row " << row;
        for (uint32_t i = n; i < stride_q_; i++) ASSERT_EQ(tn_bits((*y)[row * stride_q_ + i]), 0xcdcdcdcdu) << "behind row " << row;
    }
    void expect_pages(uint32_t row, PageImage *want, uint32_t *poison)
    {
        std::vector<float> x(k_head(row, 0), k_head(row, 0) + s_.n_kv * s_.head_dim);
        if (s_.n_kv > 0 && s_.turns_k && turn(row, &x, s_.n_kv) >= TN_ABS_BITS_2P56) *poison = std::min(*poison, kKNode);
        const uint32_t page = step_.page(kTokens[row].seq, kTokens[row].position);
        if (page >= n_pages_seen_) return;
        std::vector<int16_t> codes(s_.head_dim);
        float scale;
        for (uint32_t h = 0; h < s_.n_kv; h++) {
            tn_ref_quant_head(&x[h * s_.head_dim], s_.head_dim, tn_kv_a_qk(s_.head_dim), codes.data(), &scale);
            want->put_key(page, h, kTokens[row].position, codes.data(), scale);
            tn_ref_quant_head(v_head(row, h), s_.head_dim, TN_KV_A_V, codes.data(), &scale);
            want->put_value(page, h, kTokens[row].position, codes.data(), scale);
        }
    }

    Shape s_;
    PagedStep step_;
    uint32_t stride_q_, stride_kv_;
    Memory<float> q, k, v, table;
    uint32_t n_pages_seen_;
};

} // namespace

TEST(RopeAppend, EqualsTheReferenceForEveryShape)
{
    for (uint32_t head_dim : {2u, 6u, 32u, 64u, 80u, 96u, 100u, 128u, 254u, 256u}) {
        for (bool adjacent : {false, true}) Case({5, 2, head_dim, adjacent}).check();
    }
}

// More heads than a block has at once, and than its lanes ask for at once.
TEST(RopeAppend, ManyHeads)
{
    Case({20, 5, 128, false}).check();
    Case({31, 2, 256, false}).check();
}

TEST(RopeAppend, PartsOfIt)
{
    Case({3, 0, 64, false}).check();       // queries alone
    Case({0, 3, 64, false}).check();       // keys, turned, and values
    Case({0, 2, 96, true, false}).check(); // keys as they are
    Case({0, 2, 64, false, false}).check();
}

TEST(RopeAppend, PagesThatTheCacheDoesNotHaveAreLeftOut)
{
    Case c({2, 2, 64, false});
    c.see_pages(c.step().n_pages() / 2);
    c.check();
}

TEST(RopeAppend, PoisonIsMarkedForTurnedValuesWithTheFirstNode)
{
    Case c({2, 2, 64, false});
    c.q_head(1, 1)[6] = 0x1p60f;
    c.k_head(3, 1)[63] = 0x1p60f;
    c.q_head(4, 0)[5] = -0x1p60f;
    c.k_head(4, 0)[5] = 0x1p60f;
    c.v_head(5, 1)[7] = 0x1p60f; // values are not stored as f32
    c.check();
}

TEST(CopyPages, CopiesWholePagesInAllLayers)
{
    const uint32_t n_pages = 7, n_layers = 3, page_bytes = 2 * 128 * (4 * 80 + 8); // no multiple of a part
    static_assert(page_bytes % TN_CUDA_PAGE_PART != 0, "a last part that is short");
    const std::vector<uint32_t> copies = {4, 1, 4, 0, 6, 2};
    Memory<uint32_t> words(64);
    Memory<uint8_t> kv((size_t)n_pages * n_layers * page_bytes);
    for (size_t i = 0; i < kv.size(); i++) kv[i] = (uint8_t)(i * 2654435761u >> 13);
    std::vector<uint8_t> want(kv.data(), kv.data() + kv.size());
    for (uint32_t n_copies = 0; n_copies <= 3; n_copies++) {
        words[3] = n_copies;
        for (uint32_t i = 0; i < copies.size(); i++) words[16 + i] = copies[i];
        for (uint32_t c = 0; c < n_copies; c++) {
            for (uint32_t layer = 0; layer < n_layers; layer++) {
                const uint8_t *from = &want[(layer * n_pages + copies[2 * c]) * (size_t)page_bytes];
                std::copy(from, from + page_bytes, &want[(layer * n_pages + copies[2 * c + 1]) * (size_t)page_bytes]);
            }
        }
        tn_cuda_pages_params p = {};
        p.step.words = words.data();
        p.step.copies = 16;
        p.kv = kv.data();
        p.page_bytes = page_bytes;
        p.layer_bytes = (uint64_t)page_bytes * n_pages;
        launch("copy_pages", p, (page_bytes + TN_CUDA_PAGE_PART - 1) / TN_CUDA_PAGE_PART, n_layers);
        EXPECT_EQ(std::memcmp(kv.data(), want.data(), want.size()), 0) << n_copies << " copies";
    }
}
