// Statistics over logits: one pass over a row for its maximum, one for the sums, and moments over rows that are updated as rows come.
#include "base/alloc.h"
#include "base/f64_math.h"
#include "base/float_mode.h"
#include "base/params.h"
#include "base/status.h"
#include "ternion/eval.h"

#include <math.h>
#include <stdlib.h>

enum { BLOCK = 256 };

// Mean and sum of squared deviations, by Welford's update: no difference of large sums.
typedef struct tn_moments {
    double mean, squares;
} tn_moments;

// One row of logits: ln(probability of i) = (logit[i] - max) - log_sum.
typedef struct tn_row {
    double max, log_sum;
    uint32_t top;
} tn_row;

struct tn_eval_stats {
    uint32_t n_vocab;
    bool has_base;
    uint64_t n, n_same_top;
    tn_moments nll, nll_base, nll_diff; // nll_diff: of nll - nll_base, so that equal logits give a difference and an error of exactly 0
    double base_diff_products;          // sum of products of the deviations of nll_base and nll_diff
    tn_moments kld, dp, dp_squared;
    double *klds, *dps; // [n] with a base
    size_t klds_capacity, dps_capacity;
};

tn_status tn_eval_stats_create(uint32_t n_vocab, tn_eval_stats **out_stats)
{
    TN_REQUIRE(out_stats);
    *out_stats = NULL;
    if (n_vocab == 0 || n_vocab > INT32_MAX)
        return tn_fail(TN_INVALID_ARGUMENT, "statistics: n_vocab is %u, but must be from 1 to %d", n_vocab, INT32_MAX);
    TN_TRY(tn_alloc_zero(1, sizeof **out_stats, out_stats));
    (*out_stats)->n_vocab = n_vocab;
    return TN_OK;
}

void tn_eval_stats_destroy(tn_eval_stats *stats)
{
    if (!stats) return;
    tn_free(stats->klds);
    tn_free(stats->dps);
    tn_free(stats);
}

static tn_status check_target(int32_t target, uint32_t n_vocab)
{
    if (target >= 0 && (uint32_t)target < n_vocab) return TN_OK;
    return tn_fail(TN_INVALID_ARGUMENT, "statistics: token %d, but the vocabulary is 0 to %u", target, n_vocab - 1);
}

static tn_status find_top(const float *logits, uint32_t n_vocab, tn_row *row)
{
    uint32_t top = 0;
    bool finite = true;
    for (uint32_t i = 0; i < n_vocab; i++) {
        finite = finite && fabsf(logits[i]) < INFINITY; // false for a NaN, too
        if (logits[i] > logits[top]) top = i;
    }
    if (!finite)
        return tn_fail(TN_INVALID_ARGUMENT,
                       "statistics: a logit is not finite: the sequence is poisoned, or the row was not computed whole");
    row->top = top;
    row->max = (double)logits[top];
    return TN_OK;
}

// Terms exp(x[i] - max) of a block of at most BLOCK logits.
static void exp_of_block(const float *x, uint32_t n, double max, double *out_terms)
{
    for (uint32_t i = 0; i < n; i++) out_terms[i] = (double)x[i];
    tn_f64_weights(out_terms, n, max, 1.0, out_terms);
}

static double sum_exp(const float *logits, uint32_t n_vocab, double max)
{
    double terms[BLOCK], sum = 0;
    for (uint32_t first = 0; first < n_vocab; first += BLOCK) {
        const uint32_t n = n_vocab - first < BLOCK ? n_vocab - first : BLOCK;
        exp_of_block(logits + first, n, max, terms);
        for (uint32_t i = 0; i < n; i++) sum += terms[i];
    }
    return sum;
}

static tn_status read_row(const float *logits, uint32_t n_vocab, tn_row *row)
{
    TN_TRY(find_top(logits, n_vocab, row));
    row->log_sum = tn_f64_log(sum_exp(logits, n_vocab, row->max));
    return TN_OK;
}

static double nll_of(const tn_row *row, const float *logits, int32_t target) { return row->log_sum - ((double)logits[target] - row->max); }

// Fills `base_row` as well: sum of p_base * (ln p_base - ln p) with the differences of logits apart from those of the rows' constants.
static tn_status divergence(const float *logits, const tn_row *row, const float *base, uint32_t n_vocab, tn_row *base_row, double *out_kld)
{
    double terms[BLOCK], sum = 0, weighted = 0;
    TN_TRY(find_top(base, n_vocab, base_row));
    for (uint32_t first = 0; first < n_vocab; first += BLOCK) {
        const uint32_t n = n_vocab - first < BLOCK ? n_vocab - first : BLOCK;
        exp_of_block(base + first, n, base_row->max, terms);
        for (uint32_t i = 0; i < n; i++) {
            sum += terms[i];
            weighted += terms[i] * ((double)base[first + i] - (double)logits[first + i]);
        }
    }
    base_row->log_sum = tn_f64_log(sum);
    *out_kld = (weighted / sum) - ((base_row->max - row->max) + (base_row->log_sum - row->log_sum));
    return TN_OK;
}

