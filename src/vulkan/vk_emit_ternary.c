// Dispatches of ternary products, with what is fused with them.
#include "vulkan/vk_emit.h"

#include <string.h>

enum {
    TEXEL_GROUPS = 4,     // row groups of a lane: enough rows for the activations that it loads
    TEXEL_GROUPS_ONE = 8, // the same for one token, whose activations serve nothing else
    GEMM_COLS = 64,       // tokens, and
    GEMM_GROUPS = 4,      // row groups of a workgroup where there are many tokens
    GEMM_INVOCATIONS = 256,
    GEMM_COLS_MUL = 32, // the same without dot products, whose codes take twice the shared memory
    GEMM_INVOCATIONS_MUL = 128,
    GEMM_INVOCATIONS_LEAST = 64,
    SCALES_AT_KV = 7,     // number of that constant of the ternary products
    ONE_SPLITS_LEAST = 8, // shares of a row's columns in a product of one token, each 16 invocations
    ONE_SPLITS_MOST = 28, // so that registers have room for two workgroups of a processor
    ONE_BLOCKS = 264,     // workgroups that large GPUs run at once: more would wait for the first ones
    ONE_SUMS_MOST = 8,    // row groups of a workgroup, of both matrices
};

typedef struct ternary_form {
    const char *shader;
    uint32_t invocations, cols;
    uint32_t groups;     // row groups of a lane, of the form "mul"; of a workgroup, of "gemm"
    uint32_t rows_block; // rows of a workgroup: output rows
} ternary_form;

// Tiles of the form "gemm": a power of two of invocations, each with some 16 results.
static ternary_form gemm_form_of(const tn_vk_compiler *c, bool is_glu)
{
    const bool is_dot = c->device->traits.use_dot;
    const uint32_t wanted = tn_vk_at_most(tn_vk_invocations(c), is_dot ? GEMM_INVOCATIONS : GEMM_INVOCATIONS_MUL);
    return (ternary_form){is_dot ? "matmul_ternary_gemm_dot" : "matmul_ternary_gemm_mul",
                          wanted < GEMM_INVOCATIONS_LEAST ? GEMM_INVOCATIONS_LEAST : wanted, is_dot ? GEMM_COLS : GEMM_COLS_MUL,
                          GEMM_GROUPS, (is_glu ? 8u : 16u) * GEMM_GROUPS};
}

// Invocations of a product of one token: so many shares of the columns that as few as possible have less to do than others.
static uint32_t one_invocations(const tn_vk_device *device, uint32_t n_chunks)
{
    const uint32_t most = tn_vk_at_most(device->limits.n_invocations / 16, ONE_SPLITS_MOST);
    uint32_t best = ONE_SPLITS_LEAST, best_waste = UINT32_MAX;
    for (uint32_t splits = ONE_SPLITS_LEAST; splits <= most; splits++) {
        const uint32_t waste = (n_chunks + splits - 1) / splits * splits - n_chunks;
        if (waste > best_waste) continue;
        best = splits;
        best_waste = waste;
    }
    return 16 * best;
}

// Bytes of shared memory of a product of one token over n_chunks of 64 columns, with n_sums row groups.
static uint64_t one_shared_bytes(uint32_t n_chunks, uint32_t invocations, uint32_t n_sums, bool keeps_row)
{
    const uint64_t n_blocks = (n_chunks + 3) / 4;
    return (uint64_t)64 * n_chunks + (keeps_row ? 1024 * n_blocks : 16) + 148 * n_blocks + 160 + (uint64_t)4 * invocations * n_sums;
}

// Row groups of one matrix that a workgroup has, of n_groups.
static uint32_t one_tiles(const tn_vk_device *device, uint32_t n_chunks, uint32_t n_groups, uint32_t n_parts)
{
    const uint32_t invocations = one_invocations(device, n_chunks);
    uint32_t n = tn_vk_at_most((n_groups + ONE_BLOCKS - 1) / ONE_BLOCKS, ONE_SUMS_MOST / n_parts);
    while (n > 1 && one_shared_bytes(n_chunks, invocations, n * n_parts, false) > device->limits.shared_bytes) n--;
    return n;
}

