// Lines are byte for byte those of llama-perplexity, which scripts read; widths and spelling are its own.
#include "eval_print.h"

#include "output.h"
#include "report.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct text_buffer {
    char text[4096];
    size_t n;
} text_buffer;

static void put(text_buffer *out, const char *fmt, ...) TN_PRINTF(2, 3);
static void put(text_buffer *out, const char *fmt, ...)
{
    va_list arguments;
    va_start(arguments, fmt);
    const int n = vsnprintf(out->text + out->n, sizeof out->text - out->n, fmt, arguments);
    va_end(arguments);
    if (n > 0) out->n += (size_t)n;
    if (out->n >= sizeof out->text) out->n = sizeof out->text - 1;
}

int tn_cli_eval_print_window(const tn_eval_summary *s, uint64_t number)
{
    text_buffer out = {.n = 0};
    if (number == 1) {
        put(&out, "\nchunk             PPL               ln(PPL(Q)/PPL(base))          KL Divergence              Δp RMS            "
                  "Same top p\n");
    }
    put(&out, "%4" PRIu64, number);
    put(&out, "    %9.4lf ± %9.4lf", s->ppl, s->ppl_error);
    put(&out, "    %10.5lf ± %10.5lf", s->ln_ppl_ratio, s->ln_ppl_ratio_error);
    put(&out, "    %10.5lf ± %10.5lf", s->mean_kld, s->mean_kld_error);
    put(&out, "    %6.3lf ± %6.3lf %%", 100.0 * s->rms_dp, 100.0 * s->rms_dp_error);
    put(&out, "    %6.3lf ± %6.3lf %%\n", 100.0 * s->same_top, 100.0 * s->same_top_error);
    return tn_cli_print(out.text, out.n);
}

static void put_ppl(text_buffer *out, const tn_eval_summary *s)
{
    put(out, "====== Perplexity statistics ======\n");
    put(out, "Mean PPL(Q)                   : %10.6lf ± %10.6lf\n", s->ppl, s->ppl_error);
    put(out, "Mean PPL(base)                : %10.6lf ± %10.6lf\n", s->ppl_base, s->ppl_base_error);
    put(out, "Cor(ln(PPL(Q)), ln(PPL(base))): %6.2lf%%\n", 100.0 * s->cor_ln_ppl);
    put(out, "Mean ln(PPL(Q)/PPL(base))     : %10.6lf ± %10.6lf\n", s->ln_ppl_ratio, s->ln_ppl_ratio_error);
    put(out, "Mean PPL(Q)/PPL(base)         : %10.6lf ± %10.6lf\n", s->ppl_ratio, s->ppl_ratio_error);
    put(out, "Mean PPL(Q)-PPL(base)         : %10.6lf ± %10.6lf\n", s->ppl_diff, s->ppl_diff_error);
}

static void put_kld(text_buffer *out, const tn_eval_summary *s)
{
    put(out, "\n====== KL divergence statistics ======\n");
    put(out, "Mean    KLD: %10.6lf ± %10.6lf\n", s->mean_kld, s->mean_kld_error);
    put(out, "Maximum KLD: %10.6f\n", s->max_kld);
    put(out, "99.9%%   KLD: %10.6f\n", s->kld_p999);
    put(out, "99.0%%   KLD: %10.6f\n", s->kld_p99);
    put(out, "95.0%%   KLD: %10.6f\n", s->kld_p95);
    put(out, "90.0%%   KLD: %10.6f\n", s->kld_p90);
    put(out, "Median  KLD: %10.6f\n", s->kld_median);
    put(out, "10.0%%   KLD: %10.6f\n", s->kld_p10);
    put(out, " 5.0%%   KLD: %10.6f\n", s->kld_p05);
    put(out, " 1.0%%   KLD: %10.6f\n", s->kld_p01);
    put(out, " 0.1%%   KLD: %10.6f\n", s->kld_p001);
    put(out, "Minimum KLD: %10.6f\n", s->min_kld);
}

