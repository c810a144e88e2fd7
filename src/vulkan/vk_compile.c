// Compiles groups of nodes to dispatches: where each value lies, which shader runs with which constants over which grid.
#include "vulkan/vk_compile.h"

#include "backend/desc_check.h"
#include "base/alloc.h"
#include "base/checked.h"
#include "vulkan/vk_program.h"

#include <inttypes.h>
#include <string.h>

// ---- places ----

// Rows of f32 are padded to 16 bytes, so that shaders read them in such units.
static uint32_t f32_stride(uint32_t width) { return (width + 3u) & ~3u; }

uint32_t tn_vk_rows_max(const tn_vk_list *list, tn_rows rows) { return rows == TN_ROWS_LOGITS ? list->n_logits_max : list->n_tokens_max; }

// Words of a value in the arena, its parts in units of 16 bytes.
static bool value_words(tn_vk_compiler *c, const tn_value *value, tn_vk_value *v, uint64_t *out_words)
{
    const uint64_t rows = tn_vk_rows_max(c->list, value->rows), side = (rows + 3) & ~(uint64_t)3;
    if (value->type == TN_VALUE_F32) {
        v->stride = f32_stride(value->width);
        return tn_ckd_mul(rows, v->stride, out_words);
    }
    const uint32_t n_padded = (value->width + 63u) & ~63u;
    v->stride = c->device->traits.use_dot ? n_padded / 4 : n_padded / 2;
    uint64_t codes;
    if (!tn_ckd_mul(rows, v->stride, &codes) || codes > UINT32_MAX / 2 || side > UINT32_MAX / 8) return false;
    v->scales = (uint32_t)codes; // of the span's start until it is placed
    v->sums = (uint32_t)(codes + side);
    *out_words = codes + 2 * side;
    return true;
}

tn_status tn_vk_rows_bytes(const tn_vk_compiler *c, uint32_t value, uint64_t *out_bytes)
{
    const tn_value *shape = &c->graph->values[value];
    const uint32_t n_rows = tn_vk_rows_max(c->list, shape->rows);
    *out_bytes = (uint64_t)n_rows * shape->width * 4;
    if (*out_bytes <= c->device->limits.range_bytes) return TN_OK;
    return tn_fail(TN_UNSUPPORTED, "%s: %u rows of %u values are more than the device binds at once (%" PRIu64 " MiB): make smaller steps",
                   c->device->name, (unsigned)n_rows, (unsigned)shape->width, c->device->limits.range_bytes >> 20);
}

static tn_status give_span(tn_vk_compiler *c, uint32_t index, uint32_t time)
{
    tn_vk_value *v = &c->values[index];
    uint64_t words;
    if (!value_words(c, &c->graph->values[index], v, &words)) return tn_bad_desc("its values do not fit into memory");
    v->place = TN_VK_IN_ARENA;
    return tn_arena_add(&c->arena, words, time, &v->span);
}

static bool is_read_inside(const tn_vk_compiler *c, uint32_t value)
{
    for (uint32_t i = 0; i < c->desc->n_nodes; i++) {
        const tn_node *node = &c->graph->nodes[c->desc->first_node + i];
        if (node->in[0] == value || node->in[1] == value) return true;
    }
    for (uint32_t t = 0; t < c->desc->n_taps; t++) {
        if (c->desc->taps[t].value == value) return true;
    }
    return false;
}

// The program's output is stored where the caller wants it, unless somebody else needs it too or the dispatch stores others beside it.
static tn_status give_place(tn_vk_compiler *c, uint32_t value, bool is_alone, uint32_t time)
{
    if (value != c->desc->out_value || !is_alone || is_read_inside(c, value)) return give_span(c, value, time);
    c->values[value] = (tn_vk_value){.place = TN_VK_OUTSIDE, .stride = c->graph->values[value].width};
    return TN_OK;
}

static tn_status touch_input(tn_vk_compiler *c, uint32_t value, uint32_t time)
{
    if (value == TN_NONE) return TN_OK;
    if (c->values[value].place != TN_VK_IN_ARENA) return tn_bad_desc("a node reads a value that the program neither takes nor computes");
    tn_arena_extend(&c->arena, c->values[value].span, time);
    return TN_OK;
}

