// Launches of each kind of group.
#include "cuda/cuda_emit.h"

#include "cuda/cuda_few.h"

// Blocks that walk over n_units of work and fill the device twice, so that one block's tail is another's beginning.
static uint32_t walking_blocks(const tn_cuda_compiler *c, uint32_t n_units)
{
    return tn_cuda_at_most(n_units, 2 * c->device->traits.n_sms);
}

// ---- weights ----

tn_status tn_cuda_find_weight(const tn_cuda_compiler *c, uint32_t index, tn_cuda_weight *out)
{
    const tn_weight_source *source = &c->graph->weights[index];
    const tn_packed_weight *packed = &c->desc->weights[index];
    TN_TRY(tn_cuda_weight_shape_of(source, &out->shape));
    TN_TRY(tn_buffer_check(&c->device->base, packed->buffer, packed->offset_bytes, packed->layout.size_bytes, source->name));
    out->at = c->sizes_only ? 0 : tn_cuda_buffer_of(packed->buffer)->at + packed->offset_bytes;
    return TN_OK;
}

static struct tn_cuda_dense dense_of(const tn_cuda_weight *w)
{
    return (struct tn_cuda_dense){.at = w->at,
                                  .n_rows = w->shape.n_rows,
                                  .n_cols = w->shape.n_cols,
                                  .n_units = w->shape.n_units,
                                  .scales = w->shape.scales_bytes ? w->at + w->shape.scales_bytes : 0,
                                  .n_blocks = w->shape.n_blocks};
}

// ---- rows ----

static tn_status row_op_of(const tn_cuda_compiler *c, uint32_t index, struct tn_cuda_row_op *out)
{
    const tn_node *node = tn_cuda_node_of(c, index);
    const uint32_t n = c->graph->values[node->in[0]].width;
    *out = (struct tn_cuda_row_op){.op = node->op == TN_OP_NORM         ? TN_CUDA_ROW_NORM
                                         : node->op == TN_OP_NORM_QUANT ? TN_CUDA_ROW_NORM_QUANT
                                                                        : TN_CUDA_ROW_QUANT,
                                   .n = n,
                                   .recip_n = (float)(1.0 / n)};
    if (node->op == TN_OP_QUANT) return TN_OK;
    tn_cuda_weight w;
    TN_TRY(tn_cuda_find_weight(c, node->weight, &w));
    if (w.shape.layout != TN_CUDA_LAYOUT_F32) return tn_bad_desc("gains of a norm are no row of floats");
    out->gains = w.at;
    out->eps = node->p.norm.eps;
    return TN_OK;
}

tn_status tn_cuda_largest_of(tn_cuda_compiler *c, uint32_t value, struct tn_cuda_largest *out)
{
    *out = (struct tn_cuda_largest){0};
    for (uint32_t i = 0; i < c->groups.n_groups; i++) {
        const tn_group *group = &c->groups.groups[i];
        if (group->kind != TN_GROUP_TERNARY || group->before == TN_NONE || tn_cuda_node_of(c, group->before)->in[0] != value) continue;
        struct tn_cuda_row_op row;
        TN_TRY(row_op_of(c, group->before, &row));
        if (out->words && row.gains != out->gains) { // each finds its own
            *out = (struct tn_cuda_largest){0};
            return TN_OK;
        }
        out->words = c->largest + (uint64_t)c->n_largest * TN_CUDA_LARGEST_WORDS * 4;
        out->gains = row.gains;
    }
    c->values[value].largest = out->words;
    if (out->words) c->n_largest++;
    return TN_OK;
}

