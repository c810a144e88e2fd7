// Compiles groups of nodes to launches: where each value lies, which kernel runs with which struct over which grid.
#include "cuda/cuda_compile.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "cuda/cuda_few.h"
#include "cuda/cuda_program.h"

#include <string.h>

// ---- places ----

uint32_t tn_cuda_rows_max(const tn_cuda_list *list, tn_rows rows)
{
    return rows == TN_ROWS_LOGITS ? list->n_logits_max : list->n_tokens_max;
}

// Addresses count from the value's span until it is placed.
static bool value_words(void *ctx, uint32_t index, uint64_t *out_words)
{
    tn_cuda_compiler *c = ctx;
    const tn_value *value = &c->graph->values[index];
    tn_cuda_value *v = &c->values[index];
    const uint64_t rows = tn_cuda_rows_max(c->list, value->rows), side_words = (rows + 3) & ~(uint64_t)3;
    if (value->type == TN_VALUE_F32) {
        v->rows.stride = (value->width + 3u) & ~3u;
        return tn_ckd_mul(rows, v->rows.stride, out_words);
    }
    v->codes.is_permuted = c->is_wide;
    v->codes.stride_bytes = (value->width + TN_CUDA_TILE_COLS - 1) / TN_CUDA_TILE_COLS * TN_CUDA_TILE_COLS;
    uint64_t code_words, sides;
    if (!tn_ckd_mul(rows, v->codes.stride_bytes / 4, &code_words) || !tn_ckd_mul(side_words, 2, &sides)) return false;
    v->codes.scales = code_words * 4;
    v->codes.sums = (code_words + side_words) * 4;
    return tn_ckd_add(code_words, sides, out_words);
}

static void value_outside(void *ctx, uint32_t value)
{
    const tn_cuda_compiler *c = ctx;
    c->values[value].rows.stride = c->graph->values[value].width;
}

static tn_status group_words(void *ctx, const tn_group *group, uint64_t *out_words)
{
    uint64_t n_bytes;
    *out_words = 0;
    TN_TRY(tn_cuda_group_scratch(ctx, group, &n_bytes));
    *out_words = n_bytes / 4;
    return TN_OK;
}

