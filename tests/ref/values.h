// Numbers that a seed determines, the same in C++ and in make_ref_fixture.py.
#ifndef TN_TESTS_REF_VALUES_H
#define TN_TESTS_REF_VALUES_H

#include <cmath>
#include <cstdint>
#include <vector>

namespace tn_test
{

// The SplitMix64 output function of a counter.
inline uint64_t mix64(uint64_t counter)
{
    uint64_t z = counter * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

inline uint64_t random_bits(uint64_t seed, uint64_t index) { return mix64((seed << 32) + index + 1); }

// n values of 24 random bits in [-1, 1) * scale * 2^-e, e in [0, spread); scale a power of two.
inline std::vector<float> values(uint64_t seed, size_t n, float scale = 1.0f, unsigned spread = 1)
{
    std::vector<float> x(n);
    for (size_t i = 0; i < n; i++) {
        uint64_t u = random_bits(seed, i);
        auto mantissa = static_cast<int32_t>(u >> 40) - (1 << 23);
        x[i] = std::ldexp(static_cast<float>(mantissa), -23 - static_cast<int>((u & 0xffff) % spread)) * scale;
    }
    return x;
}

} // namespace tn_test

#endif
