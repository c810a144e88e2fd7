// Compiles a run of graph nodes to tasks: which storage each value has, where workers must meet, which kernel runs.
//
// Barriers: tasks that share rows among workers by token hand rows to each other without one, and what each worker computed for itself it
// may read at once; anything else that reads what was written since the last barrier needs one. Storage of a dead value is reused only
// after a barrier. A task over elements may write in the place of an input that dies with it. In a list for many tokens, whose values are
// what memory is needed for, the workers also meet where that lets an output fit into the arena as it is.
#include "cpu/cpu_program.h"

#include "backend/desc_check.h"
#include "base/alloc.h"
#include "base/checked.h"
#include "base/exact_math.h"
#include "cpu/cpu_arena.h"

#include <inttypes.h>
#include <string.h>

// Where buffers begin that do not exist yet: from it addresses are computed, and nothing is read at them.
#define UNKNOWN_PLACE ((uint8_t *)(uintptr_t)64)

// Who wrote a value since the last barrier. NONE: nobody, or the reader itself.
typedef enum writer { WRITER_NONE, WRITER_ROWS, WRITER_MIXED } writer;

typedef struct value_state {
    uint32_t span;    // of the arena; TN_NONE: the caller keeps the value
    bool is_taken;    // another value has taken its place
    bool read_by_all; // since the last barrier workers have read each other's rows
    writer wrote;
} value_state;

typedef struct compiler {
    const tn_program_desc *desc;
    const tn_graph *graph;
    tn_cpu_program *program;
    bool sizes_only; // weights are not packed yet, and nobody will run the program
    tn_cpu_list *list;
    uint32_t *order;     // [desc->n_nodes] nodes as they are compiled
    uint32_t *last_use;  // [graph->n_values] node, the last of that order
    value_state *states; // [n_values]
    tn_cpu_arena arena;  // of the list that is compiled
    uint64_t arena_bytes;
    bool kv_written, kv_read; // since the last barrier
    uint32_t n_heads;         // of attention
} compiler;

// ---- storage ----

static uint32_t rows_max(const tn_cpu_list *list, tn_rows rows) { return rows == TN_ROWS_LOGITS ? list->n_logits_max : list->n_tokens_max; }

// Bytes of a value with its parts 64-byte aligned: f32 rows, or codes, scales, sums.
static bool value_bytes(const tn_cpu_list *list, const tn_cpu_value *value, uint64_t *out_main, uint64_t *out_side, uint64_t *out_all)
{
    uint64_t rows = rows_max(list, value->rows);
    uint64_t row_bytes = value->type == TN_VALUE_F32 ? (uint64_t)value->stride * sizeof(float) : value->stride;
    *out_side = 0;
    if (!tn_ckd_mul(rows, row_bytes, out_main) || !tn_ckd_round_up(*out_main, 64, out_main)) return false;
    if (value->type == TN_VALUE_F32) {
        *out_all = *out_main;
        return true;
    }
    uint64_t side;
    if (!tn_ckd_mul(rows, (uint64_t)value->n_groups * 4, &side) || !tn_ckd_round_up(side, 64, out_side)) return false;
    return tn_ckd_mul(*out_side, 2, &side) && tn_ckd_add(*out_main, side, out_all);
}

static tn_status give_storage(compiler *c, uint32_t index, bool copies)
{
    tn_cpu_value *value = &c->list->values[index];
    uint64_t main_bytes, side_bytes, bytes;
    if (!value_bytes(c->list, value, &main_bytes, &side_bytes, &bytes)) return tn_bad_desc("its values do not fit into memory");
    value->worker_stride = copies ? (size_t)bytes : 0;
    if ((copies && !tn_ckd_mul(bytes, tn_cpu_pool_n_threads(c->program->device->pool), &bytes)) ||
        !tn_cpu_arena_add(&c->arena, c->list->n_tasks, bytes, &c->states[index].span))
        return tn_bad_desc("its values do not fit into memory");
    return TN_OK;
}

// Lets a task over elements write into an input that nobody reads after it. Its rows are then the same worker's as long as no other has
// read them since the last barrier.
static bool write_in_place(compiler *c, const tn_cpu_task *task)
{
    if (task->sharing != TN_CPU_BY_ROWS || (task->kind != TN_CPU_TASK_GLU && task->kind != TN_CPU_TASK_ADD)) return false;
    for (uint32_t i = 0; i < 2; i++) {
        const tn_cpu_value *in = task->in[i];
        const uint32_t index = (uint32_t)(in - c->list->values);
        value_state *state = &c->states[index];
        if (state->span == TN_NONE || c->last_use[index] != task->node || state->read_by_all || in->rows != task->out->rows) continue;
        state->is_taken = true;
        c->states[task->out - c->list->values].span = state->span;
        return true;
    }
    return false;
}

