// A run of a made-up model's units as a program of a device, whose steps are timed.
#ifndef TN_RUNTIME_CALIBRATE_PROGRAM_H
#define TN_RUNTIME_CALIBRATE_PROGRAM_H

#include "runtime/plan_weights.h"
#include "scheduler/cost.h"

// The model's weights on the device, of the units [first, first + n) of its works (tn_cost_works).
typedef struct tn_calibration_weights {
    const tn_graph *graph;
    tn_cost_work *works; // owned, [graph->n_layers + 2]
    uint32_t first_unit, n_units;
    tn_plan_weights plan;
} tn_calibration_weights;

// Packs them. Borrows the graph.  Errors: UNSUPPORTED (the device does not take an op), OUT_OF_MEMORY.
tn_status tn_calibration_weights_init(tn_calibration_weights *weights, tn_device *device, const tn_graph *graph, uint32_t first_unit,
                                      uint32_t n_units);
void tn_calibration_weights_deinit(tn_calibration_weights *weights); // an all-zero one is fine

typedef struct tn_calibration_program tn_calibration_program;

// Compiles the first `n_units` of the weights' units, for steps of up to n_tokens tokens of up to n_seqs sequences. Borrows the weights.
// Returns owned.  Errors: those of the device.
tn_status tn_calibration_program_create(const tn_calibration_weights *weights, uint32_t n_units, uint32_t n_tokens, uint32_t n_seqs,
                                        tn_calibration_program **out_program);
void tn_calibration_program_destroy(tn_calibration_program *program); // NULL is fine
// Times submits of a step: tokens of each sequence follow each other, such that on average they see step->n_positions. Repeats it until
// `slot_ns` have passed, unless it takes four times as long. The sample has the shortest time; *inout_spent_ns grows by the time of all but
// the first run, which may compile something. Errors: those of the device, INVALID_ARGUMENT (a step beyond the bounds).
tn_status tn_calibration_program_time(tn_calibration_program *program, const tn_cost_step *step, uint32_t step_index, uint64_t cache_bytes,
                                      uint64_t slot_ns, uint64_t *inout_spent_ns, tn_cost_sample *out_sample);
// The parts of it: makes a step the program's, with all of its sample but the time; and runs that once.
tn_status tn_calibration_program_prepare(tn_calibration_program *program, const tn_cost_step *step, uint32_t step_index,
                                         uint64_t cache_bytes, tn_cost_sample *out_sample);
tn_status tn_calibration_program_run(tn_calibration_program *program, uint64_t *out_ns);

#endif
