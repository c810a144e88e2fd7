// Which unit (embedding, each layer, head) runs on which device, as the user forces it. A pure function; it chooses nothing itself.
#ifndef TN_SCHEDULER_PLACE_H
#define TN_SCHEDULER_PLACE_H

#include "backend/backend.h"
#include "graph/op.h"

typedef struct tn_place_request {
    // Comma list; NULL: the first device that is not software and can be used. Each item is a name ("vulkan0"), a number in the list of
    // devices, "gpu0" (a card by its number), a bus id ("pci:0000:01:00.0", the domain may be left out), or a part (3 characters or more)
    // of the description of one device alone, in any case.
    const char *devices;
    bool has_n_gpu_layers;
    int32_t n_gpu_layers; // -1: all
    // "3,1" or "3/1": parts of the layers for each listed device, in order; fewer parts than devices: the others get none. NULL: even.
    // Without `devices` the list is of all devices that are not software and can be used.
    const char *tensor_split;
} tn_place_request;

// Whether a list has nothing but names of these devices: then no other devices need be known to place by it. NULL, the default, needs them
// where all of these are software or cannot be used.
bool tn_place_is_known(const char *devices, const tn_device_desc *descs, uint32_t n_descs);
// devices[0]: embedding, devices[1 + i]: layer i, devices[1 + n_layers]: head; indexes into descs.
// Errors: NOT_FOUND (the message lists the devices), INVALID_ARGUMENT (also where an item means several devices), UNAVAILABLE (the device
// cannot be used; the message says why).
tn_status tn_place_forced(const tn_place_request *request, uint32_t n_layers, const tn_device_desc *descs, uint32_t n_descs,
                          uint32_t *out_devices);
// Moves units to other devices: each of `overrides` is "REGEX=DEVICE", a POSIX extended regular expression that is looked for in the names
// of tensors. The first that fits a unit's matrices counts for it.  Errors: INVALID_ARGUMENT (not of that form, no such tensor, only some
// of a layer's matrices: layers are placed whole), those of a device's name.
tn_status tn_place_override(const char *const *overrides, uint32_t n_overrides, const tn_graph *graph, const tn_device_desc *descs,
                            uint32_t n_descs, uint32_t *devices);
// The devices of a list, in order, at most n_max: what tn_place_forced places on. NULL: all that are not software and can be used; of a
// card that several drivers list the first.
tn_status tn_place_list(const char *devices, const tn_device_desc *descs, uint32_t n_descs, uint32_t n_max, uint32_t *out_devices,
                        uint32_t *out_n);
// Limits of memory by device: "cuda0=4G,cpu0=512MiB" (K, M, G, T, of 1024; without one bytes), each a device as in lists. Sets those that
// are named in limits[n_descs].  Errors: INVALID_ARGUMENT (no size, a device twice), those of a device's name.
tn_status tn_place_memory_limits(const char *text, const tn_device_desc *descs, uint32_t n_descs, uint64_t *limits);
// Assumptions for what-if questions: "cuda0.mem=24G,cpu0.speed=2,cuda1=off". Sets memory (bytes), speeds (factors) and off of the devices
// that are named; the arrays are [n_descs]. Of several for the same the last one counts.  Errors: INVALID_ARGUMENT, those of a device's
// name.
tn_status tn_place_assume(const char *text, const tn_device_desc *descs, uint32_t n_descs, uint64_t *memory, double *speeds, bool *off);
// One line of text; writes at most `capacity` bytes with terminator, returns the full length.
size_t tn_place_print(const uint32_t *devices, uint32_t n_layers, const tn_device_desc *descs, char *text, size_t capacity);
// The same of devices that are indexes into `of`, which has indexes into descs.
size_t tn_place_print_from(const uint32_t *devices, uint32_t n_layers, const tn_device_desc *descs, const uint32_t *of, char *text,
                           size_t capacity);

#endif
