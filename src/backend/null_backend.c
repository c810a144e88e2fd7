// The recording backend. Buffers are plain memory, programs copy a little marker per row, logits are a hash of it.
#include "backend/null_backend.h"

#include "base/alloc.h"
#include "base/str.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

typedef struct tn_null_records {
    pthread_mutex_t mutex;
    tn_text text;
    uint32_t n_calls[TN_NULL_CALL_COUNT_];
    uint32_t n_alive, n_objects; // n_objects numbers buffers and programs
    uint64_t used_bytes;         // in buffers, of all devices
    uint64_t n_fences;
} tn_null_records;

typedef struct null_device {
    tn_device base;
    tn_null_state *state;
    char name[16];
    uint32_t index;
    uint64_t used_bytes;            // in buffers
    struct null_program *in_flight; // list, guarded by the records' mutex
} null_device;

typedef struct null_buffer {
    tn_buffer base;
    uint32_t id;
    uint8_t *data;
    bool is_borrowed;
} null_buffer;

typedef struct null_program {
    tn_program base;
    uint32_t id;
    uint32_t in_width, out_width;
    bool from_tokens, out_logits;
    tn_step_limits limits;
    tn_step_layout step_layout;
    tn_program_stats *stats;
    uint32_t first_node, n_nodes;
    uint64_t fence; // of the submit in flight; 0: none
    tn_step_view step;
    tn_submit submit;
    struct null_program *next;
} null_program;

// What a row of a hidden value says: token, position and the programs it went through.
enum { MARK_TOKEN, MARK_POSITION, MARK_HOPS, N_MARKS };

static void log_hook(void *user, tn_log_level level, const char *message);

static tn_null_state *state_of(const tn_backend_host *host) { return host->log.write == log_hook ? host->log.user : NULL; }
static tn_null_state *state_of_device(const tn_device *device) { return ((const null_device *)device)->state; }

static tn_status make_records(tn_null_state *state)
{
    if (state->records) return TN_OK;
    TN_TRY(tn_alloc_zero(1, sizeof *state->records, &state->records));
    pthread_mutex_init(&state->records->mutex, NULL);
    return TN_OK;
}

// Records a call, and fails it where the test wants that. Lines are lost where memory is: the text is for tests.
static tn_status record(tn_null_state *state, tn_null_call call, const char *line)
{
    TN_TRY(make_records(state));
    tn_null_records *records = state->records;
    pthread_mutex_lock(&records->mutex);
    tn_status status = tn_text_printf(&records->text, "%s\n", line);
    uint32_t n = ++records->n_calls[call];
    uint32_t n_all = ++records->n_calls[TN_NULL_ANY];
    pthread_mutex_unlock(&records->mutex);
    TN_TRY(status);
    bool mine = state->fail_nth != 0 &&
                (state->fail_call == TN_NULL_ANY ? n_all == state->fail_nth : state->fail_call == call && n == state->fail_nth);
    return mine ? tn_fail(state->fail_status, "null backend: told to fail at: %s", line) : TN_OK;
}

static uint32_t born(tn_null_state *state)
{
    pthread_mutex_lock(&state->records->mutex);
    state->records->n_alive++;
    uint32_t id = state->records->n_objects++;
    pthread_mutex_unlock(&state->records->mutex);
    return id;
}

// Deaths are recorded but cannot fail.
static void died(tn_null_state *state, const char *line)
{
    pthread_mutex_lock(&state->records->mutex);
    state->records->n_alive--;
    tn_status status = tn_text_printf(&state->records->text, "%s\n", line);
    (void)status;
    pthread_mutex_unlock(&state->records->mutex);
}

#define RECORD(state, call, ...)                                                                                                           \
    do {                                                                                                                                   \
        char record_line_[256];                                                                                                            \
        snprintf(record_line_, sizeof record_line_, __VA_ARGS__);                                                                          \
        TN_TRY(record((state), (call), record_line_));                                                                                     \
    } while (0)

// ---- what the test sees ----

static void log_hook(void *user, tn_log_level level, const char *message)
{
    char line[512];
    snprintf(line, sizeof line, "log %d %s", (int)level, message);
    tn_null_state *state = user;
    if (make_records(state) != TN_OK) return;
    pthread_mutex_lock(&state->records->mutex);
    tn_status status = tn_text_printf(&state->records->text, "%s\n", line);
    (void)status;
    pthread_mutex_unlock(&state->records->mutex);
}

