// The host and its devices: enumerate, describe.
#ifndef TERNION_DEVICE_H
#define TERNION_DEVICE_H

#include "ternion/base.h"

#ifdef __cplusplus
extern "C" {
#endif

// The machine as ternion sees it: topology, backends and the devices opened so far. One thread at a time.
typedef struct tn_host tn_host;

#define TN_CPU_DEVICES_NUMA UINT32_MAX

typedef struct tn_host_params {
    uint32_t struct_size;
    // CPU threads over all CPU devices; 0: one for each core of the fastest kind that this process may use, as far as a quota lets them
    // run at once.
    uint32_t n_threads;
    // 0: environment TN_CPU_DEVICES ("numa" is the name of TN_CPU_DEVICES_NUMA there), else 1. Each gets its share of the cores.
    // TN_CPU_DEVICES_NUMA: a device for each NUMA node.
    uint32_t n_cpu_devices;
    bool no_bind;            // true: leave the placement of threads to the operating system
    const char *cpu_isa_max; // highest level: "avx2", on ARM "neon" (README.md lists them); NULL: environment TN_CPU_MASK, else no limit
    tn_log log;
    // How CPU devices keep ternary weights: "t2_16" (2 bits a weight) or "t5_16" (1.6 bits); NULL: environment TN_CPU_PACKING, else "auto":
    // whichever is measured to be read faster. Changes no result.
    const char *cpu_packing;
    // Whether CPU devices leave out what squared ReLU makes 0: "on", "off"; NULL: environment TN_CPU_SKIP, else "auto": they count zeros
    // for some steps, and where there are enough make second copies of the weights and keep what is measured to be faster. Changes no
    // result.
    const char *cpu_skip;
    // Form of the kernels of Vulkan devices: "dot" (integer dot products), "mul" (plain multiplications), "mul_texel" (these, reading
    // through textures); NULL: environment TN_VULKAN_KERNELS, else "auto": by the device. Changes no result. TN_VULKAN=off and TN_CUDA=off
    // in the environment hide all devices of these; TN_CUDA_LIBRARY names the library of NVIDIA's driver.
    const char *vulkan_kernels;
    // Folder where drivers' compiled shaders, and that a device passed its self-test, are kept for the next start; made where it is
    // missing. NULL: they are not kept.
    const char *cache_folder;
    // While a device is opened, on first use: its self-test, shaders that are compiled for it. A call for which a device is opened then
    // ends with CANCELLED where `update` says so. A session's own goes before it. Kept until the host is closed.
    tn_progress progress;
} tn_host_params;
#define TN_HOST_PARAMS_INIT TN_PARAMS_INIT(tn_host_params)

typedef struct tn_device_info {
    char name[32];         // "cpu0": what --device takes
    char backend[16];      // "cpu", "cuda", "vulkan"
    char description[128]; // product name
    char isa[32];          // highest level of the kernels in use: "scalar", "avx512vnni", "i8mm"; "" on devices other than CPUs
    uint32_t n_threads;    // 0 where the notion does not apply
    uint64_t memory_bytes; // total memory that the device may use
    uint64_t memory_free_bytes;
    bool is_software; // emulates a GPU on the CPU: never chosen unless named
    // Of GPUs; "" or 0 where the notion does not apply.
    char driver[96];      // name and version of the driver
    char bus_id[16];      // "0000:01:00.0"; --device takes it as "pci:0000:01:00.0"
    char kernels[16];     // form of the kernels in use: "dot", "mul", "mul_texel"; of CUDA devices the architecture: "sm_90"
    char integer_dot[16]; // products of packed 8-bit integers: "fast", "emulated", "none"
    uint32_t subgroup_size;
    char unusable[256]; // why no model can run on it, one line; "" where one can
} tn_device_info;

// A kind of devices that the library was built with.
typedef struct tn_backend_info {
    char name[16]; // "cpu", "cuda", "vulkan"
    uint32_t n_devices;
    char absent[256]; // why there are no devices of it, one line: no loader, no driver; "" where there are some
} tn_backend_info;

// The machine, as far as this process may use it.
typedef struct tn_host_info {
    char cpu_model[128]; // "" where unknown
    uint32_t n_packages, n_numa_nodes;
    uint32_t n_cores, n_processors;         // processors: SMT siblings counted
    uint32_t n_cores_at_once;               // what a cgroup's CPU quota leaves, at most n_cores
    uint64_t l1d_bytes, l2_bytes, l3_bytes; // of one cache; 0: none or unknown
    uint64_t memory_bytes;                  // at most a cgroup's limit
} tn_host_info;

// Looks at the machine; no device is opened yet, and drivers of GPUs are loaded when first asked for: by the functions below, and by a
// placement that names a device that is no CPU. `params` NULL: defaults. Returns owned.
// Errors: INVALID_ARGUMENT (thread or device count impossible here, unknown ISA name), OUT_OF_MEMORY.
TN_NODISCARD TN_API tn_status tn_host_open(const tn_host_params *params, tn_host **out_host);
// Closes every device. Sessions on this host must be destroyed before. NULL is fine.
TN_API void tn_host_close(tn_host *host);
TN_API void tn_host_get_info(const tn_host *host, tn_host_info *out_info);
// Devices of all backends. A backend that cannot list its own is left out, with a warning in the log.
TN_API uint32_t tn_host_device_count(const tn_host *host);
// Devices that are listed so far, the first of all: those of CPUs, and every one as soon as any other was asked for.
TN_API uint32_t tn_host_devices_listed(const tn_host *host);
TN_API uint32_t tn_host_backend_count(const tn_host *host);
// Describes backend `index`.  Errors: INVALID_ARGUMENT, OUT_OF_MEMORY.
TN_NODISCARD TN_API tn_status tn_host_backend_info(const tn_host *host, uint32_t index, tn_backend_info *out_info);
// Describes device `index`.  Errors: INVALID_ARGUMENT.
TN_NODISCARD TN_API tn_status tn_host_device_info(const tn_host *host, uint32_t index, tn_device_info *out_info);
// The index of the device that `name` means, as tn_placement_params.devices has it.  Errors: NOT_FOUND (the message lists the devices),
// INVALID_ARGUMENT (a part of several devices' descriptions), UNAVAILABLE (it cannot be used; the message says why), OUT_OF_MEMORY.
TN_NODISCARD TN_API tn_status tn_host_find_device(const tn_host *host, const char *name, uint32_t *out_index);
// Calls `line` for each kernel that device `index` has, the chosen ones marked. Errors: INVALID_ARGUMENT, OUT_OF_MEMORY, CANCELLED.
TN_NODISCARD TN_API tn_status tn_host_device_kernels(tn_host *host, uint32_t index,
                                                     void (*line)(void *user, const char *kernel, bool chosen), void *user);

// A limit of a device as it was measured. Rates are a second: bytes for TN_LIMIT_MEMORY_READ; for TN_LIMIT_INT8_DOT operations on int8
// values, of which a product and its addition are two.
typedef enum tn_limit_kind { TN_LIMIT_MEMORY_READ, TN_LIMIT_INT8_DOT } tn_limit_kind;
typedef struct tn_device_limit {
    tn_limit_kind kind;
    char name[32];       // kernel level that reached it: "avx512vnni"
    uint32_t n_threads;  // 0 on devices that have none
    double best, median; // of several passes
    double theoretical;  // by the firmware's table of memory modules, or the clock and the processor's data sheet; 0: unknown
} tn_device_limit;

typedef struct tn_device_limits_params {
    uint32_t struct_size;
    uint32_t n_threads; // measure with that many; 0: 1, 2 and so on to all (beyond 8: powers of two, and all)
    uint32_t time_ms;   // for each figure; 0: 120, or less where all of them would take more than 3 seconds
    bool (*told)(void *user, const tn_device_limit *limit); // each figure, borrowed during the call; false cancels
    void *user;
} tn_device_limits_params;
#define TN_DEVICE_LIMITS_PARAMS_INIT TN_PARAMS_INIT(tn_device_limits_params)

// Measures what device `index` can do at best: reading memory that is in no cache, and int8 dot products, for each level that it may use
// and each number of threads; of a GPU how fast its memory is read, under its own name, and of a CUDA device int8 products. Nothing should
// run on the machine meanwhile. Takes some 256 MiB of memory for the time. Errors: INVALID_ARGUMENT, OUT_OF_MEMORY, CANCELLED.
TN_NODISCARD TN_API tn_status tn_host_device_limits(tn_host *host, uint32_t index, const tn_device_limits_params *params);

// What a model's parts take on a device, measured with made-up models; what ternion's choice of devices rests on.
typedef struct tn_device_calibration_params {
    uint32_t struct_size;
    uint32_t time_ms; // for measuring; 0: 3000. Packing and compiling of the models come on top; by the clock some three times that at most
    bool anew;        // measure, though figures are kept
    bool small;       // small models alone, in little memory: for tests, since large models are predicted badly then
    tn_progress progress;
} tn_device_calibration_params;
#define TN_DEVICE_CALIBRATION_PARAMS_INIT TN_PARAMS_INIT(tn_device_calibration_params)

#define TN_CALIBRATION_STEPS   5
#define TN_CALIBRATION_FIGURES 7

// Of a part of BitNet b1.58 2B4T, as an example: every model's parts are predicted from the same measurements.
typedef struct tn_calibration_figure {
    char name[24];                        // "layer", "embedding", "head q6_k", "model": all of it, with that head
    double step_ns[TN_CALIBRATION_STEPS]; // time of a step of so many tokens, each of its own sequence at position 512
    double error[TN_CALIBRATION_STEPS];   // |predicted / measured - 1| of shapes that were measured, but not learned from; -1: not known
} tn_calibration_figure;

typedef struct tn_device_calibration {
    uint32_t struct_size;
    bool was_known;         // nothing was measured now
    uint64_t measured_at_s; // since 1970
    uint32_t n_observed;    // steps of real runs that corrected the figures since
    uint32_t n_steps, n_figures;
    uint32_t step_tokens[TN_CALIBRATION_STEPS];
    double memory_bytes_per_s; // reading weights that are in no cache; 0: not known
    // Transfers between the host's memory and the device's.
    double to_device_ns, to_device_bytes_per_s, to_host_ns, to_host_bytes_per_s;
    tn_calibration_figure figures[TN_CALIBRATION_FIGURES];
    // Where the host has several CPU devices, what the "model" takes while all of them read their weights from memory at the same time, as
    // factors of its step_ns: 1 is the same.
    uint32_t n_together; // of these devices; 0: not measured
    double together[TN_CALIBRATION_STEPS];
} tn_device_calibration;
#define TN_DEVICE_CALIBRATION_INIT TN_PARAMS_INIT(tn_device_calibration)

// The figures of device `index`: kept ones of the same machine, device, driver, number of threads and version where the host has a
// cache_folder, else measured now, which takes some seconds, and kept. Nothing else should run on the machine meanwhile. Takes at most a
// quarter of the device's free memory. Errors: INVALID_ARGUMENT, UNAVAILABLE, OUT_OF_MEMORY, CANCELLED, DEVICE_LOST.
TN_NODISCARD TN_API tn_status tn_host_calibrate(tn_host *host, uint32_t index, const tn_device_calibration_params *params,
                                                tn_device_calibration *out_calibration);

#ifdef __cplusplus
}
#endif
#endif
