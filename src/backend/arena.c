// First fit over spans in the order of their births. A program has some hundred of them.
#include "backend/arena.h"

#include "base/alloc.h"
#include "base/checked.h"

tn_status tn_arena_add(tn_arena *arena, uint64_t n_words, uint32_t birth, uint32_t *out_span)
{
    TN_TRY(tn_grow(&arena->spans, &arena->capacity, (size_t)arena->n_spans + 1, sizeof *arena->spans));
    *out_span = arena->n_spans;
    arena->spans[arena->n_spans++] = (tn_span){.n_words = n_words, .birth = birth, .death = birth};
    return TN_OK;
}

static bool meet(const tn_span *a, const tn_span *b)
{
    const bool same_time = a->birth <= b->death && b->birth <= a->death;
    return same_time && a->at < b->at + b->n_words && b->at < a->at + a->n_words;
}

// The first placed span that is in the way.
static const tn_span *in_the_way(const tn_arena *arena, uint32_t n_placed, const tn_span *span)
{
    for (uint32_t i = 0; i < n_placed; i++) {
        if (meet(&arena->spans[i], span)) return &arena->spans[i];
    }
    return NULL;
}

bool tn_arena_place(tn_arena *arena, uint64_t *out_words)
{
    *out_words = 0;
    for (uint32_t i = 0; i < arena->n_spans; i++) {
        tn_span *span = &arena->spans[i];
        if (!tn_ckd_round_up(span->n_words, 64, &span->n_words)) return false;
        span->at = 0;
        // Moves up past whatever it meets; a lower gap that it would fit into is found first.
        for (const tn_span *other; (other = in_the_way(arena, i, span)) != NULL;) {
            if (!tn_ckd_add(other->at, other->n_words, &span->at)) return false;
        }
        uint64_t end;
        if (!tn_ckd_add(span->at, span->n_words, &end)) return false;
        if (end > *out_words) *out_words = end;
    }
    return true;
}

void tn_arena_deinit(tn_arena *arena)
{
    tn_free(arena->spans);
    *arena = (tn_arena){0};
}