bool tn_vk_rows_fit_before(const tn_vk_compiler *c)
{
    if (!c->device->traits.use_dot) return false;
    for (uint32_t i = 0; i < c->desc->n_nodes; i++) {
        const tn_node *node = &c->graph->nodes[c->desc->first_node + i];
        tn_vk_weight_shape shape;
        if (node->op != TN_OP_MATMUL_TERNARY) continue;
        if (tn_vk_weight_shape_of(&c->graph->weights[node->weight], &shape) != TN_OK) return false;
        if (shape.n_words * 4 > c->device->limits.range_bytes) return false; // slices have their scales where gains would be
        if (one_shared_bytes(shape.n_units, one_invocations(c->device, shape.n_units), 2, false) > c->device->limits.shared_bytes)
            return false;
    }
    return true;
}

static ternary_form ternary_form_of(const tn_vk_compiler *c, tn_rows rows, bool is_glu)
{
    if (!tn_vk_by_texels(c) && tn_vk_rows_max(c->list, rows) > COLS_MANY) return gemm_form_of(c, is_glu);
    if (c->device->traits.use_dot)
        return (ternary_form){"matmul_ternary_dot", tn_vk_invocations(c) < 16 ? 16 : tn_vk_invocations(c), tn_vk_cols_of(c), 0, 16};
    static const char *const shaders[] = {"matmul_ternary_mul", "matmul_ternary_mul_texel", "matmul_ternary_mul_shuffle"};
    ternary_form form = {shaders[tn_vk_by_texels(c) + tn_vk_by_shuffle(c)], tn_vk_row_invocations(c), tn_vk_cols_of(c), 1, 0};
    if (tn_vk_by_texels(c)) form.groups = tn_vk_cols_of(c) == 1 ? TEXEL_GROUPS_ONE : TEXEL_GROUPS;
    form.rows_block = 16 * form.groups * (form.invocations < 16 ? 1 : form.invocations / 16);
    return form;
}

// Lets the last workgroup quantise the row.
static tn_status fuse_row(tn_vk_compiler *c, uint32_t row, struct tn_vk_ternary_params *p, tn_vk_dispatch *d)
{
    struct tn_vk_row_params r;
    TN_TRY(tn_vk_fill_row_params(c, row, &r, &d->constants[4], &d->kv));
    memcpy(&d->constants[5], &r.eps, sizeof r.eps);
    memcpy(&d->constants[6], &r.recip_n, sizeof r.recip_n);
    d->n_constants = 7;
    p->row_codes = r.y_at;
    p->row_scale = r.scales;
    p->row_sum = r.sums;
    p->counter = c->desc->limits.n_tokens;
    if (c->list->n_counters == 0) c->list->n_counters = 1;
    return TN_OK;
}

// What one dispatch computes: the matrices of a group, or, of one that is more than a binding holds, some of its rows.
typedef struct ternary_part {
    tn_vk_weight w[3];
    uint32_t n;         // matrices
    uint32_t first_row; // 0, but of a slice
    uint32_t n_rows[3];
    bool is_slice;
} ternary_part;

static tn_status find_matrices(const tn_vk_compiler *c, const tn_group *group, ternary_part *part)
{
    *part = (ternary_part){0};
    for (uint32_t i = 0; i < 3 && group->nodes[i] != TN_NONE; i++) {
        TN_TRY(tn_vk_find_weight(c, tn_vk_node_of(c, group->nodes[i])->weight, &part->w[i]));
        part->n_rows[i] = part->w[i].shape.n_rows;
        part->n++;
    }
    return TN_OK;
}

// One binding over all matrices and what lies between them.
static tn_status bind_matrices(const tn_vk_compiler *c, const ternary_part *part, struct tn_vk_ternary_params *p, tn_vk_dispatch *d)
{
    uint64_t begin = UINT64_MAX, end = 0, codes_end = 0;
    uint32_t at[3] = {0}, scales[3] = {0};
    for (uint32_t i = 0; i < part->n; i++) {
        const uint64_t offset = part->w[i].packed->offset_bytes;
        if (offset < begin) begin = offset;
        if (offset + part->w[i].shape.n_words * 4 > end) end = offset + part->w[i].shape.n_words * 4;
        if (offset + part->w[i].shape.scales_at * 4 > codes_end) codes_end = offset + part->w[i].shape.scales_at * 4;
    }
    TN_TRY(tn_vk_bind_weight(c, &part->w[0], begin - part->w[0].packed->offset_bytes, end - begin, &d->weights));
    tn_vk_bind_texels(d);
    if (d->weights_texels.n_bytes > codes_end - begin) d->weights_texels.n_bytes = codes_end - begin;
    for (uint32_t i = 0; i < part->n; i++) {
        at[i] = (uint32_t)((part->w[i].packed->offset_bytes - begin) / 4);
        scales[i] = at[i] + (uint32_t)part->w[i].shape.scales_at;
    }
    p->w_0 = at[0], p->w_1 = at[1], p->w_2 = at[2];
    p->s_0 = scales[0], p->s_1 = scales[1], p->s_2 = scales[2];
    return TN_OK;
}

