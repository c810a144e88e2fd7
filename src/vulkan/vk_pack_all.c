// A whole weight, in bands of row groups.
#include "backend/pack_bands.h"
#include "backend/pack_source.h"
#include "base/exact_math.h"
#include "vulkan/vk_pack.h"

typedef struct pack_job {
    const tn_vk_weight_shape *shape;
    const tn_weight_source *source;
    tn_vk_pack_sink *sink;
    void *sink_ctx;
} pack_job;

static tn_status pack_groups(void *ctx, uint32_t first, uint32_t n, void *scratch, uint8_t *dst, uint8_t *dst_scales)
{
    const pack_job *job = ctx;
    (void)dst_scales; // directly behind dst
    return tn_vk_pack_rows(job->shape, job->source, first, n, scratch, (uint32_t *)(void *)dst);
}

static tn_status hand_over(void *ctx, uint64_t at, const void *bytes, uint64_t n_bytes)
{
    const pack_job *job = ctx;
    return job->sink(job->sink_ctx, at / 4, bytes, n_bytes / 4);
}

// Behind the groups' words: a tensor's one scale, and zeros up to whole units.
static tn_status hand_over_end(const pack_job *job)
{
    const tn_vk_weight_shape *s = job->shape;
    const uint64_t at = s->scales_at + s->scale_words * s->n_groups;
    uint32_t words[4] = {0};
    if (at == s->n_words) return TN_OK;
    if (s->layout == TN_VK_LAYOUT_TERNARY) words[0] = tn_bits(tn_fl(job->source->scales[0]));
    return job->sink(job->sink_ctx, at, words, s->n_words - at);
}

tn_status tn_vk_pack_all(const tn_vk_weight_shape *shape, const tn_weight_source *source, uint32_t n_threads, tn_vk_pack_sink *sink,
                         void *ctx)
{
    pack_job job = {.shape = shape, .source = source, .sink = sink, .sink_ctx = ctx};
    tn_pack_scratch scratch;
    TN_TRY(tn_pack_scratch_of(source, shape->interleave, shape->padded_bytes, &scratch));
    const tn_pack_bands bands = {.source = source,
                                 .n_groups = shape->n_groups,
                                 .group_rows = shape->interleave,
                                 .group_bytes = shape->group_words * 4,
                                 .group_scale_bytes = shape->scale_words * 4,
                                 .scales_at = shape->scales_at * 4,
                                 .scratch_bytes = (size_t)scratch.n_bytes,
                                 .pack = pack_groups,
                                 .sink = hand_over,
                                 .ctx = &job};
    TN_TRY(tn_pack_bands_run(&bands, n_threads));
    return hand_over_end(&job);
}
