// Steps of a session: from tokens of a batch to the block that devices take, and from what they leave to lengths, poison and rows.
#include "runtime/session_lane.h"

#include "base/alloc.h"
#include "graph/op.h"
#include "runtime/session_state.h"

#include <string.h>

static tn_status init_lane(tn_session_lane *lane, const tn_session *session, const tn_step_limits *limits, uint32_t n_rows)
{
    TN_TRY(tn_alloc_zero(session->step_layout.n_words, sizeof(uint32_t), &lane->step));
    TN_TRY(tn_alloc_zero(limits->n_tokens, sizeof *lane->poison, &lane->poison));
    TN_TRY(tn_alloc_zero(n_rows, 1, &lane->row_valid));
    return tn_logit_rows_init(&lane->rows, n_rows, session->info.n_vocab);
}

tn_status tn_session_lanes_init(tn_session *session, const tn_step_limits *limits, uint32_t ranking_max)
{
    TN_TRY(tn_step_layout_of(limits, &session->step_layout));
    TN_TRY(tn_alloc_zero(session->info.n_lanes, sizeof *session->lanes, &session->lanes));
    for (uint32_t i = 0; i < session->info.n_lanes; i++) {
        tn_session_lane *lane = &session->lanes[i];
        lane->number = i;
        TN_TRY(init_lane(lane, session, limits, i == 0 ? session->info.n_logits_max : limits->n_logits));
        TN_TRY(tn_logit_rows_rank(&lane->rows, ranking_max));
    }
    return TN_OK;
}

void tn_session_lanes_deinit(tn_session *session)
{
    for (uint32_t i = 0; session->lanes && i < session->info.n_lanes; i++) {
        tn_session_lane *lane = &session->lanes[i];
        tn_free(lane->step);
        tn_free(lane->poison);
        tn_free(lane->row_valid);
        tn_logit_rows_deinit(&lane->rows);
    }
    tn_free(session->lanes);
}

uint64_t tn_session_lanes_bytes(const tn_session *session)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < session->info.n_lanes; i++) bytes += tn_logit_rows_bytes(&session->lanes[i].rows);
    return bytes;
}

tn_status tn_session_check_free(const tn_session *session, uint32_t seq)
{
    const uint32_t mark = session->seq_lane[seq];
    if (mark == 0) return TN_OK;
    return tn_fail(TN_INVALID_ARGUMENT, "sequence %u is in flight in lane %u: finish that first", (unsigned)seq, (unsigned)(mark - 1));
}

static uint32_t seq_of(const tn_batch *batch, uint32_t i) { return batch->seqs ? batch->seqs[i] : 0; }

static tn_status check_token(const tn_session *session, const tn_batch *batch, uint32_t i)
{
    const tn_session_info *info = &session->info;
    const uint32_t seq = seq_of(batch, i);
    if (seq >= info->n_seqs_max)
        return tn_fail(TN_INVALID_ARGUMENT, "sequence %u does not exist: this session has %u", (unsigned)seq, (unsigned)info->n_seqs_max);
    if (batch->tokens[i] < 0 || (uint32_t)batch->tokens[i] >= info->n_vocab)
        return tn_fail(TN_INVALID_ARGUMENT, "token %d is not in the vocabulary of %u", (int)batch->tokens[i], (unsigned)info->n_vocab);
    if (session->poisoned[seq].node)
        return tn_fail(TN_POISON, "sequence %u is poisoned: truncate it to 0 before using it again", (unsigned)seq);
    return tn_session_check_free(session, seq);
}

tn_status tn_session_lane_check(tn_session *session, const tn_batch *batch)
{
    const tn_session_info *info = &session->info;
    TN_REQUIRE(batch->tokens);
    if (batch->n_tokens == 0) return tn_fail(TN_INVALID_ARGUMENT, "the batch has no tokens");
    if (batch->n_top_ids > info->n_vocab)
        return tn_fail(TN_INVALID_ARGUMENT, "the best of %u ids are wanted, but the vocabulary has %u", (unsigned)batch->n_top_ids,
                       (unsigned)info->n_vocab);
    memset(session->seq_added, 0, info->n_seqs_max * sizeof *session->seq_added);
    uint64_t n_wanted = 0;
    for (uint32_t i = 0; i < batch->n_tokens; i++) {
        TN_TRY(check_token(session, batch, i));
        const uint32_t seq = seq_of(batch, i), length = session->kv.lengths[seq] + ++session->seq_added[seq];
        if (length > info->n_ctx)
            return tn_fail(TN_LIMIT, "sequence %u would pass the context length of %u tokens", (unsigned)seq, (unsigned)info->n_ctx);
        n_wanted += batch->logits ? batch->logits[i] != 0 : session->seq_added[seq] == 1; // without flags: one row a sequence
    }
    if (n_wanted > info->n_logits_max)
        return tn_fail(TN_INVALID_ARGUMENT, "%llu rows of logits are wanted, the session keeps %u: raise n_logits_max",
                       (unsigned long long)n_wanted, (unsigned)info->n_logits_max);
    return TN_OK;
}

