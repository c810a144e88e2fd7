// A whole weight, packed on several threads in bands of row groups.
#include "backend/pack_bands.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/float_mode.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>

#define BAND_BYTES ((uint64_t)1 << 20) // giving pages back interrupts other threads: not too often
enum { N_THREADS_MAX = 64, SCRATCH_ALIGNMENT = 64 };

typedef struct pack_job {
    const tn_pack_bands *bands;
    const tn_weight_source *source;
    size_t scratch_bytes, band_bytes;
    uint32_t band_groups, n_bands;
    _Atomic uint32_t next_band;
    _Atomic bool failed;
    pthread_mutex_t mutex; // of the sink and what follows
    tn_error error;        // of the band below, if it is a failure
    uint32_t error_band;
} pack_job;

static tn_status hand_over(pack_job *job, uint32_t first, uint32_t n, const uint8_t *bytes)
{
    const tn_pack_bands *b = job->bands;
    tn_status status;
    pthread_mutex_lock(&job->mutex);
    status = b->sink(b->ctx, first * b->group_bytes, bytes, n * b->group_bytes);
    if (status == TN_OK && b->group_scale_bytes)
        status = b->sink(b->ctx, b->scales_at + first * b->group_scale_bytes, bytes + n * b->group_bytes, n * b->group_scale_bytes);
    pthread_mutex_unlock(&job->mutex);
    return status;
}

static tn_status pack_band(pack_job *job, uint32_t band, uint8_t *scratch)
{
    const tn_pack_bands *b = job->bands;
    uint8_t *bytes = scratch + job->scratch_bytes;
    const uint32_t first = band * job->band_groups, left = b->n_groups - first;
    const uint32_t n = left < job->band_groups ? left : job->band_groups;
    TN_TRY(b->pack(b->ctx, first, n, scratch, bytes, bytes + n * b->group_bytes));
    TN_TRY(hand_over(job, first, n, bytes));
    if (!job->source->release_rows) return TN_OK;
    const uint32_t row = first * b->group_rows, rows_left = job->source->n_rows - row;
    const uint64_t rows = (uint64_t)n * b->group_rows;
    job->source->release_rows(job->source, row, rows < rows_left ? (uint32_t)rows : rows_left);
    return TN_OK;
}

static void keep_error(pack_job *job, uint32_t band)
{
    pthread_mutex_lock(&job->mutex);
    if (job->error.status == TN_OK || band < job->error_band) {
        job->error = *tn_error_last();
        job->error_band = band;
    }
    pthread_mutex_unlock(&job->mutex);
    atomic_store_explicit(&job->failed, true, memory_order_relaxed);
}

static void *pack_bands(void *arg)
{
    pack_job *job = arg;
    const tn_float_mode mode = tn_float_mode_enter();
    uint8_t *scratch = NULL;
    if (tn_alloc_aligned(job->scratch_bytes + job->band_bytes, SCRATCH_ALIGNMENT, &scratch) != TN_OK) keep_error(job, 0);
    while (!atomic_load_explicit(&job->failed, memory_order_relaxed)) {
        const uint32_t band = atomic_fetch_add_explicit(&job->next_band, 1, memory_order_relaxed);
        if (band >= job->n_bands) break;
        if (pack_band(job, band, scratch) != TN_OK) keep_error(job, band);
    }
    tn_free(scratch);
    tn_float_mode_leave(mode);
    return NULL;
}

// Signals of the process are for its own threads; only faults that packing causes itself (a file that became shorter) come here.
static bool start_thread(pack_job *job, pthread_t *out_thread)
{
    static const int faults[] = {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
    sigset_t blocked, old;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(&blocked, faults[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, &old);
    const int error = pthread_create(out_thread, NULL, pack_bands, job);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return error == 0;
}

// Where the system refuses threads those that there are do the work.
static void run_threads(pack_job *job, uint32_t n_threads)
{
    pthread_t threads[N_THREADS_MAX];
    uint32_t n_started = 0;
    while (n_started + 1 < n_threads && start_thread(job, &threads[n_started])) n_started++;
    pack_bands(job);
    for (uint32_t i = 0; i < n_started; i++) pthread_join(threads[i], NULL);
}

static uint32_t n_threads_for(const pack_job *job, uint32_t wanted)
{
    cpu_set_t allowed; // of this process: fewer than the machine has in a container
    uint32_t n = wanted;
    if (n == 0) n = sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? (uint32_t)CPU_COUNT(&allowed) : 1;
    if (n > N_THREADS_MAX) n = N_THREADS_MAX;
    return n < job->n_bands ? n : job->n_bands;
}

static tn_status size_job(pack_job *job)
{
    const tn_pack_bands *s = job->bands;
    uint64_t scratch_bytes = s->scratch_bytes, band_bytes, all_bytes;
    const uint64_t group_bytes = s->group_bytes + s->group_scale_bytes; // no more than the whole weight
    const uint64_t n = BAND_BYTES / group_bytes;
    job->band_groups = n > s->n_groups ? s->n_groups : n > 1 ? (uint32_t)n : 1;
    job->n_bands = (uint32_t)(((uint64_t)s->n_groups + job->band_groups - 1) / job->band_groups);
    if (!tn_ckd_round_up(scratch_bytes, SCRATCH_ALIGNMENT, &scratch_bytes) || !tn_ckd_mul(group_bytes, job->band_groups, &band_bytes) ||
        !tn_ckd_add(scratch_bytes, band_bytes, &all_bytes) || all_bytes > SIZE_MAX)
        return tn_fail(TN_BAD_FILE, "the rows of %.200s are too long to pack: get another copy of the model", job->source->name);
    job->scratch_bytes = (size_t)scratch_bytes;
    job->band_bytes = (size_t)band_bytes;
    return TN_OK;
}

tn_status tn_pack_bands_run(const tn_pack_bands *bands, uint32_t n_threads)
{
    pack_job job = {.bands = bands, .source = bands->source};
    const tn_weight_source *source = bands->source;
    TN_TRY(size_job(&job));
    pthread_mutex_init(&job.mutex, NULL);
    run_threads(&job, n_threads_for(&job, n_threads));
    pthread_mutex_destroy(&job.mutex);
    if (source->release_rows) source->release_rows(source, 0, source->n_rows); // reading ahead mapped pages around each band
    if (job.error.status == TN_OK) return TN_OK;
    tn_error_set(&job.error);
    return job.error.status;
}
