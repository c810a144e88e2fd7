// Opening and closing a device: its context, its stream, and the kernels of its form.
#include "cuda/cuda_device.h"

#include "base/alloc.h"
#include "cuda/cuda_describe.h"
#include "cuda/cuda_image.h"
#include "cuda/cuda_memory.h"
#include "cuda/kernels/kernel_params.h"

#include <stdio.h>
#include <string.h>

// A transfer of it takes half a millisecond over PCIe, against which starting one is nothing.
static const uint64_t staging_bytes_usual = UINT64_C(16) << 20;
enum { SHARED_BYTES_USUAL = 48 << 10 }; // of a block, its own arrays included
enum { WGMMA_CAPABILITY = 90 };         // that has products of warpgroups; none after it has them
enum { EARLY_CAPABILITY = 90 };         // from which on kernels are compiled to wait for one another, and devices let them begin early

tn_status tn_cuda_device_count(const tn_backend_host *host, uint32_t *out_count)
{
    *out_count = 0;
    tn_cuda_driver *driver;
    TN_TRY(tn_cuda_driver_acquire(host, &driver));
    *out_count = driver->n_devices;
    tn_cuda_driver_release(driver);
    return TN_OK;
}

// Failures of the driver begin with the device's name.
static tn_status facts_of(const tn_cuda_driver *driver, uint32_t index, bool asks_memory, tn_cuda_facts *out_facts)
{
    const tn_status status = tn_cuda_facts_read(driver, index, asks_memory, out_facts);
    return status == TN_OK || tn_error_last()->native_code == 0 ? status : tn_cuda_name_failure(out_facts->name, status);
}

tn_status tn_cuda_device_describe(const tn_backend_host *host, uint32_t index, tn_device_desc *out_desc)
{
    *out_desc = (tn_device_desc){0};
    tn_cuda_driver *driver;
    tn_cuda_facts facts;
    TN_TRY(tn_cuda_driver_acquire(host, &driver));
    const tn_status status = facts_of(driver, index, true, &facts);
    tn_cuda_driver_release(driver);
    if (status == TN_OK) tn_cuda_facts_describe(&facts, out_desc);
    return status;
}

static tn_status load_module(tn_cuda_device *device, const void *image, const char *name)
{
    char what[96];
    CUmodule module;
    snprintf(what, sizeof what, "cuModuleLoadData of %.60s", name);
    const CUresult result = device->cu->cuModuleLoadData(&module, image);
    if (result == CUDA_ERROR_NO_BINARY_FOR_GPU) {
        const tn_status status =
            tn_fail_native(TN_UNAVAILABLE, result,
                           "%s: this build of ternion has no kernels for sm_%u (%s: CUDA_ERROR_NO_BINARY_FOR_GPU): "
                           "build it with -DTN_CUDA_ARCHS=%u",
                           device->name, (unsigned)device->traits.capability, what, (unsigned)device->traits.capability);
        tn_cuda_error_name(device);
        return status;
    }
    TN_TRY(TN_CUDA_CHECK(device->cu, result, what));
    device->modules[device->n_modules++] = module;
    return TN_OK;
}

// A stand-in has its kernels itself. Those for products of warpgroups are there where the build is for devices that have them.
static tn_status load_modules(tn_cuda_device *device)
{
    const bool is_stand_in = device->driver->is_stand_in;
    const uint32_t capability = device->traits.capability;
    TN_TRY(tn_alloc_zero(is_stand_in ? 1 : tn_cuda_n_images, sizeof *device->modules, &device->modules));
    if (is_stand_in) {
        device->traits.has_wgmma = capability == WGMMA_CAPABILITY;
        return load_module(device, TN_CUDA_STAND_IN_SYMBOL, "the stand-in's kernels");
    }
    for (uint32_t i = 0; i < tn_cuda_n_images; i++) {
        const tn_cuda_image *image = &tn_cuda_images[i];
        if (image->only != 0 && image->only != capability) continue;
        TN_TRY(load_module(device, image->begin, image->name));
        device->traits.has_wgmma |= image->only == WGMMA_CAPABILITY;
    }
    return TN_OK;
}

