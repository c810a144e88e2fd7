// Programs of made-up models: weights, buffers, steps, and their times.
#include "runtime/calibrate_program.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "graph/plan.h"

#include <string.h>

struct tn_calibration_program {
    const tn_calibration_weights *weights;
    uint32_t n_units;
    tn_device *device;
    tn_program *program;
    tn_buffer *kv, *in, *out;
    tn_step_limits limits;
    tn_step_layout layout;
    tn_step *step;
    uint32_t *poison;
    uint32_t n_own_pages; // of each sequence; those before them are shared by all, and only read
};

// Runs of a step beside the first one, where it is short; and how many times its share of the time it takes where it runs but once.
enum { REPETITIONS_MIN = 4, SLOTS_MAX = 4 };

// ---- weights ----

static uint32_t unit_of(const tn_graph *graph, const tn_node *node)
{
    if (node->layer == TN_LAYER_EMBED) return 0;
    return node->layer == TN_LAYER_HEAD ? graph->n_layers + 1 : (uint32_t)node->layer + 1;
}

static bool uses(const void *ctx, uint32_t node)
{
    const tn_calibration_weights *weights = ctx;
    return unit_of(weights->graph, &weights->graph->nodes[node]) - weights->first_unit < weights->n_units;
}

static tn_status check_ops(const tn_calibration_weights *weights, tn_device *device)
{
    for (uint32_t i = 0; i < weights->graph->n_nodes; i++) {
        if (uses(weights, i)) TN_TRY(device->backend->op_supported(device, weights->graph, &weights->graph->nodes[i]));
    }
    return TN_OK;
}

tn_status tn_calibration_weights_init(tn_calibration_weights *weights, tn_device *device, const tn_graph *graph, uint32_t first_unit,
                                      uint32_t n_units)
{
    tn_pack_progress progress = {0};
    *weights = (tn_calibration_weights){.graph = graph, .first_unit = first_unit, .n_units = n_units};
    weights->plan.device = device;
    weights->plan.graph = graph;
    TN_TRY(check_ops(weights, device));
    TN_TRY(tn_alloc((size_t)graph->n_layers + 2, sizeof *weights->works, &weights->works));
    TN_TRY(tn_cost_works(graph, weights->works));
    TN_TRY(tn_plan_weights_place(&weights->plan, uses, weights));
    return tn_plan_weights_pack(&weights->plan, &progress);
}

void tn_calibration_weights_deinit(tn_calibration_weights *weights)
{
    tn_plan_weights_deinit(&weights->plan);
    tn_free(weights->works);
    *weights = (tn_calibration_weights){0};
}

// ---- programs ----

// The units as a segment: the plan of a model of which they are on a device of their own.
static tn_status cut(const tn_calibration_weights *weights, uint32_t n_units, tn_segment *out_segment)
{
    tn_plan *plan;
    uint32_t *devices;
    const uint32_t n_all = weights->graph->n_layers + 2;
    TN_TRY(tn_alloc_zero(n_all, sizeof *devices, &devices));
    for (uint32_t u = 0; u < n_all; u++) devices[u] = u < weights->first_unit ? 0 : u - weights->first_unit < n_units ? 1 : 2;
    const tn_status status = tn_plan_create(weights->graph, devices, &plan);
    tn_free(devices);
    TN_TRY(status);
    for (uint32_t i = 0; i < plan->n_segments; i++) {
        if (plan->segments[i].device == 1) *out_segment = plan->segments[i];
    }
    tn_plan_destroy(plan);
    return TN_OK;
}

static tn_status make_buffer(tn_calibration_program *program, uint64_t rows, uint64_t row_bytes, tn_buffer **out)
{
    uint64_t bytes;
    if (!tn_ckd_mul(rows, row_bytes, &bytes)) return tn_fail(TN_OUT_OF_MEMORY, "a step to measure with is larger than any memory");
    return program->device->backend->buffer_create(program->device, bytes, out);
}

// Rows of numbers between -1 and 1 for programs that do not begin with tokens.
static tn_status fill_input(tn_calibration_program *program, uint32_t n_rows, uint32_t width)
{
    float *rows;
    uint64_t random = 1;
    const size_t n = (size_t)n_rows * width;
    TN_TRY(tn_alloc(n, sizeof *rows, &rows));
    for (size_t i = 0; i < n; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        rows[i] = (float)(int32_t)(random >> 32) * 0x1p-31f;
    }
    const tn_status status = program->device->backend->buffer_write(program->in, 0, rows, n * sizeof *rows);
    tn_free(rows);
    return status;
}

