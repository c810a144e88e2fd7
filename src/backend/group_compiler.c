// A group's index plus 1 is its time; the input is there at time 0, and the output is copied out behind the last group.
#include "backend/group_compiler.h"

#include "backend/desc_check.h"
#include "base/alloc.h"

static const tn_node *node_of(const tn_group_compiler *c, uint32_t index) { return &c->desc->graph->nodes[index]; }

uint32_t tn_group_rows_max(const tn_group_compiler *c, tn_rows rows) { return rows == TN_ROWS_LOGITS ? c->n_logits_max : c->n_tokens_max; }

// ---- checks ----

static tn_status check_attention(const tn_program_desc *desc, const tn_node *node)
{
    if (!desc->kv || desc->n_layers == 0) return tn_bad_desc("it has attention but no KV buffer");
    if (node->layer < desc->first_layer || node->layer - desc->first_layer >= (int64_t)desc->n_layers)
        return tn_bad_desc("a layer's KV cache is not in its KV buffer");
    return TN_OK;
}

static tn_status check_node(const tn_group_compiler *c, const tn_node *node)
{
    const tn_graph *graph = c->desc->graph;
    for (uint32_t k = 0; k < 2; k++) {
        if (node->in[k] != TN_NONE && node->in[k] >= graph->n_values) return tn_bad_desc("a node reads a value that does not exist");
    }
    TN_TRY(c->device->backend->op_supported(c->device, graph, node));
    const bool reads_kv = node->op == TN_OP_KV_APPEND || node->op == TN_OP_ATTENTION;
    if ((reads_kv || node->op == TN_OP_ROPE) && graph->values[node->in[0]].rows == TN_ROWS_LOGITS)
        return tn_bad_desc("attention over wanted rows alone is not possible");
    return reads_kv ? check_attention(c->desc, node) : TN_OK;
}

// ---- places ----

static tn_status give_span(tn_group_compiler *c, uint32_t value, uint32_t time)
{
    tn_value_place *place = &c->places[value];
    uint64_t n_words;
    if (!c->backend->value_words(c->backend->ctx, value, &n_words)) return tn_bad_desc("its values do not fit into memory");
    place->kind = TN_PLACE_IN_ARENA;
    return tn_arena_add(&c->arena, n_words, time, &place->span);
}

static bool is_read_inside(const tn_program_desc *desc, uint32_t value)
{
    for (uint32_t i = 0; i < desc->n_nodes; i++) {
        const tn_node *node = &desc->graph->nodes[desc->first_node + i];
        if (node->in[0] == value || node->in[1] == value) return true;
    }
    for (uint32_t t = 0; t < desc->n_taps; t++) {
        if (desc->taps[t].value == value) return true;
    }
    return false;
}

// The program's output is stored where the caller wants it, unless somebody else needs it too: a node, a tap, the group itself.
static tn_status give_place(tn_group_compiler *c, uint32_t value, bool may_be_outside, uint32_t time)
{
    if (value != c->desc->out_value || !may_be_outside || is_read_inside(c->desc, value)) return give_span(c, value, time);
    c->places[value].kind = TN_PLACE_OUTSIDE;
    c->backend->value_outside(c->backend->ctx, value);
    return TN_OK;
}

// Whether a value passes from node to node inside the group.
static bool is_inner(const tn_group_compiler *c, const tn_group *group, uint32_t value)
{
    const uint32_t makers[] = {group->nodes[0], group->nodes[1], group->nodes[2], group->behind,
                               group->before,   group->rope[0],  group->rope[1]};
    for (size_t i = 0; i < sizeof makers / sizeof *makers; i++) {
        if (makers[i] != TN_NONE && node_of(c, makers[i])->out == value) return true;
    }
    return false;
}

static tn_status touch_inputs(tn_group_compiler *c, const tn_group *group, uint32_t node, uint32_t time)
{
    for (uint32_t k = 0; node != TN_NONE && k < 2; k++) {
        const uint32_t value = node_of(c, node)->in[k];
        if (value == TN_NONE || is_inner(c, group, value)) continue;
        if (c->places[value].kind != TN_PLACE_IN_ARENA)
            return tn_bad_desc("a node reads a value that the program neither takes nor computes");
        tn_arena_extend(&c->arena, c->places[value].span, time);
    }
    return TN_OK;
}

// Values that the group leaves for others.
static tn_status place_outputs(tn_group_compiler *c, const tn_group *group, uint32_t time)
{
    const bool has_row = group->row != TN_NONE, is_alone = c->parts_outside || group->nodes[1] == TN_NONE;
    if (group->behind != TN_NONE) {
        TN_TRY(give_place(c, node_of(c, group->behind)->out, !has_row, time));
    } else if (group->kind == TN_GROUP_ROPE) {
        if (group->nodes[0] != TN_NONE) TN_TRY(give_place(c, node_of(c, group->nodes[0])->out, true, time));
    } else {
        for (uint32_t i = 0; i < 3; i++) {
            if (group->nodes[i] != TN_NONE) TN_TRY(give_place(c, node_of(c, group->nodes[i])->out, is_alone && !has_row, time));
        }
    }
    return has_row ? give_span(c, node_of(c, group->row)->out, time) : TN_OK;
}

