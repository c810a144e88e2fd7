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

// Its parts in units of 16 bytes.
static bool value_words(void *ctx, uint32_t index, uint64_t *out_words)
{
    tn_vk_compiler *c = ctx;
    const tn_value *value = &c->graph->values[index];
    tn_vk_value *v = &c->values[index];
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

static void value_outside(void *ctx, uint32_t value)
{
    const tn_vk_compiler *c = ctx;
    c->values[value].stride = c->graph->values[value].width;
}

static tn_status group_words(void *ctx, const tn_group *group, uint64_t *out_words) { return tn_vk_group_scratch(ctx, group, out_words); }

static tn_status placed(void *ctx, uint64_t n_words)
{
    tn_vk_compiler *c = ctx;
    if (n_words > c->device->limits.range_bytes / 4)
        return tn_fail(TN_UNSUPPORTED,
                       "%s: steps of %u tokens need %" PRIu64 " MiB for their values; the device binds %" PRIu64
                       " MiB at most: make smaller steps",
                       c->device->name, (unsigned)c->list->n_tokens_max, n_words >> 18, c->device->limits.range_bytes >> 20);
    c->list->arena_words = n_words;
    for (uint32_t v = 0; v < c->graph->n_values; v++) {
        if (c->groups.places[v].kind != TN_PLACE_IN_ARENA) continue;
        c->values[v].at = (uint32_t)tn_group_value_at(&c->groups, v);
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
    p.is_logits = shape->rows == TN_ROWS_LOGITS;
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

static tn_status copy_in(void *ctx, uint32_t value) { return emit_copy(ctx, value, true, TN_VK_OUTER_IN, NULL); }
static tn_status copy_out(void *ctx, uint32_t value) { return emit_copy(ctx, value, false, TN_VK_OUTER_OUT, NULL); }
static tn_status copy_tap(void *ctx, uint32_t value, tn_buffer *buffer)
{
    return emit_copy(ctx, value, false, TN_VK_NOT_OUTER, tn_vk_buffer_of(buffer));
}
static tn_status emit_group(void *ctx, const tn_group *group, uint32_t time) { return tn_vk_emit_group(ctx, group, time); }

tn_status tn_vk_compile(const tn_vk_compile_params *params, tn_vk_list *list)
{
    const tn_program_desc *desc = params->desc;
    tn_vk_compiler c = {.device = params->device, .desc = desc, .graph = desc->graph, .step = params->step_layout, .list = list};
    const tn_group_backend backend = {&c, value_words, value_outside, group_words, placed, copy_in, copy_out, copy_tap, emit_group};
    tn_fuse_params fuse = {.desc = desc, .range_bytes = params->device->limits.range_bytes, .rows = TN_FUSE_ROWS_NONE};
    list->n_tokens_max = params->n_tokens_max;
    if (list->n_tokens_max == 1) {
        c.rows_before = tn_vk_rows_fit_before(&c);
        fuse.rows = c.rows_before ? TN_FUSE_ROWS_BEFORE : TN_FUSE_ROWS_BEHIND;
        fuse.fuses_rope = tn_vk_rope_fits_before(&c);
    }
    list->n_logits_max = desc->limits.n_logits < params->n_tokens_max ? desc->limits.n_logits : params->n_tokens_max;
    c.groups = (tn_group_compiler){.device = &params->device->base,
                                   .desc = desc,
                                   .n_tokens_max = list->n_tokens_max,
                                   .n_logits_max = list->n_logits_max,
                                   .backend = &backend};
    tn_status status = tn_alloc_zero(desc->graph->n_values, sizeof *c.values, &c.values);
    if (status == TN_OK) status = tn_group_compile(&c.groups, &fuse);
    tn_group_compiler_deinit(&c.groups);
    tn_free(c.values);
    return status;
}
