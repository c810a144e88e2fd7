// Tests of the ternary types and orders beyond the published ones: I2_S as other builds write it, IQ1_BN, IQ2_BN, IQ2_BN_R4, TL1 and TL2.
// Worked examples of the formats, an independent map of every element, scales of rows, hostile bytes.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
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

Codes random_codes(size_t n, unsigned seed)
{
    std::mt19937 rng(seed);
    Codes codes(n);
    for (auto &c : codes) c = static_cast<int8_t>(static_cast<int>(rng() % 3) - 1);
    return codes;
}

bool message_has(const std::string &text) { return std::strstr(tn_error_last()->message, text.c_str()) != nullptr; }

tn_ternary_options i2s(tn_i2s_layout layout)
{
    tn_ternary_options options = {};
    options.i2s_layout = layout;
    return options;
}
tn_ternary_options preset(const char *name)
{
    tn_ternary_options options = {};
    EXPECT_EQ(tn_tl_preset_find(name, &options.tl_preset), TN_OK) << tn_error_last()->message;
    return options;
}

// A tensor that stays in place with its bytes.
struct Tensor {
    Bytes bytes;
    tn_gguf_tensor file;
    tn_ternary_tensor t;
    Tensor(tn_dtype dtype, uint32_t rows, uint32_t cols, const tn_ternary_options &options, Bytes b)
        : bytes(std::move(b)), file(tensor_of(dtype, rows, cols, bytes)), t{}
    {
        EXPECT_EQ(tn_ternary_open_as(&file, &options, &t), TN_OK) << tn_error_last()->message;
    }
    Tensor(const Tensor &) = delete;
    Codes read() const
    {
        Codes codes(size_t{t.n_rows} * t.n_cols, 99);
        EXPECT_EQ(tn_ternary_read_rows(&t, 0, t.n_rows, codes.data()), TN_OK) << tn_error_last()->message;
        return codes;
    }
    std::vector<float> scales() const
    {
        std::vector<float> s(t.n_rows);
        tn_ternary_row_scales(&t, s.data());
        return s;
    }
};

Bytes write(tn_dtype dtype, const tn_ternary_options &options, const Codes &codes, uint32_t rows, uint32_t cols, float scale,
            uint8_t fill = 0)
{
    uint64_t size = 0;
    EXPECT_EQ(tn_dtype_size(dtype, cols, codes.size(), &size), TN_OK);
    Bytes bytes(size, fill);
    EXPECT_EQ(tn_ternary_write_as(dtype, &options, codes.data(), rows, cols, scale, bytes.data()), TN_OK) << tn_error_last()->message;
    return bytes;
}

// ---- where element (m, k) of a matrix lies, by the formats' formulas ----

struct Shape {
    uint32_t rows, cols;
    uint32_t BM, BK, bm; // TL
};
using Element = std::function<int(const Bytes &, const Shape &, size_t m, size_t k)>;

