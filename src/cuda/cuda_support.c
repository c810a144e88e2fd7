// Which ops a CUDA device runs, and why not.
#include "cuda/cuda_pack.h"
#include "cuda/cuda_program.h"

enum { HEAD_DIM_MAX = 256, GROUP_HEADS_MAX = 16 };

static tn_status check_attention(const tn_cuda_device *device, const tn_node *node)
{
    const uint32_t head_dim = node->p.attention.head_dim,
                   heads = node->p.attention.n_kv_heads ? node->p.attention.n_heads / node->p.attention.n_kv_heads : 0;
    if (head_dim < 2 || head_dim % 2 != 0 || head_dim > HEAD_DIM_MAX)
        return tn_fail(TN_UNSUPPORTED, "%s: heads of %u dimensions; %s needs an even number up to %u", tn_op_name(node->op),
                       (unsigned)head_dim, device->name, (unsigned)HEAD_DIM_MAX);
    if (node->op == TN_OP_ATTENTION && heads > GROUP_HEADS_MAX)
        return tn_fail(TN_UNSUPPORTED, "%s: %u query heads share a KV head; %s takes up to %u", tn_op_name(node->op), (unsigned)heads,
                       device->name, (unsigned)GROUP_HEADS_MAX);
    return TN_OK;
}

tn_status tn_cuda_op_supported(tn_device *base, const tn_graph *graph, const tn_node *node)
{
    const tn_cuda_device *device = tn_cuda_device_of(base);
    if ((unsigned)node->op >= TN_OP_COUNT_) return tn_fail(TN_UNSUPPORTED, "%s does not know op %d", device->name, (int)node->op);
    if (node->op == TN_OP_KV_APPEND || node->op == TN_OP_ATTENTION) return check_attention(device, node);
    if (node->weight == TN_NONE) return TN_OK;
    const tn_weight_source *source = &graph->weights[node->weight];
    const bool is_gains = node->op == TN_OP_NORM || node->op == TN_OP_NORM_QUANT;
    if (is_gains && tn_dtype_get(source->dtype)->block_elements > 1)
        return tn_fail(TN_UNSUPPORTED, "%s: %s takes gains as F32, F16 or BF16, not as %s", source->name, device->name,
                       tn_dtype_get(source->dtype)->name);
    tn_cuda_weight_shape shape;
    return tn_cuda_weight_shape_of(source, &shape);
}
