// Places weights one after another in as few buffers as the device allows, packs them, and keeps them in files.
#include "runtime/plan_weights.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/log.h"

// ---- places ----

static void free_areas(tn_plan_weights *weights)
{
    for (uint32_t a = 0; a < weights->n_areas; a++) {
        tn_weight_area *area = &weights->areas[a];
        if (area->buffer) area->buffer->device->backend->buffer_destroy(area->buffer);
        tn_file_map_close(&area->map);
    }
    weights->n_areas = 0;
}

void tn_plan_weights_deinit(tn_plan_weights *weights)
{
    free_areas(weights);
    tn_free(weights->areas);
    tn_free(weights->packed);
    tn_free(weights->area_of);
    *weights = (tn_plan_weights){0};
}

// Where the weight begins in an area, and where it ends.
static tn_status fit(const tn_weight_area *area, const tn_weight_layout *layout, uint64_t *out_at, uint64_t *out_end)
{
    if (tn_ckd_round_up(area->size_bytes, layout->alignment_bytes, out_at) && tn_ckd_add(*out_at, layout->size_bytes, out_end))
        return TN_OK;
    return tn_fail(TN_BAD_FILE, "the model's weights are larger than any memory");
}

// The area of the kind that is being filled, or a new one where the weight would make it larger than a buffer of the device may be.
static tn_status area_for(tn_plan_weights *weights, bool is_kept, const tn_weight_layout *layout, uint32_t *out_area)
{
    const uint64_t limit = weights->device->buffer_bytes_max ? weights->device->buffer_bytes_max : UINT64_MAX;
    uint64_t at, end;
    for (uint32_t a = weights->n_areas; a-- > 0;) {
        if (weights->areas[a].is_kept != is_kept) continue;
        TN_TRY(fit(&weights->areas[a], layout, &at, &end));
        if (end > limit) break;
        *out_area = a;
        return TN_OK;
    }
    TN_TRY(tn_grow(&weights->areas, &weights->areas_capacity, (size_t)weights->n_areas + 1, sizeof *weights->areas));
    weights->areas[weights->n_areas] = (tn_weight_area){.is_kept = is_kept};
    *out_area = weights->n_areas++;
    return TN_OK;
}

static tn_status lay_out(tn_plan_weights *weights, uint32_t index)
{
    const tn_weight_source *source = &weights->graph->weights[index];
    tn_packed_weight *packed = &weights->packed[index];
    uint64_t end;
    if (packed->layout.size_bytes) return TN_OK;
    TN_TRY(weights->device->backend->weight_layout(weights->device, source, &packed->layout));
    TN_TRY(area_for(weights, weights->cache && tn_plan_cache_keeps(source), &packed->layout, &weights->area_of[index]));
    tn_weight_area *area = &weights->areas[weights->area_of[index]];
    TN_TRY(fit(area, &packed->layout, &packed->offset_bytes, &end));
    area->size_bytes = end;
    return TN_OK;
}

// Places all weights of the device anew.
static tn_status lay_out_all(tn_plan_weights *weights, bool (*uses)(const void *ctx, uint32_t node), const void *ctx)
{
    const tn_graph *graph = weights->graph;
    free_areas(weights);
    if (!weights->packed) TN_TRY(tn_alloc_zero(graph->n_weights, sizeof *weights->packed, &weights->packed));
    if (!weights->area_of) TN_TRY(tn_alloc_zero(graph->n_weights, sizeof *weights->area_of, &weights->area_of));
    for (uint32_t i = 0; i < graph->n_weights; i++) weights->packed[i] = (tn_packed_weight){0};
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        if (graph->nodes[i].weight != TN_NONE && uses(ctx, i)) TN_TRY(lay_out(weights, graph->nodes[i].weight));
    }
    return TN_OK;
}

// ---- files ----

// The key of the file that keeps one area.
static tn_status area_key(const tn_plan_weights *weights, uint32_t area, tn_pack_key *out_key)
{
    const uint32_t n = weights->graph->n_weights;
    tn_packed_weight *inside;
    TN_TRY(tn_alloc_zero(n, sizeof *inside, &inside));
    for (uint32_t i = 0; i < n; i++) {
        if (weights->packed[i].layout.size_bytes && weights->area_of[i] == area) inside[i] = weights->packed[i];
    }
    const tn_status status =
        tn_plan_cache_key(weights->cache, weights->device, weights->graph, inside, weights->areas[area].size_bytes, out_key);
    tn_free(inside);
    return status;
}

// The device has its own copy: with the file too the weights would be in memory twice. A file that was cut short meanwhile is as none.
static void close_copied(const tn_plan_weights *weights, tn_weight_area *area)
{
    if (tn_file_map_check(&area->map, weights->cache->folder) != TN_OK) {
        area->buffer->device->backend->buffer_destroy(area->buffer);
        area->buffer = NULL;
        area->is_mapped = false;
    }
    tn_file_map_close(&area->map);
}

