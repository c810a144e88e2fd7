// Matmuls of a program: which panels a worker computes for which tokens, and the kernel calls for them.
#include "cpu/cpu_exec.h"

#include <string.h>

// Tokens a call of a matmul kernel: their codes stay in the second-level cache while the worker's panels pass.
#define TOKEN_BLOCK 64u
// Rows that are dequantised at a time: enough for the f32 kernels' tiles, few enough to stay in the first-level cache.
#define DEQUANT_ROWS 4u

// Bytes from one dequantised row to the next, as f32 kernels want them.
static size_t dequant_stride(const tn_cpu_task *task) { return round64(task->w.n_cols * sizeof(float)); }

// Which rows or columns of one token are wanted; columns with their codes.
static size_t list_bytes(uint32_t n) { return round64(((size_t)n + 3) * sizeof(uint32_t)); }
static size_t listed_codes_bytes(uint32_t n) { return round64((size_t)n + 3); }
// Of a strip, which may be all rows.
static size_t sums_bytes(uint32_t n_rows)
{
    return ((size_t)n_rows + TN_SPARSE_SPAN - 1) / TN_SPARSE_SPAN * TN_SPARSE_SPAN * sizeof(int32_t);
}

static size_t product_scratch_bytes(const tn_cpu_task *task)
{
    if (task->gate) return list_bytes(task->w.n_rows);
    return TN_CPU_SKIP_TOKENS * (list_bytes(task->w.n_cols) + listed_codes_bytes(task->w.n_cols)) + sums_bytes(task->w.n_rows);
}

