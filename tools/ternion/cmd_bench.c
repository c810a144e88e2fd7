// ternion bench: the speed of prompts and replies, for every combination of the lists that were given.
#include "bench_report.h"
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

// Lengths of one test, without its execution parameters.
typedef struct shape {
    uint32_t n_prompt, n_gen;
} shape;

typedef struct bench_job {
    tn_cli *cli;
    tn_cli_engine engine;
    tn_cli_bench_report report;
    shape *shapes;
    size_t n_shapes, n_tests, n_done;
    bool begun;             // the report is, which then wants its end
    tn_cli_progress silent; // only cancels after Ctrl-C: bars would disturb what is measured
    tn_cli_limits limits;   // of the machine
    tn_cli_profile profile; // of the test that runs
    int32_t *tokens;        // [n_ctx_train], what prompts consist of
    int32_t *batch_tokens;  // [batch_capacity], of the call in hand
    uint32_t *batch_seqs;   // the same
    uint32_t *batch_top;    // [n_pl_max], 1 each: replies in two stages want the best token
    size_t batch_capacity;
    uint32_t n_positions_max, n_pl_max; // of all tests
    tn_cli_bench_result result;         // of the test that runs
} bench_job;

static const tn_cli_value *list_of(const bench_job *job, tn_cli_option_id id) { return &job->cli->options.values[id]; }

static int parse_pair(const char *text, shape *out)
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
    *out = (shape){(uint32_t)n_prompt, (uint32_t)n_gen};
    return 0;
}

// Prompts, then replies, then pairs, as llama-bench orders them.
static int make_shapes(bench_job *job)
{
    const tn_cli_value *prompts = list_of(job, TN_OPT_BENCH_PROMPT), *replies = list_of(job, TN_OPT_BENCH_GEN);
    const tn_cli_value *pairs = list_of(job, TN_OPT_BENCH_PG);
    size_t capacity = prompts->n + replies->n + pairs->n;
    if (capacity > SHAPES_MAX) return tn_cli_usage("too many tests: at most %u lengths", SHAPES_MAX);
    job->shapes = malloc((capacity + 1) * sizeof *job->shapes);
    if (!job->shapes) return tn_cli_out_of_memory();
    for (size_t i = 0; i < prompts->n; i++) {
        if (prompts->numbers[i]) job->shapes[job->n_shapes++] = (shape){(uint32_t)prompts->numbers[i], 0};
    }
    for (size_t i = 0; i < replies->n; i++) {
        if (replies->numbers[i]) job->shapes[job->n_shapes++] = (shape){0, (uint32_t)replies->numbers[i]};
    }
    for (size_t i = 0; i < pairs->n; i++) {
        int rc = parse_pair(pairs->list[i], &job->shapes[job->n_shapes]);
        if (rc) return rc;
        job->n_shapes++;
    }
    if (tn_cli_given(&job->cli->options, TN_OPT_BENCH_PROFILE) && strcmp(tn_cli_text(&job->cli->options, TN_OPT_BENCH_FORMAT), "csv") == 0)
        return tn_cli_usage("--profile: csv has no place for a profile: use -o json");
    return job->n_shapes ? 0 : tn_cli_usage("no test is left: give -p, -n or -pg a length above 0");
}

