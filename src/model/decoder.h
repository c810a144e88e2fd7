// The decoder that all families here are made of: embedding, layers of attention and gated feed-forward, head.
#ifndef TN_MODEL_DECODER_H
#define TN_MODEL_DECODER_H

#include "model/loader.h"

// What families differ in, beside the hyperparameters.
typedef struct tn_decoder_style {
    tn_rope_pairs rope_pairs; // which elements of a head turn together
    bool sub_norms;           // norms before the output and down projections (attn_sub_norm, ffn_sub_norm)
} tn_decoder_style;

// Adds all weights and nodes to loader->graph. The head is output.weight where the file has one, else the embedding.
// Errors: BAD_FILE (missing, wrong shape), UNSUPPORTED (type, by name).
tn_status tn_decoder_build(tn_loader *loader, const tn_decoder_style *style);

#endif
