// Whether the output head is screened: tn_session_params.two_stage.
#ifndef TN_RUNTIME_TWO_STAGE_H
#define TN_RUNTIME_TWO_STAGE_H

#include "graph/op.h"

// The weight of the graph's dense product, which is its head; NULL where it has none.
tn_weight_source *tn_two_stage_head(const tn_graph *graph);
// Whether AUTO makes a copy of such a head: a float type, and large enough that a token notices.
bool tn_two_stage_pays(const tn_weight_source *head);
// Asks for the head's copy as `name` says: "on", "auto" (where it pays), or NULL or "off". graph->weights is the caller's own; it has the
// head's final type.  Errors: INVALID_ARGUMENT (no such name; "on" for a head that cannot be screened).
tn_status tn_two_stage_set(const tn_graph *graph, const char *name);

#endif
