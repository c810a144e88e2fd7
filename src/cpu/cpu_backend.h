// The CPU backend's device and buffers, shared by its files.
#ifndef TN_CPU_BACKEND_H
#define TN_CPU_BACKEND_H

#include "cpu/kernel.h"
#include "cpu/pack.h"
#include "cpu/pool.h"

// Squared-ReLU skipping of a device's programs, and where one of them stands.
typedef enum tn_cpu_skip_state {
    TN_CPU_SKIP_NEVER,    // switched off, or nothing to skip
    TN_CPU_SKIP_COUNTING, // are there zeros enough?
    TN_CPU_SKIP_TRYING,   // by measurement, each number of tokens for itself
    TN_CPU_SKIP_ALWAYS,
} tn_cpu_skip_state;

typedef struct tn_cpu_device {
    tn_device base;
    char name[32];
    tn_isa_set levels;
    tn_cpu_kernels kernels; // the best of these levels
    tn_cpu_pool *pool;      // owned
    tn_cpu_share share;     // what its callbacks borrow outlives the device
    tn_log log;
    uint64_t cache_bytes;    // of the last level; 0: unknown
    uint64_t memory_bytes;   // that the device may use, at most a cgroup's limit
    uint64_t host_bytes;     // the same of all CPU devices together
    tn_cpu_layout ternary;   // for models whose weights come from memory; 0: not chosen yet
    bool ternary_is_fixed;   // by the host, for all models
    bool ternary_is_assumed; // not measured
    tn_cpu_skip_state skip;  // how programs begin: NEVER, COUNTING or ALWAYS
} tn_cpu_device;

typedef struct tn_cpu_buffer {
    tn_buffer base;
    uint8_t *data;    // owned, 64-byte aligned
    bool is_mapped;   // data is mapped, not allocated
    bool is_borrowed; // somebody else's, read-only
} tn_cpu_buffer;

static inline tn_cpu_device *tn_cpu_device_of(tn_device *device) { return (tn_cpu_device *)device; }
static inline uint8_t *tn_cpu_buffer_data(tn_buffer *buffer) { return ((tn_cpu_buffer *)buffer)->data; }

// Bytes that the process could still take: of what the system has without swapping, and of its own limit.
uint64_t tn_cpu_memory_left(const tn_cpu_device *device);

// The chosen kernel of a slot, as the list of kernels has it.
void (*tn_cpu_kernel_chosen(const tn_cpu_kernels *kernels, tn_kernel_slot slot))(void);

// Sets the layout that the host demands; "": none.  Errors: INVALID_ARGUMENT (no such layout).
tn_status tn_cpu_packing_fix(tn_cpu_device *device, const char *name);
// tn_backend.packing_assume.
bool tn_cpu_packing_assume(tn_device *device, uint32_t index);
// The layout of a ternary source on this device. The first source of a model that no cache holds makes it measure which one is read faster,
// which takes some hundredths of a second.   Errors: OUT_OF_MEMORY.
tn_status tn_cpu_packing_choose(tn_cpu_device *device, const tn_weight_source *source, tn_cpu_layout *out_layout);

// Compares every chosen kernel with src/ref on small random shapes. Run it where rounding is the workers'.  Takes some milliseconds.
// Errors: INTERNAL, with the kernel's name; OUT_OF_MEMORY.
tn_status tn_cpu_selftest(const tn_cpu_kernels *kernels);

// Entries of the table that live in files of their own.
tn_status tn_cpu_weight_layout(tn_device *device, const tn_weight_source *source, tn_weight_layout *out_layout);
tn_status tn_cpu_weight_pack(tn_device *device, const tn_weight_source *source, tn_buffer *buffer, uint64_t offset_bytes);
tn_status tn_cpu_op_supported(tn_device *device, const tn_graph *graph, const tn_node *node);
tn_status tn_cpu_program_check(tn_device *device, const tn_program_desc *desc, tn_program_needs *out_needs);
tn_status tn_cpu_program_create(tn_device *device, const tn_program_desc *desc, tn_program **out_program);
void tn_cpu_program_destroy(tn_program *program);
uint64_t tn_cpu_program_scratch_bytes(const tn_program *program);
tn_status tn_cpu_program_submit(tn_program *program, const tn_submit *submit, tn_fence *out_fence);
tn_status tn_cpu_device_measure(tn_device *device, uint32_t n_threads, uint64_t time_ns, tn_measured_fn *told, void *user);

#endif
