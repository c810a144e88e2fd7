// Sequences shared over devices that hold the whole model each, by dynamic programming over devices and sequences. Where devices share
// memory, that takes two passes (search_internal.h).
#include "base/alloc.h"
#include "scheduler/search_internal.h"

#include <string.h>

// Sequences are shared out in at most so many portions: beyond it a portion is several.
enum { PORTIONS_MAX = 1024 };

// Shares are told apart by devices that have some (none, one, more), and by those of them that share memory (none, one) where the pass
// allows no more: N_USED x N_SHARING rows.
enum { N_USED = 3, N_SHARING = 2, N_ROWS = N_USED * N_SHARING };

// How the last of the first devices came to what it has.
typedef struct share_step {
    uint32_t n_portions; // of the device
    uint32_t from_row;
} share_step;

typedef struct share_table {
    const tn_search_problem *problem;
    tn_search_pass pass;
    uint32_t n_portions, portion; // of so many sequences, the last one of fewer
    double *values;               // [n_devices + 1][N_ROWS][n_portions + 1] the best of the first devices; INFINITY: impossible
    share_step *steps;            // [n_devices][N_ROWS][n_portions + 1]
} share_table;

// What device `device` adds for `n` sequences, as a cost.
static double cost_of(const share_table *table, uint32_t device, uint32_t n)
{
    const tn_search_problem *problem = table->problem;
    const bool throughput = problem->goal == TN_SEARCH_THROUGHPUT;
    if (n == 0) return 0;
    if (tn_search_whole_bytes(problem, device, n) > problem->memory_bytes[device]) return INFINITY;
    const double step_ns = tn_search_whole_ns(problem, table->pass, device, n);
    if (isinf(step_ns)) return INFINITY;
    return throughput ? -(double)n / step_ns : step_ns;
}

static tn_status init(const tn_search_problem *problem, share_table *table)
{
    table->problem = problem;
    table->portion = (problem->n_seqs - 1) / PORTIONS_MAX + 1;
    table->n_portions = (problem->n_seqs - 1) / table->portion + 1;
    const size_t n = N_ROWS * ((size_t)table->n_portions + 1), n_devices = problem->n_devices;
    TN_TRY(tn_alloc((n_devices + 1) * n, sizeof *table->values, &table->values));
    return tn_alloc(n_devices * n, sizeof *table->steps, &table->steps);
}

static void deinit(share_table *table)
{
    tn_free(table->values);
    tn_free(table->steps);
}

static uint32_t sequences(const share_table *table, uint32_t n_portions)
{
    const uint64_t n = (uint64_t)n_portions * table->portion;
    return n < table->problem->n_seqs ? (uint32_t)n : table->problem->n_seqs;
}

// Where the first `n_devices` devices' row begins.
static size_t row_at(const share_table *table, uint32_t n_devices, uint32_t row)
{
    return ((size_t)n_devices * N_ROWS + row) * (table->n_portions + 1);
}

// The row of shares in `row` with this device beside them; N_ROWS: the pass has no such plan.
static uint32_t row_with(const share_table *table, uint32_t row, uint32_t device)
{
    const uint32_t used = row / N_SHARING, sharing = row % N_SHARING, used_with = used + 1 < N_USED ? used + 1 : used;
    const bool counts = table->pass == TN_SEARCH_PASS_OWN && tn_search_shares_memory(table->problem, device);
    return counts && sharing > 0 ? N_ROWS : used_with * N_SHARING + sharing + counts;
}