int i2s_arm(const Bytes &b, const Shape &s, size_t m, size_t k)
{
    const size_t e = m * s.cols + k, j = e % 64;
    return (b[16 * (e / 64) + j % 16] >> (6 - 2 * (j / 16)) & 3) - 1;
}
int i2s_rows4(const Bytes &b, const Shape &s, size_t m, size_t k) { return (b[m / 4 * s.cols + k] >> (6 - 2 * (m % 4)) & 3) - 1; }
int i2s_seq(const Bytes &b, const Shape &s, size_t m, size_t k)
{
    const size_t e = m * s.cols + k;
    return (b[e / 4] >> (6 - 2 * (e % 4)) & 3) - 1;
}
int third(unsigned byte, unsigned factor) { return static_cast<int>(3 * (byte * factor % 256) / 256) - 1; }
int iq1_bn(const Bytes &b, const Shape &s, size_t m, size_t k)
{
    static const unsigned factors[] = {81, 27, 9, 3, 1};
    const uint8_t *block = &b[m * (2 + 13 * (s.cols / 64)) + 2 + 13 * (k / 64)];
    const size_t group = k % 64 / 16, e = k % 16;
    return e == 15 ? third(block[12], factors[group]) : third(block[3 * group + e / 5], factors[e % 5]);
}
int iq2_bn(const Bytes &b, const Shape &s, size_t m, size_t k)
{
    const size_t j = k % 64;
    return (b[m * (4 + s.cols / 4) + 4 + 16 * (k / 64) + j % 16] >> (2 * (j / 16)) & 3) - 1;
}
int iq2_bn_r4(const Bytes &b, const Shape &s, size_t m, size_t k)
{
    const size_t e = k % 64, l = e / 16, i = e % 4, field = e % 16 / 4;
    return (b[m / 4 * (16 + s.cols) + 16 + 64 * (k / 64) + 16 * l + 4 * (m % 4) + i] >> (2 * field) & 3) - 1;
}
int tl1(const Bytes &b, const Shape &s, size_t m, size_t k)
{
    const size_t by = 256 / s.bm;
    size_t off = m / s.BM;
    off = off * (s.cols / s.BK) + k / s.BK;
    off = off * (s.BM / s.bm) + m % s.BM / s.bm;
    off = off * (s.BK / by) + k % s.BK / by;
    off = off * (s.bm / 16) + m % s.bm / 16;
    off = off * (by / 4) + k % by / 4;
    off = off * 16 + m % 16;
    const int c = k % 4 < 2 ? b[off] >> 4 : b[off] & 15;
    return k % 2 == 0 ? c / 3 - 1 : c % 3 - 1;
}
int tl2(const Bytes &b, const Shape &s, size_t m, size_t k)
{
    static const size_t p[] = {0, 2, 1, 3};
    const size_t K2 = s.cols % s.BK, K3 = s.cols - K2, r = m % 32, place = p[r / 8] * 8 + r % 8;
    if (k < K3) {
        const size_t step = (m / s.BM * (K3 / s.BK) + k / s.BK) * (s.BM / 32) + m % s.BM / 32;
        const uint8_t byte = b[(step * (s.BK / 6) + k % s.BK / 6) * 32 + place];
        int v = k % 6 < 3 ? byte >> 4 : byte & 15;
        const size_t at = K3 * s.rows / 6 + (step * (s.BK / 24) + k % s.BK / 24) * 32 + 2 * (r % 16), t = k % 24 / 3;
        if ((b[at] | b[at + 1] << 8) >> (15 - (2 * t + r / 16)) & 1) v = -v;
        for (int w0 = -1; w0 <= 1; w0++) { // v in balanced base 3
            for (int w1 = -1; w1 <= 1; w1++) {
                for (int w2 = -1; w2 <= 1; w2++) {
                    if (9 * w0 + 3 * w1 + w2 == v) return k % 3 == 0 ? w0 : k % 3 == 1 ? w1 : w2;
                }
            }
        }
        return 99;
    }
    const size_t kk = k - K3;
    const size_t off = ((m / s.BM * (K2 / 32) + kk / 32) * (s.BM / 32) + m % s.BM / 32) * 8 + kk % 32 / 4;
    const uint8_t byte = b[K3 * s.rows * 5 / 24 + off * 32 + place];
    const int c = kk % 4 < 2 ? byte >> 4 : byte & 15;
    return kk % 2 == 0 ? c / 3 - 1 : c % 3 - 1;
}

struct Case {
    const char *name;
    tn_dtype dtype;
    tn_i2s_layout layout;
    const char *preset;
    Shape shape;
    Element element;
};
void PrintTo(const Case &c, std::ostream *out) { *out << c.name; }

tn_ternary_options options_of(const Case &c) { return c.preset ? preset(c.preset) : i2s(c.layout); }

