// A placement as the session reads it, and the parts that make it.
#ifndef TN_RUNTIME_PLACEMENT_INTERNAL_H
#define TN_RUNTIME_PLACEMENT_INTERNAL_H

#include "backend/backend.h"
#include "base/str.h"
#include "runtime/placement_choice.h"
#include "ternion/placement.h"

enum { TN_PLACEMENT_REPLICAS_MAX = 64 };

struct tn_placement {
    const tn_model *model;
    tn_host *host;
    uint32_t n_layers, n_replicas;
    uint32_t n_lanes;        // steps in flight at a time; 0: as many as the segments make useful
    uint32_t *devices;       // [n_replicas][n_layers + 2]: embedding, layers, head
    uint32_t *shares;        // [n_replicas] parts of the sequences
    bool is_shared_by_speed; // shares are what the search says, or rates; otherwise all are 1
    double *ns_each;         // [n_replicas] of forced replicas that were measured: a sequence's part of a step; NULL: shares say it
    tn_placement_params params;
    tn_text texts;               // what params point to
    const char **overrides;      // the same
    tn_placement_choice *choice; // NULL: forced
};

// "cpu0 x8 + cpu1 x8", of devices[n], each `stride` behind the one before; shares NULL: without numbers. Returns the full length.
size_t tn_placement_print_replicas(const tn_device_desc *descs, const uint32_t *devices, size_t stride, const uint32_t *shares, uint32_t n,
                                   char *text, size_t capacity);

static inline const uint32_t *tn_placement_devices(const tn_placement *placement, uint32_t replica)
{
    return placement->devices + (size_t)replica * (placement->n_layers + 2);
}

// A placement by the params of `before` (NULL: defaults) without devices that were lost since: those of its list that are left, or of its
// replica, where it has several; where none is, all that can be used and are not emulated; at last the CPU. Its first replica is what
// replaces `replica`. Returns owned.  Errors: UNAVAILABLE (no device is left), those of tn_placement_create.
tn_status tn_placement_create_again(const tn_model *model, tn_host *host, const tn_placement *before, uint32_t replica,
                                    tn_placement **out_placement);

#endif
