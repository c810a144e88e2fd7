// Cutting a graph into segments.
#include "graph/plan.h"

#include "base/alloc.h"

// The one value that nodes from `cut` on take from nodes before it.
static tn_status live_value(const tn_graph *graph, uint32_t cut, uint32_t *out_value)
{
    uint32_t n_before = graph->n_values;
    for (uint32_t i = cut; i < graph->n_nodes; i++) {
        if (graph->nodes[i].out != TN_NONE) {
            n_before = graph->nodes[i].out;
            break;
        }
    }
    uint32_t live = TN_NONE;
    for (uint32_t i = cut; i < graph->n_nodes; i++) {
        for (uint32_t k = 0; k < 2; k++) {
            uint32_t value = graph->nodes[i].in[k];
            if (value == TN_NONE || value >= n_before || value == live) continue;
            if (live != TN_NONE)
                return tn_fail(TN_INTERNAL, "two values (%u and %u) are live before graph node %u", (unsigned)live, (unsigned)value,
                               (unsigned)cut);
            live = value;
        }
    }
    if (live == TN_NONE || graph->values[live].type != TN_VALUE_F32)
        return tn_fail(TN_INTERNAL, "no f32 value is live before graph node %u", (unsigned)cut);
    *out_value = live;
    return TN_OK;
}

static void extend(tn_segment *segment, const tn_node *node)
{
    segment->n_nodes++;
    if (node->layer == TN_LAYER_EMBED || node->layer == TN_LAYER_HEAD) return;
    if (segment->n_layers == 0) segment->first_layer = node->layer;
    segment->n_layers = (uint32_t)(node->layer - segment->first_layer) + 1;
}

tn_status tn_plan_create(const tn_graph *graph, const uint32_t *devices, tn_plan **out_plan)
{
    *out_plan = NULL;
    tn_status status;
    tn_plan *plan;
    TN_TRY(tn_alloc_zero(1, sizeof *plan, &plan));
    TN_TRY_GOTO(tn_alloc_zero((size_t)graph->n_layers + 2, sizeof *plan->segments, &plan->segments));
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        uint32_t device = devices[tn_node_unit(graph, &graph->nodes[i])];
        tn_segment *last = plan->n_segments ? &plan->segments[plan->n_segments - 1] : NULL;
        if (!last || last->device != device) {
            tn_segment *next = &plan->segments[plan->n_segments++];
            // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): allocated above, through a pointer that the analyzer does not follow
            *next = (tn_segment){.device = device, .first_node = i, .in_value = TN_NONE};
            if (last) {
                TN_TRY_GOTO(live_value(graph, i, &next->in_value));
                last->out_value = next->in_value;
            }
            last = next;
        }
        extend(last, &graph->nodes[i]);
    }
    plan->segments[plan->n_segments - 1].out_value = graph->nodes[graph->n_nodes - 1].out;
    *out_plan = plan;
    return TN_OK;
fail:
    tn_plan_destroy(plan);
    return status;
}

void tn_plan_destroy(tn_plan *plan)
{
    if (!plan) return;
    tn_free(plan->segments);
    tn_free(plan);
}
