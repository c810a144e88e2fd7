// Sequences shared over devices that hold the whole model each, by dynamic programming over devices and sequences.
#include "base/alloc.h"
#include "scheduler/search_internal.h"

#include <string.h>

// Sequences are shared out in at most so many portions: beyond it a portion is several.
enum { PORTIONS_MAX = 1024 };

typedef struct share_table {
    uint32_t n_portions, portion; // of so many sequences, the last one of fewer
    double *values;   // [n_devices + 1][n_portions + 1] the best of the first devices for the first portions; INFINITY: impossible
    uint32_t *shares; // [n_devices][n_portions + 1] portions of the last of them
    uint32_t *n_used; // [n_devices + 1][n_portions + 1] devices that have some
} share_table;

// What device `device` adds for `n` sequences, as a cost. Throughput adds up, latency is that of the slowest.
static double cost_of(const tn_search_problem *problem, uint32_t device, uint32_t n)
{
    const bool throughput = problem->goal == TN_SEARCH_THROUGHPUT;
    if (n == 0) return 0;
    if (tn_search_whole_bytes(problem, device, n) > problem->memory_bytes[device]) return INFINITY;
    const double step_ns = tn_search_whole_ns(problem, device, n);
    if (isinf(step_ns)) return INFINITY;
    return throughput ? -(double)n / step_ns : step_ns;
}

static double joined(const tn_search_problem *problem, double a, double b)
{
    if (problem->goal == TN_SEARCH_THROUGHPUT) return a + b;
    return a > b ? a : b;
}

static tn_status reserve(const tn_search_problem *problem, share_table *table)
{
    table->portion = (problem->n_seqs - 1) / PORTIONS_MAX + 1;
    table->n_portions = (problem->n_seqs - 1) / table->portion + 1;
    const size_t n = table->n_portions, n_devices = problem->n_devices;
    TN_TRY(tn_alloc((n_devices + 1) * (n + 1), sizeof *table->values, &table->values));
    TN_TRY(tn_alloc_zero(n_devices * (n + 1), sizeof *table->shares, &table->shares));
    TN_TRY(tn_alloc_zero((n_devices + 1) * (n + 1), sizeof *table->n_used, &table->n_used));
    return TN_OK;
}

static void deinit(share_table *table)
{
    tn_free(table->values);
    tn_free(table->shares);
    tn_free(table->n_used);
}

static uint32_t sequences(const tn_search_problem *problem, const share_table *table, uint32_t n_portions)
{
    const uint64_t n = (uint64_t)n_portions * table->portion;
    return n < problem->n_seqs ? (uint32_t)n : problem->n_seqs;
}

static void add_device(const tn_search_problem *problem, share_table *table, uint32_t device)
{
    const uint32_t n = table->n_portions, row = n + 1;
    const double *before = table->values + (size_t)device * row;
    double *values = table->values + (size_t)(device + 1) * row;
    const uint32_t *used_before = table->n_used + (size_t)device * row;
    uint32_t *used = table->n_used + (size_t)(device + 1) * row, *shares = table->shares + (size_t)device * row;
    memcpy(values, before, row * sizeof *values);
    memcpy(used, used_before, row * sizeof *used);
    for (uint32_t k = 1; k <= n; k++) {
        const double cost = cost_of(problem, device, sequences(problem, table, k));
        if (isinf(cost)) break; // more of them need more memory
        for (uint32_t total = n; total >= k; total--) {
            if (isinf(before[total - k]) && before[total - k] > 0) continue;
            const double value = joined(problem, before[total - k], cost);
            if (value >= values[total]) continue;
            values[total] = value;
            shares[total] = k;
            used[total] = used_before[total - k] + 1;
        }
    }
}

// Writes down the shares that `table` found.
static void fill(const tn_search_problem *problem, const share_table *table, tn_search_plan *plan)
{
    uint32_t left = table->n_portions, row = table->n_portions + 1, n_left = problem->n_seqs;
    double rate = 0;
    plan->kind = TN_SEARCH_REPLICAS;
    plan->n_lanes = 1;
    for (uint32_t device = problem->n_devices; device-- > 0;) {
        const uint32_t k = table->shares[(size_t)device * row + left];
        if (k == 0) continue;
        left -= k;
        const uint32_t r = plan->n_replicas++, whole = sequences(problem, table, k), n = whole < n_left ? whole : n_left;
        n_left -= n;
        const double step_ns = tn_search_whole_ns(problem, device, n);
        for (uint32_t unit = 0; unit < problem->n_units; unit++) plan->devices[(size_t)r * problem->n_units + unit] = device;
        plan->shares[r] = n;
        plan->device_bytes[device] = tn_search_whole_bytes(problem, device, n);
        plan->bytes += plan->device_bytes[device];
        if (step_ns > plan->step_ns) plan->step_ns = step_ns;
        rate += n / step_ns;
    }
    plan->tokens_per_s = rate * 1e9;
}

// Replicas in the order of the devices.
static void reverse(const tn_search_problem *problem, tn_search_plan *plan)
{
    for (uint32_t a = 0, b = plan->n_replicas - 1; a < b; a++, b--) {
        uint32_t *row_a = plan->devices + (size_t)a * problem->n_units, *row_b = plan->devices + (size_t)b * problem->n_units;
        const uint32_t share = plan->shares[a], device_a = row_a[0], device_b = row_b[0];
        plan->shares[a] = plan->shares[b];
        plan->shares[b] = share;
        for (uint32_t unit = 0; unit < problem->n_units; unit++) {
            row_a[unit] = device_b;
            row_b[unit] = device_a;
        }
    }
}

tn_status tn_search_replicas(const tn_search_problem *problem, tn_search_plan *plan, bool *out_found)
{
    tn_status status;
    share_table table = {0};
    *out_found = false;
    if (problem->goal == TN_SEARCH_MEMORY || problem->n_seqs < 2 || problem->n_devices < 2) return TN_OK;
    TN_TRY_GOTO(reserve(problem, &table));
    for (uint32_t i = 0; i <= table.n_portions; i++) table.values[i] = i ? INFINITY : 0;
    for (uint32_t device = 0; device < problem->n_devices; device++) add_device(problem, &table, device);
    if (table.n_used[(size_t)problem->n_devices * (table.n_portions + 1) + table.n_portions] >= 2) {
        fill(problem, &table, plan);
        reverse(problem, plan);
        *out_found = true;
    }
    status = TN_OK;
fail:
    deinit(&table);
    return status;
}
