// Executing plans: stages in order, one value hopping through host memory between them.
#include "runtime/plan_run.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "runtime/plan_weights.h"

#include <string.h>

// A traced value of a stage.
typedef struct stage_tap {
    const tn_node *node;
    tn_tap tap;
} stage_tap;

// A segment with all that it needs to run.
typedef struct stage {
    const tn_segment *segment;
    tn_device *device;
    tn_program *program;
    tn_buffer *kv, *in, *out;
    stage_tap *taps;
    uint32_t n_taps;
} stage;

struct tn_plan_run {
    tn_plan_run_params params;
    tn_plan_weights *weights; // [n_devices]
    stage *stages;            // [plan->n_segments]
    uint32_t n_stages;
    tn_ranking ranking;     // what the last device ranks; max 0: nothing. Its arrays are owned
    float *hop;             // host memory for the widest hop or traced row set
    uint32_t *stage_poison; // [limits.n_tokens]
    tn_step_layout step_layout;
    uint64_t kv_bytes;
    tn_program_stats stats; // of all programs, which run one after another; node_ns is owned
    tn_screen_stats screen_stats;
};

static tn_status rows_bytes(const tn_plan_run *run, uint32_t value, uint64_t *out_bytes)
{
    const tn_value *v = &run->params.graph->values[value];
    uint64_t rows = v->rows == TN_ROWS_TOKENS ? run->params.limits.n_tokens : run->params.limits.n_logits, bytes;
    if (!tn_ckd_mul(rows, (uint64_t)v->width * sizeof(float), &bytes))
        return tn_fail(TN_INVALID_ARGUMENT, "a step of that many tokens is too large");
    *out_bytes = bytes;
    return TN_OK;
}

static tn_status check_ops(const tn_plan_run *run, const tn_segment *segment, tn_device *device)
{
    for (uint32_t i = 0; i < segment->n_nodes; i++) {
        const tn_node *node = &run->params.graph->nodes[segment->first_node + i];
        TN_TRY(device->backend->op_supported(device, run->params.graph, node));
    }
    return TN_OK;
}

// The device's nodes.
typedef struct node_filter {
    const tn_plan *plan;
    uint32_t device;
} node_filter;

static bool is_on_device(const void *ctx, uint32_t node)
{
    const node_filter *filter = ctx;
    for (uint32_t i = 0; i < filter->plan->n_segments; i++) {
        const tn_segment *segment = &filter->plan->segments[i];
        if (node - segment->first_node < segment->n_nodes) return segment->device == filter->device;
    }
    return false;
}

static bool takes_part(const tn_plan *plan, uint32_t device)
{
    for (uint32_t i = 0; i < plan->n_segments; i++) {
        if (plan->segments[i].device == device) return true;
    }
    return false;
}

// The values that are traced, their buffers still to be made.
static tn_status find_taps(const tn_plan_run *run, stage *s)
{
    if (!run->params.trace) return TN_OK;
    TN_TRY(tn_alloc_zero(s->segment->n_nodes, sizeof *s->taps, &s->taps));
    for (uint32_t i = 0; i < s->segment->n_nodes; i++) {
        const tn_node *node = &run->params.graph->nodes[s->segment->first_node + i];
        if (node->trace) s->taps[s->n_taps++] = (stage_tap){node, {.value = node->out}};
    }
    return TN_OK;
}

static tn_status find_stages(tn_plan_run *run)
{
    TN_TRY(tn_alloc_zero(run->params.plan->n_segments, sizeof *run->stages, &run->stages));
    for (uint32_t i = 0; i < run->params.plan->n_segments; i++) {
        stage *s = &run->stages[run->n_stages++];
        s->segment = &run->params.plan->segments[i];
        s->device = run->params.devices[s->segment->device];
        TN_TRY(check_ops(run, s->segment, s->device));
        TN_TRY(find_taps(run, s));
    }
    return TN_OK;
}