static tn_status make_buffers(tn_calibration_program *program, const tn_segment *segment)
{
    const tn_graph *graph = program->weights->graph;
    const tn_step_limits *limits = &program->limits;
    const uint64_t page_bytes = tn_kv_page_layer_bytes(graph->n_kv_heads, graph->head_dim);
    if (segment->n_layers) TN_TRY(make_buffer(program, (uint64_t)limits->n_kv_pages * segment->n_layers, page_bytes, &program->kv));
    if (segment->in_value != TN_NONE) {
        const uint32_t width = graph->values[segment->in_value].width;
        TN_TRY(make_buffer(program, limits->n_tokens, (uint64_t)width * sizeof(float), &program->in));
        TN_TRY(fill_input(program, limits->n_tokens, width));
    }
    return make_buffer(program, limits->n_tokens, (uint64_t)graph->values[segment->out_value].width * sizeof(float), &program->out);
}

static tn_status compile(tn_calibration_program *program)
{
    const tn_calibration_weights *weights = program->weights;
    tn_segment segment = {0};
    TN_TRY(cut(weights, program->n_units, &segment));
    TN_TRY(make_buffers(program, &segment));
    const tn_program_desc desc = {
        .graph = weights->graph,
        .first_node = segment.first_node,
        .n_nodes = segment.n_nodes,
        .in_value = segment.in_value,
        .out_value = segment.out_value,
        .weights = weights->plan.packed,
        .kv = program->kv,
        .first_layer = segment.first_layer,
        .n_layers = segment.n_layers,
        .limits = program->limits,
    };
    return program->device->backend->program_create(program->device, &desc, &program->program);
}

tn_status tn_calibration_program_create(const tn_calibration_weights *weights, uint32_t n_units, uint32_t n_tokens, uint32_t n_seqs,
                                        tn_calibration_program **out_program)
{
    *out_program = NULL;
    tn_status status;
    tn_calibration_program *program;
    const uint32_t n_seq_pages = weights->graph->n_ctx / TN_KV_PAGE_POSITIONS;
    TN_TRY(tn_alloc_zero(1, sizeof *program, &program));
    program->weights = weights;
    program->n_units = n_units;
    program->device = weights->plan.device;
    program->n_own_pages = (n_tokens + n_seqs - 1) / n_seqs / TN_KV_PAGE_POSITIONS + 2;
    program->limits = (tn_step_limits){.n_tokens = n_tokens,
                                       .n_logits = n_tokens,
                                       .n_seqs = n_seqs,
                                       .n_seq_pages = n_seq_pages,
                                       .n_kv_pages = n_seq_pages + n_seqs * program->n_own_pages};
    TN_TRY_GOTO(tn_step_layout_of(&program->limits, &program->layout));
    TN_TRY_GOTO(tn_alloc_aligned((size_t)program->layout.n_words * sizeof(uint32_t), 64, &program->step));
    TN_TRY_GOTO(tn_alloc_zero(n_tokens, sizeof *program->poison, &program->poison));
    TN_TRY_GOTO(compile(program));
    *out_program = program;
    return TN_OK;
fail:
    tn_calibration_program_destroy(program);
    return status;
}

static void destroy_buffer(tn_buffer *buffer)
{
    if (buffer) buffer->device->backend->buffer_destroy(buffer);
}

void tn_calibration_program_destroy(tn_calibration_program *program)
{
    if (!program) return;
    if (program->program) program->device->backend->program_destroy(program->program);
    destroy_buffer(program->kv);
    destroy_buffer(program->in);
    destroy_buffer(program->out);
    tn_free(program->step);
    tn_free(program->poison);
    tn_free(program);
}

// ---- steps ----

