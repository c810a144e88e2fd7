// What a session has in its devices, made again on others: the KV cache from its tokens, and the sums of its profile.
#ifndef TN_RUNTIME_SESSION_REPLAY_H
#define TN_RUNTIME_SESSION_REPLAY_H

#include "runtime/session_state.h"

// Computes all positions of all sequences but poisoned ones, each page once. Sequences stay as they are. Errors: as tn_plan_run_step, with
// the session's failed_device.
tn_status tn_session_replay(tn_session *session);

typedef struct tn_kept_stats {
    tn_program_stats stats; // its node_ns is given to tn_free
    tn_screen_stats screen_stats;
} tn_kept_stats;
// Errors: OUT_OF_MEMORY.
tn_status tn_session_keep_stats(const tn_session *session, tn_kept_stats *out_kept);
// In place of what replaying added.
void tn_session_restore_stats(tn_session *session, const tn_kept_stats *kept);

#endif
