// ternion batch: answers a file of requests, and goes on where it was ended.
#include "batch_run.h"
#include "batch_start.h"
#include "interrupt.h"
#include "plain.h"
#include "report.h"
#include "two_stage_option.h"
#include "units.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct batch {
    tn_cli *cli;
    tn_cli_engine engine;
    tn_cli_batch_context context;
    tn_batcher *batcher;
    tn_cli_batch_journal journal;
    tn_cli_batch_reader reader;
    tn_cli_batch_counts counts;
    int input; // -1: not open
    bool seekable;
    const char *input_name;
    char other_command[600]; // that leaves the results alone
    char fingerprint[40];
} batch;

static bool is_standard(const char *path) { return strcmp(path, "-") == 0; }

static int check_flags(batch *b)
{
    const char *input = tn_cli_text(&b->cli->options, TN_OPT_REQUESTS), *output = tn_cli_text(&b->cli->options, TN_OPT_RESULTS);
    char word[500];
    uint64_t kv_bytes;
    if (!input) return tn_cli_usage("which requests? Say -i FILE, or -i - for standard input");
    if (tn_cli_given(&b->cli->options, TN_OPT_SEED) && tn_cli_int(&b->cli->options, TN_OPT_SEED) < 0)
        return tn_cli_usage("--seed -1: a run that is to go on later needs a seed that stays: say one from 0 on");
    if (!output) return tn_cli_usage("where should results go? Say -o FILE, or -o - for standard output");
    b->input_name = is_standard(input) ? "standard input" : input;
    snprintf(b->other_command, sizeof b->other_command, "ternion batch -i %s -o OTHER.jsonl", tn_cli_shell_word(input, word, sizeof word));
    return tn_cli_batch_kv_memory(b->cli, &kv_bytes); // a wrong flag is said before anything is opened
}

static int open_input(batch *b)
{
    const char *path = tn_cli_text(&b->cli->options, TN_OPT_REQUESTS);
    char word[500], command[600];
    struct stat status;
    snprintf(command, sizeof command, "ls -l %s", tn_cli_shell_word(path, word, sizeof word));
    b->input = is_standard(path) ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (b->input >= 0 && fstat(b->input, &status) == 0) {
        if (S_ISDIR(status.st_mode)) return tn_cli_fail(command, "cannot read %s: it is a folder", b->input_name);
        const off_t at = S_ISREG(status.st_mode) ? lseek(b->input, 0, SEEK_CUR) : -1;
        b->seekable = at >= 0;
        b->counts.bytes = b->seekable && status.st_size > at ? (uint64_t)(status.st_size - at) : 0;
        tn_cli_batch_reader_init(&b->reader, b->input, TN_CLI_BATCH_LINE_MAX);
        return 0;
    }
    return tn_cli_fail(command, "cannot read %s: %s; check the name and your rights", b->input_name, strerror(errno));
}

// Whether results would be written into a file that is read. `path` may not exist yet.
static int refuse_same_file(const batch *b)
{
    const char *output = tn_cli_text(&b->cli->options, TN_OPT_RESULTS);
    struct stat out, in, model;
    const int found = is_standard(output) ? fstat(STDOUT_FILENO, &out) : stat(output, &out);
    if (found != 0 || !S_ISREG(out.st_mode)) return 0;
    const bool is_input = fstat(b->input, &in) == 0 && in.st_dev == out.st_dev && in.st_ino == out.st_ino;
    const bool is_model = stat(b->engine.path, &model) == 0 && model.st_dev == out.st_dev && model.st_ino == out.st_ino;
    if (!is_input && !is_model) return 0;
    return tn_cli_fail(b->other_command, "results cannot go into the file of the %s, %s", is_input ? "requests" : "model",
                       is_input ? b->input_name : b->engine.path);
}

// Everything that can be refused, before anything is changed or computed. *out_todo: whether any line is left.
static int prepare(batch *b, bool *out_todo)
{
    tn_cli *cli = b->cli;
    const tn_cli_batch_journal_params params = {.path = tn_cli_text(&cli->options, TN_OPT_RESULTS),
                                                .overwrite = tn_cli_given(&cli->options, TN_OPT_REPLACE_RESULTS),
                                                .try_command = b->other_command};
    *out_todo = true;
    int rc = check_flags(b);
    if (rc == 0) rc = tn_cli_engine_find_model(cli, &b->engine);
    if (rc == 0) rc = open_input(b);
    if (rc == 0) rc = refuse_same_file(b);
    if (rc == 0) rc = tn_cli_batch_journal_open(&b->journal, &params);
    if (rc == 0 && b->seekable) rc = tn_cli_batch_resume_check(&b->journal, b->input_name, b->input, out_todo);
    if (rc == 0) rc = tn_cli_engine_open_model(cli, &b->engine, TN_MODEL_LOAD_ALL);
    if (rc == 0) rc = tn_cli_batch_context_init(cli, &b->engine, &b->context);
    if (rc) return rc;
    tn_cli_batch_fingerprint(&b->context, b->fingerprint);
    return tn_cli_batch_journal_compare(&b->journal, b->fingerprint);
}

