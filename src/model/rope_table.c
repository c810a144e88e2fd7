// RoPE angles in double-double arithmetic: a value is hi + lo with |lo| at most half an ulp of hi, about 106 bits.
#include "model/rope_table.h"

#include <string.h>

typedef struct dd {
    double hi, lo;
} dd;

static dd quick_two_sum(double a, double b) // |a| >= |b|
{
    double s = a + b;
    return (dd){s, b - (s - a)};
}

static dd two_sum(double a, double b)
{
    double s = a + b;
    double t = s - a;
    return (dd){s, (a - (s - t)) + (b - t)};
}

static dd two_prod(double a, double b) // Dekker's product: exact without a fused multiply-add
{
    const double split = 134217729.0; // 2^27 + 1
    double p = a * b;
    double ta = split * a, ah = ta - (ta - a), al = a - ah;
    double tb = split * b, bh = tb - (tb - b), bl = b - bh;
    return (dd){p, ((ah * bh - p) + ah * bl + al * bh) + al * bl};
}

static dd dd_of(double a) { return (dd){a, 0}; }
static dd dd_neg(dd a) { return (dd){-a.hi, -a.lo}; }

static dd dd_add(dd a, dd b)
{
    dd s = two_sum(a.hi, b.hi), t = two_sum(a.lo, b.lo);
    s = quick_two_sum(s.hi, s.lo + t.hi);
    return quick_two_sum(s.hi, s.lo + t.lo);
}

static dd dd_mul(dd a, dd b)
{
    dd p = two_prod(a.hi, b.hi);
    return quick_two_sum(p.hi, p.lo + (a.hi * b.lo + a.lo * b.hi));
}

static dd dd_div(dd a, dd b)
{
    double q1 = a.hi / b.hi;
    dd r = dd_add(a, dd_neg(dd_mul(b, dd_of(q1))));
    double q2 = r.hi / b.hi;
    r = dd_add(r, dd_neg(dd_mul(b, dd_of(q2))));
    double q3 = r.hi / b.hi;
    return dd_add(quick_two_sum(q1, q2), dd_of(q3));
}

static const dd ln2 = {0x1.62e42fefa39efp-1, 0x1.abc9e3b39803fp-56};

