// The one file of the suite that knows the CUDA backend's own headers.
#include "conformance/cuda_hooks.h"

#include <deque>

#ifdef TN_TEST_CUDA
extern "C" {
#include "cuda/cuda_loader.h"
}
#endif

namespace conformance
{

#ifdef TN_TEST_CUDA
const tn_cuda_hooks *cuda_hooks_of(const CudaHooks &hooks)
{
    static std::deque<tn_cuda_hooks> kept; // a deque keeps them in place
    tn_cuda_hooks made = {};
    made.skips_selftest = true;
    made.fills_scratch = true;
    made.compute_capability = hooks.compute_capability;
    kept.push_back(made);
    return &kept.back();
}
#else
const tn_cuda_hooks *cuda_hooks_of(const CudaHooks &) { return nullptr; }
#endif

} // namespace conformance
