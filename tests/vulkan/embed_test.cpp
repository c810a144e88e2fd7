// Embedding rows of every dense layout on the device against src/ref. The rows are packed here by the description in vk_pack.h, element by
// element, so that this is also a second implementation of the packing.
#include "vulkan/shader_rig.hpp"

#include <gtest/gtest.h>
#include <random>

extern "C" {
#include "format/dense.h"
#include "ref/ref.h"
}
#include "vulkan/shaders/shader_params.h"

namespace vulkan_test
{
namespace
{

constexpr uint32_t kWeightRows = 37, kCanary = 0xdddddddd, kNode = 3;

struct Type {
    const char *shader;
    tn_dtype dtype;
    uint32_t block, block_bytes;     // of the file's form
    uint32_t unit_elements, n_units; // of the device's: elements a unit (plain types), or units of a block of 256
};
constexpr Type kTypes[] = {
    {"embed_f32", TN_DTYPE_F32, 1, 4, 4, 0},     {"embed_f16", TN_DTYPE_F16, 1, 2, 8, 0},
    {"embed_bf16", TN_DTYPE_BF16, 1, 2, 8, 0},   {"embed_q8_0", TN_DTYPE_Q8_0, 32, 34, 0, 17},
    {"embed_q4_0", TN_DTYPE_Q4_0, 32, 18, 0, 9}, {"embed_q6_k", TN_DTYPE_Q6_K, 256, 210, 0, 13},
};

// Rows in file form: random bits, with scales and values of every size, subnormal halves among them, but none that is not finite.
std::vector<uint8_t> make_row(const Type &t, uint32_t n, std::mt19937 &random)
{
    std::vector<uint8_t> row(size_t(n) / t.block * t.block_bytes);
    for (uint8_t &byte : row) byte = uint8_t(random());
    for (uint32_t b = 0; b < n / t.block; b++) {
        uint8_t *block = &row[size_t(b) * t.block_bytes];
        // The high byte of what is a float: exponents that are all ones become smaller.
        const uint32_t high = t.dtype == TN_DTYPE_F32 ? 3 : t.dtype == TN_DTYPE_Q6_K ? 209 : 1;
        if (b % 5 == 4 && t.dtype != TN_DTYPE_F32 && t.dtype != TN_DTYPE_BF16) block[high] &= 0x83; // a subnormal half
        if (t.dtype == TN_DTYPE_F32 || t.dtype == TN_DTYPE_BF16)
            block[high] = uint8_t((block[high] & 0x80) | (b % 2 ? 0x3f : 0x24 + random() % 6)); // about 1, or about 2^-50
        else if ((block[high] & 0x7c) == 0x7c)
            block[high] &= 0xbf;
    }
    return row;
}

// A packed weight, written bit by bit.
class Packed
{
  public:
    Packed(const Type &t, uint32_t n, uint32_t interleave) : t_(t), n_(n), interleave_(interleave)
    {
        n_blocks_ = (n + 255) / 256;
        n_units_ = t.n_units ? t.n_units * n_blocks_ : (n + 31) / 32 * 32 / t.unit_elements;
        const uint32_t n_groups = (kWeightRows + interleave - 1) / interleave;
        scales_at_ = n_groups * interleave * n_units_ * 4;
        words_.assign(scales_at_ + n_groups * interleave * n_blocks_, 0);
    }
    void put_row(uint32_t r, const std::vector<uint8_t> &row)
    {
        for (uint32_t e = 0; e < n_; e++) put_element(r, e, &row[size_t(e) / t_.block * t_.block_bytes]);
    }
    const std::vector<uint32_t> &words() const { return words_; }
    tn_vk_dense_at at() const { return {n_units_, interleave_, scales_at_, n_blocks_}; }

