// Dispatches of each kind of group but the ternary products.
#include "vulkan/vk_emit.h"

#include "backend/desc_check.h"
#include "ref/ref.h"

#include <string.h>

enum {
    ATTENTION_INVOCATIONS = 128,
    CHUNKS_DIRECT_MAX = 64,
    ONE_HEAD_DIM_MAX = 256,
};

uint32_t tn_vk_invocations(const tn_vk_compiler *c) { return c->device->traits.n_row_threads; }

static struct tn_vk_row_of row_of(const tn_vk_compiler *c, uint32_t value)
{
    return (struct tn_vk_row_of){.is_logits = tn_vk_rows_of(c, value) == TN_ROWS_LOGITS, .logit_rows = c->step.logit_rows};
}
static struct tn_vk_step_at step_at(const tn_vk_compiler *c)
{
    return (struct tn_vk_step_at){c->step.copies, c->step.logit_rows, c->step.tokens,     c->step.positions,
                                  c->step.seqs,   c->step.page_table, c->step.n_seq_pages};
}

tn_status tn_vk_bind_out(const tn_vk_compiler *c, uint32_t value, tn_vk_dispatch *d)
{
    if (!tn_vk_is_outside(c, value)) return TN_OK;
    d->to_outer = TN_VK_OUTER_OUT;
    return tn_vk_rows_bytes(c, value, &d->to.n_bytes);
}

// ---- weights ----

tn_status tn_vk_find_weight(const tn_vk_compiler *c, uint32_t index, tn_vk_weight *out)
{
    out->source = &c->graph->weights[index];
    out->packed = &c->desc->weights[index];
    TN_TRY(tn_vk_weight_shape_of(out->source, &out->shape));
    return tn_buffer_check(&c->device->base, out->packed->buffer, out->packed->offset_bytes, out->packed->layout.size_bytes,
                           out->source->name);
}

tn_status tn_vk_bind_weight(const tn_vk_compiler *c, const tn_vk_weight *w, uint64_t begin, uint64_t n_bytes, tn_vk_range *out)
{
    if (n_bytes > c->device->limits.range_bytes)
        return tn_fail(TN_UNSUPPORTED, "%s: %.200s, %llu MiB, has to be bound whole; the device binds %llu MiB at most%s", c->device->name,
                       w->source->name, (unsigned long long)(n_bytes >> 20), (unsigned long long)(c->device->limits.range_bytes >> 20),
                       w->source->kind == TN_WEIGHT_TABLE ? ": use a shorter context (-c)" : "");
    *out = (tn_vk_range){tn_vk_buffer_of(w->packed->buffer), w->packed->offset_bytes + begin, n_bytes};
    return TN_OK;
}

void tn_vk_bind_texels(tn_vk_dispatch *d)
{
    d->weights_texels = d->weights;
    d->weights_texels.n_bytes &= ~(uint64_t)15;
}

// ---- embed ----

static const char *const embed_shaders[] = {
    [TN_VK_LAYOUT_F32] = "embed_f32",   [TN_VK_LAYOUT_F16] = "embed_f16",   [TN_VK_LAYOUT_BF16] = "embed_bf16",
    [TN_VK_LAYOUT_Q8_0] = "embed_q8_0", [TN_VK_LAYOUT_Q4_0] = "embed_q4_0", [TN_VK_LAYOUT_Q6_K] = "embed_q6_k"};

static struct tn_vk_dense_at dense_at(const tn_vk_weight_shape *shape)
{
    return (struct tn_vk_dense_at){.n_units = shape->n_units, .interleave = shape->interleave, .n_blocks = shape->n_blocks};
}

tn_status tn_vk_rows_bound(const tn_vk_compiler *c, const tn_vk_weight_shape *shape, uint32_t *out_rows)
{
    const uint64_t groups = c->device->limits.range_bytes / (shape->group_words * 4);
    if (groups == 0)
        return tn_fail(TN_UNSUPPORTED, "%s: rows of %u weights are more than the device binds at once", c->device->name,
                       (unsigned)shape->n_cols);
    const uint64_t rows = groups * shape->interleave;
    *out_rows = rows < shape->n_rows ? (uint32_t)rows : shape->n_rows;
    return TN_OK;
}

// Binds rows [first, first + n) of a dense weight and, where they have some of their own, their scales: from the aligned place before them.
static tn_status bind_rows(const tn_vk_compiler *c, const tn_vk_weight *w, uint32_t first, uint32_t n, struct tn_vk_dense_at *at,
                           tn_vk_dispatch *d)
{
    const uint64_t group = first / w->shape.interleave, n_groups = (n + w->shape.interleave - 1) / w->shape.interleave;
    TN_TRY(tn_vk_bind_weight(c, w, group * w->shape.group_words * 4, n_groups * w->shape.group_words * 4, &d->weights));
    if (w->shape.scale_words == 0) return TN_OK;
    const uint64_t begin = (w->shape.scales_at + group * w->shape.scale_words) * 4, before = begin % c->device->limits.offset_alignment;
    at->scales_at = (uint32_t)(before / 4);
    return tn_vk_bind_weight(c, w, begin - before, before + n_groups * w->shape.scale_words * 4, &d->kv);
}

