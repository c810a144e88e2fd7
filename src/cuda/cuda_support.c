// Which ops a CUDA device runs, and why not.
#include "backend/op_check.h"
#include "cuda/cuda_pack.h"
#include "cuda/cuda_program.h"

tn_status tn_cuda_op_supported(tn_device *device, const tn_graph *graph, const tn_node *node)
{
    tn_cuda_weight_shape shape;
    TN_TRY(tn_op_check(device, graph, node));
    return node->weight == TN_NONE ? TN_OK : tn_cuda_weight_shape_of(&graph->weights[node->weight], &shape);
}
