// No kernels: for builds without nvcc.
#include "cuda/cuda_image.h"

const tn_cuda_image tn_cuda_images[] = {{"", NULL, NULL, 0}};
const uint32_t tn_cuda_n_images = 0;
static const uint32_t no_archs[] = {0};
const tn_cuda_built tn_cuda_images_built = {.archs = no_archs};