static tn_status touch_node(tn_vk_compiler *c, const tn_group *group, uint32_t node, uint32_t time)
{
    if (node == TN_NONE) return TN_OK;
    const tn_node *n = &c->graph->nodes[node];
    for (uint32_t k = 0; k < 2; k++) {
        // What passes from node to node inside a group has no place.
        bool is_inner = false;
        for (uint32_t i = 0; i < 3; i++)
            is_inner = is_inner || (group->nodes[i] != TN_NONE && group->nodes[i] != node && n->in[k] != TN_NONE &&
                                    c->graph->nodes[group->nodes[i]].out == n->in[k]);
        if (!is_inner && !(node == group->row)) TN_TRY(touch_input(c, n->in[k], time));
    }
    return TN_OK;
}

// Values that the group computes, and what it needs for itself.
static tn_status place_group(tn_vk_compiler *c, const tn_group *group, uint32_t time)
{
    const tn_node *nodes = c->graph->nodes;
    for (uint32_t i = 0; i < 3; i++) TN_TRY(touch_node(c, group, group->nodes[i], time));
    TN_TRY(touch_node(c, group, group->behind, time));
    if (group->behind != TN_NONE) {
        TN_TRY(give_place(c, nodes[group->behind].out, group->row == TN_NONE, time));
    } else if (group->kind == TN_GROUP_ROPE) {
        if (group->nodes[0] != TN_NONE) TN_TRY(give_place(c, nodes[group->nodes[0]].out, true, time));
    } else {
        for (uint32_t i = 0; i < 3; i++) {
            if (group->nodes[i] != TN_NONE)
                TN_TRY(give_place(c, nodes[group->nodes[i]].out, group->nodes[1] == TN_NONE && group->row == TN_NONE, time));
        }
    }
    if (group->row != TN_NONE) TN_TRY(give_span(c, nodes[group->row].out, time));
    uint64_t words;
    TN_TRY(tn_vk_group_scratch(c, group, &words));
    return words ? tn_arena_add(&c->arena, words, time, &c->scratch[time]) : TN_OK;
}

static tn_status place_values(tn_vk_compiler *c)
{
    const tn_program_desc *desc = c->desc;
    if (desc->in_value != TN_NONE) TN_TRY(give_span(c, desc->in_value, 0));
    for (uint32_t g = 0; g < c->n_groups; g++) TN_TRY(place_group(c, &c->groups[g], g + 1));
    const uint32_t end = c->n_groups + 1;
    if (c->values[desc->out_value].place == TN_VK_NOWHERE) return tn_bad_desc("its output is not computed by it");
    if (c->values[desc->out_value].place == TN_VK_IN_ARENA) tn_arena_extend(&c->arena, c->values[desc->out_value].span, end);
    for (uint32_t t = 0; t < desc->n_taps; t++) {
        if (desc->taps[t].value >= c->graph->n_values || c->values[desc->taps[t].value].place != TN_VK_IN_ARENA)
            return tn_bad_desc("it taps a value that it does not compute");
    }
    uint64_t words;
    if (!tn_arena_place(&c->arena, &words)) return tn_bad_desc("its values do not fit into memory");
    if (words > c->device->limits.range_bytes / 4)
        return tn_fail(TN_UNSUPPORTED,
                       "%s: steps of %u tokens need %" PRIu64 " MiB for their values; the device binds %" PRIu64
                       " MiB at most: make smaller steps",
                       c->device->name, (unsigned)c->list->n_tokens_max, words >> 18, c->device->limits.range_bytes >> 20);
    c->list->arena_words = words;
    for (uint32_t v = 0; v < c->graph->n_values; v++) {
        if (c->values[v].place != TN_VK_IN_ARENA) continue;
        c->values[v].at = (uint32_t)c->arena.spans[c->values[v].span].at;
        c->values[v].scales += c->values[v].at;
        c->values[v].sums += c->values[v].at;
    }
    return TN_OK;
}

// ---- dispatches ----

tn_vk_axis tn_vk_fixed(uint32_t n) { return (tn_vk_axis){.by = TN_VK_FIXED, .n = n}; }

