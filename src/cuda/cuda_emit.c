// Launches of each kind of group.
#include "cuda/cuda_compile.h"
#include "cuda/cuda_few.h"
#include "ref/ref.h"

#include <string.h>

static const tn_node *node_of(const tn_cuda_compiler *c, uint32_t index) { return index == TN_NONE ? NULL : &c->graph->nodes[index]; }
static tn_rows rows_of(const tn_cuda_compiler *c, uint32_t value) { return c->graph->values[value].rows; }
static uint32_t rows_max_of(const tn_cuda_compiler *c, uint32_t value) { return tn_cuda_rows_max(c->list, rows_of(c, value)); }
static uint32_t ceil_div(uint32_t a, uint32_t b) { return a / b + (a % b != 0); }
static uint32_t at_most(uint32_t a, uint32_t b) { return a < b ? a : b; }

static struct tn_cuda_poison poison_of(const tn_cuda_compiler *c, uint32_t value)
{
    return (struct tn_cuda_poison){.of_tokens = c->places->poison, .is_logits = rows_of(c, value) == TN_ROWS_LOGITS};
}
// Nodes are numbered from 1 in the poison.
static uint32_t number_of(uint32_t node) { return node == TN_NONE ? 0 : node + 1; }

static tn_cuda_launch launch_of(tn_cuda_kernel kernel, uint32_t x, uint32_t y, uint32_t z, uint32_t node)
{
    return (tn_cuda_launch){.kernel = kernel, .grid = {x, y, z}, .nodes = {node, TN_NONE, TN_NONE}, .parts = {1}};
}

// Blocks that walk over n_units of work and fill the device twice, so that one block's tail is another's beginning.
static uint32_t walking_blocks(const tn_cuda_compiler *c, uint32_t n_units) { return at_most(n_units, 2 * c->device->traits.n_sms); }

// ---- weights ----

typedef struct weight {
    uint64_t at;
    tn_cuda_weight_shape shape;
} weight;

static tn_status find_weight(const tn_cuda_compiler *c, uint32_t index, weight *out)
{
    const tn_weight_source *source = &c->graph->weights[index];
    const tn_packed_weight *packed = &c->desc->weights[index];
    TN_TRY(tn_cuda_weight_shape_of(source, &out->shape));
    TN_TRY(tn_buffer_check(&c->device->base, packed->buffer, packed->offset_bytes, packed->layout.size_bytes, source->name));
    out->at = c->sizes_only ? 0 : tn_cuda_buffer_of(packed->buffer)->at + packed->offset_bytes;
    return TN_OK;
}

static struct tn_cuda_dense dense_of(const weight *w)
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
    const tn_node *node = node_of(c, index);
    const uint32_t n = c->graph->values[node->in[0]].width;
    *out = (struct tn_cuda_row_op){.op = node->op == TN_OP_NORM         ? TN_CUDA_ROW_NORM
                                         : node->op == TN_OP_NORM_QUANT ? TN_CUDA_ROW_NORM_QUANT
                                                                        : TN_CUDA_ROW_QUANT,
                                   .n = n,
                                   .recip_n = (float)(1.0 / n)};
    if (node->op == TN_OP_QUANT) return TN_OK;
    weight w;
    TN_TRY(find_weight(c, node->weight, &w));
    if (w.shape.layout != TN_CUDA_LAYOUT_F32) return tn_bad_desc("gains of a norm are no row of floats");
    out->gains = w.at;
    out->eps = node->p.norm.eps;
    return TN_OK;
}

// For whoever stores a value of one row: where its largest |x * gain| is left, if a kernel behind makes codes of it.
static tn_status largest_of(tn_cuda_compiler *c, uint32_t value, struct tn_cuda_largest *out)
{
    *out = (struct tn_cuda_largest){0};
    for (uint32_t i = 0; i < c->groups.n_groups; i++) {
        const tn_group *group = &c->groups.groups[i];
        if (group->kind != TN_GROUP_TERNARY || group->before == TN_NONE || node_of(c, group->before)->in[0] != value) continue;
        struct tn_cuda_row_op row;
        TN_TRY(row_op_of(c, group->before, &row));
        out->words = c->values[value].largest = c->largest + (uint64_t)c->n_largest++ * TN_CUDA_LARGEST_WORDS * 4;
        out->gains = row.gains;
        return TN_OK;
    }
    return TN_OK;
}

