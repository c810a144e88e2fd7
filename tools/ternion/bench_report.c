// What was measured, as one list of fields that makes csv, json, jsonl and sql; the table has its own columns.
#include "bench_report.h"

#include "bench_table.h"
#include "build_info.h"
#include "json_out.h"
#include "output.h"
#include "report.h"
#include "units.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static tn_cli_bench_statistics statistics_of(const double *values, size_t n)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) sum += values[i];
    double mean = n ? sum / (double)n : 0;
    for (size_t i = 0; i < n; i++) squares += (values[i] - mean) * (values[i] - mean);
    return (tn_cli_bench_statistics){mean, n > 1 ? sqrt(squares / (double)(n - 1)) : 0};
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double tn_cli_bench_median(double *values, size_t n)
{
    qsort(values, n, sizeof *values, by_size);
    return n ? (values[(n - 1) / 2] + values[n / 2]) / 2 : 0;
}

static bool measure(const tn_cli_bench_report *report, const tn_cli_bench_result *r, tn_cli_bench_measured *m)
{
    double *times = malloc((r->n_samples + 1) * sizeof *times);
    m->rates = malloc((r->n_samples + 1) * sizeof *m->rates);
    m->work = tn_cli_work_of(&r->costs, &r->test);
    m->memory_limit = r->limited ? tn_cli_limits_best(report->limits, TN_LIMIT_MEMORY_READ, r->test.n_threads) : 0;
    m->int8_limit = r->limited ? tn_cli_limits_best(report->limits, TN_LIMIT_INT8_DOT, r->test.n_threads) : 0;
    if (times && m->rates) {
        for (size_t i = 0; i < r->n_samples; i++) {
            times[i] = (double)r->samples_ns[i];
            m->rates[i] = tn_cli_rate((uint64_t)r->test.n_pl * (r->test.n_prompt + r->test.n_gen), r->samples_ns[i]);
        }
        m->ns = statistics_of(times, r->n_samples);
        m->ts = statistics_of(m->rates, r->n_samples);
        m->median_ns = tn_cli_bench_median(times, r->n_samples);
        m->shares = tn_cli_shares_of(&m->work, m->median_ns, m->memory_limit, m->int8_limit);
    }
    bool good = times && m->rates;
    free(times);
    return good;
}

void tn_cli_bench_model_type(const tn_cli_engine *engine, char *text, size_t capacity)
{
    char count[24];
    tn_cli_format_count((double)engine->info.n_params, count, sizeof count);
    snprintf(text, capacity, "%s %s %s", engine->info.architecture, count, engine->info.type);
}

void tn_cli_bench_put_build(json_t *fields, const tn_cli_engine *engine, const tn_cli_bench_result *result)
{
    char type[128];
    tn_cli_bench_model_type(engine, type, sizeof type);
    json_object_set_new(fields, "build_commit", json_string(TN_BUILD_COMMIT));
    json_object_set_new(fields, "build_number", json_integer(TN_BUILD_NUMBER));
    json_object_set_new(fields, "cpu_info", json_string(result->cpu_info));
    json_object_set_new(fields, "gpu_info", json_string(result->gpu_info));
    json_object_set_new(fields, "backends", json_string(result->backends));
    json_object_set_new(fields, "model_filename", tn_cli_json_text(engine->path, strlen(engine->path)));
    json_object_set_new(fields, "model_type", json_string(type));
    json_object_set_new(fields, "model_size", json_integer((json_int_t)engine->info.file_bytes));
    json_object_set_new(fields, "model_n_params", json_integer((json_int_t)engine->info.n_params));
}

static json_t *real_or_null(double value) { return value >= 0 ? json_real(value) : json_null(); }

// What the memory and the int8 units had to do, and what share of their limits that is.
static void add_shares(json_t *o, const tn_cli_bench_result *r, const tn_cli_bench_measured *m)
{
    const double seconds = m->median_ns * 1e-9, tokens = m->work.n_tokens;
    json_object_set_new(o, "n_pl", json_integer(r->test.n_pl));
    json_object_set_new(o, "median_ns", json_integer((json_int_t)llround(m->median_ns)));
    json_object_set_new(o, "median_ts", json_real(seconds > 0 ? tokens / seconds : 0));
    json_object_set_new(o, "isa", json_string(r->isa));
    json_object_set_new(o, "ternary_layout", json_string(r->costs.ternary_layout));
    json_object_set_new(o, "head_layout", json_string(r->costs.head_layout));
    json_object_set_new(o, "read_bytes_per_token", json_real(tokens > 0 ? m->work.read_bytes / tokens : 0));
    json_object_set_new(o, "int8_ops_per_token", json_real(tokens > 0 ? m->work.int8_ops / tokens : 0));
    json_object_set_new(o, "read_bytes_per_s", json_real(seconds > 0 ? m->work.read_bytes / seconds : 0));
    json_object_set_new(o, "int8_ops_per_s", json_real(seconds > 0 ? m->work.int8_ops / seconds : 0));
    json_object_set_new(o, "memory_limit_bytes_per_s", m->memory_limit > 0 ? json_real(m->memory_limit) : json_null());
    json_object_set_new(o, "int8_limit_ops_per_s", m->int8_limit > 0 ? json_real(m->int8_limit) : json_null());
    json_object_set_new(o, "memory_share", real_or_null(m->shares.memory));
    json_object_set_new(o, "int8_share", real_or_null(m->shares.int8));
    json_object_set_new(o, "roofline_share", real_or_null(m->shares.roofline));
}

