// A plan that runs, for its own files: plan_run.c makes it, plan_jobs.c takes a job through a stage, plan_threads.c has the stages'
// threads.
#ifndef TN_RUNTIME_PLAN_STATE_H
#define TN_RUNTIME_PLAN_STATE_H

#include "base/thread.h"
#include "runtime/plan_memory.h"
#include "runtime/plan_run.h"
#include "runtime/plan_weights.h"

// A traced value of a stage.
typedef struct tn_stage_tap {
    const tn_node *node;
    tn_tap tap;
} tn_stage_tap;

// A job on its way, and what it has for itself there.
typedef struct tn_plan_slot {
    tn_plan_job job;
    tn_ranking ranking;     // what the last device ranks; max 0: nothing. Its arrays are owned
    bool is_ranked;         // the job's rows may be of candidates
    uint32_t *stage_poison; // [limits.n_tokens] of the stage that it is in; owned
    float *hop;             // host memory for the widest hop or traced row set; owned
    tn_fence fence;
    tn_status status; // of the first stage that failed: those behind it let the job pass
    tn_error error;
    uint32_t failed_device; // that it failed on; TN_NONE: on none
    uint64_t ended_ns;
    struct tn_plan_slot *next; // in a stage's queue
    bool is_in_flight;         // guarded by the run's mutex
} tn_plan_slot;

// A segment with all that it needs to run.
typedef struct tn_stage {
    tn_plan_run *run;
    const tn_segment *segment;
    tn_device *device;
    tn_program *program;
    tn_buffer *kv, *out; // `out` is read before the next job begins
    // One for each slot, which the stage before writes while the device reads another; or one for all, which the stage writes itself,
    // between two jobs: of devices that record what a program is bound to. NULL: the stage starts from tokens.
    tn_buffer **in;
    uint32_t n_in;                          // 0: it starts from tokens
    uint64_t kv_bytes, in_bytes, out_bytes; // of these buffers
    uint64_t program_bytes;                 // what the program needs
    tn_stage_tap *taps;
    uint32_t n_taps;
    tn_program_stats stats; // node_ns is the run's
    // Jobs that wait, in the order of their start.
    pthread_cond_t arrived;
    tn_plan_slot *head, *tail;
    pthread_t thread;
} tn_stage;

struct tn_plan_run {
    tn_plan_run_params params;
    tn_plan_weights *weights; // [n_devices]
    tn_plan_memory *memory;   // [n_devices]
    tn_stage *stages;         // [plan->n_segments]
    uint32_t n_stages;
    tn_plan_slot *slots; // [params.n_slots]
    uint32_t n_slots;    // that were made
    tn_step_layout step_layout;
    uint64_t hop_bytes;
    uint64_t *node_ns; // [graph->n_nodes] owned; NULL: no profile
    tn_screen_stats screen_stats;

    pthread_mutex_t mutex; // guards queues and what follows
    pthread_cond_t left;   // a job is no longer in flight
    uint32_t n_in_flight;
    uint32_t n_threads; // that run: none before the first start
    bool is_ending;
};

// Makes a job the slot's.
void tn_plan_slot_set(tn_plan_slot *slot, const tn_plan_job *job);
// A job in a stage: given to the device; waited for and taken to the host; and, in all stages but the last, written for the one behind. A
// failure is kept in the slot, whose job then has nothing done to it.
void tn_stage_begin(tn_stage *stage, tn_plan_slot *slot);
void tn_stage_end(tn_stage *stage, tn_plan_slot *slot);
void tn_stage_write_next(tn_stage *stage, tn_plan_slot *slot);

// Ends the threads, behind all that is in flight.
void tn_plan_threads_end(tn_plan_run *run);

#endif
