// Ops of GPU backends, one by one.
#include "backend/op_check.h"

enum { HEAD_DIM_MAX = 256, GROUP_HEADS_MAX = 16 };

static tn_status check_head_dim(const tn_device *device, const tn_node *node, uint32_t head_dim)
{
    if (head_dim >= 2 && head_dim % 2 == 0 && head_dim <= HEAD_DIM_MAX) return TN_OK;
    return tn_fail(TN_UNSUPPORTED, "%s: heads of %u dimensions; %s needs an even number up to %u", tn_op_name(node->op), (unsigned)head_dim,
                   device->name, (unsigned)HEAD_DIM_MAX);
}

static tn_status check_attention(const tn_device *device, const tn_node *node)
{
    const uint32_t n_kv_heads = node->p.attention.n_kv_heads, heads = n_kv_heads ? node->p.attention.n_heads / n_kv_heads : 0;
    TN_TRY(check_head_dim(device, node, node->p.attention.head_dim));
    if (node->op == TN_OP_ATTENTION && heads > GROUP_HEADS_MAX)
        return tn_fail(TN_UNSUPPORTED, "%s: %u query heads share a KV head; %s takes up to %u", tn_op_name(node->op), (unsigned)heads,
                       device->name, (unsigned)GROUP_HEADS_MAX);
    return TN_OK;
}

static tn_status check_gains(const tn_device *device, const tn_weight_source *source)
{
    const tn_dtype_info *type = tn_dtype_get(source->dtype);
    if (type->block_elements <= 1) return TN_OK;
    return tn_fail(TN_UNSUPPORTED, "%s: %s takes gains as F32, F16 or BF16, not as %s", source->name, device->name, type->name);
}

tn_status tn_op_check(const tn_device *device, const tn_graph *graph, const tn_node *node)
{
    if ((unsigned)node->op >= TN_OP_COUNT_) return tn_fail(TN_UNSUPPORTED, "%s does not know op %d", device->name, (int)node->op);
    switch (node->op) {
    case TN_OP_KV_APPEND:
    case TN_OP_ATTENTION: return check_attention(device, node);
    case TN_OP_ROPE: return check_head_dim(device, node, node->p.rope.head_dim);
    case TN_OP_NORM:
    case TN_OP_NORM_QUANT: return node->weight == TN_NONE ? TN_OK : check_gains(device, &graph->weights[node->weight]);
    default: return TN_OK;
    }
}