  private:
    // n_bits at bit `bit` of word `word` of a unit.
    void put(uint32_t r, uint32_t unit, uint32_t word, uint32_t bit, uint32_t n_bits, uint32_t bits)
    {
        uint32_t &w = words_[4 * ((r / interleave_ * n_units_ + unit) * interleave_ + r % interleave_) + word];
        const uint32_t mask = uint32_t(((uint64_t(1) << n_bits) - 1) << bit);
        w = (w & ~mask) | ((bits << bit) & mask);
    }
    // Column c of units of 4 bits: nibble i of byte j of word s is column 32u + 8s + 4i + j.
    void put_nibble(uint32_t r, uint32_t first_unit, uint32_t c, uint32_t code)
    {
        put(r, first_unit + c / 32, c / 8 % 4, 8 * (c % 4) + 4 * (c / 4 % 2), 4, code);
    }
    void put_element(uint32_t r, uint32_t e, const uint8_t *block)
    {
        const uint32_t b = e / 256, c = e % 256, unit = b * t_.n_units;
        if (t_.n_units == 0) {
            const uint32_t size = t_.block_bytes, byte = e % t_.unit_elements * size;
            for (uint32_t i = 0; i < size; i++) put(r, e / t_.unit_elements, (byte + i) / 4, 8 * ((byte + i) % 4), 8, block[i]);
        } else if (t_.dtype == TN_DTYPE_Q8_0) {
            put(r, unit + c / 16, c / 4 % 4, 8 * (c % 4), 8, block[2 + e % 32]);
            put(r, unit + 16, c / 64, 16 * (c / 32 % 2), 16, uint32_t(block[0] | block[1] << 8));
        } else if (t_.dtype == TN_DTYPE_Q4_0) {
            const uint32_t i = e % 32; // low nibbles are the first 16 elements
            put_nibble(r, unit, c, i < 16 ? block[2 + i] & 15u : block[2 + i - 16] >> 4);
            put(r, unit + 8, c / 64, 16 * (c / 32 % 2), 16, uint32_t(block[0] | block[1] << 8));
        } else {
            put_q6_k(r, unit, b, c, block);
        }
    }
    void put_q6_k(uint32_t r, uint32_t unit, uint32_t b, uint32_t c, const uint8_t *block)
    {
        const uint32_t h = c / 128, l = c % 32, q = c % 128 / 32; // halves of 128; in each, quarters of 32 share bytes
        const uint32_t low = block[64 * h + 32 * (q & 1) + l] >> 4 * (q >> 1) & 15, high = block[128 + 32 * h + l] >> 2 * q & 3;
        put_nibble(r, unit, c, low);
        put(r, unit + 8 + c / 64, c / 16 % 4, 8 * (c % 4) + 2 * (c / 4 % 4), 2, high);
        put(r, unit + 12, c / 64, 8 * (c / 16 % 4), 8, block[192 + c / 16]);
        const float scale = tn_fl(tn_f16_to_f32(uint16_t(block[208] | block[209] << 8)));
        words_[scales_at_ + (r / interleave_ * n_blocks_ + b) * interleave_ + r % interleave_] = bits_of(scale);
    }
    const Type &t_;
    uint32_t n_, interleave_, n_blocks_, n_units_, scales_at_;
    std::vector<uint32_t> words_;
};

void check(ShaderRig *rig, const Type &t, uint32_t n, uint32_t interleave, uint32_t invocations)
{
    SCOPED_TRACE(testing::Message() << t.shader << " n " << n << " interleave " << interleave << " invocations " << invocations);
    std::mt19937 random(n + interleave);
    Packed packed(t, n, interleave);
    std::vector<std::vector<uint8_t>> rows;
    for (uint32_t r = 0; r < kWeightRows; r++) {
        rows.push_back(make_row(t, n, random));
        packed.put_row(r, rows[r]);
    }
    const std::vector<uint32_t> tokens = {36, 0, 15, 16, 31, 0};
    tn_vk_embed_params p = {};
    p.w = packed.at();
    p.tokens = 7;
    p.n = n;
    p.y_at = 5;
    p.y_stride = n + 2;
    p.node = kNode;
    p.n_rows = kWeightRows;
    Bindings b;
    b.step.assign(p.tokens, 0);
    b.step.insert(b.step.end(), tokens.begin(), tokens.end());
    b.weights = b.kv = packed.words();
    b.state.assign(tokens.size(), 0xffffffff);
    std::vector<uint32_t> want(p.y_at + tokens.size() * p.y_stride + 1, kCanary);
    std::vector<float> y(n);
    b.out = want;
    for (uint32_t i = 0; i < tokens.size(); i++) {
        ASSERT_LT(tn_ref_embed(t.dtype, rows[tokens[i]].data(), n, y.data()), TN_ABS_BITS_2P56);
        memcpy(&want[p.y_at + i * p.y_stride], y.data(), n * sizeof(float));
    }
    rig->run(t.shader, {invocations}, p, uint32_t(tokens.size()), 1, 1, &b);
    for (uint32_t i = 0; i < want.size(); i++) ASSERT_EQ(b.out[i], want[i]) << "word " << i;
    for (uint32_t mark : b.state) ASSERT_EQ(mark, 0xffffffffu);
}

class Embed : public testing::TestWithParam<uint32_t>
{
};

TEST_P(Embed, RowsEqualTheReferenceInEveryLayout)
{
    const Type &t = kTypes[GetParam()];
    ShaderRig rig;
    for (uint32_t invocations : {8u, 32u, 64u, 128u, 256u}) {
        for (uint32_t n : {32u, 96u, 256u, 512u, 800u, 2560u}) {
            if (n % t.block != 0) continue;
            check(&rig, t, n, 16, invocations);
            check(&rig, t, n, 1, invocations);
        }
        if (t.block == 1) check(&rig, t, 101, 16, invocations);
        if (HasFatalFailure()) return;
    }
}
INSTANTIATE_TEST_SUITE_P(Types, Embed, testing::Range(0u, uint32_t(std::size(kTypes))),
                         [](const testing::TestParamInfo<uint32_t> &of) { return std::string(kTypes[of.param].shader); });

TEST(EmbedPoison, RowsWithWhatIsNoNumberAreMarked)
{
    ShaderRig rig;
    const uint32_t bad[] = {0x7c00, 0xfc00, 0x7e00, 0x7bff}; // infinities, NaN; the largest half is none
    for (uint32_t i = 0; i < 4; i++) {
        Packed packed(kTypes[1], 64, 16);
        std::vector<uint8_t> row(128, 0);
        row[77] = uint8_t(bad[i] >> 8);
        row[76] = uint8_t(bad[i]);
        packed.put_row(1, row);
        tn_vk_embed_params p = {};
        p.w = packed.at();
        p.n = p.y_stride = 64;
        p.node = kNode;
        p.n_rows = kWeightRows;
        Bindings b;
        b.step = {0, 1, 2};
        b.weights = b.kv = packed.words();
        b.state.assign(3, 0xffffffff);
        b.out.assign(3 * 64, 0);
        rig.run("embed_f16", {32}, p, 3, 1, 1, &b);
        EXPECT_EQ(b.state, (std::vector<uint32_t>{0xffffffff, i < 3 ? kNode : 0xffffffff, 0xffffffff}));
    }
}

} // namespace
} // namespace vulkan_test
