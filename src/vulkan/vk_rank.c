// Rankings of logits: where they lie, who makes them, what the caller gets.
#include "vulkan/vk_rank.h"

#include "base/alloc.h"

#include <string.h>

enum {
    ROWS_MOST = 64, // rows are copied to the host as rankings, all that a step may have: not worth it for many
    GROUPS = 1024,  // of a row (rank.glsl)
    GROUP_INVOCATIONS = 64,
    RANK_INVOCATIONS = 256,
};

tn_vk_ranks tn_vk_ranks_of(const tn_vk_device *device, const tn_program_desc *desc, const tn_border *out, uint32_t at)
{
    const uint32_t n_rows = desc->limits.n_logits;
    if (device->base.ranking_max == 0 || out->value == TN_NONE || out->rows != TN_ROWS_LOGITS || n_rows > ROWS_MOST ||
        n_rows * out->row_bytes > device->limits.range_bytes)
        return (tn_vk_ranks){0};
    return (tn_vk_ranks){.n_rows = n_rows, .width = (uint32_t)(out->row_bytes / 4), .at = at};
}

uint64_t tn_vk_ranks_host_words(const tn_vk_ranks *ranks) { return (uint64_t)ranks->n_rows * (1 + 2 * TN_VK_RANKING_MAX); }
uint64_t tn_vk_ranks_words(const tn_vk_ranks *ranks) { return tn_vk_ranks_host_words(ranks) + (uint64_t)ranks->n_rows * GROUPS; }

static tn_status append(tn_vk_list *list, const tn_vk_dispatch *dispatch, const struct tn_vk_rank_params *p)
{
    TN_TRY(tn_grow(&list->dispatches, &list->capacity, (size_t)list->n_dispatches + 1, sizeof *list->dispatches));
    tn_vk_dispatch *d = &list->dispatches[list->n_dispatches++];
    *d = *dispatch;
    d->n_params = sizeof *p / 4;
    memcpy(d->params, p, sizeof *p);
    return TN_OK;
}

tn_status tn_vk_ranks_emit(const tn_vk_ranks *ranks, const tn_vk_device *device, const tn_step_layout *layout, tn_vk_list *list)
{
    const uint32_t n = ranks->n_rows, counts = ranks->at, most = device->limits.n_invocations;
    const struct tn_vk_rank_params p = {.n = ranks->width,
                                        .n_top = layout->n_top,
                                        .top_max = TN_VK_RANKING_MAX,
                                        .counts = counts,
                                        .ids = counts + n,
                                        .logits = counts + n * (1 + TN_VK_RANKING_MAX),
                                        .groups = counts + n * (1 + 2 * TN_VK_RANKING_MAX)};
    const tn_vk_axis rows = {.by = TN_VK_PER_LOGITS, .divisor = 1, .n_max = UINT32_MAX}, one = {.by = TN_VK_FIXED, .n = 1};
    tn_vk_dispatch d = {.shader = "rank_groups",
                        .constants = {GROUP_INVOCATIONS},
                        .n_constants = 1,
                        .nodes = {TN_NONE, TN_NONE, TN_NONE},
                        .from = {.n_bytes = (uint64_t)n * ranks->width * 4},
                        .from_outer = TN_VK_OUTER_OUT};
    if (n == 0 || list->n_logits_max == 0) return TN_OK;
    d.grid = (tn_vk_grid){{{.by = TN_VK_FIXED, .n = GROUPS / GROUP_INVOCATIONS}, rows, one}};
    TN_TRY(append(list, &d, &p));
    d.shader = "rank";
    d.constants[0] = most < RANK_INVOCATIONS ? most : RANK_INVOCATIONS;
    d.grid = (tn_vk_grid){{rows, one, one}};
    return append(list, &d, &p);
}

bool tn_vk_ranks_all(const tn_vk_ranks *ranks, uint32_t max, const tn_step_view *step)
{
    const uint32_t n_ids = step->n_top_ids < ranks->width ? step->n_top_ids : ranks->width;
    if (ranks->n_rows == 0 || !step->n_top) return false;
    for (uint32_t r = 0; r < step->n_logits; r++) {
        const uint32_t n = step->n_top[r];
        if (n == 0 || n > max || n > n_ids) return false;
    }
    return true;
}

void tn_vk_ranks_give(const tn_vk_ranks *ranks, const uint32_t *words, uint32_t n_logits, const tn_ranking *ranking)
{
    const uint32_t *ids = words + ranks->n_rows, *logits = ids + (size_t)ranks->n_rows * TN_VK_RANKING_MAX;
    for (uint32_t r = 0; ranking->max && r < n_logits; r++) {
        const uint32_t n = ranks->n_rows && words[r] <= ranking->max ? words[r] : 0;
        ranking->counts[r] = n;
        memcpy(ranking->ids + (size_t)r * ranking->max, ids + (size_t)r * TN_VK_RANKING_MAX, n * sizeof *ranking->ids);
        memcpy(ranking->logits + (size_t)r * ranking->max, logits + (size_t)r * TN_VK_RANKING_MAX, n * sizeof *ranking->logits);
    }
}