static tn_status emit_row(tn_cuda_compiler *c, uint32_t index)
{
    const tn_node *node = tn_cuda_node_of(c, index);
    struct tn_cuda_row_params p = {
        .step = c->step, .x = c->values[node->in[0]].rows, .poison = tn_cuda_poison_of(c, node->in[0]), .node = tn_cuda_number_of(index)};
    TN_TRY(row_op_of(c, index, &p.row));
    if (node->op == TN_OP_NORM)
        p.y = c->values[node->out].rows;
    else
        p.codes = c->values[node->out].codes;
    const uint32_t n_rows = tn_cuda_rows_max_of(c, node->in[0]), n_fit = 2 * c->device->traits.n_sms;
    tn_cuda_launch l = tn_cuda_launch_of(TN_CUDA_row, n_rows, 1, 1, index);
    p.n_teams = tn_cuda_row_many_teams(p.row.n);
    if (n_rows > TN_CUDA_MANY_TOKENS && node->op != TN_OP_NORM && p.n_teams != 0) {
        const uint32_t n_blocks = tn_cuda_ceil_div(n_rows, p.n_teams);
        l = tn_cuda_launch_of(TN_CUDA_row_many, n_blocks < n_fit ? n_blocks : n_fit, 1, 1, index);
    }
    return tn_cuda_emit(c, &l, &p, sizeof p);
}

// ---- embed ----

static tn_status emit_embed(tn_cuda_compiler *c, const tn_group *group)
{
    static const tn_cuda_kernel kernels[] = {
        [TN_CUDA_LAYOUT_F32] = TN_CUDA_embed_f32,   [TN_CUDA_LAYOUT_F16] = TN_CUDA_embed_f16,   [TN_CUDA_LAYOUT_BF16] = TN_CUDA_embed_bf16,
        [TN_CUDA_LAYOUT_Q8_0] = TN_CUDA_embed_q8_0, [TN_CUDA_LAYOUT_Q4_0] = TN_CUDA_embed_q4_0, [TN_CUDA_LAYOUT_Q6_K] = TN_CUDA_embed_q6_k};
    const tn_node *node = tn_cuda_node_of(c, group->nodes[0]);
    tn_cuda_weight w;
    TN_TRY(tn_cuda_find_weight(c, node->weight, &w));
    struct tn_cuda_embed_params p = {.step = c->step,
                                     .w = dense_of(&w),
                                     .y = c->values[node->out].rows,
                                     .poison = tn_cuda_poison_of(c, node->out),
                                     .node = tn_cuda_number_of(group->nodes[0])};
    if (group->row != TN_NONE) {
        TN_TRY(row_op_of(c, group->row, &p.behind));
        p.codes = c->values[tn_cuda_node_of(c, group->row)->out].codes;
    }
    const tn_cuda_launch l = tn_cuda_launch_of(kernels[w.shape.layout], tn_cuda_rows_max_of(c, node->out), 1, 1, group->nodes[0]);
    return tn_cuda_emit(c, &l, &p, sizeof p);
}

// ---- ternary ----

static uint32_t behind_of(const tn_node *behind)
{
    if (!behind) return TN_CUDA_BEHIND_NOTHING;
    if (behind->op == TN_OP_ADD) return TN_CUDA_BEHIND_ADD;
    return behind->p.glu.kind == TN_GLU_RELU2 ? TN_CUDA_BEHIND_RELU2 : TN_CUDA_BEHIND_SILU;
}

// The matrices of a group, and whose time each takes.
static tn_status fill_matrices(tn_cuda_compiler *c, const tn_group *group, struct tn_cuda_ternary_params *p, tn_cuda_launch *l)
{
    while (p->n_matrices < 3 && group->nodes[p->n_matrices] != TN_NONE) {
        const uint32_t i = p->n_matrices++, index = group->nodes[i];
        const tn_node *node = tn_cuda_node_of(c, index);
        tn_cuda_weight w;
        TN_TRY(tn_cuda_find_weight(c, node->weight, &w));
        p->n_cols = w.shape.n_cols;
        p->n_blocks = w.shape.n_blocks;
        p->matrices[i] =
            (struct tn_cuda_matrix){.w = w.at,
                                    .scales = w.at + w.shape.scales_bytes,
                                    .per_row = c->graph->weights[node->weight].scale_kind == TN_SCALE_ROW,
                                    .n_rows = w.shape.n_rows,
                                    .y = c->values[group->behind != TN_NONE ? tn_cuda_node_of(c, group->behind)->out : node->out].rows,
                                    .node = tn_cuda_number_of(index)};
        l->nodes[i] = index;
        l->parts[i] = w.shape.n_rows;
    }
    return TN_OK;
}

