// A compiled program: flat lists of tasks over values in one arena. Made by cpu_program.c, run by cpu_exec.c.
#ifndef TN_CPU_PROGRAM_H
#define TN_CPU_PROGRAM_H

#include "backend/step_check.h"
#include "cpu/cpu_backend.h"
#include "cpu/cpu_skip.h"
#include "cpu/pack.h"
#include "cpu/screen.h"

// Steps of at most this many tokens run from a list of their own, in which each worker computes the row ops for itself: doing 13 us of them
// twice costs less than six meetings a layer of 3 us. By these figures sharing the rows is cheaper from 3 tokens on.
#define TN_CPU_FEW_TOKENS 2u

// Of the n parts of a matmul for few tokens, those that are the workers' own, in order; whoever is ready takes the others.
static inline uint64_t tn_cpu_own_parts(uint64_t n) { return n * 7 / 8; }
// Up to here a worker appends and attends its KV heads alone; beyond, pages are shared out, for which the workers meet once more.
#define TN_CPU_OWNED_POSITIONS (2u * TN_KV_PAGE_POSITIONS)

// Storage of a value. Rows of f32 are padded to 16 floats, rows of codes to TN_Q8_STRIDE bytes of which those from `width` on are zero.
typedef struct tn_cpu_value {
    tn_value_type type;
    tn_rows rows;
    uint32_t width;
    uint32_t n_groups; // Q8: scales and sums a row; 1 except for grouped quantisation
    size_t stride;     // F32: floats a row; Q8: bytes of codes a row
    uint64_t arena_offset;
    size_t worker_stride; // bytes from one worker's copy to the next; 0: all share one
    float *f32;           // of the values that cross the program's border: set by submit
    int8_t *codes;
    float *scales; // [rows][n_groups]
    int32_t *sums;
} tn_cpu_value;

typedef enum tn_cpu_task_kind {
    TN_CPU_TASK_EMBED,
    TN_CPU_TASK_NORM_QUANT,
    TN_CPU_TASK_QUANT,
    TN_CPU_TASK_QUANT_GROUP,
    TN_CPU_TASK_NORM,
    TN_CPU_TASK_MATMUL_TERNARY,
    TN_CPU_TASK_SCREEN, // of a head: approximations of its products; the MATMUL_DENSE after it then computes the best ones alone
    TN_CPU_TASK_MATMUL_DENSE,
    TN_CPU_TASK_ROPE,
    TN_CPU_TASK_KV_APPEND,
    TN_CPU_TASK_ATTENTION,
    TN_CPU_TASK_GLU,
    TN_CPU_TASK_ADD,
    TN_CPU_TASK_COPY,
    TN_CPU_TASK_TAP,
    TN_CPU_TASK_COUNT_,
} tn_cpu_task_kind;

// Who does a task's work.
typedef enum tn_cpu_sharing {
    TN_CPU_BY_ROWS,  // each worker has its range of rows, the same for all such tasks
    TN_CPU_BY_PARTS, // matmuls: panels; attention, and what it appends to the cache in a list for few tokens: KV heads
    TN_CPU_BY_EACH,  // every worker all rows, into a copy of its own
} tn_cpu_sharing;

typedef struct tn_cpu_task {
    tn_cpu_task_kind kind;
    tn_cpu_sharing sharing;
    bool barrier;        // the workers meet before it
    bool kv_barrier;     // ATTENTION: they do where pages are shared out, since others have appended
    bool is_screening;   // of no use to steps that want all logits
    uint32_t claims;     // matmuls, SCREEN and ATTENTION: index of its counter
    uint32_t node;       // index in the graph
    const tn_node *op;   // its parameters; borrowed from the graph
    tn_cpu_value *in[2]; // NULL where unused; SCREEN: codes and what they are of; MATMUL_DENSE after it: the latter, and its output
    tn_cpu_value *out;   // NULL for KV_APPEND and TAP
    tn_cpu_weight w;
    const float *gamma; // NORM and NORM_QUANT
    uint32_t group;     // QUANT_GROUP: elements a group
    float *tap;         // TAP: f32 [rows][width]
    union {
        tn_k_embed_fn *embed;
        tn_k_matmul_dense_fn *dense;
        tn_k_glu_fn *glu;
    } kernel;
    uint32_t product;         // MATMUL_TERNARY: 1 + index of what can be left out; 0: nothing
    const tn_cpu_value *gate; // rows can be: where this is not above 0, so that the workers meet before it; NULL: columns
    tn_k_dequant_fn *dequant; // EMBED, MATMUL_DENSE: rows pass through f32 first (dense: of f32 rows); else NULL
} tn_cpu_task;

