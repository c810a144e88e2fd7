// Tests of the dense types: 16-bit floats exhaustively, Q8_0 and Q6_K against formulas written here, and the quantisers' quality.
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <limits>
#include <random>
#include <vector>

extern "C" {
#include "format/dense.h"
}

namespace
{

using Bytes = std::vector<uint8_t>;
using Floats = std::vector<float>;

uint32_t bits(float f)
{
    uint32_t u;
    std::memcpy(&u, &f, 4);
    return u;
}

// The value of a half by its definition.
double half_value(unsigned h)
{
    const int e = static_cast<int>(h >> 10 & 31), m = static_cast<int>(h & 1023);
    const double v = e == 0 ? std::ldexp(m, -24) : std::ldexp(1024 + m, e - 25);
    return h & 0x8000 ? -v : v;
}

uint16_t load_u16(const uint8_t *p) { return static_cast<uint16_t>(p[0] | p[1] << 8); }

// ---- 16-bit floats ----

TEST(Half, WidensAllPatternsExactly)
{
    for (unsigned h = 0; h < 65536; h++) {
        const float f = tn_f16_to_f32(static_cast<uint16_t>(h));
        if ((h & 0x7c00) == 0x7c00) {
            if (h & 1023) {
                EXPECT_TRUE(std::isnan(f)) << h;
            } else {
                EXPECT_EQ(h & 0x8000 ? -INFINITY : INFINITY, f);
            }
        } else {
            ASSERT_EQ(half_value(h), static_cast<double>(f)) << h;
            ASSERT_EQ((h & 0x8000) != 0, std::signbit(f)) << h;
        }
    }
}

TEST(Half, NarrowsEveryHalfToItself)
{
    for (unsigned h = 0; h < 65536; h++) {
        const uint16_t back = tn_f32_to_f16(tn_f16_to_f32(static_cast<uint16_t>(h)));
        if ((h & 0x7c00) == 0x7c00 && (h & 1023)) {
            EXPECT_TRUE((back & 0x7c00) == 0x7c00 && (back & 1023)) << h;
        } else {
            ASSERT_EQ(h, back);
        }
    }
}

TEST(Half, RoundsToNearestEvenAtEveryMidpoint)
{
    for (unsigned h = 0; h < 0x7bff; h++) {
        const float middle = static_cast<float>((half_value(h) + half_value(h + 1)) / 2); // exact: one bit more than a half has
        const unsigned even = h & 1 ? h + 1 : h;
        ASSERT_EQ(even, tn_f32_to_f16(middle)) << h;
        ASSERT_EQ(h, tn_f32_to_f16(std::nextafterf(middle, 0.0f))) << h;
        ASSERT_EQ(h + 1, tn_f32_to_f16(std::nextafterf(middle, 1e9f))) << h;
        ASSERT_EQ(even | 0x8000, tn_f32_to_f16(-middle)) << h;
    }
}

TEST(Half, OverflowsToInfinityFrom65520)
{
    EXPECT_EQ(0x7bff, tn_f32_to_f16(std::nextafterf(65520.0f, 0.0f)));
    EXPECT_EQ(0x7c00, tn_f32_to_f16(65520.0f));
    EXPECT_EQ(0xfc00, tn_f32_to_f16(-3e38f));
    EXPECT_EQ(0x7c00, tn_f32_to_f16(INFINITY));
    EXPECT_EQ(0x0000, tn_f32_to_f16(std::numeric_limits<float>::denorm_min()));
    EXPECT_EQ(0x8000, tn_f32_to_f16(-1e-30f));
}

TEST(BFloat, IsTheTopHalfOfAFloat)
{
    for (uint32_t b = 0; b < 65536; b++) ASSERT_EQ(b << 16, bits(tn_bf16_to_f32(static_cast<uint16_t>(b))));
}

TEST(BFloat, RoundsToNearestEven)
{
    const float in[] = {1.0f, 1.00390625f /* a tie: 1 + 2^-8 */, 1.01171875f /* a tie: 1 + 3 * 2^-8 */, 1.00390637f, -2.5f};
    const uint16_t expected[] = {0x3f80, 0x3f80, 0x3f82, 0x3f81, 0xc020};
    Bytes out(10);
    ASSERT_EQ(TN_OK, tn_dense_from_f32(TN_DTYPE_BF16, in, 5, out.data()));
    for (size_t i = 0; i < 5; i++) EXPECT_EQ(expected[i], load_u16(&out[2 * i])) << i;
}

TEST(Dense, ReadsPlainTypesFromAnyAlignment)
{
    const float values[3] = {1.5f, -0.25f, 3.0f};
    Bytes bytes(1 + 12);
    std::memcpy(bytes.data() + 1, values, 12);
    Floats out(3);
    tn_dense_to_f32(TN_DTYPE_F32, bytes.data() + 1, 3, out.data());
    EXPECT_EQ(Floats(values, values + 3), out);
    const uint8_t halves[] = {0xff, 0x00, 0x3e, 0x00, 0xb4, 0x00, 0x42}, bf[] = {0xff, 0xc0, 0x3f, 0x80, 0xbe, 0x40, 0x40};
    tn_dense_to_f32(TN_DTYPE_F16, halves + 1, 3, out.data());
    EXPECT_EQ(Floats(values, values + 3), out);
    tn_dense_to_f32(TN_DTYPE_BF16, bf + 1, 3, out.data());
    EXPECT_EQ(Floats(values, values + 3), out);
}

// ---- dequantisation by the formats' formulas ----

TEST(Q8, DequantisesAsScaleTimesCode)
{
    std::mt19937 rng(1);
    Bytes b(3 * 34);
    for (auto &v : b) v = static_cast<uint8_t>(rng());
    for (size_t i = 0; i < 3; i++) b[34 * i + 1] &= 0x3f; // finite scales
    Floats out(96);
    tn_dense_to_f32(TN_DTYPE_Q8_0, b.data(), 96, out.data());
    for (size_t i = 0; i < 96; i++) {
        const float d = static_cast<float>(half_value(load_u16(&b[34 * (i / 32)])));
        ASSERT_EQ(d * static_cast<float>(static_cast<int8_t>(b[34 * (i / 32) + 2 + i % 32])), out[i]) << i;
    }
}

// The four lines of the format's definition, a half block at a time.
Floats q6_formula(const uint8_t *block)
{
    Floats x(256);
    const uint8_t *ql = block, *qh = block + 128;
    const int8_t *scales = reinterpret_cast<const int8_t *>(block + 192);
    const float d = static_cast<float>(half_value(load_u16(block + 208)));
    for (size_t h = 0; h < 2; h++) {
        for (size_t l = 0; l < 32; l++) {
            const int8_t *sc = scales + 8 * h + l / 16;
            const auto value = [d](int scale, int code) { return (d * static_cast<float>(scale)) * static_cast<float>(code - 32); };
            x[128 * h + l] = value(sc[0], (ql[64 * h + l] & 15) | (qh[32 * h + l] & 3) << 4);
            x[128 * h + 32 + l] = value(sc[2], (ql[64 * h + 32 + l] & 15) | (qh[32 * h + l] >> 2 & 3) << 4);
            x[128 * h + 64 + l] = value(sc[4], ql[64 * h + l] >> 4 | (qh[32 * h + l] >> 4 & 3) << 4);
            x[128 * h + 96 + l] = value(sc[6], ql[64 * h + 32 + l] >> 4 | (qh[32 * h + l] >> 6) << 4);
        }
    }
    return x;
}

TEST(Q6K, DequantisesAsTheFormatsFourLines)
{
    std::mt19937 rng(2);
    for (int run = 0; run < 50; run++) {
        Bytes b(2 * 210);
        for (auto &v : b) v = static_cast<uint8_t>(rng());
        b[209] &= 0xbf, b[419] &= 0xbf; // finite scales of both signs
        Floats out(512);
        tn_dense_to_f32(TN_DTYPE_Q6_K, b.data(), 512, out.data());
        Floats expected = q6_formula(b.data());
        const Floats second = q6_formula(b.data() + 210);
        expected.insert(expected.end(), second.begin(), second.end());
        ASSERT_EQ(0, std::memcmp(expected.data(), out.data(), 512 * 4)) << run;
    }
}

// ---- quantisation ----

Floats normal_values(size_t n, unsigned seed, float scale)
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

double rms_error(tn_dtype dtype, const Floats &x, const Bytes &b)
{
    Floats back(x.size());
    tn_dense_to_f32(dtype, b.data(), x.size(), back.data());
    double e = 0;
    for (size_t i = 0; i < x.size(); i++) e += std::pow(static_cast<double>(x[i]) - static_cast<double>(back[i]), 2);
    return std::sqrt(e / static_cast<double>(x.size()));
}

TEST(Q8, QuantisesToTheNearestCodeOfTheRoundedScale)
{
    const Floats x = normal_values(32 * 200, 3, 0.02f);
    Bytes b(34 * 200);
    ASSERT_EQ(TN_OK, tn_dense_from_f32(TN_DTYPE_Q8_0, x.data(), x.size(), b.data()));
    for (size_t block = 0; block < 200; block++) {
        float amax = 0;
        for (size_t j = 0; j < 32; j++) amax = std::max(amax, std::fabs(x[32 * block + j]));
        const uint16_t d16 = load_u16(&b[34 * block]);
        ASSERT_EQ(tn_f32_to_f16(amax / 127.0f), d16);
        for (size_t j = 0; j < 32; j++) {
            const double wanted = static_cast<double>(x[32 * block + j]) / half_value(d16);
            const int code = static_cast<int8_t>(b[34 * block + 2 + j]);
            ASSERT_LE(std::fabs(std::min(127.0, std::max(-127.0, wanted)) - code), 0.5 + 1e-6);
        }
    }
}

TEST(Q8, StoresZerosAndTinyValuesAsZero)
{
    Floats x(64, 0.0f);
    x[40] = 1e-12f;
    Bytes b(68, 0xff);
    ASSERT_EQ(TN_OK, tn_dense_from_f32(TN_DTYPE_Q8_0, x.data(), 64, b.data()));
    EXPECT_EQ(Bytes(68, 0), b);
}

// What a quantiser without a search does: the largest value of 16 gets code 31.
double plain_q6_rms(const Floats &x)
{
    double e = 0;
    for (size_t block = 0; block < x.size(); block += 256) {
        double scales[16], widest = 0;
        for (size_t s = 0; s < 16; s++) {
            double amax = 0;
            for (size_t j = 0; j < 16; j++) amax = std::max(amax, std::fabs(static_cast<double>(x[block + 16 * s + j])));
            scales[s] = amax / 31;
            widest = std::max(widest, scales[s]);
        }
        const double d = half_value(tn_f32_to_f16(static_cast<float>(widest / 127)));
        for (size_t i = 0; i < 256; i++) {
            const double step = d * std::nearbyint(scales[i / 16] / d);
            const double v = static_cast<double>(x[block + i]);
            const double q = step > 0 ? std::min(31.0, std::max(-32.0, std::nearbyint(v / step))) : 0;
            e += (v - step * q) * (v - step * q);
        }
    }
    return std::sqrt(e / static_cast<double>(x.size()));
}

TEST(Q6K, QuantisesBetterThanWithoutASearch)
{
    const Floats x = normal_values(256 * 100, 4, 0.02f);
    Bytes b(210 * 100);
    ASSERT_EQ(TN_OK, tn_dense_from_f32(TN_DTYPE_Q6_K, x.data(), x.size(), b.data()));
    const double searched = rms_error(TN_DTYPE_Q6_K, x, b), plain = plain_q6_rms(x);
    EXPECT_LT(searched, 0.96 * plain) << plain;
    EXPECT_GT(searched, 0.5 * plain) << "too good to be true";
}

TEST(Q6K, PutsTheLargestOfEachSixteenWithinAStep)
{
    Floats x = normal_values(256 * 4, 5, 1.0f);
    x[17] = 40.0f; // an outlier of each sign: its own sixteen suffer, the others keep their resolution
    x[600] = -55.0f;
    Bytes b(210 * 4);
    ASSERT_EQ(TN_OK, tn_dense_from_f32(TN_DTYPE_Q6_K, x.data(), x.size(), b.data()));
    Floats back(x.size());
    tn_dense_to_f32(TN_DTYPE_Q6_K, b.data(), x.size(), back.data());
    for (size_t i = 0; i < x.size(); i++) {
        const uint8_t *block = &b[210 * (i / 256)];
        const double step = std::fabs(half_value(load_u16(block + 208)) * static_cast<int8_t>(block[192 + i % 256 / 16]));
        ASSERT_LE(std::fabs(x[i] - back[i]), 1.5 * step) << i;
    }
    EXPECT_NEAR(40.0, back[17], 40.0 / 60);
    EXPECT_NEAR(-55.0, back[600], 55.0 / 60);
}

TEST(Q6K, StoresZerosAsZero)
{
    const Floats x(256, 0.0f);
    Bytes b(210, 0xff);
    ASSERT_EQ(TN_OK, tn_dense_from_f32(TN_DTYPE_Q6_K, x.data(), 256, b.data()));
    EXPECT_EQ(0.0, rms_error(TN_DTYPE_Q6_K, x, b));
    EXPECT_EQ(0, load_u16(&b[208]) & 0x7fff);
}

TEST(Q6K, SurvivesValuesNearTheEndsOfTheRange)
{
    for (float scale : {1e-7f, 1e-6f, 1e-4f, 1e4f, 1e7f}) {
        const Floats x = normal_values(256, 6, scale);
        Bytes b(210);
        ASSERT_EQ(TN_OK, tn_dense_from_f32(TN_DTYPE_Q6_K, x.data(), 256, b.data())) << scale;
        double norm = 0;
        for (float v : x) norm += static_cast<double>(v) * static_cast<double>(v);
        EXPECT_LE(rms_error(TN_DTYPE_Q6_K, x, b), 1.01 * std::sqrt(norm / 256)) << scale; // never worse than storing zeros
    }
}

uint64_t fnv(const Bytes &b)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (uint8_t v : b) h = (h ^ v) * 0x100000001b3u;
    return h;
}