// The codes of a slice, and its scales, which lie behind the codes of all rows: bound apart, from the aligned place before them.
static tn_status bind_slice(const tn_vk_compiler *c, const ternary_part *part, struct tn_vk_ternary_params *p, tn_vk_dispatch *d)
{
    const tn_vk_weight_shape *shape = &part->w[0].shape;
    const uint64_t group = part->first_row / shape->interleave, n_groups = (part->n_rows[0] + shape->interleave - 1) / shape->interleave;
    const uint64_t begin = (shape->scales_at + group * shape->scale_words) * 4, before = begin % c->device->limits.offset_alignment;
    const uint64_t scale_words = shape->scale_words ? n_groups * shape->scale_words : 1;
    TN_TRY(tn_vk_bind_weight(c, &part->w[0], group * shape->group_words * 4, n_groups * shape->group_words * 4, &d->weights));
    TN_TRY(tn_vk_bind_weight(c, &part->w[0], begin - before, before + scale_words * 4, &d->kv));
    tn_vk_bind_texels(d);
    p->s_0 = (uint32_t)(before / 4);
    d->constants[SCALES_AT_KV] = 1;
    d->n_constants = SCALES_AT_KV + 1;
    return TN_OK;
}

// The ADD or GLU behind the matrices. Returns the shader's number of it.
static uint32_t set_epilogue(const tn_vk_compiler *c, const tn_group *group, uint32_t first_row, struct tn_vk_ternary_params *p)
{
    const tn_node *behind = tn_vk_node_of(c, group->behind);
    if (!behind) return 0;
    if (behind->op == TN_OP_GLU) {
        p->glu_node = tn_vk_poison_of(group->behind);
        return behind->p.glu.kind == TN_GLU_RELU2 ? 2 : 3;
    }
    const uint32_t product = tn_vk_node_of(c, group->nodes[0])->out;
    const tn_vk_value *other = &c->values[behind->in[0] == product ? behind->in[1] : behind->in[0]];
    p->add_at = other->at + first_row;
    p->add_stride = other->stride;
    p->add_node = tn_vk_poison_of(group->behind);
    return 1;
}

// Makes of a product of one token the shader that computes the norm in front of it too, where the group has it.
static tn_status be_one(const tn_vk_compiler *c, const tn_group *group, const ternary_part *part, struct tn_vk_ternary_params *p,
                        tn_vk_dispatch *d)
{
    const bool is_glu = d->constants[2] >= 2;
    const uint32_t n_chunks = p->n_chunks, invocations = one_invocations(c->device, n_chunks);
    uint32_t n_groups = 0, op = 0;
    struct tn_vk_row_params row = {0};
    for (uint32_t i = 0; i < (is_glu ? 1 : part->n); i++) n_groups += (part->n_rows[i] + 15) / 16;
    if (group->before != TN_NONE) {
        TN_TRY(tn_vk_fill_row_params(c, group->before, &row, &op, &d->kv));
        p->codes = row.in_at;
    }
    const uint32_t tiles = one_tiles(c->device, n_chunks, n_groups, is_glu ? 2 : 1);
    const bool keeps_row =
        op && one_shared_bytes(n_chunks, invocations, is_glu ? 2 * tiles : tiles, true) <= c->device->limits.shared_bytes;
    const uint32_t constants[] = {invocations, 1, d->constants[2], part->w[0].shape.n_cols, op, 0, 0, 0, tiles, keeps_row};
    memcpy(d->constants, constants, sizeof constants);
    memcpy(&d->constants[5], &row.eps, sizeof row.eps);
    memcpy(&d->constants[6], &row.recip_n, sizeof row.recip_n);
    d->n_constants = 10;
    d->shader = "matmul_ternary_one_dot";
    d->grid.axes[0] = tn_vk_fixed((n_groups + tiles - 1) / tiles);
    return TN_OK;
}

