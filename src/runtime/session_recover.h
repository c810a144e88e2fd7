// What a session runs on, and how it comes to run on something else.
#ifndef TN_RUNTIME_SESSION_RECOVER_H
#define TN_RUNTIME_SESSION_RECOVER_H

#include "runtime/session_state.h"

// The plan of the session's units, whose devices are opened, into its run_params.  Errors: those of opening.
tn_status tn_session_make_plan(tn_session *session);
// A plan and what runs it. Where a device fails meanwhile, with others in its place.  Errors: those of tn_session_create.
tn_status tn_session_make_run(tn_session *session);
// Nothing runs yet, and planning has failed with `status`: takes units away from the device that it failed on, and gives the devices back.
// Nothing is said of it; the session that is to run there will.  Returns `status` itself where others cannot take over.
tn_status tn_session_plan_elsewhere(tn_session *session, tn_status status);
// Ends what runs, and gives the devices back.
void tn_session_drop_run(tn_session *session);
// DEVICE_LOST where nothing runs any more.
tn_status tn_session_check_alive(const tn_session *session);
// What the session says of its memory.
void tn_session_count_memory(tn_session *session);
// A step has failed with `status`, and nothing is in flight: goes on with other devices, where that is the failure of a device. All
// sequences are as they were.  Returns `status` itself, its record untouched, where it is none or nobody wants it; errors of what was
// tried.
tn_status tn_session_recover(tn_session *session, tn_status status);

#endif
