// The limits of a CPU device, measured by the probes of the list of kernels on its own workers.
#include "base/alloc.h"
#include "base/clock.h"
#include "cpu/cpu_backend.h"
#include "cpu/cpu_theory.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    SAMPLES_MIN = 5,
    SAMPLES_MAX = 512,
};
// A worker reads 64 MiB at least, all of them 256 MiB and four times the last cache: what stays in caches from pass to pass is no part of
// it.
static const uint64_t worker_bytes_min = (uint64_t)64 << 20, all_bytes_min = (uint64_t)256 << 20;
static const uint64_t huge_page_bytes = (uint64_t)2 << 20;
static const uint64_t dot_pass_ns_max = 4000000; // a barrier and a clock are some microseconds

// One measurement: passes until the time is used, all workers together. The first n_threads workers take part, the others leave at once.
typedef struct probe {
    tn_cpu_pool *pool;
    uint32_t n_threads;
    uint64_t time_ns;
    tn_k_read_stream_fn *read; // NULL: dot
    uint8_t *data;             // [n_threads][worker_bytes]
    uint64_t worker_bytes;
    tn_k_peak_dot_fn *dot;
    uint32_t n_groups;

    // Written by worker 0 between barriers.
    uint64_t begun_ns;
    bool enough;
    double amount; // of a pass, all workers: bytes or operations
    double rates[SAMPLES_MAX];
    uint32_t n_samples;
    _Atomic uint64_t sink; // results go here, so that they are wanted
} probe;