// The same bytes on every machine and compiler: a change of the algorithm shows here and belongs into the changelog.
TEST(Quantisers, GiveTheSameBytesEverywhere)
{
    const Floats x = normal_values(256 * 64, 7, 0.05f);
    Bytes q8(34 * 8 * 64), q6(210 * 64);
    ASSERT_EQ(TN_OK, tn_dense_from_f32(TN_DTYPE_Q8_0, x.data(), x.size(), q8.data()));
    ASSERT_EQ(TN_OK, tn_dense_from_f32(TN_DTYPE_Q6_K, x.data(), x.size(), q6.data()));
    EXPECT_EQ(0xbbc65bbb8a020924u, fnv(q8));
    EXPECT_EQ(0x9287a5f2e0d8f164u, fnv(q6));
}

TEST(Dense, RefusesWhatCannotBeStored)
{
    Floats x(256, 1.0f);
    Bytes b(1024);
    EXPECT_EQ(TN_INVALID_ARGUMENT, tn_dense_from_f32(TN_DTYPE_Q8_0, x.data(), 33, b.data()));
    EXPECT_EQ(TN_INVALID_ARGUMENT, tn_dense_from_f32(TN_DTYPE_Q6_K, x.data(), 128, b.data()));
    EXPECT_EQ(TN_UNSUPPORTED, tn_dense_from_f32(TN_DTYPE_I2_S, x.data(), 256, b.data()));
    EXPECT_EQ(TN_UNSUPPORTED, tn_dense_from_f32(TN_DTYPE_OTHER, x.data(), 256, b.data()));
    for (float bad : {std::nanf(""), INFINITY, -INFINITY}) {
        x[77] = bad;
        for (tn_dtype t : {TN_DTYPE_F32, TN_DTYPE_F16, TN_DTYPE_BF16, TN_DTYPE_Q8_0, TN_DTYPE_Q6_K}) {
            EXPECT_EQ(TN_INVALID_ARGUMENT, tn_dense_from_f32(t, x.data(), 256, b.data())) << t;
            EXPECT_NE(nullptr, std::strstr(tn_error_last()->message, "77")) << tn_error_last()->message;
        }
    }
    x[77] = 3e38f; // finite, but more than any of these can hold
    for (tn_dtype t : {TN_DTYPE_F16, TN_DTYPE_Q8_0, TN_DTYPE_Q6_K})
        EXPECT_EQ(TN_INVALID_ARGUMENT, tn_dense_from_f32(t, x.data(), 256, b.data())) << t;
}

} // namespace
