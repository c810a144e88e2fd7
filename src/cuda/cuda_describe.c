// Asks the driver what a device is and has.
#include "cuda/cuda_describe.h"

#include "cuda/cuda_image.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define UNUSABLE(facts, ...) snprintf((facts)->unusable, sizeof(facts)->unusable, __VA_ARGS__)

static tn_status attribute(const tn_cuda_api *cu, CUdevice device, int which, uint32_t *out)
{
    int value = 0;
    *out = 0;
    TN_TRY(TN_CUDA_CHECK(cu, cu->cuDeviceGetAttribute(&value, which, device), "cuDeviceGetAttribute"));
    *out = value > 0 ? (uint32_t)value : 0;
    return TN_OK;
}

static tn_status read_traits(const tn_cuda_driver *driver, tn_cuda_facts *facts)
{
    const tn_cuda_api *cu = &driver->cu;
    const CUdevice device = facts->handle;
    tn_cuda_traits *out = &facts->traits;
    uint32_t major, minor, integrated;
    TN_TRY(attribute(cu, device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, &major));
    TN_TRY(attribute(cu, device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, &minor));
    TN_TRY(attribute(cu, device, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, &out->n_sms));
    TN_TRY(attribute(cu, device, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, &out->shared_bytes));
    TN_TRY(attribute(cu, device, CU_DEVICE_ATTRIBUTE_INTEGRATED, &integrated));
    const uint32_t pretended = driver->hooks ? driver->hooks->compute_capability : 0;
    facts->capability = 10 * major + minor;
    out->capability = pretended ? pretended : facts->capability;
    out->has_mma = out->capability >= 80;
    out->has_bmma = out->capability >= 80 && facts->capability < 100; // whatever it is taken for, its code is its own
    out->is_integrated = integrated != 0;
    return TN_OK;
}

static tn_status read_names(const tn_cuda_driver *driver, tn_cuda_facts *out)
{
    const tn_cuda_api *cu = &driver->cu;
    snprintf(out->driver, sizeof out->driver, "CUDA %d.%d", driver->version / 1000, driver->version % 1000 / 10);
    TN_TRY(TN_CUDA_CHECK(cu, cu->cuDeviceGetName(out->product, sizeof out->product, out->handle), "cuDeviceGetName"));
    TN_TRY(TN_CUDA_CHECK(cu, cu->cuDeviceGetPCIBusId(out->bus_id, sizeof out->bus_id, out->handle), "cuDeviceGetPCIBusId"));
    for (char *c = out->bus_id; *c; c++) *c = (char)tolower((unsigned char)*c); // as Linux and Vulkan have it
    return TN_OK;
}

static tn_status free_memory_in_context(const tn_cuda_api *cu, CUcontext context, size_t *out_free)
{
    size_t total;
    CUcontext popped;
    TN_TRY(TN_CUDA_CHECK(cu, cu->cuCtxPushCurrent(context), "cuCtxPushCurrent"));
    const tn_status status = TN_CUDA_CHECK(cu, cu->cuMemGetInfo(out_free, &total), "cuMemGetInfo");
    const CUresult result = cu->cuCtxPopCurrent(&popped);
    return status != TN_OK ? status : TN_CUDA_CHECK(cu, result, "cuCtxPopCurrent");
}

// A device on which no context can be made (it is full, or another process has it for itself) is there all the same.
static tn_status read_free_memory(const tn_cuda_api *cu, tn_cuda_facts *out)
{
    CUcontext context;
    size_t free_bytes = 0;
    const CUresult result = cu->cuDevicePrimaryCtxRetain(&context, out->handle);
    if (result != CUDA_SUCCESS) {
        UNUSABLE(out, "its context cannot be made: %s (%d)", tn_cuda_result_name(cu, result), result);
        return TN_OK;
    }
    const tn_status status = free_memory_in_context(cu, context, &free_bytes);
    const CUresult released = cu->cuDevicePrimaryCtxRelease(out->handle);
    out->memory_free_bytes = free_bytes;
    return status != TN_OK ? status : TN_CUDA_CHECK(cu, released, "cuDevicePrimaryCtxRelease");
}

