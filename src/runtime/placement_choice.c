// What devices take and hold of a model, for the search.
#include "runtime/placement_choice.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/log.h"
#include "runtime/host.h"
#include "runtime/host_costs.h"
#include "runtime/kv_cache.h"
#include "runtime/placement_alike.h"
#include "scheduler/place.h"

#include <string.h>

// More devices must gain more than this: predictions are no better.
static const double margin = 0.03;
// Of a device's free memory: what drivers and the rest of the process take meanwhile.
static const double usable_share = 0.95;
static const uint32_t n_step_tokens = 512; // of the largest steps, whose values are the scratch
static const double assumed_speed_default = 1;

static const tn_placement_choice *choice_of(const void *ctx) { return ctx; }

tn_cost_step tn_placement_step(const tn_placement_choice *choice, uint32_t n_tokens)
{
    return (tn_cost_step){.n_tokens = n_tokens, .n_logits = n_tokens, .n_seqs = n_tokens, .n_positions = choice->n_ctx / 2 + 1};
}

static double unit_ns(const void *ctx, uint32_t device, uint32_t unit, uint32_t n_tokens)
{
    const tn_placement_choice *choice = choice_of(ctx);
    const tn_cost_step step = tn_placement_step(choice, n_tokens);
    return tn_cost_unit_ns(&choice->tables[device], &choice->works[unit], &step) / choice->speeds[device];
}

static double shared_unit_ns(const void *ctx, uint32_t device, uint32_t unit, uint32_t n_tokens)
{
    const tn_placement_choice *choice = choice_of(ctx);
    const tn_cost_step step = tn_placement_step(choice, n_tokens);
    return tn_cost_unit_ns(&choice->shared[device], &choice->works[unit], &step) / choice->speeds[device];
}

static double segment_ns(const void *ctx, uint32_t device)
{
    const tn_placement_choice *choice = choice_of(ctx);
    const tn_cost_step step = tn_placement_step(choice, choice->n_seqs); // submits differ little by their tokens
    return tn_cost_submit_ns(&choice->tables[device], &step) / choice->speeds[device];
}

static double hop_ns(const void *ctx, uint32_t from, uint32_t to, uint32_t n_tokens)
{
    const tn_placement_choice *choice = choice_of(ctx);
    const uint64_t width = choice->graph->values[choice->graph->nodes[0].out].width; // of the rows that layers hand on
    return tn_cost_hop_ns(&choice->tables[from], &choice->tables[to], n_tokens * width * sizeof(float));
}

void tn_placement_ns_each(const tn_placement_choice *choice, double *out)
{
    const uint32_t even = choice->n_seqs / choice->n_devices, n = even ? even : 1;
    const tn_cost_step step = tn_placement_step(choice, n);
    uint32_t n_sharing = 0;
    for (uint32_t i = 0; i < choice->n_devices; i++) n_sharing += choice->shares_memory[i];
    for (uint32_t i = 0; i < choice->n_devices; i++) {
        const tn_cost_table *table = n_sharing > 1 && choice->shares_memory[i] ? &choice->shared[i] : &choice->tables[i];
        out[i] = tn_cost_segment_ns(table, choice->works, choice->graph->n_layers + 2, &step) / choice->speeds[i] / n;
    }
}

static uint64_t unit_bytes(const void *ctx, uint32_t device, uint32_t unit, uint32_t n_seqs)
{
    (void)device; // layouts of all devices are near 2 bits
    const tn_placement_choice *choice = choice_of(ctx);
    const tn_graph *graph = choice->graph;
    uint64_t kv = 0;
    if (unit > 0 && unit <= graph->n_layers) {
        const uint64_t page = tn_kv_page_layer_bytes(graph->n_kv_heads, graph->head_dim);
        if (!tn_ckd_mul(page, (uint64_t)tn_kv_pages_for(choice->n_ctx) * n_seqs, &kv)) return UINT64_MAX / 2;
    }
    return choice->works[unit].weight_bytes + kv;
}

static uint64_t segment_bytes(const void *ctx, uint32_t device, uint32_t n_seqs)
{
    (void)device;
    const tn_placement_choice *choice = choice_of(ctx);
    const tn_cost_work *layer = &choice->works[choice->graph->n_layers ? 1 : 0];
    return n_step_tokens * layer->n_values * sizeof(float) + (uint64_t)n_seqs * choice->graph->n_vocab * sizeof(float);
}

