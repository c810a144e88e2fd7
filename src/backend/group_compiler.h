// What GPU backends do alike when they compile a program: its checks, its groups, which values lie where, and the order in which everything
// is emitted. What a value, a group or a copy is on the device is the backend's.
#ifndef TN_BACKEND_GROUP_COMPILER_H
#define TN_BACKEND_GROUP_COMPILER_H

#include "backend/arena.h"
#include "backend/fuse.h"

typedef enum tn_place_kind {
    TN_PLACE_NOWHERE,
    TN_PLACE_IN_ARENA,
    TN_PLACE_OUTSIDE, // dense rows in the caller's output
} tn_place_kind;

typedef struct tn_value_place {
    tn_place_kind kind;
    uint32_t span; // IN_ARENA
} tn_value_place;

// The backend's part; `ctx` is its compiler.
typedef struct tn_group_backend {
    void *ctx;
    // Words of the arena that a value needs; false where that overflows. Called once for each value that gets a place there.
    bool (*value_words)(void *ctx, uint32_t value, uint64_t *out_words);
    // Told of values that the groups store in the caller's output.
    void (*value_outside)(void *ctx, uint32_t value);
    // Words that a group needs for itself.
    tn_status (*group_words)(void *ctx, const tn_group *group, uint64_t *out_words);
    // All places are known, in an arena of so many words.
    tn_status (*placed)(void *ctx, uint64_t n_words);
    // Rows of a value from the caller's input, to its output, and to a tap.
    tn_status (*copy_in)(void *ctx, uint32_t value);
    tn_status (*copy_out)(void *ctx, uint32_t value);
    tn_status (*copy_tap)(void *ctx, uint32_t value, tn_buffer *buffer);
    // `time`: for tn_group_scratch_at.
    tn_status (*emit_group)(void *ctx, const tn_group *group, uint32_t time);
} tn_group_backend;

typedef struct tn_group_compiler {
    tn_device *device;
    const tn_program_desc *desc;
    uint32_t n_tokens_max, n_logits_max; // of the steps that are compiled for
    bool parts_outside;                  // one of a group's several outputs may be the caller's
    const tn_group_backend *backend;
    // Set by tn_group_compile.
    tn_group *groups; // owned
    uint32_t n_groups;
    tn_value_place *places; // owned, [graph->n_values]
    uint32_t *scratch;      // owned, [n_groups + 2]: span that a group has for itself
    tn_arena arena;
} tn_group_compiler;

// Compiles for steps of up to n_tokens_max tokens: checks every node, makes groups, places values, emits. `c`: the first fields set, the
// rest 0; given to tn_group_compiler_deinit, after failures too.  Errors: INVALID_ARGUMENT, UNSUPPORTED, OUT_OF_MEMORY, the backend's.
tn_status tn_group_compile(tn_group_compiler *c, const tn_fuse_params *fuse);
void tn_group_compiler_deinit(tn_group_compiler *c);

uint32_t tn_group_rows_max(const tn_group_compiler *c, tn_rows rows);
// Word of the arena where a value, or what a group has for itself, begins.
static inline uint64_t tn_group_value_at(const tn_group_compiler *c, uint32_t value) { return c->arena.spans[c->places[value].span].at; }
static inline uint64_t tn_group_scratch_at(const tn_group_compiler *c, uint32_t time) { return c->arena.spans[c->scratch[time]].at; }

#endif