static tn_status emit_row(tn_cuda_compiler *c, uint32_t index)
{
    const tn_node *node = node_of(c, index);
    struct tn_cuda_row_params p = {
        .step = c->step, .x = c->values[node->in[0]].rows, .poison = poison_of(c, node->in[0]), .node = number_of(index)};
    TN_TRY(row_op_of(c, index, &p.row));
    if (node->op == TN_OP_NORM)
        p.y = c->values[node->out].rows;
    else
        p.codes = c->values[node->out].codes;
    const uint32_t n_rows = rows_max_of(c, node->in[0]), n_fit = 2 * c->device->traits.n_sms;
    tn_cuda_launch l = launch_of(TN_CUDA_row, n_rows, 1, 1, index);
    p.n_teams = tn_cuda_row_many_teams(p.row.n);
    if (n_rows > TN_CUDA_MANY_TOKENS && node->op != TN_OP_NORM && p.n_teams != 0) {
        const uint32_t n_blocks = ceil_div(n_rows, p.n_teams);
        l = launch_of(TN_CUDA_row_many, n_blocks < n_fit ? n_blocks : n_fit, 1, 1, index);
    }
    return tn_cuda_emit(c, &l, &p, sizeof p);
}

// ---- embed ----

static tn_status emit_embed(tn_cuda_compiler *c, const tn_group *group)
{
    static const tn_cuda_kernel kernels[] = {
        [TN_CUDA_LAYOUT_F32] = TN_CUDA_embed_f32,   [TN_CUDA_LAYOUT_F16] = TN_CUDA_embed_f16,   [TN_CUDA_LAYOUT_BF16] = TN_CUDA_embed_bf16,
        [TN_CUDA_LAYOUT_Q8_0] = TN_CUDA_embed_q8_0, [TN_CUDA_LAYOUT_Q4_0] = TN_CUDA_embed_q4_0, [TN_CUDA_LAYOUT_Q6_K] = TN_CUDA_embed_q6_k};
    const tn_node *node = node_of(c, group->nodes[0]);
    weight w;
    TN_TRY(find_weight(c, node->weight, &w));
    struct tn_cuda_embed_params p = {.step = c->step,
                                     .w = dense_of(&w),
                                     .y = c->values[node->out].rows,
                                     .poison = poison_of(c, node->out),
                                     .node = number_of(group->nodes[0])};
    if (group->row != TN_NONE) {
        TN_TRY(row_op_of(c, group->row, &p.behind));
        p.codes = c->values[node_of(c, group->row)->out].codes;
    }
    const tn_cuda_launch l = launch_of(kernels[w.shape.layout], rows_max_of(c, node->out), 1, 1, group->nodes[0]);
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
        const tn_node *node = node_of(c, index);
        weight w;
        TN_TRY(find_weight(c, node->weight, &w));
        p->n_cols = w.shape.n_cols;
        p->n_blocks = w.shape.n_blocks;
        p->matrices[i] = (struct tn_cuda_matrix){.w = w.at,
                                                 .scales = w.at + w.shape.scales_bytes,
                                                 .per_row = c->graph->weights[node->weight].scale_kind == TN_SCALE_ROW,
                                                 .n_rows = w.shape.n_rows,
                                                 .y = c->values[group->behind != TN_NONE ? node_of(c, group->behind)->out : node->out].rows,
                                                 .node = number_of(index)};
        l->nodes[i] = index;
        l->parts[i] = w.shape.n_rows;
    }
    return TN_OK;
}

// Words that kernels find at 0 and leave at 0, so that all of them share the same.
static void need_counters(tn_cuda_compiler *c, uint64_t n)
{
    if (c->list->n_counters < n) c->list->n_counters = n;
}

