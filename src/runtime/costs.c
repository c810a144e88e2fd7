// Costs of tokens: a sum over the graph's nodes.
#include "runtime/costs.h"

#include <stdio.h>
#include <string.h>

// Adds a layout's name to a list of them, once.
static void add_name(char *list, size_t capacity, const char *name)
{
    const size_t n = strlen(name), used = strlen(list);
    for (const char *at = list; (at = strstr(at, name)) != NULL; at += n) {
        if ((at == list || at[-1] == ',') && (at[n] == '\0' || at[n] == ',')) return;
    }
    snprintf(list + used, capacity - used, "%s%s", used ? "," : "", name);
}

// Whether products with this type are of int8 values (docs/design/0001-numerics.md, dense products).
static bool is_int8(tn_dtype dtype) { return dtype == TN_DTYPE_Q8_0 || dtype == TN_DTYPE_Q4_0 || dtype == TN_DTYPE_Q6_K; }

static void add_weight(tn_session_costs *costs, const tn_node *node, const tn_weight_source *source, const tn_weight_layout *layout)
{
    const uint64_t products = (uint64_t)source->n_rows * source->n_cols, bytes = layout->size_bytes - layout->screen_bytes;
    switch (node->op) {
    case TN_OP_EMBED: costs->token_bytes += bytes / source->n_rows; break;
    case TN_OP_MATMUL_TERNARY:
        costs->ternary_bytes += bytes;
        costs->ternary_products += products;
        add_name(costs->ternary_layout, sizeof costs->ternary_layout, layout->name);
        break;
    case TN_OP_MATMUL_DENSE:
        costs->head_bytes += bytes;
        if (is_int8(source->dtype)) costs->head_products += products;
        add_name(costs->head_layout, sizeof costs->head_layout, layout->name);
        break;
    case TN_OP_NORM:
    case TN_OP_NORM_QUANT: costs->other_bytes += bytes; break;
    default: break;
    }
}

tn_session_costs tn_costs_of(const tn_plan_run *run, const tn_graph *graph)
{
    tn_session_costs costs = TN_SESSION_COSTS_INIT;
    uint32_t table = TN_NONE;
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        const tn_node *node = &graph->nodes[i];
        const tn_weight_layout *layout = tn_plan_run_layout(run, node);
        if (layout) add_weight(&costs, node, &graph->weights[node->weight], layout);
        if (node->op == TN_OP_ROPE && layout && table != node->weight) { // all layers take the same row
            table = node->weight;
            costs.token_bytes += layout->size_bytes / graph->weights[table].n_rows;
        }
        if (node->op != TN_OP_ATTENTION) continue;
        costs.kv_position_bytes += tn_kv_page_layer_bytes(graph->n_kv_heads, graph->head_dim) / TN_KV_PAGE_POSITIONS;
        costs.attention_products += 2 * (uint64_t)node->p.attention.n_heads * node->p.attention.head_dim;
    }
    return costs;
}

tn_session_profile_entry tn_costs_profile_entry(tn_plan_run *run, const tn_graph *graph, uint32_t index)
{
    const tn_node *node = &graph->nodes[index];
    const tn_weight_layout *layout = tn_plan_run_layout(run, node);
    const bool whole = layout && node->op != TN_OP_EMBED && node->op != TN_OP_ROPE;
    return (tn_session_profile_entry){
        .op = tn_op_name(node->op),
        .name = layout ? graph->weights[node->weight].name : "",
        .layer = node->layer == TN_LAYER_HEAD ? (int32_t)graph->n_layers : node->layer,
        .ns = tn_plan_run_stats(run).node_ns[index],
        .weight_bytes = whole ? layout->size_bytes - layout->screen_bytes : 0,
        .layout = layout ? layout->name : "",
    };
}