// The caller keeps the rows of a value that crosses the border; only their size must make sense.
static tn_status check_border(const compiler *c, const tn_cpu_value *value)
{
    uint64_t main_bytes, side_bytes, bytes;
    return value_bytes(c->list, value, &main_bytes, &side_bytes, &bytes) ? TN_OK : tn_bad_desc("its values do not fit into memory");
}

static void mark_dead(compiler *c, uint32_t value)
{
    const value_state *state = &c->states[value];
    if (state->span != TN_NONE && !state->is_taken) tn_cpu_arena_kill(&c->arena, state->span);
}

static void cross_barrier(compiler *c)
{
    tn_cpu_arena_meet(&c->arena, c->list->n_tasks);
    for (uint32_t i = 0; i < c->list->n_values; i++) {
        c->states[i].wrote = WRITER_NONE;
        c->states[i].read_by_all = false;
    }
    c->kv_written = c->kv_read = false;
}

static void set_shape(tn_cpu_value *value, tn_value_type type, tn_rows rows, uint32_t width)
{
    value->type = type;
    value->rows = rows;
    value->width = width;
    value->n_groups = 1;
    value->worker_stride = 0;
    value->stride = type == TN_VALUE_F32 ? ((size_t)width + 15) & ~(size_t)15 : TN_Q8_STRIDE(width);
}

static void resolve_pointers(tn_cpu_program *program, tn_cpu_list *list)
{
    for (uint32_t i = 0; i < list->n_values; i++) {
        tn_cpu_value *value = &list->values[i];
        uint64_t main_bytes, side_bytes, all_bytes;
        if (value->width == 0 || i == program->in_value || i == program->out_value) continue;
        if (!value_bytes(list, value, &main_bytes, &side_bytes, &all_bytes)) continue; // give_storage has refused it
        uint8_t *start = program->arena + value->arena_offset;
        if (value->type == TN_VALUE_F32) {
            value->f32 = (float *)(void *)start;
        } else {
            value->codes = (int8_t *)start;
            value->scales = (float *)(void *)(start + main_bytes);
            value->sums = (int32_t *)(void *)(start + main_bytes + side_bytes);
        }
    }
}

// ---- tasks ----

static tn_cpu_sharing sharing_of(const compiler *c, const tn_cpu_task *task)
{
    switch (task->kind) {
    case TN_CPU_TASK_MATMUL_TERNARY:
    case TN_CPU_TASK_MATMUL_DENSE:
    case TN_CPU_TASK_SCREEN:
    case TN_CPU_TASK_ATTENTION: return TN_CPU_BY_PARTS;
    case TN_CPU_TASK_KV_APPEND: return c->list->few_tokens ? TN_CPU_BY_PARTS : TN_CPU_BY_ROWS;
    case TN_CPU_TASK_TAP: return TN_CPU_BY_ROWS; // written once
    default: break;
    }
    // So is the program's output.
    const bool is_output = task->out == &c->list->values[c->program->out_value];
    return c->list->few_tokens && !is_output ? TN_CPU_BY_EACH : TN_CPU_BY_ROWS;
}

// Which rows a copy reads is the step's affair.
static bool reads_own_rows(const tn_cpu_task *task) { return task->sharing == TN_CPU_BY_ROWS && task->kind != TN_CPU_TASK_COPY; }

static bool needs_barrier(const compiler *c, const tn_cpu_task *task)
{
    for (uint32_t i = 0; i < 2; i++) {
        if (!task->in[i]) continue;
        writer wrote = c->states[task->in[i] - c->list->values].wrote;
        if (wrote == WRITER_MIXED || (wrote == WRITER_ROWS && !reads_own_rows(task))) return true;
    }
    return task->kind == TN_CPU_TASK_KV_APPEND && c->kv_read;
}

static bool meeting_pays(const compiler *c, const tn_cpu_value *out)
{
    uint64_t main_bytes, side_bytes, bytes;
    return value_bytes(c->list, out, &main_bytes, &side_bytes, &bytes) && tn_cpu_arena_meeting_pays(&c->arena, bytes);
}

