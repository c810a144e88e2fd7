// How a plan uses packed weights that are kept in files: which weights, under which key, and what happens where that fails (nothing: they
// are packed).
#ifndef TN_RUNTIME_PLAN_CACHE_H
#define TN_RUNTIME_PLAN_CACHE_H

#include "backend/backend.h"
#include "runtime/pack_cache.h"
#include "ternion/session.h"

// Borrowed by the plan until it is destroyed.
typedef struct tn_plan_cache {
    const char *folder;
    uint64_t bytes_min, bytes_max; // smaller ones are not kept; 0: no limit of the folder
    const char *model_path;
    tn_str identity; // tn_model_identity
    bool is_settled; // false: the model was changed just before it was opened, and may change again unseen: nothing is written
    const tn_log *log;
    tn_pack_cache_use use; // what came of it; written by the plan
} tn_plan_cache;

// Whether a weight is kept: matrices, which are numbers whatever their bytes are. Gains and tables are few, made anew and checked.
bool tn_plan_cache_keeps(const tn_weight_source *source);
// The key of one device's kept weights, which lie at the given places of `size_bytes`.  Errors: OUT_OF_MEMORY.
tn_status tn_plan_cache_key(const tn_plan_cache *cache, const tn_device *device, const tn_graph *graph, const tn_packed_weight *packed,
                            uint64_t size_bytes, tn_pack_key *out_key);
// Maps the file as a buffer of the device; *out_buffer is NULL where there is none that can be used. Only a damaged one is warned of.
void tn_plan_cache_map(tn_plan_cache *cache, tn_device *device, const tn_pack_key *key, tn_file_map *out_map, tn_buffer **out_buffer);
// Writes the buffer's bytes to the file, if that can be done.  Errors: CANCELLED alone.
tn_status tn_plan_cache_keep(tn_plan_cache *cache, const tn_pack_key *key, tn_buffer *buffer, const tn_progress *progress);

#endif
