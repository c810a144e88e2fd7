// Whether the kernels of a build are of use to a device.
#include "cuda/cuda_image.h"
#include "cuda/cuda_loader.h"

#include <stdarg.h>
#include <stdio.h>

int tn_cuda_built_driver(const tn_cuda_built *built)
{
    const int of_compiler = built->version / 1000 * 1000;
    return of_compiler > TN_CUDA_DRIVER_MIN ? of_compiler : TN_CUDA_DRIVER_MIN;
}

// Machine code is of a family, and of it runs on the same members and later ones. (Boards of which that is not so, as are Tegras, refuse it
// when they are opened.)
static bool has_code(const tn_cuda_built *built, uint32_t capability)
{
    for (const uint32_t *arch = built->archs; *arch; arch++) {
        if (*arch / 10 == capability / 10 && *arch <= capability) return true;
    }
    return false;
}

// Appends to a text of `capacity` bytes, which may have no more room.
static void append(char *text, size_t capacity, size_t *n, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int written = *n < capacity ? vsnprintf(text + *n, capacity - *n, format, args) : 0;
    va_end(args);
    *n += written > 0 ? (size_t)written : 0;
}

// "sm_80, sm_90 and PTX for sm_100 and later".
static void name_all(const tn_cuda_built *built, char *text, size_t capacity)
{
    size_t n = 0;
    for (const uint32_t *arch = built->archs; *arch; arch++) append(text, capacity, &n, "%ssm_%u", n ? ", " : "", (unsigned)*arch);
    if (built->ptx) append(text, capacity, &n, "%sPTX for sm_%u and later", n ? " and " : "", (unsigned)built->ptx);
}

void tn_cuda_built_judge(const tn_cuda_built *built, uint32_t capability, int driver_version, char *why, size_t capacity)
{
    char all[128];
    why[0] = '\0';
    if (built->version == 0) {
        snprintf(why, capacity, "this build of ternion has no kernels for it: build it where nvcc is installed");
        return;
    }
    if (has_code(built, capability)) return;
    if (built->ptx == 0 || capability < built->ptx) {
        name_all(built, all, sizeof all);
        snprintf(why, capacity, "no kernels for sm_%u in this build of ternion, which has %s: build it with -DTN_CUDA_ARCHS=%u",
                 (unsigned)capability, all, (unsigned)capability);
    } else if (driver_version < built->version) {
        snprintf(why, capacity,
                 "this build of ternion has only PTX for sm_%u, of CUDA %d.%d, and the driver is for %d.%d: update it, or build with "
                 "-DTN_CUDA_ARCHS=%u",
                 (unsigned)capability, built->version / 1000, built->version % 1000 / 10, driver_version / 1000, driver_version % 1000 / 10,
                 (unsigned)capability);
    }
}
