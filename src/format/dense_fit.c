// Searches for the scales of a block of values: the part of the quantisers that decides their quality.
#include "format/dense_internal.h"

enum {
    FIT_VALUES_MAX = 32,
    FIT_STEPS = 9, // divisors tried on each side of the plain one
    FIT_TRIES = 2 * FIT_STEPS + 1,
    FIT_LANES = 20, // tries made side by side, rounded up so that compilers make vectors of them; the sums of each keep their order
};

// Sums that judge a scale: with codes q the best scale is sum(xq)/sum(qq) and it takes sum(xq)^2/sum(qq) off the squared error.
typedef struct symmetric_fits {
    float inverse[FIT_LANES], xq[FIT_LANES], qq[FIT_LANES];
} symmetric_fits;

static float absolute(float x) { return x < 0 ? -x : x; }

// One value's part of the sums.
static void add_value(float x, float low, float high, const float *restrict inverse, float *restrict xq, float *restrict qq)
{
    for (size_t i = 0; i < FIT_LANES; i++) {
        const float q = tn_dense_clamp_f32(tn_dense_round_even_f32(x * inverse[i]), low, high);
        xq[i] += x * q;
        qq[i] += q * q;
    }
}

// The value with the largest magnitude. Values are divided by it (or by its magnitude) so that the sums cannot overflow.
static float peak_of(const float *x, size_t n)
{
    float peak = 0;
    for (size_t j = 0; j < n; j++) {
        if (absolute(x[j]) > absolute(peak)) peak = x[j];
    }
    return peak;
}

float tn_dense_fit_symmetric(const float *x, size_t n, int limit, float step)
{
    float unit[FIT_VALUES_MAX];
    const float peak = peak_of(x, n);
    if (peak == 0) return 0;
    for (size_t j = 0; j < n; j++) unit[j] = x[j] / peak;
    float best = 0, gain = -1;
    symmetric_fits fits = {{0}, {0}, {0}};
    for (int i = 0; i < FIT_LANES; i++) fits.inverse[i] = -((float)limit + step * (float)(i - FIT_STEPS));
    for (size_t j = 0; j < n; j++) add_value(unit[j], (float)-limit, (float)(limit - 1), fits.inverse, fits.xq, fits.qq);
    for (int i = 0; i < FIT_TRIES; i++) {
        const float xq = fits.xq[i], qq = fits.qq[i];
        if (!(qq > 0 && xq * xq > gain * qq)) continue;
        gain = (xq * xq) / qq;
        best = xq / qq;
    }
    return best * peak;
}

// The least-squares line through (code, value) for the codes that `inverse` and `low` give, and its squared error.
static float try_affine(const float *x, size_t n, int max, float low, float inverse, bool min_at_most_0, tn_dense_affine *out)
{
    float q[FIT_VALUES_MAX], sq = 0, sqq = 0, sx = 0, sxq = 0;
    for (size_t j = 0; j < n; j++) {
        q[j] = (float)tn_dense_code((x[j] - low) * inverse, max);
        sq += q[j];
        sqq += q[j] * q[j];
        sx += x[j];
        sxq += x[j] * q[j];
    }
    const float count = (float)n, determinant = (count * sqq) - (sq * sq);
    *out = (tn_dense_affine){1.0f / inverse, low};
    if (determinant > 0) out->scale = ((count * sxq) - (sq * sx)) / determinant;
    if (determinant > 0) out->min = (sx - out->scale * sq) / count;
    if (min_at_most_0 && out->min > 0) *out = (tn_dense_affine){sqq > 0 ? sxq / sqq : 0, 0};
    if (!(out->scale > 0)) return -1;
    float error = 0;
    for (size_t j = 0; j < n; j++) {
        const float off = (out->scale * q[j] + out->min) - x[j];
        error += off * off;
    }
    return error;
}

tn_dense_affine tn_dense_fit_affine(const float *x, size_t n, int max, bool min_at_most_0)
{
    float unit[FIT_VALUES_MAX];
    const float peak = absolute(peak_of(x, n));
    if (peak == 0) return (tn_dense_affine){0, 0};
    float low = x[0] / peak, high = low;
    for (size_t j = 0; j < n; j++) {
        unit[j] = x[j] / peak;
        if (unit[j] < low) low = unit[j];
        if (unit[j] > high) high = unit[j];
    }
    if (min_at_most_0 && low > 0) low = 0;
    tn_dense_affine best = {0, low};
    if (high > low) {
        float least = -1;
        for (int i = -FIT_STEPS; i <= FIT_STEPS; i++) {
            tn_dense_affine fit;
            const float error = try_affine(unit, n, max, low, ((float)max + 0.1f * (float)i) / (high - low), min_at_most_0, &fit);
            if (error < 0 || (least >= 0 && error >= least)) continue;
            least = error;
            best = fit;
        }
    }
    return (tn_dense_affine){best.scale * peak, best.min * peak};
}

float tn_dense_mean(const float *x, size_t n)
{
    float mean = 0;
    for (size_t j = 0; j < n; j++) mean += x[j] / (float)n; // divided first: the sum stays in range
    return mean;
}
