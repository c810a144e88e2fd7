// The last tokens of a sequence, as penalties see them: which tokens occur among them, and how often.
#ifndef TN_RUNTIME_SAMPLER_WINDOW_H
#define TN_RUNTIME_SAMPLER_WINDOW_H

#include "base/status.h"

typedef struct tn_token_count {
    int32_t token;
    uint32_t count; // above 0
} tn_token_count;

// All zero: empty. Its memory grows with the tokens in it, whatever the vocabulary.
typedef struct tn_token_window {
    tn_token_count *counts; // [n_counts] ascending by token
    size_t n_counts, counts_capacity;
    int32_t *ring; // the tokens themselves; unused where the window is the whole sequence
    size_t n_ring, ring_capacity;
    size_t oldest; // index of the oldest once the ring is full
} tn_token_window;

// Adds the newest token; of a window of last_n > 0 tokens the oldest leaves, -1 keeps all.  Errors: OUT_OF_MEMORY, and nothing is changed.
tn_status tn_token_window_add(tn_token_window *window, int32_t last_n, int32_t token);
void tn_token_window_deinit(tn_token_window *window);

#endif
