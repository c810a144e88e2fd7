// An opened CUDA device as the backend's other files see it.
#ifndef TN_CUDA_CUDA_DEVICE_H
#define TN_CUDA_CUDA_DEVICE_H

#include "backend/backend.h"
#include "cuda/cuda_loader.h"

#include <pthread.h>

// Kernels by number.
typedef enum tn_cuda_kernel {
#define TN_CUDA_KERNEL(name, params, threads, form) TN_CUDA_##name,
#include "cuda/kernels/cuda_kernels.inc"
#undef TN_CUDA_KERNEL
    TN_CUDA_N_KERNELS
} tn_cuda_kernel;

typedef enum tn_cuda_form {
    TN_CUDA_FORM_ANY,
    TN_CUDA_FORM_DP4A,
    TN_CUDA_FORM_MMA,
    TN_CUDA_FORM_BMMA,
    TN_CUDA_FORM_NO_BMMA,
    TN_CUDA_FORM_WGMMA
} tn_cuda_form;
typedef struct tn_cuda_kernel_info {
    const char *name;
    uint32_t params_bytes, threads;
    tn_cuda_form form;
} tn_cuda_kernel_info;
extern const tn_cuda_kernel_info tn_cuda_kernels[TN_CUDA_N_KERNELS];

// What the device is.
typedef struct tn_cuda_traits {
    uint32_t capability; // 90
    uint32_t n_sms;
    uint32_t shared_bytes; // of a block, where it asks for more than usual
    bool has_mma;          // m16n8k32 of bytes
    bool has_bmma;         // m16n8k256 of bits
    bool has_wgmma;        // products of warpgroups, and the build's kernels for them
    bool starts_early;     // a kernel can begin while the one before it still runs (programmatic dependent launch)
    bool is_integrated;
} tn_cuda_traits;

struct tn_cuda_program;
typedef struct tn_cuda_staging tn_cuda_staging; // cuda_memory.h

typedef struct tn_cuda_device {
    tn_device base;
    pthread_mutex_t mutex; // held from tn_cuda_enter to tn_cuda_leave, but not while a step is waited for
    char name[32];
    tn_cuda_driver *driver; // shared with the host and its other devices
    const tn_cuda_api *cu;  // the driver's
    CUdevice handle;
    CUcontext context;
    CUstream stream;   // of steps and of transfers
    CUmodule *modules; // owned; of the images that the library brings
    uint32_t n_modules;
    CUfunction functions[TN_CUDA_N_KERNELS];    // NULL: not of this device's form
    uint32_t shared_allowed[TN_CUDA_N_KERNELS]; // dynamic shared memory that a function may be launched with; 0: the usual
    tn_cuda_traits traits;
    tn_cuda_staging *staging;
    tn_log log;
    uint64_t n_submits;                // value of the last fence
    struct tn_cuda_program *in_flight; // programs whose fence was not waited for
    CUresult lost;                     // why the device is lost, from then on; CUDA_SUCCESS: it is not
} tn_cuda_device;

static inline tn_cuda_device *tn_cuda_device_of(tn_device *device) { return (tn_cuda_device *)device; }

// "CUDA_ERROR_LAUNCH_FAILED"; static text.
const char *tn_cuda_result_name(const tn_cuda_api *cu, CUresult result);
// The status of a CUresult: OUT_OF_MEMORY; DEVICE_LOST for what leaves a context unusable (ILLEGAL_ADDRESS, LAUNCH_FAILED, LAUNCH_TIMEOUT,
// ECC_UNCORRECTABLE, ..); UNAVAILABLE (no device, no binary for it, driver mismatch); else INTERNAL. Records `what` failed with the
// result's name and number.
tn_status tn_cuda_check_at(const char *file, int line, const tn_cuda_api *cu, CUresult result, const char *what);
#define TN_CUDA_CHECK(cu, result, what) tn_cuda_check_at(__FILE__, __LINE__, (cu), (result), (what))

// Around each function of the backend's table that reaches the driver: lets in one thread at a time, and makes the context its own. A
// device that is lost stays lost.  Errors: DEVICE_LOST, at once.
tn_status tn_cuda_enter(tn_cuda_device *device);
// The same for what must be done of a lost device too: its programs leave the flight.
tn_status tn_cuda_enter_to_wait(tn_cuda_device *device);
// Returns `status`; failures of the driver name the device, and DEVICE_LOST is remembered.
tn_status tn_cuda_leave(tn_cuda_device *device, tn_status status);
// The context alone, of a device that may be lost: for what gives something back, and for threads that work for one that entered.
tn_status tn_cuda_context_push(tn_cuda_device *device);
tn_status tn_cuda_context_pop(tn_cuda_device *device);
// Names the device in the record of the failure: in its field, and, where a call of the driver failed, in front of the message too.
void tn_cuda_error_name(const tn_cuda_device *device);
tn_status tn_cuda_name_failure(const char *name, tn_status status);
// Whether a block can have so much dynamic shared memory beside the kernel's own arrays, which the device counts too.
bool tn_cuda_has_shared(const tn_cuda_device *device, uint32_t n_bytes);
// Lets a kernel be launched with so much: with its own arrays it may be more than the 48 KiB that nobody has to ask for.  Errors:
// UNSUPPORTED (the device has less).
tn_status tn_cuda_allow_shared(tn_cuda_device *device, tn_cuda_kernel kernel, uint32_t n_bytes);

// The backend table's functions.
tn_status tn_cuda_device_count(const tn_backend_host *host, uint32_t *out_count);
tn_status tn_cuda_device_describe(const tn_backend_host *host, uint32_t index, tn_device_desc *out_desc);
tn_status tn_cuda_device_open(const tn_backend_host *host, uint32_t index, tn_device **out_device);
void tn_cuda_device_close(tn_device *device);
// Measures how fast memory is read and bytes are multiplied; n_threads means nothing here.
tn_status tn_cuda_device_measure(tn_device *device, uint32_t n_threads, uint64_t time_ns, tn_measured_fn *told, void *user);

#endif