static tn_status place_weights(tn_plan_run *run, uint32_t index)
{
    tn_plan_weights *weights = &run->weights[index];
    const node_filter filter = {run->params.plan, index};
    weights->device = run->params.devices[index];
    weights->graph = run->params.graph;
    weights->cache = run->params.cache;
    return takes_part(run->params.plan, index) ? tn_plan_weights_place(weights, is_on_device, &filter) : TN_OK;
}

static tn_status pack_weights(tn_plan_run *run)
{
    tn_pack_progress progress = {.progress = run->params.progress};
    for (uint32_t d = 0; d < run->params.n_devices; d++) TN_TRY(tn_plan_weights_copy_kept(&run->weights[d]));
    for (uint32_t d = 0; d < run->params.n_devices; d++) progress.total += tn_plan_weights_to_pack(&run->weights[d]);
    for (uint32_t d = 0; d < run->params.n_devices; d++) TN_TRY(tn_plan_weights_pack(&run->weights[d], &progress));
    return TN_OK;
}

// Calls `use` with the stage as a program to be; its buffers as far as there are some.
static tn_status with_desc(tn_plan_run *run, stage *s, tn_status (*use)(tn_plan_run *run, stage *s, const tn_program_desc *desc))
{
    tn_tap *taps;
    TN_TRY(tn_alloc(s->n_taps, sizeof *taps, &taps));
    for (uint32_t i = 0; i < s->n_taps; i++) taps[i] = s->taps[i].tap;
    const tn_program_desc desc = {
        .graph = run->params.graph,
        .first_node = s->segment->first_node,
        .n_nodes = s->segment->n_nodes,
        .in_value = s->segment->in_value,
        .out_value = s->segment->out_value,
        .weights = run->weights[s->segment->device].packed,
        .kv = s->kv,
        .first_layer = s->segment->first_layer,
        .n_layers = s->segment->n_layers,
        .limits = run->params.limits,
        .taps = taps,
        .n_taps = s->n_taps,
        .stats = run->params.profile ? &run->stats : NULL,
        .screen_stats = &run->screen_stats,
        .progress = run->params.progress,
    };
    const tn_status status = use(run, s, &desc);
    tn_free(taps);
    return status;
}

// Steps that are made smaller are whole tiles of kernels for many tokens, or else of those for few.
static uint32_t round_steps(uint32_t n_tokens)
{
    enum { MANY_TOKENS = 64, FEW_TOKENS = 8 };
    const uint32_t tile = n_tokens >= MANY_TOKENS ? MANY_TOKENS : n_tokens >= FEW_TOKENS ? FEW_TOKENS : 1;
    return n_tokens / tile * tile;
}

static tn_status check_stage(tn_plan_run *run, stage *s, const tn_program_desc *desc)
{
    uint32_t n_tokens = 0;
    if (!s->device->backend->program_check) return TN_OK;
    const tn_status status = s->device->backend->program_check(s->device, desc, &n_tokens);
    if (status != TN_UNSUPPORTED || n_tokens == 0 || !run->params.may_shrink) return status;
    tn_step_limits *limits = &run->params.limits;
    limits->n_tokens = round_steps(n_tokens);
    if (limits->n_logits > limits->n_tokens) limits->n_logits = limits->n_tokens;
    return TN_OK;
}

// What a device cannot run is known before its weights are packed.
static tn_status check_stages(tn_plan_run *run)
{
    for (uint32_t i = 0; i < run->n_stages; i++) TN_TRY(with_desc(run, &run->stages[i], check_stage));
    return tn_step_layout_of(&run->params.limits, &run->step_layout);
}

static tn_status create_program(tn_plan_run *run, stage *s, const tn_program_desc *desc)
{
    (void)run;
    return s->device->backend->program_create(s->device, desc, &s->program);
}

