// Placements: the public face of the scheduler's choice.
#include "base/alloc.h"
#include "base/params.h"
#include "model/model_internal.h"
#include "runtime/host.h"
#include "runtime/placement_internal.h"
#include "scheduler/place.h"

#include <stdio.h>
#include <string.h>

// Adds to the last failure which backends have no devices, and why: those that are named among the wanted devices, else all.
static tn_status say_what_is_absent(const tn_host *host, const char *wanted)
{
    tn_backend_info info;
    tn_error error = *tn_error_last();
    const size_t n_message = strlen(error.message);
    for (uint32_t all = 0; all < 2 && strlen(error.message) == n_message; all++) {
        for (uint32_t b = 0; b < tn_host_backend_count(host); b++) {
            if (tn_host_backend_info(host, b, &info) != TN_OK || !info.absent[0]) continue;
            if (!all && !(wanted && strstr(wanted, info.name))) continue;
            const size_t n = strlen(error.message);
            snprintf(error.message + n, sizeof error.message - n, "; %s is not available: %s", info.name, info.absent);
        }
    }
    tn_error_set(&error);
    return error.status;
}

// tn_place_forced over the devices that it needs to know.
static tn_status place(const tn_host *host, const tn_place_request *request, uint32_t n_layers, uint32_t *out_devices)
{
    uint32_t n_descs;
    const tn_device_desc *descs = tn_host_descs(host, &n_descs);
    if (!tn_place_is_known(request->devices, descs, n_descs)) {
        TN_TRY(tn_host_list_all(host));
        descs = tn_host_descs(host, &n_descs);
    }
    const tn_status status = tn_place_forced(request, n_layers, descs, n_descs, out_devices);
    return status == TN_NOT_FOUND ? say_what_is_absent(host, request->devices) : status;
}

tn_status tn_host_find_device(const tn_host *host, const char *name, uint32_t *out_index)
{
    TN_REQUIRE(out_index);
    *out_index = 0;
    TN_REQUIRE(host);
    TN_REQUIRE(name);
    uint32_t devices[2] = {0}; // of the embedding and the head
    if (strchr(name, ',')) return tn_fail(TN_INVALID_ARGUMENT, "%.200s: is a list: name one device", name);
    const tn_place_request request = {.devices = name};
    TN_TRY(place(host, &request, 0, devices));
    *out_index = devices[0];
    return TN_OK;
}

tn_status tn_placement_create(const tn_model *model, tn_host *host, const tn_placement_params *params, tn_placement **out_placement)
{
    TN_REQUIRE(out_placement);
    *out_placement = NULL;
    TN_REQUIRE(model);
    TN_REQUIRE(host);
    tn_placement_params p = TN_PLACEMENT_PARAMS_INIT;
    TN_TRY(TN_PARAMS_READ(tn_placement_params, n_gpu_layers, params, &p));
    const tn_graph *graph = tn_model_graph(model);
    if (!graph) return tn_fail(TN_INVALID_ARGUMENT, "the model was opened without its graph: open it with TN_MODEL_LOAD_ALL");
    tn_status status;
    tn_placement *placement;
    TN_TRY(tn_alloc_zero(1, sizeof *placement, &placement));
    placement->model = model;
    placement->host = host;
    placement->n_layers = graph->n_layers;
    TN_TRY_GOTO(tn_alloc_zero((size_t)graph->n_layers + 2, sizeof *placement->devices, &placement->devices));
    tn_place_request request = {p.devices, p.has_n_gpu_layers, p.n_gpu_layers};
    TN_TRY_GOTO(place(host, &request, graph->n_layers, placement->devices));
    *out_placement = placement;
    return TN_OK;
fail:
    tn_placement_destroy(placement);
    return status;
}

void tn_placement_destroy(tn_placement *placement)
{
    if (!placement) return;
    tn_free(placement->devices);
    tn_free(placement);
}

uint32_t tn_placement_segment_count(const tn_placement *placement)
{
    uint32_t n = 1;
    for (uint32_t i = 1; i < placement->n_layers + 2; i++) n += placement->devices[i] != placement->devices[i - 1];
    return n;
}

size_t tn_placement_print(const tn_placement *placement, char *text, size_t capacity)
{
    uint32_t n_descs;
    const tn_device_desc *descs = tn_host_descs(placement->host, &n_descs);
    return tn_place_print(placement->devices, placement->n_layers, descs, text, capacity);
}
