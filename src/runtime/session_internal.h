// What the batcher and placements need of sessions beside the public interface.
#ifndef TN_RUNTIME_SESSION_INTERNAL_H
#define TN_RUNTIME_SESSION_INTERNAL_H

#include "runtime/kv_cache.h"
#include "runtime/plan_memory.h"
#include "ternion/session.h"

// What a session of these params (whose placement is replaced) would need of each device in the host's list, found without packing
// anything; the array is given to tn_free, after failures too.
tn_status tn_session_plan_memory(const tn_placement *placement, const tn_session_params *params, tn_plan_memory **out_memory,
                                 uint32_t *out_n_devices);
// Borrowed from the session.
tn_kv_cache *tn_session_kv(tn_session *session);
const tn_model *tn_session_model(const tn_session *session);
// Of a row of the last decode that the device ranked: the ids of its best logits, as many as tn_batch.n_top asked for, best first; all
// other logits are -INFINITY. NULL, and 0 of them, where the row is whole.
const uint32_t *tn_session_candidates(const tn_session *session, uint32_t index, uint32_t *out_n);

// Lanes: sets of sequences whose decodes follow each other. One decode of each lane may be in flight, all at the same time; calls come from
// one thread, the session's. Meanwhile tn_session_decode is refused, and so are truncating and copying of sequences that are in flight.
uint32_t tn_session_n_lanes(const tn_session *session); // tn_session_info.n_lanes
// Begins a decode of at most n_ubatch tokens, of sequences that no lane has in flight, in a lane that has none. `done` is called once, by
// any thread, perhaps before this returns, when tn_session_finish would not wait for the devices any more; NULL: nobody is told. Where this
// fails nothing is in flight, `done` is not called, and lengths are as before.  Errors: as tn_session_decode; INVALID_ARGUMENT (lane,
// sequence in flight); OUT_OF_MEMORY (the first start makes the plan's threads).
TN_NODISCARD tn_status tn_session_start(tn_session *session, uint32_t lane, const tn_batch *batch, void (*done)(void *user), void *user);
// Waits for the lane's decode. What failed has left the lengths as before.  Errors: as tn_session_decode; INVALID_ARGUMENT (none is in
// flight).
TN_NODISCARD tn_status tn_session_finish(tn_session *session, uint32_t lane);
// As tn_session_logits and tn_session_candidates; lane 0's are those of tn_session_decode too. Valid until the lane's next start.
const float *tn_session_lane_logits(const tn_session *session, uint32_t lane, uint32_t index);
const uint32_t *tn_session_lane_candidates(const tn_session *session, uint32_t lane, uint32_t index, uint32_t *out_n);

// Losing a device, of a session that a batcher has: tn_session_decode and tn_session_finish only fail then, and the batcher decides.
void tn_session_own(tn_session *session, bool is_owned);
uint32_t tn_session_n_step_tokens(const tn_session *session); // that a step has room for, which recovering may make fewer
// The device that the last failure, with `status`, is of, by the host's indexes; TN_NONE where others cannot take over, or nobody wants it.
uint32_t tn_session_lost_device(const tn_session *session, tn_status status);
// Whether the session has other devices of its own.
bool tn_session_has_beside(const tn_session *session, uint32_t device);
// Goes on on other devices, while no lane is in flight. The record of the failure is the thread's. Errors: `status`, and those of what was
// tried; then the session cannot be used any more.
TN_NODISCARD tn_status tn_session_go_on(tn_session *session, uint32_t device, tn_status status);
// Ends the session but for its sequences and rows, and says that others go on without its device.
void tn_session_retire(tn_session *session, uint32_t device);

#endif
