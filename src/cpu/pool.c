// Workers, their job queue, and the barrier inside jobs. Waiting is a short spin, then a futex: a step has hundreds of barriers, too many
// for a system call each, but with more threads than cores whoever spins keeps the others from working.
#include "cpu/pool.h"

#include "base/alloc.h"
#include "base/float_mode.h"
#include "base/log.h"
#include "base/thread.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CACHE_LINE 64
// Pauses before a wait becomes a system call: some tens of microseconds, about what a sleep and a wake-up cost.
#define SPIN_JOB     2000u
#define SPIN_BARRIER 2000u
#define SPIN_FENCE   200u // the caller is one thread more than there are cores
#define SPIN_CROWDED 16u

// A counter that threads can wait for to change.
typedef struct event {
    _Alignas(CACHE_LINE) _Atomic uint32_t value;
    _Atomic uint32_t n_sleepers;
} event;

struct tn_cpu_pool {
    event start;   // rises when a job starts, and once more to end the workers
    event done;    // rises when a job is done
    event barrier; // rises when a barrier opens
    _Alignas(CACHE_LINE) _Atomic uint32_t n_arrived;
    _Alignas(CACHE_LINE) _Atomic uint32_t n_running; // workers inside the current job
    _Alignas(CACHE_LINE) tn_cpu_job *current;        // written before `start` rises; NULL: the workers end

    pthread_mutex_t mutex;   // guards what follows
    tn_cpu_job *head, *tail; // not done; the head is running
    tn_cpu_job *finished;    // done, and nobody waited for them
    uint64_t n_submitted;    // the last ticket
    uint32_t n_threads, spin_job, spin_barrier;
    uint32_t n_started;
    tn_cpu_share share;
    char name[16];
    struct worker *workers;
};

typedef struct worker {
    tn_cpu_pool *pool;
    uint32_t thread;
    pthread_t handle;
} worker;

static void futex_wait(_Atomic uint32_t *word, uint32_t old) { syscall(SYS_futex, (void *)word, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0); }