static tn_status compile_stage(tn_plan_run *run, stage *s)
{
    const tn_graph *graph = run->params.graph;
    const tn_step_limits *limits = &run->params.limits;
    const tn_backend *backend = s->device->backend;
    uint64_t bytes;
    if (s->segment->n_layers) {
        uint64_t page = tn_kv_page_layer_bytes(graph->n_kv_heads, graph->head_dim);
        if (!tn_ckd_mul(page, limits->n_kv_pages, &bytes) || !tn_ckd_mul(bytes, s->segment->n_layers, &bytes))
            return tn_fail(TN_INVALID_ARGUMENT, "the KV cache is larger than any memory: ask for a shorter context or fewer sequences");
        TN_TRY(backend->buffer_create(s->device, bytes, &s->kv));
        run->kv_bytes += bytes;
    }
    if (s->segment->in_value != TN_NONE) {
        TN_TRY(rows_bytes(run, s->segment->in_value, &bytes));
        TN_TRY(backend->buffer_create(s->device, bytes, &s->in));
    }
    TN_TRY(rows_bytes(run, s->segment->out_value, &bytes));
    TN_TRY(backend->buffer_create(s->device, bytes, &s->out));
    for (uint32_t t = 0; t < s->n_taps; t++) {
        TN_TRY(rows_bytes(run, s->taps[t].tap.value, &bytes));
        TN_TRY(backend->buffer_create(s->device, bytes, &s->taps[t].tap.buffer));
    }
    return with_desc(run, s, create_program);
}

// Host memory for hops and traced rows: as large as the largest of them.
static tn_status reserve_hop(tn_plan_run *run)
{
    uint64_t largest = 0, bytes;
    for (uint32_t i = 0; i < run->n_stages; i++) {
        const stage *s = &run->stages[i];
        if (i + 1 < run->n_stages) {
            TN_TRY(rows_bytes(run, s->segment->out_value, &bytes));
            if (bytes > largest) largest = bytes;
        }
        for (uint32_t t = 0; t < s->n_taps; t++) {
            TN_TRY(rows_bytes(run, s->taps[t].tap.value, &bytes));
            if (bytes > largest) largest = bytes;
        }
    }
    TN_TRY(tn_alloc(largest / sizeof(float), sizeof(float), &run->hop));
    return tn_alloc_zero(run->params.limits.n_tokens, sizeof *run->stage_poison, &run->stage_poison);
}

static tn_status reserve_ranking(tn_plan_run *run)
{
    const uint32_t n_logits = run->params.limits.n_logits, max = run->stages[run->n_stages - 1].device->ranking_max;
    uint64_t n;
    if (max == 0) return TN_OK;
    if (!tn_ckd_mul(n_logits, max, &n)) return tn_fail(TN_INVALID_ARGUMENT, "a step of that many rows of logits is too large");
    TN_TRY(tn_alloc_zero(n_logits, sizeof *run->ranking.counts, &run->ranking.counts));
    TN_TRY(tn_alloc(n, sizeof *run->ranking.ids, &run->ranking.ids));
    TN_TRY(tn_alloc(n, sizeof *run->ranking.logits, &run->ranking.logits));
    run->ranking.max = max;
    return TN_OK;
}

tn_status tn_plan_run_create(const tn_plan_run_params *params, tn_plan_run **out_run)
{
    *out_run = NULL;
    tn_status status;
    tn_plan_run *run;
    TN_TRY(tn_alloc_zero(1, sizeof *run, &run));
    run->params = *params;
    if (params->profile) TN_TRY_GOTO(tn_alloc_zero(params->graph->n_nodes, sizeof *run->stats.node_ns, &run->stats.node_ns));
    TN_TRY_GOTO(tn_alloc_zero(params->n_devices, sizeof *run->weights, &run->weights));
    TN_TRY_GOTO(find_stages(run));
    for (uint32_t d = 0; d < params->n_devices; d++) TN_TRY_GOTO(place_weights(run, d));
    TN_TRY_GOTO(check_stages(run));
    TN_TRY_GOTO(pack_weights(run));
    for (uint32_t i = 0; i < run->n_stages; i++) TN_TRY_GOTO(compile_stage(run, &run->stages[i]));
    TN_TRY_GOTO(reserve_hop(run));
    TN_TRY_GOTO(reserve_ranking(run));
    *out_run = run;
    return TN_OK;
fail:
    tn_plan_run_destroy(run);
    return status;
}