// A dispatch for each part of the table that one binding holds; each looks up the tokens that are in its part.
static tn_status emit_embed(tn_vk_compiler *c, const tn_group *group)
{
    const tn_node *node = tn_vk_node_of(c, group->nodes[0]);
    const tn_vk_value *y = &c->values[node->out];
    tn_vk_weight w;
    uint32_t n_bound;
    TN_TRY(tn_vk_find_weight(c, node->weight, &w));
    TN_TRY(tn_vk_rows_bound(c, &w.shape, &n_bound));
    for (uint32_t first = 0; first < w.shape.n_rows; first += n_bound) {
        const uint32_t n = w.shape.n_rows - first < n_bound ? w.shape.n_rows - first : n_bound;
        struct tn_vk_embed_params p = {.w = dense_at(&w.shape),
                                       .tokens = c->step.tokens,
                                       .n = w.shape.n_cols,
                                       .y_at = y->at,
                                       .y_stride = y->stride,
                                       .node = tn_vk_poison_of(group->nodes[0]),
                                       .first_row = first,
                                       .n_rows = n};
        tn_vk_dispatch d = {.shader = embed_shaders[w.shape.layout],
                            .constants = {tn_vk_invocations(c)},
                            .n_constants = 1,
                            .nodes = {group->nodes[0], TN_NONE, TN_NONE},
                            .parts = {1}};
        d.grid = tn_vk_grid_of(tn_vk_per_row(TN_ROWS_TOKENS, 1), tn_vk_fixed(1), tn_vk_fixed(1));
        TN_TRY(bind_rows(c, &w, first, n, &p.w, &d));
        TN_TRY(tn_vk_bind_out(c, node->out, &d));
        TN_TRY(tn_vk_emit(c, &d, &p, sizeof p));
    }
    return TN_OK;
}

// ---- rows ----

tn_status tn_vk_fill_row_params(const tn_vk_compiler *c, uint32_t index, struct tn_vk_row_params *out, uint32_t *out_op, tn_vk_range *gains)
{
    const tn_node *node = tn_vk_node_of(c, index);
    const tn_vk_value *x = &c->values[node->in[0]], *y = &c->values[node->out];
    const uint32_t n = c->graph->values[node->in[0]].width;
    *out_op = node->op == TN_OP_NORM ? 0 : node->op == TN_OP_NORM_QUANT ? 1 : 2;
    *out = (struct tn_vk_row_params){.n = n,
                                     .in_at = x->at,
                                     .in_stride = x->stride,
                                     .eps = node->op == TN_OP_QUANT ? 0 : node->p.norm.eps,
                                     .recip_n = (float)(1.0 / n),
                                     .y_at = y->at,
                                     .y_stride = y->stride,
                                     .scales = y->scales,
                                     .sums = y->sums,
                                     .node = tn_vk_poison_of(index),
                                     .row = row_of(c, node->in[0])};
    if (node->weight == TN_NONE) return TN_OK;
    tn_vk_weight w;
    TN_TRY(tn_vk_find_weight(c, node->weight, &w));
    return tn_vk_bind_weight(c, &w, 0, w.shape.n_words * 4, gains);
}

static tn_status emit_row(tn_vk_compiler *c, const tn_group *group)
{
    const tn_node *node = tn_vk_node_of(c, group->nodes[0]);
    struct tn_vk_row_params p;
    tn_vk_dispatch d = {.shader = c->device->traits.use_texels ? "row_quant_texel" : "row_quant",
                        .n_constants = 3,
                        .nodes = {group->nodes[0], TN_NONE, TN_NONE},
                        .parts = {1}};
    TN_TRY(tn_vk_fill_row_params(c, group->nodes[0], &p, &d.constants[1], &d.weights));
    tn_vk_bind_texels(&d);
    d.constants[0] = tn_vk_invocations(c);
    d.constants[2] = !c->device->traits.use_dot;
    d.grid = tn_vk_grid_of(tn_vk_per_row(tn_vk_rows_of(c, node->in[0]), 1), tn_vk_fixed(1), tn_vk_fixed(1));
    TN_TRY(tn_vk_bind_out(c, node->out, &d));
    return tn_vk_emit(c, &d, &p, sizeof p);
}

// ---- dense ----