static tn_status placed(void *ctx, uint64_t n_words)
{
    tn_cuda_compiler *c = ctx;
    if (!tn_ckd_mul(n_words, 4, &c->list->arena_bytes)) return tn_bad_desc("its values do not fit into memory");
    c->list->arena_bytes = (c->list->arena_bytes + 127) & ~(uint64_t)127;
    c->largest = c->places->arena + c->list->arena_bytes;
    for (uint32_t i = 0; i < c->graph->n_values; i++) {
        tn_cuda_value *v = &c->values[i];
        if (c->groups.places[i].kind != TN_PLACE_IN_ARENA) continue;
        const uint64_t at = c->places->arena + tn_group_value_at(&c->groups, i) * 4;
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

// What every GPU takes. Steps become too large for it only far beyond what memory holds.
static tn_status check_grid(const tn_cuda_compiler *c, const tn_cuda_launch *launch)
{
    const uint32_t x_max = INT32_MAX, yz_max = UINT16_MAX, *grid = launch->grid;
    if (grid[0] <= x_max && grid[1] <= yz_max && grid[2] <= yz_max) return TN_OK;
    return tn_fail(
        TN_UNSUPPORTED,
        "%s: steps of %u tokens need %u x %u x %u blocks of %s, of which a GPU takes %u x %u x %u: ask for steps of fewer tokens",
        c->device->name, (unsigned)c->list->n_tokens_max, (unsigned)grid[0], (unsigned)grid[1], (unsigned)grid[2],
        tn_cuda_kernels[launch->kernel].name, (unsigned)x_max, (unsigned)yz_max, (unsigned)yz_max);
}

tn_status tn_cuda_emit(tn_cuda_compiler *c, const tn_cuda_launch *launch, const void *params, size_t n_bytes)
{
    tn_cuda_list *list = c->list;
    if (launch->grid[0] == 0 || launch->grid[1] == 0 || launch->grid[2] == 0) return TN_OK; // no step has such rows
    TN_TRY(check_grid(c, launch));
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
        .grid = {tn_cuda_rows_max(c->list, shape->rows), (shape->width + TN_CUDA_ELEMENTS - 1) / TN_CUDA_ELEMENTS, 1},
        .nodes = {TN_NONE, TN_NONE, TN_NONE},
    };
    return tn_cuda_emit(c, &l, &p, sizeof p);
}

static struct tn_cuda_rows outside(const tn_cuda_compiler *c, uint32_t value)
{
    return (struct tn_cuda_rows){.stride = c->graph->values[value].width};
}

static tn_status copy_in(void *ctx, uint32_t value)
{
    tn_cuda_compiler *c = ctx;
    return emit_copy(c, value, outside(c, value), c->values[value].rows);
}

static tn_status copy_out(void *ctx, uint32_t value)
{
    tn_cuda_compiler *c = ctx;
    return emit_copy(c, value, c->values[value].rows, outside(c, value));
}

static tn_status copy_tap(void *ctx, uint32_t value, tn_buffer *buffer)
{
    tn_cuda_compiler *c = ctx;
    const struct tn_cuda_rows to = {.at = tn_cuda_buffer_of(buffer)->at, .stride = c->graph->values[value].width};
    return emit_copy(c, value, c->values[value].rows, to);
}

static tn_status emit_group(void *ctx, const tn_group *group, uint32_t time) { return tn_cuda_emit_group(ctx, group, time); }

static tn_status emit_begin(tn_cuda_compiler *c)
{
    const struct tn_cuda_begin_params p = {
        .step = c->step, .host = c->places->step_host, .poison = c->places->poison, .n_poison = c->desc->limits.n_tokens};
    const tn_cuda_launch l = {.kernel = TN_CUDA_begin, .grid = {1, 1, 1}, .nodes = {TN_NONE, TN_NONE, TN_NONE}};
    return tn_cuda_emit(c, &l, &p, sizeof p);
}

// What is known when everything else is emitted: the words that begin as 0.
static void finish_begin(tn_cuda_compiler *c)
{
    struct tn_cuda_begin_params p;
    uint64_t *words = c->list->launches[0].params;
    memcpy(&p, words, sizeof p);
    p.largest = c->largest;
    p.n_largest = c->n_largest * TN_CUDA_LARGEST_WORDS;
    memcpy(words, &p, sizeof p);
    c->list->arena_bytes += (uint64_t)p.n_largest * 4;
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
    if (shape->rows != TN_ROWS_LOGITS || shape->type != TN_VALUE_F32) return TN_OK;
    const uint64_t groups = (c->list->arena_bytes + 15) & ~(uint64_t)15; // behind all values
    c->list->arena_bytes = groups + (uint64_t)c->list->n_logits_max * TN_CUDA_RANK_GROUPS * 4;
    if (!c->places->rank_counts) return TN_OK; // sizes are wanted, or nothing is ranked
    const struct tn_cuda_rank_params p = {.step = c->step,
                                          .x = {.at = 0, .stride = shape->width},
                                          .groups = c->places->arena + groups,
                                          .n = shape->width,
                                          .top_max = c->device->base.ranking_max,
                                          .counts = c->places->rank_counts,
                                          .ids = c->places->rank_ids,
                                          .logits = c->places->rank_logits};
    tn_cuda_launch l = {.kernel = TN_CUDA_rank_groups,
                        .grid = {c->list->n_logits_max, tn_cuda_rank_blocks(shape->width), 1},
                        .nodes = {TN_NONE, TN_NONE, TN_NONE}};
    TN_TRY(tn_cuda_emit(c, &l, &p, sizeof p));
    l.kernel = TN_CUDA_rank;
    l.grid[1] = 1;
    return tn_cuda_emit(c, &l, &p, sizeof p);
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

// Whether ternary_one, which has a row's codes in shared memory, can take the rows of all products; ternary_few takes any.
static bool rows_fit(const tn_cuda_compiler *c)
{
    for (uint32_t i = 0; i < c->desc->n_nodes; i++) {
        const tn_node *node = &c->graph->nodes[c->desc->first_node + i];
        if (node->op != TN_OP_MATMUL_TERNARY) continue;
        const uint32_t n_cols = c->graph->values[node->in[0]].width;
        const uint32_t n_blocks = n_cols / TN_CUDA_TILE_COLS + (n_cols % TN_CUDA_TILE_COLS != 0), n_parts = 2 * TN_CUDA_ONE_ROW_TILES;
        if (n_cols > TN_CUDA_ONE_COLS_MAX ||
            !tn_cuda_has_shared(c->device, (uint32_t)tn_cuda_ternary_one_shared_bytes(n_blocks, 2, n_parts, 1)))
            return false;
    }
    return true;
}

static tn_status compile(tn_cuda_compiler *c, const tn_fuse_params *fuse)
{
    TN_TRY(tn_alloc_zero(c->graph->n_values, sizeof *c->values, &c->values));
    TN_TRY(emit_begin(c));
    TN_TRY(tn_group_compile(&c->groups, fuse));
    finish_begin(c);
    TN_TRY(emit_rank(c));
    return emit_end(c);
}

tn_status tn_cuda_compile(const tn_cuda_compile_params *params, tn_cuda_list *list)
{
    const tn_program_desc *desc = params->desc;
    const uint32_t n_tokens = params->n_tokens_max, n_logits = desc->limits.n_logits < n_tokens ? desc->limits.n_logits : n_tokens;
    *list = (tn_cuda_list){.n_tokens_max = n_tokens, .n_logits_max = n_logits};
    tn_cuda_compiler c = {.device = params->device,
                          .desc = desc,
                          .graph = desc->graph,
                          .places = &params->places,
                          .sizes_only = params->sizes_only,
                          .step = step_of(params),
                          .list = list};
    const tn_group_backend backend = {&c, value_words, value_outside, group_words, placed, copy_in, copy_out, copy_tap, emit_group};
    c.groups = (tn_group_compiler){.device = &params->device->base,
                                   .desc = desc,
                                   .n_tokens_max = n_tokens,
                                   .n_logits_max = n_logits,
                                   .parts_outside = true,
                                   .backend = &backend};
    c.is_one = n_tokens == 1 && rows_fit(&c);
    c.is_few_mma = !c.is_one && tn_cuda_has_few_mma(params->device, n_tokens);
    c.is_wide = params->device->traits.has_wgmma && n_tokens > TN_CUDA_MANY_TOKENS;
    const tn_fuse_params fuse = {.desc = desc,
                                 .range_bytes = UINT64_MAX,
                                 .rows = c.is_one                                         ? TN_FUSE_ROWS_BEFORE
                                         : c.is_few_mma || n_tokens <= TN_CUDA_FEW_TOKENS ? TN_FUSE_ROWS_BEHIND
                                                                                          : TN_FUSE_ROWS_NONE,
                                 .fuses_rope = n_tokens == 1,
                                 .fuses_embed = true};
    const tn_status status = compile(&c, &fuse);
    tn_group_compiler_deinit(&c.groups);
    tn_free(c.values);
    return status;
}