tn_log tn_null_log(tn_null_state *state) { return (tn_log){.write = log_hook, .user = state}; }

const char *tn_null_text(const tn_null_state *state)
{
    return state->records && state->records->text.data ? state->records->text.data : "";
}

void tn_null_clear(tn_null_state *state)
{
    if (!state->records) return;
    tn_text_deinit(&state->records->text);
    state->records->text = (tn_text){0};
    memset(state->records->n_calls, 0, sizeof state->records->n_calls);
}

uint32_t tn_null_n_alive(const tn_null_state *state) { return state->records ? state->records->n_alive : 0; }

void tn_null_deinit(tn_null_state *state)
{
    if (!state->records) return;
    tn_text_deinit(&state->records->text);
    pthread_mutex_destroy(&state->records->mutex);
    tn_free(state->records);
    state->records = NULL;
}

float tn_null_logit(int32_t token, uint32_t position, uint32_t n_hops, uint32_t id)
{
    uint32_t h = (uint32_t)token * 0x9e3779b1u ^ position * 0x85ebca77u ^ n_hops * 0xc2b2ae3du ^ id * 0x27d4eb2fu;
    h = (h ^ h >> 15) * 0x2c1b3c6du;
    h ^= h >> 13;
    return (float)(int32_t)(h & 0xffff) * 0x1p-12f - 8.0f;
}

// ---- devices and buffers ----

static tn_status device_count(const tn_backend_host *host, uint32_t *out_count)
{
    const tn_null_state *state = state_of(host);
    *out_count = state ? state->n_devices : 0;
    return TN_OK;
}

static tn_status device_describe(const tn_backend_host *host, uint32_t index, tn_device_desc *out_desc)
{
    *out_desc = (tn_device_desc){0};
    const tn_null_state *state = state_of(host);
    if (!state || index >= state->n_devices) return tn_fail(TN_INVALID_ARGUMENT, "there is no null device %u", (unsigned)index);
    snprintf(out_desc->name, sizeof out_desc->name, "null%u", (unsigned)index);
    snprintf(out_desc->description, sizeof out_desc->description, "records calls");
    out_desc->memory_bytes = out_desc->memory_free_bytes = state->memory_bytes;
    return TN_OK;
}

static tn_status device_open(const tn_backend_host *host, uint32_t index, tn_device **out_device)
{
    *out_device = NULL;
    tn_null_state *state = state_of(host);
    if (!state || index >= state->n_devices) return tn_fail(TN_UNAVAILABLE, "there is no null device %u", (unsigned)index);
    RECORD(state, TN_NULL_DEVICE_OPEN, "null%u open", (unsigned)index);
    null_device *device;
    TN_TRY(tn_alloc_zero(1, sizeof *device, &device));
    device->base.backend = &tn_null_backend_table;
    device->state = state;
    device->index = index;
    snprintf(device->name, sizeof device->name, "null%u", (unsigned)index);
    device->base.name = device->name;
    pthread_mutex_lock(&state->records->mutex);
    state->records->n_alive++;
    pthread_mutex_unlock(&state->records->mutex);
    *out_device = &device->base;
    return TN_OK;
}

static void device_close(tn_device *base)
{
    if (!base) return;
    null_device *device = (null_device *)base;
    char line[64];
    snprintf(line, sizeof line, "null%u close", (unsigned)device->index);
    died(device->state, line);
    tn_free(device);
}

static tn_status device_kernels(tn_device *device, void (*line)(void *user, const char *kernel, bool chosen), void *user)
{
    (void)device;
    line(user, "tn_k_null", true);
    return TN_OK;
}

static uint32_t index_of(const tn_device *device) { return ((const null_device *)device)->index; }

static tn_status device_memory(tn_device *base, uint64_t *out_total, uint64_t *out_free)
{
    tn_null_state *state = state_of_device(base);
    *out_total = *out_free = UINT64_MAX;
    RECORD(state, TN_NULL_MEMORY, "null%u memory", (unsigned)index_of(base));
    if (state->memory_bytes == 0) return TN_OK;
    const uint64_t used = base->takes_host_memory ? state->records->used_bytes : ((const null_device *)base)->used_bytes;
    *out_total = state->memory_bytes;
    *out_free = used < state->memory_bytes ? state->memory_bytes - used : 0;
    return TN_OK;
}

