// A placement made anew, by what its caller wished, when a device of it can no longer be used.
#include "base/alloc.h"
#include "runtime/host.h"
#include "runtime/placement_internal.h"

#include <stdio.h>
#include <string.h>

enum { NAME_MAX_BYTES = 256 };

static tn_status append_name(tn_text *names, const char *name)
{
    if (names->len) TN_TRY(tn_text_append(names, ",", 1));
    return tn_text_append(names, name, strlen(name));
}

// Those items of the list that can be used; the text is not ended with a zero.
static tn_status keep_listed(const tn_host *host, const char *devices, tn_text *names, bool *out_changed)
{
    for (const char *at = devices; at;) {
        const size_t len = strcspn(at, ",");
        char name[NAME_MAX_BYTES];
        uint32_t index;
        snprintf(name, sizeof name, "%.*s", (int)len, at);
        if (tn_host_find_device(host, name, &index) == TN_OK)
            TN_TRY(append_name(names, name));
        else
            *out_changed = true;
        at = at[len] ? at + len + 1 : NULL;
    }
    return TN_OK;
}

static bool is_before(const uint32_t *units, uint32_t unit)
{
    for (uint32_t i = 0; i < unit; i++) {
        if (units[i] == units[unit]) return true;
    }
    return false;
}

// Those of the units' devices that can be used, in their order.
static tn_status keep_used(const tn_host *host, const uint32_t *units, uint32_t n_units, tn_text *names)
{
    uint32_t n_descs;
    const tn_device_desc *descs = tn_host_descs(host, &n_descs);
    for (uint32_t i = 0; i < n_units; i++) {
        const tn_device_desc *desc = &descs[units[i]];
        if (!desc->unusable[0] && !is_before(units, i)) TN_TRY(append_name(names, desc->name));
    }
    return TN_OK;
}

// Drops the wishes for layers on devices that cannot be used.
static void keep_overrides(const tn_host *host, tn_placement_params *params, const char **overrides)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < params->n_overrides; i++) {
        const char *device = strrchr(params->overrides[i], '=');
        uint32_t index;
        if (device && tn_host_find_device(host, device + 1, &index) == TN_OK) overrides[n++] = params->overrides[i];
    }
    params->overrides = overrides;
    params->n_overrides = n;
}

// Of all devices that can be used: nothing that was forced is left.
static void free_of_force(tn_placement_params *params)
{
    params->devices = params->tensor_split = params->memory_limits = NULL;
    params->has_n_gpu_layers = params->replicas = false;
    params->overrides = NULL;
    params->n_overrides = 0;
}

static tn_status place_on_cpu(const tn_model *model, tn_host *host, tn_placement_params *params, tn_placement **out_placement)
{
    uint32_t n_descs, i = 0;
    const tn_device_desc *descs = tn_host_descs(host, &n_descs);
    while (i < n_descs && (strncmp(descs[i].name, "cpu", 3) != 0 || descs[i].unusable[0])) i++;
    if (i == n_descs) return tn_fail(TN_UNAVAILABLE, "no device is left that can be used: open the host again");
    free_of_force(params);
    params->goal = TN_GOAL_DEFAULT;
    params->devices = descs[i].name;
    return tn_placement_create(model, host, params, out_placement);
}

static tn_status place_again(const tn_model *model, tn_host *host, const tn_placement *before, uint32_t replica, tn_text *names,
                             const char **overrides, tn_placement **out_placement)
{
    const bool is_part = before && before->n_replicas > 1;
    bool changed = is_part;
    tn_placement_params params = TN_PLACEMENT_PARAMS_INIT;
    if (before) params = before->params;
    params.assume = NULL;
    params.known_only = true; // nobody waits in an answer for devices to be measured
    if (is_part)
        TN_TRY(keep_used(host, tn_placement_devices(before, replica), before->n_layers + 2, names));
    else
        TN_TRY(keep_listed(host, params.devices, names, &changed));
    if (changed || !params.devices) params.tensor_split = NULL; // it has a number for each device
    if (is_part) params.goal = TN_GOAL_DEFAULT;                 // what replicas there are was chosen before
    if (names->len == 0 && (params.devices || is_part)) {
        free_of_force(&params);
    } else {
        TN_TRY(tn_text_append(names, "", 1));
        params.devices = params.devices || is_part ? names->data : NULL;
        params.replicas = false;
        keep_overrides(host, &params, overrides);
    }
    if (tn_placement_create(model, host, &params, out_placement) == TN_OK) return TN_OK;
    return place_on_cpu(model, host, &params, out_placement);
}

tn_status tn_placement_create_again(const tn_model *model, tn_host *host, const tn_placement *before, uint32_t replica,
                                    tn_placement **out_placement)
{
    tn_text names = {0};
    const char **overrides;
    *out_placement = NULL;
    TN_TRY(tn_alloc_zero(before ? before->params.n_overrides : 0, sizeof *overrides, &overrides));
    const tn_status status = place_again(model, host, before, replica, &names, overrides, out_placement);
    tn_free(overrides);
    tn_text_deinit(&names);
    return status;
}
