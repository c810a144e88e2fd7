// Another type for the output head than the file's: its rows are quantised as they are read.
#ifndef TN_RUNTIME_HEAD_TYPE_H
#define TN_RUNTIME_HEAD_TYPE_H

#include "graph/op.h"

// Gives the weight of the graph's dense product the type `name`: "q8_0", "q6_k", or NULL or "keep" for the file's. graph->weights is the
// caller's own. *file_source becomes the weight as it was: the new source reads it, so it lives as long as the graph.
// Errors: INVALID_ARGUMENT (no such name; rows that are no whole blocks; a head that is quantised already).
tn_status tn_head_type_set(tn_graph *graph, const char *name, tn_weight_source *file_source);

#endif
