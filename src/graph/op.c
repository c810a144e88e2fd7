// Names of ops, for messages and traces.
#include "graph/op.h"

#include <stdio.h>

const char *tn_op_name(tn_op op)
{
    switch (op) {
    case TN_OP_EMBED: return "embed";
    case TN_OP_NORM_QUANT: return "norm_quant";
    case TN_OP_QUANT: return "quant";
    case TN_OP_NORM: return "norm";
    case TN_OP_MATMUL_TERNARY: return "matmul_ternary";
    case TN_OP_MATMUL_DENSE: return "matmul_dense";
    case TN_OP_ROPE: return "rope";
    case TN_OP_KV_APPEND: return "kv_append";
    case TN_OP_ATTENTION: return "attention";
    case TN_OP_GLU: return "glu";
    case TN_OP_ADD: return "add";
    case TN_OP_COPY: return "copy";
    case TN_OP_COUNT_: break;
    }
    return "unknown";
}

void tn_node_trace_name(const tn_node *node, char name[32])
{
    if (!node->trace) {
        name[0] = '\0';
    } else if (node->layer == TN_LAYER_EMBED || node->layer == TN_LAYER_HEAD) {
        snprintf(name, 32, "%s", node->trace);
    } else {
        snprintf(name, 32, "L%d.%s", (int)node->layer, node->trace);
    }
}
