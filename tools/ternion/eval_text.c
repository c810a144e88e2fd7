// The text's windows through the model, a group of sequences at a time; each scored row goes to the statistics and the baseline.
#include "eval_text.h"

#include "bytes_hash.h"
#include "eval_baseline.h"
#include "eval_feed.h"
#include "eval_print.h"
#include "eval_windows.h"
#include "interrupt.h"
#include "output.h"
#include "prompt.h"
#include "report.h"
#include "same_file.h"
#include "units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct text_job {
    tn_cli *cli;
    tn_cli_engine *engine;
    tn_cli_prompt prompt;
    tn_cli_eval_windows windows;
    uint32_t n_seqs;
    tn_eval_stats *stats;
    tn_cli_eval_feed feed;
    tn_cli_baseline_writer writer;
    tn_cli_baseline_reader reader;
    const char *save, *baseline; // names of files, NULL: none
    int32_t *tokens;             // [n_seqs][n_positions] of the group in work
    tn_cli_eval_span *spans;     // [n_seqs]
    double *ppls;                // [windows.n] after each window
    uint64_t n_done;             // windows
    uint64_t ns;                 // that scoring took
} text_job;

static int check_files(const text_job *job)
{
    const char *inputs[] = {job->engine->path, tn_cli_text(&job->cli->options, TN_OPT_FILE), job->baseline};
    static const char *const what[] = {"the model file", "the text", "the file of --baseline"};
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        if (tn_cli_same_file(job->save, inputs[i])) return tn_cli_usage("--save-baseline %s is %s", job->save, what[i]);
    }
    return job->save && strcmp(job->save, "-") == 0 ? tn_cli_usage("--save-baseline needs the name of a file") : 0;
}

static int read_text(text_job *job)
{
    int rc = tn_cli_prompt_read(job->cli, &job->prompt, TN_CLI_INPUT_MAX);
    if (rc) return rc;
    if (job->prompt.from_terminal) return tn_cli_usage("there is no text: give one with -f, -p or on standard input");
    // llama-perplexity leaves out one newline at the end of a file, as llama.cpp's programs do.
    if (job->prompt.from_file && job->prompt.len > 0 && job->prompt.text[job->prompt.len - 1] == '\n') job->prompt.len--;
    return tn_cli_prompt_encode(job->cli, job->engine, &job->prompt, TN_ENCODE_ADD_SPECIAL);
}

// What a baseline says stands where the flags say nothing.
static uint32_t number_of(const text_job *job, tn_cli_option_id id, uint32_t of_baseline)
{
    const bool given = tn_cli_given(&job->cli->options, id);
    return given || !job->baseline ? (uint32_t)tn_cli_int(&job->cli->options, id) : of_baseline;
}

static int cut_windows(text_job *job)
{
    const tn_cli_baseline_info *base = &job->reader.info;
    const uint32_t n_model = job->engine->info.n_ctx_train;
    const uint32_t context = number_of(job, TN_OPT_EVAL_CTX, base->context), stride = number_of(job, TN_OPT_EVAL_STRIDE, base->stride);
    const bool adds_bos = tn_tokenizer_adds_bos(job->engine->tokenizer) && tn_tokenizer_bos(job->engine->tokenizer) != TN_TOKEN_NONE;
    const int64_t n_chunks = tn_cli_int(&job->cli->options, TN_OPT_EVAL_CHUNKS);
    const uint64_t n_max = n_chunks > 0 ? (uint64_t)n_chunks : base->n_windows; // 0 without a baseline: no limit
    if (stride > context) return tn_cli_usage("--stride %u is longer than the context of %u (-c)", stride, context);
    job->windows = tn_cli_eval_windows_of(job->prompt.n_tokens, context, stride, adds_bos, n_max);
    const uint32_t n_positions = job->windows.n_positions;
    if (n_positions > n_model) {
        return tn_cli_fail("ternion eval -f TEXT -c 256", "windows of %u tokens (-c%s) are longer than the model's context of %u",
                           n_positions, stride ? " and half of --stride" : "", n_model);
    }
    if (job->windows.n > UINT32_MAX) return tn_cli_usage("the text has more windows than can be counted: raise -c or --stride");
    if (job->windows.n > 0) return 0;
    return tn_cli_fail("ternion eval -f TEXT -c 64",
                       "the text has %zu token%s, but a window has %u: give a longer text, or a shorter context (-c)", job->prompt.n_tokens,
                       job->prompt.n_tokens == 1 ? "" : "s", n_positions);
}