// Puts the output of a task somewhere, with a barrier before the task where that saves memory.
static tn_status place_output(compiler *c, tn_cpu_task *task)
{
    static const writer writers[] = {[TN_CPU_BY_ROWS] = WRITER_ROWS, [TN_CPU_BY_PARTS] = WRITER_MIXED, [TN_CPU_BY_EACH] = WRITER_NONE};
    const uint32_t out = (uint32_t)(task->out - c->list->values);
    if (out == c->program->out_value) {
        TN_TRY(check_border(c, task->out));
    } else if (!write_in_place(c, task)) {
        if (!task->barrier && !c->list->few_tokens && meeting_pays(c, task->out)) {
            task->barrier = true;
            cross_barrier(c);
        }
        TN_TRY(give_storage(c, out, task->sharing == TN_CPU_BY_EACH));
    }
    c->states[out].wrote = writers[task->sharing];
    return TN_OK;
}

static tn_status add_task(compiler *c, tn_cpu_task *task)
{
    task->sharing = sharing_of(c, task);
    task->barrier = needs_barrier(c, task);
    if (task->kind == TN_CPU_TASK_ATTENTION && c->kv_written) {
        task->kv_barrier = !task->barrier && c->list->few_tokens;
        task->barrier = !task->kv_barrier;
        c->kv_written = false;
    }
    if (task->barrier) cross_barrier(c);
    if (task->out) TN_TRY(place_output(c, task));
    for (uint32_t i = 0; i < 2; i++) {
        if (task->in[i] && !reads_own_rows(task)) c->states[task->in[i] - c->list->values].read_by_all = true;
    }
    if (task->sharing == TN_CPU_BY_PARTS && task->out) task->claims = c->list->n_claims++;
    if (task->kind == TN_CPU_TASK_ATTENTION) c->kv_read = true;
    if (task->kind == TN_CPU_TASK_KV_APPEND) c->kv_written = true;
    c->list->tasks[c->list->n_tasks++] = *task;
    return TN_OK;
}

static tn_status add_taps(compiler *c, uint32_t value, uint32_t node)
{
    tn_cpu_program *program = c->program;
    for (uint32_t i = 0; i < c->desc->n_taps; i++) {
        const tn_tap *tap = &c->desc->taps[i];
        if (tap->value != value) continue;
        tn_cpu_value *source = &c->list->values[value];
        if (source->type != TN_VALUE_F32) return tn_bad_desc("only f32 values can be tapped");
        TN_TRY(tn_buffer_check(program->base.device, tap->buffer, 0, (uint64_t)rows_max(c->list, source->rows) * source->width * 4, "tap"));
        tn_cpu_task task = {
            .kind = TN_CPU_TASK_TAP, .node = node, .in = {source, NULL}, .tap = (float *)(void *)tn_cpu_buffer_data(tap->buffer)};
        TN_TRY(add_task(c, &task));
    }
    return TN_OK;
}

static tn_status resolve_weight(const compiler *c, const tn_node *node, tn_cpu_weight *out_weight)
{
    const tn_packed_weight *packed = &c->desc->weights[node->weight];
    const tn_weight_source *source = &c->graph->weights[node->weight];
    TN_TRY(tn_buffer_check(c->program->base.device, packed->buffer, packed->offset_bytes, packed->layout.size_bytes, source->name));
    const uint8_t *data = c->sizes_only ? UNKNOWN_PLACE : tn_cpu_buffer_data(packed->buffer) + packed->offset_bytes;
    tn_cpu_pack_view(source, (tn_cpu_layout)packed->layout.layout_id, data, out_weight);
    return TN_OK;
}

static tn_k_embed_fn *embed_kernel(const tn_cpu_kernels *kernels, tn_dtype dtype)
{
    switch (dtype) {
    case TN_DTYPE_F32: return kernels->embed_f32;
    case TN_DTYPE_F16: return kernels->embed_f16;
    case TN_DTYPE_BF16: return kernels->embed_bf16;
    case TN_DTYPE_Q4_0: return kernels->embed_q4_0;
    case TN_DTYPE_Q8_0: return kernels->embed_q8_0;
    case TN_DTYPE_Q6_K: return kernels->embed_q6_k;
    default: return NULL;
    }
}

static tn_k_matmul_dense_fn *dense_kernel(const tn_cpu_kernels *kernels, tn_dtype dtype)
{
    switch (dtype) {
    case TN_DTYPE_F32: return kernels->matmul_f32;
    case TN_DTYPE_F16: return kernels->matmul_f16;
    case TN_DTYPE_BF16: return kernels->matmul_bf16;
    case TN_DTYPE_Q4_0: return kernels->matmul_q4_0;
    case TN_DTYPE_Q8_0: return kernels->matmul_q8_0;
    case TN_DTYPE_Q6_K: return kernels->matmul_q6_k;
    default: return kernels->matmul_f32; // of dequantised rows
    }
}

