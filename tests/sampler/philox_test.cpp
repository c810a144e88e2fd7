// Philox against the known answers of its authors' distribution, and the uniform number made from it.
#include <array>
#include <cmath>
#include <cstdint>
#include <gtest/gtest.h>
#include <set>

extern "C" {
#include "runtime/philox.h"
}

namespace
{

std::array<uint32_t, 4> philox(std::array<uint32_t, 2> key, std::array<uint32_t, 4> counter)
{
    const tn_philox_block block = tn_philox4x32_10(key.data(), counter.data());
    return {block.word[0], block.word[1], block.word[2], block.word[3]};
}

using Words = std::array<uint32_t, 4>;

TEST(Philox, GivesTheKnownAnswersOfItsAuthors)
{
    // kat_vectors of the Random123 distribution, lines "philox4x32 10".
    EXPECT_EQ(philox({0, 0}, {0, 0, 0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
    EXPECT_EQ(philox({0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}),
              (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
    EXPECT_EQ(philox({0xa4093822, 0x299f31d0}, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}),
              (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, UniformTakesSeedAsKeyAndSequenceWithPositionAsCounter)
{
    // The third known answer, with its last counter word replaced: that word is 0 in the sampler.
    const uint64_t seed = 0x299f31d0a4093822u, sequence = 0x85a308d3243f6a88u;
    const uint32_t position = 0x13198a2e;
    const Words words = philox({0xa4093822, 0x299f31d0}, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0});
    EXPECT_EQ(tn_philox_uniform(seed, sequence, position), std::ldexp(static_cast<double>(words[0] >> 8), -24));
    // With everything 0 the first word is known: 0x6627e8 * 2^-24.
    EXPECT_EQ(tn_philox_uniform(0, 0, 0), 6694888.0 / 16777216.0);
}

TEST(Philox, EveryBitOfSeedSequenceAndPositionMatters)
{
    std::set<double> seen{tn_philox_uniform(1, 2, 3)};
    for (int bit = 0; bit < 64; bit++) {
        EXPECT_TRUE(seen.insert(tn_philox_uniform(1 ^ (uint64_t{1} << bit), 2, 3)).second) << "seed bit " << bit;
        EXPECT_TRUE(seen.insert(tn_philox_uniform(1, 2 ^ (uint64_t{1} << bit), 3)).second) << "sequence bit " << bit;
    }
    for (int bit = 0; bit < 32; bit++)
        EXPECT_TRUE(seen.insert(tn_philox_uniform(1, 2, 3 ^ (uint32_t{1} << bit))).second) << "position bit " << bit;
}

TEST(Philox, UniformStaysInItsRangeWithTheMeanAndVarianceOfAUniform)
{
    const int n = 200000;
    double sum = 0, squares = 0;
    for (int i = 0; i < n; i++) {
        const double u = tn_philox_uniform(42, 7, static_cast<uint32_t>(i));
        ASSERT_GE(u, 0.0);
        ASSERT_LT(u, 1.0);
        sum += u;
        squares += u * u;
    }
    const double mean = sum / n;
    EXPECT_NEAR(mean, 0.5, 5 * std::sqrt(1.0 / 12 / n));
    EXPECT_NEAR(squares / n - mean * mean, 1.0 / 12, 0.001);
}

} // namespace