// Tiles of rows by tokens, and where there are too few of them for the device, of columns too.
static void choose_many(tn_cuda_compiler *c, struct tn_cuda_ternary_params *p, uint32_t n_rows, bool is_glu, tn_cuda_launch *l)
{
    enum { ALIGN_WORDS = 64 };
    l->kernel = c->device->traits.has_mma ? TN_CUDA_ternary_many_mma : TN_CUDA_ternary_many_dp4a;
    l->grid[0] = 0;
    for (uint32_t i = 0; i < (is_glu ? 1 : p->n_matrices); i++) l->grid[0] += tn_cuda_ternary_many_blocks(p->matrices[i].n_rows, p->behind);
    l->grid[1] = ceil_div(n_rows, TN_CUDA_MANY_TOKENS);
    const uint64_t n_tiles = (uint64_t)l->grid[0] * l->grid[1];
    l->grid[2] = tn_cuda_ternary_many_parts(n_tiles, p->n_blocks, c->device->traits.n_sms);
    if (l->grid[2] == 1) return;
    const uint64_t at = (n_tiles + ALIGN_WORDS - 1) / ALIGN_WORDS * ALIGN_WORDS;
    p->partials = c->places->counters + at * 4;
    need_counters(c, at + tn_cuda_ternary_many_partials(l->grid[0], l->grid[1]));
}

// The product of a group as ternary_few*_mma sees it.
static tn_status few_shape_of(const tn_cuda_compiler *c, const tn_group *group, tn_cuda_few_shape *out)
{
    const tn_node *behind = node_of(c, group->behind);
    const bool is_glu = behind && behind->op == TN_OP_GLU;
    *out =
        (tn_cuda_few_shape){.n_tokens = rows_max_of(c, node_of(c, group->nodes[0])->in[0]), .is_joined = group->row != TN_NONE && !is_glu};
    for (uint32_t i = 0; i < (is_glu ? 1 : 3) && group->nodes[i] != TN_NONE; i++) {
        weight w;
        TN_TRY(find_weight(c, node_of(c, group->nodes[i])->weight, &w));
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
    p->part_blocks = ceil_div(shape.n_blocks, plan.n_parts);
    if (shape.is_joined) p->partials = c->places->arena + tn_group_scratch_at(&c->groups, time) * 4;
    l->kernel = plan.kernel;
    l->grid[0] = tn_cuda_ternary_few_blocks(shape.n_groups, plan.log2_split);
    l->grid[2] = plan.n_parts;
    l->shared_bytes = plan.shared_bytes;
    TN_TRY(tn_cuda_emit(c, l, p, sizeof *p));
    if (group->row == TN_NONE) return TN_OK;
    if (!shape.is_joined) return emit_row(c, group->row);
    const tn_cuda_launch join = launch_of(TN_CUDA_ternary_join, shape.n_tokens, 1, 1, group->row);
    return tn_cuda_emit(c, &join, p, sizeof *p);
}

static void choose_wide(const struct tn_cuda_ternary_params *p, uint32_t n_rows, bool is_glu, tn_cuda_launch *l)
{
    l->kernel = TN_CUDA_ternary_many_wgmma;
    l->grid[0] = 0;
    for (uint32_t i = 0; i < (is_glu ? 1 : p->n_matrices); i++)
        l->grid[0] += tn_cuda_ternary_wgmma_blocks(p->matrices[i].n_rows, p->behind);
    l->grid[1] = ceil_div(n_rows, TN_CUDA_WGMMA_TOKENS);
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
    p->n_rounds = ceil_div(p->n_blocks, p->round_blocks);
    p->by_blocks = tn_cuda_ternary_one_by_blocks(p->round_blocks);
    p->piece_blocks = tn_cuda_ternary_one_piece(p->n_blocks);
    p->n_pieces = ceil_div(p->n_blocks, p->piece_blocks);
    l->shared_bytes = (uint32_t)tn_cuda_ternary_one_shared_bytes(p->n_blocks, at_most(p->n_rounds, 2), n_parts, p->round_blocks);
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
    const tn_node *behind = node_of(c, group->behind), *first = node_of(c, group->nodes[0]);
    const uint32_t input = first->in[0], n_rows = rows_max_of(c, input);
    struct tn_cuda_ternary_params p = {.step = c->step,
                                       .behind = behind_of(behind),
                                       .behind_node = number_of(group->behind),
                                       .poison = poison_of(c, input),
                                       .counter = c->places->counters};
    tn_cuda_launch l = launch_of(TN_CUDA_N_KERNELS, 0, 1, 1, group->nodes[0]); // which is chosen below
    TN_TRY(fill_matrices(c, group, &p, &l));
    if (behind && behind->op == TN_OP_ADD) p.add = c->values[behind->in[0] == first->out ? behind->in[1] : behind->in[0]].rows;
    if (group->before != TN_NONE) {
        TN_TRY(row_op_of(c, group->before, &p.before));
        p.x = c->values[node_of(c, group->before)->in[0]].rows;
        p.x_largest = c->values[node_of(c, group->before)->in[0]].largest;
    } else {
        p.codes = c->values[input].codes;
    }
    if (group->row != TN_NONE) {
        TN_TRY(row_op_of(c, group->row, &p.row));
        p.row_codes = c->values[node_of(c, group->row)->out].codes;
        need_counters(c, 1);
    }
    if (c->is_one && (behind || group->nodes[1] == TN_NONE)) TN_TRY(largest_of(c, behind ? behind->out : first->out, &p.next));
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
    const uint64_t rows = rows_max_of(c, node->in[0]);
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
    const tn_node *node = node_of(c, index);
    const struct tn_cuda_group_params p = {.step = c->step,
                                           .x = c->values[node->in[0]].rows,
                                           .n = c->graph->values[node->in[0]].width,
                                           .is_logits = rows_of(c, node->in[0]) == TN_ROWS_LOGITS,
                                           .group = g->group,
                                           .sum_group = g->sum_group,
                                           .codes = at,
                                           .scales = at + g->scales,
                                           .sums = at + g->sums,
                                           .codes_stride = g->codes_stride,
                                           .scales_stride = g->scales_stride,
                                           .sums_stride = g->sums_stride};
    const tn_cuda_launch l = launch_of(TN_CUDA_quant_group, rows_max_of(c, node->in[0]), 1, 1, index);
    return tn_cuda_emit(c, &l, &p, sizeof p);
}

// Kernel and grid of a product of at most n_rows rows.
static tn_cuda_launch choose_dense(const tn_cuda_compiler *c, const weight *w, uint32_t n_rows, uint32_t index)
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
        return launch_of(tensor_kernels[layout], ceil_div(w->shape.n_rows, rows), ceil_div(n_rows, tokens), 1, index);
    }
    const uint32_t rows = is_quantised ? TN_CUDA_DENSE_CODE_ROWS : TN_CUDA_DENSE_FLOAT_ROWS;
    return launch_of((is_fast ? fast_kernels : kernels)[layout], ceil_div(w->shape.n_rows, rows),
                     at_most(ceil_div(n_rows, TN_CUDA_DENSE_TOKENS), TN_CUDA_DENSE_GRID_Y), 1, index);
}