// Tiles of rows by tokens, and where there are too few of them for the device, of columns too.
static void choose_many(tn_cuda_compiler *c, struct tn_cuda_ternary_params *p, uint32_t n_rows, bool is_glu, tn_cuda_launch *l)
{
    enum { ALIGN_WORDS = 64 };
    l->kernel = c->device->traits.has_mma ? TN_CUDA_ternary_many_mma : TN_CUDA_ternary_many_dp4a;
    l->grid[0] = 0;
    for (uint32_t i = 0; i < (is_glu ? 1 : p->n_matrices); i++) l->grid[0] += tn_cuda_ternary_many_blocks(p->matrices[i].n_rows, p->behind);
    l->grid[1] = tn_cuda_ceil_div(n_rows, TN_CUDA_MANY_TOKENS);
    const uint64_t n_tiles = (uint64_t)l->grid[0] * l->grid[1];
    l->grid[2] = tn_cuda_ternary_many_parts(n_tiles, p->n_blocks, c->device->traits.n_sms);
    if (l->grid[2] == 1) return;
    const uint64_t at = (n_tiles + ALIGN_WORDS - 1) / ALIGN_WORDS * ALIGN_WORDS;
    p->partials = c->places->counters + at * 4;
    tn_cuda_need_counters(c, at + tn_cuda_ternary_many_partials(l->grid[0], l->grid[1]));
}

// The product of a group as ternary_few*_mma sees it.
static tn_status few_shape_of(const tn_cuda_compiler *c, const tn_group *group, tn_cuda_few_shape *out)
{
    const tn_node *behind = tn_cuda_node_of(c, group->behind);
    const bool is_glu = behind && behind->op == TN_OP_GLU;
    *out = (tn_cuda_few_shape){.n_tokens = tn_cuda_rows_max_of(c, tn_cuda_node_of(c, group->nodes[0])->in[0]),
                               .is_joined = group->row != TN_NONE && !is_glu};
    for (uint32_t i = 0; i < (is_glu ? 1 : 3) && group->nodes[i] != TN_NONE; i++) {
        tn_cuda_weight w;
        TN_TRY(tn_cuda_find_weight(c, tn_cuda_node_of(c, group->nodes[i])->weight, &w));
        out->n_blocks = w.shape.n_blocks;
        out->n_rows += w.shape.n_rows;
        out->n_groups += tn_cuda_ternary_few_groups(w.shape.n_rows, behind_of(behind));
    }
    return TN_OK;
}

// On tensor cores. Rows of codes of the output are made by a kernel of its own, which of one product that is no GLU takes sums as they are:
// of parts of the columns, where these keep the device busier.
static tn_status emit_few(tn_cuda_compiler *c, const tn_group *group, struct tn_cuda_ternary_params *p, tn_cuda_launch *l, uint32_t time)
{
    tn_cuda_few_shape shape;
    TN_TRY(few_shape_of(c, group, &shape));
    const tn_cuda_few_plan plan = tn_cuda_plan_few(c->device, &shape);
    p->log2_split = plan.log2_split;
    p->n_ahead = plan.n_ahead;
    p->n_parts = plan.n_parts;
    p->part_blocks = tn_cuda_ceil_div(shape.n_blocks, plan.n_parts);
    if (shape.is_joined) p->partials = c->places->arena + tn_group_scratch_at(&c->groups, time) * 4;
    l->kernel = plan.kernel;
    l->grid[0] = tn_cuda_ternary_few_blocks(shape.n_groups, plan.log2_split);
    l->grid[2] = plan.n_parts;
    l->shared_bytes = plan.shared_bytes;
    TN_TRY(tn_cuda_emit(c, l, p, sizeof *p));
    if (group->row == TN_NONE) return TN_OK;
    if (!shape.is_joined) return emit_row(c, group->row);
    const tn_cuda_launch join = tn_cuda_launch_of(TN_CUDA_ternary_join, shape.n_tokens, 1, 1, group->row);
    return tn_cuda_emit(c, &join, p, sizeof *p);
}