// The tasks for steps of up to n_tokens_max tokens.
typedef struct tn_cpu_list {
    uint32_t n_tokens_max, n_logits_max;
    tn_cpu_value *values; // owned: the graph's, then those that the compiler added
    uint32_t n_values;
    tn_cpu_task *tasks; // owned
    uint32_t n_tasks, n_claims;
    bool few_tokens;
} tn_cpu_list;

enum { TN_CPU_LIST_FEW, TN_CPU_LIST_MANY, TN_CPU_LISTS };

typedef struct tn_cpu_program {
    tn_program base;
    tn_cpu_device *device;
    tn_cpu_job job;

    tn_cpu_list lists[TN_CPU_LISTS]; // MANY is empty where no step has more than TN_CPU_FEW_TOKENS
    uint32_t in_value, out_value;
    tn_buffer *arena_buffer; // owned
    uint8_t *arena;          // its bytes: of the list that runs
    uint64_t arena_bytes;
    uint8_t *thread_scratch; // in the arena
    size_t thread_scratch_bytes;
    // Heads whose pages several workers compute: a slot for each border between two workers' shares, or for each head. In the arena.
    float *parts;
    size_t parts_slot_floats;
    uint32_t n_parts_slots;
    uint32_t *pages_done; // owned, [n_parts_slots], atomic: of that head; whoever completes them joins, and clears it
    uint32_t
        *claims; // owned, atomic: panels or blocks of tokens that were claimed, of each such task of the list that runs; submit clears them

    uint8_t *kv; // NULL where the program has no layers
    uint32_t n_kv_heads, head_dim, n_layers;
    int32_t first_layer;
    tn_step_limits limits;
    tn_step_layout step_layout;
    tn_step_checker checker;

    tn_cpu_skip skip;
    // The screened head, where the program has one.
    tn_screening screening;
    uint32_t n_screened_rows;      // of the head
    tn_screen_stats *screen_stats; // NULL: none
    uint64_t n_kept;               // atomic: logits that the submit in flight, or the last one, computed exactly
    uint64_t n_screened;           // those that it looked at; 0: it did not screen
    uint32_t n_idle, n_rest;       // AUTO: steps in a row that screening did not spare enough; steps left to compute the head whole

    tn_program_stats *stats; // NULL: none
    // Of the submit in flight.
    const tn_cpu_list *list;
    tn_step_view step;
    uint32_t *poison;
} tn_cpu_program;

// Whether the submit in flight screens its head.
static inline bool tn_cpu_program_screens(const tn_cpu_program *program) { return program->n_screened != 0; }
// Runs the program's tasks; a tn_cpu_job_fn.
tn_status tn_cpu_program_run(void *program, uint32_t thread, uint32_t n_threads);
// Whether the workers meet before a task of the submit in flight.
bool tn_cpu_program_meets(const tn_cpu_program *program, const tn_cpu_task *task);
// Scratch that one thread needs for a task, 0 where none.
size_t tn_cpu_exec_scratch_bytes(const tn_cpu_task *task);
// Puts one position into a KV block: codes k and v [head_dim] with their scales.
void tn_cpu_kv_store(uint8_t *block, uint32_t head_dim, uint32_t position, const int16_t *k, float k_scale, const int16_t *v,
                     float v_scale);

#endif