// Counts bytes of a buffer that is made, or is no more.
static void count_bytes(tn_device *device, uint64_t n_bytes, bool is_made)
{
    tn_null_records *records = state_of_device(device)->records;
    pthread_mutex_lock(&records->mutex);
    records->used_bytes += is_made ? n_bytes : 0 - n_bytes;
    ((null_device *)device)->used_bytes += is_made ? n_bytes : 0 - n_bytes;
    pthread_mutex_unlock(&records->mutex);
}

static tn_status buffer_create(tn_device *device, uint64_t size_bytes, tn_buffer **out_buffer)
{
    *out_buffer = NULL;
    tn_null_state *state = state_of_device(device);
    RECORD(state, TN_NULL_BUFFER_CREATE, "null%u buffer %u create %" PRIu64, (unsigned)index_of(device),
           (unsigned)state->records->n_objects, size_bytes);
    tn_status status;
    null_buffer *buffer;
    TN_TRY(tn_alloc_zero(1, sizeof *buffer, &buffer));
    TN_TRY_GOTO(tn_alloc_zero((size_t)size_bytes, 1, &buffer->data));
    buffer->base.device = device;
    buffer->base.size_bytes = size_bytes;
    buffer->id = born(state);
    count_bytes(device, size_bytes, true);
    *out_buffer = &buffer->base;
    return TN_OK;
fail:
    tn_free(buffer);
    return status;
}

static tn_status buffer_map(tn_device *device, const void *bytes, uint64_t size_bytes, tn_buffer **out_buffer)
{
    *out_buffer = NULL;
    tn_null_state *state = state_of_device(device);
    if (!bytes) return tn_fail(TN_INVALID_ARGUMENT, "null backend: memory for a buffer is missing");
    RECORD(state, TN_NULL_BUFFER_MAP, "null%u buffer %u map %" PRIu64, (unsigned)index_of(device), (unsigned)state->records->n_objects,
           size_bytes);
    null_buffer *buffer;
    TN_TRY(tn_alloc_zero(1, sizeof *buffer, &buffer));
    *buffer = (null_buffer){.base = {device, size_bytes}, .id = born(state), .data = (uint8_t *)(uintptr_t)bytes, .is_borrowed = true};
    *out_buffer = &buffer->base;
    return TN_OK;
}

static void buffer_destroy(tn_buffer *base)
{
    if (!base) return;
    null_buffer *buffer = (null_buffer *)base;
    char line[64];
    snprintf(line, sizeof line, "null%u buffer %u destroy", (unsigned)index_of(base->device), (unsigned)buffer->id);
    died(state_of_device(base->device), line);
    if (!buffer->is_borrowed) {
        count_bytes(base->device, base->size_bytes, false);
        tn_free(buffer->data);
    }
    tn_free(buffer);
}

static tn_status check_range(const tn_buffer *buffer, uint64_t offset_bytes, uint64_t n_bytes)
{
    if (!buffer) return tn_fail(TN_INVALID_ARGUMENT, "null backend: a buffer is missing");
    if (offset_bytes > buffer->size_bytes || n_bytes > buffer->size_bytes - offset_bytes)
        return tn_fail(TN_INVALID_ARGUMENT, "null backend: %" PRIu64 " bytes at %" PRIu64 " are outside of a buffer of %" PRIu64, n_bytes,
                       offset_bytes, buffer->size_bytes);
    return TN_OK;
}

static tn_status buffer_write(tn_buffer *base, uint64_t offset_bytes, const void *src, uint64_t n_bytes)
{
    null_buffer *buffer = (null_buffer *)base;
    TN_TRY(check_range(base, offset_bytes, n_bytes));
    if (buffer->is_borrowed) return tn_fail(TN_INVALID_ARGUMENT, "null backend: mapped memory is read-only");
    RECORD(state_of_device(base->device), TN_NULL_BUFFER_WRITE, "null%u buffer %u write %" PRIu64 " at %" PRIu64,
           (unsigned)index_of(base->device), (unsigned)buffer->id, n_bytes, offset_bytes);
    if (n_bytes) memcpy(buffer->data + offset_bytes, src, (size_t)n_bytes);
    return TN_OK;
}

static tn_status buffer_read(tn_buffer *base, uint64_t offset_bytes, void *dst, uint64_t n_bytes)
{
    null_buffer *buffer = (null_buffer *)base;
    TN_TRY(check_range(base, offset_bytes, n_bytes));
    RECORD(state_of_device(base->device), TN_NULL_BUFFER_READ, "null%u buffer %u read %" PRIu64 " at %" PRIu64,
           (unsigned)index_of(base->device), (unsigned)buffer->id, n_bytes, offset_bytes);
    if (n_bytes) memcpy(dst, buffer->data + offset_bytes, (size_t)n_bytes);
    return TN_OK;
}

