// Building graphs: arrays that grow, one call for each weight and node.
#include "graph/graph.h"

#include "base/alloc.h"

tn_status tn_graph_create(tn_graph **out_graph)
{
    *out_graph = NULL;
    return tn_alloc_zero(1, sizeof(tn_graph), out_graph);
}

void tn_graph_destroy(tn_graph *graph)
{
    if (!graph) return;
    tn_free(graph->values);
    tn_free(graph->nodes);
    tn_free(graph->weights);
    tn_free(graph);
}

tn_status tn_graph_add_weight(tn_graph *graph, const tn_weight_source *source, uint32_t *out)
{
    TN_TRY(tn_grow(&graph->weights, &graph->weights_capacity, (size_t)graph->n_weights + 1, sizeof *graph->weights));
    *out = graph->n_weights;
    graph->weights[graph->n_weights++] = *source;
    return TN_OK;
}

tn_status tn_graph_add_node(tn_graph *graph, const tn_node *node, tn_value_type type, uint32_t width, uint32_t *out_value)
{
    TN_TRY(tn_grow(&graph->nodes, &graph->nodes_capacity, (size_t)graph->n_nodes + 1, sizeof *graph->nodes));
    TN_TRY(tn_grow(&graph->values, &graph->values_capacity, (size_t)graph->n_values + 1, sizeof *graph->values));
    tn_node *added = &graph->nodes[graph->n_nodes];
    *added = *node;
    added->out = TN_NONE;
    if (node->op != TN_OP_KV_APPEND) {
        tn_value value = {type, TN_ROWS_TOKENS, width};
        if (node->op == TN_OP_COPY) {
            value.rows = TN_ROWS_LOGITS;
        } else if (node->in[0] != TN_NONE && node->in[0] < graph->n_values) {
            value.rows = graph->values[node->in[0]].rows;
        }
        added->out = graph->n_values;
        graph->values[graph->n_values++] = value;
    }
    graph->n_nodes++;
    if (out_value) *out_value = added->out;
    return TN_OK;
}
