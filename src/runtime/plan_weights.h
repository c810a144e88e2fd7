// The packed weights of a plan's device: where each lies, packing them, and files that keep them.
#ifndef TN_RUNTIME_PLAN_WEIGHTS_H
#define TN_RUNTIME_PLAN_WEIGHTS_H

#include "backend/backend.h"
#include "runtime/plan_cache.h"

// Weights that lie in one buffer, which is no larger than the device allows.
typedef struct tn_weight_area {
    tn_buffer *buffer; // NULL until it is packed, unless it is mapped
    tn_buffer sketch;  // until then: what tn_backend.program_check looks at
    uint64_t size_bytes;
    bool is_kept;   // may be kept in a file
    bool is_mapped; // from a file: nothing to pack
    tn_file_map map;
} tn_weight_area;

typedef struct tn_plan_weights {
    tn_device *device;
    const tn_graph *graph;
    tn_plan_cache *cache;     // NULL: no files
    tn_packed_weight *packed; // owned, [graph->n_weights]; NULL: no segment is on this device
    uint32_t *area_of;        // owned, [graph->n_weights]
    tn_weight_area *areas;    // owned
    uint32_t n_areas;
    size_t areas_capacity;
} tn_plan_weights;

typedef struct tn_pack_progress {
    const tn_progress *progress;
    uint64_t done, total; // bytes
} tn_pack_progress;

// Decides where the weights of the nodes for which `uses` answers true lie, and maps what is in files, unless the device copies it; what is
// not mapped has buffers that do not exist yet. `weights`: device, graph and cache filled in, the rest 0.  Errors: OUT_OF_MEMORY,
// UNSUPPORTED, BAD_FILE.
tn_status tn_plan_weights_place(tn_plan_weights *weights, bool (*uses)(const void *ctx, uint32_t node), const void *ctx);
// Copies what is in files to a device that cannot use it where it lies: after tn_backend.program_check, which may refuse.
// Errors: OUT_OF_MEMORY.
tn_status tn_plan_weights_copy_kept(tn_plan_weights *weights);
// Bytes of all areas, and of those that have to be packed.
uint64_t tn_plan_weights_bytes(const tn_plan_weights *weights);
uint64_t tn_plan_weights_to_pack(const tn_plan_weights *weights);
// Makes the buffers, packs, and writes files.  Errors: OUT_OF_MEMORY, BAD_FILE, IO, CANCELLED, DEVICE_LOST.
tn_status tn_plan_weights_pack(tn_plan_weights *weights, tn_pack_progress *progress);
// IO where a file that is mapped was cut short.
tn_status tn_plan_weights_check_intact(const tn_plan_weights *weights);
void tn_plan_weights_deinit(tn_plan_weights *weights);

#endif