// Rows of which a job has room for the products of all: at least one, at most n_rows.
static uint32_t rows_of_job(const tn_vk_compiler *c, uint64_t work_of_row, uint32_t n_rows)
{
    const uint64_t n = c->device->job_work / (work_of_row ? work_of_row : 1);
    return n >= n_rows ? n_rows : n ? (uint32_t)n : 1;
}

static const char *const dense_shaders[][4] = {
    // plain or dot, mul, mul with texels (types of floats: plain, plain, texels), and with shuffles where there is such a one
    [TN_VK_LAYOUT_F32] = {"matmul_dense_f32", "matmul_dense_f32", "matmul_dense_f32_texel"},
    [TN_VK_LAYOUT_F16] = {"matmul_dense_f16", "matmul_dense_f16", "matmul_dense_f16_texel"},
    [TN_VK_LAYOUT_BF16] = {"matmul_dense_bf16", "matmul_dense_bf16", "matmul_dense_bf16_texel"},
    [TN_VK_LAYOUT_Q8_0] = {"matmul_dense_q8_0_dot", "matmul_dense_q8_0_mul", "matmul_dense_q8_0_mul_texel"},
    [TN_VK_LAYOUT_Q4_0] = {"matmul_dense_q4_0_dot", "matmul_dense_q4_0_mul", "matmul_dense_q4_0_mul_texel"},
    [TN_VK_LAYOUT_Q6_K] = {"matmul_dense_q6_k_dot", "matmul_dense_q6_k_mul", "matmul_dense_q6_k_mul_texel",
                           "matmul_dense_q6_k_mul_shuffle"},
};

// How the inputs of a quantised dense type lie; all 0 for types of floats.
typedef struct group_codes {
    uint32_t group, sum_group;
    uint32_t codes_stride, scales_stride, sums_stride;
    uint32_t scales, sums; // words behind the codes' start
    uint64_t n_words;
} group_codes;

static group_codes group_codes_of(const tn_vk_compiler *c, const tn_node *node, tn_vk_layout layout)
{
    group_codes g = {0};
    if (layout != TN_VK_LAYOUT_Q8_0 && layout != TN_VK_LAYOUT_Q4_0 && layout != TN_VK_LAYOUT_Q6_K) return g;
    const uint32_t n_padded = (c->graph->values[node->in[0]].width + 255u) & ~255u,
                   rows = tn_vk_rows_max(c->list, tn_vk_rows_of(c, node->in[0]));
    g.group = layout == TN_VK_LAYOUT_Q6_K ? 256 : 32;
    g.sum_group = layout == TN_VK_LAYOUT_Q6_K ? 16 : 32;
    g.codes_stride = c->device->traits.use_dot ? n_padded / 4 : n_padded / 2;
    g.scales_stride = n_padded / g.group;
    g.sums_stride = n_padded / g.sum_group;
    const uint64_t codes = (uint64_t)rows * g.codes_stride, scales = ((uint64_t)rows * g.scales_stride + 3u) & ~UINT64_C(3);
    g.scales = (uint32_t)codes;          // n_words of 2^32 and more are refused when the arena is laid out
    g.sums = (uint32_t)(codes + scales); // read in units of 16 bytes, as the codes are
    g.n_words = codes + scales + (uint64_t)rows * g.sums_stride;
    return g;
}

static tn_status emit_quant_group(tn_vk_compiler *c, const tn_node *node, const group_codes *g, uint32_t at)
{
    const tn_vk_value *x = &c->values[node->in[0]];
    struct tn_vk_group_params p = {.n = c->graph->values[node->in[0]].width,
                                   .in_at = x->at,
                                   .in_stride = x->stride,
                                   .group = g->group,
                                   .sum_group = g->sum_group,
                                   .codes = at,
                                   .codes_stride = g->codes_stride,
                                   .scales = at + g->scales,
                                   .scales_stride = g->scales_stride,
                                   .sums = at + g->sums,
                                   .sums_stride = g->sums_stride,
                                   .is_logits = tn_vk_rows_of(c, node->in[0]) == TN_ROWS_LOGITS};
    tn_vk_dispatch d = {.shader = c->device->traits.use_texels ? "quant_group_texel" : "quant_group",
                        .constants = {tn_vk_invocations(c), !c->device->traits.use_dot},
                        .n_constants = 2,
                        .nodes = {(uint32_t)(node - c->graph->nodes), TN_NONE, TN_NONE},
                        .parts = {1}};
    d.grid = tn_vk_grid_of(tn_vk_per_row(tn_vk_rows_of(c, node->in[0]), 1), tn_vk_fixed(1), tn_vk_fixed(1));
    return tn_vk_emit(c, &d, &p, sizeof p);
}

