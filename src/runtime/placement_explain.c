// A choice of devices, told: what each is measured to do, what else was looked at, and why it was not chosen.
#include "runtime/host.h"
#include "runtime/placement_internal.h"
#include "scheduler/place.h"

#include <stdio.h>
#include <string.h>

// In a line of a plan.
enum { WHERE_CAPACITY = 1024, REASON_CAPACITY = 256 };

// Losses below it explain nothing.
static const double told_loss = 0.01;

// Of the whole model on a candidate, by one of its tables.
static double tokens_per_s_of(const tn_placement_choice *choice, const tn_cost_table *tables, uint32_t device, const tn_cost_step *step)
{
    const double ns = tn_cost_segment_ns(&tables[device], choice->works, choice->graph->n_layers + 2, step);
    return ns > 0 ? step->n_tokens * 1e9 / ns * choice->speeds[device] : 0;
}

static double tokens_per_s(const tn_placement_choice *choice, uint32_t device, uint32_t n_seqs)
{
    const tn_cost_step step = tn_placement_step(choice, n_seqs);
    return tokens_per_s_of(choice, choice->tables, device, &step);
}

// Time of all units where the plan has them, one after the other.
static double units_ns(const tn_placement_choice *choice, const tn_cost_table *tables, const tn_search_plan *plan, const tn_cost_step *step)
{
    double sum = 0;
    for (uint32_t unit = 0; unit < choice->graph->n_layers + 2; unit++) {
        const uint32_t device = plan->devices[unit];
        sum += tn_cost_unit_ns(&tables[device], &choice->works[unit], step) / choice->speeds[device];
    }
    return sum;
}

// A batch over replicas ends with the slowest share of it.
static double replicas_tokens_per_s(const tn_placement_choice *choice, const tn_cost_table *tables, const tn_search_plan *plan,
                                    const uint32_t *shares, uint32_t n_seqs, uint32_t n_positions)
{
    double slowest_ns = 0;
    for (uint32_t r = 0; r < plan->n_replicas; r++) {
        const tn_cost_step step = {shares[r], shares[r], shares[r], n_positions};
        const double rate = tokens_per_s_of(choice, tables, plan->devices[(size_t)r * (choice->graph->n_layers + 2)], &step);
        if (shares[r] && rate > 0 && shares[r] * 1e9 / rate > slowest_ns) slowest_ns = shares[r] * 1e9 / rate;
    }
    return slowest_ns > 0 ? n_seqs * 1e9 / slowest_ns : 0;
}

double tn_placement_predict(const tn_placement *placement, uint32_t n_seqs, uint32_t n_positions)
{
    const tn_placement_choice *choice = placement->choice;
    if (!choice || choice->result.n_plans == 0 || n_seqs == 0) return 0;
    const tn_search_plan *plan = &choice->result.plans[0];
    const tn_cost_table *tables = tn_placement_tables(choice, plan);
    if (plan->kind == TN_SEARCH_PIPELINE) {
        // As the search has it, but for what more or fewer positions and sequences change of the units' times.
        const uint32_t n = (n_seqs + plan->n_lanes - 1) / plan->n_lanes, n_chosen = (choice->n_seqs + plan->n_lanes - 1) / plan->n_lanes;
        const tn_cost_step step = {n, n, n, n_positions}, chosen = tn_placement_step(choice, n_chosen);
        return plan->tokens_per_s * units_ns(choice, tables, plan, &chosen) / units_ns(choice, tables, plan, &step) * n_seqs /
               choice->n_seqs;
    }
    uint32_t shares[TN_PLACEMENT_REPLICAS_MAX];
    for (uint32_t r = 0; r < plan->n_replicas; r++) shares[r] = tn_placement_share(placement, r, n_seqs);
    return replicas_tokens_per_s(choice, tables, plan, shares, n_seqs, n_positions);
}