// What the results hold already. Lines that failed are done; a user who has mended what made them fail wants to know.
static void note_before(const batch *b)
{
    const uint64_t n = b->journal.done.n_lines, n_failed = b->journal.n_failed;
    char failed[120] = "";
    if (n_failed)
        snprintf(failed, sizeof failed, ", %" PRIu64 " of them failed and are tried again once their lines are taken out of it", n_failed);
    if (n) tn_cli_note("going on  %" PRIu64 " line%s done before in %s%s", n, n == 1 ? "" : "s", b->journal.name, failed);
}

static int run_lines(batch *b)
{
    const tn_cli_batch_run_params params = {.cli = b->cli,
                                            .context = &b->context,
                                            .batcher = b->batcher,
                                            .reader = &b->reader,
                                            .journal = &b->journal,
                                            .input = b->input_name,
                                            .model = b->engine.info.name,
                                            .fingerprint = b->fingerprint,
                                            .counts = &b->counts};
    note_before(b);
    b->counts.begun_ns = b->counts.shown_ns = tn_cli_now_ns();
    const int rc = tn_cli_batch_run(&params);
    b->counts.end_ns = tn_cli_now_ns();
    tn_cli_progress_clear(&b->cli->progress);
    return rc;
}

// What the user should know of a run that did not come to its end.
static void say_unfinished(const batch *b, int rc)
{
    const char *why = rc == TN_CLI_INTERRUPTED ? "interrupted" : "stopped";
    if (b->counts.is_refused || b->journal.removed) return; // what to do was said
    if (b->journal.regular)
        tn_cli_tell("%s: the results in %s are whole, and the same command goes on", why, b->journal.name);
    else
        tn_cli_tell("%s: what was written is whole lines", why);
}

static int sum_up(batch *b, int rc)
{
    tn_cli_batch_summary summary = {.engine = &b->engine,
                                    .input = tn_cli_text(&b->cli->options, TN_OPT_REQUESTS),
                                    .output = tn_cli_text(&b->cli->options, TN_OPT_RESULTS),
                                    .counts = &b->counts,
                                    .info = TN_BATCHER_INFO_INIT,
                                    .complete = rc == TN_CLI_OK};
    if (b->batcher && tn_batcher_get_info(b->batcher, &summary.info) != TN_OK) return tn_cli_fail_status(NULL);
    tn_cli_batch_note_summary(&summary);
    if (b->batcher && b->cli->verbosity > 0) tn_cli_two_stage_note_use(&b->engine);
    if (rc != TN_CLI_OK) say_unfinished(b, rc);
    const int printed = b->cli->json ? tn_cli_batch_print_json(&summary, is_standard(summary.output)) : 0;
    return rc ? rc : printed;
}

static int answer(batch *b)
{
    bool todo;
    int rc = prepare(b, &todo);
    if (rc == 0 && todo) rc = tn_cli_batch_start(b->cli, &b->engine, &b->context, &b->batcher);
    if (rc == 0) rc = tn_cli_batch_journal_begin(&b->journal);
    if (rc) return rc;
    if (todo) return sum_up(b, run_lines(b));
    note_before(b);
    b->counts.n_before = b->journal.done.n_lines;
    return sum_up(b, tn_cli_batch_journal_sync(&b->journal, true));
}

int tn_cli_batch(tn_cli *cli)
{
    batch b = {.cli = cli, .input = -1};
    tn_cli_interrupt_install_ending();
    signal(SIGPIPE, SIG_IGN); // a reader of standard output that has gone is a failed write
    const int rc = answer(&b);
    tn_batcher_destroy(b.batcher);
    tn_cli_batch_context_deinit(&b.context);
    tn_cli_batch_journal_close(&b.journal);
    tn_cli_batch_reader_deinit(&b.reader);
    if (b.input > STDIN_FILENO) close(b.input);
    tn_cli_engine_close(&b.engine);
    return rc;
}
