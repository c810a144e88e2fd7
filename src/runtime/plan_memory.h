// What a plan needs of its devices' memory, summed before anything is taken.
#ifndef TN_RUNTIME_PLAN_MEMORY_H
#define TN_RUNTIME_PLAN_MEMORY_H

#include "backend/backend.h"

// Of one device.
typedef struct tn_plan_memory {
    tn_device *device;                              // NULL: no segment is on it, and all else is 0
    uint64_t weights_bytes, kv_bytes;               // all weights, and the KV cache
    uint64_t scratch_bytes;                         // what programs need, what crosses their borders, traces
    uint64_t mapped_bytes;                          // of weights_bytes: in mapped files, which need no memory of the device
    uint64_t needed_bytes;                          // all together, without what is mapped; set by tn_plan_memory_ask
    uint64_t device_total_bytes, device_free_bytes; // UINT64_MAX: unknown; set by tn_plan_memory_ask
} tn_plan_memory;

// Adds up what each device needs and asks it for what it has.  Errors: INVALID_ARGUMENT (no memory is that large), those of drivers.
tn_status tn_plan_memory_ask(tn_plan_memory *memory, uint32_t n_devices);
// OUT_OF_MEMORY where a device has not what is needed: names it, the parts, what is free, and what to change. Devices that take the host's
// memory are refused together, and only where it is clearly too little: what is free of it is a guess, and pages are taken as they are
// touched.
tn_status tn_plan_memory_check(const tn_plan_memory *memory, uint32_t n_devices);

#endif
