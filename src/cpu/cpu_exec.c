// Runs a program's tasks on one worker: which rows, panels or heads are its own, and the kernel calls for them.
// No value depends on how the work is shared: rows, outputs and heads are computed whole, each by one worker.
#include "cpu/cpu_exec.h"

#include "base/clock.h"
#include "ref/ref.h"

#include <string.h>

// Tokens a call of a matmul kernel: their codes stay in the second-level cache while the worker's panels pass.
#define TOKEN_BLOCK 64u
// Rows that are dequantised at a time: enough for the f32 kernels' tiles, few enough to stay in the first-level cache.
#define DEQUANT_ROWS 4u

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

// ---- matmuls ----

// Bytes from one dequantised row to the next, as f32 kernels want them.
static size_t dequant_stride(const tn_cpu_task *task) { return round64(task->w.n_cols * sizeof(float)); }

size_t tn_cpu_exec_scratch_bytes(const tn_cpu_task *task)
{
    if (task->kind == TN_CPU_TASK_MATMUL_DENSE) return task->dequant ? DEQUANT_ROWS * dequant_stride(task) : 0;
    return tn_cpu_attention_scratch_bytes(task->op);
}

typedef struct tile {
    uint32_t first_row, M;    // tokens
    uint32_t first_column, N; // outputs; the first is a multiple of 16
    const uint8_t *w;         // of the first output
    uint32_t absmax[TOKEN_BLOCK];
} tile;

static void ternary_tile(const exec *e, const tn_cpu_task *task, tile *t)
{
    const tn_cpu_value *x = task->in[0];
    tn_k_matmul_ternary_args args = {
        .x = codes_row(e, x, t->first_row),
        .x_stride = x->stride,
        .x_scale = scales_row(e, x, t->first_row),
        .x_sum = sums_row(e, x, t->first_row),
        .w = t->w,
        .w_scale = task->w.scales + t->first_column,
        .M = t->M,
        .N = t->N,
        .n_blocks = task->w.n_blocks,
        .y = f32_row(e, task->out, t->first_row) + t->first_column,
        .y_stride = task->out->stride,
        .y_absmax = t->absmax,
    };
    (task->w.layout == TN_CPU_LAYOUT_T5_16 ? e->kernels->matmul_ternary_t5 : e->kernels->matmul_ternary)(&args);
}

// A few rows of the tile at a time go through f32, which is what is multiplied: the weights in memory stay as small as the file's.
static void dequantised_rows(const exec *e, const tn_cpu_task *task, const tn_k_matmul_dense_args *tile_args)
{
    tn_k_matmul_dense_args args = *tile_args;
    args.w = e->scratch;
    args.w_stride = dequant_stride(task);
    for (uint32_t n = 0; n < tile_args->N; n += args.N) {
        args.N = tile_args->N - n < DEQUANT_ROWS ? tile_args->N - n : DEQUANT_ROWS;
        for (uint32_t i = 0; i < args.N; i++) {
            task->dequant(tile_args->w + tile_args->w_stride * (n + i), args.K, (float *)(void *)(e->scratch + args.w_stride * i));
        }
        args.y = tile_args->y + n;
        task->kernel.dense(&args);
    }
}

static void dense_tile(const exec *e, const tn_cpu_task *task, tile *t)
{
    const tn_cpu_value *x = task->in[0];
    tn_k_matmul_dense_args args = {
        .w = t->w,
        .w_stride = task->w.stride_bytes,
        .M = t->M,
        .N = t->N,
        .K = x->width,
        .y = f32_row(e, task->out, t->first_row) + t->first_column,
        .y_stride = task->out->stride,
        .y_absmax = t->absmax,
    };
    if (x->type == TN_VALUE_F32) {
        args.x = f32_row(e, x, t->first_row);
        args.x_stride = x->stride;
    } else {
        args.xq = codes_row(e, x, t->first_row);
        args.xq_stride = x->stride;
        args.xq_scale = scales_row(e, x, t->first_row);
        args.xq_sum = sums_row(e, x, t->first_row);
        args.xq_groups = x->n_groups;
    }
    if (task->dequant) {
        dequantised_rows(e, task, &args);
    } else {
        task->kernel.dense(&args);
    }
}

