// Batched tests of ternion bench, as llama-batched-bench makes them: for each number of sequences the time of their prompts and that of
// their replies, with a prompt for each of them or one that they share.
#include "bench_batched_report.h"
#include "report.h"
#include "units.h"

#include <stdio.h>
#include <stdlib.h>

#define TESTS_MAX 65536u

bool tn_cli_bench_batched_asked(const tn_cli_options *options)
{
    return tn_cli_given(options, TN_OPT_BENCH_NPP) || tn_cli_given(options, TN_OPT_BENCH_NTG);
}

int tn_cli_bench_batched_check(const tn_cli_bench_job *job)
{
    const tn_cli_options *options = &job->cli->options;
    if (!job->is_batched) {
        if (tn_cli_given(options, TN_OPT_REPLICAS))
            return tn_cli_usage("--replicas: only the tests of -npp and -ntg have sequences to share: give one of them too");
        if (tn_cli_given(options, TN_OPT_BENCH_PPS))
            return tn_cli_usage("-pps: only the tests of -npp and -ntg can share a prompt: give one of them too");
        if (tn_cli_given(options, TN_OPT_BENCH_CTX))
            return tn_cli_usage("-c: only the tests of -npp and -ntg have a limit: others take what they need");
        return 0;
    }
    if (tn_cli_given(options, TN_OPT_BENCH_PROMPT) || tn_cli_given(options, TN_OPT_BENCH_GEN) || tn_cli_given(options, TN_OPT_BENCH_PG))
        return tn_cli_usage("-npp and -ntg make other tests than -p, -n and -pg, in a table of their own: run one after the other");
    if (tn_cli_given(options, TN_OPT_BENCH_PROFILE))
        return tn_cli_usage("--profile: there is none of the tests of -npp and -ntg: use -p or -n with -npl");
    return 0;
}

// Positions of one sequence.
static uint64_t length_of(const tn_cli_bench_batched_test *test) { return (uint64_t)test->n_depth + test->n_prompt + test->n_gen; }

// Positions of all sequences, each counted once where they share it.
static uint64_t positions_of(const tn_cli_bench_batched_test *test, bool shared)
{
    const uint64_t prompt = (uint64_t)test->n_depth + test->n_prompt;
    return shared ? prompt + (uint64_t)test->n_pl * test->n_gen : test->n_pl * (prompt + test->n_gen);
}

// Sequences of the test that one copy of the model has at most.
static uint32_t in_one_copy(const tn_cli_bench_job *job, const tn_cli_bench_batched_test *test)
{
    const uint32_t n = job->batched.n_copies;
    return test->n_pl / n + (test->n_pl % n != 0);
}

// What the pages of a test take, in one copy of the model. A page in which a shared prompt ends is copied for each sequence while the first
// one is still there.
static int kv_bytes_of(const tn_cli_bench_job *job, const tn_cli_bench_batched_test *test, uint64_t *out)
{
    const tn_model *model = job->engine.model;
    const uint32_t length = (uint32_t)length_of(test), n_prompt = test->n_depth + test->n_prompt, n_pl = in_one_copy(job, test);
    uint64_t all = 0, whole = 0, prompt = 0, prompt_and_one = 0, page = 0;
    if (tn_session_kv_bytes(model, length, n_pl, &all) != TN_OK || tn_session_kv_bytes(model, length, 1, &whole) != TN_OK ||
        tn_session_kv_bytes(model, n_prompt, 1, &prompt) != TN_OK || tn_session_kv_bytes(model, 1, 1, &page) != TN_OK ||
        tn_session_kv_bytes(model, n_prompt + 1, 1, &prompt_and_one) != TN_OK)
        return tn_cli_fail_status(NULL);
    const uint64_t copied = prompt_and_one == prompt ? page : 0; // else the prompt ends where a page does
    const bool huge = all > UINT64_MAX / 4;                      // no memory is that large, and the sum below could wrap
    *out = job->batched.shared && !huge ? prompt + n_pl * (whole - prompt + copied) : all;
    return 0;
}

