// Compiles groups of nodes to launches: where each value lies, which kernel runs with which struct over which grid.
#include "cuda/cuda_compile.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "cuda/cuda_program.h"

#include <string.h>

// ---- places ----

uint32_t tn_cuda_rows_max(const tn_cuda_list *list, tn_rows rows)
{
    return rows == TN_ROWS_LOGITS ? list->n_logits_max : list->n_tokens_max;
}

// Words of a value in the arena; addresses count from its span's start until it is placed.
static bool value_words(const tn_cuda_compiler *c, const tn_value *value, tn_cuda_value *v, uint64_t *out_words)
{
    const uint64_t rows = tn_cuda_rows_max(c->list, value->rows), side_words = (rows + 3) & ~(uint64_t)3;
    if (value->type == TN_VALUE_F32) {
        v->rows.stride = (value->width + 3u) & ~3u;
        return tn_ckd_mul(rows, v->rows.stride, out_words);
    }
    v->codes.stride_bytes = (value->width + TN_CUDA_TILE_COLS - 1) / TN_CUDA_TILE_COLS * TN_CUDA_TILE_COLS;
    uint64_t code_words, sides;
    if (!tn_ckd_mul(rows, v->codes.stride_bytes / 4, &code_words) || !tn_ckd_mul(side_words, 2, &sides)) return false;
    v->codes.scales = code_words * 4;
    v->codes.sums = (code_words + side_words) * 4;
    return tn_ckd_add(code_words, sides, out_words);
}

static tn_status give_span(tn_cuda_compiler *c, uint32_t index, uint32_t time)
{
    tn_cuda_value *v = &c->values[index];
    uint64_t words;
    if (!value_words(c, &c->graph->values[index], v, &words)) return tn_bad_desc("its values do not fit into memory");
    v->place = TN_CUDA_IN_ARENA;
    return tn_arena_add(&c->arena, words, time, &v->span);
}

static bool is_read_inside(const tn_cuda_compiler *c, uint32_t value)
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

// The program's output is stored where the caller wants it, unless somebody else needs it too: a node, a tap, a group's own epilogue.
static tn_status give_place(tn_cuda_compiler *c, uint32_t value, bool is_read_by_group, uint32_t time)
{
    if (value != c->desc->out_value || is_read_by_group || is_read_inside(c, value)) return give_span(c, value, time);
    c->values[value] = (tn_cuda_value){.place = TN_CUDA_OUTSIDE, .rows.stride = c->graph->values[value].width};
    return TN_OK;
}

static tn_status touch_input(tn_cuda_compiler *c, uint32_t value, uint32_t time)
{
    if (value == TN_NONE) return TN_OK;
    if (c->values[value].place != TN_CUDA_IN_ARENA) return tn_bad_desc("a node reads a value that the program neither takes nor computes");
    tn_arena_extend(&c->arena, c->values[value].span, time);
    return TN_OK;
}

// Whether a value passes from node to node inside the group.
static bool is_inner(const tn_cuda_compiler *c, const tn_group *group, uint32_t value)
{
    const uint32_t makers[] = {group->nodes[0], group->nodes[1], group->nodes[2], group->behind,
                               group->before,   group->rope[0],  group->rope[1]};
    for (size_t i = 0; i < sizeof makers / sizeof *makers; i++) {
        if (makers[i] != TN_NONE && c->graph->nodes[makers[i]].out == value) return true;
    }
    return false;
}

static tn_status touch_node(tn_cuda_compiler *c, const tn_group *group, uint32_t node, uint32_t time)
{
    if (node == TN_NONE) return TN_OK;
    for (uint32_t k = 0; k < 2; k++) {
        const uint32_t value = c->graph->nodes[node].in[k];
        if (value != TN_NONE && !is_inner(c, group, value)) TN_TRY(touch_input(c, value, time));
    }
    return TN_OK;
}