// Memory with huge pages where the system has them; each worker touches what it will read.
static tn_status map_memory(probe *p, uint64_t n_bytes, void **out_mapping)
{
    void *pages = mmap(NULL, (size_t)n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    *out_mapping = NULL;
    if (pages == MAP_FAILED) return tn_fail(TN_OUT_OF_MEMORY, "%" PRIu64 " MiB to measure memory with could not be had", n_bytes >> 20);
    madvise(pages, (size_t)n_bytes, MADV_HUGEPAGE); // where it is refused, pages are small
    *out_mapping = pages;
    p->data = (uint8_t *)(((uintptr_t)pages + huge_page_bytes - 1) & ~(uintptr_t)(huge_page_bytes - 1));
    return TN_OK;
}

static void prepare_worker(probe *p, uint32_t thread)
{
    if (p->read) memset(p->data + p->worker_bytes * thread, (int)(thread + 1), (size_t)p->worker_bytes);
}

static void run_worker(probe *p, uint32_t thread)
{
    uint64_t result;
    if (p->read) {
        result = p->read(p->data + p->worker_bytes * thread, (size_t)p->worker_bytes);
    } else {
        uint32_t sum;
        result = p->dot(2, (int8_t) - (int)(thread % 127 + 1), p->n_groups, &sum) + sum;
    }
    atomic_fetch_add_explicit(&p->sink, result, memory_order_relaxed);
}

static void end_pass(probe *p, uint64_t deadline_ns)
{
    const uint64_t now_ns = tn_clock_ns(), ns = now_ns - p->begun_ns;
    p->rates[p->n_samples++] = p->amount * 1e9 / (double)(ns ? ns : 1);
    p->enough = p->n_samples == SAMPLES_MAX || (now_ns >= deadline_ns && p->n_samples >= SAMPLES_MIN);
}

static tn_status probe_job(void *ctx, uint32_t thread, uint32_t n_threads)
{
    probe *p = ctx;
    (void)n_threads;
    const bool takes_part = thread < p->n_threads;
    if (takes_part) {
        prepare_worker(p, thread);
        run_worker(p, thread); // a pass before: pages, clocks and caches settle
    }
    const uint64_t deadline_ns = tn_clock_ns() + p->time_ns;
    do {
        tn_cpu_pool_barrier(p->pool);
        if (thread == 0) p->begun_ns = tn_clock_ns();
        if (takes_part) run_worker(p, thread);
        tn_cpu_pool_barrier(p->pool);
        if (thread == 0) end_pass(p, deadline_ns);
        tn_cpu_pool_barrier(p->pool);
    } while (!p->enough);
    return TN_OK;
}

static int by_rate(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Runs the probe; best and median of its passes.
static tn_status run_probe(probe *p, tn_measured_limit *limit)
{
    TN_TRY(tn_cpu_pool_run(p->pool, probe_job, p));
    qsort(p->rates, p->n_samples, sizeof *p->rates, by_rate);
    limit->n_threads = p->n_threads;
    limit->best = p->rates[p->n_samples - 1];
    limit->median = (p->rates[(p->n_samples - 1) / 2] + p->rates[p->n_samples / 2]) / 2;
    return TN_OK;
}

static uint64_t last_cache_bytes(void)
{
#if defined(_SC_LEVEL3_CACHE_SIZE)
    const long bytes = sysconf(_SC_LEVEL3_CACHE_SIZE);
    return bytes > 0 ? (uint64_t)bytes : 0;
#else
    return 0;
#endif
}

static tn_status measure_read(probe *p, tn_measured_limit *limit)
{
    uint64_t all = all_bytes_min > 4 * last_cache_bytes() ? all_bytes_min : 4 * last_cache_bytes();
    p->worker_bytes = (all / p->n_threads + huge_page_bytes - 1) & ~(huge_page_bytes - 1);
    if (p->worker_bytes < worker_bytes_min) p->worker_bytes = worker_bytes_min;
    all = p->worker_bytes * p->n_threads;
    void *mapping;
    TN_TRY(map_memory(p, all + huge_page_bytes, &mapping));
    p->amount = (double)all;
    const tn_status status = run_probe(p, limit);
    munmap(mapping, (size_t)(all + huge_page_bytes));
    return status;
}

// As many groups as a pass takes, found on this thread; the same for all workers.
static void calibrate_dot(probe *p)
{
    uint32_t sum;
    uint64_t products = 0, ns = 0;
    const uint64_t pass_ns = p->time_ns / SAMPLES_MIN < dot_pass_ns_max ? p->time_ns / SAMPLES_MIN : dot_pass_ns_max;
    for (p->n_groups = 4; ns < pass_ns / 8 && p->n_groups < UINT32_MAX / 16; p->n_groups *= 2) {
        const uint64_t begun_ns = tn_clock_ns();
        products = p->dot(1, 1, p->n_groups, &sum);
        ns = tn_clock_ns() - begun_ns;
    }
    p->n_groups *= 4;
    p->amount = 2.0 * 8.0 * (double)products * p->n_threads;
}

static tn_status clock_job(void *ctx, uint32_t thread, uint32_t n_threads)
{
    (void)n_threads;
    if (thread == 0) *(double *)ctx = tn_cpu_clock_hz();
    return TN_OK;
}

static tn_status tell(tn_measured_fn *told, void *user, const tn_measured_limit *limit)
{
    return told(user, limit) ? TN_OK : tn_fail(TN_CANCELLED, "measuring the machine was cancelled by the caller");
}

static tn_status measure_all(tn_cpu_device *device, probe *p, tn_measured_fn *told, void *user)
{
    tn_measured_limit limit = {.kind = TN_MEASURED_MEMORY_READ, .theoretical = tn_cpu_memory_bytes_per_s()};
    double clock_hz = 0;
    uint32_t n_rows;
    const tn_kernel_row *rows = tn_cpu_kernel_rows(&n_rows);
    const tn_cpu_identity cpu = tn_cpu_identify();
    for (uint32_t i = 0; i < n_rows; i++) {
        if (rows[i].function == (void (*)(void))device->kernels.read_stream)
            snprintf(limit.name, sizeof limit.name, "%s", tn_isa_name(rows[i].isa));
    }
    p->read = device->kernels.read_stream;
    TN_TRY(measure_read(p, &limit));
    TN_TRY(tell(told, user, &limit));
    p->read = NULL;
    TN_TRY(tn_cpu_pool_run(p->pool, clock_job, &clock_hz));
    for (unsigned isa = 0; isa < TN_ISA_COUNT_; isa++) {
        for (uint32_t i = 0; i < n_rows; i++) {
            if (rows[i].slot != TN_SLOT_peak_dot || (unsigned)rows[i].isa != isa || !tn_isa_set_has(device->levels, rows[i].isa)) continue;
            limit = (tn_measured_limit){.kind = TN_MEASURED_INT8_DOT};
            snprintf(limit.name, sizeof limit.name, "%s", tn_isa_name(rows[i].isa));
            p->dot = (tn_k_peak_dot_fn *)rows[i].function;
            p->n_samples = 0;
            p->enough = false;
            calibrate_dot(p);
            TN_TRY(run_probe(p, &limit));
            limit.theoretical = 2.0 * clock_hz * tn_cpu_products_per_cycle(&cpu, rows[i].isa) * p->n_threads;
            TN_TRY(tell(told, user, &limit));
        }
    }
    return TN_OK;
}

tn_status tn_cpu_device_measure(tn_device *base, uint32_t n_threads, uint64_t time_ns, tn_measured_fn *told, void *user)
{
    tn_cpu_device *device = tn_cpu_device_of(base);
    if (n_threads == 0 || n_threads > tn_cpu_pool_n_threads(device->pool))
        return tn_fail(TN_INVALID_ARGUMENT, "%s cannot be measured on %u threads: it has %u", device->name, (unsigned)n_threads,
                       (unsigned)tn_cpu_pool_n_threads(device->pool));
    probe *p;
    TN_TRY(tn_alloc_zero(1, sizeof *p, &p));
    p->pool = device->pool;
    p->n_threads = n_threads;
    p->time_ns = time_ns;
    const tn_status status = measure_all(device, p, told, user);
    tn_free(p);
    return status;
}
