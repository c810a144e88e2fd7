// What CPU devices of a host take while all of them read its memory: measured at once, kept until each one's own times are known.
#ifndef TN_RUNTIME_HOST_TOGETHER_H
#define TN_RUNTIME_HOST_TOGETHER_H

#include "runtime/calibrate.h"
#include "runtime/host_devices.h"
#include "ternion/device.h"

// Sets the factors of device `index` in its table where it is one of several CPU devices that can be used. They are measured on all of
// these at once, and those of the others are kept for their turn: each is used once. `params`: as the device itself was measured with; its
// cache is the largest of them. Errors: those of opening the devices, and of tn_calibrate_together.
tn_status tn_host_set_together(tn_host *host, uint32_t index, const tn_calibration_params *params, tn_cost_table *table);

#endif