// Rows a lane, and rows of the input a workgroup. Types of floats keep 32 sums for each of both.
static void dense_tiles(const tn_vk_compiler *c, bool is_float, uint32_t *out_rows, uint32_t *out_cols)
{
    const uint32_t cols = tn_vk_cols_of(c);
    *out_rows = tn_vk_by_texels(c) ? (is_float && cols == 1 ? 8 : is_float ? 2 : 4) : 1;
    *out_cols = cols > 4 ? 4 : cols;
}

// Rows of the output that one binding holds.
static uint32_t out_rows_bound(const tn_vk_compiler *c, uint32_t value)
{
    const uint32_t n = tn_vk_rows_max(c->list, tn_vk_rows_of(c, value));
    if (!tn_vk_is_outside(c, value)) return n;
    const uint64_t bound = c->device->limits.range_bytes / ((uint64_t)c->graph->values[value].width * 4);
    return bound < n ? (uint32_t)bound : n;
}

typedef struct dense_slice {
    uint32_t first_row, n_rows;     // of the weight
    uint32_t first_token, n_tokens; // rows of input and output
} dense_slice;

static tn_status emit_dense_slice(tn_vk_compiler *c, const tn_group *group, const tn_vk_weight *w, const group_codes *g, uint32_t time,
                                  const dense_slice *slice)
{
    const tn_node *node = tn_vk_node_of(c, group->nodes[0]);
    const tn_vk_value *x = &c->values[node->in[0]], *y = &c->values[node->out];
    const bool is_outside = tn_vk_is_outside(c, node->out);
    const uint32_t codes = g->n_words ? (uint32_t)tn_group_scratch_at(&c->groups, time) : 0;
    const char *const *shaders = dense_shaders[w->shape.layout];
    const int form = c->device->traits.use_dot ? 0 : !tn_vk_by_texels(c) ? 1 : tn_vk_by_shuffle(c) && shaders[3] ? 3 : 2;
    uint32_t rows, cols;
    dense_tiles(c, g->n_words == 0, &rows, &cols);
    struct tn_vk_dense_params p = {.w = dense_at(&w->shape),
                                   .n = w->shape.n_cols,
                                   .first_row = slice->first_row,
                                   .n_rows = slice->n_rows,
                                   .x_at = g->n_words ? codes : x->at,
                                   .x_stride = g->n_words ? g->codes_stride : x->stride,
                                   .scales = codes + g->scales,
                                   .scales_stride = g->scales_stride,
                                   .sums = codes + g->sums,
                                   .sums_stride = g->sums_stride,
                                   .first_token = slice->first_token,
                                   .y_at = is_outside ? 0 : y->at + slice->first_token * y->stride,
                                   .y_stride = y->stride,
                                   .node = tn_vk_poison_of(group->nodes[0]),
                                   .is_logits = tn_vk_rows_of(c, node->in[0]) == TN_ROWS_LOGITS,
                                   .logit_rows = c->step.logit_rows};
    tn_vk_dispatch d = {.shader = shaders[form],
                        .constants = {tn_vk_row_invocations(c), rows, cols},
                        .n_constants = 3,
                        .nodes = {group->nodes[0], TN_NONE, TN_NONE},
                        .parts = {1}};
    const uint32_t block = tn_vk_row_invocations(c) * rows;
    tn_vk_axis tokens = tn_vk_per_row(tn_vk_rows_of(c, node->in[0]), cols);
    tokens.first = slice->first_token;
    tokens.n_max = slice->n_tokens;
    d.grid = tn_vk_grid_of(tn_vk_fixed((slice->n_rows + block - 1) / block), tokens, tn_vk_fixed(1));
    d.work = (uint64_t)slice->n_rows * w->shape.n_cols * slice->n_tokens;
    TN_TRY(bind_rows(c, w, slice->first_row, slice->n_rows, &p.w, &d));
    tn_vk_bind_texels(&d);
    if (is_outside) {
        d.to_outer = TN_VK_OUTER_OUT;
        d.to.offset_bytes = (uint64_t)slice->first_token * y->stride * 4;
        d.to.n_bytes = (uint64_t)slice->n_tokens * y->stride * 4;
    }
    return tn_vk_emit(c, &d, &p, sizeof p);
}

