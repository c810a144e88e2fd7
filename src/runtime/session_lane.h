// Lanes of a session: each has room for one step in flight and for the rows of logits of its last decode. A lane's step holds what it takes
// from the KV cache until it is settled: its positions are the sequences' already, and its copies of pages are its own.
#ifndef TN_RUNTIME_SESSION_LANE_H
#define TN_RUNTIME_SESSION_LANE_H

#include "backend/step.h"
#include "runtime/logit_rows.h"
#include "ternion/session.h"

typedef struct tn_session_lane {
    tn_step *step;    // the block that every step fills anew
    uint32_t *poison; // [limits.n_tokens]
    uint32_t number;
    bool is_in_flight; // its step was started and not settled
    // Of the step in flight: who keeps its rows of logits, and from which one on.
    struct tn_session_lane *keeper;
    uint32_t first_row;
    uint64_t begun_ns;
    // Rows of the lane's last decode.
    tn_logit_rows rows;
    uint8_t *row_valid;     // [rows.n_rows] 0: its sequence is poisoned
    uint32_t n_rows;        // of steps that are settled
    uint32_t n_rows_filled; // and of those in flight
} tn_session_lane;

// Makes and frees the lanes of a session whose plan is known. Lane 0 keeps n_logits_max rows, the others as many as a step can have.
tn_status tn_session_lanes_init(tn_session *session, const tn_step_limits *limits, uint32_t ranking_max);
void tn_session_lanes_deinit(tn_session *session);
uint64_t tn_session_lanes_bytes(const tn_session *session); // of all rows

// Checks the whole batch before anything runs, and counts its tokens by sequence.  Errors: as tn_session_decode.
tn_status tn_session_lane_check(tn_session *session, const tn_batch *batch);
// Fills the lane's step with tokens [first, first + n) of a batch that was checked, reserves their pages and takes the copies of pages that
// are to be made; its rows go behind those that `keeper` has. On failure nothing was taken.  Errors: LIMIT.
tn_status tn_session_lane_fill(tn_session *session, tn_session_lane *lane, tn_session_lane *keeper, const tn_batch *batch, uint32_t first,
                               uint32_t n);
// The pages of all sequences into the lane's step.
void tn_session_lane_put_pages(const tn_session *session, tn_session_lane *lane);
// Takes the lane's step back: lengths as before it. Of several in flight the last one first.
void tn_session_lane_undo(tn_session *session, tn_session_lane *lane);
// The lane's step has run well: its copies are made, its rows are the keeper's.  Errors: POISON (of a sequence that was not poisoned
// before).
tn_status tn_session_lane_settle(tn_session *session, tn_session_lane *lane);

// INVALID_ARGUMENT for a sequence that a lane has in flight.
tn_status tn_session_check_free(const tn_session *session, uint32_t seq);
// POISON, with the place, for a sequence that is poisoned.
tn_status tn_session_fail_poisoned(const tn_session *session, uint32_t seq);

#endif
