// The best contiguous partition of the units over two devices or more.
//
// For a number of lanes, two times of a lane's step count: that through the whole pipeline (the sum), after which a sequence has its next
// token, and that of the slowest stage, which every lane's step takes. A token of all sequences comes in max(sum, lanes * slowest). Dynamic
// programming finds the least sum with every stage below a limit. A lower limit makes the sum no less: bisection comes near to the limit
// where both count as much, and lowering it to the slowest stage of each answer walks over what is left, until the sum alone decides.
//
// Several lanes keep all devices at work: where some of them share memory, that takes two passes (search_internal.h).
//
// Devices that are alike in every time and size count as one kind, so that eight equal GPUs are not tried in all orders; of too many kinds
// the fastest ones are looked at (search_kinds.c).
#include "base/alloc.h"
#include "base/checked.h"
#include "scheduler/search_internal.h"

#include <string.h>

enum { KINDS_MAX = TN_SEARCH_KINDS_MAX, LANES_BEYOND_DEVICES = 2, BISECTIONS = 8 };

// Stages that a dynamic program may weigh: more kinds of devices than it allows are left out, unless no pipeline fits without them.
static const uint64_t work_max = 2000000;

// The first units, on devices in a state's use, the last of them on a device of one kind: the least cost of it.
typedef struct cell {
    double cost; // INFINITY: impossible
    uint32_t from_unit, from_kind;
} cell;

// Units [end of the one before, end) on a device of a kind.
typedef struct stage {
    uint32_t end, kind;
} stage;

typedef struct partition {
    uint32_t n_stages;
    stage *stages; // [n_devices]
    double sum, slowest;
} partition;

typedef struct pipeline {
    const tn_search_problem *problem;
    tn_search_pass pass;
    uint32_t n_lanes, n_tokens; // of a lane's step
    tn_search_kinds kinds;
    uint64_t work_max;
    uint32_t row;    // cells of a state and kind
    double *ns;      // [n_kinds][n_units + 1] time of the first units
    double *bytes;   // the same of their memory
    uint32_t *reach; // [n_kinds][n_units] where the longest run ends that begins at a unit, by ops and memory
    cell *cells;     // [n_states][n_kinds][row]
    size_t cells_capacity;
    partition best, now;
    double best_cost; // of the goal: time of a token of all sequences, or bytes
    uint32_t best_lanes;
    tn_search_pass best_pass;
    tn_search_effort effort;
} pipeline;

static tn_status find_kinds(pipeline *l) { return tn_search_find_kinds(l->problem, l->n_tokens, l->work_max, &l->kinds); }

// Sums over the first units, and how far runs of them reach.
static void measure_kind(pipeline *l, uint32_t kind)
{
    const tn_search_problem *p = l->problem;
    const uint32_t device = l->kinds.kinds[kind].first, n = p->n_units;
    double *ns = l->ns + (size_t)kind * l->row, *bytes = l->bytes + (size_t)kind * l->row;
    uint32_t *reach = l->reach + (size_t)kind * n;
    ns[0] = bytes[0] = 0;
    for (uint32_t unit = 0; unit < n; unit++) {
        const double unit_ns = tn_search_unit_ns(p, l->pass, device, unit, l->n_tokens);
        reach[unit] = isinf(unit_ns) ? unit : n;
        ns[unit + 1] = ns[unit] + (isinf(unit_ns) ? 0 : unit_ns);
        bytes[unit + 1] = bytes[unit] + (double)p->unit_bytes(p->ctx, device, unit, p->n_seqs);
    }
    const uint64_t scratch = p->segment_bytes(p->ctx, device, p->n_seqs);
    for (uint32_t unit = n; unit-- > 0;) {
        if (reach[unit] > unit && unit + 1 < n) reach[unit] = reach[unit + 1] > unit + 1 ? reach[unit + 1] : unit + 1;
    }
    for (uint32_t unit = 0; unit < n; unit++) {
        uint64_t used = scratch;
        uint32_t end = unit;
        while (end < reach[unit] && tn_ckd_add(used, p->unit_bytes(p->ctx, device, end, p->n_seqs), &used) &&
               used <= p->memory_bytes[device])
            end++;
        reach[unit] = end;
    }
}

