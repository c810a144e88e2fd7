// Runs a program's tasks on one worker: which rows, panels or heads are its own, and the kernel calls for them.
// No value depends on how the work is shared: rows, outputs and heads are computed whole, each by one worker.
#include "base/clock.h"
#include "base/exact_math.h"
#include "cpu/cpu_program.h"
#include "ref/ref.h"

#include <string.h>

// Tokens a call of a matmul kernel: their codes stay in the second-level cache while the worker's panels pass.
#define TOKEN_BLOCK 64u
// Rows that are dequantised at a time: enough for the f32 kernels' tiles, few enough to stay in the first-level cache.
#define DEQUANT_ROWS 4u

typedef struct exec {
    tn_cpu_program *program;
    const tn_step *step;
    const tn_cpu_kernels *kernels;
    uint8_t *scratch; // of this thread
    uint32_t thread, n_threads;
} exec;

typedef struct range {
    uint32_t begin, end;
} range;

// The worker's part of n things, in order.
static range share(const exec *e, uint32_t n)
{
    return (range){(uint32_t)((uint64_t)n * e->thread / e->n_threads), (uint32_t)((uint64_t)n * (e->thread + 1) / e->n_threads)};
}

static uint32_t n_rows(const exec *e, tn_rows rows) { return rows == TN_ROWS_LOGITS ? e->step->n_logits : e->step->n_tokens; }
static float *f32_row(const tn_cpu_value *value, uint32_t row) { return value->f32 + value->stride * row; }
static int8_t *codes_row(const tn_cpu_value *value, uint32_t row) { return value->codes + value->stride * row; }