static double pow2(int n)
{
    uint64_t bits = (uint64_t)(n + 1023) << 52;
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

// ln(x) for a normal x > 0: x = m 2^e with m near 1, ln m = 2 atanh((m-1)/(m+1)).
static dd dd_ln(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int e = (int)(bits >> 52) - 1023;
    double m = x * pow2(-e);
    if (m > 1.4142135623730951) {
        m = m * 0.5;
        e++;
    }
    dd s = dd_div(two_sum(m, -1.0), two_sum(m, 1.0));
    dd s2 = dd_mul(s, s), term = s, sum = s;
    for (int k = 3; k < 60; k += 2) { // |s| < 0.172: the terms fall below 2^-120
        term = dd_mul(term, s2);
        sum = dd_add(sum, dd_div(term, dd_of(k)));
    }
    return dd_add(dd_mul(dd_of(e), ln2), dd_add(sum, sum));
}

// e^x for |x| < 600.
static dd dd_exp(dd x)
{
    const int halvings = 8;
    double k = (double)(int)(x.hi * 1.4426950408889634 + (x.hi < 0 ? -0.5 : 0.5));
    dd r = dd_add(x, dd_neg(dd_mul(dd_of(k), ln2)));
    double scale = pow2(-halvings);
    r = (dd){r.hi * scale, r.lo * scale};
    dd term = dd_of(1), sum = dd_of(1);
    for (int i = 1; i < 16; i++) { // |r| < 0.0014: the terms fall below 2^-170
        term = dd_div(dd_mul(term, r), dd_of(i));
        sum = dd_add(sum, term);
    }
    for (int i = 0; i < halvings; i++) sum = dd_mul(sum, sum);
    double two_k = pow2((int)k);
    return (dd){sum.hi * two_k, sum.lo * two_k};
}

void tn_rope_inverse_frequencies(double theta, double scale, const float *factors, uint32_t head_dim, double *inverse)
{
    dd ln_theta = dd_ln(theta);
    for (uint32_t i = 0; i < head_dim / 2; i++) {
        dd exponent = dd_neg(dd_div(dd_mul(ln_theta, dd_of(2.0 * i)), dd_of(head_dim)));
        dd f = dd_div(dd_exp(exponent), dd_of(scale));
        if (factors) f = dd_div(f, dd_of((double)factors[i]));
        inverse[i] = f.hi; // hi is the sum rounded to nearest
    }
}

void tn_rope_llama3_factors(double theta, uint32_t head_dim, const tn_rope_llama3 *scaling, float *factors)
{
    const double two_pi = 6.283185307179586;
    dd ln_theta = dd_ln(theta);
    for (uint32_t i = 0; i < head_dim / 2; i++) {
        double wavelength = two_pi * dd_exp(dd_div(dd_mul(ln_theta, dd_of(2.0 * i)), dd_of(head_dim))).hi;
        double s = (scaling->old_context / wavelength - scaling->low) / (scaling->high - scaling->low);
        double factor = 1 / ((1 - s) / scaling->factor + s);
        if (wavelength < scaling->old_context / scaling->high) factor = 1;
        if (wavelength > scaling->old_context / scaling->low) factor = scaling->factor;
        factors[i] = (float)factor;
    }
}

// pi/2 in pieces of 32 bits, 160 bits in all: the remainder keeps 100 bits for angles below 2^30.
static const double pi_half_pieces[] = {0x1.921fb544p+0, 0x1.0b4611a6p-34, 0x1.3198a2ep-69, 0x1.b839a252p-104, 0x1.27044532p-142};

// Taylor coefficients of the tails: -1/7!, 1/9!, ... and 1/8!, -1/10!, ...
#define TAIL_TERMS 7
static const double sin_tail_coefficients[TAIL_TERMS] = {-1.0 / 5040,
                                                         1.0 / 362880,
                                                         -1.0 / 39916800,
                                                         1.0 / 6227020800.0,
                                                         -1.0 / 1307674368000.0,
                                                         1.0 / 355687428096000.0,
                                                         -1.0 / 121645100408832000.0};
static const double cos_tail_coefficients[TAIL_TERMS] = {1.0 / 40320,
                                                         -1.0 / 3628800,
                                                         1.0 / 479001600,
                                                         -1.0 / 87178291200.0,
                                                         1.0 / 20922789888000.0,
                                                         -1.0 / 6402373705728000.0,
                                                         1.0 / 2432902008176640000.0};

static double tail(double z, const double *c)
{
    double sum = c[TAIL_TERMS - 1];
    for (int i = TAIL_TERMS - 2; i >= 0; i--) sum = c[i] + z * sum;
    return sum;
}

// sin r and cos r for |r| <= pi/4: the leading terms in double-double, the tail (below 4e-5 of the result) in f64.
static void reduced_sincos(dd r, double *out_sin, double *out_cos)
{
    dd r2 = dd_mul(r, r);
    double z = r2.hi;
    dd third = dd_mul(dd_mul(r, r2), (dd){0x1.5555555555555p-3, 0x1.5555555555555p-57});             // r^3/6
    dd fifth = dd_mul(dd_mul(dd_mul(r, r2), r2), (dd){0x1.1111111111111p-7, 0x1.1111111111111p-63}); // r^5/120
    double sin_tail = r.hi * z * z * z * tail(z, sin_tail_coefficients);
    dd s = dd_add(dd_add(r, dd_neg(third)), dd_add(fifth, dd_of(sin_tail)));

    dd half = (dd){r2.hi * 0.5, r2.lo * 0.5};
    dd fourth = dd_mul(dd_mul(r2, r2), (dd){0x1.5555555555555p-5, 0x1.5555555555555p-59});              // r^4/24
    dd sixth = dd_mul(dd_mul(dd_mul(r2, r2), r2), (dd){0x1.6c16c16c16c17p-10, -0x1.f49f49f49f49fp-65}); // r^6/720
    double cos_tail = z * z * z * z * tail(z, cos_tail_coefficients);
    dd c = dd_add(dd_add(dd_of(1), dd_neg(half)), dd_add(fourth, dd_add(dd_neg(sixth), dd_of(cos_tail))));
    *out_sin = s.hi;
    *out_cos = c.hi;
}

void tn_rope_sincos(double angle, double *out_sin, double *out_cos)
{
    double n = (double)(int64_t)(angle * 0.63661977236758134 + 0.5);
    dd r = dd_of(angle);
    for (unsigned i = 0; i < sizeof pi_half_pieces / sizeof pi_half_pieces[0]; i++) r = dd_add(r, dd_neg(two_prod(n, pi_half_pieces[i])));
    double s, c;
    reduced_sincos(r, &s, &c);
    switch ((int64_t)n & 3) {
    case 0: *out_sin = s, *out_cos = c; break;
    case 1: *out_sin = c, *out_cos = -s; break;
    case 2: *out_sin = -s, *out_cos = -c; break;
    default: *out_sin = -c, *out_cos = s; break;
    }
}

void tn_rope_row(const double *inverse, uint32_t n_pairs, uint32_t position, float *row)
{
    for (uint32_t i = 0; i < n_pairs; i++) {
        double s, c;
        tn_rope_sincos((double)position * inverse[i], &s, &c);
        row[i] = (float)c;
        row[n_pairs + i] = (float)s;
    }
}