// Time of units [begin, end) as a stage on a device of `kind` behind one of `before` (KINDS_MAX: it is the first).
static double stage_ns(const pipeline *l, uint32_t before, uint32_t kind, uint32_t begin, uint32_t end)
{
    const double *ns = l->ns + (size_t)kind * l->row;
    const double hop_ns = before == KINDS_MAX ? 0 : l->kinds.kinds[before].hop_ns[kind];
    return hop_ns + l->kinds.kinds[kind].segment_ns + (ns[end] - ns[begin]);
}

static double stage_cost(const pipeline *l, uint32_t before, uint32_t kind, uint32_t begin, uint32_t end)
{
    const tn_search_problem *p = l->problem;
    if (p->goal != TN_SEARCH_MEMORY) return stage_ns(l, before, kind, begin, end);
    const double *bytes = l->bytes + (size_t)kind * l->row;
    return (double)p->segment_bytes(p->ctx, l->kinds.kinds[kind].first, p->n_seqs) + (bytes[end] - bytes[begin]);
}

static cell *cells_of(const pipeline *l, uint32_t state, uint32_t kind) { return l->cells + ((size_t)state * l->kinds.n + kind) * l->row; }

// Lets a stage on a device of `kind` follow: units from `begin` on, whose predecessors cost `cost` and end on a device of `before`.
static void add_stage(pipeline *l, uint32_t state, uint32_t before, uint32_t kind, uint32_t begin, double cost, double limit_ns)
{
    cell *cells = cells_of(l, state + l->kinds.kinds[kind].radix, kind);
    const uint32_t reach = l->reach[(size_t)kind * l->problem->n_units + begin];
    for (uint32_t end = begin + 1; end <= reach; end++) {
        if (stage_ns(l, before, kind, begin, end) >= limit_ns) return; // a longer one takes no less
        const double total = cost + stage_cost(l, before, kind, begin, end);
        if (total < cells[end].cost && total < l->best_cost) cells[end] = (cell){total, begin, before};
    }
}

static uint32_t n_used(const pipeline *l, uint32_t state, uint32_t kind)
{
    return state / l->kinds.kinds[kind].radix % (l->kinds.kinds[kind].n + 1);
}

// Devices in the state's use that share memory.
static uint32_t n_sharing(const pipeline *l, uint32_t state)
{
    uint32_t n = 0;
    for (uint32_t kind = 0; kind < l->kinds.n; kind++) n += l->kinds.kinds[kind].shares_memory ? n_used(l, state, kind) : 0;
    return n;
}

static void follow(pipeline *l, uint32_t state, uint32_t before, uint32_t begin, double cost, double limit_ns)
{
    // Devices work at the same time in several lanes alone.
    const bool no_more_sharing = l->pass == TN_SEARCH_PASS_OWN && l->n_lanes > 1 && n_sharing(l, state) > 0;
    for (uint32_t kind = 0; kind < l->kinds.n; kind++) {
        if (no_more_sharing && l->kinds.kinds[kind].shares_memory) continue;
        if (n_used(l, state, kind) < l->kinds.kinds[kind].n) add_stage(l, state, before, kind, begin, cost, limit_ns);
    }
}

// Reads the stages back from the last cell.
static void trace_back(pipeline *l, uint32_t state, uint32_t kind)
{
    partition *now = &l->now;
    now->n_stages = 0;
    now->sum = now->slowest = 0;
    for (uint32_t end = l->problem->n_units; end > 0;) {
        const cell from = cells_of(l, state, kind)[end];
        const double ns = stage_ns(l, from.from_kind, kind, from.from_unit, end);
        now->stages[now->n_stages++] = (stage){end, kind};
        now->sum += ns;
        if (ns > now->slowest) now->slowest = ns;
        state -= l->kinds.kinds[kind].radix;
        kind = from.from_kind;
        end = from.from_unit;
    }
    for (uint32_t a = 0, b = now->n_stages - 1; a < b; a++, b--) {
        const stage was = now->stages[a];
        now->stages[a] = now->stages[b];
        now->stages[b] = was;
    }
}