// ---- weights and ops ----

static bool packing_assume(tn_device *device, uint32_t index)
{
    tn_null_state *state = state_of_device(device);
    state->packing = index < state->n_packings ? index + 1 : 0;
    return state->packing != 0;
}

static tn_status weight_layout(tn_device *device, const tn_weight_source *source, tn_weight_layout *out_layout)
{
    *out_layout = (tn_weight_layout){0};
    RECORD(state_of_device(device), TN_NULL_WEIGHT_LAYOUT, "null%u layout %s", (unsigned)index_of(device), source->name);
    const tn_null_state *state = state_of_device(device);
    const uint32_t own = state->n_packings ? state->n_packings : 1;
    *out_layout =
        (tn_weight_layout){.layout_id = state->packing ? state->packing : own, .size_bytes = 64, .alignment_bytes = 64, .name = "null"};
    return TN_OK;
}

static tn_status weight_pack(tn_device *device, const tn_weight_source *source, tn_buffer *buffer, uint64_t offset_bytes)
{
    TN_TRY(check_range(buffer, offset_bytes, 64));
    RECORD(state_of_device(device), TN_NULL_WEIGHT_PACK, "null%u pack %s into %u at %" PRIu64, (unsigned)index_of(device), source->name,
           (unsigned)((const null_buffer *)buffer)->id, offset_bytes);
    return TN_OK;
}

static tn_status op_supported(tn_device *device, const tn_graph *graph, const tn_node *node)
{
    (void)graph;
    tn_null_state *state = state_of_device(device);
    RECORD(state, TN_NULL_OP_SUPPORTED, "null%u supports %s?", (unsigned)index_of(device), tn_op_name(node->op));
    return state->op_status == TN_OK ? TN_OK : tn_fail(state->op_status, "null backend: told to refuse %s", tn_op_name(node->op));
}

// ---- programs ----

static uint64_t scratch_bytes(const tn_step_limits *limits, uint32_t out_width)
{
    return (uint64_t)limits->n_tokens * out_width * sizeof(float);
}

static tn_status program_check(tn_device *device, const tn_program_desc *desc, tn_program_needs *out_needs)
{
    *out_needs = (tn_program_needs){0};
    tn_null_state *state = state_of_device(device);
    RECORD(state, TN_NULL_PROGRAM_CHECK, "null%u check nodes %u..%u tokens %u logits %u taps %u", (unsigned)index_of(device),
           (unsigned)desc->first_node, (unsigned)(desc->first_node + desc->n_nodes - 1), (unsigned)desc->limits.n_tokens,
           (unsigned)desc->limits.n_logits, (unsigned)desc->n_taps);
    if (state->n_tokens_max == 0 || desc->limits.n_tokens <= state->n_tokens_max) {
        out_needs->scratch_bytes = scratch_bytes(&desc->limits, desc->graph->values[desc->out_value].width);
        return TN_OK;
    }
    out_needs->n_tokens = state->n_tokens_max;
    return tn_fail(TN_UNSUPPORTED, "null%u: make smaller steps (-ub %u fits)", (unsigned)index_of(device), (unsigned)state->n_tokens_max);
}

static tn_status program_create(tn_device *device, const tn_program_desc *desc, tn_program **out_program)
{
    *out_program = NULL;
    tn_null_state *state = state_of_device(device);
    const tn_step_limits *limits = &desc->limits;
    tn_step_layout step_layout;
    RECORD(state, TN_NULL_PROGRAM_CREATE,
           "null%u program %u create nodes %u..%u layers %d+%u kv_pages %u tokens %u logits %u seqs %u taps %u", (unsigned)index_of(device),
           (unsigned)state->records->n_objects, (unsigned)desc->first_node, (unsigned)(desc->first_node + desc->n_nodes - 1),
           (int)desc->first_layer, (unsigned)desc->n_layers, (unsigned)limits->n_kv_pages, (unsigned)limits->n_tokens,
           (unsigned)limits->n_logits, (unsigned)limits->n_seqs, (unsigned)desc->n_taps);
    const tn_value *out = &desc->graph->values[desc->out_value];
    if (out->rows == TN_ROWS_TOKENS && out->width < N_MARKS)
        return tn_fail(TN_UNSUPPORTED, "null backend: values that cross devices need at least %d columns", N_MARKS);
    TN_TRY(tn_step_layout_of(limits, &step_layout));
    null_program *program;
    TN_TRY(tn_alloc_zero(1, sizeof *program, &program));
    program->base.device = device;
    program->from_tokens = desc->in_value == TN_NONE;
    program->stats = desc->stats;
    program->first_node = desc->first_node;
    program->n_nodes = desc->n_nodes;
    program->in_width = program->from_tokens ? 0 : desc->graph->values[desc->in_value].width;
    program->out_width = out->width;
    program->out_logits = out->rows == TN_ROWS_LOGITS;
    program->limits = *limits;
    program->step_layout = step_layout;
    program->id = born(state);
    *out_program = &program->base;
    return TN_OK;
}

