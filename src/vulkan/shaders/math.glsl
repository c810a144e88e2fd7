// The primitives of the exact mode (src/base/exact_math.h): the same bits. Only + - * and integer operations; the build decorates every
// float addition, subtraction and multiplication NoContraction.
#ifndef TN_MATH_GLSL
#define TN_MATH_GLSL

const uint ABS_BITS_2M50 = 0x26800000u;
const uint ABS_BITS_2M100 = 0x0d800000u;
const uint ABS_BITS_2P56 = 0x5b800000u;

uint abs_bits(float x) { return floatBitsToUint(x) & 0x7fffffffu; }
// By bits: a comparison of floats would let a device flush what it compares.
float fl(float z) { return abs_bits(z) < ABS_BITS_2M50 ? 0.0 : z; }
float f100(float z) { return abs_bits(z) < ABS_BITS_2M100 ? 0.0 : z; }

float round_even(float x) { return (x + 12582912.0) - 12582912.0; }
int round_int(float x) { return floatBitsToInt(x + 12582912.0) - 0x4b400000; }
int round_int_u(float x) { return floatBitsToInt(x + 8388608.0) - 0x4b000000; }

// An integer of less than 2^24, which every device converts exactly.
float small_float(int a) { return float(a); }
// Any integer, rounded to nearest even, though a device may round a conversion otherwise: both parts are exact, their sum rounds once.
float any_float(int a) { return (float(a >> 12) * 4096.0) + float(a & 4095); }

float recip(float a)
{
    float r = uintBitsToFloat(0x7EF311C7u - floatBitsToUint(a));
    for (int i = 0; i < 4; i++) {
        float e = 1.0 - (a * r);
        r = r + (r * e);
    }
    return r;
}
float rsqrt(float a)
{
    float y = uintBitsToFloat(0x5F375A86u - (floatBitsToUint(a) >> 1));
    float h = 0.5 * a;
    for (int i = 0; i < 4; i++) {
        float e = 0.5 - ((h * y) * y);
        y = y + (y * e);
    }
    return y;
}
// 2^f, |f| <= 0.5. The coefficients as bits: GLSL has no hexadecimal floats.
float exp2_poly(float f)
{
    float p = uintBitsToFloat(0x39222000u);
    p = uintBitsToFloat(0x3aafa460u) + (f * p);
    p = uintBitsToFloat(0x3c1d950eu) + (f * p);
    p = uintBitsToFloat(0x3d635766u) + (f * p);
    p = uintBitsToFloat(0x3e75fdf0u) + (f * p);
    p = uintBitsToFloat(0x3f317218u) + (f * p);
    return 1.0 + (f * p);
}
float pow2(int n) { return uintBitsToFloat(uint(n + 127) << 23); }
float shift(float x, int n) { return n < -60 ? 0.0 : x * pow2(n); }
float exp2_exact(float t)
{
    float n = round_even(t);
    return exp2_poly(t - n) * pow2(round_int(t));
}
float silu(float x)
{
    float t = -(x * uintBitsToFloat(0x3fb8aa3bu)); // log2 e
    t = t < -60.0 ? -60.0 : t > 60.0 ? 60.0 : t;
    return x * recip(1.0 + exp2_exact(t));
}
// Of an f16's bits, subnormals kept.
float f16_float(uint h)
{
    uint sign = (h & 0x8000u) << 16, rest = h & 0x7fffu;
    if (rest >= 0x7c00u) return uintBitsToFloat(sign | 0x7f800000u | ((rest & 0x3ffu) << 13));
    if (rest >= 0x0400u) return uintBitsToFloat(sign | ((rest << 13) + 0x38000000u));
    return uintBitsToFloat(sign | floatBitsToUint(float(rest) * 5.9604644775390625e-8)); // 2^-24
}

#endif
