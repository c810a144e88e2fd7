// Appends keys and values to the cache, and attends them: which heads or pages are a worker's own, and the kernel calls for them.
#include "cpu/cpu_exec.h"
#include "ref/ref.h"

#include <string.h>

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

size_t tn_cpu_attention_scratch_bytes(const tn_node *node)
{
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
void tn_cpu_exec_attention(const exec *e, const tn_cpu_task *task)
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