// The model's context bounds a sequence; it is no matter of -c, so nothing is left out for it.
static int check_length(const tn_cli_bench_job *job, const tn_cli_bench_batched_test *test)
{
    if (length_of(test) <= job->engine.info.n_ctx_train) return 0;
    return tn_cli_fail("ternion bench -npp 64 -ntg 32 -npl 1,2,4",
                       "a sequence of %llu positions (-npp %u, -ntg %u, -d %u) does not fit into the model's context of %u",
                       (unsigned long long)length_of(test), test->n_prompt, test->n_gen, test->n_depth, job->engine.info.n_ctx_train);
}

// Adds a test to those that will run, with what it needs.
static int add_test(tn_cli_bench_job *job, const tn_cli_bench_batched_test *test)
{
    tn_cli_bench_batched *b = &job->batched;
    const uint64_t positions = positions_of(test, b->shared);
    uint64_t bytes = 0;
    int rc = check_length(job, test);
    if (rc == 0) rc = kv_bytes_of(job, test, &bytes);
    if (rc) return rc;
    if (length_of(test) > job->n_positions_max) job->n_positions_max = (uint32_t)length_of(test);
    if (in_one_copy(job, test) > job->n_pl_max) job->n_pl_max = in_one_copy(job, test);
    if (bytes > job->kv_bytes) job->kv_bytes = bytes;
    if (positions > b->n_kv_needed) b->n_kv_needed = positions;
    b->tests[b->n_tests++] = *test;
    return 0;
}

// Tests that -c has no room for are left out, as llama-batched-bench does: its users give long lists and the memory that they have.
static int note_left_out(const tn_cli_bench_job *job, size_t n_left_out, const tn_cli_bench_batched_test *first)
{
    const tn_cli_bench_batched *b = &job->batched;
    const long long limit = tn_cli_int(&job->cli->options, TN_OPT_BENCH_CTX);
    const unsigned long long needed = positions_of(first, b->shared);
    if (n_left_out == 0) return 0;
    if (b->n_tests == 0)
        return tn_cli_fail("ternion bench -npp 64 -ntg 32 -npl 1,2,4",
                           "no test fits into the %lld positions of -c: the first one takes %llu", limit, needed);
    tn_cli_note("ternion bench: %zu of %zu tests take more than the %lld positions of -c and are left out; the first: PP %u, TG %u, B %u "
                "takes %llu",
                n_left_out, n_left_out + b->n_tests, limit, first->n_prompt, first->n_gen, first->n_pl, needed);
    return 0;
}

// Every combination, in the order of llama-batched-bench.
static int make_tests(tn_cli_bench_job *job)
{
    const tn_cli_value *depths = tn_cli_bench_list(job, TN_OPT_BENCH_DEPTH), *prompts = tn_cli_bench_list(job, TN_OPT_BENCH_NPP);
    const tn_cli_value *replies = tn_cli_bench_list(job, TN_OPT_BENCH_NTG), *parallel = tn_cli_bench_list(job, TN_OPT_BENCH_PL);
    const uint64_t limit = (uint64_t)tn_cli_int(&job->cli->options, TN_OPT_BENCH_CTX);
    const size_t n = depths->n * prompts->n * replies->n * parallel->n;
    tn_cli_bench_batched_test first_out = {0};
    size_t n_left_out = 0;
    if (n > TESTS_MAX) return tn_cli_usage("too many tests: %zu, and at most %u", n, TESTS_MAX);
    job->batched.tests = malloc(n * sizeof *job->batched.tests);
    if (!job->batched.tests) return tn_cli_out_of_memory();
    for (size_t i = 0; i < n; i++) {
        const tn_cli_bench_batched_test test = {
            .n_pl = (uint32_t)parallel->numbers[i % parallel->n],
            .n_gen = (uint32_t)replies->numbers[i / parallel->n % replies->n],
            .n_prompt = (uint32_t)prompts->numbers[i / parallel->n / replies->n % prompts->n],
            .n_depth = (uint32_t)depths->numbers[i / parallel->n / replies->n / prompts->n],
        };
        if (test.n_prompt == 0 && test.n_gen == 0) continue;
        if (limit > 0 && positions_of(&test, job->batched.shared) > limit) {
            if (n_left_out++ == 0) first_out = test;
            continue;
        }
        const int rc = add_test(job, &test);
        if (rc) return rc;
    }
    if (job->batched.n_tests == 0 && n_left_out == 0) return tn_cli_usage("no test is left: give -npp or -ntg a length above 0");
    job->batched.n_kv_max = limit > 0 ? limit : job->batched.n_kv_needed;
    return note_left_out(job, n_left_out, &first_out);
}

