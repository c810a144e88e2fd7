// Making what executes a plan: a stage for each segment, with packed weights, a program and buffers.
#include "base/alloc.h"
#include "base/checked.h"
#include "runtime/plan_state.h"

#include <string.h>

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
static tn_status find_taps(const tn_plan_run *run, tn_stage *s)
{
    if (!run->params.trace) return TN_OK;
    TN_TRY(tn_alloc_zero(s->segment->n_nodes, sizeof *s->taps, &s->taps));
    for (uint32_t i = 0; i < s->segment->n_nodes; i++) {
        const tn_node *node = &run->params.graph->nodes[s->segment->first_node + i];
        if (node->trace) s->taps[s->n_taps++] = (tn_stage_tap){node, {.value = node->out}};
    }
    return TN_OK;
}

static tn_status find_stages(tn_plan_run *run)
{
    TN_TRY(tn_alloc_zero(run->params.plan->n_segments, sizeof *run->stages, &run->stages));
    for (uint32_t i = 0; i < run->params.plan->n_segments; i++) {
        tn_stage *s = &run->stages[run->n_stages++];
        s->run = run;
        s->segment = &run->params.plan->segments[i];
        s->device = run->params.devices[s->segment->device];
        pthread_cond_init(&s->arrived, NULL);
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
static tn_status with_desc(tn_plan_run *run, tn_stage *s, tn_status (*use)(tn_plan_run *run, tn_stage *s, const tn_program_desc *desc))
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
        .stats = run->params.profile ? &s->stats : NULL,
        .screen_stats = &run->screen_stats,
        .progress = run->params.progress,
        .is_fast = run->params.is_fast,
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

static tn_status check_stage(tn_plan_run *run, tn_stage *s, const tn_program_desc *desc)
{
    tn_program_needs needs;
    const tn_status status = s->device->backend->program_check(s->device, desc, &needs);
    s->program_bytes = needs.scratch_bytes;
    if (status != TN_UNSUPPORTED || needs.n_tokens == 0 || !run->params.may_shrink) return status;
    tn_step_limits *limits = &run->params.limits;
    limits->n_tokens = round_steps(needs.n_tokens);
    if (limits->n_logits > limits->n_tokens) limits->n_logits = limits->n_tokens;
    return TN_OK;
}

// What a device cannot run is known before its weights are packed. Where steps become smaller, all programs are asked again what they need.
static tn_status check_stages(tn_plan_run *run)
{
    uint32_t n_tokens;
    do {
        n_tokens = run->params.limits.n_tokens;
        for (uint32_t i = 0; i < run->n_stages; i++) TN_TRY(with_desc(run, &run->stages[i], check_stage));
    } while (run->params.limits.n_tokens != n_tokens);
    return tn_step_layout_of(&run->params.limits, &run->step_layout);
}

static tn_status kv_bytes(const tn_plan_run *run, const tn_stage *s, uint64_t *out_bytes)
{
    const uint64_t page = tn_kv_page_layer_bytes(run->params.graph->n_kv_heads, run->params.graph->head_dim);
    if (tn_ckd_mul(page, run->params.limits.n_kv_pages, out_bytes) && tn_ckd_mul(*out_bytes, s->segment->n_layers, out_bytes)) return TN_OK;
    return tn_fail(TN_INVALID_ARGUMENT, "the KV cache is larger than any memory: ask for a shorter context or fewer sequences");
}

// Sizes the stage's buffers and adds them, and its program, to its device's memory.
static tn_status size_stage(tn_plan_run *run, tn_stage *s)
{
    tn_plan_memory *memory = &run->memory[s->segment->device];
    uint64_t bytes, ins_bytes, taps_bytes = 0;
    if (s->segment->n_layers) TN_TRY(kv_bytes(run, s, &s->kv_bytes));
    if (s->segment->in_value != TN_NONE) {
        TN_TRY(rows_bytes(run, s->segment->in_value, &s->in_bytes));
        s->n_in = s->device->records_buffers ? 1 : run->params.n_slots;
    }
    TN_TRY(rows_bytes(run, s->segment->out_value, &s->out_bytes));
    for (uint32_t t = 0; t < s->n_taps; t++) {
        TN_TRY(rows_bytes(run, s->taps[t].tap.value, &bytes));
        if (!tn_ckd_add(taps_bytes, bytes, &taps_bytes)) return tn_fail(TN_INVALID_ARGUMENT, "a trace of that many tokens is too large");
    }
    bool fits = tn_ckd_mul(s->in_bytes, s->n_in, &ins_bytes) && tn_ckd_add(memory->kv_bytes, s->kv_bytes, &memory->kv_bytes);
    const uint64_t scratch[] = {s->program_bytes, fits ? ins_bytes : 0, s->out_bytes, taps_bytes};
    for (size_t i = 0; i < sizeof scratch / sizeof *scratch; i++)
        fits = fits && tn_ckd_add(memory->scratch_bytes, scratch[i], &memory->scratch_bytes);
    return fits ? TN_OK : tn_fail(TN_INVALID_ARGUMENT, "the KV cache and the values of steps are larger than any memory");
}

// Before anything is taken of a device's memory.
static tn_status sum_memory(tn_plan_run *run)
{
    for (uint32_t i = 0; i < run->n_stages; i++) run->memory[run->stages[i].segment->device].device = run->stages[i].device;
    for (uint32_t d = 0; d < run->params.n_devices; d++) {
        run->memory[d].weights_bytes = tn_plan_weights_bytes(&run->weights[d]);
        run->memory[d].mapped_bytes = run->memory[d].weights_bytes - tn_plan_weights_to_pack(&run->weights[d]);
    }
    for (uint32_t i = 0; i < run->n_stages; i++) TN_TRY(size_stage(run, &run->stages[i]));
    return tn_plan_memory_ask(run->memory, run->params.n_devices);
}

static tn_status create_program(tn_plan_run *run, tn_stage *s, const tn_program_desc *desc)
{
    (void)run;
    return s->device->backend->program_create(s->device, desc, &s->program);
}

static tn_status compile_stage(tn_plan_run *run, tn_stage *s)
{
    const tn_backend *backend = s->device->backend;
    uint64_t bytes;
    if (s->segment->n_layers) TN_TRY(backend->buffer_create(s->device, s->kv_bytes, &s->kv));
    TN_TRY(tn_alloc_zero(s->n_in, sizeof(tn_buffer *), &s->in));
    for (uint32_t i = 0; i < s->n_in; i++) TN_TRY(backend->buffer_create(s->device, s->in_bytes, &s->in[i]));
    TN_TRY(backend->buffer_create(s->device, s->out_bytes, &s->out));
    for (uint32_t t = 0; t < s->n_taps; t++) {
        TN_TRY(rows_bytes(run, s->taps[t].tap.value, &bytes));
        TN_TRY(backend->buffer_create(s->device, bytes, &s->taps[t].tap.buffer));
    }
    return with_desc(run, s, create_program);
}

// Host memory for hops and traced rows: as large as the largest of them.
static tn_status measure_hop(tn_plan_run *run)
{
    uint64_t bytes;
    for (uint32_t i = 0; i < run->n_stages; i++) {
        const tn_stage *s = &run->stages[i];
        if (i + 1 < run->n_stages) {
            TN_TRY(rows_bytes(run, s->segment->out_value, &bytes));
            if (bytes > run->hop_bytes) run->hop_bytes = bytes;
        }
        for (uint32_t t = 0; t < s->n_taps; t++) {
            TN_TRY(rows_bytes(run, s->taps[t].tap.value, &bytes));
            if (bytes > run->hop_bytes) run->hop_bytes = bytes;
        }
    }
    return TN_OK;
}

static tn_status reserve_ranking(const tn_plan_run *run, tn_ranking *ranking)
{
    const uint32_t n_logits = run->params.limits.n_logits, max = run->stages[run->n_stages - 1].device->ranking_max;
    uint64_t n;
    if (max == 0) return TN_OK;
    if (!tn_ckd_mul(n_logits, max, &n)) return tn_fail(TN_INVALID_ARGUMENT, "a step of that many rows of logits is too large");
    TN_TRY(tn_alloc_zero(n_logits, sizeof *ranking->counts, &ranking->counts));
    TN_TRY(tn_alloc(n, sizeof *ranking->ids, &ranking->ids));
    TN_TRY(tn_alloc(n, sizeof *ranking->logits, &ranking->logits));
    ranking->max = max;
    return TN_OK;
}

static tn_status reserve_slots(tn_plan_run *run)
{
    TN_TRY(measure_hop(run));
    TN_TRY(tn_alloc_zero(run->params.n_slots, sizeof *run->slots, &run->slots));
    run->n_slots = run->params.n_slots;
    for (uint32_t i = 0; i < run->n_slots; i++) {
        tn_plan_slot *slot = &run->slots[i];
        TN_TRY(tn_alloc(run->hop_bytes / sizeof(float), sizeof(float), &slot->hop));
        TN_TRY(tn_alloc_zero(run->params.limits.n_tokens, sizeof *slot->stage_poison, &slot->stage_poison));
        TN_TRY(reserve_ranking(run, &slot->ranking));
    }
    return TN_OK;
}

// Nothing of the system's is needed for these: they cannot fail.
static void init_locks(tn_plan_run *run)
{
    pthread_mutex_init(&run->mutex, NULL);
    pthread_cond_init(&run->left, NULL);
}

// All that takes no memory of a device.
static tn_status prepare(tn_plan_run *run, const tn_plan_run_params *params)
{
    run->params = *params;
    init_locks(run);
    if (params->profile) TN_TRY(tn_alloc_zero(params->graph->n_nodes, sizeof *run->node_ns, &run->node_ns));
    TN_TRY(tn_alloc_zero(params->n_devices, sizeof *run->weights, &run->weights));
    TN_TRY(tn_alloc_zero(params->n_devices, sizeof *run->memory, &run->memory));
    TN_TRY(find_stages(run));
    for (uint32_t i = 0; i < run->n_stages; i++) run->stages[i].stats.node_ns = run->node_ns; // stages have nodes of their own
    for (uint32_t d = 0; d < params->n_devices; d++) TN_TRY(place_weights(run, d));
    TN_TRY(check_stages(run));
    return sum_memory(run);
}

tn_status tn_plan_run_create(const tn_plan_run_params *params, tn_plan_run **out_run)
{
    *out_run = NULL;
    tn_status status;
    tn_plan_run *run;
    TN_TRY(tn_alloc_zero(1, sizeof *run, &run));
    TN_TRY_GOTO(prepare(run, params));
    TN_TRY_GOTO(tn_plan_memory_check(run->memory, params->n_devices));
    TN_TRY_GOTO(pack_weights(run));
    for (uint32_t i = 0; i < run->n_stages; i++) TN_TRY_GOTO(compile_stage(run, &run->stages[i]));
    TN_TRY_GOTO(reserve_slots(run));
    *out_run = run;
    return TN_OK;
fail:
    tn_plan_run_destroy(run);
    return status;
}

tn_status tn_plan_run_plan_memory(const tn_plan_run_params *params, tn_plan_memory *out_memory)
{
    tn_plan_run *run;
    TN_TRY(tn_alloc_zero(1, sizeof *run, &run));
    const tn_status status = prepare(run, params);
    if (status == TN_OK) memcpy(out_memory, run->memory, params->n_devices * sizeof *out_memory);
    tn_plan_run_destroy(run);
    return status;
}

static void destroy_buffer(tn_buffer *buffer)
{
    if (buffer) buffer->device->backend->buffer_destroy(buffer);
}

static void destroy_stage(tn_stage *s)
{
    if (s->program) s->device->backend->program_destroy(s->program);
    destroy_buffer(s->kv);
    for (uint32_t i = 0; s->in && i < s->n_in; i++) destroy_buffer(s->in[i]);
    destroy_buffer(s->out);
    for (uint32_t t = 0; t < s->n_taps; t++) destroy_buffer(s->taps[t].tap.buffer);
    tn_free(s->in);
    tn_free(s->taps);
    pthread_cond_destroy(&s->arrived);
}

static void destroy_slot(tn_plan_slot *slot)
{
    tn_free(slot->hop);
    tn_free(slot->stage_poison);
    tn_free(slot->ranking.counts);
    tn_free(slot->ranking.ids);
    tn_free(slot->ranking.logits);
}

void tn_plan_run_destroy(tn_plan_run *run)
{
    if (!run) return;
    tn_plan_threads_end(run);
    for (uint32_t i = 0; i < run->n_stages; i++) destroy_stage(&run->stages[i]);
    for (uint32_t d = 0; run->weights && d < run->params.n_devices; d++) tn_plan_weights_deinit(&run->weights[d]);
    for (uint32_t i = 0; i < run->n_slots; i++) destroy_slot(&run->slots[i]);
    pthread_cond_destroy(&run->left);
    pthread_mutex_destroy(&run->mutex);
    tn_free(run->weights);
    tn_free(run->memory);
    tn_free(run->stages);
    tn_free(run->slots);
    tn_free(run->node_ns);
    tn_free(run);
}

tn_step_limits tn_plan_run_limits(const tn_plan_run *run) { return run->params.limits; }

uint32_t tn_plan_run_ranking_max(const tn_plan_run *run) { return run->slots[0].ranking.max; }

tn_status tn_plan_run_check_intact(const tn_plan_run *run)
{
    for (uint32_t d = 0; d < run->params.n_devices; d++) TN_TRY(tn_plan_weights_check_intact(&run->weights[d]));
    return TN_OK;
}

tn_plan_run_memory tn_plan_run_get_memory(const tn_plan_run *run)
{
    tn_plan_run_memory memory = {0};
    for (uint32_t d = 0; d < run->params.n_devices; d++) {
        const tn_packed_weight *packed = run->weights[d].packed;
        memory.weights_bytes += tn_plan_weights_bytes(&run->weights[d]);
        for (uint32_t i = 0; packed && i < run->params.graph->n_weights; i++) memory.screen_bytes += packed[i].layout.screen_bytes;
    }
    for (uint32_t i = 0; i < run->n_stages; i++) {
        const tn_stage *s = &run->stages[i];
        memory.scratch_bytes += s->device->backend->program_scratch_bytes(s->program);
        memory.scratch_bytes += s->in_bytes * s->n_in + s->out_bytes;
        for (uint32_t t = 0; t < s->n_taps; t++) memory.scratch_bytes += s->taps[t].tap.buffer->size_bytes;
        memory.kv_bytes += s->kv_bytes;
    }
    return memory;
}

bool tn_plan_run_is_profiled(const tn_plan_run *run) { return run->node_ns != NULL; }

tn_program_stats tn_plan_run_stats(const tn_plan_run *run)
{
    tn_program_stats sum = {.node_ns = run->node_ns};
    for (uint32_t i = 0; i < run->n_stages; i++) {
        const tn_program_stats *stats = &run->stages[i].stats;
        sum.n_submits += stats->n_submits;
        sum.n_barriers += stats->n_barriers;
        sum.barrier_wait_ns += stats->barrier_wait_ns;
        sum.n_gates += stats->n_gates;
        sum.n_gates_zero += stats->n_gates_zero;
        sum.n_codes += stats->n_codes;
        sum.n_codes_zero += stats->n_codes_zero;
    }
    return sum;
}

void tn_plan_run_reset_stats(tn_plan_run *run)
{
    for (uint32_t i = 0; i < run->n_stages; i++) run->stages[i].stats = (tn_program_stats){.node_ns = run->node_ns};
    if (run->node_ns) memset(run->node_ns, 0, run->params.graph->n_nodes * sizeof *run->node_ns);
}

void tn_plan_run_add_stats(tn_plan_run *run, const tn_program_stats *stats, const tn_screen_stats *screen_stats)
{
    tn_program_stats *to = &run->stages[0].stats; // all stages are summed
    to->n_submits += stats->n_submits;
    to->n_barriers += stats->n_barriers;
    to->barrier_wait_ns += stats->barrier_wait_ns;
    to->n_gates += stats->n_gates;
    to->n_gates_zero += stats->n_gates_zero;
    to->n_codes += stats->n_codes;
    to->n_codes_zero += stats->n_codes_zero;
    for (uint32_t i = 0; run->node_ns && stats->node_ns && i < run->params.graph->n_nodes; i++) run->node_ns[i] += stats->node_ns[i];
    run->screen_stats.n_rows += screen_stats->n_rows;
    run->screen_stats.n_kept += screen_stats->n_kept;
    run->screen_stats.n_whole += screen_stats->n_whole;
}

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
