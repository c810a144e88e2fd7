// Appends keys and values to the cache, and attends them: which heads or pages are a worker's own, and the kernel calls for them.
#include "cpu/cpu_exec.h"
#include "ref/ref.h"

#include <string.h>

static uint8_t *kv_block(const tn_cpu_program *program, int32_t layer, uint32_t page, uint32_t kv_head)
{
    uint64_t index = ((uint64_t)(layer - program->first_layer) * program->limits.n_kv_pages + page) * program->n_kv_heads + kv_head;
    return program->kv + index * TN_KV_BLOCK_BYTES(program->head_dim);
}

static const uint32_t *pages_of(const exec *e, uint32_t row)
{
    return e->step->page_table + (size_t)e->step->seqs[row] * e->program->limits.n_seq_pages;
}

// A page lies whole in each layer; the layers of all copies are shared out.
void tn_cpu_exec_copy_pages(const exec *e)
{
    const tn_cpu_program *program = e->program;
    const size_t page_bytes = program->n_kv_heads * TN_KV_BLOCK_BYTES(program->head_dim);
    if (!program->kv) return;
    const uint64_t n = (uint64_t)e->step->n_copies * program->n_layers, end = n * (e->thread + 1) / e->n_threads;
    for (uint64_t i = n * e->thread / e->n_threads; i < end; i++) {
        const uint32_t *copy = e->step->copies + 2 * (i / program->n_layers);
        const int32_t layer = program->first_layer + (int32_t)(i % program->n_layers);
        memcpy(kv_block(program, layer, copy[1], 0), kv_block(program, layer, copy[0], 0), page_bytes);
    }
}

void tn_cpu_kv_store(uint8_t *block, uint32_t head_dim, uint32_t position, const int16_t *k, float k_scale, const int16_t *v, float v_scale)
{
    int16_t *codes = (int16_t *)(void *)block;
    float *scales = (float *)(void *)(codes + (size_t)2 * TN_KV_PAGE_POSITIONS * head_dim);
    int16_t *k_pair = codes + tn_kv_k_index(head_dim, position, 0);
    for (uint32_t d = 0; d < head_dim; d += 2, k_pair += 2 * TN_KV_LANES) memcpy(k_pair, k + d, 2 * sizeof *k);
    for (uint32_t d = 0; d < head_dim; d += TN_KV_LANES) {
        int16_t *lanes = codes + tn_kv_v_index(head_dim, position, d);
        const uint32_t left = head_dim - d, n = left < TN_KV_LANES ? left : TN_KV_LANES;
        for (uint32_t i = 0; i < n; i++) lanes[2 * i] = v[d + i];
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

void tn_cpu_exec_kv_append(const exec *e, const tn_cpu_task *task, uint32_t row)
{
    for (uint32_t head = 0; head < task->op->p.attention.n_kv_heads; head++) append_head(e, task, row, head);
}

// Which it may attend without meeting the others.
void tn_cpu_exec_kv_append_own(const exec *e, const tn_cpu_task *task)
{
    const range mine = share(e, task->op->p.attention.n_kv_heads);
    for (uint32_t row = 0; row < n_rows(e, task->in[0]->rows); row++) {
        for (uint32_t head = mine.begin; head < mine.end; head++) append_head(e, task, row, head);
    }
}

// Tokens of a block: those whose query heads fill a group of the kernels.
static uint32_t block_tokens(const tn_node *node)
{
    const uint32_t n_q = node->p.attention.n_heads / node->p.attention.n_kv_heads;
    return n_q < TN_ATTENTION_GROUP ? TN_ATTENTION_GROUP / n_q : 1;
}

size_t tn_cpu_attention_scratch_bytes(const tn_node *node)
{
    const size_t head_dim = node->p.attention.head_dim;
    if (node->op == TN_OP_KV_APPEND) return round64(2 * head_dim * sizeof(int16_t));
    if (node->op != TN_OP_ATTENTION) return 0;
    const size_t n = (size_t)block_tokens(node) * (node->p.attention.n_heads / node->p.attention.n_kv_heads);
    return round64(n * head_dim * sizeof(int16_t)) + round64(n * sizeof(float)) + round64(TN_ATTENTION_SCRATCH_BYTES(n, head_dim));
}

// Tokens of one sequence in rows that follow each other, and what each of them sees and gives.
typedef struct block {
    uint32_t first_row, n_tokens;
    uint32_t n_pos[TN_ATTENTION_GROUP], absmax[TN_ATTENTION_GROUP];
} block;

static block block_of(const exec *e, uint32_t first_row, uint32_t n_tokens)
{
    block b = {.first_row = first_row, .n_tokens = n_tokens};
    for (uint32_t i = 0; i < n_tokens; i++) b.n_pos[i] = e->step->positions[first_row + i] + 1;
    return b;
}

// Quantises the query heads of a block that share a KV head, and says where their keys, values and results are. Borrows the block.
static tn_k_attention_args attention_args(const exec *e, const tn_cpu_task *task, block *b, uint32_t kv_head)
{
    const uint32_t head_dim = task->op->p.attention.head_dim, n_kv_heads = task->op->p.attention.n_kv_heads;
    const uint32_t n_q = task->op->p.attention.n_heads / n_kv_heads, n = b->n_tokens * n_q;
    const size_t first = (size_t)kv_head * n_q * head_dim;
    int16_t *q = (int16_t *)(void *)e->scratch;
    float *q_scale = (float *)(void *)(e->scratch + round64((size_t)n * head_dim * sizeof(int16_t)));
    for (uint32_t i = 0; i < n; i++) {
        const float *x = f32_row(e, task->in[0], b->first_row + i / n_q) + first + (size_t)(i % n_q) * head_dim;
        float scale;
        e->kernels->quant_head(x, head_dim, tn_kv_a_qk(head_dim), q + (size_t)i * head_dim, &scale);
        q_scale[i] = tn_ref_query_scale(scale, head_dim);
    }
    return (tn_k_attention_args){
        .q = q,
        .q_scale = q_scale,
        .n_tokens = b->n_tokens,
        .n_q = n_q,
        .head_dim = head_dim,
        .kv = kv_block(e->program, task->op->layer, 0, kv_head),
        .page_stride = (size_t)n_kv_heads * TN_KV_BLOCK_BYTES(head_dim),
        .pages = pages_of(e, b->first_row),
        .n_pos = b->n_pos,
        .y = f32_row(e, task->out, b->first_row) + first,
        .y_stride = task->out->stride,
        .y_absmax = b->absmax,
        .scratch = (uint8_t *)q_scale + round64(n * sizeof(float)),
    };
}

static void attend(const exec *e, const tn_cpu_task *task, uint32_t first_row, uint32_t n_tokens, uint32_t kv_head)
{
    block b = block_of(e, first_row, n_tokens);
    const tn_k_attention_args args = attention_args(e, task, &b, kv_head);
    e->kernels->attention(&args);
    for (uint32_t i = 0; i < n_tokens; i++) check_poison(e, task, task->out->rows, first_row + i, b.absmax[i]);
}

static uint32_t pages_at(const exec *e, uint32_t row) { return e->step->positions[row] / TN_KV_PAGE_POSITIONS + 1; }

// Some pages of a head whose others belong to other workers. `border`: the first one between two workers that lies inside it, another for
// each such head. Whoever completes the head's pages joins them.
static void attend_pages(const exec *e, const tn_cpu_task *task, uint32_t row, uint32_t kv_head, range pages, uint32_t border)
{
    tn_cpu_program *program = e->program;
    block b = block_of(e, row, 1);
    tn_k_attention_args args = attention_args(e, task, &b, kv_head);
    const bool by_border = program->n_parts_slots == e->n_threads - 1;
    const uint32_t slot = by_border ? border - 1 : row * task->op->p.attention.n_kv_heads + kv_head, n_pages = pages_at(e, row);
    args.parts = program->parts + program->parts_slot_floats * slot;
    args.first_page = pages.begin;
    args.n_pages = pages.end - pages.begin;
    e->kernels->attention_pages(&args);
    if (__atomic_add_fetch(&program->pages_done[slot], args.n_pages, __ATOMIC_ACQ_REL) < n_pages) return;
    __atomic_store_n(&program->pages_done[slot], 0, __ATOMIC_RELAXED); // the next user comes after a barrier
    e->kernels->attention_join(&args);
    check_poison(e, task, task->out->rows, row, b.absmax[0]);
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
                attend(e, task, row, 1, head);
                continue;
            }
            // Border b is total * b / n_threads: the lowest above `at`.
            attend_pages(e, task, row, head, pages, (uint32_t)(at * e->n_threads / total) + 1);
        }
    }
}