static tn_status emit_dense(tn_cuda_compiler *c, const tn_group *group, uint32_t time)
{
    const tn_node *node = node_of(c, group->nodes[0]);
    weight w;
    TN_TRY(find_weight(c, node->weight, &w));
    const group_codes g = group_codes_of(c, node, w.shape.layout);
    struct tn_cuda_dense_params p = {.step = c->step,
                                     .w = dense_of(&w),
                                     .x = c->values[node->in[0]].rows,
                                     .y = c->values[node->out].rows,
                                     .poison = poison_of(c, node->in[0]),
                                     .node = number_of(group->nodes[0])};
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
    const tn_cuda_launch l = choose_dense(c, &w, rows_max_of(c, node->in[0]), group->nodes[0]);
    return tn_cuda_emit(c, &l, &p, sizeof p);
}

// ---- RoPE, append, attention ----

static struct tn_cuda_kv kv_of(const tn_cuda_compiler *c, int32_t layer)
{
    const uint64_t page = tn_kv_page_layer_bytes(c->graph->n_kv_heads, c->graph->head_dim);
    const uint64_t n_before = (uint64_t)(uint32_t)(layer - c->desc->first_layer) * c->desc->limits.n_kv_pages;
    return (struct tn_cuda_kv){
        .at = tn_cuda_buffer_of(c->desc->kv)->at + n_before * page, .page_bytes = page, .n_pages = c->desc->limits.n_kv_pages};
}

