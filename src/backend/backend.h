// The one interface between ternion and a kind of device. Nobody reaches a backend except by it.
//
// Flow: device_open -> weight_layout for every weight of a segment -> program_check -> buffer_create, weight_pack -> program_create (once)
// -> program_submit (each step) -> fence_wait.
//
// Threads: devices are told apart; what follows is of one. buffer_write, buffer_read, program_submit and fence_wait are called by any
// thread, several at a time, on programs and buffers of their own: a program has one submit in flight, and nobody else touches its `in`,
// `out`, step and results from its submit to the end of its wait. While a thread is in fence_wait, others go on. All other functions are
// called by one thread at a time, and while no other function of the device is in progress.
#ifndef TN_BACKEND_BACKEND_H
#define TN_BACKEND_BACKEND_H

#include "backend/step.h"
#include "graph/op.h"

#define TN_BACKEND_ABI 1u

// Every backend's own structs begin with these headers.
typedef struct tn_backend tn_backend;
typedef struct tn_device {
    const tn_backend *backend;
    const char *name;          // "cpu0"; lives as long as the device
    uint64_t buffer_bytes_max; // of one buffer; 0: as large as memory
    bool takes_host_memory;    // its buffers are the host's memory, taken as it is touched and shared with all devices that say so
    bool copies_maps;          // buffer_map makes a copy: the caller's memory is not needed afterwards
    bool records_buffers;      // a submit with other buffers than the program's last one costs as much as many steps' preparation
    uint32_t ranking_max;      // candidates a row that its programs rank at most (tn_submit.ranking); 0: they rank none
} tn_device;
typedef struct tn_buffer {
    tn_device *device;
    uint64_t size_bytes;
} tn_buffer;
typedef struct tn_program {
    tn_device *device;
} tn_program;

// A CPU device's share of the host, decided by the scheduler from the topology.
typedef struct tn_cpu_share {
    uint32_t n_threads;
    uint64_t memory_bytes;
    uint64_t cache_bytes; // of the last-level caches that its cores use; 0: unknown
    // Binds the calling thread, number `thread` of the device, to its core; NULL: threads stay unbound. A failure is only logged.
    tn_status (*bind)(void *ctx, uint32_t thread);
    // Lets untouched memory that mostly `thread` will read come from its NUMA node; NULL: there is one node. A failure is only logged.
    tn_status (*bind_memory)(void *ctx, uint32_t thread, void *bytes, size_t n_bytes);
    void *bind_ctx;
} tn_cpu_share;

// What a backend keeps for a host from call to call, so that a driver is loaded once. Zero-initialise; belongs to whoever made the host's
// struct, who calls `release`, where there is one, after all devices of the backend are closed.
typedef struct tn_backend_keep {
    void *state;
    void (*release)(void *state);
    char absent[256]; // why there is no device of the backend, one line; "" where there are some or nobody asked yet
} tn_backend_keep;

// What backends may know of the host. Borrowed; outlives every device.
typedef struct tn_backend_host {
    uint32_t n_cpu_shares;
    const tn_cpu_share *cpu_shares;
    const char *cpu_isa_max; // NULL: no limit
    const char *cpu_packing; // layout of ternary weights, "t2_16" or "t5_16"; NULL: the faster one, measured
    const char *cpu_skip;    // "auto", "on", "off": squared-ReLU skipping; NULL: auto
    tn_log log;
    tn_backend_keep *keep;                  // of the backend that is called; NULL: its driver is loaded anew in every call
    bool vulkan_off;                        // there are no Vulkan devices, and no driver is looked for
    const char *vulkan_kernels;             // "dot", "mul", "mul_texel"; NULL or "auto": by the device
    const char *cache_folder;               // where a driver's compiled shaders are kept; NULL: nowhere
    const struct tn_vk_hooks *vulkan_hooks; // vulkan/vk_loader.h, for tests; NULL: none
    bool cuda_off;                          // there are no CUDA devices, and no driver is looked for
    const char *cuda_library;               // of NVIDIA's driver; NULL: libcuda.so.1
    const struct tn_cuda_hooks *cuda_hooks; // cuda/cuda_loader.h, for tests; NULL: none
    const tn_progress *progress;            // of device_open, while it takes long; NULL: nobody is told
} tn_backend_host;

typedef struct tn_device_desc {
    char name[32]; // "cpu0"
    char description[128];
    char isa[32]; // "" where the notion does not apply
    uint32_t n_threads;
    uint64_t memory_bytes, memory_free_bytes;
    bool is_software;
    // "", or 0, where the notion does not apply.
    char driver[96];      // name and version
    char bus_id[16];      // "0000:01:00.0"
    char kernels[16];     // form of the kernels where isa says nothing: "dot"
    char integer_dot[16]; // "fast", "emulated", "none"
    uint32_t subgroup_size;
    char unusable[256]; // why the device cannot be opened, one line; "" where it can
} tn_device_desc;

