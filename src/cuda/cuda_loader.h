// NVIDIA's driver: its library found at run time, the table of functions, and the devices that it knows.
#ifndef TN_CUDA_CUDA_LOADER_H
#define TN_CUDA_CUDA_LOADER_H

#include "backend/backend.h"
#include "cuda/cuda_driver.h"

// Driver versions as the driver counts them: 1000 * major + 10 * minor.
enum { TN_CUDA_DRIVER_MIN = 12030 };

// A library that stands for the driver in tests brings its own kernels: it exports this function, int (void), whose answer is not 0, and
// its name for devices is "cuda:host".
#define TN_CUDA_STAND_IN_SYMBOL "tn_cuda_stand_in"

// How tests stand between ternion and the driver (tn_backend_host.cuda_hooks).
typedef struct tn_cuda_hooks {
    void (*wrap)(void *ctx, tn_cuda_api *api); // called when the table is filled, which it may replace; NULL: it is not
    void *ctx;
    tn_cuda_get_proc *get_proc; // NULL: the library's
    bool is_stand_in;           // get_proc's driver brings its own kernels
    bool no_library;            // as if there were none
    bool skips_selftest;
    bool fills_scratch;          // what programs do not clear themselves begins as NaN, not as 0
    uint32_t compute_capability; // 75: devices are taken for such ones; 0: what they are
    uint64_t staging_bytes;      // of each of the two staging buffers; 0: as usual
} tn_cuda_hooks;

typedef struct tn_cuda_driver {
    uint32_t n_users;
    void *library;
    tn_cuda_api cu;
    int version;
    bool is_stand_in;
    uint32_t n_devices;
    const tn_cuda_hooks *hooks;
    char absent[256]; // why there are no devices; "" where there are some
} tn_cuda_driver;

// The host's driver, loaded when first asked for; without tn_backend_host.keep anew. Library, driver or device may be absent: that is no
// failure.  Errors: OUT_OF_MEMORY.    Threads: one at a time for a host.
tn_status tn_cuda_driver_acquire(const tn_backend_host *host, tn_cuda_driver **out_driver);
void tn_cuda_driver_release(tn_cuda_driver *driver); // NULL is fine

#endif
