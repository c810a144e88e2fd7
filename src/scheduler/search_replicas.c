// Sequences shared over devices that hold the whole model each. A step of more sequences takes no less and needs no less memory, so a
// device has, for every time, most sequences whose step ends within it; the least time in which all devices together have room for all
// sequences is found by bisection over the steps that there are. Where devices share memory, that takes two passes (search_internal.h).
#include "base/alloc.h"
#include "scheduler/search_internal.h"

#include <string.h>

enum { KEPT_STEPS = 1024 };   // times of steps of fewer sequences are kept: they are asked for again and again
enum { PORTIONS_MIN = 1024 }; // what is left to share is given away in at least so many portions

typedef struct share_search {
    const tn_search_problem *problem;
    tn_search_pass pass;
    double *steps_ns;  // [n_devices][KEPT_STEPS], 0: not asked for yet
    uint32_t *room;    // [n_devices] sequences whose step ends in time
    uint32_t *chosen;  // [n_devices] those that have a share, the one with the most room first
    uint32_t n_chosen; //
} share_search;

// A step of `n` sequences; INFINITY: the device has no memory for them, or lacks an op.
static double measure_step(const share_search *search, uint32_t device, uint32_t n)
{
    const tn_search_problem *problem = search->problem;
    if (tn_search_whole_bytes(problem, device, n) > problem->memory_bytes[device]) return INFINITY;
    return tn_search_whole_ns(problem, search->pass, device, n);
}

static double step_ns(const share_search *search, uint32_t device, uint32_t n)
{
    if (n >= KEPT_STEPS) return measure_step(search, device, n);
    double *kept = &search->steps_ns[(size_t)device * KEPT_STEPS + n];
    if (*kept == 0) *kept = measure_step(search, device, n);
    return *kept;
}

static bool is_in_time(const share_search *search, uint32_t device, uint32_t n, double limit_ns, bool below)
{
    const double ns = step_ns(search, device, n);
    return !isinf(ns) && (below ? ns < limit_ns : ns <= limit_ns);
}

// Most sequences whose step takes at most `limit_ns`, or less than it (`below`).
static uint32_t room_for(const share_search *search, uint32_t device, double limit_ns, bool below)
{
    uint32_t fits = 0, too_many = search->problem->n_seqs; // one has them all: these are no replicas
    while (too_many - fits > 1) {
        const uint32_t n = fits + (too_many - fits) / 2;
        if (is_in_time(search, device, n, limit_ns, below))
            fits = n;
        else
            too_many = n;
    }
    return fits;
}

// Takes the device with the most room among those that are not chosen; false: none has any, or may be beside the chosen ones.
static bool choose_next(share_search *search, bool *has_sharing)
{
    const tn_search_problem *problem = search->problem;
    uint32_t best = problem->n_devices;
    for (uint32_t device = 0; device < problem->n_devices; device++) {
        bool is_free = search->room[device] > 0;
        for (uint32_t i = 0; i < search->n_chosen; i++) is_free &= search->chosen[i] != device;
        if (search->pass == TN_SEARCH_PASS_OWN && *has_sharing) is_free &= !tn_search_shares_memory(problem, device);
        if (is_free && (best == problem->n_devices || search->room[device] > search->room[best])) best = device;
    }
    if (best == problem->n_devices) return false;
    search->chosen[search->n_chosen++] = best;
    *has_sharing |= tn_search_shares_memory(problem, best);
    return true;
}

// Chooses the fewest devices, of which none has room for all, that have all sequences with steps of at most `limit_ns`; false: there is no
// room for them.
static bool choose_devices(share_search *search, double limit_ns)
{
    uint64_t room = 0;
    bool has_sharing = false;
    search->n_chosen = 0;
    for (uint32_t device = 0; device < search->problem->n_devices; device++)
        search->room[device] = room_for(search, device, limit_ns, false);
    while (room < search->problem->n_seqs) {
        if (!choose_next(search, &has_sharing)) return false;
        room += search->room[search->chosen[search->n_chosen - 1]];
    }
    return true;
}

// The shortest step of this device, below `limit_ns`, that is the slowest of shares over all; `limit_ns`: there is none.
static double shortest_of(share_search *search, uint32_t device, double limit_ns)
{
    uint32_t enough = room_for(search, device, limit_ns, true), too_few = 0;
    if (enough == 0 || !choose_devices(search, step_ns(search, device, enough))) return limit_ns;
    while (enough - too_few > 1) {
        const uint32_t n = too_few + (enough - too_few) / 2;
        if (choose_devices(search, step_ns(search, device, n)))
            enough = n;
        else
            too_few = n;
    }
    return step_ns(search, device, enough);
}