static void choose_wide(const struct tn_cuda_ternary_params *p, uint32_t n_rows, bool is_glu, tn_cuda_launch *l)
{
    l->kernel = TN_CUDA_ternary_many_wgmma;
    l->grid[0] = 0;
    for (uint32_t i = 0; i < (is_glu ? 1 : p->n_matrices); i++)
        l->grid[0] += tn_cuda_ternary_wgmma_blocks(p->matrices[i].n_rows, p->behind);
    l->grid[1] = tn_cuda_ceil_div(n_rows, TN_CUDA_WGMMA_TOKENS);
    l->shared_bytes = TN_CUDA_WGMMA_SHARED_BYTES;
}

// A block a multiprocessor, each with its share of the row tiles.
static void choose_one(const tn_cuda_compiler *c, struct tn_cuda_ternary_params *p, uint32_t n_tiles, bool is_glu, tn_cuda_launch *l)
{
    if (c->device->traits.has_bmma)
        l->kernel = is_glu ? TN_CUDA_ternary_one_glu_bmma : TN_CUDA_ternary_one_bmma;
    else
        l->kernel = is_glu ? TN_CUDA_ternary_one_glu_dp4a : TN_CUDA_ternary_one_dp4a;
    l->grid[0] = tn_cuda_ternary_one_grid(n_tiles, c->device->traits.n_sms);
    p->n_each = n_tiles / l->grid[0];
    p->n_rest = n_tiles % l->grid[0];
    const uint32_t n_parts = (p->n_each + (p->n_rest > 0)) * (is_glu ? 2 : 1);
    p->round_blocks = tn_cuda_ternary_one_round(n_parts, p->n_blocks, c->device->traits.shared_bytes);
    p->n_rounds = tn_cuda_ceil_div(p->n_blocks, p->round_blocks);
    p->by_blocks = tn_cuda_ternary_one_by_blocks(p->round_blocks);
    p->piece_blocks = tn_cuda_ternary_one_piece(p->n_blocks);
    p->n_pieces = tn_cuda_ceil_div(p->n_blocks, p->piece_blocks);
    l->shared_bytes = (uint32_t)tn_cuda_ternary_one_shared_bytes(p->n_blocks, tn_cuda_at_most(p->n_rounds, 2), n_parts, p->round_blocks);
}

// Kernel and grid, by how many rows the input has at most.
static void choose_ternary(tn_cuda_compiler *c, struct tn_cuda_ternary_params *p, uint32_t n_rows, tn_cuda_launch *l)
{
    const bool is_glu = p->behind == TN_CUDA_BEHIND_RELU2 || p->behind == TN_CUDA_BEHIND_SILU;
    uint32_t n_tiles = 0;
    if (c->is_wide) {
        choose_wide(p, n_rows, is_glu, l);
        return;
    }
    if (n_rows > TN_CUDA_FEW_TOKENS) {
        choose_many(c, p, n_rows, is_glu, l);
        return;
    }
    for (uint32_t i = 0; i < (is_glu ? 1 : p->n_matrices); i++) n_tiles += tn_cuda_row_tiles(p->matrices[i].n_rows);
    if (c->is_one) {
        choose_one(c, p, n_tiles, is_glu, l);
        return;
    }
    l->kernel = TN_CUDA_ternary_few_dp4a;
    l->grid[0] = walking_blocks(c, n_tiles);
    p->log2_split = tn_cuda_ternary_log2_split(n_tiles, p->n_blocks, l->grid[0]);
}

