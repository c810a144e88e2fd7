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
                const uint32_t panel = d / 32 * 32, lanes = std::min(32u, head_dim - panel);
                block[((at / 32 * head_dim / 2 + d / 2) * 32 + at % 32) * 2 + d % 2] = k[size_t{i} * head_dim + d];
                bv[panel * 128 + (at / 2 * lanes + d - panel) * 2 + at % 2] = v[size_t{i} * head_dim + d];
            }
            scales[at] = k_scale[i];
            scales[128 + at] = v_scale[i];
        }
    }
};

// Query heads of tokens that follow each other in a sequence: n_q each, which see n_pos positions.
struct Queries {
    uint32_t n_q;
    std::vector<uint32_t> n_pos;
    std::vector<int16_t> q;
    std::vector<float> q_scale;

    Queries(Random &random, Scores scores, uint32_t n_q_, uint32_t head_dim, const std::vector<uint32_t> &n_pos_)
        : n_q(n_q_), n_pos(n_pos_), q(n_pos_.size() * n_q_ * head_dim), q_scale(n_pos_.size() * n_q_)
    {
        const int32_t A = tn_kv_a_qk(head_dim);
        for (int16_t &c : q) c = static_cast<int16_t>(scores == Scores::equal ? A : random.range(-A, A));
        for (float &s : q_scale) s = std::fabs(scores == Scores::equal ? 0x1p-12f : random.value(-14, -8));
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
        check(n_q, head_dim, std::vector<uint32_t>{n_pos}, scores);
    }
    // Tokens of one sequence, each of which sees the positions that it is given.
    void check(uint32_t n_q, uint32_t head_dim, const std::vector<uint32_t> &n_pos, Scores scores)
    {
        Random random((uint64_t{n_q} << 40) + (uint64_t{head_dim} << 20) + n_pos.back() * 16 + static_cast<uint64_t>(scores));
        Cache cache(random, scores, n_pos.back(), head_dim);
        const Queries queries(random, scores, n_q, head_dim, n_pos);
        check_cache(cache, queries, "scores " + std::to_string(static_cast<int>(scores)));
    }
    void check_cache(Cache &cache, const Queries &queries, const std::string &what)
    {
        const uint32_t head_dim = cache.head_dim, n_q = queries.n_q, n_tokens = static_cast<uint32_t>(queries.n_pos.size());
        const size_t y_stride = size_t{n_q} * head_dim + 7;
        Guarded<float> want(y_stride * n_tokens);
        std::vector<uint32_t> want_bits(n_tokens);
        for (uint32_t i = 0; i < n_tokens * n_q; i++) {
            const uint32_t token = i / n_q;
            const uint32_t bits = tn_ref_attention(queries.q.data() + size_t{i} * head_dim, queries.q_scale[i], cache.k.data(),
                                                   cache.k_scale.data(), cache.v.data(), cache.v_scale.data(), queries.n_pos[token],
                                                   head_dim, want.data() + y_stride * token + size_t{i % n_q} * head_dim);
            want_bits[token] = std::max(want_bits[token], bits);
        }
        std::string where = what + ", n_q " + std::to_string(n_q) + ", head_dim " + std::to_string(head_dim) + ", n_pos";
        for (uint32_t n : queries.n_pos) where += " " + std::to_string(n);
        where += "; " + seed_hint();
        for (bool flush : {false, true}) {
            const size_t scratch_bytes = TN_ATTENTION_SCRATCH_BYTES(n_tokens * n_q, head_dim);
            Bytes scratch(scratch_bytes + 64);
            std::memset(scratch.data(), 0xff, scratch_bytes + 64); // scratch holds nothing between calls
            Guarded<float> y(y_stride * n_tokens);
            Guarded<uint32_t> bits(n_tokens);
            tn_k_attention_args args = args_of(cache, queries);
            args.y = y.data();
            args.y_stride = y_stride;
            args.y_absmax = bits.data();
            args.scratch = scratch.data();
            auto *kernel = reinterpret_cast<tn_k_attention_fn *>(GetParam().function);
            with_mode(flush, [&] { kernel(&args); });
            ASSERT_TRUE(y.intact() && bits.intact()) << where;
            for (size_t i = scratch_bytes; i < scratch.size(); i++) ASSERT_EQ(scratch.data()[i], 0xff) << "past the scratch: " << where;
            ASSERT_TRUE(y == want) << "element " << y.first_difference(want) << ": " << where;
            for (uint32_t i = 0; i < n_tokens; i++) ASSERT_EQ(bits.data()[i], want_bits[i]) << "token " << i << ": " << where;
            Guarded<float> joined(y_stride * n_tokens);
            args.y = joined.data();
            with_mode(flush, [&] { in_parts(args); });
            ASSERT_TRUE(joined.intact()) << where;
            ASSERT_TRUE(joined == want) << "in parts: element " << joined.first_difference(want) << ": " << where;
            for (uint32_t i = 0; i < n_tokens; i++) ASSERT_EQ(bits.data()[i], want_bits[i]) << "in parts: token " << i << ": " << where;
        }
    }
    static tn_k_attention_args args_of(Cache &cache, const Queries &queries)
    {
        tn_k_attention_args args = {};
        args.q = queries.q.data();
        args.q_scale = queries.q_scale.data();
        args.n_tokens = static_cast<uint32_t>(queries.n_pos.size());
        args.n_q = queries.n_q;
        args.head_dim = cache.head_dim;
        args.kv = cache.blocks.data();
        args.page_stride = cache.page_stride;
        args.pages = cache.pages.data();
        args.n_pos = queries.n_pos.data();
        return args;
    }
    template <typename Call> static void with_mode(bool flush, Call call)
    {
        if (flush) {
            with_flush_to_zero(call);
        } else {
            call();
        }
    }
    // The same token by token, by pages that are computed alone, the last ones first, one or two at a time, and then joined.
    static void in_parts(tn_k_attention_args args)
    {
        const uint32_t n_tokens = args.n_tokens;
        args.n_tokens = 1;
        for (uint32_t token = 0; token < n_tokens; token++) {
            in_parts_of_token(args);
            args.q += size_t{args.n_q} * args.head_dim;
            args.q_scale += args.n_q;
            args.n_pos++;
            args.y += args.y_stride;
            args.y_absmax++;
        }
    }
    static void in_parts_of_token(tn_k_attention_args args)
    {
        const uint32_t n_pages = (*args.n_pos + 127) / 128;
        const size_t n_floats = size_t{n_pages} * args.n_q * TN_ATTENTION_PART(args.head_dim);
        Bytes parts(n_floats * sizeof(float) + 64);
        args.parts = reinterpret_cast<float *>(parts.data());
        auto *pages = reinterpret_cast<tn_k_attention_fn *>(kernel_at(TN_SLOT_attention_pages, GetParam().isa));
        auto *join = reinterpret_cast<tn_k_attention_fn *>(kernel_at(TN_SLOT_attention_join, GetParam().isa));
        for (uint32_t end = n_pages, step = 1; end > 0; end -= args.n_pages, step = 3 - step) {
            args.n_pages = std::min(step, end);
            args.first_page = end - args.n_pages;
            pages(&args);
        }
        join(&args);
        for (size_t i = n_floats * sizeof(float); i < parts.size(); i++) EXPECT_EQ(parts.data()[i], 0xa5) << "past the parts";
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
            Queries queries(random, Scores::mild, 1, head_dim, {n_pos});
            std::fill(queries.q.begin(), queries.q.end(), int16_t{0});
            queries.q[0] = 1;
            queries.q_scale[0] = 1.0f;
            check_cache(cache, queries, "gap " + std::to_string(gap));
        }
    }
}