// Values that the group leaves for others.
static tn_status place_outputs(tn_cuda_compiler *c, const tn_group *group, uint32_t time)
{
    const tn_node *nodes = c->graph->nodes;
    const bool has_row = group->row != TN_NONE;
    if (group->behind != TN_NONE) {
        TN_TRY(give_place(c, nodes[group->behind].out, has_row, time));
    } else if (group->kind == TN_GROUP_ROPE) {
        if (group->nodes[0] != TN_NONE) TN_TRY(give_place(c, nodes[group->nodes[0]].out, false, time));
    } else {
        for (uint32_t i = 0; i < 3; i++) {
            if (group->nodes[i] != TN_NONE) TN_TRY(give_place(c, nodes[group->nodes[i]].out, has_row, time));
        }
    }
    return has_row ? give_span(c, nodes[group->row].out, time) : TN_OK;
}

static tn_status place_group(tn_cuda_compiler *c, const tn_group *group, uint32_t time)
{
    for (uint32_t i = 0; i < 3; i++) {
        TN_TRY(touch_node(c, group, group->nodes[i], time));
        TN_TRY(touch_node(c, group, group->rope[i], time));
    }
    TN_TRY(touch_node(c, group, group->behind, time));
    TN_TRY(touch_node(c, group, group->before, time));
    TN_TRY(place_outputs(c, group, time));
    uint64_t n_bytes;
    TN_TRY(tn_cuda_group_scratch(c, group, &n_bytes));
    return n_bytes ? tn_arena_add(&c->arena, n_bytes / 4, time, &c->scratch[time]) : TN_OK;
}

static tn_status place_values(tn_cuda_compiler *c)
{
    const tn_program_desc *desc = c->desc;
    if (desc->in_value != TN_NONE) TN_TRY(give_span(c, desc->in_value, 0));
    for (uint32_t g = 0; g < c->n_groups; g++) TN_TRY(place_group(c, &c->groups[g], g + 1));
    if (c->values[desc->out_value].place == TN_CUDA_NOWHERE) return tn_bad_desc("its output is not computed by it");
    if (c->values[desc->out_value].place == TN_CUDA_IN_ARENA) tn_arena_extend(&c->arena, c->values[desc->out_value].span, c->n_groups + 1);
    for (uint32_t t = 0; t < desc->n_taps; t++) {
        if (desc->taps[t].value >= c->graph->n_values || c->values[desc->taps[t].value].place != TN_CUDA_IN_ARENA)
            return tn_bad_desc("it taps a value that it does not compute");
    }
    uint64_t words;
    if (!tn_arena_place(&c->arena, &words) || !tn_ckd_mul(words, 4, &c->list->arena_bytes))
        return tn_bad_desc("its values do not fit into memory");
    for (uint32_t i = 0; i < c->graph->n_values; i++) {
        tn_cuda_value *v = &c->values[i];
        if (v->place != TN_CUDA_IN_ARENA) continue;
        const uint64_t at = c->places->arena + c->arena.spans[v->span].at * 4;
        if (c->graph->values[i].type == TN_VALUE_F32) {
            v->rows.at = at;
        } else {
            v->codes.at = at;
            v->codes.scales += at;
            v->codes.sums += at;
        }
    }
    return TN_OK;
}

// ---- launches ----

tn_status tn_cuda_emit(tn_cuda_compiler *c, const tn_cuda_launch *launch, const void *params, size_t n_bytes)
{
    tn_cuda_list *list = c->list;
    if (launch->grid[0] == 0 || launch->grid[1] == 0 || launch->grid[2] == 0) return TN_OK; // no step has such rows
    TN_TRY(tn_grow(&list->launches, &list->capacity, (size_t)list->n_launches + 1, sizeof *list->launches));
    tn_cuda_launch *l = &list->launches[list->n_launches++];
    *l = *launch;
    memcpy(l->params, params, n_bytes);
    return TN_OK;
}

// Rows of a value from the submit's input, or to its output or a tap.
static tn_status emit_copy(tn_cuda_compiler *c, uint32_t value, struct tn_cuda_rows from, struct tn_cuda_rows to)
{
    const tn_value *shape = &c->graph->values[value];
    const struct tn_cuda_copy_params p = {
        .step = c->step, .n = shape->width, .x = from, .y = to, .is_logits = shape->rows == TN_ROWS_LOGITS};
    const tn_cuda_launch l = {
        .kernel = TN_CUDA_copy_rows,
        .grid = {(shape->width + TN_CUDA_ELEMENTS - 1) / TN_CUDA_ELEMENTS, tn_cuda_rows_max(c->list, shape->rows), 1},
        .nodes = {TN_NONE, TN_NONE, TN_NONE},
    };
    return tn_cuda_emit(c, &l, &p, sizeof p);
}