// Returns the deviation from the mean before, and *out_after that from the mean after: their products make (co)variances.
static double add_moment(tn_moments *m, double n, double x, double *out_after)
{
    const double before = x - m->mean;
    m->mean += before / n;
    *out_after = x - m->mean;
    m->squares += before * *out_after;
    return before;
}

static void add_with_base(tn_eval_stats *stats, double nll, double nll_base, double kld)
{
    const double dp = tn_f64_exp(-nll) - tn_f64_exp(-nll_base), n = (double)stats->n;
    double after, diff_after;
    const double base_before = add_moment(&stats->nll_base, n, nll_base, &after);
    (void)add_moment(&stats->nll_diff, n, nll - nll_base, &diff_after);
    stats->base_diff_products += base_before * diff_after;
    (void)add_moment(&stats->kld, n, kld, &after);
    (void)add_moment(&stats->dp, n, dp, &after);
    (void)add_moment(&stats->dp_squared, n, dp * dp, &after);
    stats->klds[stats->n - 1] = kld;
    stats->dps[stats->n - 1] = dp;
}

static tn_status add_row(tn_eval_stats *stats, const float *logits, const float *base, int32_t target)
{
    tn_row row = {0}, base_row = {0};
    double kld = 0, after;
    TN_TRY(read_row(logits, stats->n_vocab, &row));
    if (base) {
        TN_TRY(divergence(logits, &row, base, stats->n_vocab, &base_row, &kld));
        TN_TRY(tn_grow(&stats->klds, &stats->klds_capacity, (size_t)stats->n + 1, sizeof *stats->klds));
        TN_TRY(tn_grow(&stats->dps, &stats->dps_capacity, (size_t)stats->n + 1, sizeof *stats->dps));
    }
    stats->n++;
    stats->has_base = base != NULL;
    const double nll = nll_of(&row, logits, target);
    (void)add_moment(&stats->nll, (double)stats->n, nll, &after);
    if (!base) return TN_OK;
    stats->n_same_top += row.top == base_row.top;
    add_with_base(stats, nll, nll_of(&base_row, base, target), kld);
    return TN_OK;
}

tn_status tn_eval_stats_add(tn_eval_stats *stats, const float *logits, const float *base, int32_t target)
{
    TN_REQUIRE(stats);
    TN_REQUIRE(logits);
    TN_TRY(check_target(target, stats->n_vocab));
    if (stats->n > 0 && stats->has_base != (base != NULL))
        return tn_fail(TN_INVALID_ARGUMENT, "statistics: rows with and without a base are mixed: give every row a base, or none");
    const tn_float_mode mode = tn_float_mode_enter();
    const tn_status status = add_row(stats, logits, base, target);
    tn_float_mode_leave(mode);
    return status;
}

tn_status tn_eval_logprob(const float *logits, uint32_t n_vocab, int32_t target, double *out_logprob)
{
    TN_REQUIRE(logits);
    TN_REQUIRE(out_logprob);
    *out_logprob = 0;
    if (n_vocab == 0 || n_vocab > INT32_MAX)
        return tn_fail(TN_INVALID_ARGUMENT, "statistics: n_vocab is %u, but must be from 1 to %d", n_vocab, INT32_MAX);
    TN_TRY(check_target(target, n_vocab));
    tn_row row = {0};
    const tn_float_mode mode = tn_float_mode_enter();
    const tn_status status = read_row(logits, n_vocab, &row);
    if (status == TN_OK) *out_logprob = -nll_of(&row, logits, target);
    tn_float_mode_leave(mode);
    return status;
}

static double exp_of(double x) { return x > 0 ? 1.0 / tn_f64_exp(-x) : tn_f64_exp(x); }

// Of a sum of squared (products of) deviations: the variance of the mean.
static double variance_of_mean(double squares, double n) { return n > 1 ? squares / n / (n - 1) : 0; }

static double error_of(double variance) { return variance > 0 ? __builtin_sqrt(variance) : 0; }

static double mean_error(const tn_moments *m, double n) { return error_of(variance_of_mean(m->squares, n)); }