size_t tn_cpu_exec_scratch_bytes(const tn_cpu_task *task)
{
    if (task->w.screen.panels && task->kind == TN_CPU_TASK_MATMUL_DENSE) return round64(sizeof(tn_cpu_screen_state));
    if (task->kind == TN_CPU_TASK_MATMUL_DENSE) return task->dequant ? DEQUANT_ROWS * dequant_stride(task) : 0;
    if (task->kind == TN_CPU_TASK_MATMUL_TERNARY) return task->product ? product_scratch_bytes(task) : 0;
    return task->op ? tn_cpu_attention_scratch_bytes(task->op) : 0; // tasks that the compiler added have none
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

// ---- the two-stage head ----

// What both of its stages read; the codes are the first one's affair. Workers keep what they know in their scratch, which no other task
// uses between the two.
static tn_cpu_screen_args screen_args(const exec *e, const tn_cpu_task *task, const tn_cpu_value *x)
{
    const tn_cpu_program *program = e->program;
    return (tn_cpu_screen_args){
        .w = &task->w,
        .approximate = e->kernels->matmul_q8_0,
        .exact = task->kernel.dense,
        .bound = tn_cpu_screen_bound_of,
        .x = f32_row(e, x, 0),
        .x_stride = x->stride,
        .M = e->step->n_logits,
        .n_top = e->step->n_top,
        .n_top_ids = e->step->n_top_ids,
        .y = f32_row(e, task->out, 0),
        .y_stride = task->out->stride,
        .states = program->thread_scratch,
        .state_stride = program->thread_scratch_bytes,
        .thread = e->thread,
        .n_threads = e->n_threads,
    };
}

static tn_cpu_screen_args approximating_args(const exec *e, const tn_cpu_task *task)
{
    const tn_cpu_value *codes = task->in[0];
    tn_cpu_screen_args args = screen_args(e, task, task->in[1]);
    args.xq = codes_row(e, codes, 0);
    args.xq_stride = codes->stride;
    args.xq_scale = scales_row(e, codes, 0);
    args.xq_sum = sums_row(e, codes, 0);
    return args;
}

// Rows are claimed a piece at a time: those that remain may lie close together.
void tn_cpu_exec_resolve_head(const exec *e, const tn_cpu_task *task)
{
    enum { PIECE = 1024 };
    const tn_cpu_screen_args args = screen_args(e, task, task->in[0]);
    const uint32_t n = task->w.n_rows;
    uint32_t absmax[TN_SCREEN_TOKENS_MAX] = {0};
    uint64_t n_kept = 0;
    tn_cpu_screen_merge(&args);
    for (;;) {
        const uint64_t at = (uint64_t)__atomic_fetch_add(&e->program->claims[task->claims], 1, __ATOMIC_RELAXED) * PIECE;
        if (at >= n) break;
        n_kept += tn_cpu_screen_resolve(&args, (uint32_t)at, n - at < PIECE ? n : (uint32_t)at + PIECE, absmax);
    }
    for (uint32_t m = 0; m < args.M; m++) check_poison(e, task, task->out->rows, m, absmax[m]);
    __atomic_fetch_add(&e->program->n_kept, n_kept, __ATOMIC_RELAXED);
    if (e->program->screen_stats) __atomic_fetch_add(&e->program->screen_stats->n_kept, n_kept, __ATOMIC_RELAXED);
}

// ---- whole products ----

// Panels [first, end) times a block of tokens.
static void matmul_panels(const exec *e, const tn_cpu_task *task, uint32_t block, uint32_t first, uint32_t end)
{
    if (task->kind == TN_CPU_TASK_SCREEN) { // whose tokens are one block
        const tn_cpu_screen_args args = approximating_args(e, task);
        tn_cpu_screen_panels(&args, first, end);
        return;
    }
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

// ---- products that leave out what squared ReLU makes 0 ----

// Rows a token goes through at a time where there are several: the second-level cache keeps them for the next token.
#define SPARSE_ROWS_BLOCK 256u

// What one token has listed of a product, from its row `first_row` on.
static void sparse_product(const exec *e, const tn_cpu_task *task, uint32_t token, uint32_t first_row, tn_k_sparse_args *args)
{
    uint32_t absmax = 0;
    args->all.x_scale = scales_row(e, task->in[0], token);
    args->all.x_sum = sums_row(e, task->in[0], token);
    args->all.w_scale = task->w.scales + first_row;
    args->all.M = 1;
    args->all.y = f32_row(e, task->out, token) + first_row;
    args->all.y_absmax = &absmax;
    (task->gate ? e->kernels->sparse_rows : e->kernels->sparse_columns)(args);
    check_poison(e, task, task->out->rows, token, absmax);
}

static void listed_rows(const exec *e, const tn_cpu_task *task, uint32_t first, uint32_t end)
{
    const tn_cpu_skip_product *product = &e->program->skip.products[task->product - 1];
    const uint8_t *copy = tn_cpu_skip_bytes(&e->program->skip, product);
    const uint32_t M = e->step->n_tokens, N = task->w.n_rows, row_end = end * TN_T2_ROWS < N ? end * TN_T2_ROWS : N;
    const uint32_t at_once = M == 1 ? N : SPARSE_ROWS_BLOCK;
    uint32_t *listed = (uint32_t *)(void *)e->scratch;
    for (uint32_t row = first * TN_T2_ROWS; row < row_end; row += at_once) {
        const uint32_t n = row_end - row < at_once ? row_end - row : at_once;
        for (uint32_t m = 0; m < M; m++) {
            const float *gate = f32_row(e, task->gate, m) + row;
            uint32_t n_listed = 0;
            for (uint32_t i = 0; i < n; i++) {
                listed[n_listed] = i;
                n_listed += gate[i] > 0;
            }
            memset(f32_row(e, task->out, m) + row, 0, n * sizeof(float)); // what is left out is multiplied by 0, but must be a number
            tn_k_sparse_args args = {
                .all = {.x = codes_row(e, task->in[0], m), .w = copy + tn_cpu_sparse_row_bytes(&product->copy) * row, .N = n},
                .listed = listed,
                .n_listed = n_listed,
                .K = task->w.n_cols};
            sparse_product(e, task, m, row, &args);
        }
    }
}

// The columns that each token wants. Every worker lists them all for itself.
static void list_columns(const exec *e, const tn_cpu_task *task, uint32_t n_listed[TN_CPU_SKIP_TOKENS])
{
    const uint32_t K = task->w.n_cols;
    for (uint32_t m = 0; m < e->step->n_tokens; m++) {
        uint32_t *listed = (uint32_t *)(void *)(e->scratch + (list_bytes(K) + listed_codes_bytes(K)) * m), n = 0;
        int8_t *codes = (int8_t *)listed + list_bytes(K);
        const int8_t *q = codes_row(e, task->in[0], m);
        for (uint32_t k = 0; k < K; k++) {
            listed[n] = k;
            codes[n] = q[k];
            n += q[k] != 0;
        }
        n_listed[m] = n;
        for (uint32_t i = n; i < (n + 3) / 4 * 4; i++) {
            listed[i] = 0;
            codes[i] = 0;
        }
    }
}

static void listed_columns(const exec *e, const tn_cpu_task *task, const uint32_t n_listed[TN_CPU_SKIP_TOKENS], uint32_t first,
                           uint32_t end)
{
    const tn_cpu_skip_product *product = &e->program->skip.products[task->product - 1];
    const uint8_t *copy = tn_cpu_skip_bytes(&e->program->skip, product);
    const uint32_t K = task->w.n_cols, N = task->w.n_rows, n_lines = product->copy.n_lines;
    int32_t *sums = (int32_t *)(void *)(e->scratch + TN_CPU_SKIP_TOKENS * (list_bytes(K) + listed_codes_bytes(K)));
    for (uint32_t strip = first; strip < end; strip++) {
        const uint32_t row = strip * n_lines * TN_SPARSE_SPAN;
        for (uint32_t m = 0; m < e->step->n_tokens; m++) {
            const uint32_t *listed = (const uint32_t *)(const void *)(e->scratch + (list_bytes(K) + listed_codes_bytes(K)) * m);
            tn_k_sparse_args args = {.all = {.x = (const int8_t *)listed + list_bytes(K),
                                             .w = copy + tn_cpu_sparse_strip_bytes(&product->copy) * strip,
                                             .N = N - row < n_lines * TN_SPARSE_SPAN ? N - row : n_lines * TN_SPARSE_SPAN},
                                     .listed = listed,
                                     .n_listed = n_listed[m],
                                     .n_lines = n_lines,
                                     .sums = sums};
            sparse_product(e, task, m, row, &args);
        }
    }
}

// Neurons that are 0, as tn_cpu_skip_zeros says. By worker 0.
static void count_zeros(const exec *e, const tn_cpu_task *task)
{
    tn_cpu_skip_zeros *zeros = &e->program->skip.step_zeros;
    const uint32_t M = e->program->skip.state == TN_CPU_SKIP_COUNTING ? 1 : e->step->n_tokens,
                   n = task->gate ? task->w.n_rows : task->w.n_cols;
    uint64_t n_zero = 0;
    for (uint32_t i = 0; i < n; i++) {
        bool is_wanted = false;
        for (uint32_t m = 0; m < M; m++) is_wanted |= task->gate ? f32_row(e, task->gate, m)[i] > 0 : codes_row(e, task->in[0], m)[i] != 0;
        n_zero += !is_wanted;
    }
    *(task->gate ? &zeros->n_gates : &zeros->n_codes) += n;
    *(task->gate ? &zeros->n_gates_zero : &zeros->n_codes_zero) += n_zero;
}

// How a task's work is cut: parts, each some panels of all tokens of a block.
typedef struct cut {
    uint32_t n_parts, n_blocks;
    bool is_sparse;                        // parts leave something out
    uint32_t n_listed[TN_CPU_SKIP_TOKENS]; // columns of each token
} cut;

static cut cut_of(const exec *e, const tn_cpu_task *task)
{
    const uint32_t M = n_rows(e, task->out->rows), n_panels = (task->out->width - 1) / TN_T2_ROWS + 1;
    cut c = {.n_parts = n_panels, .n_blocks = M / TOKEN_BLOCK + (M % TOKEN_BLOCK != 0)};
    if (!task->product) return c;
    if (e->program->skip.counts && e->thread == 0) count_zeros(e, task);
    c.is_sparse = tn_cpu_skip_has(e->program->skip.kinds, task->gate ? TN_CPU_SPARSE_ROWS : TN_CPU_SPARSE_COLUMNS);
    if (!c.is_sparse || task->gate) return c;
    c.n_parts = tn_cpu_sparse_n_strips(&e->program->skip.products[task->product - 1].copy);
    list_columns(e, task, c.n_listed);
    return c;
}

// Parts [first, end) of all parts and blocks, which go block by block.
static void run_parts(const exec *e, const tn_cpu_task *task, const cut *c, uint64_t first, uint64_t end)
{
    while (first < end) {
        const uint32_t block = (uint32_t)(first / c->n_parts), part = (uint32_t)(first % c->n_parts);
        const uint64_t left = end - first;
        const uint32_t n = left < c->n_parts - part ? (uint32_t)left : c->n_parts - part;
        if (!c->is_sparse) {
            matmul_panels(e, task, block, part, part + n);
        } else if (task->gate) {
            listed_rows(e, task, part, part + n);
        } else {
            listed_columns(e, task, c->n_listed, part, part + n);
        }
        first += n;
    }
}

// Panels by tokens. A worker begins with panels of its own, one stream of weights from memory; of the last eighth, and of prompts, whoever
// is ready claims some more, so that one which was held up is not waited for. Prompts go block by block of tokens: their codes stay in the
// cores' second-level caches, and the panels in the last one.
void tn_cpu_exec_matmul(const exec *e, const tn_cpu_task *task)
{
    if (task->kind == TN_CPU_TASK_SCREEN) {
        const tn_cpu_screen_args args = approximating_args(e, task);
        tn_cpu_screen_begin(&args);
    }
    const cut c = cut_of(e, task);
    const uint64_t n = (uint64_t)c.n_parts * c.n_blocks;
    const uint64_t n_own = e->n_threads == 1 ? n : c.n_blocks == 1 ? tn_cpu_own_parts(c.n_parts) : 0;
    run_parts(e, task, &c, n_own * e->thread / e->n_threads, n_own * (e->thread + 1) / e->n_threads);
    const uint32_t claimed_at_once = (uint32_t)((c.n_blocks == 1 ? n - n_own : c.n_parts) / (4u * e->n_threads)) + 1;
    while (n_own < n) {
        const uint64_t at = n_own + __atomic_fetch_add(&e->program->claims[task->claims], claimed_at_once, __ATOMIC_RELAXED);
        if (at >= n) break;
        run_parts(e, task, &c, at, at + claimed_at_once < n ? at + claimed_at_once : n);
    }
}