// NULL: the type has kernels of its own.
static tn_k_dequant_fn *dequant_kernel(const tn_cpu_kernels *kernels, tn_dtype dtype)
{
    switch (dtype) {
    case TN_DTYPE_Q4_1: return kernels->dequant_q4_1;
    case TN_DTYPE_Q5_0: return kernels->dequant_q5_0;
    case TN_DTYPE_Q5_1: return kernels->dequant_q5_1;
    case TN_DTYPE_Q4_K: return kernels->dequant_q4_k;
    case TN_DTYPE_Q5_K: return kernels->dequant_q5_k;
    default: return NULL;
    }
}

// Elements a group of the quantised inputs that a dense type wants; 0: it takes f32.
static uint32_t dense_group(tn_dtype dtype)
{
    return dtype == TN_DTYPE_Q8_0 || dtype == TN_DTYPE_Q4_0 ? 32 : dtype == TN_DTYPE_Q6_K ? 256 : 0;
}

// Puts the grouped quantisation of the input before a dense matmul, as a value of its own.
static tn_status add_quant_group(compiler *c, const tn_cpu_task *matmul, uint32_t group, bool is_screening, tn_cpu_value **out_codes)
{
    tn_cpu_value *codes = &c->list->values[c->list->n_values++];
    set_shape(codes, TN_VALUE_Q8, matmul->in[0]->rows, matmul->in[0]->width);
    codes->n_groups = matmul->in[0]->width / group;
    tn_cpu_task task = {.kind = TN_CPU_TASK_QUANT_GROUP,
                        .is_screening = is_screening,
                        .node = matmul->node,
                        .in = {matmul->in[0], NULL},
                        .out = codes,
                        .group = group};
    *out_codes = codes;
    return add_task(c, &task);
}

// The program's output can be screened: what is not among the best is -INFINITY there. A trace wants all of it.
static bool is_screened(const compiler *c, const tn_cpu_task *matmul)
{
    for (uint32_t i = 0; i < c->desc->n_taps; i++) {
        if (c->desc->taps[i].value == c->desc->out_value) return false;
    }
    return matmul->w.screen.panels && matmul->op->out == c->desc->out_value && matmul->out->rows == TN_ROWS_LOGITS;
}

// Puts the screen before the head, which then reads the approximations in its own output.
static tn_status add_screen(compiler *c, tn_cpu_task *matmul)
{
    tn_cpu_value *codes;
    TN_TRY(add_quant_group(c, matmul, TN_SCREEN_GROUP, true, &codes));
    tn_cpu_task task = *matmul;
    task.kind = TN_CPU_TASK_SCREEN;
    task.is_screening = true;
    task.in[0] = codes;
    task.in[1] = matmul->in[0];
    matmul->in[1] = matmul->out;
    c->program->screening = c->graph->weights[matmul->op->weight].screening;
    c->program->n_screened_rows = matmul->w.n_rows;
    return add_task(c, &task);
}

static const tn_cpu_task_kind task_kinds[TN_OP_COUNT_] = {
    [TN_OP_EMBED] = TN_CPU_TASK_EMBED,
    [TN_OP_NORM_QUANT] = TN_CPU_TASK_NORM_QUANT,
    [TN_OP_QUANT] = TN_CPU_TASK_QUANT,
    [TN_OP_NORM] = TN_CPU_TASK_NORM,
    [TN_OP_MATMUL_TERNARY] = TN_CPU_TASK_MATMUL_TERNARY,
    [TN_OP_MATMUL_DENSE] = TN_CPU_TASK_MATMUL_DENSE,
    [TN_OP_ROPE] = TN_CPU_TASK_ROPE,
    [TN_OP_KV_APPEND] = TN_CPU_TASK_KV_APPEND,
    [TN_OP_ATTENTION] = TN_CPU_TASK_ATTENTION,
    [TN_OP_GLU] = TN_CPU_TASK_GLU,
    [TN_OP_ADD] = TN_CPU_TASK_ADD,
    [TN_OP_COPY] = TN_CPU_TASK_COPY,
};

