// Tests of Q4_0, Q4_1, Q5_0, Q5_1, Q4_K and Q5_K: dequantisation against formulas written here and against another program's results, and
// the quality of the quantisers.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <gtest/gtest.h>
#include <random>
#include <sstream>
#include <string>
#include <vector>

extern "C" {
#include "format/dense.h"
}

namespace
{

using Bytes = std::vector<uint8_t>;
using Floats = std::vector<float>;

// The value of a half by its definition.
double half_value(const uint8_t *p)
{
    const unsigned h = p[0] | static_cast<unsigned>(p[1]) << 8;
    const int e = static_cast<int>(h >> 10 & 31), m = static_cast<int>(h & 1023);
    const double v = e == 0 ? std::ldexp(m, -24) : std::ldexp(1024 + m, e - 25);
    return h & 0x8000 ? -v : v;
}

// Element j of a block of 32 by its definition, in double: products are exact there, so that one rounding to float is the value.
double small_element(tn_dtype dtype, const uint8_t *b, size_t j)
{
    const bool offset = dtype == TN_DTYPE_Q4_1 || dtype == TN_DTYPE_Q5_1, fifth = dtype == TN_DTYPE_Q5_0 || dtype == TN_DTYPE_Q5_1;
    const uint8_t *bits = b + (offset ? 4 : 2), *nibbles = bits + (fifth ? 4 : 0);
    int q = j < 16 ? nibbles[j] & 15 : nibbles[j - 16] >> 4;
    if (fifth) q |= (bits[j / 8] >> (j % 8) & 1) << 4;
    return offset ? half_value(b) * q + half_value(b + 2) : half_value(b) * (q - (fifth ? 16 : 8));
}

// The same of a block of 256, with the case distinction of the format's definition.
double k_element(tn_dtype dtype, const uint8_t *b, size_t e)
{
    const size_t j = e / 32, l = e % 32, group = e / 64;
    const uint8_t *s = b + 4, *qh = b + 16, *qs = b + (dtype == TN_DTYPE_Q5_K ? 48 : 16);
    const int sc = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
    const int mn = j < 4 ? s[j + 4] & 63 : (s[j + 4] >> 4) | (s[j] >> 6) << 4;
    int q = j % 2 == 0 ? qs[32 * group + l] & 15 : qs[32 * group + l] >> 4;
    if (dtype == TN_DTYPE_Q5_K && (qh[l] >> j & 1)) q += 16;
    return half_value(b) * sc * q - half_value(b + 2) * mn;
}

double element(tn_dtype dtype, const uint8_t *row, size_t e)
{
    const tn_dtype_info *info = tn_dtype_get(dtype);
    const uint8_t *block = row + e / info->block_elements * info->block_bytes;
    return info->block_elements == 32 ? small_element(dtype, block, e % 32) : k_element(dtype, block, e % 256);
}

class Blocks : public testing::TestWithParam<tn_dtype>
{
  protected:
    tn_dtype dtype() const { return GetParam(); }
    const tn_dtype_info *info() const { return tn_dtype_get(GetParam()); }
    // Codes of an affine type: with an offset of its own, or by steps around zero.
    bool affine() const { return dtype() != TN_DTYPE_Q4_0 && dtype() != TN_DTYPE_Q5_0; }
    int max() const { return dtype() == TN_DTYPE_Q4_0 || dtype() == TN_DTYPE_Q4_1 || dtype() == TN_DTYPE_Q4_K ? 15 : 31; }
    Bytes quantise(const Floats &x) const
    {
        Bytes b(x.size() / info()->block_elements * info()->block_bytes, 0xee);
        EXPECT_EQ(TN_OK, tn_dense_from_f32(dtype(), x.data(), x.size(), b.data())) << tn_error_last()->message;
        return b;
    }
    Floats read(const Bytes &b) const
    {
        Floats x(b.size() / info()->block_bytes * info()->block_elements);
        tn_dense_to_f32(dtype(), b.data(), x.size(), x.data());
        return x;
    }
};
INSTANTIATE_TEST_SUITE_P(Dense, Blocks,
                         testing::Values(TN_DTYPE_Q4_0, TN_DTYPE_Q4_1, TN_DTYPE_Q5_0, TN_DTYPE_Q5_1, TN_DTYPE_Q4_K, TN_DTYPE_Q5_K),
                         [](const auto &i) { return std::string(tn_dtype_get(i.param)->name); });

// The four-bit and the five-bit code of every position, one position at a time, so that no two can be exchanged.
TEST_P(Blocks, EveryBitBelongsToOneElement)
{
    const size_t n = info()->block_elements, header = dtype() == TN_DTYPE_Q4_K || dtype() == TN_DTYPE_Q5_K ? 16 : affine() ? 4 : 2;
    Bytes zero(info()->block_bytes, 0);
    zero[1] = 0x3c;                                                     // d = 1
    if (n == 256) std::fill(zero.begin() + 4, zero.begin() + 16, 0x11); // every sc and mn not 0
    Floats base(n), one(n);
    tn_dense_to_f32(dtype(), zero.data(), n, base.data());
    size_t seen = 0;
    for (size_t bit = 8 * header; bit < 8 * zero.size(); bit++) {
        Bytes b = zero;
        b[bit / 8] = static_cast<uint8_t>(1u << bit % 8);
        tn_dense_to_f32(dtype(), b.data(), n, one.data());
        size_t changed = 0;
        for (size_t e = 0; e < n; e++) {
            changed += one[e] != base[e];
            ASSERT_EQ(static_cast<float>(element(dtype(), b.data(), e)), one[e]) << "bit " << bit << " element " << e;
        }
        EXPECT_EQ(changed, 1u) << bit;
        seen += changed;
    }
    EXPECT_EQ(seen, n * (max() == 15 ? 4 : 5));
}

TEST_P(Blocks, EveryScaleAndOffsetIsTheFormulas)
{
    std::mt19937 rng(3);
    for (int round = 0; round < 2000; round++) {
        Bytes b(info()->block_bytes);
        for (auto &v : b) v = static_cast<uint8_t>(rng() >> 24);
        b[1] = static_cast<uint8_t>((b[1] & 0x83) | (rng() >> 28) << 2); // finite
        b[3] = static_cast<uint8_t>((b[3] & 0x83) | (rng() >> 28) << 2);
        const Floats x = read(b);
        for (size_t e = 0; e < x.size(); e++) ASSERT_EQ(static_cast<float>(element(dtype(), b.data(), e)), x[e]) << "element " << e;
    }
}

// Half of a rounding error's size for values spread evenly over the range of a block is step/sqrt(12); this is what a plain choice gives:
// d = range/max, no search.
double plain_rms(const Floats &x, size_t n, int max, bool affine)
{
    double sum = 0;
    for (size_t at = 0; at < x.size(); at += n) {
        double low = 0, high = 0, peak = 0;
        for (size_t i = 0; i < n; i++) {
            const double v = static_cast<double>(x[at + i]);
            low = i ? std::min(low, v) : v;
            high = i ? std::max(high, v) : v;
            peak = std::fabs(v) > std::fabs(peak) ? v : peak;
        }
        const double d = affine ? (high - low) / max : peak / -((max + 1) / 2);
        for (size_t i = 0; i < n; i++) {
            const double v = static_cast<double>(x[at + i]), zero = affine ? low : 0, middle = affine ? 0 : (max + 1) / 2;
            const double q = d == 0 ? 0 : std::min<double>(max, std::max(0.0, std::nearbyint((v - zero) / d + middle)));
            sum += std::pow(zero + d * (q - middle) - v, 2);
        }
    }
    return std::sqrt(sum / static_cast<double>(x.size()));
}

Floats bell(size_t n, unsigned seed, float scale)
{
    std::mt19937 rng(seed);
    Floats x(n);
    for (auto &v : x) { // a sum of uniforms: the same on every library
        int s = 0;
        for (int i = 0; i < 8; i++) s += static_cast<int>(rng() >> 16) - 32768;
        v = static_cast<float>(s) * scale / 65536.0f;
    }
    return x;
}

double rms(const Floats &x, const Floats &y)
{
    double e = 0;
    for (size_t i = 0; i < x.size(); i++) e += std::pow(static_cast<double>(x[i]) - static_cast<double>(y[i]), 2);
    return std::sqrt(e / static_cast<double>(x.size()));
}

TEST_P(Blocks, QuantisesBetterThanWithoutASearch)
{
    const Floats x = bell(256 * 100, 4, 0.02f);
    const double searched = rms(x, read(quantise(x))), plain = plain_rms(x, 32, max(), affine());
    // Steps of 6 bits for scales and offsets cost the K types part of what the search wins.
    EXPECT_LT(searched, (info()->block_elements == 256 ? 1.0 : 0.97) * plain) << plain;
    EXPECT_GT(searched, 0.5 * plain) << "too good to be true";
}

TEST_P(Blocks, GivesValuesOfItsOwnGridBackAndTheSameBytesTwice)
{
    std::mt19937 rng(8);
    Floats x(256 * 8);
    for (size_t i = 0; i < x.size(); i++) {
        const int q = i % 32 == 0 ? 0 : i % 32 == 1 ? max() : static_cast<int>(rng() % static_cast<unsigned>(max() + 1));
        x[i] = 0.125f * static_cast<float>(affine() ? q - 3 : q - (max() + 1) / 2); // both ends are in every block
    }
    const Bytes first = quantise(x), second = quantise(x);
    EXPECT_EQ(first, second);
    const Floats back = read(first);
    const double tolerance = info()->block_elements == 256 ? 0.02 : 1e-4; // f16, and 6 bits: scales are rounded
    for (size_t i = 0; i < x.size(); i++) ASSERT_NEAR(x[i], back[i], tolerance) << i;
    const Floats twice = read(quantise(back));
    EXPECT_LT(rms(back, twice), tolerance);
}

TEST_P(Blocks, KeepsZerosAndConstants)
{
    EXPECT_EQ(Floats(256, 0.0f), read(quantise(Floats(256, 0.0f))));
    for (float c : {1.0f, -0.75f}) {
        for (float v : read(quantise(Floats(256, c)))) ASSERT_NEAR(v, c, 0.02 * std::fabs(static_cast<double>(c)));
    }
}

TEST_P(Blocks, SurvivesValuesNearTheEndsOfTheRange)
{
    for (float scale : {1e-30f, 1e-7f, 1e-6f, 1e-4f, 1e4f}) {
        const Floats x = bell(256, 6, scale);
        double norm = 0;
        for (float v : x) norm += static_cast<double>(v) * static_cast<double>(v);
        EXPECT_LE(rms(x, read(quantise(x))), 1.5 * std::sqrt(norm / 256)) << scale;
    }
}

TEST_P(Blocks, OutliersOfOneBlockDoNotTouchTheOthers)
{
    Floats x = bell(512, 9, 1.0f);
    const Floats calm = read(quantise(x));
    x[40] = 500.0f;
    const Floats back = read(quantise(x));
    EXPECT_NEAR(back[40], 500.0, 500.0 / max());
    for (size_t i = 256; i < 512; i++) ASSERT_EQ(calm[i], back[i]) << i;
}

TEST_P(Blocks, RefusesWhatItCannotStore)
{
    Floats x(256, 1.0f);
    Bytes b(1024);
    EXPECT_EQ(TN_INVALID_ARGUMENT, tn_dense_from_f32(dtype(), x.data(), 33, b.data()));
    x[77] = std::nanf("");
    EXPECT_EQ(TN_INVALID_ARGUMENT, tn_dense_from_f32(dtype(), x.data(), 256, b.data()));
    EXPECT_NE(nullptr, std::strstr(tn_error_last()->message, "77")) << tn_error_last()->message;
    x[77] = 3e38f;
    EXPECT_EQ(TN_INVALID_ARGUMENT, tn_dense_from_f32(dtype(), x.data(), 256, b.data()));
    EXPECT_NE(nullptr, std::strstr(tn_error_last()->message, info()->name)) << tn_error_last()->message;
    x[77] = -3e38f;
    EXPECT_EQ(TN_INVALID_ARGUMENT, tn_dense_from_f32(dtype(), x.data(), 256, b.data()));
}

// The same bytes on every machine and compiler: a change of an algorithm shows here and belongs into the changelog.
TEST_P(Blocks, GivesTheSameBytesEverywhere)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (uint8_t v : quantise(bell(256 * 64, 7, 0.05f))) h = (h ^ v) * 0x100000001b3u;
    switch (dtype()) {
    case TN_DTYPE_Q4_0: EXPECT_EQ(0xd812fa86a7a69e18u, h); break;
    case TN_DTYPE_Q4_1: EXPECT_EQ(0x72a9dc479e0a4221u, h); break;
    case TN_DTYPE_Q5_0: EXPECT_EQ(0x953434aee0aa2584u, h); break;
    case TN_DTYPE_Q5_1: EXPECT_EQ(0x12ba8e64707fd529u, h); break;
    case TN_DTYPE_Q4_K: EXPECT_EQ(0xe0a9f6b2e5bcac34u, h); break;
    default: EXPECT_EQ(0xf12062454faadaadu, h); break;
    }
}

