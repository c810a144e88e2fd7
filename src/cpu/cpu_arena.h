// Plans where the values of a list of tasks lie in one arena: spans of bytes, each from the task that writes it to the meeting of the
// workers after its last use. Tasks come in order; offsets are chosen at the end, when all spans are known.
#ifndef TN_CPU_ARENA_H
#define TN_CPU_ARENA_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

// Bytes that are in use by the tasks [begin, end).
typedef struct tn_cpu_span {
    uint64_t bytes, offset; // offset: set by tn_cpu_arena_place
    uint32_t begin, end;    // end: UINT32_MAX while it is in use
    bool dead;              // used no more, free from the next meeting on
} tn_cpu_span;

typedef struct tn_cpu_arena {
    tn_cpu_span *spans; // owned
    uint32_t n_spans, n_spans_max;
    uint64_t used_bytes, dead_bytes; // of spans that no meeting has freed, and of those of them that are dead
    uint64_t used_bytes_max;
} tn_cpu_arena;

// For up to n_spans_max spans.
TN_NODISCARD tn_status tn_cpu_arena_init(tn_cpu_arena *arena, uint32_t n_spans_max);
void tn_cpu_arena_deinit(tn_cpu_arena *arena);
// Forgets all spans.
void tn_cpu_arena_clear(tn_cpu_arena *arena);

// A span that a task writes first; false where the sum of bytes has no end.
TN_NODISCARD bool tn_cpu_arena_add(tn_cpu_arena *arena, uint32_t task, uint64_t bytes, uint32_t *out_span);
void tn_cpu_arena_kill(tn_cpu_arena *arena, uint32_t span);
// The workers meet before a task: what is dead is free for its output.
void tn_cpu_arena_meet(tn_cpu_arena *arena, uint32_t task);
// Whether a span of so many bytes takes more memory than any task before did, and would not after a meeting.
bool tn_cpu_arena_meeting_pays(const tn_cpu_arena *arena, uint64_t bytes);

// Chooses all offsets, so that spans that are in use at once share no byte. Returns the bytes of the arena; false where they have no end.
TN_NODISCARD bool tn_cpu_arena_place(tn_cpu_arena *arena, uint64_t *out_bytes);

#endif
