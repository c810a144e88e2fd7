// Which layer runs on which device: ask for a placement, read it, print it.
#ifndef TERNION_PLACEMENT_H
#define TERNION_PLACEMENT_H

#include "ternion/device.h"
#include "ternion/model.h"

#ifdef __cplusplus
extern "C" {
#endif

// A device for the embedding, for every layer and for the head. Immutable; any thread.
typedef struct tn_placement tn_placement;

#define TN_GPU_LAYERS_ALL (-1)

typedef struct tn_placement_params {
    uint32_t struct_size;
    // "cpu0,cpu1": devices in the order of the layers; NULL: the first device that can be used and is not emulated. Each is a name, a
    // number in the host's list, a bus id ("pci:0000:01:00.0", or without the domain 0000), or a part of one device's description ("4090").
    const char *devices;
    bool has_n_gpu_layers; // false: every layer is on `devices`
    int32_t n_gpu_layers;  // that many last layers (the head counts as one more) on `devices`, the others on the first CPU device
} tn_placement_params;
#define TN_PLACEMENT_PARAMS_INIT TN_PARAMS_INIT(tn_placement_params)

// Layers are shared evenly and in order over `devices`.  Borrows `host` and `model` until destroyed. Returns owned.
// Errors: NOT_FOUND (no such device: the message lists them), INVALID_ARGUMENT (also where a part of a description is several devices'),
// UNAVAILABLE (the device cannot be used; the message says why).
TN_NODISCARD TN_API tn_status tn_placement_create(const tn_model *model, tn_host *host, const tn_placement_params *params,
                                                  tn_placement **out_placement);
TN_API void tn_placement_destroy(tn_placement *placement);
TN_API uint32_t tn_placement_segment_count(const tn_placement *placement);
// One line of text: "cpu0: embedding, layers 0-2 | cpu1: layers 3-5, head". Writes at most `capacity` bytes with terminator, returns the
// full length.
TN_API size_t tn_placement_print(const tn_placement *placement, char *text, size_t capacity);

// A form that a device keeps weights in. Strings are borrowed from the host.
typedef struct tn_layout_info {
    const char *device, *layout; // "cpu0", "t2_16"
    bool is_ternary;
    uint32_t n_weights;
    uint64_t n_elements, size_bytes; // of all these weights
} tn_layout_info;

// Tells each layout of each device that the placement uses, in the order of the layers: what a session would pack the weights into. Opens
// the devices.  Errors: those of tn_session_create without packing.
TN_NODISCARD TN_API tn_status tn_placement_layouts(const tn_placement *placement, void (*told)(void *user, const tn_layout_info *layout),
                                                   void *user);
// What tn_session_params.two_stage would add to the weights of a session with this placement and the file's head; 0 where it makes no copy.
// Opens the devices.  Errors: those of tn_session_create without packing.
TN_NODISCARD TN_API tn_status tn_placement_two_stage_bytes(const tn_placement *placement, const char *two_stage, uint64_t *out_bytes);

#ifdef __cplusplus
}
#endif
#endif
