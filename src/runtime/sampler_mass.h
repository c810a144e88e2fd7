// The sum of the softmax weights of a row: near to it cheaply, or exact but for the order of the additions.
#ifndef TN_RUNTIME_SAMPLER_MASS_H
#define TN_RUNTIME_SAMPLER_MASS_H

#include <stddef.h>

// A number that is only known to lie between two.
typedef struct tn_sampler_interval {
    double low, high;
} tn_sampler_interval;

// What a sum of n weights may come to in any order, where it came to `sum` in some order, and each weight was off by at most `error` of it.
//
// In f64 and any order, a sum of n positive numbers is off by less than a factor of 1 +- n * 2^-53 (1 + tiny), so two such sums are apart
// by less than n * 2^-52 (1 + tiny). Twice that also covers the roundings here and, in a sum of 1 or more, weights below 2^-999 that were
// added or left out.
tn_sampler_interval tn_sampler_sum_within(double sum, size_t n, double error);

// The sum of the weights exp((z[i] - best) / temperature), in some order. best: no z[i] is above it.   Threads: any.
// The weights are those of tn_f64_weights, or, in half the time, within NEAR_ERROR of them (the proof is in sampler_mass.c).
double tn_sampler_mass(const float *z, size_t n, double best, double temperature);
double tn_sampler_mass_near(const float *z, size_t n, double best, double temperature);
#define TN_SAMPLER_NEAR_ERROR 0x1.2p-23

#endif