Bytes unhex(const std::string &text)
{
    Bytes b;
    for (size_t i = 0; i + 1 < text.size(); i += 2) b.push_back(static_cast<uint8_t>(std::stoul(text.substr(i, 2), nullptr, 16)));
    return b;
}

tn_dtype dtype_named(const std::string &name)
{
    for (int t = TN_DTYPE_NONE; t < TN_DTYPE_OTHER; t++) {
        if (name == tn_dtype_get(static_cast<tn_dtype>(t))->name) return static_cast<tn_dtype>(t);
    }
    return TN_DTYPE_NONE;
}

// make_dense_fixture.py wrote these with PyPI's gguf. It keeps the sign of zero, which no op can see: zeros are compared as numbers.
TEST(Dense, DequantisesToTheBitsOfAnotherProgram)
{
    std::ifstream file(std::string(TN_SOURCE_DIR) + "/tests/data/format/dense.txt");
    size_t n_types = 0;
    for (std::string name, blocks, values; file >> name >> blocks >> values; n_types++) {
        const tn_dtype dtype = dtype_named(name);
        ASSERT_NE(dtype, TN_DTYPE_NONE) << name;
        const Bytes bytes = unhex(blocks), bits = unhex(values);
        const size_t n = bytes.size() / tn_dtype_get(dtype)->block_bytes * tn_dtype_get(dtype)->block_elements;
        ASSERT_EQ(bits.size(), 4 * n);
        Floats want(n), got(n);
        std::memcpy(want.data(), bits.data(), bits.size());
        tn_dense_to_f32(dtype, bytes.data(), n, got.data());
        for (size_t i = 0; i < n; i++) {
            if (want[i] == 0 && got[i] == 0) continue;
            ASSERT_EQ(0, std::memcmp(&want[i], &got[i], 4)) << name << " element " << i << ": " << want[i] << " " << got[i];
        }
    }
    EXPECT_EQ(n_types, 8u);
}

} // namespace