// The partition of least cost over two devices or more, every stage of which is faster than `limit_ns`, into l->now; false: there is none
// that could be better than the best so far.
static bool solve(pipeline *l, double limit_ns)
{
    const uint32_t n_units = l->problem->n_units;
    const size_t n_cells = (size_t)l->kinds.n_states * l->kinds.n * l->row;
    double least = INFINITY;
    uint32_t last_state = 0, last_kind = 0;
    l->effort.n_cells += n_cells;
    for (size_t i = 0; i < n_cells; i++) l->cells[i].cost = INFINITY;
    follow(l, 0, KINDS_MAX, 0, 0, limit_ns);
    for (uint32_t state = 1; state < l->kinds.n_states; state++) { // a following state has a higher number
        for (uint32_t kind = 0; kind < l->kinds.n; kind++) {
            const cell *cells = cells_of(l, state, kind);
            if (n_used(l, state, kind) == 0) continue;
            for (uint32_t unit = 1; unit < n_units; unit++) {
                if (!isinf(cells[unit].cost)) follow(l, state, kind, unit, cells[unit].cost, limit_ns);
            }
            const bool alone = state == l->kinds.kinds[kind].radix;
            if (alone || cells[n_units].cost >= least) continue;
            least = cells[n_units].cost;
            last_state = state;
            last_kind = kind;
        }
    }
    if (isinf(least)) return false;
    trace_back(l, last_state, last_kind);
    return true;
}

// Time of a token of all sequences.
static double cycle_ns(const pipeline *l)
{
    const double busy = l->n_lanes * l->now.slowest;
    return l->now.sum > busy ? l->now.sum : busy;
}

static void keep(pipeline *l, double cost)
{
    if (cost >= l->best_cost) return;
    stage *stages = l->best.stages;
    memcpy(stages, l->now.stages, l->now.n_stages * sizeof *stages);
    l->best = l->now;
    l->best.stages = stages;
    l->best_cost = cost;
    l->best_lanes = l->n_lanes;
    l->best_pass = l->pass;
}

static tn_status reserve(pipeline *l)
{
    const size_t n_units = l->problem->n_units, n_devices = l->problem->n_devices;
    l->row = l->problem->n_units + 1;
    TN_TRY(tn_alloc(n_devices, sizeof *l->kinds.kind_of, &l->kinds.kind_of));
    TN_TRY(tn_alloc(KINDS_MAX * (n_units + 1), sizeof *l->ns, &l->ns));
    TN_TRY(tn_alloc(KINDS_MAX * (n_units + 1), sizeof *l->bytes, &l->bytes));
    TN_TRY(tn_alloc(KINDS_MAX * n_units, sizeof *l->reach, &l->reach));
    TN_TRY(tn_alloc(n_devices, sizeof *l->best.stages, &l->best.stages));
    return tn_alloc(n_devices, sizeof *l->now.stages, &l->now.stages);
}

static void deinit(pipeline *l)
{
    tn_free(l->kinds.kind_of);
    tn_free(l->ns);
    tn_free(l->bytes);
    tn_free(l->reach);
    tn_free(l->cells);
    tn_free(l->best.stages);
    tn_free(l->now.stages);
}

static bool is_sum_decisive(const pipeline *l) { return l->now.sum >= l->n_lanes * l->now.slowest; }

// From the answer without a limit on: bisection towards the limit at which sum and slowest stage count as much, and from there on downwards
// until there is nothing better.
static void keep_shortest(pipeline *l)
{
    double below_ns = l->now.slowest, least_ns = 0; // of better pipelines' slowest stages
    keep(l, cycle_ns(l));
    if (is_sum_decisive(l)) return;
    for (uint32_t i = 0; i < BISECTIONS && l->n_lanes * least_ns < l->best_cost; i++) {
        const double limit_ns = least_ns + (below_ns - least_ns) / 2;
        const bool found = solve(l, limit_ns);
        if (found) keep(l, cycle_ns(l));
        if (found && !is_sum_decisive(l))
            below_ns = l->now.slowest;
        else
            least_ns = limit_ns;
    }
    while (l->n_lanes * least_ns < l->best_cost && solve(l, below_ns)) {
        keep(l, cycle_ns(l));
        if (is_sum_decisive(l)) return;
        below_ns = l->now.slowest;
    }
}

// The best of a pass, kept where it is better than all before.
static void search_pass(pipeline *l, tn_search_pass pass)
{
    l->pass = pass;
    for (uint32_t kind = 0; kind < l->kinds.n; kind++) measure_kind(l, kind);
    if (l->problem->goal == TN_SEARCH_MEMORY) {
        double bytes = 0;
        if (!solve(l, INFINITY)) return;
        for (uint32_t s = 0, begin = 0; s < l->now.n_stages; begin = l->now.stages[s++].end)
            bytes += stage_cost(l, KINDS_MAX, l->now.stages[s].kind, begin, l->now.stages[s].end);
        keep(l, bytes);
        return;
    }
    if (solve(l, INFINITY)) keep_shortest(l);
}

