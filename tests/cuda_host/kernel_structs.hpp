// The kernels' structs with pointers in them, as device code sees them, for tests that fill them.
#ifndef TN_TESTS_CUDA_HOST_KERNEL_STRUCTS_HPP
#define TN_TESTS_CUDA_HOST_KERNEL_STRUCTS_HPP

#include <algorithm>

#define TN_DEVICE_CODE
#include "cuda/kernels/kernel_params.h"

#endif