static tn_cli_baseline_info describe(const text_job *job)
{
    const tn_cli_eval_windows *w = &job->windows;
    tn_cli_baseline_info info = {.n_vocab = job->engine->info.n_vocab, .context = w->context, .stride = w->stride};
    info.n_windows = (uint32_t)w->n;
    info.n_rows = w->n_rows;
    info.puts_bos = w->puts_bos;
    info.n_tokens = job->prompt.n_tokens;
    info.tokens_hash = tn_cli_hash(job->prompt.tokens, job->prompt.n_tokens * sizeof *job->prompt.tokens, 0);
    info.model_bytes = job->engine->info.file_bytes;
    info.n_params = job->engine->info.n_params;
    snprintf(info.model_name, sizeof info.model_name, "%.63s", job->engine->info.name);
    snprintf(info.model_type, sizeof info.model_type, "%s", job->engine->info.type);
    snprintf(info.version, sizeof info.version, "%s", tn_version());
    return info;
}

// What does not fit is said before the model is packed.
static int prepare_baselines(text_job *job)
{
    tn_cli_baseline_info info = describe(job);
    int rc = job->baseline ? tn_cli_baseline_match(&job->reader, &info) : 0;
    if (rc || !job->save) return rc;
    if (!tn_cli_hash_file(job->engine->path, &info.model_hash))
        return tn_cli_fail(NULL, "cannot read %s: %s", job->engine->path, strerror(errno));
    tn_cli_interrupt_install(); // from here on there is a temporary file to remove
    return tn_cli_baseline_create(&job->writer, job->save, &info);
}

static int open_session(text_job *job)
{
    tn_cli *cli = job->cli;
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    const uint32_t n_batch = (uint32_t)tn_cli_int(&cli->options, TN_OPT_EVAL_BATCH);
    const uint32_t n_positions = job->windows.n_positions;
    uint64_t n_seqs = (uint64_t)tn_cli_int(&cli->options, TN_OPT_EVAL_PARALLEL);
    if (n_seqs == 0) n_seqs = n_batch / n_positions;
    if (n_seqs > job->windows.n) n_seqs = job->windows.n;
    job->n_seqs = n_seqs ? (uint32_t)n_seqs : 1;
    params.n_ctx = n_positions;
    params.n_seqs_max = job->n_seqs;
    params.n_ubatch = (uint32_t)tn_cli_int(&cli->options, TN_OPT_UBATCH);
    params.n_logits_max = tn_cli_eval_rows_max(job->engine->info.n_vocab, n_batch);
    int rc = tn_cli_engine_open_host(cli, job->engine, tn_cli_int(&cli->options, TN_OPT_THREADS));
    if (rc == 0) rc = tn_cli_engine_place(cli, job->engine, 1, n_positions);
    if (rc) return rc;
    tn_cli_engine_note(job->engine, n_positions);
    rc = tn_cli_engine_start(cli, job->engine, params);
    return rc ? rc : tn_cli_eval_feed_init(&job->feed, cli, job->engine, n_batch);
}

static int reserve(text_job *job)
{
    job->tokens = calloc((size_t)job->n_seqs * job->windows.n_positions, sizeof *job->tokens);
    job->spans = calloc(job->n_seqs, sizeof *job->spans);
    job->ppls = calloc((size_t)job->windows.n, sizeof *job->ppls);
    if (!job->tokens || !job->spans || !job->ppls) return tn_cli_out_of_memory();
    return tn_eval_stats_create(job->engine->session_info.n_vocab, &job->stats) == TN_OK ? 0 : tn_cli_fail_status(NULL);
}

