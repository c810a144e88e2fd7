// Which layer runs on which device: ask for a placement, read it, print it.
#ifndef TERNION_PLACEMENT_H
#define TERNION_PLACEMENT_H

#include "ternion/device.h"
#include "ternion/model.h"

#ifdef __cplusplus
extern "C" {
#endif

// One or more replicas: copies of the model, each with a device for the embedding, for every layer and for the head. Immutable; any thread.
typedef struct tn_placement tn_placement;

#define TN_GPU_LAYERS_ALL (-1)

// What devices are chosen for.
typedef enum tn_goal {
    TN_GOAL_DEFAULT,    // LATENCY for one sequence, THROUGHPUT for more
    TN_GOAL_LATENCY,    // the shortest time from a token to the next
    TN_GOAL_THROUGHPUT, // the most tokens a second over all sequences
    TN_GOAL_MEMORY,     // the least memory
} tn_goal;

// Devices are chosen by measured speeds where several can be used and nothing is forced: no n_gpu_layers, tensor_split, overrides or
// replicas, and no `devices`, or a goal beside them. What is chosen among is devices that are not emulated, a card that two drivers list
// once; or those of `devices`. Devices that were never measured are measured then, which takes some seconds each (tn_host_calibrate; told
// to tn_host_params.progress); one that nobody named and that cannot be measured is left out, with a warning in the log. Where there is no
// choice, nothing is measured.
typedef struct tn_placement_params {
    uint32_t struct_size;
    // "cpu0,cpu1": devices in the order of the layers; NULL: all that can be used and are not emulated. Each is a name, a number in the
    // host's list, "gpu0" (the first card that is no CPU and not emulated), a bus id ("pci:0000:01:00.0", or without the domain 0000), or a
    // part of one device's description ("4090").
    const char *devices;
    bool has_n_gpu_layers; // false: every layer is on `devices`
    // So many last layers are on `devices`, the others, the embedding and the head on the first CPU device: 1 is the last layer. With more
    // than the model has layers, or TN_GPU_LAYERS_ALL, the head is on `devices` too.
    int32_t n_gpu_layers;
    tn_goal goal;
    uint32_t n_seqs;              // that will be decoded at a time; 0: 1
    uint32_t n_ctx;               // positions of each; 0: the model's context
    const char *tensor_split;     // "3,1" or "3/1": parts of the layers for each of `devices`, in order; NULL: even
    const char *const *overrides; // [n_overrides] "REGEX=DEVICE": layers whose tensors' names fit are on that device
    uint32_t n_overrides;
    const char *memory_limits; // "cuda0=4G,cpu0=512M": use no more of these devices, chosen or forced; NULL: what is free
    bool replicas;             // each of `devices` has a copy of the whole model
    // "cuda0.mem=24G,cpu0.speed=2,cuda1=off": choose as if it were so, for tn_placement_explain; NULL: as it is.
    const char *assume;
    bool explain;          // choose though there is one device, or a list of them alone, so that tn_placement_explain tells
    bool known_only;       // measure nothing: devices that were never measured are not chosen; without any that was, the first is taken
    uint32_t calibrate_ms; // for measuring a device; 0: 4000
} tn_placement_params;
#define TN_PLACEMENT_PARAMS_INIT TN_PARAMS_INIT(tn_placement_params)

// Forced layers are shared over `devices` evenly, or as tensor_split says, in order.  Borrows `host` and `model` until destroyed; params
// are copied. Returns owned. Errors: NOT_FOUND (no such device or tensor: the message lists what there is), INVALID_ARGUMENT (also where a
// part of a description is several devices', where a device to choose from or for a copy is named twice, and where wishes contradict each
// other), UNAVAILABLE (the device cannot be used; the message
// says why), OUT_OF_MEMORY (no choice fits, or what is forced is above a limit), those of measuring.
TN_NODISCARD TN_API tn_status tn_placement_create(const tn_model *model, tn_host *host, const tn_placement_params *params,
                                                  tn_placement **out_placement);
TN_API void tn_placement_destroy(tn_placement *placement);
// Copies of the model; a session is of one of them (tn_session_params.replica).
TN_API uint32_t tn_placement_replica_count(const tn_placement *placement);
// Sequences of `n_seqs` that replica `replica` should decode; in all n_seqs. By the devices' speed where all of them were measured: of
// forced replicas each has one at least, where there are as many.
TN_API uint32_t tn_placement_share(const tn_placement *placement, uint32_t replica, uint32_t n_seqs);
// Of the first replica.
TN_API uint32_t tn_placement_segment_count(const tn_placement *placement);
// One line of text: "cpu0: embedding, layers 0-2 | cpu1: layers 3-5, head"; of several replicas their devices, where they were chosen with
// the sequences of each: "cpu0 x8 + cpu1 x8". Writes at most `capacity` bytes with terminator, returns the full length.
TN_API size_t tn_placement_print(const tn_placement *placement, char *text, size_t capacity);

// A device among which was chosen. Strings are borrowed during the call.
typedef struct tn_placement_device {
    uint32_t struct_size;
    const char *name, *description;
    uint64_t memory_bytes;     // that the choice may use
    double tokens_per_s_one;   // the whole model for one sequence, whether it fits or not; 0: it cannot run it
    double tokens_per_s;       // and for n_seqs
    double memory_bytes_per_s; // measured; 0: unknown
    double error;              // of predictions, as a share, for shapes that were not measured; below 0: unknown
    uint64_t measured_at_s;    // calendar time, since 1970; 0: it was not measured, and takes no part
    int32_t numa_node;         // that a GPU is at; -1: unknown, or the notion does not apply
} tn_placement_device;

typedef enum tn_placement_kind { TN_PLACEMENT_ONE, TN_PLACEMENT_REPLICAS, TN_PLACEMENT_PIPELINE } tn_placement_kind;

// A placement that was looked at. Strings are borrowed during the call.
typedef struct tn_placement_option {
    uint32_t struct_size;
    tn_placement_kind kind;
    bool chosen;
    bool fits;
    const char *where;            // as tn_placement_print has it
    double tokens_per_s, step_ms; // predicted, for n_seqs; of replicas by the slowest one's share
    double bubble;                // of a pipeline: share of their time that its devices wait
    uint32_t n_lanes;             // of a pipeline: steps in flight at a time
    uint64_t bytes;               // memory of all devices, about
    const char *reason;           // why it was not chosen, and how many devices were not looked at for it; "" for the one that was
    double sharing_loss;          // share of the speed, of each device alone, that is lost since CPU devices read the same memory; 0: none
} tn_placement_option;

// Tells what was chosen among, devices first, the choice first of the options; nothing where the placement was forced. Either function may
// be NULL.
TN_API void tn_placement_explain(const tn_placement *placement, void (*device)(void *user, const tn_placement_device *device),
                                 void (*option)(void *user, const tn_placement_option *option), void *user);

// What the placement should reach where it was chosen, in steps of `n_seqs` sequences that see `n_positions` each on average, in tokens a
// second; 0: nothing is predicted, as of placements that were forced.
TN_API double tn_placement_predict(const tn_placement *placement, uint32_t n_seqs, uint32_t n_positions);

// A form that a device keeps weights in. Strings are borrowed from the host.
typedef struct tn_layout_info {
    const char *device, *layout; // "cpu0", "t2_16"
    bool is_ternary;
    uint32_t n_weights;
    uint64_t n_elements, size_bytes; // of all these weights
} tn_layout_info;

// Tells each layout of each device that the placement uses, by replicas and in the order of the layers: what sessions would pack the
// weights into. Opens the devices.  Errors: those of tn_session_create without packing.
TN_NODISCARD TN_API tn_status tn_placement_layouts(const tn_placement *placement, void (*told)(void *user, const tn_layout_info *layout),
                                                   void *user);
// What tn_session_params.two_stage would add to the weights of the sessions with this placement, one for each replica, and the file's head;
// 0 where it makes no copy. Opens the devices.  Errors: those of tn_session_create without packing.
TN_NODISCARD TN_API tn_status tn_placement_two_stage_bytes(const tn_placement *placement, const char *two_stage, uint64_t *out_bytes);

// What a session would take of a device's memory, and what the device has. `device` is borrowed from the host.
typedef struct tn_device_memory {
    const char *device;     // "cuda0"
    uint64_t weights_bytes; // all of them
    uint64_t mapped_bytes;  // of weights_bytes: in files of packed weights, which are mapped and need no memory
    uint64_t kv_bytes;
    uint64_t scratch_bytes; // values of steps, and of traces
    uint64_t needed_bytes;  // all that, without what is mapped
    // UINT64_MAX: unknown. CPU devices share the host's memory, of which each tells the whole.
    uint64_t device_total_bytes, device_free_bytes;
} tn_device_memory;

struct tn_session_params; // ternion/session.h

// Tells for each device of the placement what a session with these params (NULL: defaults; their placement is not looked at) would need of
// its memory, without packing weights or taking memory of devices; of the host's memory what sessions keep for themselves is left out.
// Opens the devices; where one is lost meanwhile, or has no memory to be opened with, tells of those that a session goes on on, and the
// session that is created then says which was lost (tn_session_params.no_recovery: fails). tn_session_create refuses what does not fit:
// with OUT_OF_MEMORY, and these figures in its message.  Errors: those of tn_session_create without packing.
TN_NODISCARD TN_API tn_status tn_placement_memory(const tn_placement *placement, const struct tn_session_params *params,
                                                  void (*told)(void *user, const tn_device_memory *memory), void *user);

#ifdef __cplusplus
}
#endif
#endif
