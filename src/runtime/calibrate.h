// Measures what units of models cost on a device, by timing made-up models on it.
#ifndef TN_RUNTIME_CALIBRATE_H
#define TN_RUNTIME_CALIBRATE_H

#include "backend/backend.h"
#include "scheduler/cost.h"

typedef struct tn_calibration_params {
    uint64_t time_ns;     // for all figures together; packing and compiling come on top. By the clock all takes some three times as long at
                          // most, but for steps of one token, which are always measured
    uint64_t cache_bytes; // of the device's last cache; 0: not known
    uint64_t memory_bytes; // free on the device: a quarter of it is used at most
    bool small;            // of small models only, for tests
    const tn_progress *progress;
} tn_calibration_params;

// Nothing else should run on the device meanwhile. What the device does not take is left out of the table, or predicted as its like; so is
// what there was no time for (*out_late).
// Errors: OUT_OF_MEMORY, CANCELLED, UNSUPPORTED (not even a layer runs), DEVICE_LOST.
tn_status tn_calibrate(tn_device *device, const tn_calibration_params *params, tn_cost_table *out_table, bool *out_late);

#endif
