// Speed: every test of every subject, in turn, so that what changes on the machine meanwhile changes all of them.
#include "compare.h"
#include "interrupt.h"
#include "report.h"
#include "units.h"

#include <stdlib.h>
#include <string.h>

#define PAGE_TOKENS 128u // of the KV cache

static bool has_test(const tn_cli_compare *job, const char *name)
{
    for (size_t i = 0; i + 1 < job->n_tests; i++) {
        if (strcmp(job->tests[i].name, name) == 0) return true;
    }
    return false;
}

static int plan_list(tn_cli_compare *job, tn_cli_option_id id)
{
    const tn_cli_value *value = &job->cli->options.values[id];
    for (size_t i = 0; i < value->n; i++) {
        const uint32_t n = (uint32_t)value->numbers[i];
        if (n == 0) continue;
        tn_cli_compare_test *test = &job->tests[job->n_tests++];
        test->shape = (tn_cli_bench_test){.n_pl = 1};
        if (id == TN_OPT_BENCH_PROMPT) {
            test->shape.n_prompt = n;
            snprintf(test->name, sizeof test->name, "pp%u", n);
        } else if (id == TN_OPT_BENCH_GEN) {
            test->shape.n_gen = n;
            snprintf(test->name, sizeof test->name, "tg%u", n);
        } else {
            test->shape.n_gen = TN_CLI_COMPARE_BATCH_GEN;
            test->shape.n_pl = n;
            snprintf(test->name, sizeof test->name, "b%u", n);
        }
        if (has_test(job, test->name)) { // a number that was given twice
            job->n_tests--;
            continue;
        }
        const uint64_t n_positions = (uint64_t)test->shape.n_prompt + test->shape.n_gen;
        if (n_positions > job->engine.info.n_ctx_train)
            return tn_cli_fail("ternion compare -p 64 -n 32", "the test %s does not fit into the model's context of %u", test->name,
                               job->engine.info.n_ctx_train);
        if (n_positions > job->n_positions_max) job->n_positions_max = (uint32_t)n_positions;
        if (test->shape.n_pl > job->n_seqs_max) job->n_seqs_max = test->shape.n_pl;
    }
    return 0;
}

// Pages for `n_seqs` sequences of `n` positions, if that is more than there are.
static int reserve_kv(tn_cli_compare *job, uint32_t n, uint32_t n_seqs)
{
    uint64_t bytes;
    const uint32_t whole = (n + PAGE_TOKENS - 1) / PAGE_TOKENS * PAGE_TOKENS;
    if (tn_session_kv_bytes(job->engine.model, whole, n_seqs, &bytes) != TN_OK) return tn_cli_fail_status(NULL);
    if (bytes > job->kv_bytes) job->kv_bytes = bytes;
    return 0;
}

int tn_cli_compare_plan_tests(tn_cli_compare *job)
{
    const tn_cli_value *values = job->cli->options.values;
    job->n_repetitions = (uint32_t)tn_cli_int(&job->cli->options, TN_OPT_COMPARE_REPS);
    job->tests =
        calloc(values[TN_OPT_BENCH_PROMPT].n + values[TN_OPT_BENCH_GEN].n + values[TN_OPT_COMPARE_BATCHES].n + 1, sizeof *job->tests);
    if (!job->tests) return tn_cli_out_of_memory();
    const uint32_t n_reply = job->n_greedy_prompts ? TN_CLI_COMPARE_GREEDY_PROMPT + job->n_greedy : 0;
    job->n_positions_max = job->n_context > n_reply ? job->n_context : n_reply;
    job->n_seqs_max = job->n_greedy_prompts ? job->n_greedy_prompts : 1;
    int rc = plan_list(job, TN_OPT_BENCH_PROMPT);
    if (rc == 0) rc = plan_list(job, TN_OPT_BENCH_GEN);
    if (rc == 0) rc = plan_list(job, TN_OPT_COMPARE_BATCHES);
    if (rc == 0) rc = reserve_kv(job, job->n_context, 1);
    if (rc == 0 && n_reply) rc = reserve_kv(job, n_reply, job->n_greedy_prompts);
    for (size_t i = 0; i < job->n_tests && rc == 0; i++)
        rc = reserve_kv(job, job->tests[i].shape.n_prompt + job->tests[i].shape.n_gen, job->tests[i].shape.n_pl);
    if (job->n_rows_max < job->n_seqs_max) job->n_rows_max = job->n_seqs_max; // a row for each sequence of a step
    return rc;
}

// ---- measuring ----

static int run_once(tn_cli_compare *job, tn_cli_compare_subject *subject, const tn_cli_compare_test *test, uint32_t n_gen, uint64_t *out_ns,
                    double *out_joule)
{
    const tn_cli_bench_test *shape = &test->shape;
    tn_cli_bench_feed *feed = &subject->feed;
    double before = 0, after = 0;
    int rc = tn_cli_bench_feed_depth(feed, job->n_seqs_max, 0, 1);
    if (rc) return rc;
    tn_session_profile_reset(subject->engine.session);
    bool metered = tn_cli_energy_read(&subject->meter, &before);
    const uint64_t begun_ns = tn_cli_now_ns();
    rc = tn_cli_bench_feed_prompts(feed, 0, shape->n_pl, 0, shape->n_prompt, job->n_positions_max);
    if (rc == 0) rc = tn_cli_bench_feed_replies(feed, shape->n_pl, shape->n_prompt, n_gen);
    *out_ns = tn_cli_now_ns() - begun_ns;
    metered = metered && tn_cli_energy_read(&subject->meter, &after);
    *out_joule = metered ? after - before : -1;
    return rc;
}

