// Two subjects through the same text, side by side: each row of logits is compared and forgotten.
#include "bytes_hash.h"
#include "compare.h"
#include "compare_difference.h"
#include "report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

// One subject's way through the text, beside the reference or alone.
typedef struct walk {
    tn_cli_compare *job;
    tn_cli_compare_subject *reference, *subject; // reference NULL: alone
    tn_cli_hasher *hash;
    tn_eval_stats *stats;
    int32_t *tokens; // [n_context] of the chunk in hand
    uint8_t *wanted; // [n_rows_max], all 1
    bool differs;
    uint32_t chunk, position; // of the first row that differs
} walk;

void tn_cli_compare_take_chunk(const tn_cli_compare *job, uint32_t chunk, int32_t *tokens)
{
    const tn_tokenizer *tokenizer = job->engine.tokenizer;
    memcpy(tokens, job->text.tokens + (size_t)chunk * job->n_context, job->n_context * sizeof *tokens);
    const int32_t bos = tn_tokenizer_bos(tokenizer);
    if (tn_tokenizer_adds_bos(tokenizer) && bos != TN_TOKEN_NONE) tokens[0] = bos;
}

int tn_cli_compare_decode(tn_cli_compare *job, tn_cli_compare_subject *subject, const int32_t *tokens, uint32_t n, const uint8_t *wanted)
{
    tn_batch batch = TN_BATCH_INIT;
    batch.n_tokens = n;
    batch.tokens = tokens;
    batch.logits = wanted;
    batch.progress = tn_cli_progress_hook(&job->cli->progress);
    return tn_session_decode(subject->engine.session, &batch) == TN_OK ? 0 : tn_cli_fail_status(NULL);
}

// Row `i` of the last calls, whose token is at `position` of the chunk.
static int take_row(walk *w, uint32_t chunk, uint32_t position, uint32_t i)
{
    const size_t row_bytes = (size_t)w->job->engine.info.n_vocab * sizeof(float);
    const float *row = tn_session_logits(w->subject->engine.session, i);
    const float *base = w->reference ? tn_session_logits(w->reference->engine.session, i) : NULL;
    tn_cli_hasher_add(w->hash, row, row_bytes);
    if (base && !w->differs && memcmp(row, base, row_bytes) != 0) {
        w->differs = true;
        w->chunk = chunk;
        w->position = position;
    }
    if (!tn_cli_compare_is_scored(w->job, position)) return 0;
    return tn_eval_stats_add(w->stats, row, base, w->tokens[position + 1]) == TN_OK ? 0 : tn_cli_fail_status(NULL);
}

static int empty(walk *w, tn_cli_compare_subject *subject) { return tn_cli_bench_feed_depth(&subject->feed, w->job->n_seqs_max, 0, 1); }

// `out_reference`: whether the reference is at fault.
static int walk_chunk(walk *w, uint32_t chunk, bool *out_reference)
{
    tn_cli_compare *job = w->job;
    int rc = empty(w, w->subject);
    *out_reference = rc == 0 && w->reference;
    if (*out_reference) rc = empty(w, w->reference);
    tn_cli_compare_take_chunk(job, chunk, w->tokens);
    for (uint32_t at = 0; at < job->n_context && rc == 0; at += job->n_rows_max) {
        const uint32_t left = job->n_context - at, n = left < job->n_rows_max ? left : job->n_rows_max;
        job->cli->progress.base = (uint64_t)chunk * job->n_context + at;
        job->cli->progress.whole = (uint64_t)job->n_chunks * job->n_context;
        *out_reference = w->reference != NULL;
        if (w->reference) rc = tn_cli_compare_decode(job, w->reference, w->tokens + at, n, w->wanted);
        if (rc) return rc;
        *out_reference = false;
        rc = tn_cli_compare_decode(job, w->subject, w->tokens + at, n, w->wanted);
        for (uint32_t i = 0; i < n && rc == 0; i++) rc = take_row(w, chunk, at + i, i);
    }
    return rc;
}

// Names the first op whose bits differ in the text.
static int find_in_text(walk *w, json_t *accuracy)
{
    const tn_cli_compare *job = w->job;
    tn_cli_compare_take_chunk(job, w->chunk, w->tokens);
    // To the end of the call that gave the row: kernels go by the number of tokens.
    const uint32_t n_rows = job->n_rows_max, n_needed = (w->position / n_rows + 1) * n_rows;
    const tn_cli_compare_place place = {.tokens = w->tokens,
                                        .n_tokens = n_needed < job->n_context ? n_needed : job->n_context,
                                        .first_token = (uint64_t)w->chunk * job->n_context,
                                        .n_feed = n_rows,
                                        .position = w->position};
    return tn_cli_compare_find_difference(w->job, w->reference, w->subject, &place, accuracy);
}