static void destroy_buffer(tn_buffer *buffer)
{
    if (buffer) buffer->device->backend->buffer_destroy(buffer);
}

void tn_plan_run_destroy(tn_plan_run *run)
{
    if (!run) return;
    for (uint32_t i = 0; i < run->n_stages; i++) {
        stage *s = &run->stages[i];
        if (s->program) s->device->backend->program_destroy(s->program);
        destroy_buffer(s->kv);
        destroy_buffer(s->in);
        destroy_buffer(s->out);
        for (uint32_t t = 0; t < s->n_taps; t++) destroy_buffer(s->taps[t].tap.buffer);
        tn_free(s->taps);
    }
    for (uint32_t d = 0; run->weights && d < run->params.n_devices; d++) tn_plan_weights_deinit(&run->weights[d]);
    tn_free(run->weights);
    tn_free(run->stages);
    tn_free(run->ranking.counts);
    tn_free(run->ranking.ids);
    tn_free(run->ranking.logits);
    tn_free(run->hop);
    tn_free(run->stage_poison);
    tn_free(run->stats.node_ns);
    tn_free(run);
}

tn_step_limits tn_plan_run_limits(const tn_plan_run *run) { return run->params.limits; }

static uint32_t n_rows(const tn_plan_run *run, const tn_step *step, uint32_t value)
{
    return run->params.graph->values[value].rows == TN_ROWS_TOKENS ? step->n_tokens : step->n_logits;
}

static uint64_t step_bytes(const tn_plan_run *run, const tn_step *step, uint32_t value)
{
    return (uint64_t)n_rows(run, step, value) * run->params.graph->values[value].width * sizeof(float);
}

static tn_status report_traces(tn_plan_run *run, const stage *s, const tn_step *step)
{
    const uint32_t *logit_rows = tn_step_view_of(step, &run->step_layout).logit_rows;
    for (uint32_t t = 0; t < s->n_taps; t++) {
        const stage_tap *tap = &s->taps[t];
        const tn_value *value = &run->params.graph->values[tap->tap.value];
        uint32_t rows = n_rows(run, step, tap->tap.value);
        char name[32];
        tn_node_trace_name(tap->node, name);
        TN_TRY(s->device->backend->buffer_read(tap->tap.buffer, 0, run->hop, step_bytes(run, step, tap->tap.value)));
        for (uint32_t r = 0; r < rows; r++) {
            uint32_t token = value->rows == TN_ROWS_TOKENS ? r : logit_rows[r];
            run->params.trace(run->params.trace_user, step, token, name, run->hop + (size_t)r * value->width, value->width);
        }
    }
    return TN_OK;
}

static tn_status run_stage(tn_plan_run *run, const stage *s, const tn_step *step, const tn_ranking *ranking)
{
    tn_submit submit = {.step = step, .in = s->in, .out = s->out, .poison = run->stage_poison, .ranking = ranking};
    tn_fence fence;
    TN_TRY(s->device->backend->program_submit(s->program, &submit, &fence));
    TN_TRY(s->device->backend->fence_wait(s->device, fence));
    return run->params.trace ? report_traces(run, s, step) : TN_OK;
}

uint32_t tn_plan_run_ranking_max(const tn_plan_run *run) { return run->ranking.max; }