class EveryForm : public testing::TestWithParam<Case>
{
};
const Case kCases[] = {
    {"I2S_ARM", TN_DTYPE_I2_S, TN_I2S_ARM, nullptr, {5, 192, 0, 0, 0}, i2s_arm},
    {"I2S_ARM_8640", TN_DTYPE_I2_S, TN_I2S_ARM, nullptr, {3, 8640, 0, 0, 0}, i2s_arm},
    {"I2S_ROWS4", TN_DTYPE_I2_S, TN_I2S_ROWS4, nullptr, {8, 192, 0, 0, 0}, i2s_rows4},
    {"I2S_SEQ", TN_DTYPE_I2_S, TN_I2S_SEQ, nullptr, {5, 192, 0, 0, 0}, i2s_seq},
    {"IQ1_BN", TN_DTYPE_IQ1_BN, TN_I2S_X86, nullptr, {5, 192, 0, 0, 0}, iq1_bn},
    {"IQ1_BN_3200", TN_DTYPE_IQ1_BN, TN_I2S_X86, nullptr, {2, 3200, 0, 0, 0}, iq1_bn},
    {"IQ1_BN_8640", TN_DTYPE_IQ1_BN, TN_I2S_X86, nullptr, {2, 8640, 0, 0, 0}, iq1_bn},
    {"IQ2_BN", TN_DTYPE_IQ2_BN, TN_I2S_X86, nullptr, {5, 192, 0, 0, 0}, iq2_bn},
    {"IQ2_BN_3200", TN_DTYPE_IQ2_BN, TN_I2S_X86, nullptr, {2, 3200, 0, 0, 0}, iq2_bn},
    {"IQ2_BN_8640", TN_DTYPE_IQ2_BN, TN_I2S_X86, nullptr, {2, 8640, 0, 0, 0}, iq2_bn},
    {"IQ2_BN_R4", TN_DTYPE_IQ2_BN_R4, TN_I2S_X86, nullptr, {12, 192, 0, 0, 0}, iq2_bn_r4},
    {"TL1_large_a", TN_DTYPE_TL1, TN_I2S_X86, "bitnet_b1_58-large", {1536, 4096, 256, 128, 32}, tl1},
    {"TL1_large_b", TN_DTYPE_TL1, TN_I2S_X86, "bitnet_b1_58-large", {1536, 1536, 128, 64, 64}, tl1},
    {"TL1_large_c", TN_DTYPE_TL1, TN_I2S_X86, "bitnet_b1_58-large", {4096, 1536, 256, 128, 32}, tl1},
    {"TL1_3B_a", TN_DTYPE_TL1, TN_I2S_X86, "bitnet_b1_58-3B", {3200, 8640, 160, 64, 32}, tl1},
    {"TL1_3B_b", TN_DTYPE_TL1, TN_I2S_X86, "bitnet_b1_58-3B", {3200, 3200, 320, 128, 64}, tl1},
    {"TL1_3B_c", TN_DTYPE_TL1, TN_I2S_X86, "bitnet_b1_58-3B", {8640, 3200, 320, 64, 32}, tl1},
    {"TL1_8B", TN_DTYPE_TL1, TN_I2S_X86, "Llama3-8B-1.58", {1024, 4096, 128, 64, 64}, tl1},
    {"TL1_8B_setup", TN_DTYPE_TL1, TN_I2S_X86, "Llama3-8B-1.58-setup", {1024, 4096, 256, 128, 32}, tl1},
    {"TL2_large_a", TN_DTYPE_TL2, TN_I2S_X86, "bitnet_b1_58-large", {1536, 4096, 256, 96, 32}, tl2},
    {"TL2_large_b", TN_DTYPE_TL2, TN_I2S_X86, "bitnet_b1_58-large", {1536, 1536, 128, 192, 32}, tl2},
    {"TL2_large_c", TN_DTYPE_TL2, TN_I2S_X86, "bitnet_b1_58-large", {4096, 1536, 256, 96, 32}, tl2},
    {"TL2_3B", TN_DTYPE_TL2, TN_I2S_X86, "bitnet_b1_58-3B", {3200, 3200, 320, 96, 32}, tl2},
    {"TL2_8B", TN_DTYPE_TL2, TN_I2S_X86, "Llama3-8B-1.58", {1024, 4096, 256, 96, 32}, tl2},
};
INSTANTIATE_TEST_SUITE_P(Ternary, EveryForm, testing::ValuesIn(kCases), [](const auto &i) { return std::string(i.param.name); });

TEST_P(EveryForm, HasEveryElementWhereTheFormatSaysAndReadsItBack)
{
    const Case &c = GetParam();
    const Shape &s = c.shape;
    const Codes codes = random_codes(size_t{s.rows} * s.cols, 17);
    const Tensor tensor(c.dtype, s.rows, s.cols, options_of(c), write(c.dtype, options_of(c), codes, s.rows, s.cols, 0.75f));
    size_t wrong = 0;
    for (size_t m = 0; m < s.rows; m++) {
        for (size_t k = 0; k < s.cols; k++) wrong += c.element(tensor.bytes, s, m, k) != codes[m * s.cols + k];
    }
    EXPECT_EQ(wrong, 0u);
    EXPECT_EQ(codes, tensor.read());
    const std::vector<float> scales = tensor.scales();
    EXPECT_EQ(scales, std::vector<float>(s.rows, 0.75f));
    Codes last(s.cols, 99); // rows can be read alone
    ASSERT_EQ(tn_ternary_read_rows(&tensor.t, s.rows - 1, 1, last.data()), TN_OK);
    EXPECT_TRUE(std::equal(last.begin(), last.end(), codes.end() - s.cols));
}

TEST_P(EveryForm, WritesNoByteThatItsInputDoesNotDecide)
{
    const Case &c = GetParam();
    const Codes codes = random_codes(size_t{c.shape.rows} * c.shape.cols, 3);
    EXPECT_EQ(write(c.dtype, options_of(c), codes, c.shape.rows, c.shape.cols, 1.5f, 0x00),
              write(c.dtype, options_of(c), codes, c.shape.rows, c.shape.cols, 1.5f, 0xff));
}

