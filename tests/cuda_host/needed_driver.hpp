// What a driver that brings no kernels must have for those of this build, where it has some: "12.3".
#ifndef TN_TESTS_CUDA_HOST_NEEDED_DRIVER_HPP
#define TN_TESTS_CUDA_HOST_NEEDED_DRIVER_HPP

#include <string>

extern "C" {
#include "cuda/cuda_image.h"
}

namespace cuda_test
{

inline std::string needed_driver()
{
    const int version = tn_cuda_built_driver(&tn_cuda_images_built);
    return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

} // namespace cuda_test

#endif