// The last stage's rows, to the host: candidates of those that were ranked, and the others as they are, several at a time.
static tn_status take_logits(tn_plan_run *run, const tn_step *step, const tn_ranking *ranking, tn_logit_rows *rows, uint32_t first_row)
{
    const stage *last = &run->stages[run->n_stages - 1];
    const uint32_t n = n_rows(run, step, last->segment->out_value);
    const uint64_t row_bytes = (uint64_t)run->params.graph->values[last->segment->out_value].width * sizeof(float);
    for (uint32_t r = 0, end; r < n; r = end) {
        const uint32_t n_ranked = ranking ? ranking->counts[r] : 0;
        end = r + 1;
        if (n_ranked) {
            const size_t at = (size_t)r * ranking->max;
            TN_TRY(tn_logit_rows_put(rows, first_row + r, n_ranked, ranking->ids + at, ranking->logits + at));
            continue;
        }
        while (end < n && !(ranking && ranking->counts[end])) end++;
        float *to = tn_logit_rows_whole(rows, first_row + r, end - r);
        TN_TRY(last->device->backend->buffer_read(last->out, r * row_bytes, to, (end - r) * row_bytes));
    }
    return TN_OK;
}

tn_status tn_plan_run_step(tn_plan_run *run, const tn_step *step, tn_logit_rows *rows, uint32_t first_row, uint32_t *poison)
{
    const tn_ranking *ranking = rows->max && run->ranking.max && step->has_top ? &run->ranking : NULL;
    if (ranking) memset(ranking->counts, 0, step->n_logits * sizeof *ranking->counts);
    for (uint32_t i = 0; i < step->n_tokens; i++) poison[i] = 0;
    for (uint32_t i = 0; i < run->n_stages; i++) {
        const stage *s = &run->stages[i];
        if (i > 0) {
            const stage *before = &run->stages[i - 1];
            uint64_t bytes = step_bytes(run, step, s->segment->in_value);
            TN_TRY(before->device->backend->buffer_read(before->out, 0, run->hop, bytes));
            TN_TRY(s->device->backend->buffer_write(s->in, 0, run->hop, bytes));
        }
        TN_TRY(run_stage(run, s, step, i + 1 == run->n_stages ? ranking : NULL));
        for (uint32_t t = 0; t < step->n_tokens; t++) {
            if (!poison[t]) poison[t] = run->stage_poison[t];
        }
    }
    return take_logits(run, step, ranking, rows, first_row);
}

tn_status tn_plan_run_check_intact(const tn_plan_run *run)
{
    for (uint32_t d = 0; d < run->params.n_devices; d++) TN_TRY(tn_plan_weights_check_intact(&run->weights[d]));
    return TN_OK;
}

tn_plan_run_memory tn_plan_run_get_memory(const tn_plan_run *run)
{
    tn_plan_run_memory memory = {.kv_bytes = run->kv_bytes};
    for (uint32_t d = 0; d < run->params.n_devices; d++) {
        const tn_packed_weight *packed = run->weights[d].packed;
        memory.weights_bytes += tn_plan_weights_bytes(&run->weights[d]);
        for (uint32_t i = 0; packed && i < run->params.graph->n_weights; i++) memory.screen_bytes += packed[i].layout.screen_bytes;
    }
    for (uint32_t i = 0; i < run->n_stages; i++) {
        const stage *s = &run->stages[i];
        memory.scratch_bytes += s->device->backend->program_scratch_bytes(s->program);
        memory.scratch_bytes += s->out->size_bytes + (s->in ? s->in->size_bytes : 0);
    }
    return memory;
}

tn_program_stats *tn_plan_run_stats(tn_plan_run *run) { return &run->stats; }

const tn_screen_stats *tn_plan_run_screen_stats(const tn_plan_run *run) { return &run->screen_stats; }

const tn_weight_layout *tn_plan_run_layout(const tn_plan_run *run, const tn_node *node)
{
    const uint32_t index = (uint32_t)(node - run->params.graph->nodes);
    if (node->weight == TN_NONE) return NULL;
    for (uint32_t i = 0; i < run->n_stages; i++) {
        const tn_segment *segment = run->stages[i].segment;
        if (index - segment->first_node < segment->n_nodes) return &run->weights[segment->device].packed[node->weight].layout;
    }
    return NULL;
}
