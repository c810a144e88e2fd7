// The CUDA backend's table.
#include "backend/builtin.h"
#include "cuda/cuda_memory.h"
#include "cuda/cuda_pack.h"
#include "cuda/cuda_program.h"
#include "selftest/selftest.h"

#include <stdio.h>
#include <string.h>

// Of a self-test that could not be run. What a failure of the driver says of memory is about models.
static tn_status selftest_failed(const tn_cuda_device *device, tn_status status)
{
    tn_error failure = *tn_error_last();
    const size_t n = strlen(device->name);
    if (status == TN_OUT_OF_MEMORY && failure.native_code != 0) {
        status = tn_fail_native(TN_UNAVAILABLE, failure.native_code,
                                "%s: its self-test finds no memory on the device or in the host, where it needs some MiB of each "
                                "(CUDA_ERROR_OUT_OF_MEMORY): end other programs that use them, or choose another device",
                                device->name);
        tn_cuda_error_name(device);
        return status;
    }
    if (strncmp(failure.message, device->name, n) == 0 && strncmp(failure.message + n, ": ", 2) == 0) {
        memmove(failure.message, failure.message + n + 2, strlen(failure.message + n + 2) + 1); // it is named in front
        tn_error_set(&failure);
    }
    return tn_fail_prefix("%s: self-test: ", device->name);
}

// A driver whose compiler bends a rule of the exact mode, or a card that computes wrongly, is refused here instead of giving other answers
// later. It takes a fraction of a second, and so it is done whenever a device is opened.
static tn_status selftest(tn_cuda_device *device, const tn_progress *progress)
{
    char form[16], driver[32];
    bool differs;
    snprintf(form, sizeof form, "sm_%u", (unsigned)device->traits.capability);
    snprintf(driver, sizeof driver, "CUDA %d.%d", device->driver->version / 1000, device->driver->version % 1000 / 10);
    tn_selftest_params params = {.name = device->name,
                                 .form = form,
                                 .driver = driver,
                                 .progress = progress,
                                 .steps_of_wide = device->traits.has_wgmma,
                                 .other_heads = device->traits.has_mma,
                                 .singles_of_many = true};
    tn_status status = tn_selftest_run(&device->base, &params, &differs);
    if (status == TN_OK) {
        params.steps_of_one = params.rope_unseen = true;
        params.singles_of_many = params.steps_of_wide = params.other_heads = false;
        status = tn_selftest_run(&device->base, &params, &differs);
    }
    return status == TN_OK || differs ? status : selftest_failed(device, status);
}

static tn_status device_open(const tn_backend_host *host, uint32_t index, tn_device **out_device)
{
    tn_device *device;
    *out_device = NULL;
    TN_TRY(tn_cuda_device_open(host, index, &device));
    device->backend = &tn_cuda_backend_table;
    const tn_cuda_hooks *hooks = tn_cuda_device_of(device)->driver->hooks;
    const tn_status status = hooks && hooks->skips_selftest ? TN_OK : selftest(tn_cuda_device_of(device), host->progress);
    if (status == TN_OK)
        *out_device = device;
    else
        tn_cuda_device_close(device);
    return status;
}

static tn_status device_kernels(tn_device *base, void (*line)(void *user, const char *kernel, bool chosen), void *user)
{
    const tn_cuda_device *device = tn_cuda_device_of(base);
    for (uint32_t i = 0; i < TN_CUDA_N_KERNELS; i++) line(user, tn_cuda_kernels[i].name, device->functions[i] != NULL);
    return TN_OK;
}

// ---- functions that reach the driver, within the device's context ----

static tn_status device_memory(tn_device *device, uint64_t *out_total, uint64_t *out_free)
{
    *out_total = *out_free = 0;
    TN_TRY(tn_cuda_enter(tn_cuda_device_of(device)));
    return tn_cuda_leave(tn_cuda_device_of(device), tn_cuda_memory_ask(tn_cuda_device_of(device), out_total, out_free));
}

static tn_status weight_pack(tn_device *device, const tn_weight_source *source, tn_buffer *buffer, uint64_t offset_bytes)
{
    TN_TRY(tn_cuda_enter(tn_cuda_device_of(device)));
    return tn_cuda_leave(tn_cuda_device_of(device), tn_cuda_weight_pack(device, source, buffer, offset_bytes));
}

static tn_status program_check(tn_device *device, const tn_program_desc *desc, tn_program_needs *out_needs)
{
    *out_needs = (tn_program_needs){0};
    TN_TRY(tn_cuda_enter(tn_cuda_device_of(device)));
    return tn_cuda_leave(tn_cuda_device_of(device), tn_cuda_program_check(device, desc, out_needs));
}

static tn_status program_create(tn_device *device, const tn_program_desc *desc, tn_program **out_program)
{
    tn_program *program;
    *out_program = NULL;
    TN_TRY(tn_cuda_enter(tn_cuda_device_of(device)));
    const tn_status status = tn_cuda_leave(tn_cuda_device_of(device), tn_cuda_program_create(device, desc, &program));
    if (status == TN_OK)
        *out_program = program;
    else
        tn_cuda_program_destroy(program); // which is there where only the context could not be left
    return status;
}

static tn_status program_submit(tn_program *program, const tn_submit *submit, tn_fence *out_fence)
{
    tn_cuda_device *device = tn_cuda_device_of(program->device);
    out_fence->value = 0;
    TN_TRY(tn_cuda_enter(device));
    const tn_status status = tn_cuda_leave(device, tn_cuda_program_submit(program, submit, out_fence));
    if (status == TN_OK || out_fence->value == 0) return status;
    tn_cuda_fence_abandon(program->device, *out_fence); // only the context could not be left: the step is on its way
    out_fence->value = 0;
    return status;
}

// Of a lost device too: its programs leave the flight.
static tn_status fence_wait(tn_device *base, tn_fence fence)
{
    tn_cuda_device *device = tn_cuda_device_of(base);
    const tn_status status = tn_cuda_enter_to_wait(device);
    if (status == TN_OK) return tn_cuda_leave(device, tn_cuda_fence_wait(base, fence));
    tn_cuda_fence_abandon(base, fence);
    return status;
}

// There is one layout of each type.
static bool packing_assume(tn_device *device, uint32_t index)
{
    (void)device, (void)index;
    return false;
}

const tn_backend tn_cuda_backend_table = {
    .abi_version = TN_BACKEND_ABI,
    .struct_size = sizeof(tn_backend),
    .name = "cuda",
    .pack_id = TN_CUDA_PACK_ID,
    .loads_driver = true,
    .device_count = tn_cuda_device_count,
    .device_describe = tn_cuda_device_describe,
    .device_open = device_open,
    .device_close = tn_cuda_device_close,
    .device_kernels = device_kernels,
    .device_memory = device_memory,
    .buffer_create = tn_cuda_buffer_create,
    .buffer_destroy = tn_cuda_buffer_destroy,
    .buffer_write = tn_cuda_buffer_write,
    .buffer_read = tn_cuda_buffer_read,
    .buffer_map = tn_cuda_buffer_map,
    .packing_assume = packing_assume,
    .weight_layout = tn_cuda_weight_layout,
    .weight_pack = weight_pack,
    .op_supported = tn_cuda_op_supported,
    .program_check = program_check,
    .program_create = program_create,
    .program_destroy = tn_cuda_program_destroy,
    .program_scratch_bytes = tn_cuda_program_scratch_bytes,
    .program_submit = program_submit,
    .fence_wait = fence_wait,
    .device_measure = tn_cuda_device_measure,
};
