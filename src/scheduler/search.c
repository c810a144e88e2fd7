// The search's alternatives, and the choice among them.
#include "scheduler/search.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "scheduler/search_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double ns_per_s = 1e9;

bool tn_search_has_pass(const tn_search_problem *problem, tn_search_pass pass)
{
    uint32_t n_sharing = 0;
    for (uint32_t device = 0; device < problem->n_devices; device++) n_sharing += tn_search_shares_memory(problem, device);
    return pass == TN_SEARCH_PASS_SHARED ? n_sharing >= 2 : problem->n_devices - n_sharing + (n_sharing > 0) >= 2;
}

double tn_search_unit_ns(const tn_search_problem *problem, tn_search_pass pass, uint32_t device, uint32_t unit, uint32_t n_tokens)
{
    const double own_ns = problem->unit_ns(problem->ctx, device, unit, n_tokens);
    if (pass == TN_SEARCH_PASS_OWN || !tn_search_shares_memory(problem, device)) return own_ns;
    const double shared_ns = problem->shared_unit_ns(problem->ctx, device, unit, n_tokens);
    return shared_ns > own_ns ? shared_ns : own_ns;
}

double tn_search_whole_ns(const tn_search_problem *problem, tn_search_pass pass, uint32_t device, uint32_t n_tokens)
{
    double sum = problem->segment_ns(problem->ctx, device);
    for (uint32_t unit = 0; unit < problem->n_units; unit++) sum += tn_search_unit_ns(problem, pass, device, unit, n_tokens);
    return sum;
}

uint64_t tn_search_whole_bytes(const tn_search_problem *problem, uint32_t device, uint32_t n_seqs)
{
    uint64_t sum = problem->segment_bytes(problem->ctx, device, n_seqs);
    for (uint32_t unit = 0; unit < problem->n_units; unit++) {
        if (!tn_ckd_add(sum, problem->unit_bytes(problem->ctx, device, unit, n_seqs), &sum)) return UINT64_MAX;
    }
    return sum;
}

static double cost_of(const tn_search_problem *problem, const tn_search_plan *plan)
{
    switch (problem->goal) {
    case TN_SEARCH_LATENCY: return plan->step_ns;
    case TN_SEARCH_THROUGHPUT: return 1 / plan->tokens_per_s;
    case TN_SEARCH_MEMORY: break;
    }
    return (double)plan->bytes;
}

bool tn_search_is_better(const tn_search_problem *problem, const tn_search_plan *plan, const tn_search_plan *other, double margin)
{
    if (tn_search_can_use(plan) != tn_search_can_use(other)) return tn_search_can_use(plan);
    const double cost = cost_of(problem, plan) * (1 + margin), other_cost = cost_of(problem, other);
    if (cost != other_cost) return cost < other_cost;
    return plan->tokens_per_s > other->tokens_per_s * (1 + margin);
}

static void place_alone(const tn_search_problem *problem, uint32_t device, tn_search_plan *plan)
{
    const uint64_t bytes = tn_search_whole_bytes(problem, device, problem->n_seqs), memory = problem->memory_bytes[device];
    plan->kind = TN_SEARCH_ONE;
    plan->n_replicas = plan->n_lanes = 1;
    plan->shares[0] = problem->n_seqs;
    for (uint32_t unit = 0; unit < problem->n_units; unit++) plan->devices[unit] = device;
    plan->step_ns = tn_search_whole_ns(problem, TN_SEARCH_PASS_OWN, device, problem->n_seqs);
    plan->cannot_run = isinf(plan->step_ns);
    plan->tokens_per_s = problem->n_seqs * ns_per_s / plan->step_ns;
    plan->device_bytes[device] = plan->bytes = bytes;
    plan->missing_bytes = bytes > memory ? bytes - memory : 0;
}