void tn_search_share(const double *ns_each, const uint32_t *most, uint32_t n, uint32_t n_seqs, uint32_t *shares)
{
    uint32_t left = n_seqs;
    for (uint32_t i = 0; i < n; i++) shares[i] = n_seqs >= n ? 1 : 0;
    if (n_seqs >= n) left -= n;
    while (left) {
        uint32_t best = n, portion = (left - 1) / PORTIONS_MIN + 1;
        for (uint32_t i = 0; i < n; i++) {
            if (most && shares[i] >= most[i]) continue;
            if (best == n || (shares[i] + 0.5) * ns_each[i] < (shares[best] + 0.5) * ns_each[best]) best = i;
        }
        if (best == n) return;
        if (most && portion > most[best] - shares[best]) portion = most[best] - shares[best];
        shares[best] += portion;
        left -= portion;
    }
}

static void sort_by_place(uint32_t *devices, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        const uint32_t device = devices[i];
        uint32_t k = i;
        for (; k > 0 && devices[k - 1] > device; k--) devices[k] = devices[k - 1];
        devices[k] = device;
    }
}

// The chosen devices' shares: within what ends in time by their rates where all have as many.
static tn_status share_out(const share_search *search, uint32_t *shares)
{
    const uint32_t n = search->n_chosen, even = search->problem->n_seqs / n;
    double *ns_each;
    uint32_t *most;
    TN_TRY(tn_alloc(n, sizeof *ns_each, &ns_each));
    const tn_status status = tn_alloc(n, sizeof *most, &most);
    for (uint32_t i = 0; i < n && status == TN_OK; i++) {
        const uint32_t device = search->chosen[i], rated = even < search->room[device] ? even : search->room[device];
        most[i] = search->room[device];
        ns_each[i] = rated ? step_ns(search, device, rated) / rated : step_ns(search, device, 1);
    }
    if (status == TN_OK) {
        tn_search_share(ns_each, most, n, search->problem->n_seqs, shares);
        tn_free(most);
    }
    tn_free(ns_each);
    return status;
}

static tn_status fill(const share_search *search, tn_search_plan *plan)
{
    const tn_search_problem *problem = search->problem;
    plan->kind = TN_SEARCH_REPLICAS;
    plan->n_lanes = 1;
    plan->n_replicas = search->n_chosen;
    plan->is_shared = search->pass == TN_SEARCH_PASS_SHARED;
    plan->step_ns = 0;
    plan->bytes = 0;
    memset(plan->device_bytes, 0, problem->n_devices * sizeof *plan->device_bytes);
    sort_by_place(search->chosen, search->n_chosen);
    TN_TRY(share_out(search, plan->shares));
    for (uint32_t r = 0; r < search->n_chosen; r++) {
        const uint32_t device = search->chosen[r];
        const double ns = step_ns(search, device, plan->shares[r]);
        for (uint32_t unit = 0; unit < problem->n_units; unit++) plan->devices[(size_t)r * problem->n_units + unit] = device;
        plan->device_bytes[device] = tn_search_whole_bytes(problem, device, plan->shares[r]);
        plan->bytes += plan->device_bytes[device];
        if (ns > plan->step_ns) plan->step_ns = ns;
    }
    plan->tokens_per_s = problem->n_seqs * 1e9 / plan->step_ns;
    return TN_OK;
}

// The best of a pass into the plan, where its step is shorter than *best_ns, which becomes its own.
static tn_status search_pass(share_search *search, tn_search_pass pass, tn_search_plan *plan, double *best_ns)
{
    const uint32_t n_devices = search->problem->n_devices;
    double least_ns = *best_ns;
    search->pass = pass;
    memset(search->steps_ns, 0, (size_t)n_devices * KEPT_STEPS * sizeof *search->steps_ns);
    for (uint32_t device = 0; device < n_devices; device++) least_ns = shortest_of(search, device, least_ns);
    if (least_ns >= *best_ns) return TN_OK;
    *best_ns = least_ns;
    choose_devices(search, least_ns);
    return fill(search, plan);
}

tn_status tn_search_replicas(const tn_search_problem *problem, tn_search_plan *plan, bool *out_found)
{
    tn_status status;
    share_search search = {.problem = problem};
    double best_ns = INFINITY;
    *out_found = false;
    if (problem->goal == TN_SEARCH_MEMORY || problem->n_seqs < 2 || problem->n_devices < 2) return TN_OK;
    TN_TRY_GOTO(tn_alloc((size_t)problem->n_devices * KEPT_STEPS, sizeof *search.steps_ns, &search.steps_ns));
    TN_TRY_GOTO(tn_alloc(problem->n_devices, sizeof *search.room, &search.room));
    TN_TRY_GOTO(tn_alloc(problem->n_devices, sizeof *search.chosen, &search.chosen));
    for (tn_search_pass pass = TN_SEARCH_PASS_OWN; pass < TN_SEARCH_PASSES; pass++) {
        if (tn_search_has_pass(problem, pass)) TN_TRY_GOTO(search_pass(&search, pass, plan, &best_ns));
    }
    *out_found = !isinf(best_ns);
    status = TN_OK;
fail:
    tn_free(search.steps_ns);
    tn_free(search.room);
    tn_free(search.chosen);
    return status;
}
