// Groups of tasks: their common beginnings are computed once, then all their answers behind copies of these.
#include "eval_tasks.h"

#include "eval_feed.h"
#include "eval_score.h"
#include "interrupt.h"
#include "json_out.h"
#include "output.h"
#include "plain.h"
#include "report.h"
#include "units.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"HellaSwag", "WinoGrande", "multiple choice"};
static const char *const json_names[] = {"hellaswag", "winogrande", "multiple_choice"};

// Whose rows a span gives.
typedef struct span_owner {
    tn_cli_eval_task *task;
    uint32_t choice;
} span_owner;

typedef struct tasks_job {
    tn_cli *cli;
    tn_cli_engine *engine;
    tn_cli_eval_kind kind;
    const char *path;
    tn_cli_eval_task *tasks; // [n]
    size_t n, n_in_file, n_done, n_right;
    uint64_t n_choices; // of all tasks
    uint32_t n_seqs;
    tn_cli_eval_feed feed;
    tn_cli_eval_span *spans; // [n_seqs] of a group
    span_owner *owners;      // [n_seqs]
    bool in_beginning;       // the spans are of beginnings, which all choices of a task share
    uint64_t ns;
} tasks_job;

static int wrong_task(const tasks_job *job, size_t line, const char *fmt, ...) TN_PRINTF(3, 4);
static int wrong_task(const tasks_job *job, size_t line, const char *fmt, ...)
{
    static const char *const flags[] = {"--hellaswag", "--winogrande", "--multiple-choice"};
    char why[300], command[600], word[400];
    va_list arguments;
    va_start(arguments, fmt);
    vsnprintf(why, sizeof why, fmt, arguments);
    va_end(arguments);
    snprintf(command, sizeof command, "sed -n %zup %s", line,
             strcmp(job->path, "-") == 0 ? "FILE" : tn_cli_shell_word(job->path, word, sizeof word));
    return tn_cli_fail(command, "%s %s, line %zu: %s", flags[job->kind], job->path, line, why);
}

// Tasks that stand together in a file are alike, so fewer than all are taken evenly from the whole of it.
static size_t place_of(const tasks_job *job, size_t i) { return (size_t)((double)i * (double)job->n_in_file / (double)job->n); }

static int make_tasks(tasks_job *job)
{
    tn_cli_eval_questions questions = {0};
    int rc = tn_cli_eval_read_questions(job->cli, job->kind, job->path, &questions);
    const uint64_t n_wanted = (uint64_t)tn_cli_int(&job->cli->options, TN_OPT_EVAL_TASKS);
    job->n_in_file = questions.n;
    const size_t n = n_wanted && n_wanted < questions.n ? (size_t)n_wanted : questions.n;
    if (rc == 0) job->tasks = calloc(n, sizeof *job->tasks);
    if (rc == 0 && !job->tasks) rc = tn_cli_out_of_memory();
    if (rc == 0) job->n = n;
    for (size_t i = 0; i < job->n && rc == 0; i++) {
        const char *problem;
        const tn_cli_eval_question *question = &questions.list[place_of(job, i)];
        rc = tn_cli_eval_task_make(job->engine->tokenizer, job->kind, question, &job->tasks[i], &problem);
        if (rc == 0 && problem) rc = wrong_task(job, question->line, "%s", problem);
        job->n_choices += question->n_choices;
    }
    tn_cli_eval_questions_deinit(&questions);
    return rc;
}

// Positions of the longest answer.
static int longest(const tasks_job *job, uint32_t *out)
{
    *out = 0;
    for (size_t i = 0; i < job->n; i++) {
        for (uint32_t c = 0; c < job->tasks[i].n_choices; c++) {
            const uint32_t n = job->tasks[i].choices[c].n_tokens;
            if (n > job->engine->info.n_ctx_train)
                return wrong_task(job, job->tasks[i].line, "the task has %u tokens, more than the model's context of %u: take it out", n,
                                  job->engine->info.n_ctx_train);
            if (n > *out) *out = n;
        }
    }
    return 0;
}

static int open_session(tasks_job *job)
{
    enum { SEQS = 32 };
    tn_cli *cli = job->cli;
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    const uint32_t n_batch = (uint32_t)tn_cli_int(&cli->options, TN_OPT_EVAL_BATCH);
    const int64_t asked = tn_cli_int(&cli->options, TN_OPT_EVAL_PARALLEL);
    int rc = longest(job, &params.n_ctx);
    job->n_seqs = asked ? (uint32_t)asked : SEQS;
    if (job->n_choices < job->n_seqs) job->n_seqs = (uint32_t)job->n_choices;
    for (size_t i = 0; i < job->n; i++) {
        if (job->tasks[i].n_choices > job->n_seqs) job->n_seqs = job->tasks[i].n_choices;
    }
    params.n_seqs_max = job->n_seqs;
    params.n_ubatch = (uint32_t)tn_cli_int(&cli->options, TN_OPT_UBATCH);
    params.n_logits_max = tn_cli_eval_rows_max(job->engine->info.n_vocab, n_batch);
    if (rc == 0) rc = tn_cli_engine_open_host(cli, job->engine, tn_cli_int(&cli->options, TN_OPT_THREADS));
    if (rc == 0) rc = tn_cli_engine_place(cli, job->engine, 1, params.n_ctx);
    if (rc) return rc;
    tn_cli_engine_note(job->engine, params.n_ctx);
    rc = tn_cli_engine_start(cli, job->engine, params);
    if (rc == 0) rc = tn_cli_eval_feed_init(&job->feed, cli, job->engine, n_batch);
    if (rc) return rc;
    job->spans = calloc(job->n_seqs, sizeof *job->spans);
    job->owners = calloc(job->n_seqs, sizeof *job->owners);
    return job->spans && job->owners ? 0 : tn_cli_out_of_memory();
}

