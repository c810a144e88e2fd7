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

// e^r for |r| <= ln(2)/2. 1/k! for k = 13 down to 2: the next term is below 2^-57 of the result.
static inline double exp_poly(double r)
{
    double p = 1.0 / 6227020800.0;
    p = 1.0 / 479001600.0 + (r * p);
    p = 1.0 / 39916800.0 + (r * p);
    p = 1.0 / 3628800.0 + (r * p);
    p = 1.0 / 362880.0 + (r * p);
    p = 1.0 / 40320.0 + (r * p);
    p = 1.0 / 5040.0 + (r * p);
    p = 1.0 / 720.0 + (r * p);
    p = 1.0 / 120.0 + (r * p);
    p = 1.0 / 24.0 + (r * p);
    p = 1.0 / 6.0 + (r * p);
    p = 0.5 + (r * p);
    return 1.0 + (r + ((r * r) * p));
}

// The integer n nearest to x / ln(2), plus ROUND_MAGIC: the last bits of the sum are those of n.
static inline double shifted_exponent(double x) { return (x * LOG2_E) + ROUND_MAGIC; }

static inline double exp_rest(double x, double shifted)
{
    const double n = shifted - ROUND_MAGIC;
    return (x - (n * LN2_HIGH)) - (n * LN2_LOW);
}

static inline uint64_t power_of_two_bits(uint64_t shifted_bits) { return (shifted_bits + 1023) << 52; }

double tn_sampler_exp(double x)
{
    if (x < -708.0) return 0.0;
    const double shifted = shifted_exponent(x);
    return exp_poly(exp_rest(x, shifted)) * double_of(power_of_two_bits(bits_of(shifted)));
}

// Loops of one kind of number each, without branches: compilers make vector instructions of them.
void tn_sampler_exp_block(const double *x, double *y)
{
    enum { N = TN_SAMPLER_EXP_BLOCK };
    double shifted[N], e[N], power[N];
    uint64_t bits[N];
    for (unsigned i = 0; i < N; i++) {
        shifted[i] = shifted_exponent(x[i]);
        e[i] = exp_poly(exp_rest(x[i], shifted[i]));
    }
    memcpy(bits, shifted, sizeof bits);
    for (unsigned i = 0; i < N; i++) bits[i] = power_of_two_bits(bits[i]);
    memcpy(power, bits, sizeof power);
    for (unsigned i = 0; i < N; i++) {
        const double scaled = e[i] * power[i];
        e[i] = x[i] < -708.0 ? 0.0 : scaled;
    }
    memcpy(y, e, sizeof e);
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
