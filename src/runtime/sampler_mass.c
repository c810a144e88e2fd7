// Loops of one kind of number each, without branches, over arrays of known length: compilers make vector instructions of them.
#include "runtime/sampler_mass.h"

#include "base/f64_math.h"

#include <stdint.h>

enum { BLOCK = 64, LANES = 8 };

#define LOG2_E      0x1.71547652b82fep+0
#define ROUND_MAGIC 0x1.8p52 // adding and subtracting it rounds to the nearest integer, ties to even

tn_sampler_interval tn_sampler_sum_within(double sum, size_t n, double error)
{
    const double slack = error + ((double)n * 0x1p-51);
    return (tn_sampler_interval){sum * (1 - slack), sum * (1 + slack)};
}

// Adds a block to sums of every LANES-th number of it.
static void add_block(double *w, double *lane)
{
    for (size_t i = 0; i < BLOCK / 2; i++) w[i] += w[i + (BLOCK / 2)];
    for (size_t i = 0; i < BLOCK / 4; i++) w[i] += w[i + (BLOCK / 4)];
    for (size_t i = 0; i < LANES; i++) lane[i] += w[i] + w[i + LANES];
}

static double sum_lanes(const double *lane)
{
    double sum = 0;
    for (size_t l = 0; l < LANES; l++) sum += lane[l];
    return sum;
}

double tn_sampler_mass(const float *z, size_t n, double best, double temperature)
{
    double lane[LANES] = {0}, w[BLOCK];
    for (; n >= BLOCK; n -= BLOCK, z += BLOCK) {
        for (size_t i = 0; i < BLOCK; i++) w[i] = (double)z[i];
        tn_f64_weights(w, BLOCK, best, temperature, w);
        add_block(w, lane);
    }
    double sum = sum_lanes(lane);
    for (size_t i = 0; i < n; i++) sum += tn_f64_exp(((double)z[i] - best) / temperature);
    return sum;
}

// 2^x of a block, x <= 0, in 24 bits: P(f) * 2^n with x = n + f, n an integer, and P the polynomial of EXP2 (docs/design/0001-numerics.md).
//
// Against the weight of tn_f64_weights: that one's argument is off by less than 708 * 2^-52 and its exp by an ulp, here x by 4
// roundings of a number of up to 1000: together less than 2^-40 of the weight. f is exact in f64 and off by 2^-26 at most in f32: a factor
// of less than 1 +- 2^-26. P(f) is within 2^-23.16 of 2^f for every f32 f (each was computed). Scaling by 2^n is exact. Weights below
// 2^-1000 become 2^-1000: nothing in a sum that is 1 or more (tn_sampler_sum_within). All together is less than 1.125 * 2^-23.
static void exp2_block(double *x)
{
    union {
        double number[BLOCK];
        uint64_t bits[BLOCK];
    } power;
    float f[BLOCK], p[BLOCK];
    for (size_t i = 0; i < BLOCK; i++) x[i] = x[i] > -1000.0 ? x[i] : -1000.0;
    for (size_t i = 0; i < BLOCK; i++) {
        power.number[i] = x[i] + ROUND_MAGIC; // its last bits are those of n
        f[i] = (float)(x[i] - (power.number[i] - ROUND_MAGIC));
    }
    for (size_t i = 0; i < BLOCK; i++) power.bits[i] = (power.bits[i] + 1023) << 52;
    for (size_t i = 0; i < BLOCK; i++) {
        const float t = f[i];
        const float high = 0x1.3b2a1cp-7f + (t * (0x1.5f48cp-10f + (t * 0x1.444p-13f)));
        p[i] = 1.0f + (t * (0x1.62e43p-1f + (t * (0x1.ebfbep-3f + (t * (0x1.c6aeccp-5f + (t * high)))))));
    }
    for (size_t i = 0; i < BLOCK; i++) x[i] = (double)p[i] * power.number[i];
}

double tn_sampler_mass_near(const float *z, size_t n, double best, double temperature)
{
    const double scale = LOG2_E / temperature;
    double lane[LANES] = {0}, w[BLOCK];
    for (; n >= BLOCK; n -= BLOCK, z += BLOCK) {
        for (size_t i = 0; i < BLOCK; i++) w[i] = ((double)z[i] - best) * scale;
        exp2_block(w);
        add_block(w, lane);
    }
    double sum = sum_lanes(lane);
    for (size_t i = 0; i < n; i++) sum += tn_f64_exp(((double)z[i] - best) / temperature);
    return sum;
}