tn_vk_axis tn_vk_per_row(tn_rows rows, uint32_t divisor)
{
    return (tn_vk_axis){.by = rows == TN_ROWS_LOGITS ? TN_VK_PER_LOGITS : TN_VK_PER_TOKENS, .divisor = divisor, .n_max = UINT32_MAX};
}

// Workgroups of the largest step of the list.
static uint32_t workgroups_max(const tn_vk_compiler *c, const tn_vk_axis *axis)
{
    uint32_t n = 0;
    switch (axis->by) {
    case TN_VK_FIXED: return axis->n;
    case TN_VK_PER_TOKENS: n = c->list->n_tokens_max; break;
    case TN_VK_PER_LOGITS: n = c->list->n_logits_max; break;
    case TN_VK_PER_CHUNKS: n = c->desc->limits.n_seq_pages; break;
    case TN_VK_PER_COPIES: n = c->desc->limits.n_seqs; break;
    }
    n = n > axis->first ? n - axis->first : 0;
    if (n > axis->n_max) n = axis->n_max;
    return n / axis->divisor + (n % axis->divisor != 0);
}

tn_status tn_vk_emit(tn_vk_compiler *c, const tn_vk_dispatch *dispatch, const void *params, size_t n_bytes)
{
    tn_vk_list *list = c->list;
    TN_TRY(tn_grow(&list->dispatches, &list->capacity, (size_t)list->n_dispatches + 1, sizeof *list->dispatches));
    tn_vk_dispatch *d = &list->dispatches[list->n_dispatches++];
    *d = *dispatch;
    d->n_params = (uint32_t)(n_bytes / 4);
    memcpy(d->params, params, n_bytes);
    for (uint32_t i = 0; i < 3; i++) {
        const uint32_t n = workgroups_max(c, &d->grid.axes[i]);
        if (n > c->device->limits.n_groups)
            return tn_fail(TN_UNSUPPORTED, "%s: %s needs %u workgroups in one dimension; the device has %u%s", c->device->name, d->shader,
                           (unsigned)n, (unsigned)c->device->limits.n_groups,
                           d->grid.axes[i].by == TN_VK_PER_TOKENS ? ": make smaller steps" : "");
    }
    return TN_OK;
}

// Rows of a value to a buffer outside or back.
static tn_status emit_copy(tn_vk_compiler *c, uint32_t value, bool is_in, tn_vk_outer outer, const tn_vk_buffer *tap)
{
    const tn_value *shape = &c->graph->values[value];
    const tn_vk_value *v = &c->values[value];
    struct tn_vk_copy_params p = {.n = shape->width, .in_at = v->at, .in_stride = v->stride, .y_stride = shape->width};
    if (is_in) p = (struct tn_vk_copy_params){.n = shape->width, .in_stride = shape->width, .y_at = v->at, .y_stride = v->stride};
    uint64_t n_bytes;
    TN_TRY(tn_vk_rows_bytes(c, value, &n_bytes));
    tn_vk_dispatch d = {.shader = "copy_rows", .constants = {tn_vk_invocations(c)}, .n_constants = 1, .nodes = {TN_NONE, TN_NONE, TN_NONE}};
    d.grid.axes[0] = tn_vk_fixed((shape->width + d.constants[0] - 1) / d.constants[0]);
    d.grid.axes[1] = tn_vk_per_row(shape->rows, 1);
    d.grid.axes[2] = tn_vk_fixed(1);
    tn_vk_range *range = is_in ? &d.from : &d.to;
    *range = (tn_vk_range){.buffer = tap, .n_bytes = n_bytes};
    if (is_in)
        d.from_outer = outer;
    else
        d.to_outer = outer;
    return tn_vk_emit(c, &d, &p, sizeof p);
}

static tn_status emit_taps(tn_vk_compiler *c, uint32_t value)
{
    for (uint32_t t = 0; value != TN_NONE && t < c->desc->n_taps; t++) {
        const tn_tap *tap = &c->desc->taps[t];
        if (tap->value != value) continue;
        const tn_value *shape = &c->graph->values[value];
        if (shape->type != TN_VALUE_F32) return tn_bad_desc("only f32 values can be tapped");
        TN_TRY(tn_buffer_check(&c->device->base, tap->buffer, 0, (uint64_t)tn_vk_rows_max(c->list, shape->rows) * shape->width * 4, "tap"));
        TN_TRY(emit_copy(c, value, false, TN_VK_NOT_OUTER, tn_vk_buffer_of(tap->buffer)));
    }
    return TN_OK;
}