static tn_status emit_ternary(tn_cuda_compiler *c, const tn_group *group, uint32_t time)
{
    const tn_node *behind = tn_cuda_node_of(c, group->behind), *first = tn_cuda_node_of(c, group->nodes[0]);
    const uint32_t input = first->in[0], n_rows = tn_cuda_rows_max_of(c, input);
    struct tn_cuda_ternary_params p = {.step = c->step,
                                       .behind = behind_of(behind),
                                       .behind_node = tn_cuda_number_of(group->behind),
                                       .poison = tn_cuda_poison_of(c, input),
                                       .counter = c->places->counters};
    tn_cuda_launch l = tn_cuda_launch_of(TN_CUDA_N_KERNELS, 0, 1, 1, group->nodes[0]); // which is chosen below
    TN_TRY(fill_matrices(c, group, &p, &l));
    if (behind && behind->op == TN_OP_ADD) p.add = c->values[behind->in[0] == first->out ? behind->in[1] : behind->in[0]].rows;
    if (group->before != TN_NONE) {
        TN_TRY(row_op_of(c, group->before, &p.before));
        p.x = c->values[tn_cuda_node_of(c, group->before)->in[0]].rows;
        p.x_largest = c->values[tn_cuda_node_of(c, group->before)->in[0]].largest;
    } else {
        p.codes = c->values[input].codes;
    }
    if (group->row != TN_NONE) {
        TN_TRY(row_op_of(c, group->row, &p.row));
        p.row_codes = c->values[tn_cuda_node_of(c, group->row)->out].codes;
        tn_cuda_need_counters(c, 1);
    }
    if (c->is_one && (behind || group->nodes[1] == TN_NONE)) TN_TRY(tn_cuda_largest_of(c, behind ? behind->out : first->out, &p.next));
    if (c->is_few_mma) return emit_few(c, group, &p, &l, time);
    choose_ternary(c, &p, n_rows, &l);
    return tn_cuda_emit(c, &l, &p, sizeof p);
}

// ---- dense ----

// How the inputs of a quantised dense type lie in the group's own memory; all 0 for types of floats.
typedef struct group_codes {
    uint32_t group, sum_group;
    uint32_t codes_stride, scales_stride, sums_stride; // elements
    uint64_t scales, sums, n_bytes;                    // bytes from the codes' start
} group_codes;

static group_codes group_codes_of(const tn_cuda_compiler *c, const tn_node *node, tn_cuda_layout layout)
{
    group_codes g = {0};
    if (layout != TN_CUDA_LAYOUT_Q8_0 && layout != TN_CUDA_LAYOUT_Q4_0 && layout != TN_CUDA_LAYOUT_Q6_K) return g;
    const uint64_t rows = tn_cuda_rows_max_of(c, node->in[0]);
    g.group = layout == TN_CUDA_LAYOUT_Q6_K ? 256 : 32;
    g.sum_group = layout == TN_CUDA_LAYOUT_Q6_K ? 16 : 32;
    g.codes_stride = (c->graph->values[node->in[0]].width + 255u) & ~255u;
    g.scales_stride = g.codes_stride / g.group;
    g.sums_stride = g.codes_stride / g.sum_group;
    g.scales = rows * g.codes_stride;
    g.sums = g.scales + ((rows * g.scales_stride * 4 + 15) & ~(uint64_t)15); // read in units of 16 bytes, as the codes are
    g.n_bytes = (g.sums + rows * g.sums_stride * 4 + 15) & ~(uint64_t)15;
    return g;
}

static tn_status emit_quant_group(tn_cuda_compiler *c, uint32_t index, const group_codes *g, uint64_t at)
{
    const tn_node *node = tn_cuda_node_of(c, index);
    const struct tn_cuda_group_params p = {.step = c->step,
                                           .x = c->values[node->in[0]].rows,
                                           .n = c->graph->values[node->in[0]].width,
                                           .is_logits = tn_cuda_rows_of(c, node->in[0]) == TN_ROWS_LOGITS,
                                           .group = g->group,
                                           .sum_group = g->sum_group,
                                           .codes = at,
                                           .scales = at + g->scales,
                                           .sums = at + g->sums,
                                           .codes_stride = g->codes_stride,
                                           .scales_stride = g->scales_stride,
                                           .sums_stride = g->sums_stride};
    const tn_cuda_launch l = tn_cuda_launch_of(TN_CUDA_quant_group, tn_cuda_rows_max_of(c, node->in[0]), 1, 1, index);
    return tn_cuda_emit(c, &l, &p, sizeof p);
}