TEST_P(AttentionKernels, EqualTheReferenceForBlocksOfTokens)
{
    TN_SKIP_WITHOUT_ISA(GetParam());
    // Where a block begins: in the first page, before, at and behind the borders of pages and of panels.
    for (uint32_t first : {1u, 31u, 97u, 121u, 127u, 128u, 129u, 251u, 256u, 380u}) {
        for (uint32_t n_tokens : {2u, 4u, 7u, 16u, 19u}) {
            std::vector<uint32_t> n_pos;
            for (uint32_t i = 0; i < n_tokens; i++) n_pos.push_back(first + i);
            if (!HasFatalFailure()) check(1 + (first + n_tokens) % 8, 64, n_pos, static_cast<Scores>((first + n_tokens) % 7));
        }
    }
    for (uint32_t head_dim : {64u, 80u, 96u, 100u, 128u, 256u}) {
        for (uint32_t n_q = 1; n_q <= 8; n_q++) {
            for (int s = 0; s < static_cast<int>(Scores::kinds_) && !HasFatalFailure(); s++)
                check(n_q, head_dim, {125, 126, 127, 128, 129, 130, 131}, static_cast<Scores>(s));
        }
    }
}

TEST_P(AttentionKernels, EqualTheReferenceForTokensThatLieFarApart)
{
    TN_SKIP_WITHOUT_ISA(GetParam());
    for (uint32_t n_q : {1u, 3u, 4u, 8u, 17u}) {
        if (HasFatalFailure()) return;
        check(n_q, 96, {1, 128, 129, 255, 257, 500}, Scores::mild);
        check(n_q, 128, {3, 4, 300, 301, 302, 303, 641}, Scores::spread);
        check(n_q, 100, {64, 640}, Scores::zero_scales);
        check(n_q, 36, {1, 2, 256}, Scores::faint);
    }
}