static tn_status emit_all(tn_vk_compiler *c)
{
    const tn_program_desc *desc = c->desc;
    if (desc->in_value != TN_NONE) {
        TN_TRY(emit_copy(c, desc->in_value, true, TN_VK_OUTER_IN, NULL));
        TN_TRY(emit_taps(c, desc->in_value));
    }
    for (uint32_t g = 0; g < c->n_groups; g++) {
        const tn_group *group = &c->groups[g];
        TN_TRY(tn_vk_emit_group(c, group, g + 1));
        for (uint32_t i = 0; i < 3; i++) {
            if (group->nodes[i] != TN_NONE) TN_TRY(emit_taps(c, c->graph->nodes[group->nodes[i]].out));
        }
        if (group->behind != TN_NONE) TN_TRY(emit_taps(c, c->graph->nodes[group->behind].out));
    }
    if (c->values[desc->out_value].place == TN_VK_IN_ARENA) TN_TRY(emit_copy(c, desc->out_value, false, TN_VK_OUTER_OUT, NULL));
    return TN_OK;
}

static tn_status check_rows(const tn_vk_compiler *c)
{
    for (uint32_t i = 0; i < c->desc->n_nodes; i++) {
        const tn_node *node = &c->graph->nodes[c->desc->first_node + i];
        TN_TRY(tn_vk_op_supported(&c->device->base, c->graph, node));
        for (uint32_t k = 0; k < 2; k++) {
            if (node->in[k] != TN_NONE && node->in[k] >= c->graph->n_values) return tn_bad_desc("a node reads a value that does not exist");
        }
        const bool reads_positions = node->op == TN_OP_ROPE || node->op == TN_OP_KV_APPEND || node->op == TN_OP_ATTENTION;
        if (reads_positions && c->graph->values[node->in[0]].rows == TN_ROWS_LOGITS)
            return tn_bad_desc("attention over wanted rows alone is not possible");
        if (node->op != TN_OP_KV_APPEND && node->op != TN_OP_ATTENTION) continue;
        if (!c->desc->kv || c->desc->n_layers == 0) return tn_bad_desc("it has attention but no KV buffer");
        if (node->layer < c->desc->first_layer || node->layer - c->desc->first_layer >= (int64_t)c->desc->n_layers)
            return tn_bad_desc("a layer's KV cache is not in its KV buffer");
    }
    return TN_OK;
}

tn_status tn_vk_compile(const tn_vk_compile_params *params, tn_vk_list *list)
{
    const tn_program_desc *desc = params->desc;
    tn_status status;
    tn_vk_compiler c = {.device = params->device, .desc = desc, .graph = desc->graph, .step = params->step_layout, .list = list};
    list->n_tokens_max = params->n_tokens_max;
    list->n_logits_max = desc->limits.n_logits < params->n_tokens_max ? desc->limits.n_logits : params->n_tokens_max;
    TN_TRY_GOTO(tn_alloc_zero(desc->n_nodes, sizeof *c.groups, &c.groups));
    TN_TRY_GOTO(tn_alloc_zero(desc->graph->n_values, sizeof *c.values, &c.values));
    TN_TRY_GOTO(tn_alloc_zero((size_t)desc->n_nodes + 2, sizeof *c.scratch, &c.scratch));
    TN_TRY_GOTO(check_rows(&c));
    tn_fuse_params fuse = {.desc = desc,
                           .range_bytes = params->device->limits.range_bytes,
                           .rows = params->n_tokens_max == 1 ? TN_FUSE_ROWS_BEHIND : TN_FUSE_ROWS_NONE};
    TN_TRY_GOTO(tn_fuse(&fuse, c.groups, &c.n_groups));
    TN_TRY_GOTO(place_values(&c));
    TN_TRY_GOTO(emit_all(&c));
fail:
    tn_arena_deinit(&c.arena);
    tn_free(c.groups);
    tn_free(c.values);
    tn_free(c.scratch);
    return status;
}