static int warm_up(tn_cli_compare *job, tn_cli_compare_subject *subject, const tn_cli_compare_test *test)
{
    uint64_t ns;
    double joule;
    if (tn_cli_given(&job->cli->options, TN_OPT_BENCH_NO_WARMUP)) return 0;
    return run_once(job, subject, test, test->shape.n_gen ? 1 : 0, &ns, &joule);
}

static int measure(tn_cli_compare *job, tn_cli_compare_subject *subject, size_t t, uint32_t repetition)
{
    const size_t at = t * job->n_repetitions + repetition;
    int rc = run_once(job, subject, &job->tests[t], job->tests[t].shape.n_gen, &subject->samples_ns[at], &subject->samples_joule[at]);
    if (rc == 0) rc = tn_cli_profile_add(&subject->profiles[t], subject->engine.session, job->engine.info.n_layers);
    return rc;
}

// Says how far it is, between measurements: a bar that is drawn while one runs would be part of it.
static bool tell(tn_cli_compare *job, size_t done, size_t all)
{
    const bool go_on = tn_cli_progress_update(&job->cli->progress, "measuring speed", done, all);
    tn_cli_progress_clear(&job->cli->progress);
    return go_on;
}

// `out_rounds`: repetitions that all of them have made.
static int run_test(tn_cli_compare *job, tn_cli_compare_subject *const *list, size_t n, size_t t, uint32_t *out_rounds)
{
    int rc = 0;
    *out_rounds = 0;
    for (uint32_t step = 0; step <= job->n_repetitions && rc == 0; step++) {
        for (size_t i = 0; i < n && rc == 0; i++) {
            if (list[i]->failed) continue;
            rc = step == 0 ? warm_up(job, list[i], &job->tests[t]) : measure(job, list[i], t, step - 1);
            if (rc) rc = tn_cli_compare_failed(list[i], rc);
            if (rc == 0 && tn_cli_interrupted()) rc = tn_cli_stopped();
        }
        if (rc == 0) *out_rounds = step;
        if (rc == 0 && !tell(job, t * (job->n_repetitions + 1) + step, job->n_tests * (job->n_repetitions + 1))) rc = tn_cli_stopped();
    }
    return rc;
}

// The first `n_tests` with so many repetitions of each, which are less than all only after Ctrl-C.
static int put_figures(tn_cli_compare *job, tn_cli_compare_subject *const *list, size_t n, size_t n_tests, uint32_t n_repetitions)
{
    const size_t n_tests_before = job->n_tests;
    const uint32_t n_repetitions_before = job->n_repetitions;
    int rc = 0;
    job->n_tests = n_tests;
    job->n_repetitions = n_repetitions;
    for (size_t i = 0; i < n && rc == 0; i++) {
        if (!list[i]->failed) rc = tn_cli_compare_put_figures(job, list[i]);
    }
    job->n_tests = n_tests_before;
    job->n_repetitions = n_repetitions_before;
    return rc;
}

// After Ctrl-C: the tests that are whole, or of the first one the repetitions that all have made.
static int put_what_is_there(tn_cli_compare *job, tn_cli_compare_subject *const *list, size_t n, size_t n_tests, uint32_t n_rounds)
{
    if (n_tests > 0 || n_rounds == 0) return put_figures(job, list, n, n_tests, job->n_repetitions);
    // Some subjects have one more run in their times of ops.
    for (size_t i = 0; i < n; i++) tn_cli_profile_deinit(&list[i]->profiles[0]);
    const int rc = put_figures(job, list, n, 1, n_rounds);
    if (job->interleaved) job->n_repetitions = n_rounds; // of all rows that have a speed
    return rc;
}

int tn_cli_compare_speed(tn_cli_compare *job, tn_cli_compare_subject *const *list, size_t n)
{
    const size_t n_samples = job->n_tests * job->n_repetitions;
    for (size_t i = 0; i < n; i++) {
        list[i]->samples_ns = calloc(n_samples + 1, sizeof *list[i]->samples_ns);
        list[i]->samples_joule = calloc(n_samples + 1, sizeof *list[i]->samples_joule);
        list[i]->profiles = calloc(job->n_tests + 1, sizeof *list[i]->profiles);
        if (!list[i]->samples_ns || !list[i]->samples_joule || !list[i]->profiles) return tn_cli_out_of_memory();
    }
    int rc = 0;
    size_t n_whole = 0;
    uint32_t n_rounds = 0;
    for (; n_whole < job->n_tests; n_whole++) {
        rc = run_test(job, list, n, n_whole, &n_rounds);
        if (rc) break;
    }
    tn_cli_progress_end(&job->cli->progress);
    if (rc == 0)
        rc = put_figures(job, list, n, job->n_tests, job->n_repetitions);
    else if (rc == TN_CLI_INTERRUPTED)
        (void)put_what_is_there(job, list, n, n_whole, n_rounds);
    for (size_t i = 0; i < n; i++) {
        for (size_t t = 0; t < job->n_tests; t++) tn_cli_profile_deinit(&list[i]->profiles[t]);
    }
    return rc;
}
