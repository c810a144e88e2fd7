// Which ops a Vulkan device runs, and why not.
#include "backend/op_check.h"
#include "vulkan/vk_pack.h"
#include "vulkan/vk_program.h"

tn_status tn_vk_op_supported(tn_device *device, const tn_graph *graph, const tn_node *node)
{
    tn_vk_weight_shape shape;
    TN_TRY(tn_op_check(device, graph, node));
    return node->weight == TN_NONE ? TN_OK : tn_vk_weight_shape_of(&graph->weights[node->weight], &shape);
}
