// Batched tests as llama-batched-bench prints them.
#include "bench_batched_report.h"

#include "build_info.h"
#include "report.h"
#include "units.h"

#include <stdio.h>
#include <stdlib.h>

// Seconds, and tokens in a second; 0 where there are none.
typedef struct figures {
    uint64_t n_kv;
    double prompt_s, reply_s, prompt_ts, reply_ts, all_ts;
} figures;

static bool median_s(const uint64_t *times_ns, size_t n, double *out)
{
    double *values = malloc(n * sizeof *values);
    if (!values) return false;
    for (size_t i = 0; i < n; i++) values[i] = (double)times_ns[i] * 1e-9;
    *out = tn_cli_bench_median(values, n);
    free(values);
    return true;
}

static double rate(uint64_t n, double seconds) { return seconds > 0 ? (double)n / seconds : 0; }

// A shared prompt counts once: it is computed once. Positions of -d are there before, and count nowhere.
static bool make_figures(const tn_cli_bench_job *job, const tn_cli_bench_batched_test *test, figures *f)
{
    const tn_cli_bench_batched *b = &job->batched;
    const uint64_t n_prompts = (b->shared ? 1 : (uint64_t)test->n_pl) * test->n_prompt, n_replies = (uint64_t)test->n_pl * test->n_gen;
    if (!median_s(b->prompt_ns, b->n_runs, &f->prompt_s) || !median_s(b->reply_ns, b->n_runs, &f->reply_s)) return false;
    f->n_kv = n_prompts + n_replies;
    f->prompt_ts = rate(n_prompts, f->prompt_s);
    f->reply_ts = rate(n_replies, f->reply_s);
    f->all_ts = rate(f->n_kv, f->prompt_s + f->reply_s);
    return true;
}

// ---- md ----

static void print_head(const tn_cli_bench_job *job, FILE *out)
{
    const tn_cli_bench_result *r = &job->result;
    char type[128], size[24];
    tn_cli_bench_model_type(&job->engine, type, sizeof type);
    tn_cli_format_bytes(job->engine.info.file_bytes, size, sizeof size);
    fprintf(out, "model = %s, size = %s, backend = %s\n", type, size, r->backends);
    fprintf(
        out,
        "%sn_kv_max = %llu, n_batch = %u, n_ubatch = %u, is_pp_shared = %d, n_gpu_layers = %lld, n_threads = %u, n_threads_batch = %u\n\n",
        tn_cli_is_fast(job->cli) ? "numerics = fast, " : "", (unsigned long long)job->batched.n_kv_max, r->test.n_batch, r->test.n_ubatch,
        job->batched.shared, (long long)r->n_gpu_layers, r->test.n_threads, r->test.n_threads);
    fprintf(out, "|%6s | %6s | %4s | %6s | %8s | %8s | %8s | %8s | %8s | %8s |", "PP", "TG", "B", "N_KV", "T_PP s", "S_PP t/s", "T_TG s",
            "S_TG t/s", "T s", "S t/s");
    if (job->batched.has_depth) fprintf(out, " %6s |", "D");
    fprintf(out, "\n|-------|--------|------|--------|----------|----------|----------|----------|----------|----------|%s\n",
            job->batched.has_depth ? "--------|" : "");
}

static void print_row(const tn_cli_bench_job *job, const tn_cli_bench_batched_test *test, const figures *f, FILE *out)
{
    fprintf(out, "|%6u | %6u | %4u | %6llu | %8.3f | %8.2f | %8.3f | %8.2f | %8.3f | %8.2f |", test->n_prompt, test->n_gen, test->n_pl,
            (unsigned long long)f->n_kv, f->prompt_s, f->prompt_ts, f->reply_s, f->reply_ts, f->prompt_s + f->reply_s, f->all_ts);
    if (job->batched.has_depth) fprintf(out, " %6u |", test->n_depth);
    fprintf(out, "\n");
}

// ---- fields ----

static json_t *times_json(const uint64_t *times_ns, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(list, json_integer((json_int_t)times_ns[i]));
    return list;
}

