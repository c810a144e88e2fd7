// ternion bench: the speed of prompts and replies, for every combination of the lists that were given.
#include "bench_batched_report.h"
#include "interrupt.h"
#include "numbers.h"
#include "report.h"
#include "two_stage_option.h"
#include "units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SHAPES_MAX 4096u

static int parse_pair(const char *text, tn_cli_bench_shape *out)
{
    char first[32], why[160];
    int64_t n_prompt = 0, n_gen = 0;
    size_t n = strcspn(text, ",");
    snprintf(first, sizeof first, "%.*s", (int)(n < sizeof first ? n : sizeof first - 1), text);
    if (text[n] != ',') return tn_cli_usage("-pg: '%s' is not of the form PP,TG", text);
    if (!tn_cli_parse_int(first, 1, 1 << 30, &n_prompt, why, sizeof why) ||
        !tn_cli_parse_int(text + n + 1, 1, 1 << 30, &n_gen, why, sizeof why)) {
        return tn_cli_usage("-pg: %s", why);
    }
    *out = (tn_cli_bench_shape){(uint32_t)n_prompt, (uint32_t)n_gen};
    return 0;
}

// Prompts, then replies, then pairs, as llama-bench orders them.
static int make_shapes(tn_cli_bench_job *job)
{
    const tn_cli_value *prompts = tn_cli_bench_list(job, TN_OPT_BENCH_PROMPT), *replies = tn_cli_bench_list(job, TN_OPT_BENCH_GEN);
    const tn_cli_value *pairs = tn_cli_bench_list(job, TN_OPT_BENCH_PG);
    size_t capacity = prompts->n + replies->n + pairs->n;
    if (capacity > SHAPES_MAX) return tn_cli_usage("too many tests: at most %u lengths", SHAPES_MAX);
    job->shapes = malloc((capacity + 1) * sizeof *job->shapes);
    if (!job->shapes) return tn_cli_out_of_memory();
    for (size_t i = 0; i < prompts->n; i++) {
        if (prompts->numbers[i]) job->shapes[job->n_shapes++] = (tn_cli_bench_shape){(uint32_t)prompts->numbers[i], 0};
    }
    for (size_t i = 0; i < replies->n; i++) {
        if (replies->numbers[i]) job->shapes[job->n_shapes++] = (tn_cli_bench_shape){0, (uint32_t)replies->numbers[i]};
    }
    for (size_t i = 0; i < pairs->n; i++) {
        int rc = parse_pair(pairs->list[i], &job->shapes[job->n_shapes]);
        if (rc) return rc;
        job->n_shapes++;
    }
    return job->n_shapes ? 0 : tn_cli_usage("no test is left: give -p, -n or -pg a length above 0");
}

// A profile has its place in tables and in objects.
static int check_profile(const tn_cli_bench_job *job)
{
    if (!tn_cli_given(&job->cli->options, TN_OPT_BENCH_PROFILE)) return 0;
    for (size_t i = 0; i < job->outputs.n; i++) {
        const char *format = job->outputs.list[i].format;
        if (strcmp(format, "csv") == 0 || strcmp(format, "sql") == 0)
            return tn_cli_usage("--profile: %s has no place for a profile: use -o json", format);
    }
    return 0;
}

// Every test must fit before the first one runs.
static int check_context(tn_cli_bench_job *job)
{
    const tn_cli_value *depths = tn_cli_bench_list(job, TN_OPT_BENCH_DEPTH), *parallel = tn_cli_bench_list(job, TN_OPT_BENCH_PL);
    for (size_t i = 0; i < parallel->n; i++) {
        if ((uint32_t)parallel->numbers[i] > job->n_pl_max) job->n_pl_max = (uint32_t)parallel->numbers[i];
    }
    for (size_t s = 0; s < job->n_shapes; s++) {
        for (size_t d = 0; d < depths->n; d++) {
            uint64_t n = (uint64_t)job->shapes[s].n_prompt + job->shapes[s].n_gen + (uint64_t)depths->numbers[d];
            if (n <= job->engine.info.n_ctx_train) {
                if (n > job->n_positions_max) job->n_positions_max = (uint32_t)n;
                continue;
            }
            return tn_cli_fail("ternion bench -p 64 -n 32",
                               "a test of %llu positions (-p %u, -n %u, -d %lld) does not fit into the model's context of %u",
                               (unsigned long long)n, job->shapes[s].n_prompt, job->shapes[s].n_gen, (long long)depths->numbers[d],
                               job->engine.info.n_ctx_train);
        }
    }
    return 0;
}

