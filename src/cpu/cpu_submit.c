// Takes steps: what kernels trust is checked here, cheaply, then the program goes to the pool. Also says which ops the CPU has.
#include "cpu/cpu_program.h"

#include <string.h>

static tn_status bad_step(const char *what, uint32_t token)
{
    return tn_fail(TN_INVALID_ARGUMENT, "step: %s (token %u of the step)", what, (unsigned)token);
}

// Tokens of a sequence ascend, so the pages of its last token are those of all.
static tn_status check_pages(const tn_cpu_program *program, const tn_step_view *step, uint32_t token)
{
    const uint32_t *pages = step->page_table + (size_t)step->seqs[token] * program->limits.n_seq_pages;
    for (uint32_t i = 0; i <= step->positions[token] / TN_KV_PAGE_POSITIONS; i++) {
        if (pages[i] >= program->limits.n_kv_pages) return bad_step("its sequence has a page outside of the KV cache", token);
    }
    return TN_OK;
}

// Marks what a copy does with its pages; what is wrong with that, or NULL.
static const char *use_pages(tn_cpu_program *program, const uint32_t *copy)
{
    enum { READ = 1, WRITTEN = 2 };
    const uint32_t from = copy[0], to = copy[1];
    if (from >= program->limits.n_kv_pages || to >= program->limits.n_kv_pages) return "a page is outside of the KV cache";
    if (from == to) return "a page would be copied to itself";
    if (program->page_uses[to] & WRITTEN) return "another copy has the same destination";
    if (program->page_uses[to] & READ || program->page_uses[from] & WRITTEN) return "a page is copied from and to";
    program->page_uses[from] |= READ;
    program->page_uses[to] |= WRITTEN;
    return NULL;
}

// Workers copy side by side, so no copy may depend on another.
static tn_status check_copies(tn_cpu_program *program, const tn_step_view *step)
{
    const char *wrong = NULL;
    uint32_t n = 0;
    if (step->n_copies > program->limits.n_seqs)
        return tn_fail(TN_INVALID_ARGUMENT, "a step with %u copies of pages; the program takes up to %u", (unsigned)step->n_copies,
                       (unsigned)program->limits.n_seqs);
    while (n < step->n_copies && !wrong) wrong = use_pages(program, step->copies + 2 * (size_t)n++);
    for (uint32_t i = 0; i < 2 * n; i++) {
        if (step->copies[i] < program->limits.n_kv_pages) program->page_uses[step->copies[i]] = 0;
    }
    return wrong ? tn_fail(TN_INVALID_ARGUMENT, "step: %s (copy %u, of page %u to %u)", wrong, (unsigned)(n - 1),
                           (unsigned)step->copies[2 * (n - 1)], (unsigned)step->copies[2 * (n - 1) + 1])
                 : TN_OK;
}

static tn_status check_step(tn_cpu_program *program, const tn_step_view *step)
{
    const tn_step_limits *limits = &program->limits;
    if (step->n_tokens == 0 || step->n_tokens > limits->n_tokens || step->n_logits > limits->n_logits || step->n_seqs > limits->n_seqs)
        return tn_fail(TN_INVALID_ARGUMENT, "a step of %u tokens, %u rows of logits, %u sequences; the program takes 1 to %u, %u and %u",
                       (unsigned)step->n_tokens, (unsigned)step->n_logits, (unsigned)step->n_seqs, (unsigned)limits->n_tokens,
                       (unsigned)limits->n_logits, (unsigned)limits->n_seqs);
    TN_TRY(check_copies(program, step));
    memset(program->seq_next, 0, step->n_seqs * sizeof *program->seq_next);
    program->n_positions_max = 0;
    for (uint32_t i = 0; i < step->n_tokens; i++) {
        if (program->reads_tokens && (uint32_t)step->tokens[i] >= program->n_vocab) return bad_step("its id is not in the vocabulary", i);
        if (step->positions[i] >= program->n_positions) return bad_step("its position is beyond the context", i);
        if (step->positions[i] >= program->n_positions_max) program->n_positions_max = step->positions[i] + 1;
        if (!program->reads_kv) continue;
        if (step->seqs[i] >= step->n_seqs) return bad_step("its sequence is not one of the step's", i);
        if (step->positions[i] < program->seq_next[step->seqs[i]])
            return bad_step("its position is not after its sequence's previous token", i);
        program->seq_next[step->seqs[i]] = step->positions[i] + 1;
        if (i + 1 == step->n_tokens || step->seqs[i + 1] != step->seqs[i]) TN_TRY(check_pages(program, step, i));
    }
    for (uint32_t i = 0; i < step->n_logits; i++) {
        if (step->logit_rows[i] >= step->n_tokens || (i > 0 && step->logit_rows[i] <= step->logit_rows[i - 1]))
            return tn_fail(TN_INVALID_ARGUMENT, "step: wanted rows of logits are not ascending token indexes below %u",
                           (unsigned)step->n_tokens);
    }
    return TN_OK;
}

