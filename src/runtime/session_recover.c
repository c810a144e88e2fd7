// A device fails: the session's units go to others, what runs is made anew, and the KV cache is computed again from its tokens. The numbers
// of pages stay as they are; their bytes come back.
#include "runtime/session_recover.h"

#include "base/alloc.h"
#include "base/float_mode.h"
#include "base/log.h"
#include "runtime/host.h"
#include "runtime/placement_internal.h"
#include "runtime/session_internal.h"
#include "runtime/session_observe.h"
#include "runtime/session_replay.h"
#include "scheduler/place.h"

#include <stdio.h>
#include <string.h>

// ---- what runs ----

static uint32_t n_units(const tn_session *session) { return session->graph.n_layers + 2; }

static void leave_devices(tn_session *session)
{
    for (uint32_t i = 0; i < session->n_devices; i++) {
        if (session->devices[i]) tn_host_leave_device(session->host, i);
    }
    tn_free(session->devices);
    session->devices = NULL;
    session->n_devices = 0;
}

static tn_status open_devices(tn_session *session)
{
    uint32_t n;
    tn_host_descs(session->host, &n); // all that a placement may name
    TN_TRY(tn_alloc_zero(n, sizeof(tn_device *), &session->devices));
    session->n_devices = n;
    for (uint32_t i = 0; i < session->plan->n_segments; i++) {
        const uint32_t device = session->plan->segments[i].device;
        tn_device **place = &session->devices[device];
        if (!*place) TN_TRY(tn_host_use_device(session->host, device, session->run_params.progress, place));
        tn_host_locate(session->host, device);
    }
    return TN_OK;
}

tn_status tn_session_make_plan(tn_session *session)
{
    TN_TRY(tn_plan_create(&session->graph, session->units, &session->plan));
    TN_TRY(open_devices(session));
    session->run_params.plan = session->plan;
    session->run_params.devices = session->devices;
    session->run_params.n_devices = session->n_devices;
    session->run_params.thread_begins = tn_host_bind_near;
    session->run_params.thread_user = session->host;
    return TN_OK;
}

void tn_session_drop_run(tn_session *session)
{
    tn_plan_run_destroy(session->run);
    session->run = NULL;
    tn_plan_destroy(session->plan);
    session->plan = NULL;
    leave_devices(session);
    tn_session_observer_deinit(&session->observer); // it tells of a device that may be no longer the session's
    session->observer = (tn_session_observer){0};
}

tn_status tn_session_check_alive(const tn_session *session)
{
    if (session->run) return TN_OK;
    return tn_fail(TN_DEVICE_LOST, "the session has lost its devices, and no others could take over: create another one");
}

void tn_session_count_memory(tn_session *session)
{
    const tn_plan_run_memory memory = tn_plan_run_get_memory(session->run);
    session->info.weights_bytes = memory.weights_bytes;
    session->info.kv_bytes = memory.kv_bytes;
    session->info.scratch_bytes = memory.scratch_bytes + tn_session_lanes_bytes(session);
}

static tn_status make_run(tn_session *session)
{
    TN_TRY(tn_session_make_plan(session));
    TN_TRY(tn_plan_run_create(&session->run_params, &session->run));
    session->n_step_tokens = tn_plan_run_limits(session->run).n_tokens;
    return TN_OK;
}

// ---- which device failed, and where its units go ----

static const tn_device_desc *desc_of(const tn_session *session, uint32_t device)
{
    uint32_t n;
    return &tn_host_descs(session->host, &n)[device];
}

static bool is_cpu(const tn_session *session, uint32_t device) { return strncmp(desc_of(session, device)->name, "cpu", 3) == 0; }

// The device that a call failed on, of those that units are on: the step's, or else the one that the error names, or that cannot be opened.
static uint32_t find_failed(const tn_session *session, tn_status status)
{
    const char *name = tn_error_last()->device;
    if (session->failed_device != TN_NONE) return session->failed_device;
    for (uint32_t i = 0; i < n_units(session); i++) {
        const tn_device_desc *desc = desc_of(session, session->units[i]);
        if (status == TN_UNAVAILABLE ? desc->unusable[0] != '\0' : strcmp(name, desc->name) == 0) return session->units[i];
    }
    return TN_NONE;
}

// Whether the failure is of a device that others can take over from. The CPU's memory is what others would need.
static bool is_of_device(const tn_session *session, tn_status status, uint32_t device)
{
    if (session->no_recovery || device == TN_NONE) return false;
    if (status == TN_DEVICE_LOST) return true;
    if (status == TN_UNAVAILABLE) return true; // another session has lost it
    return status == TN_OUT_OF_MEMORY && !is_cpu(session, device);
}

static tn_status place_without(tn_session *session)
{
    tn_placement *placement;
    TN_TRY(tn_placement_create_again(session->model, session->host, session->placement, session->replica, &placement));
    memcpy(session->units, tn_placement_devices(placement, 0), n_units(session) * sizeof *session->units);
    tn_placement_destroy(placement);
    return TN_OK;
}

// The first CPU device that can be used; TN_NONE.
static uint32_t first_cpu(const tn_session *session)
{
    uint32_t n;
    const tn_device_desc *descs = tn_host_descs(session->host, &n);
    for (uint32_t i = 0; i < n; i++) {
        if (is_cpu(session, i) && !descs[i].unusable[0]) return i;
    }
    return TN_NONE;
}

