// Runs a program's tasks on one worker: which rows, panels or heads are its own, and the kernel calls for them.
// No value depends on how the work is shared: rows, outputs and heads are computed whole, each by one worker.
#include "cpu/cpu_exec.h"

#include "base/clock.h"
#include "ref/ref.h"

#include <string.h>

// ---- ops by rows ----

static void clear_code_padding(const exec *e, const tn_cpu_value *value, uint32_t row)
{
    memset(codes_row(e, value, row) + value->width, 0, value->stride - value->width);
}

static void embed(const exec *e, const tn_cpu_task *task, uint32_t row)
{
    uint32_t token = (uint32_t)e->step->tokens[row], absmax;
    float *y = f32_row(e, task->out, row);
    if (task->dequant) {
        task->dequant(task->w.data + task->w.stride_bytes * token, task->out->width, y);
        absmax = tn_ref_absmax_bits(y, task->out->width);
    } else {
        absmax = task->kernel.embed(task->w.data, task->w.stride_bytes, token, task->out->width, y);
    }
    check_poison(e, task, task->out->rows, row, absmax);
}

static void norm_quant(const exec *e, const tn_cpu_task *task, uint32_t row)
{
    const tn_cpu_value *out = task->out;
    e->kernels->norm_quant(f32_row(e, task->in[0], row), task->gamma, out->width, task->op->p.norm.eps, codes_row(e, out, row),
                           scales_row(e, out, row), sums_row(e, out, row));
    clear_code_padding(e, out, row);
}

static void quant(const exec *e, const tn_cpu_task *task, uint32_t row)
{
    const tn_cpu_value *out = task->out;
    e->kernels->quant(f32_row(e, task->in[0], row), out->width, codes_row(e, out, row), scales_row(e, out, row), sums_row(e, out, row));
    clear_code_padding(e, out, row);
}

static void quant_group(const exec *e, const tn_cpu_task *task, uint32_t row)
{
    const tn_cpu_value *out = task->out;
    e->kernels->quant_group(f32_row(e, task->in[0], row), out->width, task->group, codes_row(e, out, row), scales_row(e, out, row),
                            sums_row(e, out, row));
    clear_code_padding(e, out, row);
}

static void norm(const exec *e, const tn_cpu_task *task, uint32_t row)
{
    uint32_t absmax =
        e->kernels->norm(f32_row(e, task->in[0], row), task->gamma, task->out->width, task->op->p.norm.eps, f32_row(e, task->out, row));
    check_poison(e, task, task->out->rows, row, absmax);
}

static void rope(const exec *e, const tn_cpu_task *task, uint32_t row)
{
    const float *table = (const float *)(const void *)(task->w.data + task->w.stride_bytes * e->step->positions[row]);
    uint32_t absmax = e->kernels->rope(f32_row(e, task->in[0], row), table, task->op->p.rope.n_heads, task->op->p.rope.head_dim,
                                       task->op->p.rope.pairs, f32_row(e, task->out, row));
    check_poison(e, task, task->out->rows, row, absmax);
}

static void glu(const exec *e, const tn_cpu_task *task, uint32_t row)
{
    uint32_t absmax =
        task->kernel.glu(f32_row(e, task->in[0], row), f32_row(e, task->in[1], row), task->out->width, f32_row(e, task->out, row));
    check_poison(e, task, task->out->rows, row, absmax);
}

static void add(const exec *e, const tn_cpu_task *task, uint32_t row)
{
    uint32_t absmax =
        e->kernels->add(f32_row(e, task->in[0], row), f32_row(e, task->in[1], row), task->out->width, f32_row(e, task->out, row));
    check_poison(e, task, task->out->rows, row, absmax);
}

static void copy(const exec *e, const tn_cpu_task *task, uint32_t row)
{
    memcpy(f32_row(e, task->out, row), f32_row(e, task->in[0], e->step->logit_rows[row]), task->out->width * sizeof(float));
}

static void tap(const exec *e, const tn_cpu_task *task, uint32_t row)
{
    const tn_cpu_value *in = task->in[0];
    memcpy(task->tap + (size_t)in->width * row, f32_row(e, in, row), in->width * sizeof(float));
}

// ---- the program ----