// Remembers the first node that stored a value out of range for the row's token, whoever comes first.
static void check_poison(const exec *e, const tn_cpu_task *task, tn_rows rows, uint32_t row, uint32_t absmax_bits)
{
    if (absmax_bits < TN_ABS_BITS_2P56) return;
    uint32_t *place = &e->program->poison[rows == TN_ROWS_LOGITS ? e->step->logit_rows[row] : row];
    uint32_t mine = task->node + 1, old = __atomic_load_n(place, __ATOMIC_RELAXED);
    while ((old == 0 || old > mine) && !__atomic_compare_exchange_n(place, &old, mine, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) continue;
}

// ---- ops by rows ----

static void clear_code_padding(const tn_cpu_value *value, uint32_t row)
{
    memset(codes_row(value, row) + value->width, 0, value->stride - value->width);
}

static void embed(const exec *e, const tn_cpu_task *task, uint32_t row)
{
    uint32_t token = (uint32_t)e->step->tokens[row], absmax;
    float *y = f32_row(task->out, row);
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
    e->kernels->norm_quant(f32_row(task->in[0], row), task->gamma, out->width, task->op->p.norm.eps, codes_row(out, row), out->scales + row,
                           out->sums + row);
    clear_code_padding(out, row);
}

static void quant(const exec *e, const tn_cpu_task *task, uint32_t row)
{
    const tn_cpu_value *out = task->out;
    e->kernels->quant(f32_row(task->in[0], row), out->width, codes_row(out, row), out->scales + row, out->sums + row);
    clear_code_padding(out, row);
}

static void quant_group(const exec *e, const tn_cpu_task *task, uint32_t row)
{
    const tn_cpu_value *out = task->out;
    size_t first = (size_t)row * out->n_groups;
    e->kernels->quant_group(f32_row(task->in[0], row), out->width, task->group, codes_row(out, row), out->scales + first,
                            out->sums + first);
    clear_code_padding(out, row);
}

static void norm(const exec *e, const tn_cpu_task *task, uint32_t row)
{
    uint32_t absmax =
        e->kernels->norm(f32_row(task->in[0], row), task->gamma, task->out->width, task->op->p.norm.eps, f32_row(task->out, row));
    check_poison(e, task, task->out->rows, row, absmax);
}

static void rope(const exec *e, const tn_cpu_task *task, uint32_t row)
{
    const float *table = (const float *)(const void *)(task->w.data + task->w.stride_bytes * e->step->positions[row]);
    uint32_t absmax = e->kernels->rope(f32_row(task->in[0], row), table, task->op->p.rope.n_heads, task->op->p.rope.head_dim,
                                       task->op->p.rope.pairs, f32_row(task->out, row));
    check_poison(e, task, task->out->rows, row, absmax);
}

static void glu(const exec *e, const tn_cpu_task *task, uint32_t row)
{
    uint32_t absmax = task->kernel.glu(f32_row(task->in[0], row), f32_row(task->in[1], row), task->out->width, f32_row(task->out, row));
    check_poison(e, task, task->out->rows, row, absmax);
}

static void add(const exec *e, const tn_cpu_task *task, uint32_t row)
{
    uint32_t absmax = e->kernels->add(f32_row(task->in[0], row), f32_row(task->in[1], row), task->out->width, f32_row(task->out, row));
    check_poison(e, task, task->out->rows, row, absmax);
}

static void copy(const exec *e, const tn_cpu_task *task, uint32_t row)
{
    memcpy(f32_row(task->out, row), f32_row(task->in[0], e->step->logit_rows[row]), task->out->width * sizeof(float));
}

static void tap(const exec *e, const tn_cpu_task *task, uint32_t row)
{
    (void)e;
    const tn_cpu_value *in = task->in[0];
    memcpy(task->tap + (size_t)in->width * row, f32_row(in, row), in->width * sizeof(float));
}

// ---- KV cache and attention ----

static uint8_t *kv_block(const tn_cpu_program *program, int32_t layer, uint32_t page, uint32_t kv_head)
{
    uint64_t index = ((uint64_t)(layer - program->first_layer) * program->n_kv_pages + page) * program->n_kv_heads + kv_head;
    return program->kv + index * TN_KV_BLOCK_BYTES(program->head_dim);
}

static const uint32_t *pages_of(const exec *e, uint32_t row)
{
    return e->step->page_table + (size_t)e->step->seqs[row] * e->program->n_seq_pages_max;
}

void tn_cpu_kv_store(uint8_t *block, uint32_t head_dim, uint32_t position, const int16_t *k, float k_scale, const int16_t *v, float v_scale)
{
    const size_t n = (size_t)TN_KV_PAGE_POSITIONS * head_dim;
    int16_t *ks = (int16_t *)(void *)block, *vs = ks + n;
    float *scales = (float *)(void *)(vs + n);
    for (uint32_t d = 0; d < head_dim; d++) {
        ks[((size_t)(d / 2) * TN_KV_PAGE_POSITIONS + position) * 2 + d % 2] = k[d];
        vs[((size_t)(position / 2) * head_dim + d) * 2 + position % 2] = v[d];
    }
    scales[position] = k_scale;
    scales[TN_KV_PAGE_POSITIONS + position] = v_scale;
}

static void kv_append(const exec *e, const tn_cpu_task *task, uint32_t row)
{
    const uint32_t head_dim = task->op->p.attention.head_dim, position = e->step->positions[row];
    const uint32_t page = pages_of(e, row)[position / TN_KV_PAGE_POSITIONS];
    int16_t *k = (int16_t *)(void *)e->scratch, *v = k + head_dim;
    for (uint32_t head = 0; head < task->op->p.attention.n_kv_heads; head++) {
        float k_scale, v_scale;
        e->kernels->quant_head(f32_row(task->in[0], row) + (size_t)head * head_dim, head_dim, tn_kv_a_qk(head_dim), k, &k_scale);
        e->kernels->quant_head(f32_row(task->in[1], row) + (size_t)head * head_dim, head_dim, TN_KV_A_V, v, &v_scale);
        tn_cpu_kv_store(kv_block(e->program, task->op->layer, page, head), head_dim, position % TN_KV_PAGE_POSITIONS, k, k_scale, v,
                        v_scale);
    }
}

static size_t round64(size_t bytes) { return (bytes + 63) & ~(size_t)63; }

// Bytes from one dequantised row to the next, as f32 kernels want them.
static size_t dequant_stride(const tn_cpu_task *task) { return round64(task->w.n_cols * sizeof(float)); }

size_t tn_cpu_exec_scratch_bytes(const tn_cpu_task *task)
{
    const tn_node *node = task->op;
    if (task->kind == TN_CPU_TASK_MATMUL_DENSE) return task->dequant ? DEQUANT_ROWS * dequant_stride(task) : 0;
    const size_t head_dim = node->p.attention.head_dim;
    if (node->op == TN_OP_KV_APPEND) return round64(2 * head_dim * sizeof(int16_t));
    if (node->op != TN_OP_ATTENTION) return 0;
    const size_t n_q = node->p.attention.n_heads / node->p.attention.n_kv_heads;
    return round64(n_q * head_dim * sizeof(int16_t)) + round64(n_q * sizeof(float)) + round64(TN_ATTENTION_SCRATCH_BYTES(n_q, head_dim));
}

// The query heads of one token that share a KV head.
static void attend(const exec *e, const tn_cpu_task *task, uint32_t row, uint32_t kv_head)
{
    const uint32_t head_dim = task->op->p.attention.head_dim, n_kv_heads = task->op->p.attention.n_kv_heads;
    const uint32_t n_q = task->op->p.attention.n_heads / n_kv_heads;
    const size_t first = (size_t)kv_head * n_q * head_dim;
    int16_t *q = (int16_t *)(void *)e->scratch;
    float *q_scale = (float *)(void *)(e->scratch + round64((size_t)n_q * head_dim * sizeof(int16_t)));
    uint8_t *rest = (uint8_t *)q_scale + round64(n_q * sizeof(float));
    for (uint32_t i = 0; i < n_q; i++) {
        float scale;
        e->kernels->quant_head(f32_row(task->in[0], row) + first + (size_t)i * head_dim, head_dim, tn_kv_a_qk(head_dim),
                               q + (size_t)i * head_dim, &scale);
        q_scale[i] = tn_ref_query_scale(scale, head_dim);
    }
    tn_k_attention_args args = {
        .q = q,
        .q_scale = q_scale,
        .n_q = n_q,
        .head_dim = head_dim,
        .kv = kv_block(e->program, task->op->layer, 0, kv_head),
        .page_stride = (size_t)n_kv_heads * TN_KV_BLOCK_BYTES(head_dim),
        .pages = pages_of(e, row),
        .n_pos = e->step->positions[row] + 1,
        .y = f32_row(task->out, row) + first,
        .scratch = rest,
    };
    check_poison(e, task, task->out->rows, row, e->kernels->attention(&args));
}

// Later tokens see more keys: dealing the heads out one by one keeps the workers' loads alike.
static void attention(const exec *e, const tn_cpu_task *task)
{
    const uint32_t n_kv_heads = task->op->p.attention.n_kv_heads;
    const uint64_t n = (uint64_t)n_rows(e, task->out->rows) * n_kv_heads;
    for (uint64_t i = e->thread; i < n; i += e->n_threads) attend(e, task, (uint32_t)(i / n_kv_heads), (uint32_t)(i % n_kv_heads));
}

// ---- matmuls ----

typedef struct tile {
    uint32_t first_row, M;    // tokens
    uint32_t first_column, N; // outputs; the first is a multiple of 16
    const uint8_t *w;         // of the first output
    uint32_t absmax[TOKEN_BLOCK];
} tile;

static void ternary_tile(const tn_cpu_kernels *kernels, const tn_cpu_task *task, tile *t)
{
    const tn_cpu_value *x = task->in[0];
    tn_k_matmul_ternary_args args = {
        .x = codes_row(x, t->first_row),
        .x_stride = x->stride,
        .x_scale = x->scales + t->first_row,
        .x_sum = x->sums + t->first_row,
        .w = t->w,
        .w_scale = task->w.scales + t->first_column,
        .M = t->M,
        .N = t->N,
        .n_blocks = task->w.n_blocks,
        .y = f32_row(task->out, t->first_row) + t->first_column,
        .y_stride = task->out->stride,
        .y_absmax = t->absmax,
    };
    (task->w.layout == TN_CPU_LAYOUT_T5_16 ? kernels->matmul_ternary_t5 : kernels->matmul_ternary)(&args);
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
        .y = f32_row(task->out, t->first_row) + t->first_column,
        .y_stride = task->out->stride,
        .y_absmax = t->absmax,
    };
    if (x->type == TN_VALUE_F32) {
        args.x = f32_row(x, t->first_row);
        args.x_stride = x->stride;
    } else {
        args.xq = codes_row(x, t->first_row);
        args.xq_stride = x->stride;
        args.xq_scale = x->scales + (size_t)t->first_row * x->n_groups;
        args.xq_sum = x->sums + (size_t)t->first_row * x->n_groups;
        args.xq_groups = x->n_groups;
    }
    if (task->dequant) {
        dequantised_rows(e, task, &args);
    } else {
        task->kernel.dense(&args);
    }
}

