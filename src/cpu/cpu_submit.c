// Takes steps: checks them, decides what is screened, then the program goes to the pool. Also says which ops the CPU has.
#include "backend/desc_check.h"
#include "cpu/cpu_program.h"

#include <string.h>

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
    TN_TRY(tn_buffer_check(program->base.device, buffer, 0, rows * value->width * sizeof(float), what));
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
    TN_TRY(tn_step_check(&program->checker, &step));
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
