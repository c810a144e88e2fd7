// attention_split against src/ref: shapes, lengths, splits, and what is not finite.
#include "cuda_host/attention_rig.hpp"

#include <limits>

using namespace cuda_host;

namespace
{

// Sequences on both sides of page borders; the last token shares a sequence with the one before.
const std::vector<Token> kTokens = {{2, 0}, {0, 1}, {1, 127}, {3, 128}, {4, 129}, {5, 255}, {6, 256}, {6, 257}};

void check(AttentionCase *c, uint32_t n_splits, bool has_output_address = false)
{
    c->check("attention_split", n_splits, TN_CUDA_FEW_TOKENS, n_splits, has_output_address);
}

} // namespace

TEST(AttentionSplit, EqualsTheReferenceForEveryShape)
{
    for (uint32_t head_dim : {32u, 64u, 80u, 96u, 128u}) {
        for (uint32_t group : {1u, 4u, 5u, 8u}) {
            AttentionCase c({group * 2, 2, head_dim}, kTokens, head_dim + group);
            check(&c, 1 + (head_dim / 16 + group) % 5);
        }
    }
}

TEST(AttentionSplit, HeadsOfOtherSizes)
{
    for (uint32_t head_dim : {2u, 6u, 12u, 36u, 100u, 130u, 200u, 254u, 256u}) {
        AttentionCase c({6, 2, head_dim}, {{0, 5}, {1, 140}, {2, 300}}, head_dim);
        check(&c, 2);
    }
}

TEST(AttentionSplit, AnyNumberOfHeads)
{
    for (uint32_t group : {2u, 3u, 7u, 9u, 16u, 19u}) {
        AttentionCase c({group, 1, 64}, {{0, 130}, {1, 300}}, group);
        check(&c, 3);
        AttentionCase wide({group, 1, 256}, {{0, 130}, {1, 300}}, group);
        check(&wide, 2);
    }
}

TEST(AttentionSplit, AnyNumberOfSplits)
{
    AttentionCase c({8, 2, 128}, {{1, 700}, {0, 130}, {2, 1500}});
    for (uint32_t n_splits = 1; n_splits <= 13; n_splits++) check(&c, n_splits);
    check(&c, 3, true); // rows of the submit's output
}

TEST(AttentionSplit, ExponentsFarApartAndValuesThatVanish)
{
    // Keys whose dots reach the bounds of t; chunks without any value; chunks that are far below the others.
    const Sizes keys = [](uint32_t, uint32_t, uint32_t i) { return i / 128 == 1 ? 0x1p20f : i % 17 == 3 ? 0x1p-31f : 8.0f; };
    const Sizes values = [](uint32_t, uint32_t h, uint32_t i) { return i / 128 == 2 + h ? 0.0f : i % 7 == 1 ? 0x1p30f : 0x1p-25f; };
    for (float size : {0.0f, 0x1p-12f, 1.0f, 0x1p10f, 0x1p30f}) {
        AttentionCase c({8, 2, 64}, {{0, 767}, {1, 200}}, 3, size, keys, values);
        check(&c, 2);
    }
}

TEST(AttentionSplit, PoisonStaysWithItsTokens)
{
    const Sizes values = [](uint32_t seq, uint32_t, uint32_t) { return seq == 1 ? 0x1p56f : 1.0f; };
    AttentionCase large({8, 2, 128}, {{0, 300}, {1, 150}, {2, 10}}, 1, 2.0f, AttentionCase::usual_keys, values);
    check(&large, 3); // outputs not below 2^56 are marked

    AttentionCase c({8, 2, 128}, {{0, 300}, {1, 300}, {2, 10}, {2, 11}});
    c.poisoned_seq = 1;
    c.q_row(1)[5] = std::numeric_limits<float>::quiet_NaN();
    c.q_row(1)[300] = std::numeric_limits<float>::infinity();
    check(&c, 2);
}
