// Keeps the batcher's queue filled and writes down what comes out of it.
#include "batch_run.h"

#include "batch_result.h"
#include "interrupt.h"
#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Lines without a result hold at most so many bytes of input, and one line more.
#define WORK_BYTES_MAX ((uint64_t)64 << 20)
// How long a pipe is waited for before Ctrl-C is looked at again.
#define WAIT_MS 200

typedef struct job job;

// A prompt of a line: one request of the batcher.
typedef struct slot {
    job *job;
    uint64_t request;
    tn_result *result; // owned; NULL: it has not ended
} slot;

// A line on its way from the input to its result.
struct job {
    job *next, **place; // of the run's list; the pointer that leads here
    uint64_t line, hash, n_bytes;
    tn_cli_batch_request request;
    tn_cli_batch_error error;
    bool failed; // `error` says why
    slot *slots; // [request.n_prompts]
    size_t n_submitted, n_ended;
};

typedef struct run {
    tn_cli_batch_run_params p;
    tn_cli_batch_resume resume;
    job *jobs;       // all that have no result yet
    job *submitting; // the one whose prompts are not all submitted; NULL: there is none
    bool input_ended;
} run;

static void link_job(run *r, job *j)
{
    j->next = r->jobs;
    j->place = &r->jobs;
    if (j->next) j->next->place = &j->next;
    r->jobs = j;
    r->p.counts->bytes_in_work += j->n_bytes;
}

static void drop_job(run *r, job *j)
{
    *j->place = j->next;
    if (j->next) j->next->place = j->place;
    r->p.counts->bytes_in_work -= j->n_bytes;
    for (size_t i = 0; i < j->n_submitted; i++) tn_result_destroy(j->slots[i].result);
    free(j->slots);
    tn_cli_batch_request_deinit(&j->request);
    free(j);
}

// The line has no answer, whatever its other prompts give.
static void fail_job(run *r, job *j)
{
    j->failed = true;
    for (size_t i = 0; i < j->n_submitted; i++) {
        if (!j->slots[i].result) (void)!tn_batcher_cancel(r->p.batcher, j->slots[i].request); // not found where it has just ended
    }
}

static char *line_of(const run *r, const job *j, size_t *len)
{
    const tn_cli_batch_where where = {.line = j->line, .hash = j->hash, .model = r->p.model, .fingerprint = r->p.fingerprint};
    if (j->failed) return tn_cli_batch_error_line(&where, j->request.custom_id, &j->error, len);
    const tn_result **results = malloc(j->request.n_prompts * sizeof *results);
    if (!results) return NULL;
    for (size_t i = 0; i < j->request.n_prompts; i++) results[i] = j->slots[i].result;
    char *line = tn_cli_batch_result_line(r->p.context, &where, &j->request, results, len);
    free(results);
    return line;
}

// The line's answers, or their JSON, are more than there is memory for: they go, and it fails alone.
static char *line_without_memory(const run *r, job *j, size_t *len)
{
    for (size_t i = 0; i < j->n_submitted; i++) {
        tn_result_destroy(j->slots[i].result);
        j->slots[i].result = NULL;
    }
    j->failed = true;
    tn_cli_batch_error_of(TN_OUT_OF_MEMORY, "no memory is left for the answers of this line: ask for fewer or shorter ones", &j->error);
    return line_of(r, j, len);
}

// Why the first of them failed is said once: a file may fail as a whole, for want of a template for example.
static void note_failure(run *r, const job *j)
{
    if (r->p.counts->n_failed++ == 0)
        tn_cli_warn("line %" PRIu64 " failed: %s (further failures are told in the results alone)", j->line, j->error.message);
}

// Writes the result of a line that has one.
static int finish_job(run *r, job *j)
{
    size_t len = 0;
    char *line = line_of(r, j, &len);
    if (!line && !j->failed) line = line_without_memory(r, j, &len);
    if (!r->p.journal->regular) tn_cli_progress_clear(&r->p.cli->progress); // both may be on one terminal
    const int rc = line ? tn_cli_batch_journal_append(r->p.journal, line, len) : tn_cli_out_of_memory();
    free(line);
    if (rc) return rc;
    if (j->failed)
        note_failure(r, j);
    else
        r->p.counts->n_ok++;
    drop_job(r, j);
    return 0;
}

static tn_status submit_prompt(run *r, job *j, size_t index)
{
    tn_request_params params = j->request.params;
    tn_sampler_params sampler = j->request.sampler;
    slot *s = &j->slots[index];
    sampler.sequence += index * (uint64_t)(params.n_samples ? params.n_samples : 1);
    *s = (slot){.job = j};
    params.tokens = j->request.prompts[index];
    params.n_tokens = j->request.n_prompt_tokens[index];
    params.sampler = &sampler;
    params.user = s;
    return tn_batcher_submit(r->p.batcher, &params, &s->request);
}

