// attention_few_mma against src/ref: shapes, lengths, splits, steps of many sequences, and what is not finite.
#include "cuda_host/attention_rig.hpp"

#include <limits>

using namespace cuda_host;

namespace
{

// Sequences on both sides of page borders; the last token shares a sequence with the one before.
const std::vector<Token> kTokens = {{2, 0}, {0, 1}, {1, 127}, {3, 128}, {4, 129}, {5, 255}, {6, 256}, {6, 257}};

// A token of each of n sequences, of one to three chunks.
std::vector<Token> ragged(uint32_t n)
{
    std::vector<Token> tokens;
    for (uint32_t seq = 0; seq < n; seq++) {
        const uint32_t borders[] = {0, 127, 128, 255, 256, 383};
        tokens.push_back({seq, seq % 3 == 0 ? borders[seq / 3 % 6] : seq * 89 % 384});
    }
    return tokens;
}

} // namespace

TEST(AttentionFew, EqualsTheReferenceForEveryShape)
{
    for (uint32_t head_dim : {8u, 32u, 64u, 72u, 80u, 96u, 128u}) {
        for (uint32_t group : {1u, 3u, 4u, 5u, 8u}) {
            AttentionCase c({group * 2, 2, head_dim}, kTokens, head_dim + group);
            c.check_few(16, 1 + (head_dim / 8 + group) % 3);
        }
    }
}

TEST(AttentionFew, ManySequences)
{
    for (uint32_t group : {1u, 3u, 4u, 8u}) {
        AttentionCase c({group, 1, 128}, ragged(32), group);
        c.check_few(16, 2);
        c.check_few(3, 1);
    }
    AttentionCase c({20, 5, 128}, ragged(19));
    c.check_few(1, 1, true); // rows of the submit's output
    c.check_few(5, 3);
}

TEST(AttentionFew, WithoutACopyEngine)
{
    const OnDevice device(80);
    AttentionCase sequences({4, 1, 128}, ragged(32));
    sequences.check_few(16, 2);
    sequences.check_few(3, 1);
    AttentionCase heads({18, 2, 72}, kTokens);
    heads.check_few(2, 2);
}

TEST(AttentionFew, AnyNumberOfHeads)
{
    for (uint32_t group : {2u, 7u, 9u, 16u, 19u}) {
        AttentionCase c({group, 1, 64}, {{0, 130}, {1, 300}}, group);
        c.check_few(16, 3);
        c.check_few(1, 1);
    }
}

TEST(AttentionFew, AnyNumberOfSplits)
{
    AttentionCase c({8, 2, 128}, {{1, 700}, {0, 130}, {2, 1500}});
    for (uint32_t n_splits = 1; n_splits <= 13; n_splits++) c.check_few(4, n_splits);
}

// The last block knows what 32 chunks are worth at a time.
TEST(AttentionFew, LongContexts)
{
    const Sizes keys = [](uint32_t, uint32_t, uint32_t i) { return i / 128 == 37 ? 64.0f : i / 128 % 8 == 5 ? 8.0f : 1.0f; };
    AttentionCase c({8, 2, 32}, {{0, 4095}, {1, 4096}, {2, 8500}}, 5, 4.0f, keys, AttentionCase::usual_values);
    c.check_few(3, 7);
}

TEST(AttentionFew, ExponentsFarApartAndValuesThatVanish)
{
    // Keys whose dots reach the bounds of t; chunks without any value; chunks that are far below the others.
    const Sizes keys = [](uint32_t, uint32_t, uint32_t i) { return i / 128 == 1 ? 0x1p20f : i % 17 == 3 ? 0x1p-31f : 8.0f; };
    const Sizes values = [](uint32_t, uint32_t h, uint32_t i) { return i / 128 == 2 + h ? 0.0f : i % 7 == 1 ? 0x1p30f : 0x1p-25f; };
    for (float size : {0.0f, 0x1p-12f, 1.0f, 0x1p10f, 0x1p30f}) {
        AttentionCase c({8, 2, 64}, {{0, 767}, {1, 200}}, 3, size, keys, values);
        c.check_few(2, 2);
        c.check_few(2, 1);
    }
}

TEST(AttentionFew, PoisonStaysWithItsTokens)
{
    const Sizes values = [](uint32_t seq, uint32_t, uint32_t) { return seq == 1 ? 0x1p56f : 1.0f; };
    AttentionCase large({8, 2, 128}, {{0, 300}, {1, 150}, {2, 10}}, 1, 2.0f, AttentionCase::usual_keys, values);
    large.check_few(4, 3); // outputs not below 2^56 are marked

    AttentionCase c({8, 2, 128}, {{0, 300}, {1, 300}, {2, 10}, {2, 11}});
    c.poisoned_seq = 1;
    c.q_row(1)[5] = std::numeric_limits<float>::quiet_NaN();
    c.q_row(1)[300] = std::numeric_limits<float>::infinity();
    c.check_few(4, 2);
}
