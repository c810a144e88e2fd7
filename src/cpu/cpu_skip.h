// Squared-ReLU skipping of a program: which products it may leave out, the second copies that needs, and whether it pays. cpu_matmul.c does
// it.
#ifndef TN_CPU_SKIP_H
#define TN_CPU_SKIP_H

#include "cpu/cpu_backend.h"
#include "cpu/sparse_copy.h"

// Steps of more tokens do not skip: hardly a neuron is 0 for all of them.
#define TN_CPU_SKIP_TOKENS 8u

// What a step leaves out: rows of up where the gate is not above 0, columns of down where the code is 0. Bits: 1 << tn_cpu_sparse_kind.
typedef uint32_t tn_cpu_skip_kinds;
enum { TN_CPU_SKIP_KINDS = 2, TN_CPU_SKIP_COMBINATIONS = 1u << TN_CPU_SKIP_KINDS };

// A product that can be left out in part.
typedef struct tn_cpu_skip_product {
    tn_cpu_sparse_copy copy;
    uint64_t offset; // in the kind's buffer
} tn_cpu_skip_product;

// Steps with one number of tokens: which combination was the fastest.
typedef struct tn_cpu_skip_trial {
    uint32_t n_steps;
    bool is_decided;
    tn_cpu_skip_kinds kinds; // decided
    uint64_t best_ns[TN_CPU_SKIP_COMBINATIONS];
} tn_cpu_skip_trial;
enum { TN_CPU_SKIP_TRIALS = TN_CPU_SKIP_TOKENS };

// Neurons of steps, and those that are 0: for the step's first token while it is not known whether to skip, for all of its tokens after.
typedef struct tn_cpu_skip_zeros {
    uint64_t n_gates, n_gates_zero, n_codes, n_codes_zero;
} tn_cpu_skip_zeros;

typedef struct tn_cpu_skip {
    tn_cpu_device *device;
    tn_cpu_skip_state state;
    tn_cpu_skip_product *products; // owned
    uint32_t n_products;
    tn_cpu_skip_kinds possible;           // kinds of the products
    uint64_t bytes[TN_CPU_SKIP_KINDS];    // of a kind's copies
    tn_buffer *copies[TN_CPU_SKIP_KINDS]; // owned; NULL: not made
    tn_cpu_skip_trial trials[TN_CPU_SKIP_TRIALS];
    tn_cpu_skip_zeros zeros;
    uint32_t n_counted; // steps
    // Of the step in flight, written between steps.
    tn_cpu_skip_kinds kinds;
    bool counts;
    tn_cpu_skip_zeros step_zeros; // written by worker 0
    uint32_t trial;
    uint64_t begun_ns; // written by worker 0
} tn_cpu_skip;

typedef struct tn_cpu_program tn_cpu_program;
typedef struct tn_cpu_list tn_cpu_list;

// Finds what a list's tasks can skip and marks them; the same products for each of a program's lists.
// Errors: OUT_OF_MEMORY.
tn_status tn_cpu_skip_plan(tn_cpu_program *program, tn_cpu_list *list);
// Once all lists are planned: bytes of the copies that tn_cpu_skip_start makes at most.  Errors: INVALID_ARGUMENT (their size overflows).
tn_status tn_cpu_skip_needs(const tn_cpu_program *program, uint64_t *out_bytes);
// Once all lists are planned and gains resolved: gives up what could hide a value out of range, and makes the copies where the host
// demands skipping.  Errors: OUT_OF_MEMORY, INVALID_ARGUMENT (the copies' size overflows).
tn_status tn_cpu_skip_start(tn_cpu_program *program);
void tn_cpu_skip_deinit(tn_cpu_skip *skip);
// Before a step is handed to the workers: decides what it skips. May make or drop copies.
void tn_cpu_skip_begin_step(tn_cpu_skip *skip, uint32_t n_tokens, bool has_stats);
// By worker 0, before its first and after its last task.
void tn_cpu_skip_time(tn_cpu_skip *skip, bool is_end);
uint64_t tn_cpu_skip_copies_bytes(const tn_cpu_skip *skip);

static inline bool tn_cpu_skip_has(tn_cpu_skip_kinds kinds, tn_cpu_sparse_kind kind) { return (kinds >> kind & 1u) != 0; }
static inline uint8_t *tn_cpu_skip_bytes(const tn_cpu_skip *skip, const tn_cpu_skip_product *product)
{
    return tn_cpu_buffer_data(skip->copies[product->copy.kind]) + product->offset;
}

#endif
