// Sums, and the one line for whoever asked for too much.
#include "runtime/plan_memory.h"

#include "base/checked.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static tn_status too_large(const char *device)
{
    return tn_fail(TN_INVALID_ARGUMENT,
                   "%s: what is asked for is larger than any memory: ask for a shorter context (-c) or fewer sequences", device);
}

static bool add_needs(const tn_plan_memory *m, uint64_t *sum)
{
    return tn_ckd_add(*sum, m->weights_bytes - m->mapped_bytes, sum) && tn_ckd_add(*sum, m->kv_bytes, sum) &&
           tn_ckd_add(*sum, m->scratch_bytes, sum);
}

tn_status tn_plan_memory_ask(tn_plan_memory *memory, uint32_t n_devices)
{
    for (uint32_t i = 0; i < n_devices; i++) {
        tn_plan_memory *m = &memory[i];
        if (!m->device) continue;
        m->needed_bytes = 0;
        if (!add_needs(m, &m->needed_bytes)) return too_large(m->device->name);
        TN_TRY(m->device->backend->device_memory(m->device, &m->device_total_bytes, &m->device_free_bytes));
    }
    return TN_OK;
}

static uint64_t mib(uint64_t bytes) { return bytes / (1 << 20) + (bytes % (1 << 20) != 0); }

static const char *remedy_of(const tn_plan_memory *m)
{
    if (m->kv_bytes > m->device_free_bytes) return "the KV cache alone is too large: ask for a shorter context (-c) or fewer sequences";
    if (m->weights_bytes - m->mapped_bytes > m->device_free_bytes)
        return "the weights alone are too large: put fewer layers on it (-ngl), or share them with another device (--device)";
    if (m->needed_bytes - m->kv_bytes > m->device_free_bytes)
        return "put fewer layers on it (-ngl), share them with another device (--device), or make smaller steps (-ub)";
    return "ask for a shorter context (-c) or fewer sequences, put fewer layers on it (-ngl), or share them with another device (--device)";
}

static tn_status refuse(const char *names, const tn_plan_memory *m)
{
    const tn_status status = tn_fail(TN_OUT_OF_MEMORY,
                                     "%s: %" PRIu64 " MiB of memory are needed (weights %" PRIu64 ", KV cache %" PRIu64
                                     ", values of steps %" PRIu64 " MiB), and %" PRIu64 " of %" PRIu64 " MiB are free: %s",
                                     names, mib(m->needed_bytes), mib(m->weights_bytes - m->mapped_bytes), mib(m->kv_bytes),
                                     mib(m->scratch_bytes), m->device_free_bytes >> 20, m->device_total_bytes >> 20, remedy_of(m));
    tn_error error = *tn_error_last();
    snprintf(error.device, sizeof error.device, "%s", m->device->name);
    tn_error_set(&error);
    return status;
}

// The devices that take the host's memory, as if they were one; `names` of all of them.
static tn_status check_host(const tn_plan_memory *memory, uint32_t n_devices)
{
    tn_plan_memory all = {0};
    char names[128] = "";
    for (uint32_t i = 0; i < n_devices; i++) {
        const tn_plan_memory *m = &memory[i];
        if (!m->device || !m->device->takes_host_memory) continue;
        const size_t n = strlen(names);
        snprintf(names + n, sizeof names - n, "%s%s", n ? " and " : "", m->device->name);
        if (!all.device)
            all = (tn_plan_memory){
                .device = m->device, .device_free_bytes = m->device_free_bytes, .device_total_bytes = m->device_total_bytes};
        if (!tn_ckd_add(all.needed_bytes, m->needed_bytes, &all.needed_bytes)) return too_large(names);
        all.weights_bytes += m->weights_bytes - m->mapped_bytes; // a part of the sum, like those that follow
        all.kv_bytes += m->kv_bytes;
        all.scratch_bytes += m->scratch_bytes;
    }
    const uint64_t margin = all.device_free_bytes / 4;
    return all.needed_bytes > all.device_free_bytes && all.needed_bytes - all.device_free_bytes > margin ? refuse(names, &all) : TN_OK;
}

tn_status tn_plan_memory_check(const tn_plan_memory *memory, uint32_t n_devices)
{
    for (uint32_t i = 0; i < n_devices; i++) {
        const tn_plan_memory *m = &memory[i];
        if (!m->device || m->device->takes_host_memory) continue;
        if (m->needed_bytes > m->device_free_bytes) return refuse(m->device->name, m);
    }
    return check_host(memory, n_devices);
}
