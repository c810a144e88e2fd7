// Devices that are alike in every time and size, as one kind, and which kinds a pipeline is searched over.
#include "base/alloc.h"
#include "scheduler/search_internal.h"

static bool is_alike(const tn_search_problem *p, uint32_t a, uint32_t b, uint32_t n_tokens)
{
    if (p->memory_bytes[a] != p->memory_bytes[b] || p->segment_ns(p->ctx, a) != p->segment_ns(p->ctx, b)) return false;
    if (p->segment_bytes(p->ctx, a, p->n_seqs) != p->segment_bytes(p->ctx, b, p->n_seqs)) return false;
    if (tn_search_shares_memory(p, a) != tn_search_shares_memory(p, b)) return false;
    for (uint32_t unit = 0; unit < p->n_units; unit++) {
        for (tn_search_pass pass = TN_SEARCH_PASS_OWN; pass < TN_SEARCH_PASSES; pass++) {
            if (tn_search_unit_ns(p, pass, a, unit, n_tokens) != tn_search_unit_ns(p, pass, b, unit, n_tokens)) return false;
        }
        if (p->unit_bytes(p->ctx, a, unit, p->n_seqs) != p->unit_bytes(p->ctx, b, unit, p->n_seqs)) return false;
    }
    for (uint32_t d = 0; d < p->n_devices; d++) {
        if (d == a || d == b) continue;
        if (p->hop_ns(p->ctx, a, d, n_tokens) != p->hop_ns(p->ctx, b, d, n_tokens)) return false;
        if (p->hop_ns(p->ctx, d, a, n_tokens) != p->hop_ns(p->ctx, d, b, n_tokens)) return false;
    }
    return p->hop_ns(p->ctx, a, b, n_tokens) == p->hop_ns(p->ctx, b, a, n_tokens);
}

// Of each device the first one that is like it.
static void find_firsts(const tn_search_problem *p, uint32_t n_tokens, uint32_t *firsts)
{
    for (uint32_t d = 0; d < p->n_devices; d++) {
        uint32_t first = 0;
        while (first < d && !(firsts[first] == first && is_alike(p, first, d, n_tokens))) first++;
        firsts[d] = first;
    }
}

static uint32_t count_of(const uint32_t *firsts, uint32_t n_devices, uint32_t first)
{
    uint32_t n = 0;
    for (uint32_t d = 0; d < n_devices; d++) n += firsts[d] == first;
    return n;
}

// The fastest kind with the whole model that was not looked at; n_devices: there is none.
static uint32_t next_fastest(const tn_search_problem *p, const uint32_t *firsts, const double *whole_ns, const bool *seen)
{
    uint32_t best = p->n_devices;
    for (uint32_t d = 0; d < p->n_devices; d++) {
        if (firsts[d] != d || seen[d]) continue;
        if (best == p->n_devices || whole_ns[d] < whole_ns[best]) best = d;
    }
    return best;
}

// Marks the kinds that are searched over, from the fastest on, as long as the work is within bounds.
static void choose(const tn_search_problem *p, const uint32_t *firsts, const double *whole_ns, uint64_t work_max, bool *seen,
                   bool *is_chosen)
{
    uint64_t n_states = 1, n_kinds = 0;
    for (uint32_t d; (d = next_fastest(p, firsts, whole_ns, seen)) < p->n_devices;) {
        const uint64_t states = n_states * (count_of(firsts, p->n_devices, d) + 1), kinds = n_kinds + 1;
        seen[d] = true;
        if (kinds > TN_SEARCH_KINDS_MAX || states > TN_SEARCH_STATES_MAX) continue;
        if (states * kinds * kinds > work_max / ((uint64_t)p->n_units * p->n_units) && kinds > 2) continue;
        is_chosen[d] = true;
        n_states = states;
        n_kinds = kinds;
    }
}

// The last device of a kind.
static uint32_t last_of(const tn_search_problem *p, const tn_search_kinds *k, uint32_t kind)
{
    uint32_t device = p->n_devices;
    while (k->kind_of[--device] != kind) {}
    return device;
}

// Kinds in the order of their devices.
static void list(const tn_search_problem *p, const uint32_t *firsts, const bool *is_chosen, uint32_t n_tokens, tn_search_kinds *k)
{
    k->n = k->n_left_out = 0;
    k->n_states = 1;
    for (uint32_t d = 0; d < p->n_devices; d++) {
        k->kind_of[d] = TN_SEARCH_KINDS_MAX;
        k->n_left_out += !is_chosen[firsts[d]];
        if (!is_chosen[firsts[d]]) continue;
        if (firsts[d] != d) {
            k->kind_of[d] = k->kind_of[firsts[d]];
            continue;
        }
        k->kind_of[d] = k->n;
        k->kinds[k->n++] = (tn_search_device_kind){.first = d,
                                                   .n = count_of(firsts, p->n_devices, d),
                                                   .radix = k->n_states,
                                                   .segment_ns = p->segment_ns(p->ctx, d),
                                                   .shares_memory = tn_search_shares_memory(p, d)};
        k->n_states *= k->kinds[k->n - 1].n + 1;
    }
    for (uint32_t from = 0; from < k->n; from++) {
        for (uint32_t to = 0; to < k->n; to++)
            k->kinds[from].hop_ns[to] = p->hop_ns(p->ctx, k->kinds[from].first, last_of(p, k, to), n_tokens);
    }
}

tn_status tn_search_find_kinds(const tn_search_problem *p, uint32_t n_tokens, uint64_t work_max, tn_search_kinds *kinds)
{
    tn_status status;
    uint32_t *firsts = NULL;
    double *whole_ns = NULL;
    bool *marks = NULL; // of each device: was looked at, is chosen
    TN_TRY_GOTO(tn_alloc(p->n_devices, sizeof *firsts, &firsts));
    TN_TRY_GOTO(tn_alloc(p->n_devices, sizeof *whole_ns, &whole_ns));
    TN_TRY_GOTO(tn_alloc_zero(p->n_devices, 2 * sizeof *marks, &marks));
    find_firsts(p, n_tokens, firsts);
    for (uint32_t d = 0; d < p->n_devices; d++) whole_ns[d] = tn_search_whole_ns(p, TN_SEARCH_PASS_OWN, d, n_tokens);
    choose(p, firsts, whole_ns, work_max, marks, marks + p->n_devices);
    list(p, firsts, marks + p->n_devices, n_tokens, kinds);
    status = TN_OK;
fail:
    tn_free(firsts);
    tn_free(whole_ns);
    tn_free(marks);
    return status;
}
