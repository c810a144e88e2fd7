// Steps without logits, of tokens that the sequences have already.
#include "runtime/session_replay.h"

#include "base/alloc.h"

#include <string.h>

typedef struct replay {
    tn_session *session;
    tn_session_lane *lane; // whose step is filled
    uint8_t *n_done;       // [kv.n_pages] positions of each page that are computed, or in the step
} replay;

_Static_assert(TN_KV_PAGE_POSITIONS <= UINT8_MAX, "positions of a page are counted in bytes");

static tn_status run_step(replay *r)
{
    tn_session *session = r->session;
    tn_step *step = r->lane->step;
    if (step->n_tokens == 0) return TN_OK;
    tn_session_lane_put_pages(session, r->lane);
    const tn_plan_job job = {.step = step, .rows = &r->lane->rows, .poison = r->lane->poison};
    const tn_status status = tn_plan_run_step(session->run, &job);
    if (status != TN_OK) session->failed_device = tn_plan_run_failed_device(session->run, 0);
    step->n_tokens = 0;
    return status;
}

static tn_status replay_seq(replay *r, uint32_t seq)
{
    tn_session *session = r->session;
    const tn_kv_cache *kv = &session->kv;
    const tn_step_layout *layout = &session->step_layout;
    tn_step *step = r->lane->step;
    const uint32_t *pages = kv->page_table + (size_t)seq * kv->n_seq_pages;
    for (uint32_t position = 0; position < kv->lengths[seq]; position++) {
        const uint32_t page = pages[position / TN_KV_PAGE_POSITIONS], offset = position % TN_KV_PAGE_POSITIONS;
        const bool is_computed = offset < r->n_done[page];
        // What another sequence shares with this one is computed before anything that is behind it.
        if (step->n_tokens == session->n_step_tokens || is_computed) TN_TRY(run_step(r));
        if (is_computed) continue;
        const uint32_t i = step->n_tokens++;
        tn_step_tokens(step, layout)[i] = tn_token_log_get(&kv->log, page, offset);
        tn_step_seqs(step, layout)[i] = seq;
        tn_step_positions(step, layout)[i] = position;
        r->n_done[page] = (uint8_t)(offset + 1);
    }
    return TN_OK;
}

static tn_status replay_all(replay *r)
{
    tn_session *session = r->session;
    // The pages that wait for a copy are computed like all others.
    tn_kv_cache_copies_take(&session->kv, r->lane->number, tn_step_copies(r->lane->step, &session->step_layout));
    tn_kv_cache_copies_made(&session->kv, r->lane->number);
    *r->lane->step = (tn_step){.n_seqs = session->info.n_seqs_max, .n_top_ids = session->info.n_vocab};
    for (uint32_t seq = 0; seq < session->info.n_seqs_max; seq++) {
        if (!session->poisoned[seq].node) TN_TRY(replay_seq(r, seq));
    }
    return run_step(r);
}

tn_status tn_session_replay(tn_session *session)
{
    const tn_step_limits limits = tn_plan_run_limits(session->run);
    replay r = {.session = session, .lane = &session->lanes[0]};
    TN_TRY(tn_step_layout_of(&limits, &session->step_layout));
    TN_TRY(tn_alloc_zero(session->kv.n_pages, sizeof *r.n_done, &r.n_done));
    session->is_replaying = true;
    const tn_status status = replay_all(&r);
    session->is_replaying = false;
    tn_free(r.n_done);
    return status;
}

tn_status tn_session_keep_stats(const tn_session *session, tn_kept_stats *out_kept)
{
    *out_kept = (tn_kept_stats){tn_plan_run_stats(session->run), *tn_plan_run_screen_stats(session->run)};
    const uint64_t *node_ns = out_kept->stats.node_ns;
    out_kept->stats.node_ns = NULL;
    if (!node_ns) return TN_OK;
    TN_TRY(tn_alloc(session->graph.n_nodes, sizeof *node_ns, &out_kept->stats.node_ns));
    memcpy(out_kept->stats.node_ns, node_ns, session->graph.n_nodes * sizeof *node_ns);
    return TN_OK;
}

void tn_session_restore_stats(tn_session *session, const tn_kept_stats *kept)
{
    tn_plan_run_reset_stats(session->run);
    tn_plan_run_add_stats(session->run, &kept->stats, &kept->screen_stats);
}
