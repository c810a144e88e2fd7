// What was measured of a subject, as the row has it: speeds with their spread and shares of limits, the place of each op, memory.
#include "bench_report.h"
#include "compare.h"
#include "report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static json_t *real_or_null(double value, bool known) { return known ? json_real(value) : json_null(); }

// One value has none.
static json_t *deviation_of(const double *values, size_t n, double mean)
{
    double squares = 0;
    for (size_t i = 0; i < n; i++) squares += (values[i] - mean) * (values[i] - mean);
    return n > 1 ? json_real(sqrt(squares / (double)(n - 1))) : json_null();
}

// The median, since one run that was disturbed says nothing; without all runs there is no figure.
static json_t *joule_per_token(const double *joules, size_t n, double n_tokens, double *sorted)
{
    for (size_t i = 0; i < n; i++) {
        if (joules[i] < 0) return json_null();
        sorted[i] = joules[i] / n_tokens;
    }
    return n ? json_real(tn_cli_bench_median(sorted, n)) : json_null();
}

static tn_cli_shares shares_of(const tn_cli_compare_subject *subject, const tn_cli_work *work, double median_rate)
{
    const tn_cli_limits *limits = &subject->limits;
    const bool known = limits->measured;
    return tn_cli_shares_of(work, work->n_tokens / median_rate * 1e9,
                            known ? tn_cli_limits_best(limits, TN_LIMIT_MEMORY_READ, limits->n_threads) : 0,
                            known ? tn_cli_limits_best(limits, TN_LIMIT_INT8_DOT, limits->n_threads) : 0);
}

// `values`: [n_repetitions] for sorting.
static json_t *test_json(const tn_cli_compare *job, const tn_cli_compare_subject *subject, size_t t, double *values)
{
    const size_t n = job->n_repetitions;
    const uint64_t *ns = subject->samples_ns + t * n;
    tn_cli_bench_test shape = job->tests[t].shape;
    shape.n_batch = job->n_positions_max;
    shape.n_ubatch = subject->engine.session_info.n_ubatch;
    const tn_cli_work work = tn_cli_work_of(&subject->costs, &shape);
    json_t *samples = json_array();
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        values[i] = ns[i] ? work.n_tokens * 1e9 / (double)ns[i] : 0;
        sum += values[i];
        json_array_append_new(samples, json_real(values[i]));
    }
    const double mean = sum / (double)n;
    json_t *deviation = deviation_of(values, n, mean);
    const double median = tn_cli_bench_median(values, n);
    const double least = values[0], most = values[n - 1]; // sorted by now
    const tn_cli_shares shares = shares_of(subject, &work, median);
    json_t *energy = json_pack("{s:o}", "joule_per_token", joule_per_token(subject->samples_joule + t * n, n, work.n_tokens, values));
    return json_pack("{s:s, s:I, s:I, s:I, s:s, s:o, s:f, s:f, s:o, s:f, s:f, s:o, s:o, s:o, s:o}", "test", job->tests[t].name, "n_prompt",
                     (json_int_t)shape.n_prompt, "n_gen", (json_int_t)shape.n_gen, "n_seqs", (json_int_t)shape.n_pl, "unit", "t/s",
                     "samples", samples, "median", median, "mean", mean, "deviation", deviation, "min", least, "max", most, "share_memory",
                     real_or_null(shares.memory, shares.memory >= 0), "share_int8", real_or_null(shares.int8, shares.int8 >= 0),
                     "share_roofline", real_or_null(shares.roofline, shares.roofline >= 0), "energy", energy);
}

// ---- ops ----