// Kernel and bounds that depend on the op.
static tn_status choose(compiler *c, tn_cpu_task *task)
{
    tn_cpu_program *program = c->program;
    const tn_cpu_kernels *kernels = &program->device->kernels;
    switch (task->op->op) {
    case TN_OP_EMBED:
        task->kernel.embed = embed_kernel(kernels, task->w.dtype);
        task->dequant = dequant_kernel(kernels, task->w.dtype);
        program->checker.reads_tokens = true;
        return TN_OK;
    case TN_OP_MATMUL_DENSE: {
        task->kernel.dense = dense_kernel(kernels, task->w.dtype);
        task->dequant = dequant_kernel(kernels, task->w.dtype);
        uint32_t group = dense_group(task->w.dtype);
        if (group) return add_quant_group(c, task, group, false, &task->in[0]);
        return is_screened(c, task) ? add_screen(c, task) : TN_OK;
    }
    case TN_OP_GLU: task->kernel.glu = task->op->p.glu.kind == TN_GLU_RELU2 ? kernels->glu_relu2 : kernels->glu_silu; return TN_OK;
    case TN_OP_ROPE:
        if (c->graph->n_ctx < program->checker.n_positions) program->checker.n_positions = c->graph->n_ctx;
        return TN_OK;
    case TN_OP_KV_APPEND:
    case TN_OP_ATTENTION:
        if (!program->kv) return tn_bad_desc("it has attention but no KV buffer");
        if (task->op->layer < program->first_layer || task->op->layer - program->first_layer >= (int64_t)c->desc->n_layers)
            return tn_bad_desc("a layer's KV cache is not in its KV buffer");
        program->checker.reads_kv = true;
        if (task->op->p.attention.n_heads > c->n_heads) c->n_heads = task->op->p.attention.n_heads;
        return TN_OK;
    default: return TN_OK;
    }
}

static tn_status add_node(compiler *c, uint32_t index)
{
    tn_cpu_program *program = c->program;
    const tn_node *node = &c->graph->nodes[index];
    TN_TRY(tn_cpu_op_supported(program->base.device, c->graph, node));
    tn_cpu_task task = {.kind = task_kinds[node->op], .node = index, .op = node};
    for (uint32_t i = 0; i < 2; i++) {
        if (node->in[i] == TN_NONE) continue;
        task.in[i] = &c->list->values[node->in[i]];
        if (task.in[i]->width == 0) return tn_bad_desc("a node reads a value that the program neither takes nor computes");
    }
    if (node->weight != TN_NONE) TN_TRY(resolve_weight(c, node, &task.w));
    if (node->out != TN_NONE) {
        const tn_value *value = &c->graph->values[node->out];
        task.out = &c->list->values[node->out];
        set_shape(task.out, value->type, value->rows, value->width);
        if (node->out == program->out_value) task.out->stride = task.out->width; // dense rows in the caller's buffer
    }
    TN_TRY(choose(c, &task));
    TN_TRY(add_task(c, &task));
    if (node->out != TN_NONE) TN_TRY(add_taps(c, node->out, index));

    for (uint32_t i = 0; i < 2; i++) {
        if (node->in[i] != TN_NONE && c->last_use[node->in[i]] == index) mark_dead(c, node->in[i]);
    }
    if (task.kind == TN_CPU_TASK_MATMUL_DENSE && task.in[0]->type == TN_VALUE_Q8) mark_dead(c, (uint32_t)(task.in[0] - c->list->values));
    if (node->out != TN_NONE && c->last_use[node->out] == index) mark_dead(c, node->out);
    return TN_OK;
}

// ---- the program ----

static void fill_bounds(tn_cpu_program *program, const tn_program_desc *desc)
{
    program->in_value = desc->in_value;
    program->out_value = desc->out_value;
    program->kv = desc->n_layers != 0 && desc->kv ? tn_cpu_buffer_data(desc->kv) : NULL;
    program->n_kv_heads = desc->graph->n_kv_heads;
    program->head_dim = desc->graph->head_dim;
    program->first_layer = desc->first_layer;
    program->n_layers = desc->n_layers;
    program->limits = desc->limits;
    program->checker.n_vocab = desc->graph->n_vocab;
    program->stats = desc->stats;
    program->screen_stats = desc->screen_stats;
    uint64_t positions = (uint64_t)desc->limits.n_seq_pages * TN_KV_PAGE_POSITIONS;
    program->checker.n_positions = desc->n_layers == 0 || positions > UINT32_MAX ? UINT32_MAX : (uint32_t)positions;
}

static bool is_product(const tn_node *node) { return node->op == TN_OP_MATMUL_TERNARY || node->op == TN_OP_MATMUL_DENSE; }

// The graph's order, but for RoPE, which lets the products that follow it go first where none reads it: q, k and v, and then one meeting
// before what reads them.
static void fill_order(compiler *c)
{
    const uint32_t n = c->desc->n_nodes;
    const tn_node *nodes = c->graph->nodes + c->desc->first_node;
    for (uint32_t i = 0; i < n; i++) c->order[i] = c->desc->first_node + i;
    for (uint32_t i = 1; i < n; i++) {
        if (!is_product(&nodes[i])) continue;
        // Moves up past the RoPEs before it.
        for (uint32_t at = i; at > 0; at--) {
            const tn_node *before = &c->graph->nodes[c->order[at - 1]];
            if (before->op != TN_OP_ROPE || before->out == nodes[i].in[0] || before->layer != nodes[i].layer) break;
            const uint32_t moved = c->order[at];
            c->order[at] = c->order[at - 1];
            c->order[at - 1] = moved;
        }
    }
}

