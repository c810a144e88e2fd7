// Two subjects through the same text, side by side: each row of logits is compared and forgotten.
#include "bytes_hash.h"
#include "compare.h"
#include "compare_exact.h"
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
    if (tn_tokenizer_adds_bos(tokenizer)) tokens[0] = tn_tokenizer_bos(tokenizer);
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

// ---- where bits part ----

// A side of the search: the same host and placement, and a session with a trace.
typedef struct traced_side {
    tn_cli_compare *job;
    tn_cli_compare_subject *subject;
} traced_side;

static tn_status open_traced(void *user, tn_trace trace, tn_session **out_session)
{
    const traced_side *side = user;
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    params.placement = side->subject->engine.placement;
    params.n_ctx = side->job->n_context;
    params.n_ubatch = (uint32_t)tn_cli_int(&side->job->cli->options, TN_OPT_UBATCH);
    params.may_shrink_ubatch = true;
    params.n_logits_max = side->job->n_rows_max;
    params.trace = trace;
    params.log = tn_cli_log();
    params.head = tn_cli_text(&side->job->cli->options, TN_OPT_HEAD);
    params.numerics = tn_cli_text(&side->job->cli->options, TN_OPT_NUMERICS);
    params.no_recovery = true;
    return tn_session_create(side->job->engine.model, side->subject->engine.host, &params, out_session);
}

static json_t *place_json(const walk *w, const tn_cli_exact_result *found)
{
    char value[TN_CLI_EXACT_VALUE], reference[TN_CLI_EXACT_VALUE];
    const bool has_values = found->kind == TN_CLI_EXACT_PARTED || found->kind == TN_CLI_EXACT_UNTRACED;
    const bool has_place = has_values || found->kind == TN_CLI_EXACT_UNSTABLE;
    tn_cli_exact_value(found->values[1], value);
    tn_cli_exact_value(found->values[0], reference);
    return json_pack("{s:I, s:I, s:o, s:o, s:o, s:o, s:o}", "token",
                     has_place ? (json_int_t)found->token : (json_int_t)w->chunk * w->job->n_context + w->position, "position",
                     (json_int_t)(has_place ? found->position : w->position), "layer", has_place ? json_integer(found->layer) : json_null(),
                     "op", has_place ? json_string(found->op) : json_null(), "element",
                     has_values ? json_integer(found->element) : json_null(), "value", has_values ? json_string(value) : json_null(),
                     "reference", has_values ? json_string(reference) : json_null());
}

// Names the first op whose bits differ: that is an error where numerics are exact.
static int find_difference(walk *w, json_t *accuracy)
{
    tn_cli_compare *job = w->job;
    traced_side sides[2] = {{job, w->reference}, {job, w->subject}};
    tn_cli_exact_request request = {
        .sides = {{w->reference->name, open_traced, NULL, &sides[0]}, {w->subject->name, open_traced, NULL, &sides[1]}}};
    tn_cli_exact_result found;
    char sentence[1400];
    tn_cli_compare_take_chunk(job, w->chunk, w->tokens);
    request.tokens = w->tokens;
    // To the end of the call that gave the row: kernels go by the number of tokens.
    const uint32_t n_rows = job->n_rows_max, n_needed = (w->position / n_rows + 1) * n_rows;
    request.n_tokens = n_needed < job->n_context ? n_needed : job->n_context;
    request.first_token = (uint64_t)w->chunk * job->n_context;
    request.n_feed = job->n_rows_max;
    request.progress = tn_cli_progress_hook(&job->cli->progress);
    tn_cli_exact_find(&request, &found);
    tn_cli_progress_end(&job->cli->progress);
    if (found.kind == TN_CLI_EXACT_FAILED && found.status == TN_CANCELLED) return tn_cli_stopped();
    tn_cli_exact_sentence(&request, &found, sentence, sizeof sentence);
    tn_cli_warn("%s", sentence);
    json_object_set_new(accuracy, "first_difference", place_json(w, &found));
    json_object_set_new(w->subject->json, "status", json_string("different"));
    json_object_set_new(w->subject->json, "reason", tn_cli_json_text(sentence, strlen(sentence)));
    w->subject->differs = true;
    return 0;
}

// ---- figures ----

static json_t *greedy_json(const tn_cli_compare *job, const int32_t *replies)
{
    uint32_t n_agree = 0;
    json_t *first = NULL;
    for (uint32_t p = 0; p < job->n_greedy_prompts; p++) {
        uint32_t i = 0;
        while (i < job->n_greedy && replies[(size_t)p * job->n_greedy + i] == job->greedy[(size_t)p * job->n_greedy + i]) i++;
        n_agree += i == job->n_greedy;
        if (i < job->n_greedy && !first) first = json_pack("{s:I, s:I}", "prompt", (json_int_t)p, "token", (json_int_t)i);
    }
    return json_pack("{s:I, s:I, s:I, s:o}", "n_prompts", (json_int_t)job->n_greedy_prompts, "n_tokens", (json_int_t)job->n_greedy,
                     "n_agree", (json_int_t)n_agree, "first_difference", first ? first : json_null());
}

json_t *tn_cli_compare_accuracy_json(const tn_eval_stats *stats, uint64_t hash, bool base, bool differs)
{
    char digits[20];
    tn_eval_summary s = TN_EVAL_SUMMARY_INIT;
    tn_eval_stats_summarise(stats, &s);
    snprintf(digits, sizeof digits, "%016" PRIx64, hash);
    return json_pack("{s:s, s:b, s:f, s:f, s:o, s:o, s:o, s:o, s:o, s:n, s:n}", "logits_hash", digits, "identical", !differs, "perplexity",
                     s.ppl, "perplexity_error", s.ppl_error, "mean_kld", base ? json_real(s.mean_kld) : json_null(), "mean_kld_error",
                     base ? json_real(s.mean_kld_error) : json_null(), "max_kld", base ? json_real(s.max_kld) : json_null(), "same_top",
                     base ? json_real(s.same_top) : json_null(), "same_top_error", base ? json_real(s.same_top_error) : json_null(),
                     "greedy", "first_difference");
}

// Replies of the subject beside those of the reference, which are kept.
static int compare_replies(walk *w, json_t *accuracy)
{
    tn_cli_compare *job = w->job;
    if (job->n_greedy_prompts == 0) return 0;
    if (!w->reference) return tn_cli_compare_greedy(job, w->subject, job->greedy);
    int32_t *replies = calloc((size_t)job->n_greedy_prompts * job->n_greedy, sizeof *replies);
    if (!replies) return tn_cli_out_of_memory();
    const int rc = tn_cli_compare_greedy(job, w->subject, replies);
    if (rc == 0) json_object_set_new(accuracy, "greedy", greedy_json(job, replies));
    free(replies);
    return rc;
}

static int finish(walk *w)
{
    json_t *accuracy = tn_cli_compare_accuracy_json(w->stats, tn_cli_hasher_value(w->hash), w->reference != NULL, w->differs);
    int rc = compare_replies(w, accuracy);
    if (rc) rc = tn_cli_compare_failed(w->subject, rc);
    if (rc == 0 && w->differs && !w->subject->failed && !tn_cli_is_fast(w->job->cli)) rc = find_difference(w, accuracy);
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
