// exp and log of the sampler: range reduction by powers of two, then a series long enough for f64.
#include "runtime/sampler_math.h"

#include <assert.h>
#include <float.h>
#include <stdint.h>
#include <string.h>

static_assert(FLT_EVAL_METHOD == 0, "the sampler needs f64 arithmetic in f64");

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

double tn_sampler_exp(double x)
{
    // 1/k! for k = 13 down to 2: |r| <= ln(2)/2, so the next term is below 2^-57 of the result.
    static const double inverse_factorial[] = {1.0 / 6227020800.0, 1.0 / 479001600.0, 1.0 / 39916800.0, 1.0 / 3628800.0,
                                               1.0 / 362880.0,     1.0 / 40320.0,     1.0 / 5040.0,     1.0 / 720.0,
                                               1.0 / 120.0,        1.0 / 24.0,        1.0 / 6.0,        0.5};
    if (x < -708.0) return 0.0;
    const double n = ((x * LOG2_E) + ROUND_MAGIC) - ROUND_MAGIC;
    const double r = (x - (n * LN2_HIGH)) - (n * LN2_LOW);
    double p = inverse_factorial[0];
    for (unsigned i = 1; i < sizeof inverse_factorial / sizeof inverse_factorial[0]; i++) p = inverse_factorial[i] + (r * p);
    const double e = 1.0 + (r + ((r * r) * p));
    return e * double_of((uint64_t)((int64_t)n + 1023) << 52);
}

double tn_sampler_log(double x)
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
