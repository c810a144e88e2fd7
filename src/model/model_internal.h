// The model as the library's inner parts see it.
#ifndef TN_MODEL_MODEL_INTERNAL_H
#define TN_MODEL_MODEL_INTERNAL_H

#include "format/gguf.h"
#include "graph/graph.h"
#include "ternion/model.h"

// The graph with its weights' canonical sources; NULL where the model was opened without it. Borrowed from the model.
const tn_graph *tn_model_graph(const tn_model *model);
const tn_gguf *tn_model_gguf(const tn_model *model);
// Appends to `out` bytes that change with whatever makes the canonical weights: the files (tn_gguf_identity) and how they are read.
tn_status tn_model_identity(const tn_model *model, tn_text *out, bool *out_settled);
// Key of metadata entry `index`, terminated. Borrowed from the model.
const char *tn_model_key(const tn_model *model, size_t index);

#endif