static int run_once(tn_cli_bench_job *job, uint32_t n_prompt, uint32_t n_gen, uint64_t *out_ns)
{
    const tn_cli_bench_test *test = &job->result.test;
    int rc = tn_cli_bench_feed_depth(&job->feed, test->n_pl, test->n_depth, test->n_batch);
    if (rc) return rc;
    tn_session_profile_reset(job->engine.session);
    uint64_t begun_ns = tn_cli_now_ns();
    rc = tn_cli_bench_feed_prompts(&job->feed, 0, test->n_pl, test->n_depth, n_prompt, test->n_batch);
    if (rc == 0) rc = tn_cli_bench_feed_replies(&job->feed, test->n_pl, test->n_depth + n_prompt, n_gen);
    *out_ns = tn_cli_now_ns() - begun_ns;
    return rc;
}

void tn_cli_bench_begin_test(tn_cli_bench_job *job)
{
    tn_cli_bench_result *r = &job->result;
    const unsigned delay = (unsigned)tn_cli_int(&job->cli->options, TN_OPT_BENCH_DELAY);
    struct tm utc;
    if (delay) nanosleep(&(struct timespec){delay, 0}, NULL);
    const time_t now = time(NULL);
    gmtime_r(&now, &utc);
    strftime(r->test_time, sizeof r->test_time, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

void tn_cli_bench_say(const tn_cli_bench_job *job, const char *what, size_t number)
{
    if (!tn_cli_given(&job->cli->options, TN_OPT_BENCH_PROGRESS)) return;
    fprintf(stderr, "ternion bench: test %zu of %zu, %s %zu\n", job->n_done + 1, job->n_tests, what, number);
}

// What the two-stage head did since `before`.
static int count_two_stage(tn_cli_bench_job *job, const tn_two_stage_info *before)
{
    tn_two_stage_info *now = &job->result.two_stage;
    *now = (tn_two_stage_info)TN_TWO_STAGE_INFO_INIT;
    if (tn_session_get_two_stage(job->engine.session, now) != TN_OK) return tn_cli_fail_status(NULL);
    now->n_rows -= before->n_rows;
    now->n_kept -= before->n_kept;
    now->n_whole -= before->n_whole;
    return 0;
}

static int run_test(tn_cli_bench_job *job)
{
    tn_cli_bench_result *r = &job->result;
    tn_two_stage_info before = TN_TWO_STAGE_INFO_INIT;
    if (tn_session_get_two_stage(job->engine.session, &before) != TN_OK) return tn_cli_fail_status(NULL);
    uint64_t ns = 0;
    int rc = 0;
    tn_cli_bench_begin_test(job);
    r->n_samples = 0;
    tn_cli_profile_deinit(&job->profile);
    if (!tn_cli_given(&job->cli->options, TN_OPT_BENCH_NO_WARMUP)) {
        tn_cli_bench_say(job, "warm-up", 1);
        rc = run_once(job, r->test.n_prompt, r->test.n_gen ? 1 : 0, &ns);
    }
    for (int64_t i = 0; i < tn_cli_int(&job->cli->options, TN_OPT_BENCH_REPS) && rc == 0; i++) {
        tn_cli_bench_say(job, "run", (size_t)i + 1);
        rc = run_once(job, r->test.n_prompt, r->test.n_gen, &ns);
        r->samples_ns[r->n_samples++] = ns;
        if (rc == 0 && r->profile) rc = tn_cli_profile_add(r->profile, job->engine.session, job->engine.info.n_layers);
    }
    if (rc == 0) rc = count_two_stage(job, &before);
    if (rc == 0) rc = tn_cli_bench_report_add(&job->report, r);
    job->n_done++;
    return rc;
}

// The largest number of threads of the tests; 0 of a list is what the program takes by itself.
static uint32_t most_threads(const tn_cli_bench_job *job)
{
    const tn_cli_value *threads = tn_cli_bench_list(job, TN_OPT_BENCH_THREADS);
    int64_t most = 0;
    tn_host_info info;
    tn_host_get_info(job->engine.host, &info);
    for (size_t i = 0; i < threads->n; i++) {
        const int64_t n = threads->numbers[i] ? threads->numbers[i] : info.n_cores_at_once;
        if (n > most) most = n;
    }
    return (uint32_t)most;
}

// The shares that are known get their columns: of several devices none, and nobody measures int8 products by Vulkan.
static void choose_limits(tn_cli_bench_job *job)
{
    tn_cli_bench_columns *columns = &job->report.columns;
    columns->memory_limit = tn_cli_limits_have(&job->limits, TN_LIMIT_MEMORY_READ);
    columns->int8_limit = tn_cli_limits_have(&job->limits, TN_LIMIT_INT8_DOT);
    columns->roofline = columns->roofline && columns->memory_limit && columns->int8_limit;
}

// Once, while the memory that the model will take is still free. What is printed first tells of the first placement.
static int measure_limits(tn_cli_bench_job *job)
{
    char device[sizeof job->limits.device];
    const tn_cli_options *options = &job->cli->options;
    if (job->is_batched || tn_cli_given(options, TN_OPT_BENCH_NO_LIMITS)) return 0;
    int rc = tn_cli_bench_only_device(job, device, sizeof device);
    if (rc == 0 && device[0] && !job->begun) {
        tn_cli_interrupt_install();
        if (tn_cli_given(options, TN_OPT_BENCH_PROGRESS)) fprintf(stderr, "ternion bench: measuring the machine\n");
        rc = tn_cli_limits_measure(job->cli, most_threads(job), tn_cli_bench_list(job, TN_OPT_BENCH_THREADS), device, &job->limits);
    }
    if (!job->begun) choose_limits(job);
    job->result.limited = job->limits.measured && strcmp(device, job->limits.device) == 0;
    return rc;
}

static int begin_report(tn_cli_bench_job *job)
{
    if (job->begun) return 0;
    job->begun = true;
    tn_cli_interrupt_install(); // an array that was opened is closed
    return job->is_batched ? tn_cli_bench_outputs_begin(&job->outputs) : tn_cli_bench_report_begin(&job->report);
}

// Tests of one session by depth, then by the number of sequences, then by length.
static int run_tests(tn_cli_bench_job *job)
{
    const tn_cli_value *depths = tn_cli_bench_list(job, TN_OPT_BENCH_DEPTH), *parallel = tn_cli_bench_list(job, TN_OPT_BENCH_PL);
    tn_cli_bench_test *test = &job->result.test;
    int rc = 0;
    for (size_t i = 0; i < depths->n * parallel->n * job->n_shapes && rc == 0; i++) {
        const tn_cli_bench_shape *s = &job->shapes[i % job->n_shapes];
        test->n_pl = (uint32_t)parallel->numbers[i / job->n_shapes % parallel->n];
        test->n_depth = (uint32_t)depths->numbers[i / job->n_shapes / parallel->n];
        test->n_prompt = s->n_prompt;
        test->n_gen = s->n_gen;
        rc = run_test(job);
    }
    return rc;
}

// Steps that were made smaller are what the results are of; a context that is smaller than a step changes none.
static void note_steps(tn_cli_bench_job *job)
{
    const tn_session_info *info = &job->engine.session_info;
    if (info->n_ubatch < job->result.test.n_ubatch && info->n_ubatch < (uint64_t)info->n_ctx * info->n_seqs_max)
        job->result.test.n_ubatch = info->n_ubatch;
}

// Runs all tests of one number of threads, batch and step size, which share a session.
static int run_group(tn_cli_bench_job *job, int64_t n_threads, int64_t n_ubatch, int64_t n_batch)
{
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    params.n_ubatch = (uint32_t)n_ubatch;
    params.n_ctx = job->n_positions_max;
    params.n_seqs_max = job->n_pl_max;
    params.kv_bytes = job->kv_bytes;
    params.profile = job->result.profile != NULL;
    job->result.test = (tn_cli_bench_test){.n_batch = (uint32_t)n_batch, .n_ubatch = (uint32_t)n_ubatch, .n_threads = (uint32_t)n_threads};
    int rc = tn_cli_engine_open_host(job->cli, &job->engine, n_threads);
    if (rc == 0)
        rc = tn_cli_engine_place(job->cli, &job->engine, tn_cli_given(&job->cli->options, TN_OPT_GOAL) ? job->n_pl_max : 1,
                                 job->n_positions_max);
    if (rc == 0) rc = measure_limits(job);
    if (rc == 0) rc = tn_cli_engine_start(job->cli, &job->engine, params);
    if (rc == 0) note_steps(job);
    if (rc == 0) rc = tn_cli_bench_describe_devices(job);
    if (rc == 0) rc = begin_report(job); // what cannot be placed is said before anything is printed
    if (rc == 0) rc = job->is_batched ? tn_cli_bench_batched_run(job) : run_tests(job);
    tn_cli_engine_stop(&job->engine);
    return rc;
}

static void choose_columns(tn_cli_bench_job *job)
{
    const tn_cli_options *options = &job->cli->options;
    tn_cli_bench_columns *columns = &job->report.columns;
    columns->reads = !job->is_batched && !tn_cli_given(options, TN_OPT_BENCH_NO_LIMITS);
    columns->roofline = columns->reads && job->n_pl_max > 1;
    columns->batch = tn_cli_bench_list(job, TN_OPT_BENCH_BATCH)->n > 1;
    columns->ubatch = tn_cli_bench_list(job, TN_OPT_BENCH_UBATCH)->n > 1;
    columns->gpu_layers = tn_cli_given(options, TN_OPT_GPU_LAYERS);
    columns->two_stage = strcmp(tn_cli_two_stage(job->cli), "off") != 0;
    columns->devices = tn_cli_given(options, TN_OPT_DEVICE);
    columns->numerics = tn_cli_is_fast(job->cli);
}

static int run_all(tn_cli_bench_job *job)
{
    const tn_cli_value *threads = tn_cli_bench_list(job, TN_OPT_BENCH_THREADS), *ubatches = tn_cli_bench_list(job, TN_OPT_BENCH_UBATCH);
    const tn_cli_value *batches = tn_cli_bench_list(job, TN_OPT_BENCH_BATCH);
    const size_t n_group = job->is_batched
                               ? job->batched.n_tests
                               : tn_cli_bench_list(job, TN_OPT_BENCH_DEPTH)->n * tn_cli_bench_list(job, TN_OPT_BENCH_PL)->n * job->n_shapes;
    job->n_tests = threads->n * ubatches->n * batches->n * n_group;
    job->outputs.table = job->is_batched ? "batched_test" : "test";
    job->report.outputs = &job->outputs;
    job->report.engine = &job->engine;
    job->report.limits = &job->limits;
    job->report.options = &job->cli->options;
    choose_columns(job);
    int rc = 0;
    for (size_t t = 0; t < threads->n && rc == 0; t++) {
        for (size_t u = 0; u < ubatches->n && rc == 0; u++) {
            for (size_t b = 0; b < batches->n && rc == 0; b++) {
                rc = run_group(job, threads->numbers[t], ubatches->numbers[u], batches->numbers[b]);
            }
        }
    }
    if (!job->begun) return rc;
    const int end_rc = job->is_batched ? tn_cli_bench_batched_report_end(job, rc == 0) : tn_cli_bench_report_end(&job->report, rc == 0);
    return rc ? rc : end_rc;
}

// Room for the largest call of all tests.
static int reserve(tn_cli_bench_job *job)
{
    const tn_cli_value *batches = tn_cli_bench_list(job, TN_OPT_BENCH_BATCH);
    uint32_t n_batch = 0;
    for (size_t i = 0; i < batches->n; i++) {
        if ((uint32_t)batches->numbers[i] > n_batch) n_batch = (uint32_t)batches->numbers[i];
    }
    job->result.samples_ns = calloc((size_t)tn_cli_int(&job->cli->options, TN_OPT_BENCH_REPS), sizeof *job->result.samples_ns);
    return job->result.samples_ns ? tn_cli_bench_feed_init(&job->feed, &job->engine, n_batch, job->n_pl_max) : tn_cli_out_of_memory();
}

static int run_job(tn_cli_bench_job *job)
{
    const tn_cli_options *options = &job->cli->options;
    int rc = tn_cli_bench_outputs_choose(&job->outputs, options);
    job->is_batched = tn_cli_bench_batched_asked(options);
    if (rc == 0) rc = tn_cli_bench_batched_check(job);
    if (rc == 0 && !job->is_batched) rc = make_shapes(job);
    if (rc == 0) rc = check_profile(job);
    if (rc == 0) rc = tn_cli_engine_open_model(job->cli, &job->engine, TN_MODEL_LOAD_ALL);
    if (rc == 0) rc = job->is_batched ? tn_cli_bench_batched_plan(job) : check_context(job);
    if (rc == 0) rc = reserve(job);
    return rc ? rc : run_all(job);
}

int tn_cli_bench(tn_cli *cli)
{
    tn_cli_bench_job *job = calloc(1, sizeof *job);
    if (!job) return tn_cli_out_of_memory();
    job->cli = cli;
    if (tn_cli_given(&cli->options, TN_OPT_BENCH_PROFILE)) job->result.profile = &job->profile;
    job->report.layers = cli->verbosity > 0;
    const int rc = run_job(job);
    free(job->result.samples_ns);
    tn_cli_bench_feed_deinit(&job->feed);
    json_decref(job->result.kernels);
    tn_cli_profile_deinit(&job->profile);
    tn_cli_bench_report_deinit(&job->report);
    tn_cli_limits_deinit(&job->limits);
    free(job->shapes);
    tn_cli_bench_batched_deinit(&job->batched);
    tn_cli_engine_close(&job->engine);
    free(job);
    return rc;
}
