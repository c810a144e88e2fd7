// The kernels as the build embeds them.
#ifndef TN_CUDA_CUDA_IMAGE_H
#define TN_CUDA_CUDA_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A fatbin: what one .cu file became for every architecture.
typedef struct tn_cuda_image {
    const char *name; // of the file, without .cu
    const unsigned char *begin, *end;
    uint32_t only; // the one compute capability (90) whose devices take it; 0: all that the build is for
} tn_cuda_image;

extern const tn_cuda_image tn_cuda_images[];
extern const uint32_t tn_cuda_n_images; // 0: the build had no nvcc

// For which devices they are.
typedef struct tn_cuda_built {
    const uint32_t *archs; // that have machine code: 80, 90; 0 at the end
    uint32_t ptx;          // drivers compile it for devices from this one on; 0: there is none
    int version;           // CUDA version of the nvcc that made them, as drivers count (13000); 0: there are no kernels
} tn_cuda_built;
extern const tn_cuda_built tn_cuda_images_built;

// The oldest driver that takes them: drivers read what a compiler of their major version made, and ternion's own needs are to be met.
int tn_cuda_built_driver(const tn_cuda_built *built);

// Why a device of that compute capability (90) cannot take them from a driver of that version, with what to do; "" where it can.
void tn_cuda_built_judge(const tn_cuda_built *built, uint32_t capability, int driver_version, char *why, size_t capacity);

#endif
