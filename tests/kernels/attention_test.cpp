// Attention kernels of every ISA against src/ref, by bits: pages in any order with rubbish past the last position.
#include "row_fixture.h"

namespace
{

using namespace tn_test;

enum class Scores { mild, spread, clamped, equal, zero_scales, tiny_scales, faint, kinds_ };

// Codes and scales of one KV head, plain and in the pages of a cache.
struct Cache {
    uint32_t n_pos, head_dim;
    std::vector<int16_t> k, v;
    std::vector<float> k_scale, v_scale;
    std::vector<uint32_t> pages;
    size_t page_stride;
    Bytes blocks;

    Cache(Random &random, Scores scores, uint32_t n_pos_, uint32_t head_dim_)
        : n_pos(n_pos_), head_dim(head_dim_), k(size_t{n_pos_} * head_dim_), v(k.size()), k_scale(n_pos_), v_scale(n_pos_),
          pages((n_pos_ + 127) / 128), page_stride(TN_KV_BLOCK_BYTES(head_dim_) + 64 * (head_dim_ % 5)),
          blocks((pages.size() + 2) * page_stride)
    {
        const int32_t A = tn_kv_a_qk(head_dim);
        for (int16_t &c : k) c = static_cast<int16_t>(scores == Scores::equal || scores == Scores::clamped ? A : random.range(-A, A));
        for (int16_t &c : v) c = static_cast<int16_t>(scores == Scores::equal ? TN_KV_A_V : random.range(-TN_KV_A_V, TN_KV_A_V));
        for (uint32_t i = 0; i < n_pos; i++) {
            k_scale[i] = scale_of(random, scores);
            v_scale[i] =
                std::fabs(scores == Scores::tiny_scales || scores == Scores::faint ? random.value(-42, -40) : random.value(-14, -10));
            if (scores == Scores::faint && random.bits() % 16) v_scale[i] = 0.0f; // outputs on both sides of 2^-50
            if (scores == Scores::zero_scales && random.bits() % 4) zero(i);
        }
        for (size_t i = 0; i < pages.size(); i++) pages[i] = static_cast<uint32_t>((i * 2 + 1) % (pages.size() | 1));
        fill_blocks(random);
    }
    // A head whose absolute maximum was below 2^-30.
    void zero(uint32_t i)
    {
        k_scale[i] = v_scale[i] = 0.0f;
        std::fill_n(k.begin() + static_cast<std::ptrdiff_t>(size_t{i} * head_dim), head_dim, int16_t{0});
        std::fill_n(v.begin() + static_cast<std::ptrdiff_t>(size_t{i} * head_dim), head_dim, int16_t{0});
    }
    static float scale_of(Random &random, Scores scores)
    {
        if (scores == Scores::equal) return 0x1p-12f;
        if (scores == Scores::clamped) return std::fabs(random.value(0, 12)); // scores on both sides of +-2^20
        return std::fabs(scores == Scores::spread || scores == Scores::faint ? random.value(-10, -7) : random.value(-14, -11));
    }
    void fill_blocks(Random &random)
    {
        // What other sequences left: any code, and scales that are not numbers.
        for (size_t i = 0; i < blocks.size(); i++) blocks.data()[i] = static_cast<uint8_t>(random.bits() | 0x60);
        for (uint32_t i = 0; i < n_pos; i++) {
            auto *block = reinterpret_cast<int16_t *>(blocks.data() + pages[i / 128] * page_stride);
            const uint32_t at = i % 128;
            int16_t *bv = block + 128 * head_dim;
            auto *scales = reinterpret_cast<float *>(bv + 128 * head_dim);
            for (uint32_t d = 0; d < head_dim; d++) {
                block[(d / 2 * 128 + at) * 2 + d % 2] = k[size_t{i} * head_dim + d];
                bv[(at / 2 * head_dim + d) * 2 + at % 2] = v[size_t{i} * head_dim + d];
            }
            scales[at] = k_scale[i];
            scales[128 + at] = v_scale[i];
        }
    }
};

// The kernel of a slot at a level.
void (*kernel_at(tn_kernel_slot slot, tn_isa isa))(void)
{
    for (const tn_kernel_row &row : rows_of({slot})) {
        if (row.isa == isa) return row.function;
    }
    return nullptr;
}

class AttentionKernels : public ::testing::TestWithParam<tn_kernel_row>
{
  protected:
    void check(uint32_t n_q, uint32_t head_dim, uint32_t n_pos, Scores scores)
    {
        Random random((uint64_t{n_q} << 40) + (uint64_t{head_dim} << 20) + n_pos * 16 + static_cast<uint64_t>(scores));
        Cache cache(random, scores, n_pos, head_dim);
        const int32_t A = tn_kv_a_qk(head_dim);
        std::vector<int16_t> q(size_t{n_q} * head_dim);
        std::vector<float> q_scale(n_q);
        for (int16_t &c : q) c = static_cast<int16_t>(scores == Scores::equal ? A : random.range(-A, A));
        for (float &s : q_scale) s = std::fabs(scores == Scores::equal ? 0x1p-12f : random.value(-14, -8));
        check_cache(cache, q, q_scale, "scores " + std::to_string(static_cast<int>(scores)));
    }
    void check_cache(Cache &cache, const std::vector<int16_t> &q, const std::vector<float> &q_scale, const std::string &what)
    {
        const uint32_t n_q = static_cast<uint32_t>(q_scale.size()), head_dim = cache.head_dim, n_pos = cache.n_pos;
        Guarded<float> want(q.size());
        uint32_t want_bits = 0;
        for (uint32_t h = 0; h < n_q; h++) {
            uint32_t bits = tn_ref_attention(q.data() + size_t{h} * head_dim, q_scale[h], cache.k.data(), cache.k_scale.data(),
                                             cache.v.data(), cache.v_scale.data(), n_pos, head_dim, want.data() + size_t{h} * head_dim);
            want_bits = std::max(want_bits, bits);
        }
        for (bool flush : {false, true}) {
            const size_t scratch_bytes = TN_ATTENTION_SCRATCH_BYTES(n_q, head_dim);
            Bytes scratch(scratch_bytes + 64);
            std::memset(scratch.data(), 0xff, scratch_bytes + 64); // scratch holds nothing between calls
            Guarded<float> y(q.size());
            tn_k_attention_args args = {
                q.data(),       q_scale.data(), n_q, head_dim, cache.blocks.data(), cache.page_stride, cache.pages.data(), n_pos, y.data(),
                scratch.data(), nullptr,        0,   0};
            auto *kernel = reinterpret_cast<tn_k_attention_fn *>(GetParam().function);
            uint32_t bits = 0;
            if (flush) {
                with_flush_to_zero([&] { bits = kernel(&args); });
            } else {
                bits = kernel(&args);
            }
            const std::string where = what + ", n_q " + std::to_string(n_q) + ", head_dim " + std::to_string(head_dim) + ", n_pos " +
                                      std::to_string(n_pos) + "; " + seed_hint();
            ASSERT_TRUE(y.intact()) << where;
            for (size_t i = scratch_bytes; i < scratch.size(); i++) ASSERT_EQ(scratch.data()[i], 0xff) << "past the scratch: " << where;
            ASSERT_TRUE(y == want) << "element " << y.first_difference(want) << ": " << where;
            ASSERT_EQ(bits, want_bits) << where;
            Guarded<float> joined(q.size());
            args.y = joined.data();
            if (flush) {
                with_flush_to_zero([&] { bits = in_parts(args); });
            } else {
                bits = in_parts(args);
            }
            ASSERT_TRUE(joined.intact()) << where;
            ASSERT_TRUE(joined == want) << "in parts: element " << joined.first_difference(want) << ": " << where;
            ASSERT_EQ(bits, want_bits) << "in parts: " << where;
        }
    }
    // The same by pages that are computed alone, the last ones first, one or two at a time, and then joined.
    static uint32_t in_parts(tn_k_attention_args args)
    {
        const uint32_t n_pages = (args.n_pos + 127) / 128;
        const size_t n_floats = size_t{n_pages} * args.n_q * TN_ATTENTION_PART(args.head_dim);
        Bytes parts(n_floats * sizeof(float) + 64);
        args.parts = reinterpret_cast<float *>(parts.data());
        auto *pages = reinterpret_cast<tn_k_attention_pages_fn *>(kernel_at(TN_SLOT_attention_pages, GetParam().isa));
        auto *join = reinterpret_cast<tn_k_attention_fn *>(kernel_at(TN_SLOT_attention_join, GetParam().isa));
        for (uint32_t end = n_pages, step = 1; end > 0; end -= args.n_pages, step = 3 - step) {
            args.n_pages = std::min(step, end);
            args.first_page = end - args.n_pages;
            pages(&args);
        }
        const uint32_t bits = join(&args);
        for (size_t i = n_floats * sizeof(float); i < parts.size(); i++) EXPECT_EQ(parts.data()[i], 0xa5) << "past the parts";
        return bits;
    }
    void check_all_scores(uint32_t n_q, uint32_t head_dim, uint32_t n_pos)
    {
        for (int s = 0; s < static_cast<int>(Scores::kinds_) && !HasFatalFailure(); s++)
            check(n_q, head_dim, n_pos, static_cast<Scores>(s));
    }
};

TEST_P(AttentionKernels, EqualTheReferenceForEveryNumberOfPositions)
{
    TN_SKIP_WITHOUT_ISA(GetParam());
    for (uint32_t n_pos = 1; n_pos <= 130 && !HasFatalFailure(); n_pos++) check(4, 64, n_pos, static_cast<Scores>(n_pos % 7));
    for (uint32_t n_pos : {160u, 255u, 256u, 257u, 300u, 385u, 640u}) {
        if (!HasFatalFailure()) check_all_scores(4, 64, n_pos);
    }
}

TEST_P(AttentionKernels, EqualTheReferenceForEveryHeadSize)
{
    TN_SKIP_WITHOUT_ISA(GetParam());
    for (uint32_t head_dim = 2; head_dim <= 200 && !HasFatalFailure(); head_dim += 2) check(2, head_dim, 1 + head_dim, Scores::mild);
    for (uint32_t head_dim : {32u, 80u, 96u, 100u, 128u, 256u}) {
        if (!HasFatalFailure()) check_all_scores(3, head_dim, 290);
    }
}

TEST_P(AttentionKernels, EqualTheReferenceForEveryNumberOfQueryHeads)
{
    TN_SKIP_WITHOUT_ISA(GetParam());
    for (uint32_t n_q = 1; n_q <= 17 && !HasFatalFailure(); n_q++) check_all_scores(n_q, 128, 141);
}

TEST_P(AttentionKernels, DropWhatIsMoreThanSixtyPowersOfTwoBelow)
{
    TN_SKIP_WITHOUT_ISA(GetParam());
    const uint32_t head_dim = 64, n_pos = 140;
    for (int16_t gap = 56; gap <= 64 && !HasFatalFailure(); gap++) {
        for (bool first_is_larger : {false, true}) {
            Random random(static_cast<uint64_t>(gap));
            Cache cache(random, Scores::mild, n_pos, head_dim);
            // Scores are 0, and `gap` for one key whose value is 0; so what the other chunk gives stays visible however small.
            std::fill(cache.k.begin(), cache.k.end(), int16_t{0});
            std::fill(cache.k_scale.begin(), cache.k_scale.end(), 1.0f);
            std::fill(cache.v_scale.begin(), cache.v_scale.end(), 0x1p44f);
            const uint32_t key = first_is_larger ? 5 : 133, first = first_is_larger ? 0 : 128, last = first_is_larger ? 128 : n_pos;
            for (uint32_t i = first; i < last; i++) cache.v_scale[i] = 0.0f;
            cache.k[size_t{key} * head_dim] = gap;
            cache.fill_blocks(random);
            std::vector<int16_t> q(head_dim, 0);
            q[0] = 1;
            check_cache(cache, q, {1.0f}, "gap " + std::to_string(gap));
        }
    }
}

TEST_P(AttentionKernels, ReportPoison)
{
    TN_SKIP_WITHOUT_ISA(GetParam());
    Random random(9);
    Cache cache(random, Scores::mild, 130, 64);
    const std::vector<int16_t> q(64, 5);
    const float q_scale = 0x1p-12f;
    auto *scales = reinterpret_cast<float *>(cache.blocks.data() + cache.pages[0] * cache.page_stride + size_t{4} * 128 * 64);
    scales[3] = std::numeric_limits<float>::quiet_NaN();
    scales[128 + 7] = std::numeric_limits<float>::infinity();
    Bytes scratch(TN_ATTENTION_SCRATCH_BYTES(1, 64));
    std::vector<float> y(64);
    tn_k_attention_args args = {q.data(),       &q_scale, 1, 64, cache.blocks.data(), cache.page_stride, cache.pages.data(), 130, y.data(),
                                scratch.data(), nullptr,  0, 0};
    EXPECT_GE(reinterpret_cast<tn_k_attention_fn *>(GetParam().function)(&args), TN_ABS_BITS_2P56);
}

INSTANTIATE_TEST_SUITE_P(Rows, AttentionKernels, ::testing::ValuesIn(rows_of({TN_SLOT_attention})), row_name);

} // namespace
