// No kernels: for builds without nvcc.
#include "cuda/cuda_image.h"

#include <stddef.h>

const tn_cuda_image tn_cuda_images[] = {{"", NULL, NULL}};
const uint32_t tn_cuda_n_images = 0;
const int tn_cuda_images_version = 0;