int tn_cli_bench_batched_plan(tn_cli_bench_job *job)
{
    tn_cli_bench_batched *b = &job->batched;
    const tn_cli_options *options = &job->cli->options;
    b->n_copies = tn_cli_n_copies(job->cli);
    b->has_depth = tn_cli_given(options, TN_OPT_BENCH_DEPTH);
    b->shared = tn_cli_given(options, TN_OPT_BENCH_PPS);
    b->n_runs = tn_cli_given(options, TN_OPT_BENCH_REPS) ? (size_t)tn_cli_int(options, TN_OPT_BENCH_REPS) : 1; // as llama-batched-bench
    b->prompt_ns = calloc(b->n_runs, sizeof *b->prompt_ns);
    b->reply_ns = calloc(b->n_runs, sizeof *b->reply_ns);
    return b->prompt_ns && b->reply_ns ? make_tests(job) : tn_cli_out_of_memory();
}

// Leaves in the session what stands before a prompt, in the sequences that compute one, and nothing in the others.
static int make_ready(tn_cli_bench_job *job, const tn_cli_bench_batched_test *test, tn_cli_bench_feed *feed, uint32_t n_seqs)
{
    const uint32_t n_own = job->batched.shared ? 1 : n_seqs;
    for (uint32_t seq = n_own; seq < job->n_pl_max; seq++) {
        if (tn_session_seq_truncate(tn_cli_engine_session(&job->engine, feed->copy), seq, 0) != TN_OK) return tn_cli_fail_status(NULL);
    }
    return tn_cli_bench_feed_depth(feed, n_own, test->n_depth, job->result.test.n_batch);
}

static int share_prompt(tn_cli_bench_job *job, const tn_cli_bench_batched_test *test, const tn_cli_bench_feed *feed, uint32_t n_seqs)
{
    tn_session *session = tn_cli_engine_session(&job->engine, feed->copy);
    for (uint32_t seq = 1; seq < n_seqs; seq++) {
        if (tn_session_seq_copy(session, seq, 0, test->n_depth + test->n_prompt) != TN_OK) return tn_cli_fail_status(NULL);
    }
    return 0;
}

static int run_prompts(tn_cli_bench_job *job, const tn_cli_bench_batched_test *test, tn_cli_bench_feed *feed, uint32_t n_seqs)
{
    const uint32_t n_own = job->batched.shared ? 1 : n_seqs;
    const int rc = tn_cli_bench_feed_prompts(feed, 0, n_own, test->n_depth, test->n_prompt, job->result.test.n_batch);
    return rc == 0 && job->batched.shared ? share_prompt(job, test, feed, n_seqs) : rc;
}

static int run_replies(tn_cli_bench_job *job, const tn_cli_bench_batched_test *test, tn_cli_bench_feed *feed, uint32_t n_seqs)
{
    (void)job; // the feed knows all
    return tn_cli_bench_feed_replies(feed, n_seqs, test->n_depth + test->n_prompt, test->n_gen);
}

