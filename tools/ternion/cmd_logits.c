// ternion logits: the rows of every token, their hash, or a trace of every op.
#include "interrupt.h"
#include "numbers.h"
#include "output.h"
#include "prompt.h"
#include "report.h"
#include "same_file.h"
#include "trace.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "rows are written as they lie in memory, which must be little-endian"
#endif

typedef struct logits_job {
    tn_cli *cli;
    tn_cli_engine engine;
    tn_cli_prompt prompt;
    tn_cli_output rows, trace_lines;
    tn_cli_trace trace;
    XXH64_state_t *hash;
} logits_job;

static int read_ids(tn_cli *cli, tn_cli_prompt *prompt)
{
    const char *file = tn_cli_text(&cli->options, TN_OPT_TOKENS);
    char why[160];
    if (tn_cli_given(&cli->options, TN_OPT_PROMPT) || tn_cli_given(&cli->options, TN_OPT_FILE)) {
        return tn_cli_usage("two inputs: --tokens and -p or -f");
    }
    int rc = tn_cli_read_file(cli, file, TN_CLI_INPUT_MAX, "--tokens", &prompt->text, &prompt->len);
    if (rc) return rc;
    if (tn_cli_parse_ids(prompt->text, prompt->len, &prompt->tokens, &prompt->n_tokens, why, sizeof why)) return 0;
    return tn_cli_fail("ternion tokenize --ids -p TEXT", "--tokens: %s is not a list of token ids: %s", file, why);
}

// What is asked for, before anything is opened: one output at least, and only one of them on standard output.
static int check_outputs(const tn_cli *cli)
{
    const char *rows = tn_cli_text(&cli->options, TN_OPT_OUTPUT), *trace = tn_cli_text(&cli->options, TN_OPT_TRACE);
    bool hash = tn_cli_given(&cli->options, TN_OPT_HASH);
    if (!rows && !trace && !hash) return tn_cli_usage("nothing to write: say -o FILE, --hash or --trace FILE");
    int on_stdout = (rows && strcmp(rows, "-") == 0) + (trace && strcmp(trace, "-") == 0) + hash;
    return on_stdout > 1 ? tn_cli_usage("only one of -o -, --trace - and --hash can go to standard output") : 0;
}

// No output may replace what is read, or the other output.
static int check_files(logits_job *job)
{
    const tn_cli_options *o = &job->cli->options;
    const char *outputs[] = {tn_cli_text(o, TN_OPT_OUTPUT), tn_cli_text(o, TN_OPT_TRACE)};
    static const char *const flags[] = {"-o", "--trace"};
    for (int i = 0; i < 2; i++) {
        if (tn_cli_same_file(outputs[i], job->engine.path)) return tn_cli_usage("%s %s is the model file", flags[i], outputs[i]);
        if (tn_cli_same_file(outputs[i], tn_cli_text(o, TN_OPT_FILE)))
            return tn_cli_usage("%s %s is the prompt file", flags[i], outputs[i]);
        if (tn_cli_same_file(outputs[i], tn_cli_text(o, TN_OPT_TOKENS)))
            return tn_cli_usage("%s %s is the token file", flags[i], outputs[i]);
    }
    return tn_cli_same_file(outputs[0], outputs[1]) ? tn_cli_usage("-o and --trace are one file: %s", outputs[0]) : 0;
}

static int read_input(logits_job *job)
{
    tn_cli *cli = job->cli;
    bool ids = tn_cli_given(&cli->options, TN_OPT_TOKENS);
    int rc = ids ? read_ids(cli, &job->prompt) : tn_cli_prompt_read(cli, &job->prompt, TN_CLI_INPUT_MAX);
    if (rc) return rc;
    if (job->prompt.from_terminal) return tn_cli_usage("there is no text: give one with -p, -f, --tokens or on standard input");
    rc = tn_cli_engine_open_model(cli, &job->engine, TN_MODEL_LOAD_ALL);
    if (rc == 0 && !ids) rc = tn_cli_prompt_encode(cli, &job->engine, &job->prompt, TN_ENCODE_ADD_SPECIAL);
    if (rc) return rc;
    if (job->prompt.n_tokens == 0) return tn_cli_fail("ternion logits -p TEXT --hash", "there are no tokens: give a longer text");
    return tn_cli_prompt_check(cli, &job->engine, &job->prompt, tn_cli_context(cli, &job->engine));
}