static tn_status search_lanes(pipeline *l, uint32_t n_lanes)
{
    const tn_search_problem *p = l->problem;
    l->n_lanes = n_lanes;
    l->n_tokens = (p->n_seqs - 1) / n_lanes + 1;
    if ((p->n_seqs - 1) / l->n_tokens + 1 < n_lanes) return TN_OK; // fewer lanes are as many tokens each
    TN_TRY(find_kinds(l));
    if (l->kinds.n_left_out > l->effort.n_left_out) l->effort.n_left_out = l->kinds.n_left_out;
    TN_TRY(tn_grow(&l->cells, &l->cells_capacity, (size_t)l->kinds.n_states * l->kinds.n * l->row, sizeof *l->cells));
    if (n_lanes == 1 || tn_search_has_pass(p, TN_SEARCH_PASS_OWN)) search_pass(l, TN_SEARCH_PASS_OWN);
    if (n_lanes > 1 && tn_search_has_pass(p, TN_SEARCH_PASS_SHARED)) search_pass(l, TN_SEARCH_PASS_SHARED);
    return TN_OK;
}

static void fill(const pipeline *l, tn_search_plan *plan)
{
    const tn_search_problem *p = l->problem;
    uint32_t next[KINDS_MAX] = {0}; // device to look at
    plan->kind = TN_SEARCH_PIPELINE;
    plan->n_replicas = 1;
    plan->n_lanes = l->best_lanes;
    plan->is_shared = l->best_pass == TN_SEARCH_PASS_SHARED;
    plan->shares[0] = p->n_seqs;
    const double busy = l->best_lanes * l->best.slowest;
    plan->step_ns = l->best.sum > busy ? l->best.sum : busy;
    plan->tokens_per_s = p->n_seqs * 1e9 / plan->step_ns;
    for (uint32_t s = 0, unit = 0; s < l->best.n_stages; s++) {
        const uint32_t kind = l->best.stages[s].kind;
        while (l->kinds.kind_of[next[kind]] != kind) next[kind]++;
        const uint32_t device = next[kind]++;
        uint64_t bytes = p->segment_bytes(p->ctx, device, p->n_seqs);
        for (; unit < l->best.stages[s].end; unit++) {
            plan->devices[unit] = device;
            bytes += p->unit_bytes(p->ctx, device, unit, p->n_seqs);
        }
        plan->device_bytes[device] = bytes;
        plan->bytes += bytes;
    }
    plan->bubble = 1 - l->best_lanes * l->best.sum / (l->best.n_stages * plan->step_ns);
}

static tn_status search(pipeline *l, uint64_t most_work)
{
    const tn_search_problem *p = l->problem;
    uint32_t n_lanes_max = p->goal == TN_SEARCH_THROUGHPUT ? p->n_devices + LANES_BEYOND_DEVICES : 1;
    if (n_lanes_max > p->n_seqs) n_lanes_max = p->n_seqs;
    l->work_max = most_work;
    l->effort.n_left_out = 0;
    for (uint32_t n_lanes = 1; n_lanes <= n_lanes_max; n_lanes++) TN_TRY(search_lanes(l, n_lanes));
    return TN_OK;
}

tn_status tn_search_pipeline(const tn_search_problem *problem, tn_search_plan *plan, bool *out_found, tn_search_effort *out_effort)
{
    tn_status status;
    pipeline l = {.problem = problem, .best_cost = INFINITY};
    *out_found = false;
    *out_effort = l.effort;
    if (problem->n_devices < 2 || problem->n_units < 2) return TN_OK;
    TN_TRY_GOTO(reserve(&l));
    TN_TRY_GOTO(search(&l, work_max));
    if (l.best.n_stages == 0 && l.effort.n_left_out) TN_TRY_GOTO(search(&l, UINT64_MAX));
    if (l.best.n_stages) {
        l.n_lanes = l.best_lanes;
        l.n_tokens = (problem->n_seqs - 1) / l.best_lanes + 1;
        TN_TRY_GOTO(find_kinds(&l)); // as they were for the best
        fill(&l, plan);
        *out_found = true;
    }
    *out_effort = l.effort;
    status = TN_OK;
fail:
    deinit(&l);
    return status;
}