// Gives `k` portions to the device, at this cost. Throughput adds up, latency is that of the slowest.
static void add_portions(share_table *table, uint32_t device, uint32_t from, uint32_t k, double cost)
{
    const uint32_t to = row_with(table, from, device);
    if (to == N_ROWS) return;
    const bool adds_up = table->problem->goal == TN_SEARCH_THROUGHPUT;
    const double *before = table->values + row_at(table, device, from);
    double *values = table->values + row_at(table, device + 1, to);
    share_step *steps = table->steps + row_at(table, device, to);
    for (uint32_t total = table->n_portions; total >= k; total--) {
        const double rest = before[total - k];
        if (isinf(rest)) continue;
        const double value = adds_up ? rest + cost : rest > cost ? rest : cost;
        if (value >= values[total]) continue;
        values[total] = value;
        steps[total] = (share_step){k, from};
    }
}

static void add_device(share_table *table, uint32_t device)
{
    const size_t n_row = table->n_portions + 1;
    memcpy(table->values + row_at(table, device + 1, 0), table->values + row_at(table, device, 0), N_ROWS * n_row * sizeof *table->values);
    for (uint32_t row = 0; row < N_ROWS; row++) {
        for (size_t i = 0; i < n_row; i++) table->steps[row_at(table, device, row) + i] = (share_step){0, row};
    }
    for (uint32_t k = 1; k <= table->n_portions; k++) {
        const double cost = cost_of(table, device, sequences(table, k));
        if (isinf(cost)) return; // more of them need more memory
        for (uint32_t row = 0; row < N_ROWS; row++) add_portions(table, device, row, k, cost);
    }
}

// Writes down the shares that the table has in `row`.
static void fill(const share_table *table, uint32_t row, tn_search_plan *plan)
{
    const tn_search_problem *problem = table->problem;
    uint32_t left = table->n_portions, n_left = problem->n_seqs;
    double rate = 0;
    plan->kind = TN_SEARCH_REPLICAS;
    plan->n_lanes = 1;
    plan->n_replicas = 0;
    plan->is_shared = table->pass == TN_SEARCH_PASS_SHARED;
    plan->step_ns = 0;
    plan->bytes = 0;
    memset(plan->device_bytes, 0, problem->n_devices * sizeof *plan->device_bytes);
    for (uint32_t device = problem->n_devices; device-- > 0;) {
        const share_step step = table->steps[row_at(table, device, row) + left];
        row = step.from_row;
        if (step.n_portions == 0) continue;
        left -= step.n_portions;
        const uint32_t r = plan->n_replicas++, whole = sequences(table, step.n_portions), n = whole < n_left ? whole : n_left;
        n_left -= n;
        const double step_ns = tn_search_whole_ns(problem, table->pass, device, n);
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

// The best of a pass into the plan, where it is better than *cost, which becomes its own.
static void search_pass(share_table *table, tn_search_pass pass, tn_search_plan *plan, double *cost)
{
    const uint32_t n_devices = table->problem->n_devices;
    const size_t n = row_at(table, 1, 0);
    table->pass = pass;
    for (size_t i = 0; i < n; i++) table->values[i] = i ? INFINITY : 0;
    for (uint32_t device = 0; device < n_devices; device++) add_device(table, device);
    for (uint32_t row = (N_USED - 1) * N_SHARING; row < N_ROWS; row++) {
        const double least = table->values[row_at(table, n_devices, row) + table->n_portions];
        if (least >= *cost) continue;
        *cost = least;
        fill(table, row, plan);
    }
}

tn_status tn_search_replicas(const tn_search_problem *problem, tn_search_plan *plan, bool *out_found)
{
    tn_status status;
    share_table table = {0};
    double cost = INFINITY;
    *out_found = false;
    if (problem->goal == TN_SEARCH_MEMORY || problem->n_seqs < 2 || problem->n_devices < 2) return TN_OK;
    TN_TRY_GOTO(init(problem, &table));
    for (tn_search_pass pass = TN_SEARCH_PASS_OWN; pass < TN_SEARCH_PASSES; pass++) {
        if (tn_search_has_pass(problem, pass)) search_pass(&table, pass, plan, &cost);
    }
    *out_found = !isinf(cost);
    if (*out_found) reverse(problem, plan);
    status = TN_OK;
fail:
    deinit(&table);
    return status;
}