static tn_status place_group(tn_group_compiler *c, const tn_group *group, uint32_t time)
{
    for (uint32_t i = 0; i < 3; i++) {
        TN_TRY(touch_inputs(c, group, group->nodes[i], time));
        TN_TRY(touch_inputs(c, group, group->rope[i], time));
    }
    TN_TRY(touch_inputs(c, group, group->behind, time));
    TN_TRY(touch_inputs(c, group, group->before, time));
    TN_TRY(place_outputs(c, group, time));
    uint64_t n_words;
    TN_TRY(c->backend->group_words(c->backend->ctx, group, &n_words));
    return n_words ? tn_arena_add(&c->arena, n_words, time, &c->scratch[time]) : TN_OK;
}

static tn_status place_values(tn_group_compiler *c)
{
    const tn_program_desc *desc = c->desc;
    if (desc->in_value != TN_NONE) TN_TRY(give_span(c, desc->in_value, 0));
    for (uint32_t g = 0; g < c->n_groups; g++) TN_TRY(place_group(c, &c->groups[g], g + 1));
    const tn_value_place *out = &c->places[desc->out_value];
    if (out->kind == TN_PLACE_NOWHERE) return tn_bad_desc("its output is not computed by it");
    if (out->kind == TN_PLACE_IN_ARENA) tn_arena_extend(&c->arena, out->span, c->n_groups + 1);
    for (uint32_t t = 0; t < desc->n_taps; t++) {
        if (c->places[desc->taps[t].value].kind != TN_PLACE_IN_ARENA) return tn_bad_desc("it taps a value that it does not compute");
    }
    uint64_t n_words;
    if (!tn_arena_place(&c->arena, &n_words)) return tn_bad_desc("its values do not fit into memory");
    return c->backend->placed(c->backend->ctx, n_words);
}

// ---- the order ----

static tn_status emit_taps(const tn_group_compiler *c, uint32_t value)
{
    for (uint32_t t = 0; t < c->desc->n_taps; t++) {
        const tn_tap *tap = &c->desc->taps[t];
        if (tap->value != value) continue;
        const tn_value *shape = &c->desc->graph->values[value];
        if (shape->type != TN_VALUE_F32) return tn_bad_desc("only f32 values can be tapped");
        TN_TRY(tn_buffer_check(c->device, tap->buffer, 0, (uint64_t)tn_group_rows_max(c, shape->rows) * shape->width * 4, "tap"));
        TN_TRY(c->backend->copy_tap(c->backend->ctx, value, tap->buffer));
    }
    return TN_OK;
}

static tn_status emit_node_taps(const tn_group_compiler *c, uint32_t node)
{
    return node == TN_NONE || node_of(c, node)->out == TN_NONE ? TN_OK : emit_taps(c, node_of(c, node)->out);
}

static tn_status emit_all(const tn_group_compiler *c)
{
    const tn_group_backend *backend = c->backend;
    const tn_program_desc *desc = c->desc;
    if (desc->in_value != TN_NONE) {
        TN_TRY(backend->copy_in(backend->ctx, desc->in_value));
        TN_TRY(emit_taps(c, desc->in_value));
    }
    for (uint32_t g = 0; g < c->n_groups; g++) {
        const tn_group *group = &c->groups[g];
        TN_TRY(backend->emit_group(backend->ctx, group, g + 1));
        for (uint32_t i = 0; i < 3; i++) TN_TRY(emit_node_taps(c, group->nodes[i]));
        TN_TRY(emit_node_taps(c, group->behind));
    }
    return c->places[desc->out_value].kind == TN_PLACE_IN_ARENA ? backend->copy_out(backend->ctx, desc->out_value) : TN_OK;
}

tn_status tn_group_compile(tn_group_compiler *c, const tn_fuse_params *fuse)
{
    const tn_program_desc *desc = c->desc;
    TN_TRY(tn_alloc_zero(desc->n_nodes, sizeof *c->groups, &c->groups));
    TN_TRY(tn_alloc_zero(desc->graph->n_values, sizeof *c->places, &c->places));
    TN_TRY(tn_alloc_zero((size_t)desc->n_nodes + 2, sizeof *c->scratch, &c->scratch));
    for (uint32_t i = 0; i < desc->n_nodes; i++) TN_TRY(check_node(c, node_of(c, desc->first_node + i)));
    TN_TRY(tn_fuse(fuse, c->groups, &c->n_groups));
    TN_TRY(place_values(c));
    return emit_all(c);
}

void tn_group_compiler_deinit(tn_group_compiler *c)
{
    tn_arena_deinit(&c->arena);
    tn_free(c->groups);
    tn_free(c->places);
    tn_free(c->scratch);
}
