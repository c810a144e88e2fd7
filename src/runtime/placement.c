// Placements: the public face of the scheduler's choice.
#include "base/alloc.h"
#include "base/params.h"
#include "model/model_internal.h"
#include "runtime/host.h"
#include "runtime/placement_internal.h"
#include "scheduler/place.h"
#include "scheduler/search_internal.h"

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

// Lists the devices that the names of `devices` may mean.
static tn_status list_devices(const tn_host *host, const char *devices, const tn_device_desc **out_descs, uint32_t *out_n)
{
    *out_descs = tn_host_descs(host, out_n);
    if (tn_place_is_known(devices, *out_descs, *out_n)) return TN_OK;
    TN_TRY(tn_host_list_all(host));
    *out_descs = tn_host_descs(host, out_n);
    return TN_OK;
}

// tn_place_forced over the devices that it needs to know.
static tn_status place(const tn_host *host, const tn_place_request *request, uint32_t n_layers, uint32_t *out_devices)
{
    const tn_device_desc *descs;
    uint32_t n_descs;
    TN_TRY(list_devices(host, request->devices, &descs, &n_descs));
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

static tn_status copy_text(tn_text *texts, const char *text, size_t *out_at)
{
    *out_at = texts->len;
    return text ? tn_text_append(texts, text, strlen(text) + 1) : TN_OK;
}

// Copies what the params point to, so that the same can be asked for again.
static tn_status keep_params(tn_placement *placement, const tn_placement_params *params)
{
    const char *const *const given[] = {&params->devices, &params->tensor_split, &params->memory_limits, &params->assume};
    tn_placement_params *kept = &placement->params;
    const char **const places[] = {&kept->devices, &kept->tensor_split, &kept->memory_limits, &kept->assume};
    size_t at[sizeof given / sizeof *given], *override_at;
    *kept = *params;
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) TN_TRY(copy_text(&placement->texts, *given[i], &at[i]));
    TN_TRY(tn_alloc_zero(params->n_overrides, sizeof *placement->overrides, &placement->overrides));
    TN_TRY(tn_alloc(params->n_overrides, sizeof *override_at, &override_at));
    tn_status status = TN_OK;
    for (uint32_t i = 0; i < params->n_overrides && status == TN_OK; i++)
        status = copy_text(&placement->texts, params->overrides[i], &override_at[i]);
    // The buffer stays where it is from here on.
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) *places[i] = *given[i] ? placement->texts.data + at[i] : NULL;
    for (uint32_t i = 0; i < params->n_overrides && status == TN_OK; i++) placement->overrides[i] = placement->texts.data + override_at[i];
    kept->overrides = placement->overrides;
    tn_free(override_at);
    return status;
}

static bool is_forced(const tn_placement_params *p) { return p->has_n_gpu_layers || p->tensor_split || p->n_overrides || p->replicas; }

static tn_status check_params(const tn_placement_params *p)
{
    if (p->goal < TN_GOAL_DEFAULT || p->goal > TN_GOAL_MEMORY) return tn_fail(TN_INVALID_ARGUMENT, "there is no goal %d", (int)p->goal);
    if (p->goal != TN_GOAL_DEFAULT && is_forced(p))
        return tn_fail(TN_INVALID_ARGUMENT,
                       "a goal chooses devices by their speed: it goes without layers, splits, tensors or replicas that force them");
    if (p->replicas && (p->has_n_gpu_layers || p->tensor_split || p->n_overrides))
        return tn_fail(TN_INVALID_ARGUMENT,
                       "replicas have the whole model each: they go without layers, splits or tensors on other devices");
    if ((p->assume || p->explain) && is_forced(p))
        return tn_fail(TN_INVALID_ARGUMENT, "what is forced is not chosen: there is nothing to assume or to explain of it");
    return TN_OK;
}

static tn_status reserve(tn_placement *placement, uint32_t n_replicas)
{
    TN_TRY(tn_alloc_zero((size_t)n_replicas * (placement->n_layers + 2), sizeof *placement->devices, &placement->devices));
    TN_TRY(tn_alloc_zero(n_replicas, sizeof *placement->shares, &placement->shares));
    placement->n_replicas = n_replicas;
    return TN_OK;
}

static void put_whole(tn_placement *placement, uint32_t replica, uint32_t device)
{
    const uint32_t n_units = placement->n_layers + 2;
    for (uint32_t unit = 0; unit < n_units; unit++) placement->devices[(size_t)replica * n_units + unit] = device;
    placement->shares[replica] = 1;
}