typedef void row_fn(const exec *e, const tn_cpu_task *task, uint32_t row);
// NULL: the task is not shared by rows.
static row_fn *const row_fns[TN_CPU_TASK_COUNT_] = {
    [TN_CPU_TASK_EMBED] = embed,
    [TN_CPU_TASK_NORM_QUANT] = norm_quant,
    [TN_CPU_TASK_QUANT] = quant,
    [TN_CPU_TASK_QUANT_GROUP] = quant_group,
    [TN_CPU_TASK_NORM] = norm,
    [TN_CPU_TASK_ROPE] = rope,
    [TN_CPU_TASK_KV_APPEND] = tn_cpu_exec_kv_append,
    [TN_CPU_TASK_GLU] = glu,
    [TN_CPU_TASK_ADD] = add,
    [TN_CPU_TASK_COPY] = copy,
    [TN_CPU_TASK_TAP] = tap,
};

static void run_task(const exec *e, const tn_cpu_task *task)
{
    row_fn *fn = row_fns[task->kind];
    const bool screens = tn_cpu_program_screens(e->program);
    if (task->is_screening && !screens) return;
    if (screens && task->kind == TN_CPU_TASK_MATMUL_DENSE && task->w.screen.panels) {
        tn_cpu_exec_resolve_head(e, task);
    } else if (task->kind == TN_CPU_TASK_ATTENTION) {
        tn_cpu_exec_attention(e, task);
    } else if (!fn) {
        tn_cpu_exec_matmul(e, task);
    } else if (task->sharing == TN_CPU_BY_PARTS) {
        tn_cpu_exec_kv_append_own(e, task);
    } else {
        const uint32_t n = n_rows(e, task->out ? task->out->rows : task->in[0]->rows);
        const range mine = task->sharing == TN_CPU_BY_EACH ? (range){0, n} : share(e, n);
        for (uint32_t row = mine.begin; row < mine.end; row++) fn(e, task, row);
    }
}

// Whether the workers meet before a task of this step: rows of up can be left out once all have computed their gates.
static bool workers_meet(const tn_cpu_program *program, const tn_cpu_task *task)
{
    const bool reads_gates = tn_cpu_skip_has(program->skip.kinds, TN_CPU_SPARSE_ROWS) || program->skip.counts;
    return tn_cpu_program_meets(program, task) || (task->product && task->gate && reads_gates);
}

// As tn_cpu_program_run does, with a look at the clock after each task and barrier.
static void run_timed(const exec *e, tn_program_stats *stats)
{
    tn_cpu_program *program = e->program;
    if (e->step->n_copies) stats->n_barriers++; // of copy_pages
    uint64_t now_ns = tn_clock_ns();
    for (uint32_t i = 0; i < program->list->n_tasks; i++) {
        const tn_cpu_task *task = &program->list->tasks[i];
        if (workers_meet(program, task)) {
            tn_cpu_pool_barrier(program->device->pool);
            const uint64_t met_ns = tn_clock_ns();
            stats->barrier_wait_ns += met_ns - now_ns;
            stats->n_barriers++;
            now_ns = met_ns;
        }
        run_task(e, task);
        const uint64_t done_ns = tn_clock_ns();
        stats->node_ns[task->node] += done_ns - now_ns;
        now_ns = done_ns;
    }
    stats->n_submits++;
    if (program->skip.kinds == 0) return;
    const tn_cpu_skip_zeros *zeros = &program->skip.step_zeros;
    stats->n_gates += zeros->n_gates;
    stats->n_gates_zero += zeros->n_gates_zero;
    stats->n_codes += zeros->n_codes;
    stats->n_codes_zero += zeros->n_codes_zero;
}

// What any task reads or writes may be in a page that is copied.
static void copy_pages(const exec *e)
{
    if (e->step->n_copies == 0) return;
    tn_cpu_exec_copy_pages(e);
    tn_cpu_pool_barrier(e->program->device->pool);
}

tn_status tn_cpu_program_run(void *ctx, uint32_t thread, uint32_t n_threads)
{
    tn_cpu_program *program = ctx;
    exec e = {
        .program = program,
        .step = &program->step,
        .kernels = &program->device->kernels,
        .scratch = program->thread_scratch + program->thread_scratch_bytes * thread,
        .thread = thread,
        .n_threads = n_threads,
    };
    copy_pages(&e);
    if (thread == 0) tn_cpu_skip_time(&program->skip, false);
    if (program->stats && thread == 0) {
        run_timed(&e, program->stats);
        tn_cpu_skip_time(&program->skip, true);
        return TN_OK;
    }
    for (uint32_t i = 0; i < program->list->n_tasks; i++) {
        const tn_cpu_task *task = &program->list->tasks[i];
        if (workers_meet(program, task)) tn_cpu_pool_barrier(program->device->pool);
        run_task(&e, task);
    }
    if (thread == 0) tn_cpu_skip_time(&program->skip, true);
    return TN_OK;
}
