// exp and log of the sampler in f64: + - * / in a fixed order, so that every machine gives the same bits (libm's differ by CPU and
// version).
#ifndef TN_RUNTIME_SAMPLER_MATH_H
#define TN_RUNTIME_SAMPLER_MATH_H

#include <stddef.h>

// e^x for x <= 0 (minus infinity too), within 1 ulp; 0 below -708, where the result would leave the normal numbers.   Threads: any.
double tn_sampler_exp(double x);
// out_weights[i] = tn_sampler_exp((z[i] - best) / temperature), of n numbers, several at a time; z may be out_weights.
// Threads: any.
void tn_sampler_weights(const double *z, size_t n, double best, double temperature, double *out_weights);
// The natural logarithm of a positive, finite, normal x, within 1 ulp.   Threads: any.
double tn_sampler_log(double x);

#endif