TEST_P(EveryForm, TurnsANegativeScaleIntoNegatedCodes)
{
    const Case &c = GetParam();
    Codes codes = random_codes(size_t{c.shape.rows} * c.shape.cols, 4);
    const Tensor tensor(c.dtype, c.shape.rows, c.shape.cols, options_of(c),
                        write(c.dtype, options_of(c), codes, c.shape.rows, c.shape.cols, -0.5f));
    for (auto &code : codes) code = static_cast<int8_t>(-code);
    EXPECT_EQ(codes, tensor.read());
    EXPECT_EQ(tensor.scales(), std::vector<float>(c.shape.rows, 0.5f));
}

TEST_P(EveryForm, RefusesScalesThatNoWeightHas)
{
    const Case &c = GetParam();
    const Shape &s = c.shape;
    const tn_ternary_options options = options_of(c);
    const Bytes good = write(c.dtype, options, Codes(size_t{s.rows} * s.cols, 1), s.rows, s.cols, 1.0f);
    for (float bad : {std::nanf(""), INFINITY, -INFINITY, std::ldexp(1.0f, 56)}) {
        Bytes bytes = good;
        std::string place = "its scale is";
        if (c.dtype == TN_DTYPE_IQ1_BN) {
            if (std::isfinite(bad)) continue; // beyond f16
            const uint16_t half = tn_f32_to_f16(bad);
            std::memcpy(&bytes[bytes.size() / s.rows], &half, 2);
            place = "row 1";
        } else if (c.dtype == TN_DTYPE_IQ2_BN || c.dtype == TN_DTYPE_IQ2_BN_R4) {
            std::memcpy(&bytes[c.dtype == TN_DTYPE_IQ2_BN ? bytes.size() / s.rows : 4], &bad, 4);
            place = "row 1";
        } else {
            std::memcpy(&bytes[bytes.size() - 32], &bad, 4);
        }
        const tn_gguf_tensor g = tensor_of(c.dtype, s.rows, s.cols, bytes);
        tn_ternary_tensor t;
        EXPECT_EQ(tn_ternary_open_as(&g, &options, &t), TN_BAD_FILE) << bad;
        EXPECT_TRUE(message_has("blk.7.attn_q.weight")) << tn_error_last()->message;
        EXPECT_TRUE(message_has(place)) << tn_error_last()->message;
    }
}

// ---- the formats' own examples ----

TEST(I2SArm, ReadsTheWorkedExample)
{
    Bytes b(64 / 4 + 32, 0x55);
    b[0] = 0x88;
    b[1] = 0x15;
    const float scale = 0.05f;
    std::memcpy(&b[16], &scale, 4);
    const Tensor arm(TN_DTYPE_I2_S, 1, 64, i2s(TN_I2S_ARM), b);
    Codes want(64, 0);
    want[0] = 1, want[16] = -1, want[32] = 1, want[48] = -1, want[1] = -1;
    EXPECT_EQ(want, arm.read());
    // In the other order the same bytes are another plausible matrix: nothing in a file tells them apart.
    b.resize(128 / 4 + 32, 0x55);
    std::fill(b.begin() + 2, b.end() - 32, 0x55);
    std::memcpy(&b[32], &scale, 4);
    const Tensor x86(TN_DTYPE_I2_S, 1, 128, i2s(TN_I2S_X86), b);
    Codes other(128, 0);
    other[0] = 1, other[32] = -1, other[64] = 1, other[96] = -1, other[1] = -1;
    EXPECT_EQ(other, x86.read());
}

TEST(I2SArm, ReadsAndWritesRowsThatAreNoMultipleOf128Only)
{
    const Codes codes = random_codes(2 * 192, 5);
    Bytes b(2 * 192 / 4 + 32);
    const tn_ternary_options arm = i2s(TN_I2S_ARM);
    tn_ternary_tensor t;
    const tn_gguf_tensor g = tensor_of(TN_DTYPE_I2_S, 2, 192, b);
    EXPECT_EQ(tn_ternary_open(&g, &t), TN_UNSUPPORTED);
    EXPECT_TRUE(message_has("rows of 192") && message_has("x86") && message_has("--i2s-layout arm")) << tn_error_last()->message;
    EXPECT_TRUE(message_has("blk.7.attn_q.weight")) << tn_error_last()->message;
    EXPECT_EQ(tn_ternary_write(TN_DTYPE_I2_S, codes.data(), 2, 192, 1, b.data()), TN_UNSUPPORTED);
    EXPECT_EQ(tn_ternary_write_as(TN_DTYPE_I2_S, &arm, codes.data(), 2, 192, 1, b.data()), TN_OK);
    EXPECT_EQ(tn_ternary_open_as(&g, &arm, &t), TN_OK);
}