// Tokens of a sequence are `n_each` positions, of which the first is such that the middle one sees n_positions.
static tn_status fill_step(tn_calibration_program *program, const tn_cost_step *want)
{
    tn_step *step = program->step;
    const tn_step_layout *layout = &program->layout;
    const uint32_t n_each = want->n_tokens / want->n_seqs, half = (n_each + 1) / 2;
    const uint32_t first = want->n_positions > half ? want->n_positions - half : 0, own = first / TN_KV_PAGE_POSITIONS;
    if (want->n_tokens > program->limits.n_tokens || want->n_seqs > program->limits.n_seqs || n_each * want->n_seqs != want->n_tokens ||
        (uint64_t)first + n_each > program->weights->graph->n_ctx)
        return tn_fail(TN_INVALID_ARGUMENT, "a step of %u tokens at position %u is beyond what is measured", (unsigned)want->n_tokens,
                       (unsigned)first);
    *step = (tn_step){.n_tokens = want->n_tokens, .n_logits = want->n_logits, .n_seqs = want->n_seqs};
    for (uint32_t i = 0; i < want->n_tokens; i++) {
        tn_step_tokens(step, layout)[i] = (int32_t)(i * 37 % program->weights->graph->n_vocab);
        tn_step_positions(step, layout)[i] = first + i % n_each;
        tn_step_seqs(step, layout)[i] = i / n_each;
    }
    for (uint32_t i = 0; i < want->n_logits; i++) tn_step_logit_rows(step, layout)[i] = i;
    for (uint32_t seq = 0; seq < want->n_seqs; seq++) {
        const uint32_t first_own = program->limits.n_seq_pages + seq * program->n_own_pages;
        uint32_t *pages = tn_step_pages(step, layout, seq);
        for (uint32_t p = 0; p < program->limits.n_seq_pages; p++)
            pages[p] = p < own || p - own >= program->n_own_pages ? p : first_own + p - own;
    }
    return TN_OK;
}

tn_status tn_calibration_program_run(tn_calibration_program *program, uint64_t *out_ns)
{
    const tn_backend *backend = program->device->backend;
    const tn_submit submit = {.step = program->step, .in = program->in, .out = program->out, .poison = program->poison};
    tn_fence fence;
    const uint64_t begun_ns = tn_clock_ns();
    TN_TRY(backend->program_submit(program->program, &submit, &fence));
    TN_TRY(backend->fence_wait(program->device, fence));
    *out_ns = tn_clock_ns() - begun_ns;
    if (*out_ns == 0) *out_ns = 1;
    return TN_OK;
}

static void describe(const tn_calibration_program *program, const tn_cost_step *step, uint64_t cache_bytes, tn_cost_sample *sample)
{
    const tn_cost_work *first = program->weights->works + program->weights->first_unit;
    uint64_t resident = 0;
    for (uint32_t u = 0; u < program->n_units; u++) resident += first[u].weight_bytes;
    sample->amounts[TN_COST_SUBMIT] = 1.0;
    for (uint32_t u = 0; u < program->n_units; u++) {
        tn_cost_work work = first[u];
        work.resident_bytes = resident;
        tn_cost_add_amounts(&work, step, cache_bytes, sample->amounts);
    }
}

tn_status tn_calibration_program_prepare(tn_calibration_program *program, const tn_cost_step *step, uint32_t step_index,
                                         uint64_t cache_bytes, tn_cost_sample *out_sample)
{
    *out_sample = (tn_cost_sample){.step = step_index};
    describe(program, step, cache_bytes, out_sample);
    return fill_step(program, step);
}

tn_status tn_calibration_program_time(tn_calibration_program *program, const tn_cost_step *step, uint32_t step_index, uint64_t cache_bytes,
                                      uint64_t slot_ns, uint64_t *inout_spent_ns, tn_cost_sample *out_sample)
{
    uint64_t least, ns;
    TN_TRY(tn_calibration_program_prepare(program, step, step_index, cache_bytes, out_sample));
    TN_TRY(tn_calibration_program_run(program, &least)); // warms up: seldom the shortest
    const uint64_t begun_ns = tn_clock_ns();
    const bool is_long = least / SLOTS_MAX >= slot_ns;
    for (uint32_t i = 0; !is_long && (tn_clock_ns() - begun_ns < slot_ns || (i < REPETITIONS_MIN && least < slot_ns)); i++) {
        TN_TRY(tn_calibration_program_run(program, &ns));
        if (ns < least) least = ns;
    }
    *inout_spent_ns += is_long ? least : tn_clock_ns() - begun_ns;
    out_sample->ns = (double)least;
    return TN_OK;
}