// Of the nodes q, k and append, any of them TN_NONE.
static tn_status rope_of(const tn_cuda_compiler *c, const uint32_t nodes[3], struct tn_cuda_rope *out)
{
    const tn_node *q = node_of(c, nodes[0]), *k = node_of(c, nodes[1]), *append = node_of(c, nodes[2]), *turned = q ? q : k;
    const uint32_t head_dim = turned ? turned->p.rope.head_dim : append->p.attention.head_dim, a_qk = (uint32_t)tn_kv_a_qk(head_dim);
    *out = (struct tn_cuda_rope){.head_dim = head_dim, .a_qk = a_qk, .recip_a_qk = (float)(1.0 / a_qk)};
    if (turned) {
        weight table;
        TN_TRY(find_weight(c, turned->weight, &table));
        out->table = table.at;
        out->is_adjacent = turned->p.rope.pairs == TN_ROPE_ADJACENT;
    }
    if (q) {
        out->n_q = q->p.rope.n_heads;
        out->q = c->values[q->in[0]].rows;
        out->q_node = number_of(nodes[0]);
    }
    if (append) {
        out->n_kv = append->p.attention.n_kv_heads;
        out->k = c->values[k ? k->in[0] : append->in[0]].rows;
        out->v = c->values[append->in[1]].rows;
        out->k_node = number_of(nodes[1]); // 0: keys are appended as they are
    }
    return TN_OK;
}

static tn_status emit_rope(tn_cuda_compiler *c, const tn_group *group)
{
    const tn_node *q = node_of(c, group->nodes[0]), *k = node_of(c, group->nodes[1]), *append = node_of(c, group->nodes[2]);
    const uint32_t first = q ? group->nodes[0] : k ? group->nodes[1] : group->nodes[2], input = node_of(c, first)->in[0];
    struct tn_cuda_rope_params p = {.step = c->step, .poison = poison_of(c, input)};
    TN_TRY(rope_of(c, group->nodes, &p.rope));
    if (q) p.qy = c->values[q->out].rows;
    if (append) p.kv = kv_of(c, append->layer);
    const uint32_t n_rows = rows_max_of(c, input);
    const bool is_of_submit = (q && (!p.rope.q.at || !p.qy.at)) || (append && (!p.rope.k.at || !p.rope.v.at));
    const bool is_many = n_rows > TN_CUDA_MANY_TOKENS && !is_of_submit && tn_cuda_rope_many_fits(p.rope.head_dim, p.rope.is_adjacent);
    const tn_cuda_launch l =
        is_many ? launch_of(TN_CUDA_rope_many, n_rows, 1, 1, first)
                : launch_of(TN_CUDA_rope_append, n_rows, ceil_div(p.rope.n_q + 2 * p.rope.n_kv, TN_CUDA_ROPE_HEADS), 1, first);
    return tn_cuda_emit(c, &l, &p, sizeof p);
}

// What blocks that share a token's chunks leave for the last one: each chunk's part of each head of each token.
static uint64_t partials_bytes(const tn_cuda_compiler *c, const tn_node *node)
{
    return (uint64_t)c->list->n_tokens_max * node->p.attention.n_heads * c->desc->limits.n_seq_pages * (node->p.attention.head_dim + 4) *
           sizeof(float);
}

// Row tiles of the steps' tiles.
static uint32_t row_tiles_of(const tn_cuda_compiler *c, const tn_node *node)
{
    return ceil_div(c->list->n_tokens_max, TN_CUDA_ATTENTION_TOKENS) *
           tn_cuda_attention_row_tiles(node->p.attention.n_heads, node->p.attention.n_kv_heads);
}

// What blocks that share row tiles leave for one another.
static uint64_t row_tile_parts_bytes(const tn_cuda_compiler *c, const tn_node *node)
{
    return (uint64_t)row_tiles_of(c, node) * c->desc->limits.n_seq_pages * TN_CUDA_ATTENTION_PART_FLOATS * sizeof(float);
}

enum { FEW_BLOCKS = 3 }; // of attention_few_mma, that a multiprocessor has at once
// Blocks of attention_tile_mma that a multiprocessor has at once, and what shared memory each has beside the dynamic one, or a little more.
enum { ROW_TILE_BLOCKS = 2, ROW_TILE_OWN_BYTES = 40960 };