// The row of a position tells the probability of the token behind it.
static int take_row(void *user, uint32_t span, uint32_t position, const float *logits)
{
    const tasks_job *job = user;
    tn_cli_eval_task *task = job->owners[span].task;
    const uint32_t first = job->in_beginning ? 0 : job->owners[span].choice;
    const uint32_t end = job->in_beginning ? task->n_choices : first + 1, n_vocab = job->engine->session_info.n_vocab;
    for (uint32_t c = first; c < end; c++) {
        tn_cli_eval_choice *choice = &task->choices[c];
        double logprob;
        if (position + 1 < choice->first || position + 1 >= choice->end) continue;
        if (tn_eval_logprob(logits, n_vocab, choice->tokens[position + 1], &logprob) != TN_OK) return tn_cli_fail_status(NULL);
        choice->logprob += logprob;
    }
    return 0;
}

// Whether a choice's first counted token is the one right behind the common beginning.
static bool counts_at_once(const tn_cli_eval_task *task)
{
    for (uint32_t c = 0; c < task->n_choices; c++) {
        if (task->choices[c].first == task->n_common) return true;
    }
    return false;
}

// A task's sequences stand together; the first of them computes the beginning.
static int feed_beginnings(tasks_job *job, tn_cli_eval_task *tasks, size_t n)
{
    uint32_t seq = 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t end = tasks[i].n_common;
        job->spans[i] = (tn_cli_eval_span){seq, tasks[i].choices[0].tokens, 0, end, counts_at_once(&tasks[i]) ? end - 1 : end};
        job->owners[i] = (span_owner){&tasks[i], 0};
        seq += tasks[i].n_choices;
    }
    job->in_beginning = true;
    return tn_cli_eval_feed_spans(&job->feed, job->spans, (uint32_t)n);
}

static int feed_answers(tasks_job *job, tn_cli_eval_task *tasks, size_t n)
{
    uint32_t seq = 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t first_seq = seq, n_common = tasks[i].n_common;
        for (uint32_t c = 0; c < tasks[i].n_choices; c++, seq++) {
            const tn_cli_eval_choice *choice = &tasks[i].choices[c];
            if (c > 0 && tn_session_seq_copy(job->engine->session, seq, first_seq, n_common) != TN_OK) return tn_cli_fail_status(NULL);
            const uint32_t first_row = choice->first > n_common ? choice->first - 1 : n_common;
            job->spans[seq] =
                (tn_cli_eval_span){seq, choice->tokens, n_common, choice->end - 1, first_row}; // the last token is a target alone
            job->owners[seq] = (span_owner){&tasks[i], c};
        }
    }
    job->in_beginning = false;
    const int rc = tn_cli_eval_feed_spans(&job->feed, job->spans, seq);
    return rc ? rc : tn_cli_eval_feed_clear(&job->feed, seq);
}

static int print_task(const tasks_job *job, const tn_cli_eval_task *task)
{
    char text[200];
    const tn_cli_eval_share s = tn_cli_eval_share_of(job->n_right, job->n_done);
    if (job->cli->json || job->cli->verbosity == 0) return 0;
    tn_cli_progress_clear(&job->cli->progress);
    const int n = snprintf(text, sizeof text, "%zu\t%.8lf%%\t[%.4lf%%, %.4lf%%]\tline %zu: %u, right is %u\n", job->n_done, 100 * s.share,
                           100 * s.low, 100 * s.high, task->line, task->chosen, task->answer);
    return tn_cli_print(text, (size_t)n);
}

static int score_group(tasks_job *job, tn_cli_eval_task *tasks, size_t n)
{
    int rc = feed_beginnings(job, tasks, n);
    if (rc == 0) rc = feed_answers(job, tasks, n);
    for (size_t i = 0; i < n && rc == 0; i++) {
        tn_cli_eval_task_choose(&tasks[i]);
        job->n_done++;
        job->n_right += tasks[i].chosen == tasks[i].answer;
        rc = print_task(job, &tasks[i]);
    }
    return rc;
}