static tn_status find_function(tn_cuda_device *device, tn_cuda_kernel kernel)
{
    CUfunction function = NULL;
    CUresult result = CUDA_ERROR_NOT_FOUND;
    for (uint32_t i = 0; i < device->n_modules && result == CUDA_ERROR_NOT_FOUND; i++)
        result = device->cu->cuModuleGetFunction(&function, device->modules[i], tn_cuda_kernels[kernel].name);
    TN_TRY(TN_CUDA_CHECK(device->cu, result, "cuModuleGetFunction"));
    device->functions[kernel] = function;
    return TN_OK;
}

// Multiprocessors share their fast memory between L1 and shared memory as a kernel needs it, and must be empty to change that. Where one
// kernel begins while another runs, all of them want the same: as much shared memory as there is.
static tn_status want_shared(const tn_cuda_device *device, tn_cuda_kernel kernel)
{
    enum { ALL = 100 };
    const int attribute = CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT;
    return TN_CUDA_CHECK(device->cu, device->cu->cuFuncSetAttribute(device->functions[kernel], attribute, ALL), "cuFuncSetAttribute");
}

static tn_status find_functions(tn_cuda_device *device)
{
    const bool has_form[] = {[TN_CUDA_FORM_ANY] = true,
                             [TN_CUDA_FORM_DP4A] = !device->traits.has_mma,
                             [TN_CUDA_FORM_MMA] = device->traits.has_mma,
                             [TN_CUDA_FORM_BMMA] = device->traits.has_bmma,
                             [TN_CUDA_FORM_NO_BMMA] = !device->traits.has_bmma,
                             [TN_CUDA_FORM_WGMMA] = device->traits.has_wgmma};
    for (uint32_t i = 0; i < TN_CUDA_N_KERNELS; i++) {
        if (!has_form[tn_cuda_kernels[i].form]) continue;
        TN_TRY(find_function(device, (tn_cuda_kernel)i));
    }
    return TN_OK;
}

// The device alone does not say it: its driver may have compiled a build's PTX for older ones, whose kernels do not wait.
static tn_status let_begin_early(tn_cuda_device *device)
{
    if (device->traits.capability < EARLY_CAPABILITY) return TN_OK;
    for (uint32_t i = 0; i < TN_CUDA_N_KERNELS; i++) {
        int compiled_for = EARLY_CAPABILITY;
        const CUfunction function = device->functions[i];
        if (function)
            TN_TRY(TN_CUDA_CHECK(device->cu, device->cu->cuFuncGetAttribute(&compiled_for, CU_FUNC_ATTRIBUTE_PTX_VERSION, function),
                                 "cuFuncGetAttribute"));
        if (compiled_for < EARLY_CAPABILITY) return TN_OK;
    }
    device->traits.starts_early = true;
    for (uint32_t i = 0; i < TN_CUDA_N_KERNELS; i++) {
        if (device->functions[i]) TN_TRY(want_shared(device, (tn_cuda_kernel)i));
    }
    return TN_OK;
}

static uint64_t with_own(uint32_t n_bytes) { return (uint64_t)n_bytes + TN_CUDA_ONE_OWN_SHARED_BYTES; }

bool tn_cuda_has_shared(const tn_cuda_device *device, uint32_t n_bytes)
{
    return with_own(n_bytes) <= SHARED_BYTES_USUAL || with_own(n_bytes) <= device->traits.shared_bytes;
}

tn_status tn_cuda_allow_shared(tn_cuda_device *device, tn_cuda_kernel kernel, uint32_t n_bytes)
{
    if (n_bytes <= device->shared_allowed[kernel]) return TN_OK;
    if (!tn_cuda_has_shared(device, n_bytes))
        return tn_fail(TN_UNSUPPORTED, "%s: %s needs %u bytes of shared memory for a block; the device has %u", device->name,
                       tn_cuda_kernels[kernel].name, (unsigned)n_bytes, (unsigned)device->traits.shared_bytes);
    TN_TRY(TN_CUDA_CHECK(
        device->cu,
        device->cu->cuFuncSetAttribute(device->functions[kernel], CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, (int)n_bytes),
        "cuFuncSetAttribute"));
    device->shared_allowed[kernel] = n_bytes;
    return TN_OK;
}

