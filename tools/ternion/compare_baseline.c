// What other programs wrote, as further rows: logits beside those of the reference, and results of llama-bench as they are.
#include "bytes_hash.h"
#include "compare.h"
#include "compare_external.h"
#include "interrupt.h"
#include "report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

// Rows of a file beside the reference's way through the text.
typedef struct beside {
    tn_cli_compare *job;
    tn_cli_compare_subject *reference;
    tn_cli_external_logits *logits;
    tn_cli_hasher *hash;
    tn_eval_stats *stats;
    int32_t *tokens;
    uint8_t *wanted;
    bool differs, by_reference; // by_reference: what failed was not the file
} beside;

static int take_row(beside *b, uint32_t chunk, uint32_t position, uint32_t i)
{
    const tn_cli_compare *job = b->job;
    const size_t row_bytes = (size_t)job->engine.info.n_vocab * sizeof(float);
    const float *row, *base = tn_session_logits(b->reference->engine.session, i);
    const int rc = tn_cli_external_logits_row(b->logits, (uint64_t)chunk * job->n_context + position, &row);
    if (rc) return rc;
    tn_cli_hasher_add(b->hash, row, row_bytes);
    b->differs = b->differs || memcmp(row, base, row_bytes) != 0;
    if (!tn_cli_compare_is_scored(job, position)) return 0;
    return tn_eval_stats_add(b->stats, row, base, b->tokens[position + 1]) == TN_OK ? 0 : tn_cli_fail_status(NULL);
}

static int walk(beside *b)
{
    tn_cli_compare *job = b->job;
    int rc = 0;
    for (uint32_t chunk = 0; chunk < job->n_chunks && rc == 0; chunk++) {
        b->by_reference = true;
        rc = tn_cli_bench_feed_depth(&b->reference->feed, job->n_seqs_max, 0, 1);
        tn_cli_compare_take_chunk(job, chunk, b->tokens);
        for (uint32_t at = 0; at < job->n_context && rc == 0; at += job->n_rows_max) {
            const uint32_t left = job->n_context - at, n = left < job->n_rows_max ? left : job->n_rows_max;
            b->by_reference = true;
            rc = tn_cli_compare_decode(job, b->reference, b->tokens + at, n, b->wanted);
            b->by_reference = rc != 0;
            for (uint32_t i = 0; i < n && rc == 0; i++) rc = take_row(b, chunk, at + i, i);
        }
    }
    tn_cli_progress_end(&job->cli->progress);
    return rc;
}

static int run(beside *b)
{
    const tn_cli_compare *job = b->job;
    b->by_reference = true;
    b->hash = tn_cli_hasher_create();
    b->tokens = malloc(job->n_context * sizeof *b->tokens);
    b->wanted = malloc(job->n_rows_max);
    if (!b->hash || !b->tokens || !b->wanted) return tn_cli_out_of_memory();
    memset(b->wanted, 1, job->n_rows_max);
    if (tn_eval_stats_create(job->engine.info.n_vocab, &b->stats) != TN_OK) return tn_cli_fail_status(NULL);
    return walk(b);
}

// That its bits are others is no error: it is not ours. One that cannot be read to its end has a row that failed.
static int compare_logits(tn_cli_compare *job, tn_cli_compare_subject *reference, const char *path, json_t *subject)
{
    beside b = {.job = job, .reference = reference};
    int rc = tn_cli_external_logits_open(path, job->engine.info.n_vocab, &b.logits);
    if (rc == 0) rc = run(&b);
    if (rc == 0) {
        json_object_set_new(subject, "accuracy", tn_cli_compare_accuracy_json(b.stats, tn_cli_hasher_value(b.hash), true, b.differs));
    } else if (!b.by_reference && !tn_cli_interrupted()) {
        json_object_set_new(subject, "status", json_string("failed"));
        json_object_set_new(subject, "reason", json_string("its logits cannot be compared: standard error names the row"));
        job->n_baselines_failed++;
        rc = 0;
    }
    tn_cli_hasher_destroy(b.hash);
    tn_eval_stats_destroy(b.stats);
    tn_cli_external_logits_close(b.logits);
    free(b.tokens);
    free(b.wanted);
    return rc;
}