// How the attention of a list's steps is cut.
typedef struct attention_plan {
    bool is_split; // every token by itself; else tiles of one sequence are tiles of matrix instructions where there are any
    bool has_few;  // tokens by themselves are done by attention_one_mma and attention_few_mma
    bool leaves_partials;
    uint32_t n_splits;             // of a token's chunks
    uint64_t partials_bytes;       // of tokens by themselves; and behind them
    uint64_t row_tile_parts_bytes; // of row tiles of one sequence; 0: blocks have whole ones
} attention_plan;

// Tiles read keys and values once for many tokens, by so few blocks that a long context leaves most of the device idle: a token of its own
// for each block and several blocks for a token's chunks fill it. So do steps of a tile or less, and larger ones where contexts may be
// long, as far as there is memory for it. Tokens of many sequences share nothing anyhow, and are split until the device is full.
static attention_plan attention_plan_of(const tn_cuda_compiler *c, const tn_node *node)
{
    enum { SPLIT_TOKENS = 64, LONG_CHUNKS = 32 };
    const uint32_t n_tokens = c->list->n_tokens_max, n_chunks = c->desc->limits.n_seq_pages, head_dim = node->p.attention.head_dim;
    const uint32_t n_sms = c->device->traits.n_sms, n_one = node->p.attention.n_kv_heads * n_tokens;
    const bool is_tile = n_tokens <= TN_CUDA_ATTENTION_TOKENS;
    const uint64_t bytes_max = UINT64_C(512) << 20;
    const bool may_split = is_tile || (n_tokens <= SPLIT_TOKENS && partials_bytes(c, node) <= bytes_max);
    attention_plan plan = {.is_split = is_tile || (may_split && n_chunks > LONG_CHUNKS),
                           .has_few = c->device->traits.has_mma && head_dim <= TN_CUDA_ATTENTION_MMA_DIM && head_dim % 8 == 0,
                           .n_splits = 1};
    const uint32_t n_wanted = plan.has_few && n_tokens > 1 ? FEW_BLOCKS * n_sms / n_one : ceil_div(2 * n_sms, n_one);
    if (may_split && n_wanted > 1) plan.n_splits = at_most(n_wanted, n_chunks);
    plan.leaves_partials = plan.has_few ? plan.n_splits > 1 || n_tokens == 1 : plan.is_split;
    if (plan.leaves_partials) plan.partials_bytes = (partials_bytes(c, node) + 15) & ~(uint64_t)15;
    const bool has_row_tiles = !plan.is_split && c->device->traits.has_mma && head_dim <= TN_CUDA_ATTENTION_MMA_DIM;
    if (has_row_tiles && row_tiles_of(c, node) < n_sms && row_tile_parts_bytes(c, node) <= bytes_max)
        plan.row_tile_parts_bytes = row_tile_parts_bytes(c, node);
    return plan;
}

// Tokens by themselves: as many blocks as the device has at once, as far as there are tokens.
static tn_status emit_attention_few(tn_cuda_compiler *c, struct tn_cuda_attention_params *p, uint32_t node)
{
    const uint32_t n_tokens = c->list->n_tokens_max, n_tiles = ceil_div(n_tokens, TN_CUDA_ATTENTION_TOKENS);
    const uint32_t n_fit = FEW_BLOCKS * c->device->traits.n_sms / (n_tiles * p->n_kv_heads * p->n_splits);
    p->n_shares = at_most(n_fit > 1 ? n_fit : 1, at_most(n_tokens, TN_CUDA_ATTENTION_TOKENS));
    tn_cuda_launch l = launch_of(TN_CUDA_attention_few_mma, n_tiles * p->n_shares, p->n_kv_heads, p->n_splits, node);
    l.shared_bytes = TN_CUDA_ATTENTION_CHUNK_BYTES;
    return tn_cuda_emit(c, &l, p, sizeof *p);
}

