// ternion bench's table in llama-bench's columns, with what else was asked for to their right, and profiles below it.
#include "bench_table.h"

#include "build_info.h"
#include "units.h"

#include <stdlib.h>
#include <string.h>

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

static void print_header_row(FILE *out, const tn_cli_bench_columns *c)
{
    fprintf(out, "| %-30s | %10s | %10s | %-10s |", "model", "size", "params", "backend");
    if (c->gpu_layers) fprintf(out, " %3s |", "ngl");
    fprintf(out, " %7s |", "threads");
    if (c->batch) fprintf(out, " %7s |", "n_batch");
    if (c->ubatch) fprintf(out, " %8s |", "n_ubatch");
    if (c->devices) fprintf(out, " %-12s |", "dev");
    fprintf(out, " %15s | %20s |", "test", "t/s");
    if (c->reads) fprintf(out, " %6s |", "GB/s");
    if (c->memory_limit) fprintf(out, " %6s |", "% mem");
    if (c->int8_limit) fprintf(out, " %6s |", "% int8");
    if (c->roofline) fprintf(out, " %6s |", "% roof");
    if (c->two_stage) fprintf(out, " %9s |", "2 stages");
    if (c->numerics) fprintf(out, " numerics |");
    fprintf(out, "\n| %.30s | %.9s: | %.9s: | %.10s |", "------------------------------", "---------", "---------", "----------");
    if (c->gpu_layers) fprintf(out, " --: |");
    fprintf(out, " ------: |");
    if (c->batch) fprintf(out, " ------: |");
    if (c->ubatch) fprintf(out, " -------: |");
    if (c->devices) fprintf(out, " ------------ |");
    fprintf(out, " %.14s: | %.19s: |", "--------------", "-------------------");
    if (c->reads) fprintf(out, " -----: |");
    if (c->memory_limit) fprintf(out, " -----: |");
    if (c->int8_limit) fprintf(out, " -----: |");
    if (c->roofline) fprintf(out, " -----: |");
    if (c->two_stage) fprintf(out, " --------: |");
    if (c->numerics) fprintf(out, " -------- |");
    fprintf(out, "\n");
}

// Logits of a row that the second stage computed; nothing where there was none.
static void print_kept(FILE *out, const tn_two_stage_info *t)
{
    if (t->n_rows) {
        fprintf(out, " %9.0f |", (double)t->n_kept / (double)t->n_rows);
    } else {
        fprintf(out, " %9s |", "");
    }
}

// A share as percent; nothing where it is unknown.
static void print_share(FILE *out, double share)
{
    if (share < 0) {
        fprintf(out, " %6s |", "");
    } else {
        fprintf(out, " %6.1f |", 100 * share);
    }
}

static void print_row(FILE *out, const tn_cli_bench_report *report, const tn_cli_bench_result *r, const tn_cli_bench_measured *m)
{
    char type[128], size[24], params[24], test[64], speed[64], layers[24];
    const tn_cli_bench_columns *c = &report->columns;
    tn_cli_bench_model_type(report->engine, type, sizeof type);
    tn_cli_format_bytes(report->engine->info.file_bytes, size, sizeof size);
    tn_cli_format_count((double)report->engine->info.n_params, params, sizeof params);
    test_name(&r->test, test, sizeof test);
    snprintf(speed, sizeof speed, "%.2f ± %.2f", m->ts.mean, m->ts.deviation);
    snprintf(layers, sizeof layers, "%lld", (long long)r->n_gpu_layers);
    fprintf(out, "| %-30s | %10s | %10s | %-10s |", type, size, params, r->backends);
    if (c->gpu_layers) fprintf(out, " %3s |", r->n_gpu_layers == -2 ? "all" : layers);
    if (r->test.n_threads) {
        fprintf(out, " %7u |", r->test.n_threads);
    } else { // of no CPU
        fprintf(out, " %7s |", "-");
    }
    if (c->batch) fprintf(out, " %7u |", r->test.n_batch);
    if (c->ubatch) fprintf(out, " %8u |", r->test.n_ubatch);
    if (c->devices) fprintf(out, " %-12s |", r->devices);
    fprintf(out, " %15s | %21s |", test, speed); // the sign takes two bytes and one column
    if (c->reads) fprintf(out, " %6.2f |", m->median_ns > 0 ? m->work.read_bytes / m->median_ns : 0);
    if (c->memory_limit) print_share(out, m->shares.memory);
    if (c->int8_limit) print_share(out, m->shares.int8);
    if (c->roofline) print_share(out, m->shares.roofline);
    if (c->two_stage) print_kept(out, &r->two_stage);
    if (c->numerics) fprintf(out, " %-8s |", "fast");
    fprintf(out, "\n");
}

// A profile's table waits until that of the results is complete.
static bool keep_profile(tn_cli_bench_report *report, const tn_cli_bench_result *r, const tn_cli_bench_measured *m)
{
    char test[64], title[96];
    if (!report->profiles) report->profiles = open_memstream(&report->profiles_text, &report->profiles_size);
    if (!report->profiles) return false;
    test_name(&r->test, test, sizeof test);
    if (r->test.n_threads == 0)
        snprintf(title, sizeof title, "%s on %.24s", test, r->devices);
    else
        snprintf(title, sizeof title, "%s on %u thread%s", test, r->test.n_threads, r->test.n_threads == 1 ? "" : "s");
    tn_cli_profile_print(r->profile, title, m->work.n_tokens * (double)r->n_samples, report->layers, report->profiles);
    return true;
}

void tn_cli_bench_table_begin(const tn_cli_bench_report *report)
{
    for (size_t i = 0; i < report->outputs->n; i++) {
        const tn_cli_bench_output *output = &report->outputs->list[i];
        if (tn_cli_bench_output_is(output, "md")) print_header_row(output->file, &report->columns);
    }
}

bool tn_cli_bench_table_add(tn_cli_bench_report *report, const tn_cli_bench_result *result, const tn_cli_bench_measured *measured)
{
    if (!tn_cli_bench_outputs_have(report->outputs, "md")) return true;
    for (size_t i = 0; i < report->outputs->n; i++) {
        const tn_cli_bench_output *output = &report->outputs->list[i];
        if (tn_cli_bench_output_is(output, "md")) print_row(output->file, report, result, measured);
    }
    return !result->profile || keep_profile(report, result, measured);
}

bool tn_cli_bench_table_end(const tn_cli_bench_report *report)
{
    if (report->profiles && fflush(report->profiles) != 0) return false;
    for (size_t i = 0; i < report->outputs->n; i++) {
        const tn_cli_bench_output *output = &report->outputs->list[i];
        if (!tn_cli_bench_output_is(output, "md")) continue;
        fprintf(output->file, "\n");
        tn_cli_limits_print(report->limits, output->file);
        fprintf(output->file, "build: %s (%d)\n", TN_BUILD_COMMIT, TN_BUILD_NUMBER);
        if (report->profiles) fwrite(report->profiles_text, 1, report->profiles_size, output->file);
    }
    return true;
}
