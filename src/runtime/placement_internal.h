// A placement as the session reads it.
#ifndef TN_RUNTIME_PLACEMENT_INTERNAL_H
#define TN_RUNTIME_PLACEMENT_INTERNAL_H

#include "ternion/placement.h"

struct tn_placement {
    const tn_model *model;
    tn_host *host;
    uint32_t n_layers;
    uint32_t *devices; // [n_layers + 2]: embedding, layers, head
};

#endif