// The devices of the list, or, where they could be GPUs, of the whole host.
static tn_status list_candidates(const tn_placement *placement, uint32_t *devices, uint32_t *out_n)
{
    const tn_host *host = placement->host;
    const tn_device_desc *descs;
    uint32_t n_descs;
    if (!placement->params.devices && tn_host_may_have_gpus(host)) tn_host_device_count(host); // those that can be listed
    TN_TRY(list_devices(host, placement->params.devices, &descs, &n_descs));
    const tn_status status = tn_place_list(placement->params.devices, descs, n_descs, TN_PLACEMENT_REPLICAS_MAX, devices, out_n);
    return status == TN_NOT_FOUND ? say_what_is_absent(host, placement->params.devices) : status;
}

static tn_status place_forced(tn_placement *placement, const tn_graph *graph)
{
    const tn_placement_params *p = &placement->params;
    const tn_place_request request = {p->devices, p->has_n_gpu_layers, p->n_gpu_layers, p->tensor_split};
    uint32_t n_descs;
    if (!p->devices && p->tensor_split && tn_host_may_have_gpus(placement->host)) TN_TRY(tn_host_list_all(placement->host));
    TN_TRY(reserve(placement, 1));
    placement->shares[0] = 1;
    TN_TRY(place(placement->host, &request, placement->n_layers, placement->devices));
    if (p->n_overrides) TN_TRY(tn_host_list_all(placement->host));
    const tn_device_desc *descs = tn_host_descs(placement->host, &n_descs);
    return tn_place_override(p->overrides, p->n_overrides, graph, descs, n_descs, placement->devices);
}

static tn_status refuse_twice(const tn_placement *placement, const uint32_t *candidates, uint32_t n, const char *why)
{
    uint32_t n_descs;
    const tn_device_desc *descs = tn_host_descs(placement->host, &n_descs);
    for (uint32_t i = 1; i < n; i++) {
        for (uint32_t k = 0; k < i; k++) {
            if (candidates[i] == candidates[k])
                return tn_fail(TN_INVALID_ARGUMENT, "%s is named twice: %s", descs[candidates[i]].name, why);
        }
    }
    return TN_OK;
}

static tn_status place_replicas(tn_placement *placement, const uint32_t *candidates, uint32_t n)
{
    TN_TRY(refuse_twice(placement, candidates, n, "a device takes one copy of the model"));
    TN_TRY(reserve(placement, n));
    for (uint32_t i = 0; i < n; i++) put_whole(placement, i, candidates[i]);
    return TN_OK;
}

// Replicas that were not chosen have sequences by their speed all the same where every device was measured before. Nothing is measured for
// what is forced.
static tn_status share_by_speed(tn_placement *placement, const tn_graph *graph, const uint32_t *candidates, uint32_t n)
{
    tn_placement_choice *choice = NULL;
    tn_placement_params params = placement->params;
    params.known_only = true;
    tn_status status = tn_placement_choose(graph, placement->host, &params, candidates, n, false, &choice);
    if (status != TN_OK) return status == TN_OUT_OF_MEMORY ? status : TN_OK;
    if (choice->n_devices == n) {
        status = tn_alloc(n, sizeof *placement->ns_each, &placement->ns_each);
        if (status == TN_OK) tn_placement_ns_each(choice, placement->ns_each);
    }
    tn_placement_choice_destroy(choice);
    placement->is_shared_by_speed = placement->ns_each && params.n_seqs;
    if (placement->is_shared_by_speed) tn_search_share(placement->ns_each, NULL, n, params.n_seqs, placement->shares);
    return status;
}

static tn_status place_one(tn_placement *placement, uint32_t device)
{
    TN_TRY(reserve(placement, 1));
    put_whole(placement, 0, device);
    return TN_OK;
}

static tn_status place_chosen(tn_placement *placement, const tn_graph *graph, const tn_placement_params *params, const uint32_t *candidates,
                              uint32_t n)
{
    TN_TRY(refuse_twice(placement, candidates, n, "a device to choose from is named once"));
    TN_TRY(tn_placement_choose(graph, placement->host, params, candidates, n, true, &placement->choice));
    if (placement->choice->result.n_plans == 0) return place_one(placement, candidates[0]);
    const tn_search_plan *plan = &placement->choice->result.plans[0];
    TN_TRY(reserve(placement, plan->n_replicas));
    placement->n_lanes = plan->n_lanes;
    memcpy(placement->shares, plan->shares, plan->n_replicas * sizeof *placement->shares);
    placement->is_shared_by_speed = true;
    for (size_t i = 0; i < (size_t)plan->n_replicas * (placement->n_layers + 2); i++)
        placement->devices[i] = placement->choice->devices[plan->devices[i]];
    return TN_OK;
}

// There is nothing to choose: what is known of the device already serves predictions alone, and whether the model fits is for sessions to
// say.
static tn_status place_only(tn_placement *placement, const tn_graph *graph, uint32_t device)
{
    tn_placement_params params = placement->params;
    params.known_only = true;
    const tn_status status = tn_placement_choose(graph, placement->host, &params, &device, 1, false, &placement->choice);
    if (status == TN_OUT_OF_MEMORY) return status;
    return place_one(placement, device);
}