TEST(I2SLayouts, AreKnownByName)
{
    tn_i2s_layout layout = TN_I2S_SEQ;
    EXPECT_EQ(tn_i2s_layout_parse(nullptr, &layout), TN_OK);
    EXPECT_EQ(layout, TN_I2S_X86);
    const char *names[] = {"x86", "arm", "rows4", "seq"};
    for (int i = 0; i < 4; i++) {
        EXPECT_EQ(tn_i2s_layout_parse(names[i], &layout), TN_OK);
        EXPECT_EQ(static_cast<int>(layout), i);
    }
    EXPECT_EQ(tn_i2s_layout_parse("neon", &layout), TN_INVALID_ARGUMENT);
    for (const char *name : names) EXPECT_TRUE(message_has(name)) << tn_error_last()->message;
}

TEST(I2SLayouts, RowsByFoursNeedThem)
{
    const Bytes b(6 * 64 / 4 + 32);
    const tn_gguf_tensor g = tensor_of(TN_DTYPE_I2_S, 6, 64, b);
    const tn_ternary_options options = i2s(TN_I2S_ROWS4);
    tn_ternary_tensor t;
    EXPECT_EQ(tn_ternary_open_as(&g, &options, &t), TN_UNSUPPORTED);
    EXPECT_TRUE(message_has("by fours")) << tn_error_last()->message;
    const Bytes r4(6 * (4 + 16));
    const tn_gguf_tensor h = tensor_of(TN_DTYPE_IQ2_BN_R4, 6, 64, r4);
    EXPECT_EQ(tn_ternary_open(&h, &t), TN_UNSUPPORTED);
    EXPECT_TRUE(message_has("IQ2_BN_R4 stores rows by fours, and there are 6")) << tn_error_last()->message;
}

TEST(Iq1Bn, ReadsTheWorkedExample)
{
    Bytes b(2 + 13, 0x80); // 80: 0 0 0 0 0
    b[0] = 0x00, b[1] = 0x38;
    b[2] = 0x94;
    const Tensor t(TN_DTYPE_IQ1_BN, 1, 64, {}, b);
    Codes want(64, 0);
    want[0] = 1, want[2] = -1, want[3] = 1;
    EXPECT_EQ(want, t.read());
    EXPECT_EQ(t.scales(), std::vector<float>{0.5f});
}

TEST(Iq1Bn, EncodesEveryDigitCombinationAsTheFormatsFraction)
{
    for (int index = 0; index < 243; index++) {
        Codes codes(64, 0);
        for (int j = 0, rest = index; j < 5; j++, rest /= 3) codes[static_cast<size_t>(j)] = static_cast<int8_t>(rest % 3 - 1);
        const Bytes b = write(TN_DTYPE_IQ1_BN, {}, codes, 1, 64, 1.0f);
        EXPECT_EQ(b[2], (256 * index + 242) / 243);
        const Tensor t(TN_DTYPE_IQ1_BN, 1, 64, {}, b);
        EXPECT_EQ(codes, t.read()) << index;
    }
    for (int index = 0; index < 81; index++) { // the last element of each of the four groups
        Codes codes(64, 0);
        for (int g = 0, rest = index; g < 4; g++, rest /= 3) codes[static_cast<size_t>(16 * g + 15)] = static_cast<int8_t>(rest % 3 - 1);
        const Bytes b = write(TN_DTYPE_IQ1_BN, {}, codes, 1, 64, 1.0f);
        EXPECT_EQ(b[14], (256 * index + 242) / 243);
        const Tensor t(TN_DTYPE_IQ1_BN, 1, 64, {}, b);
        EXPECT_EQ(codes, t.read()) << index;
    }
}

// 256 bytes for 243 combinations: the spare ones decode to valid digits too, so nothing in such a tensor can be a bad code.
TEST(Iq1Bn, GivesEveryByteValidDigits)
{
    for (int byte = 0; byte < 256; byte++) {
        Bytes b(2 + 13, static_cast<uint8_t>(byte));
        b[0] = 0x00, b[1] = 0x3c;
        const Tensor t(TN_DTYPE_IQ1_BN, 1, 64, {}, b);
        for (int8_t code : t.read()) ASSERT_TRUE(code >= -1 && code <= 1) << byte;
    }
}