// ---- before anything is measured ----

// The row of a file of logits, whose size must be right.
static int add_logits(tn_cli_compare *job, const char *path)
{
    tn_cli_external_logits *logits;
    const uint64_t n_tokens = (uint64_t)job->n_chunks * job->n_context;
    int rc = tn_cli_external_logits_open(path, job->engine.info.n_vocab, &logits);
    if (rc) return rc;
    const uint64_t n_rows = tn_cli_external_logits_count(logits);
    if (n_rows != n_tokens)
        rc = tn_cli_fail("ternion compare -f TEXT -c N --chunks N",
                         "--baseline %s: it has %" PRIu64 " rows, but %" PRIu64
                         " tokens of the text are looked at: it must be of the same tokens",
                         path, n_rows, n_tokens);
    else
        json_array_append_new(job->externals, tn_cli_external_logits_subject(logits));
    tn_cli_external_logits_close(logits);
    return rc;
}

static bool is_taken(const tn_cli_compare *job, size_t n_externals, const char *name)
{
    for (size_t i = 0; i < job->n_subjects; i++) {
        if (strcmp(job->subjects[i].name, name) == 0) return true;
    }
    for (size_t i = 0; i < n_externals; i++) {
        if (strcmp(json_string_value(json_object_get(json_array_get(job->externals, i), "name")), name) == 0) return true;
    }
    return false;
}

// Files of one name in several folders, or a file that is named like a device, have a number behind their names.
static void name_apart(tn_cli_compare *job)
{
    for (size_t i = 0; i < json_array_size(job->externals); i++) {
        json_t *subject = json_array_get(job->externals, i), *numbered = NULL;
        const char *name = json_string_value(json_object_get(subject, "name"));
        if (!name || !is_taken(job, i, name)) continue;
        for (unsigned number = 2; !numbered || is_taken(job, i, json_string_value(numbered)); number++) {
            json_decref(numbered);
            numbered = json_sprintf("%s (%u)", name, number);
            if (!numbered) return; // tn_cli_json_complete tells
        }
        json_object_set_new(subject, "name", numbered);
    }
}

int tn_cli_compare_read_baselines(tn_cli_compare *job)
{
    const tn_cli_value *files = &job->cli->options.values[TN_OPT_COMPARE_BASELINE];
    job->baseline_rows = calloc(files->n + 1, sizeof *job->baseline_rows);
    if (!job->baseline_rows) return tn_cli_out_of_memory();
    int rc = 0;
    for (size_t i = 0; i < files->n && rc == 0; i++) {
        const char *path = files->list[i];
        job->baseline_rows[i] = json_array_size(job->externals);
        rc = tn_cli_external_kind_of(path) == TN_EXTERNAL_LOGITS ? add_logits(job, path) : tn_cli_external_bench_read(path, job->externals);
    }
    if (rc == 0 && !tn_cli_json_complete()) rc = tn_cli_out_of_memory();
    if (rc == 0) name_apart(job);
    return rc;
}

int tn_cli_compare_check_baselines(const tn_cli_compare *job)
{
    const tn_cli_value *files = &job->cli->options.values[TN_OPT_COMPARE_BASELINE];
    for (size_t i = 0; i < files->n; i++) {
        if (tn_cli_external_kind_of(files->list[i]) == TN_EXTERNAL_UNKNOWN)
            return tn_cli_usage("--baseline %s: its name ends neither in .f32 (logits) nor in .jsonl (results of llama-bench)",
                                files->list[i]);
    }
    return 0;
}

int tn_cli_compare_baselines(tn_cli_compare *job, tn_cli_compare_subject *reference)
{
    const tn_cli_value *files = &job->cli->options.values[TN_OPT_COMPARE_BASELINE];
    int rc = 0;
    for (size_t i = 0; i < files->n && rc == 0; i++) {
        if (tn_cli_external_kind_of(files->list[i]) == TN_EXTERNAL_LOGITS)
            rc = compare_logits(job, reference, files->list[i], json_array_get(job->externals, job->baseline_rows[i]));
    }
    return rc;
}
