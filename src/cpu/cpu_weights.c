// Weights of the CPU backend: canonical sources become packed layouts, groups of 16 rows at a time on all workers.
#include "base/alloc.h"
#include "base/checked.h"
#include "cpu/cpu_backend.h"
#include "cpu/pack.h"

#include <inttypes.h>
#include <stdatomic.h>

typedef struct pack_job {
    const tn_weight_source *source;
    tn_cpu_layout ternary;
    uint8_t *packed;
    uint8_t *scratch; // [n_threads][scratch_bytes]
    size_t scratch_bytes;
    uint32_t n_groups;
    _Atomic uint32_t next_group;
    _Atomic bool failed;
} pack_job;

static const char *layout_name(tn_cpu_layout layout)
{
    switch (layout) {
    case TN_CPU_LAYOUT_T2_16: return "t2_16";
    case TN_CPU_LAYOUT_T5_16: return "t5_16";
    case TN_CPU_LAYOUT_Q8_16: return "q8_16";
    case TN_CPU_LAYOUT_Q6_16: return "q6_16";
    case TN_CPU_LAYOUT_Q4_16: return "q4_16";
    case TN_CPU_LAYOUT_ROWS: return "rows";
    }
    return "";
}

tn_status tn_cpu_weight_layout(tn_device *device, const tn_weight_source *source, tn_weight_layout *out_layout)
{
    tn_cpu_layout ternary;
    *out_layout = (tn_weight_layout){0};
    TN_TRY(tn_cpu_packing_choose(tn_cpu_device_of(device), source, &ternary));
    TN_TRY(tn_cpu_pack_layout(source, ternary, out_layout));
    out_layout->name = layout_name((tn_cpu_layout)out_layout->layout_id);
    return TN_OK;
}

static tn_status pack_groups(void *ctx, uint32_t thread, uint32_t n_threads)
{
    (void)n_threads;
    pack_job *job = ctx;
    void *scratch = job->scratch + job->scratch_bytes * thread;
    while (!atomic_load_explicit(&job->failed, memory_order_relaxed)) {
        uint32_t group = atomic_fetch_add_explicit(&job->next_group, 1, memory_order_relaxed);
        if (group >= job->n_groups) return TN_OK;
        tn_status status = tn_cpu_pack_group(job->source, job->ternary, group, job->packed, scratch);
        if (status != TN_OK) {
            atomic_store_explicit(&job->failed, true, memory_order_relaxed);
            return status;
        }
    }
    return TN_OK;
}

tn_status tn_cpu_weight_pack(tn_device *base, const tn_weight_source *source, tn_buffer *buffer, uint64_t offset_bytes)
{
    tn_cpu_device *device = tn_cpu_device_of(base);
    tn_weight_layout layout;
    tn_cpu_layout ternary;
    TN_TRY(tn_cpu_packing_choose(device, source, &ternary));
    TN_TRY(tn_cpu_pack_layout(source, ternary, &layout));
    TN_TRY(tn_cpu_buffer_check(base, buffer, offset_bytes, layout.size_bytes, source->name));
    if (offset_bytes % layout.alignment_bytes != 0)
        return tn_fail(TN_INVALID_ARGUMENT, "%s: offset %" PRIu64 " is not a multiple of %u", source->name, offset_bytes,
                       (unsigned)layout.alignment_bytes);

    pack_job job = {.source = source,
                    .ternary = ternary,
                    .packed = tn_cpu_buffer_data(buffer) + offset_bytes,
                    .n_groups = tn_cpu_pack_n_groups(source)};
    uint64_t scratch_bytes, all_bytes;
    if (!tn_ckd_round_up(tn_cpu_pack_scratch_bytes(source), 64, &scratch_bytes) ||
        !tn_ckd_mul(scratch_bytes, tn_cpu_pool_n_threads(device->pool), &all_bytes))
        return tn_fail(TN_BAD_FILE, "%s: its rows are too long to pack", source->name);
    TN_TRY(tn_alloc_aligned((size_t)all_bytes, 64, &job.scratch));
    job.scratch_bytes = (size_t)scratch_bytes;
    tn_status status = tn_cpu_pool_run(device->pool, pack_groups, &job);
    tn_free(job.scratch);
    return status;
}