// Plans with their arrays: one for each device, replicas, a pipeline.
static tn_status reserve(const tn_search_problem *problem, tn_search_result *result)
{
    const size_t n_plans = (size_t)problem->n_devices + 2, n = problem->n_devices;
    uint64_t n_words; // of a plan: devices, shares
    if (!tn_ckd_mul(n, (uint64_t)problem->n_units + 1, &n_words)) return tn_fail(TN_LIMIT, "the model has too many layers to place");
    uint64_t bytes = n_words * sizeof(uint32_t) + n * sizeof(uint64_t);
    if (!tn_ckd_round_up(bytes, sizeof(uint64_t), &bytes)) return tn_fail(TN_LIMIT, "the model has too many layers to place");
    TN_TRY(tn_alloc_zero(n_plans, sizeof *result->plans, &result->plans));
    TN_TRY(tn_alloc_zero(n_plans, bytes, &result->memory));
    for (size_t i = 0; i < n_plans; i++) {
        uint64_t *words = (uint64_t *)result->memory + i * (bytes / sizeof(uint64_t));
        result->plans[i].device_bytes = words;
        result->plans[i].devices = (uint32_t *)(words + n);
        result->plans[i].shares = result->plans[i].devices + n * problem->n_units;
    }
    return TN_OK;
}

static void swap(tn_search_plan *a, tn_search_plan *b)
{
    const tn_search_plan was = *a;
    *a = *b;
    *b = was;
}

// By the goal, stable; then the choice to the front: the best on one device, unless more devices gain more than the margin.
static void order(const tn_search_problem *problem, tn_search_result *result)
{
    tn_search_plan *plans = result->plans;
    for (uint32_t i = 1; i < result->n_plans; i++) {
        for (uint32_t k = i; k > 0 && tn_search_is_better(problem, &plans[k], &plans[k - 1], 0); k--) swap(&plans[k], &plans[k - 1]);
    }
    uint32_t one = 0;
    while (one < result->n_plans && plans[one].kind != TN_SEARCH_ONE) one++;
    if (one == result->n_plans || !tn_search_can_use(&plans[one])) return;
    if (tn_search_is_better(problem, &plans[0], &plans[one], problem->margin)) return;
    for (; one > 0; one--) swap(&plans[one], &plans[one - 1]);
}

static tn_status fail_unusable(const tn_search_problem *problem, const tn_search_result *result)
{
    const double mib = 1 << 20;
    char text[512];
    size_t len = 0;
    bool any_runs = false;
    for (uint32_t i = 0; i < result->n_plans && len < sizeof text; i++) {
        const tn_search_plan *plan = &result->plans[i];
        if (plan->cannot_run) continue;
        any_runs = true;
        const uint32_t device = plan->devices[0];
        char name[48];
        if (problem->names)
            snprintf(name, sizeof name, "%s", problem->names[device]);
        else
            snprintf(name, sizeof name, "device %u", (unsigned)device);
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%s has %.0f of %.0f MiB", len ? ", " : "", name,
                                (double)problem->memory_bytes[device] / mib, (double)plan->bytes / mib);
    }
    if (!any_runs) return tn_fail(TN_UNSUPPORTED, "no device runs every part of the model");
    return tn_fail(TN_OUT_OF_MEMORY,
                   "the model with its KV cache fits no device, nor all of them together: %s: ask for a shorter context or fewer sequences",
                   text);
}

tn_status tn_search(const tn_search_problem *problem, tn_search_result *out_result)
{
    *out_result = (tn_search_result){0};
    tn_search_result result = {0};
    tn_status status;
    bool found;
    if (problem->n_devices == 0 || problem->n_units == 0 || problem->n_seqs == 0)
        return tn_fail(TN_INVALID_ARGUMENT, "there is nothing to place: %u units, %u devices, %u sequences", (unsigned)problem->n_units,
                       (unsigned)problem->n_devices, (unsigned)problem->n_seqs);
    TN_TRY_GOTO(reserve(problem, &result));
    for (; result.n_plans < problem->n_devices; result.n_plans++) place_alone(problem, result.n_plans, &result.plans[result.n_plans]);
    TN_TRY_GOTO(tn_search_replicas(problem, &result.plans[result.n_plans], &found));
    result.n_plans += found;
    TN_TRY_GOTO(tn_search_pipeline(problem, &result.plans[result.n_plans], &found, &result.effort));
    result.n_plans += found;
    order(problem, &result);
    if (!tn_search_can_use(&result.plans[0])) {
        status = fail_unusable(problem, &result);
        goto fail;
    }
    *out_result = result;
    return TN_OK;
fail:
    tn_search_result_deinit(&result);
    return status;
}

void tn_search_result_deinit(tn_search_result *result)
{
    tn_free(result->plans);
    tn_free(result->memory);
    *result = (tn_search_result){0};
}
