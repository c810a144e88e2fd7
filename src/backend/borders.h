// The values that cross a program's borders: what a submit's buffers must hold.
#ifndef TN_BACKEND_BORDERS_H
#define TN_BACKEND_BORDERS_H

#include "backend/backend.h"

typedef struct tn_border {
    uint32_t value; // TN_NONE: nothing crosses
    tn_rows rows;
    uint64_t row_bytes;
} tn_border;

typedef struct tn_borders {
    tn_border in, out;
} tn_borders;

tn_borders tn_borders_of(const tn_program_desc *desc);
// Bytes that a step takes in or gives out.
uint64_t tn_border_bytes(const tn_border *border, const tn_step *step);
// The submit's places: poison, and buffers of the device that hold the step's rows.  Errors: INVALID_ARGUMENT.
tn_status tn_borders_check(const tn_borders *borders, const tn_device *device, const tn_submit *submit);

#endif