static tn_status check_forced(const tn_placement *placement, const tn_graph *graph)
{
    for (uint32_t r = 0; r < placement->n_replicas; r++)
        TN_TRY(tn_placement_check_limits(graph, placement->host, &placement->params, tn_placement_devices(placement, r)));
    return TN_OK;
}

// A list alone is the user's own choice.
static bool is_list_alone(const tn_placement_params *p) { return p->devices && p->goal == TN_GOAL_DEFAULT && !p->assume && !p->explain; }

static tn_status force(tn_placement *placement, const tn_graph *graph)
{
    TN_TRY(place_forced(placement, graph));
    return check_forced(placement, graph);
}

static tn_status decide(tn_placement *placement, const tn_graph *graph)
{
    const tn_placement_params *p = &placement->params;
    uint32_t candidates[TN_PLACEMENT_REPLICAS_MAX], n;
    if (is_forced(p) && !p->replicas) return force(placement, graph);
    TN_TRY(list_candidates(placement, candidates, &n));
    if (p->replicas) {
        TN_TRY(place_replicas(placement, candidates, n));
        TN_TRY(check_forced(placement, graph));
        return share_by_speed(placement, graph, candidates, n);
    }
    if (n == 1 && !p->assume && !p->explain && !p->memory_limits) return place_only(placement, graph, candidates[0]);
    return is_list_alone(p) ? force(placement, graph) : place_chosen(placement, graph, p, candidates, n);
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
    TN_TRY(check_params(&p));
    tn_status status;
    tn_placement *placement;
    TN_TRY(tn_alloc_zero(1, sizeof *placement, &placement));
    placement->model = model;
    placement->host = host;
    placement->n_layers = graph->n_layers;
    TN_TRY_GOTO(keep_params(placement, &p));
    TN_TRY_GOTO(decide(placement, graph));
    *out_placement = placement;
    return TN_OK;
fail:
    tn_placement_destroy(placement);
    return status;
}

void tn_placement_destroy(tn_placement *placement)
{
    if (!placement) return;
    tn_placement_choice_destroy(placement->choice);
    tn_text_deinit(&placement->texts);
    tn_free(placement->overrides);
    tn_free(placement->devices);
    tn_free(placement->shares);
    tn_free(placement->ns_each);
    tn_free(placement);
}

uint32_t tn_placement_replica_count(const tn_placement *placement) { return placement->n_replicas; }

uint32_t tn_placement_share(const tn_placement *placement, uint32_t replica, uint32_t n_seqs)
{
    uint64_t all = 0, before = 0;
    if (replica >= placement->n_replicas) return 0;
    if (placement->ns_each) {
        uint32_t shares[TN_PLACEMENT_REPLICAS_MAX];
        tn_search_share(placement->ns_each, NULL, placement->n_replicas, n_seqs, shares);
        return shares[replica];
    }
    for (uint32_t i = 0; i < placement->n_replicas; i++) {
        if (i < replica) before += placement->shares[i];
        all += placement->shares[i];
    }
    const uint64_t end = before + placement->shares[replica];
    return (uint32_t)(end * n_seqs / all - before * n_seqs / all);
}

uint32_t tn_placement_segment_count(const tn_placement *placement)
{
    uint32_t n = 1;
    for (uint32_t i = 1; i < placement->n_layers + 2; i++) n += placement->devices[i] != placement->devices[i - 1];
    return n;
}

size_t tn_placement_print_replicas(const tn_device_desc *descs, const uint32_t *devices, size_t stride, const uint32_t *shares, uint32_t n,
                                   char *text, size_t capacity)
{
    size_t len = 0;
    if (capacity) text[0] = '\0';
    for (uint32_t r = 0; r < n; r++) {
        const size_t room = len < capacity ? capacity - len : 0;
        char share[16] = "";
        if (shares) snprintf(share, sizeof share, " x%u", (unsigned)shares[r]);
        len += (size_t)snprintf(room ? text + len : NULL, room, "%s%s%s", r ? " + " : "", descs[devices[r * stride]].name, share);
    }
    return len;
}

size_t tn_placement_print(const tn_placement *placement, char *text, size_t capacity)
{
    uint32_t n_descs;
    const tn_device_desc *descs = tn_host_descs(placement->host, &n_descs);
    if (placement->n_replicas == 1) return tn_place_print(placement->devices, placement->n_layers, descs, text, capacity);
    return tn_placement_print_replicas(descs, placement->devices, placement->n_layers + 2,
                                       placement->is_shared_by_speed ? placement->shares : NULL, placement->n_replicas, text, capacity);
}
