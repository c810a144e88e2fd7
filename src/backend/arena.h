// Where the values of a list lie in its arena: spans that live from one group of nodes to another and share room where they do not meet.
#ifndef TN_BACKEND_ARENA_H
#define TN_BACKEND_ARENA_H

#include "base/status.h"

#include <stdbool.h>

typedef struct tn_span {
    uint64_t n_words, at;  // `at` once placed, a multiple of 64
    uint32_t birth, death; // groups, both of them included
} tn_span;

typedef struct tn_arena {
    tn_span *spans; // owned
    uint32_t n_spans;
    size_t capacity;
} tn_arena;

// Adds a span that lives in group `birth` alone so far; gives its index.  Errors: OUT_OF_MEMORY.
tn_status tn_arena_add(tn_arena *arena, uint64_t n_words, uint32_t birth, uint32_t *out_span);
static inline void tn_arena_extend(tn_arena *arena, uint32_t span, uint32_t group)
{
    if (group > arena->spans[span].death) arena->spans[span].death = group;
}
// Places all spans, each at the lowest place that is free in its life; false where that overflows.
bool tn_arena_place(tn_arena *arena, uint64_t *out_words);
void tn_arena_deinit(tn_arena *arena);

#endif