// With a = nll and b = nll_base = a - d: cov(a, b) = var(b) + cov(b, d), and var(P a - B b) = var((P - B) b + P d).
static void summarise_ppl(const tn_eval_stats *stats, tn_eval_summary *out)
{
    const double n = (double)stats->n;
    const double var = stats->nll.squares, base_var = stats->nll_base.squares, cov = base_var + stats->base_diff_products;
    out->ppl_base = exp_of(stats->nll_base.mean);
    out->ppl_base_error = out->ppl_base * mean_error(&stats->nll_base, n);
    out->cor_ln_ppl = var > 0 && base_var > 0 ? cov / (__builtin_sqrt(var) * __builtin_sqrt(base_var)) : 0;
    out->ln_ppl_ratio = stats->nll_diff.mean;
    out->ln_ppl_ratio_error = mean_error(&stats->nll_diff, n);
    out->ppl_ratio = exp_of(out->ln_ppl_ratio);
    out->ppl_ratio_error = out->ppl_ratio * out->ln_ppl_ratio_error;
    out->ppl_diff = out->ppl - out->ppl_base;
    const double squares = (out->ppl_diff * out->ppl_diff * base_var) + (out->ppl * out->ppl * stats->nll_diff.squares) +
                           (2 * out->ppl * out->ppl_diff * stats->base_diff_products);
    out->ppl_diff_error = error_of(variance_of_mean(squares, n));
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Between the two nearest of n sorted values.
static double quantile(const double *sorted, uint64_t n, double fraction)
{
    const double at = fraction * (double)(n - 1);
    const uint64_t below = (uint64_t)at, above = below + 1 < n ? below + 1 : below;
    const double part = at - (double)below;
    return ((1 - part) * sorted[below]) + (part * sorted[above]);
}

static void summarise_means(const tn_eval_stats *stats, tn_eval_summary *out)
{
    const double n = (double)stats->n;
    out->mean_kld = stats->kld.mean;
    out->mean_kld_error = mean_error(&stats->kld, n);
    out->mean_dp = stats->dp.mean;
    out->mean_dp_error = mean_error(&stats->dp, n);
    out->rms_dp = error_of(stats->dp_squared.mean);
    out->rms_dp_error = out->rms_dp > 0 ? 0.5 / out->rms_dp * mean_error(&stats->dp_squared, n) : 0;
    out->same_top = (double)stats->n_same_top / n;
    out->same_top_error = stats->n > 1 ? error_of(out->same_top * (1 - out->same_top) / (n - 1)) : 0;
}

static void put_kld_quantiles(const double *k, uint64_t n, tn_eval_summary *out)
{
    out->max_kld = k[n - 1];
    out->kld_p999 = quantile(k, n, 0.999);
    out->kld_p99 = quantile(k, n, 0.99);
    out->kld_p95 = quantile(k, n, 0.95);
    out->kld_p90 = quantile(k, n, 0.90);
    out->kld_median = quantile(k, n, 0.5);
    out->kld_p10 = quantile(k, n, 0.10);
    out->kld_p05 = quantile(k, n, 0.05);
    out->kld_p01 = quantile(k, n, 0.01);
    out->kld_p001 = quantile(k, n, 0.001);
    out->min_kld = k[0];
}

static void put_dp_quantiles(const double *d, uint64_t n, tn_eval_summary *out)
{
    out->max_dp = d[n - 1];
    out->dp_p999 = quantile(d, n, 0.999);
    out->dp_p99 = quantile(d, n, 0.99);
    out->dp_p95 = quantile(d, n, 0.95);
    out->dp_p90 = quantile(d, n, 0.90);
    out->dp_p75 = quantile(d, n, 0.75);
    out->dp_median = quantile(d, n, 0.5);
    out->dp_p25 = quantile(d, n, 0.25);
    out->dp_p10 = quantile(d, n, 0.10);
    out->dp_p05 = quantile(d, n, 0.05);
    out->dp_p01 = quantile(d, n, 0.01);
    out->dp_p001 = quantile(d, n, 0.001);
    out->min_dp = d[0];
}

static void summarise(const tn_eval_stats *stats, bool with_quantiles, tn_eval_summary *out_summary)
{
    tn_eval_summary out = TN_EVAL_SUMMARY_INIT;
    const tn_float_mode mode = tn_float_mode_enter();
    out.n_scored = stats->n;
    out.has_base = stats->n > 0 && stats->has_base;
    if (stats->n > 0) {
        out.nll = stats->nll.mean;
        out.nll_error = mean_error(&stats->nll, (double)stats->n);
        out.ppl = exp_of(out.nll);
        out.ppl_error = out.ppl * out.nll_error;
    }
    if (out.has_base) {
        summarise_ppl(stats, &out);
        summarise_means(stats, &out);
    }
    if (out.has_base && with_quantiles) { // the order of the values matters to nothing else
        qsort(stats->klds, (size_t)stats->n, sizeof *stats->klds, by_value);
        qsort(stats->dps, (size_t)stats->n, sizeof *stats->dps, by_value);
        put_kld_quantiles(stats->klds, stats->n, &out);
        put_dp_quantiles(stats->dps, stats->n, &out);
    }
    tn_float_mode_leave(mode);
    (void)TN_PARAMS_WRITE(tn_eval_summary, same_top_error, &out, out_summary);
}

void tn_eval_stats_summarise(const tn_eval_stats *stats, tn_eval_summary *out_summary) { summarise(stats, true, out_summary); }

void tn_eval_stats_summarise_means(const tn_eval_stats *stats, tn_eval_summary *out_summary) { summarise(stats, false, out_summary); }