static tn_status emit_dense(tn_vk_compiler *c, const tn_group *group, uint32_t time)
{
    const tn_node *node = tn_vk_node_of(c, group->nodes[0]);
    tn_vk_weight w;
    uint32_t n_bound;
    TN_TRY(tn_vk_find_weight(c, node->weight, &w));
    TN_TRY(tn_vk_rows_bound(c, &w.shape, &n_bound));
    const group_codes g = group_codes_of(c, node, w.shape.layout);
    if (g.n_words) TN_TRY(emit_quant_group(c, node, &g, (uint32_t)tn_group_scratch_at(&c->groups, time)));
    const uint32_t n_tokens = tn_vk_rows_max(c->list, tn_vk_rows_of(c, node->out)), n_tokens_bound = out_rows_bound(c, node->out);
    if (n_tokens_bound == 0 && n_tokens > 0)
        return tn_fail(TN_UNSUPPORTED, "%s: a row of %u outputs is more than the device binds at once", c->device->name,
                       (unsigned)w.shape.n_rows);
    // Offsets of bindings are multiples of the device's alignment: whole 64 rows of tokens are, whatever the width.
    const uint32_t n_job = (rows_of_job(c, (uint64_t)w.shape.n_rows * w.shape.n_cols, n_tokens) + 63) / 64 * 64;
    const uint32_t n_most = n_tokens_bound < n_tokens ? n_tokens_bound / 64 * 64 : n_tokens, step = tn_vk_at_most(n_most, n_job);
    if (n_most == 0 && n_tokens > 0)
        return tn_fail(TN_UNSUPPORTED, "%s: 64 rows of %u outputs are more than the device binds at once: ask for fewer rows of logits",
                       c->device->name, (unsigned)w.shape.n_rows);
    for (uint32_t token = 0; token < n_tokens; token += step) {
        for (uint32_t row = 0; row < w.shape.n_rows; row += n_bound) {
            const dense_slice slice = {.first_row = row,
                                       .n_rows = w.shape.n_rows - row < n_bound ? w.shape.n_rows - row : n_bound,
                                       .first_token = token,
                                       .n_tokens = n_tokens - token < step ? n_tokens - token : step};
            TN_TRY(emit_dense_slice(c, group, &w, &g, time, &slice));
        }
    }
    return TN_OK;
}

// ---- RoPE, append, attention ----

// One layer's pages.
static tn_status bind_kv(const tn_vk_compiler *c, int32_t layer, tn_vk_range *out)
{
    const uint64_t page = tn_kv_page_layer_bytes(c->graph->n_kv_heads, c->graph->head_dim);
    const uint64_t n_bytes = page * c->desc->limits.n_kv_pages;
    if (n_bytes > c->device->limits.range_bytes)
        return tn_fail(TN_UNSUPPORTED,
                       "%s: a layer's KV cache of %llu MiB has to be bound whole; the device binds %llu MiB at most: use a shorter context "
                       "(-c) or fewer sequences, of %llu positions in all",
                       c->device->name, (unsigned long long)(n_bytes >> 20), (unsigned long long)(c->device->limits.range_bytes >> 20),
                       (unsigned long long)(c->device->limits.range_bytes / page * TN_KV_PAGE_POSITIONS));
    *out = (tn_vk_range){tn_vk_buffer_of(c->desc->kv), (uint64_t)(uint32_t)(layer - c->desc->first_layer) * n_bytes, n_bytes};
    return TN_OK;
}

static tn_status emit_rope(tn_vk_compiler *c, const tn_group *group)
{
    const tn_node *q = tn_vk_node_of(c, group->nodes[0]), *k = tn_vk_node_of(c, group->nodes[1]),
                  *append = tn_vk_node_of(c, group->nodes[2]);
    const tn_node *turned = q ? q : k, *any = turned ? turned : append;
    const uint32_t head_dim = turned ? turned->p.rope.head_dim : append->p.attention.head_dim;
    struct tn_vk_rope_params p = {.step = step_at(c), .head_dim = head_dim, .n_pages = c->desc->limits.n_kv_pages};
    tn_vk_dispatch d = {.shader = c->device->traits.use_texels ? "rope_append_texel" : "rope_append",
                        .constants = {tn_vk_row_invocations(c), head_dim % 8 == 0},
                        .n_constants = 2,
                        .nodes = {q   ? group->nodes[0]
                                  : k ? group->nodes[1]
                                      : group->nodes[2],
                                  TN_NONE, TN_NONE},
                        .parts = {1}};
    p.a_qk = (uint32_t)tn_kv_a_qk(head_dim);
    p.recip_a_qk = (float)(1.0 / p.a_qk);
    if (turned) {
        tn_vk_weight table;
        TN_TRY(tn_vk_find_weight(c, turned->weight, &table));
        TN_TRY(tn_vk_bind_weight(c, &table, 0, table.shape.n_words * 4, &d.weights));
        tn_vk_bind_texels(&d);
        p.adjacent = turned->p.rope.pairs == TN_ROPE_ADJACENT;
    }
    if (q) {
        p.n_q = q->p.rope.n_heads;
        p.q_at = c->values[q->in[0]].at;
        p.q_stride = c->values[q->in[0]].stride;
        p.qy_at = c->values[q->out].at;
        p.qy_stride = c->values[q->out].stride;
        p.q_node = tn_vk_poison_of(group->nodes[0]);
        TN_TRY(tn_vk_bind_out(c, q->out, &d));
    }
    if (append) {
        const tn_vk_value *key = &c->values[k ? k->in[0] : append->in[0]], *value = &c->values[append->in[1]];
        p.n_k = p.n_v = append->p.attention.n_kv_heads;
        p.k_at = key->at;
        p.k_stride = key->stride;
        p.k_turn = k != NULL;
        p.k_node = tn_vk_poison_of(group->nodes[1]);
        p.v_at = value->at;
        p.v_stride = value->stride;
        TN_TRY(bind_kv(c, append->layer, &d.kv));
    }
    d.grid = tn_vk_grid_of(tn_vk_fixed(p.n_q + p.n_k + p.n_v), tn_vk_per_row(tn_vk_rows_of(c, any->in[0]), 1), tn_vk_fixed(1));
    return tn_vk_emit(c, &d, &p, sizeof p);
}