// Tiles of one sequence on matrix instructions. Where there are fewer row tiles than the device has multiprocessors, blocks without one do
// a part of those that have more chunks than others, as far as there is memory for it; else each block has a row tile, the longest first.
static tn_status emit_row_tiles(tn_cuda_compiler *c, const attention_plan *plan, const struct tn_cuda_attention_params *p, uint64_t parts,
                                uint32_t node)
{
    struct tn_cuda_attention_params own = *p;
    const uint32_t n_row_tiles = row_tiles_of(c, node_of(c, node)), n_blocks = ROW_TILE_BLOCKS * c->device->traits.n_sms;
    own.tiles = TN_CUDA_TILES_OF_ONE;
    own.partials = plan->row_tile_parts_bytes ? parts : 0;
    if (own.partials) need_counters(c, n_row_tiles);
    tn_cuda_launch l = launch_of(TN_CUDA_attention_tile_mma, plan->row_tile_parts_bytes ? n_blocks : n_row_tiles, 1, 1, node);
    const bool has_room = c->device->traits.shared_bytes >= ROW_TILE_BLOCKS * (2 * TN_CUDA_ATTENTION_TILE_KV_BYTES + ROW_TILE_OWN_BYTES);
    own.values_at = has_room ? TN_CUDA_ATTENTION_TILE_KV_BYTES / 16 : 0;
    l.shared_bytes = (has_room ? 2 : 1) * TN_CUDA_ATTENTION_TILE_KV_BYTES;
    return tn_cuda_emit(c, &l, &own, sizeof own);
}

// Tiles of tokens and a KV head, on matrix instructions where the tile is of one sequence; else several blocks share a tile's tokens, so
// that the device is full.
static tn_status emit_tiles(tn_cuda_compiler *c, const attention_plan *plan, struct tn_cuda_attention_params *p, uint64_t scratch,
                            uint32_t node)
{
    const uint32_t n_tiles = ceil_div(c->list->n_tokens_max, TN_CUDA_ATTENTION_TOKENS);
    const uint32_t n_fit = 2 * c->device->traits.n_sms / (n_tiles * p->n_kv_heads);
    const uint32_t n_shares = at_most(n_fit > 1 ? n_fit : 1, TN_CUDA_ATTENTION_TOKENS);
    p->tiles = TN_CUDA_TILES_ALL;
    if (c->device->traits.has_mma && p->rope.head_dim <= TN_CUDA_ATTENTION_MMA_DIM) {
        TN_TRY(emit_row_tiles(c, plan, p, scratch + plan->partials_bytes, node));
        p->tiles = TN_CUDA_TILES_OF_SEVERAL;
    }
    if (plan->has_few) return emit_attention_few(c, p, node);
    const tn_cuda_launch l = launch_of(TN_CUDA_attention_tile, n_tiles, p->n_kv_heads, n_shares, node);
    return tn_cuda_emit(c, &l, p, sizeof *p);
}

static tn_status emit_attention(tn_cuda_compiler *c, const tn_group *group, uint32_t time)
{
    const tn_node *node = node_of(c, group->nodes[0]);
    const attention_plan plan = attention_plan_of(c, node);
    const uint32_t head_dim = node->p.attention.head_dim, n_kv_heads = node->p.attention.n_kv_heads, n_tokens = c->list->n_tokens_max;
    const uint32_t a_qk = (uint32_t)tn_kv_a_qk(head_dim);
    struct tn_cuda_attention_params p = {.step = c->step,
                                         .rope = {.head_dim = head_dim, .a_qk = a_qk, .recip_a_qk = (float)(1.0 / a_qk)},
                                         .n_heads = node->p.attention.n_heads,
                                         .n_kv_heads = n_kv_heads,
                                         .y = c->values[node->out].rows,
                                         .kv = kv_of(c, node->layer),
                                         .poison = poison_of(c, node->out),
                                         .node = number_of(group->nodes[0]),
                                         .n_splits = plan.n_splits,
                                         .n_chunks_max = c->desc->limits.n_seq_pages,
                                         .counters = c->places->counters,
                                         .recip_a_v = (float)(1.0 / TN_KV_A_V),
                                         .log2e_by_sqrt = tn_ref_query_scale(1.0f, head_dim)};
    if (group->rope[0] != TN_NONE)
        TN_TRY(rope_of(c, group->rope, &p.rope));
    else
        p.q = c->values[node->in[0]].rows;
    const uint64_t scratch = c->places->arena + tn_group_scratch_at(&c->groups, time) * 4;
    if (plan.leaves_partials) {
        p.partials = scratch;
        need_counters(c, (uint64_t)n_tokens * n_kv_heads);
    }
    if (!plan.is_split) return emit_tiles(c, &plan, &p, scratch, group->nodes[0]);
    if (group->rope[0] == TN_NONE && plan.has_few) return emit_attention_few(c, &p, group->nodes[0]);
    const tn_cuda_kernel of_one = plan.has_few ? TN_CUDA_attention_one_mma : TN_CUDA_attention_one;
    tn_cuda_launch l = launch_of(TN_CUDA_attention_split, p.n_splits, n_kv_heads, n_tokens, group->nodes[0]);
    if (group->rope[0] != TN_NONE) l.kernel = of_one;
    if (l.kernel == TN_CUDA_attention_one_mma) {
        TN_TRY(largest_of(c, node->out, &p.next));
        l.shared_bytes = TN_CUDA_ATTENTION_CHUNK_BYTES;
    }
    return tn_cuda_emit(c, &l, &p, sizeof p);
}