static tn_status judge(const tn_cuda_driver *driver, tn_cuda_facts *facts)
{
    const tn_cuda_api *cu = &driver->cu;
    uint32_t mode;
    const uint32_t capability = facts->traits.capability;
    TN_TRY(attribute(cu, facts->handle, CU_DEVICE_ATTRIBUTE_COMPUTE_MODE, &mode));
    if (capability < TN_CUDA_CAPABILITY_MIN)
        UNUSABLE(facts, "its compute capability is %u.%u, and %d.%d is needed (Turing and later)", (unsigned)capability / 10,
                 (unsigned)capability % 10, TN_CUDA_CAPABILITY_MIN / 10, TN_CUDA_CAPABILITY_MIN % 10);
    else if (facts->traits.n_sms == 0)
        UNUSABLE(facts, "its driver says that it has no multiprocessors");
    else if (mode == CU_COMPUTEMODE_PROHIBITED)
        UNUSABLE(facts, "its compute mode allows no program on it: set it with nvidia-smi -c 0");
    else if (!facts->is_stand_in)
        tn_cuda_built_judge(&tn_cuda_images_built, facts->capability, driver->version, facts->unusable, sizeof facts->unusable);
    return TN_OK;
}

tn_status tn_cuda_facts_read(const tn_cuda_driver *driver, uint32_t index, bool asks_memory, tn_cuda_facts *out)
{
    const tn_cuda_api *cu = &driver->cu;
    size_t total = 0;
    *out = (tn_cuda_facts){.is_stand_in = driver->is_stand_in};
    if (driver->absent[0]) return tn_fail(TN_UNAVAILABLE, "CUDA is not available: %s", driver->absent);
    if (index >= driver->n_devices)
        return tn_fail(TN_INVALID_ARGUMENT, "there is no CUDA device %u: this host has %u", (unsigned)index, (unsigned)driver->n_devices);
    if (!driver->is_stand_in)
        snprintf(out->name, sizeof out->name, "cuda%u", (unsigned)index);
    else
        snprintf(out->name, sizeof out->name, index ? "cuda:host%u" : "cuda:host", (unsigned)index);
    TN_TRY(TN_CUDA_CHECK(cu, cu->cuDeviceGet(&out->handle, (int)index), "cuDeviceGet"));
    TN_TRY(read_names(driver, out));
    TN_TRY(read_traits(driver, out));
    TN_TRY(TN_CUDA_CHECK(cu, cu->cuDeviceTotalMem(&total, out->handle), "cuDeviceTotalMem"));
    out->memory_bytes = out->memory_free_bytes = total;
    TN_TRY(judge(driver, out));
    return asks_memory && !out->unusable[0] ? read_free_memory(cu, out) : TN_OK;
}

void tn_cuda_facts_describe(const tn_cuda_facts *facts, tn_device_desc *out_desc)
{
    *out_desc = (tn_device_desc){
        .memory_bytes = facts->memory_bytes,
        .memory_free_bytes = facts->memory_free_bytes,
        .is_software = facts->is_stand_in,
        .subgroup_size = 32,
    };
    snprintf(out_desc->name, sizeof out_desc->name, "%s", facts->name);
    snprintf(out_desc->description, sizeof out_desc->description, "%s", facts->product);
    snprintf(out_desc->driver, sizeof out_desc->driver, "%s", facts->driver);
    snprintf(out_desc->bus_id, sizeof out_desc->bus_id, "%s", facts->bus_id);
    snprintf(out_desc->unusable, sizeof out_desc->unusable, "%s", facts->unusable);
    snprintf(out_desc->kernels, sizeof out_desc->kernels, "sm_%u", (unsigned)facts->traits.capability);
    // Products of packed bytes are instructions from 6.1 on.
    snprintf(out_desc->integer_dot, sizeof out_desc->integer_dot, "%s", facts->traits.capability >= 61 ? "fast" : "none");
}