static void fill_last_uses(compiler *c)
{
    const tn_graph *graph = c->graph;
    for (uint32_t i = 0; i < c->desc->n_nodes; i++) {
        const tn_node *node = &graph->nodes[c->order[i]];
        if (node->out != TN_NONE) c->last_use[node->out] = c->order[i];
        for (uint32_t k = 0; k < 2; k++) {
            if (node->in[k] != TN_NONE) c->last_use[node->in[k]] = c->order[i];
        }
    }
}

static bool has_gains_to_widen(const tn_cpu_task *task)
{
    return (task->kind == TN_CPU_TASK_NORM || task->kind == TN_CPU_TASK_NORM_QUANT) && task->w.dtype != TN_DTYPE_F32;
}

static uint64_t gains_bytes(const tn_cpu_list *list)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < list->n_tasks; i++) {
        if (has_gains_to_widen(&list->tasks[i])) bytes += ((uint64_t)list->tasks[i].w.n_cols * 4 + 63) & ~(uint64_t)63;
    }
    return bytes;
}

// Gains as f32: those of other types are converted once, here.
static void resolve_gains(const tn_cpu_program *program, tn_cpu_list *list, uint64_t offset)
{
    for (uint32_t i = 0; i < list->n_tasks; i++) {
        tn_cpu_task *task = &list->tasks[i];
        if (has_gains_to_widen(task)) {
            float *gains = (float *)(void *)(program->arena + offset);
            embed_kernel(&program->device->kernels, task->w.dtype)(task->w.data, task->w.stride_bytes, 0, task->w.n_cols, gains);
            task->gamma = gains;
            offset += ((uint64_t)task->w.n_cols * 4 + 63) & ~(uint64_t)63;
        } else if (task->kind == TN_CPU_TASK_NORM || task->kind == TN_CPU_TASK_NORM_QUANT) {
            task->gamma = (const float *)(const void *)task->w.data;
        }
    }
}

// Slots for heads whose pages are shared out: at most one for each border between two workers, and for each head of a small step.
static bool size_parts(tn_cpu_program *program, uint32_t n_heads, uint64_t *out_bytes)
{
    const uint32_t n_borders = tn_cpu_pool_n_threads(program->device->pool) - 1, n_in_step = TN_CPU_FEW_TOKENS * program->n_kv_heads;
    *out_bytes = 0;
    if (!program->checker.reads_kv || program->limits.n_seq_pages <= TN_CPU_OWNED_POSITIONS / TN_KV_PAGE_POSITIONS) return true;
    uint64_t floats = (uint64_t)(n_heads / program->n_kv_heads) * TN_ATTENTION_PART(program->head_dim);
    if (!tn_ckd_mul(floats, program->limits.n_seq_pages, &floats)) return false;
    program->parts_slot_floats = (size_t)floats;
    program->n_parts_slots = n_borders < n_in_step ? n_borders : n_in_step;
    return tn_ckd_mul(floats, (uint64_t)program->n_parts_slots * sizeof(float), out_bytes);
}

static void size_scratch(tn_cpu_program *program, const tn_cpu_list *list)
{
    for (uint32_t i = 0; i < list->n_tasks; i++) {
        const size_t bytes = tn_cpu_exec_scratch_bytes(&list->tasks[i]);
        if (bytes > program->thread_scratch_bytes) program->thread_scratch_bytes = bytes;
    }
}

// Where the parts of the arena begin: values, for which the lists take turns, then gains, scratch and parts of heads.
typedef struct arena_plan {
    uint64_t gains[TN_CPU_LISTS], scratch, parts, n_bytes;
} arena_plan;

static tn_status plan_arena(compiler *c, arena_plan *out)
{
    tn_cpu_program *program = c->program;
    uint64_t bytes = c->arena_bytes, per_thread, all_threads, parts;
    for (uint32_t i = 0; i < TN_CPU_LISTS; i++) {
        size_scratch(program, &program->lists[i]);
        out->gains[i] = bytes;
        if (!tn_ckd_add(bytes, gains_bytes(&program->lists[i]), &bytes)) return tn_bad_desc("its values do not fit into memory");
    }
    out->scratch = bytes;
    if (!tn_ckd_round_up(program->thread_scratch_bytes, 64, &per_thread) ||
        !tn_ckd_mul(per_thread, tn_cpu_pool_n_threads(program->device->pool), &all_threads) ||
        !tn_ckd_add(out->scratch, all_threads, &out->parts) || !size_parts(program, c->n_heads, &parts) ||
        !tn_ckd_add(out->parts, parts, &out->n_bytes))
        return tn_bad_desc("its values do not fit into memory");
    program->thread_scratch_bytes = (size_t)per_thread;
    return TN_OK;
}

