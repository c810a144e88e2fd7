// The kernels as the build embeds them.
#ifndef TN_CUDA_CUDA_IMAGE_H
#define TN_CUDA_CUDA_IMAGE_H

#include <stdint.h>

// A fatbin: what one .cu file became for every architecture.
typedef struct tn_cuda_image {
    const char *name; // of the file, without .cu
    const unsigned char *begin, *end;
} tn_cuda_image;

extern const tn_cuda_image tn_cuda_images[];
extern const uint32_t tn_cuda_n_images;  // 0: the build had no nvcc
extern const int tn_cuda_images_version; // CUDA version of the nvcc that made them, as drivers count (13000); 0: there are none

#endif