// Kernel and grid of a product of at most n_rows rows.
static tn_cuda_launch choose_dense(const tn_cuda_compiler *c, const tn_cuda_weight *w, uint32_t n_rows, uint32_t index)
{
    static const tn_cuda_kernel kernels[] = {
        [TN_CUDA_LAYOUT_F32] = TN_CUDA_dense_f32,   [TN_CUDA_LAYOUT_F16] = TN_CUDA_dense_f16,   [TN_CUDA_LAYOUT_BF16] = TN_CUDA_dense_bf16,
        [TN_CUDA_LAYOUT_Q8_0] = TN_CUDA_dense_q8_0, [TN_CUDA_LAYOUT_Q4_0] = TN_CUDA_dense_q4_0, [TN_CUDA_LAYOUT_Q6_K] = TN_CUDA_dense_q6_k};
    static const tn_cuda_kernel tensor_kernels[] = {[TN_CUDA_LAYOUT_Q8_0] = TN_CUDA_dense_q8_0_mma,
                                                    [TN_CUDA_LAYOUT_Q4_0] = TN_CUDA_dense_q4_0_mma,
                                                    [TN_CUDA_LAYOUT_Q6_K] = TN_CUDA_dense_q6_k_mma,
                                                    [TN_CUDA_LAYOUT_F16] = TN_CUDA_dense_f16_fast_mma,
                                                    [TN_CUDA_LAYOUT_BF16] = TN_CUDA_dense_bf16_fast_mma};
    static const tn_cuda_kernel fast_kernels[] = {[TN_CUDA_LAYOUT_F32] = TN_CUDA_dense_f32_fast,
                                                  [TN_CUDA_LAYOUT_F16] = TN_CUDA_dense_f16_fast,
                                                  [TN_CUDA_LAYOUT_BF16] = TN_CUDA_dense_bf16_fast};
    const tn_cuda_layout layout = w->shape.layout;
    const bool is_quantised = layout == TN_CUDA_LAYOUT_Q8_0 || layout == TN_CUDA_LAYOUT_Q4_0 || layout == TN_CUDA_LAYOUT_Q6_K;
    const bool is_fast = c->desc->is_fast && !is_quantised && c->graph->nodes[index].layer == TN_LAYER_HEAD;
    const bool has_tensor = c->device->traits.has_mma && n_rows > TN_CUDA_DENSE_TOKENS && (is_quantised || layout != TN_CUDA_LAYOUT_F32);
    if (has_tensor && (is_quantised || is_fast)) {
        const uint32_t rows = is_quantised ? TN_CUDA_DENSE_MMA_ROWS : TN_CUDA_DENSE_FAST_ROWS;
        const uint32_t tokens = is_quantised ? TN_CUDA_DENSE_MMA_TOKENS : TN_CUDA_DENSE_FAST_TOKENS;
        return tn_cuda_launch_of(tensor_kernels[layout], tn_cuda_ceil_div(w->shape.n_rows, rows), tn_cuda_ceil_div(n_rows, tokens), 1,
                                 index);
    }
    const uint32_t rows = is_quantised ? TN_CUDA_DENSE_CODE_ROWS : TN_CUDA_DENSE_FLOAT_ROWS;
    return tn_cuda_launch_of((is_fast ? fast_kernels : kernels)[layout], tn_cuda_ceil_div(w->shape.n_rows, rows),
                             tn_cuda_at_most(tn_cuda_ceil_div(n_rows, TN_CUDA_DENSE_TOKENS), TN_CUDA_DENSE_GRID_Y), 1, index);
}

static tn_status emit_dense(tn_cuda_compiler *c, const tn_group *group, uint32_t time)
{
    const tn_node *node = tn_cuda_node_of(c, group->nodes[0]);
    tn_cuda_weight w;
    TN_TRY(tn_cuda_find_weight(c, node->weight, &w));
    const group_codes g = group_codes_of(c, node, w.shape.layout);
    struct tn_cuda_dense_params p = {.step = c->step,
                                     .w = dense_of(&w),
                                     .x = c->values[node->in[0]].rows,
                                     .y = c->values[node->out].rows,
                                     .poison = tn_cuda_poison_of(c, node->in[0]),
                                     .node = tn_cuda_number_of(group->nodes[0])};
    if (g.n_bytes) {
        const uint64_t at = c->places->arena + tn_group_scratch_at(&c->groups, time) * 4;
        TN_TRY(emit_quant_group(c, group->nodes[0], &g, at));
        p.codes = at;
        p.scales = at + g.scales;
        p.sums = at + g.sums;
        p.codes_stride = g.codes_stride;
        p.scales_stride = g.scales_stride;
        p.sums_stride = g.sums_stride;
    }
    const tn_cuda_launch l = choose_dense(c, &w, tn_cuda_rows_max_of(c, node->in[0]), group->nodes[0]);
    return tn_cuda_emit(c, &l, &p, sizeof p);
}