static void count_tokens(tasks_job *job)
{
    for (size_t i = 0; i < job->n; i++) {
        const tn_cli_eval_task *task = &job->tasks[i];
        job->feed.n_all += task->n_common;
        for (uint32_t c = 0; c < task->n_choices; c++) job->feed.n_all += task->choices[c].end - 1 - task->n_common;
    }
}

static int score(tasks_job *job)
{
    int rc = 0;
    job->feed.stage = "scoring";
    job->feed.row = take_row;
    job->feed.user = job;
    count_tokens(job);
    tn_cli_note("tasks  %zu of %zu in %s, %u answers at a time", job->n, job->n_in_file, job->path, job->n_seqs);
    tn_cli_interrupt_install();
    const uint64_t begun_ns = tn_cli_now_ns();
    for (size_t first = 0, n; first < job->n && rc == 0; first += n) {
        uint32_t n_seqs = 0;
        for (n = 0; first + n < job->n && n_seqs + job->tasks[first + n].n_choices <= job->n_seqs; n++)
            n_seqs += job->tasks[first + n].n_choices;
        rc = score_group(job, &job->tasks[first], n);
    }
    job->ns = tn_cli_now_ns() - begun_ns;
    tn_cli_progress_end(&job->cli->progress);
    return rc;
}

static int print_text(const tasks_job *job, const tn_cli_eval_share *s)
{
    char text[256], error[40] = ""; // of one task there is none
    if (job->n > 1) snprintf(error, sizeof error, " ± %.4f %%", 100 * s->error);
    const int n = snprintf(text, sizeof text, "%s: %.4f %%%s right of %zu task%s (95 %%: %.4f to %.4f %%; by chance %.4f %%)\n",
                           names[job->kind], 100 * s->share, error, job->n, job->n == 1 ? "" : "s", 100 * s->low, 100 * s->high,
                           100 * (double)job->n / (double)job->n_choices);
    return tn_cli_print(text, (size_t)n);
}

static json_t *task_json(const tn_cli_eval_task *task)
{
    json_t *scores = json_array();
    for (uint32_t c = 0; c < task->n_choices; c++) json_array_append_new(scores, json_real(tn_cli_eval_choice_score(&task->choices[c])));
    return json_pack("{s:I, s:i, s:i, s:o}", "line", (json_int_t)task->line, "answer", (int)task->answer, "chosen", (int)task->chosen,
                     "scores", scores);
}

static int print_json(const tasks_job *job, const tn_cli_eval_share *s)
{
    tn_cli_json_begin();
    json_t *tasks = json_array();
    for (size_t i = 0; i < job->n; i++) json_array_append_new(tasks, task_json(&job->tasks[i]));
    return tn_cli_json_print(json_pack("{s:o, s:s, s:o, s:I, s:I, s:I, s:f, s:o, s:[ff], s:f, s:o, s:f}", "model",
                                       tn_cli_json_model(job->engine->path, &job->engine->info), "task", json_names[job->kind], "file",
                                       tn_cli_json_text(job->path, strlen(job->path)), "n_tasks_in_file", (json_int_t)job->n_in_file,
                                       "n_tasks", (json_int_t)job->n, "n_right", (json_int_t)job->n_right, "accuracy", s->share,
                                       "accuracy_error", job->n > 1 ? json_real(s->error) : json_null(), "interval_95", s->low, s->high,
                                       "chance", (double)job->n / (double)job->n_choices, "tasks", tasks, "seconds",
                                       (double)job->ns * 1e-9));
}

static int work(tasks_job *job)
{
    char time[40];
    int rc = tn_cli_engine_open_model(job->cli, job->engine, TN_MODEL_LOAD_ALL);
    if (rc == 0 && !job->engine->tokenizer) rc = tn_cli_fail(NULL, "%s has no tokenizer: use another file", job->engine->path);
    if (rc == 0) rc = make_tasks(job);
    if (rc == 0) rc = open_session(job);
    if (rc == 0) rc = score(job);
    if (rc) return rc;
    const tn_cli_eval_share share = tn_cli_eval_share_of(job->n_right, job->n);
    rc = job->cli->json ? print_json(job, &share) : print_text(job, &share);
    tn_cli_format_seconds((double)job->ns * 1e-9, time, sizeof time);
    tn_cli_note("scored %zu task%s in %s (%.1f t/s)", job->n, job->n == 1 ? "" : "s", time, tn_cli_rate(job->feed.n_done, job->ns));
    return rc;
}

int tn_cli_eval_tasks(tn_cli *cli, tn_cli_engine *engine, tn_cli_eval_kind kind, const char *path)
{
    tasks_job job;
    memset(&job, 0, sizeof job);
    job.cli = cli;
    job.engine = engine;
    job.kind = kind;
    job.path = path;
    const int rc = work(&job);
    for (size_t i = 0; i < job.n; i++) tn_cli_eval_task_deinit(&job.tasks[i]);
    free(job.tasks);
    free(job.spans);
    free(job.owners);
    tn_cli_eval_feed_deinit(&job.feed);
    return rc;
}