// As many prompts of the line as the queue takes. Without memory it waits for what runs, if anything does.
static int submit_job(run *r)
{
    job *j = r->submitting;
    while (j->n_submitted < j->request.n_prompts && !j->failed) {
        const tn_status status = submit_prompt(r, j, j->n_submitted);
        const bool full = status == TN_LIMIT && tn_error_last()->native_code == TN_BATCHER_FULL;
        const bool others_run = j->n_submitted > j->n_ended || j->next || r->jobs != j;
        if (full || (status == TN_OUT_OF_MEMORY && others_run)) return 0;
        if (status == TN_OK) {
            j->n_submitted++;
        } else {
            tn_cli_batch_error_of(status, NULL, &j->error);
            fail_job(r, j);
        }
    }
    r->submitting = NULL;
    return j->n_ended == j->n_submitted ? finish_job(r, j) : 0; // it failed, and nothing of it runs
}

static void refuse_long_line(job *j)
{
    j->failed = true;
    j->error.status = 400;
    snprintf(j->error.type, sizeof j->error.type, "invalid_request_error");
    snprintf(j->error.code, sizeof j->error.code, "line_too_long");
    snprintf(j->error.message, sizeof j->error.message, "the line has more than %zu bytes, the most that a request may have",
             TN_CLI_BATCH_LINE_MAX);
}

static int take_line(run *r, const tn_cli_batch_line *line)
{
    job *j = calloc(1, sizeof *j);
    if (!j) return tn_cli_out_of_memory();
    j->line = line->number;
    j->hash = line->hash;
    j->n_bytes = line->end - line->offset;
    link_job(r, j);
    if (line->too_long)
        refuse_long_line(j);
    else
        j->failed = !tn_cli_batch_request_parse(r->p.context, line->number, line->text, line->len, &j->request, &j->error);
    if (j->failed) return finish_job(r, j);
    j->slots = calloc(j->request.n_prompts, sizeof *j->slots);
    if (!j->slots) return tn_cli_out_of_memory();
    r->submitting = j;
    return submit_job(r);
}

static int cannot_read(const run *r, int number)
{
    if (number == ENOMEM) return tn_cli_out_of_memory();
    return tn_cli_fail(NULL, "cannot read %s: %s", r->p.input, strerror(number));
}

// Takes lines until nothing more can be taken now. Where nothing runs, it waits a little for the input.
static int fill_queue(run *r)
{
    tn_cli_batch_counts *counts = r->p.counts;
    while (!r->input_ended && !tn_cli_interrupted()) {
        if (r->submitting) {
            const int rc = submit_job(r);
            if (rc || r->submitting) return rc;
        }
        tn_cli_batch_line line;
        if (r->jobs && counts->bytes_in_work > WORK_BYTES_MAX) return 0;
        const tn_cli_batch_read_result read = tn_cli_batch_read(r->p.reader, r->jobs ? 0 : WAIT_MS, &line);
        if (read == TN_CLI_BATCH_READ_LATER) return 0;
        if (read == TN_CLI_BATCH_READ_FAILED) return cannot_read(r, errno);
        r->input_ended = read == TN_CLI_BATCH_READ_END;
        const tn_cli_batch_progress_of_line progress = tn_cli_batch_resume_line(&r->resume, r->input_ended ? NULL : &line);
        if (progress == TN_CLI_BATCH_CHANGED) {
            counts->is_refused = true;
            return tn_cli_batch_resume_refuse(&r->resume);
        }
        if (r->input_ended) return 0;
        counts->bytes_read = line.end;
        if (progress == TN_CLI_BATCH_DONE) {
            counts->n_before++;
            counts->bytes_before += line.end - line.offset;
        }
        const int rc = progress == TN_CLI_BATCH_TODO ? take_line(r, &line) : 0;
        if (rc) return rc;
    }
    return 0;
}

static int collect(run *r)
{
    for (tn_result *result; (result = tn_batcher_poll(r->p.batcher));) {
        slot *s = result->user;
        job *j = s->job;
        s->result = result;
        j->n_ended++;
        if (!j->failed && tn_cli_batch_error_of_result(result, &j->error)) fail_job(r, j);
        const int rc = j != r->submitting && j->n_ended == j->n_submitted ? finish_job(r, j) : 0;
        if (rc) return rc;
    }
    return 0;
}

static int loop(run *r)
{
    uint32_t left = 0;
    int rc = 0;
    while (rc == 0 && !tn_cli_interrupted()) {
        rc = fill_queue(r);
        if (rc || (r->input_ended && !r->jobs)) return rc;
        if (!r->jobs) continue; // for the input
        if (tn_batcher_step(r->p.batcher, &left) != TN_OK) return tn_cli_fail_status(NULL);
        rc = collect(r);
        if (rc == 0) rc = tn_cli_batch_journal_sync(r->p.journal, false);
        tn_cli_batch_show(r->p.cli, r->p.batcher, r->p.counts);
    }
    return rc ? rc : TN_CLI_INTERRUPTED;
}

int tn_cli_batch_run(const tn_cli_batch_run_params *params)
{
    run r = {.p = *params, .resume = {.journal = params->journal, .input = params->input}};
    int rc = loop(&r);
    for (job *j = r.jobs, *next; j; j = next) {
        next = j->next;
        drop_job(&r, j);
    }
    const int synced = tn_cli_batch_journal_sync(params->journal, true);
    return rc ? rc : synced;
}