static void program_destroy(tn_program *base)
{
    if (!base) return;
    null_program *program = (null_program *)base;
    null_device *device = (null_device *)base->device;
    char line[64];
    snprintf(line, sizeof line, "null%u program %u destroy%s", (unsigned)device->index, (unsigned)program->id,
             program->fence ? " in flight" : "");
    for (null_program **link = &device->in_flight; *link; link = &(*link)->next) {
        if (*link != program) continue;
        *link = program->next;
        break;
    }
    died(device->state, line);
    tn_free(program);
}

static uint64_t program_scratch_bytes(const tn_program *base)
{
    const null_program *program = (const null_program *)base;
    return scratch_bytes(&program->limits, program->out_width);
}

static tn_status program_submit(tn_program *base, const tn_submit *submit, tn_fence *out_fence)
{
    out_fence->value = 0;
    null_program *program = (null_program *)base;
    null_device *device = (null_device *)base->device;
    const tn_step_limits *limits = &program->limits;
    const tn_step_view view = tn_step_view_of(submit->step, &program->step_layout), *step = &view;
    char positions[64] = "";
    if (step->n_tokens && step->n_tokens <= limits->n_tokens)
        snprintf(positions, sizeof positions, " positions %u..%u", (unsigned)step->positions[0],
                 (unsigned)step->positions[step->n_tokens - 1]);
    RECORD(device->state, TN_NULL_SUBMIT, "null%u program %u submit tokens %u logits %u seqs %u copies %u%s", (unsigned)device->index,
           (unsigned)program->id, (unsigned)step->n_tokens, (unsigned)step->n_logits, (unsigned)step->n_seqs, (unsigned)step->n_copies,
           positions);
    if (program->fence) return tn_fail(TN_INVALID_ARGUMENT, "null backend: program %u is still in flight", (unsigned)program->id);
    if (step->n_tokens == 0 || step->n_tokens > limits->n_tokens || step->n_logits > limits->n_logits || step->n_seqs > limits->n_seqs ||
        step->n_copies > limits->n_seqs)
        return tn_fail(TN_INVALID_ARGUMENT, "null backend: the step is larger than the program's bounds");
    uint64_t rows = program->out_logits ? step->n_logits : step->n_tokens;
    if (!program->from_tokens) TN_TRY(check_range(submit->in, 0, (uint64_t)step->n_tokens * program->in_width * sizeof(float)));
    TN_TRY(check_range(submit->out, 0, rows * program->out_width * sizeof(float)));
    program->step = view;
    program->submit = *submit;
    pthread_mutex_lock(&device->state->records->mutex);
    program->fence = ++device->state->records->n_fences;
    program->next = device->in_flight;
    device->in_flight = program;
    pthread_mutex_unlock(&device->state->records->mutex);
    out_fence->value = program->fence;
    return TN_OK;
}

// The mark of a token's row: from the step, or as the program before left it.
static void read_mark(const null_program *program, uint32_t token, float mark[N_MARKS])
{
    if (program->from_tokens) {
        mark[MARK_TOKEN] = (float)program->step.tokens[token];
        mark[MARK_POSITION] = (float)program->step.positions[token];
        mark[MARK_HOPS] = 0;
        return;
    }
    const float *rows = (const float *)(const void *)((const null_buffer *)program->submit.in)->data;
    memcpy(mark, rows + (size_t)token * program->in_width, N_MARKS * sizeof *mark);
    mark[MARK_HOPS] += 1;
}