// Elements of the weights of this name, "ffn_up", in all layers; each makes a product for every token.
static double elements_of(const tn_model *model, const char *name)
{
    double sum = 0;
    char wanted[80];
    const size_t n = (size_t)snprintf(wanted, sizeof wanted, "%s.weight", name);
    for (size_t i = 0; i < tn_model_tensor_count(model); i++) {
        tn_tensor_info info;
        if (tn_model_tensor(model, i, &info) != TN_OK || strlen(info.name) < n) continue;
        const char *last = info.name + strlen(info.name) - n;
        if (strcmp(last, wanted) != 0 || (last != info.name && last[-1] != '.')) continue;
        double elements = 1;
        for (uint32_t d = 0; d < info.n_dims; d++) elements *= (double)info.dims[d];
        sum += elements;
    }
    return sum;
}

// "matmul_ternary ffn_up", "attention": its time, and of products with weights what they read and multiply.
static json_t *op_json(const tn_cli_compare_subject *subject, const tn_cli_profile *profile, const char *phase, const tn_cli_profile_op *op,
                       const tn_cli_work *work, double rows_per_token, double n_runs)
{
    const double n_tokens = work->n_tokens * n_runs;
    const bool ternary = strcmp(op->op, "matmul_ternary") == 0, reads = strncmp(op->op, "matmul", 6) == 0 && op->weight_bytes > 0;
    const double bytes = (double)op->weight_bytes * (double)profile->totals.n_steps / n_tokens;
    double ops = ternary ? 2.0 * elements_of(subject->engine.model, op->name) : 0;
    if (reads && !ternary) ops = 2.0 * (double)subject->costs.head_products * rows_per_token; // 0 where they are no int8 products
    char name[96];
    snprintf(name, sizeof name, "%s%s%s", op->op, op->name[0] ? " " : "", op->name);
    return json_pack("{s:s, s:o, s:f, s:f, s:o, s:o, s:o, s:o}", "phase", phase, "op", tn_cli_json_text(name, strlen(name)),
                     "share_of_time", profile->totals.step_ns ? (double)op->ns / (double)profile->totals.step_ns : 0.0, "ns_per_token",
                     (double)op->ns / n_tokens, "bytes_per_token", real_or_null(bytes, reads), "int8_ops_per_token",
                     real_or_null(ops, ops > 0), "intensity", real_or_null(ops / bytes, ops > 0 && bytes > 0), "ops_per_s",
                     real_or_null(ops * n_tokens * 1e9 / (double)op->ns, ops > 0 && op->ns > 0));
}

// Of the first prompt test and of the first reply test; between them the tests of many sequences have theirs.
static void put_ops(const tn_cli_compare *job, tn_cli_compare_subject *subject, json_t *list)
{
    bool has_prompt = false, has_reply = false;
    for (size_t t = 0; t < job->n_tests; t++) {
        tn_cli_bench_test shape = job->tests[t].shape;
        bool *has = shape.n_prompt ? &has_prompt : &has_reply;
        if (*has || shape.n_pl > 1) continue;
        *has = true;
        shape.n_batch = job->n_positions_max;
        shape.n_ubatch = subject->engine.session_info.n_ubatch;
        const tn_cli_work work = tn_cli_work_of(&subject->costs, &shape);
        const tn_cli_profile *profile = &subject->profiles[t];
        const double rows_per_token = shape.n_gen ? 1 : 1.0 / shape.n_prompt; // of logits
        for (size_t i = 0; i < profile->n_ops; i++)
            json_array_append_new(
                list, op_json(subject, profile, job->tests[t].name, &profile->ops[i], &work, rows_per_token, job->n_repetitions));
    }
}

int tn_cli_compare_put_figures(tn_cli_compare *job, tn_cli_compare_subject *subject)
{
    json_t *speed = json_array(), *ops = json_array();
    double *values = calloc(job->n_repetitions, sizeof *values);
    if (!values) {
        json_decref(speed);
        json_decref(ops);
        return tn_cli_out_of_memory();
    }
    for (size_t t = 0; t < job->n_tests; t++) json_array_append_new(speed, test_json(job, subject, t, values));
    put_ops(job, subject, ops);
    json_object_set_new(subject->json, "speed", speed);
    json_object_set_new(subject->json, "ops", ops);
    free(values);
    return 0;
}
