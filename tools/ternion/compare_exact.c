// Finding where bits part: hashes of all rows of both subjects, then the one row of each.
#include "compare_exact.h"

#include "trace_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A row of an op.
typedef struct place {
    uint32_t position;
    char name[TN_CLI_TRACE_NAME]; // as traces have it: "L3.q"
} place;

// A subject's way through the chunk.
typedef struct run {
    const tn_cli_exact_request *request;
    const tn_cli_exact_side *side;
    bool is_traced;     // else there is one op, the logits
    const place *place; // whose row is kept; NULL: none
    tn_cli_trace rows;  // hashes
    float *kept;        // owned; NULL: the row did not come
    size_t n_kept;
    bool out_of_memory;
    bool is_poisoned; // the chunk ends there
} run;

typedef struct finder {
    const tn_cli_exact_request *request;
    tn_cli_exact_result *result;
    run first[2], second[2]; // by side
} finder;

static void on_row(void *user, uint32_t seq, uint32_t position, const char *op, const float *row, size_t n)
{
    run *r = user;
    const tn_trace hashes = tn_cli_trace_hook(&r->rows);
    hashes.row(hashes.user, seq, position, op, row, n);
    if (!r->place || position != r->place->position || strcmp(op, r->place->name) != 0) return;
    free(r->kept);
    r->kept = malloc(n * sizeof *row);
    r->n_kept = n;
    r->out_of_memory = !r->kept;
    if (r->kept) memcpy(r->kept, row, n * sizeof *row);
}

// ---- one run ----

static void take_logits(run *r, const tn_session *session, uint32_t first, uint32_t n, uint32_t n_vocab)
{
    for (uint32_t i = 0; i < n; i++) {
        const float *row = tn_session_logits(session, i);
        if (row) on_row(r, 0, first + i, "logits", row, n_vocab);
    }
}

static tn_status feed(run *r, tn_session *session, const uint8_t *wanted, const tn_session_info *info, uint32_t n_feed)
{
    const tn_cli_exact_request *request = r->request;
    for (uint32_t at = 0; at < request->n_tokens; at += n_feed) {
        if (r->place && at > r->place->position) break; // calls as they were, up to that which has the row
        tn_batch batch = TN_BATCH_INIT;
        batch.tokens = request->tokens + at;
        batch.n_tokens = request->n_tokens - at < n_feed ? request->n_tokens - at : n_feed;
        batch.logits = wanted;
        batch.progress = request->progress;
        const tn_status status = tn_session_decode(session, &batch);
        r->is_poisoned = status == TN_POISON;
        if (status != TN_OK) return status;
        if (!r->is_traced) take_logits(r, session, at, batch.n_tokens, info->n_vocab);
    }
    return TN_OK;
}

static tn_status run_session(run *r, tn_session *session)
{
    tn_session_info info;
    tn_session_get_info(session, &info);
    uint32_t n_feed = r->request->n_feed ? r->request->n_feed : r->request->n_tokens;
    if (n_feed > info.n_logits_max) n_feed = info.n_logits_max;
    uint8_t *wanted = malloc(n_feed);
    if (!wanted) {
        r->out_of_memory = true;
        return TN_OUT_OF_MEMORY;
    }
    memset(wanted, 1, n_feed);
    const tn_status status = feed(r, session, wanted, &info, n_feed);
    free(wanted);
    return status;
}

static tn_status run_side(run *r)
{
    const tn_cli_exact_side *side = r->side;
    tn_session *session = NULL;
    tn_trace trace = {0};
    if (r->is_traced) trace = (tn_trace){on_row, r};
    tn_status status = side->open(side->user, trace, &session);
    if (status != TN_OK) return status;
    status = run_session(r, session);
    if (side->close)
        side->close(side->user, session);
    else
        tn_session_destroy(session);
    return status;
}

static void set_failed(finder *f, uint32_t side, tn_status status)
{
    f->result->kind = TN_CLI_EXACT_FAILED;
    f->result->side = side;
    f->result->status = status;
}

// False with the result where the subject failed. What a poisoned sequence had until then may be compared.
static bool go(finder *f, run *r)
{
    const tn_status status = run_side(r);
    const bool out_of_memory = r->out_of_memory || r->rows.failed;
    if (!out_of_memory && status == TN_OK) return true;
    snprintf(f->result->reason, sizeof f->result->reason, "%s", out_of_memory ? "out of memory" : tn_error_last()->message);
    if (!out_of_memory && r->is_poisoned) return true;
    set_failed(f, (uint32_t)(r->side - f->request->sides), out_of_memory ? TN_OUT_OF_MEMORY : status);
    return false;
}

