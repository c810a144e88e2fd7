// What devices take and hold of a model, for the search.
#include "runtime/placement_choice.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "runtime/host.h"
#include "runtime/host_costs.h"
#include "runtime/kv_cache.h"
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

static double segment_ns(const void *ctx, uint32_t device)
{
    const tn_placement_choice *choice = choice_of(ctx);
    const tn_cost_step step = tn_placement_step(choice, 1);
    return tn_cost_submit_ns(&choice->tables[device], &step) / choice->speeds[device];
}

static double hop_ns(const void *ctx, uint32_t from, uint32_t to, uint32_t n_tokens)
{
    const tn_placement_choice *choice = choice_of(ctx);
    const uint64_t width = choice->graph->values[choice->graph->nodes[0].out].width; // of the rows that layers hand on
    return tn_cost_hop_ns(&choice->tables[from], &choice->tables[to], n_tokens * width * sizeof(float));
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
    TN_TRY(tn_alloc_zero(n, sizeof *choice->speeds, &choice->speeds));
    TN_TRY(tn_alloc_zero(n, sizeof *choice->memory_bytes, &choice->memory_bytes));
    return tn_alloc_zero((size_t)choice->graph->n_layers + 2, sizeof *choice->works, &choice->works);
}

// What each of the host's devices may use, with limits and assumptions; arrays [n_descs].
typedef struct figures {
    uint64_t *memory, *limits, *assumed;
    double *speeds;
    bool *off;
} figures;

static void free_figures(figures *f)
{
    tn_free(f->memory);
    tn_free(f->limits);
    tn_free(f->assumed);
    tn_free(f->speeds);
    tn_free(f->off);
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
    for (uint32_t i = 0; i < n; i++) f->speeds[i] = assumed_speed_default;
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

static tn_status add_candidates(tn_placement_choice *choice, tn_host *host, const figures *f, const uint32_t *devices, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const tn_host_costs_params params = {0};
        const uint32_t device = devices[i], at = choice->n_devices;
        if (f->off[device]) continue;
        TN_TRY(tn_host_costs(host, device, &params, &choice->tables[at], NULL));
        choice->devices[at] = device;
        choice->speeds[at] = f->speeds[device];
        choice->memory_bytes[at] = f->memory[device];
        choice->n_devices++;
    }
    if (choice->n_devices) return TN_OK;
    return tn_fail(TN_INVALID_ARGUMENT, "no device is left to choose: all are assumed to be off");
}

static tn_status choose(tn_placement_choice *choice, tn_host *host, const tn_placement_params *params, const uint32_t *devices, uint32_t n)
{
    figures f = {0};
    tn_status status;
    TN_TRY_GOTO(reserve(choice, n));
    TN_TRY_GOTO(tn_cost_works(choice->graph, choice->works));
    TN_TRY_GOTO(read_figures(host, params, &f));
    TN_TRY_GOTO(add_candidates(choice, host, &f, devices, n));
    const tn_search_problem problem = {.n_units = choice->graph->n_layers + 2,
                                       .n_devices = choice->n_devices,
                                       .n_seqs = choice->n_seqs,
                                       .goal = choice->goal,
                                       .margin = margin,
                                       .memory_bytes = choice->memory_bytes,
                                       .ctx = choice,
                                       .unit_ns = unit_ns,
                                       .segment_ns = segment_ns,
                                       .hop_ns = hop_ns,
                                       .unit_bytes = unit_bytes,
                                       .segment_bytes = segment_bytes};
    status = tn_search(&problem, &choice->result);
fail:
    free_figures(&f);
    return status;
}

tn_status tn_placement_choose(const tn_graph *graph, tn_host *host, const tn_placement_params *params, const uint32_t *devices,
                              uint32_t n_devices, tn_placement_choice **out_choice)
{
    tn_placement_choice *choice;
    TN_TRY(tn_alloc_zero(1, sizeof *choice, &choice));
    choice->graph = graph;
    choice->goal = goal_of(params);
    choice->n_seqs = params->n_seqs ? params->n_seqs : 1;
    choice->n_ctx = params->n_ctx && params->n_ctx < graph->n_ctx ? params->n_ctx : graph->n_ctx;
    const tn_status status = choose(choice, host, params, devices, n_devices);
    if (status == TN_OK)
        *out_choice = choice;
    else
        tn_placement_choice_destroy(choice);
    return status;
}

void tn_placement_choice_destroy(tn_placement_choice *choice)
{
    if (!choice) return;
    tn_search_result_deinit(&choice->result);
    tn_free(choice->devices);
    tn_free(choice->tables);
    tn_free(choice->speeds);
    tn_free(choice->memory_bytes);
    tn_free(choice->works);
    tn_free(choice);
}