// A value that is infinite, in the last lanes of a strip of which some tokens see less.
TEST_P(AttentionKernels, ReportPoisonOfTheTokensThatSeeIt)
{
    TN_SKIP_WITHOUT_ISA(GetParam());
    const uint32_t n_q = 3, head_dim = 64, n_tokens = 6, n = n_q * head_dim;
    for (uint32_t poisoned : {124u, 131u}) {
        Random random(9);
        Cache cache(random, Scores::equal, 134, head_dim); // every key has a weight
        const Queries queries(random, Scores::equal, n_q, head_dim, {7, 124, 125, 129, 131, 134});
        uint8_t *block = cache.blocks.data() + cache.pages[poisoned / 128] * cache.page_stride;
        auto *v_scales = reinterpret_cast<float *>(block + size_t{4} * 128 * head_dim) + 128;
        v_scales[poisoned % 128] = std::numeric_limits<float>::infinity();
        Bytes scratch(TN_ATTENTION_SCRATCH_BYTES(n_tokens * n_q, head_dim));
        std::vector<float> y(n_tokens * n), want(head_dim);
        std::vector<uint32_t> bits(n_tokens);
        tn_k_attention_args args = args_of(cache, queries);
        args.y = y.data();
        args.y_stride = n;
        args.y_absmax = bits.data();
        args.scratch = scratch.data();
        reinterpret_cast<tn_k_attention_fn *>(GetParam().function)(&args);
        for (uint32_t token = 0; token < n_tokens; token++) {
            if (queries.n_pos[token] > poisoned) {
                EXPECT_GE(bits[token], TN_ABS_BITS_2P56) << "token " << token;
                continue;
            }
            EXPECT_LT(bits[token], TN_ABS_BITS_2P56) << "token " << token;
            for (uint32_t h = 0; h < n_q; h++) {
                const size_t i = size_t{token} * n_q + h;
                tn_ref_attention(queries.q.data() + i * head_dim, queries.q_scale[i], cache.k.data(), cache.k_scale.data(), cache.v.data(),
                                 cache.v_scale.data(), queries.n_pos[token], head_dim, want.data());
                EXPECT_EQ(std::memcmp(y.data() + i * head_dim, want.data(), head_dim * sizeof(float)), 0)
                    << "token " << token << ", head " << h;
            }
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Rows, AttentionKernels, ::testing::ValuesIn(rows_of({TN_SLOT_attention})), row_name);

} // namespace