// A quarter of the device's units, at least one, goes to the device before it, the one behind it, or the CPU. Nothing is known of what
// would fit: drivers refuse less than they say is free.
static tn_status place_less_on(tn_session *session, uint32_t device)
{
    uint32_t *units = session->units;
    uint32_t n = 0, first = n_units(session), last = 0;
    for (uint32_t i = 0; i < n_units(session); i++) {
        if (units[i] != device) continue;
        first = i < first ? i : first;
        last = i;
        n++;
    }
    const bool has_before = first > 0, has_next = last + 1 < n_units(session);
    const uint32_t to = has_before ? units[first - 1] : has_next ? units[last + 1] : first_cpu(session);
    if (to == TN_NONE)
        return tn_fail(TN_OUT_OF_MEMORY, "no other device is left for the layers that %s has no memory for",
                       desc_of(session, device)->name);
    const bool from_end = !has_before && has_next;
    for (uint32_t left = n < 8 ? 1 : n / 4, i = 0; left; i++) {
        const uint32_t unit = from_end ? last - i : first + i;
        if (units[unit] != device) continue;
        units[unit] = to;
        left--;
    }
    return TN_OK;
}

// ---- going on ----

// What the one line says, once it is known where the session goes on.
typedef struct loss {
    char name[32], reason[TN_LOSS_REASON_BYTES];
    bool of_memory;
} loss;

static void say_lost(const tn_session *session, const loss *l)
{
    char where[512];
    uint32_t n;
    const tn_device_desc *descs = tn_host_descs(session->host, &n);
    bool is_one = true;
    for (uint32_t i = 1; i < n_units(session); i++) is_one = is_one && session->units[i] == session->units[0];
    if (is_one)
        snprintf(where, sizeof where, "%s", descs[session->units[0]].name);
    else
        tn_place_print(session->units, session->graph.n_layers, descs, where, sizeof where);
    tn_log_write(&session->log, TN_LOG_WARN,
                 l->of_memory ? "%s has too little memory (%s): going on on %s" : "%s was lost (%s): going on on %s", l->name, l->reason,
                 where);
}

// Takes the failed device's units away from it.  Returns `status` where that is no help.
static tn_status move_units(tn_session *session, tn_status status, loss *l)
{
    const tn_error error = *tn_error_last();
    const uint32_t device = find_failed(session, status);
    if (!is_of_device(session, status, device)) return status;
    session->failed_device = TN_NONE;
    l->of_memory = status == TN_OUT_OF_MEMORY;
    snprintf(l->name, sizeof l->name, "%s", desc_of(session, device)->name);
    tn_host_loss_reason(session->host, device, &error, l->reason);
    if (!l->of_memory) tn_host_quarantine(session->host, device, l->reason);
    const tn_status moved = l->of_memory ? place_less_on(session, device) : place_without(session);
    if (moved == TN_OK) return TN_OK;
    tn_error_set(&error); // what was the matter in the first place
    return status;
}

// Until some devices take it all: each round has a device less, or less on one.
static tn_status make_run_elsewhere(tn_session *session, tn_status status)
{
    loss l = {.of_memory = false};
    while (status != TN_OK) {
        TN_TRY(move_units(session, status, &l));
        tn_session_drop_run(session);
        status = make_run(session);
        if (status == TN_OK && session->lanes) status = tn_session_replay(session);
    }
    say_lost(session, &l);
    return TN_OK;
}

tn_status tn_session_make_run(tn_session *session)
{
    const tn_status status = make_run(session);
    return status == TN_OK ? TN_OK : make_run_elsewhere(session, status);
}

tn_status tn_session_plan_elsewhere(tn_session *session, tn_status status)
{
    loss unsaid;
    TN_TRY(move_units(session, status, &unsaid));
    tn_session_drop_run(session);
    return TN_OK;
}

// ---- for batchers ----

void tn_session_own(tn_session *session, bool is_owned) { session->is_owned = is_owned; }

uint32_t tn_session_n_step_tokens(const tn_session *session) { return session->n_step_tokens; }

uint32_t tn_session_lost_device(const tn_session *session, tn_status status)
{
    const uint32_t device = session->run ? find_failed(session, status) : TN_NONE;
    return is_of_device(session, status, device) ? device : TN_NONE;
}

bool tn_session_has_beside(const tn_session *session, uint32_t device)
{
    for (uint32_t i = 0; i < n_units(session); i++) {
        if (session->units[i] != device && !desc_of(session, session->units[i])->unusable[0]) return true;
    }
    return false;
}

tn_status tn_session_go_on(tn_session *session, uint32_t device, tn_status status)
{
    session->failed_device = device;
    const tn_float_mode mode = tn_float_mode_enter();
    status = tn_session_recover(session, status);
    tn_float_mode_leave(mode);
    return status;
}

void tn_session_retire(tn_session *session, uint32_t device)
{
    char reason[TN_LOSS_REASON_BYTES];
    const char *name = desc_of(session, device)->name;
    const tn_status status = tn_error_last()->status;
    tn_host_loss_reason(session->host, device, tn_error_last(), reason);
    if (status != TN_OUT_OF_MEMORY) tn_host_quarantine(session->host, device, reason);
    tn_session_drop_run(session);
    tn_log_write(&session->log, TN_LOG_WARN, "%s %s (%s): the other devices go on without it", name,
                 status == TN_OUT_OF_MEMORY ? "has too little memory" : "was lost", reason);
}

// ---- a step has failed ----

tn_status tn_session_recover(tn_session *session, tn_status status)
{
    tn_kept_stats kept;
    if (!session->run || !is_of_device(session, status, find_failed(session, status))) return status;
    TN_TRY(tn_session_keep_stats(session, &kept));
    status = make_run_elsewhere(session, status);
    if (status == TN_OK) {
        tn_session_restore_stats(session, &kept);
        tn_session_count_memory(session);
    } else {
        tn_session_drop_run(session);
    }
    tn_free(kept.stats.node_ns);
    return status;
}