static int run_once(tn_cli_bench_job *job, const tn_cli_bench_batched_test *test, uint64_t *out_prompt_ns, uint64_t *out_reply_ns)
{
    int rc = tn_cli_bench_copies_run(job, test, make_ready);
    if (rc) return rc;
    const uint64_t begun_ns = tn_cli_now_ns();
    rc = tn_cli_bench_copies_run(job, test, run_prompts);
    const uint64_t between_ns = tn_cli_now_ns();
    if (rc == 0) rc = tn_cli_bench_copies_run(job, test, run_replies);
    *out_prompt_ns = between_ns - begun_ns;
    *out_reply_ns = tn_cli_now_ns() - between_ns;
    return rc;
}

// A step as those of the prompts and one as those of the replies: enough to have weights and threads ready.
static int warm_up(tn_cli_bench_job *job, const tn_cli_bench_batched_test *test, tn_cli_bench_feed *feed, uint32_t n_seqs)
{
    const tn_cli_bench_test *t = &job->result.test;
    const uint32_t n = test->n_prompt < t->n_ubatch ? test->n_prompt : t->n_ubatch;
    int rc = make_ready(job, test, feed, n_seqs);
    if (rc == 0) rc = tn_cli_bench_feed_prompts(feed, 0, 1, test->n_depth, n, t->n_batch);
    if (rc == 0) rc = tn_cli_bench_feed_replies(feed, n_seqs, test->n_depth + n, test->n_gen ? 1 : 0);
    return rc;
}

static int run_test(tn_cli_bench_job *job, const tn_cli_bench_batched_test *test)
{
    tn_cli_bench_batched *b = &job->batched;
    int rc = 0;
    tn_cli_bench_begin_test(job);
    if (!tn_cli_given(&job->cli->options, TN_OPT_BENCH_NO_WARMUP)) {
        tn_cli_bench_say(job, "warm-up", 1);
        rc = tn_cli_bench_copies_run(job, test, warm_up);
    }
    for (size_t i = 0; i < b->n_runs && rc == 0; i++) {
        tn_cli_bench_say(job, "run", i + 1);
        rc = run_once(job, test, &b->prompt_ns[i], &b->reply_ns[i]);
    }
    if (rc == 0) rc = tn_cli_bench_batched_report_add(job, test);
    job->n_done++;
    return rc;
}

// What feeds the copies beside the first.
static int make_feeds(tn_cli_bench_job *job)
{
    tn_cli_bench_batched *b = &job->batched;
    const tn_cli_value *batches = tn_cli_bench_list(job, TN_OPT_BENCH_BATCH);
    uint32_t n_batch = 0;
    for (size_t i = 0; i < batches->n; i++) n_batch = (uint32_t)batches->numbers[i] > n_batch ? (uint32_t)batches->numbers[i] : n_batch;
    if (b->more_feeds || b->n_copies == 1) return 0;
    b->more_feeds = calloc(b->n_copies - 1, sizeof *b->more_feeds);
    if (!b->more_feeds) return tn_cli_out_of_memory();
    int rc = 0;
    for (uint32_t i = 0; i + 1 < b->n_copies && rc == 0; i++) {
        rc = tn_cli_bench_feed_init(&b->more_feeds[i], &job->engine, n_batch, job->n_pl_max);
        b->more_feeds[i].copy = i + 1;
    }
    return rc;
}

int tn_cli_bench_batched_run(tn_cli_bench_job *job)
{
    int rc = make_feeds(job);
    if (rc == 0) rc = tn_cli_bench_batched_report_begin(job);
    for (size_t i = 0; i < job->batched.n_tests && rc == 0; i++) rc = run_test(job, &job->batched.tests[i]);
    return rc;
}

void tn_cli_bench_batched_deinit(tn_cli_bench_batched *batched)
{
    for (uint32_t i = 0; batched->more_feeds && i + 1 < batched->n_copies; i++) tn_cli_bench_feed_deinit(&batched->more_feeds[i]);
    free(batched->more_feeds);
    free(batched->tests);
    free(batched->prompt_ns);
    free(batched->reply_ns);
}
