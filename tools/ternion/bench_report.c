// One list of fields makes csv, json and jsonl; the table has its own columns.
#include "bench_report.h"

#include "build_info.h"
#include "json_out.h"
#include "output.h"
#include "report.h"
#include "units.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct statistics {
    double mean, deviation;
} statistics;

static statistics statistics_of(const double *values, size_t n)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) sum += values[i];
    double mean = n ? sum / (double)n : 0;
    for (size_t i = 0; i < n; i++) squares += (values[i] - mean) * (values[i] - mean);
    return (statistics){mean, n > 1 ? sqrt(squares / (double)(n - 1)) : 0};
}

// Mean and deviation of the times and of the rates, the median of the times, and the rates themselves, which the caller frees.
typedef struct measured {
    statistics ns, ts;
    double median_ns;
    double *rates;
    tn_cli_work work;
    double memory_limit, int8_limit; // 0: unknown
    tn_cli_shares shares;            // at the median
} measured;

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool measure(const tn_cli_bench_report *report, const tn_cli_bench_result *r, measured *m)
{
    double *times = malloc((r->n_samples + 1) * sizeof *times);
    m->rates = malloc((r->n_samples + 1) * sizeof *m->rates);
    m->work = tn_cli_work_of(&r->costs, &r->test);
    m->memory_limit = tn_cli_limits_best(report->limits, TN_LIMIT_MEMORY_READ, r->test.n_threads);
    m->int8_limit = tn_cli_limits_best(report->limits, TN_LIMIT_INT8_DOT, r->test.n_threads);
    if (times && m->rates) {
        for (size_t i = 0; i < r->n_samples; i++) {
            times[i] = (double)r->samples_ns[i];
            m->rates[i] = tn_cli_rate((uint64_t)r->test.n_pl * (r->test.n_prompt + r->test.n_gen), r->samples_ns[i]);
        }
        m->ns = statistics_of(times, r->n_samples);
        m->ts = statistics_of(m->rates, r->n_samples);
        qsort(times, r->n_samples, sizeof *times, by_size);
        if (r->n_samples) m->median_ns = (times[(r->n_samples - 1) / 2] + times[r->n_samples / 2]) / 2;
        m->shares = tn_cli_shares_of(&m->work, m->median_ns, m->memory_limit, m->int8_limit);
    }
    bool good = times && m->rates;
    free(times);
    return good;
}

static void model_type(const tn_cli_engine *engine, char *text, size_t capacity)
{
    char count[24];
    tn_cli_format_count((double)engine->info.n_params, count, sizeof count);
    snprintf(text, capacity, "%s %s %s", engine->info.architecture, count, engine->info.type);
}

static json_t *real_or_null(double value) { return value >= 0 ? json_real(value) : json_null(); }

// What the memory and the int8 units had to do, and what share of their limits that is.
static void add_shares(json_t *o, const tn_cli_bench_result *r, const measured *m)
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

// The flags of the run as an object of their names and values; true for those without a value.
static json_t *given_options(const tn_cli_options *options)
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
static void add_nested(json_t *o, const tn_cli_bench_report *report, const tn_cli_bench_result *r, const measured *m)
{
    json_t *ns = json_array(), *ts = json_array();
    for (size_t i = 0; i < r->n_samples; i++) {
        json_array_append_new(ns, json_integer((json_int_t)r->samples_ns[i]));
        json_array_append_new(ts, json_real(m->rates[i]));
    }
    json_object_set_new(o, "samples_ns", ns);
    json_object_set_new(o, "samples_ts", ts);
    json_object_set_new(o, "limits", report->limits->measured ? tn_cli_limits_json(report->limits) : json_null());
    json_object_set(o, "kernels", r->kernels);
    json_object_set_new(o, "options", given_options(report->options));
    if (r->profile) json_object_set_new(o, "profile", tn_cli_profile_json(r->profile));
}

