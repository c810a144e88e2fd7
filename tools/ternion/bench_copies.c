// Parts of a batched test in several copies of the model at the same time, a thread for each.
#include "bench_job.h"
#include "report.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

typedef struct copy {
    tn_cli_bench_job *job;
    const tn_cli_bench_batched_test *test;
    tn_cli_bench_part *part;
    tn_cli_bench_feed *feed;
    uint32_t n_seqs;
    pthread_t thread;
    int rc;
} copy;

static void *copy_main(void *arg)
{
    copy *c = arg;
    c->rc = c->n_seqs ? c->part(c->job, c->test, c->feed, c->n_seqs) : 0;
    return NULL;
}

// Signals are the first thread's.
static int start(copy *c)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = pthread_create(&c->thread, NULL, copy_main, c);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error ? tn_cli_fail(NULL, "a thread for a copy of the model could not be started: allow this user more of them") : 0;
}

static copy copy_of(tn_cli_bench_job *job, const tn_cli_bench_batched_test *test, tn_cli_bench_part *part, uint32_t number)
{
    const uint32_t n = job->batched.n_copies;
    return (copy){.job = job,
                  .test = test,
                  .part = part,
                  .feed = number ? &job->batched.more_feeds[number - 1] : &job->feed,
                  .n_seqs = test->n_pl / n + (number < test->n_pl % n)};
}

int tn_cli_bench_copies_run(tn_cli_bench_job *job, const tn_cli_bench_batched_test *test, tn_cli_bench_part *part)
{
    const uint32_t n = job->batched.n_copies;
    copy *copies = calloc(n, sizeof *copies);
    uint32_t n_started = 0;
    int rc = 0;
    if (!copies) return tn_cli_out_of_memory();
    for (uint32_t i = 0; i < n; i++) copies[i] = copy_of(job, test, part, i);
    while (n_started + 1 < n && (rc = start(&copies[n_started + 1])) == 0) n_started++;
    if (rc == 0) copy_main(&copies[0]);
    for (uint32_t i = 0; i < n_started; i++) pthread_join(copies[i + 1].thread, NULL);
    for (uint32_t i = 0; i < n && rc == 0; i++) rc = copies[i].rc;
    free(copies);
    return rc;
}
