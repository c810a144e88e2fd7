// A member whose device failed: what it had in flight ends, what ran in it queues again and is computed from its tokens, and its session
// goes on on other devices, or the member is closed where the others are all there is.
#include "graph/op.h"
#include "runtime/batcher_internal.h"
#include "runtime/kv_prefix.h"

// What the lanes in flight have computed is used where it is whole: a step of sequences that the failed one had no part in.
static void finish_lanes(tn_batch_member *member)
{
    for (uint32_t i = 0; i < member->n_lanes; i++) {
        tn_batch_lane *lane = &member->lanes[i];
        if (!lane->in_flight) continue;
        tn_batch_rest(lane);
        const tn_status status = tn_batch_lane_finish(lane);
        (void)status; // the device has failed already
    }
}

static void interrupt_all(tn_batch_member *member)
{
    for (uint32_t i = 0; i < member->n_lanes; i++) {
        tn_batch_lane *lane = &member->lanes[i];
        while (lane->n_running) tn_batch_interrupt(lane->running[lane->n_running - 1]);
    }
    while (tn_batch_drop_any_prompt(member)) continue;
    tn_kv_prefix_deinit(member->kv);
}

static bool is_alive(const tn_batch_member *member) { return member->limits.n_seqs_max > 0; }

// Whether other members can do all that this one could.
static bool others_suffice(const tn_batch_member *member)
{
    const tn_batcher *batcher = member->batcher;
    for (uint32_t i = 0; i < batcher->n_members; i++) {
        const tn_batch_member *other = &batcher->members[i];
        if (other != member && is_alive(other) && other->kv->n_pages >= member->kv->n_pages) return true;
    }
    return false;
}

// Sequences at a time, after a member has changed.
static void count_seqs(tn_batcher *batcher)
{
    batcher->n_seqs_max = 0;
    for (uint32_t i = 0; i < batcher->n_members; i++) batcher->n_seqs_max += batcher->members[i].limits.n_seqs_max;
    if (batcher->params.n_seqs > batcher->n_seqs_max) batcher->params.n_seqs = batcher->n_seqs_max;
}

// Nothing is computed here any more.
static void close_member(tn_batch_member *member, uint32_t device)
{
    tn_session_retire(member->session, device);
    member->limits.n_seqs_max = member->n_seqs = 0;
}

static tn_status go_on(tn_batch_member *member, uint32_t device, tn_status status)
{
    TN_TRY(tn_session_go_on(member->session, device, status));
    const uint32_t n_tokens = tn_session_n_step_tokens(member->session);
    member->limits.n_ubatch = n_tokens < member->limits.n_ubatch ? n_tokens : member->limits.n_ubatch;
    if (member->limits.n_seqs_max > n_tokens) member->limits.n_seqs_max = n_tokens; // each has a token in a step
    if (member->n_seqs > member->limits.n_seqs_max) member->n_seqs = member->limits.n_seqs_max;
    const tn_status kept = tn_batch_member_keep(member);
    (void)kept; // without the index nothing is shared with later requests
    return TN_OK;
}

tn_status tn_batch_member_recover(tn_batch_member *member, tn_status status)
{
    const tn_error error = *tn_error_last();
    const uint32_t device = tn_session_lost_device(member->session, status);
    if (device == TN_NONE) return status;
    finish_lanes(member);
    interrupt_all(member);
    const bool others_do = others_suffice(member), has_devices = tn_session_has_beside(member->session, device);
    tn_error_set(&error);
    if (!others_do || has_devices) status = go_on(member, device, status);
    if (status != TN_OK && others_do) {
        tn_error_set(&error);
        close_member(member, device);
        status = TN_OK;
    }
    count_seqs(member->batcher);
    return status;
}
