// What the suite makes of CUDA devices: older ones.
#ifndef TN_TESTS_CONFORMANCE_CUDA_HOOKS_H
#define TN_TESTS_CONFORMANCE_CUDA_HOOKS_H

#include <cstdint>

extern "C" {
#include "backend/backend.h"
}

namespace conformance
{

struct CudaHooks {
    uint32_t compute_capability = 0; // 0: the device's
};

// Lives until the program ends. NULL in builds without CUDA.
const tn_cuda_hooks *cuda_hooks_of(const CudaHooks &hooks);

} // namespace conformance

#endif
