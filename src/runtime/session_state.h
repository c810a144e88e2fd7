// What a session is, for its own files.
#ifndef TN_RUNTIME_SESSION_STATE_H
#define TN_RUNTIME_SESSION_STATE_H

#include "base/str.h"
#include "graph/plan.h"
#include "runtime/kv_cache.h"
#include "runtime/plan_run.h"
#include "runtime/session_lane.h"
#include "runtime/session_observe.h"

// The first value of a sequence that left the exact mode's range.
typedef struct tn_seq_poison {
    const tn_node *node; // NULL: none did
    uint32_t position;
} tn_seq_poison;

struct tn_session {
    const tn_model *model;
    tn_graph graph;             // the model's, with tables only as long as this session's context; nodes and values are the model's
    tn_weight_source file_head; // the head as the file has it, where the session gives it another type
    tn_host *host;
    const tn_placement *placement; // borrowed; NULL: the default
    uint32_t replica;
    uint32_t *units; // [graph.n_layers + 2] devices of the embedding, the layers and the head
    tn_plan *plan;
    tn_device **devices; // [n_devices] by the host's indexes; NULL where no segment runs
    uint32_t n_devices;
    tn_plan_run_params run_params; // limits: as the first run took them
    tn_plan_run *run;              // NULL: its devices were lost, and no others could take over
    uint32_t n_step_tokens;        // of a step at most: fewer than info.n_ubatch where another device has taken over that takes fewer
    uint32_t failed_device;        // that the last step failed on; TN_NONE
    bool no_recovery;
    bool is_owned;     // a batcher sees to losses
    bool is_replaying; // what runs is computed again: nobody is told
    tn_kv_cache kv;
    tn_seq_poison *poisoned; // [n_seqs_max]
    uint32_t *seq_added;     // [n_seqs_max] scratch of decode: tokens of the batch or the step
    uint32_t *seq_lane;      // [n_seqs_max] 1 + the lane that has the sequence in flight (tn_session_start); 0: none
    tn_step_layout step_layout;
    tn_session_lane *lanes; // [info.n_lanes]
    tn_trace trace;
    tn_session_observer observer;
    uint64_t n_steps, step_ns; // since the profile began; step_ns only where there is one
    uint64_t step_ended_ns;    // of the latest step that step_ns counts: steps in flight at a time are not counted twice
    tn_session_info info;
    tn_plan_cache cache; // what the plan borrows where packed weights are kept in files
    tn_text identity;
    char *model_path, *cache_folder;
    tn_log log;
};

#endif
