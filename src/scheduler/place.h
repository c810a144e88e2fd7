// Which unit (embedding, each layer, head) runs on which device, as the user forces it. A pure function; it chooses nothing itself.
#ifndef TN_SCHEDULER_PLACE_H
#define TN_SCHEDULER_PLACE_H

#include "backend/backend.h"

typedef struct tn_place_request {
    // Comma list; NULL: the first device that is not software and can be used. Each item is a name ("vulkan0"), a number in the list of
    // devices, a bus id ("pci:0000:01:00.0", the domain may be left out), or a part (3 characters or more) of the description of one device
    // alone, in any case.
    const char *devices;
    bool has_n_gpu_layers;
    int32_t n_gpu_layers; // -1: all
} tn_place_request;

// Whether a list has nothing but names of these devices: then no other devices need be known to place by it. NULL, the default, needs them
// where all of these are software or cannot be used.
bool tn_place_is_known(const char *devices, const tn_device_desc *descs, uint32_t n_descs);
// devices[0]: embedding, devices[1 + i]: layer i, devices[1 + n_layers]: head; indexes into descs.
// Errors: NOT_FOUND (the message lists the devices), INVALID_ARGUMENT (also where an item means several devices), UNAVAILABLE (the device
// cannot be used; the message says why).
tn_status tn_place_forced(const tn_place_request *request, uint32_t n_layers, const tn_device_desc *descs, uint32_t n_descs,
                          uint32_t *out_devices);
// One line of text; writes at most `capacity` bytes with terminator, returns the full length.
size_t tn_place_print(const uint32_t *devices, uint32_t n_layers, const tn_device_desc *descs, char *text, size_t capacity);

#endif
