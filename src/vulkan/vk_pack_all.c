// A whole weight, packed on several threads in bands of row groups.
#include "base/alloc.h"
#include "base/checked.h"
#include "base/exact_math.h"
#include "base/float_mode.h"
#include "vulkan/vk_pack.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>

#define BAND_BYTES ((uint64_t)1 << 20) // giving pages back interrupts other threads: not too often
enum { N_THREADS_MAX = 64, SCRATCH_ALIGNMENT = 64 };

typedef struct pack_job {
    const tn_vk_weight_shape *shape;
    const tn_weight_source *source;
    tn_vk_pack_sink *sink;
    void *sink_ctx;
    size_t scratch_bytes, band_bytes;
    uint32_t band_groups, n_bands;
    _Atomic uint32_t next_band;
    _Atomic bool failed;
    pthread_mutex_t mutex; // of the sink and what follows
    tn_error error;        // of the band below, if it is a failure
    uint32_t error_band;
} pack_job;

static tn_status hand_over(pack_job *job, uint32_t first, uint32_t n, const uint32_t *words)
{
    const tn_vk_weight_shape *s = job->shape;
    tn_status status;
    pthread_mutex_lock(&job->mutex);
    status = job->sink(job->sink_ctx, first * s->group_words, words, n * s->group_words);
    if (status == TN_OK && s->scale_words)
        status = job->sink(job->sink_ctx, s->scales_at + first * s->scale_words, words + n * s->group_words, n * s->scale_words);
    pthread_mutex_unlock(&job->mutex);
    return status;
}

static tn_status pack_band(pack_job *job, uint32_t band, uint8_t *scratch)
{
    const tn_vk_weight_shape *s = job->shape;
    uint32_t *words = (uint32_t *)(void *)(scratch + job->scratch_bytes);
    const uint32_t first = band * job->band_groups, left = s->n_groups - first;
    const uint32_t n = left < job->band_groups ? left : job->band_groups;
    TN_TRY(tn_vk_pack_rows(s, job->source, first, n, scratch, words));
    TN_TRY(hand_over(job, first, n, words));
    if (!job->source->release_rows) return TN_OK;
    const uint32_t row = first * s->interleave, rows_left = s->n_rows - row;
    const uint64_t rows = (uint64_t)n * s->interleave;
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
    const tn_vk_weight_shape *s = job->shape;
    uint64_t group_bytes, band_bytes, all_bytes;
    TN_TRY(tn_vk_pack_scratch_bytes(s, job->source, &job->scratch_bytes));
    uint64_t scratch_bytes = job->scratch_bytes;
    group_bytes = (s->group_words + s->scale_words) * sizeof(uint32_t); // no more than the whole weight
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
    TN_TRY(size_job(&job));
    pthread_mutex_init(&job.mutex, NULL);
    run_threads(&job, n_threads_for(&job, n_threads));
    pthread_mutex_destroy(&job.mutex);
    if (source->release_rows) source->release_rows(source, 0, source->n_rows); // reading ahead mapped pages around each band
    if (job.error.status != TN_OK) {
        tn_error_set(&job.error);
        return job.error.status;
    }
    return hand_over_end(&job);
}