static tn_status emit_ternary_part(tn_vk_compiler *c, const tn_group *group, const ternary_part *part)
{
    const tn_node *behind = tn_vk_node_of(c, group->behind), *first = tn_vk_node_of(c, group->nodes[0]);
    const tn_vk_value *x = &c->values[first->in[0]];
    const bool is_glu = behind && behind->op == TN_OP_GLU;
    const ternary_form form = ternary_form_of(c, tn_vk_rows_of(c, first->in[0]), is_glu);
    const uint32_t out = behind ? behind->out : first->out;
    uint32_t y[3] = {0}, n_blocks = 0;
    struct tn_vk_ternary_params p = {.n_chunks = part->w[0].shape.n_units,
                                     .codes = x->at,
                                     .codes_stride = x->stride,
                                     .scales = x->scales,
                                     .sums = x->sums,
                                     .n_rows_0 = part->n_rows[0],
                                     .n_rows_1 = part->n_rows[1],
                                     .n_rows_2 = part->n_rows[2],
                                     .node_0 = tn_vk_poison_of(group->nodes[0]),
                                     .node_1 = tn_vk_poison_of(group->nodes[1]),
                                     .node_2 = tn_vk_poison_of(group->nodes[2]),
                                     .y_stride = c->values[out].stride,
                                     .logit_rows = tn_vk_rows_of(c, first->in[0]) == TN_ROWS_LOGITS ? c->step.logit_rows : 0};
    tn_vk_dispatch d = {.shader = form.shader, .nodes = {TN_NONE, TN_NONE, TN_NONE}};
    for (uint32_t i = 0; i < part->n; i++) {
        const tn_node *node = tn_vk_node_of(c, group->nodes[i]);
        d.nodes[i] = group->nodes[i];
        d.parts[i] = part->n_rows[i];
        d.work += tn_vk_work_of(c, first->in[0], part->n_rows[i]);
        if (c->graph->weights[node->weight].scale_kind == TN_SCALE_ROW) p.per_row |= 1u << i;
        y[i] = c->values[behind ? behind->out : node->out].at + part->first_row;
        if (!is_glu || i == 0) n_blocks += (part->n_rows[i] + form.rows_block - 1) / form.rows_block;
    }
    p.y_0 = y[0], p.y_1 = y[1], p.y_2 = y[2];
    const uint32_t constants[] = {form.invocations, form.cols, set_epilogue(c, group, part->first_row, &p), form.groups};
    d.n_constants = 4;
    memcpy(d.constants, constants, sizeof constants);
    if (group->row != TN_NONE) TN_TRY(fuse_row(c, group->row, &p, &d));
    TN_TRY(part->is_slice ? bind_slice(c, part, &p, &d) : bind_matrices(c, part, &p, &d));
    d.grid = tn_vk_grid_of(tn_vk_fixed(n_blocks), tn_vk_per_row(tn_vk_rows_of(c, first->in[0]), form.cols), tn_vk_fixed(1));
    if (c->rows_before) TN_TRY(be_one(c, group, part, &p, &d));
    TN_TRY(tn_vk_bind_out(c, out, &d));
    return tn_vk_emit(c, &d, &p, sizeof p);
}

// A matrix that is more than one binding holds stands alone in its group (src/backend/fuse.c) and is computed slice by slice.
tn_status tn_vk_emit_ternary(tn_vk_compiler *c, const tn_group *group)
{
    ternary_part part;
    uint32_t n_bound;
    TN_TRY(find_matrices(c, group, &part));
    const tn_vk_weight_shape *shape = &part.w[0].shape;
    if (part.n > 1 || shape->n_words * 4 <= c->device->limits.range_bytes) return emit_ternary_part(c, group, &part);
    TN_TRY(tn_vk_rows_bound(c, shape, &n_bound));
    part.is_slice = true;
    for (; part.first_row < shape->n_rows; part.first_row += n_bound) {
        part.n_rows[0] = shape->n_rows - part.first_row < n_bound ? shape->n_rows - part.first_row : n_bound;
        TN_TRY(emit_ternary_part(c, group, &part));
    }
    return TN_OK;
}