// Where a packed weight lies and in which form.
typedef struct tn_weight_layout {
    uint32_t layout_id; // private to the backend
    uint64_t size_bytes;
    uint32_t alignment_bytes;
    const char *name;      // for people: "t2_16"; static text
    uint64_t screen_bytes; // of size_bytes: the copy that tn_weight_source.screening asks for; 0: there is none
} tn_weight_layout;

typedef struct tn_packed_weight {
    tn_buffer *buffer; // NULL: not on this device
    uint64_t offset_bytes;
    tn_weight_layout layout;
} tn_packed_weight;

// After a value is computed, its rows are also copied to `buffer` (f32 [rows][width]): how traces look inside a program.
typedef struct tn_tap {
    uint32_t value;
    tn_buffer *buffer;
} tn_tap;

// Where the time of a program's submits went, added up; a program adds to it before its fence. As one worker sees it: what it computes, and
// what it waits for the others, is the time of the submit.
typedef struct tn_program_stats {
    uint64_t n_submits;
    uint64_t n_barriers;      // places where the workers met
    uint64_t barrier_wait_ns; // waiting there
    uint64_t *node_ns;        // [graph->n_nodes], computing each node
    // Of steps that leave out what squared ReLU makes 0: neurons that are, for all tokens of their step, by their gate and by their code.
    uint64_t n_gates, n_gates_zero, n_codes, n_codes_zero;
} tn_program_stats;

// What screening did (tn_step_view.n_top), added up; a program adds to it before its fence.
typedef struct tn_screen_stats {
    uint64_t n_rows;  // rows of logits that were screened
    uint64_t n_kept;  // logits that were computed exactly in them
    uint64_t n_whole; // rows of logits that were computed whole though few of their logits were wanted: too many, or too few were spared
} tn_screen_stats;

// A run of nodes to compile. Everything is borrowed: arrays during the call, buffers and graph until the program is destroyed.
typedef struct tn_program_desc {
    const tn_graph *graph;
    uint32_t first_node, n_nodes;
    uint32_t in_value, out_value;    // TN_NONE for in_value: the step's tokens
    const tn_packed_weight *weights; // [graph->n_weights]
    tn_buffer *kv;                   // limits.n_kv_pages * n_layers * tn_kv_page_layer_bytes; NULL where n_layers is 0
    int32_t first_layer;
    uint32_t n_layers;
    tn_step_limits limits; // of every step: its layout follows from them (tn_step_layout_of)
    const tn_tap *taps;
    uint32_t n_taps;
    tn_program_stats *stats;       // NULL: none are kept. Borrowed until the program is destroyed
    tn_screen_stats *screen_stats; // the same
    const tn_progress *progress;   // of program_create, while it takes long; NULL: nobody is told
    // A permission: products with a dense head of floats may be rounded otherwise, by fused multiply-adds and tensor cores. All else, and
    // what is poison, stays as it is.
    bool is_fast;
} tn_program_desc;

// What program_check finds.
typedef struct tn_program_needs {
    uint32_t n_tokens;      // where the description is refused: the most tokens a step may have for it to be taken; 0: none
    uint64_t scratch_bytes; // where it is taken: what program_create will take of the device's memory, at most
} tn_program_needs;

// The best logits of rows, ranked by the device, so that nobody has to read the rows: of row r counts[r] candidates, best first (logit
// descending, id ascending). All of it is host memory of the caller, written before the fence.
typedef struct tn_ranking {
    uint32_t max;     // candidates a row, at most the device's ranking_max
    uint32_t *counts; // [n_logits]: what the step's n_top asks for; 0: the row was not ranked, and its logits are in `out`
    uint32_t *ids;    // [n_logits][max], below n_top_ids
    float *logits;    // [n_logits][max]
} tn_ranking;

typedef struct tn_submit {
    const tn_step *step; // as the layout of the program's limits has it; unchanged until the fence
    tn_buffer *in;       // f32 [n_tokens][width]; NULL where the program starts from tokens
    tn_buffer *out;      // f32 [rows][width]
    // Host memory [n_tokens], set by the program before its fence: 1 + index of the first node that stored a value not below 2^56 for that
    // token, else 0. (A row of logits counts for its token.)
    uint32_t *poison;
    // Of steps with n_top, on devices that rank; NULL: rows are not ranked. `out` is written all the same.
    const tn_ranking *ranking;
} tn_submit;

typedef struct tn_fence {
    uint64_t value;
} tn_fence;

// A limit of a device, measured. Rates are a second: bytes of MEMORY_READ, operations of INT8_DOT (a product and its addition are two).
typedef enum tn_measured_kind { TN_MEASURED_MEMORY_READ, TN_MEASURED_INT8_DOT } tn_measured_kind;
typedef struct tn_measured_limit {
    tn_measured_kind kind;
    char name[32]; // of the way it was measured: a level of the CPU
    uint32_t n_threads;
    double best, median;
    double theoretical; // 0: unknown
} tn_measured_limit;
// Told each figure; false ends the measuring.
typedef bool tn_measured_fn(void *user, const tn_measured_limit *limit);

