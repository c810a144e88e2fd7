// The layouts that a placement's devices give to the model's weights, without packing them.
#include "base/alloc.h"
#include "base/checked.h"
#include "model/model_internal.h"
#include "runtime/host.h"
#include "runtime/placement_internal.h"
#include "runtime/two_stage.h"

#include <string.h>

enum { LAYOUTS_MAX = 64 };

typedef struct layouts {
    uint32_t n;
    tn_layout_info list[LAYOUTS_MAX];
} layouts;

static tn_status add(layouts *all, const char *device, const tn_weight_source *source, const tn_weight_layout *layout)
{
    const bool is_ternary = source->kind == TN_WEIGHT_TERNARY;
    uint32_t i = 0;
    while (i < all->n && (strcmp(all->list[i].device, device) != 0 || strcmp(all->list[i].layout, layout->name) != 0 ||
                          all->list[i].is_ternary != is_ternary))
        i++;
    if (i == LAYOUTS_MAX) return tn_fail(TN_INTERNAL, "more than %d layouts of weights", (int)LAYOUTS_MAX);
    if (i == all->n) all->list[all->n++] = (tn_layout_info){.device = device, .layout = layout->name, .is_ternary = is_ternary};
    tn_layout_info *info = &all->list[i];
    info->n_weights++;
    info->n_elements += (uint64_t)source->n_rows * source->n_cols;
    if (!tn_ckd_add(info->size_bytes, layout->size_bytes, &info->size_bytes))
        return tn_fail(TN_BAD_FILE, "the model's weights are larger than any memory");
    return TN_OK;
}

// `seen` [n_devices][n_weights]: a weight that several nodes use is packed once for each device.
static tn_status collect(const tn_placement *placement, uint32_t replica, const tn_graph *graph, uint8_t *seen, layouts *all)
{
    uint32_t n_descs;
    const uint32_t *devices = tn_placement_devices(placement, replica);
    const tn_device_desc *descs = tn_host_descs(placement->host, &n_descs);
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        const tn_node *node = &graph->nodes[i];
        if (node->weight == TN_NONE) continue;
        const uint32_t index = devices[tn_node_unit(graph, node)];
        uint8_t *place = &seen[(size_t)index * graph->n_weights + node->weight];
        if (*place) continue;
        *place = 1;
        tn_device *device;
        tn_weight_layout layout;
        TN_TRY(tn_host_device(placement->host, index, NULL, &device));
        TN_TRY(device->backend->op_supported(device, graph, node));
        TN_TRY(device->backend->weight_layout(device, &graph->weights[node->weight], &layout));
        TN_TRY(add(all, descs[index].name, &graph->weights[node->weight], &layout));
    }
    return TN_OK;
}

tn_status tn_placement_layouts(const tn_placement *placement, void (*told)(void *user, const tn_layout_info *layout), void *user)
{
    TN_REQUIRE(placement);
    TN_REQUIRE(told);
    const tn_graph *graph = tn_model_graph(placement->model);
    layouts all = {.n = 0};
    uint32_t n_devices;
    uint8_t *seen;
    tn_host_descs(placement->host, &n_devices);
    TN_TRY(tn_alloc_zero((size_t)n_devices * graph->n_weights, 1, &seen));
    tn_status status = TN_OK;
    for (uint32_t r = 0; r < placement->n_replicas && status == TN_OK; r++) status = collect(placement, r, graph, seen, &all);
    tn_free(seen);
    for (uint32_t i = 0; status == TN_OK && i < all.n; i++) told(user, &all.list[i]);
    return status;
}

// Bytes of the head's copy on each device that keeps the head's matrix.
static tn_status add_copies(const tn_placement *placement, uint32_t replica, const tn_graph *graph, uint64_t *bytes)
{
    const uint32_t *devices = tn_placement_devices(placement, replica);
    const tn_weight_source *head = tn_two_stage_head(graph);
    tn_device *last = NULL;
    for (uint32_t i = 0; head && i < graph->n_nodes; i++) {
        const tn_node *node = &graph->nodes[i];
        tn_device *device;
        tn_weight_layout layout;
        if (node->weight == TN_NONE || &graph->weights[node->weight] != head) continue;
        TN_TRY(tn_host_device(placement->host, devices[tn_node_unit(graph, node)], NULL, &device));
        if (device == last) continue; // the embedding and the head, where they are one
        last = device;
        TN_TRY(device->backend->op_supported(device, graph, node));
        TN_TRY(device->backend->weight_layout(device, head, &layout));
        *bytes += layout.screen_bytes;
    }
    return TN_OK;
}

tn_status tn_placement_two_stage_bytes(const tn_placement *placement, const char *two_stage, uint64_t *out_bytes)
{
    TN_REQUIRE(placement);
    TN_REQUIRE(out_bytes);
    *out_bytes = 0;
    tn_graph graph = *tn_model_graph(placement->model);
    tn_weight_source *weights;
    TN_TRY(tn_alloc(graph.n_weights, sizeof *weights, &weights));
    memcpy(weights, graph.weights, graph.n_weights * sizeof *weights);
    graph.weights = weights;
    tn_status status = tn_two_stage_set(&graph, two_stage);
    for (uint32_t r = 0; r < placement->n_replicas && status == TN_OK; r++) status = add_copies(placement, r, &graph, out_bytes);
    tn_free(weights);
    return status;
}