// ---- the rest ----

static tn_status emit_element(tn_cuda_compiler *c, const tn_group *group)
{
    const tn_node *node = tn_cuda_node_of(c, group->nodes[0]);
    const uint32_t n = c->graph->values[node->out].width;
    const struct tn_cuda_element_params p = {.step = c->step,
                                             .n = n,
                                             .op = behind_of(node),
                                             .a = c->values[node->in[0]].rows,
                                             .b = c->values[node->in[1]].rows,
                                             .y = c->values[node->out].rows,
                                             .poison = tn_cuda_poison_of(c, node->in[0]),
                                             .node = tn_cuda_number_of(group->nodes[0])};
    const tn_cuda_launch l =
        tn_cuda_launch_of(TN_CUDA_element, tn_cuda_rows_max_of(c, node->out), tn_cuda_ceil_div(n, TN_CUDA_ELEMENTS), 1, group->nodes[0]);
    return tn_cuda_emit(c, &l, &p, sizeof p);
}

static tn_status emit_copy(tn_cuda_compiler *c, const tn_group *group)
{
    const tn_node *node = tn_cuda_node_of(c, group->nodes[0]);
    const uint32_t n = c->graph->values[node->out].width, n_rows = tn_cuda_rows_max_of(c, node->out);
    const struct tn_cuda_copy_params p = {.step = c->step,
                                          .n = n,
                                          .x = c->values[node->in[0]].rows,
                                          .y = c->values[node->out].rows,
                                          .is_logits = tn_cuda_rows_of(c, node->out) == TN_ROWS_LOGITS,
                                          .by_logits = tn_cuda_rows_of(c, node->in[0]) == TN_ROWS_TOKENS &&
                                                       tn_cuda_rows_of(c, node->out) == TN_ROWS_LOGITS};
    const tn_cuda_launch l = tn_cuda_launch_of(TN_CUDA_copy_rows, n_rows, tn_cuda_ceil_div(n, TN_CUDA_ELEMENTS), 1, group->nodes[0]);
    return tn_cuda_emit(c, &l, &p, sizeof p);
}

tn_status tn_cuda_group_scratch(const tn_cuda_compiler *c, const tn_group *group, uint64_t *out_bytes)
{
    *out_bytes = 0;
    const tn_node *node = tn_cuda_node_of(c, group->nodes[0]);
    if (group->kind == TN_GROUP_ATTENTION) *out_bytes = tn_cuda_attention_scratch(c, node);
    if (group->kind == TN_GROUP_TERNARY && c->is_few_mma) {
        tn_cuda_few_shape shape;
        TN_TRY(few_shape_of(c, group, &shape));
        *out_bytes = tn_cuda_plan_few(c->device, &shape).partials_bytes;
    }
    if (group->kind != TN_GROUP_DENSE) return TN_OK;
    tn_cuda_weight w;
    TN_TRY(tn_cuda_find_weight(c, node->weight, &w));
    *out_bytes = group_codes_of(c, node, w.shape.layout).n_bytes;
    return TN_OK;
}

tn_status tn_cuda_emit_group(tn_cuda_compiler *c, const tn_group *group, uint32_t time)
{
    switch (group->kind) {
    case TN_GROUP_EMBED: return emit_embed(c, group);
    case TN_GROUP_ROW: return emit_row(c, group->nodes[0]);
    case TN_GROUP_TERNARY: return emit_ternary(c, group, time);
    case TN_GROUP_DENSE: return emit_dense(c, group, time);
    case TN_GROUP_ROPE: return tn_cuda_emit_rope(c, group);
    case TN_GROUP_ATTENTION: return tn_cuda_emit_attention(c, group, time);
    case TN_GROUP_ELEMENT: return emit_element(c, group);
    case TN_GROUP_COPY: return emit_copy(c, group);
    }
    return TN_OK;
}