TEST(Iq2Bn, ReadsTheWorkedExample)
{
    Bytes b(4 + 16, 0x55);
    b[0] = 0x00, b[1] = 0x00, b[2] = 0xc0, b[3] = 0x3f;
    b[4] = 0x92;
    const Tensor t(TN_DTYPE_IQ2_BN, 1, 64, {}, b);
    Codes want(64, 0);
    want[0] = 1, want[16] = -1, want[48] = 1;
    EXPECT_EQ(want, t.read());
    EXPECT_EQ(t.scales(), std::vector<float>{1.5f});
}

// ---- scales of rows ----

TEST(RowScales, EachRowHasItsOwnValueAndSign)
{
    const std::vector<float> scales = {0.5f, -0.25f, 2.0f, -0.0f, 1.0f, -8.0f, 0.125f, 3.0f};
    const Codes codes = random_codes(8 * 128, 6);
    for (tn_dtype dtype : {TN_DTYPE_IQ1_BN, TN_DTYPE_IQ2_BN, TN_DTYPE_IQ2_BN_R4}) {
        Bytes b = write(dtype, {}, codes, 8, 128, 1.0f);
        for (size_t r = 0; r < 8; r++) {
            const uint16_t half = tn_f32_to_f16(scales[r]);
            if (dtype == TN_DTYPE_IQ1_BN) std::memcpy(&b[r * 28], &half, 2);
            if (dtype == TN_DTYPE_IQ2_BN) std::memcpy(&b[r * 36], &scales[r], 4);
            if (dtype == TN_DTYPE_IQ2_BN_R4) std::memcpy(&b[r / 4 * 144 + r % 4 * 4], &scales[r], 4);
        }
        const Tensor t(dtype, 8, 128, {}, b);
        EXPECT_TRUE(t.t.row_scales);
        const Codes read = t.read();
        for (size_t i = 0; i < codes.size(); i++) {
            ASSERT_EQ(read[i], scales[i / 128] < 0 ? -codes[i] : codes[i]) << tn_dtype_get(dtype)->name << " " << i;
        }
        for (size_t r = 0; r < 8; r++) EXPECT_EQ(t.scales()[r], std::fabs(scales[r]));
    }
}

TEST(RowScales, ASignFromElsewhereTurnsEveryRowAround)
{
    const Codes codes = random_codes(2 * 64, 7);
    Bytes b = write(TN_DTYPE_IQ2_BN, {}, codes, 2, 64, 1.0f);
    const float minus = -1.0f;
    std::memcpy(&b[20], &minus, 4); // row 1
    Tensor t(TN_DTYPE_IQ2_BN, 2, 64, {}, b);
    t.t.negate = true;
    const Codes read = t.read();
    for (size_t i = 0; i < codes.size(); i++) ASSERT_EQ(read[i], i < 64 ? -codes[i] : codes[i]) << i;
}

TEST(RowScales, TinyOnesCountAsZero)
{
    Bytes b = write(TN_DTYPE_IQ2_BN, {}, Codes(64, 1), 1, 64, std::ldexp(1.0f, -51));
    const Tensor t(TN_DTYPE_IQ2_BN, 1, 64, {}, b);
    EXPECT_EQ(t.scales()[0], 0.0f);
}

TEST(RowScales, AreWrittenWithinTheRangeOfTheirType)
{
    const Codes codes(64, 1);
    Bytes b(64);
    EXPECT_EQ(tn_ternary_write(TN_DTYPE_IQ1_BN, codes.data(), 1, 64, 1e6f, b.data()), TN_INVALID_ARGUMENT);
    EXPECT_TRUE(message_has("IQ1_BN")) << tn_error_last()->message;
    EXPECT_EQ(tn_ternary_write(TN_DTYPE_IQ2_BN, codes.data(), 1, 64, 1e6f, b.data()), TN_OK);
}

// ---- bad codes ----

void expect_bad(const Tensor &t, const std::string &place, const std::string &what)
{
    Codes codes(size_t{t.t.n_rows} * t.t.n_cols);
    EXPECT_EQ(tn_ternary_read_rows(&t.t, 0, t.t.n_rows, codes.data()), TN_BAD_FILE);
    EXPECT_TRUE(message_has(place) && message_has(what) && message_has("blk.7.attn_q.weight")) << tn_error_last()->message;
}