static uint64_t partial_words(const tn_vk_compiler *c, const tn_node *node)
{
    return (uint64_t)c->list->n_tokens_max * node->p.attention.n_heads * c->desc->limits.n_seq_pages * (node->p.attention.head_dim + 4);
}

// The split form spreads a row's chunks over the device; with many rows, or few processors, there is enough to do without. Its partial
// results must leave the other values room in what one binding holds.
static bool attention_is_split(const tn_vk_compiler *c, const tn_node *node)
{
    const uint64_t chunks = c->desc->limits.n_seq_pages;
    return !tn_vk_by_texels(c) && c->list->n_tokens_max <= COLS_MANY && chunks > 1 && chunks * c->list->n_tokens_max <= 16384 &&
           partial_words(c, node) <= c->device->limits.range_bytes / 4 / 4;
}

// Products of a row at the end of the context, with keys and with values.
static uint64_t attention_row_work(const tn_vk_compiler *c, const tn_node *node)
{
    return (uint64_t)2 * c->graph->values[node->in[0]].width * c->desc->limits.n_seq_pages * TN_KV_PAGE_POSITIONS;
}

// A dispatch over rows [first, first + n) of the input.
static tn_status emit_attention_rows(tn_vk_compiler *c, const tn_group *group, uint32_t time, uint32_t first, uint32_t n)
{
    const tn_node *node = tn_vk_node_of(c, group->nodes[0]);
    const tn_vk_value *q = &c->values[node->in[0]], *y = &c->values[node->out];
    const uint32_t head_dim = node->p.attention.head_dim, n_kv_heads = node->p.attention.n_kv_heads;
    const bool is_split = attention_is_split(c, node), by_units = head_dim % 8 == 0, texels = c->device->traits.use_texels && by_units;
    const uint32_t a_qk = (uint32_t)tn_kv_a_qk(head_dim);
    struct tn_vk_attention_params p = {.step = step_at(c),
                                       .n_heads = node->p.attention.n_heads,
                                       .n_kv_heads = n_kv_heads,
                                       .first_row = first,
                                       .q_at = q->at,
                                       .q_stride = q->stride,
                                       .y_at = y->at,
                                       .y_stride = y->stride,
                                       .partials = is_split ? (uint32_t)tn_group_scratch_at(&c->groups, time) : 0,
                                       .n_chunks_max = c->desc->limits.n_seq_pages,
                                       .counters = c->desc->limits.n_tokens,
                                       .a_qk = a_qk,
                                       .recip_a_qk = (float)(1.0 / a_qk),
                                       .recip_a_v = (float)(1.0 / 4095),
                                       .log2e_by_sqrt = tn_ref_query_scale(1.0f, head_dim),
                                       .node = tn_vk_poison_of(group->nodes[0])};
    static const char *const names[2][2] = {{"attention_walk", "attention_walk_texel"}, {"attention_split", "attention_split_texel"}};
    tn_vk_dispatch d = {
        .shader = names[is_split][texels],
        .constants = {tn_vk_at_most(tn_vk_invocations(c), ATTENTION_INVOCATIONS), head_dim, p.n_heads / n_kv_heads, by_units},
        .n_constants = 4,
        .nodes = {group->nodes[0], TN_NONE, TN_NONE},
        .parts = {1}};
    // Of a short context workgroups for all chunks are cheaper than arguments in memory: those behind the last return at once.
    const bool is_short = c->list->n_tokens_max == 1 && p.n_chunks_max <= CHUNKS_DIRECT_MAX;
    const tn_vk_axis per_chunks = {.by = TN_VK_PER_CHUNKS, .divisor = 1, .n_max = UINT32_MAX};
    const tn_vk_axis chunks = is_short ? tn_vk_fixed(p.n_chunks_max) : per_chunks;
    tn_vk_axis rows = tn_vk_per_row(TN_ROWS_TOKENS, 1);
    rows.first = first;
    rows.n_max = n;
    d.grid = tn_vk_grid_of(is_split ? chunks : tn_vk_fixed(1), tn_vk_fixed(n_kv_heads), rows);
    if (is_split && c->list->n_counters < c->list->n_tokens_max * n_kv_heads) c->list->n_counters = c->list->n_tokens_max * n_kv_heads;
    d.work = attention_row_work(c, node) * n;
    TN_TRY(bind_kv(c, node->layer, &d.kv));
    d.weights_texels = d.kv;
    TN_TRY(tn_vk_bind_out(c, node->out, &d));
    return tn_vk_emit(c, &d, &p, sizeof p);
}

