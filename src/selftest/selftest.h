// The self-test of a device, through its backend's table: programs over a small net, in steps of one, a few and many tokens, against
// src/ref by bits; rankings too, of devices that rank.
#ifndef TN_SELFTEST_SELFTEST_H
#define TN_SELFTEST_SELFTEST_H

#include "backend/backend.h"

typedef struct tn_selftest_params {
    const char *name, *form, *driver; // of the device, its kernels and its driver, for messages
    const tn_progress *progress;      // of making programs, as "testing kernels"; NULL: nobody is told
    bool steps_of_one;                // steps of one token alone
    bool rope_unseen;                 // what RoPE gives is not looked at: devices that fuse it with attention do so then alone
    bool steps_of_wide;               // steps of TN_SELFTEST_WIDE tokens too, for devices that have other kernels for so many
    bool other_heads;                 // attention over heads of other sizes too, for devices that have other kernels for them
    bool singles_of_many;             // each op for itself in steps of many tokens too, for devices that have other kernels for them, and
                                      // layers in steps of more sizes
} tn_selftest_params;

// Errors: INTERNAL with *out_differs (other bits than the reference's: which ops, and that the device is left out); what running programs
// ends with.
tn_status tn_selftest_run(tn_device *device, const tn_selftest_params *params, bool *out_differs);

#endif
