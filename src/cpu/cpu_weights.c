// Weights of the CPU backend: canonical sources become packed layouts on all workers, groups of 16 rows at a time, some groups in a row;
// behind them the source's pages are given back, so that a model never lies in memory twice.
#include "backend/desc_check.h"
#include "base/alloc.h"
#include "base/checked.h"
#include "base/log.h"
#include "cpu/cpu_backend.h"
#include "cpu/cpu_program.h"
#include "cpu/pack.h"

#include <inttypes.h>
#include <stdatomic.h>

typedef struct pack_job {
    const tn_weight_source *source;
    tn_cpu_layout ternary;
    uint8_t *packed;
    uint8_t *scratch; // [n_threads][scratch_bytes]
    size_t scratch_bytes;
    uint32_t n_groups, n_chunk; // groups; those that a worker takes at a time
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
    case TN_CPU_LAYOUT_ROWS_Q8_16: return "rows+q8_16";
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

// Groups a worker takes at a time: about a megabyte of packed bytes, since giving pages back interrupts the other workers, but enough
// chunks for all of them.
static uint32_t chunk_of(uint32_t n_groups, uint64_t size_bytes, uint32_t n_threads)
{
    const uint64_t by_size = ((uint64_t)1 << 20) / (size_bytes / n_groups + 1), by_share = n_groups / (4 * (uint64_t)n_threads);
    const uint64_t n = by_size < by_share ? by_size : by_share;
    return n > 1 ? (uint32_t)n : 1;
}

// Groups [first, end), then gives their rows back.
static tn_status pack_chunk(const pack_job *job, uint32_t first, uint32_t end, void *scratch)
{
    const tn_weight_source *source = job->source;
    for (uint32_t group = first; group < end; group++) TN_TRY(tn_cpu_pack_group(source, job->ternary, group, job->packed, scratch));
    if (!source->release_rows) return TN_OK;
    const uint64_t row = (uint64_t)first * TN_CPU_PACK_ROWS, row_end = (uint64_t)end * TN_CPU_PACK_ROWS;
    source->release_rows(source, (uint32_t)row, (uint32_t)((row_end < source->n_rows ? row_end : source->n_rows) - row));
    return TN_OK;
}

static tn_status pack_groups(void *ctx, uint32_t thread, uint32_t n_threads)
{
    (void)n_threads;
    pack_job *job = ctx;
    void *scratch = job->scratch + job->scratch_bytes * thread;
    while (!atomic_load_explicit(&job->failed, memory_order_relaxed)) {
        const uint32_t first = atomic_fetch_add_explicit(&job->next_group, job->n_chunk, memory_order_relaxed);
        if (first >= job->n_groups) return TN_OK;
        const uint32_t n = job->n_groups - first < job->n_chunk ? job->n_groups - first : job->n_chunk;
        tn_status status = pack_chunk(job, first, first + n, scratch);
        if (status != TN_OK) {
            atomic_store_explicit(&job->failed, true, memory_order_relaxed);
            return status;
        }
    }
    return TN_OK;
}

// Lets the rows that each worker computes lie on its NUMA node, and those that anybody may take on all nodes in turn.
static void spread(const tn_cpu_device *device, uint8_t *packed, uint64_t size_bytes)
{
    const uint32_t n_threads = tn_cpu_pool_n_threads(device->pool);
    const uint64_t ends[] = {tn_cpu_own_parts(size_bytes), size_bytes};
    uint64_t begin = 0;
    if (!device->share.bind_memory) return;
    for (size_t part = 0; part < sizeof ends / sizeof *ends; begin = ends[part++]) {
        const uint64_t n = ends[part] - begin;
        for (uint32_t thread = 0; thread < n_threads; thread++) {
            const uint64_t first = begin + n * thread / n_threads, end = begin + n * (thread + 1) / n_threads;
            if (device->share.bind_memory(device->share.bind_ctx, thread, packed + first, (size_t)(end - first)) == TN_OK) continue;
            tn_log_write(&device->log, TN_LOG_DEBUG, "%s: %s", device->name, tn_error_last()->message);
            return;
        }
    }
}

tn_status tn_cpu_weight_pack(tn_device *base, const tn_weight_source *source, tn_buffer *buffer, uint64_t offset_bytes)
{
    tn_cpu_device *device = tn_cpu_device_of(base);
    tn_weight_layout layout;
    tn_cpu_layout ternary;
    TN_TRY(tn_cpu_packing_choose(device, source, &ternary));
    TN_TRY(tn_cpu_pack_layout(source, ternary, &layout));
    TN_TRY(tn_buffer_check(base, buffer, offset_bytes, layout.size_bytes, source->name));
    if (((tn_cpu_buffer *)buffer)->is_borrowed) return tn_fail(TN_INVALID_ARGUMENT, "%s: its buffer is read-only", source->name);
    if (offset_bytes % layout.alignment_bytes != 0)
        return tn_fail(TN_INVALID_ARGUMENT, "%s: offset %" PRIu64 " is not a multiple of %u", source->name, offset_bytes,
                       (unsigned)layout.alignment_bytes);

    const uint32_t n_groups = tn_cpu_pack_n_groups(source), n_threads = tn_cpu_pool_n_threads(device->pool);
    pack_job job = {.source = source,
                    .ternary = ternary,
                    .packed = tn_cpu_buffer_data(buffer) + offset_bytes,
                    .n_groups = n_groups,
                    .n_chunk = chunk_of(n_groups, layout.size_bytes, n_threads)};
    uint64_t scratch_bytes, all_bytes;
    if (!tn_ckd_round_up(tn_cpu_pack_scratch_bytes(source), 64, &scratch_bytes) || !tn_ckd_mul(scratch_bytes, n_threads, &all_bytes))
        return tn_fail(TN_BAD_FILE, "%s: its rows are too long to pack", source->name);
    TN_TRY(tn_alloc_aligned((size_t)all_bytes, 64, &job.scratch));
    job.scratch_bytes = (size_t)scratch_bytes;
    spread(device, job.packed, layout.size_bytes);
    tn_status status = tn_cpu_pool_run(device->pool, pack_groups, &job);
    tn_free(job.scratch);
    if (source->release_rows) source->release_rows(source, 0, source->n_rows); // reading ahead mapped pages behind and before each chunk
    return status;
}
