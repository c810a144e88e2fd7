// Tests of the ternary types: worked byte examples, an independent map of every element, scale rules, hostile input.
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <limits>
#include <random>
#include <string>
#include <vector>

extern "C" {
#include "format/dense.h"
#include "format/ternary.h"
}

namespace
{

using Bytes = std::vector<uint8_t>;
using Codes = std::vector<int8_t>;

// A tensor of rows x cols over `bytes`.
tn_gguf_tensor tensor_of(tn_dtype dtype, uint64_t rows, uint64_t cols, const Bytes &bytes)
{
    tn_gguf_tensor t = {};
    t.name = tn_str_of("blk.7.attn_q.weight");
    t.n_dims = 2;
    t.ne[0] = cols;
    t.ne[1] = rows;
    t.ne[2] = t.ne[3] = 1;
    t.n_elements = rows * cols;
    t.dtype = dtype;
    t.type_name = tn_dtype_get(dtype)->name;
    t.size_bytes = bytes.size();
    t.data = bytes.data();
    return t;
}

size_t file_bytes(tn_dtype dtype, size_t n)
{
    return dtype == TN_DTYPE_I2_S ? n / 4 + 32 : dtype == TN_DTYPE_TQ1_0 ? n / 256 * 54 : n / 256 * 66;
}

void put_f32(Bytes &bytes, size_t at, float v) { std::memcpy(bytes.data() + at, &v, 4); }
void put_f16(Bytes &bytes, size_t at, uint16_t v)
{
    bytes[at] = static_cast<uint8_t>(v & 255);
    bytes[at + 1] = static_cast<uint8_t>(v >> 8);
}

// One block or tensor whose codes are all 0, with scale 1.
Bytes zeros_of(tn_dtype dtype, size_t n)
{
    Bytes b(file_bytes(dtype, n), 0);
    if (dtype == TN_DTYPE_I2_S) {
        std::fill(b.begin(), b.begin() + static_cast<long>(n / 4), 0x55);
        put_f32(b, n / 4, 1.0f);
        return b;
    }
    const size_t block = dtype == TN_DTYPE_TQ1_0 ? 54 : 66;
    std::fill(b.begin(), b.end(), dtype == TN_DTYPE_TQ1_0 ? 0x80 : 0x55);
    for (size_t i = 0; i < n / 256; i++) put_f16(b, (i + 1) * block - 2, 0x3c00);
    return b;
}

Codes read_all(const tn_ternary_tensor &t)
{
    Codes codes(static_cast<size_t>(t.n_rows) * t.n_cols, 99);
    EXPECT_EQ(TN_OK, tn_ternary_read_rows(&t, 0, t.n_rows, codes.data())) << tn_error_last()->message;
    return codes;
}

bool message_has(const char *text) { return std::strstr(tn_error_last()->message, text) != nullptr; }

Codes random_codes(size_t n, unsigned seed)
{
    std::mt19937 rng(seed);
    Codes codes(n);
    for (auto &c : codes) c = static_cast<int8_t>(static_cast<int>(rng() % 3) - 1);
    return codes;
}

// ---- the formats' own examples ----

TEST(I2S, ReadsTheWorkedExampleOfTheX86Layout)
{
    Bytes b = zeros_of(TN_DTYPE_I2_S, 128);
    b[0] = 0x88;
    b[1] = 0x26;
    const uint8_t tail[4] = {0xcd, 0xcc, 0x4c, 0x3d};
    std::memcpy(b.data() + 32, tail, 4);
    const tn_gguf_tensor g = tensor_of(TN_DTYPE_I2_S, 1, 128, b);
    tn_ternary_tensor t;
    ASSERT_EQ(TN_OK, tn_ternary_open(&g, &t)) << tn_error_last()->message;
    EXPECT_EQ(0.05f, t.scale);
    Codes expected(128, 0);
    expected[0] = 1, expected[32] = -1, expected[64] = 1, expected[96] = -1;
    expected[1] = -1, expected[33] = 1, expected[65] = 0, expected[97] = 1;
    EXPECT_EQ(expected, read_all(t));
}

TEST(I2S, ReadsTheScaleOfThePublishedFiles)
{
    Bytes b = zeros_of(TN_DTYPE_I2_S, 256);
    const uint8_t tail[8] = {0x00, 0x00, 0x9c, 0x3f, 0xff, 0xff, 0xff, 0xff}; // the rest of the tail may be anything
    std::memcpy(b.data() + 64, tail, 8);
    const tn_gguf_tensor g = tensor_of(TN_DTYPE_I2_S, 2, 128, b);
    tn_ternary_tensor t;
    ASSERT_EQ(TN_OK, tn_ternary_open(&g, &t));
    EXPECT_EQ(1.21875f, t.scale);
    EXPECT_EQ(2u, t.n_rows);
    EXPECT_EQ(128u, t.n_cols);
}

TEST(TQ1, ReadsTheWorkedExamplesOfFiveAndFourDigits)
{
    const struct {
        uint8_t byte;
        int digits[5];
    } five[] = {{0x80, {0, 0, 0, 0, 0}},
                {0xcc, {1, 0, -1, 0, 0}},
                {0xba, {1, -1, 0, 0, 1}},
                {0x00, {-1, -1, -1, -1, -1}},
                {0xff, {1, 1, 1, 1, 1}}},
      four[] = {{0xcb, {1, 0, -1, 0, 0}}, {0xbb, {1, -1, 0, 1, 0}}};
    Bytes b = zeros_of(TN_DTYPE_TQ1_0, 256);
    for (size_t i = 0; i < 5; i++) b[i] = five[i].byte, b[32 + i] = five[i].byte;
    for (size_t i = 0; i < 2; i++) b[48 + i] = four[i].byte;
    const tn_gguf_tensor g = tensor_of(TN_DTYPE_TQ1_0, 1, 256, b);
    tn_ternary_tensor t;
    ASSERT_EQ(TN_OK, tn_ternary_open(&g, &t));
    const Codes codes = read_all(t);
    for (size_t i = 0; i < 5; i++) {
        for (size_t n = 0; n < 5; n++) {
            EXPECT_EQ(five[i].digits[n], codes[32 * n + i]) << "byte " << i << " digit " << n;
            EXPECT_EQ(five[i].digits[n], codes[160 + 16 * n + i]) << "byte " << 32 + i << " digit " << n;
        }
    }
    for (size_t i = 0; i < 2; i++) {
        for (size_t n = 0; n < 4; n++) EXPECT_EQ(four[i].digits[n], codes[240 + 4 * n + i]) << "byte " << 48 + i << " digit " << n;
    }
}

TEST(TQ2, ReadsTheWorkedExample)
{
    Bytes b = zeros_of(TN_DTYPE_TQ2_0, 256);
    b[0] = 0xa2;
    b[1] = 0x54;
    put_f16(b, 64, 0x3800); // bytes 00 38
    const tn_gguf_tensor g = tensor_of(TN_DTYPE_TQ2_0, 1, 256, b);
    tn_ternary_tensor t;
    ASSERT_EQ(TN_OK, tn_ternary_open(&g, &t));
    EXPECT_EQ(0.5f, t.scale);
    Codes expected(256, 0);
    expected[0] = 1, expected[32] = -1, expected[64] = 1, expected[96] = 1, expected[1] = -1;
    EXPECT_EQ(expected, read_all(t));
}

// ---- every element by an independent map: where element e of a row-major tensor lies ----

int i2s_element(const Bytes &b, size_t e)
{
    const size_t j = e % 128;
    return (b[32 * (e / 128) + j % 32] >> (6 - 2 * (j / 32)) & 3) - 1;
}
int tq2_element(const Bytes &b, size_t e)
{
    const size_t j = e % 256;
    return (b[66 * (e / 256) + 32 * (j / 128) + j % 32] >> (2 * (j % 128 / 32)) & 3) - 1;
}
int tq1_element(const Bytes &b, size_t e)
{
    const size_t j = e % 256;
    const size_t at = j < 160 ? j % 32 : j < 240 ? 32 + (j - 160) % 16 : 48 + (j - 240) % 4;
    const size_t n = j < 160 ? j / 32 : j < 240 ? (j - 160) / 16 : (j - 240) / 4;
    unsigned byte = b[54 * (e / 256) + at];
    for (size_t i = 0; i < n; i++) byte = byte * 3 % 256;
    return static_cast<int>(3 * byte / 256) - 1;
}

class EveryType : public testing::TestWithParam<tn_dtype>
{
};
INSTANTIATE_TEST_SUITE_P(Ternary, EveryType, testing::Values(TN_DTYPE_I2_S, TN_DTYPE_TQ1_0, TN_DTYPE_TQ2_0),
                         [](const auto &i) { return std::string(tn_dtype_get(i.param)->name); });

TEST_P(EveryType, WritesEveryElementWhereTheFormatSaysAndReadsItBack)
{
    const tn_dtype dtype = GetParam();
    const uint32_t rows = 5, cols = 768;
    const Codes codes = random_codes(rows * cols, 11);
    Bytes b(file_bytes(dtype, codes.size()), 0xee);
    ASSERT_EQ(TN_OK, tn_ternary_write(dtype, codes.data(), rows, cols, 0.75f, b.data())) << tn_error_last()->message;
    const auto element = dtype == TN_DTYPE_I2_S ? i2s_element : dtype == TN_DTYPE_TQ1_0 ? tq1_element : tq2_element;
    for (size_t e = 0; e < codes.size(); e++) ASSERT_EQ(codes[e], element(b, e)) << "element " << e;

    const tn_gguf_tensor g = tensor_of(dtype, rows, cols, b);
    tn_ternary_tensor t;
    ASSERT_EQ(TN_OK, tn_ternary_open(&g, &t)) << tn_error_last()->message;
    EXPECT_EQ(0.75f, t.scale);
    EXPECT_EQ(codes, read_all(t));
    Codes two(2 * cols, 99);
    ASSERT_EQ(TN_OK, tn_ternary_read_rows(&t, 3, 2, two.data()));
    EXPECT_EQ(Codes(codes.begin() + 3 * cols, codes.end()), two);
}

TEST_P(EveryType, WritesNoByteThatItsInputDoesNotDecide)
{
    const Codes codes = random_codes(512, 3);
    Bytes a(file_bytes(GetParam(), 512), 0x00), b(a.size(), 0xff);
    ASSERT_EQ(TN_OK, tn_ternary_write(GetParam(), codes.data(), 2, 256, 1.5f, a.data()));
    ASSERT_EQ(TN_OK, tn_ternary_write(GetParam(), codes.data(), 2, 256, 1.5f, b.data()));
    EXPECT_EQ(a, b);
}

TEST(TQ1, EncodesEveryDigitCombinationAsTheFormatsFraction)
{
    for (int v = 0; v < 243; v++) {
        Codes codes(256, 0);
        for (int n = 0, rest = v, power = 81; n < 5; n++, power /= 3) {
            codes[static_cast<size_t>(32 * n)] = static_cast<int8_t>(rest / power - 1);
            rest %= power;
        }
        Bytes b(54);
        ASSERT_EQ(TN_OK, tn_ternary_write(TN_DTYPE_TQ1_0, codes.data(), 1, 256, 1.0f, b.data()));
        EXPECT_EQ((256 * v + 242) / 243, b[0]);
        const tn_gguf_tensor g = tensor_of(TN_DTYPE_TQ1_0, 1, 256, b);
        tn_ternary_tensor t;
        ASSERT_EQ(TN_OK, tn_ternary_open(&g, &t));
        EXPECT_EQ(codes, read_all(t)) << "value " << v;
    }
}

TEST(TQ1, WritesTheUnusedFifthDigitAsZero)
{
    const Codes codes(256, 1);
    Bytes b(54);
    ASSERT_EQ(TN_OK, tn_ternary_write(TN_DTYPE_TQ1_0, codes.data(), 1, 256, 1.0f, b.data()));
    EXPECT_EQ((256 * 240 + 242) / 243, b[48]); // digits 2 2 2 2 0
}

// ---- scales ----

TEST_P(EveryType, TurnsANegativeScaleIntoNegatedCodes)
{
    const Codes codes = random_codes(512, 5);
    Bytes b(file_bytes(GetParam(), 512));
    ASSERT_EQ(TN_OK, tn_ternary_write(GetParam(), codes.data(), 2, 256, -0.25f, b.data()));
    const tn_gguf_tensor g = tensor_of(GetParam(), 2, 256, b);
    tn_ternary_tensor t;
    ASSERT_EQ(TN_OK, tn_ternary_open(&g, &t));
    EXPECT_EQ(0.25f, t.scale);
    Codes negated = codes;
    for (auto &c : negated) c = static_cast<int8_t>(-c);
    EXPECT_EQ(negated, read_all(t));
}

TEST_P(EveryType, RefusesAScaleThatIsNotFinite)
{
    const uint16_t halves[] = {0x7e00, 0x7c00, 0xfc00};
    const float floats[] = {std::nanf(""), std::numeric_limits<float>::infinity(), 1e30f};
    for (size_t i = 0; i < 3; i++) {
        Bytes b = zeros_of(GetParam(), 512);
        if (GetParam() == TN_DTYPE_I2_S) {
            put_f32(b, 128, floats[i]);
        } else {
            put_f16(b, b.size() - 2, halves[i]); // even in a block of zeros: no honest writer makes it
        }
        const tn_gguf_tensor g = tensor_of(GetParam(), 2, 256, b);
        tn_ternary_tensor t;
        EXPECT_EQ(TN_BAD_FILE, tn_ternary_open(&g, &t));
        EXPECT_TRUE(message_has("blk.7.attn_q.weight")) << tn_error_last()->message;
    }
}

TEST(I2S, CountsATinyScaleAsZero)
{
    Bytes b = zeros_of(TN_DTYPE_I2_S, 128);
    tn_ternary_tensor t;
    const tn_gguf_tensor g = tensor_of(TN_DTYPE_I2_S, 1, 128, b);
    put_f32(b, 32, std::ldexp(1.0f, -50));
    ASSERT_EQ(TN_OK, tn_ternary_open(&g, &t));
    EXPECT_EQ(std::ldexp(1.0f, -50), t.scale);
    put_f32(b, 32, std::nextafterf(std::ldexp(1.0f, -50), 0.0f));
    ASSERT_EQ(TN_OK, tn_ternary_open(&g, &t));
    EXPECT_EQ(0.0f, t.scale);
    put_f32(b, 32, -std::numeric_limits<float>::denorm_min());
    ASSERT_EQ(TN_OK, tn_ternary_open(&g, &t));
    EXPECT_EQ(0.0f, t.scale);
}

class BlockType : public testing::TestWithParam<tn_dtype>
{
  protected:
    size_t block() const { return GetParam() == TN_DTYPE_TQ1_0 ? 54 : 66; }
};
INSTANTIATE_TEST_SUITE_P(Ternary, BlockType, testing::Values(TN_DTYPE_TQ1_0, TN_DTYPE_TQ2_0),
                         [](const auto &i) { return std::string(tn_dtype_get(i.param)->name); });

TEST_P(BlockType, IgnoresTheScaleOfBlocksThatAreAllZero)
{
    Bytes b = zeros_of(GetParam(), 1024);
    put_f16(b, 1 * block() - 2, 0x0000); // zero blocks with other scales before and after
    put_f16(b, 4 * block() - 2, 0x4000);
    b[1 * block()] = 0x00;      // a code -1 in blocks 1 and 2, which share d = 1
    b[2 * block() + 51] = 0x00; // in the last bytes of a block, too
    const tn_gguf_tensor g = tensor_of(GetParam(), 2, 512, b);
    tn_ternary_tensor t;
    ASSERT_EQ(TN_OK, tn_ternary_open(&g, &t)) << tn_error_last()->message;
    EXPECT_EQ(1.0f, t.scale);
}

TEST_P(BlockType, RefusesBlocksWithDifferentScalesByName)
{
    Bytes b = zeros_of(GetParam(), 1024);
    b[1 * block()] = 0x00;
    b[3 * block()] = 0x00;
    put_f16(b, 4 * block() - 2, 0x3800);
    const tn_gguf_tensor g = tensor_of(GetParam(), 4, 256, b);
    tn_ternary_tensor t;
    EXPECT_EQ(TN_UNSUPPORTED, tn_ternary_open(&g, &t));
    EXPECT_TRUE(message_has("blk.7.attn_q.weight")) << tn_error_last()->message;
    EXPECT_TRUE(message_has("grouped scales are not read yet")) << tn_error_last()->message;
    put_f16(b, 4 * block() - 2, 0xbc00); // -1 beside 1 differs too: the sign is part of a block's scale
    EXPECT_EQ(TN_UNSUPPORTED, tn_ternary_open(&g, &t));
}

TEST_P(BlockType, SeesANonZeroCodeInEveryByteOfABlock)
{
    for (size_t at = 0; at < block() - 2; at++) {
        Bytes b = zeros_of(GetParam(), 512);
        b[at] = 0x00;
        b[block()] = 0x00;
        put_f16(b, 2 * block() - 2, 0x3800); // differs: both blocks must count
        const tn_gguf_tensor g = tensor_of(GetParam(), 1, 512, b);
        tn_ternary_tensor t;
        ASSERT_EQ(TN_UNSUPPORTED, tn_ternary_open(&g, &t)) << at;
    }
}

TEST(TQ1, CountsABlockAsZeroWhateverItsUnusedFifthDigits)
{
    Bytes b = zeros_of(TN_DTYPE_TQ1_0, 512);
    b[48] = 0x7f; // 0 0 0 0 and a fifth digit that no element uses
    b[51] = 0x81;
    put_f16(b, 52, 0x4000);
    b[54] = 0x00;
    const tn_gguf_tensor g = tensor_of(TN_DTYPE_TQ1_0, 1, 512, b);
    tn_ternary_tensor t;
    ASSERT_EQ(TN_OK, tn_ternary_open(&g, &t)) << tn_error_last()->message;
    EXPECT_EQ(1.0f, t.scale);
    const Codes codes = read_all(t);
    EXPECT_EQ(Codes(256, 0), Codes(codes.begin(), codes.begin() + 256));
}

TEST_P(BlockType, GivesATensorOfZerosTheScaleZero)
{
    const Bytes b = zeros_of(GetParam(), 512);
    const tn_gguf_tensor g = tensor_of(GetParam(), 1, 512, b);
    tn_ternary_tensor t;
    ASSERT_EQ(TN_OK, tn_ternary_open(&g, &t));
    EXPECT_EQ(0.0f, t.scale);
    EXPECT_EQ(Codes(512, 0), read_all(t));
}

TEST_P(BlockType, WritesTheScaleRoundedToHalfInEveryBlock)
{
    Codes codes(512, 0);
    codes[300] = 1; // the first block is all zero and has the same d
    Bytes b(2 * block());
    ASSERT_EQ(TN_OK, tn_ternary_write(GetParam(), codes.data(), 1, 512, 0.1f, b.data()));
    EXPECT_EQ(0x66, b[block() - 2]); // 0.1 is 0x2e66 in half
    EXPECT_EQ(0x2e, b[block() - 1]);
    EXPECT_EQ(0x66, b[2 * block() - 2]);
    EXPECT_EQ(0x2e, b[2 * block() - 1]);
}

TEST_P(BlockType, RefusesAScaleBeyondHalf)
{
    const Codes codes(256, 1);
    Bytes b(block());
    EXPECT_EQ(TN_INVALID_ARGUMENT, tn_ternary_write(GetParam(), codes.data(), 1, 256, 70000.0f, b.data()));
    EXPECT_TRUE(message_has("I2_S")) << tn_error_last()->message;
    EXPECT_EQ(TN_INVALID_ARGUMENT, tn_ternary_write(GetParam(), codes.data(), 1, 256, 1e-9f, b.data()));
    Bytes plain(64 + 32);
    EXPECT_EQ(TN_OK, tn_ternary_write(TN_DTYPE_I2_S, codes.data(), 1, 256, 70000.0f, plain.data()));
}

// ---- hostile input ----

TEST(I2S, RefusesCode3WithItsPlace)
{
    Bytes b = zeros_of(TN_DTYPE_I2_S, 3 * 256);
    b[64 * 2 + 32 + 5] = 0x5d; // row 2, second block, byte 5, third field: column 128 + 64 + 5
    const tn_gguf_tensor g = tensor_of(TN_DTYPE_I2_S, 3, 256, b);
    tn_ternary_tensor t;
    Codes codes(3 * 256);
    ASSERT_EQ(TN_OK, tn_ternary_open(&g, &t));
    EXPECT_EQ(TN_OK, tn_ternary_read_rows(&t, 0, 2, codes.data()));
    EXPECT_EQ(TN_BAD_FILE, tn_ternary_read_rows(&t, 1, 2, codes.data()));
    EXPECT_TRUE(message_has("row 2 column 197 has code 3")) << tn_error_last()->message;
    EXPECT_TRUE(message_has("blk.7.attn_q.weight")) << tn_error_last()->message;
}

TEST(TQ2, RefusesCode3WithItsPlace)
{
    Bytes b = zeros_of(TN_DTYPE_TQ2_0, 2 * 256);
    b[66 + 32 + 7] = 0xd5;   // row 1, second half, byte 7, fourth field: column 128 + 96 + 7
    put_f16(b, 130, 0xbc00); // with a negative scale as well
    put_f16(b, 64, 0xbc00);
    const tn_gguf_tensor g = tensor_of(TN_DTYPE_TQ2_0, 2, 256, b);
    tn_ternary_tensor t;
    Codes codes(2 * 256);
    ASSERT_EQ(TN_OK, tn_ternary_open(&g, &t));
    EXPECT_EQ(TN_BAD_FILE, tn_ternary_read_rows(&t, 0, 2, codes.data()));
    EXPECT_TRUE(message_has("row 1 column 231 has code 3")) << tn_error_last()->message;
}

TEST(Ternary, RefusesTensorsThatAreNotTernaryOrNotMatrices)
{
    const Bytes b(4096, 0);
    tn_ternary_tensor t;
    tn_gguf_tensor g = tensor_of(TN_DTYPE_F16, 2, 256, b);
    EXPECT_EQ(TN_UNSUPPORTED, tn_ternary_open(&g, &t));
    g = tensor_of(TN_DTYPE_I2_S, 2, 256, b);
    EXPECT_EQ(TN_BAD_FILE, tn_ternary_open(&g, &t)) << "size does not fit the shape";
    g.n_dims = 3;
    g.ne[2] = 2;
    EXPECT_EQ(TN_UNSUPPORTED, tn_ternary_open(&g, &t));
    g = tensor_of(TN_DTYPE_TQ2_0, 1, 128, b);
    EXPECT_NE(TN_OK, tn_ternary_open(&g, &t)) << "half a block";
}

TEST(Ternary, RefusesRowsOutsideTheTensor)
{
    const Bytes b = zeros_of(TN_DTYPE_I2_S, 2 * 128);
    const tn_gguf_tensor g = tensor_of(TN_DTYPE_I2_S, 2, 128, b);
    tn_ternary_tensor t;
    Codes codes(256);
    ASSERT_EQ(TN_OK, tn_ternary_open(&g, &t));
    EXPECT_EQ(TN_INVALID_ARGUMENT, tn_ternary_read_rows(&t, 1, 2, codes.data()));
    EXPECT_EQ(TN_INVALID_ARGUMENT, tn_ternary_read_rows(&t, UINT32_MAX, 2, codes.data()));
}

TEST(Ternary, RefusesToWriteWhatIsNotTernary)
{
    Codes codes(256, 0);
    Bytes b(1024);
    EXPECT_EQ(TN_INVALID_ARGUMENT, tn_ternary_write(TN_DTYPE_TQ1_0, codes.data(), 2, 128, 1.0f, b.data())) << "rows of half a block";
    EXPECT_EQ(TN_INVALID_ARGUMENT, tn_ternary_write(TN_DTYPE_F16, codes.data(), 1, 256, 1.0f, b.data()));
    EXPECT_EQ(TN_INVALID_ARGUMENT, tn_ternary_write(TN_DTYPE_I2_S, codes.data(), 1, 256, std::nanf(""), b.data()));
    codes[200] = 2;
    EXPECT_EQ(TN_INVALID_ARGUMENT, tn_ternary_write(TN_DTYPE_I2_S, codes.data(), 1, 256, 1.0f, b.data()));
    EXPECT_TRUE(message_has("column 200")) << tn_error_last()->message;
}

// ---- master weights ----

TEST(Absmean, IsTheSequentialDoubleSumWhateverThePieces)
{
    std::mt19937 rng(9);
    std::vector<float> w(10007);
    for (auto &v : w) v = std::ldexp(static_cast<float>(static_cast<int32_t>(rng())), -31 - static_cast<int>(rng() % 40));
    double sum = 0;
    for (float v : w) sum += std::fabs(static_cast<double>(v));
    tn_absmean whole = {0, 0}, pieces = {0, 0};
    tn_absmean_add(&whole, w.data(), w.size());
    for (size_t at = 0; at < w.size(); at += 100) tn_absmean_add(&pieces, w.data() + at, std::min<size_t>(100, w.size() - at));
    EXPECT_EQ(sum, whole.sum);
    EXPECT_EQ(sum, pieces.sum);
    EXPECT_EQ(w.size(), pieces.n);
    EXPECT_EQ(static_cast<float>(sum / static_cast<double>(w.size())), tn_absmean_scale(&pieces));
}

TEST(Absmean, IsAtLeastATenThousandthOfATenth)
{
    const float w[4] = {1e-7f, -1e-7f, 0, 1e-30f};
    tn_absmean mean = {0, 0};
    tn_absmean_add(&mean, w, 4);
    EXPECT_EQ(1e-5f, tn_absmean_scale(&mean));
}

TEST(Ternarise, TakesTheSignWhereTwiceTheWeightIsAboveTheScale)
{
    const float half = 0.25f, above = std::nextafterf(half, 1.0f);
    const float w[] = {half, -half, above, -above, 0.0f, -0.0f, 3e38f, -3e38f, 1e-40f};
    const Codes expected = {0, 0, 1, -1, 0, 0, 1, -1, 0};
    Codes codes(9, 99);
    tn_ternarise(w, 9, 0.5f, codes.data());
    EXPECT_EQ(expected, codes);
}

} // namespace