// The share of the speed that a plan's devices would have if each read its memory alone, and that they lose.
static double sharing_loss(const tn_placement_choice *choice, const tn_search_plan *plan)
{
    if (!plan->is_shared) return 0;
    double alone = 0;
    if (plan->kind == TN_SEARCH_PIPELINE) {
        const tn_cost_step step = tn_placement_step(choice, (choice->n_seqs - 1) / plan->n_lanes + 1);
        alone = plan->tokens_per_s * units_ns(choice, choice->shared, plan, &step) / units_ns(choice, choice->tables, plan, &step);
    }
    if (plan->kind == TN_SEARCH_REPLICAS)
        alone = replicas_tokens_per_s(choice, choice->tables, plan, plan->shares, choice->n_seqs, choice->n_ctx / 2 + 1);
    return alone > plan->tokens_per_s ? 1 - plan->tokens_per_s / alone : 0;
}

// The largest error of what was predicted and not fitted; below 0 where none is known.
static double error_of(const tn_cost_table *table)
{
    double error = -1;
    for (uint32_t g = 0; g < TN_COST_GROUPS; g++) {
        for (uint32_t k = 0; k < TN_COST_STEPS; k++) error = table->error[g][k] > error ? table->error[g][k] : error;
    }
    return error;
}

static void tell_unknown(const tn_placement *placement, void (*told)(void *user, const tn_placement_device *device), void *user)
{
    const tn_placement_choice *choice = placement->choice;
    uint32_t n_descs;
    const tn_device_desc *descs = tn_host_descs(placement->host, &n_descs);
    for (uint32_t i = 0; i < choice->n_unknown; i++) {
        const tn_placement_device device = {.struct_size = sizeof device,
                                            .name = descs[choice->unknown[i]].name,
                                            .description = descs[choice->unknown[i]].description,
                                            .memory_bytes = choice->unknown_memory[i],
                                            .error = -1,
                                            .numa_node = tn_host_numa_node(placement->host, choice->unknown[i])};
        told(user, &device);
    }
}

static void tell_devices(const tn_placement *placement, void (*told)(void *user, const tn_placement_device *device), void *user)
{
    const tn_placement_choice *choice = placement->choice;
    uint32_t n_descs;
    const tn_device_desc *descs = tn_host_descs(placement->host, &n_descs);
    for (uint32_t i = 0; i < choice->n_devices; i++) {
        const tn_device_desc *desc = &descs[choice->devices[i]];
        const tn_cost_table *table = &choice->tables[i];
        const tn_placement_device device = {.struct_size = sizeof device,
                                            .name = desc->name,
                                            .description = desc->description,
                                            .memory_bytes = choice->memory_bytes[i],
                                            .tokens_per_s_one = tokens_per_s(choice, i, 1),
                                            .tokens_per_s = tokens_per_s(choice, i, choice->n_seqs),
                                            .memory_bytes_per_s = table->memory_bytes_per_s,
                                            .error = error_of(table),
                                            .measured_at_s = table->measured_at_s,
                                            .numa_node = tn_host_numa_node(placement->host, choice->devices[i])};
        told(user, &device);
    }
}

// As tn_placement_print has it. The search knows candidates, whose own descriptions are named.
static void print_plan(const tn_placement *placement, const tn_search_plan *plan, char *text, size_t capacity)
{
    const tn_placement_choice *choice = placement->choice;
    const uint32_t n_units = placement->n_layers + 2;
    uint32_t n_descs;
    size_t len = 0;
    const tn_device_desc *descs = tn_host_descs(placement->host, &n_descs);
    text[0] = '\0';
    if (plan->kind != TN_SEARCH_REPLICAS) {
        tn_place_print_from(plan->devices, placement->n_layers, descs, choice->devices, text, capacity);
        return;
    }
    for (uint32_t r = 0; r < plan->n_replicas && len < capacity; r++) {
        if (r > 0) len += (size_t)snprintf(text + len, capacity - len, " + ");
        const uint32_t device = choice->devices[plan->devices[(size_t)r * n_units]];
        if (len < capacity) len += tn_placement_print_replicas(descs, &device, 0, &plan->shares[r], 1, text + len, capacity - len);
    }
}

static const char *name_of(const tn_placement *placement, uint32_t candidate) { return placement->choice->names[candidate]; }