static void put_dp(text_buffer *out, const tn_eval_summary *s)
{
    put(out, "\n====== Token probability statistics ======\n");
    put(out, "Mean    Δp: %6.3lf ± %5.3lf %%\n", 100.0 * s->mean_dp, 100.0 * s->mean_dp_error);
    put(out, "Maximum Δp: %6.3lf%%\n", 100.0 * s->max_dp);
    put(out, "99.9%%   Δp: %6.3lf%%\n", 100.0 * s->dp_p999);
    put(out, "99.0%%   Δp: %6.3lf%%\n", 100.0 * s->dp_p99);
    put(out, "95.0%%   Δp: %6.3lf%%\n", 100.0 * s->dp_p95);
    put(out, "90.0%%   Δp: %6.3lf%%\n", 100.0 * s->dp_p90);
    put(out, "75.0%%   Δp: %6.3lf%%\n", 100.0 * s->dp_p75);
    put(out, "Median  Δp: %6.3lf%%\n", 100.0 * s->dp_median);
    put(out, "25.0%%   Δp: %6.3lf%%\n", 100.0 * s->dp_p25);
    put(out, "10.0%%   Δp: %6.3lf%%\n", 100.0 * s->dp_p10);
    put(out, " 5.0%%   Δp: %6.3lf%%\n", 100.0 * s->dp_p05);
    put(out, " 1.0%%   Δp: %6.3lf%%\n", 100.0 * s->dp_p01);
    put(out, " 0.1%%   Δp: %6.3lf%%\n", 100.0 * s->dp_p001);
    put(out, "Minimum Δp: %6.3lf%%\n", 100.0 * s->min_dp);
    put(out, "RMS Δp    : %6.3lf ± %5.3lf %%\n", 100.0 * s->rms_dp, 100.0 * s->rms_dp_error);
    put(out, "Same top p: %6.3lf ± %5.3lf %%\n", 100.0 * s->same_top, 100.0 * s->same_top_error);
}

int tn_cli_eval_print_blocks(const tn_eval_summary *summary)
{
    text_buffer out = {.n = 0};
    put(&out, "\n");
    put_ppl(&out, summary);
    put_kld(&out, summary);
    put_dp(&out, summary);
    return tn_cli_print(out.text, out.n);
}

typedef struct named_field {
    const char *name;
    size_t offset;
} named_field;

#define FIELD(name)                                                                                                                        \
    {                                                                                                                                      \
#name, offsetof(tn_eval_summary, name)                                                                                             \
    }
// clang-format off
static const named_field own_fields[] = {FIELD(nll), FIELD(nll_error), FIELD(ppl), FIELD(ppl_error)};
static const named_field base_fields[] = {
    FIELD(ppl_base), FIELD(ppl_base_error), FIELD(cor_ln_ppl), FIELD(ln_ppl_ratio), FIELD(ln_ppl_ratio_error), FIELD(ppl_ratio),
    FIELD(ppl_ratio_error), FIELD(ppl_diff), FIELD(ppl_diff_error),
    FIELD(mean_kld), FIELD(mean_kld_error), FIELD(max_kld), FIELD(kld_p999), FIELD(kld_p99), FIELD(kld_p95), FIELD(kld_p90),
    FIELD(kld_median), FIELD(kld_p10), FIELD(kld_p05), FIELD(kld_p01), FIELD(kld_p001), FIELD(min_kld),
    FIELD(mean_dp), FIELD(mean_dp_error), FIELD(max_dp), FIELD(dp_p999), FIELD(dp_p99), FIELD(dp_p95), FIELD(dp_p90), FIELD(dp_p75),
    FIELD(dp_median), FIELD(dp_p25), FIELD(dp_p10), FIELD(dp_p05), FIELD(dp_p01), FIELD(dp_p001), FIELD(min_dp),
    FIELD(rms_dp), FIELD(rms_dp_error), FIELD(same_top), FIELD(same_top_error)};
// clang-format on

static void add_fields(json_t *object, const tn_eval_summary *summary, const named_field *fields, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double value;
        memcpy(&value, (const char *)summary + fields[i].offset, sizeof value);
        json_object_set_new(object, fields[i].name, json_real(value));
    }
}

json_t *tn_cli_eval_json_summary(const tn_eval_summary *summary)
{
    json_t *object = json_pack("{s:I}", "n_scored", (json_int_t)summary->n_scored);
    if (!object) return NULL;
    add_fields(object, summary, own_fields, sizeof own_fields / sizeof *own_fields);
    if (summary->has_base) add_fields(object, summary, base_fields, sizeof base_fields / sizeof *base_fields);
    return object;
}
