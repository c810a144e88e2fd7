// attention_tile, and attention_tile_mma with another kernel for tiles of several sequences, against src/ref: prompts, steps of several
// sequences, tiles that tokens do not fill, row tiles that blocks share.
#include "cuda_host/attention_rig.hpp"

#include <limits>

using namespace cuda_host;

namespace
{

uint32_t n_tiles(const std::vector<Token> &tokens)
{
    return (uint32_t)(tokens.size() + TN_CUDA_ATTENTION_TOKENS - 1) / TN_CUDA_ATTENTION_TOKENS;
}

// Positions first .. of one sequence.
std::vector<Token> prompt(uint32_t seq, uint32_t first, uint32_t n)
{
    std::vector<Token> tokens;
    for (uint32_t i = 0; i < n; i++) tokens.push_back({seq, first + i});
    return tokens;
}
std::vector<Token> joined(std::vector<Token> a, const std::vector<Token> &b)
{
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

class AttentionTile : public testing::TestWithParam<std::pair<const char *, uint32_t>> // kernel, blocks of a tile (mma: beside owners)
{
  protected:
    bool is_mma() const { return std::string(GetParam().first) == "attention_tile_mma"; }
    uint32_t head_dim_max() const { return is_mma() ? 128 : 256; }
    void check(AttentionCase *c, bool has_output_address = false)
    {
        if (is_mma()) {
            c->check_both_tiles("attention_tile", GetParam().second, has_output_address);
            return;
        }
        // One tile more than the step has.
        c->check(GetParam().first, n_tiles(c->step().tokens()) + 1, GetParam().second, 1, has_output_address);
    }
};

} // namespace

TEST_P(AttentionTile, EqualsTheReferenceForEveryShape)
{
    // A tile of a sequence over a page border, then two tokens of another, one of a third.
    const std::vector<Token> tokens = joined(joined(prompt(0, 119, 16), prompt(1, 0, 2)), {{2, 300}});
    for (uint32_t head_dim : {32u, 64u, 80u, 96u, 128u}) {
        for (uint32_t group : {1u, 4u, 5u, 8u}) {
            AttentionCase c({group, 1, head_dim}, tokens, head_dim + group);
            check(&c);
        }
    }
}

TEST_P(AttentionTile, HeadsOfOtherSizes)
{
    for (uint32_t head_dim : {2u, 6u, 12u, 36u, 100u, 130u, 200u, 254u, 256u}) {
        if (head_dim > head_dim_max()) continue;
        AttentionCase c({6, 2, head_dim}, joined(prompt(0, 126, 16), {{1, 260}}), head_dim);
        check(&c);
    }
    for (uint32_t group : {3u, 19u}) {
        AttentionCase c({group, 1, 64}, prompt(0, 126, 5), group);
        check(&c);
    }
}

TEST_P(AttentionTile, TilesOfOneAndOfManySequences)
{
    std::vector<Token> tokens = prompt(0, 0, 20);
    for (uint32_t seq = 1; seq < 12; seq++) tokens.push_back({seq, 37 * seq});
    tokens = joined(tokens, prompt(12, 250, 18));
    AttentionCase c({4, 1, 64}, tokens);
    check(&c);
    check(&c, true); // rows of the submit's output
}

TEST_P(AttentionTile, LongContexts)
{
    AttentionCase c({8, 2, 128}, joined(prompt(0, 1010, 19), prompt(1, 700, 3)));
    check(&c);
}

TEST_P(AttentionTile, ExponentsFarApartAndValuesThatVanish)
{
    const Sizes keys = [](uint32_t, uint32_t, uint32_t i) { return i / 128 == 1 ? 0x1p20f : i % 17 == 3 ? 0x1p-31f : 8.0f; };
    const Sizes values = [](uint32_t, uint32_t h, uint32_t i) { return i / 128 == 2 + h ? 0.0f : i % 7 == 1 ? 0x1p30f : 0x1p-25f; };
    for (float size : {0.0f, 0x1p-12f, 1.0f, 0x1p10f, 0x1p30f}) {
        AttentionCase c({8, 2, 64}, joined(prompt(0, 505, 16), prompt(1, 200, 2)), 3, size, keys, values);
        check(&c);
    }
}

TEST_P(AttentionTile, PoisonStaysWithItsTokens)
{
    const Sizes values = [](uint32_t seq, uint32_t, uint32_t) { return seq == 1 ? 0x1p56f : 1.0f; };
    const std::vector<Token> tokens = joined(joined(prompt(0, 200, 16), prompt(1, 150, 16)), prompt(2, 7, 2));
    AttentionCase large({8, 2, 128}, tokens, 1, 2.0f, AttentionCase::usual_keys, values);
    check(&large); // outputs not below 2^56 are marked

    AttentionCase c({8, 2, 128}, tokens);
    c.poisoned_seq = 1;
    c.q_row(17)[5] = std::numeric_limits<float>::quiet_NaN();
    c.q_row(21)[300] = std::numeric_limits<float>::infinity();
    check(&c);
}

TEST(AttentionTiles, EachTileIsDoneByOneOfTwoLaunches)
{
    std::vector<Token> tokens = prompt(0, 120, 36); // two tiles of one sequence, then one of several, then one of one
    for (uint32_t seq = 1; seq <= 12; seq++) tokens.push_back({seq, 11 * seq});
    AttentionCase c({4, 1, 64}, joined(tokens, prompt(13, 0, 5)));
    for (uint32_t n_more : {0u, 2u}) {
        c.check_both_tiles("attention_tile", n_more);
        c.check_both_tiles("attention_few_mma", n_more);
    }
}

TEST(AttentionTiles, BlocksShareRowTiles)
{
    // Row tiles of two to four chunks, of which blocks have more than one, parts, or one chunk; a tile in front that is not theirs.
    std::vector<Token> tokens;
    for (uint32_t seq = 1; seq <= 16; seq++) tokens.push_back({seq, 5 * seq});
    tokens = joined(joined(tokens, prompt(0, 235, 32)), prompt(17, 380, 9));
    for (const HeadShape &shape : {HeadShape{6, 1, 128}, HeadShape{4, 2, 64}, HeadShape{2, 2, 100}}) {
        AttentionCase c(shape, tokens);
        for (uint32_t n_more : {1u, 3u, 8u, 40u}) {
            c.check_both_tiles("attention_tile", n_more);
            c.check_both_tiles("attention_tile", n_more, false, false);
        }
    }
}

TEST(AttentionTiles, MoreTilesThanABlockHasThreads)
{
    std::vector<Token> tokens = prompt(0, 130, 16);
    for (uint32_t i = 0; i < 300 * TN_CUDA_ATTENTION_TOKENS; i++) tokens.push_back({1 + i % 40, i / 40});
    tokens = joined(tokens, prompt(41, 250, 20));
    AttentionCase c({1, 1, 2}, tokens);
    c.check_both_tiles("attention_tile", 4);
}

INSTANTIATE_TEST_SUITE_P(Kernels, AttentionTile,
                         testing::Values(std::make_pair("attention_tile", 1u), std::make_pair("attention_tile", 16u),
                                         std::make_pair("attention_tile_mma", 0u), std::make_pair("attention_tile_mma", 5u)));