static tn_status emit_taps(tn_cuda_compiler *c, uint32_t value)
{
    for (uint32_t t = 0; value != TN_NONE && t < c->desc->n_taps; t++) {
        const tn_tap *tap = &c->desc->taps[t];
        if (tap->value != value) continue;
        const tn_value *shape = &c->graph->values[value];
        if (shape->type != TN_VALUE_F32) return tn_bad_desc("only f32 values can be tapped");
        TN_TRY(
            tn_buffer_check(&c->device->base, tap->buffer, 0, (uint64_t)tn_cuda_rows_max(c->list, shape->rows) * shape->width * 4, "tap"));
        const struct tn_cuda_rows to = {.at = tn_cuda_buffer_of(tap->buffer)->at, .stride = shape->width};
        TN_TRY(emit_copy(c, value, c->values[value].rows, to));
    }
    return TN_OK;
}

static tn_status emit_begin(tn_cuda_compiler *c)
{
    const struct tn_cuda_begin_params p = {
        .step = c->step, .host = c->places->step_host, .poison = c->places->poison, .n_poison = c->desc->limits.n_tokens};
    const tn_cuda_launch l = {.kernel = TN_CUDA_begin, .grid = {1, 1, 1}, .nodes = {TN_NONE, TN_NONE, TN_NONE}};
    return tn_cuda_emit(c, &l, &p, sizeof p);
}

static tn_status emit_end(tn_cuda_compiler *c)
{
    const struct tn_cuda_end_params p = {.step = c->step, .poison = c->places->poison, .host = c->places->poison_host};
    const tn_cuda_launch l = {.kernel = TN_CUDA_end, .grid = {1, 1, 1}, .nodes = {TN_NONE, TN_NONE, TN_NONE}};
    return tn_cuda_emit(c, &l, &p, sizeof p);
}

// Ranks the rows of logits that the program stores, in steps that want their best ones.
static tn_status emit_rank(tn_cuda_compiler *c)
{
    const uint32_t out = c->desc->out_value;
    const tn_value *shape = &c->graph->values[out];
    if (!c->places->rank_counts || shape->rows != TN_ROWS_LOGITS || shape->type != TN_VALUE_F32) return TN_OK;
    const struct tn_cuda_rank_params p = {.step = c->step,
                                          .x = {.at = 0, .stride = shape->width},
                                          .n = shape->width,
                                          .top_max = c->device->base.ranking_max,
                                          .counts = c->places->rank_counts,
                                          .ids = c->places->rank_ids,
                                          .logits = c->places->rank_logits};
    const tn_cuda_launch l = {.kernel = TN_CUDA_rank, .grid = {c->list->n_logits_max, 1, 1}, .nodes = {TN_NONE, TN_NONE, TN_NONE}};
    return tn_cuda_emit(c, &l, &p, sizeof p);
}

static tn_status emit_all(tn_cuda_compiler *c)
{
    const tn_program_desc *desc = c->desc;
    TN_TRY(emit_begin(c));
    if (desc->in_value != TN_NONE) {
        const struct tn_cuda_rows outside = {.stride = c->graph->values[desc->in_value].width};
        TN_TRY(emit_copy(c, desc->in_value, outside, c->values[desc->in_value].rows));
        TN_TRY(emit_taps(c, desc->in_value));
    }
    for (uint32_t g = 0; g < c->n_groups; g++) {
        const tn_group *group = &c->groups[g];
        TN_TRY(tn_cuda_emit_group(c, group, g + 1));
        for (uint32_t i = 0; i < 3; i++) {
            if (group->nodes[i] != TN_NONE) TN_TRY(emit_taps(c, c->graph->nodes[group->nodes[i]].out));
        }
        if (group->behind != TN_NONE) TN_TRY(emit_taps(c, c->graph->nodes[group->behind].out));
    }
    if (c->values[desc->out_value].place == TN_CUDA_IN_ARENA) {
        const struct tn_cuda_rows outside = {.stride = c->graph->values[desc->out_value].width};
        TN_TRY(emit_copy(c, desc->out_value, c->values[desc->out_value].rows, outside));
    }
    TN_TRY(emit_rank(c));
    return emit_end(c);
}

