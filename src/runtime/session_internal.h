// What the batcher needs of a session beside the public interface.
#ifndef TN_RUNTIME_SESSION_INTERNAL_H
#define TN_RUNTIME_SESSION_INTERNAL_H

#include "runtime/kv_cache.h"
#include "ternion/session.h"

// Borrowed from the session.
tn_kv_cache *tn_session_kv(tn_session *session);
const tn_model *tn_session_model(const tn_session *session);
// Of a row of the last decode that the device ranked: the ids of its best logits, as many as tn_batch.n_top asked for, best first; all
// other logits are -INFINITY. NULL, and 0 of them, where the row is whole.
const uint32_t *tn_session_candidates(const tn_session *session, uint32_t index, uint32_t *out_n);

#endif