// Whether replies were computed in two stages, and what of each row of logits was computed exactly.
static void add_two_stage(json_t *o, const tn_cli_bench_report *report, const tn_cli_bench_result *r)
{
    const tn_two_stage_info *t = &r->two_stage;
    const char *given = tn_cli_text(report->options, TN_OPT_TWO_STAGE);
    json_object_set_new(o, "two_stage", json_string(given ? given : "off"));
    json_object_set_new(o, "two_stage_bytes", json_integer((json_int_t)t->bytes));
    json_object_set_new(o, "two_stage_rows", json_integer((json_int_t)t->n_rows));
    json_object_set_new(o, "two_stage_kept_per_row", json_real(t->n_rows ? (double)t->n_kept / (double)t->n_rows : 0));
    json_object_set_new(o, "two_stage_whole_rows", json_integer((json_int_t)t->n_whole));
}

json_t *tn_cli_bench_given_options(const tn_cli_options *options)
{
    json_t *o = json_object();
    for (int i = 0; i < TN_OPT_COUNT_; i++) {
        char name[48];
        const tn_cli_option *option = &tn_cli_option_table[i];
        const tn_cli_value *value = &options->values[i];
        if (value->count == 0) continue;
        tn_cli_option_name(option, 0, name, sizeof name);
        if (option->argument[0] == '\0') {
            json_object_set_new(o, name, json_true());
        } else if (value->text) {
            json_object_set_new(o, name, tn_cli_json_text(value->text, strlen(value->text)));
        } else {
            json_object_set_new(o, name, json_integer((json_int_t)value->integer));
        }
    }
    return o;
}

// Fields that are lists or objects, and so in JSON only.
static void add_nested(json_t *o, const tn_cli_bench_report *report, const tn_cli_bench_result *r, const tn_cli_bench_measured *m)
{
    json_t *ns = json_array(), *ts = json_array();
    for (size_t i = 0; i < r->n_samples; i++) {
        json_array_append_new(ns, json_integer((json_int_t)r->samples_ns[i]));
        json_array_append_new(ts, json_real(m->rates[i]));
    }
    json_object_set_new(o, "samples_ns", ns);
    json_object_set_new(o, "samples_ts", ts);
    json_object_set_new(o, "limits", r->limited ? tn_cli_limits_json(report->limits) : json_null());
    json_object_set(o, "kernels", r->kernels);
    json_object_set_new(o, "options", tn_cli_bench_given_options(report->options));
    if (r->profile) json_object_set_new(o, "profile", tn_cli_profile_json(r->profile));
}

// The fields of llama-bench that exist here, in its order, then those of ternion. `out_n_flat`: those before lists and objects.
static json_t *result_fields(const tn_cli_bench_report *report, const tn_cli_bench_result *r, const tn_cli_bench_measured *m,
                             size_t *out_n_flat)
{
    const tn_cli_engine *e = report->engine;
    const tn_cli_bench_test *t = &r->test;
    json_t *o = json_object();
    tn_cli_bench_put_build(o, e, r);
    json_object_set_new(o, "n_batch", json_integer(t->n_batch));
    json_object_set_new(o, "n_ubatch", json_integer(t->n_ubatch));
    json_object_set_new(o, "n_threads", json_integer(t->n_threads));
    json_object_set_new(o, "n_gpu_layers", json_integer(r->n_gpu_layers));
    json_object_set_new(o, "devices", json_string(r->devices));
    json_object_set_new(o, "n_prompt", json_integer(t->n_prompt));
    json_object_set_new(o, "n_gen", json_integer(t->n_gen));
    json_object_set_new(o, "n_depth", json_integer(t->n_depth));
    json_object_set_new(o, "test_time", json_string(r->test_time));
    json_object_set_new(o, "avg_ns", json_integer((json_int_t)llround(m->ns.mean)));
    json_object_set_new(o, "stddev_ns", json_integer((json_int_t)llround(m->ns.deviation)));
    json_object_set_new(o, "avg_ts", json_real(m->ts.mean));
    json_object_set_new(o, "stddev_ts", json_real(m->ts.deviation));
    add_shares(o, r, m);
    add_two_stage(o, report, r);
    json_object_set_new(o, "numerics", json_string(tn_cli_text(report->options, TN_OPT_NUMERICS)));
    *out_n_flat = json_object_size(o);
    add_nested(o, report, r, m);
    return o;
}

int tn_cli_bench_report_begin(tn_cli_bench_report *report)
{
    tn_cli_bench_table_begin(report);
    return tn_cli_bench_outputs_begin(report->outputs);
}

int tn_cli_bench_report_add(tn_cli_bench_report *report, const tn_cli_bench_result *result)
{
    tn_cli_bench_measured m = {.rates = NULL};
    size_t n_flat = 0;
    int rc = TN_CLI_OK;
    if (!measure(report, result, &m)) {
        rc = tn_cli_out_of_memory();
    } else {
        json_t *fields = result_fields(report, result, &m, &n_flat);
        rc = tn_cli_bench_outputs_add(report->outputs, fields, n_flat);
        if (rc == 0 && !tn_cli_bench_table_add(report, result, &m)) rc = tn_cli_out_of_memory();
        if (rc == 0) rc = tn_cli_bench_outputs_flush(report->outputs);
        json_decref(fields);
    }
    free(m.rates);
    return rc;
}

int tn_cli_bench_report_end(tn_cli_bench_report *report, bool complete)
{
    if (complete && !tn_cli_bench_table_end(report)) return tn_cli_out_of_memory();
    return tn_cli_bench_outputs_end(report->outputs);
}

void tn_cli_bench_report_deinit(tn_cli_bench_report *report)
{
    if (report->profiles) fclose(report->profiles);
    free(report->profiles_text);
}