// Window `job->n_done` is scored whole.
static int end_window(text_job *job)
{
    tn_eval_summary summary = TN_EVAL_SUMMARY_INIT;
    tn_eval_stats_summarise_means(job->stats, &summary); // quantiles would sort all rows again after each window
    job->ppls[job->n_done++] = summary.ppl;
    if (!job->baseline || job->cli->json) return 0;
    tn_cli_progress_clear(&job->cli->progress);
    return tn_cli_eval_print_window(&summary, job->n_done);
}

static int take_row(void *user, uint32_t span, uint32_t position, const float *logits)
{
    text_job *job = user;
    const tn_cli_eval_windows *w = &job->windows;
    const float *base = NULL;
    (void)span; // rows come window by window
    int rc = job->baseline ? tn_cli_baseline_next(&job->reader, &base) : 0;
    if (rc == 0 && job->save) rc = tn_cli_baseline_add(&job->writer, logits);
    if (rc) return rc;
    const int32_t target = job->prompt.tokens[job->n_done * w->step + position + 1];
    if (tn_eval_stats_add(job->stats, logits, base, target) != TN_OK) return tn_cli_fail_status(NULL);
    return position + 1 == w->first_row + w->n_rows ? end_window(job) : 0;
}

// The last token of a window is a target alone.
static int score_group(text_job *job, uint64_t first, uint32_t n)
{
    const tn_cli_eval_windows *w = &job->windows;
    for (uint32_t i = 0; i < n; i++) {
        int32_t *tokens = job->tokens + (size_t)i * w->n_positions;
        memcpy(tokens, job->prompt.tokens + (first + i) * w->step, w->n_positions * sizeof *tokens);
        if (w->puts_bos) tokens[0] = tn_tokenizer_bos(job->engine->tokenizer);
        job->spans[i] = (tn_cli_eval_span){i, tokens, 0, w->n_positions - 1, w->first_row};
    }
    const int rc = tn_cli_eval_feed_spans(&job->feed, job->spans, n);
    return rc ? rc : tn_cli_eval_feed_clear(&job->feed, n);
}

static int score(text_job *job)
{
    const uint64_t n = job->windows.n;
    job->feed.stage = "scoring";
    job->feed.n_all = n * (job->windows.n_positions - 1);
    job->feed.row = take_row;
    job->feed.user = job;
    tn_cli_note("text  %zu tokens: %" PRIu64 " windows of %u, %u tokens scored of each, %u at a time", job->prompt.n_tokens, n,
                job->windows.n_positions, job->windows.n_rows, job->n_seqs);
    if (job->baseline) tn_cli_note("baseline  %s %s", job->reader.info.model_name, job->reader.info.model_type);
    tn_cli_interrupt_install();
    const uint64_t begun_ns = tn_cli_now_ns();
    int rc = 0;
    for (uint64_t first = 0; first < n && rc == 0; first += job->n_seqs)
        rc = score_group(job, first, n - first < job->n_seqs ? (uint32_t)(n - first) : job->n_seqs);
    job->ns = tn_cli_now_ns() - begun_ns;
    tn_cli_progress_end(&job->cli->progress);
    return rc;
}

// llama-perplexity's line of running perplexities; of an interrupted run those that are there.
static int print_ppls(const text_job *job)
{
    char text[64];
    int rc = 0;
    for (uint64_t i = 0; i < job->n_done && rc == 0; i++) {
        const int n = snprintf(text, sizeof text, "[%" PRIu64 "]%.4lf,", i + 1, job->ppls[i]);
        rc = tn_cli_print(text, (size_t)n);
    }
    return rc == 0 && job->n_done ? tn_cli_print("\n", 1) : rc;
}

static int print_text(const text_job *job, const tn_eval_summary *summary)
{
    char text[128];
    if (job->baseline) return tn_cli_eval_print_blocks(summary);
    const int rc = print_ppls(job);
    if (rc) return rc;
    const int n = snprintf(text, sizeof text, "Final estimate: PPL = %.4lf +/- %.5lf\n", summary->ppl, summary->ppl_error);
    return tn_cli_print(text, (size_t)n);
}

