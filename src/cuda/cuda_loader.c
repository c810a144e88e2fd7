// From NVIDIA's library to a table of functions and the number of devices; where there is none of these, the reason.
#include "cuda/cuda_loader.h"

#include "base/alloc.h"
#include "cuda/cuda_device.h"
#include "cuda/cuda_image.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static const char usual_library[] = "libcuda.so.1";

#define ABSENT(driver, ...) snprintf((driver)->absent, sizeof(driver)->absent, __VA_ARGS__)

// Version numbers as text: "12.4".
#define VERSION_FORMAT "%d.%d"
#define VERSION_OF(v)  (v) / 1000, (v) % 1000 / 10

// Whether the driver is new enough; says so where it is not.
static bool check_version(tn_cuda_driver *driver)
{
    const int needed = driver->is_stand_in ? TN_CUDA_DRIVER_MIN : tn_cuda_built_driver(&tn_cuda_images_built); // a stand-in has its own
    if (driver->version >= needed) return true;
    ABSENT(driver, "the driver is for CUDA " VERSION_FORMAT ", and " VERSION_FORMAT " is needed: update it", VERSION_OF(driver->version),
           VERSION_OF(needed));
    return false;
}

static void open_library(tn_cuda_driver *driver, const char *name)
{
    // It stays in the process: drivers have threads and state of their own, which nobody can say are gone.
    driver->library = dlopen(name ? name : usual_library, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (driver->library) return;
    const char *reason = dlerror();
    if (!name && reason && strstr(reason, "cannot open shared object file: No such file"))
        ABSENT(driver, "NVIDIA's driver is not installed (there is no %s)", usual_library);
    else
        ABSENT(driver, "NVIDIA's driver cannot be loaded: %.180s", reason ? reason : name ? name : usual_library);
}

// dlsym's answer as a function.
static void find_symbol(void *library, const char *name, void *out_function)
{
    void *found = dlsym(library, name);
    memcpy(out_function, &found, sizeof found);
}

// Of a library that lacks cuGetProcAddress_v2: too old a driver, or none.
static void judge_old_library(tn_cuda_driver *driver, const char *name)
{
    CUresult (*get_version)(int *version);
    find_symbol(driver->library, "cuDriverGetVersion", &get_version);
    if (get_version && get_version(&driver->version) == CUDA_SUCCESS && !check_version(driver)) return;
    ABSENT(driver, "%.160s is no driver of NVIDIA's: it has no cuGetProcAddress_v2", name ? name : usual_library);
}

// NULL: there is none, and `absent` says why.
static tn_cuda_get_proc *find_get_proc(tn_cuda_driver *driver, const char *name)
{
    tn_cuda_get_proc *get;
    const tn_cuda_hooks *hooks = driver->hooks;
    if (hooks && hooks->get_proc) {
        driver->is_stand_in = hooks->is_stand_in;
        return hooks->get_proc;
    }
    if (hooks && hooks->no_library)
        ABSENT(driver, "NVIDIA's driver is not installed (there is no %s)", usual_library);
    else
        open_library(driver, name);
    if (!driver->library) return NULL;
    int (*stands_in)(void);
    find_symbol(driver->library, TN_CUDA_STAND_IN_SYMBOL, &stands_in);
    driver->is_stand_in = stands_in && stands_in() != 0;
    find_symbol(driver->library, "cuGetProcAddress_v2", &get);
    if (!get) judge_old_library(driver, name);
    return get;
}

// The name of the first function that is missing, or NULL.
static const char *load_functions(tn_cuda_api *cu, tn_cuda_get_proc *get)
{
    int found;
#define TN_CUDA_SYM(name, version, ...)                                                                                                    \
    if (get(#name, (void **)&cu->name, version, CU_GET_PROC_ADDRESS_DEFAULT, &found) != CUDA_SUCCESS || !cu->name) return #name;
#include "cuda/cuda_syms.inc"
#undef TN_CUDA_SYM
    return NULL;
}

// The version is asked for first: it says more than a function that is missing.
static bool load_table(tn_cuda_driver *driver, tn_cuda_get_proc *get)
{
    int found;
    tn_cuda_api *cu = &driver->cu;
    CUresult result = get("cuDriverGetVersion", (void **)&cu->cuDriverGetVersion, 2020, CU_GET_PROC_ADDRESS_DEFAULT, &found);
    if (result == CUDA_SUCCESS && cu->cuDriverGetVersion) result = cu->cuDriverGetVersion(&driver->version);
    if (result != CUDA_SUCCESS || !cu->cuDriverGetVersion) {
        ABSENT(driver, "the driver does not tell its version (%d): reinstall it", result);
        return false;
    }
    if (!check_version(driver)) return false;
    const char *missing = load_functions(cu, get);
    if (missing) ABSENT(driver, "the driver for CUDA " VERSION_FORMAT " has no %s: reinstall it", VERSION_OF(driver->version), missing);
    return !missing;
}

static bool initialise(tn_cuda_driver *driver)
{
    const CUresult result = driver->cu.cuInit(0);
    switch (result) {
    case CUDA_SUCCESS: return true;
    case CUDA_ERROR_NO_DEVICE: ABSENT(driver, "the driver found no GPU of NVIDIA's"); return false;
    case CUDA_ERROR_SYSTEM_DRIVER_MISMATCH:
        ABSENT(driver, "the driver's library and the kernel's module are of different versions: restart the machine");
        return false;
    case CUDA_ERROR_STUB_LIBRARY:
        ABSENT(driver, "the library is the CUDA toolkit's stub, which is no driver: take its folder out of LD_LIBRARY_PATH");
        return false;
    default: ABSENT(driver, "the driver could not be started: %s (%d)", tn_cuda_result_name(&driver->cu, result), result); return false;
    }
}

static void find_devices(tn_cuda_driver *driver)
{
    int n = 0;
    const CUresult result = driver->cu.cuDeviceGetCount(&n);
    if (result != CUDA_SUCCESS)
        ABSENT(driver, "devices could not be counted: %s (%d)", tn_cuda_result_name(&driver->cu, result), result);
    else if (n <= 0)
        ABSENT(driver, "the driver found no GPU of NVIDIA's");
    else
        driver->n_devices = (uint32_t)n;
}

static void start(tn_cuda_driver *driver, const char *library)
{
    tn_cuda_get_proc *get = find_get_proc(driver, library);
    if (!get || !load_table(driver, get)) return;
    if (driver->hooks && driver->hooks->wrap) driver->hooks->wrap(driver->hooks->ctx, &driver->cu);
    if (initialise(driver)) find_devices(driver);
}

static tn_status create(const tn_backend_host *host, tn_cuda_driver **out_driver)
{
    tn_cuda_driver *driver;
    *out_driver = NULL;
    TN_TRY(tn_alloc_zero(1, sizeof *driver, &driver));
    driver->n_users = 1;
    driver->hooks = host->cuda_hooks;
    if (host->cuda_off)
        ABSENT(driver, "switched off");
    else
        start(driver, host->cuda_library);
    *out_driver = driver;
    return TN_OK;
}

static void release_kept(void *state) { tn_cuda_driver_release(state); }

tn_status tn_cuda_driver_acquire(const tn_backend_host *host, tn_cuda_driver **out_driver)
{
    tn_backend_keep *keep = host->keep;
    if (!keep || !keep->state) TN_TRY(create(host, out_driver));
    if (!keep) return TN_OK;
    if (!keep->state) {
        keep->state = *out_driver;
        keep->release = release_kept;
        memcpy(keep->absent, (*out_driver)->absent, sizeof keep->absent);
    }
    *out_driver = keep->state;
    (*out_driver)->hooks = host->cuda_hooks; // of the device that is asked for now
    (*out_driver)->n_users++;
    return TN_OK;
}

void tn_cuda_driver_release(tn_cuda_driver *driver)
{
    if (!driver || --driver->n_users > 0) return;
    if (driver->library) dlclose(driver->library);
    tn_free(driver);
}
