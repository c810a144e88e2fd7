// CUresult as ternion's statuses, and the context of the calling thread.
#include "cuda/cuda_device.h"

#include <stdio.h>
#include <string.h>

// What stands in a failure's record for its device until tn_cuda_leave knows which one it is.
static const char some_device[] = "cuda";

const char *tn_cuda_result_name(const tn_cuda_api *cu, CUresult result)
{
    const char *name = NULL;
    return cu->cuGetErrorName && cu->cuGetErrorName(result, &name) == CUDA_SUCCESS && name ? name : "an unknown CUresult";
}

// What the caller can do about it, after the result's name.
static const char *advice_of(tn_status status)
{
    switch (status) {
    case TN_OUT_OF_MEMORY: return "free memory of the device, or ask for a shorter context, fewer sequences or fewer layers on it (-ngl)";
    case TN_DEVICE_LOST: return "start the program again; if it happens again, update the driver or use the CPU";
    case TN_UNAVAILABLE: return "update the driver, or use another device";
    default: return "please report it with the name and version of the driver (ternion devices)";
    }
}

static tn_status status_of(CUresult result)
{
    switch (result) {
    case CUDA_ERROR_OUT_OF_MEMORY: return TN_OUT_OF_MEMORY;
    case CUDA_ERROR_DEINITIALIZED:
    case CUDA_ERROR_ECC_UNCORRECTABLE:
    case CUDA_ERROR_NVLINK_UNCORRECTABLE:
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_CONTEXT_IS_DESTROYED:
    case CUDA_ERROR_ASSERT:
    case CUDA_ERROR_HARDWARE_STACK_ERROR:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case CUDA_ERROR_INVALID_PC:
    case CUDA_ERROR_LAUNCH_FAILED: return TN_DEVICE_LOST;
    case CUDA_ERROR_NOT_INITIALIZED:
    case CUDA_ERROR_STUB_LIBRARY:
    case CUDA_ERROR_DEVICE_UNAVAILABLE:
    case CUDA_ERROR_NO_DEVICE:
    case CUDA_ERROR_INVALID_DEVICE:
    case CUDA_ERROR_DEVICE_NOT_LICENSED:
    case CUDA_ERROR_INVALID_IMAGE:
    case CUDA_ERROR_NO_BINARY_FOR_GPU:
    case CUDA_ERROR_INVALID_PTX:
    case CUDA_ERROR_JIT_COMPILER_NOT_FOUND:
    case CUDA_ERROR_UNSUPPORTED_PTX_VERSION:
    case CUDA_ERROR_NOT_PERMITTED:
    case CUDA_ERROR_NOT_SUPPORTED:
    case CUDA_ERROR_SYSTEM_NOT_READY:
    case CUDA_ERROR_SYSTEM_DRIVER_MISMATCH:
    case CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE: return TN_UNAVAILABLE;
    default: return TN_INTERNAL;
    }
}

static void name_in_record(const char *name)
{
    tn_error error = *tn_error_last();
    snprintf(error.device, sizeof error.device, "%s", name);
    tn_error_set(&error);
}

void tn_cuda_error_name(const tn_cuda_device *device) { name_in_record(device->name); }

tn_status tn_cuda_check_at(const char *file, int line, const tn_cuda_api *cu, CUresult result, const char *what)
{
    if (result == CUDA_SUCCESS) return TN_OK;
    const tn_status status = status_of(result);
    tn_fail_at(file, line, status, result, "%s failed with %s (%d): %s", what, tn_cuda_result_name(cu, result), result, advice_of(status));
    name_in_record(some_device);
    return status;
}

tn_status tn_cuda_name_failure(const char *name, tn_status status)
{
    if (status == TN_OK || strcmp(tn_error_last()->device, some_device) != 0) return status;
    name_in_record(name);
    return tn_fail_prefix("%s: ", name);
}

// What every failure of the driver goes through once.
static tn_status note_failure(tn_cuda_device *device, tn_status status)
{
    const tn_error *error = tn_error_last();
    const bool is_the_drivers = strcmp(error->device, some_device) == 0;
    if (status == TN_DEVICE_LOST && is_the_drivers && device->lost == CUDA_SUCCESS) device->lost = error->native_code;
    return tn_cuda_name_failure(device->name, status);
}

tn_status tn_cuda_context_push(tn_cuda_device *device)
{
    return note_failure(device, TN_CUDA_CHECK(device->cu, device->cu->cuCtxPushCurrent(device->context), "cuCtxPushCurrent"));
}

tn_status tn_cuda_context_pop(tn_cuda_device *device)
{
    CUcontext popped;
    return note_failure(device, TN_CUDA_CHECK(device->cu, device->cu->cuCtxPopCurrent(&popped), "cuCtxPopCurrent"));
}

tn_status tn_cuda_enter_to_wait(tn_cuda_device *device)
{
    pthread_mutex_lock(&device->mutex);
    const tn_status status = tn_cuda_context_push(device);
    if (status != TN_OK) pthread_mutex_unlock(&device->mutex);
    return status;
}

tn_status tn_cuda_enter(tn_cuda_device *device)
{
    pthread_mutex_lock(&device->mutex);
    if (device->lost == CUDA_SUCCESS) {
        const tn_status pushed = tn_cuda_context_push(device);
        if (pushed != TN_OK) pthread_mutex_unlock(&device->mutex);
        return pushed;
    }
    const tn_status status = tn_fail_native(TN_DEVICE_LOST, device->lost, "%s was lost before (%s): %s", device->name,
                                            tn_cuda_result_name(device->cu, device->lost), advice_of(TN_DEVICE_LOST));
    pthread_mutex_unlock(&device->mutex);
    tn_cuda_error_name(device);
    return status;
}

tn_status tn_cuda_leave(tn_cuda_device *device, tn_status status)
{
    const tn_error failure = *tn_error_last(); // which a failing pop would replace
    tn_status left = tn_cuda_context_pop(device);
    if (status != TN_OK) {
        tn_error_set(&failure);
        left = note_failure(device, status);
    }
    pthread_mutex_unlock(&device->mutex);
    return left;
}