// Decides whether the step screens its head: where few of each row of logits are wanted. Where as many remain that it costs more than it
// spares, a few times in a row, AUTO computes the head whole for a while.
static void begin_screening(tn_cpu_program *program, const tn_step_view *step)
{
    enum { IDLE_MAX = 4, REST = 256 };
    if (program->n_screened) program->n_idle = program->n_kept > program->n_screened / 4 ? program->n_idle + 1 : 0;
    program->n_screened = program->n_kept = 0;
    if (program->screening == TN_SCREENING_NONE || !step->n_top || step->n_logits == 0) return;
    bool fits = step->n_logits <= TN_SCREEN_TOKENS_MAX;
    for (uint32_t i = 0; i < step->n_logits; i++) {
        if (step->n_top[i] == 0) return; // a whole row reads the whole head
        fits = fits && step->n_top[i] <= TN_SCREEN_TOP_MAX;
    }
    if (program->screening == TN_SCREENING_AUTO && program->n_idle >= IDLE_MAX) {
        program->n_rest = REST;
        program->n_idle = IDLE_MAX - 1; // one more look decides again
    }
    if (program->n_rest > 0) {
        program->n_rest--;
        fits = false;
    }
    if (fits) program->n_screened = (uint64_t)step->n_logits * program->n_screened_rows;
    if (program->screen_stats) *(fits ? &program->screen_stats->n_rows : &program->screen_stats->n_whole) += step->n_logits;
}

// Points a value that crosses the program's border at the caller's rows.
static tn_status bind_border(const tn_cpu_program *program, uint32_t index, tn_buffer *buffer, const tn_step_view *step, const char *what)
{
    tn_cpu_value *value = &program->list->values[index];
    uint64_t rows = value->rows == TN_ROWS_LOGITS ? step->n_logits : step->n_tokens;
    TN_TRY(tn_cpu_buffer_check(program->base.device, buffer, 0, rows * value->width * sizeof(float), what));
    value->f32 = (float *)(void *)tn_cpu_buffer_data(buffer);
    return TN_OK;
}

tn_status tn_cpu_program_submit(tn_program *base, const tn_submit *submit, tn_fence *out_fence)
{
    out_fence->value = 0;
    tn_cpu_program *program = (tn_cpu_program *)base;
    tn_cpu_pool *pool = program->device->pool;
    if (tn_cpu_pool_in_flight(pool, &program->job))
        return tn_fail(TN_INVALID_ARGUMENT, "the program's last submit is still in flight: wait for its fence first");
    const tn_step_view step = tn_step_view_of(submit->step, &program->step_layout);
    TN_TRY(check_step(program, &step));
    program->list = &program->lists[step.n_tokens <= TN_CPU_FEW_TOKENS ? TN_CPU_LIST_FEW : TN_CPU_LIST_MANY];
    if (!submit->poison) return tn_fail(TN_INVALID_ARGUMENT, "submit: there is no place for the poison of its tokens");
    if (program->in_value != TN_NONE) {
        if (submit->in == submit->out) return tn_fail(TN_INVALID_ARGUMENT, "submit: input and output are the same buffer");
        TN_TRY(bind_border(program, program->in_value, submit->in, &step, "the program's input"));
    }
    TN_TRY(bind_border(program, program->out_value, submit->out, &step, "the program's output"));
    program->step = step;
    program->poison = submit->poison;
    memset(program->poison, 0, step.n_tokens * sizeof *program->poison);
    tn_cpu_skip_begin_step(&program->skip, step.n_tokens, program->stats != NULL);
    begin_screening(program, &step);
    for (uint32_t i = 0; i < program->list->n_claims; i++) __atomic_store_n(&program->claims[i], 0, __ATOMIC_RELAXED);
    return tn_cpu_pool_submit(pool, &program->job, out_fence);
}

// Every dense type has a way to its products and look-ups. Gains are looked up once, by kernels that types without one do not have.
static tn_status check_dense(const tn_weight_source *source, bool gains)
{
    const tn_dtype_info *type = tn_dtype_get(source->dtype);
    if (type->class_ != TN_CLASS_DENSE)
        return tn_fail(TN_UNSUPPORTED, "%s: the CPU has no kernel for dense weights of type %s", source->name, type->name);
    if (gains && type->block_elements > 1)
        return tn_fail(TN_UNSUPPORTED, "%s: the CPU takes gains as F32, F16 or BF16, not as %s", source->name, type->name);
    if (source->n_cols % type->block_elements == 0) return TN_OK;
    return tn_fail(TN_UNSUPPORTED, "%s: rows of %u elements are no whole blocks of %s", source->name, (unsigned)source->n_cols, type->name);
}

tn_status tn_cpu_op_supported(tn_device *device, const tn_graph *graph, const tn_node *node)
{
    (void)device;
    const tn_weight_source *weight = node->weight == TN_NONE ? NULL : &graph->weights[node->weight];
    switch (node->op) {
    case TN_OP_EMBED:
    case TN_OP_NORM:
    case TN_OP_NORM_QUANT:
    case TN_OP_MATMUL_DENSE:
        if (weight) TN_TRY(check_dense(weight, node->op == TN_OP_NORM || node->op == TN_OP_NORM_QUANT));
        break;
    case TN_OP_KV_APPEND:
    case TN_OP_ATTENTION:
        if (node->p.attention.head_dim < 2 || node->p.attention.head_dim % 2 != 0)
            return tn_fail(TN_UNSUPPORTED, "%s: heads of %u dimensions; the CPU needs an even number", tn_op_name(node->op),
                           (unsigned)node->p.attention.head_dim);
        break;
    case TN_OP_COUNT_: return tn_fail(TN_UNSUPPORTED, "the CPU does not know op %d", (int)node->op);
    default: break;
    }
    if (!weight) return TN_OK;
    tn_weight_layout layout;
    return tn_cpu_pack_layout(weight, TN_CPU_LAYOUT_T2_16, &layout);
}