// Panels [first, end) times a block of tokens.
static void matmul_panels(const exec *e, const tn_cpu_task *task, uint32_t block, uint32_t first, uint32_t end)
{
    const uint32_t M = n_rows(e, task->out->rows), N = task->out->width;
    const bool in_panels = task->w.layout != TN_CPU_LAYOUT_ROWS;
    tile t = {.first_row = block * TOKEN_BLOCK, .first_column = first * TN_T2_ROWS};
    t.M = M - t.first_row < TOKEN_BLOCK ? M - t.first_row : TOKEN_BLOCK;
    t.N = (end * TN_T2_ROWS < N ? end * TN_T2_ROWS : N) - t.first_column;
    t.w = task->w.data + task->w.stride_bytes * (in_panels ? first : t.first_column);
    if (task->kind == TN_CPU_TASK_MATMUL_TERNARY) {
        ternary_tile(e, task, &t);
    } else {
        dense_tile(e, task, &t);
    }
    for (uint32_t m = 0; m < t.M; m++) check_poison(e, task, task->out->rows, t.first_row + m, t.absmax[m]);
}

// Panels by tokens. A worker begins with panels of its own, one stream of weights from memory; of the last eighth, and of prompts, whoever
// is ready claims some more, so that one which was held up is not waited for. Prompts go block by block of tokens: their codes stay in the
// cores' second-level caches, and the panels in the last one.
static void matmul(const exec *e, const tn_cpu_task *task)
{
    const uint32_t M = n_rows(e, task->out->rows), n_panels = (task->out->width - 1) / TN_T2_ROWS + 1;
    const uint32_t n_blocks = M / TOKEN_BLOCK + (M % TOKEN_BLOCK != 0);
    const uint64_t n = (uint64_t)n_panels * n_blocks;
    const uint64_t n_own = e->n_threads == 1 ? n : n_blocks == 1 ? (uint64_t)n_panels * 7 / 8 : 0;
    const uint64_t own = n_own * e->thread / e->n_threads, own_end = n_own * (e->thread + 1) / e->n_threads;
    for (uint64_t at = own; at < own_end;) { // by blocks: more than one only where there is one worker
        const uint32_t block = (uint32_t)(at / n_panels), first = (uint32_t)(at % n_panels);
        const uint64_t left = own_end - at, count = left < n_panels - first ? left : n_panels - first;
        matmul_panels(e, task, block, first, first + (uint32_t)count);
        at += count;
    }
    const uint32_t claimed_at_once = (uint32_t)((n_blocks == 1 ? n - n_own : n_panels) / (4u * e->n_threads)) + 1;
    while (n_own < n) {
        const uint64_t at = n_own + __atomic_fetch_add(&e->program->claims[task->claims], claimed_at_once, __ATOMIC_RELAXED);
        if (at >= n) break;
        for (uint64_t i = at, end = at + claimed_at_once < n ? at + claimed_at_once : n; i < end;) {
            const uint32_t block = (uint32_t)(i / n_panels), first = (uint32_t)(i % n_panels);
            const uint64_t left = end - i, count = left < n_panels - first ? left : n_panels - first;
            matmul_panels(e, task, block, first, first + (uint32_t)count);
            i += count;
        }
    }
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
    if (task->kind == TN_CPU_TASK_ATTENTION) {
        tn_cpu_exec_attention(e, task);
    } else if (!fn) {
        matmul(e, task);
    } else if (task->sharing == TN_CPU_BY_PARTS) {
        tn_cpu_exec_kv_append_own(e, task);
    } else {
        const uint32_t n = n_rows(e, task->out ? task->out->rows : task->in[0]->rows);
        const range mine = task->sharing == TN_CPU_BY_EACH ? (range){0, n} : share(e, n);
        for (uint32_t row = mine.begin; row < mine.end; row++) fn(e, task, row);
    }
}

// As tn_cpu_program_run does, with a look at the clock after each task and barrier.
static void run_timed(const exec *e, tn_program_stats *stats)
{
    tn_cpu_program *program = e->program;
    uint64_t now_ns = tn_clock_ns();
    for (uint32_t i = 0; i < program->list->n_tasks; i++) {
        const tn_cpu_task *task = &program->list->tasks[i];
        if (tn_cpu_program_meets(program, task)) {
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
    if (program->stats && thread == 0) {
        run_timed(&e, program->stats);
        return TN_OK;
    }
    for (uint32_t i = 0; i < program->list->n_tasks; i++) {
        const tn_cpu_task *task = &program->list->tasks[i];
        if (tn_cpu_program_meets(program, task)) tn_cpu_pool_barrier(program->device->pool);
        run_task(&e, task);
    }
    return TN_OK;
}