// ---- checks ----

static tn_status check_attention(const tn_cuda_compiler *c, const tn_node *node)
{
    if (!c->desc->kv || c->desc->n_layers == 0) return tn_bad_desc("it has attention but no KV buffer");
    if (node->layer < c->desc->first_layer || node->layer - c->desc->first_layer >= (int64_t)c->desc->n_layers)
        return tn_bad_desc("a layer's KV cache is not in its KV buffer");
    return TN_OK;
}

static tn_status check_nodes(const tn_cuda_compiler *c)
{
    for (uint32_t i = 0; i < c->desc->n_nodes; i++) {
        const tn_node *node = &c->graph->nodes[c->desc->first_node + i];
        for (uint32_t k = 0; k < 2; k++) {
            if (node->in[k] != TN_NONE && node->in[k] >= c->graph->n_values) return tn_bad_desc("a node reads a value that does not exist");
        }
        TN_TRY(tn_cuda_op_supported(&c->device->base, c->graph, node));
        const bool reads_positions = node->op == TN_OP_ROPE || node->op == TN_OP_KV_APPEND || node->op == TN_OP_ATTENTION;
        if (reads_positions && c->graph->values[node->in[0]].rows == TN_ROWS_LOGITS)
            return tn_bad_desc("attention over wanted rows alone is not possible");
        if (node->op == TN_OP_KV_APPEND || node->op == TN_OP_ATTENTION) TN_TRY(check_attention(c, node));
    }
    return TN_OK;
}

static struct tn_cuda_step step_of(const tn_cuda_compile_params *params)
{
    const tn_step_layout *at = &params->step_layout;
    return (struct tn_cuda_step){.words = params->places.step,
                                 .copies = at->copies,
                                 .logit_rows = at->logit_rows,
                                 .n_top = at->n_top,
                                 .tokens = at->tokens,
                                 .positions = at->positions,
                                 .seqs = at->seqs,
                                 .page_table = at->page_table,
                                 .n_seq_pages = at->n_seq_pages,
                                 .addresses = params->addresses};
}

tn_status tn_cuda_compile(const tn_cuda_compile_params *params, tn_cuda_list *list)
{
    const tn_program_desc *desc = params->desc;
    tn_status status;
    tn_cuda_compiler c = {.device = params->device,
                          .desc = desc,
                          .graph = desc->graph,
                          .places = &params->places,
                          .sizes_only = params->sizes_only,
                          .step = step_of(params),
                          .list = list};
    *list = (tn_cuda_list){.n_tokens_max = params->n_tokens_max};
    list->n_logits_max = desc->limits.n_logits < params->n_tokens_max ? desc->limits.n_logits : params->n_tokens_max;
    const bool is_one = params->n_tokens_max == 1;
    const tn_fuse_params fuse = {.desc = desc,
                                 .range_bytes = UINT64_MAX,
                                 .rows = is_one                                       ? TN_FUSE_ROWS_BEFORE
                                         : params->n_tokens_max <= TN_CUDA_FEW_TOKENS ? TN_FUSE_ROWS_BEHIND
                                                                                      : TN_FUSE_ROWS_NONE,
                                 .fuses_rope = is_one};
    TN_TRY_GOTO(tn_alloc_zero(desc->n_nodes, sizeof *c.groups, &c.groups));
    TN_TRY_GOTO(tn_alloc_zero(desc->graph->n_values, sizeof *c.values, &c.values));
    TN_TRY_GOTO(tn_alloc_zero((size_t)desc->n_nodes + 2, sizeof *c.scratch, &c.scratch));
    TN_TRY_GOTO(check_nodes(&c));
    TN_TRY_GOTO(tn_fuse(&fuse, c.groups, &c.n_groups));
    TN_TRY_GOTO(place_values(&c));
    TN_TRY_GOTO(emit_all(&c));
    status = TN_OK;
fail:
    tn_arena_deinit(&c.arena);
    tn_free(c.groups);
    tn_free(c.values);
    tn_free(c.scratch);
    return status;
}