static tn_search_goal goal_of(const tn_placement_params *params)
{
    switch (params->goal) {
    case TN_GOAL_LATENCY: return TN_SEARCH_LATENCY;
    case TN_GOAL_THROUGHPUT: return TN_SEARCH_THROUGHPUT;
    case TN_GOAL_MEMORY: return TN_SEARCH_MEMORY;
    case TN_GOAL_DEFAULT: break;
    }
    return params->n_seqs > 1 ? TN_SEARCH_THROUGHPUT : TN_SEARCH_LATENCY;
}

static tn_status reserve(tn_placement_choice *choice, uint32_t n)
{
    TN_TRY(tn_alloc_zero(n, sizeof *choice->devices, &choice->devices));
    TN_TRY(tn_alloc_zero(n, sizeof *choice->tables, &choice->tables));
    TN_TRY(tn_alloc_zero(n, sizeof *choice->shared, &choice->shared));
    TN_TRY(tn_alloc_zero(n, sizeof *choice->shares_memory, &choice->shares_memory));
    TN_TRY(tn_alloc_zero(n, sizeof *choice->speeds, &choice->speeds));
    TN_TRY(tn_alloc_zero(n, sizeof *choice->memory_bytes, &choice->memory_bytes));
    TN_TRY(tn_alloc_zero(n, sizeof *choice->names, &choice->names));
    TN_TRY(tn_alloc_zero(n, sizeof *choice->unknown, &choice->unknown));
    TN_TRY(tn_alloc_zero(n, sizeof *choice->unknown_memory, &choice->unknown_memory));
    return tn_alloc_zero((size_t)choice->graph->n_layers + 2, sizeof *choice->works, &choice->works);
}

// What each of the host's devices may use, with limits and assumptions; arrays [n_descs].
typedef struct figures {
    uint64_t *memory, *limits, *assumed;
    double *speeds;
    bool *off;
    const char **names;
    uint32_t n;
} figures;

static void free_figures(figures *f)
{
    tn_free(f->memory);
    tn_free(f->limits);
    tn_free(f->assumed);
    tn_free(f->speeds);
    tn_free(f->off);
    tn_free(f->names);
}

static tn_status read_figures(tn_host *host, const tn_placement_params *params, figures *f)
{
    uint32_t n;
    if (params->memory_limits || params->assume) TN_TRY(tn_host_list_all(host)); // they may name any
    const tn_device_desc *descs = tn_host_descs(host, &n);
    TN_TRY(tn_alloc_zero(n, sizeof *f->memory, &f->memory));
    TN_TRY(tn_alloc_zero(n, sizeof *f->limits, &f->limits));
    TN_TRY(tn_alloc_zero(n, sizeof *f->assumed, &f->assumed));
    TN_TRY(tn_alloc_zero(n, sizeof *f->speeds, &f->speeds));
    TN_TRY(tn_alloc_zero(n, sizeof *f->off, &f->off));
    TN_TRY(tn_alloc_zero(n, sizeof *f->names, &f->names));
    f->n = n;
    for (uint32_t i = 0; i < n; i++) {
        f->speeds[i] = assumed_speed_default;
        f->names[i] = descs[i].name;
    }
    TN_TRY(tn_place_memory_limits(params->memory_limits, descs, n, f->limits));
    TN_TRY(tn_place_assume(params->assume, descs, n, f->assumed, f->speeds, f->off));
    for (uint32_t i = 0; i < n; i++) {
        const uint64_t free_bytes = descs[i].memory_free_bytes ? descs[i].memory_free_bytes : descs[i].memory_bytes;
        f->memory[i] = (uint64_t)((double)free_bytes * usable_share);
        if (f->limits[i] && f->limits[i] < f->memory[i]) f->memory[i] = f->limits[i];
        if (f->assumed[i]) f->memory[i] = f->assumed[i];
    }
    return TN_OK;
}

// A device that nobody named and that cannot be measured is no reason to compute nowhere, nor is any that is lost or full meanwhile.
static bool may_be_left_out(const tn_placement_params *params, tn_status status, const char *name)
{
    if (status == TN_OK || status == TN_CANCELLED || params->known_only) return false;
    const bool is_full = status == TN_OUT_OF_MEMORY && strncmp(name, "cpu", 3) != 0 && strcmp(tn_error_last()->device, name) == 0;
    return !params->devices || status == TN_DEVICE_LOST || is_full;
}

