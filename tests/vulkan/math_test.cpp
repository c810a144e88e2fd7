// The primitives of math.glsl on the device against src/base/exact_math.h, bit by bit, over a million inputs each.
#include "vulkan/shader_rig.hpp"

#include <cmath>
#include <functional>
#include <gtest/gtest.h>
#include <random>

extern "C" {
#include "base/exact_math.h"
#include "format/dense.h"
}

namespace vulkan_test
{
namespace
{

using Words = std::vector<uint32_t>;
constexpr uint32_t kRandom = 1 << 20;

// Floats of a range of sizes, [2^low, 2^high] with either sign where `negative`, and 0 where `zero`: every power of two and what lies near
// it, halves and what lies near them, and random ones.
struct Floats {
    int low, high;
    bool negative, zero;
};
constexpr Floats kStored = {-50, 56, true, true}; // what ops store: FL

Words floats_of(const Floats &range)
{
    Words words;
    const auto add = [&](uint32_t bits) {
        const float size = float_of(bits & 0x7fffffff);
        if (size < std::ldexp(1.0f, range.low) || size > std::ldexp(1.0f, range.high)) return;
        words.push_back(bits);
        if (range.negative) words.push_back(bits | 0x80000000);
    };
    for (uint32_t exponent = 0; exponent < 255; exponent++) {
        for (uint32_t mantissa : {0u, 1u, 2u, 3u, 0x3fffffu, 0x400000u, 0x400001u, 0x555555u, 0x7ffffdu, 0x7ffffeu, 0x7fffffu})
            add(exponent << 23 | mantissa);
    }
    std::mt19937 random(uint32_t(range.low * 1000 + range.high));
    for (uint32_t i = 0; i < 50000; i++) {
        const uint32_t half = bits_of(float(random() % (1u << (1 + random() % 22))) + 0.5f); // a tie, and its neighbours
        for (uint32_t bits : {half - 1, half, half + 1}) add(bits);
    }
    const uint32_t n_exponents = uint32_t(range.high - range.low);
    while (words.size() < kRandom) add((uint32_t(range.low + 127) + uint32_t(random()) % n_exponents) << 23 | (random() & 0x7fffff));
    if (range.zero) words.insert(words.end(), {0, 0x80000000});
    return words;
}

// All exponents: subnormals, infinities and NaN too.
Words any_bits()
{
    Words words;
    for (uint32_t i = 0; i < 512; i++) {
        for (uint32_t mantissa : {0u, 1u, 2u, 0x3fffffu, 0x400000u, 0x400001u, 0x7ffffeu, 0x7fffffu}) words.push_back(i << 23 | mantissa);
    }
    std::mt19937 random(1);
    while (words.size() < kRandom) words.push_back(uint32_t(random()));
    return words;
}

// Integers of all sizes up to 2^bits, near powers of two, and near ties of their conversion.
Words integers(uint32_t bits)
{
    Words words;
    std::mt19937 random(bits);
    const auto add = [&](int64_t a) {
        const int64_t limit = int64_t(1) << bits;
        if (a >= -limit && a <= limit && a <= INT32_MAX) words.push_back(uint32_t(int32_t(a)));
    };
    for (uint32_t e = 0; e <= bits; e++) {
        for (int64_t near = -300; near <= 300; near++) {
            add((int64_t(1) << e) + near);
            add(-(int64_t(1) << e) + near);
        }
    }
    while (words.size() < kRandom) {
        const uint32_t size = 1 + uint32_t(random()) % bits, low = size > 24 ? size - 24 : 0; // bits that a float has no room for
        const int64_t a = int64_t(random() & ((uint64_t(1) << size) - 1));
        const int64_t tie = low ? (a >> low << low) + (int64_t(1) << (low - 1)) : a;
        for (int64_t value : {a, tie, tie - 1, tie + 1}) {
            add(value);
            add(-value);
        }
    }
    return words;
}

Words halves()
{
    Words words;
    for (uint32_t h = 0; h < 65536; h++) words.push_back(h);
    return words;
}

bool is_nan(uint32_t bits) { return (bits & 0x7fffffff) > 0x7f800000; }

struct Op {
    const char *name;
    uint32_t op;   // MATH_OP of math_ops.comp
    bool is_float; // of the result: any NaN is as good as another, and the sign of zero cannot be seen
    std::function<Words()> inputs;
    std::function<uint32_t(uint32_t x, int32_t n)> reference;
};

uint32_t apply(float (*f)(float), uint32_t x) { return bits_of(f(float_of(x))); }

const Op kOps[] = {
    {"fl", 0, true, any_bits, [](uint32_t x, int32_t) { return apply(tn_fl, x); }},
    {"f100", 1, true, any_bits, [](uint32_t x, int32_t) { return apply(tn_f100, x); }},
    {"round_even", 2, true,
     [] {
         return floats_of({-120, 22, true, true});
     },
     [](uint32_t x, int32_t) { return apply(tn_round_even, x); }},
    {"round_int", 3, false,
     [] {
         return floats_of({-120, 22, true, true});
     },
     [](uint32_t x, int32_t) { return uint32_t(tn_round_int(float_of(x))); }},
    {"round_int_u", 4, false,
     [] {
         return floats_of({-120, 23, false, false});
     },
     [](uint32_t x, int32_t) { return uint32_t(tn_round_int_u(float_of(x))); }},
    {"recip", 5, true,
     [] {
         return floats_of({-100, 100, false, false});
     },
     [](uint32_t x, int32_t) { return apply(tn_recip, x); }},
    {"rsqrt", 6, true,
     [] {
         return floats_of({-100, 100, false, false});
     },
     [](uint32_t x, int32_t) { return apply(tn_rsqrt, x); }},
    {"exp2_poly", 7, true,
     [] {
         return floats_of({-60, -1, true, true});
     },
     [](uint32_t x, int32_t) { return apply(tn_exp2_poly, x); }},
    {"exp2_exact", 8, true,
     [] {
         return floats_of({-60, 6, true, true});
     },
     [](uint32_t x, int32_t) { return apply(tn_exp2, x); }},
    {"silu", 9, true, [] { return floats_of(kStored); }, [](uint32_t x, int32_t) { return apply(tn_silu, x); }},
    {"shift", 10, true,
     [] {
         return floats_of({-60, 56, true, true});
     },
     [](uint32_t x, int32_t n) { return bits_of(tn_shift(float_of(x), n)); }},
    {"shift_f100", 11, true,
     [] {
         return floats_of({-100, 56, true, true});
     },
     [](uint32_t x, int32_t n) { return bits_of(tn_f100(tn_shift(float_of(x), n))); }},
    {"f16_float", 12, true, halves, [](uint32_t x, int32_t) { return bits_of(tn_f16_to_f32(uint16_t(x))); }},
    {"small_float", 13, true, [] { return integers(24); }, [](uint32_t x, int32_t) { return bits_of(float(int32_t(x))); }},
    {"any_float", 14, true, [] { return integers(31); }, [](uint32_t x, int32_t) { return bits_of(float(int32_t(x))); }},
    {"abs_bits", 15, false, any_bits, [](uint32_t x, int32_t) { return tn_abs_bits(float_of(x)); }},
};

uint32_t seen(const Op &op, uint32_t bits)
{
    if (op.is_float && is_nan(bits)) return 0x7fc00000;
    return op.is_float && bits == 0x80000000 ? 0 : bits;
}

void run(ShaderRig *rig, uint32_t op, uint32_t invocations, Bindings *b)
{
    const struct {
        uint32_t n;
    } p = {uint32_t(b->arena.size())};
    b->out.assign(p.n, 0xdddddddd);
    rig->run(TN_MATH_SPIRV, {invocations, op}, p, (p.n + invocations - 1) / invocations, 1, 1, b);
}

class Math : public testing::TestWithParam<uint32_t>
{
};

TEST_P(Math, HasTheBitsOfTheReference)
{
    const Op &op = kOps[GetParam()];
    ShaderRig rig;
    Bindings b;
    b.arena = op.inputs();
    for (uint32_t i = 0; i < b.arena.size(); i++) b.weights.push_back(uint32_t(-int32_t(i % 64))); // shifts: 0 to -63
    run(&rig, op.op, 64, &b);
    for (uint32_t i = 0; i < b.arena.size(); i++) {
        const int32_t n = int32_t(b.weights[i]);
        ASSERT_EQ(seen(op, b.out[i]), seen(op, op.reference(b.arena[i], n))) << std::hex << "of 0x" << b.arena[i] << std::dec << ", " << n;
    }
}
INSTANTIATE_TEST_SUITE_P(Ops, Math, testing::Range(0u, uint32_t(std::size(kOps))),
                         [](const testing::TestParamInfo<uint32_t> &of) { return std::string(kOps[of.param].name); });

// a * b + c and a * b - c, each operation rounded: fused, the first of them would give 2^-24.
TEST(MathFused, ProductsAreRoundedBeforeTheyAreAdded)
{
    ShaderRig rig;
    for (uint32_t op : {16u, 17u}) {
        Bindings b;
        const float sign = op == 16 ? -1.0f : 1.0f;
        const uint32_t x = bits_of(1.0f + 0x1p-12f), c = bits_of(sign * (1.0f + 0x1p-11f));
        for (uint32_t i = 0; i < 256; i++) {
            b.arena.push_back(x);
            b.weights.push_back(x);
            b.kv.push_back(c);
        }
        std::mt19937 random(op);
        const auto value = [&] { return (127 + uint32_t(random()) % 3) << 23 | (random() & 0x807fffff); };
        while (b.arena.size() < kRandom) {
            const float a = float_of(value()), w = float_of(value());
            b.arena.push_back(bits_of(a));
            b.weights.push_back(bits_of(w));
            b.kv.push_back(random() % 2 ? value() : bits_of(sign * (a * w))); // all that is left is what rounding took
        }
        run(&rig, op, 64, &b);
        for (uint32_t i = 0; i < 256; i++) ASSERT_EQ(float_of(b.out[i]), 0.0f);
        for (uint32_t i = 0; i < b.arena.size(); i++) {
            const float product = float_of(b.arena[i]) * float_of(b.weights[i]), addend = float_of(b.kv[i]);
            const float want = op == 16 ? product + addend : product - addend;
            ASSERT_EQ(float_of(b.out[i]), want) << i;
        }
    }
}

} // namespace
} // namespace vulkan_test
