// Measures what devices that share memory take while all of them read weights from it.
#ifndef TN_RUNTIME_CALIBRATE_TOGETHER_H
#define TN_RUNTIME_CALIBRATE_TOGETHER_H

#include "runtime/calibrate.h"

// Times steps whose weights no cache holds on each of devices[n] alone and on all of them at once, by turns. params: time_ns is for each
// device, of which a quarter is taken, cache_bytes the largest of their caches, memory_bytes what is free for all of them. Heads that the
// devices do not take are left out. Errors: OUT_OF_MEMORY, CANCELLED, those of the devices.
tn_status tn_calibrate_together(tn_device *const *devices, uint32_t n, const tn_calibration_params *params, tn_cost_together *out_measured);

#endif