TEST(BadCodes, AreRefusedWithTheirPlaceInEveryType)
{
    const Codes codes(4 * 128, 0);
    Bytes b = write(TN_DTYPE_I2_S, i2s(TN_I2S_ARM), codes, 4, 128, -1.0f);
    b[2 * 32 + 16 + 3] = 0x5d; // row 2, second block, byte 3, third field
    expect_bad(Tensor(TN_DTYPE_I2_S, 4, 128, i2s(TN_I2S_ARM), b), "row 2 column 99", "code 3");
    b = write(TN_DTYPE_I2_S, i2s(TN_I2S_ROWS4), codes, 4, 128, 1.0f);
    b[77] = 0x57;
    expect_bad(Tensor(TN_DTYPE_I2_S, 4, 128, i2s(TN_I2S_ROWS4), b), "row 3 column 77", "code 3");
    b = write(TN_DTYPE_I2_S, i2s(TN_I2S_SEQ), codes, 4, 128, 1.0f);
    b[33] = 0x75;
    expect_bad(Tensor(TN_DTYPE_I2_S, 4, 128, i2s(TN_I2S_SEQ), b), "row 1 column 5", "code 3");
    b = write(TN_DTYPE_IQ2_BN, {}, codes, 4, 128, -1.0f);
    b[3 * 36 + 4 + 16 + 9] = 0xd5;
    expect_bad(Tensor(TN_DTYPE_IQ2_BN, 4, 128, {}, b), "row 3 column 121", "code 3");
    b = write(TN_DTYPE_IQ2_BN_R4, {}, codes, 4, 128, 1.0f);
    b[16 + 64 + 16 * 2 + 4 * 1 + 3] = 0x5d;
    expect_bad(Tensor(TN_DTYPE_IQ2_BN_R4, 4, 128, {}, b), "row 1 column 103", "code 3");
}

TEST(BadCodes, OfTableTypesAreIndicesThatStandForNothing)
{
    const tn_ternary_options large = preset("bitnet_b1_58-large");
    const Codes codes(size_t{1536} * 4096, 0);
    const Bytes tl1_good = write(TN_DTYPE_TL1, large, codes, 1536, 4096, 1.0f),
                tl2_good = write(TN_DTYPE_TL2, large, codes, 1536, 4096, 1.0f);
    for (unsigned nibble = 0; nibble < 16; nibble++) {
        Bytes b = tl1_good;
        b[5] = static_cast<uint8_t>(0x40 | nibble); // row 5, columns 2 and 3
        const Tensor one(TN_DTYPE_TL1, 1536, 4096, large, b);
        Codes row(4096);
        EXPECT_EQ(tn_ternary_read_rows(&one.t, 5, 1, row.data()), nibble <= 8 ? TN_OK : TN_BAD_FILE) << nibble;
        if (nibble > 8) {
            EXPECT_TRUE(message_has("row 5 column 2")) << tn_error_last()->message;
        }
        b = tl2_good;
        b[9] = static_cast<uint8_t>(nibble << 4); // place 9: the second group of eight places holds rows 16-23
        const Tensor triple(TN_DTYPE_TL2, 1536, 4096, large, b);
        EXPECT_EQ(tn_ternary_read_rows(&triple.t, 17, 1, row.data()), nibble <= 13 ? TN_OK : TN_BAD_FILE) << nibble;
        if (nibble > 13) {
            EXPECT_TRUE(message_has("row 17 column 0")) << tn_error_last()->message;
        }
        b = tl2_good;
        b[size_t{4032} * 1536 * 5 / 24 + 31] = static_cast<uint8_t>(0x40 | nibble); // the pairs' first byte of row 31
        const Tensor pairs(TN_DTYPE_TL2, 1536, 4096, large, b);
        EXPECT_EQ(tn_ternary_read_rows(&pairs.t, 31, 1, row.data()), nibble <= 8 ? TN_OK : TN_BAD_FILE) << nibble;
        if (nibble > 8) {
            EXPECT_TRUE(message_has("row 31 column 4034")) << tn_error_last()->message;
        }
    }
}

// ---- presets ----