bool tn_vk_rope_fits_before(const tn_vk_compiler *c)
{
    const uint32_t head_dim = c->graph->head_dim;
    if (tn_vk_by_texels(c) || head_dim % 8 != 0 || head_dim > ONE_HEAD_DIM_MAX || c->desc->limits.n_seq_pages > CHUNKS_DIRECT_MAX)
        return false;
    for (uint32_t i = 0; i < c->desc->n_nodes; i++) {
        const tn_node *node = &c->graph->nodes[c->desc->first_node + i];
        if (node->op == TN_OP_ATTENTION && partial_words(c, node) > c->device->limits.range_bytes / 4 / 4) return false;
    }
    return true;
}

// Attention of one token with RoPE and append in front of it: a workgroup for each chunk and query head.
static tn_status emit_attention_one(tn_vk_compiler *c, const tn_group *group, uint32_t time)
{
    const tn_node *node = tn_vk_node_of(c, group->nodes[0]), *q = tn_vk_node_of(c, group->rope[0]), *k = tn_vk_node_of(c, group->rope[1]);
    const tn_node *append = tn_vk_node_of(c, group->rope[2]);
    const uint32_t head_dim = node->p.attention.head_dim, n_chunks = c->desc->limits.n_seq_pages, a_qk = (uint32_t)tn_kv_a_qk(head_dim);
    const uint32_t n_heads = node->p.attention.n_heads;
    struct tn_vk_attention_one_params p = {.step = step_at(c),
                                           .n_kv_heads = node->p.attention.n_kv_heads,
                                           .n_pages = c->desc->limits.n_kv_pages,
                                           .q_at = c->values[q->in[0]].at,
                                           .k_at = c->values[k->in[0]].at,
                                           .v_at = c->values[append->in[1]].at,
                                           .adjacent = q->p.rope.pairs == TN_ROPE_ADJACENT,
                                           .y_at = c->values[node->out].at,
                                           .partials = n_chunks > 1 ? (uint32_t)tn_group_scratch_at(&c->groups, time) : 0,
                                           .n_chunks_max = n_chunks,
                                           .counters = c->desc->limits.n_tokens,
                                           .a_qk = a_qk,
                                           .recip_a_qk = (float)(1.0 / a_qk),
                                           .recip_a_v = (float)(1.0 / 4095),
                                           .log2e_by_sqrt = tn_ref_query_scale(1.0f, head_dim),
                                           .q_node = tn_vk_poison_of(group->rope[0]),
                                           .k_node = tn_vk_poison_of(group->rope[1]),
                                           .node = tn_vk_poison_of(group->nodes[0])};
    tn_vk_dispatch d = {.shader = "attention_one",
                        .constants = {ATTENTION_INVOCATIONS, head_dim, n_heads / p.n_kv_heads},
                        .n_constants = 3,
                        .nodes = {group->nodes[0], TN_NONE, TN_NONE},
                        .parts = {1},
                        .work = attention_row_work(c, node)};
    tn_vk_weight table;
    d.grid = tn_vk_grid_of(tn_vk_fixed(n_chunks), tn_vk_fixed(n_heads), tn_vk_fixed(1));
    if (c->list->n_counters < n_heads) c->list->n_counters = n_heads;
    TN_TRY(tn_vk_find_weight(c, q->weight, &table));
    TN_TRY(tn_vk_bind_weight(c, &table, 0, table.shape.n_words * 4, &d.weights));
    TN_TRY(bind_kv(c, node->layer, &d.kv));
    TN_TRY(tn_vk_bind_out(c, node->out, &d));
    return tn_vk_emit(c, &d, &p, sizeof p);
}

// A dispatch for as many rows as a job has room for, in a step at the end of the context: what is one dispatch cannot be parted any more.
static tn_status emit_attention(tn_vk_compiler *c, const tn_group *group, uint32_t time)
{
    if (group->rope[0] != TN_NONE) return emit_attention_one(c, group, time);
    const uint32_t n_rows = c->list->n_tokens_max,
                   n_most = rows_of_job(c, attention_row_work(c, tn_vk_node_of(c, group->nodes[0])), n_rows);
    for (uint32_t first = 0; first < n_rows; first += n_most)
        TN_TRY(emit_attention_rows(c, group, time, first, tn_vk_at_most(n_most, n_rows - first)));
    return TN_OK;
}