static void cpu_pause(void)
{
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void event_wait(event *e, uint32_t old, uint32_t n_spins)
{
    for (uint32_t i = 0; i < n_spins; i++) {
        if (atomic_load_explicit(&e->value, memory_order_acquire) != old) return;
        cpu_pause();
    }
    // Either the riser sees the sleeper and wakes it, or the kernel sees the new value and does not sleep.
    atomic_fetch_add(&e->n_sleepers, 1);
    while (atomic_load(&e->value) == old) futex_wait(&e->value, old);
    atomic_fetch_sub(&e->n_sleepers, 1);
}

static void event_raise(event *e)
{
    atomic_fetch_add(&e->value, 1);
    if (atomic_load(&e->n_sleepers) != 0) syscall(SYS_futex, (void *)&e->value, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

void tn_cpu_pool_barrier(tn_cpu_pool *pool)
{
    uint32_t phase = atomic_load_explicit(&pool->barrier.value, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&pool->n_arrived, 1, memory_order_acq_rel) == pool->n_threads - 1) {
        atomic_store_explicit(&pool->n_arrived, 0, memory_order_relaxed);
        event_raise(&pool->barrier);
    } else {
        event_wait(&pool->barrier, phase, pool->spin_barrier);
    }
}

// With the mutex held, while no job runs.
static void start_job(tn_cpu_pool *pool, tn_cpu_job *job)
{
    pool->current = job;
    atomic_store_explicit(&pool->n_running, pool->n_threads, memory_order_relaxed);
    event_raise(&pool->start);
}

static void finish_job(tn_cpu_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    tn_cpu_job *job = pool->head;
    pool->head = job->next;
    if (!pool->head) pool->tail = NULL;
    job->next = pool->finished;
    pool->finished = job;
    if (pool->head) start_job(pool, pool->head);
    pthread_mutex_unlock(&pool->mutex);
    event_raise(&pool->done);
}

static void keep_error(tn_cpu_pool *pool, tn_cpu_job *job, uint32_t thread, tn_status status)
{
    pthread_mutex_lock(&pool->mutex);
    if (job->error.status == TN_OK || thread < job->error_thread) {
        const tn_error *error = tn_error_last();
        if (error->status == status) {
            job->error = *error;
        } else {
            job->error = (tn_error){.status = status, .file = __FILE__, .line = __LINE__};
            snprintf(job->error.message, sizeof job->error.message, "thread %u of %s failed without saying why", (unsigned)thread,
                     pool->name);
        }
        if (!job->error.device[0]) snprintf(job->error.device, sizeof job->error.device, "%s", pool->name);
        job->error_thread = thread;
    }
    pthread_mutex_unlock(&pool->mutex);
}

static void *worker_main(void *arg)
{
    worker *self = arg;
    tn_cpu_pool *pool = self->pool;
    tn_float_mode_enter(); // for good: whatever the creator of the thread had set
    for (uint32_t seen = 0;; seen++) {
        event_wait(&pool->start, seen, pool->spin_job);
        tn_cpu_job *job = pool->current;
        if (!job) return NULL;
        tn_status status = job->run(job->ctx, self->thread, pool->n_threads);
        if (status != TN_OK) keep_error(pool, job, self->thread, status);
        if (atomic_fetch_sub_explicit(&pool->n_running, 1, memory_order_acq_rel) == 1) finish_job(pool);
    }
}

// Whether the process has fewer processors than the pool has threads.
static bool is_crowded(uint32_t n_threads)
{
    cpu_set_t set;
    long n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 && (unsigned long)n < n_threads;
}

static int start_worker(worker *w)
{
    char name[16];
    snprintf(name, sizeof name, "%.8s.%u", w->pool->name, (unsigned)w->thread);
    return tn_thread_start(name, worker_main, w, &w->handle);
}

static tn_status bind_self(void *ctx, uint32_t thread, uint32_t n_threads)
{
    (void)n_threads;
    const tn_cpu_share *share = &((tn_cpu_pool *)ctx)->share;
    return share->bind(share->bind_ctx, thread);
}

tn_status tn_cpu_pool_create(const tn_cpu_share *share, const char *name, const tn_log *log, tn_cpu_pool **out_pool)
{
    *out_pool = NULL;
    if (share->n_threads == 0) return tn_fail(TN_INVALID_ARGUMENT, "%s has no threads: give each CPU device at least one", name);
    tn_status status;
    tn_cpu_pool *pool;
    TN_TRY(tn_alloc_aligned(sizeof *pool, CACHE_LINE, &pool));
    pool->share = *share;
    pool->n_threads = share->n_threads;
    snprintf(pool->name, sizeof pool->name, "%s", name);
    bool crowded = is_crowded(share->n_threads);
    pool->spin_job = crowded ? SPIN_CROWDED : SPIN_JOB;
    pool->spin_barrier = crowded ? SPIN_CROWDED : SPIN_BARRIER;
    pthread_mutex_init(&pool->mutex, NULL);
    TN_TRY_GOTO(tn_alloc_zero(share->n_threads, sizeof *pool->workers, &pool->workers));
    for (uint32_t i = 0; i < share->n_threads; i++) {
        pool->workers[i] = (worker){.pool = pool, .thread = i};
        int error = start_worker(&pool->workers[i]);
        if (error) {
            status = tn_fail_native(TN_OUT_OF_MEMORY, error, "thread %u of the %u of %s could not be started (%s): ask for fewer threads",
                                    (unsigned)i + 1, (unsigned)share->n_threads, name, strerror(error));
            goto fail;
        }
        pool->n_started++;
    }
    if (share->bind && tn_cpu_pool_run(pool, bind_self, pool) != TN_OK)
        tn_log_write(log, TN_LOG_WARN, "%s runs with unbound threads: %s", name, tn_error_last()->message);
    *out_pool = pool;
    return TN_OK;
fail:
    tn_cpu_pool_destroy(pool);
    return status;
}

void tn_cpu_pool_destroy(tn_cpu_pool *pool)
{
    if (!pool) return;
    for (;;) {
        uint32_t done = atomic_load(&pool->done.value);
        pthread_mutex_lock(&pool->mutex);
        bool idle = pool->head == NULL;
        pthread_mutex_unlock(&pool->mutex);
        if (idle) break;
        event_wait(&pool->done, done, SPIN_FENCE);
    }
    pool->current = NULL;
    event_raise(&pool->start);
    for (uint32_t i = 0; i < pool->n_started; i++) pthread_join(pool->workers[i].handle, NULL);
    pthread_mutex_destroy(&pool->mutex);
    tn_free(pool->workers);
    tn_free(pool);
}

uint32_t tn_cpu_pool_n_threads(const tn_cpu_pool *pool) { return pool->n_threads; }

// With the mutex held: takes a finished job out of the list.
static tn_cpu_job *take_finished(tn_cpu_pool *pool, uint64_t ticket)
{
    for (tn_cpu_job **link = &pool->finished; *link; link = &(*link)->next) {
        tn_cpu_job *job = *link;
        if (job->ticket != ticket) continue;
        *link = job->next;
        job->next = NULL;
        job->ticket = 0;
        return job;
    }
    return NULL;
}

static bool is_queued(const tn_cpu_pool *pool, uint64_t ticket)
{
    for (const tn_cpu_job *job = pool->head; job; job = job->next) {
        if (job->ticket == ticket) return true;
    }
    return false;
}

tn_status tn_cpu_pool_submit(tn_cpu_pool *pool, tn_cpu_job *job, tn_fence *out_fence)
{
    tn_status status = TN_OK;
    pthread_mutex_lock(&pool->mutex);
    if (job->ticket != 0 && is_queued(pool, job->ticket)) {
        status = tn_fail(TN_INVALID_ARGUMENT, "a job of %s was submitted again before it was done: wait for its fence first", pool->name);
    } else {
        if (job->ticket != 0) take_finished(pool, job->ticket);
        job->ticket = ++pool->n_submitted;
        job->next = NULL;
        job->error.status = TN_OK;
        out_fence->value = job->ticket;
        if (pool->tail) {
            pool->tail->next = job;
            pool->tail = job;
        } else {
            pool->head = pool->tail = job;
            start_job(pool, job);
        }
    }
    pthread_mutex_unlock(&pool->mutex);
    return status;
}

tn_status tn_cpu_pool_wait(tn_cpu_pool *pool, tn_fence fence)
{
    for (;;) {
        uint32_t done = atomic_load(&pool->done.value);
        tn_status status = TN_OK;
        pthread_mutex_lock(&pool->mutex);
        bool known = fence.value != 0 && fence.value <= pool->n_submitted;
        tn_cpu_job *job = take_finished(pool, fence.value);
        if (job && job->error.status != TN_OK) {
            status = job->error.status;
            tn_error_set(&job->error);
        }
        bool queued = !job && is_queued(pool, fence.value);
        pthread_mutex_unlock(&pool->mutex);
        if (!known) return tn_fail(TN_INVALID_ARGUMENT, "%s has no fence %llu", pool->name, (unsigned long long)fence.value);
        if (!queued) return status;
        event_wait(&pool->done, done, SPIN_FENCE);
    }
}

tn_status tn_cpu_pool_run(tn_cpu_pool *pool, tn_cpu_job_fn *run, void *ctx)
{
    tn_cpu_job job = {.run = run, .ctx = ctx};
    tn_fence fence;
    TN_TRY(tn_cpu_pool_submit(pool, &job, &fence));
    return tn_cpu_pool_wait(pool, fence);
}

void tn_cpu_pool_detach(tn_cpu_pool *pool, tn_cpu_job *job)
{
    for (;;) {
        uint32_t done = atomic_load(&pool->done.value);
        pthread_mutex_lock(&pool->mutex);
        bool queued = job->ticket != 0 && is_queued(pool, job->ticket);
        if (!queued && job->ticket != 0) take_finished(pool, job->ticket);
        pthread_mutex_unlock(&pool->mutex);
        if (!queued) return;
        event_wait(&pool->done, done, SPIN_FENCE);
    }
}

bool tn_cpu_pool_in_flight(tn_cpu_pool *pool, const tn_cpu_job *job)
{
    pthread_mutex_lock(&pool->mutex);
    bool queued = job->ticket != 0 && is_queued(pool, job->ticket);
    pthread_mutex_unlock(&pool->mutex);
    return queued;
}