static void leave_out(tn_host *host, uint32_t device, const char *name, tn_status status)
{
    char reason[TN_LOSS_REASON_BYTES];
    tn_host_device_entry *entry;
    const tn_device_desc *desc;
    if (tn_host_entry(host, device, &entry, &desc) == TN_OK)
        tn_log_write(&entry->host->log, TN_LOG_WARN, "%s is not chosen: it could not be measured: %s", name, tn_error_last()->message);
    if (status != TN_DEVICE_LOST) return;
    tn_host_loss_reason(host, device, tn_error_last(), reason);
    tn_host_quarantine(host, device, reason);
}

static tn_status add_candidate(tn_placement_choice *choice, tn_host *host, const tn_placement_params *params, const figures *f,
                               uint32_t device)
{
    const tn_host_costs_params request = {
        .known_only = params->known_only, .time_ns = (uint64_t)params->calibrate_ms * 1000000, .progress = tn_host_progress(host)};
    const uint32_t at = choice->n_devices;
    const tn_status status = tn_host_costs(host, device, &request, &choice->tables[at], NULL);
    const bool is_left_out = may_be_left_out(params, status, f->names[device]);
    if (is_left_out) leave_out(host, device, f->names[device], status);
    if (is_left_out || (status == TN_NOT_FOUND && params->known_only)) {
        choice->unknown[choice->n_unknown] = device;
        choice->unknown_memory[choice->n_unknown++] = f->memory[device];
        return TN_OK;
    }
    TN_TRY(status);
    choice->devices[at] = device;
    choice->shares_memory[at] = choice->tables[at].n_together > 1;
    choice->names[at] = f->names[device];
    choice->speeds[at] = f->speeds[device];
    choice->memory_bytes[at] = f->memory[device];
    choice->n_devices++;
    return TN_OK;
}

static tn_status add_candidates(tn_placement_choice *choice, tn_host *host, const tn_placement_params *params, const figures *f,
                                const uint32_t *devices, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (!f->off[devices[i]]) TN_TRY(add_candidate(choice, host, params, f, devices[i]));
    }
    if (choice->n_devices || choice->n_unknown) return TN_OK;
    return tn_fail(TN_INVALID_ARGUMENT, "no device is left to choose: all are assumed to be off");
}

// Devices of one kind as such, but for what the user set of them.
static tn_status unify(tn_placement_choice *choice, const tn_host *host, const figures *f)
{
    uint32_t n_descs;
    bool *is_set;
    TN_TRY(tn_alloc(choice->n_devices, sizeof *is_set, &is_set));
    for (uint32_t i = 0; i < choice->n_devices; i++) is_set[i] = f->limits[choice->devices[i]] || f->assumed[choice->devices[i]];
    tn_placement_unify(tn_host_descs(host, &n_descs), is_set, choice);
    tn_free(is_set);
    return TN_OK;
}

static void tell_left_out(const tn_placement_choice *choice, const tn_host *host)
{
    tn_host_device_entry *entry;
    const tn_device_desc *desc;
    const unsigned n = choice->result.effort.n_left_out;
    if (n && tn_host_entry(host, choice->devices[0], &entry, &desc) == TN_OK)
        tn_log_write(&entry->host->log, TN_LOG_INFO,
                     "pipelines are of the fastest devices: %u slower ones are too many unlike ones to be searched as well", n);
}

static tn_status choose(tn_placement_choice *choice, tn_host *host, const tn_placement_params *params, const uint32_t *devices, uint32_t n,
                        bool by_memory)
{
    figures f = {0};
    tn_status status;
    TN_TRY_GOTO(reserve(choice, n));
    TN_TRY_GOTO(tn_cost_works(choice->graph, choice->works));
    TN_TRY_GOTO(read_figures(host, params, &f));
    TN_TRY_GOTO(add_candidates(choice, host, params, &f, devices, n));
    TN_TRY_GOTO(unify(choice, host, &f));
    for (uint32_t i = 0; i < choice->n_devices; i++) choice->shared[i] = tn_cost_shared(&choice->tables[i]);
    for (uint32_t i = 0; i < choice->n_devices && !by_memory; i++) choice->memory_bytes[i] = UINT64_MAX;
    status = TN_OK;
    if (choice->n_devices == 0) goto fail; // nothing is known to choose by
    const tn_search_problem problem = {.n_units = choice->graph->n_layers + 2,
                                       .n_devices = choice->n_devices,
                                       .n_seqs = choice->n_seqs,
                                       .goal = choice->goal,
                                       .margin = margin,
                                       .memory_bytes = choice->memory_bytes,
                                       .names = choice->names,
                                       .ctx = choice,
                                       .unit_ns = unit_ns,
                                       .segment_ns = segment_ns,
                                       .hop_ns = hop_ns,
                                       .unit_bytes = unit_bytes,
                                       .segment_bytes = segment_bytes,
                                       .shares_memory = choice->shares_memory,
                                       .shared_unit_ns = shared_unit_ns};
    status = tn_search(&problem, &choice->result);
    if (status == TN_OK) tell_left_out(choice, host);
fail:
    free_figures(&f);
    return status;
}

