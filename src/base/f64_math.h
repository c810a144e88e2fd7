// exp and log in f64, for the sampler and for statistics over logits: + - * / in a fixed order, so that every machine gives the same bits
// (libm's differ by CPU and version).
#ifndef TN_BASE_F64_MATH_H
#define TN_BASE_F64_MATH_H

#include <stddef.h>

// e^x for x <= 0 (minus infinity too), within 1 ulp; 0 below -708, where the result would leave the normal numbers.   Threads: any.
double tn_f64_exp(double x);
// out_weights[i] = tn_f64_exp((z[i] - best) / temperature), of n numbers, several at a time; z may be out_weights.
// Threads: any.
void tn_f64_weights(const double *z, size_t n, double best, double temperature, double *out_weights);
// The natural logarithm of a positive, finite, normal x, within 1 ulp.   Threads: any.
double tn_f64_log(double x);

#endif
