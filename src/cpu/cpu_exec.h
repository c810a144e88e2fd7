// A worker's view of a program that runs, and what its ops share: which rows are whose, and where they lie. For cpu_exec.c and
// cpu_attention.c.
#ifndef TN_CPU_EXEC_H
#define TN_CPU_EXEC_H

#include "base/exact_math.h"
#include "cpu/cpu_program.h"

typedef struct exec {
    tn_cpu_program *program;
    const tn_step_view *step;
    const tn_cpu_kernels *kernels;
    uint8_t *scratch; // of this thread
    uint32_t thread, n_threads;
} exec;

typedef struct range {
    uint32_t begin, end;
} range;

// The worker's part of n things, in order.
static inline range share(const exec *e, uint32_t n)
{
    return (range){(uint32_t)((uint64_t)n * e->thread / e->n_threads), (uint32_t)((uint64_t)n * (e->thread + 1) / e->n_threads)};
}

static inline uint32_t n_rows(const exec *e, tn_rows rows) { return rows == TN_ROWS_LOGITS ? e->step->n_logits : e->step->n_tokens; }

// Rows of a value: of the worker's own copy where it has one.
static inline float *f32_row(const exec *e, const tn_cpu_value *value, uint32_t row)
{
    return value->f32 + value->worker_stride / sizeof(float) * e->thread + value->stride * row;
}
static inline int8_t *codes_row(const exec *e, const tn_cpu_value *value, uint32_t row)
{
    return value->codes + value->worker_stride * e->thread + value->stride * row;
}
static inline float *scales_row(const exec *e, const tn_cpu_value *value, uint32_t row)
{
    return value->scales + value->worker_stride / sizeof(float) * e->thread + (size_t)row * value->n_groups;
}
static inline int32_t *sums_row(const exec *e, const tn_cpu_value *value, uint32_t row)
{
    return value->sums + value->worker_stride / sizeof(int32_t) * e->thread + (size_t)row * value->n_groups;
}

// Remembers the first node that stored a value out of range for the row's token, whoever comes first.
static inline void check_poison(const exec *e, const tn_cpu_task *task, tn_rows rows, uint32_t row, uint32_t absmax_bits)
{
    if (absmax_bits < TN_ABS_BITS_2P56) return;
    uint32_t *place = &e->program->poison[rows == TN_ROWS_LOGITS ? e->step->logit_rows[row] : row];
    uint32_t mine = task->node + 1, old = __atomic_load_n(place, __ATOMIC_RELAXED);
    while ((old == 0 || old > mine) && !__atomic_compare_exchange_n(place, &old, mine, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) continue;
}

static inline size_t round64(size_t bytes) { return (bytes + 63) & ~(size_t)63; }

// Ops by rows, by heads or pages, by panels.
void tn_cpu_exec_matmul(const exec *e, const tn_cpu_task *task);
void tn_cpu_exec_resolve_head(const exec *e, const tn_cpu_task *task); // the rows that a screen before it left
void tn_cpu_exec_kv_append(const exec *e, const tn_cpu_task *task, uint32_t row);
void tn_cpu_exec_kv_append_own(const exec *e, const tn_cpu_task *task); // the worker's own heads of all rows
void tn_cpu_exec_attention(const exec *e, const tn_cpu_task *task);
void tn_cpu_exec_copy_pages(const exec *e); // the worker's part of the step's copies
size_t tn_cpu_attention_scratch_bytes(const tn_node *node);

#endif