// ---- figures ----

json_t *tn_cli_compare_accuracy_json(const tn_eval_stats *stats, uint64_t hash, bool has_base, bool differs)
{
    char digits[20];
    tn_eval_summary s = TN_EVAL_SUMMARY_INIT;
    tn_eval_stats_summarise(stats, &s);
    snprintf(digits, sizeof digits, "%016" PRIx64, hash);
    json_t *accuracy = json_pack("{s:s, s:b}", "logits_hash", digits, "identical", !differs);
    const struct {
        const char *name;
        double value;
        bool of_base;
    } figures[] = {{"perplexity", s.ppl, false},
                   {"perplexity_error", s.ppl_error, false},
                   {"mean_kld", s.mean_kld, true},
                   {"mean_kld_error", s.mean_kld_error, true},
                   {"max_kld", s.max_kld, true},
                   {"same_top", s.same_top, true},
                   {"same_top_error", s.same_top_error, true}};
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        const bool known = s.n_scored > 0 && (has_base || !figures[i].of_base);
        json_object_set_new(accuracy, figures[i].name, known ? json_real(figures[i].value) : json_null());
    }
    json_object_set_new(accuracy, "greedy", json_null());
    json_object_set_new(accuracy, "first_difference", json_null());
    return accuracy;
}

// The text's logits and those of replies; in exact mode the first of them that differ are an error that has a place.
static int finish(walk *w)
{
    tn_cli_compare *job = w->job;
    const bool is_error = w->reference && !tn_cli_is_fast(job->cli);
    json_t *accuracy = tn_cli_compare_accuracy_json(w->stats, tn_cli_hasher_value(w->hash), w->reference != NULL, w->differs);
    tn_cli_compare_replies replies = {.tokens = NULL};
    tn_cli_compare_reply_row row = {.differs = false};
    int rc = 0;
    if (job->n_greedy_prompts) {
        rc = w->reference ? tn_cli_compare_greedy(job, w->subject, &replies) : tn_cli_compare_greedy(job, w->subject, &job->greedy);
        if (rc == 0 && w->reference) row = tn_cli_compare_put_replies(job, &replies, accuracy);
    }
    if (rc) rc = tn_cli_compare_failed(w->subject, rc);
    if (rc == 0 && !w->subject->failed && is_error && w->differs)
        rc = find_in_text(w, accuracy);
    else if (rc == 0 && !w->subject->failed && is_error && row.differs)
        rc = tn_cli_compare_find_in_reply(job, w->reference, w->subject, &row, accuracy);
    tn_cli_compare_replies_deinit(&replies);
    json_object_set_new(w->subject->json, "accuracy", accuracy);
    return rc;
}

static int begin(walk *w)
{
    const tn_cli_compare *job = w->job;
    w->hash = tn_cli_hasher_create();
    w->tokens = malloc(job->n_context * sizeof *w->tokens);
    w->wanted = malloc(job->n_rows_max);
    if (!w->hash || !w->tokens || !w->wanted) return tn_cli_out_of_memory();
    memset(w->wanted, 1, job->n_rows_max);
    return tn_eval_stats_create(job->engine.info.n_vocab, &w->stats) == TN_OK ? 0 : tn_cli_fail_status(NULL);
}

int tn_cli_compare_accuracy(tn_cli_compare *job, tn_cli_compare_subject *reference, tn_cli_compare_subject *subject)
{
    walk w = {.job = job, .reference = reference == subject ? NULL : reference, .subject = subject};
    bool by_reference = false;
    int rc = begin(&w);
    const bool begun = rc == 0;
    for (uint32_t chunk = 0; chunk < job->n_chunks && rc == 0; chunk++) rc = walk_chunk(&w, chunk, &by_reference);
    tn_cli_progress_end(&job->cli->progress);
    if (rc == 0)
        rc = finish(&w);
    else if (begun && !by_reference)
        rc = tn_cli_compare_failed(subject, rc);
    tn_cli_hasher_destroy(w.hash);
    tn_eval_stats_destroy(w.stats);
    free(w.tokens);
    free(w.wanted);
    return rc;
}