// Shares tiles of (panels, tokens). With at least as many panels as workers each worker keeps its own panels for all tokens, so that the
// weights pass through one core's caches only.
static void matmul(const exec *e, const tn_cpu_task *task)
{
    const uint32_t M = n_rows(e, task->out->rows), N = task->out->width;
    const uint32_t n_panels = (N - 1) / TN_T2_ROWS + 1, n_blocks = M / TOKEN_BLOCK + (M % TOKEN_BLOCK != 0);
    const uint32_t n_chunks = n_panels < e->n_threads ? n_panels : e->n_threads;
    const bool in_panels = task->w.layout != TN_CPU_LAYOUT_ROWS;
    const uint64_t n_tiles = (uint64_t)n_chunks * n_blocks, end = n_tiles * (e->thread + 1) / e->n_threads;
    for (uint64_t i = n_tiles * e->thread / e->n_threads; i < end; i++) {
        const uint64_t chunk = i / n_blocks;
        const uint32_t block = (uint32_t)(i % n_blocks), first_panel = (uint32_t)(n_panels * chunk / n_chunks);
        const uint32_t columns_end = (uint32_t)(n_panels * (chunk + 1) / n_chunks) * TN_T2_ROWS;
        tile t = {.first_row = block * TOKEN_BLOCK, .first_column = first_panel * TN_T2_ROWS};
        t.M = M - t.first_row < TOKEN_BLOCK ? M - t.first_row : TOKEN_BLOCK;
        t.N = (columns_end < N ? columns_end : N) - t.first_column;
        t.w = task->w.data + task->w.stride_bytes * (in_panels ? first_panel : t.first_column);
        if (task->kind == TN_CPU_TASK_MATMUL_TERNARY) {
            ternary_tile(e->kernels, task, &t);
        } else {
            dense_tile(e, task, &t);
        }
        for (uint32_t m = 0; m < t.M; m++) check_poison(e, task, task->out->rows, t.first_row + m, t.absmax[m]);
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
    [TN_CPU_TASK_KV_APPEND] = kv_append,
    [TN_CPU_TASK_GLU] = glu,
    [TN_CPU_TASK_ADD] = add,
    [TN_CPU_TASK_COPY] = copy,
    [TN_CPU_TASK_TAP] = tap,
};

static void run_task(const exec *e, const tn_cpu_task *task)
{
    row_fn *fn = row_fns[task->kind];
    if (fn) {
        range mine = share(e, n_rows(e, task->out ? task->out->rows : task->in[0]->rows));
        for (uint32_t row = mine.begin; row < mine.end; row++) fn(e, task, row);
    } else if (task->kind == TN_CPU_TASK_ATTENTION) {
        attention(e, task);
    } else {
        matmul(e, task);
    }
}

// As tn_cpu_program_run does, with a look at the clock after each task and barrier.
static void run_timed(const exec *e, tn_program_stats *stats)
{
    tn_cpu_program *program = e->program;
    uint64_t now_ns = tn_clock_ns();
    for (uint32_t i = 0; i < program->n_tasks; i++) {
        const tn_cpu_task *task = &program->tasks[i];
        if (task->barrier) {
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
    for (uint32_t i = 0; i < program->n_tasks; i++) {
        if (program->tasks[i].barrier) tn_cpu_pool_barrier(program->device->pool);
        run_task(&e, &program->tasks[i]);
    }
    return TN_OK;
}
