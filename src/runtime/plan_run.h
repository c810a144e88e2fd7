// Executes a plan: packs weights for each device, compiles each segment, and runs steps through segments and hops, several at a time.
#ifndef TN_RUNTIME_PLAN_RUN_H
#define TN_RUNTIME_PLAN_RUN_H

#include "backend/backend.h"
#include "graph/plan.h"
#include "runtime/logit_rows.h"
#include "runtime/plan_cache.h"
#include "runtime/plan_memory.h"

// Told each traced row after a step: `token` is the index in the step.
typedef void tn_plan_trace_fn(void *user, const tn_step *step, uint32_t token, const char *op, const float *row, uint32_t n);

// One thread at a time.
typedef struct tn_plan_run tn_plan_run;

typedef struct tn_plan_run_params {
    const tn_graph *graph; // borrowed until destroyed, like plan and devices
    const tn_plan *plan;
    tn_device *const *devices; // by the plan's device indexes
    uint32_t n_devices;
    tn_step_limits limits;
    uint32_t n_slots;        // jobs that may be in flight; at least 1, and 1 with a trace
    bool may_shrink;         // limits.n_tokens is a wish: fewer where a device does not take as many
    tn_plan_trace_fn *trace; // NULL: none
    void *trace_user;
    bool profile;                // keep stats of the programs
    const tn_progress *progress; // packing, compiling
    tn_plan_cache *cache;        // NULL: packed weights are not kept in files
    // Told by each thread that is made for a stage, before its first job, with the stage's device: it may bind itself. NULL: nobody is.
    void (*thread_begins)(void *user, uint32_t device);
    void *thread_user;
    bool is_fast; // programs may compute otherwise than exactly (tn_program_desc.is_fast)
} tn_plan_run_params;

typedef struct tn_plan_run_memory {
    uint64_t weights_bytes, kv_bytes, scratch_bytes;
    uint64_t screen_bytes; // of weights_bytes: copies that screen
} tn_plan_run_memory;

// What the plan needs of each device's memory, found without taking any; of files it looks for those that could be mapped. Errors: those of
// tn_plan_run_create.
tn_status tn_plan_run_plan_memory(const tn_plan_run_params *params, tn_plan_memory *out_memory);
// Returns owned. What a device does not take, or has no memory for, is found before anything is packed.  Errors: UNSUPPORTED (with device
// and reason), OUT_OF_MEMORY, BAD_FILE, IO, CANCELLED.
tn_status tn_plan_run_create(const tn_plan_run_params *params, tn_plan_run **out_run);
void tn_plan_run_destroy(tn_plan_run *run);
// Those of the params, but for steps that were shrunk.
tn_step_limits tn_plan_run_limits(const tn_plan_run *run);
// Candidates of a row of logits that the last device ranks at most; 0: it ranks none.
uint32_t tn_plan_run_ranking_max(const tn_plan_run *run);
// A step to run, whose layout follows from those limits. Borrowed, with all that it points to, until the job is over.
typedef struct tn_plan_job {
    const tn_step *step;
    // Its rows of logits become rows [first_row, first_row + n_logits) of `rows`: of those that the device ranked, where `rows` has room
    // for candidates, these alone are read. Jobs in flight have rows of their own.
    tn_logit_rows *rows;
    uint32_t first_row;
    uint32_t *poison; // [n_tokens], 1 + node index of the first poisoned op, or 0
    // Told by any thread, perhaps before tn_plan_run_start returns, when the job is over but for the return of this call; NULL: nobody is.
    void (*done)(void *user);
    void *user;
} tn_plan_job;

// Runs a job through all stages in the calling thread, while none is in flight.  Errors: DEVICE_LOST, IO, INTERNAL, OUT_OF_MEMORY.
tn_status tn_plan_run_step(tn_plan_run *run, const tn_plan_job *job);
// Lets a job go through the stages behind those that were started before it, in a slot that has none in flight; the first start makes a
// thread for each stage. Only what is wrong before is returned: then nothing was started, and `done` is not called.  Errors: OUT_OF_MEMORY
// (threads).
tn_status tn_plan_run_start(tn_plan_run *run, uint32_t slot, const tn_plan_job *job);
// Waits for the slot's job and returns what became of it, once; the record of a failure becomes the caller's. A job that failed has left
// others alone: what they have from it in KV caches is for the caller to know.  Errors: as tn_plan_run_step.
tn_status tn_plan_run_finish(tn_plan_run *run, uint32_t slot, uint64_t *out_ended_ns);
// The device of the stage in which the slot's last job failed, by the plan's indexes; TN_NONE: none failed. tn_plan_run_step is slot 0's.
uint32_t tn_plan_run_failed_device(const tn_plan_run *run, uint32_t slot);
// IO where a file of packed weights was cut short under the plan: what was computed since then is wrong.
tn_status tn_plan_run_check_intact(const tn_plan_run *run);
tn_plan_run_memory tn_plan_run_get_memory(const tn_plan_run *run);
// What the programs added up, nodes by their index in the graph; `node_ns` is borrowed, and NULL without params.profile. While nothing is
// in flight, as the next two.
bool tn_plan_run_is_profiled(const tn_plan_run *run);
tn_program_stats tn_plan_run_stats(const tn_plan_run *run);
void tn_plan_run_reset_stats(tn_plan_run *run);
// Adds what an earlier run of the same graph had.
void tn_plan_run_add_stats(tn_plan_run *run, const tn_program_stats *stats, const tn_screen_stats *screen_stats);
// What screening did in the programs. Borrowed.
const tn_screen_stats *tn_plan_run_screen_stats(const tn_plan_run *run);
// The layout of a node's weight on the device that runs the node; NULL where it has none.
const tn_weight_layout *tn_plan_run_layout(const tn_plan_run *run, const tn_node *node);

#endif
