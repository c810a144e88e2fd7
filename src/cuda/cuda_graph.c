// Launches to graphs: a chain, in which each kernel waits for the one before: it begins when that has ended, or, on devices that can, when
// all blocks of that have begun, and waits itself (gpu.cuh).
#include "base/alloc.h"
#include "cuda/cuda_launch.h"

#include <inttypes.h>

static CUDA_KERNEL_NODE_PARAMS node_params_of(const tn_cuda_device *device, const tn_cuda_launch *launch, void **params)
{
    *params = (void *)(uintptr_t)launch->params;
    return (CUDA_KERNEL_NODE_PARAMS){.func = device->functions[launch->kernel],
                                     .gridDimX = launch->grid[0],
                                     .gridDimY = launch->grid[1],
                                     .gridDimZ = launch->grid[2],
                                     .blockDimX = tn_cuda_kernels[launch->kernel].threads,
                                     .blockDimY = 1,
                                     .blockDimZ = 1,
                                     .sharedMemBytes = launch->shared_bytes,
                                     .kernelParams = params};
}

// The edge to kernel i of a list from the one before it. The first one lets nobody begin: behind it the next would begin when its blocks
// are done, but what they stored is promised to nobody who does not wait, and kernels read the step before they wait.
static CUgraphEdgeData edge_to(const tn_cuda_device *device, uint32_t i)
{
    if (i == 1 || !device->traits.starts_early) return (CUgraphEdgeData){0};
    return (CUgraphEdgeData){.from_port = CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC, .type = CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC};
}

static tn_status add_nodes(tn_cuda_device *device, const tn_cuda_list *list, CUgraph graph)
{
    CUgraphNode last = NULL;
    for (uint32_t i = 0; i < list->n_launches; i++) {
        const tn_cuda_launch *launch = &list->launches[i];
        void *params;
        TN_TRY(tn_cuda_allow_shared(device, launch->kernel, launch->shared_bytes));
        const CUDA_KERNEL_NODE_PARAMS node_params = node_params_of(device, launch, &params);
        const CUgraphEdgeData edge = edge_to(device, i);
        CUgraphNode node;
        TN_TRY(TN_CUDA_CHECK(device->cu, device->cu->cuGraphAddKernelNode(&node, graph, NULL, 0, &node_params),
                             tn_cuda_kernels[launch->kernel].name));
        if (i > 0) TN_TRY(TN_CUDA_CHECK(device->cu, device->cu->cuGraphAddDependencies(graph, &last, &node, &edge, 1), "joining kernels"));
        last = node;
    }
    return TN_OK;
}

tn_status tn_cuda_graph_create(tn_cuda_device *device, tn_cuda_list *list)
{
    CUgraph graph;
    TN_TRY(TN_CUDA_CHECK(device->cu, device->cu->cuGraphCreate(&graph, 0), "making a graph"));
    tn_status status = add_nodes(device, list, graph);
    if (status == TN_OK)
        status = TN_CUDA_CHECK(device->cu, device->cu->cuGraphInstantiateWithFlags(&list->exec, graph, 0), "making a graph ready");
    if (status != TN_OK) list->exec = NULL;
    device->cu->cuGraphDestroy(graph);
    return status;
}

tn_status tn_cuda_launch_one(tn_cuda_device *device, const tn_cuda_launch *launch)
{
    void *params;
    const CUDA_KERNEL_NODE_PARAMS p = node_params_of(device, launch, &params);
    return TN_CUDA_CHECK(device->cu,
                         device->cu->cuLaunchKernel(p.func, p.gridDimX, p.gridDimY, p.gridDimZ, p.blockDimX, 1, 1, p.sharedMemBytes,
                                                    device->stream, p.kernelParams, NULL),
                         tn_cuda_kernels[launch->kernel].name);
}

void tn_cuda_graph_destroy(tn_cuda_device *device, tn_cuda_list *list)
{
    if (list->exec) device->cu->cuGraphExecDestroy(list->exec);
    list->exec = NULL;
}

// ---- timed ----

tn_status tn_cuda_times_create(tn_cuda_device *device, uint32_t n_events, tn_cuda_times *out_times)
{
    *out_times = (tn_cuda_times){0};
    TN_TRY(tn_alloc_zero(n_events, sizeof *out_times->events, &out_times->events));
    for (; out_times->n < n_events; out_times->n++)
        TN_TRY(TN_CUDA_CHECK(device->cu, device->cu->cuEventCreate(&out_times->events[out_times->n], CU_EVENT_DEFAULT), "making an event"));
    return TN_OK;
}

void tn_cuda_times_give_back(tn_cuda_device *device, tn_cuda_times *times)
{
    for (uint32_t i = 0; i < times->n; i++) device->cu->cuEventDestroy(times->events[i]);
    times->n = 0;
}

tn_status tn_cuda_launch_timed(tn_cuda_device *device, const tn_cuda_list *list, const tn_cuda_times *times)
{
    TN_TRY(TN_CUDA_CHECK(device->cu, device->cu->cuEventRecord(times->events[0], device->stream), "recording an event"));
    for (uint32_t i = 0; i < list->n_launches; i++) {
        TN_TRY(tn_cuda_launch_one(device, &list->launches[i]));
        TN_TRY(TN_CUDA_CHECK(device->cu, device->cu->cuEventRecord(times->events[i + 1], device->stream), "recording an event"));
    }
    return TN_OK;
}

// Shares the time of a launch among its nodes.
static void add_time(const tn_cuda_launch *launch, uint64_t ns, uint64_t *node_ns)
{
    uint64_t parts = 0;
    for (uint32_t i = 0; i < 3; i++) parts += launch->nodes[i] != TN_NONE ? launch->parts[i] : 0;
    for (uint32_t i = 0; i < 3 && parts > 0; i++) {
        if (launch->nodes[i] != TN_NONE) node_ns[launch->nodes[i]] += ns * launch->parts[i] / parts;
    }
}

tn_status tn_cuda_times_add(tn_cuda_device *device, const tn_cuda_list *list, const tn_cuda_times *times, uint64_t *node_ns)
{
    for (uint32_t i = 0; i < list->n_launches; i++) {
        float ms;
        TN_TRY(TN_CUDA_CHECK(device->cu, device->cu->cuEventElapsedTime(&ms, times->events[i], times->events[i + 1]), "reading an event"));
        add_time(&list->launches[i], (uint64_t)((double)ms * 1e6), node_ns);
    }
    return TN_OK;
}