struct tn_backend {
    uint32_t abi_version; // TN_BACKEND_ABI
    uint32_t struct_size;
    const char *name; // "cpu"
    // Changes whenever weight_pack makes other bytes of the same source and layout_id: packed weights that were kept in a file are then
    // made anew. Never NULL.
    const char *pack_id;
    // Counting devices loads a driver, which takes time: a host does it when a device is asked for that no backend before has.
    bool loads_driver;

    // Devices. Counting opens none and succeeds with 0 where driver or hardware is absent (tn_backend_keep.absent says why).
    tn_status (*device_count)(const tn_backend_host *host, uint32_t *out_count);
    tn_status (*device_describe)(const tn_backend_host *host, uint32_t index, tn_device_desc *out_desc);
    // Opens and self-tests a device.  Borrows `host` until closed. Errors: UNAVAILABLE, OUT_OF_MEMORY, INVALID_ARGUMENT, INTERNAL
    // (self-test).
    tn_status (*device_open)(const tn_backend_host *host, uint32_t index, tn_device **out_device);
    void (*device_close)(tn_device *device);
    // Calls `line` for each kernel, the chosen ones marked.
    tn_status (*device_kernels)(tn_device *device, void (*line)(void *user, const char *kernel, bool chosen), void *user);

    // Memory. New buffers are zero.
    // All of the device's memory, and how much of it could be had now; UINT64_MAX: unknown. Where devices share the host's memory, each
    // tells of the whole.  Errors: those of a driver.
    tn_status (*device_memory)(tn_device *device, uint64_t *out_total, uint64_t *out_free);
    tn_status (*buffer_create)(tn_device *device, uint64_t size_bytes, tn_buffer **out_buffer);
    void (*buffer_destroy)(tn_buffer *buffer);
    tn_status (*buffer_write)(tn_buffer *buffer, uint64_t offset_bytes, const void *src, uint64_t n_bytes);
    tn_status (*buffer_read)(tn_buffer *buffer, uint64_t offset_bytes, void *dst, uint64_t n_bytes);
    // A buffer over host memory that others own, read-only, 64-byte aligned, unchanged until the buffer is destroyed: packed weights in a
    // mapped file.  Errors: UNSUPPORTED where the device cannot read host memory (the caller packs as usual), INVALID_ARGUMENT,
    // OUT_OF_MEMORY.
    tn_status (*buffer_map)(tn_device *device, const void *bytes, uint64_t size_bytes, tn_buffer **out_buffer);

    // Weights: size of the device's own form, and making it, in parallel.
    // A device may have forms to choose from, which it does by measuring when weight_layout first meets a model where it matters. This
    // makes candidate `index` its choice without measuring, since packed weights of that form may be in a file; where there is no such
    // candidate it answers false and the choice is open again. A device whose choice was made by measuring or by the host keeps it and
    // answers false.
    bool (*packing_assume)(tn_device *device, uint32_t index);
    tn_status (*weight_layout)(tn_device *device, const tn_weight_source *source, tn_weight_layout *out_layout);
    tn_status (*weight_pack)(tn_device *device, const tn_weight_source *source, tn_buffer *buffer, uint64_t offset_bytes);

    // Ops: OK, or UNSUPPORTED with the reason.
    tn_status (*op_supported)(tn_device *device, const tn_graph *graph, const tn_node *node);

    // Whether program_create takes this description, and what memory it needs: asked before weights are packed, which takes long. They have
    // their places, in buffers of which nothing but device and size exists; `kv` and the taps' buffers are not looked at. Takes no memory
    // of the device. UNSUPPORTED with the reason where a program would not be made.
    tn_status (*program_check)(tn_device *device, const tn_program_desc *desc, tn_program_needs *out_needs);

    // Programs: compiled once, submitted many times, one submit in flight per program. submit returns at once.
    tn_status (*program_create)(tn_device *device, const tn_program_desc *desc, tn_program **out_program);
    void (*program_destroy)(tn_program *program);
    // Bytes of the device's memory that it took when it was made, and what it has taken since.
    uint64_t (*program_scratch_bytes)(const tn_program *program);
    tn_status (*program_submit)(tn_program *program, const tn_submit *submit, tn_fence *out_fence);
    tn_status (*fence_wait)(tn_device *device, tn_fence fence);

    // What the device can do at best, measured on `n_threads` of its threads (1 to all of them; ignored where it has none): reading memory
    // beyond its caches, then the int8 dot product of each of its levels, slowest first. A figure takes about `time_ns`. Nothing else may
    // run on the device meanwhile. Errors: INVALID_ARGUMENT (n_threads), OUT_OF_MEMORY, CANCELLED (`told` returned false).
    tn_status (*device_measure)(tn_device *device, uint32_t n_threads, uint64_t time_ns, tn_measured_fn *told, void *user);
};

// Backends compiled in, in order of preference.   Threads: any.
const tn_backend *const *tn_backend_list(uint32_t *out_count);

#endif
