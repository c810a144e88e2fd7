// Layers that are placed by the names of their tensors: what users of -ot write.
#include "base/alloc.h"
#include "base/str.h"
#include "scheduler/place.h"
#include "scheduler/place_internal.h"

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>

static void name_unit(const tn_graph *graph, uint32_t unit, char *text, size_t capacity)
{
    if (unit == 0)
        snprintf(text, capacity, "the embedding");
    else if (unit > graph->n_layers)
        snprintf(text, capacity, "the head");
    else
        snprintf(text, capacity, "layer %u", (unsigned)unit - 1);
}

// Matrices of a unit, and those that the expression fits: of a file's tensors, and no vectors, which go with the rest.
static void count_fitting(const tn_graph *graph, const regex_t *regex, uint32_t unit, uint32_t *out_n, uint32_t *out_n_fitting)
{
    *out_n = *out_n_fitting = 0;
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        const tn_node *node = &graph->nodes[i];
        if (node->weight == TN_NONE || tn_node_unit(graph, node) != unit) continue;
        const tn_weight_source *weight = &graph->weights[node->weight];
        if (weight->kind == TN_WEIGHT_TABLE || weight->n_rows == 1) continue;
        ++*out_n;
        *out_n_fitting += regexec(regex, weight->name, 0, NULL, 0) == 0;
    }
}

// Gives the units that the expression fits and nobody has yet to `device`.
static tn_status move_units(const char *text, const tn_graph *graph, const regex_t *regex, uint32_t device, bool *taken, uint32_t *devices)
{
    bool any = false;
    char name[32];
    for (uint32_t unit = 0; unit < graph->n_layers + 2; unit++) {
        uint32_t n, n_fitting;
        count_fitting(graph, regex, unit, &n, &n_fitting);
        if (n_fitting == 0) continue;
        any = true;
        name_unit(graph, unit, name, sizeof name);
        if (n_fitting < n)
            return tn_fail(TN_INVALID_ARGUMENT,
                           "%.100s fits %u of the %u matrices of %s: layers are placed whole: fit all of them, as blk\\.3\\. does", text,
                           (unsigned)n_fitting, (unsigned)n, name);
        if (!taken[unit]) devices[unit] = device;
        taken[unit] = true;
    }
    if (any) return TN_OK;
    return tn_fail(TN_NOT_FOUND,
                   "%.100s fits no tensor: their names are like blk.0.attn_q.weight and output.weight (ternion show --tensors)", text);
}

static tn_status override_one(const char *text, const tn_graph *graph, const tn_device_desc *descs, uint32_t n_descs, bool *taken,
                              uint32_t *devices)
{
    char pattern[256], reason[128];
    uint32_t device;
    regex_t regex;
    const char *equals = strrchr(text, '=');
    if (!equals || equals == text || !equals[1] || (size_t)(equals - text) >= sizeof pattern)
        return tn_fail(TN_INVALID_ARGUMENT, "'%.100s' moves no tensors: write REGEX=DEVICE, like 'blk\\.[0-9]\\.=cpu0'", text);
    TN_TRY(tn_place_find_usable(tn_place_trimmed(tn_str_of(equals + 1)), descs, n_descs, &device));
    snprintf(pattern, sizeof pattern, "%.*s", (int)(equals - text), text);
    const int error = regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB);
    if (error) {
        regerror(error, &regex, reason, sizeof reason);
        return tn_fail(TN_INVALID_ARGUMENT, "'%.100s' is no regular expression: %s", pattern, reason);
    }
    const tn_status status = move_units(text, graph, &regex, device, taken, devices);
    regfree(&regex);
    return status;
}

tn_status tn_place_override(const char *const *overrides, uint32_t n_overrides, const tn_graph *graph, const tn_device_desc *descs,
                            uint32_t n_descs, uint32_t *devices)
{
    bool *taken;
    tn_status status = TN_OK;
    if (n_overrides == 0) return TN_OK;
    TN_TRY(tn_alloc_zero((size_t)graph->n_layers + 2, sizeof *taken, &taken));
    for (uint32_t i = 0; i < n_overrides && status == TN_OK; i++)
        status = override_one(overrides[i], graph, descs, n_descs, taken, devices);
    tn_free(taken);
    return status;
}
