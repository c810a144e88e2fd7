// Which heads get a copy that screens them.
#include "runtime/two_stage.h"

#include <strings.h>

// A head of 2 MiB, which no memory is read for, gains too: int8 products are faster than those of floats. Smaller ones were not measured.
static const uint64_t bytes_min = (uint64_t)1 << 20;
enum { GROUP = 32 }; // columns that share a scale of the copy

static bool is_float(tn_dtype dtype) { return dtype == TN_DTYPE_F32 || dtype == TN_DTYPE_F16 || dtype == TN_DTYPE_BF16; }

tn_weight_source *tn_two_stage_head(const tn_graph *graph)
{
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        if (graph->nodes[i].op == TN_OP_MATMUL_DENSE) return &graph->weights[graph->nodes[i].weight];
    }
    return NULL;
}

bool tn_two_stage_pays(const tn_weight_source *head)
{
    return is_float(head->dtype) && head->n_cols % GROUP == 0 && tn_dtype_row_bytes(head->dtype, head->n_cols) * head->n_rows >= bytes_min;
}

static tn_status check(const tn_weight_source *head)
{
    if (!is_float(head->dtype)) {
        return tn_fail(
            TN_INVALID_ARGUMENT,
            "the head '%s' is %s: two stages gain only where the first one reads less, with a head of F32, F16 or BF16; use auto or "
            "off",
            head->name, tn_dtype_get(head->dtype)->name);
    }
    if (head->n_cols % GROUP != 0) {
        return tn_fail(TN_INVALID_ARGUMENT, "the head '%s' has rows of %u values, and two stages need a multiple of %d: use auto or off",
                       head->name, head->n_cols, (int)GROUP);
    }
    return TN_OK;
}

tn_status tn_two_stage_set(const tn_graph *graph, const char *name)
{
    tn_weight_source *head = tn_two_stage_head(graph);
    if (!name || strcasecmp(name, "off") == 0) return TN_OK;
    if (strcasecmp(name, "auto") == 0) {
        if (head && tn_two_stage_pays(head)) head->screening = TN_SCREENING_AUTO;
        return TN_OK;
    }
    if (strcasecmp(name, "on") != 0)
        return tn_fail(TN_INVALID_ARGUMENT, "the two-stage head can not be '%.40s': auto, on or off are known", name);
    if (!head) return tn_fail(TN_INVALID_ARGUMENT, "the model has no head that two stages could compute: use auto or off");
    TN_TRY(check(head));
    head->screening = TN_SCREENING_ALWAYS;
    return TN_OK;
}
