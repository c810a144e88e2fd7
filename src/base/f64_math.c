// exp and log in f64: range reduction by powers of two, then a series long enough for f64.
#include "base/f64_math.h"

#include <assert.h>
#include <float.h>
#include <stdint.h>
#include <string.h>

static_assert(FLT_EVAL_METHOD == 0, "f64 arithmetic is needed in f64");

// ln 2 in two parts: the high one has 21 trailing zero bits, so that n times it is exact for |n| < 2^11 and more.
#define LN2_HIGH    0x1.62e42fee00000p-1
#define LN2_LOW     0x1.a39ef35793c76p-33
#define LOG2_E      0x1.71547652b82fep+0
#define ROUND_MAGIC 0x1.8p52 // adding and subtracting it rounds to the nearest integer, ties to even

static uint64_t bits_of(double x)
{
    uint64_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static double double_of(uint64_t u)
{
    double x;
    memcpy(&x, &u, sizeof x);
    return x;
}

// 1/k! for k = 13 down to 2: |r| <= ln(2)/2, so the next term is below 2^-57 of the result.
static const double inverse_factorial[] = {1.0 / 6227020800.0, 1.0 / 479001600.0, 1.0 / 39916800.0, 1.0 / 3628800.0,
                                           1.0 / 362880.0,     1.0 / 40320.0,     1.0 / 5040.0,     1.0 / 720.0,
                                           1.0 / 120.0,        1.0 / 24.0,        1.0 / 6.0,        0.5};
enum { N_TERMS = sizeof inverse_factorial / sizeof inverse_factorial[0] };

// The integer n nearest to x / ln(2), plus ROUND_MAGIC: the last bits of the sum are those of n.
static inline double shifted_exponent(double x) { return (x * LOG2_E) + ROUND_MAGIC; }

static inline double exp_rest(double x, double shifted)
{
    const double n = shifted - ROUND_MAGIC;
    return (x - (n * LN2_HIGH)) - (n * LN2_LOW);
}

static inline uint64_t power_of_two_bits(uint64_t shifted_bits) { return (shifted_bits + 1023) << 52; }

double tn_f64_exp(double x)
{
    if (x < -708.0) return 0.0;
    const double shifted = shifted_exponent(x);
    const double r = exp_rest(x, shifted);
    double p = inverse_factorial[0];
    for (unsigned i = 1; i < N_TERMS; i++) p = inverse_factorial[i] + (r * p);
    const double e = 1.0 + (r + ((r * r) * p));
    return e * double_of(power_of_two_bits(bits_of(shifted)));
}

enum { BLOCK = 32 };

// tn_f64_exp of a block. Loops of one kind of number each, without branches, over arrays of its own: compilers make vector instructions
// of them, and the steps of one number, which wait for each other, alternate with those of the others.
static void exp_block(double *x)
{
    union {
        double number[BLOCK];
        uint64_t bits[BLOCK];
    } power;
    double r[BLOCK], p[BLOCK];
    for (size_t i = 0; i < BLOCK; i++) {
        power.number[i] = shifted_exponent(x[i]);
        r[i] = exp_rest(x[i], power.number[i]);
        p[i] = inverse_factorial[0];
    }
    for (unsigned term = 1; term < N_TERMS; term++)
        for (size_t i = 0; i < BLOCK; i++) p[i] = inverse_factorial[term] + (r[i] * p[i]);
    for (size_t i = 0; i < BLOCK; i++) power.bits[i] = power_of_two_bits(power.bits[i]);
    for (size_t i = 0; i < BLOCK; i++) p[i] = (1.0 + (r[i] + ((r[i] * r[i]) * p[i]))) * power.number[i];
    for (size_t i = 0; i < BLOCK; i++) x[i] = x[i] < -708.0 ? 0.0 : p[i];
}

void tn_f64_weights(const double *z, size_t n, double best, double temperature, double *out_weights)
{
    for (; n >= BLOCK; n -= BLOCK, z += BLOCK, out_weights += BLOCK) {
        double x[BLOCK];
        for (size_t i = 0; i < BLOCK; i++) x[i] = (z[i] - best) / temperature;
        exp_block(x);
        memcpy(out_weights, x, sizeof x);
    }
    for (size_t i = 0; i < n; i++) out_weights[i] = tn_f64_exp((z[i] - best) / temperature);
}

double tn_f64_log(double x)
{
    // x = 2^k * (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)). With s = f / (2 + f), ln(1 + f) = 2 (s + s^3/3 + s^5/5 + ...). Written as
    // f - (h - s*(h + tail)), h = f^2/2, the large term f is exact and the rounding errors are those of the small ones.
    // tail = 2 (s^2/3 + s^4/5 + ...); s^2 < 0.0295, so eleven terms reach below 2^-57.
    static const double odd_inverse[] = {2.0 / 23.0, 2.0 / 21.0, 2.0 / 19.0, 2.0 / 17.0, 2.0 / 15.0, 2.0 / 13.0,
                                         2.0 / 11.0, 2.0 / 9.0,  2.0 / 7.0,  2.0 / 5.0,  2.0 / 3.0};
    const uint64_t sqrt_half = 0x3fe6a09e667f3bcdu;
    const uint64_t u = bits_of(x);
    const int64_t k = ((int64_t)u - (int64_t)sqrt_half) >> 52; // arithmetic shift: floor
    const double f = double_of(u - ((uint64_t)k << 52)) - 1.0;
    const double s = f / (2.0 + f);
    const double z = s * s;
    double tail = odd_inverse[0];
    for (unsigned i = 1; i < sizeof odd_inverse / sizeof odd_inverse[0]; i++) tail = odd_inverse[i] + (z * tail);
    tail = z * tail;
    const double h = (0.5 * f) * f;
    const double kf = (double)k;
    return (kf * LN2_HIGH) + (f - (h - ((s * (h + tail)) + (kf * LN2_LOW))));
}