// ---- the rest ----

static tn_status emit_element(tn_cuda_compiler *c, const tn_group *group)
{
    const tn_node *node = node_of(c, group->nodes[0]);
    const uint32_t n = c->graph->values[node->out].width;
    const struct tn_cuda_element_params p = {.step = c->step,
                                             .n = n,
                                             .op = behind_of(node),
                                             .a = c->values[node->in[0]].rows,
                                             .b = c->values[node->in[1]].rows,
                                             .y = c->values[node->out].rows,
                                             .poison = poison_of(c, node->in[0]),
                                             .node = number_of(group->nodes[0])};
    const tn_cuda_launch l = launch_of(TN_CUDA_element, rows_max_of(c, node->out), ceil_div(n, TN_CUDA_ELEMENTS), 1, group->nodes[0]);
    return tn_cuda_emit(c, &l, &p, sizeof p);
}

static tn_status emit_copy(tn_cuda_compiler *c, const tn_group *group)
{
    const tn_node *node = node_of(c, group->nodes[0]);
    const uint32_t n = c->graph->values[node->out].width, n_rows = rows_max_of(c, node->out);
    const struct tn_cuda_copy_params p = {.step = c->step,
                                          .n = n,
                                          .x = c->values[node->in[0]].rows,
                                          .y = c->values[node->out].rows,
                                          .is_logits = rows_of(c, node->out) == TN_ROWS_LOGITS,
                                          .by_logits =
                                              rows_of(c, node->in[0]) == TN_ROWS_TOKENS && rows_of(c, node->out) == TN_ROWS_LOGITS};
    const tn_cuda_launch l = launch_of(TN_CUDA_copy_rows, n_rows, ceil_div(n, TN_CUDA_ELEMENTS), 1, group->nodes[0]);
    return tn_cuda_emit(c, &l, &p, sizeof p);
}

tn_status tn_cuda_group_scratch(const tn_cuda_compiler *c, const tn_group *group, uint64_t *out_bytes)
{
    *out_bytes = 0;
    const tn_node *node = node_of(c, group->nodes[0]);
    if (group->kind == TN_GROUP_ATTENTION) {
        const attention_plan plan = attention_plan_of(c, node);
        *out_bytes = plan.partials_bytes + plan.row_tile_parts_bytes;
    }
    if (group->kind == TN_GROUP_TERNARY && c->is_few_mma) {
        tn_cuda_few_shape shape;
        TN_TRY(few_shape_of(c, group, &shape));
        *out_bytes = tn_cuda_plan_few(c->device, &shape).partials_bytes;
    }
    if (group->kind != TN_GROUP_DENSE) return TN_OK;
    weight w;
    TN_TRY(find_weight(c, node->weight, &w));
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
    case TN_GROUP_ROPE: return emit_rope(c, group);
    case TN_GROUP_ATTENTION: return emit_attention(c, group, time);
    case TN_GROUP_ELEMENT: return emit_element(c, group);
    case TN_GROUP_COPY: return emit_copy(c, group);
    }
    return TN_OK;
}