// Whether token i's logits are wanted. Without flags it is the last token of its sequence: seq_added counts those still to come.
static bool wants_logits(tn_session *session, const tn_batch *batch, uint32_t i)
{
    uint32_t left = --session->seq_added[seq_of(batch, i)];
    return batch->logits ? batch->logits[i] != 0 : left == 0;
}

void tn_session_lane_put_pages(const tn_session *session, tn_session_lane *lane)
{
    const tn_kv_cache *kv = &session->kv;
    tn_step *step = lane->step;
    const tn_step_layout *layout = &session->step_layout;
    for (uint32_t seq = 0; seq < step->n_seqs; seq++) {
        const uint32_t *pages = kv->page_table + (size_t)seq * kv->n_seq_pages;
        memcpy(tn_step_pages(step, layout, seq), pages, kv->n_held[seq] * sizeof *pages);
    }
}

static void log_token(tn_kv_cache *kv, uint32_t seq, uint32_t position, int32_t token)
{
    const uint32_t *pages = kv->page_table + (size_t)seq * kv->n_seq_pages;
    tn_token_log_put(&kv->log, pages[position / TN_KV_PAGE_POSITIONS], position % TN_KV_PAGE_POSITIONS, token);
}

tn_status tn_session_lane_fill(tn_session *session, tn_session_lane *lane, tn_session_lane *keeper, const tn_batch *batch, uint32_t first,
                               uint32_t n)
{
    tn_kv_cache *kv = &session->kv;
    tn_step *step = lane->step;
    const tn_step_layout *layout = &session->step_layout;
    *step = (tn_step){.n_seqs = session->info.n_seqs_max,
                      .has_top = batch->n_top != NULL,
                      .n_top_ids = batch->n_top_ids ? batch->n_top_ids : session->info.n_vocab};
    lane->keeper = keeper;
    lane->first_row = keeper->n_rows_filled;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t seq = seq_of(batch, first + i);
        const tn_status status = tn_kv_cache_reserve(kv, seq, kv->lengths[seq] + 1);
        if (status != TN_OK) {
            tn_session_lane_undo(session, lane);
            return status;
        }
        step->n_tokens = i + 1;
        tn_step_tokens(step, layout)[i] = batch->tokens[first + i];
        tn_step_seqs(step, layout)[i] = seq;
        tn_step_positions(step, layout)[i] = kv->lengths[seq];
        log_token(kv, seq, kv->lengths[seq]++, batch->tokens[first + i]);
        if (wants_logits(session, batch, first + i)) {
            if (batch->n_top) tn_step_n_top(step, layout)[step->n_logits] = batch->n_top[first + i];
            tn_step_logit_rows(step, layout)[step->n_logits++] = i;
        }
    }
    step->n_copies = tn_kv_cache_copies_take(kv, lane->number, tn_step_copies(step, layout));
    tn_session_lane_put_pages(session, lane);
    keeper->n_rows_filled += step->n_logits;
    return TN_OK;
}

void tn_session_lane_undo(tn_session *session, tn_session_lane *lane)
{
    const tn_step_view step = tn_step_view_of(lane->step, &session->step_layout);
    tn_kv_cache_copies_return(&session->kv, lane->number);
    for (uint32_t i = step.n_tokens; i-- > 0;) {
        tn_kv_cache_set_length(&session->kv, step.seqs[i], step.positions[i]);
        session->seq_added[step.seqs[i]]++; // it is still to come
    }
    lane->keeper->n_rows_filled = lane->first_row;
}

tn_status tn_session_fail_poisoned(const tn_session *session, uint32_t seq)
{
    const tn_seq_poison *poison = &session->poisoned[seq];
    const int32_t layer = poison->node->layer;
    const char *place = layer == TN_LAYER_EMBED ? "the embedding" : layer == TN_LAYER_HEAD ? "the head" : "a layer";
    return tn_fail(TN_POISON,
                   "sequence %u: op %s of %s (layer %d) stored a value that is not below 2^56 at position %u: the weights are unusable",
                   (unsigned)seq, tn_op_name(poison->node->op), place, layer == TN_LAYER_HEAD ? (int)session->graph.n_layers : (int)layer,
                   (unsigned)poison->position);
}

// Notes which sequences the step poisoned; fails with the first of them.
static tn_status report_poison(tn_session *session, const tn_session_lane *lane, const tn_step_view *step)
{
    tn_status status = TN_OK;
    for (uint32_t i = 0; i < step->n_tokens; i++) {
        const uint32_t seq = step->seqs[i];
        if (!lane->poison[i] || session->poisoned[seq].node) continue;
        session->poisoned[seq] = (tn_seq_poison){&session->graph.nodes[lane->poison[i] - 1], step->positions[i]};
        if (status == TN_OK) status = tn_session_fail_poisoned(session, seq);
    }
    return status;
}

tn_status tn_session_lane_settle(tn_session *session, tn_session_lane *lane)
{
    const tn_step_view step = tn_step_view_of(lane->step, &session->step_layout);
    tn_session_lane *keeper = lane->keeper;
    tn_kv_cache_copies_made(&session->kv, lane->number);
    const tn_status status = report_poison(session, lane, &step);
    for (uint32_t r = 0; r < step.n_logits; r++)
        keeper->row_valid[keeper->n_rows++] = !session->poisoned[step.seqs[step.logit_rows[r]]].node;
    return status;
}
