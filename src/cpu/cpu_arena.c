// Plans an arena: largest spans first, each at the lowest place that no span of the same time has.
#include "cpu/cpu_arena.h"

#include "base/alloc.h"
#include "base/checked.h"

#define UNPLACED UINT64_MAX

tn_status tn_cpu_arena_init(tn_cpu_arena *arena, uint32_t n_spans_max)
{
    *arena = (tn_cpu_arena){.n_spans_max = n_spans_max};
    return tn_alloc_zero(n_spans_max, sizeof *arena->spans, &arena->spans);
}

void tn_cpu_arena_deinit(tn_cpu_arena *arena)
{
    tn_free(arena->spans);
    arena->spans = NULL;
}

void tn_cpu_arena_clear(tn_cpu_arena *arena)
{
    arena->n_spans = 0;
    arena->used_bytes = arena->dead_bytes = arena->used_bytes_max = 0;
}

bool tn_cpu_arena_add(tn_cpu_arena *arena, uint32_t task, uint64_t bytes, uint32_t *out_span)
{
    if (arena->n_spans == arena->n_spans_max || !tn_ckd_add(arena->used_bytes, bytes, &arena->used_bytes)) return false;
    if (arena->used_bytes > arena->used_bytes_max) arena->used_bytes_max = arena->used_bytes;
    arena->spans[arena->n_spans] = (tn_cpu_span){.bytes = bytes, .offset = UNPLACED, .begin = task, .end = UINT32_MAX};
    *out_span = arena->n_spans++;
    return true;
}

void tn_cpu_arena_kill(tn_cpu_arena *arena, uint32_t span)
{
    if (arena->spans[span].dead) return;
    arena->spans[span].dead = true;
    arena->dead_bytes += arena->spans[span].bytes;
}

void tn_cpu_arena_meet(tn_cpu_arena *arena, uint32_t task)
{
    for (uint32_t i = 0; i < arena->n_spans; i++) {
        tn_cpu_span *span = &arena->spans[i];
        if (span->dead && span->end == UINT32_MAX) span->end = task;
    }
    arena->used_bytes -= arena->dead_bytes;
    arena->dead_bytes = 0;
}

bool tn_cpu_arena_meeting_pays(const tn_cpu_arena *arena, uint64_t bytes)
{
    uint64_t used, met;
    if (!tn_ckd_add(arena->used_bytes, bytes, &used)) return false;
    met = used - arena->dead_bytes;
    return used > arena->used_bytes_max && met <= arena->used_bytes_max;
}

static bool at_once(const tn_cpu_span *a, const tn_cpu_span *b) { return a->begin < b->end && b->begin < a->end; }

static bool lowest_gap(const tn_cpu_arena *arena, const tn_cpu_span *span, uint64_t *out_offset, uint64_t *out_end)
{
    uint64_t offset = 0, end;
    for (bool moved = true; moved;) {
        moved = false;
        if (!tn_ckd_add(offset, span->bytes, &end)) return false;
        for (uint32_t i = 0; i < arena->n_spans && !moved; i++) {
            const tn_cpu_span *other = &arena->spans[i];
            if (other->offset == UNPLACED || !at_once(span, other)) continue;
            const uint64_t other_end = other->offset + other->bytes;
            if (offset < other_end && end > other->offset) {
                offset = other_end;
                moved = true;
            }
        }
    }
    *out_offset = offset;
    *out_end = end;
    return true;
}

bool tn_cpu_arena_place(tn_cpu_arena *arena, uint64_t *out_bytes)
{
    *out_bytes = 0;
    for (uint32_t n = 0; n < arena->n_spans; n++) {
        tn_cpu_span *largest = NULL;
        for (uint32_t i = 0; i < arena->n_spans; i++) {
            tn_cpu_span *span = &arena->spans[i];
            if (span->offset == UNPLACED && (!largest || span->bytes > largest->bytes)) largest = span;
        }
        uint64_t offset, end;
        if (!lowest_gap(arena, largest, &offset, &end)) return false;
        largest->offset = offset;
        if (end > *out_bytes) *out_bytes = end;
    }
    return true;
}
