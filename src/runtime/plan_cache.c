// Packed weights of a plan, kept in files.
#include "runtime/plan_cache.h"

#include "base/log.h"

#include <inttypes.h>

// Files of another form are not looked at.
#define KEY_VERSION "ternion packed weights 1"

bool tn_plan_cache_keeps(const tn_weight_source *source)
{
    return source->kind == TN_WEIGHT_TERNARY || (source->kind == TN_WEIGHT_DENSE && source->n_rows > 1);
}

// A line a weight: what it is and where it lies.
static tn_status add_weights(const tn_graph *graph, const tn_packed_weight *packed, tn_text *out)
{
    for (uint32_t i = 0; i < graph->n_weights; i++) {
        const tn_weight_source *s = &graph->weights[i];
        const tn_weight_layout *layout = &packed[i].layout;
        if (layout->size_bytes == 0 || !tn_plan_cache_keeps(s)) continue;
        TN_TRY(tn_text_printf(out, "%s %d %d %ux%u %d layout %u at %" PRIu64 " + %" PRIu64 "\n", s->name, (int)s->kind, (int)s->dtype,
                              (unsigned)s->n_rows, (unsigned)s->n_cols, (int)s->scale_kind, (unsigned)layout->layout_id,
                              packed[i].offset_bytes, layout->size_bytes));
    }
    return TN_OK;
}

tn_status tn_plan_cache_key(const tn_plan_cache *cache, const tn_device *device, const tn_graph *graph, const tn_packed_weight *packed,
                            uint64_t size_bytes, tn_pack_key *out_key)
{
    tn_pack_key key = {.body_bytes = size_bytes};
    tn_status status;
    // The place does not change with the model's content: the file of a model that was replaced is replaced too.
    TN_TRY_GOTO(tn_text_printf(&key.place, "%s\n%s\n", cache->model_path, device->backend->name));
    TN_TRY_GOTO(add_weights(graph, packed, &key.place));
    TN_TRY_GOTO(tn_text_printf(&key.bytes, KEY_VERSION "\n" TN_CANONICAL_ID "\n%s\n", device->backend->pack_id));
    TN_TRY_GOTO(tn_text_append(&key.bytes, key.place.data, key.place.len));
    TN_TRY_GOTO(tn_text_append(&key.bytes, cache->identity.data, cache->identity.len));
    *out_key = key;
    return TN_OK;
fail:
    tn_pack_key_deinit(&key);
    return status;
}

// How much is said of a failure: damage and foreign files are news, a missing file is not.
static tn_log_level level_of(tn_status status)
{
    return status == TN_BAD_FILE || status == TN_UNSUPPORTED ? TN_LOG_WARN : status == TN_NOT_FOUND ? TN_LOG_DEBUG : TN_LOG_INFO;
}

void tn_plan_cache_map(tn_plan_cache *cache, tn_device *device, const tn_pack_key *key, tn_file_map *out_map, tn_buffer **out_buffer)
{
    *out_buffer = NULL;
    *out_map = (tn_file_map){0};
    if (key->body_bytes < cache->bytes_min) return;
    tn_status status = tn_pack_cache_open(cache->folder, key, out_map);
    if (status == TN_OK) {
        const uint64_t body = tn_pack_cache_body_offset(key);
        status = device->backend->buffer_map(device, out_map->data + body, key->body_bytes, out_buffer);
        if (status != TN_OK) tn_file_map_close(out_map);
        if (status == TN_UNSUPPORTED) status = TN_NOT_FOUND; // a device without it is nothing to warn of
    }
    if (status != TN_OK) {
        tn_log_write(cache->log, level_of(status), "packed weights in %.400s: %s; packing again", cache->folder, tn_error_last()->message);
        return;
    }
    tn_log_write(cache->log, TN_LOG_INFO, "packed weights of %" PRIu64 " MiB mapped from %.400s", key->body_bytes >> 20, cache->folder);
    cache->use = TN_PACK_CACHE_MAPPED;
}

static tn_status read_buffer(void *user, uint64_t offset, void *dst, size_t n)
{
    tn_buffer *buffer = user;
    return buffer->device->backend->buffer_read(buffer, offset, dst, n);
}

tn_status tn_plan_cache_keep(tn_plan_cache *cache, const tn_pack_key *key, tn_buffer *buffer, const tn_progress *progress)
{
    if (key->body_bytes < cache->bytes_min) return TN_OK;
    if (!cache->is_settled) {
        tn_log_write(cache->log, TN_LOG_INFO, "packed weights are not kept: %.400s was changed within the last two seconds",
                     cache->model_path);
        return TN_OK;
    }
    tn_status status = tn_pack_cache_write(cache->folder, key, cache->bytes_max, read_buffer, buffer, progress);
    if (status == TN_CANCELLED) return status;
    if (status == TN_OK) {
        tn_log_write(cache->log, TN_LOG_INFO, "packed weights of %" PRIu64 " MiB kept in %.400s", key->body_bytes >> 20, cache->folder);
        cache->use = TN_PACK_CACHE_WRITTEN;
    } else {
        tn_log_write(cache->log, TN_LOG_INFO, "packed weights are not kept: %s", tn_error_last()->message);
        cache->use = TN_PACK_CACHE_FAILED;
    }
    return TN_OK;
}