// Why a pipeline is not as fast as all its devices: by what it loses most to.
static const char *loss_of(const tn_placement_choice *choice, const tn_search_plan *plan)
{
    const double loss = sharing_loss(choice, plan);
    if (plan->kind != TN_SEARCH_PIPELINE || (plan->bubble < told_loss && loss < told_loss)) return "";
    return loss > plan->bubble ? " (its devices read the same memory)" : " (its devices wait for each other)";
}

static void explain_rejection(const tn_placement *placement, const tn_search_plan *plan, char *text, size_t capacity)
{
    const tn_placement_choice *choice = placement->choice;
    const tn_search_plan *best = &choice->result.plans[0];
    const double mib = 1 << 20;
    const uint32_t device = plan->devices[0];
    if (plan->cannot_run) {
        snprintf(text, capacity, "%s cannot run every part of the model", name_of(placement, device));
    } else if (plan->missing_bytes) {
        snprintf(text, capacity, "needs %.0f MiB, %s has %.0f", (double)plan->bytes / mib, name_of(placement, device),
                 (double)choice->memory_bytes[device] / mib);
    } else if (choice->goal == TN_SEARCH_MEMORY) {
        snprintf(text, capacity, "takes %.0f MiB, the choice %.0f", (double)plan->bytes / mib, (double)best->bytes / mib);
    } else if (choice->goal == TN_SEARCH_LATENCY) {
        const double gain = plan->step_ns / best->step_ns - 1;
        snprintf(text, capacity, gain > 0 ? "a token takes %.0f %% longer" : "a token takes %.0f %% less, which predictions cannot tell",
                 gain > 0 ? 100 * gain : -100 * gain);
    } else {
        const double loss = 1 - plan->tokens_per_s / best->tokens_per_s;
        if (loss > 0)
            snprintf(text, capacity, "%.0f %% fewer tokens a second%s", 100 * loss, loss_of(choice, plan));
        else
            snprintf(text, capacity, "%.0f %% more tokens a second, which predictions cannot tell", -100 * loss);
    }
}

// A pipeline over many kinds of devices is not the best of all.
static void say_left_out(const tn_search_result *result, char *text, size_t capacity)
{
    const size_t len = strlen(text);
    if (result->effort.n_left_out == 0) return;
    snprintf(text + len, capacity - len, "; %u slower devices were left out of the search", (unsigned)result->effort.n_left_out);
}

static void tell_options(const tn_placement *placement, void (*told)(void *user, const tn_placement_option *option), void *user)
{
    const tn_search_result *result = &placement->choice->result;
    for (uint32_t i = 0; i < result->n_plans; i++) {
        const tn_search_plan *plan = &result->plans[i];
        char where[WHERE_CAPACITY], reason[REASON_CAPACITY] = "";
        print_plan(placement, plan, where, sizeof where);
        if (i > 0) explain_rejection(placement, plan, reason, sizeof reason);
        if (i > 0 && plan->kind == TN_SEARCH_PIPELINE) say_left_out(result, reason, sizeof reason);
        const tn_placement_option option = {.struct_size = sizeof option,
                                            .kind = (tn_placement_kind)plan->kind,
                                            .chosen = i == 0,
                                            .fits = plan->missing_bytes == 0 && !plan->cannot_run,
                                            .where = where,
                                            .tokens_per_s = plan->cannot_run ? 0 : plan->tokens_per_s,
                                            .step_ms = plan->cannot_run ? 0 : plan->step_ns / 1e6,
                                            .bubble = plan->bubble,
                                            .n_lanes = plan->n_lanes,
                                            .bytes = plan->bytes,
                                            .reason = reason,
                                            .sharing_loss = sharing_loss(placement->choice, plan)};
        told(user, &option);
    }
}

void tn_placement_explain(const tn_placement *placement, void (*device)(void *user, const tn_placement_device *device),
                          void (*option)(void *user, const tn_placement_option *option), void *user)
{
    if (!placement->choice) return;
    if (device) tell_devices(placement, device, user);
    if (device) tell_unknown(placement, device, user);
    if (option) tell_options(placement, option, user);
}