// The fields of llama-bench that exist here, in its order, then those of ternion.
static json_t *result_fields(const tn_cli_bench_report *report, const tn_cli_bench_result *r, const measured *m, bool nested)
{
    char type[128];
    const tn_cli_engine *e = report->engine;
    const tn_cli_bench_test *t = &r->test;
    model_type(e, type, sizeof type);
    json_t *o = json_object();
    json_object_set_new(o, "build_commit", json_string(TN_BUILD_COMMIT));
    json_object_set_new(o, "build_number", json_integer(TN_BUILD_NUMBER));
    json_object_set_new(o, "cpu_info", json_string(r->cpu_info));
    json_object_set_new(o, "gpu_info", json_string(r->gpu_info));
    json_object_set_new(o, "backends", json_string(r->backends));
    json_object_set_new(o, "model_filename", tn_cli_json_text(e->path, strlen(e->path)));
    json_object_set_new(o, "model_type", json_string(type));
    json_object_set_new(o, "model_size", json_integer((json_int_t)e->info.file_bytes));
    json_object_set_new(o, "model_n_params", json_integer((json_int_t)e->info.n_params));
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
    if (nested) add_nested(o, report, r, m);
    return o;
}

static void print_csv_value(const json_t *value)
{
    putchar('"');
    if (json_is_string(value)) {
        for (const char *c = json_string_value(value); *c; c++) {
            if (*c == '"') putchar('"');
            putchar(*c);
        }
    } else if (json_is_integer(value)) {
        printf("%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else if (json_is_real(value)) {
        printf("%f", json_real_value(value));
    }
    putchar('"');
}

static void print_csv(const tn_cli_bench_report *report, json_t *fields)
{
    const char *key = NULL, *separator = "";
    json_t *value = NULL;
    if (report->n_results == 0) {
        json_object_foreach(fields, key, value)
        {
            printf("%s%s", separator, key);
            separator = ",";
        }
        putchar('\n');
    }
    separator = "";
    json_object_foreach(fields, key, value)
    {
        fputs(separator, stdout);
        print_csv_value(value);
        separator = ",";
    }
    putchar('\n');
}

static void test_name(const tn_cli_bench_test *t, char *text, size_t capacity)
{
    char depth[48] = "";
    if (t->n_depth) snprintf(depth, sizeof depth, " @ d%u", t->n_depth);
    if (t->n_pl > 1) snprintf(depth + strlen(depth), sizeof depth - strlen(depth), " pl%u", t->n_pl);
    if (t->n_gen == 0)
        snprintf(text, capacity, "pp%u%s", t->n_prompt, depth);
    else if (t->n_prompt == 0)
        snprintf(text, capacity, "tg%u%s", t->n_gen, depth);
    else
        snprintf(text, capacity, "pp%u+tg%u%s", t->n_prompt, t->n_gen, depth);
}

static void print_header_row(const tn_cli_bench_columns *c)
{
    printf("| %-30s | %10s | %10s | %-10s |", "model", "size", "params", "backend");
    if (c->gpu_layers) printf(" %3s |", "ngl");
    printf(" %7s |", "threads");
    if (c->batch) printf(" %7s |", "n_batch");
    if (c->ubatch) printf(" %8s |", "n_ubatch");
    if (c->devices) printf(" %-12s |", "dev");
    printf(" %15s | %20s |", "test", "t/s");
    if (c->limits) printf(" %6s | %6s | %6s |", "GB/s", "% mem", "% int8");
    if (c->roofline) printf(" %6s |", "% roof");
    if (c->two_stage) printf(" %9s |", "2 stages");
    printf("\n| %.30s | %.9s: | %.9s: | %.10s |", "------------------------------", "---------", "---------", "----------");
    if (c->gpu_layers) printf(" --: |");
    printf(" ------: |");
    if (c->batch) printf(" ------: |");
    if (c->ubatch) printf(" -------: |");
    if (c->devices) printf(" ------------ |");
    printf(" %.14s: | %.19s: |", "--------------", "-------------------");
    if (c->limits) printf(" -----: | -----: | -----: |");
    if (c->roofline) printf(" -----: |");
    if (c->two_stage) printf(" --------: |");
    printf("\n");
}

// Logits of a row that the second stage computed; nothing where there was none.
static void print_kept(const tn_two_stage_info *t)
{
    if (t->n_rows) {
        printf(" %9.0f |", (double)t->n_kept / (double)t->n_rows);
    } else {
        printf(" %9s |", "");
    }
}

// A share as percent; nothing where it is unknown.
static void print_share(double share)
{
    if (share < 0) {
        printf(" %6s |", "");
    } else {
        printf(" %6.1f |", 100 * share);
    }
}

static void print_row(const tn_cli_bench_report *report, const tn_cli_bench_result *r, const measured *m)
{
    char type[128], size[24], params[24], test[64], speed[64], layers[24];
    const tn_cli_bench_columns *c = &report->columns;
    model_type(report->engine, type, sizeof type);
    tn_cli_format_bytes(report->engine->info.file_bytes, size, sizeof size);
    tn_cli_format_count((double)report->engine->info.n_params, params, sizeof params);
    test_name(&r->test, test, sizeof test);
    snprintf(speed, sizeof speed, "%.2f ± %.2f", m->ts.mean, m->ts.deviation);
    snprintf(layers, sizeof layers, "%lld", (long long)r->n_gpu_layers);
    printf("| %-30s | %10s | %10s | %-10s |", type, size, params, r->backends);
    if (c->gpu_layers) printf(" %3s |", r->n_gpu_layers == -2 ? "all" : layers);
    printf(" %7u |", r->test.n_threads);
    if (c->batch) printf(" %7u |", r->test.n_batch);
    if (c->ubatch) printf(" %8u |", r->test.n_ubatch);
    if (c->devices) printf(" %-12s |", r->devices);
    printf(" %15s | %21s |", test, speed); // the sign takes two bytes and one column
    if (c->limits) {
        printf(" %6.2f |", m->median_ns > 0 ? m->work.read_bytes / m->median_ns : 0);
        print_share(m->shares.memory);
        print_share(m->shares.int8);
    }
    if (c->roofline) print_share(m->shares.roofline);
    if (c->two_stage) print_kept(&r->two_stage);
    printf("\n");
}

// A profile's table waits until that of the results is complete.
static bool keep_profile(tn_cli_bench_report *report, const tn_cli_bench_result *r, const measured *m)
{
    char test[64], title[96];
    if (!report->profiles) report->profiles = open_memstream(&report->profiles_text, &report->profiles_size);
    if (!report->profiles) return false;
    test_name(&r->test, test, sizeof test);
    snprintf(title, sizeof title, "%s on %u thread%s", test, r->test.n_threads, r->test.n_threads == 1 ? "" : "s");
    tn_cli_profile_print(r->profile, title, m->work.n_tokens * (double)r->n_samples, report->layers, report->profiles);
    return true;
}

int tn_cli_bench_report_begin(tn_cli_bench_report *report)
{
    if (strcmp(report->format, "md") == 0) print_header_row(&report->columns);
    if (strcmp(report->format, "json") == 0) printf("[\n");
    return tn_cli_print("", 0);
}

int tn_cli_bench_report_add(tn_cli_bench_report *report, const tn_cli_bench_result *result)
{
    measured m = {.rates = NULL};
    bool csv = strcmp(report->format, "csv") == 0, lines = strcmp(report->format, "jsonl") == 0;
    if (!measure(report, result, &m)) {
        free(m.rates);
        return tn_cli_out_of_memory();
    }
    json_t *fields = result_fields(report, result, &m, !csv);
    bool complete = fields && tn_cli_json_complete();
    if (!complete) {
        free(m.rates);
        json_decref(fields);
        return tn_cli_out_of_memory();
    }
    if (strcmp(report->format, "md") == 0) {
        print_row(report, result, &m);
        if (result->profile) complete = keep_profile(report, result, &m);
    } else if (csv) {
        print_csv(report, fields);
    } else {
        char *text = tn_cli_json_dump(fields, lines ? 0 : JSON_INDENT(2));
        if (text) printf("%s%s%s", !lines && report->n_results ? ",\n" : "", text, lines ? "\n" : "");
        complete = text != NULL;
        free(text);
    }
    free(m.rates);
    json_decref(fields);
    report->n_results++;
    return complete ? tn_cli_print("", 0) : tn_cli_out_of_memory();
}

int tn_cli_bench_report_end(tn_cli_bench_report *report)
{
    if (strcmp(report->format, "json") == 0) printf("\n]\n");
    if (strcmp(report->format, "md") == 0) {
        printf("\n");
        tn_cli_limits_print(report->limits);
        printf("build: %s (%d)\n", TN_BUILD_COMMIT, TN_BUILD_NUMBER);
    }
    if (report->profiles) {
        if (fflush(report->profiles) != 0) return tn_cli_out_of_memory();
        return tn_cli_print(report->profiles_text, report->profiles_size);
    }
    return tn_cli_print("", 0);
}

void tn_cli_bench_report_deinit(tn_cli_bench_report *report)
{
    if (report->profiles) fclose(report->profiles);
    free(report->profiles_text);
}