// Whether each worker attends its own heads, as it has appended them.
static bool heads_are_owned(const tn_cpu_program *program) { return program->checker.n_positions_max <= TN_CPU_OWNED_POSITIONS; }

bool tn_cpu_program_meets(const tn_cpu_program *program, const tn_cpu_task *task)
{
    return task->barrier || (task->kv_barrier && !heads_are_owned(program));
}

// Rows [first, end) for one KV head: at most a block of tokens of the same sequence at a time.
static void attend_runs(const exec *e, const tn_cpu_task *task, uint32_t first, uint32_t end, uint32_t kv_head)
{
    const uint32_t *seqs = e->step->seqs, at_once = block_tokens(task->op);
    while (first < end) {
        uint32_t n = 1;
        while (n < at_once && first + n < end && seqs[first + n] == seqs[first]) n++;
        attend(e, task, first, n, kv_head);
        first += n;
    }
}

// Blocks of tokens by KV heads, which whoever is ready claims: a head's after each other, so that its pages stay in a core's second-level
// cache, and the last tokens first, which see the most keys, so that nobody is waited for long at the end.
static void attention_by_blocks(const exec *e, const tn_cpu_task *task)
{
    const uint32_t n_tokens = n_rows(e, task->out->rows), at_once = block_tokens(task->op);
    const uint32_t n_blocks = (n_tokens - 1) / at_once + 1;
    const uint64_t n = (uint64_t)n_blocks * task->op->p.attention.n_kv_heads;
    for (;;) {
        const uint64_t at = __atomic_fetch_add(&e->program->claims[task->claims], 1, __ATOMIC_RELAXED);
        if (at >= n) return;
        const uint32_t first = (n_blocks - 1 - (uint32_t)(at % n_blocks)) * at_once, left = n_tokens - first;
        attend_runs(e, task, first, first + (left < at_once ? left : at_once), (uint32_t)(at / n_blocks));
    }
}

void tn_cpu_exec_attention(const exec *e, const tn_cpu_task *task)
{
    const uint32_t n = n_rows(e, task->out->rows);
    if (!e->program->list->few_tokens) {
        attention_by_blocks(e, task);
    } else if (e->n_threads > 1 && !heads_are_owned(e->program)) {
        attention_by_pages(e, task);
    } else {
        const range mine = share(e, task->op->p.attention.n_kv_heads);
        for (uint32_t head = mine.begin; head < mine.end; head++) attend_runs(e, task, 0, n, head);
    }
}
