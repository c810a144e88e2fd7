// The CPU backend's own threads: each job runs on all of them at once, jobs run one after the other in the order of submission.
#ifndef TN_CPU_POOL_H
#define TN_CPU_POOL_H

#include "backend/backend.h"

typedef struct tn_cpu_pool tn_cpu_pool; // any thread

// One worker's part of a job. Every worker must pass the same barriers, also after a failure.
typedef tn_status tn_cpu_job_fn(void *ctx, uint32_t thread, uint32_t n_threads);

// A job in the caller's storage; zero-initialise, set `run` and `ctx`.
typedef struct tn_cpu_job {
    tn_cpu_job_fn *run;
    void *ctx;
    // Private to the pool.
    uint64_t ticket; // 0: not known to the pool
    struct tn_cpu_job *next;
    uint32_t error_thread;
    tn_error error; // of the lowest failing thread
} tn_cpu_job;

// Starts share->n_threads workers and binds them by the share's callback; a failure to bind is only logged. `name` ("cpu0") is for thread
// names and messages. Borrows the share's callback context until destroyed. Returns owned.
// Errors: INVALID_ARGUMENT (no threads), OUT_OF_MEMORY (the system refuses threads).
tn_status tn_cpu_pool_create(const tn_cpu_share *share, const char *name, const tn_log *log, tn_cpu_pool **out_pool);
// Finishes what was submitted, then ends the workers. NULL is fine.
void tn_cpu_pool_destroy(tn_cpu_pool *pool);
uint32_t tn_cpu_pool_n_threads(const tn_cpu_pool *pool);

// Queues `job` and returns at once. Borrows the job until a wait for its fence returns or tn_cpu_pool_detach.
// Errors: INVALID_ARGUMENT (the job is still in flight).
tn_status tn_cpu_pool_submit(tn_cpu_pool *pool, tn_cpu_job *job, tn_fence *out_fence);
// Blocks until the job of `fence` is done, and returns its status; the record of a failing worker becomes the caller's. A second wait for
// a fence returns OK.  Errors: those of the job; INVALID_ARGUMENT (no such fence).
tn_status tn_cpu_pool_wait(tn_cpu_pool *pool, tn_fence fence);
// Submits a job and waits for it.
tn_status tn_cpu_pool_run(tn_cpu_pool *pool, tn_cpu_job_fn *run, void *ctx);
// Blocks until the pool is done with `job`, whose storage may go then. A job that was never submitted is fine.
void tn_cpu_pool_detach(tn_cpu_pool *pool, tn_cpu_job *job);

// Whether `job` was submitted and is not done.
bool tn_cpu_pool_in_flight(tn_cpu_pool *pool, const tn_cpu_job *job);

// Inside a job: returns when all workers have come here. What each wrote before is visible to all afterwards.
void tn_cpu_pool_barrier(tn_cpu_pool *pool);

#endif