// Maps the areas whose files are there; whether that is all that may be kept.
static tn_status map_kept(tn_plan_weights *weights, bool *out_all)
{
    uint32_t n_kept = 0, n_mapped = 0;
    for (uint32_t a = 0; a < weights->n_areas; a++) {
        tn_weight_area *area = &weights->areas[a];
        tn_pack_key key;
        if (!area->is_kept) continue;
        TN_TRY(area_key(weights, a, &key));
        tn_plan_cache_map(weights->cache, weights->device, &key, &area->map, &area->buffer);
        area->is_mapped = area->buffer != NULL;
        if (area->is_mapped && weights->device->copies_maps) close_copied(weights, area);
        tn_pack_key_deinit(&key);
        n_kept++;
        n_mapped += area->is_mapped;
    }
    *out_all = n_kept > 0 && n_mapped == n_kept;
    return TN_OK;
}

// A file that an earlier session wrote is looked for in each form that the device might choose, so that it need not measure which one that
// is, and does not pack again where it would measure differently today.
static tn_status choose_places(tn_plan_weights *weights, bool (*uses)(const void *ctx, uint32_t node), const void *ctx)
{
    tn_device *device = weights->device;
    uint32_t n_looked = 0;
    bool all;
    const bool maps = weights->cache && !device->copies_maps; // else tn_plan_weights_copy_kept does, later
    while (maps && device->backend->packing_assume(device, n_looked)) {
        TN_TRY(lay_out_all(weights, uses, ctx));
        TN_TRY(map_kept(weights, &all));
        if (all) return TN_OK;
        n_looked++;
    }
    TN_TRY(lay_out_all(weights, uses, ctx));
    return maps && n_looked == 0 ? map_kept(weights, &all) : TN_OK;
}

tn_status tn_plan_weights_copy_kept(tn_plan_weights *weights)
{
    bool all;
    return weights->packed && weights->cache && weights->device->copies_maps ? map_kept(weights, &all) : TN_OK;
}

tn_status tn_plan_weights_place(tn_plan_weights *weights, bool (*uses)(const void *ctx, uint32_t node), const void *ctx)
{
    TN_TRY(choose_places(weights, uses, ctx));
    for (uint32_t i = 0; i < weights->graph->n_weights; i++) {
        if (!weights->packed[i].layout.size_bytes) continue;
        tn_weight_area *area = &weights->areas[weights->area_of[i]];
        area->sketch = (tn_buffer){weights->device, area->size_bytes};
        weights->packed[i].buffer = area->buffer ? area->buffer : &area->sketch;
    }
    return TN_OK;
}

tn_status tn_plan_weights_check_intact(const tn_plan_weights *weights)
{
    for (uint32_t a = 0; weights->cache && a < weights->n_areas; a++)
        TN_TRY(tn_file_map_check(&weights->areas[a].map, weights->cache->folder));
    return TN_OK;
}

// ---- packing ----

uint64_t tn_plan_weights_bytes(const tn_plan_weights *weights)
{
    uint64_t bytes = 0;
    for (uint32_t a = 0; a < weights->n_areas; a++) bytes += weights->areas[a].size_bytes;
    return bytes;
}

uint64_t tn_plan_weights_to_pack(const tn_plan_weights *weights)
{
    uint64_t bytes = 0;
    for (uint32_t a = 0; a < weights->n_areas; a++) bytes += weights->areas[a].is_mapped ? 0 : weights->areas[a].size_bytes;
    return bytes;
}

static tn_status pack_all(tn_plan_weights *weights, tn_pack_progress *progress)
{
    const tn_graph *graph = weights->graph;
    for (uint32_t i = 0; i < graph->n_weights; i++) {
        tn_packed_weight *packed = &weights->packed[i];
        if (!packed->layout.size_bytes) continue;
        const tn_weight_area *area = &weights->areas[weights->area_of[i]];
        packed->buffer = area->buffer;
        if (area->is_mapped) continue;
        TN_TRY(weights->device->backend->weight_pack(weights->device, &graph->weights[i], area->buffer, packed->offset_bytes));
        progress->done += packed->layout.size_bytes;
        const uint64_t done = progress->done < progress->total ? progress->done : progress->total;
        TN_TRY(tn_progress_report(progress->progress, "packing weights", done, progress->total));
    }
    return TN_OK;
}

static tn_status keep(tn_plan_weights *weights, uint32_t area, const tn_progress *progress)
{
    tn_pack_key key;
    TN_TRY(area_key(weights, area, &key));
    const tn_status status = tn_plan_cache_keep(weights->cache, &key, weights->areas[area].buffer, progress);
    tn_pack_key_deinit(&key);
    return status;
}

tn_status tn_plan_weights_pack(tn_plan_weights *weights, tn_pack_progress *progress)
{
    if (!weights->packed) return TN_OK;
    for (uint32_t a = 0; a < weights->n_areas; a++) {
        tn_weight_area *area = &weights->areas[a];
        if (area->size_bytes && !area->buffer)
            TN_TRY(weights->device->backend->buffer_create(weights->device, area->size_bytes, &area->buffer));
    }
    TN_TRY(pack_all(weights, progress));
    for (uint32_t a = 0; a < weights->n_areas; a++) {
        if (weights->areas[a].is_kept && !weights->areas[a].is_mapped) TN_TRY(keep(weights, a, progress->progress));
    }
    return TN_OK;
}
