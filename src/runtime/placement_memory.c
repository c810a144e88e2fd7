// What a placement needs of its devices' memory, for the caller.
#include "base/alloc.h"
#include "base/float_mode.h"
#include "base/params.h"
#include "runtime/placement_internal.h"
#include "runtime/session_internal.h"

static tn_device_memory told_of(const tn_plan_memory *m)
{
    return (tn_device_memory){
        .device = m->device->name,
        .weights_bytes = m->weights_bytes,
        .mapped_bytes = m->mapped_bytes,
        .kv_bytes = m->kv_bytes,
        .scratch_bytes = m->scratch_bytes,
        .needed_bytes = m->needed_bytes,
        .device_total_bytes = m->device_total_bytes,
        .device_free_bytes = m->device_free_bytes,
    };
}

tn_status tn_placement_memory(const tn_placement *placement, const tn_session_params *params,
                              void (*told)(void *user, const tn_device_memory *memory), void *user)
{
    TN_REQUIRE(placement);
    TN_REQUIRE(told);
    tn_session_params known = TN_SESSION_PARAMS_INIT;
    TN_TRY(TN_PARAMS_READ(tn_session_params, progress, params, &known));
    tn_plan_memory *memory;
    uint32_t n_devices;
    const tn_float_mode mode = tn_float_mode_enter();
    const tn_status status = tn_session_plan_memory(placement, &known, &memory, &n_devices);
    tn_float_mode_leave(mode);
    for (uint32_t i = 0; status == TN_OK && i < n_devices; i++) {
        const tn_device_memory m = memory[i].device ? told_of(&memory[i]) : (tn_device_memory){0};
        if (memory[i].device) told(user, &m);
    }
    tn_free(memory);
    return status;
}