TEST(TlPresets, AreNamedWhereNoneOrAWrongOneIsGiven)
{
    const Bytes b(size_t{1536} * 1536 / 4 + 32, 0x44);
    const tn_gguf_tensor g = tensor_of(TN_DTYPE_TL1, 1536, 1536, b);
    tn_ternary_tensor t;
    EXPECT_EQ(tn_ternary_open(&g, &t), TN_UNSUPPORTED);
    for (const char *name : {"TL1", "--tl-preset", "bitnet_b1_58-large", "bitnet_b1_58-3B", "Llama3-8B-1.58", "Llama3-8B-1.58-setup"})
        EXPECT_TRUE(message_has(name)) << tn_error_last()->message;
    const tn_ternary_options wrong = preset("bitnet_b1_58-3B");
    EXPECT_EQ(tn_ternary_open_as(&g, &wrong, &t), TN_UNSUPPORTED);
    EXPECT_TRUE(message_has("'bitnet_b1_58-3B' has no TL1 tiles for 1536 rows of 1536")) << tn_error_last()->message;
    const tn_ternary_options setup = preset("Llama3-8B-1.58-setup"); // of TL1 only
    const Bytes c(size_t{12386336}, 0);
    const tn_gguf_tensor h = tensor_of(TN_DTYPE_TL2, 14336, 4096, c);
    EXPECT_EQ(tn_ternary_open_as(&h, &setup, &t), TN_UNSUPPORTED);
    const tn_tl_preset *none;
    EXPECT_EQ(tn_tl_preset_find("bitnet", &none), TN_INVALID_ARGUMENT);
    EXPECT_EQ(none, nullptr);
    EXPECT_TRUE(message_has("'bitnet'") && message_has("Llama3-8B-1.58")) << tn_error_last()->message;
}

// Every tile size of every preset divides its shape: all bytes of a tensor are reached, each by one nibble of one row.
TEST(TlPresets, FillEveryByteOfTheirCodes)
{
    struct one {
        const char *preset;
        tn_dtype dtype;
        uint32_t rows, cols, by_twos;
    };
    const one all[] = {{"Llama3-8B-1.58", TN_DTYPE_TL1, 4096, 4096, 0},        {"Llama3-8B-1.58-setup", TN_DTYPE_TL1, 4096, 4096, 0},
                       {"Llama3-8B-1.58", TN_DTYPE_TL2, 4096, 4096, 64},       {"Llama3-8B-1.58", TN_DTYPE_TL2, 4096, 14336, 32},
                       {"Llama3-8B-1.58", TN_DTYPE_TL2, 14336, 4096, 64},      {"Llama3-8B-1.58", TN_DTYPE_TL1, 14336, 4096, 0},
                       {"Llama3-8B-1.58-setup", TN_DTYPE_TL1, 4096, 14336, 0}, {"bitnet_b1_58-3B", TN_DTYPE_TL2, 3200, 8640, 0},
                       {"bitnet_b1_58-3B", TN_DTYPE_TL2, 8640, 3200, 32}};
    for (const one &o : all) {
        // All codes +1: a nibble of TL1 and of pairs is 8, of triples 13; signs are 0.
        const Codes codes(size_t{o.rows} * o.cols, 1);
        const Bytes b = write(o.dtype, preset(o.preset), codes, o.rows, o.cols, 1.0f, 0xee);
        const size_t by_threes = o.dtype == TN_DTYPE_TL1 ? 0 : o.cols - o.by_twos, triples = by_threes * o.rows / 6,
                     signs = by_threes * o.rows / 24 * 5, pairs = signs + size_t{o.cols - by_threes} * o.rows / 4;
        EXPECT_EQ(std::count(b.begin(), b.begin() + static_cast<long>(triples), 0xdd), static_cast<long>(triples)) << o.preset;
        EXPECT_EQ(std::count(b.begin() + static_cast<long>(triples), b.begin() + static_cast<long>(signs), 0),
                  static_cast<long>(signs - triples));
        EXPECT_EQ(std::count(b.begin() + static_cast<long>(signs), b.begin() + static_cast<long>(pairs), 0x88),
                  static_cast<long>(pairs - signs));
        EXPECT_EQ(std::count(b.begin() + static_cast<long>(pairs), b.end() - 32, 0), static_cast<long>(b.size() - 32 - pairs));
        // -1 everywhere sets every sign.
        const Bytes minus = write(o.dtype, preset(o.preset), Codes(codes.size(), -1), o.rows, o.cols, 1.0f);
        EXPECT_EQ(std::count(minus.begin() + static_cast<long>(triples), minus.begin() + static_cast<long>(signs), 0xff),
                  static_cast<long>(signs - triples));
    }
}

// The published size of a tensor whose formula is least obvious: codes, padding, tail.
TEST(Tl2, APublishedShapeHasThePublishedBytes)
{
    uint64_t size = 0;
    ASSERT_EQ(tn_dtype_size(TN_DTYPE_TL2, 4096, UINT64_C(4096) * 14336, &size), TN_OK);
    EXPECT_EQ(size, 12386336u);
    EXPECT_EQ(UINT64_C(4032) * 14336 * 5 / 24 + UINT64_C(64) * 14336 / 4, 12271616u); // data; the gap is padding
}

} // namespace