static int open_session(logits_job *job)
{
    tn_cli *cli = job->cli;
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    int64_t n_ubatch = tn_cli_int(&cli->options, TN_OPT_UBATCH);
    if (n_ubatch > (int64_t)job->prompt.n_tokens) n_ubatch = (int64_t)job->prompt.n_tokens;
    params.n_ctx = tn_cli_context(cli, &job->engine);
    params.n_ubatch = params.n_logits_max = (uint32_t)n_ubatch; // rows of one chunk, so that memory is bounded
    if (tn_cli_given(&cli->options, TN_OPT_TRACE)) {
        job->trace.capacity = (size_t)n_ubatch;
        params.trace = tn_cli_trace_hook(&job->trace);
    }
    int rc = tn_cli_engine_open_host(cli, &job->engine, tn_cli_int(&cli->options, TN_OPT_THREADS));
    if (rc == 0) rc = tn_cli_engine_place(cli, &job->engine, 1, params.n_ctx);
    if (rc == 0 && cli->verbosity > 0) tn_cli_engine_note(&job->engine, params.n_ctx);
    return rc ? rc : tn_cli_engine_start(cli, &job->engine, params);
}

static int open_outputs(logits_job *job)
{
    const char *rows = tn_cli_text(&job->cli->options, TN_OPT_OUTPUT), *trace = tn_cli_text(&job->cli->options, TN_OPT_TRACE);
    int rc = rows ? tn_cli_output_open(&job->rows, rows) : 0;
    if (rc == 0 && trace) rc = tn_cli_output_open(&job->trace_lines, trace);
    if (rc == 0 && tn_cli_given(&job->cli->options, TN_OPT_HASH)) {
        job->hash = XXH64_createState();
        if (!job->hash) return tn_cli_out_of_memory();
        XXH64_reset(job->hash, 0);
    }
    return rc;
}

static int take_chunk(logits_job *job, uint32_t n)
{
    size_t row_bytes = (size_t)job->engine.session_info.n_vocab * sizeof(float);
    for (uint32_t i = 0; i < n; i++) {
        const float *row = tn_session_logits(job->engine.session, i);
        if (!row) return tn_cli_fail(NULL, "the session has no row %u: please report this", i);
        if (job->hash) XXH64_update(job->hash, row, row_bytes);
        int rc = job->rows.stream ? tn_cli_output_write(&job->rows, row, row_bytes) : 0;
        if (rc) return rc;
    }
    return job->trace_lines.stream ? tn_cli_trace_write(&job->trace, &job->trace_lines) : 0;
}

static int feed(logits_job *job, const uint8_t *wanted)
{
    size_t chunk = job->engine.session_info.n_logits_max;
    for (size_t at = 0; at < job->prompt.n_tokens; at += chunk) {
        uint32_t n = (uint32_t)(job->prompt.n_tokens - at < chunk ? job->prompt.n_tokens - at : chunk);
        tn_batch batch = TN_BATCH_INIT;
        batch.n_tokens = n;
        batch.tokens = job->prompt.tokens + at;
        batch.logits = wanted;
        job->trace.first = (uint32_t)at;
        job->trace.n = n;
        job->cli->progress.base = at;
        job->cli->progress.whole = job->prompt.n_tokens;
        batch.progress = tn_cli_progress_hook(&job->cli->progress);
        if (tn_session_decode(job->engine.session, &batch) != TN_OK) return tn_cli_fail_status(NULL);
        int rc = take_chunk(job, n);
        if (rc) return rc;
    }
    tn_cli_progress_end(&job->cli->progress);
    return 0;
}

static int finish(logits_job *job)
{
    char line[32];
    int rc = job->rows.stream ? tn_cli_output_commit(&job->rows) : 0;
    if (rc == 0 && job->trace_lines.stream) rc = tn_cli_output_commit(&job->trace_lines);
    if (rc || !job->hash) return rc;
    // A hash that no other device has to give says so.
    int n = snprintf(line, sizeof line, "%016" PRIx64 "%s\n", (uint64_t)XXH64_digest(job->hash), tn_cli_is_fast(job->cli) ? " fast" : "");
    return tn_cli_print(line, (size_t)n);
}

static int work(logits_job *job)
{
    int rc = check_outputs(job->cli);
    if (rc == 0) rc = tn_cli_engine_find_model(job->cli, &job->engine);
    if (rc == 0) rc = check_files(job);
    if (rc == 0) rc = read_input(job);
    if (rc == 0) rc = open_session(job);
    if (rc) return rc;
    tn_cli_interrupt_install(); // from here on there are temporary files to remove
    rc = open_outputs(job);
    if (rc) return rc;
    uint8_t *wanted = malloc(job->engine.session_info.n_logits_max);
    if (!wanted) return tn_cli_out_of_memory();
    memset(wanted, 1, job->engine.session_info.n_logits_max);
    rc = feed(job, wanted);
    free(wanted);
    return rc ? rc : finish(job);
}

int tn_cli_logits(tn_cli *cli)
{
    logits_job job;
    memset(&job, 0, sizeof job);
    job.cli = cli;
    int rc = work(&job);
    XXH64_freeState(job.hash);
    tn_cli_output_discard(&job.rows);
    tn_cli_output_discard(&job.trace_lines);
    tn_cli_trace_deinit(&job.trace);
    tn_cli_prompt_deinit(&job.prompt);
    tn_cli_engine_close(&job.engine);
    return rc;
}