static json_t *text_json(const text_job *job)
{
    char hash[17];
    const char *file = tn_cli_text(&job->cli->options, TN_OPT_FILE);
    const tn_cli_baseline_info info = describe(job);
    snprintf(hash, sizeof hash, "%016" PRIx64, info.tokens_hash);
    return json_pack("{s:o, s:I, s:s}", "source", file ? tn_cli_json_text(file, strlen(file)) : json_null(), "n_tokens",
                     (json_int_t)job->prompt.n_tokens, "xxh64", hash);
}

static json_t *baseline_json(const text_job *job)
{
    char hash[17];
    const tn_cli_baseline_info *info = &job->reader.info;
    if (!job->baseline) return json_null();
    snprintf(hash, sizeof hash, "%016" PRIx64, info->model_hash);
    return json_pack("{s:o, s:o, s:o, s:I, s:I, s:s}", "file", tn_cli_json_text(job->baseline, strlen(job->baseline)), "model",
                     tn_cli_json_text(info->model_name, strlen(info->model_name)), "type",
                     tn_cli_json_text(info->model_type, strlen(info->model_type)), "size", (json_int_t)info->model_bytes, "n_params",
                     (json_int_t)info->n_params, "xxh64", hash);
}

static int print_json(const text_job *job, const tn_eval_summary *summary)
{
    const tn_cli_eval_windows *w = &job->windows;
    tn_cli_json_begin();
    json_t *ppls = json_array();
    for (uint64_t i = 0; i < w->n; i++) json_array_append_new(ppls, json_real(job->ppls[i]));
    return tn_cli_json_print(json_pack("{s:o, s:o, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:f}", "model",
                                       tn_cli_json_model(job->engine->path, &job->engine->info), "text", text_json(job), "context",
                                       (json_int_t)w->context, "stride", (json_int_t)w->stride, "n_chunks", (json_int_t)w->n, "n_seqs",
                                       (json_int_t)job->n_seqs, "baseline", baseline_json(job), "statistics",
                                       tn_cli_eval_json_summary(summary), "chunk_ppl", ppls, "seconds", (double)job->ns * 1e-9));
}

static int finish(text_job *job)
{
    char time[40];
    tn_eval_summary summary = TN_EVAL_SUMMARY_INIT;
    int rc = job->save ? tn_cli_baseline_commit(&job->writer) : 0;
    if (rc) return rc;
    tn_eval_stats_summarise(job->stats, &summary);
    rc = job->cli->json ? print_json(job, &summary) : print_text(job, &summary);
    tn_cli_format_seconds((double)job->ns * 1e-9, time, sizeof time);
    tn_cli_note("scored %" PRIu64 " tokens in %s (%.1f t/s)", summary.n_scored, time, tn_cli_rate(job->feed.n_done, job->ns));
    return rc;
}

static int work(text_job *job)
{
    int rc = check_files(job);
    if (rc == 0 && job->baseline) rc = tn_cli_baseline_open(&job->reader, job->baseline);
    if (rc == 0) rc = tn_cli_engine_open_model(job->cli, job->engine, TN_MODEL_LOAD_ALL);
    if (rc == 0) rc = read_text(job);
    if (rc == 0) rc = cut_windows(job);
    if (rc == 0) rc = prepare_baselines(job);
    if (rc == 0) rc = open_session(job);
    if (rc == 0) rc = reserve(job);
    if (rc == 0) rc = score(job);
    if (rc == 0) return finish(job);
    if (rc == TN_CLI_INTERRUPTED && !job->baseline && !job->cli->json) (void)print_ppls(job);
    return rc;
}

int tn_cli_eval_text(tn_cli *cli, tn_cli_engine *engine)
{
    text_job job;
    memset(&job, 0, sizeof job);
    job.cli = cli;
    job.engine = engine;
    job.save = tn_cli_text(&cli->options, TN_OPT_EVAL_SAVE);
    job.baseline = tn_cli_text(&cli->options, TN_OPT_EVAL_BASELINE);
    const int rc = work(&job);
    tn_cli_baseline_discard(&job.writer);
    tn_cli_baseline_close(&job.reader);
    tn_cli_eval_feed_deinit(&job.feed);
    tn_eval_stats_destroy(job.stats);
    free(job.tokens);
    free(job.spans);
    free(job.ppls);
    tn_cli_prompt_deinit(&job.prompt);
    return rc;
}