// A choice that knows what is asked.
static tn_status make_choice(const tn_graph *graph, const tn_placement_params *params, tn_placement_choice **out_choice)
{
    tn_placement_choice *choice;
    TN_TRY(tn_alloc_zero(1, sizeof *choice, &choice));
    choice->graph = graph;
    choice->goal = goal_of(params);
    choice->n_seqs = params->n_seqs ? params->n_seqs : 1;
    choice->n_ctx = params->n_ctx && params->n_ctx < graph->n_ctx ? params->n_ctx : graph->n_ctx;
    *out_choice = choice;
    return TN_OK;
}

tn_status tn_placement_choose(const tn_graph *graph, tn_host *host, const tn_placement_params *params, const uint32_t *devices,
                              uint32_t n_devices, bool by_memory, tn_placement_choice **out_choice)
{
    tn_placement_choice *choice;
    TN_TRY(make_choice(graph, params, &choice));
    const tn_status status = choose(choice, host, params, devices, n_devices, by_memory);
    if (status == TN_OK)
        *out_choice = choice;
    else
        tn_placement_choice_destroy(choice);
    return status;
}

// What forced units take of a device, whose runs of them need scratch each.
static uint64_t forced_bytes(const tn_placement_choice *choice, const uint32_t *devices, uint32_t device)
{
    uint64_t sum = 0;
    const uint32_t n_units = choice->graph->n_layers + 2;
    for (uint32_t unit = 0; unit < n_units; unit++) {
        if (devices[unit] != device) continue;
        const bool begins = unit == 0 || devices[unit - 1] != device;
        if (begins && !tn_ckd_add(sum, segment_bytes(choice, device, choice->n_seqs), &sum)) return UINT64_MAX;
        if (!tn_ckd_add(sum, unit_bytes(choice, device, unit, choice->n_seqs), &sum)) return UINT64_MAX;
    }
    return sum;
}

static tn_status compare_limits(const tn_placement_choice *choice, const figures *f, const uint32_t *devices)
{
    const double mib = 1 << 20;
    for (uint32_t device = 0; device < f->n; device++) {
        const uint64_t bytes = f->limits[device] ? forced_bytes(choice, devices, device) : 0;
        if (bytes > f->limits[device])
            return tn_fail(TN_OUT_OF_MEMORY,
                           "what is forced on %s takes about %.0f MiB, but its limit is %.0f: place less there, or allow more",
                           f->names[device], (double)bytes / mib, (double)f->limits[device] / mib);
    }
    return TN_OK;
}

tn_status tn_placement_check_limits(const tn_graph *graph, tn_host *host, const tn_placement_params *params, const uint32_t *devices)
{
    figures f = {0};
    tn_status status;
    tn_placement_choice *choice;
    if (!params->memory_limits) return TN_OK;
    TN_TRY(make_choice(graph, params, &choice));
    TN_TRY_GOTO(reserve(choice, 1));
    TN_TRY_GOTO(tn_cost_works(graph, choice->works));
    TN_TRY_GOTO(read_figures(host, params, &f));
    status = compare_limits(choice, &f, devices);
fail:
    free_figures(&f);
    tn_placement_choice_destroy(choice);
    return status;
}

void tn_placement_choice_destroy(tn_placement_choice *choice)
{
    if (!choice) return;
    tn_search_result_deinit(&choice->result);
    tn_free(choice->devices);
    tn_free(choice->tables);
    tn_free(choice->shared);
    tn_free(choice->shares_memory);
    tn_free(choice->speeds);
    tn_free(choice->memory_bytes);
    tn_free(choice->names);
    tn_free(choice->unknown);
    tn_free(choice->unknown_memory);
    tn_free(choice->works);
    tn_free(choice);
}