static bool begin(finder *f, run *r, uint32_t side, bool is_traced, const place *kept)
{
    r->request = f->request;
    r->side = &f->request->sides[side];
    r->is_traced = is_traced;
    r->place = kept;
    r->rows.n = f->request->n_tokens;
    r->rows.capacity = f->request->n_tokens;
    return go(f, r);
}

static void end(run *r)
{
    tn_cli_trace_deinit(&r->rows);
    free(r->kept);
    memset(r, 0, sizeof *r);
}

// ---- comparing runs ----

// The same op in another run, most likely at the same index; SIZE_MAX where it has none.
static size_t find_same_op(const tn_cli_trace *rows, const char *name, size_t index)
{
    for (size_t i = 0; i < rows->n_ops; i++) {
        const size_t op = (index + i) % rows->n_ops;
        if (strcmp(rows->names[op], name) == 0) return op;
    }
    return SIZE_MAX;
}

// Where rows differ that both runs have.
static bool find_difference(const tn_cli_trace *a, const tn_cli_trace *b, place *out_place)
{
    for (uint32_t t = 0; t < a->n; t++) {
        for (size_t op = 0; op < a->n_ops; op++) {
            const size_t same = find_same_op(b, a->names[op], op);
            if (same == SIZE_MAX || !a->present[op][t] || !b->present[same][t] || a->hashes[op][t] == b->hashes[same][t]) continue;
            out_place->position = t;
            memcpy(out_place->name, a->names[op], sizeof out_place->name);
            return true;
        }
    }
    return false;
}

static void set_place(finder *f, tn_cli_exact_kind kind, const place *at)
{
    tn_cli_exact_result *result = f->result;
    int layer, n_read = 0;
    const bool has_layer = sscanf(at->name, "L%d.%n", &layer, &n_read) == 1 && n_read > 0;
    result->kind = kind;
    result->reason[0] = '\0';
    result->token = f->request->first_token + at->position;
    result->position = at->position;
    result->layer = has_layer ? layer : -1;
    snprintf(result->op, sizeof result->op, "%s", at->name + (has_layer ? n_read : 0));
}

// Runs a side again and keeps its row. False with the result where it fails, or has not the bits that it had.
static bool run_again(finder *f, uint32_t side, const place *at)
{
    place moved = *at;
    run *again = &f->second[side];
    if (!begin(f, again, side, f->first[side].is_traced, at)) return false;
    const bool is_stable = !find_difference(&f->first[side].rows, &again->rows, &moved) && again->kept;
    tn_cli_trace_deinit(&again->rows);
    if (is_stable) return true;
    set_place(f, TN_CLI_EXACT_UNSTABLE, &moved);
    f->result->side = side;
    return false;
}

static void take_values(finder *f)
{
    const run *a = &f->second[0], *b = &f->second[1];
    tn_cli_exact_result *result = f->result;
    uint32_t i = 0;
    while (i < a->n_kept && i < b->n_kept && memcmp(&a->kept[i], &b->kept[i], sizeof(float)) == 0) i++;
    result->element = i;
    if (i < a->n_kept) result->values[0] = a->kept[i];
    if (i < b->n_kept) result->values[1] = b->kept[i];
}

// Rows that are computed from what left the exact range may be anything. Where one side alone has left it, the other's are as they should
// be and the first difference is before that; where both have, or nothing differs, there is nothing to say about bits.
static bool ends_in_poison(finder *f, bool is_different)
{
    const bool a = f->first[0].is_poisoned, b = f->first[1].is_poisoned;
    if (is_different ? !(a && b) : !(a || b)) return false;
    set_failed(f, b, TN_POISON);
    return true;
}

static void find(finder *f, bool is_traced)
{
    place at;
    if (!begin(f, &f->first[0], 0, is_traced, NULL) || !begin(f, &f->first[1], 1, is_traced, NULL)) return;
    const bool is_different = find_difference(&f->first[0].rows, &f->first[1].rows, &at);
    f->result->kind = TN_CLI_EXACT_SAME;
    if (ends_in_poison(f, is_different) || !is_different || !run_again(f, 0, &at) || !run_again(f, 1, &at)) return;
    set_place(f, is_traced ? TN_CLI_EXACT_PARTED : TN_CLI_EXACT_UNTRACED, &at);
    take_values(f);
}

static void find_and_end(finder *f, bool is_traced)
{
    find(f, is_traced);
    for (uint32_t side = 0; side < 2; side++) {
        end(&f->first[side]);
        end(&f->second[side]);
    }
}

void tn_cli_exact_find(const tn_cli_exact_request *request, tn_cli_exact_result *out_result)
{
    finder f = {.request = request, .result = out_result};
    memset(out_result, 0, sizeof *out_result);
    find_and_end(&f, true);
    if (out_result->kind == TN_CLI_EXACT_SAME) find_and_end(&f, false);
}
