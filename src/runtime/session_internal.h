// What the batcher needs of a session beside the public interface.
#ifndef TN_RUNTIME_SESSION_INTERNAL_H
#define TN_RUNTIME_SESSION_INTERNAL_H

#include "runtime/kv_cache.h"
#include "ternion/session.h"

// Borrowed from the session.
tn_kv_cache *tn_session_kv(tn_session *session);
const tn_model *tn_session_model(const tn_session *session);

#endif