// Those of llama-batched-bench, by its names and in its order.
static void add_figures(json_t *o, const tn_cli_bench_job *job, const tn_cli_bench_batched_test *test, const figures *f)
{
    const tn_cli_bench_result *r = &job->result;
    json_object_set_new(o, "n_kv_max", json_integer((json_int_t)job->batched.n_kv_max));
    json_object_set_new(o, "n_batch", json_integer(r->test.n_batch));
    json_object_set_new(o, "n_ubatch", json_integer(r->test.n_ubatch));
    json_object_set_new(o, "is_pp_shared", json_integer(job->batched.shared));
    json_object_set_new(o, "n_gpu_layers", json_integer(r->n_gpu_layers));
    json_object_set_new(o, "n_threads", json_integer(r->test.n_threads));
    json_object_set_new(o, "n_threads_batch", json_integer(r->test.n_threads));
    json_object_set_new(o, "pp", json_integer(test->n_prompt));
    json_object_set_new(o, "tg", json_integer(test->n_gen));
    json_object_set_new(o, "pl", json_integer(test->n_pl));
    json_object_set_new(o, "n_kv", json_integer((json_int_t)f->n_kv));
    json_object_set_new(o, "t_pp", json_real(f->prompt_s));
    json_object_set_new(o, "speed_pp", json_real(f->prompt_ts));
    json_object_set_new(o, "t_tg", json_real(f->reply_s));
    json_object_set_new(o, "speed_tg", json_real(f->reply_ts));
    json_object_set_new(o, "t", json_real(f->prompt_s + f->reply_s));
    json_object_set_new(o, "speed", json_real(f->all_ts));
}

// What tests of -p and -n say too, by the same names.
static void add_surroundings(json_t *o, const tn_cli_bench_job *job)
{
    const tn_cli_bench_result *r = &job->result;
    const tn_cli_engine *e = &job->engine;
    const char *two_stage = tn_cli_text(&job->cli->options, TN_OPT_TWO_STAGE);
    tn_cli_bench_put_build(o, e, r);
    json_object_set_new(o, "devices", json_string(r->devices));
    json_object_set_new(o, "test_time", json_string(r->test_time));
    json_object_set_new(o, "isa", json_string(r->isa));
    json_object_set_new(o, "ternary_layout", json_string(r->costs.ternary_layout));
    json_object_set_new(o, "head_layout", json_string(r->costs.head_layout));
    json_object_set_new(o, "two_stage", json_string(two_stage ? two_stage : "off"));
    json_object_set_new(o, "numerics", json_string(tn_cli_text(&job->cli->options, TN_OPT_NUMERICS)));
}

static json_t *fields_of(const tn_cli_bench_job *job, const tn_cli_bench_batched_test *test, const figures *f, size_t *out_n_flat)
{
    const tn_cli_bench_batched *b = &job->batched;
    json_t *o = json_object();
    add_figures(o, job, test, f);
    json_object_set_new(o, "n_depth", json_integer(test->n_depth));
    json_object_set_new(o, "kv_bytes", json_integer((json_int_t)job->engine.session_info.kv_bytes));
    json_object_set_new(o, "n_replicas", json_integer(b->n_copies));
    add_surroundings(o, job);
    *out_n_flat = json_object_size(o);
    json_object_set_new(o, "samples_pp_ns", times_json(b->prompt_ns, b->n_runs));
    json_object_set_new(o, "samples_tg_ns", times_json(b->reply_ns, b->n_runs));
    json_object_set(o, "kernels", job->result.kernels);
    json_object_set_new(o, "options", tn_cli_bench_given_options(&job->cli->options));
    return o;
}

// ---- all ----

int tn_cli_bench_batched_report_begin(tn_cli_bench_job *job)
{
    for (size_t i = 0; i < job->outputs.n; i++) {
        const tn_cli_bench_output *output = &job->outputs.list[i];
        if (!tn_cli_bench_output_is(output, "md")) continue;
        if (job->n_done) fprintf(output->file, "\n");
        print_head(job, output->file);
    }
    return tn_cli_bench_outputs_flush(&job->outputs);
}

int tn_cli_bench_batched_report_add(tn_cli_bench_job *job, const tn_cli_bench_batched_test *test)
{
    figures f;
    size_t n_flat = 0;
    if (!make_figures(job, test, &f)) return tn_cli_out_of_memory();
    json_t *fields = fields_of(job, test, &f, &n_flat);
    const int rc = tn_cli_bench_outputs_add(&job->outputs, fields, n_flat);
    json_decref(fields);
    for (size_t i = 0; rc == 0 && i < job->outputs.n; i++) {
        const tn_cli_bench_output *output = &job->outputs.list[i];
        if (tn_cli_bench_output_is(output, "md")) print_row(job, test, &f, output->file);
    }
    return rc ? rc : tn_cli_bench_outputs_flush(&job->outputs);
}

int tn_cli_bench_batched_report_end(tn_cli_bench_job *job, bool complete)
{
    for (size_t i = 0; complete && i < job->outputs.n; i++) {
        const tn_cli_bench_output *output = &job->outputs.list[i];
        if (tn_cli_bench_output_is(output, "md")) fprintf(output->file, "\nbuild: %s (%d)\n", TN_BUILD_COMMIT, TN_BUILD_NUMBER);
    }
    return tn_cli_bench_outputs_end(&job->outputs);
}