// From the driver to a context.
static tn_status attach(tn_cuda_device *device, const tn_backend_host *host, uint32_t index)
{
    tn_cuda_facts facts;
    CUcontext context;
    TN_TRY(tn_cuda_driver_acquire(host, &device->driver));
    TN_TRY(facts_of(device->driver, index, false, &facts));
    if (facts.unusable[0])
        return tn_fail(TN_UNAVAILABLE, "device %s (%.120s) cannot be used: %s", facts.name, facts.product, facts.unusable);
    memcpy(device->name, facts.name, sizeof device->name);
    device->base.name = device->name;
    device->cu = &device->driver->cu;
    device->handle = facts.handle;
    device->traits = facts.traits;
    device->log = host->log;
    device->base.copies_maps = true;
    device->base.ranking_max = TN_CUDA_RANK_MAX;
    const tn_status status =
        TN_CUDA_CHECK(device->cu, device->cu->cuDevicePrimaryCtxRetain(&context, facts.handle), "cuDevicePrimaryCtxRetain");
    if (status != TN_OK) return tn_cuda_name_failure(device->name, status);
    device->context = context;
    return TN_OK;
}

// Within the context.
static tn_status set_up(tn_cuda_device *device)
{
    CUstream stream;
    const tn_cuda_hooks *hooks = device->driver->hooks;
    TN_TRY(TN_CUDA_CHECK(device->cu, device->cu->cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), "cuStreamCreate"));
    device->stream = stream;
    TN_TRY(load_modules(device));
    TN_TRY(find_functions(device));
    TN_TRY(let_begin_early(device));
    return tn_cuda_staging_create(device, hooks && hooks->staging_bytes ? hooks->staging_bytes : staging_bytes_usual);
}

tn_status tn_cuda_device_open(const tn_backend_host *host, uint32_t index, tn_device **out_device)
{
    *out_device = NULL;
    tn_cuda_device *device;
    TN_TRY(tn_alloc_zero(1, sizeof *device, &device));
    pthread_mutex_init(&device->mutex, NULL);
    tn_status status = attach(device, host, index);
    if (status == TN_OK) status = tn_cuda_enter(device);
    if (status == TN_OK) status = tn_cuda_leave(device, set_up(device));
    if (status == TN_OK)
        *out_device = &device->base;
    else
        tn_cuda_device_close(&device->base);
    return status;
}

// What it holds in its context. Of a lost device every call fails, and its context takes everything with it.
static void tear_down(tn_cuda_device *device)
{
    const tn_cuda_api *cu = device->cu;
    if (device->stream) (void)cu->cuStreamSynchronize(device->stream);
    tn_cuda_staging_destroy(device);
    for (uint32_t i = 0; i < device->n_modules; i++) (void)cu->cuModuleUnload(device->modules[i]);
    if (device->stream) (void)cu->cuStreamDestroy(device->stream);
}

void tn_cuda_device_close(tn_device *base)
{
    if (!base) return;
    tn_cuda_device *device = tn_cuda_device_of(base);
    const tn_error failure = *tn_error_last(); // of an open that failed: what happens here is less
    if (device->context && tn_cuda_context_push(device) == TN_OK) {
        tear_down(device);
        (void)tn_cuda_context_pop(device);
    }
    if (device->context) (void)device->cu->cuDevicePrimaryCtxRelease(device->handle);
    tn_cuda_driver_release(device->driver);
    tn_free(device->staging); // left where the context could not be entered, which took all else with it
    tn_free(device->modules);
    pthread_mutex_destroy(&device->mutex);
    tn_free(device);
    tn_error_set(&failure);
}