static tn_status make_arena(compiler *c)
{
    tn_cpu_program *program = c->program;
    arena_plan plan;
    TN_TRY(plan_arena(c, &plan));
    // A buffer, whose memory is not touched before the first step that needs it: most of the arena is for batches of many tokens.
    TN_TRY(program->base.device->backend->buffer_create(program->base.device, plan.n_bytes, &program->arena_buffer));
    program->arena = tn_cpu_buffer_data(program->arena_buffer);
    program->arena_bytes = plan.n_bytes;
    program->thread_scratch = program->arena + plan.scratch;
    program->parts = (float *)(void *)(program->arena + plan.parts);
    for (uint32_t i = 0; i < TN_CPU_LISTS; i++) {
        resolve_pointers(program, &program->lists[i]);
        resolve_gains(program, &program->lists[i], plan.gains[i]);
    }
    const uint32_t n_few = program->lists[TN_CPU_LIST_FEW].n_claims, n_many = program->lists[TN_CPU_LIST_MANY].n_claims;
    TN_TRY(tn_alloc_zero(n_few > n_many ? n_few : n_many, sizeof *program->claims, &program->claims));
    return tn_alloc_zero(program->n_parts_slots, sizeof *program->pages_done, &program->pages_done);
}

// Fills one list.
static tn_status compile(compiler *c)
{
    const tn_program_desc *desc = c->desc;
    if (desc->in_value != TN_NONE) {
        const tn_value *value = &c->graph->values[desc->in_value];
        tn_cpu_value *in = &c->list->values[desc->in_value];
        set_shape(in, value->type, value->rows, value->width);
        in->stride = in->width;
        TN_TRY(check_border(c, in));
        TN_TRY(add_taps(c, desc->in_value, desc->first_node));
    }
    for (uint32_t i = 0; i < desc->n_nodes; i++) TN_TRY(add_node(c, c->order[i]));
    if (c->list->values[desc->out_value].width == 0) return tn_bad_desc("its output is not computed by it");
    for (uint32_t i = 0; i < desc->n_taps; i++) {
        if (desc->taps[i].value >= c->graph->n_values || c->list->values[desc->taps[i].value].width == 0)
            return tn_bad_desc("it taps a value that it does not compute");
    }
    return TN_OK;
}

static tn_status place_values(compiler *c)
{
    uint64_t bytes;
    if (!tn_cpu_arena_place(&c->arena, &bytes)) return tn_bad_desc("its values do not fit into memory");
    if (bytes > c->arena_bytes) c->arena_bytes = bytes;
    for (uint32_t i = 0; i < c->list->n_values; i++) {
        if (c->states[i].span != TN_NONE) c->list->values[i].arena_offset = c->arena.spans[c->states[i].span].offset;
    }
    return TN_OK;
}

// At most one value and one task more than the graph's for each node, a task for each tap, and one that screens the output.
static tn_status compile_list(compiler *c, tn_cpu_list *list, uint32_t n_tokens_max)
{
    const tn_program_desc *desc = c->desc;
    const size_t n_values = (size_t)desc->graph->n_values + desc->n_nodes, n_tasks = 2 * (size_t)desc->n_nodes + desc->n_taps + 1;
    *list = (tn_cpu_list){.n_tokens_max = n_tokens_max,
                          .n_logits_max = desc->limits.n_logits < n_tokens_max ? desc->limits.n_logits : n_tokens_max,
                          .n_values = desc->graph->n_values,
                          .few_tokens = n_tokens_max <= TN_CPU_FEW_TOKENS};
    TN_TRY(tn_alloc_zero(n_values, sizeof *list->values, &list->values));
    TN_TRY(tn_alloc_zero(n_tasks, sizeof *list->tasks, &list->tasks));
    for (size_t i = 0; i < n_values; i++) c->states[i] = (value_state){.span = TN_NONE};
    tn_cpu_arena_clear(&c->arena);
    c->list = list;
    c->kv_written = c->kv_read = false;
    TN_TRY(compile(c));
    return place_values(c);
}

static void deinit(compiler *c)
{
    tn_cpu_arena_deinit(&c->arena);
    tn_free(c->states);
    tn_free(c->last_use);
    tn_free(c->order);
}