// Every test must fit before the first one runs.
static int check_context(bench_job *job)
{
    const tn_cli_value *depths = list_of(job, TN_OPT_BENCH_DEPTH);
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

// Ordinary tokens in an order that is the same in every run; the first one begins a text where the model has such a token.
static int make_tokens(bench_job *job)
{
    uint32_t n = job->engine.info.n_ctx_train, n_vocab = job->engine.info.n_vocab;
    uint64_t state = 88172645463325252u; // any number but 0
    job->tokens = malloc(((size_t)n + 1) * sizeof *job->tokens);
    if (!job->tokens) return tn_cli_out_of_memory();
    for (uint32_t i = 0; i < n; i++) {
        state ^= state << 13; // xorshift64
        state ^= state >> 7;
        state ^= state << 17;
        job->tokens[i] = (int32_t)(state % n_vocab);
    }
    if (job->engine.tokenizer && tn_tokenizer_adds_bos(job->engine.tokenizer)) job->tokens[0] = tn_tokenizer_bos(job->engine.tokenizer);
    return 0;
}

// Room for the largest call: a -b of prompts, or one token of each sequence.
static int reserve_batch(bench_job *job)
{
    const tn_cli_value *batches = list_of(job, TN_OPT_BENCH_BATCH), *parallel = list_of(job, TN_OPT_BENCH_PL);
    for (size_t i = 0; i < parallel->n; i++) {
        if ((uint32_t)parallel->numbers[i] > job->n_pl_max) job->n_pl_max = (uint32_t)parallel->numbers[i];
    }
    job->batch_capacity = job->n_pl_max;
    for (size_t i = 0; i < batches->n; i++) {
        if ((size_t)batches->numbers[i] > job->batch_capacity) job->batch_capacity = (size_t)batches->numbers[i];
    }
    job->batch_tokens = calloc(job->batch_capacity, sizeof *job->batch_tokens);
    job->batch_seqs = calloc(job->batch_capacity, sizeof *job->batch_seqs);
    job->batch_top = calloc(job->n_pl_max, sizeof *job->batch_top);
    if (!job->batch_tokens || !job->batch_seqs || !job->batch_top) return tn_cli_out_of_memory();
    for (uint32_t i = 0; i < job->n_pl_max; i++) job->batch_top[i] = 1;
    return 0;
}

// Decodes the first `n` tokens of the batch's arrays. n_top: as in tn_batch.
static int decode(bench_job *job, uint32_t n, const uint32_t *n_top)
{
    tn_batch batch = TN_BATCH_INIT;
    batch.n_tokens = n;
    batch.tokens = job->batch_tokens;
    batch.seqs = job->batch_seqs;
    batch.n_top = n_top;
    batch.progress = tn_cli_progress_hook(&job->silent);
    return tn_session_decode(job->engine.session, &batch) == TN_OK ? 0 : tn_cli_fail_status(NULL);
}

// Appends `n` tokens from position `at` on to each of `n_seqs` sequences, one sequence after another, in calls of -b tokens.
static int feed(bench_job *job, uint32_t first_seq, uint32_t n_seqs, uint32_t at, uint32_t n)
{
    int rc = 0;
    const uint64_t all = (uint64_t)n_seqs * n, n_batch = job->result.test.n_batch;
    for (uint64_t done = 0; done < all && rc == 0; done += n_batch) {
        const uint32_t n_call = (uint32_t)(all - done < n_batch ? all - done : n_batch);
        for (uint32_t i = 0; i < n_call; i++) {
            job->batch_seqs[i] = first_seq + (uint32_t)((done + i) / n);
            job->batch_tokens[i] = job->tokens[at + (done + i) % n];
        }
        rc = decode(job, n_call, NULL);
    }
    return rc;
}

// Appends tokens one after the other, as answers do, to every sequence of the test.
static int reply(bench_job *job, uint32_t at, uint32_t n)
{
    int rc = 0;
    const uint32_t n_pl = job->result.test.n_pl;
    for (uint32_t i = 0; i < n && rc == 0; i++) {
        for (uint32_t seq = 0; seq < n_pl; seq++) {
            job->batch_seqs[seq] = seq;
            job->batch_tokens[seq] = job->tokens[at + i];
        }
        rc = decode(job, n_pl, job->batch_top);
    }
    return rc;
}

// Brings every sequence of the test to its depth. Positions of earlier runs stay: all sequences have the same tokens.
static int fill_depth(bench_job *job)
{
    int rc = 0;
    const uint32_t depth = job->result.test.n_depth;
    for (uint32_t seq = 0; seq < job->result.test.n_pl && rc == 0; seq++) {
        const uint32_t length = tn_session_seq_length(job->engine.session, seq);
        if (length < depth) {
            rc = feed(job, seq, 1, length, depth - length);
        } else if (tn_session_seq_truncate(job->engine.session, seq, depth) != TN_OK) {
            rc = tn_cli_fail_status(NULL);
        }
    }
    return rc;
}

static int run_once(bench_job *job, uint32_t n_prompt, uint32_t n_gen, uint64_t *out_ns)
{
    const uint32_t depth = job->result.test.n_depth;
    int rc = fill_depth(job);
    if (rc) return rc;
    tn_session_profile_reset(job->engine.session);
    uint64_t begun_ns = tn_cli_now_ns();
    rc = feed(job, 0, job->result.test.n_pl, depth, n_prompt);
    if (rc == 0) rc = reply(job, depth + n_prompt, n_gen);
    *out_ns = tn_cli_now_ns() - begun_ns;
    return rc;
}

static void say(const bench_job *job, const char *what, size_t number)
{
    if (!tn_cli_given(&job->cli->options, TN_OPT_BENCH_PROGRESS)) return;
    fprintf(stderr, "ternion bench: test %zu of %zu, %s %zu\n", job->n_done + 1, job->n_tests, what, number);
}

// What the two-stage head did since `before`.
static int count_two_stage(bench_job *job, const tn_two_stage_info *before)
{
    tn_two_stage_info *now = &job->result.two_stage;
    *now = (tn_two_stage_info)TN_TWO_STAGE_INFO_INIT;
    if (tn_session_get_two_stage(job->engine.session, now) != TN_OK) return tn_cli_fail_status(NULL);
    now->n_rows -= before->n_rows;
    now->n_kept -= before->n_kept;
    now->n_whole -= before->n_whole;
    return 0;
}

static int run_test(bench_job *job)
{
    tn_cli_bench_result *r = &job->result;
    tn_two_stage_info before = TN_TWO_STAGE_INFO_INIT;
    if (tn_session_get_two_stage(job->engine.session, &before) != TN_OK) return tn_cli_fail_status(NULL);
    uint64_t ns = 0;
    time_t now = time(NULL);
    struct tm utc;
    int rc = 0;
    gmtime_r(&now, &utc);
    strftime(r->test_time, sizeof r->test_time, "%Y-%m-%dT%H:%M:%SZ", &utc);
    r->n_samples = 0;
    tn_cli_profile_deinit(&job->profile);
    if (!tn_cli_given(&job->cli->options, TN_OPT_BENCH_NO_WARMUP)) {
        say(job, "warm-up", 1);
        rc = run_once(job, r->test.n_prompt, r->test.n_gen ? 1 : 0, &ns);
    }
    for (int64_t i = 0; i < tn_cli_int(&job->cli->options, TN_OPT_BENCH_REPS) && rc == 0; i++) {
        say(job, "run", (size_t)i + 1);
        rc = run_once(job, r->test.n_prompt, r->test.n_gen, &ns);
        r->samples_ns[r->n_samples++] = ns;
        if (rc == 0 && r->profile) rc = tn_cli_profile_add(r->profile, job->engine.session, job->engine.info.n_layers);
    }
    if (rc == 0) rc = count_two_stage(job, &before);
    if (rc == 0) rc = tn_cli_bench_report_add(&job->report, r);
    job->n_done++;
    return rc;
}

static void note_kernel(void *user, const char *kernel, bool chosen)
{
    if (chosen) json_array_append_new(user, json_string(kernel));
}

// A device by its name, and whether the model's weights lie on it.
typedef struct search {
    const char *device;
    bool found;
} search;

static void find_device(void *user, const tn_layout_info *layout)
{
    search *s = user;
    s->found = s->found || strcmp(layout->device, s->device) == 0;
}

// Level and kernels of a device that takes part; the others are not even opened.
static int describe_kernels(bench_job *job, uint32_t index, const tn_device_info *info)
{
    tn_cli_bench_result *r = &job->result;
    search s = {info->name, false};
    const size_t used = strlen(r->isa);
    if (tn_placement_layouts(job->engine.placement, find_device, &s) != TN_OK) return tn_cli_fail_status(NULL);
    if (!s.found) return 0;
    if (info->isa[0] && !strstr(r->isa, info->isa)) snprintf(r->isa + used, sizeof r->isa - used, "%s%s", used ? "," : "", info->isa);
    return tn_host_device_kernels(job->engine.host, index, note_kernel, r->kernels) == TN_OK ? 0 : tn_cli_fail_status(NULL);
}

// What the placement uses: CPU and GPU names, backends in capitals as llama-bench writes them, and the thread count in use.
static int describe_devices(bench_job *job)
{
    tn_cli_bench_result *r = &job->result;
    const tn_cli_value *layers = list_of(job, TN_OPT_GPU_LAYERS);
    const char *devices = tn_cli_text(&job->cli->options, TN_OPT_DEVICE);
    uint32_t n_threads = 0;
    tn_device_info info;
    r->cpu_info[0] = r->gpu_info[0] = r->backends[0] = r->isa[0] = '\0';
    json_decref(r->kernels);
    r->kernels = json_array();
    for (uint32_t i = 0; i < tn_host_device_count(job->engine.host); i++) {
        if (tn_host_device_info(job->engine.host, i, &info) != TN_OK) return tn_cli_fail_status(NULL);
        bool cpu = strcmp(info.backend, "cpu") == 0;
        const char *backend = cpu                                   ? "CPU"
                              : strcmp(info.backend, "cuda") == 0   ? "CUDA"
                              : strcmp(info.backend, "vulkan") == 0 ? "Vulkan"
                                                                    : info.backend;
        char *name = cpu ? r->cpu_info : r->gpu_info;
        if (!name[0]) snprintf(name, 128, "%s", info.description);
        size_t used = strlen(r->backends);
        if (!strstr(r->backends, backend)) snprintf(r->backends + used, sizeof r->backends - used, "%s%s", used ? "," : "", backend);
        n_threads += info.n_threads;
        const int rc = describe_kernels(job, i, &info);
        if (rc) return rc;
    }
    r->costs = (tn_session_costs)TN_SESSION_COSTS_INIT;
    if (tn_session_get_costs(job->engine.session, &r->costs) != TN_OK) return tn_cli_fail_status(NULL);
    if (r->test.n_threads == 0) r->test.n_threads = n_threads;
    r->n_gpu_layers = !layers->text ? layers->integer : strcmp(layers->text, "all") == 0 ? -2 : -1;
    snprintf(r->devices, sizeof r->devices, "%s", devices ? devices : "auto");
    return 0;
}

// The largest number of threads of the tests; 0 of a list is what the program takes by itself.
static uint32_t most_threads(const bench_job *job)
{
    const tn_cli_value *threads = list_of(job, TN_OPT_BENCH_THREADS);
    int64_t most = 0;
    tn_host_info info;
    tn_host_get_info(job->engine.host, &info);
    for (size_t i = 0; i < threads->n; i++) {
        const int64_t n = threads->numbers[i] ? threads->numbers[i] : info.n_cores_at_once;
        if (n > most) most = n;
    }
    return (uint32_t)most;
}

// Once, while the memory that the model will take is still free.
static int measure_limits(bench_job *job)
{
    if (!job->report.columns.limits || job->limits.measured) return 0;
    tn_cli_interrupt_install();
    if (tn_cli_given(&job->cli->options, TN_OPT_BENCH_PROGRESS)) fprintf(stderr, "ternion bench: measuring the machine\n");
    return tn_cli_limits_measure(job->cli, most_threads(job), list_of(job, TN_OPT_BENCH_THREADS), &job->limits);
}

static int begin_report(bench_job *job)
{
    if (job->begun) return 0;
    job->begun = true;
    tn_cli_interrupt_install(); // an array that was opened is closed
    return tn_cli_bench_report_begin(&job->report);
}

// Tests of one session by depth, then by the number of sequences, then by length.
static int run_tests(bench_job *job)
{
    const tn_cli_value *depths = list_of(job, TN_OPT_BENCH_DEPTH), *parallel = list_of(job, TN_OPT_BENCH_PL);
    const unsigned delay = (unsigned)tn_cli_int(&job->cli->options, TN_OPT_BENCH_DELAY);
    tn_cli_bench_test *test = &job->result.test;
    int rc = 0;
    for (size_t i = 0; i < depths->n * parallel->n * job->n_shapes && rc == 0; i++) {
        const shape *s = &job->shapes[i % job->n_shapes];
        test->n_pl = (uint32_t)parallel->numbers[i / job->n_shapes % parallel->n];
        test->n_depth = (uint32_t)depths->numbers[i / job->n_shapes / parallel->n];
        test->n_prompt = s->n_prompt;
        test->n_gen = s->n_gen;
        if (delay) nanosleep(&(struct timespec){delay, 0}, NULL);
        rc = run_test(job);
    }
    return rc;
}

// Runs all tests of one number of threads, batch and step size, which share a session.
static int run_group(bench_job *job, int64_t n_threads, int64_t n_ubatch, int64_t n_batch)
{
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    params.n_ubatch = (uint32_t)n_ubatch;
    params.n_ctx = job->n_positions_max;
    params.n_seqs_max = job->n_pl_max;
    params.profile = job->result.profile != NULL;
    job->result.test = (tn_cli_bench_test){.n_batch = (uint32_t)n_batch, .n_ubatch = (uint32_t)n_ubatch, .n_threads = (uint32_t)n_threads};
    int rc = tn_cli_engine_open_host(job->cli, &job->engine, n_threads);
    if (rc == 0) rc = tn_cli_engine_place(job->cli, &job->engine);
    if (rc == 0) rc = measure_limits(job);
    if (rc == 0) rc = tn_cli_engine_start(job->cli, &job->engine, params);
    if (rc == 0) rc = describe_devices(job);
    if (rc == 0) rc = begin_report(job); // what cannot be placed is said before anything is printed
    if (rc == 0) rc = run_tests(job);
    tn_cli_engine_stop(&job->engine);
    return rc;
}

static int run_all(bench_job *job)
{
    const tn_cli_value *threads = list_of(job, TN_OPT_BENCH_THREADS), *ubatches = list_of(job, TN_OPT_BENCH_UBATCH);
    const tn_cli_value *batches = list_of(job, TN_OPT_BENCH_BATCH);
    job->n_tests =
        threads->n * ubatches->n * batches->n * list_of(job, TN_OPT_BENCH_DEPTH)->n * list_of(job, TN_OPT_BENCH_PL)->n * job->n_shapes;
    job->report.format = tn_cli_text(&job->cli->options, TN_OPT_BENCH_FORMAT);
    job->report.engine = &job->engine;
    job->report.limits = &job->limits;
    job->report.options = &job->cli->options;
    job->report.columns.limits = !tn_cli_given(&job->cli->options, TN_OPT_BENCH_NO_LIMITS);
    job->report.columns.roofline = job->report.columns.limits && job->n_pl_max > 1;
    job->report.columns.batch = batches->n > 1;
    job->report.columns.ubatch = ubatches->n > 1;
    job->report.columns.gpu_layers = tn_cli_given(&job->cli->options, TN_OPT_GPU_LAYERS);
    job->report.columns.two_stage = strcmp(tn_cli_two_stage(job->cli), "off") != 0;
    job->report.columns.devices = tn_cli_given(&job->cli->options, TN_OPT_DEVICE);
    int rc = 0;
    for (size_t t = 0; t < threads->n && rc == 0; t++) {
        for (size_t u = 0; u < ubatches->n && rc == 0; u++) {
            for (size_t b = 0; b < batches->n && rc == 0; b++) {
                rc = run_group(job, threads->numbers[t], ubatches->numbers[u], batches->numbers[b]);
            }
        }
    }
    if (rc && !(job->begun && strcmp(job->report.format, "json") == 0)) return rc;
    int end_rc = tn_cli_bench_report_end(&job->report);
    return rc ? rc : end_rc;
}

int tn_cli_bench(tn_cli *cli)
{
    bench_job *job = calloc(1, sizeof *job);
    if (!job) return tn_cli_out_of_memory();
    job->cli = cli;
    job->silent.quiet = true;
    if (tn_cli_given(&cli->options, TN_OPT_BENCH_PROFILE)) job->result.profile = &job->profile;
    job->report.layers = cli->verbosity > 0;
    int rc = make_shapes(job);
    if (rc == 0) rc = tn_cli_engine_open_model(cli, &job->engine, TN_MODEL_LOAD_ALL);
    if (rc == 0) rc = check_context(job);
    if (rc == 0) rc = make_tokens(job);
    if (rc == 0) rc = reserve_batch(job);
    job->result.samples_ns = calloc((size_t)tn_cli_int(&cli->options, TN_OPT_BENCH_REPS), sizeof *job->result.samples_ns);
    if (rc == 0 && !job->result.samples_ns) rc = tn_cli_out_of_memory();
    if (rc == 0) rc = run_all(job);
    free(job->result.samples_ns);
    free(job->tokens);
    free(job->batch_tokens);
    free(job->batch_seqs);
    free(job->batch_top);
    json_decref(job->result.kernels);
    tn_cli_profile_deinit(&job->profile);
    tn_cli_bench_report_deinit(&job->report);
    tn_cli_limits_deinit(&job->limits);
    free(job->shapes);
    tn_cli_engine_close(&job->engine);
    free(job);
    return rc;
}
