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

// Rows of a value: of the worker's own copy where it has one.
static float *f32_row(const exec *e, const tn_cpu_value *value, uint32_t row)
{
    return value->f32 + value->worker_stride / sizeof(float) * e->thread + value->stride * row;
}
static int8_t *codes_row(const exec *e, const tn_cpu_value *value, uint32_t row)
{
    return value->codes + value->worker_stride * e->thread + value->stride * row;
}
static float *scales_row(const exec *e, const tn_cpu_value *value, uint32_t row)
{
    return value->scales + value->worker_stride / sizeof(float) * e->thread + (size_t)row * value->n_groups;
}
static int32_t *sums_row(const exec *e, const tn_cpu_value *value, uint32_t row)
{
    return value->sums + value->worker_stride / sizeof(int32_t) * e->thread + (size_t)row * value->n_groups;
}

// Remembers the first node that stored a value out of range for the row's token, whoever comes first.
static void check_poison(const exec *e, const tn_cpu_task *task, tn_rows rows, uint32_t row, uint32_t absmax_bits)
{
    if (absmax_bits < TN_ABS_BITS_2P56) return;
    uint32_t *place = &e->program->poison[rows == TN_ROWS_LOGITS ? e->step->logit_rows[row] : row];
    uint32_t mine = task->node + 1, old = __atomic_load_n(place, __ATOMIC_RELAXED);
    while ((old == 0 || old > mine) && !__atomic_compare_exchange_n(place, &old, mine, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) continue;
}

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

static void append_head(const exec *e, const tn_cpu_task *task, uint32_t row, uint32_t head)
{
    const uint32_t head_dim = task->op->p.attention.head_dim, position = e->step->positions[row];
    const uint32_t page = pages_of(e, row)[position / TN_KV_PAGE_POSITIONS];
    int16_t *k = (int16_t *)(void *)e->scratch, *v = k + head_dim;
    float k_scale, v_scale;
    e->kernels->quant_head(f32_row(e, task->in[0], row) + (size_t)head * head_dim, head_dim, tn_kv_a_qk(head_dim), k, &k_scale);
    e->kernels->quant_head(f32_row(e, task->in[1], row) + (size_t)head * head_dim, head_dim, TN_KV_A_V, v, &v_scale);
    tn_cpu_kv_store(kv_block(e->program, task->op->layer, page, head), head_dim, position % TN_KV_PAGE_POSITIONS, k, k_scale, v, v_scale);
}

static void kv_append(const exec *e, const tn_cpu_task *task, uint32_t row)
{
    for (uint32_t head = 0; head < task->op->p.attention.n_kv_heads; head++) append_head(e, task, row, head);
}

// The worker's own heads, which it may attend without meeting the others.
static void append_own_heads(const exec *e, const tn_cpu_task *task)
{
    const range mine = share(e, task->op->p.attention.n_kv_heads);
    for (uint32_t row = 0; row < n_rows(e, task->in[0]->rows); row++) {
        for (uint32_t head = mine.begin; head < mine.end; head++) append_head(e, task, row, head);
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

// Quantises the query heads of one token that share a KV head, and says where their keys, values and results are.
static tn_k_attention_args attention_args(const exec *e, const tn_cpu_task *task, uint32_t row, uint32_t kv_head)
{
    const uint32_t head_dim = task->op->p.attention.head_dim, n_kv_heads = task->op->p.attention.n_kv_heads;
    const uint32_t n_q = task->op->p.attention.n_heads / n_kv_heads;
    const size_t first = (size_t)kv_head * n_q * head_dim;
    int16_t *q = (int16_t *)(void *)e->scratch;
    float *q_scale = (float *)(void *)(e->scratch + round64((size_t)n_q * head_dim * sizeof(int16_t)));
    uint8_t *rest = (uint8_t *)q_scale + round64(n_q * sizeof(float));
    for (uint32_t i = 0; i < n_q; i++) {
        float scale;
        e->kernels->quant_head(f32_row(e, task->in[0], row) + first + (size_t)i * head_dim, head_dim, tn_kv_a_qk(head_dim),
                               q + (size_t)i * head_dim, &scale);
        q_scale[i] = tn_ref_query_scale(scale, head_dim);
    }
    return (tn_k_attention_args){
        .q = q,
        .q_scale = q_scale,
        .n_q = n_q,
        .head_dim = head_dim,
        .kv = kv_block(e->program, task->op->layer, 0, kv_head),
        .page_stride = (size_t)n_kv_heads * TN_KV_BLOCK_BYTES(head_dim),
        .pages = pages_of(e, row),
        .n_pos = e->step->positions[row] + 1,
        .y = f32_row(e, task->out, row) + first,
        .scratch = rest,
    };
}

static void attend(const exec *e, const tn_cpu_task *task, uint32_t row, uint32_t kv_head)
{
    const tn_k_attention_args args = attention_args(e, task, row, kv_head);
    check_poison(e, task, task->out->rows, row, e->kernels->attention(&args));
}

static uint32_t pages_at(const exec *e, uint32_t row) { return e->step->positions[row] / TN_KV_PAGE_POSITIONS + 1; }

// Some pages of a head whose others belong to other workers. `border`: the first one between two workers that lies inside it, another for
// each such head. Whoever completes the head's pages joins them.
static void attend_pages(const exec *e, const tn_cpu_task *task, uint32_t row, uint32_t kv_head, range pages, uint32_t border)
{
    tn_cpu_program *program = e->program;
    tn_k_attention_args args = attention_args(e, task, row, kv_head);
    const bool by_border = program->n_parts_slots == e->n_threads - 1;
    const uint32_t slot = by_border ? border - 1 : row * task->op->p.attention.n_kv_heads + kv_head, n_pages = pages_at(e, row);
    args.parts = program->parts + program->parts_slot_floats * slot;
    args.first_page = pages.begin;
    args.n_pages = pages.end - pages.begin;
    e->kernels->attention_pages(&args);
    if (__atomic_add_fetch(&program->pages_done[slot], args.n_pages, __ATOMIC_ACQ_REL) < n_pages) return;
    __atomic_store_n(&program->pages_done[slot], 0, __ATOMIC_RELAXED); // the next user comes after a barrier
    check_poison(e, task, task->out->rows, row, e->kernels->attention_join(&args));
}

// All pages of all heads in one row, cut into equal shares.
static void attention_by_pages(const exec *e, const tn_cpu_task *task)
{
    const uint32_t n_kv_heads = task->op->p.attention.n_kv_heads, n = n_rows(e, task->out->rows);
    uint64_t total = 0, at = 0;
    for (uint32_t row = 0; row < n; row++) total += (uint64_t)pages_at(e, row) * n_kv_heads;
    const uint64_t begin = total * e->thread / e->n_threads, end = total * (e->thread + 1) / e->n_threads;
    for (uint32_t row = 0; row < n; row++) {
        const uint32_t n_pages = pages_at(e, row);
        for (uint32_t head = 0; head < n_kv_heads; head++, at += n_pages) {
            if (at + n_pages <= begin || at >= end) continue;
            const range pages = {(uint32_t)(begin > at ? begin - at : 0), (uint32_t)(end < at + n_pages ? end - at : n_pages)};
            if (pages.end - pages.begin == n_pages) {
                attend(e, task, row, head);
                continue;
            }
            // Border b is total * b / n_threads: the lowest above `at`.
            attend_pages(e, task, row, head, pages, (uint32_t)(at * e->n_threads / total) + 1);
        }
    }
}

// Whether each worker attends its own heads, as it has appended them.
static bool heads_are_owned(const tn_cpu_program *program) { return program->n_positions_max <= TN_CPU_OWNED_POSITIONS; }

bool tn_cpu_program_meets(const tn_cpu_program *program, const tn_cpu_task *task)
{
    return task->barrier || (task->kv_barrier && !heads_are_owned(program));
}

// Later tokens see more keys: dealing the heads out one by one keeps the workers' loads alike.
static void attention(const exec *e, const tn_cpu_task *task)
{
    const uint32_t n_kv_heads = task->op->p.attention.n_kv_heads, n = n_rows(e, task->out->rows);
    if (e->program->list->few_tokens && heads_are_owned(e->program)) {
        const range mine = share(e, n_kv_heads);
        for (uint32_t row = 0; row < n; row++) {
            for (uint32_t head = mine.begin; head < mine.end; head++) attend(e, task, row, head);
        }
    } else if (e->program->list->few_tokens && e->n_threads > 1) {
        attention_by_pages(e, task);
    } else {
        for (uint64_t i = e->thread; i < (uint64_t)n * n_kv_heads; i += e->n_threads)
            attend(e, task, (uint32_t)(i / n_kv_heads), (uint32_t)(i % n_kv_heads));
    }
}

// ---- matmuls ----

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
    [TN_CPU_TASK_KV_APPEND] = kv_append,
    [TN_CPU_TASK_GLU] = glu,
    [TN_CPU_TASK_ADD] = add,
    [TN_CPU_TASK_COPY] = copy,
    [TN_CPU_TASK_TAP] = tap,
};

static void run_task(const exec *e, const tn_cpu_task *task)
{
    row_fn *fn = row_fns[task->kind];
    if (task->kind == TN_CPU_TASK_ATTENTION) {
        attention(e, task);
    } else if (!fn) {
        matmul(e, task);
    } else if (task->sharing == TN_CPU_BY_PARTS) {
        append_own_heads(e, task);
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