// Does at the fence what the submit asked for.
static void complete(null_program *program)
{
    const tn_null_state *state = state_of_device(program->base.device);
    if (program->stats) { // a node takes a microsecond, and half of one to meet before it
        program->stats->n_submits++;
        program->stats->n_barriers += program->n_nodes;
        program->stats->barrier_wait_ns += 500u * (uint64_t)program->n_nodes;
        for (uint32_t i = 0; i < program->n_nodes; i++) program->stats->node_ns[program->first_node + i] += 1000;
    }
    float *out = (float *)(void *)((null_buffer *)program->submit.out)->data;
    float mark[N_MARKS];
    for (uint32_t i = 0; i < program->step.n_tokens; i++) {
        read_mark(program, i, mark);
        bool poisoned = state->has_poison_token && mark[MARK_TOKEN] == (float)state->poison_token;
        program->submit.poison[i] = poisoned ? state->poison_node + 1 : 0;
        if (!program->out_logits) memcpy(out + (size_t)i * program->out_width, mark, sizeof mark);
    }
    for (uint32_t i = 0; program->out_logits && i < program->step.n_logits; i++) {
        read_mark(program, program->step.logit_rows[i], mark);
        for (uint32_t id = 0; id < program->out_width; id++)
            out[(size_t)i * program->out_width + id] =
                tn_null_logit((int32_t)mark[MARK_TOKEN], (uint32_t)mark[MARK_POSITION], (uint32_t)mark[MARK_HOPS], id);
    }
}

static null_program *take_from_flight(null_device *device, tn_fence fence)
{
    null_program *program = NULL;
    pthread_mutex_lock(&device->state->records->mutex);
    for (null_program **link = &device->in_flight; *link; link = &(*link)->next) {
        if ((*link)->fence != fence.value) continue;
        program = *link;
        *link = program->next;
        break;
    }
    pthread_mutex_unlock(&device->state->records->mutex);
    return program;
}

static tn_status fence_wait(tn_device *base, tn_fence fence)
{
    null_device *device = (null_device *)base;
    null_program *program = take_from_flight(device, fence);
    if (!program) return tn_fail(TN_INVALID_ARGUMENT, "null backend: no submit in flight has fence %" PRIu64, fence.value);
    program->fence = 0; // a failing wait ends the flight too
    RECORD(device->state, TN_NULL_FENCE_WAIT, "null%u program %u wait", (unsigned)device->index, (unsigned)program->id);
    complete(program);
    return TN_OK;
}

// Figures that are the same on every machine: 10 GB/s and 100 Gop/s for each thread.
static tn_status device_measure(tn_device *device, uint32_t n_threads, uint64_t time_ns, tn_measured_fn *told, void *user)
{
    RECORD(state_of_device(device), TN_NULL_MEASURE, "null%u measure %u threads %" PRIu64 " ns", (unsigned)index_of(device),
           (unsigned)n_threads, time_ns);
    tn_measured_limit limits[] = {{.kind = TN_MEASURED_MEMORY_READ, .best = 10e9, .median = 9e9},
                                  {.kind = TN_MEASURED_INT8_DOT, .best = 100e9, .median = 90e9, .theoretical = 200e9}};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        snprintf(limits[i].name, sizeof limits[i].name, "null");
        limits[i].n_threads = n_threads;
        limits[i].best *= n_threads;
        limits[i].median *= n_threads;
        limits[i].theoretical *= n_threads;
        if (!told(user, &limits[i])) return tn_fail(TN_CANCELLED, "measuring was cancelled");
    }
    return TN_OK;
}

const tn_backend tn_null_backend_table = {
    .abi_version = TN_BACKEND_ABI,
    .struct_size = sizeof(tn_backend),
    .name = "null",
    .pack_id = "1",
    .device_count = device_count,
    .device_describe = device_describe,
    .device_open = device_open,
    .device_close = device_close,
    .device_kernels = device_kernels,
    .device_memory = device_memory,
    .buffer_create = buffer_create,
    .buffer_destroy = buffer_destroy,
    .buffer_write = buffer_write,
    .buffer_read = buffer_read,
    .buffer_map = buffer_map,
    .packing_assume = packing_assume,
    .weight_layout = weight_layout,
    .weight_pack = weight_pack,
    .op_supported = op_supported,
    .program_check = program_check,
    .program_create = program_create,
    .program_destroy = program_destroy,
    .program_scratch_bytes = program_scratch_bytes,
    .program_submit = program_submit,
    .fence_wait = fence_wait,
    .device_measure = device_measure,
};