// ---- the rest ----

static tn_status emit_element(tn_vk_compiler *c, const tn_group *group)
{
    const tn_node *node = tn_vk_node_of(c, group->nodes[0]);
    const tn_vk_value *a = &c->values[node->in[0]], *b = &c->values[node->in[1]], *y = &c->values[node->out];
    const uint32_t n = c->graph->values[node->out].width, invocations = tn_vk_invocations(c);
    struct tn_vk_element_params p = {.n = n,
                                     .a_at = a->at,
                                     .a_stride = a->stride,
                                     .b_at = b->at,
                                     .b_stride = b->stride,
                                     .y_at = y->at,
                                     .y_stride = y->stride,
                                     .node = tn_vk_poison_of(group->nodes[0]),
                                     .row = row_of(c, node->in[0])};
    const uint32_t op = node->op == TN_OP_ADD ? 0 : node->p.glu.kind == TN_GLU_RELU2 ? 1 : 2;
    tn_vk_dispatch d = {.shader = "elementwise",
                        .constants = {invocations, op},
                        .n_constants = 2,
                        .nodes = {group->nodes[0], TN_NONE, TN_NONE},
                        .parts = {1}};
    d.grid = tn_vk_grid_of(tn_vk_fixed((n + invocations - 1) / invocations), tn_vk_per_row(tn_vk_rows_of(c, node->out), 1), tn_vk_fixed(1));
    TN_TRY(tn_vk_bind_out(c, node->out, &d));
    return tn_vk_emit(c, &d, &p, sizeof p);
}

static tn_status emit_copy(tn_vk_compiler *c, const tn_group *group)
{
    const tn_node *node = tn_vk_node_of(c, group->nodes[0]);
    const tn_vk_value *x = &c->values[node->in[0]], *y = &c->values[node->out];
    struct tn_vk_copy_params p = {.n = c->graph->values[node->out].width,
                                  .in_at = x->at,
                                  .in_stride = x->stride,
                                  .y_at = y->at,
                                  .y_stride = y->stride,
                                  .by_logits =
                                      tn_vk_rows_of(c, node->in[0]) == TN_ROWS_TOKENS && tn_vk_rows_of(c, node->out) == TN_ROWS_LOGITS,
                                  .logit_rows = c->step.logit_rows,
                                  .is_logits = tn_vk_rows_of(c, node->out) == TN_ROWS_LOGITS};
    tn_vk_dispatch d = {.shader = "copy_rows",
                        .constants = {tn_vk_invocations(c)},
                        .n_constants = 1,
                        .nodes = {group->nodes[0], TN_NONE, TN_NONE},
                        .parts = {1}};
    d.grid = tn_vk_grid_of(tn_vk_fixed((p.n + tn_vk_invocations(c) - 1) / tn_vk_invocations(c)),
                           tn_vk_per_row(tn_vk_rows_of(c, node->out), 1), tn_vk_fixed(1));
    TN_TRY(tn_vk_bind_out(c, node->out, &d));
    return tn_vk_emit(c, &d, &p, sizeof p);
}

tn_status tn_vk_group_scratch(const tn_vk_compiler *c, const tn_group *group, uint64_t *out_words)
{
    *out_words = 0;
    const tn_node *node = tn_vk_node_of(c, group->nodes[0]);
    const bool is_one = group->rope[0] != TN_NONE && c->desc->limits.n_seq_pages > 1;
    if (group->kind == TN_GROUP_ATTENTION && (is_one || attention_is_split(c, node))) *out_words = partial_words(c, node);
    if (group->kind != TN_GROUP_DENSE) return TN_OK;
    tn_vk_weight w;
    TN_TRY(tn_vk_find_weight(c, node->weight, &w));
    *out_words = group_codes_of(c, node, w.shape.layout).n_words;
    return TN_OK;
}

tn_status tn_vk_emit_group(tn_vk_compiler *c, const tn_group *group, uint32_t time)
{
    switch (group->kind) {
    case TN_GROUP_EMBED: return emit_embed(c, group);
    case TN_GROUP_ROW: return emit_row(c, group);
    case TN_GROUP_TERNARY: return tn_vk_emit_ternary(c, group);
    case TN_GROUP_DENSE: return emit_dense(c, group, time);
    case TN_GROUP_ROPE: return emit_rope(c, group);
    case TN_GROUP_ATTENTION: return emit_attention(c, group, time);
    case TN_GROUP_ELEMENT: return emit_element(c, group);
    case TN_GROUP_COPY: return emit_copy(c, group);
    }
    return TN_OK;
}
