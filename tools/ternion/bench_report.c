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

// Mean and deviation of the times and of the rates, and the rates themselves, which the caller frees.
typedef struct measured {
    statistics ns, ts;
    double *rates;
} measured;

static bool measure(const tn_cli_bench_result *r, measured *m)
{
    double *times = malloc((r->n_samples + 1) * sizeof *times);
    m->rates = malloc((r->n_samples + 1) * sizeof *m->rates);
    if (times && m->rates) {
        for (size_t i = 0; i < r->n_samples; i++) {
            times[i] = (double)r->samples_ns[i];
            m->rates[i] = tn_cli_rate(r->test.n_prompt + r->test.n_gen, r->samples_ns[i]);
        }
        m->ns = statistics_of(times, r->n_samples);
        m->ts = statistics_of(m->rates, r->n_samples);
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

// The fields of llama-bench that exist here, in its order.
static json_t *result_fields(const tn_cli_bench_report *report, const tn_cli_bench_result *r, const measured *m, bool with_samples)
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
    if (!with_samples) return o;
    json_t *ns = json_array(), *ts = json_array();
    for (size_t i = 0; i < r->n_samples; i++) {
        json_array_append_new(ns, json_integer((json_int_t)r->samples_ns[i]));
        json_array_append_new(ts, json_real(m->rates[i]));
    }
    json_object_set_new(o, "samples_ns", ns);
    json_object_set_new(o, "samples_ts", ts);
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
    } else {
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
    char depth[24] = "";
    if (t->n_depth) snprintf(depth, sizeof depth, " @ d%u", t->n_depth);
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
    printf(" %15s | %20s |\n| %.30s | %.9s: | %.9s: | %.10s |", "test", "t/s", "------------------------------", "---------", "---------",
           "----------");
    if (c->gpu_layers) printf(" --: |");
    printf(" ------: |");
    if (c->batch) printf(" ------: |");
    if (c->ubatch) printf(" -------: |");
    if (c->devices) printf(" ------------ |");
    printf(" %.14s: | %.19s: |\n", "--------------", "-------------------");
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
    printf(" %15s | %21s |\n", test, speed); // the sign takes two bytes and one column
}

int tn_cli_bench_report_begin(tn_cli_bench_report *report)
{
    if (strcmp(report->format, "md") == 0) print_header_row(&report->columns);
    if (strcmp(report->format, "json") == 0) printf("[\n");
    return tn_cli_print("", 0);
}

int tn_cli_bench_report_add(tn_cli_bench_report *report, const tn_cli_bench_result *result)
{
    measured m = {{0, 0}, {0, 0}, NULL};
    bool csv = strcmp(report->format, "csv") == 0, lines = strcmp(report->format, "jsonl") == 0;
    if (!measure(result, &m)) {
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
    if (strcmp(report->format, "md") == 0) printf("\nbuild: %s (%d)\n", TN_BUILD_COMMIT, TN_BUILD_NUMBER);
    return tn_cli_print("", 0);
}