// Makes the lists of a new program, which the compiler is given whether it succeeds or not.
static tn_status compile_program(compiler *c, tn_device *device)
{
    const tn_program_desc *desc = c->desc;
    const size_t n_values = (size_t)desc->graph->n_values + desc->n_nodes;
    TN_TRY(tn_alloc_zero(1, sizeof *c->program, &c->program));
    tn_cpu_program *program = c->program;
    program->base.device = device;
    program->device = tn_cpu_device_of(device);
    program->job = (tn_cpu_job){.run = tn_cpu_program_run, .ctx = program};
    TN_TRY(tn_step_checker_init(&program->checker, &desc->limits));
    fill_bounds(program, desc);
    TN_TRY(tn_step_layout_of(&desc->limits, &program->step_layout));
    TN_TRY(tn_alloc_zero(desc->n_nodes, sizeof *c->order, &c->order));
    TN_TRY(tn_alloc_zero(desc->graph->n_values, sizeof *c->last_use, &c->last_use));
    TN_TRY(tn_alloc_zero(n_values, sizeof *c->states, &c->states));
    TN_TRY(tn_cpu_arena_init(&c->arena, (uint32_t)n_values));
    fill_order(c);
    fill_last_uses(c);
    const uint32_t n_tokens = desc->limits.n_tokens, n_few = n_tokens < TN_CPU_FEW_TOKENS ? n_tokens : TN_CPU_FEW_TOKENS;
    TN_TRY(compile_list(c, &program->lists[TN_CPU_LIST_FEW], n_few));
    if (n_tokens > n_few) TN_TRY(compile_list(c, &program->lists[TN_CPU_LIST_MANY], n_tokens));
    for (uint32_t i = 0; i < TN_CPU_LISTS; i++) TN_TRY(tn_cpu_skip_plan(program, &program->lists[i]));
    return TN_OK;
}

tn_status tn_cpu_program_create(tn_device *device, const tn_program_desc *desc, tn_program **out_program)
{
    *out_program = NULL;
    TN_TRY(tn_desc_check(device, desc));
    compiler c = {.desc = desc, .graph = desc->graph};
    tn_status status = compile_program(&c, device);
    if (status == TN_OK) status = make_arena(&c);
    if (status == TN_OK) status = tn_cpu_skip_start(c.program);
    deinit(&c);
    if (status == TN_OK)
        *out_program = &c.program->base;
    else
        tn_cpu_program_destroy(c.program ? &c.program->base : NULL);
    return status;
}

// Compiles a program without an arena, and forgets it.
tn_status tn_cpu_program_check(tn_device *device, const tn_program_desc *desc, tn_program_needs *out_needs)
{
    *out_needs = (tn_program_needs){0};
    tn_status status;
    tn_cpu_buffer later = {.base = {device, UINT64_MAX}, .data = UNKNOWN_PLACE};
    tn_desc_sketch sketch;
    compiler c = {.desc = &sketch.desc, .graph = desc->graph, .sizes_only = true};
    arena_plan plan;
    uint64_t copies_bytes;
    TN_TRY_GOTO(tn_desc_sketch_init(desc, &later.base, &sketch));
    TN_TRY_GOTO(compile_program(&c, device));
    TN_TRY_GOTO(plan_arena(&c, &plan));
    TN_TRY_GOTO(tn_cpu_skip_needs(c.program, &copies_bytes));
    if (!tn_ckd_add(plan.n_bytes, copies_bytes, &out_needs->scratch_bytes)) status = tn_bad_desc("its values do not fit into memory");
fail:
    deinit(&c);
    tn_cpu_program_destroy(c.program ? &c.program->base : NULL);
    tn_desc_sketch_deinit(&sketch);
    return status;
}

void tn_cpu_program_destroy(tn_program *base)
{
    if (!base) return;
    tn_cpu_program *program = (tn_cpu_program *)base;
    tn_cpu_pool_detach(program->device->pool, &program->job);
    tn_cpu_skip_deinit(&program->skip);
    tn_free(program->pages_done);
    tn_free(program->claims);
    program->base.device->backend->buffer_destroy(program->arena_buffer);
    tn_step_checker_deinit(&program->checker);
    for (uint32_t i = 0; i < TN_CPU_LISTS; i++) {
        tn_free(program->lists[i].tasks);
        tn_free(program->lists[i].values);
    }
    tn_free(program);
}

uint64_t tn_cpu_program_scratch_bytes(const tn_program *base)
{
    const tn_cpu_program *program = (const tn_cpu_program *)base;
    return program->arena_bytes + tn_cpu_skip_copies_bytes(&program->skip);
}
