// What a session's steps teach of its device's costs.
#ifndef TN_RUNTIME_SESSION_OBSERVE_H
#define TN_RUNTIME_SESSION_OBSERVE_H

#include "runtime/host_costs.h"

struct tn_session;
struct tn_session_lane;

typedef struct tn_session_observer {
    tn_known_costs *costs; // of the host; NULL: nothing is learnt
    tn_cost_work *works;   // [n_works], owned
    uint32_t n_works;
    uint64_t n_steps; // so far
} tn_session_observer;

// Begins to learn where the whole model is on one device whose costs are known, and its steps are what costs are of: without a trace, a
// copy for two stages, or several steps in flight.  Errors: OUT_OF_MEMORY, INVALID_ARGUMENT.
tn_status tn_session_observer_init(struct tn_session *session, const tn_host *host);
void tn_session_observer_deinit(tn_session_observer *observer);
// The lane's step was right, and took so long.
void tn_session_observe(struct tn_session *session, const struct tn_session_lane *lane, uint64_t ns);

#endif
