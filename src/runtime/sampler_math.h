// exp and log of the sampler in f64: + - * / in a fixed order, so that every machine gives the same bits (libm's differ by CPU and
// version).
#ifndef TN_RUNTIME_SAMPLER_MATH_H
#define TN_RUNTIME_SAMPLER_MATH_H

// e^x for x <= 0 (minus infinity too), within 1 ulp; 0 below -708, where the result would leave the normal numbers.   Threads: any.
double tn_sampler_exp(double x);
#define TN_SAMPLER_EXP_BLOCK 64u
// y[i] = tn_sampler_exp(x[i]), of TN_SAMPLER_EXP_BLOCK numbers. x may be y.   Threads: any.
void tn_sampler_exp_block(const double *x, double *y);
// The natural logarithm of a positive, finite, normal x, within 1 ulp.   Threads: any.
double tn_sampler_log(double x);

#endif
